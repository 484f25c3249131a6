"""A computation that is repeated on the same memory: recorded once, then replayed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sklearn_ae.training import program, tape
from sklearn_ae.training.devices import capabilities

Result = TypeVar("Result")


class Repeated(Generic[Result]):
    """A computation that runs unrecorded at first, is then recorded, and replayed from then on.

    On a CPU the recorded operations are replayed, on a GPU a CUDA graph; on other devices nothing is recorded.

    A recording does not see what Python does. So two runs in a row are recorded, and the computation is replayed only
    if both did the same operations on the same memory. Then a replay and an unrecorded run start from the same state
    and must give the same values. If anything differs, the computation runs unrecorded from then on, with a warning.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. Its inputs are tensors that stay at their addresses.
    like : Tensor
        A tensor on the device where it runs.
    n_plain : int
        Number of runs before the second recorded run. The last of them is the first recorded run.
    """

    _result: Result

    def __init__(self, computation: Callable[[], Result], like: Tensor, n_plain: int) -> None:
        self.computation = computation
        self.device = capabilities(like.device)
        self.like = like
        self.n_left = n_plain
        self._replay: program.Replay | None = None
        # The next stage and its arguments. No bound method: a reference cycle would keep the memory for long.
        self._stage: tuple[Any, ...] = (Repeated._plain if self.device.records_steps else Repeated._unrecorded,)

    def __call__(self) -> Result:
        """Return the result, in tensors that the next call may overwrite."""
        if self._replay is not None:
            self._replay()
            return self._result
        stage, *arguments = self._stage
        return cast(Result, stage(self, *arguments))

    # Stages

    def _plain(self) -> Result:
        self.n_left -= 1
        return self.computation() if self.n_left > 0 else self._first()

    def _first(self) -> Result:
        result, recorded = tape.run_recorded(self.computation)
        self._go_on(recorded.obstacle, Repeated._second, tape.RecordedRun(recorded, result))
        return result

    def _second(self, first: tape.RecordedRun) -> Result:
        result, recorded = tape.run_recorded(self.computation)
        obstacle = recorded.obstacle or first.difference(tape.RecordedRun(recorded, result))
        known = recorded.state(), recorded.precision()
        if obstacle or self.device.capture:
            self._go_on(obstacle, Repeated._captured, *known)
        else:
            self._go_on(None, Repeated._compared, result, program.build(result, recorded), *known)
        return result

    def _captured(self, *known: Any) -> Result:
        with torch.cuda.device_of(self.like):
            result, replay = cast(Any, self.device.capture)(self.computation)
        self._stage = (Repeated._compared, result, replay, *known) if replay else (Repeated._unrecorded,)
        return cast(Result, result)

    def _compared(self, result: Result, replay: program.Replay, state: list[Tensor], precision: float) -> Result:
        before = _copies(state)
        replay()
        found, found_state = _copies(tree_leaves(result)), _copies(state)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        expected = self.computation()
        scale = max([1.0, *(float(value.abs().max()) for value in tree_leaves(expected))])
        agree = _agree(found, tree_leaves(expected), precision, scale) and _agree(
            found_state, state, precision, 16 * scale
        )
        self._go_on(None if agree else "a replay came to other values", Repeated._unrecorded)
        if agree:
            self._result, self._replay = result, replay
        return expected

    def _unrecorded(self) -> Result:
        return self.computation()

    def _go_on(self, obstacle: str | None, *stage: Any) -> None:
        """Set the next stage; with an obstacle, warn and run unrecorded from then on."""
        self._stage = (Repeated._unrecorded,) if obstacle else stage
        if obstacle:
            tape.warn(obstacle)


def _copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor], precision: float, floor: float) -> bool:
    return all(tape.close(a, b, precision, floor) for a, b in zip(found, expected, strict=True))
