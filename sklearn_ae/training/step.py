"""One training step, from a batch to moved parameters: run as it is written, and replayed in a fit that goes on."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.training.adam import Adam
from sklearn_ae.training.batches import Minibatch
from sklearn_ae.training.phases import Phase, gradients, training_step
from sklearn_ae.training.replay import Repeated

PLAIN_STEPS = 24  # that run as they are written: a recording takes about their time, and a short fit needs none

Gradients = Sequence[Tensor]


class Step:
    """:func:`training_step` bound to a module and its optimizers.

    The first steps run as they are written. If the same batch goes on being refilled, one step is recorded: on the CPU
    as operations on tensors, on a GPU as a CUDA graph. From then on it is replayed.

    Parameters
    ----------
    module : Autoencoder
        What is trained.
    phases : sequence of Phase
        What a step does, in turn.
    optimizers : mapping of str to Adam
        The optimizer of each phase.
    precision : callable
        ``() -> context manager``, what gradients are taken in.
    shown : callable, optional
        ``(phase, gradients, batch) -> gradients``, gets every gradient before it moves something. Such a step is never
        recorded: Python runs in the middle of it.
    """

    def __init__(
        self,
        module: Autoencoder,
        phases: Sequence[Phase],
        optimizers: Mapping[str, Adam],
        precision: Callable[[], AbstractContextManager[Any]],
        shown: Callable[[Phase, Gradients, Minibatch], Gradients] | None = None,
    ) -> None:
        self.module = module
        self.phases = phases
        self.optimizers = optimizers
        self.precision = precision
        self.shown = shown
        self._memory: tuple[Any, ...] = ()  # what a recording is bound to
        self._repeated: Repeated[dict[str, Tensor]] | None = None

    def end(self) -> None:
        """Forget what was recorded, and give the module and the state of its optimizers memory of their own again."""
        self._memory, self._repeated = (), None
        self.module.separate()
        for optimizer in self.optimizers.values():
            optimizer.separate()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was recorded: it is bound to the memory of this process."""
        return vars(self) | vars(Step(self.module, self.phases, self.optimizers, self.precision, self.shown))

    def __call__(self, batch: Minibatch) -> dict[str, Tensor]:
        """Train on a batch; return all terms as they were before, in tensors that the next step may overwrite."""
        if self.shown is not None:
            return self.as_written(batch)
        memory = (batch, *[optimizer.prepared() for optimizer in self.optimizers.values()])
        same = len(memory) == len(self._memory) and all(a is b for a, b in zip(memory, self._memory, strict=True))
        if self._repeated is None or not same:
            self._memory = memory
            self._repeated = Repeated(partial(self.as_written, batch), batch.rows.x, PLAIN_STEPS)
        return self._repeated()

    def as_written(self, batch: Minibatch) -> dict[str, Tensor]:
        """Train on a batch without recording or replaying anything."""
        return training_step(self.phases, partial(self._gradients, batch), self.optimizers)

    def _gradients(self, batch: Minibatch, phase: Phase) -> tuple[Gradients, dict[str, Tensor]]:
        moved = self.optimizers[phase.name].parameters
        with self.precision():
            found, evaluation = gradients(self.module, phase, moved, batch.rows, batch.draws[phase.name])
        for name, value in evaluation.buffers.items():
            self.module.get_buffer(name).copy_(value)
        return found if self.shown is None else self.shown(phase, found, batch), evaluation.terms
