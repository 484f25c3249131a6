"""Rows of numbers in files, read without a map of the file into memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sklearn_ae.tables.sources import Source

SPAN = 1 << 20  # bytes of a part of the file from which rows of an index are read at once


class FileOfRows:
    """The rows of a table of one dtype, in C order, in a file.

    Parameters
    ----------
    path : path
        The file.
    dtype : dtype
        Of the cells.
    shape : tuple of int
        Number of rows and of columns.
    offset : int, default=0
        Bytes before the first row.
    is_fixed : bool, default=True
        Whether the cells must not change. If False, only the size of the file must not.
    """

    def __init__(
        self, path: Path, dtype: np.dtype, shape: tuple[int, int], offset: int = 0, *, is_fixed: bool = True
    ) -> None:
        self.path = path
        self.is_fixed = is_fixed
        self._opened = self._state()
        self.dtype = dtype
        self.shape = shape
        self.offset = offset
        self._row_bytes = shape[1] * dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index, (n, n_columns)."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return self._read(start, max(start, stop)) if step == 1 else self[np.arange(start, stop, step)]
        return self._at(_checked_index(np.asarray(rows), len(self)))

    def _at(self, index: NDArray[np.int64]) -> NDArray:
        """Return the rows of an index. Rows that are near to each other in the file are read at once."""
        found = np.empty((len(index), self.shape[1]), self.dtype)
        order = np.argsort(index, kind="stable")
        spans = index[order] // max(1, SPAN // max(1, self._row_bytes))
        for places in np.split(order, np.flatnonzero(np.diff(spans)) + 1):
            if len(places):
                first, last = index[places[0]], index[places[-1]]
                found[places] = self._read(first, last + 1)[index[places] - first]
        return found

    def _state(self) -> tuple[int, int]:
        """Return what tells that the file is the one that was opened: its size, and the time of its last change."""
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns if self.is_fixed else 0

    def _read(self, start: int, stop: int) -> NDArray:
        if self._state() != self._opened:
            raise ValueError(f"a file must stay as it was when it was opened, got one that has changed: {self.path}")
        n = stop - start
        offset = self.offset + int(start) * self._row_bytes
        cells = np.fromfile(self.path, self.dtype, n * self.shape[1], offset=offset)
        if len(cells) < n * self.shape[1]:
            raise ValueError(f"the file must hold {len(self)} rows, as its head says, got fewer: {self.path}")
        return cells.reshape(n, self.shape[1])


def _checked_index(index: NDArray, n_rows: int) -> NDArray[np.int64]:
    """Return an index of rows from 0 on, from one that may be a mask or count from the end."""
    index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
    if len(index) and not (-n_rows <= index.min() and index.max() < n_rows):
        raise IndexError(f"rows must be below {n_rows}, got {index.max() if index.max() >= n_rows else index.min()}")
    return np.where(index < 0, index + n_rows, index)


class Budget:
    """How much of a table is in memory at once.

    Parameters
    ----------
    memory_limit : int
        Bytes of all buffers of a fit, about.
    """

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit

    def rows(self, n_columns: int) -> int:
        """Return the number of rows of a buffer: two of them take half of the limit, the parts being read the rest."""
        return max(1, self.memory_limit // (4 * _bytes(n_columns)))

    def holds(self, shape: tuple[int, int]) -> bool:
        """Whether all rows, encoded, take at most half of the limit."""
        return 2 * shape[0] * _bytes(shape[1]) <= self.memory_limit


def _bytes(n_columns: int) -> int:
    """Return the bytes of an encoded row in double precision, with its mask."""
    return 9 * max(1, n_columns)


class StoredNumbers(Source):
    """The rows of a file as a source.

    Parameters
    ----------
    file : FileOfRows
        Numbers of any dtype of numpy.
    budget : Budget
        How much of the table is in memory at once.
    """

    def __init__(self, file: FileOfRows, budget: Budget) -> None:
        self.file = file
        self.shape = file.shape
        self.dtype = np.dtype(np.float32 if file.dtype == np.float32 else np.float64)
        self.is_kept_encoded = budget.holds(file.shape)
        self.buffer_rows = budget.rows(file.shape[1])

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return self.file[rows].astype(self.dtype, copy=False)


class StoredIds:
    """Category ids of columns of which a file holds the numbers of distinct values.

    Parameters
    ----------
    file : FileOfRows
        For each cell the number of its value from 1 on, 0 where it is missing.
    places : sequence of int
        Columns of the file.
    ids : sequence of ndarray
        For each column the id of each number, 0 for a missing cell.
    """

    def __init__(self, file: FileOfRows, places: Sequence[int], ids: Sequence[NDArray[np.int32]]) -> None:
        self.file = file
        self.places = places
        self.ids = ids
        self.shape = (len(file), len(places))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.int32]:
        """Return the ids of a slice or an index of rows."""
        numbers = self.file[rows][:, list(self.places)]
        return np.stack([of_value[column] for of_value, column in zip(self.ids, numbers.T, strict=True)], axis=1)


def npy_rows(path: Path) -> FileOfRows:
    """Return the rows of an ``.npy`` file.

    Raises
    ------
    ValueError
        If it holds no table of numbers in C order.
    """
    readers: Mapping[tuple[int, int], Callable[..., Any]] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    with path.open("rb") as file:
        version = npy.read_magic(file)
        if version not in readers:
            raise ValueError(f"data must be an .npy file of format 1 or 2, got {version} of {path}: save it anew")
        shape, is_fortran, dtype = readers[version](file)
        offset = file.tell()
    if len(shape) != 2 or dtype.kind not in "biuf":
        raise ValueError(f"data must hold a table of numbers, got shape {shape} of {dtype} in {path}")
    if is_fortran and min(shape) > 1:
        raise ValueError(
            f"data must be in C order, so that its rows can be read, got Fortran order in {path}: save "
            "numpy.ascontiguousarray of it"
        )
    return FileOfRows(path, dtype, shape, offset)


def mapped_rows(array: np.memmap) -> FileOfRows:
    """Return the rows of the file of an array that is mapped into memory.

    Raises
    ------
    ValueError
        If the array is no table of numbers in C order, a part of a mapped array, or changed in memory only.
    """
    is_whole = not isinstance(array.base, np.ndarray) and array.filename is not None
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not array.flags.c_contiguous or not is_whole:
        raise ValueError(
            "data must be a whole mapped array of shape (n, d), of numbers and in C order, got shape "
            f"{array.shape} of {array.dtype}: map the file with this shape, or save the array to an .npy file"
        )
    if array.mode == "c":
        raise ValueError("data must be mapped with mode 'r' or 'r+', got 'c', whose changes are not in the file")
    array.flush()
    path, shape = Path(str(array.filename)), (array.shape[0], array.shape[1])
    return FileOfRows(path, array.dtype, shape, array.offset, is_fixed=False)


def written_rows(file: Any, parts: Iterator[NDArray], n_rows: int) -> None:
    """Write arrays of ``n_rows`` rows in all to an open ``.npy`` file, one after the other."""
    first = next(parts)
    npy.write_array_header_2_0(
        file, {"descr": npy.dtype_to_descr(first.dtype), "fortran_order": False, "shape": (n_rows, *first.shape[1:])}
    )
    np.ascontiguousarray(first).tofile(file)
    for part in parts:
        if part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"results must have one dtype and one shape, got {part.dtype} of {part.shape} after {first.dtype} of "
                f"{first.shape}"
            )
        np.ascontiguousarray(part).tofile(file)
