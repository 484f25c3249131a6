"""Terms of the adversarial game: the discriminator's value, and the generator's part of it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives import losses
from sklearn_ae.objectives.terms import Batch, mean_over_rows, weighted_mean

GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": losses.log_fake,
    "non-saturating": lambda log_odds: -losses.log_real(log_odds),  # Goodfellow et al. (2014), section 3
}

Weighted = tuple[Tensor, Tensor | None]  # samples, and their weights or None
Sampler = Callable[[Autoencoder, Batch, Trace, int], Weighted]


def real_rows(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return the rows, (n, d), with missing cells replaced by their reconstruction: gaps must not give them away."""
    rows = module.likelihood.embed(batch.x, batch.observed)
    if batch.observed is None:
        return rows, batch.weight
    known = module.likelihood.per_input(batch.observed) > 0
    return torch.where(known, rows, module(batch.x, batch.observed)), batch.weight


def generated_rows(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return rows decoded from the prior, (n_draws, d), as expected inputs: probabilities, never log-odds."""
    with noise.once_for_the_batch():
        codes = noise.normal((n_draws, module.bottleneck.n_components), batch.x)
        return module.likelihood.link(module.decoder(codes)), None


def prior_codes(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return codes from the prior, (n_draws, k)."""
    return noise.normal((n_draws, module.bottleneck.n_components), batch.x), None


def encoded_codes(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return the codes of the rows, (n, k)."""
    return trace["code"], batch.weight


class Comparison(NamedTuple):
    """Real and fake samples that a discriminator compares."""

    critic: str  # name of the submodule
    real: Sampler
    fake: Sampler


DATA = Comparison("critic", real_rows, generated_rows)
CODES = Comparison("code_critic", prior_codes, encoded_codes)
DISCRIMINATORS = {"data": (DATA,), "latent": (CODES,), "both": (DATA, CODES)}


def logits(module: Autoencoder, comparison: Comparison, samples: Tensor) -> Tensor:
    """(n, ...) -> (n,): the log-odds that samples are real."""
    return module.get_submodule(comparison.critic)(samples).squeeze(-1)


@mean_over_rows
def value(module: Autoencoder, batch: Batch, trace: Trace, comparison: Comparison, n_draws: int) -> Tensor:
    """Return ``V = E log D(real) + E log(1 - D(fake))``, () (Goodfellow et al. 2014, eq. 1)."""
    real, real_weight = comparison.real(module, batch, trace, n_draws)
    fake, fake_weight = comparison.fake(module, batch, trace, n_draws)
    return weighted_mean(losses.log_real(logits(module, comparison, real)), real_weight) + weighted_mean(
        losses.log_fake(logits(module, comparison, fake)), fake_weight
    )


@mean_over_rows
def fooling(module: Autoencoder, batch: Batch, trace: Trace, comparison: Comparison, n_draws: int, loss: str) -> Tensor:
    """Return the generator's part of V, (), or its non-saturating variant."""
    fake, weight = comparison.fake(module, batch, trace, n_draws)
    return weighted_mean(GENERATOR_LOSSES[loss](logits(module, comparison, fake)), weight)


@mean_over_rows
def gradient_penalty(module: Autoencoder, batch: Batch, trace: Trace, comparison: Comparison, n_draws: int) -> Tensor:
    """Return half the squared gradient of the log-odds at real samples, () (Mescheder et al. 2018, eq. 9)."""
    real, weight = comparison.real(module, batch, trace, n_draws)
    gradient = torch.func.grad(lambda samples: logits(module, comparison, samples).sum())(real)
    return weighted_mean(0.5 * gradient.square().sum(-1), weight)


def probability_real(module: Autoencoder, batch: Batch, comparison: Comparison) -> Tensor:
    """Return the probability that rows, or their codes, are real, (n,)."""
    if comparison is DATA:
        samples, _ = real_rows(module, batch, Trace(module, batch.x, batch.observed), len(batch.x))
    else:
        samples = module.encode(batch.x, batch.observed)
    return logits(module, comparison, samples).sigmoid()
