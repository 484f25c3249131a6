"""A computation that is done again and again on the same memory: recorded once, and replayed from then on."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from sklearn_ae.training import cuda_graph, tape

RECORDERS = {"cpu": tape.record, "cuda": cuda_graph.record}  # by kind of device; elsewhere nothing is recorded

Result = TypeVar("Result")


class Repeated(Generic[Result]):
    """A computation that runs as it is written at first; then it is recorded: on a CPU on a tape, on a GPU as a graph.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. It finds what it reads where it was.
    like : Tensor
        A tensor on the device where it runs.
    n_plain : int
        How often it runs before it is recorded.
    """

    _result: Result

    def __init__(self, computation: Callable[[], Result], like: Tensor, n_plain: int) -> None:
        self.computation = computation
        self.like = like
        self.n_left = n_plain
        self._replay: tape.Replay | None = None

    def __call__(self) -> Result:
        """Return the result, in tensors that the next call may overwrite."""
        if self._replay is not None:
            self._replay()
            return self._result
        self.n_left -= 1
        record = RECORDERS.get(self.like.device.type)
        if self.n_left != -1 or record is None:
            return self.computation()
        with torch.cuda.device_of(self.like):  # does nothing on a CPU
            self._result, self._replay = record(self.computation)
        return self._result
