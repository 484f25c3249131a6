"""A computation that is recorded once and then replayed, as operations on the memory that it used.

Small networks are bound by what surrounds the arithmetic: Python, autograd, allocation. A tape lies below all three. It
sees the operations on tensors that a computation comes down to, the backward pass included. They alone are replayed,
each with its arguments and its result already in place.

"Memory" is here the address of a tensor's storage: a view has the memory of its base.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, TypeVar

import torch
from torch import Tag, Tensor, UntypedStorage
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten

Result = TypeVar("Result")
Replay = Callable[[], object]

OBSTACLES = {
    Tag.nondeterministic_seeded: "draws from torch's global generator: noise is asked of sklearn_ae.modules.noise",
    Tag.data_dependent_output: "reads a number off a tensor",
    Tag.dynamic_output_shape: "returns a shape that depends on values",
}

SHAPE_ONLY = {  # of their arguments they read the shape, not the values
    aten.empty_like,
    aten.full_like,
    aten.new_empty,
    aten.new_empty_strided,
    aten.new_full,
    aten.new_ones,
    aten.new_zeros,
    aten.ones_like,
    aten.zeros_like,
}


def record(computation: Callable[[], Result]) -> tuple[Result, Replay | None]:
    """Run a computation; return its result and what runs it again, or None if nothing can.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. It reads what changes from tensors that stay where they are, and does
        the same operations whatever their values.

    Returns
    -------
    result : object
        What the computation returned. Running it again changes the tensors in it.
    replay : callable or None
        ``() -> anything``, runs the computation again on what its input is by then.

    Warns
    -----
    RuntimeWarning
        If the computation can't be replayed.
    """
    with _Tape() as tape:
        result = computation()
    if tape.obstacle:
        warnings.warn(
            f"a step can be replayed if it does the same operations every time, however {tape.obstacle}. It is run as "
            "it is written, which is slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return result, None
    return result, _Program(_optimized(tape.calls, kept=_memories(_tensors(result))))


@dataclass(frozen=True, eq=False)
class _Call:
    """An operation, what it was called with, and the tensors it returned."""

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]

    @cached_property
    def arguments(self) -> list[Tensor]:
        return _tensors((self.args, self.kwargs))

    @cached_property
    def read(self) -> set[int]:
        """Memory that the results depend on."""
        return set() if self.op.overloadpacket in SHAPE_ONLY else _memories(self.arguments)

    @cached_property
    def written(self) -> set[int]:
        """Memory of arguments that are changed in place."""
        if Tag.inplace_view in self.op.tags:
            return set()
        named = zip(self.op._schema.arguments, self.args, strict=False)
        return _memories(_tensors([value for argument, value in named if argument.is_write]))

    @cached_property
    def made(self) -> set[int]:
        """Memory of results that is not that of an argument; a view makes none."""
        return _memories(self.results) - _memories(self.arguments)

    def on(self, place: Callable[[Tensor], Tensor]) -> "_Call":
        """Return the call with its tensors in other places."""
        return _Call(self.op, *tree_map_only(Tensor, place, (self.args, self.kwargs, self.results)))


class _Tape(TorchDispatchMode):
    """Writes down every operation on tensors. A mode belongs to its thread."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self.obstacle: str | None = None

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = op(*args, **(kwargs or {}))
        if not _is_gather(op, args):
            self.obstacle = next((f"{op} {OBSTACLES[tag]}" for tag in op.tags if tag in OBSTACLES), self.obstacle)
        # A tensor may change its shape later on, as by squeeze_. An alias remembers what it was.
        args, kwargs = tree_map_only(Tensor, Tensor.detach, (tuple(args), kwargs or {}))
        self.calls.append(_Call(op, args, kwargs, tuple(tensor.detach() for tensor in _tensors(result))))
        return result


