"""From cells to the tensors that a module sees and back: location, spread, and missing cells.

Everything is done in blocks of rows that stay in the cache, so that no second copy of a table is ever made.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from scipy.special import ndtri
from sklearn.utils import assert_all_finite
from sklearn.utils.sparsefuncs import mean_variance_axis
from torch import Tensor

from sklearn_ae.tables.schema import Layout
from sklearn_ae.tables.sources import Source, blocks
from sklearn_ae.warning import warn

CONSTANT = 1e-13  # a standard deviation below this share of the mean is rounding
FAR = (
    1e3  # standard deviations from zero: where a column lies farther away, single precision is not enough to centre it
)


class NumericTable:
    """The numbers of a table: where they lie, how far they spread, and the way to tensors and back.

    Parameters
    ----------
    location, spread : ndarray of shape (n_cells,)
        A cell ``v`` is encoded as ``(v - location) / spread``; a missing cell as 0.
    scale : bool, "common" or "quantile", default=False
        How they were found.
    gaps : ndarray of shape (n_cells,), optional
        Columns with missing cells.
    curve : Curve, optional
        What the numbers go through before.
    empty : ndarray of shape (n_cells,), optional
        Columns without an observed value: they come back as 0.
    labels : sequence, optional
        How messages call the columns.
    """

    def __init__(
        self,
        location: NDArray[np.float64],
        spread: NDArray[np.float64],
        scale: bool | str = False,
        gaps: NDArray[np.bool_] | None = None,
        curve: "Curve | None" = None,
        empty: NDArray[np.bool_] | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self.location = location
        self.spread = spread
        self.scale = scale
        self.gaps = np.zeros(len(location), dtype=bool) if gaps is None else gaps
        self.curve = curve
        self.empty = np.zeros(len(location), dtype=bool) if empty is None else empty
        self.labels = range(len(location)) if labels is None else labels
        with np.errstate(over="ignore"):
            single = np.stack([location, 1 / spread]).astype(np.float32)
        is_single = np.isfinite(single).all() and (single[1] >= np.finfo(np.float32).tiny).all()
        self._near = curve is None and bool(is_single and (np.abs(location) <= FAR * spread).all())
        self._single = torch.from_numpy(single)

    @classmethod
    def fit(
        cls,
        X: Source | csr_matrix,
        weight: NDArray[np.float64] | None,
        scale: bool | str,
        n_numbers: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> Self:
        """Learn location and spread of the first ``n_numbers`` columns from the rows that train; the others have none.

        Messages call the columns by their labels.
        """
        labels = range(X.shape[1]) if labels is None else labels
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance, all_missing, gaps = (_sparse_moments if issparse(X) else _moments)(X, weight)
        too_large = ~np.isfinite(mean) | ~np.isfinite(variance)
        if too_large.any():
            raise ValueError(
                "X must have a finite variance, got numbers that are too large for one in columns "
                f"{_named(too_large, labels)}"
            )
        if all_missing.any():
            warn(f"columns {_named(all_missing, labels)} have no observed value: nothing is learned of them")
        location, spread = np.zeros_like(mean), np.ones_like(mean)
        n = len(mean) if n_numbers is None else n_numbers
        if n:
            location[:n], spread[:n] = SCALES[scale](mean[:n], variance[:n], all_missing[:n])
        curve = Curve.fit(X, weight, n) if scale == "quantile" and n else None
        return cls(location, spread, scale, gaps, curve, all_missing, labels)

    def encode(self, X: Source, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Return the encoded rows, (n, d), and a mask of the observed cells, or None where all are."""
        x = torch.empty(X.shape, dtype=dtype, device=device)
        observed = None
        for rows in blocks(X.shape):
            x[rows], observed_here = self.encode_block(X[rows], dtype)
            if observed_here is not None:
                observed = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
                observed[rows] = observed_here
        return x, observed

    def encode_block(self, cells: NDArray, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return the same of rows that fit into the cache, on the CPU."""
        x = self._standardised(cells, dtype)
        if isfinite(x.sum().item()):
            return x, None
        with np.errstate(over="ignore", invalid="ignore"):  # infinities cancel in a sum
            assert_all_finite(cells, allow_nan=True, input_name="X")
        missing = torch.from_numpy(np.isnan(cells))
        self._check_in_reach(x.masked_fill_(missing, 0), cells)
        return x, ~missing if missing.any() else None

    def _check_in_reach(self, x: Tensor, cells: NDArray) -> None:
        """Raise if a finite cell is no longer finite once it is encoded."""
        beyond = (~x.isfinite()).nonzero()
        if len(beyond):
            row, column = beyond[0].tolist()
            raise ValueError(
                f"X must hold numbers that are finite once scaled, in {x.dtype}, got {cells[row, column]:g} in "
                f"column {self.labels[column]!r}: leave such rows out, or fit with precision='float64'"
            )

    def farthest(self, cells: NDArray) -> str:
        """Return the number of a row (1, d) that lies farthest from the fit, in words."""
        x, _ = self.encode_block(cells, torch.float64)
        column = int(x.abs().argmax())
        return f"{cells[0, column]:g} in column {self.labels[column]!r}"

    def _standardised(self, cells: NDArray, dtype: torch.dtype) -> Tensor:
        if self._near and cells.dtype == np.float32 and dtype is torch.float32:
            location, factor = self._single
            if not (cells.flags.c_contiguous and cells.flags.writeable):
                cells = cells.copy()  # torch takes no array that is read-only or runs backwards
            return (torch.from_numpy(cells) - location).mul_(factor)
        x = cells - self.location if self.curve is None else self.curve.straightened(cells)
        x /= self.spread
        return torch.from_numpy(x).to(dtype)

    def decode(self, x: Tensor) -> NDArray[np.float64]:
        """Return rows in the user's units, (n, d)."""
        cells = x.to("cpu", torch.float64).numpy() * self.spread + self.location
        cells[:, self.empty] = 0
        return cells if self.curve is None else self.curve.bent(cells)

    def log_volume(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """Return the log of the change of variables that encoding is, (n,) or (): log p(X) = log p(x) - this."""
        log_spread = torch.from_numpy(np.log(self.spread)).to(x)
        if self.curve is not None:
            log_spread = log_spread + torch.from_numpy(self.curve.log_slope(x.to("cpu", torch.float64).numpy())).to(x)
        if observed is None:
            return log_spread.sum(-1)
        return (observed * log_spread).sum(-1)  # a matrix product may be computed in bfloat16


class Curve:
    """A monotone, piecewise linear map of each column that makes its values normal: of their quantiles.

    Parameters
    ----------
    knots : list of (ndarray of shape (m,), ndarray of shape (m,))
        Of each column: values, ascending, and what they are mapped to.
    """

    n_knots = 1000
    n_rows = 100_000

    def __init__(self, knots: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
        self.knots = knots

    @classmethod
    def fit(cls, X: Source | csr_matrix, weight: NDArray[np.float64] | None, n_columns: int) -> Self:
        """Learn the quantiles of the first columns, from rows that are evenly spread over the table."""
        rows = np.arange(0, X.shape[0], max(1, X.shape[0] // cls.n_rows))
        cells = (cast(csr_matrix, X)[rows].toarray() if issparse(X) else X[rows])[:, :n_columns].astype(np.float64)
        weight = np.ones(len(rows)) if weight is None else weight[rows]
        return cls([_quantiles(column, weight, cls.n_knots) for column in cells.T])

    def straightened(self, cells: NDArray) -> NDArray[np.float64]:
        """Return normal values; what lies beyond the quantiles is mapped as their end."""
        return self._mapped(cells, lambda column, values, normal: np.interp(column, values, normal))

    def bent(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what normal values stand for."""
        return self._mapped(cells, lambda column, values, normal: np.interp(column, normal, values))

    def log_slope(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of how far values move for a step of a normal value."""
        slopes = np.zeros_like(cells)
        for j, (values, normal) in enumerate(self.knots):
            if len(values) > 1:
                steps = np.log(np.diff(values) / np.diff(normal))
                slopes[:, j] = steps[np.searchsorted(normal[1:-1], cells[:, j])]
        return slopes

    def _mapped(self, cells: NDArray[np.float64], function: Callable[..., Any]) -> NDArray[np.float64]:
        mapped = cells.astype(np.float64)
        for j, (values, normal) in enumerate(self.knots):
            mapped[:, j] = function(cells[:, j], values, normal)
        return mapped


def _quantiles(column: NDArray[np.float64], weight: NDArray[np.float64], n: int) -> tuple[NDArray, NDArray]:
    """Return values of a column and the normal quantiles of the middle of their ranks, at most n of them."""
    known = ~np.isnan(column)
    if not known.any():
        return np.zeros(1), np.zeros(1)
    values, place = np.unique(column[known], return_inverse=True)
    counted = np.bincount(place, weight[known], minlength=len(values))
    ranks = (counted.cumsum() - 0.5 * counted) / counted.sum()
    if len(values) > n:
        kept = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], n)).clip(max=len(values) - 1))
        values, ranks = values[kept], ranks[kept]
    return values, ndtri(ranks)


def check_support(X: Source | csr_matrix, layout: Layout) -> None:
    """Raise unless all known values of a column are ones that its likelihood knows."""
    start = layout.n_numbers
    for likelihood, n in layout.numbers.items():
        if likelihood in SUPPORTS:
            SUPPORTS[likelihood](_known_values(X, slice(start, start + n)), likelihood)
            start += n


def _known_values(X: Source | csr_matrix, columns: slice) -> Iterator[NDArray]:
    if issparse(X):
        return iter([cast(csr_matrix, X[:, columns]).data])
    return (X[rows][:, columns] for rows in blocks(X.shape))


def _check_unit_interval(parts: Iterator[NDArray], likelihood: str) -> None:
    low = high = 0.0
    for part in parts:
        low, high = np.nanmin(part, initial=low), np.nanmax(part, initial=high)
    if low < 0 or high > 1:
        raise ValueError(
            f"with likelihood='bernoulli' X must lie in [0, 1], got values in [{low:g}, {high:g}]: divide by the "
            "largest value, or set likelihood='gaussian'"
        )


def _check_counts(parts: Iterator[NDArray], likelihood: str) -> None:
    for part in parts:
        wrong = part[(part < 0) | (part != np.rint(part)) & ~np.isnan(part)]
        if len(wrong):
            raise ValueError(
                f"with likelihood={likelihood!r} X must hold counts, 0, 1, 2, ..., got {wrong[0]:g}: set "
                "likelihood='gaussian'"
            )


SUPPORTS = {"bernoulli": _check_unit_interval, "poisson": _check_counts, "negative_binomial": _check_counts}


def _per_column(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    constant = np.sqrt(variance) <= CONSTANT * np.abs(mean)  # centred, not scaled, as scikit-learn's scalers do
    return mean, np.sqrt(np.where(constant | all_missing, 1.0, variance))


def _common(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    pooled = variance[~all_missing].mean() if not all_missing.all() else 1.0
    return mean, np.full_like(mean, np.sqrt(pooled) if pooled > 0 else 1.0)


def _unscaled(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    return np.zeros_like(mean), np.ones_like(mean)


def _centred(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    return mean, np.ones_like(mean)


SCALES = {True: _per_column, "common": _common, "quantile": _unscaled, False: _centred}


def _moments(X: Source, weight: NDArray[np.float64] | None) -> tuple[NDArray, ...]:
    """Return mean and variance of the observed cells, which columns have none, and which have missing ones, each (d,).

    One pass, in which the moments of blocks are merged (Chan et al. 1979, eq. 2.1).
    """
    counted, mean, squares = np.zeros((3, X.shape[1]))
    gaps = np.zeros(X.shape[1], dtype=bool)
    for rows in blocks(X.shape):
        cells = X[rows].astype(np.float64)
        w = np.ones(len(cells)) if weight is None else weight[rows]
        missing = np.isnan(cells) if np.isnan(cells.sum()) else None
        here = np.full(X.shape[1], w.sum()) if missing is None else w @ ~missing
        share = 1 / np.where(here > 0, here, 1.0)
        if missing is not None:
            cells[missing] = 0
            gaps |= missing.any(axis=0)
        block_mean = share * (w @ cells)
        cells -= block_mean
        if missing is not None:
            cells[missing] = 0
        np.square(cells, out=cells)
        together = np.where(counted + here > 0, counted + here, 1.0)
        delta = block_mean - mean
        squares += w @ cells + np.square(delta) * (counted * here / together)
        mean += delta * (here / together)
        counted += here
    return mean, squares / np.where(counted > 0, counted, 1.0), counted == 0, gaps


def _sparse_moments(X: csr_matrix, weight: NDArray[np.float64] | None) -> tuple[NDArray, ...]:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, variance = mean_variance_axis(X, axis=0, weights=None if weight is None else weight.astype(X.dtype))
    mean, variance = mean.astype(np.float64), variance.astype(np.float64)
    gaps = np.bincount(X.indices[np.isnan(X.data)], minlength=X.shape[1]) > 0
    known = ~np.isnan(mean)
    return np.where(known, mean, 0), np.where(known, variance, 0), ~known, gaps


def _named(mask: NDArray, labels: Sequence[Any]) -> list[Any]:
    return [labels[i] for i in np.flatnonzero(mask).tolist()]
