"""Known cells of rows that are to be generated, as a table with all columns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklearn_ae.tables.containers import Container, check_kind, with_nan
from sklearn_ae.tables.frames import FrameContainer, frame_container, is_frame

Columns = dict[Any, list[Any]]  # the cells of some columns, by name


@contextmanager
def errors_of_given() -> Iterator[None]:
    """Raise errors of a table as errors of ``given``."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"given must hold cells that X may hold, got an error: {error}") from error


def completed(given: Any, n: int, fitted: Container) -> Any:
    """Return known cells as a table of n rows with all columns of the fit; cells that are not known are missing.

    Parameters
    ----------
    given : dict, DataFrame or array-like
        Known cells of one row or of n rows. A dict maps columns to a cell or to n cells, and a DataFrame may lack
        columns.
    n : int
        Number of rows.
    fitted : Container
        The table of the fit, without its rows.

    Returns
    -------
    table : DataFrame or ndarray of shape (n, n_columns)
        A table of the kind of the fit.

    Raises
    ------
    ValueError
        If there are other columns, or neither one row nor n rows.
    """
    check_kind(given, "given")
    if isinstance(given, Mapping):
        _check_names(list(given), fitted)
        return _table_of({name: _of_rows(name, cells, n) for name, cells in given.items()}, n, fitted)
    if is_frame(given):
        if fitted.is_frame and hasattr(given, "iloc"):  # names may occur twice, so that there is no container of it
            _check_names(list(given.columns), fitted)
        return _of_frame(frame_container(given), n, fitted)
    array = _array(given)
    _check_shape(array.shape, n, fitted)
    array = np.repeat(array, n, axis=0) if len(array) != n else array
    return _table_of(dict(zip(fitted.names, array.T.tolist(), strict=True)), n, fitted) if fitted.is_frame else array


def joined(columns: Sequence[NDArray], given: FrameContainer, fitted: FrameContainer) -> Any:
    """Return a DataFrame of the library of the fit, with drawn columns, each (n,), and the known cells of ``given``.

    Columns have the dtypes of the fit. A column whose dtype can't hold the known cells has the dtype that it has in
    ``given``, or a wider one.
    """
    drawn = frame_container(fitted.made_of(columns, given.native))
    written = {}
    for position, of_column in enumerate(columns):
        cells, missing = given.values(position)
        if missing.all():
            continue
        written[position] = drawn.column_with(position, cells[~missing].tolist(), ~missing)
        if written[position] is None:
            written[position] = given.column_filled(position, missing, of_column[missing], fitted)
    return drawn.with_columns(written)


def _of_frame(given: FrameContainer, n: int, fitted: Container) -> Any:
    """Return the table of known cells in a DataFrame, of which only those of the library of the fit keep dtypes."""
    if not fitted.is_frame:
        _check_shape((len(given), len(given.names)), n, fitted)
        return _table_of(_columns(given, fitted.names, n), n, fitted)
    _check_names(given.names, fitted)
    _check_rows(len(given), n)
    if given.frame.implementation != cast(FrameContainer, fitted).frame.implementation:
        return _table_of(_columns(given, given.names, n), n, fitted)
    return _with_all_columns(_repeated_frame(given.native, n), cast(FrameContainer, fitted))


def _array(given: Any) -> NDArray:
    """Return a table as an array, of objects if it is a list with strings."""
    if issparse(given):
        raise TypeError(
            f"given must be a dict, a DataFrame or a dense array, got {type(given).__name__}: make it dense"
        )
    array = with_nan(given)
    try:
        array = array if isinstance(array, np.ndarray) else np.asarray(array)
    except ValueError as error:
        raise ValueError(f"given must have rows of one length, got {given!r}") from error
    return array if array.dtype.kind not in "US" or isinstance(given, np.ndarray) else np.array(given, dtype=object)


def _check_names(names: list[Any], fitted: Container) -> None:
    unknown = [name for name in names if name not in fitted.names]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(f"given must name columns of X, got {unknown or names!r} among {fitted.names!r}")


