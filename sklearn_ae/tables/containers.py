"""What a table comes in, an array or a DataFrame of any library: its columns, and how to make another one like it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sklearn_ae.tables.sources import Frame, Source

TEMPORAL = (nw.Date, nw.Datetime, nw.Duration, nw.Time)


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
        """Return the cells of a column, and which of them are missing, each (n,)."""

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

    def label(self, position: int) -> str:
        """Return how a message calls a column."""
        return f"column {self.names[position]!r}"


class FrameContainer(Container):
    """A DataFrame of any library that narwhals knows.

    Parameters
    ----------
    frame : DataFrame
        The table.
    """

    def __init__(self, frame: Any) -> None:
        self.frame = nw.from_native(frame, eager_only=True)
        self.names = list(self.frame.columns)

    def __len__(self) -> int:
        return len(self.frame)

    def empty(self) -> "FrameContainer":
        """Return the names and dtypes without the rows."""
        return FrameContainer(self.frame.head(0).clone())  # a part of a DataFrame may keep the whole in memory

    def kind(self, position: int) -> str:
        """Return "number", "whole number", "truth" or "category", by the dtype of a column."""
        dtype = self.frame.schema.dtypes()[position]
        if dtype in TEMPORAL:
            raise TypeError(
                f"columns must hold numbers, truth values or categories, however {self.label(position)} is temporal "
                f"({dtype}): leave it out, or make numbers of it, for example with skrub.TableVectorizer"
            )
        if dtype.is_numeric():
            return "whole number" if dtype.is_integer() else "number"
        if dtype == nw.Boolean:
            return "truth"
        if dtype in (nw.String, nw.Categorical, nw.Enum):
            return "category"
        return self._kind_of_objects(position, dtype)

    def _kind_of_objects(self, position: int, dtype: Any) -> str:
        values, missing = self.values(position)
        types = set(map(type, values[~missing].tolist()))
        if types <= {str}:
            return "category"
        if types <= {bool, np.bool_}:
            return "truth"
        if all(issubclass(kind, int | float | np.number) and kind is not bool for kind in types):
            return "number"
        raise TypeError(
            f"columns must hold numbers, truth values or categories, however {self.label(position)} ({dtype}) holds "
            f"{' and '.join(sorted(kind.__name__ for kind in types))}: convert it to one of them"
        )

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column, and which of them are missing, each (n,)."""
        column = self.frame[:, int(position)]
        missing = column.is_null()
        if column.dtype.is_float():
            missing = missing | column.is_nan()
        return column.to_numpy(), np.asarray(missing.to_numpy(), dtype=bool)

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers; missing cells are NaN."""
        whole = list(positions) == list(range(len(self.names)))
        return Frame(self.frame if whole else self.frame[:, list(positions)])

    def ordered_categories(self, position: int) -> list[Any] | None:
        """Return the categories that the dtype of a column tells, in order, or None."""
        column = self.frame[:, int(position)]
        known = column.dtype in (nw.Categorical, nw.Enum)
        return column.cat.get_categories().to_list() if known else None

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> Any:
        """Return a table of this kind, with the dtypes of this one; the rows are labelled as those of ``like``."""
        native = self.frame.to_native()
        if hasattr(native, "iloc"):
            index = getattr(like, "index", None)
            made = {
                name: type(native[name])(list(values) if values.dtype == object else values, dtype=dtype, index=index)
                for name, values, dtype in zip(self.names, columns, native.dtypes, strict=True)
            }
            return type(native)(made, columns=native.columns, index=index)
        backend = self.frame.implementation
        series = [
            nw.new_series(name, _without_objects(values), dtype, backend=backend)
            for (name, dtype), values in zip(self.frame.schema.items(), columns, strict=True)
        ]
        return nw.concat([one.to_frame() for one in series], how="horizontal").to_native()


class ArrayContainer(Container):
    """An array.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        Numbers, or objects.
    """

    def __init__(self, array: NDArray) -> None:
        self.array = array
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
        if column.dtype != object:
            return column, column != column
        return column, np.array([cell is None or cell != cell for cell in column.tolist()], dtype=bool)

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers; missing cells are NaN."""
        in_place = list(positions) == self.names and self.array.dtype.kind == "f"
        return self.array if in_place else Frame(self.array[:, list(positions)])

    def ordered_categories(self, position: int) -> None:
        """Return None: an array does not tell them."""
        return

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> NDArray:
        """Return an array, of objects if this one holds objects."""
        dtype = object if self.array.dtype == object else None
        return np.stack(
            [column.astype(dtype or (column.dtype if column.dtype.kind == "f" else float)) for column in columns],
            axis=1,
        )

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
        return column, column != column

    def numbers(self, positions: Sequence[int]) -> Any:
        """Return columns of numbers; missing cells are NaN."""
        return self.matrix if list(positions) == self.names else self.matrix[:, positions]

    def ordered_categories(self, position: int) -> None:
        """Return None."""
        return

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> NDArray:
        """Return an array."""
        return self.empty().made_of(columns, like)

    def label(self, position: int) -> str:
        """Return how a message calls a column."""
        return f"column {position}"


def is_frame(X: Any) -> bool:
    """Whether it is a DataFrame of a library that can be read."""
    return nw.dependencies.is_into_dataframe(X)


def _without_objects(values: NDArray) -> Any:
    return values.tolist() if values.dtype == object else values
