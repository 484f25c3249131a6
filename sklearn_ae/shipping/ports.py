"""The columns of a table as inputs and outputs of a graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from sklearn_ae.tables.columns import BooleanColumn, CategoryColumn, Column, IntegerColumn
from sklearn_ae.tables.schema import Schema

LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Port:
    """A column as an input and an output of a graph.

    Parameters
    ----------
    name : str
        Name of the column.
    type : {"float", "double", "int64", "bool", "string"}
        Type of its cells.
    ids : mapping of str to float, default={}
        For a column of strings, the number of each of them, NaN for a missing cell.
    other_id : float, default=nan
        The number of all other strings.
    strings : sequence of str, default=()
        For a column of strings, the string of each number from 1 on.
    """

    name: str
    type: str
    ids: Mapping[str, float] | None = None
    other_id: float = nan
    strings: Sequence[str] | None = None


def ports_of(schema: Schema, has_gaps: Sequence[bool]) -> list[Port]:
    """Return the ports of the columns of a table, in their order.

    Parameters
    ----------
    schema : Schema
        The columns.
    has_gaps : sequence of bool
        Whether each column had missing cells in the fit.

    Raises
    ------
    ValueError
        If the categories of a column are neither strings nor numbers, or two columns have one name.
    """
    names = [str(name) for name in schema.column_names]
    if len(set(names)) < len(names):
        raise ValueError(f"columns must have different names to be inputs of a graph, got {names}: rename them")
    return [
        _port(name, column, gaps, schema.container.dtype(position))
        for position, (name, column, gaps) in enumerate(zip(names, schema.columns, has_gaps, strict=True))
    ]


def _port(name: str, column: Column, has_gaps: bool, dtype: Any) -> Port:
    number = "float" if dtype == nw.Float32 else "double"
    if isinstance(column, CategoryColumn):
        return _categories(name, column, has_gaps)
    if isinstance(column, IntegerColumn):
        return Port(name, "double" if has_gaps or column.high > LARGEST else "int64")
    if isinstance(column, BooleanColumn):
        return Port(name, "double" if has_gaps else "bool")
    return Port(name, number)


def _categories(name: str, column: CategoryColumn, has_gaps: bool) -> Port:
    """Return the port of a column of categories."""
    kinds = set(map(type, column.ids))
    if all(issubclass(kind, str) for kind in kinds):
        ids = {"": nan} | {str(value): float(number) for value, number in column.ids.items()}
        return Port(name, "string", ids, float(column.rare or nan), [str(value or "") for value in column.values[1:]])
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return Port(name, "double" if has_gaps else "bool")
    if all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds):
        is_whole = all(issubclass(kind, int | np.integer) for kind in kinds)
        return Port(name, "int64" if is_whole and not has_gaps else "double")
    raise ValueError(
        "categories must be strings, numbers or truth values to be inputs of a graph, got "
        f"{' and '.join(sorted(kind.__name__ for kind in kinds))} in column {name!r}: convert them to strings"
    )
