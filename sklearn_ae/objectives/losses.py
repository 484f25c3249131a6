"""Losses as pure functions: tensors in, one value per sample out, all in nats.

Sums run over the last dimension, so draws may stand between rows and columns: (n, d) -> (n,), (n, L, d) -> (n, L).
``observed`` is a mask, 1 where a cell is known and 0 where it is missing; missing cells cost nothing.
"""

from math import log, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = log(2 * pi)


def categorical(y: Tensor, logits: Tensor) -> Tensor:
    """(...), (..., C) -> (...): ``-log softmax(logits)[y]``, the cross-entropy of a class index."""
    return -logits.log_softmax(-1).gather(-1, y.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)


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
