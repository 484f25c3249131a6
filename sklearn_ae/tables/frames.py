"""DataFrames of pandas and of other libraries as containers."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.containers import Container
from sklearn_ae.tables.dtypes import (
    REFUSED,
    TEMPORAL,
    TOO_WIDE,
    WIDEST,
    converted_to,
    is_arrow_dictionary,
    is_exotic,
    is_sparse,
    plain,
    within,
)
from sklearn_ae.tables.empty_frames import other_columns, other_frame, pandas_columns, pandas_frame
from sklearn_ae.tables.sources import BLOCK, Frame, Source


class FrameContainer(Container):
    """A DataFrame, read through narwhals.

    Parameters
    ----------
    frame : DataFrame
        The table.
    """

    is_frame = True

    def __init__(self, frame: Any) -> None:
        self.native = frame
        self.frame = nw.from_native(self._readable(), eager_only=True)
        self.names = list(self.frame.columns)

    @abstractmethod
    def _readable(self) -> Any:
        """Return the frame with its columns converted to dtypes that narwhals supports, where possible."""

    def dtype(self, position: int) -> Any:
        """Return the narwhals dtype of a column."""
        return self.dtypes[position]

    @cached_property
    def _series(self) -> list[nw.Series[Any]]:
        return list(self.frame.iter_columns())

    @cached_property
    def dtypes(self) -> list[Any]:
        """The narwhals dtypes of the columns."""
        return self.frame.schema.dtypes()

    def __len__(self) -> int:
        return len(self.frame)

    def kind(self, position: int) -> str:
        """Return "float", "integer", "boolean" or "category", by the dtype of a column."""
        self._check_dtype(position)
        dtype = self.dtypes[position]
        if dtype.is_numeric():
            return "integer" if dtype.is_integer() else "float"
        if dtype == nw.Boolean:
            return "boolean"
        if dtype in (nw.String, nw.Categorical, nw.Enum):
            return "category"
        return self._kind_of_objects(position)

    def _check_dtype(self, position: int) -> None:
        """Raise if the dtype of a column can't be converted to numbers without loss."""
        dtype = self.dtypes[position]
        if type(dtype) in TEMPORAL:
            raise TypeError(
                f"columns must hold numbers, truth values or categories, got times ({dtype}) in "
                f"{self.label(position)}: leave it out, or make numbers of it, for example with skrub.TableVectorizer"
            )
        if type(dtype) in TOO_WIDE or type(dtype) in REFUSED:
            raise TypeError(
                f"columns must hold numbers of at most 64 bits, truth values or categories, got {dtype} in "
                f"{self.label(position)}: convert it, or leave it out"
            )

        if self._is_complex(position):
            raise TypeError(
                "columns must hold numbers, truth values or categories, got complex numbers in "
                f"{self.label(position)}: leave it out, or make two columns of it"
            )

    @abstractmethod
    def _is_complex(self, position: int) -> bool:
        """Whether a column holds complex numbers."""

    def _kind_of_objects(self, position: int) -> str:
        values, missing = self.values(position)
        known = values[~missing].tolist()
        types = set(map(type, known))
        if types <= {str}:
            return "category"
        if types <= {bool, np.bool_}:
            return "boolean"
        if bool not in types and all(issubclass(kind, Integral) for kind in types):
            return self._kind_of_ints(position, known)
        if bool not in types and all(issubclass(kind, Real) for kind in types):
            return "float"
        raise TypeError(
            "columns must hold numbers, truth values or categories, got "
            f"{' and '.join(sorted(kind.__name__ for kind in types))} in {self.label(position)} "
            f"({self.dtypes[position]}): convert it to one of them"
        )

    def _kind_of_ints(self, position: int, known: list[int]) -> str:
        low, high = min(known), max(known)
        if low < -(2**63) or high >= 2**64 or (low < 0 and high >= 2**63):
            raise TypeError(
                f"whole numbers must have at most 64 bits, got {high if high >= 2**63 else low} in "
                f"{self.label(position)}: convert it to floats, or to strings if it holds categories"
            )
        return "integer"

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column exactly as they are, and which of them are missing, each (n,)."""
        column = self._series[position]
        missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
        if column.dtype.is_integer() and column.dtype not in TOO_WIDE:  # otherwise gaps would convert them to floats
            return column.fill_null(0).to_numpy(), missing
        if column.dtype.is_float():
            cells = column.to_numpy()
            return cells, missing | np.isnan(cells.astype(np.float64))
        return np.fromiter(column.to_list(), dtype=object, count=len(column)), missing

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers as a source, in the order of the positions; missing cells are NaN."""
        for position in positions:
            self._check_dtype(position)
        return Frame(self._with_nan(self._part(positions)), [self.label(position) for position in positions])

    @abstractmethod
    def _with_nan(self, part: Any) -> Any:
        """Return a native frame whose missing cells can be converted to NaN."""

    def _part(self, positions: Sequence[int]) -> Any:
        """Return a native frame of some columns, without a copy if it is all of them in their order."""
        whole = list(positions) == list(range(len(self.names)))
        return (self.frame if whole else self.frame[:, list(positions)]).to_native()

    def ordered_categories(self, position: int) -> list[Any] | None:
        """Return the categories of the dtype of a column, in order, or None if it has none."""
        known = self.dtypes[position] in (nw.Categorical, nw.Enum)
        return self._series[position].cat.get_categories().to_list() if known else None

    def column_with(self, position: int, cells: list[Any], where: NDArray[np.bool_]) -> Any:
        """Return a native column with other cells in some rows, or None if its dtype can't hold them exactly."""
        converted = converted_to(np.fromiter(cells, dtype=object, count=len(cells)), self.dtypes[position])
        if converted != cells:
            return None
        with np.errstate(over="ignore"):
            column = self._native_column(converted, position, where, self.dtypes[position])
        held = nw.from_native(column, series_only=True).to_list()
        return column if [held[row] for row in np.flatnonzero(where)] == cells else None

    @abstractmethod
    def with_columns(self, columns: Mapping[int, Any]) -> Any:
        """Return a native frame with other columns in some positions."""

    def column_filled(self, position: int, gaps: NDArray[np.bool_], cells: NDArray, fitted: Container) -> Any:
        """Return a native column with its gaps filled, in a wider dtype if its own can't hold the cells."""
        own = self.dtypes[position]
        if not len(cells):
            return self._native_part(position)
        for dtype in (own, *self._wider(position, gaps, fitted)):
            converted = converted_to(cells, dtype)
            if converted is not None:
                return self._native_column(converted, position, gaps, dtype)
        raise ValueError(
            f"a column must be able to hold what fills its gaps, got {cells.tolist()[0]!r} for a gap of "
            f"{self.label(position)} ({own}): convert the column to the dtype that it had in fit"
        )

    def _wider(self, position: int, gaps: NDArray[np.bool_], fitted: Container) -> list[Any]:
        """Return other dtypes that can hold the known cells of a column."""
        own, in_fit = self.dtypes[position], fitted.dtype(position)
        wider = [widest() for widest, is_narrower in WIDEST.items() if is_narrower(own)]
        if own == nw.Enum and in_fit == nw.Enum and set(own.categories) <= set(in_fit.categories):
            wider.append(in_fit)
        return [*wider, *([in_fit, nw.String(), nw.Float64()] if gaps.all() else [])]

    @abstractmethod
    def _native_part(self, position: int) -> Any:
        """Return a native column as it was given."""

    @abstractmethod
    def _native_column(self, cells: list[Any], position: int, gaps: NDArray[np.bool_], dtype: Any) -> Any:
        """Return a native column as it was given, or in a wider dtype, with its gaps filled."""


