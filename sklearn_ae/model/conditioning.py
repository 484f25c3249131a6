"""Codes of rows of which something is known: importance resampling, then elliptical slice sampling."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from sklearn_ae.model.code_density import CodeDensity

CANDIDATES = 2048  # codes of the density that are weighed for each row
STEPS = 20  # of elliptical slice sampling
MAX_SHRINKAGES = 30  # of an interval of angles
BLOCK = 256  # rows whose candidates are weighed at once

# ``(codes, rows (m,)) -> (m, L)``: the log-likelihood of what is known of rows at L codes of each, (m, L, k), or at
# the same codes, (1, L, k).
LogLikelihood = Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]


def conditioned_codes(
    density: CodeDensity,
    log_likelihood: LogLikelihood,
    rows: NDArray[np.int64],
    random: np.random.RandomState,
) -> NDArray[np.float64]:
    """Draw codes from ``p(z | known) ~ p(z) p(known | z)``.

    Codes of the density are resampled by their likelihood. Steps of elliptical slice sampling (Murray, Adams & MacKay
    2010) follow, each within a component of the mixture that is drawn given the code, so that ``p(z | known)`` is
    invariant.

    Parameters
    ----------
    density : CodeDensity
        Distribution ``p(z)`` of codes.
    log_likelihood : callable
        ``(codes, rows) -> log p(known | z)``.
    rows : ndarray of shape (n,)
        The known row that each code is drawn for.
    random : RandomState
        Generator.

    Returns
    -------
    codes : ndarray of shape (n, k)
        The codes.
    """
    candidates = density.draw(CANDIDATES, random)
    order = np.argsort(rows, kind="stable")
    distinct, counts = np.unique(rows, return_counts=True)
    chosen = np.empty(len(rows), dtype=np.int64)
    chosen[order] = np.concatenate(
        [
            _resampled(weights, count, random)
            for start in range(0, len(distinct), BLOCK)
            for weights, count in zip(
                log_likelihood(candidates[None], distinct[start : start + BLOCK]),
                counts[start : start + BLOCK],
                strict=True,
            )
        ]
    )
    codes = candidates[chosen]
    for _ in range(STEPS):
        codes = _slice_step(density.mixture, log_likelihood, codes, rows, random)
    return codes


def _resampled(log_weights: NDArray, n: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Return the indices of n draws by weight, or of any if no weight is above zero."""
    log_weights = np.where(np.isnan(log_weights), -np.inf, log_weights)
    largest = log_weights.max()
    weights = np.exp(log_weights - largest) if np.isfinite(largest) else np.ones(len(log_weights))
    return random.choice(len(weights), size=n, p=weights / weights.sum())


def _slice_step(
    mixture: GaussianMixture,
    log_likelihood: LogLikelihood,
    codes: NDArray[np.float64],
    rows: NDArray[np.int64],
    random: np.random.RandomState,
) -> NDArray[np.float64]:
    """Return codes after one step: a point of the ellipse through the code and a draw of its component."""
    mean, other = _component_draws(mixture, codes, random)
    centred, n = codes - mean, len(codes)
    least = log_likelihood(codes[:, None], rows)[:, 0] + np.log(random.uniform(size=n))
    angle = random.uniform(0, 2 * np.pi, size=n)
    low, high = angle - 2 * np.pi, angle.copy()
    result, pending = codes.copy(), np.arange(n)
    for _ in range(MAX_SHRINKAGES):
        theta = angle[pending, None]
        proposed = mean[pending] + centred[pending] * np.cos(theta) + other[pending] * np.sin(theta)
        accepted = log_likelihood(proposed[:, None], rows[pending])[:, 0] > least[pending]
        result[pending[accepted]] = proposed[accepted]
        pending = pending[~accepted]
        if not len(pending):
            break
        below = angle[pending] < 0
        low[pending] = np.where(below, angle[pending], low[pending])
        high[pending] = np.where(below, high[pending], angle[pending])
        angle[pending] = random.uniform(low[pending], high[pending])
    return result


def _component_draws(
    mixture: GaussianMixture, codes: NDArray[np.float64], random: np.random.RandomState
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a component for each code, and return its mean and a centred draw from it, each (n, k)."""
    below = mixture.predict_proba(codes).cumsum(1)
    component = (below < random.uniform(size=(len(codes), 1)) * below[:, -1:]).sum(1)
    roots = np.linalg.cholesky(mixture.covariances_)
    standard = random.normal(size=codes.shape)
    return mixture.means_[component], (roots[component] @ standard[:, :, None])[:, :, 0]
