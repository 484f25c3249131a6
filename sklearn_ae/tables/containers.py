"""Containers: how to read the columns of a table, make another table like it, and fill its missing cells."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeAlias

import narwhals.stable.v2 as nw
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, sparray, spmatrix

from sklearn_ae.tables.columns import counted
from sklearn_ae.tables.sources import Array, Categorized, Frame, Sparse, blocks, on_host
from sklearn_ae.tables.sources import Source as Source
from sklearn_ae.tables.sources import TableInFiles as TableInFiles

IdsOf: TypeAlias = Callable[[NDArray, NDArray[np.bool_]], NDArray[np.int32]]  # cells, and which are missing, to ids


# What an estimator takes as a table; the DataFrames of pandas, polars and pyarrow are array-like for type checkers.
TableLike: TypeAlias = ArrayLike | sparray | spmatrix | Source | TableInFiles

MASKED = {"b": np.float64, "i": np.float64, "u": np.float64, "U": object, "S": object}  # of dtypes that have no NaN


class Container(ABC):
    """A table whose columns can be read one by one.

    Attributes
    ----------
    names : list
        Names of the columns of a DataFrame, positions of those of an array.
    is_frame : bool
        Whether the table is a DataFrame.
    """

    names: list[Any]
    is_frame: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where results for the rows are put."""
        return torch.device("cpu")

    def results(self, values: torch.Tensor) -> Any:
        """Return results for the rows, which are on this device, as they are given back: an array."""
        return values.numpy()

    @abstractmethod
    def kind(self, position: int) -> str:
        """Return "float", "integer", "boolean" or "category", by the dtype of a column.

        Raises
        ------
        TypeError
            If the column is none of them.
        """

    @abstractmethod
    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column exactly as they are, and which of them are missing, each (n,)."""

    def objects(self, positions: Sequence[int]) -> Iterator[tuple[NDArray, NDArray[np.bool_]]]:
        """Return the same for several columns, one after the other."""
        return map(self.values, positions)

    def value_counts(self, position: int, left_out: NDArray[np.bool_] | None) -> Counter[Any]:
        """Return the number of rows of each known value of a column, without rows that are left out, (n,)."""
        known, order = self._known(position, left_out).tolist(), self.ordered_categories(position)
        return counted(known, order, self.label(position))

    def integer_range(self, position: int, left_out: NDArray[np.bool_] | None) -> tuple[int, int]:
        """Return the smallest and the largest known value of a column of integers, 0 and 0 without any."""
        known = self._known(position, left_out)
        return (int(known.min()), int(known.max())) if len(known) else (0, 0)

    def _known(self, position: int, left_out: NDArray[np.bool_] | None) -> NDArray:
        values, missing = self.values(position)
        return values[~(missing if left_out is None else missing | left_out)]

    def with_categories(self, numbers: Source | None, ids_of: Mapping[int, IdsOf]) -> Source:
        """Return a source of columns of numbers, if there are any, and of the ids of columns of categories."""
        ids = np.empty((len(self), len(ids_of)), np.int32)
        for i, (cells, of_column) in enumerate(zip(self.objects(list(ids_of)), ids_of.values(), strict=True)):
            ids[:, i] = of_column(*cells)
        return Categorized(numbers, ids)

    def held(self, method: str) -> Self:
        """Return the container; raise if the table is not in memory, which a method needs."""
        return self

    @abstractmethod
    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers as a source, in the order of the positions; missing cells are NaN."""

    @abstractmethod
    def ordered_categories(self, position: int) -> list[Any] | None:
        """Return the categories of the dtype of a column, in order, or None if it has none."""

    @abstractmethod
    def empty(self) -> "Container":
        """Return the names and dtypes without the rows."""

    @abstractmethod
    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> Any:
        """Return a table of this kind, with the dtypes of this one and the row index of ``like``."""

    @abstractmethod
    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""

    @abstractmethod
    def dtype(self, position: int) -> Any:
        """Return the narwhals dtype of a column."""

    @abstractmethod
    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: "Container") -> Any:
        """Return the table as it was given, with its missing cells filled and nothing else changed.

        Parameters
        ----------
        columns : mapping of int to ndarray of shape (n,)
            Values of the columns that have missing cells, by position.
        missing : ndarray of shape (n, d)
            Which cells are missing.
        fitted : Container
            The table of the fit, without its rows. Its dtypes are those of columns without a known cell.

        Raises
        ------
        ValueError
            If the dtype of a column can't hold both its known cells and the new ones.
        """

    @abstractmethod
    def with_gaps(self, table: Any, missing: NDArray[np.bool_]) -> Any:
        """Return a native table of this kind without some cells, (n, d)."""

    def label(self, position: int) -> str:
        """Return the name of a column in messages."""
        return f"column {self.names[position]!r}"


