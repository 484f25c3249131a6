"""Sources of rows: arrays, sparse matrices, DataFrames and a user's own, read in blocks of numeric rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis
from sklearn.utils.validation import check_array
from torch import Tensor

BLOCK = 1 << 17  # cells converted at once: half a megabyte of float32, which stays in the cache


class Source(ABC):
    """Rows of numbers that are read on demand.

    To write one's own, inherit from this class, set ``shape`` and ``dtype`` in the constructor and define
    ``__getitem__``. Everything else has a default that reads the rows in blocks; override a method only where there is
    a faster way. Set ``is_kept_encoded = False`` if a dense copy of the table would be too large for the memory.

    Attributes
    ----------
    shape : tuple of int
        Number of rows and of columns.
    dtype : dtype
        Of the rows that are returned: float32 or float64.
    is_kept_encoded : bool, default=True
        Whether a fit encodes all rows once and keeps them. If False, rows are encoded in blocks on
        demand.
    buffer_rows : int or None, default=None
        If rows are not kept: number of rows that are read at once, in a thread while others are used. Training then
        shuffles chunks of consecutive rows, and the rows of a buffer, which suits a file. None reads the rows of each
        batch by themselves, in uniform order.

    Examples
    --------
    Rows of a file that is larger than the memory:

    >>> import numpy as np
    >>> from sklearn_ae.tables.sources import Source
    >>> class Mapped(Source):
    ...     is_kept_encoded = False
    ...     buffer_rows = 10_000
    ...
    ...     def __init__(self, path):
    ...         self.rows = np.load(path, mmap_mode="r")
    ...         self.shape, self.dtype = self.rows.shape, self.rows.dtype
    ...
    ...     def __getitem__(self, rows):
    ...         return np.asarray(self.rows[rows])
    """

    shape: tuple[int, int]
    dtype: np.dtype
    is_kept_encoded: bool = True
    buffer_rows: int | None = None

    @abstractmethod
    def __getitem__(self, rows: Any) -> NDArray:
        """Return some rows, (n, n_columns), with NaN for missing cells.

        Parameters
        ----------
        rows : slice or ndarray of int
            As for an array: a slice may end beyond the last row, an index may repeat rows in any order.
        """

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def is_streamed(self) -> bool:
        """Whether rows are read in buffers."""
        return not self.is_kept_encoded and self.buffer_rows is not None

    def take(self, index: NDArray) -> "Source":
        """Return the rows of an index as a source; the default makes no copy."""
        return Selected(self, index)

    def columns(self, positions: Sequence[int]) -> "Source":
        """Return some columns as a source, in the order of the positions; the default makes no copy."""
        return Reordered(self, positions)

    def moments(self, weight: NDArray[np.float64] | None) -> tuple[NDArray, ...]:
        """Return mean, variance, whether all cells are missing, and whether any is, of each column, each (n_columns,).

        Parameters
        ----------
        weight : ndarray of shape (n_rows,) or None
            Weights of the rows.

        Notes
        -----
        One pass, in which the moments of blocks are merged (Chan et al. 1979, eq. 2.1).
        """
        counted, mean, squares = np.zeros((3, self.shape[1]))
        gaps = np.zeros(self.shape[1], dtype=bool)
        for rows in blocks(self.shape):
            here, block_mean, block_squares, block_gaps = _block_moments(
                _doubles(self[rows]), None if weight is None else weight[rows]
            )
            together = np.where(counted + here > 0, counted + here, 1.0)
            delta = block_mean - mean
            squares += block_squares + np.square(delta) * (counted * here / together)
            mean += delta * (here / together)
            counted += here
            gaps |= block_gaps
        return mean, squares / np.where(counted > 0, counted, 1.0), counted == 0, gaps

    def extremes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest value of each column, NaN without values, each (n_columns,)."""
        low, high = np.full((2, self.shape[1]), np.nan)
        for rows in blocks(self.shape):
            cells = self[rows]
            low, high = np.fmin(low, np.fmin.reduce(cells)), np.fmax(high, np.fmax.reduce(cells))
        return low, high

    def known_values(self, columns: slice) -> Iterator[NDArray]:
        """Yield the values of neighbouring columns without the missing ones, in arrays of any shape."""
        for rows in blocks(self.shape):
            cells = self[rows][:, columns]
            known = ~np.isnan(cells)
            yield cells if known.all() else cells[known]

    def has_gaps(self) -> bool:
        """Whether any cell is missing."""
        return any(bool(np.isnan(self[rows]).any()) for rows in blocks(self.shape))


