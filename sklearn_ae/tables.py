"""A table of numbers and the tensors that the module sees: standardising, missing cells, and the way back."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor

BLOCK = 4096  # rows converted at once
CONSTANT = 1e-13  # a standard deviation below this share of the mean is rounding


class NumericTable:
    """Columns of numbers: where they lie, how far they spread, and the way to tensors and back.

    Parameters
    ----------
    location, spread : ndarray of shape (n_columns,)
        A cell ``v`` is encoded as ``(v - location) / spread``; a missing cell as 0.
    scale : bool or "common", default=False
        How they were found.
    """

    def __init__(self, location: NDArray[np.float64], spread: NDArray[np.float64], scale: bool | str = False) -> None:
        self.location = location
        self.spread = spread
        self.scale = scale

    @classmethod
    def fit(cls, X: NDArray | csr_matrix, weight: NDArray[np.float64] | None, scale: bool | str) -> "NumericTable":
        """Learn location and spread from the rows that train."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance, all_missing = _moments(X, weight)
        too_large = ~np.isfinite(mean) | ~np.isfinite(variance)
        if too_large.any():
            raise ValueError(
                f"X must have a finite variance, however columns {_indices(too_large)} are too large for one"
            )
        if all_missing.any():
            warnings.warn(
                f"columns {_indices(all_missing)} have no observed value: they are learned as 0", stacklevel=2
            )
        return cls(*SCALES[scale](mean, variance, all_missing), scale)

    def encode(self, X: NDArray, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Return the encoded rows, (n, d), and a mask of the observed cells, or None where all are."""
        x = np.empty(X.shape, dtype=np.float64 if dtype is torch.float64 else np.float32)
        missing = np.isnan(X)
        for rows in _blocks(len(X)):
            x[rows] = (X[rows] - self.location) / self.spread
        observed = None
        if missing.any():
            x[missing] = 0
            observed = torch.from_numpy(~missing).to(device, dtype)
        return torch.from_numpy(x).to(device), observed

    def decode(self, x: Tensor) -> NDArray[np.float64]:
        """Return rows in the user's units, (n, d)."""
        return x.to("cpu", torch.float64).numpy() * self.spread + self.location

    def log_volume(self, observed: Tensor | None, like: Tensor) -> Tensor:
        """Return the log of the change of variables that encoding is, (n,) or (): log p(X) = log p(x) - this."""
        log_spread = torch.from_numpy(np.log(self.spread)).to(like)
        return log_spread.sum() if observed is None else observed @ log_spread


def check_unit_interval(X: Any) -> None:
    """Raise unless all known values lie in [0, 1]."""
    values = X.data if issparse(X) else X
    low, high = np.nanmin(values, initial=0.0), np.nanmax(values, initial=0.0)
    if low < 0 or high > 1:
        raise ValueError(
            f"with likelihood='bernoulli' X must lie in [0, 1], however it lies in [{low:g}, {high:g}]: divide by the "
            "largest value, or set likelihood='gaussian'"
        )


def _per_column(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    constant = (variance <= (CONSTANT * mean) ** 2) & ~all_missing
    if constant.any():
        warnings.warn(f"columns {_indices(constant)} are constant: they are centred, not scaled", stacklevel=2)
    return mean, np.sqrt(np.where(constant | all_missing, 1.0, variance))


def _common(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    pooled = variance[~all_missing].mean() if not all_missing.all() else 1.0
    return mean, np.full_like(mean, np.sqrt(pooled) if pooled > 0 else 1.0)


def _unscaled(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    return np.zeros_like(mean), np.ones_like(mean)


SCALES = {True: _per_column, "common": _common, False: _unscaled}


def _moments(X: NDArray | csr_matrix, weight: NDArray[np.float64] | None) -> tuple[NDArray, NDArray, NDArray]:
    """Return mean and variance of the observed cells of each column, and which columns have none, each (d,)."""
    if issparse(X):
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, variance = mean_variance_axis(X, axis=0, weights=None if weight is None else weight.astype(X.dtype))
        mean, variance = mean.astype(np.float64), variance.astype(np.float64)
        all_missing = np.isnan(mean)
        return np.nan_to_num(mean), np.nan_to_num(variance), all_missing
    weight = np.ones(len(X)) if weight is None else weight
    counted, total = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for rows in _blocks(len(X)):
        observed = ~np.isnan(X[rows])
        counted += weight[rows] @ observed
        total += weight[rows] @ np.where(observed, X[rows], 0.0)
    all_missing = counted == 0
    counted[all_missing] = 1.0
    mean = total / counted
    squares = np.zeros(X.shape[1])
    for rows in _blocks(len(X)):
        squares += weight[rows] @ np.where(np.isnan(X[rows]), 0.0, np.square(X[rows] - mean))
    return mean, squares / counted, all_missing


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


def _indices(mask: NDArray) -> list[int]:
    return np.flatnonzero(mask).tolist()
