"""Known cells of rows that are to be generated, as a table with all columns."""

from collections.abc import Mapping
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.containers import Container, with_nan
from sklearn_ae.tables.frames import FrameContainer, is_frame


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

    Raises
    ------
    ValueError
        If there are other columns, or neither one row nor n rows.
    """
    if isinstance(given, Mapping):
        _check_names(list(given), fitted)
        cells = {name: _of_rows(name, of_column, n) for name, of_column in given.items()}
        return _frame_of(cells, n, fitted) if isinstance(fitted, FrameContainer) else _array_of(cells, n, fitted)
    if is_frame(given) and isinstance(fitted, FrameContainer):
        _check_names(list(given.columns), fitted)
        return _with_all_columns(_repeated_frame(given, n), fitted)
    if is_frame(given):
        return _repeated_frame(given, n)
    array = with_nan(given)
    array = array if isinstance(array, np.ndarray) else np.asarray(array)
    if array.ndim != 2:
        raise ValueError(f"given must be a table of two dimensions, or a dict, got shape {array.shape}")
    _check_rows(len(array), n)
    return np.repeat(array, n, axis=0) if len(array) != n else array


def _check_names(names: list[Any], fitted: Container) -> None:
    unknown = [name for name in names if name not in fitted.names]
    if unknown or not names:
        raise ValueError(f"given must name columns of X, got {unknown!r} among {fitted.names!r}")


def _check_rows(n_given: int, n: int) -> None:
    if n_given not in (1, n):
        raise ValueError(f"given must hold one row or n_samples={n} rows, got {n_given}: set n_samples={n_given}")


def _of_rows(name: Any, cells: Any, n: int) -> list[Any]:
    """Return the cells of a column, n of them."""
    if isinstance(cells, str | bytes) or not hasattr(cells, "__len__"):
        return [cells] * n
    if len(cells) != n:
        raise ValueError(f"given must hold a cell or n_samples={n} cells for each column, got {len(cells)} of {name!r}")
    return list(cells)


def _array_of(cells: Mapping[Any, list[Any]], n: int, fitted: Container) -> NDArray:
    holds_objects = any(fitted.dtype(position) == nw.Object() for position in fitted.names)
    array = np.full((n, len(fitted.names)), np.nan, dtype=object if holds_objects else np.float64)
    for position, of_column in cells.items():
        array[:, position] = of_column
    return array


def _frame_of(cells: Mapping[Any, list[Any]], n: int, fitted: FrameContainer) -> Any:
    """Return a DataFrame of the library of the fit."""
    if hasattr(fitted.native, "iloc"):  # pandas, whose column names may be of any type
        return _with_all_columns(type(fitted.native)(dict(cells)), fitted)
    return _with_all_columns(nw.from_dict(dict(cells), backend=fitted.frame.implementation).to_native(), fitted)


def _repeated_frame(frame: Any, n: int) -> Any:
    _check_rows(len(frame), n)
    if len(frame) == n:
        return frame
    if hasattr(frame, "iloc"):
        return frame.iloc[np.zeros(n, dtype=np.int64)].reset_index(drop=True)
    return nw.from_native(frame, eager_only=True)[[0] * n, :].to_native()


def _with_all_columns(frame: Any, fitted: FrameContainer) -> Any:
    """Return a DataFrame with all columns of the fit in their order, those that it lacks missing."""
    if hasattr(frame, "iloc"):
        return frame.reindex(columns=fitted.native.columns if hasattr(fitted.native, "iloc") else fitted.names)
    given = nw.from_native(frame, eager_only=True)
    lacking = [name for name in fitted.names if name not in given.columns]
    return given.with_columns(*(nw.lit(None).alias(name) for name in lacking)).select(fitted.names).to_native()
