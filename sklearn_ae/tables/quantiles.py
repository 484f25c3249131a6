"""Quantile functions of columns."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

LEVELS = (32, 500)  # fewest and most quantiles of a column
MOST_NUMBERS = 1 << 15  # quantiles of all columns, approximately


class Quantiles:
    """The quantile functions of several columns, at levels that are evenly spaced.

    Parameters
    ----------
    values : ndarray of shape (n_levels, d)
        The quantiles of each column, in ascending order.
    is_discrete : ndarray of shape (d,)
        Columns of which most values occur repeatedly. No value is interpolated between two of their quantiles.
    """

    def __init__(self, values: NDArray[np.float64], is_discrete: NDArray[np.bool_]) -> None:
        self.values = values
        self.is_discrete = is_discrete

    @classmethod
    def of(cls, cells: NDArray, weight: NDArray[np.float64] | None = None) -> Self:
        """Return the quantile functions of columns, (n, d); missing cells are NaN. An empty column has zeros."""
        d = cells.shape[1]
        n_levels = int(np.clip(MOST_NUMBERS // max(1, d), *LEVELS))
        weight = np.ones(len(cells)) if weight is None else weight
        columns = [_quantiles(column, weight, n_levels) for column in cells.T.astype(np.float64)]
        values = np.stack([of_column for of_column, _ in columns], 1) if columns else np.empty((n_levels, 0))
        return cls(values, np.array([is_discrete for _, is_discrete in columns], dtype=bool))

    def at(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values at levels between 0 and 1, (n, d) -> (n, d)."""
        n = len(self.values)
        values = np.empty_like(levels)
        for j, of_column in enumerate(self.values.T):
            if self.is_discrete[j]:
                values[:, j] = of_column[(levels[:, j] * n).astype(np.int64).clip(0, n - 1)]
            else:
                values[:, j] = np.interp(levels[:, j], _levels(n), of_column)
        return values

    def levels_of(self, values: NDArray) -> NDArray[np.float64]:
        """Return the level of each value, (n, d) -> (n, d); of a repeated value the middle of its levels."""
        levels = np.empty(values.shape)
        for j, of_column in enumerate(self.values.T):
            first, last = (np.searchsorted(of_column, values[:, j], side) for side in ("left", "right"))
            between = np.interp(values[:, j], of_column, _levels(len(of_column)))
            levels[:, j] = np.where(last > first, (first + last) / (2 * len(of_column)), between)
        return levels


def _levels(n: int) -> NDArray[np.float64]:
    return (np.arange(n) + 0.5) / n


def _quantiles(column: NDArray[np.float64], weight: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], bool]:
    """Return n quantiles of a column, and whether most of its values are repeated."""
    known = ~np.isnan(column) & (weight > 0)
    if not known.any():
        return np.zeros(n), True
    order = np.argsort(column[known])
    values, weight = column[known][order], weight[known][order]
    total = weight.cumsum()
    is_discrete = np.count_nonzero(np.diff(values)) + 1 < 0.5 * len(values)
    if is_discrete:
        return values[np.searchsorted(total, _levels(n) * total[-1]).clip(max=len(values) - 1)], True
    return np.interp(_levels(n), (total - 0.5 * weight) / total[-1], values), False