def _is_gather(op: OpOverload, args: Sequence[Any]) -> bool:
    """Whether rows are taken by number and not by a mask, which would give a shape that depends on values."""
    return op is aten.index.Tensor and not any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(args[1]))


class _Program:
    """Calls in a row, each bound to its arguments."""

    def __init__(self, calls: Iterable[_Call]) -> None:
        self.calls = [_bound(call) for call in calls]

    def __call__(self) -> None:
        for call in self.calls:
            call()


# What is left of a tape


def _optimized(calls: Sequence[_Call], kept: set[int]) -> list[_Call]:
    """Leave out what is no work; the memory of the results is kept as it is."""
    own = set().union(*(call.made for call in calls)) - kept
    return _packed(_without_copies(_turned(_needed(calls, kept), own), own), own)


def _needed(calls: Sequence[_Call], kept: set[int]) -> list[_Call]:
    """Leave out views, constants, and what nobody reads."""
    made = set().union(*(call.made for call in calls))
    written = set().union(*(call.written for call in calls))
    constant: set[int] = set()
    varying = []
    for call in calls:
        if not call.written and not call.made & written and call.read <= constant:
            constant |= call.made
        else:
            varying.append(call)
    live = kept | (written - made)
    needed = []
    for call in reversed(varying):
        if (call.made | call.written) & live:
            live |= call.read
            needed.append(call)
    return needed[::-1]


def _turned(calls: Sequence[_Call], own: set[int]) -> list[_Call]:
    """Compute narrow products that are only copied elsewhere with their longer side last."""
    turned: dict[int, Tensor] = {}
    for call in calls:
        if call.op is aten.bmm.default and _is_narrow(call.results[0]):
            (result,) = call.results
            memory, whole = _memory(result), {_layout(result), _layout(result.mT)}
            users = [user for user in calls if memory in _memories(user.arguments)]
            seen = [tensor for user in users for tensor in user.arguments if _memory(tensor) == memory]
            only_copied = all(user.op is aten.copy_.default for user in users)
            if memory in own and only_copied and all(_layout(tensor) in whole for tensor in seen):
                turned[memory] = result.mT.contiguous().mT

    def moved(tensor: Tensor) -> Tensor:
        other = turned.get(_memory(tensor))
        return tensor if other is None else other if tensor.is_contiguous() else other.mT

    return [call.on(moved) for call in calls]


def _layout(tensor: Tensor) -> tuple[torch.Size, tuple[int, ...]]:
    return tensor.size(), tensor.stride()


def _without_copies(calls: Sequence[_Call], own: set[int]) -> list[_Call]:
    """Compute a result where it is copied to in the end."""
    makers = {memory: position for position, call in enumerate(calls) for memory in call.made}
    last = _last_uses(calls)
    home: dict[int, Tensor] = {}
    left_out = set()
    for position, call in enumerate(calls):
        if call.op is aten.copy_.default:
            target, source, *_ = call.args
            memory = _memory(source)
            if (
                memory in own & makers.keys()
                and last[memory] == position
                and _fills_its_memory_like(source, target)
                and not _touches(calls[makers[memory] : position], target)
            ):
                home[memory] = target
                left_out.add(position)

    def moved(tensor: Tensor) -> Tensor:
        target = home.get(_memory(tensor))
        return tensor if target is None else _on(target.untyped_storage(), tensor, int(target.storage_offset()))

    return [call.on(moved) for position, call in enumerate(calls) if position not in left_out]


def _packed(calls: Sequence[_Call], own: set[int]) -> list[_Call]:
    """Use the memory of results that are no longer needed for others, so that it stays in the cache."""
    last = _last_uses(calls)
    place: dict[int, UntypedStorage] = {}
    free: list[UntypedStorage] = []
    for position, call in enumerate(calls):
        for tensor in call.results:
            memory, storage = _memory(tensor), tensor.untyped_storage()
            if memory in own and memory not in place:
                fitting = [old for old in free if old.nbytes() >= storage.nbytes()]
                place[memory] = min(fitting, key=UntypedStorage.nbytes, default=storage)
                free = [old for old in free if old is not place[memory]]
        free += [storage for memory, storage in place.items() if last[memory] == position]

    def moved(tensor: Tensor) -> Tensor:
        storage = place.get(_memory(tensor))
        return tensor if storage is None else _on(storage, tensor)

    return [call.on(moved) for call in calls]