def _check_shape(shape: tuple[int, ...], n: int, fitted: Container) -> None:
    if len(shape) != 2 or shape[1] != len(fitted.names):
        raise ValueError(f"given must be a dict, or a table with all {len(fitted.names)} columns, got shape {shape}")
    _check_rows(shape[0], n)


def _check_rows(n_given: int, n: int) -> None:
    if n_given not in (1, n):
        raise ValueError(f"given must hold one row or n_samples={n} rows, got {n_given}")


def _of_rows(name: Any, cells: Any, n: int) -> list[Any]:
    """Return the cells of a column, n of them."""
    if isinstance(cells, str | bytes) or not hasattr(cells, "__len__"):
        return [cells] * n
    if len(cells) != n or getattr(cells, "ndim", 1) != 1:
        got = getattr(cells, "shape", len(cells))
        raise ValueError(f"given must hold a cell or n_samples={n} cells for each column, got {got} of {name!r}")
    return list(with_nan(cells))


def _columns(given: FrameContainer, names: list[Any], n: int) -> Columns:
    """Return the cells of a DataFrame of one row or n rows, None where they are missing."""
    cells = {}
    for position, name in enumerate(names):
        values, missing = given.values(position)
        of_column = [None if is_missing else cell for cell, is_missing in zip(values.tolist(), missing, strict=True)]
        cells[name] = of_column * n if len(of_column) != n else of_column
    return cells


def _table_of(cells: Columns, n: int, fitted: Container) -> Any:
    """Return a table of the kind of the fit."""
    return _frame_of(cells, cast(FrameContainer, fitted)) if fitted.is_frame else _array_of(cells, n, fitted)


def _array_of(cells: Columns, n: int, fitted: Container) -> NDArray:
    """Return an array of objects, or of numbers if the fit had an array of numbers."""
    array = np.full((n, len(fitted.names)), np.nan, dtype=object)
    for position, of_column in cells.items():
        array[:, position] = of_column
    if any(fitted.dtype(position) == nw.Object() for position in fitted.names):
        return array
    try:
        return with_nan(array).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"given must hold numbers after a fit on numbers, got an error: {error}") from error


def _frame_of(cells: Columns, fitted: FrameContainer) -> Any:
    """Return a DataFrame of the library of the fit."""
    if hasattr(fitted.native, "iloc"):  # pandas, whose column names may be of any type
        return _with_all_columns(type(fitted.native)(cells), fitted)
    series = [_series(name, of_column, fitted).to_frame() for name, of_column in cells.items()]
    return _with_all_columns(nw.concat(series, how="horizontal").to_native(), fitted)


def _series(name: Any, cells: list[Any], fitted: FrameContainer) -> nw.Series[Any]:
    plain = [None if isinstance(cell, float) and np.isnan(cell) else cell for cell in cells]
    try:
        return nw.new_series(name, plain, backend=fitted.frame.implementation)
    except Exception as error:  # of the library
        raise TypeError(f"given must hold cells of one type for each column, got {cells!r} of {name!r}") from error


def _repeated_frame(frame: Any, n: int) -> Any:
    if len(frame) == n:
        return frame
    if hasattr(frame, "iloc"):
        return frame.iloc[np.zeros(n, dtype=np.int64)].reset_index(drop=True)
    return nw.from_native(frame, eager_only=True)[[0] * n, :].to_native()


def _with_all_columns(frame: Any, fitted: FrameContainer) -> Any:
    """Return a DataFrame with all columns of the fit in their order, those that it lacks missing."""
    if hasattr(frame, "iloc"):
        return frame.reindex(columns=fitted.native.columns)
    given = nw.from_native(frame, eager_only=True)
    lacking = [name for name in fitted.names if name not in given.columns]
    return given.with_columns(*(nw.lit(None).alias(name) for name in lacking)).select(fitted.names).to_native()
