"""Ranges, signs and decimals of numeric columns."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.tables.sources import Source

MAX_DECIMALS = 6
N_FIRST = 100  # values that are tried first, since most columns of many decimals are found by them


class Ranges:
    """The smallest and the largest value of columns in the training rows, and how many decimals their values have.

    Parameters
    ----------
    low, high : ndarray of shape (d,)
        The smallest and the largest value; NaN for a column without values.
    decimals : ndarray of shape (d,)
        Number of decimals, -1 if it is not limited: 0 for whole numbers.
    """

    def __init__(self, low: NDArray[np.float64], high: NDArray[np.float64], decimals: NDArray[np.int64]) -> None:
        self.low = low
        self.high = high
        self.decimals = decimals

    @classmethod
    def fit(cls, source: Source, weight: NDArray[np.float64] | None, sample: NDArray) -> Self:
        """Learn the ranges of the first columns from all rows of positive weight, and decimals from some of them.

        Parameters
        ----------
        source : Source of shape (n, n_cells)
            The training rows.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        sample : ndarray of shape (m, d)
            Some rows, for the decimals of the first d columns.
        """
        d = sample.shape[1]
        used = source if weight is None or weight.all() else source.take(np.flatnonzero(weight))
        low, high = (extreme[:d] for extreme in used.extremes()) if d else (np.empty(0), np.empty(0))
        return cls(low, high, np.array([_decimals(column[~np.isnan(column)]) for column in sample.T], dtype=np.int64))

    def with_sign(self, cells: Tensor) -> Tensor:
        """Return cells, (n, n_cells), clipped at 0 in columns that have only values of one sign."""
        return _between(cells, *self.signs)

    @property
    def signs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bounds of the columns, each (d,): 0 where all values have one sign, else infinite."""
        return np.where(self.low >= 0, 0.0, -np.inf), np.where(self.high <= 0, 0.0, np.inf)

    def within(self, cells: Tensor) -> Tensor:
        """Return cells, (n, n_cells), within the range of their column."""
        return _between(cells, self.low, self.high)

    def as_values(self, cells: Tensor) -> Tensor:
        """Return cells, (n, n_cells), within the range of their column and with its decimals."""
        cells = cells.clone()
        for j in np.flatnonzero(self.decimals >= 0).tolist():
            cells[:, j] = cells[:, j].round(decimals=int(self.decimals[j]))
        return self.within(cells)


def _between(cells: Tensor, low: NDArray[np.float64], high: NDArray[np.float64]) -> Tensor:
    """Return cells, (n, n_cells), of which the first d have bounds, each (d,); NaN is no bound."""
    bounds = np.stack([np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)])
    none = np.repeat([[-np.inf], [np.inf]], cells.shape[1] - len(low), axis=1)
    lowest, highest = torch.from_numpy(np.concatenate([bounds, none], axis=1)).to(cells)
    return cells.clamp(lowest, highest)  # a cell that is NaN stays so, and is noticed


def _decimals(values: NDArray) -> int:
    """Return how many decimals values have, -1 if more than ``MAX_DECIMALS``, or without values."""
    if not len(values):
        return -1
    rounding = 2 * np.finfo(values.dtype).eps
    values = values.astype(np.float64)
    for decimals in range(MAX_DECIMALS + 1):
        if all(_have_decimals(part, decimals, rounding) for part in (values[:N_FIRST], values)):
            return decimals
    return -1


def _have_decimals(values: NDArray[np.float64], decimals: int, rounding: float) -> bool:
    scaled = values * 10.0**decimals
    tolerance = rounding * np.abs(scaled)
    return bool((tolerance < 0.01).all() and (np.abs(scaled - np.rint(scaled)) <= tolerance).all())
