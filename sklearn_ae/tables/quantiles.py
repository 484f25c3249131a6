"""Quantile functions of columns."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

KNOTS = (32, 500)  # fewest and most knots of a column, at most
MOST_NUMBERS = 1 << 15  # knots of all columns, approximately
FARTHEST = 3.9  # normal quantile of the outermost level, below which is half a row of 10,000


class Knots(NamedTuple):
    """The quantile function of a column: linear between knots, or a step function if most values are repeated.

    Levels and values ascend. A value of a step function has the levels up to its own.
    """

    levels: NDArray[np.float64]
    values: NDArray[np.float64]
    is_discrete: bool

    def at(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values at levels."""
        if self.is_discrete:
            return self.values[np.searchsorted(self.levels, levels).clip(max=len(self.values) - 1)]
        return np.interp(levels, self.levels, self.values)

    def levels_of(self, values: NDArray) -> NDArray[np.float64]:
        """Return the levels of values; of a repeated value the middle of its levels."""
        first, last = (np.searchsorted(self.values, values, side) for side in ("left", "right"))
        if self.is_discrete:
            limits = np.concatenate([[0.0], self.levels])
            return 0.5 * (limits[first] + limits[last])
        between = np.interp(values, self.values, self.levels)
        middle = 0.5 * (self.levels[first.clip(max=len(self.levels) - 1)] + self.levels[last - 1])
        return np.where(last > first, middle, between)


class Quantiles:
    """The quantile functions of several columns.

    The levels of knots are evenly spaced quantiles of a normal distribution, so that there are many in the tails: a few
    rows have much influence on the mean and the variance of a column.

    Parameters
    ----------
    columns : sequence of Knots
        The quantile function of each column.
    """

    def __init__(self, columns: Sequence[Knots]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, cells: NDArray, weight: NDArray[np.float64] | None = None) -> Self:
        """Return the quantile functions of columns, (n, d); missing cells are NaN. An empty column has zeros."""
        n_knots = int(np.clip(MOST_NUMBERS // max(1, cells.shape[1]), *KNOTS))
        weight = np.ones(len(cells)) if weight is None else weight
        return cls([_knots(column, weight, n_knots) for column in cells.T.astype(np.float64)])

    def at(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values at levels between 0 and 1, (n, d) -> (n, d)."""
        values = np.empty(levels.shape)
        for j, of_column in enumerate(self.columns):
            values[:, j] = of_column.at(levels[:, j])
        return values

    def levels_of(self, values: NDArray) -> NDArray[np.float64]:
        """Return the level of each value, (n, d) -> (n, d)."""
        levels = np.empty(values.shape)
        for j, of_column in enumerate(self.columns):
            levels[:, j] = of_column.levels_of(values[:, j])
        return levels


def _knots(column: NDArray[np.float64], weight: NDArray[np.float64], n: int) -> Knots:
    """Return the quantile function of a column, with at most n knots."""
    known = ~np.isnan(column) & (weight > 0)
    if not known.any():
        return Knots(np.ones(1), np.zeros(1), is_discrete=True)
    order = np.argsort(column[known], kind="stable")
    values, weight = column[known][order], weight[known][order]
    total = weight.cumsum()
    levels = ndtr(np.linspace(-FARTHEST, FARTHEST, n))
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # row of each distinct value
    if len(last) >= 0.5 * len(values):
        return Knots(levels, np.interp(levels, (total - 0.5 * weight) / total[-1], values), is_discrete=False)
    if len(last) > n:
        last = np.unique(np.append(last[np.searchsorted(total[last], levels * total[-1])], len(values) - 1))
    return Knots(total[last] / total[-1], values[last], is_discrete=True)
