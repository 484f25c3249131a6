"""Nodes: what is read is what was written, and names and references that a file must not have are refused."""

import json
import sys
from functools import partial
from math import inf, isnan, nan

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_ae.modules.mlp import hidden_layers
from sklearn_ae.objectives.terms import l1, l2
from sklearn_ae.persistence.graph import Decoder, Encoder
from sklearn_ae.tables.columns import Grouping
from sklearn_ae.tables.empty_frames import other_frame
from tests.families import tiny


def stored(thing, trusted=()):
    """Return an object after it was written and read, by way of JSON."""
    encoder = Encoder(trusted)
    encoder.value([thing])
    nodes = json.loads(json.dumps(encoder.nodes, allow_nan=False))
    return Decoder(encoder.arrays, trusted).read(nodes)[0]


def read(*nodes, arrays=()):
    return Decoder(list(arrays)).read(json.loads(json.dumps(nodes)))


@pytest.mark.parametrize(
    "thing",
    [
        *(None, True, 3, 2**70, 0.1, inf, -inf, "text", ""),
        *([1, [2, (3, "a")]], (), {1, 2}, frozenset("ab"), {"a": 1, (1, 2): [None], 3.5: {}, None: ()}),
        *(torch.float64, torch.device("cpu"), np.dtype("int8"), np.float32(0.1), np.str_("a"), np.bool_(True)),
        *(l1, Grouping, Grouping(2, None)),
    ],
)
def test_constants_collections_and_names_are_restored(thing):
    assert stored(thing) == thing
    assert type(stored(thing)) is type(thing)


def test_nan_is_restored():
    assert isnan(stored(nan))


@pytest.mark.parametrize(
    "array",
    [
        *(np.arange(6).reshape(2, 3), np.float32(2.5) * np.ones((2, 0)), np.array(3.0), np.array([True, False])),
        *(np.arange(6).reshape(2, 3).T, np.array([1, None, "a", nan], object)[:3], np.array([["a", "bc"]])),
        np.arange(3, dtype=">i4"),
    ],
)
def test_arrays_are_restored(array):
    found = stored(array)
    assert found.tolist() == array.tolist()
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("=")


def test_tensors_and_modules_are_restored():
    layers = hidden_layers([3, 4, 2], "tanh", 0.0)
    for parameter in layers.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    found, x = stored(layers.eval()), torch.ones(2, 3)
    assert torch.equal(found(x), layers(x))
    assert not found.training
    assert all(type(parameter) is nn.Parameter for parameter in found.parameters())


def test_generators_go_on_where_they_were():
    random = np.random.RandomState(3)
    random.normal(size=5)
    found = stored(random)
    assert found.normal(size=3).tolist() == random.normal(size=3).tolist()


def test_a_partial_is_restored():
    found = stored(partial(l2, 1, batch=2))
    assert (found.func, found.args, found.keywords) == (l2, (1,), {"batch": 2})


def test_what_was_one_object_is_one_object_again():
    shared = [1]
    found = stored([shared, {"again": shared}, (shared,)])
    assert found[0] is found[1]["again"] is found[2][0]


# What can't be written


def test_an_object_that_contains_itself_is_refused():
    thing = []
    thing.append(thing)
    with pytest.raises(ValueError, match="must not contain itself"):
        Encoder().value(thing)


def test_a_module_with_hooks_is_refused():
    layer = hidden_layers([2, 2], "relu", 0.0)
    layer.register_forward_hook(lambda *args: None)
    with pytest.raises(ValueError, match="must be data or a part of sklearn_ae"):
        Encoder().value(layer)


@pytest.mark.parametrize(
    "thing",
    [
        print,
        json.dumps,
        lambda: 0,
        object(),
        np.datetime64("2020-01-01"),
        np.array([1j]),
        np.longdouble(1),
        nn.Linear(1, 1),
    ],
)
def test_other_objects_are_refused_with_their_place(thing):
    with pytest.raises(ValueError, match=r"^alpha.* must be data or a part of sklearn_ae"):
        Encoder().value({"alpha": [thing]})


# What can't be read


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "builtins.eval", "builtins.print", "subprocess.Popen", "torch.load", "pickle.loads"),
        *("sklearn_ae.persistence.files.read", "sklearn_ae.persistence.files.os.system", "sklearn_ae.load"),
        *(
            "sklearn_ae.model.model.torch.load",
            "sklearn_ae.training.net.at_hand",
            "sklearn_ae.parallel.StackingBackend",
        ),
        *("sklearn_ae.model.model.AutoencoderNet", "sklearn_ae.model.nothing.Model", "sklearn_ae.model.model.Nothing"),
    ],
)
def test_a_name_that_is_not_on_the_list_is_refused(name):
    with pytest.raises((ValueError, ModuleNotFoundError)):
        read(["name", name])


def test_a_module_that_is_not_on_the_list_is_not_imported():
    sys.modules.pop("this", None)  # it prints when it is imported
    with pytest.raises(ValueError, match=r"got 'this\.s'"):
        read(["name", "this.s"])
    assert "this" not in sys.modules


@pytest.mark.parametrize("name", ["load", "hub", "nn", "", "__dict__", "classes"])
def test_a_dtype_of_torch_is_a_dtype(name):
    with pytest.raises(ValueError, match="must name dtypes of torch"):
        read(["torch.dtype", name])


@pytest.mark.parametrize("kind", ["object", "module", "namedtuple"])
def test_a_function_is_no_class(kind):
    with pytest.raises(ValueError, match="must name a class"):
        read(["dict", []], [kind, "sklearn_ae.objectives.terms.l1", [0]])


@pytest.mark.parametrize("place", [0, 1, -1, 10**9, True, "0", None])
def test_a_node_refers_to_earlier_nodes_only(place):
    with pytest.raises((ValueError, TypeError)):
        read(["list", [[place]]])


@pytest.mark.parametrize("kind", ["show_versions", "from_native", "dependencies", "DataFrame", "", "nothing"])
def test_a_dtype_of_a_column_is_a_dtype(kind):
    with pytest.raises(ValueError, match="must be one of narwhals"):
        other_frame({"library": "polars", "columns": [("a", kind, [])]})


def test_the_library_of_a_table_is_on_a_list():
    with pytest.raises(ValueError, match="library of a table must be one of"):
        other_frame({"library": "os", "columns": []})


def test_settings_of_the_net_that_are_not_saved_are_not_read():
    net = tiny(max_iter=1).fit(np.eye(4)).net_
    loaded = type(net).from_saved_state({**net.saved_state(), "compile": True, "callbacks": [print]})
    assert not loaded.compile
    assert loaded.callbacks is None
