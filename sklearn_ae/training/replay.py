"""A computation that is done again and again on the same memory: recorded once, and replayed from then on."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sklearn_ae.training import cuda_graph, tape

# By kind of device; on a CPU what was watched is what is replayed, elsewhere nothing is recorded.
RECORDERS = {"cpu": None, "cuda": cuda_graph.record}

Result = TypeVar("Result")


class Repeated(Generic[Result]):
    """A computation that runs as it is written at first; then it is recorded: on a CPU on a tape, on a GPU as a graph.

    A recording does not know what Python does. So the computation is watched twice in a row, and recorded only if it
    did the same on the same memory. Then a replay and the computation as it is written start from the same state, and
    have to come to the same values. If they don't, it runs on as it is written, and a warning says why.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. It finds what it reads where it was.
    like : Tensor
        A tensor on the device where it runs.
    n_plain : int
        How often it runs before it is recorded, or watched for the second time; the last of these runs is watched.
    """

    _result: Result

    def __init__(self, computation: Callable[[], Result], like: Tensor, n_plain: int) -> None:
        self.computation = computation
        self.like = like
        self.n_left = n_plain
        self._replay: tape.Replay | None = None
        # What the next call does, and what it is told. No bound method: what holds itself stays in memory for long.
        self._stage: tuple[Any, ...] = (Repeated._plain if like.device.type in RECORDERS else Repeated._as_written,)

    def __call__(self) -> Result:
        """Return the result, in tensors that the next call may overwrite."""
        if self._replay is not None:
            self._replay()
            return self._result
        stage, *known = self._stage
        return cast(Result, stage(self, *known))

    # The stages

    def _plain(self) -> Result:
        self.n_left -= 1
        return self.computation() if self.n_left > 0 else self._first()

    def _first(self) -> Result:
        result, seen = tape.watched(self.computation)
        self._go_on(seen.obstacle, Repeated._second, tape.Trace(seen, result))
        return result

    def _second(self, before: tape.Trace) -> Result:
        result, seen = tape.watched(self.computation)
        obstacle = seen.obstacle or before.difference(tape.Trace(seen, result))
        known = seen.state(), seen.precision()
        if obstacle or RECORDERS[self.like.device.type]:
            self._go_on(obstacle, Repeated._captured, *known)
        else:
            self._go_on(None, Repeated._compared, result, tape.program(result, seen), *known)
        return result

    def _captured(self, *known: Any) -> Result:
        with torch.cuda.device_of(self.like):
            result, replay = cast(Any, RECORDERS[self.like.device.type])(self.computation)
        self._stage = (Repeated._compared, result, replay, *known) if replay else (Repeated._as_written,)
        return cast(Result, result)

    def _compared(self, result: Result, replay: tape.Replay, state: list[Tensor], precision: float) -> Result:
        before = _copies(state)
        replay()
        found, found_state = _copies(tree_leaves(result)), _copies(state)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        written = self.computation()
        scale = max([1.0, *(float(value.abs().max()) for value in tree_leaves(written))])
        agree = _agree(found, tree_leaves(written), precision, scale) and _agree(
            found_state, state, precision, 16 * scale
        )
        self._go_on(None if agree else "a replay came to other values", Repeated._as_written)
        if agree:
            self._result, self._replay = result, replay
        return written

    def _as_written(self) -> Result:
        return self.computation()

    def _go_on(self, obstacle: str | None, *stage: Any) -> None:
        """Say what is done next; with an obstacle all goes on as it is written."""
        self._stage = (Repeated._as_written,) if obstacle else stage
        if obstacle:
            tape.warn(obstacle)


def _copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor], precision: float, floor: float) -> bool:
    return all(tape.close(a, b, precision, floor) for a, b in zip(found, expected, strict=True))