class PandasContainer(FrameContainer):
    """A DataFrame of pandas, or of a library with its interface."""

    def __init__(self, frame: Any) -> None:
        super().__init__(frame)
        self.native_dtypes = list(frame.dtypes)  # a pickled frame of pandas forgets the byte order

    def _readable(self) -> Any:
        exotic = [position for position, dtype in enumerate(self.native.dtypes) if is_exotic(dtype)]
        frame = self.native.copy(deep=False) if exotic else self.native
        for position in exotic:
            frame.isetitem(position, plain(frame.iloc[:, position]))
        return frame

    def _is_complex(self, position: int) -> bool:
        return getattr(self.native_dtypes[position], "kind", "") == "c"

    def _with_nan(self, part: Any) -> Any:
        of_objects = [place for place, dtype in enumerate(part.dtypes) if dtype.kind == "O"]
        part = part.copy(deep=False) if of_objects else part
        for place in of_objects:  # None and NA can't be converted to numbers
            column = part.iloc[:, place]
            part.isetitem(place, column.astype(object).where(column.notna(), np.nan))
        return part

    def objects(self, positions: Sequence[int]) -> Iterator[tuple[NDArray, NDArray[np.bool_]]]:
        """Return the cells of several columns as they are, converted in blocks of columns."""
        at_once = max(1, BLOCK // max(1, len(self)))
        for start in range(0, len(positions), at_once):
            part = self.frame.to_native().iloc[:, list(positions[start : start + at_once])]
            yield from zip(part.to_numpy(dtype=object).T, part.isna().to_numpy().T, strict=True)

    def empty(self) -> "PandasContainer":
        """Return the names and dtypes without the rows."""
        return PandasContainer(self.native.head(0).copy())  # a slice may keep the whole DataFrame in memory

    def saved_state(self) -> dict[str, Any]:
        """Return names and dtypes as plain data."""
        return pandas_columns(self.native)

    @classmethod
    def from_saved_state(cls, state: dict[str, Any]) -> "PandasContainer":
        """Return a container without rows."""
        return cls(pandas_frame(state))

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> Any:
        """Return a table of this kind, with the dtypes of this one and the row index of ``like``."""
        index = like.index if hasattr(like, "iloc") else None  # the attribute "index" of a list is a method
        series = type(self.native.iloc[:, 0])
        made = {
            name: series(within(values, dtype), dtype=native, index=index)
            for name, values, dtype, native in zip(self.names, columns, self.dtypes, self.native_dtypes, strict=True)
        }
        return type(self.native)(made, columns=self.native.columns, index=index)

    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""
        return self.frame.to_native().isna().to_numpy()  # a mask of sparse columns is sparse, too

    def with_gaps(self, table: Any, missing: NDArray[np.bool_]) -> Any:
        """Return a DataFrame without some cells, (n, d)."""
        cut = table.copy()
        for position in np.flatnonzero(missing.any(axis=0)).tolist():
            cut.isetitem(position, table.iloc[:, position].mask(missing[:, position]))
        return cut

    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: Container) -> Any:
        """Return the table as it was given, with its missing cells filled and nothing else changed."""
        is_double = (self.native.dtypes == np.float64).tolist()
        doubles = [position for position, values in columns.items() if is_double[position] and values.dtype != object]
        filled = self._doubles_filled(doubles, columns, missing) if doubles else self.native.copy()
        for position in columns.keys() - set(doubles):
            gaps = missing[:, position]
            filled.isetitem(position, self.column_filled(position, gaps, columns[position][gaps], fitted))
        return filled

    def with_columns(self, columns: Mapping[int, Any]) -> Any:
        """Return a native frame with other columns in some positions."""
        frame = self.native.copy(deep=False)
        for position, column in columns.items():
            frame.isetitem(position, column)
        return frame

    def _doubles_filled(self, positions: list[int], columns: Mapping[int, NDArray], missing: NDArray[np.bool_]) -> Any:
        """Fill columns of float64 at once: one after the other is slow for hundreds of columns."""
        import pandas as pd

        part = self.native.iloc[:, positions]
        cells = part.to_numpy(copy=True)
        np.copyto(cells, np.stack([columns[p] for p in positions], axis=1), where=missing[:, positions])
        others = [position for position in range(len(self.names)) if position not in set(positions)]
        written = type(self.native)(cells, index=part.index, columns=part.columns)
        order = np.argsort([*others, *positions])
        return pd.concat([self.native.iloc[:, others], written], axis=1).iloc[:, order]

    def _native_part(self, position: int) -> Any:
        return self.native.iloc[:, position]

    def _native_column(self, cells: list[Any], position: int, gaps: NDArray[np.bool_], dtype: Any) -> Any:
        column = self.native.iloc[:, position]
        if gaps.all() and dtype != self.dtypes[position]:
            made = nw.new_series("filled", cells, dtype, backend=self.frame.implementation).to_native()
            return made.set_axis(column.index)
        if is_sparse(column.dtype):  # such columns can't be written to
            dense = column.sparse.to_dense().to_numpy(copy=True)
            dense[gaps] = cells
            return type(column)(dense, dtype=column.dtype, index=column.index)
        if gaps.all() and is_arrow_dictionary(column.dtype):  # pandas can't write to an empty dictionary
            return type(column)(cells, dtype=column.dtype, index=column.index)
        if dtype != self.dtypes[position]:
            column = nw.from_native(column, series_only=True).cast(dtype).to_native()
        elif hasattr(column.dtype, "categories"):
            column = column.cat.add_categories([c for c in dict.fromkeys(cells) if c not in column.dtype.categories])
        filled = column.array.copy()
        is_plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"
        filled[gaps] = np.array(cells, dtype=column.dtype) if is_plain else cells
        return type(column)(filled, dtype=column.dtype, index=column.index)


