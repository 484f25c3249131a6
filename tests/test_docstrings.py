"""Docstrings are in numpydoc's form: in full for what users call, at least as far as they go for the inner layers."""

import inspect
import pydoc
import re
from importlib import import_module
from pathlib import Path

import pytest

numpydoc = pytest.importorskip("numpydoc.validate")
DOCS = Path(__file__).parents[1] / "docs"
CALLED = ["sklearn_ae", "sklearn_ae.metrics", "sklearn_ae.plotting"]
DOCUMENTED = [
    module for page in sorted(DOCS.glob("api_*.rst")) for module in re.findall(r"automodule:: (\S+)", page.read_text())
]
# scikit-learn leaves these out as well: RT02 because results are named, and of members the sections of a whole page.
ALLOWED = {"RT02"}
ALLOWED_IN_MEMBERS = {"EX01", "ES01", "SA01"}
ALLOWED_AT_THE_TOP = {"ES01", "SA01"}  # displays and measures say it in one line, and stand alone
# Own parameters are documented first, and then those that all families share.
ALLOWED_IN_FAMILIES = {"PR03"}
FAMILIES = {"RegularizedAutoencoder", "VariationalAutoencoder", "AdversarialAutoencoder"}
# In the inner layers a docstring may be one line with shapes, where names and annotations say the rest.
ALLOWED_INSIDE = {"EX01", "ES01", "SA01"}
ALLOWED_WITHOUT_PARAMETERS = {"PR01", "RT01", "YD01"}


def is_public(name, thing):
    is_member = isinstance(thing, property | classmethod | staticmethod)
    return not name.startswith("_") and (is_member or inspect.isfunction(thing) or inspect.isclass(thing))


def names_in(module):
    """Yield the public names of a module and of the members that its classes define."""
    loaded = import_module(module)
    own = getattr(loaded, "__all__", [name for name, thing in vars(loaded).items() if _is_of(thing, module)])
    for name in own:
        thing = getattr(loaded, name)
        if is_public(name, thing):
            yield f"{module}.{name}"
            members = vars(thing) if inspect.isclass(thing) else {}
            yield from (f"{module}.{name}.{member}" for member, part in members.items() if is_public(member, part))


def _is_of(thing, module):
    return getattr(thing, "__module__", None) == module


def faults(name, allowed):
    return {(name, code): message for code, message in numpydoc.validate(name)["errors"] if code not in allowed}


def allowed_of_called(name):
    is_member = inspect.isclass(pydoc.locate(name.rpartition(".")[0]))
    last = name.rpartition(".")[2]
    of_family = ALLOWED_IN_FAMILIES if last in FAMILIES else set()
    if last == "recipe":  # called by the package, and documented in full where it is declared
        return ALLOWED | ALLOWED_IN_MEMBERS | ALLOWED_WITHOUT_PARAMETERS
    return ALLOWED | of_family | (ALLOWED_IN_MEMBERS if is_member else ALLOWED_AT_THE_TOP)


def allowed_inside(name):
    doc = inspect.getdoc(pydoc.locate(name)) or ""
    if not re.search(r"^Parameters\n---", doc, re.MULTILINE):
        return ALLOWED | ALLOWED_INSIDE | ALLOWED_WITHOUT_PARAMETERS
    return ALLOWED | ALLOWED_INSIDE | ({"RT01"} if doc.startswith("Return ") else set())


@pytest.mark.parametrize("module", CALLED)
def test_what_users_call_is_documented_in_full(module):
    found = [faults(name, allowed_of_called(name)) for name in names_in(module)]
    assert {key: message for of_one in found for key, message in of_one.items()} == {}


@pytest.mark.parametrize("module", DOCUMENTED)
def test_what_a_docstring_of_the_inner_layers_has_is_complete(module):
    found = [faults(name, allowed_inside(name)) for name in names_in(module)]
    assert {key: message for of_one in found for key, message in of_one.items()} == {}


def test_the_names_are_found():
    assert {"sklearn_ae.load", "sklearn_ae.RegularizedAutoencoder.recipe"} <= set(names_in("sklearn_ae"))
    assert "sklearn_ae.estimators.state.AutoencoderState.classes_" in names_in("sklearn_ae.estimators.state")
    assert len([name for module in DOCUMENTED for name in names_in(module)]) > 800
