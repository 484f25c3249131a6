"""One training step, from a batch to moved parameters; recorded and replayed in a long fit."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.training.batches import Minibatch
from sklearn_ae.training.phases import Phase, StepOptimizer, gradients, training_step
from sklearn_ae.training.replay import Repeated

PLAIN_STEPS = 24  # unrecorded steps: recording takes about their time, and short fits do without

Gradients = Sequence[Tensor]


class Step:
    """:func:`~sklearn_ae.training.phases.training_step` bound to a module and its optimizers.

    The first steps run unrecorded. If the same batch continues to be refilled, a step is recorded, on the CPU as
    operations on tensors and on a GPU as a CUDA graph, and replayed from then on.

    Parameters
    ----------
    module : Autoencoder
        The module that is trained.
    phases : sequence of Phase
        The phases of a step, in order.
    optimizers : mapping of str to optimizer
        The optimizer of each phase.
    precision : callable
        ``() -> context manager`` in which gradients are computed.
    on_gradients : callable, optional
        ``(phase, gradients, batch) -> gradients``, called with all gradients before the optimizer's step. Such steps
        are never recorded, because they call Python.
    """

    def __init__(
        self,
        module: Autoencoder,
        phases: Sequence[Phase],
        optimizers: Mapping[str, StepOptimizer],
        precision: Callable[[], AbstractContextManager[Any]],
        on_gradients: Callable[[Phase, Gradients, Minibatch], Gradients] | None = None,
    ) -> None:
        self.module = module
        self.phases = phases
        self.optimizers = optimizers
        self.precision = precision
        self.on_gradients = on_gradients
        self._bound_to: tuple[Any, ...] = ()  # the batch and the workspaces that the recording refers to
        self._repeated: Repeated[dict[str, Tensor]] | None = None

    def end(self) -> None:
        """Discard the recording, and give each parameter and its optimizer state its own memory."""
        self._bound_to, self._repeated = (), None
        for optimizer in self.optimizers.values():
            optimizer.separate()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the recording, which refers to memory of this process."""
        return vars(self) | vars(Step(self.module, self.phases, self.optimizers, self.precision, self.on_gradients))

    @property
    def is_recorded(self) -> bool:
        """Whether a recording, or the count of steps towards one, is held."""
        return self._repeated is not None

    def __call__(self, batch: Minibatch) -> dict[str, Tensor]:
        """Train on a batch; return all terms before the step, in tensors that the next step may overwrite."""
        if self.on_gradients is not None:
            return self.unrecorded(batch)
        bound_to = (batch, *[optimizer.prepared() for optimizer in self.optimizers.values()])
        same = len(bound_to) == len(self._bound_to) and all(
            a is b for a, b in zip(bound_to, self._bound_to, strict=True)
        )
        if self._repeated is None or not same:
            self._bound_to = bound_to
            self._repeated = Repeated(partial(self.unrecorded, batch), batch.rows.x, PLAIN_STEPS)
        return self._repeated()

    def unrecorded(self, batch: Minibatch) -> dict[str, Tensor]:
        """Train on a batch without recording or replaying."""
        return training_step(self.phases, partial(self._gradients, batch), self.optimizers)

    def _gradients(self, batch: Minibatch, phase: Phase) -> tuple[Gradients, dict[str, Tensor]]:
        moved = self.optimizers[phase.name].parameters
        with self.precision():
            found, evaluation = gradients(self.module, phase, moved, batch.rows, batch.draws[phase.name])
        for name, value in evaluation.buffers.items():
            self.module.get_buffer(name).copy_(value)
        return found if self.on_gradients is None else self.on_gradients(phase, found, batch), evaluation.terms
