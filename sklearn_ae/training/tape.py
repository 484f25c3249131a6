"""A computation that is recorded once and then replayed, as operations on the memory that it used.

Small networks are bound by what surrounds the arithmetic: Python, autograd, allocation. A tape lies below all three. It
sees the operations on tensors that a computation comes down to, the backward pass included. They alone are replayed,
each with its arguments and its result already in place.

What a tape can't see is Python: a number that a term takes from somewhere is written down as it was. So two runs in a
row are written down, and a computation is replayed only if they were the same.

"Memory" is here the address of a tensor's storage: a view has the memory of its base.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import sha256
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tag, Tensor, UntypedStorage
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves

aten = torch.ops.aten
LIFT = aten.lift_fresh.default

Result = TypeVar("Result")
Replay = Callable[[], object]

OBSTACLES = {
    Tag.nondeterministic_seeded: "draws from torch's global generator: noise is asked of sklearn_ae.modules.noise",
    Tag.data_dependent_output: "reads a number off a tensor",
    Tag.dynamic_output_shape: "returns a shape that depends on values",
}

UNDECLARED = {"running_mean", "running_var"}  # batch norm changes these, which its schema does not tell

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
    result, tape = watched(computation)
    if tape.obstacle:
        warn(tape.obstacle)
        return result, None
    return result, program(result, tape)


def program(result: object, tape: "Tape") -> Replay:
    """Return what runs a computation again after it was watched, its result in the same tensors."""
    return _Program(_optimized(tape.calls, kept=_memories(_tensors(result))))


def warn(obstacle: str) -> None:
    """Say why a computation is not replayed."""
    warnings.warn(
        f"a step can be replayed if it does the same operations every time, however {obstacle}. It is run as it is "
        "written, which is slower",
        RuntimeWarning,
        stacklevel=3,
    )


def watched(computation: Callable[[], Result]) -> tuple[Result, "Tape"]:
    """Run a computation; return its result, and what it did."""
    with Tape() as tape:
        result = computation()
    return result, tape


@dataclass(frozen=True, eq=False)
class _Call:
    """An operation, what it was called with, and the tensors it returned."""

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]

    @cached_property
    def leaves(self) -> list[Any]:
        """What it was called with, one by one."""
        return list(_leaves((self.args, self.kwargs)))

    @cached_property
    def arguments(self) -> list[Tensor]:
        return [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]

    @cached_property
    def read(self) -> set[int]:
        """Memory that the results depend on."""
        return set() if self.op is LIFT or self.op.overloadpacket in SHAPE_ONLY else _memories(self.arguments)

    @cached_property
    def changed(self) -> list[Tensor]:
        """Arguments that are changed in place, given by position or by name, as is ``out``."""
        positions = _changed(self.op)
        if not positions:
            return []
        given = [self.args[k] if k < len(self.args) else self.kwargs.get(name) for k, name in positions]
        return [leaf for leaf in _leaves(given) if isinstance(leaf, Tensor)]

    @cached_property
    def written(self) -> set[int]:
        """Their memory."""
        return _memories(self.changed)

    @cached_property
    def made(self) -> set[int]:
        """Memory of results that is not that of an argument; a view makes none."""
        return _memories(self.results) - _memories(self.arguments)

    def on(self, place: Callable[[Tensor], Tensor]) -> "_Call":
        """Return the call with its tensors in other places."""
        return _Call(self.op, _mapped(self.args, place), _mapped(self.kwargs, place), _mapped(self.results, place))


@cache
def _changed(op: OpOverload) -> list[tuple[int, str]]:
    """Return positions and names of the arguments that an operation writes to."""
    if Tag.inplace_view in op.tags:
        return []
    arguments = enumerate(op._schema.arguments)
    return [(k, argument.name) for k, argument in arguments if argument.is_write or argument.name in UNDECLARED]


def _content(tensor: Tensor) -> str:
    """Return what tells its values and their type from others."""
    if tensor.numel() <= 8:
        return f"{tensor.tolist()} ({tensor.dtype})"
    cells = tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tuple(tensor.shape)} numbers ({tensor.dtype}, {sha256(cells).hexdigest()[:16]})"


class Tape(TorchDispatchMode):
    """Writes down every operation on tensors. A mode belongs to its thread."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self.obstacle: str | None = None

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.namespace == "profiler":  # torch's own marks for whoever looks at times
            return op(*args, **(kwargs or {}))
        # What comes from Python or NumPy is no memory to read again: its value belongs to the operation.
        before = (args[0].clone(),) if op is LIFT else args
        result = op(*args, **(kwargs or {}))
        if not _is_gather(op, args):
            self.obstacle = next((f"{op} {OBSTACLES[tag]}" for tag in op.tags if tag in OBSTACLES), self.obstacle)
        # A tensor may change its shape later on, as by squeeze_. An alias remembers what it was.
        there = (tuple(before), kwargs or {}, tuple(leaf for leaf in _leaves(result) if isinstance(leaf, Tensor)))
        self.calls.append(_Call(op, *_mapped(there, Tensor.detach)))
        return result

    def state(self) -> list[Tensor]:
        """Return what was there before and is changed, each part once."""
        made = set().union(*(call.made for call in self.calls))
        changed = (tensor for call in self.calls for tensor in call.changed if _memory(tensor) not in made)
        return list({(_memory(tensor), *_layout(tensor)): tensor for tensor in changed}.values())

    def precision(self) -> float:
        """Return the distance from 1 to the next number, in the lowest precision that was computed in."""
        dtypes = {tensor.dtype for call in self.calls for tensor in call.results if tensor.is_floating_point()}
        return max((torch.finfo(dtype).eps for dtype in dtypes), default=0.0)


