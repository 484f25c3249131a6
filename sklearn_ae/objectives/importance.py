"""Integrals over codes, by adaptive importance sampling."""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, lgamma, log, log2, pi

import torch
from scipy.stats import chi2
from torch import Tensor
from torch.quasirandom import SobolEngine

DRAWS = 256  # minimum per round; 32 per dimension of the code, rounded up to a power of two, where that is more
ADAPTATIONS = 4  # rounds in which the proposal of a row adapts; later rounds are accumulated, ...
MOST_DRAWS = 5120  # ... up to about this number of draws, and for four rounds at least
FREEDOM = 6  # degrees of freedom of the t-proposals, whose tails are heavier than the posterior's

Proposal = tuple[Tensor, Tensor]  # locations, (m, k), and scales, (m, k), or Cholesky factors, (m, k, k)


def log_evidence(
    log_joint: Callable[[Tensor, Tensor], Tensor], mean: Tensor, sigma: Tensor, wide: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return ``log of the integral of exp(log_joint(z)) over z`` for each row, (n,), and its standard error, (n,).

    Most of the draws come from a t-distribution around ``mean``. In each round it takes the mean and covariance of the
    row's weighted draws (Oh & Berger 1992). The others come from a fixed normal distribution around ``mean``, and
    all are weighted by the density of the mixture (Owen & Zhou 2000): in many dimensions an estimated covariance is too
    small in some directions, and without the fixed part that part of the posterior would be missed. The draws are
    scrambled Sobol points with fixed seeds, shared by all rows, so that the value of a row depends on that row alone.

    Parameters
    ----------
    log_joint : callable
        ``(z, index) -> values``: codes (m, L, k) of the rows (m,) to ``log p(x, z)``, (m, L).
    mean, sigma : Tensor of shape (n, k)
        Location and scale of the first t-distribution.
    wide : Tensor of shape (n, k)
        Scale of the fixed normal distribution.
    tolerance : float
        Standard error at which a row stops; 0 takes the maximum number of draws.

    Returns
    -------
    log_evidence, error : Tensor of shape (n,)
        In double precision.
    """
    mean, sigma, wide = mean.double(), sigma.double(), wide.double()
    n, k = mean.shape
    location, scale = mean.clone(), torch.diag_embed(1.5 * sigma)
    jitter = torch.diag_embed(1e-3 * sigma.square())
    n_draws = draws_per_round(k)
    value, error = torch.empty_like(mean[:, 0]), torch.empty_like(mean[:, 0])
    sums, squares = torch.full((2, n), -torch.inf, dtype=mean.dtype, device=mean.device)
    active = torch.arange(n, device=mean.device)
    for round_ in range(max(ADAPTATIONS + 4, MOST_DRAWS // n_draws)):
        fixed, adaptive = (mean[active], wide[active]), (location[active], scale[active])
        codes = _codes(fixed, adaptive, n_draws, seed=round_)
        log_weights = log_joint(codes, active).double() - _log_density(codes, fixed, adaptive)
        if round_ < ADAPTATIONS:  # draws of earlier proposals do not enter the error
            sums[active], squares[active], n_rounds = -torch.inf, -torch.inf, 1
        else:
            n_rounds = round_ - ADAPTATIONS + 2
        sums[active] = torch.logaddexp(sums[active], log_weights.logsumexp(1))
        squares[active] = torch.logaddexp(squares[active], (2 * log_weights).logsumexp(1))
        value[active], error[active] = _log_mean(sums[active], squares[active], n_rounds * n_draws)
        # A row that overflows has no finite value, whatever is drawn.
        going_on = (error[active] > tolerance) & value[active].isfinite()
        active = active[going_on]
        if not len(active):
            break
        if round_ < ADAPTATIONS - 1:
            location[active], scale[active] = _adapted(codes[going_on], log_weights[going_on], jitter[active])
    return value, error


def log_mean(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """(n, L) -> (n,), (n,): the logarithm of the mean weight, and its standard error."""
    return _log_mean(log_weights.logsumexp(1), (2 * log_weights).logsumexp(1), log_weights.shape[1])


def _log_mean(log_sum: Tensor, log_sum_of_squares: Tensor, n_draws: int) -> tuple[Tensor, Tensor]:
    error = ((log_sum_of_squares - 2 * log_sum).exp() - 1 / n_draws).clamp(min=0).sqrt()
    return log_sum - log(n_draws), error


def draws_per_round(k: int) -> int:
    """Return the number of codes per row and round, for k dimensions."""
    return max(DRAWS, 1 << ceil(log2(32 * k)))


@lru_cache(maxsize=16)
def standard_normal(k: int, n_draws: int) -> Tensor:
    """Return quasi-random draws from a standard normal distribution in k dimensions, (n_draws, k), of one seed."""
    return torch.special.ndtri(_uniform(k, n_draws, seed=0))


def _student(k: int, n_draws: int, seed: int) -> Tensor:
    """Return quasi-random draws from a standard t-distribution in k dimensions, (n_draws, k)."""
    points = _uniform(k + 1, n_draws, seed)
    normal = torch.special.ndtri(points[:, :k])
    return normal / torch.from_numpy(chi2.ppf(points[:, k:].numpy(), FREEDOM) / FREEDOM).sqrt()


def _uniform(k: int, n_draws: int, seed: int) -> Tensor:
    """Return quasi-random draws from ]0, 1[ in k dimensions, (n_draws, k), the numbers of a power of two.

    The first ones are left out, because torch rounds the very first to its default dtype.
    """
    engine = SobolEngine(k, scramble=True, seed=seed).fast_forward(n_draws)
    return engine.draw(n_draws, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)


def _fixed_share(k: int) -> float:
    """Return the share of the draws from the normal distribution, larger where covariances are estimated worse."""
    return 1 / 8 if k <= 8 else 1 / 4


def _codes(fixed: Proposal, adaptive: Proposal, n_draws: int, seed: int) -> Tensor:
    """Return draws from the mixture, those of the normal distribution first, (m, n_draws, k)."""
    (mean, wide), (location, scale) = fixed, adaptive
    n_fixed = int(_fixed_share(mean.shape[1]) * n_draws)
    normal = torch.special.ndtri(_uniform(mean.shape[1], n_fixed, 1000 + seed)).to(mean)
    student = _student(mean.shape[1], n_draws - n_fixed, seed).to(mean)
    of_fixed = mean.unsqueeze(1) + wide.unsqueeze(1) * normal
    return torch.cat([of_fixed, location.unsqueeze(1) + torch.einsum("mij,lj->mli", scale, student)], 1)


def _log_density(codes: Tensor, fixed: Proposal, adaptive: Proposal) -> Tensor:
    """(m, L, k) -> (m, L): the log-density of the mixture of the normal and the t-distribution."""
    (mean, wide), (location, scale) = fixed, adaptive
    k = codes.shape[2]
    normal = -0.5 * ((codes - mean.unsqueeze(1)) / wide.unsqueeze(1)).square().sum(2) - 0.5 * k * log(2 * pi)
    standard = torch.linalg.solve_triangular(scale, (codes - location.unsqueeze(1)).mT, upper=False)
    constant = lgamma((FREEDOM + k) / 2) - lgamma(FREEDOM / 2) - 0.5 * k * log(FREEDOM * pi)
    student = constant - 0.5 * (FREEDOM + k) * torch.log1p(standard.square().sum(1) / FREEDOM)
    student = student - scale.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
    normal = normal - wide.log().sum(1, keepdim=True)
    share = _fixed_share(k)
    return torch.logaddexp(log(share) + normal, log(1 - share) + student)


def _adapted(codes: Tensor, log_weights: Tensor, jitter: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean, (m, k), and Cholesky factor of the covariance, (m, k, k), of weighted codes.

    Weights are flattened until enough draws count for a covariance.
    """
    exponent = torch.ones_like(log_weights[:, :1])
    for _ in range(12):
        effective = 1 / (exponent * log_weights).softmax(1).square().sum(1, keepdim=True)
        exponent = torch.where(effective < 4 * codes.shape[2], 0.7 * exponent, exponent)
    weights = (exponent * log_weights).softmax(1)
    mean = torch.einsum("nl,nli->ni", weights, codes)
    centred = codes - mean.unsqueeze(1)
    covariance = torch.einsum("nl,nli,nlj->nij", weights, centred, centred)
    factor, failed = torch.linalg.cholesky_ex(covariance + jitter)
    # Without a Cholesky factor, which rounding may prevent, dimensions are taken as independent.
    independent = (covariance + jitter).diagonal(dim1=1, dim2=2).sqrt().diag_embed()
    return mean, torch.where(failed.view(-1, 1, 1) == 0, factor, independent)