class PositionalContainer(Container):
    """A table of numbers whose columns are known by their position."""

    def __init__(self, n_columns: int) -> None:
        self.names = list(range(n_columns))

    def kind(self, position: int) -> str:
        """Return "float": there are no other dtypes."""
        return "float"

    def dtype(self, position: int) -> Any:
        """Return the narwhals dtype of a column."""
        return nw.Float64()

    def label(self, position: int) -> str:
        """Return the name of a column in messages."""
        return f"column {position}"

    def with_gaps(self, table: NDArray, missing: NDArray[np.bool_]) -> NDArray:
        """Return an array with NaN in some cells."""
        return np.where(missing, np.nan, table)

    def is_whole(self, positions: Sequence[int]) -> bool:
        """Whether positions are those of all columns, in their order."""
        return list(positions) == self.names


class ArrayContainer(PositionalContainer):
    """An array.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        Numbers, or objects.
    given : ndarray of shape (n, d), optional
        The array as the user gave it, perhaps in another dtype.
    """

    def __init__(self, array: NDArray, given: NDArray | None = None) -> None:
        super().__init__(array.shape[1])
        self.array = array
        self.given = array if given is None else given

    def __len__(self) -> int:
        return len(self.array)

    def empty(self) -> "ArrayContainer":
        """Return the dtype without the rows."""
        return ArrayContainer(self.array[:0].copy())

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column, and which of them are missing, each (n,)."""
        column = self.array[:, position]
        return column, missing_cells(column)

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers as a source; missing cells are NaN."""
        if self.is_whole(positions) and self.array.dtype in (np.float64, np.float32):
            return Array(self.array)
        return Frame(self.array[:, list(positions)], [self.label(position) for position in positions])

    def ordered_categories(self, position: int) -> None:
        """Return None: the dtype of an array has no categories."""
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
        """Return the array as it was given, with its missing cells filled."""
        holds_objects = any(part.dtype == object for part in (self.given, *columns.values()))
        written = np.full(self.array.shape, np.nan, dtype=object if holds_objects else np.float64)
        for position, values in columns.items():
            written[:, position] = values
        cells, dtype = written[missing], written.dtype if holds_objects else self.given.dtype
        too_large = dtype.kind == "f" and np.nanmax(np.abs(cells), initial=0) > np.finfo(dtype).max
        if too_large or (dtype.kind in "iub" and np.isnan(cells).any()):
            dtype = written.dtype
        filled = self.given.astype(dtype)
        filled[missing] = _integers(cells, dtype) if dtype.kind in "iub" else cells
        return filled

    def dtype(self, position: int) -> Any:
        """Return the narwhals dtype of a column."""
        return nw.Object() if self.array.dtype == object else nw.Float64()


