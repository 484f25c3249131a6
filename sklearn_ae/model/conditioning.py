"""Codes of rows of which something is known: importance resampling, then elliptical slice sampling."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from sklearn_ae.model.code_density import CodeDensity

LEAST_EFFECTIVE = 10  # effective sample size of a row below which its codes are corrected
STEPS = (20, 60)  # steps of elliptical slice sampling; the second number is for rows of small effective sample size
MAX_SHRINKAGES = 30  # maximum number of proposals per step
BLOCK = 256  # rows that are resampled at once

# ``(codes, rows (m,)) -> (m, L)``: the log-likelihood of what is known of rows at L codes of each, (m, L, k), or at
# the same codes, (1, L, k).
LogLikelihood = Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]
Correction = Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]


def conditioned_codes(
    density: CodeDensity,
    log_likelihood: LogLikelihood,
    rows: NDArray[np.int64],
    random: np.random.RandomState,
    n_candidates: int = 2048,
    corrected: Correction | None = None,
) -> NDArray[np.float64]:
    """Draw codes from ``p(z | known) ~ p(z) p(known | z)``.

    Codes of the density are resampled by their likelihood. Steps of elliptical slice sampling (Murray, Adams & MacKay
    2010) follow, each within a component of the mixture that is drawn given the code, so that ``p(z | known)`` is
    invariant. If much is known of a row, almost no code of the density explains it. Then the resampled codes are
    corrected before these steps, if that makes them more probable.

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
    n_candidates : int, default=2048
        Number of draws of the density, from which the codes of all rows are resampled.
    corrected : callable, optional
        ``(codes, rows) -> codes``: codes, (n, k), moved towards what is known of their rows.

    Returns
    -------
    codes : ndarray of shape (n, k)
        The codes.
    """
    codes, few = _resampled(density.draw(n_candidates, random), log_likelihood, rows, random)
    if corrected is not None and few.any():
        moved = corrected(codes[few], rows[few])
        codes[few] = _more_probable(density.mixture, log_likelihood, codes[few], moved, rows[few])
    for step in range(STEPS[1] if few.any() else STEPS[0]):
        own = np.flatnonzero(few) if step >= STEPS[0] else np.arange(len(rows))
        codes[own] = _slice_step(density.mixture, log_likelihood, codes[own], rows[own], random)
    return codes


class LinearCorrection:
    """Correction of codes by linear regression on cells, as in an ensemble Kalman filter (Evensen 2003, section 4).

    Parameters
    ----------
    codes, cells : ndarray of shape (n, k), ndarray of shape (n, d)
        Codes, and cells that were drawn given these codes.
    """

    def __init__(self, codes: NDArray[np.float64], cells: NDArray[np.float64]) -> None:
        centred = cells - cells.mean(0)
        self.covariance = centred.T @ centred / len(cells)
        self.cross = centred.T @ (codes - codes.mean(0)) / len(cells)

    def of(self, differences: NDArray[np.float64], observed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the change of codes for differences of known and drawn cells, both (m, d) -> (m, k)."""
        changes = np.zeros((len(differences), self.cross.shape[1]))
        patterns, index = np.unique(observed, axis=0, return_inverse=True)
        for place, known in enumerate(patterns):
            rows = index.ravel() == place
            if known.any():
                weights = np.linalg.lstsq(self.covariance[np.ix_(known, known)], self.cross[known], rcond=1e-6)[0]
                changes[rows] = differences[rows][:, known] @ weights
        return changes


def _resampled(
    candidates: NDArray[np.float64],
    log_likelihood: LogLikelihood,
    rows: NDArray[np.int64],
    random: np.random.RandomState,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return candidates, drawn by their likelihood, (n, k), and for which rows few of them had weight."""
    chosen, few = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=bool)
    distinct, index, counts = np.unique(rows, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(index, kind="stable"), counts.cumsum()[:-1])
    for start in range(0, len(distinct), BLOCK):
        part = slice(start, start + BLOCK)
        for place, log_weights in zip(places[part], log_likelihood(candidates[None], distinct[part]), strict=True):
            weights = _normalized(log_weights)
            chosen[place] = random.choice(len(weights), size=len(place), p=weights)
            few[place] = 1 / np.square(weights).sum() < LEAST_EFFECTIVE
    return candidates[chosen], few


def _normalized(log_weights: NDArray) -> NDArray[np.float64]:
    """Return weights that sum to 1, equal ones if none is above zero."""
    log_weights = np.where(np.isnan(log_weights), -np.inf, log_weights)
    largest = log_weights.max()
    weights = np.exp(log_weights - largest) if np.isfinite(largest) else np.ones(len(log_weights))
    return weights / weights.sum()


def _more_probable(
    mixture: GaussianMixture,
    log_likelihood: LogLikelihood,
    codes: NDArray[np.float64],
    others: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the more probable one of two codes of each row, (n, k)."""
    first, second = (mixture.score_samples(z) + log_likelihood(z[:, None], rows)[:, 0] for z in (codes, others))
    return np.where((second > first)[:, None], others, codes)


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
