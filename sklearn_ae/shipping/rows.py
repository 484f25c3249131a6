"""Rows of a table as cells and back, in operations of torch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_ae.shipping.ports import Port
from sklearn_ae.tables.columns import BooleanColumn, CategoryColumn, IntegerColumn
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.tables.interpolation import Sorted, Table


class Numbered(nn.Module):
    """Columns of categories that are numbers or truth values.

    Parameters
    ----------
    columns : sequence of CategoryColumn
        The columns.
    """

    other: Tensor

    def __init__(self, columns: Sequence[CategoryColumn]) -> None:
        super().__init__()
        keys = [sorted(column.ids) for column in columns]
        self.keys = Sorted([np.array(of_column, dtype=np.float64) for of_column in keys])
        self.numbers = Table([_ids(column, of_column) for column, of_column in zip(columns, keys, strict=True)])
        self.categories = Table([np.array([0, *column.values[1:]], dtype=np.float64) for column in columns])
        other = [column.rare or np.nan for column in columns]
        self.register_buffer("other", torch.tensor(other, dtype=torch.float64, device="cpu"))

    def ids(self, values: Tensor) -> Tensor:
        """(n, m) -> (n, m): the id of each value, NaN for a missing cell."""
        values = values.double()
        position = self.keys.position(values)
        is_known = self.keys.at(position) == values
        ids = torch.where(is_known, self.numbers(position), self.other)
        return ids.masked_fill(values.isnan(), torch.nan)

    def values(self, ids: Tensor) -> Tensor:
        """(n, m) -> (n, m): the values that ids are restored as."""
        return self.categories(ids.long())


class Rows(nn.Module):
    """The columns of a table in the order of the user and in that of the cells.

    Strings come and go as ids, NaN where they are missing.

    Parameters
    ----------
    encoding : Encoding
        The encoding of the table.
    ports : sequence of Port
        Its columns.
    """

    order: Tensor
    place: Tensor
    replaced: Tensor
    is_whole: Tensor
    is_truth: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, encoding: Encoding, ports: Sequence[Port]) -> None:
        super().__init__()
        columns, order = encoding.schema.columns, encoding.schema.order
        numbered = {
            position: column
            for position, (column, port) in enumerate(zip(columns, ports, strict=True))
            if isinstance(column, CategoryColumn) and port.strings is None
        }
        self.positions = list(numbered)
        self.numbered = Numbered(list(numbered.values())) if numbered else None
        replaced = np.arange(len(columns))
        replaced[self.positions] = len(columns) + np.arange(len(numbered))
        whole = [column if isinstance(column, IntegerColumn) else None for column in columns]
        low = [-np.inf if column is None else float(column.low) for column in whole]
        high = [np.inf if column is None else float(column.high) for column in whole]
        buffers = {
            "order": order,
            "place": np.argsort(order),
            "replaced": replaced,
            "is_whole": np.array([column is not None for column in whole]),
            "is_truth": np.array([isinstance(column, BooleanColumn) for column in columns]),
            "low": np.array(low),
            "high": np.array(high),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values, device="cpu"))
        self.are_plain = not any(isinstance(column, IntegerColumn | BooleanColumn) for column in columns)

    def cells(self, X: Tensor) -> Tensor:
        """(n, d) -> (n, n_cells): cells of the columns, NaN where they are missing."""
        if self.numbered is not None:
            X = self._replaced(X, self.numbered.ids(X[:, self.positions]))
        return X.index_select(1, self.order)

    def restored(self, cells: Tensor) -> Tensor:
        """(n, n_cells) -> (n, d), in double precision: values that the columns can hold."""
        X = cells.index_select(1, self.place)
        if not self.are_plain:
            X = torch.where(self.is_whole, X.round(), X)
            X = torch.minimum(torch.maximum(X, self.low), self.high)
            X = torch.where(self.is_truth, (X >= 0.5).double(), X)
        if self.numbered is not None:
            X = self._replaced(X, self.numbered.values(X[:, self.positions]))
        return X

    def _replaced(self, X: Tensor, numbers: Tensor) -> Tensor:
        """(n, d), (n, m) -> (n, d): with other numbers in the numbered columns."""
        return torch.cat([X, numbers.to(X.dtype)], 1).index_select(1, self.replaced)


def _ids(column: CategoryColumn, keys: Sequence[float]) -> NDArray[np.float64]:
    """Return the id of each key, and one more for the position after the last one."""
    return np.array([*(column.ids[key] for key in keys), 0.0])
