"""Phases: a loss and the submodules that minimise it, and the training step that all families share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives.terms import Batch, Term, weighted_mean


@dataclass(frozen=True)
class Phase:
    """A loss, and the submodules whose parameters are moved to minimise it.

    Parameters
    ----------
    name : str
        Name of the phase and, but for the first one, of its optimizer.
    updates : tuple of str
        Names of the submodules whose parameters are moved.
    terms : mapping of str to Term
        The terms of the loss. Their names are the columns of the history.
    weights : mapping of str to float
        Weights of the terms, 1 by default. A term of weight -1 is maximised.
    buffers : callable, optional
        ``(module, batch, trace) -> {name: tensor}``, new values of buffers in closed form. They are written after the
        gradients of the phase are computed.
    """

    name: str
    updates: tuple[str, ...]
    terms: Mapping[str, Term]
    weights: Mapping[str, Any] = field(default_factory=dict)  # numbers, or tensors of shape ()
    buffers: Callable[[Autoencoder, Batch, Trace], dict[str, Tensor]] | None = None

    def parameters(self, module: Autoencoder) -> dict[str, nn.Parameter]:
        """Return the parameters that are moved, by name."""
        return {
            name: parameter
            for submodule in self.updates
            for name, parameter in module.get_submodule(submodule).named_parameters(prefix=submodule)
        }

    def evaluate(self, module: Autoencoder, batch: Batch) -> "Evaluation":
        """Evaluate the terms on a batch; its noise must be supplied."""
        trace = Trace(module, batch.x, batch.observed)
        terms = {name: _summary(name, term(module, batch, trace), batch) for name, term in self.terms.items()}
        buffers = {} if self.buffers is None else self.buffers(module, batch, trace)
        return Evaluation(terms, self.loss(terms), buffers)

    def loss(self, terms: Mapping[str, Any]) -> Any:
        """Return the weighted sum of the phase's terms, numbers or tensors of shape ()."""
        weighted = (self.weights[name] * terms[name] if name in self.weights else terms[name] for name in self.terms)
        return reduce(add, weighted)


class Evaluation(NamedTuple):
    """The terms of a phase on a batch, their weighted sum, and the new values of buffers."""

    terms: dict[str, Tensor]
    loss: Tensor
    buffers: dict[str, Tensor]


def _summary(name: str, values: Tensor, batch: Batch) -> Tensor:
    """(n,) or () -> (): the weighted mean over the batch."""
    if not isinstance(values, Tensor):
        raise TypeError(f"the term {name!r} must return a tensor, got {type(values).__name__}")
    if values.ndim == 0:
        return values
    if values.shape != batch.x.shape[:1]:
        raise ValueError(
            f"the term {name!r} must return one value per sample, shape ({batch.x.shape[0]},), or one for the batch, "
            f"shape (), got shape {tuple(values.shape)}"
        )
    return weighted_mean(values, batch.weight)


def gradients(
    module: Autoencoder, phase: Phase, moved: Sequence[Tensor], batch: Batch, draws: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Evaluation]:
    """Return the gradients of a phase for the parameters in ``moved``, and its evaluation before the step.

    Other parameters get no gradient, so no term needs to detach.
    """
    with noise.supplied(draws), torch.enable_grad():
        terms, loss, buffers = phase.evaluate(module, batch)
    found = torch.autograd.grad(loss, moved, materialize_grads=True)
    return found, Evaluation(_detached(terms), loss.detach(), _detached(buffers))


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}


class Optimizer(Protocol):
    """Moves parameters by given gradients."""

    def step(self, gradients: Sequence[Tensor]) -> object:
        """Move the parameters; ``gradients`` has one tensor for each."""


class StepOptimizer(Optimizer, Protocol):
    """An optimizer whose step can be recorded."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are moved."""

    def prepared(self) -> object:
        """Return the memory that a step works on, the same object as long as it stays at its addresses."""

    def separate(self) -> None:
        """Give each parameter and its state its own memory."""


def training_step(
    phases: Sequence[Phase],
    gradients_of: Callable[[Phase], tuple[Sequence[Tensor], Mapping[str, Tensor]]],
    optimizers: Mapping[str, Optimizer],
) -> dict[str, Tensor]:
    """Run the phases in order, one optimizer step each; return all terms before the step of their phase."""
    log: dict[str, Tensor] = {}
    for phase in phases:
        found, terms = gradients_of(phase)
        optimizers[phase.name].step(found)
        log |= terms
    return log


@torch.no_grad()
def requests(module: Autoencoder, phase: Phase, batch: Batch) -> list[noise.Request]:
    """Return the noise that a phase requests, found by running it once."""
    with noise.recorded() as asked:
        phase.evaluate(module, batch)
    return asked