class TableInFiles(ABC):
    """A table that takes the place of X and is read from files.

    Attributes
    ----------
    shape : tuple of int
        Number of rows and of columns.
    head : ndarray or DataFrame
        The columns without rows.
    """

    shape: tuple[int, int]
    head: Any

    @abstractmethod
    def container(self) -> Any:
        """Return the container that reads the table."""

    @abstractmethod
    def __getitem__(self, rows: Any) -> Source:
        """Return some rows, if they are all numbers."""


class Array(Source):
    """An array as a source, without a copy.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        The rows, in float32 or float64.
    """

    def __init__(self, array: NDArray) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.array[rows]


class Sparse(Source):
    """A sparse matrix as a source of dense rows.

    Parameters
    ----------
    matrix : csr_matrix of shape (n, d)
        The rows, in float32 or float64.
    """

    is_kept_encoded = False

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix = matrix
        self.shape = matrix.shape
        self.dtype = matrix.dtype

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.matrix[rows].toarray()

    def take(self, index: NDArray) -> "Sparse":
        """Return the rows of an index as a source."""
        return Sparse(self.matrix[index])

    def columns(self, positions: Sequence[int]) -> "Sparse":
        """Return some columns as a source."""
        return Sparse(self.matrix[:, positions])

    def moments(self, weight: NDArray[np.float64] | None) -> tuple[NDArray, ...]:
        """Return mean, variance, whether all cells are missing, and whether any is, of each column, each (d,)."""
        matrix = self.matrix
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, variance = mean_variance_axis(
                matrix, axis=0, weights=None if weight is None else weight.astype(matrix.dtype)
            )
        mean, variance = mean.astype(np.float64), variance.astype(np.float64)
        n_missing = np.bincount(matrix.indices[np.isnan(matrix.data)], minlength=self.shape[1])
        # With weights, scikit-learn may return 0 instead of NaN for a column without values, by rounding.
        all_missing = np.isnan(mean) | (n_missing == len(self))
        return np.where(all_missing, 0, mean), np.where(all_missing, 0, variance), all_missing, n_missing > 0

    def extremes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest value of each column, NaN without values, each (d,)."""
        low, high = min_max_axis(self.matrix, axis=0, ignore_nan=True)
        return low.astype(np.float64), high.astype(np.float64)

    def known_values(self, columns: slice) -> Iterator[NDArray]:
        """Yield the stored values of neighbouring columns without the missing ones: all but some zeros."""
        values = self.matrix[:, columns].data
        yield values[~np.isnan(values)]

    def has_gaps(self) -> bool:
        """Whether any cell is missing."""
        return bool(np.isnan(self.matrix.data).any())


class Frame(Source):
    """A DataFrame, or an array of objects, as a source.

    Parameters
    ----------
    frame : DataFrame or ndarray
        Its columns hold numbers, or what can be converted to numbers.
    labels : sequence of str, optional
        Names of the columns in error messages.

    Raises
    ------
    ValueError
        If a cell can't be converted to a number, or is infinite, or there is none.
    """

    def __init__(self, frame: Any, labels: Sequence[str] | None = None) -> None:
        self.frame = nw.from_native(frame, pass_through=True)
        self.labels = labels or [f"column {position}" for position in range(frame.shape[1])]
        self.shape = frame.shape
        first, *others = blocks(self.shape)
        block = self._numbers(first, [np.float64, np.float32])
        self.dtype = block.dtype
        self._whole = None if others else block
        for rows in others:
            self._numbers(rows, self.dtype)

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self._numbers(rows, self.dtype) if self._whole is None else self._whole[rows]

    def _numbers(self, rows: Any, dtype: Any) -> NDArray:
        part = self.frame[rows]
        try:
            return self._checked(part, dtype)
        except (ValueError, TypeError) as error:
            self._raise_for_column(part)
            raise error

    def _checked(self, part: Any, dtype: Any) -> NDArray:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities cancel in a sum
            return check_array(
                nw.to_native(part, pass_through=True), dtype=dtype, ensure_all_finite="allow-nan", input_name="X"
            )

    def _raise_for_column(self, part: Any) -> None:
        """Raise an error that names the first column with a cell that can't be converted to a number."""
        for position, label in enumerate(self.labels):
            try:
                self._checked(part[:, [position]], np.float64)
            except (ValueError, TypeError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"X must hold numbers, finite or missing, got in {label}: {error}") from error


