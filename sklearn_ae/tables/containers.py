"""What a table comes in: its columns, how to make another one like it, and how to fill its missing cells."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sklearn_ae.tables.sources import Frame, Source

MASKED = {"b": np.float64, "i": np.float64, "u": np.float64, "U": object, "S": object}  # dtypes that know no NaN


class Container(ABC):
    """A table whose columns can be read one by one.

    Attributes
    ----------
    names : list
        Of the columns: strings of a DataFrame, numbers of an array.
    """

    names: list[Any]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def kind(self, position: int) -> str:
        """Return "number", "whole number", "truth" or "category", by the dtype of a column.

        Raises
        ------
        TypeError
            If the column is none of them.
        """

    @abstractmethod
    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column exactly as they are, and which of them are missing, each (n,)."""

    def objects(self, positions: Sequence[int]) -> Iterator[tuple[NDArray, NDArray[np.bool_]]]:
        """Return the same of several columns, one after the other."""
        return map(self.values, positions)

    @abstractmethod
    def numbers(self, positions: Sequence[int]) -> Any:
        """Return columns of numbers as a source, or as a sparse matrix; missing cells are NaN."""

    @abstractmethod
    def ordered_categories(self, position: int) -> list[Any] | None:
        """Return the categories that the dtype of a column tells, in order, or None."""

    @abstractmethod
    def empty(self) -> "Container":
        """Return the names and dtypes without the rows."""

    @abstractmethod
    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> Any:
        """Return a table of this kind, with the dtypes of this one; the rows are labelled as those of ``like``."""

    @abstractmethod
    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""

    @abstractmethod
    def dtype(self, position: int) -> Any:
        """Return the dtype of a column, as narwhals names it."""

    @abstractmethod
    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: "Container") -> Any:
        """Return the table as it was given, with its missing cells written and nothing else changed.

        Parameters
        ----------
        columns : mapping of int to ndarray of shape (n,)
            Values of the columns that have missing cells, by position.
        missing : ndarray of shape (n, d)
            Which cells are missing.
        fitted : Container
            The table of the fit, without its rows: the dtypes of columns without a known cell.

        Raises
        ------
        ValueError
            If a column can't hold what is to be written beside what it holds.
        """

    def label(self, position: int) -> str:
        """Return how a message calls a column."""
        return f"column {self.names[position]!r}"


class ArrayContainer(Container):
    """An array.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        Numbers, or objects.
    given : ndarray of shape (n, d), optional
        The same as the user gave it, in another dtype perhaps.
    """

    def __init__(self, array: NDArray, given: NDArray | None = None) -> None:
        self.array = array
        self.given = array if given is None else given
        self.names = list(range(array.shape[1]))

    def __len__(self) -> int:
        return len(self.array)

    def empty(self) -> "ArrayContainer":
        """Return the dtype without the rows."""
        return ArrayContainer(self.array[:0].copy())

    def kind(self, position: int) -> str:
        """Return "number": an array does not tell more."""
        return "number"

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column, and which of them are missing, each (n,)."""
        column = self.array[:, position]
        return column, missing_cells(column)

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers; missing cells are NaN."""
        in_place = list(positions) == self.names and self.array.dtype in (np.float64, np.float32)
        return self.array if in_place else Frame(self.array[:, list(positions)], [self.label(p) for p in positions])

    def ordered_categories(self, position: int) -> None:
        """Return None: an array does not tell them."""
        return

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> NDArray:
        """Return an array, of objects if this one holds objects or strings."""
        dtype = object if self.array.dtype.kind in "OSU" else None
        return np.stack(
            [column.astype(dtype or (column.dtype if column.dtype.kind == "f" else float)) for column in columns],
            axis=1,
        )

    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""
        return missing_cells(self.array)

    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: Container) -> NDArray:
        """Return the array as it was given, with its missing cells written."""
        written = np.full(self.array.shape, np.nan, dtype=object if self.given.dtype == object else np.float64)
        for position, values in columns.items():
            written[:, position] = values
        cells, dtype = written[missing], self.given.dtype
        too_large = dtype.kind == "f" and np.nanmax(np.abs(cells), initial=0) > np.finfo(dtype).max
        if too_large or (dtype.kind in "iub" and np.isnan(cells).any()):
            dtype = written.dtype
        filled = self.given.astype(dtype)
        filled[missing] = _whole(cells, dtype) if dtype.kind in "iub" else cells
        return filled

    def dtype(self, position: int) -> Any:
        """Return the dtype of a column, as narwhals names it."""
        return nw.Object() if self.array.dtype == object else nw.Float64()

    def label(self, position: int) -> str:
        """Return how a message calls a column."""
        return f"column {position}"