class RowsContainer(PositionalContainer):
    """A table that is read through a source, and given back as an array.

    Parameters
    ----------
    source : Source of shape (n, d)
        Numbers.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source.shape[1])
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def empty(self) -> ArrayContainer:
        """Return an array without rows."""
        return ArrayContainer(np.empty((0, len(self.names)), self.source.dtype))

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column, and which of them are missing, each (n,)."""
        column = np.concatenate([block[:, position] for block in self._blocks()])
        return column, np.isnan(column)

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return the source itself, or some of its columns as a source."""
        return self.source if self.is_whole(positions) else self.source.columns(positions)

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> NDArray:
        """Return an array."""
        return self.empty().made_of(columns, like)

    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""
        return np.concatenate([np.isnan(block) for block in self._blocks()])

    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: Container) -> NDArray:
        """Return the rows as an array, with their missing cells filled."""
        return ArrayContainer(np.concatenate(list(self._blocks()))).filled(columns, missing, fitted)

    def _blocks(self) -> Iterator[NDArray]:
        return (on_host(self.source[rows]) for rows in blocks(self.source.shape))


class SparseContainer(RowsContainer):
    """A sparse matrix.

    Parameters
    ----------
    matrix : csr_matrix of shape (n, d)
        Numbers.
    """

    def __init__(self, matrix: csr_matrix) -> None:
        super().__init__(Sparse(matrix))

    def ordered_categories(self, position: int) -> None:
        """Raise: a zero that is not stored would be a category."""
        raise TypeError(
            f"categorical_features must name no column of a sparse matrix, got {self.label(position)}: make it dense"
        )


class SourceContainer(RowsContainer):
    """A user's own source.

    Parameters
    ----------
    source : Source of shape (n, d)
        Numbers.

    Raises
    ------
    TypeError
        If the dtype of the source is neither float32 nor float64, or ``buffer_rows`` is no positive int.
    """

    def __init__(self, source: Source) -> None:
        if np.dtype(source.dtype) not in (np.float32, np.float64):
            raise TypeError(
                f"the dtype of a Source must be float32 or float64, got {np.dtype(source.dtype)}: convert the rows in "
                "its __getitem__"
            )
        rows = source.buffer_rows
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1):
            raise TypeError(f"buffer_rows of a Source must be an int of at least 1 or None, got {rows!r}")
        super().__init__(source)

    def ordered_categories(self, position: int) -> None:
        """Raise: a source holds numbers only."""
        raise TypeError(
            f"categorical_features must name no column of a Source, got {self.label(position)}: give a DataFrame or an "
            "array"
        )


def check_kind(X: Any, name: str = "X") -> None:
    """Raise if a table is a lazy DataFrame or an array of times."""
    if hasattr(X, "collect") and hasattr(X, "collect_schema") and not hasattr(X, "__len__"):
        raise TypeError(
            f"{name} must be an array or a DataFrame, got {type(X).__name__}: call its method collect() before"
        )
    if isinstance(X, np.ndarray) and X.dtype.kind in "mM":
        raise TypeError(f"{name} must hold numbers, got times ({X.dtype}): make numbers of them, for example days")


def check_not_empty(frame: Any, name: str) -> None:
    """Raise unless a DataFrame has rows and columns, in the words of scikit-learn."""
    for n, what in zip(frame.shape, ("sample", "feature"), strict=True):
        if n == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={frame.shape}) while a minimum of 1 is required by {name}."
            )


def with_nan(X: Any) -> Any:
    """Return X with NaN for masked cells of an array, and for None and NA in an array or list of objects.

    A tensor becomes an array.
    """
    if isinstance(X, np.ma.MaskedArray):
        X = _unmasked(X)
    elif isinstance(X, torch.Tensor):
        X = _of_tensor(X)
    elif isinstance(X, list | tuple):
        X = _of_objects(X)
    is_of_objects = isinstance(X, np.ndarray) and X.dtype == object
    return np.where(missing_cells(X), np.nan, X) if is_of_objects else X


def _of_tensor(X: torch.Tensor) -> NDArray:
    """Return a dense tensor of any device and dtype as an array."""
    if X.requires_grad:
        raise TypeError("tensors must not require a gradient, because none is computed, got one that does: detach() it")
    if X.layout is not torch.strided:
        raise TypeError(f"tensors must be dense, got the layout {X.layout}: call its method to_dense() before")
    X = X.resolve_conj().resolve_neg().cpu()
    return (X.float() if X.dtype is torch.bfloat16 else X).numpy()  # numpy has no bfloat16


def _unmasked(X: np.ma.MaskedArray) -> NDArray:
    """Return a masked array as an array with NaN for its masked cells."""
    if not np.ma.is_masked(X):
        return np.ma.getdata(X)
    return np.ma.filled(X.astype(MASKED.get(X.dtype.kind, X.dtype)), np.nan)


def _of_objects(X: Any) -> Any:
    """Return nested lists as an array if its dtype is object, else unchanged."""
    try:
        array = np.asarray(X)
    except ValueError:  # rows of different lengths
        return X
    return array if array.dtype == object else X


def raise_with_column(X: Any, error: Exception) -> None:
    """Raise the error of a failed conversion again, with the column of the first cell that is no number."""
    is_list = isinstance(X, list | tuple)
    if isinstance(X, str | os.PathLike):
        raise TypeError(f"X must be an array or a DataFrame, got {X!r}: read a file with StoredTable") from error
    cells = np.array(X, dtype=object if is_list else None)
    if is_list and cells.ndim == 1 and any(isinstance(row, list | tuple) for row in X):
        raise ValueError(f"X must have rows of one length, got {cells[:2].tolist()}") from error
    if cells.dtype.names:
        raise TypeError(f"X must hold numbers, got records ({cells.dtype}): give a DataFrame") from error
    if cells.ndim != 2 or cells.dtype.kind not in "OSU":
        return
    for (_, column), cell in np.ndenumerate(cells):
        try:
            float(cell)
        except (TypeError, ValueError) as reason:
            raise type(reason)(f"X must hold numbers, finite or missing, got in column {column}: {reason}") from error


def _integers(cells: NDArray[np.float64], dtype: np.dtype) -> list[int]:
    """Return the nearest integers in the range of a dtype; 0 or 1 for truth values."""
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
