"""Replay of a recorded computation: its operations, optimised and bound to the memory that they used.

Views, constants and results that are never read are left out. What remains is called in the fastest way that was found
to give the same result as the operation itself.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, UntypedStorage
from torch._ops import OpOverload

from sklearn_ae.training.calls import LIFT, Call, address, addresses, aten, layout, leaves_of, tensors_in
from sklearn_ae.training.tape import Tape, close, run_recorded, warn

Result = TypeVar("Result")
Replay = Callable[[], object]


def record(computation: Callable[[], Result]) -> tuple[Result, Replay | None]:
    """Run a computation and return its result, and a function that replays it.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. Its inputs are tensors that stay at their addresses, and it does the
        same operations whatever their values.

    Returns
    -------
    result : object
        The result of the computation. A replay overwrites the tensors in it.
    replay : callable or None
        ``() -> object``, repeats the computation on the current values of its inputs; None if it can't be replayed.

    Warns
    -----
    RuntimeWarning
        If the computation can't be replayed.
    """
    result, tape = run_recorded(computation)
    if tape.obstacle:
        warn(tape.obstacle)
        return result, None
    return result, build(result, tape)


def build(result: object, tape: Tape) -> Replay:
    """Return the program that repeats a recorded run and writes into the tensors of its result."""
    return Program(_optimized(tape.calls, kept=addresses(tensors_in(result))))


class Program:
    """A sequence of calls, each bound to its arguments and results."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.calls = [_bound(call) for call in calls]

    def __call__(self) -> None:
        """Run all calls."""
        for call in self.calls:
            call()


# Optimisation of the calls


def _optimized(calls: Sequence[Call], kept: set[int]) -> list[Call]:
    """Return the calls that are needed; storage whose address is in ``kept`` is neither shared nor replaced."""
    own = set().union(*(call.made for call in calls)) - kept
    needed = _needed(calls, kept)
    for call in needed:
        _way(call)  # it is found by trying, which needs the values as they are now
    return _packed(_without_copies(_turned(needed, own), own), own)


def _needed(calls: Sequence[Call], kept: set[int]) -> list[Call]:
    """Leave out views, constants, and results that are never read."""
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


def _turned(calls: Sequence[Call], own: set[int]) -> list[Call]:
    """Compute narrow matrix products that are only copied with their longer dimension contiguous."""
    turned: dict[int, Tensor] = {}
    for call in calls:
        if call.op is aten.bmm.default and _is_narrow(call.results[0]):
            (result,) = call.results
            at, whole = address(result), {layout(result), layout(result.mT)}
            users = [user for user in calls if at in addresses(user.arguments)]
            seen = [tensor for user in users for tensor in user.arguments if address(tensor) == at]
            only_copied = all(user.op is aten.copy_.default for user in users)
            if at in own and only_copied and all(layout(tensor) in whole for tensor in seen):
                turned[at] = result.mT.contiguous().mT

    def moved(tensor: Tensor) -> Tensor:
        other = turned.get(address(tensor))
        return tensor if other is None else other if tensor.is_contiguous() else other.mT

    return [call.on(moved) for call in calls]


def _without_copies(calls: Sequence[Call], own: set[int]) -> list[Call]:
    """Compute a result directly in the tensor that it is copied to."""
    makers = {at: position for position, call in enumerate(calls) for at in call.made}
    last = _last_uses(calls)
    home: dict[int, Tensor] = {}
    left_out = set()
    for position, call in enumerate(calls):
        if call.op is aten.copy_.default:
            target, source, *_ = call.args
            at = address(source)
            if (
                at in own & makers.keys()
                and last[at] == position
                and _fills_its_storage_like(source, target)
                and not _touches(calls[makers[at] : position], target)
            ):
                home[at] = target
                left_out.add(position)

    def moved(tensor: Tensor) -> Tensor:
        target = home.get(address(tensor))
        return tensor if target is None else _on(target.untyped_storage(), tensor, int(target.storage_offset()))

    return [call.on(moved) for position, call in enumerate(calls) if position not in left_out]


def _packed(calls: Sequence[Call], own: set[int]) -> list[Call]:
    """Reuse the storage of results that are no longer needed, so that it stays in the cache."""
    last = _last_uses(calls)
    place: dict[int, UntypedStorage] = {}
    free: list[UntypedStorage] = []
    for position, call in enumerate(calls):
        for tensor in call.results:
            at, storage = address(tensor), tensor.untyped_storage()
            if at in own and at not in place:
                fitting = [old for old in free if old.nbytes() >= storage.nbytes()]
                place[at] = min(fitting, key=UntypedStorage.nbytes, default=storage)
                free = [old for old in free if old is not place[at]]
        free += [storage for at, storage in place.items() if last[at] == position]

    def moved(tensor: Tensor) -> Tensor:
        storage = place.get(address(tensor))
        return tensor if storage is None else _on(storage, tensor)

    return [call.on(moved) for call in calls]