class _Entry(NamedTuple):
    """An operation as it is compared: numbers by their value, tensors by where they are."""

    name: str
    numbers: tuple[str, ...]
    places: tuple[Hashable, ...]


class Trace:
    """What a run of a computation did, to be compared with another run.

    Memory that was there before the run is held, so that nothing else is put there in the meantime.
    """

    def __init__(self, tape: Tape, result: object) -> None:
        made: dict[int, int] = {}
        for call in tape.calls:
            for memory in call.made:
                made.setdefault(memory, len(made))

        def place(tensor: Tensor) -> Hashable:
            memory = _memory(tensor)
            return memory in made, made.get(memory, memory), *_layout(tensor), tensor.dtype

        returned, shape = tree_flatten(result)
        tensors = [leaf for leaf in returned if isinstance(leaf, Tensor)]
        self.entries = [_entry(call, place) for call in tape.calls]
        self.entries.append(_Entry("a result", (str(shape),), tuple(map(place, tensors))))
        self.held = [t for call in tape.calls for t in call.arguments if _memory(t) not in made and call.op is not LIFT]

    def difference(self, other: "Trace") -> str | None:
        """Return what another run did otherwise, if anything."""
        for a, b in zip_longest(self.entries, other.entries, fillvalue=_Entry("nothing", (), ())):
            if a.name != b.name:
                return f"it did {b.name} where it did {a.name} a step before"
            if a.numbers != b.numbers:
                x, y = next(pair for pair in zip_longest(a.numbers, b.numbers) if pair[0] != pair[1])
                return f"{a.name} met {y} where it met {x} a step before"
            if a.places != b.places:
                return f"{a.name} met a tensor that lay elsewhere a step before"
        return None


def _entry(call: _Call, place: Callable[[Tensor], Hashable]) -> _Entry:
    if call.op is LIFT:
        return _Entry("a tensor made of Python's or NumPy's numbers", (_content(call.args[0]),), ())
    numbers = (repr(leaf) for leaf in call.leaves if not isinstance(leaf, Tensor))
    return _Entry(str(call.op), (*numbers, *call.kwargs), tuple(map(place, call.arguments)))


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
    needed = _needed(calls, kept)
    for call in needed:
        _way(call)  # is found out while its numbers are there
    return _packed(_without_copies(_turned(needed, own), own), own)


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


def _leaves(tree: Any) -> Iterator[Any]:
    """Yield what an operation is called with or returns, one by one: as pytree does, in a tenth of the time."""
    if isinstance(tree, tuple | list):
        for branch in tree:
            yield from _leaves(branch)
    elif isinstance(tree, dict):
        yield from _leaves(tuple(tree.values()))
    else:
        yield tree


