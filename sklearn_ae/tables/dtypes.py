"""Dtypes of DataFrames, and the values that they can hold."""

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

TEMPORAL = (nw.Date, nw.Datetime, nw.Duration, nw.Time)
TOO_WIDE = (nw.Int128, nw.UInt128)
REFUSED = (nw.Binary, nw.List, nw.Struct, nw.Array)
WIDEST = {
    nw.Int64: lambda dtype: dtype.is_signed_integer(),
    nw.UInt64: lambda dtype: dtype.is_unsigned_integer(),
    nw.Float64: lambda dtype: dtype.is_float(),
}
LARGEST = {
    nw.Float16: float(np.finfo(np.float16).max),
    nw.Float32: float(np.finfo(np.float32).max),
    nw.Float64: float(np.finfo(np.float64).max),
}

# Types of the cells that a dtype admits; others admit all types.
ADMITTED: dict[Any, set[type]] = {nw.Boolean: {bool}, nw.String: {str}, nw.Unknown: set()}
PLAIN = {bool, int, float, str}  # types of cells that no column of times or lists admits


def is_exotic(dtype: Any) -> bool:
    """Whether a pandas dtype holds numbers or categories but is not supported by narwhals."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "iuf" and (not dtype.isnative or dtype.itemsize > 8)
    return is_sparse(dtype) or is_arrow_dictionary(dtype)  # of Arrow


def is_arrow_dictionary(dtype: Any) -> bool:
    """Whether a pandas dtype is a dictionary of Arrow."""
    return str(dtype).startswith("dictionary<")


def is_sparse(dtype: Any) -> bool:
    """Whether a pandas dtype is sparse."""
    return str(dtype).startswith("Sparse[")


def plain(column: Any) -> Any:
    """Return a pandas column in a dtype that narwhals supports."""
    column = column.sparse.to_dense() if is_sparse(column.dtype) else column
    if not isinstance(column.dtype, np.dtype):
        known = column.dropna().astype("category")  # pandas can't convert a dictionary with gaps
        return column.astype(object).astype(known.dtype)
    return column.astype(column.dtype.newbyteorder("=") if column.dtype.itemsize <= 8 else np.float64)


def within(values: NDArray, dtype: Any) -> Any:
    """Return values clipped to the range of a dtype of floats."""
    if values.dtype == object:
        return values.tolist()
    return np.clip(values, -LARGEST[type(dtype)], LARGEST[type(dtype)]) if type(dtype) in LARGEST else values


def converted_to(cells: NDArray, dtype: Any) -> list[Any] | None:
    """Return cells as values of a dtype, rounded for integers, or None if the dtype can't hold them."""
    kinds = set(map(type, cells.tolist()))
    are_numbers = kinds <= {int, float, bool}
    if dtype.is_integer():
        limits = np.iinfo(str(dtype).lower())
        integers = [round(cell) for cell in cells.tolist()] if are_numbers else [limits.max + 1]
        return integers if limits.min <= min(integers) and max(integers) <= limits.max else None
    if dtype.is_float():
        return cells.tolist() if are_numbers and max(map(abs, cells.tolist())) <= LARGEST[type(dtype)] else None
    if dtype == nw.Enum:
        return cells.tolist() if set(cells.tolist()) <= set(dtype.categories) else None
    if type(dtype) in (*TEMPORAL, *REFUSED) and kinds & PLAIN:
        return None
    return cells.tolist() if kinds <= ADMITTED.get(type(dtype), kinds) else None