class OtherContainer(FrameContainer):
    """A DataFrame of polars, or of another library that narwhals supports."""

    def _readable(self) -> Any:
        return self.native

    def _is_complex(self, position: int) -> bool:
        return False  # polars has no such dtype

    def _with_nan(self, part: Any) -> Any:
        return part

    def empty(self) -> "OtherContainer":
        """Return the names and dtypes without the rows."""
        return OtherContainer(self.frame.head(0).clone().to_native())

    def saved_state(self) -> dict[str, Any]:
        """Return names and dtypes as plain data."""
        return other_columns(self.frame)

    @classmethod
    def from_saved_state(cls, state: dict[str, Any]) -> "OtherContainer":
        """Return a container without rows."""
        return cls(other_frame(state))

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> Any:
        """Return a table of this kind, with the dtypes of this one."""
        backend = self.frame.implementation
        series = [
            nw.new_series(name, within(values, dtype), None if dtype == nw.Unknown else dtype, backend=backend)
            for name, values, dtype in zip(self.names, columns, self.dtypes, strict=True)
        ]
        return nw.concat([one.to_frame() for one in series], how="horizontal").to_native()

    def with_gaps(self, table: Any, missing: NDArray[np.bool_]) -> Any:
        """Return a DataFrame without some cells, (n, d)."""
        frame = nw.from_native(table, eager_only=True)
        cut = [
            nw.when(~nw.new_series(name, missing[:, position], backend=self.frame.implementation)).then(nw.col(name))
            for position, name in enumerate(self.names)
        ]
        return frame.with_columns(*cut).to_native()

    def missing(self) -> NDArray[np.bool_]:
        """Return which cells are missing, (n, d)."""
        missing = self.frame.select(nw.all().is_null()).to_numpy()
        floats = [position for position, dtype in enumerate(self.dtypes) if dtype.is_float()]
        if floats:
            missing[:, floats] |= np.isnan(self.frame.select(nw.nth(floats).cast(nw.Float64)).to_numpy())
        return missing

    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: Container) -> Any:
        """Return the table as it was given, with its missing cells filled and nothing else changed."""
        written = []
        for position, values in columns.items():
            gaps = missing[:, position]
            column = self.column_filled(position, gaps, values[gaps], fitted)
            written.append(nw.from_native(column, series_only=True).alias(self.names[position]))
        return self.frame.with_columns(*written).to_native() if written else self.native

    def with_columns(self, columns: Mapping[int, Any]) -> Any:
        """Return a native frame with other columns in some positions."""
        series = [nw.from_native(columns[place], series_only=True).alias(self.names[place]) for place in columns]
        return self.frame.with_columns(*series).to_native()

    def _native_part(self, position: int) -> Any:
        return self._series[position].to_native()

    def _native_column(self, cells: list[Any], position: int, gaps: NDArray[np.bool_], dtype: Any) -> Any:
        if gaps.all():
            return nw.new_series("filled", cells, dtype, backend=self.frame.implementation).to_native()
        column = self._series[position]
        column = column if dtype == self.dtypes[position] else column.cast(dtype)
        return column.scatter(np.flatnonzero(gaps).tolist(), cells).to_native()


def frame_container(frame: Any) -> FrameContainer:
    """Return the container of a DataFrame."""
    return PandasContainer(frame) if hasattr(frame, "iloc") else OtherContainer(frame)


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame of a library that narwhals supports."""
    return nw.dependencies.is_into_dataframe(X)