# Memory


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _memories(tensors: Iterable[Tensor]) -> set[int]:
    return {_memory(tensor) for tensor in tensors}


def _last_uses(calls: Sequence[_Call]) -> dict[int, int]:
    tensors = ((position, [*call.arguments, *call.results]) for position, call in enumerate(calls))
    return {memory: position for position, there in tensors for memory in _memories(there)}


def _on(storage: UntypedStorage, tensor: Tensor, offset: int = 0) -> Tensor:
    """Return a tensor like another one in other memory."""
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(storage, offset + tensor.storage_offset(), tensor.size(), tensor.stride())


def _fills_its_memory_like(source: Tensor, target: Tensor) -> bool:
    return (
        source.dtype is target.dtype
        and source.size() == target.size()
        and source.is_contiguous()
        and target.is_contiguous()
        and source.untyped_storage().nbytes() == source.nbytes
    )


def _touches(calls: Iterable[_Call], target: Tensor) -> bool:
    """Whether a call has to do with the cells of a contiguous tensor."""
    start, end = target.data_ptr(), target.data_ptr() + target.nbytes
    others = (tensor for call in calls for tensor in (*call.arguments, *call.results))
    return any(other.data_ptr() < end and start < other.data_ptr() + _span(other) for other in others)


def _span(tensor: Tensor) -> int:
    """Bytes from the first cell to the last."""
    steps = ((size - 1) * stride for size, stride in zip(tensor.size(), tensor.stride(), strict=True))
    return (1 + sum(steps)) * tensor.itemsize


# How torch is called


def _bound(call: _Call) -> Replay:
    """Return the call as a function without arguments that writes the results where they are."""
    name = call.op.overloadpacket.__name__
    args = _without_numbers(call)
    if call.written:
        function = getattr(torch, name, getattr(Tensor, name, call.op))
        return partial(function, *args, **call.kwargs)
    if call.op in FASTER and (replay := FASTER[call.op](call)):
        return replay
    if _takes_out(call):  # torch's own functions cost less Python than its operators
        return partial(getattr(torch, name), *args, **call.kwargs, out=call.results[0])
    into, names = _out_variant(call.op)
    if into and len(names) == len(call.results):
        return partial(into, *call.args, **call.kwargs, **dict(zip(names, call.results, strict=True)))
    return partial(_copied, call)


_TAKES_OUT: dict[OpOverload, bool] = {}  # found by trying


def _takes_out(call: _Call) -> bool:
    """Whether torch has a function for the operation that is told where its result goes."""
    if call.op not in _TAKES_OUT:
        try:
            function = getattr(torch, call.op.overloadpacket.__name__)
            (result,) = call.results
            function(*call.args, **call.kwargs, out=torch.empty_like(result))
            _TAKES_OUT[call.op] = True
        except (AttributeError, TypeError, ValueError, RuntimeError):
            _TAKES_OUT[call.op] = False
    return _TAKES_OUT[call.op]


@cache
def _out_variant(op: OpOverload) -> tuple[OpOverload | None, list[str]]:
    """Return the operator that is told where its results go, and its names for them."""
    for variant in (getattr(op.overloadpacket, name) for name in op.overloadpacket.overloads()):
        out = [argument.name for argument in variant._schema.arguments if argument.is_out]
        if out and _inputs(variant) == _inputs(op):
            return variant, out
    return None, []


def _inputs(op: OpOverload) -> list[tuple[str, str]]:
    return [(argument.name, str(argument.type)) for argument in op._schema.arguments if not argument.is_out]


