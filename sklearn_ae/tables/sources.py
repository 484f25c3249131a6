"""Sources of rows: arrays, sparse matrices and DataFrames whose cells become numbers when they are asked for."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_array

BLOCK = 1 << 17  # cells converted at once: half a megabyte of float32


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
    """A DataFrame, or an array of objects, as a source.

    Parameters
    ----------
    frame : DataFrame or ndarray
        Its columns hold numbers, or what can be read as one.
    labels : sequence of str, optional
        How messages call the columns.

    Raises
    ------
    ValueError
        If a cell is no number, or infinite, or there is none.
    """

    def __init__(self, frame: Any, labels: Sequence[str] | None = None) -> None:
        self.frame = nw.from_native(frame, pass_through=True)
        self.labels = labels or [f"column {position}" for position in range(frame.shape[1])]
        self.shape: tuple[int, int] = frame.shape
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
            self._find_no_number(part)
            raise error

    def _checked(self, part: Any, dtype: Any) -> NDArray:
        return check_array(
            nw.to_native(part, pass_through=True), dtype=dtype, ensure_all_finite="allow-nan", input_name="X"
        )

    def _find_no_number(self, part: Any) -> None:
        """Raise if a cell can't be read as a number, and name its column."""
        for position, label in enumerate(self.labels):
            try:
                self._checked(part[:, [position]], np.float64)
            except (ValueError, TypeError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"X must hold numbers, finite or missing, got in {label}: {error}") from error


class Coded:
    """Numbers, and categories by number.

    Parameters
    ----------
    numbers : Source or None
        The columns of numbers, which come first.
    codes : ndarray of shape (n, m)
        The numbers of categories from 1 on, 0 where a cell is missing.
    """

    def __init__(self, numbers: Source | None, codes: NDArray[np.int32]) -> None:
        self.numbers = numbers
        self.codes = codes
        self.shape = (len(codes), codes.shape[1] + (numbers.shape[1] if numbers is not None else 0))
        self.dtype = numbers.dtype if numbers is not None else np.dtype(np.float64)

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        codes = self.codes[rows].astype(self.dtype)
        codes[codes == 0] = np.nan
        return codes if self.numbers is None else np.concatenate([self.numbers[rows], codes], axis=1)


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


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return the rows of a table in blocks of about as many cells."""
    size = max(1, BLOCK // max(1, shape[1]))
    return (slice(start, start + size) for start in range(0, shape[0], size))
