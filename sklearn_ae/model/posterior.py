"""Inference with codes that are distributions, by importance sampling from the posterior."""

from collections.abc import Callable
from functools import partial
from math import sqrt
from operator import itemgetter
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.collapse import ACTIVE_VARIANCE, warn_if_collapsed
from sklearn_ae.model.inference import Inference, Rows
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives.importance import draws_per_round, log_evidence, log_mean, standard_normal
from sklearn_ae.objectives.priors import PRIORS, Prior
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.net import AutoencoderNet

WIDENING = 2.0  # factor that the proposal's variances are widened by, for a code of one dimension
SCORE_DRAWS = 32  # codes per row for a log-likelihood without a tolerance
CELLS = 1 << 21  # approximate number of cells that are decoded at once


class PosteriorInference(Inference):
    """Inference that integrates over the code of a row.

    Parameters
    ----------
    prior : Prior
        The prior of codes.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    def fit(self, net: AutoencoderNet, rows: Rows, random: np.random.RandomState) -> Self:
        """Return the inference itself, and warn if the code has collapsed.

        Prior and observation noise are known after training.
        """
        warn_if_collapsed(net, rows)
        return self

    def trained_codes(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return codes drawn from ``q(z | x)``, (n, k)."""
        trace = Trace(module, batch.x, batch.observed)
        return trace["mean"] + (0.5 * trace["log_var"]).exp() * noise.normal_like(trace["mean"])

    def log_likelihood(self, module: Autoencoder, batch: Batch, tolerance: float | None) -> Tensor:
        """Return the importance-weighted bound of ``log p(x)`` and its standard error, (n, 2).

        Without a tolerance it comes from ``SCORE_DRAWS`` draws around ``q(z | x)``; with one, from as many draws as the
        row needs.
        """
        if tolerance is None:
            return self._by_blocks(_bound, module, batch, SCORE_DRAWS)
        evidence = partial(_evidence, tolerance=tolerance)
        return self._by_blocks(evidence, module, batch, draws_per_round(module.bottleneck.n_components))

    def cell_log_likelihood(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return the mean of ``log p(x_j | z)`` over the posterior of the code, (n, n_cells).

        The draws and their weights are those of ``log_likelihood`` without a tolerance.
        """
        return self._by_blocks(_cell_log_likelihood, module, batch, SCORE_DRAWS)

    def expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return expected numbers and most probable categories over the posterior of the code, (n, n_cells)."""
        return self._by_blocks(_expected_cells, module, batch, draws_per_round(module.bottleneck.n_components))

    def drawn_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return cells drawn from ``p(x | z)`` at a code drawn from the posterior, (n, n_cells)."""
        return self._by_blocks(_drawn_cells, module, batch, draws_per_round(module.bottleneck.n_components))

    def divergence(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return ``KL(q(z_i | x) || p(z_i))`` of each code dimension, (n, k)."""
        trace = Trace(module, batch.x, batch.observed)
        return self.prior.kl(trace["mean"].unsqueeze(-1), trace["log_var"].unsqueeze(-1))

    def is_active(self, std: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(k,) -> (k,): whether the variance of the posterior mean is above 0.01 (Burda et al. 2016, section 5.2)."""
        return std**2 > ACTIVE_VARIANCE

    def _by_blocks(
        self, function: Callable[[Batch, Autoencoder, Prior], Tensor], module: Autoencoder, batch: Batch, n_draws: int
    ) -> Tensor:
        """Apply a function that decodes ``n_draws`` codes per row to blocks of rows."""
        if torch.compiler.is_exporting():  # the number of rows of a graph is not known
            return function(batch, module, self.prior)
        size = max(1, CELLS // (n_draws * module.likelihood.n_outputs))
        blocks = (batch.map(itemgetter(slice(start, start + size))) for start in range(0, len(batch.x), size))
        return torch.cat([function(block, module, self.prior) for block in blocks])


def _bound(batch: Batch, module: Autoencoder, prior: Prior) -> Tensor:
    _, log_weights = _weighted_codes(batch, module, prior, SCORE_DRAWS)
    return torch.stack(log_mean(log_weights.double()), 1)


def _cell_log_likelihood(batch: Batch, module: Autoencoder, prior: Prior) -> Tensor:
    codes, log_weights = _weighted_codes(batch, module, prior, SCORE_DRAWS)
    cost = module.likelihood.cell_loss(batch.x.unsqueeze(1), module.decoder(codes.to(batch.x)))  # (n, L, n_cells)
    return -(log_weights.softmax(1).unsqueeze(-1) * cost).sum(1)


def _evidence(batch: Batch, module: Autoencoder, prior: Prior, tolerance: float) -> Tensor:
    trace = Trace(module, batch.x, batch.observed)
    log_joint = partial(_log_joint, module, batch, prior)
    sigma, wide = (0.5 * trace["log_var"]).exp(), _widened(trace["log_var"]).sqrt()
    return torch.stack(log_evidence(log_joint, trace["mean"], sigma, wide, tolerance), 1)


def _expected_cells(batch: Batch, module: Autoencoder, prior: Prior) -> Tensor:
    codes, weight = _posterior_codes(batch, module, prior)
    return module.likelihood.averaged_estimate(module.decoder(codes), weight)


def _drawn_cells(batch: Batch, module: Autoencoder, prior: Prior) -> Tensor:
    codes, weight = _posterior_codes(batch, module, prior)
    chosen = (weight.cumsum(1) <= noise.uniform_like(weight[:, 0]).unsqueeze(1)).sum(1).clamp(max=codes.shape[1] - 1)
    return module.likelihood.draw(module.decoder(codes[torch.arange(len(codes), device=codes.device), chosen]))


def _posterior_codes(batch: Batch, module: Autoencoder, prior: Prior) -> tuple[Tensor, Tensor]:
    """Return codes of each row, (n, L, k), and their posterior weights, (n, L) (Mattei & Frellsen 2019, eq. 12)."""
    codes, log_weights = _weighted_codes(batch, module, prior, draws_per_round(module.bottleneck.n_components))
    return codes, log_weights.softmax(1)


def _weighted_codes(batch: Batch, module: Autoencoder, prior: Prior, n_draws: int) -> tuple[Tensor, Tensor]:
    """Return draws from a proposal r(z) around ``q(z | x)``, (n, L, k), and ``log p(x, z) / r(z)``, (n, L).

    All rows share the same standard normal numbers.
    """
    trace = Trace(module, batch.x, batch.observed)
    mean, sigma = trace["mean"].unsqueeze(1), _widened(trace["log_var"]).sqrt().unsqueeze(1)
    standard = standard_normal(mean.shape[-1], n_draws).to(mean)
    codes = mean + sigma * standard
    log_joint = _log_joint(module, batch, prior, codes, torch.arange(batch.x.shape[0], device=mean.device))
    return codes, log_joint - PRIORS["normal"].log_density(standard) + sigma.log().sum(-1)


def _widened(log_var: Tensor) -> Tensor:
    """(n, k) -> (n, k): variances of the proposal, larger than those of ``q(z | x)``, which misses the tails.

    A dimension that the row does not inform is not widened: there q equals the prior. The more dimensions, the less
    each is widened, so that the effective sample size stays the same.
    """
    variance = log_var.exp()
    return variance * (1 + WIDENING / sqrt(log_var.shape[-1]) * (1 - variance).clamp(min=0))


def _log_joint(module: Autoencoder, batch: Batch, prior: Prior, codes: Tensor, index: Tensor) -> Tensor:
    """(m, L, k), (m,) -> (m, L): ``log p(x | z) + log p(z)``."""
    x = batch.x[index].unsqueeze(1)
    observed = None if batch.observed is None else batch.observed[index].unsqueeze(1)
    codes = codes.to(x)
    return prior.log_density(codes) - module.likelihood.loss(x, module.decoder(codes), observed)
