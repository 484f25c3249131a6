"""The columns of a table as inputs and outputs of a graph."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import torch
from torch import Tensor, nn

from sklearn_ae.shipping.scaling import Sorted
from sklearn_ae.tables.columns import BooleanColumn, CategoryColumn, Column, IntegerColumn
from sklearn_ae.tables.encoding import Encoding

LARGEST = np.iinfo(np.int64).max


class Port(nn.Module, ABC):
    """A column as an input and an output of a graph.

    Attributes
    ----------
    name : str
        Name of the column.
    dtype : torch.dtype
        Of the input that torch sees, and of the output that it returns.
    """

    name: str
    dtype: torch.dtype

    @property
    def ids(self) -> Mapping[str, int] | None:
        """For a column of strings, the number that stands for each of them as an input."""
        return None

    @property
    def other_id(self) -> int:
        """The number that stands for any other string."""
        return 0

    @property
    def strings(self) -> Sequence[str] | None:
        """For a column of strings, the strings that the numbers 1, 2, ... stand for as an output."""
        return None

    def cells(self, values: Tensor) -> Tensor:
        """(n, 1) -> (n, 1): cells of the column, NaN where they are missing."""
        return values if values.is_floating_point() else values.double()

    @abstractmethod
    def values(self, cells: Tensor) -> Tensor:
        """(n,) -> (n,): values that the column can hold."""


class FloatPort(Port):
    """A column of numbers.

    Parameters
    ----------
    name : str
        Name of the column.
    dtype : torch.dtype
        float32 or float64.
    """

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.name, self.dtype = name, dtype

    def values(self, cells: Tensor) -> Tensor:
        """(n,) -> (n,): the numbers."""
        return cells.to(self.dtype)


class IntegerPort(Port):
    """A column of integers.

    Parameters
    ----------
    name : str
        Name of the column.
    dtype : torch.dtype
        int64, or a dtype of floats for a column that had missing cells.
    low, high : int
        The smallest and the largest value.
    """

    def __init__(self, name: str, dtype: torch.dtype, low: int, high: int) -> None:
        super().__init__()
        self.name, self.dtype = name, dtype
        self.low, self.high = low, high

    def values(self, cells: Tensor) -> Tensor:
        """(n,) -> (n,): the nearest integers in the range."""
        return cells.round().clamp(float(self.low), float(self.high)).to(self.dtype)


class BooleanPort(Port):
    """A column of truth values.

    Parameters
    ----------
    name : str
        Name of the column.
    dtype : torch.dtype
        bool, or a dtype of floats for a column that had missing cells.
    """

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.name, self.dtype = name, dtype

    def values(self, cells: Tensor) -> Tensor:
        """(n,) -> (n,): True where the probability is at least one half."""
        return (cells >= 0.5).to(self.dtype)


class StringPort(Port):
    """A column of strings, which torch sees as numbers.

    Parameters
    ----------
    name : str
        Name of the column.
    column : CategoryColumn
        Its categories. An empty string is a missing cell, unless it is one of them.
    """

    dtype = torch.int64

    def __init__(self, name: str, column: CategoryColumn) -> None:
        super().__init__()
        self.name, self.column = name, column

    @property
    def ids(self) -> Mapping[str, int]:
        """The id of each string, 0 for a missing cell."""
        return {"": 0} | {str(value): number for value, number in self.column.ids.items()}

    @property
    def other_id(self) -> int:
        """The id of a string that was not in the fit."""
        return self.column.rare or 0

    @property
    def strings(self) -> Sequence[str]:
        """The string of each id from 1 on."""
        return ["" if value is None else str(value) for value in self.column.values[1:]]

    def cells(self, values: Tensor) -> Tensor:
        """(n, 1) -> (n, 1): ids, NaN for a missing cell."""
        return values.double().masked_fill(values == 0, torch.nan)

    def values(self, cells: Tensor) -> Tensor:
        """(n,) -> (n,): ids."""
        return cells.long()


class NumberedPort(Port):
    """A column of categories that are numbers or truth values.

    Parameters
    ----------
    name : str
        Name of the column.
    dtype : torch.dtype
        int64 or bool, or float64 for a column of floats or with missing cells.
    column : CategoryColumn
        Its categories.
    """

    id_of: Tensor
    value_of: Tensor

    def __init__(self, name: str, dtype: torch.dtype, column: CategoryColumn) -> None:
        super().__init__()
        self.name, self.dtype = name, dtype
        keys = sorted(column.ids)
        self.sorted = Sorted([np.array(keys, dtype=np.float64)])
        other = column.rare or torch.nan
        ids = torch.tensor([*map(column.ids.__getitem__, keys), other], dtype=torch.float64, device="cpu")
        self.register_buffer("id_of", ids)
        self.register_buffer("value_of", torch.tensor([0, *column.values[1:]], dtype=dtype, device="cpu"))

    def cells(self, values: Tensor) -> Tensor:
        """(n, 1) -> (n, 1): ids, NaN for a missing cell."""
        values = values.double()
        position = self.sorted.position(values)
        is_known = self.sorted.at(position) == values
        ids = self.id_of[torch.where(is_known, position, len(self.id_of) - 1)]
        return ids.masked_fill(values.isnan(), torch.nan)

    def values(self, cells: Tensor) -> Tensor:
        """(n,) -> (n,): the categories."""
        return self.value_of[cells.long()]


def ports_of(encoding: Encoding) -> list[Port]:
    """Return the ports of the columns of a table, in their order.

    Raises
    ------
    ValueError
        If the categories of a column are neither strings nor numbers, or two columns have one name.
    """
    schema = encoding.schema
    names = [str(name) for name in schema.column_names]
    if len(set(names)) < len(names):
        raise ValueError(f"columns must have different names to be inputs of a graph, got {names}: rename them")
    has_gaps = schema.by_column(encoding.scaler.gaps)
    return [
        _port(name, column, bool(gaps), schema.container.dtype(position))
        for position, (name, column, gaps) in enumerate(zip(names, schema.columns, has_gaps, strict=True))
    ]


def _port(name: str, column: Column, has_gaps: bool, dtype: Any) -> Port:
    number = torch.float32 if dtype == nw.Float32 else torch.float64
    if isinstance(column, CategoryColumn):
        return _categories(name, column, has_gaps)
    if isinstance(column, IntegerColumn):
        is_exact = not has_gaps and column.high <= LARGEST
        return IntegerPort(name, torch.int64 if is_exact else number, column.low, column.high)
    if isinstance(column, BooleanColumn):
        return BooleanPort(name, number if has_gaps else torch.bool)
    return FloatPort(name, number)


def _categories(name: str, column: CategoryColumn, has_gaps: bool) -> Port:
    """Return the port of a column of categories."""
    kinds = set(map(type, column.ids))
    if all(issubclass(kind, str) for kind in kinds):
        return StringPort(name, column)
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return NumberedPort(name, torch.float64 if has_gaps else torch.bool, column)
    if all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
        return NumberedPort(name, torch.float64 if has_gaps else torch.int64, column)
    if all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds):
        return NumberedPort(name, torch.float64, column)
    raise ValueError(
        f"categories must be strings, numbers or truth values to be inputs of a graph, got "
        f"{' and '.join(sorted(kind.__name__ for kind in kinds))} in column {name!r}: convert them to strings"
    )
