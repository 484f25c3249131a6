"""A table of numbers and the tensors that the module sees: standardising, missing cells, and the way back.

Everything is done in blocks of rows that stay in the cache, so that no second copy of a table is ever made.
"""

import warnings
from collections.abc import Iterator
from math import isfinite
from typing import Any, Protocol, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import check_array
from torch import Tensor

BLOCK = 1 << 17  # cells converted at once: half a megabyte of float32
CONSTANT = 1e-13  # a standard deviation below this share of the mean is rounding
FAR = (
    1e3  # standard deviations from zero: where a column lies farther away, single precision is not enough to centre it
)


class Source(Protocol):
    """Rows in the user's units, made dense and numeric when they are asked for. An array is one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype:
        """Of the rows that it gives: float32 or float64."""

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""


class Frame:
    """A DataFrame of pandas or polars as a source.

    Parameters
    ----------
    frame : DataFrame
        Its columns hold numbers, or what can be read as one.

    Raises
    ------
    ValueError
        If a cell is no number, or infinite, or there is none.
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.shape: tuple[int, int] = frame.shape
        self.dtype = self._numbers(slice(0, 1), [np.float64, np.float32]).dtype
        for rows in blocks(self.shape):
            self._numbers(rows, self.dtype)

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self._numbers(rows, self.dtype)

    def _numbers(self, rows: Any, dtype: Any) -> NDArray:
        part = self.frame.iloc[rows] if hasattr(self.frame, "iloc") else self.frame[rows]
        return check_array(part, dtype=dtype, ensure_all_finite="allow-nan", input_name="X")


def is_frame(X: Any) -> bool:
    """Whether it is a DataFrame whose rows can be taken."""
    return hasattr(X, "iloc") or type(X).__module__.partition(".")[0] == "polars"


class Selected:
    """Some rows of a source, looked up when they are asked for.

    Parameters
    ----------
    source : Source
        All rows.
    index : ndarray of int
        Which of them, in order.
    """

    def __init__(self, source: Source, index: NDArray) -> None:
        self.source = source
        self.index = index
        self.shape = (len(index), source.shape[1])
        self.dtype = source.dtype

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.source[self.index[rows]]


class Dense:
    """A sparse matrix as a source.

    Parameters
    ----------
    X : csr_matrix
        The rows.
    """

    def __init__(self, X: csr_matrix) -> None:
        self.X = X
        self.shape = X.shape
        self.dtype = X.dtype

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.X[rows].toarray()


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
        self._near = bool((np.abs(location) <= FAR * spread).all())
        self._single = [torch.from_numpy(v.astype(np.float32)) for v in (location, 1 / spread)]

    @classmethod
    def fit(cls, X: Source | csr_matrix, weight: NDArray[np.float64] | None, scale: bool | str) -> Self:
        """Learn location and spread from the rows that train."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance, all_missing = _sparse_moments(X, weight) if issparse(X) else _moments(X, weight)
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
        assert_all_finite(cells, allow_nan=True, input_name="X")
        missing = torch.from_numpy(np.isnan(cells))
        return x.masked_fill_(missing, 0), ~missing if missing.any() else None

    def _standardised(self, cells: NDArray, dtype: torch.dtype) -> Tensor:
        if self._near and cells.dtype == np.float32 and dtype is torch.float32:
            location, factor = self._single
            if not (cells.flags.c_contiguous and cells.flags.writeable):
                cells = cells.copy()  # torch takes no array that is read-only or runs backwards
            return (torch.from_numpy(cells) - location).mul_(factor)
        x = cells - self.location
        x /= self.spread
        return torch.from_numpy(x).to(dtype)

    def decode(self, x: Tensor) -> NDArray[np.float64]:
        """Return rows in the user's units, (n, d)."""
        return x.to("cpu", torch.float64).numpy() * self.spread + self.location

    def log_volume(self, observed: Tensor | None, like: Tensor) -> Tensor:
        """Return the log of the change of variables that encoding is, (n,) or (): log p(X) = log p(x) - this."""
        log_spread = torch.from_numpy(np.log(self.spread)).to(like)
        return log_spread.sum() if observed is None else observed @ log_spread


def check_unit_interval(X: Source | csr_matrix) -> None:
    """Raise unless all known values lie in [0, 1]."""
    parts = iter([cast(csr_matrix, X).data]) if issparse(X) else (X[rows] for rows in blocks(X.shape))
    low = high = 0.0
    for part in parts:
        low, high = np.nanmin(part, initial=low), np.nanmax(part, initial=high)
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


def _moments(X: Source, weight: NDArray[np.float64] | None) -> tuple[NDArray, NDArray, NDArray]:
    """Return mean and variance of the observed cells of each column, and which columns have none, each (d,).

    One pass, in which the moments of blocks are merged (Chan et al. 1979, eq. 2.1).
    """
    counted, mean, squares = np.zeros((3, X.shape[1]))
    for rows in blocks(X.shape):
        cells = X[rows].astype(np.float64)
        w = np.ones(len(cells)) if weight is None else weight[rows]
        missing = np.isnan(cells) if np.isnan(cells.sum()) else None
        here = np.full(X.shape[1], w.sum()) if missing is None else w @ ~missing
        share = 1 / np.where(here > 0, here, 1.0)
        if missing is not None:
            cells[missing] = 0
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
    return mean, squares / np.where(counted > 0, counted, 1.0), counted == 0


def _sparse_moments(X: csr_matrix, weight: NDArray[np.float64] | None) -> tuple[NDArray, NDArray, NDArray]:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, variance = mean_variance_axis(X, axis=0, weights=None if weight is None else weight.astype(X.dtype))
    mean, variance = mean.astype(np.float64), variance.astype(np.float64)
    return np.nan_to_num(mean), np.nan_to_num(variance), np.isnan(mean)


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return the rows of a table in blocks of about as many cells."""
    size = max(1, BLOCK // max(1, shape[1]))
    return (slice(start, start + size) for start in range(0, shape[0], size))


def _indices(mask: NDArray) -> list[int]:
    return np.flatnonzero(mask).tolist()
