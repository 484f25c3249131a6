"""The types that users see: their program is checked by ``mypy --strict`` in CI, and runs here."""

import ast
import inspect
from collections import defaultdict
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import sklearn_ae
from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, metrics, plotting
from tests.typing import client

X, Y = load_iris(return_X_y=True)
PUBLIC = {name: getattr(module, name) for module in (sklearn_ae, metrics, plotting) for name in module.__all__}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
TREE = ast.parse(Path(client.__file__).read_text())
VARIABLES = {  # of types, and what they stand for
    node.targets[0].id: {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)} & set(CLASSES)
    for node in TREE.body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
}
models = pytest.mark.parametrize("index", [2, *(pytest.param(i, marks=pytest.mark.slow) for i in range(2))])


def classes_of(annotation):
    name = getattr(annotation, "id", None)
    return VARIABLES.get(name, {name} & set(CLASSES))


def named_members():
    """Return the members that the program names, by the class of the object."""
    found = defaultdict(set)
    for function in (node for node in TREE.body if isinstance(node, ast.FunctionDef)):
        owners = {name: {name} for name in CLASSES} | {a.arg: classes_of(a.annotation) for a in function.args.args}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                for owner in owners.get(node.value.id, ()):
                    found[owner].add(node.attr)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "type(model)":
                for owner in owners["model"]:
                    found[owner].add(node.attr)
            if isinstance(node, ast.Attribute) and node.attr == "plot":  # of what a display's from_... returned
                for name in {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)} & set(CLASSES):
                    found[name].add("plot")
    return found


def public_members(kind):
    """Return methods, properties and annotated fitted attributes that the package defines, without the parameters."""
    own = [base for base in kind.__mro__ if base.__module__.startswith("sklearn_ae.")]
    parameters = {field.name for field in fields(kind)} if is_dataclass(kind) else set()
    parameters |= set(inspect.signature(kind).parameters)
    names = {name for base in own for name in (*vars(base), *inspect.get_annotations(base)) if not name.startswith("_")}
    return names - parameters


@pytest.mark.parametrize("name", CLASSES)
def test_the_program_names_all_members_of_a_class(name):
    loaded_again = {"from_saved_state"} if name not in plotting.__all__ else set()  # of an object that was loaded
    assert public_members(CLASSES[name]) - named_members()[name] - loaded_again == set()
    assert all(f".{member}(" in Path(client.__file__).read_text() for member in loaded_again)


def test_the_program_names_all_functions_and_classes():
    used = {node.id for node in ast.walk(TREE) if isinstance(node, ast.Name)}
    assert set(PUBLIC) - {"__version__"} <= used
    assert "sklearn_ae.__version__" in Path(client.__file__).read_text()


def test_the_package_says_that_it_has_types():
    assert files("sklearn_ae").joinpath("py.typed").is_file()


@models
def test_the_program_of_a_model_runs(index, tmp_path):
    model = client.fitted(client.constructed()[index], X, Y)
    client.results(model, X, Y)
    client.learned(model)
    assert client.saved(model, tmp_path / "model.safetensors").predict(X).shape == (150,)
    if hasattr(model, "discriminate"):
        assert client.discriminated(model, X).shape == (150,)
    assert client.names_of_columns(model, pd.DataFrame(X, columns=list("abcd"))) == list("abcd")


def test_the_program_of_tables_in_files_runs(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    table = client.stored(tmp_path / "rows.npy")
    client.fitted_to_files(client.constructed()[0].set_params(task=None), table, tmp_path / "filled.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "filled.npy"), X)


def test_the_program_of_displays_and_measures_runs():
    model = client.constructed()[1].fit(X)
    client.drawn(model, X, Y)
    client.measured(X, np.asarray(model.sample(100, random_state=0)))
    client.searched(X, Y)


def test_the_program_of_other_estimators_runs(tmp_path):
    small = client.constructed()[0]
    imputer, detector = AutoencoderImputer(small), AutoencoderOutlierDetector(small)
    client.imputed(imputer, X)
    client.detected(detector, X)
    for estimator in (imputer, detector):
        client.saved(estimator, tmp_path / "estimator.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("index", range(3))
def test_the_program_that_exports_runs(index, tmp_path):
    client.exported(client.constructed()[index].fit(X, Y), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 1000
