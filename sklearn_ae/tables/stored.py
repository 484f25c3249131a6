"""Tables in files, which may be larger than the memory."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.arrow import parquet_dataset, parquet_parts, write_parquet
from sklearn_ae.tables.containers import Container, RowsContainer, TableInFiles
from sklearn_ae.tables.files import Budget, FileOfRows, StoredNumbers, mapped_rows, npy_rows, written_rows
from sklearn_ae.tables.frames import is_frame
from sklearn_ae.tables.sources import Source
from sklearn_ae.tables.spooled import Spool, SpooledContainer, not_held


class StoredTable(TableInFiles):
    """A table in files, which may be larger than the memory, in the place of X.

    A fit reads a table that is larger than half of ``memory_limit`` again in every epoch, in the order of a shuffling
    buffer: random chunks of consecutive rows, shuffled with each other. Other tables are read once. ``.npy`` files are
    read as they are. DataFrames and Parquet files are read once when the table is made, and their numbers and
    categories are written to temporary files.

    Parameters
    ----------
    data : path, memmap, DataFrame, pyarrow dataset, iterable or callable
        An ``.npy`` file, a Parquet file, or a folder of Parquet files; an array that is mapped into memory; a
        DataFrame, a list of DataFrames, or a function that returns an iterator of them, for example
        ``lambda: pd.read_csv("rows.csv", chunksize=100_000)``. None of them must change as long as the table is used.
    columns : list, default=None
        Names of the columns that are read, positions for an array; all by default.
    memory_limit : int, default=1073741824
        Bytes of memory for rows, about; at least a mebibyte. Beside it a fit takes up to 600 MiB for
        the network and for statistics of some thousand rows, and for each row of the table 40 bytes, 90 with a target.
    folder : path, default=None
        Where the temporary files are; None means the folder of temporary files of the system. They take 4 or 8 bytes
        for each number and 4 for each category.

    Attributes
    ----------
    shape : tuple of int
        Number of rows and of columns.
    head : ndarray or DataFrame
        The columns without rows.
    files : path or None
        The folder of the temporary files. It is removed by ``close``, at the end of a ``with`` statement, or with the
        table.

    Raises
    ------
    TypeError
        If ``data`` is none of these, a column holds neither numbers, truth values nor strings, or ``columns`` is a
        mask.
    ValueError
        If a file holds no table in C order, or ``memory_limit`` is below a mebibyte.

    See Also
    --------
    sklearn_ae.tables.sources.Source : Rows of other files and of databases.

    Notes
    -----
    The shuffling buffer is that of annbatch [1]_: an epoch is nearly a random permutation of the rows. The order
    matters if neighbouring rows are alike, for example sorted by their label, and a buffer is small.

    ``transform``, ``predict`` and ``score_samples`` return arrays of all rows. ``write`` writes results to a file, part
    by part, which is the only way for ``impute`` and ``score_cells``. ``table[rows]`` of an array is a source of some
    rows, so that ``cross_val_score`` and ``GridSearchCV`` work. A pickled table refers to its files.

    References
    ----------
    .. [1] annbatch: a minibatch loader for AnnData stores. Lamin Labs and scverse. https://annbatch.readthedocs.io

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae import RegularizedAutoencoder, StoredTable
    >>> np.save("rows.npy", np.random.RandomState(0).normal(size=(1000, 5)))
    >>> table = StoredTable("rows.npy", memory_limit=1 << 20)
    >>> model = RegularizedAutoencoder(2, max_iter=2, random_state=0).fit(table)
    >>> model.transform(table).shape
    (1000, 2)
    >>> table.write("codes.npy", model.transform)
    >>> np.load("codes.npy").shape
    (1000, 2)
    """

    def __init__(
        self,
        data: Any,
        columns: Sequence[Any] | None = None,
        memory_limit: int = 1 << 30,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(memory_limit, bool) or not isinstance(memory_limit, int) or memory_limit < 1 << 20:
            raise ValueError(f"memory_limit must be an int of at least 2**20 bytes, got {memory_limit!r}")
        _check_columns(columns)
        self.files: Path | None = None
        self._budget = Budget(memory_limit)
        file = _file_of(data)
        self._parts: _FileParts | _FrameParts
        if file is None:
            self._parts = _FrameParts(_reader(data, columns, memory_limit), self._new_folder(folder))
        else:
            self._parts = _FileParts(file, columns)
        self._container = self._parts.container(self._budget)
        self.shape = (len(self._container), len(self._container.names))
        self.head = self._parts.head(self._container)

    def _new_folder(self, folder: str | os.PathLike[str] | None) -> Path:
        self.files = Path(tempfile.mkdtemp(prefix="sklearn_ae-", dir=folder))
        self._remove = weakref.finalize(self, shutil.rmtree, self.files, ignore_errors=True)
        return self.files

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, memory_limit={self._budget.memory_limit})"

    def __len__(self) -> int:
        return self.shape[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the removal of the files: they belong to the table that has made them."""
        return {name: value for name, value in vars(self).items() if name != "_remove"}

    def close(self) -> None:
        """Remove the temporary files. The table can't be read any more, unless it is an array."""
        if "_remove" in vars(self):
            self._remove()

    def container(self) -> Container:
        """Return what reads the table; estimators call it.

        Returns
        -------
        container : Container
            The table, read column by column or in blocks of rows.

        Raises
        ------
        ValueError
            If the temporary files were removed.
        """
        if self.files is not None and not self.files.exists():
            raise ValueError(f"a StoredTable must be open, got one whose files were removed: {self.files}")
        return self._container

    def __getitem__(self, rows: slice | NDArray) -> Source:
        """Return some rows of an array, which are read when they are needed.

        Parameters
        ----------
        rows : slice or array-like of int or bool
            The rows.

        Returns
        -------
        source : Source of shape (n, n_columns)
            The rows.

        Raises
        ------
        TypeError
            If the table is made of DataFrames.
        """
        if self._container.is_frame:
            raise TypeError(
                "rows must be those of an array, got a table of DataFrames: give the rows as a DataFrame, or make a "
                "StoredTable of DataFrames of them"
            )
        index = np.arange(len(self))[rows]
        if index.ndim != 1:
            raise TypeError(f"rows must be a slice or an index, got {rows!r}")
        return self._container.numbers(self._container.names).take(index)

    def write(self, path: str | os.PathLike[str], method: Callable[[Any], Any]) -> None:
        """Write the results of a method for all rows to a file, part by part.

        Parameters
        ----------
        path : path
            An ``.npy`` file for arrays, or a ``.parquet`` file, for which pyarrow is needed. A file that exists is
            replaced when all rows are written, and stays as it is if there is an error.
        method : callable
            ``DataFrame or array of some rows -> DataFrame or array`` with a row for each, for example ``model.impute``.

        Raises
        ------
        ValueError
            If the path has another ending, the results of parts differ in their columns or dtypes, or the number of
            rows is not that of the table.
        """
        path = Path(path)
        if path.suffix not in (".npy", ".parquet"):
            raise ValueError(f"path must end with .npy or .parquet, got {str(path)!r}")
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        name = getattr(method, "__name__", "result")
        try:
            results = self._results(method)
            if path.suffix == ".parquet":
                write_parquet(unfinished, results, name)
            else:
                with unfinished.open("wb") as file:
                    written_rows(file, map(_array, results), len(self))
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _results(self, method: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield the results of a method for the parts of the table."""
        n_read = 0
        for part in self._parts.read(max(1, self._budget.rows(self.shape[1]) // 2)):
            n_read += len(part)
            result = method(part)
            if len(result) != len(part):
                raise ValueError(f"method must return a row for each row, got {len(result)} for {len(part)}")
            yield result
        if n_read != len(self):
            raise ValueError(f"data must have the same rows whenever they are read, got {n_read} after {len(self)}")


class _FileParts:
    """The rows of an array in a file."""

    def __init__(self, file: FileOfRows, columns: Sequence[int] | None) -> None:
        self.file = file
        self.columns = columns
        n = file.shape[1]
        if columns is not None and not all(isinstance(c, int | np.integer) and 0 <= c < n for c in columns):
            raise ValueError(f"columns must be positions below {n}, got {columns!r}")
        if 0 in (file.shape[0], n if columns is None else len(columns)):
            raise ValueError(f"data must hold at least one row and one column, got shape {file.shape}")

    def container(self, budget: Budget) -> Container:
        source: Source = StoredNumbers(self.file, budget)
        return _FileContainer(source if self.columns is None else source.columns(self.columns))

    def head(self, container: Container) -> NDArray:
        return np.empty((0, len(container.names)))

    def read(self, n_rows: int) -> Iterator[NDArray]:
        for start in range(0, len(self.file), n_rows):
            cells = self.file[start : start + n_rows]
            yield cells if self.columns is None else cells[:, list(self.columns)]


class _FileContainer(RowsContainer):
    """The rows of an array in a file."""

    def held(self, method: str) -> Self:
        raise TypeError(not_held(method))

    def ordered_categories(self, position: int) -> None:
        raise TypeError(
            f"categorical_features must name no column of an array in a file, got {self.label(position)}: give "
            "DataFrames, or a Parquet file"
        )


class _FrameParts:
    """DataFrames that can be read again."""

    def __init__(self, read_all: Callable[[], Iterable[Any]], folder: Path) -> None:
        self.read_all = read_all
        self.folder = folder

    def container(self, budget: Budget) -> Container:
        return Spool.of(self.folder, self.read_all()).container(budget)

    def head(self, container: Container) -> Any:
        return cast(SpooledContainer, container).empty().native

    def read(self, n_rows: int) -> Iterator[Any]:
        for native in self.read_all():
            frame = nw.from_native(native, eager_only=True)
            for start in range(0, len(frame), n_rows):
                yield frame[start : start + n_rows].to_native()


def _check_columns(columns: Any) -> None:
    """Raise for what would be read as other columns: the letters of a name, or a mask as positions or rows."""
    if isinstance(columns, str) or (columns is not None and any(isinstance(c, bool | np.bool_) for c in columns)):
        raise TypeError(f"columns must be a list of names or positions, got {columns!r}")


def _file_of(data: Any) -> FileOfRows | None:
    """Return the rows of an ``.npy`` file or of a mapped array, None for DataFrames."""
    if isinstance(data, np.memmap):
        return mapped_rows(data)
    if isinstance(data, str | os.PathLike) and Path(data).suffix == ".npy":
        return npy_rows(Path(data))
    return None


def _reader(data: Any, columns: Sequence[Any] | None, memory_limit: int) -> Callable[[], Iterable[Any]]:
    """Return a function that reads all DataFrames anew."""
    if isinstance(data, str | os.PathLike) or hasattr(data, "scanner"):
        dataset = parquet_dataset(data)
        return partial(parquet_parts, dataset, columns, memory_limit)
    if is_frame(data):
        return partial(_parts_of, [data], columns)
    if hasattr(data, "to_parquet"):
        raise TypeError(
            f"data must be in files, got {type(data).__name__}: write it with to_parquet, and give the folder"
        )
    is_read_once = isinstance(data, Iterator)
    if is_read_once or isinstance(data, np.ndarray) or not (callable(data) or isinstance(data, Iterable)):
        raise TypeError(
            "data must be a path, a memmap, DataFrames in a list, or a function that returns an iterator of them, got "
            f"{type(data).__name__}"
        )
    return partial(_parts_of, data, columns)


def _parts_of(data: Any, columns: Sequence[Any] | None) -> Iterator[Any]:
    """Yield DataFrames, or some of their columns."""
    for frame in data() if callable(data) else data:
        yield frame if columns is None or not is_frame(frame) else frame[list(columns)]


def _array(result: Any) -> NDArray:
    if not isinstance(result, np.ndarray):
        raise TypeError(f"results must be arrays for an .npy file, got {type(result).__name__}: write a .parquet file")
    return result
