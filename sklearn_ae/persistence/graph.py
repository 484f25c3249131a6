"""Objects as a list of nodes of JSON and a list of arrays, and back. No code is stored and none of the file is run.

A value is a JSON constant, or ``[i]`` for node i. A node is ``[kind, ...]`` and holds values; it refers to earlier
nodes only, so that a file is read without recursion and can't hold a cycle.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sklearn_ae.persistence.names import NAMED, Names, name_of
from sklearn_ae.training.net import at_hand

COLLECTIONS = (list, tuple, set, frozenset)
NUMBERS = "biuf"  # kinds of dtypes that are stored as arrays
KEPT = {"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
HOOKS = frozenset(vars(nn.Module())) - KEPT  # attributes that torch adds to every module for callables of the user


class Encoder:
    """Writer of nodes.

    Parameters
    ----------
    trusted : collection of class or function, default=()
        Classes and functions of the user, which are stored by their names.

    Attributes
    ----------
    nodes : list
        The nodes.
    arrays : list of ndarray
        Numbers of the arrays and tensors.
    """

    def __init__(self, trusted: Collection[Any] = ()) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[NDArray] = []
        self.names = Names(trusted)
        self._places: dict[int, int] = {}
        self._kept: list[Any] = []  # an object that ends may leave its id to another one
        self._open: set[int] = set()

    def value(self, thing: Any, path: str = "") -> Any:
        """Return a value for an object, after writing the nodes that it needs.

        Raises
        ------
        ValueError
            If the object can't be stored as data; ``path`` says where it is.
        """
        if thing is None or type(thing) in (bool, int, str):
            return thing
        if type(thing) is float and np.isfinite(thing):
            return thing
        if id(thing) not in self._places:
            if id(thing) in self._open:
                raise ValueError(f"{path} must not contain itself, got {thing!r}")
            self._open.add(id(thing))
            self.nodes.append(self._node(thing, path))
            self._places[id(thing)] = len(self.nodes) - 1
            self._kept.append(thing)
        return [self._places[id(thing)]]

    def _node(self, thing: Any, path: str) -> list[Any]:
        if isinstance(thing, NAMED):
            if thing not in self.names:
                raise ValueError(_refused(thing, path))
            return ["name", name_of(thing)]
        if type(thing) in COLLECTIONS:
            return [type(thing).__name__, self.values(thing, path)]
        if type(thing) is dict:
            return ["dict", self.items(thing, path)]
        for kind, write in WRITERS.items():
            if isinstance(thing, kind):
                return write(self, thing, path)
        return self._object(thing, path)

    def _object(self, thing: Any, path: str) -> list[Any]:
        kind = type(thing)
        if kind not in self.names:
            raise ValueError(_refused(thing, path))
        if issubclass(kind, tuple):
            return ["namedtuple", name_of(kind), self.values(thing, path)]
        state = thing.saved_state() if hasattr(thing, "saved_state") else thing.__getstate__() or {}
        return ["object", name_of(kind), self.value(dict(state), path)]

    def values(self, things: Collection[Any], path: str) -> list[Any]:
        """Return values for several objects."""
        return [self.value(thing, f"{path}[{place}]") for place, thing in enumerate(things)]

    def items(self, things: dict[Any, Any], path: str) -> list[Any]:
        """Return pairs of values for the items of a dict."""
        return [[self.value(key, path), self.value(thing, _below(path, key))] for key, thing in things.items()]

    def array(self, numbers: NDArray) -> int:
        """Add an array of numbers and return its place."""
        self.arrays.append(np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("=")).reshape(numbers.shape))
        return len(self.arrays) - 1


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path and isinstance(key, str) else str(key)


def _refused(thing: Any, path: str) -> str:
    return (
        f"{path or 'the object'} must be data or a part of sklearn_ae to be saved, got {thing!r}: name classes and "
        "functions of your own in trusted=[...], or use joblib.dump, which keeps all, but whose files can run any code"
    )


def _write_array(encoder: Encoder, thing: NDArray, path: str) -> list[Any]:
    thing = thing.view(np.ndarray) if type(thing) is np.memmap else thing
    if type(thing) is np.ndarray and thing.dtype.kind in NUMBERS and thing.dtype.itemsize <= 8:
        return ["array", encoder.array(thing)]
    if type(thing) is np.ndarray and thing.dtype.kind in "OU":
        return ["objects", thing.dtype.kind, list(thing.shape), encoder.values(thing.ravel().tolist(), path)]
    raise ValueError(_refused(thing, path))


def _write_tensor(encoder: Encoder, thing: torch.Tensor, path: str) -> list[Any]:
    numbers = encoder.array(thing.detach().cpu().numpy())
    return ["parameter" if isinstance(thing, nn.Parameter) else "tensor", numbers, str(thing.device)]


def _write_module(encoder: Encoder, thing: nn.Module, path: str) -> list[Any]:
    state = {name: value for name, value in vars(thing).items() if name not in HOOKS}
    if type(thing) not in encoder.names or any(vars(thing)[name] for name in HOOKS):
        raise ValueError(_refused(thing, path))
    return ["module", name_of(type(thing)), encoder.value(state, path)]


def _write_partial(encoder: Encoder, thing: partial[Any], path: str) -> list[Any]:
    arguments = encoder.values(thing.args, path), encoder.items(thing.keywords, path)
    return ["partial", encoder.value(thing.func, path), *arguments]


def _write_random(encoder: Encoder, thing: np.random.RandomState, path: str) -> list[Any]:
    name, keys, *others = thing.get_state(legacy=True)
    return ["random", name, encoder.array(np.asarray(keys)), *others]


def _write_scalar(encoder: Encoder, thing: np.generic, path: str) -> list[Any]:
    if thing.dtype.kind not in f"{NUMBERS}U" or thing.dtype.itemsize > 8 and thing.dtype.kind != "U":
        raise ValueError(_refused(thing, path))
    return ["scalar", thing.dtype.str, encoder.value(thing.item(), path)]


WRITERS: dict[Any, Callable[[Encoder, Any, str], list[Any]]] = {
    np.generic: _write_scalar,  # before float: numpy.float64 is one
    float: lambda encoder, thing, path: ["float", str(thing)],
    np.ndarray: _write_array,
    torch.Tensor: _write_tensor,
    nn.Module: _write_module,
    partial: _write_partial,
    np.random.RandomState: _write_random,
    torch.dtype: lambda encoder, thing, path: ["torch.dtype", str(thing).removeprefix("torch.")],
    torch.device: lambda encoder, thing, path: ["device", str(thing)],
    np.dtype: lambda encoder, thing, path: ["dtype", thing.str],
}


class Decoder:
    """Reader of nodes.

    Parameters
    ----------
    arrays : sequence of ndarray
        The arrays that the nodes refer to.
    trusted : collection of class or function, default=()
        Classes and functions of the user that the nodes may name.
    """

    def __init__(self, arrays: Sequence[NDArray], trusted: Collection[Any] = ()) -> None:
        self.arrays = arrays
        self.names = Names(trusted)
        self._read: list[Any] = []

    def read(self, nodes: list[Any]) -> Any:
        """Return the object of the last node."""
        for kind, *parts in nodes:
            self._read.append(READERS[kind](self, *parts))
        return self._read[-1]

    def value(self, value: Any) -> Any:
        """Return the object that a value stands for."""
        if isinstance(value, list):
            (place,) = value
            if not (type(place) is int and 0 <= place < len(self._read)):
                raise ValueError(f"a node must refer to an earlier one, got {place!r} in node {len(self._read)}")
            return self._read[place]
        return value

    def values(self, values: list[Any]) -> list[Any]:
        """Return the objects that several values stand for."""
        return [self.value(value) for value in values]

    def items(self, items: list[Any]) -> dict[Any, Any]:
        """Return a dict of pairs of values."""
        return {self.value(key): self.value(value) for key, value in items}

    def kind(self, name: str, base: type = object) -> Any:
        """Return the class of a name."""
        found = self.names.found(name)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"the file must name a class of {base.__name__}, got {name!r}")
        return found


def _read_object(decoder: Decoder, name: str, state: Any) -> Any:
    kind, state = decoder.kind(name), decoder.value(state)
    if hasattr(kind, "from_saved_state"):
        return kind.from_saved_state(state)
    thing = object.__new__(kind)
    vars(thing).update(state)
    return thing


def _read_module(decoder: Decoder, name: str, state: Any) -> nn.Module:
    module = object.__new__(decoder.kind(name, nn.Module))
    nn.Module.__init__(module)
    vars(module).update(decoder.value(state))
    return module


def _read_objects(decoder: Decoder, kind: str, shape: list[int], values: list[Any]) -> NDArray:
    array = np.fromiter(decoder.values(values), dtype=object, count=len(values))
    return (array.astype(str) if kind == "U" else array).reshape(shape)


def _read_partial(decoder: Decoder, function: Any, args: list[Any], keywords: list[Any]) -> partial[Any]:
    return partial(decoder.value(function), *decoder.values(args), **decoder.items(keywords))


def _read_random(decoder: Decoder, name: str, keys: int, *others: Any) -> np.random.RandomState:
    random = np.random.RandomState()
    random.set_state((name, decoder.arrays[keys], *others))
    return random


def _read_tensor(decoder: Decoder, numbers: int, device: str) -> torch.Tensor:
    return torch.from_numpy(decoder.arrays[numbers]).to(at_hand(device))


def _read_torch_dtype(decoder: Decoder, name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):  # another attribute may be a function that runs code
        raise ValueError(f"the file must name dtypes of torch, got {name!r}")
    return dtype


READERS: dict[str, Callable[..., Any]] = {
    **{
        kind.__name__: partial(lambda decoder, values, kind: kind(decoder.values(values)), kind=kind)
        for kind in COLLECTIONS
    },
    "dict": Decoder.items,
    "array": lambda decoder, numbers: decoder.arrays[numbers],
    "device": lambda decoder, name: torch.device(name),
    "dtype": lambda decoder, name: np.dtype(name),
    "float": lambda decoder, text: float(text),
    "module": _read_module,
    "name": lambda decoder, name: decoder.names.found(name),
    "namedtuple": lambda decoder, name, values: decoder.kind(name, tuple)(*decoder.values(values)),
    "object": _read_object,
    "objects": _read_objects,
    "parameter": lambda decoder, *parts: nn.Parameter(_read_tensor(decoder, *parts)),
    "partial": _read_partial,
    "random": _read_random,
    "scalar": lambda decoder, dtype, value: np.dtype(dtype).type(decoder.value(value)),
    "tensor": _read_tensor,
    "torch.dtype": _read_torch_dtype,
}