# Storage


def _last_uses(calls: Sequence[Call]) -> dict[int, int]:
    """Return the position of the last call that uses each address."""
    tensors = ((position, [*call.arguments, *call.results]) for position, call in enumerate(calls))
    return {at: position for position, there in tensors for at in addresses(there)}


def _on(storage: UntypedStorage, tensor: Tensor, offset: int = 0) -> Tensor:
    """Return a tensor with the layout of another one, in a given storage."""
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(storage, offset + tensor.storage_offset(), tensor.size(), tensor.stride())


def _fills_its_storage_like(source: Tensor, target: Tensor) -> bool:
    """Whether two contiguous tensors have one dtype and shape, and the source fills its storage."""
    return (
        source.dtype is target.dtype
        and source.size() == target.size()
        and source.is_contiguous()
        and target.is_contiguous()
        and source.untyped_storage().nbytes() == source.nbytes
    )


def _touches(calls: Iterable[Call], target: Tensor) -> bool:
    """Whether a call reads or writes elements of a contiguous tensor."""
    start, end = target.data_ptr(), target.data_ptr() + target.nbytes
    others = (tensor for call in calls for tensor in (*call.arguments, *call.results))
    return any(other.data_ptr() < end and start < other.data_ptr() + _span(other) for other in others)


def _span(tensor: Tensor) -> int:
    """Return the number of bytes from the first element to the last."""
    steps = ((size - 1) * stride for size, stride in zip(tensor.size(), tensor.stride(), strict=True))
    return (1 + sum(steps)) * tensor.itemsize


# Ways to call an operation


def _bound(call: Call) -> Replay:
    """Return the call as a function without arguments that writes into the tensors of its results."""
    if call.op in FASTER and (replay := FASTER[call.op](call)):
        return replay
    return _way(call)(call)


Way = Callable[[Call], Replay]

WAYS: dict[Hashable, Way] = {}  # by operation, dtypes and dimensions


def _way(call: Call) -> Way:
    """Return the fastest way to call an operation that gives the same result as the operation itself."""
    kind = (call.op, *call.kwargs, *((tensor.dtype, tensor.ndim) for tensor in (*call.arguments, *call.results)))
    if kind not in WAYS:
        WAYS[kind] = next((way for way in (_as_function, _into_results) if _is_right(way, call)), _as_operator)
    return WAYS[kind]


def _is_right(way: Way, call: Call) -> bool:
    """Whether a way gives the result of the operation, tried on copies."""
    here, there = _copied(call), _copied(call)
    try:
        for result in here.results:
            if address(result) in here.made:
                result.fill_(7)
        way(here)()
        _as_operator(there)()
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False
    pairs = zip((*here.changed, *here.results), (*there.changed, *there.results), strict=True)
    return all(a.shape == b.shape and close(a, b) for a, b in pairs)


def _copied(call: Call) -> Call:
    """Return the call on copies of its tensors; a tensor that is used twice has one copy."""
    copies: dict[Hashable, Tensor] = {}
    return call.on(lambda tensor: copies.setdefault((address(tensor), *layout(tensor), tensor.dtype), tensor.clone()))


def _as_function(call: Call) -> Replay:
    """Bind torch's function or the method of a tensor: they have less overhead in Python than the operator."""
    name, args = call.op.overloadpacket.__name__, _without_numbers(call)
    if not call.written:
        (result,) = call.results
        return partial(getattr(torch, name), *args, **call.kwargs, out=result)
    if call.made:
        raise TypeError(f"{call.op} changes its arguments in place and returns other tensors")
    return partial(getattr(torch, name, None) or getattr(Tensor, name), *args, **call.kwargs)


def _into_results(call: Call) -> Replay:
    """Bind the variant of the operator with ``out`` arguments."""
    into, names = _out_variant(call.op)
    if into is None or call.written:
        raise TypeError(f"{call.op} has no variant with out arguments")
    return partial(into, *call.args, **call.kwargs, **dict(zip(names, call.results, strict=True)))


def _as_operator(call: Call) -> Replay:
    """Bind the operator itself; new tensors that it returns are copied into the results."""
    return partial(_run, call) if call.made else partial(call.op, *call.args, **call.kwargs)


