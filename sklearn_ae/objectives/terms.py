"""Terms: pure functions of ``module, batch, trace`` that a phase weighs and sums.

A term returns one value per sample, shape (n,), of which the mean weighted by ``batch.weight`` is taken, or one value
for the batch, shape (). Terms are functions of a module or ``functools.partial`` of them: closures don't pickle.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from sklearn_ae.likelihoods.gaussian import squared_error
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives import losses


class Batch(NamedTuple):
    """Rows as a term reads them."""

    x: Tensor  # (n, d) encoded cells: numbers, and category indices starting at 1; missing cells are 0
    y: Tensor | None = None  # (n,) class index or standardised value, (n, n_columns) of several outputs
    weight: Tensor | None = None  # (n,) sample weights of mean 1 over the training rows
    label_weight: Tensor | None = None  # (n,) weights of the target loss, shaped as y, 0 if unlabelled; None: all equal
    observed: Tensor | None = None  # (n, d) 1 where a cell is known, 0 where it is missing

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the batch with a function applied to every tensor."""
        x, *others = self
        return Batch(function(x), *(other if other is None else function(other) for other in others))

    def present(self) -> dict[str, Tensor]:
        """Return the tensors that are not None, by name."""
        return {name: tensor for name, tensor in self._asdict().items() if tensor is not None}


Term = Callable[[Autoencoder, Batch, Trace], Tensor]

MEANS: set[Callable[..., Tensor]] = set()  # terms of shape () that are a mean over the rows of the batch

AnyTerm = TypeVar("AnyTerm", bound=Callable[..., Tensor])


def mean_over_rows(term: AnyTerm) -> AnyTerm:
    """Declare that a term of shape () is a mean over the rows of the batch, so that processes can share the rows.

    Parameters
    ----------
    term : callable
        The term, a function of a module.

    Returns
    -------
    term : callable
        The same term.
    """
    MEANS.add(term)
    return term


def is_mean_over_rows(term: Callable[..., Tensor]) -> bool:
    """Whether a term of shape (), or the function of a partial one, is known to be a mean over rows."""
    while isinstance(term, partial):
        term = term.func
    return term in MEANS


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """(n,), (n,) -> (): weights have mean 1 over the training rows, so that batches are unbiased."""
    return values.mean() if weight is None else (values * weight).mean()


def labeled_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """(n,), (n,) -> (): the mean over the labelled rows of the batch, 0 where there are none.

    Weights have mean 1 over the labelled rows of the table. They are not normalised in the batch, where they would
    cancel.
    """
    return values.mean() if weight is None else (values * weight).sum() / (weight > 0).sum().clamp(min=1)


def rows_for(t: Tensor, like: Tensor) -> Tensor:
    """(n, d) -> (n, 1, d) if ``like`` has several draws a row, (n, L, d); else ``t`` itself."""
    return t.unsqueeze(1) if like.ndim > t.ndim else t


def over_draws(values: Tensor) -> Tensor:
    """(n,) or (n, L) -> (n,): the mean over the draws of a row."""
    return values if values.ndim == 1 else values.mean(1)


def reconstruction_by_draw(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return ``-log p(x | z)``: (n,), or (n, L) for several draws a row."""
    output, weight = trace["output"], module.cell_weight(batch.x, batch.observed)
    weight = None if weight is None else rows_for(weight, output)
    return module.likelihood.loss(rows_for(batch.x, output), output, weight)


def reconstruction(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return ``-log p(x | z)``, (n,), the mean over the draws of z."""
    return over_draws(reconstruction_by_draw(module, batch, trace))


def updated_buffers(module: Autoencoder, batch: Batch, trace: Trace) -> dict[str, Tensor]:
    """Return the buffers of the likelihood that have a closed-form update, after this batch."""
    updated = module.likelihood.updated_buffers(*_cells(batch, trace))
    return {f"likelihood.{name}": value for name, value in updated.items()}


def batch_sums(module: Autoencoder, batch: Batch, trace: Trace) -> dict[str, Tensor]:
    """Return the sums over rows from which :func:`buffers_after` computes the updated buffers."""
    return module.likelihood.batch_sums(*_cells(batch, trace))


def buffers_after(module: Autoencoder, sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the buffers of the likelihood after a batch with these sums, as :func:`updated_buffers` does."""
    return {f"likelihood.{name}": value for name, value in module.likelihood.buffers_after(sums).items()}


def _cells(batch: Batch, trace: Trace) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells of a batch, the outputs for them, and their weights."""
    output = trace["output"]
    weight = torch.ones_like(batch.x) if batch.observed is None else batch.observed
    if batch.weight is not None:
        weight = weight * batch.weight.unsqueeze(-1)
    return rows_for(batch.x, output), output, weight


@mean_over_rows
def class_target(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return ``-log p(y | z)`` of a class index, the mean over the labelled rows, ()."""
    y, logits = cast(Tensor, batch.y), trace["logits"]
    y = y if logits.ndim == 2 else y.unsqueeze(1).expand(logits.shape[:2])
    return labeled_mean(over_draws(losses.categorical(y, logits)), batch.label_weight)


@mean_over_rows
def value_target(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return ``-log p(y | z)`` of a standardised value, up to a constant, the mean over the labelled rows, ()."""
    y, output = cast(Tensor, batch.y).unsqueeze(1), trace["logits"]
    return labeled_mean(over_draws(0.5 * squared_error(rows_for(y, output), output)), batch.label_weight)


@mean_over_rows
def mean_over_outputs(module: Autoencoder, batch: Batch, trace: Trace, term: "Term", widths: tuple[int, ...]) -> Tensor:
    """Return the mean of the target's term over several outputs, (); ``y`` and ``label_weight`` are (n, n_columns)."""
    y, weight = cast(Tensor, batch.y), batch.label_weight
    costs = []
    for column, logits in enumerate(trace["logits"].split(widths, -1)):
        own = batch._replace(y=y[:, column], label_weight=None if weight is None else weight[:, column])
        costs.append(term(module, own, cast(Trace, {"logits": logits})))
    return torch.stack(costs).mean()


def l1(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return ``sum_i |z_i|``, (n,): the code under a Laplace prior, up to a constant."""
    return trace["code"].abs().sum(-1)


def l2(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return ``sum_i z_i^2``, (n,): the code under a normal prior, up to a constant."""
    return trace["code"].square().sum(-1)


def sparsity(module: Autoencoder, batch: Batch, trace: Trace, target: float = 0.05) -> Tensor:
    """Return ``sum_i KL(target || mean activity_i)``, (), with the activity ``sigmoid(z_i)`` (Ng 2011, section 3)."""
    activity = trace["code"].sigmoid()
    weight = 1.0 if batch.weight is None else batch.weight.unsqueeze(-1)
    return losses.bernoulli_divergence(target, (activity * weight).mean(0)).sum()


def contractive(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return the squared Frobenius norm of the encoder's Jacobian, (n,) (Rifai et al. 2011, eq. 2)."""
    inputs = module.inputs(batch.x, batch.observed)
    code, pull_back, *_ = torch.func.vjp(lambda seen: module.bottleneck.mean(module.encoder(seen)), inputs)
    directions = torch.eye(code.shape[-1], dtype=code.dtype, device=code.device)
    jacobian = torch.vmap(lambda direction: pull_back(direction.expand_as(code))[0])(directions)  # (k, n, d)
    return jacobian.square().sum((0, 2))


PENALTIES: dict[str, Term] = {"l1": l1, "l2": l2, "kl": sparsity, "contractive": contractive}
