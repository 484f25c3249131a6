"""Recording of a computation as the operations on tensors that it consists of, and comparison of two such runs.

Small networks are bound by overhead: Python, autograd, memory allocation. The tape records below all three: it sees the
operations that a computation consists of, those of the backward pass included. Replaying only these operations
(:mod:`sklearn_ae.training.program`), with arguments and results already in place, avoids the overhead.

The tape does not see Python. A number that a term takes from a Python object is recorded as it was. So two runs in a
row are recorded, and the computation is replayed only if both runs were the same.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tag, Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sklearn_ae.training.calls import LIFT, Call, address, aten, layout, leaves_of, mapped, tensors_in

Result = TypeVar("Result")

OBSTACLES = {
    Tag.nondeterministic_seeded: "draws from torch's global generator: draw noise with sklearn_ae.modules.noise",
    Tag.data_dependent_output: "reads a number off a tensor",
    Tag.dynamic_output_shape: "returns a shape that depends on values",
}


def run_recorded(computation: Callable[[], Result]) -> tuple[Result, "Tape"]:
    """Run a computation; return its result and the tape of its operations."""
    with Tape() as tape:
        result = computation()
    return result, tape


def warn(obstacle: str) -> None:
    """Warn that a computation is not replayed, and why."""
    warnings.warn(
        f"a step can be replayed if it does the same operations every time, but {obstacle}. It is not replayed, "
        "which is slower",
        RuntimeWarning,
        stacklevel=3,
    )


class Tape(TorchDispatchMode):
    """Records every operation on tensors in the current thread."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.obstacle: str | None = None

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.namespace == "profiler":  # the marks of torch's profiler
            return op(*args, **(kwargs or {}))
        # A tensor made from Python or NumPy numbers is a constant of the operation, not an input to read again.
        before = (args[0].clone(),) if op is LIFT else args
        result = op(*args, **(kwargs or {}))
        if not _is_gather(op, args):
            self.obstacle = next((f"{op} {OBSTACLES[tag]}" for tag in op.tags if tag in OBSTACLES), self.obstacle)
        # Operations such as squeeze_ change the shape of a tensor later on; its alias keeps the shape.
        there = (tuple(before), kwargs or {}, tuple(leaf for leaf in leaves_of(result) if isinstance(leaf, Tensor)))
        self.calls.append(Call(op, *mapped(there, Tensor.detach)))
        return result

    def state(self) -> list[Tensor]:
        """Return the tensors that existed before and are changed, each part once."""
        made = set().union(*(call.made for call in self.calls))
        changed = (tensor for call in self.calls for tensor in call.changed if address(tensor) not in made)
        return list({(address(tensor), *layout(tensor)): tensor for tensor in changed}.values())

    def precision(self) -> float:
        """Return the machine epsilon of the lowest floating-point precision among the results."""
        dtypes = {tensor.dtype for call in self.calls for tensor in call.results if tensor.is_floating_point()}
        return max((torch.finfo(dtype).eps for dtype in dtypes), default=0.0)


# Comparison of two runs


class _Entry(NamedTuple):
    """An operation for comparison: numbers by value, tensors by address and layout."""

    name: str
    numbers: tuple[str, ...]
    places: tuple[Hashable, ...]


class RecordedRun:
    """The operations of one run of a computation, to be compared with those of another run.

    It holds the tensors that existed before the run, so that their memory is not given to others in the meantime.
    """

    def __init__(self, tape: Tape, result: object) -> None:
        made: dict[int, int] = {}
        for call in tape.calls:
            for at in call.made:
                made.setdefault(at, len(made))

        def place(tensor: Tensor) -> Hashable:
            at = address(tensor)
            return at in made, made.get(at, at), *layout(tensor), tensor.dtype

        returned, shape = tree_flatten(result)
        tensors = [leaf for leaf in returned if isinstance(leaf, Tensor)]
        self.entries = [_entry(call, place) for call in tape.calls]
        self.entries.append(_Entry("a result", (str(shape),), tuple(map(place, tensors))))
        self.held = [t for call in tape.calls for t in call.arguments if address(t) not in made and call.op is not LIFT]

    def difference(self, other: "RecordedRun") -> str | None:
        """Return the first difference from another run, None if there is none."""
        for a, b in zip_longest(self.entries, other.entries, fillvalue=_Entry("nothing", (), ())):
            if a.name != b.name:
                return f"it did {b.name} where it did {a.name} a step before"
            if a.numbers != b.numbers:
                x, y = next(pair for pair in zip_longest(a.numbers, b.numbers) if pair[0] != pair[1])
                return f"{a.name} met {y} where it met {x} a step before"
            if a.places != b.places:
                return f"{a.name} met a tensor that lay elsewhere a step before"
        return None


def _entry(call: Call, place: Callable[[Tensor], Hashable]) -> _Entry:
    if call.op is LIFT:
        return _Entry("a tensor made of Python's or NumPy's numbers", (_content(call.args[0]),), ())
    numbers = (repr(leaf) for leaf in call.leaves if not isinstance(leaf, Tensor))
    return _Entry(str(call.op), (*numbers, *call.kwargs), tuple(map(place, call.arguments)))


def _content(tensor: Tensor) -> str:
    """Return a text that identifies the values of a tensor and their dtype."""
    if tensor.numel() <= 8:
        return f"{tensor.tolist()} ({tensor.dtype})"
    cells = tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tuple(tensor.shape)} numbers ({tensor.dtype}, {sha256(cells).hexdigest()[:16]})"


def _is_gather(op: OpOverload, args: Sequence[Any]) -> bool:
    """Whether rows are indexed by integers, not by a mask, for which the shape would depend on values."""
    return op is aten.index.Tensor and not any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(args[1]))


def close(a: Tensor, b: Tensor, precision: float | None = None, floor: float = 0.0) -> bool:
    """Whether two tensors are equal up to rounding; ``precision`` is the machine epsilon, by default that of ``b``."""
    if not b.is_floating_point() or not b.numel() or torch.equal(a, b):
        return torch.equal(a, b)
    precision = torch.finfo(b.dtype).eps if precision is None else precision
    dtype = torch.promote_types(b.dtype, torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    size = b.nan_to_num(0.0, 0.0, 0.0).abs_()
    allowed = size.mul(precision**0.5).add_(64 * precision * (size.max().item() + floor))
    near = (a - b).abs_() <= allowed
    return bool(near.all()) or bool((near | (a == b) | ((a != a) & (b != b))).all())  # infinite, or NaN