def _run(call: Call) -> None:
    found = [leaf for leaf in leaves_of(call.op(*call.args, **call.kwargs)) if isinstance(leaf, Tensor)]
    for target, source in zip(call.results, found, strict=True):
        target.copy_(source)


@cache
def _out_variant(op: OpOverload) -> tuple[OpOverload | None, list[str]]:
    """Return the variant of an operator with ``out`` arguments, and the names of these."""
    for variant in (getattr(op.overloadpacket, name) for name in op.overloadpacket.overloads()):
        out = [argument.name for argument in variant._schema.arguments if argument.is_out]
        if out and _inputs(variant) == _inputs(op):
            return variant, out
    return None, []


def _inputs(op: OpOverload) -> list[tuple[str, str]]:
    return [(argument.name, str(argument.type)) for argument in op._schema.arguments if not argument.is_out]


# Faster operations with the same result


def _without_numbers(call: Call) -> tuple[Any, ...]:
    """Return the arguments with numbers converted to tensors, which torch would do at every call."""
    x, *others = call.args or (None,)
    if call.op.overloadpacket not in TAKES_TENSORS or not _is_exact(x):
        return call.args
    return (x, *(torch.tensor(n, dtype=x.dtype, device=x.device) if isinstance(n, int | float) else n for n in others))


TAKES_TENSORS = {aten.add, aten.add_, aten.sub, aten.mul, aten.div, aten.ge, aten.gt, aten.le, aten.lt}


def _is_exact(x: Any) -> bool:
    """Whether a number can be converted to a tensor of this dtype without loss."""
    return isinstance(x, Tensor) and x.dtype in (torch.float32, torch.float64)


def _sums(call: Call) -> Replay | None:
    """Compute sums of rows or columns as a product with a vector of ones."""
    x, over, *_ = call.args
    if x.ndim != 2 or len(over) != 1 or not _is_exact(x) or call.kwargs:
        return None
    x = x.t() if over[0] % 2 == 0 else x
    return partial(torch.mv, x, x.new_ones(x.shape[1]), out=call.results[0].view(-1))


def _mean(call: Call) -> Replay | None:
    """Compute a mean as a dot product with equal weights."""
    (x,) = call.args
    if x.ndim != 1 or not _is_exact(x) or call.kwargs:
        return None
    return partial(torch.dot, x, torch.full_like(x, 1 / max(len(x), 1)), out=call.results[0])


def _relu(call: Call) -> Replay | None:
    (x,) = call.args
    return partial(torch.maximum, x, x.new_zeros(()), out=call.results[0])


def _converted(call: Call) -> Replay | None:
    return partial(call.results[0].copy_, call.args[0])


def _put(call: Call) -> Replay | None:
    """Add rows at their indices in place: the variant with ``out`` allocates a second table every time."""
    x, indices, values, accumulate = (*call.args, False)[:4]
    if not accumulate or len(indices) != 1 or indices[0].ndim != 1 or indices[0].dtype != torch.int64:
        return None
    return partial(_added, call.results[0], x, indices[0], values)


def _added(result: Tensor, x: Tensor, index: Tensor, values: Tensor) -> None:
    result.copy_(x).index_add_(0, index, values)


def _products(call: Call) -> Replay | None:
    """Compute narrow results transposed: the kernels of matrix products work along the columns of a result."""
    (a, b), (result,) = call.args, call.results
    if not result.is_contiguous():
        return partial(torch.bmm, b.mT, a.mT, out=result.mT)
    if not _is_narrow(result) or result.shape[2] > LANES:  # with more columns the copy costs more than it gains
        return None
    return partial(_turned_back, result, b.mT, a.mT, result.mT.contiguous())


def _turned_back(result: Tensor, a: Tensor, b: Tensor, turned: Tensor) -> None:
    result.copy_(torch.bmm(a, b, out=turned).mT)


def _is_narrow(result: Tensor) -> bool:
    """Whether matrices (n, rows, columns) have few columns, whose number is no multiple of the vector width."""
    n_rows, n_columns = result.shape[1:]
    return n_columns % LANES != 0 and 1 < n_columns <= n_rows // 2


LANES = 16  # vector width of a processor in numbers, at most

FASTER: dict[OpOverload, Callable[[Call], Replay | None]] = {
    LIFT: _converted,
    aten.sum.dim_IntList: _sums,
    aten.mean.default: _mean,
    aten.bmm.default: _products,
    aten.relu.default: _relu,
    aten._to_copy.default: _converted,
    aten.index_put.default: _put,
}