def _mapped(tree: Any, place: Callable[[Tensor], Tensor]) -> Any:
    """Return the same with its tensors in other places."""
    if isinstance(tree, Tensor):
        return place(tree)
    if isinstance(tree, tuple | list):
        return type(tree)([_mapped(branch, place) for branch in tree])
    if isinstance(tree, dict):
        return {name: _mapped(branch, place) for name, branch in tree.items()}
    return tree


def _layout(tensor: Tensor) -> tuple[int | torch.SymInt, torch.Size, tuple[int, ...]]:
    return tensor.storage_offset(), tensor.size(), tensor.stride()


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
    if call.op in FASTER and (replay := FASTER[call.op](call)):
        return replay
    return _way(call)(call)


Way = Callable[[_Call], Replay]

_WAYS: dict[Hashable, Way] = {}  # by kind of call, found by trying


def _way(call: _Call) -> Way:
    """Return how a call is bound: in the quickest way that was seen to do the same as the operation itself."""
    kind = (call.op, *call.kwargs, *((tensor.dtype, tensor.ndim) for tensor in (*call.arguments, *call.results)))
    if kind not in _WAYS:
        _WAYS[kind] = next((way for way in (_as_function, _into_results) if _is_right(way, call)), _as_operator)
    return _WAYS[kind]


def _is_right(way: Way, call: _Call) -> bool:
    """Try it on copies."""
    here, there = _copied(call), _copied(call)
    try:
        for result in here.results:
            if _memory(result) in here.made:
                result.fill_(7)
        way(here)()
        _as_operator(there)()
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False
    pairs = zip((*here.changed, *here.results), (*there.changed, *there.results), strict=True)
    return all(a.shape == b.shape and close(a, b) for a, b in pairs)


def _copied(call: _Call) -> _Call:
    """Return the call on copies of its tensors; two that are the same stay so."""
    copies: dict[Hashable, Tensor] = {}
    return call.on(lambda tensor: copies.setdefault((_memory(tensor), *_layout(tensor), tensor.dtype), tensor.clone()))


def close(a: Tensor, b: Tensor, precision: float | None = None, floor: float = 0.0) -> bool:
    """Whether two tensors are equal but for rounding, in a precision that is that of their numbers by default."""
    if not b.is_floating_point() or not b.numel() or torch.equal(a, b):
        return torch.equal(a, b)
    precision = torch.finfo(b.dtype).eps if precision is None else precision
    dtype = torch.promote_types(b.dtype, torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    size = b.nan_to_num(0.0, 0.0, 0.0).abs_()
    allowed = size.mul(precision**0.5).add_(64 * precision * (size.max().item() + floor))
    near = (a - b).abs_() <= allowed
    return bool(near.all()) or bool((near | (a == b) | ((a != a) & (b != b))).all())  # infinite, or no number


def _as_function(call: _Call) -> Replay:
    """Take torch's own function, or the method of a tensor: they cost less Python than the operator."""
    name, args = call.op.overloadpacket.__name__, _without_numbers(call)
    if not call.written:
        (result,) = call.results
        return partial(getattr(torch, name), *args, **call.kwargs, out=result)
    if call.made:
        raise TypeError(f"{call.op} changes arguments, and returns something else")
    return partial(getattr(torch, name, None) or getattr(Tensor, name), *args, **call.kwargs)


def _into_results(call: _Call) -> Replay:
    """Take the operator that is told where its results go."""
    into, names = _out_variant(call.op)
    if into is None or call.written:
        raise TypeError(f"{call.op} can't be told where its results go")
    return partial(into, *call.args, **call.kwargs, **dict(zip(names, call.results, strict=True)))


def _as_operator(call: _Call) -> Replay:
    """Take the operation itself: what it returns is copied, unless it is an argument."""
    return partial(_run, call) if call.made else partial(call.op, *call.args, **call.kwargs)


def _run(call: _Call) -> None:
    found = [leaf for leaf in _leaves(call.op(*call.args, **call.kwargs)) if isinstance(leaf, Tensor)]
    for target, source in zip(call.results, found, strict=True):
        target.copy_(source)


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
    LIFT: _converted,
    aten.sum.dim_IntList: _sums,
    aten.mean.default: _mean,
    aten.bmm.default: _products,
    aten.relu.default: _relu,
    aten._to_copy.default: _converted,
    aten.index_put.default: _put,
}
