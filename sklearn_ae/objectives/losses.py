"""Losses as pure functions: tensors in, one value per sample out, all in nats.

Sums run over the last dimension, so draws may stand between rows and columns: (n, d) -> (n,), (n, L, d) -> (n, L).
``observed`` is a mask, 1 where a cell is known and 0 where it is missing; missing cells cost nothing.
"""

from math import log, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = log(2 * pi)
ALMOST = -1 + 1e-7  # argument of log1p: where it is not less, the result is finite in single precision


def squared_error(x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): the sum of squared errors over the observed columns."""
    error = F.mse_loss(output, x.expand_as(output), reduction="none")
    return (error if observed is None else error * observed).sum(-1)


def gaussian(x: Tensor, mean: Tensor, variance: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d), () or (d,) -> (n,): ``-log N(x; mean, variance)``, summed over the observed columns."""
    cost = F.mse_loss(mean, x.expand_as(mean), reduction="none") / variance + (variance.log() + LOG_2PI)
    return 0.5 * (cost if observed is None else cost * observed).sum(-1)


def unit_gaussian(x: Tensor, mean: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): ``-log N(x; mean, I)``, half the squared error and the constant of the density."""
    n_observed = x.shape[-1] if observed is None else observed.sum(-1)
    return 0.5 * (squared_error(x, mean, observed) + LOG_2PI * n_observed)


def bernoulli(x: Tensor, logits: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): ``-x log p - (1 - x) log(1 - p)`` at ``p = sigmoid(logits)``, summed over the columns."""
    cost = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
    return (cost if observed is None else cost * observed).sum(-1)


def categorical(y: Tensor, logits: Tensor) -> Tensor:
    """(...), (..., C) -> (...): ``-log softmax(logits)[y]``, the cross-entropy of a class index."""
    return -logits.log_softmax(-1).gather(-1, y.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def poisson(x: Tensor, log_rate: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): ``-log Poisson(x; rate)``, summed over the observed columns.

    As the deviance from a rate of x, and what a rate of x costs: the terms of the density itself are large numbers
    that cancel, of which single precision would leave nothing where counts are large.
    """
    one, distance, excess = _compared(x, log_rate)
    cost = excess - x * distance + (x > 0) * (0.5 * (2 * pi * one).log() + _stirling(one))
    return (cost if observed is None else cost * observed).sum(-1)


def negative_binomial(x: Tensor, log_mean: Tensor, log_dispersion: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d), (d,) -> (n,): minus the log-probability of counts of variance ``mean + dispersion * mean^2``.

    Summed over the observed columns (Cameron & Trivedi 2013, eq. 3.26), as the deviance from a mean of x and what a
    mean of x costs, for the same reason as above.
    """
    size = (-log_dispersion).exp()
    one, distance, excess = _compared(x, log_mean)
    above = (excess / (x + size)).clamp(min=ALMOST).log1p()
    below = (size / (one + size) * (-distance).expm1()).clamp(min=ALMOST).log1p()
    at_best = 0.5 * (2 * pi * one).log() + 0.5 * (one / size).log1p()
    at_best = at_best + _stirling(size) + _stirling(one) - _stirling(one + size)
    cost = size * above + x * below + (x > 0) * at_best
    return (cost if observed is None else cost * observed).sum(-1)


def _compared(x: Tensor, log_mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return counts with 1 in place of 0, the logarithm of the ratio of a mean to them, and the mean minus x."""
    one = x.clamp(min=1)
    distance = log_mean - one.log()
    return one, distance, one * distance.expm1() + (one - x)


def _stirling(z: Tensor) -> Tensor:
    """Return what Stirling's formula lacks: ``lgamma(z) - (z - 1/2) log z + z - log(2 pi) / 2`` (DLMF 5.11.1)."""
    few, many = z.clamp(max=8.0), z.clamp(min=8.0)
    inverse = 1 / many
    series = inverse * (1 / 12 - inverse.square() * (1 / 360 - inverse.square() / 1260))
    return torch.where(z < 8, few.lgamma() - (few - 0.5) * few.log() + few - 0.5 * LOG_2PI, series)


def kl_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """(n, k), (n, k) -> (n,): ``KL(N(mean, var) || N(0, I))`` (Kingma & Welling 2014, app. B)."""
    return 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(-1)


def kl_laplace(mean: Tensor, log_var: Tensor) -> Tensor:
    """(n, k), (n, k) -> (n,): ``KL(N(mean, var) || Laplace(0, 1))``.

    The entropy of a normal against ``E|z| + log 2``, and ``E|z|`` is the mean of the folded normal
    (Leone et al. 1961, eq. 2).
    """
    sigma = (0.5 * log_var).exp()
    ratio = mean / sigma
    folded = sigma * sqrt(2 / pi) * (-0.5 * ratio.square()).exp() + mean * torch.erf(ratio / sqrt(2))
    return (folded + log(2) - 0.5 * (LOG_2PI + 1 + log_var)).sum(-1)


def normal_log_density(z: Tensor) -> Tensor:
    """(..., k) -> (...): ``log N(z; 0, I)``."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)


def laplace_log_density(z: Tensor) -> Tensor:
    """(..., k) -> (...): ``log Laplace(z; 0, 1)``."""
    return -(z.abs() + log(2)).sum(-1)


def importance_weighted(log_weights: Tensor) -> Tensor:
    """(n, L) -> (n,): ``-log mean exp``, the negative bound of Burda et al. (2016), eq. 8."""
    return log(log_weights.shape[-1]) - log_weights.logsumexp(-1)


def bernoulli_divergence(target: float, activity: Tensor) -> Tensor:
    """(k,) -> (k,): ``KL(Bernoulli(target) || Bernoulli(activity))``."""
    activity = activity.clamp(1e-6, 1 - 1e-6)
    return target * (log(target) - activity.log()) + (1 - target) * (log(1 - target) - (1 - activity).log())


def log_real(logits: Tensor) -> Tensor:
    """(n,) -> (n,): ``log D`` of a discriminator ``D = sigmoid(logits)``."""
    return F.logsigmoid(logits)


def log_fake(logits: Tensor) -> Tensor:
    """(n,) -> (n,): ``log(1 - D)`` of a discriminator ``D = sigmoid(logits)``."""
    return F.logsigmoid(-logits)