class SparseContainer(Container):
    """A sparse matrix.

    Parameters
    ----------
    matrix : csr_matrix of shape (n, d)
        Numbers.
    """

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix = matrix
        self.names = list(range(matrix.shape[1]))

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def empty(self) -> Container:
        """Return an array: rows are given back in one."""
        return ArrayContainer(np.empty((0, len(self.names)), self.matrix.dtype))

    def kind(self, position: int) -> str:
        """Return "number": a sparse matrix holds nothing else."""
        return "number"

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column, and which of them are missing, each (n,)."""
        column = self.matrix[:, [position]].toarray().ravel()
        return column, np.isnan(column)

    def numbers(self, positions: Sequence[int]) -> Any:
        """Return columns of numbers; missing cells are NaN."""
        return self.matrix if list(positions) == self.names else self.matrix[:, positions]

    def ordered_categories(self, position: int) -> None:
        """Refuse: a zero that is not stored would be one of them."""
        raise TypeError(
            f"categorical_features must name no column of a sparse matrix, got {self.label(position)}: make it dense"
        )

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> NDArray:
        """Return an array."""
        return self.empty().made_of(columns, like)

    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""
        return np.isnan(self.matrix.toarray())

    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: Container) -> NDArray:
        """Return the rows as an array, with their missing cells written."""
        return ArrayContainer(self.matrix.toarray()).filled(columns, missing, fitted)

    def dtype(self, position: int) -> Any:
        """Return the dtype of a column, as narwhals names it."""
        return nw.Float64()

    def label(self, position: int) -> str:
        """Return how a message calls a column."""
        return f"column {position}"


def check_kind(X: Any) -> None:
    """Raise if X is a lazy frame, which has no cells yet, or an array of times."""
    if hasattr(X, "collect") and hasattr(X, "collect_schema") and not hasattr(X, "__len__"):
        raise TypeError(f"X must be an array or a DataFrame, got {type(X).__name__}: call its method collect() before")
    if isinstance(X, np.ndarray) and X.dtype.kind in "mM":
        raise TypeError(f"X must hold numbers, got times ({X.dtype}): make numbers of them, for example days")


def check_not_empty(frame: Any, name: str) -> None:
    """Raise unless a DataFrame has rows and columns, in scikit-learn's words."""
    for n, what in zip(frame.shape, ("sample", "feature"), strict=True):
        if n == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={frame.shape}) while a minimum of 1 is required by {name}."
            )


def with_nan(X: Any) -> Any:
    """Return X; in an array, or a list that makes one of objects, what is masked, None or NA is NaN."""
    if isinstance(X, np.ma.MaskedArray):
        X = _unmasked(X)
    elif isinstance(X, list | tuple):
        X = _of_objects(X)
    is_of_objects = isinstance(X, np.ndarray) and X.dtype == object
    return np.where(missing_cells(X), np.nan, X) if is_of_objects else X


def _unmasked(X: np.ma.MaskedArray) -> NDArray:
    """Return a masked array as one whose masked cells are NaN."""
    if not np.ma.is_masked(X):
        return np.ma.getdata(X)
    return np.ma.filled(X.astype(MASKED.get(X.dtype.kind, X.dtype)), np.nan)


def _of_objects(X: Any) -> Any:
    """Return nested lists as an array if it is one of objects, else as they are."""
    try:
        array = np.asarray(X)
    except ValueError:  # no rows of one length
        return X
    return array if array.dtype == object else X


def raise_with_column(X: Any, error: Exception) -> None:
    """Raise the error of a conversion once more if there is a cell that is no number, and name its column."""
    is_list = isinstance(X, list | tuple)
    cells = np.array(X, dtype=object if is_list else None)
    if is_list and cells.ndim == 1 and any(isinstance(row, list | tuple) for row in X):
        raise ValueError(f"X must have rows of one length, got {cells[:2].tolist()}") from error
    if cells.dtype.names:
        raise TypeError(f"X must hold numbers, got records ({cells.dtype}): give a DataFrame") from error
    if isinstance(X, str):
        raise TypeError(f"X must be an array or a DataFrame, got {X!r}") from error
    if cells.ndim != 2 or cells.dtype.kind not in "OSU":
        return
    for (_, column), cell in np.ndenumerate(cells):
        try:
            float(cell)
        except (TypeError, ValueError) as reason:
            raise type(reason)(f"X must hold numbers, finite or missing, got in column {column}: {reason}") from error


def _whole(cells: NDArray[np.float64], dtype: np.dtype) -> list[int]:
    """Return the next whole numbers that a dtype holds, of truth values 0 or 1."""
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return [min(max(round(cell), low), high) for cell in cells.tolist()]


def missing_cells(cells: NDArray) -> NDArray[np.bool_]:
    """Return which cells are NaN, None, NA or NaT."""
    if cells.dtype.kind == "f":
        return np.isnan(cells)
    if cells.dtype == object:
        import pandas as pd

        return pd.isna(cells)  # None, NaN, NA and NaT
    return np.zeros(cells.shape, dtype=bool)
