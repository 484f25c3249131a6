"""DataFrames that come in parts, written to files of numbers while they are read once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.containers import Container, IdsOf
from sklearn_ae.tables.files import Budget, FileOfRows, StoredIds, StoredNumbers
from sklearn_ae.tables.frames import FrameContainer, frame_container, is_frame
from sklearn_ae.tables.sources import Categorized, Source, blocks

MOST_CATEGORIES = 1_000_000  # distinct values of a column, which are kept in memory
LARGEST_INTEGER = 2**53  # the files hold floats
NUMERIC = ("float", "integer", "boolean")


class Vocabulary:
    """The distinct values of a column of categories, numbered from 1 on as they come."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.numbers: dict[Any, int] = {}

    def numbered(self, values: NDArray, missing: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the number of each cell, 0 where it is missing; new values get new numbers."""
        import pandas as pd

        numbers = np.zeros(len(values), np.int32)
        places, distinct = pd.factorize(values[~missing])
        of_distinct = [self.numbers.setdefault(value, len(self.numbers) + 1) for value in distinct]
        if len(self.numbers) > MOST_CATEGORIES:
            raise ValueError(
                f"columns of categories must have at most {MOST_CATEGORIES:,} distinct values, got more in {self.label}"
                ": leave it out with columns=..."
            )
        numbers[~missing] = np.array(of_distinct, np.int32)[places]
        return numbers


class Spool:
    """Files of the numbers and of the categories of a table that comes in parts.

    Parameters
    ----------
    folder : path
        An empty folder for the files.
    first : FrameContainer
        A part with at least one row.
    """

    def __init__(self, folder: Path, first: FrameContainer) -> None:
        self.folder = folder
        self.head = cast(FrameContainer, first.empty())
        self.kinds = [first.kind(position) for position in range(len(first.names))]
        self.orders = [first.ordered_categories(position) for position in range(len(first.names))]
        self.numeric = [position for position, kind in enumerate(self.kinds) if kind in NUMERIC]
        self.vocabularies = {
            position: Vocabulary(first.label(position))
            for position, kind in enumerate(self.kinds)
            if kind == "category"
        }
        self.dtype: np.dtype | None = None  # of the numbers
        self.n_rows = 0

    @classmethod
    def of(cls, folder: Path, parts: Iterable[Any]) -> Self:
        """Return the files of DataFrames, which are read once.

        Raises
        ------
        TypeError
            If a part is no DataFrame, or a column is of another kind than in the first part.
        ValueError
            If the parts have no rows, or have different columns.
        """
        spool: Self | None = None
        with ExitStack() as files:
            for native in parts:
                if not is_frame(native):
                    raise TypeError(f"data must be made of DataFrames, got {type(native).__name__}")
                part = frame_container(native)
                if not len(part):
                    continue
                if spool is None:
                    spool = cls(folder, part)
                    numbers, ids = (files.enter_context(path.open("wb")) for path in spool._paths)
                spool._add(part, numbers, ids)
        if spool is None or not spool.kinds:
            raise ValueError("data must hold at least one row and one column, got none")
        return spool

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self.folder / "numbers", self.folder / "ids"

    def _add(self, part: FrameContainer, numbers: BinaryIO, ids: BinaryIO) -> None:
        """Write the rows of a part."""
        if part.names != self.head.names:
            raise ValueError(f"all parts of data must have the same columns, got {part.names} after {self.head.names}")
        for position in range(len(self.kinds)):
            self._check_kind(part, position)
        if self.numeric:
            source = part.numbers(self.numeric)
            self.dtype = self.dtype or source.dtype
            if source.dtype != self.dtype:
                raise TypeError(f"all parts of data must have the same dtypes, got {source.dtype} after {self.dtype}")
            for rows in blocks(source.shape):
                np.ascontiguousarray(source[rows]).tofile(numbers)
        if self.vocabularies:
            cells = zip(self.vocabularies.values(), part.objects(list(self.vocabularies)), strict=True)
            np.stack([vocabulary.numbered(*of_column) for vocabulary, of_column in cells], axis=1).tofile(ids)
        self.n_rows += len(part)

    def _check_kind(self, part: FrameContainer, position: int) -> None:
        """Raise unless a column of a part agrees with the parts before; integers and floats together are floats."""
        own, kind = self.kinds[position], part.kind(position)
        if kind == "integer":
            low, high = part.integer_range(position, None)
            if max(-low, high) > LARGEST_INTEGER:
                raise TypeError(
                    f"integers of a table in files must be at most 2^53, got {low if -low > high else high} in "
                    f"{part.label(position)}: convert identifiers to strings, other numbers to floats"
                )
        if own == kind:
            if own == "category" and part.ordered_categories(position) != self.orders[position]:
                self.orders[position] = None
        elif {own, kind} == {"integer", "float"}:
            if own == "integer" and not part.values(position)[1].all():
                self._make_float(position)
        elif not part.values(position)[1].all():
            raise TypeError(
                f"a column must be of one kind in all parts of data, got {kind} after {own} in {part.label(position)}: "
                "convert it, or name its dtype where the parts are read"
            )

    def _make_float(self, position: int) -> None:
        """Change a column of integers to floats: the numbers are written as such anyway."""
        self.kinds[position] = "float"
        name = self.head.names[position]
        self.head = frame_container(self.head.frame.with_columns(nw.col(name).cast(nw.Float64)).to_native())

    def container(self, budget: Budget) -> "SpooledContainer":
        """Return the container that reads the files."""
        numbers, ids = self._paths
        shape = self.n_rows, len(self.numeric)
        source = None
        if self.dtype is not None:
            source = StoredNumbers(FileOfRows(numbers, self.dtype, shape), budget)
        file = FileOfRows(ids, np.dtype(np.int32), (self.n_rows, len(self.vocabularies)))
        return SpooledContainer(self, source, file, budget)


class SpooledRows(Categorized):
    """Columns of numbers, followed by columns of category ids, both in files."""

    def __init__(self, numbers: Source | None, ids: StoredIds, budget: Budget) -> None:
        super().__init__(numbers, cast(Any, ids))
        self.is_kept_encoded = budget.holds(self.shape)
        self.buffer_rows = budget.rows(self.shape[1])


class SpooledContainer(Container):
    """A table of DataFrames that was written to files.

    Parameters
    ----------
    spool : Spool
        Names, kinds and categories of the columns.
    source : StoredNumbers or None
        The columns of numbers.
    ids : FileOfRows
        The numbers of the values of columns of categories.
    budget : Budget
        How much of the table is in memory at once.
    """

    is_frame = True

    def __init__(self, spool: Spool, source: StoredNumbers | None, ids: FileOfRows, budget: Budget) -> None:
        self.spool = spool
        self.source = source
        self.ids = ids
        self.budget = budget
        self.names = spool.head.names

    def __len__(self) -> int:
        return self.spool.n_rows

    def held(self, method: str) -> Self:
        """Raise: the table is not in memory."""
        raise TypeError(not_held(method))

    def kind(self, position: int) -> str:
        """Return "float", "integer", "boolean" or "category", by the dtype of a column."""
        return self.spool.kinds[position]

    def values(self, position: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Return the cells of a column, and which of them are missing, each (n,)."""
        if position in self.spool.vocabularies:
            numbers = self._column(self.ids, list(self.spool.vocabularies).index(position))
            return self._vocabulary(position)[numbers], numbers == 0
        cells = self._column(self.numbers([position]), 0)
        return cells, np.isnan(cells)

    def value_counts(self, position: int, left_out: NDArray[np.bool_] | None) -> Counter[Any]:
        """Return the number of rows of each known value of a column, without rows that are left out, (n,)."""
        place, values = self._place(position), self._vocabulary(position)
        counts = np.zeros(len(values), np.int64)
        for rows in blocks(self.ids.shape):
            numbers = self.ids[rows][:, place]
            kept = numbers if left_out is None else numbers[~left_out[rows]]
            counts += np.bincount(kept, minlength=len(values))
        return Counter({value: int(n) for value, n in zip(values[1:], counts[1:], strict=True) if n})

    def integer_range(self, position: int, left_out: NDArray[np.bool_] | None) -> tuple[int, int]:
        """Return the smallest and the largest known value of a column of integers, 0 and 0 without any."""
        source = self.numbers([position])
        used = source if left_out is None else source.take(np.flatnonzero(~left_out))
        low, high = (float(extreme[0]) for extreme in used.extremes())
        return (0, 0) if np.isnan(low) else (int(low), int(high))

    def with_categories(self, numbers: Source | None, ids_of: Mapping[int, IdsOf]) -> Source:
        """Return a source of columns of numbers, if there are any, and of the ids of columns of categories."""
        ids = []
        for position, of_column in ids_of.items():
            self._place(position)
            known = self._vocabulary(position)[1:]
            ids.append(np.concatenate([[0], of_column(known, np.zeros(len(known), dtype=bool))]).astype(np.int32))
        return SpooledRows(numbers, StoredIds(self.ids, [self._place(p) for p in ids_of], ids), self.budget)

    def numbers(self, positions: Sequence[int]) -> Source:
        """Return columns of numbers as a source, in the order of the positions; missing cells are NaN."""
        for position in positions:
            if position not in self.spool.numeric:
                raise ValueError(f"X must hold numbers, got categories in {self.label(position)}")
        places = [self.spool.numeric.index(position) for position in positions]
        source = cast(StoredNumbers, self.source)
        return source if places == list(range(source.shape[1])) else source.columns(places)

    def ordered_categories(self, position: int) -> list[Any] | None:
        """Return the categories of the dtype of a column, in order, or None if it has none."""
        return self.spool.orders[position]

    def empty(self) -> FrameContainer:
        """Return the names and dtypes without the rows."""
        return cast(FrameContainer, self.spool.head.empty())

    def made_of(self, columns: Sequence[NDArray], like: Any = None) -> Any:
        """Return a DataFrame with the dtypes of this table."""
        return self.spool.head.made_of(columns, like)

    def missing(self) -> NDArray[np.bool_]:
        """Raise: the table is not in memory."""
        raise TypeError(not_held("the method"))

    def dtype(self, position: int) -> Any:
        """Return the narwhals dtype of a column."""
        return self.spool.head.dtype(position)

    def filled(self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], fitted: Container) -> Any:
        """Raise: the table is not in memory."""
        raise TypeError(not_held("the method"))

    def with_gaps(self, table: Any, missing: NDArray[np.bool_]) -> Any:
        """Return a DataFrame without some cells, (n, d)."""
        return self.spool.head.with_gaps(table, missing)

    def _place(self, position: int) -> int:
        """Return the column of the file of categories."""
        if position not in self.spool.vocabularies:
            raise TypeError(
                "columns of categories must hold strings in a table in files, got numbers in "
                f"{self.label(position)}: convert the column to strings, or to a dtype of categories"
            )
        return list(self.spool.vocabularies).index(position)

    def _vocabulary(self, position: int) -> NDArray:
        """Return the distinct values of a column, (n_values + 1,), the first one for a missing cell."""
        known = self.spool.vocabularies[position].numbers
        values = np.empty(len(known) + 1, dtype=object)
        values[1:] = list(known)
        return values

    @staticmethod
    def _column(rows: Any, place: int) -> NDArray:
        return np.concatenate([rows[part][:, place] for part in blocks(rows.shape)])


def not_held(method: str) -> str:
    """Return the message of a method that needs a table in memory."""
    return (
        f"X must be in memory for {method}, got a StoredTable: its method write(path, {method}) writes the results of "
        "its parts to a file"
    )