class Categorized(Source):
    """Columns of numbers, followed by columns of category ids.

    Parameters
    ----------
    numbers : Source or None
        The numeric columns, if there are any.
    ids : ndarray of shape (n, m)
        Category ids from 1 on, 0 where a cell is missing.
    """

    def __init__(self, numbers: Source | None, ids: NDArray[np.int32]) -> None:
        self.numbers = numbers
        self.ids = ids
        self.shape = (len(ids), ids.shape[1] + (numbers.shape[1] if numbers is not None else 0))
        self.dtype = numbers.dtype if numbers is not None else np.dtype(np.float64)

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        ids = self.ids[rows].astype(self.dtype)
        ids[ids == 0] = np.nan
        return ids if self.numbers is None else np.concatenate([self.numbers[rows], ids], axis=1)


class Selected(Source):
    """Some rows of a source, read on demand.

    Parameters
    ----------
    source : Source
        All rows.
    index : ndarray of int
        Positions of the selected rows.
    """

    def __init__(self, source: Source, index: NDArray) -> None:
        self.source = source
        self.index = index
        self.shape = (len(index), source.shape[1])
        self.dtype = source.dtype
        self.is_kept_encoded, self.buffer_rows = source.is_kept_encoded, source.buffer_rows

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.source[self.index[rows]]


class Reordered(Source):
    """Some columns of a source, in another order.

    Parameters
    ----------
    source : Source
        All columns.
    positions : sequence of int
        Positions of the columns.
    """

    def __init__(self, source: Source, positions: Sequence[int]) -> None:
        self.source = source
        self.positions = list(positions)
        self.shape = (source.shape[0], len(self.positions))
        self.dtype = source.dtype
        self.is_kept_encoded, self.buffer_rows = source.is_kept_encoded, source.buffer_rows

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.source[rows][:, self.positions]


def on_host(cells: NDArray | Tensor) -> NDArray:
    """Return cells as an array."""
    return cells.cpu().numpy() if isinstance(cells, Tensor) else cells


def as_tensor(cells: NDArray | Tensor) -> Tensor:
    """Return cells as a tensor, without a copy where torch takes the memory of an array."""
    if isinstance(cells, Tensor):
        return cells
    if not (cells.flags.c_contiguous and cells.flags.writeable):
        cells = cells.copy()  # torch takes no array that is read-only or has negative strides
    return torch.from_numpy(cells)


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return slices of rows that hold about ``BLOCK`` cells each."""
    size = max(1, BLOCK // max(1, shape[1]))
    return (slice(start, start + size) for start in range(0, shape[0], size))


def _doubles(cells: NDArray | Tensor) -> Tensor:
    """Return a copy of cells in double precision."""
    return (
        cells.to(torch.float64, copy=True) if isinstance(cells, Tensor) else torch.from_numpy(cells.astype(np.float64))
    )


def _block_moments(cells: Tensor, weight: NDArray[np.float64] | None) -> tuple[NDArray, ...]:
    """Return sum of weights, mean, sum of squared deviations, and gaps of each column; overwrites float64 cells."""
    weights = cells.new_ones(len(cells)) if weight is None else as_tensor(weight).to(cells)
    known = (cells == cells).to(cells) if cells.sum().isnan() else None  # noqa: PLR0124 - does not hold for NaN
    counted = weights.sum().expand(cells.shape[1]) if known is None else weights @ known
    if known is not None:
        cells.nan_to_num_(0, torch.inf, -torch.inf)
    mean = (1 / torch.where(counted > 0, counted, 1.0)) * (weights @ cells)
    cells -= mean
    if known is not None:
        cells *= known
    gaps = cells.new_zeros(cells.shape[1], dtype=torch.bool) if known is None else (known == 0).any(0)
    return tuple(on_host(of_columns) for of_columns in (counted, mean, weights @ cells.square_(), gaps))