def _copied(call: _Call) -> None:
    for target, source in zip(call.results, _tensors(call.op(*call.args, **call.kwargs)), strict=True):
        target.copy_(source)


# Faster ways to the same result


def _without_numbers(call: _Call) -> tuple[Any, ...]:
    """Return the arguments with numbers made tensors, which torch would else do at every call."""
    x, *others = call.args or (None,)
    if call.op.overloadpacket not in TAKES_TENSORS or not _is_exact(x):
        return call.args
    return (x, *(torch.tensor(n, dtype=x.dtype, device=x.device) if isinstance(n, int | float) else n for n in others))


TAKES_TENSORS = {aten.add, aten.add_, aten.sub, aten.mul, aten.div, aten.ge, aten.gt, aten.le, aten.lt}


def _is_exact(x: Any) -> bool:
    """Whether a number loses nothing by becoming a tensor like this one."""
    return isinstance(x, Tensor) and x.dtype in (torch.float32, torch.float64)


def _sums(call: _Call) -> Replay | None:
    """Sum rows or columns as a product with ones."""
    x, over, *_ = call.args
    if x.ndim != 2 or len(over) != 1 or not _is_exact(x) or call.kwargs:
        return None
    x = x.t() if over[0] % 2 == 0 else x
    return partial(torch.mv, x, x.new_ones(x.shape[1]), out=call.results[0].view(-1))


def _mean(call: _Call) -> Replay | None:
    """Take a mean as a product with equal shares."""
    (x,) = call.args
    if x.ndim != 1 or not _is_exact(x) or call.kwargs:
        return None
    return partial(torch.dot, x, torch.full_like(x, 1 / max(len(x), 1)), out=call.results[0])


def _relu(call: _Call) -> Replay | None:
    (x,) = call.args
    return partial(torch.maximum, x, x.new_zeros(()), out=call.results[0])


def _converted(call: _Call) -> Replay | None:
    return partial(call.results[0].copy_, call.args[0])


def _put(call: _Call) -> Replay | None:
    """Add rows where they belong, in place: the operator with ``out`` makes a second table every time."""
    x, indices, values, accumulate = (*call.args, False)[:4]
    if not accumulate or len(indices) != 1 or indices[0].ndim != 1 or indices[0].dtype != torch.int64:
        return None
    return partial(_added, call.results[0], x, indices[0], values)


def _added(result: Tensor, x: Tensor, index: Tensor, values: Tensor) -> None:
    result.copy_(x).index_add_(0, index, values)


def _products(call: _Call) -> Replay | None:
    """Compute narrow results the other way round: what takes products works along the columns of a result."""
    (a, b), (result,) = call.args, call.results
    if not result.is_contiguous():
        return partial(torch.bmm, b.mT, a.mT, out=result.mT)
    if not _is_narrow(result) or result.shape[2] > LANES:  # more columns are not worth a copy
        return None
    return partial(_turned_back, result, b.mT, a.mT, result.mT.contiguous())


def _turned_back(result: Tensor, a: Tensor, b: Tensor, turned: Tensor) -> None:
    result.copy_(torch.bmm(a, b, out=turned).mT)


def _is_narrow(result: Tensor) -> bool:
    """Whether matrices (n, rows, columns) have few columns beside their rows, and none that fill a vector."""
    n_rows, n_columns = result.shape[1:]
    return n_columns % LANES != 0 and 1 < n_columns <= n_rows // 2


LANES = 16  # numbers that a processor handles at once, at most

FASTER: dict[OpOverload, Callable[[_Call], Replay | None]] = {
    aten.sum.dim_IntList: _sums,
    aten.mean.default: _mean,
    aten.bmm.default: _products,
    aten.relu.default: _relu,
    aten._to_copy.default: _converted,
    aten.index_put.default: _put,
}
