"""Piecewise linear functions of columns in operations of torch, on every device and in graphs."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Knots = tuple[NDArray[np.float64], NDArray[np.float64]]


class Sorted(nn.Module):
    """Numbers in ascending order, for each of several columns.

    Parameters
    ----------
    columns : sequence of ndarray
        The numbers of each column, at least one of them.
    """

    keys: Tensor
    first: Tensor

    def __init__(self, columns: Sequence[NDArray[np.float64]]) -> None:
        super().__init__()
        self.n_steps = max(map(len, columns)).bit_length()
        width = 1 << self.n_steps
        # A column has one key more than the search reads, so that every position has a key.
        keys = np.stack([np.append(column, np.full(width - len(column), np.inf)) for column in columns])
        self.register_buffer("keys", torch.from_numpy(keys.ravel()))
        self.register_buffer("first", torch.arange(len(columns), device="cpu") * width)

    def position(self, values: Tensor, is_below: Callable[[Tensor, Tensor], Tensor] = torch.lt) -> Tensor:
        """(n, d) -> (n, d): how many numbers of its column are below a value, by bisection."""
        position = torch.zeros_like(values, dtype=torch.int64)
        for step in (1 << power for power in reversed(range(self.n_steps))):
            above = is_below(self.keys[self.first + position + (step - 1)], values)
            position = position + step * above.long()
        return position

    def at(self, position: Tensor) -> Tensor:
        """(n, d) -> (n, d): the numbers at positions, infinity after the last one."""
        return self.keys[self.first + position]


class Table(nn.Module):
    """Numbers that are looked up by column and position.

    Parameters
    ----------
    columns : sequence of ndarray
        The numbers of each column.
    """

    numbers: Tensor
    first: Tensor

    def __init__(self, columns: Sequence[NDArray]) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.from_numpy(np.concatenate(columns)))
        self.register_buffer("first", torch.from_numpy(np.cumsum([0, *map(len, columns)])[:-1]))

    def forward(self, position: Tensor) -> Tensor:
        """(n, d) -> (n, d)."""
        return self.numbers[self.first + position]


class Interpolation(nn.Module):
    """A piecewise linear function of each column, constant beyond its outermost knots.

    Parameters
    ----------
    knots : sequence of (ndarray of shape (m,), ndarray of shape (m,))
        For each column: arguments in ascending order, and values.
    """

    low: Tensor
    high: Tensor

    def __init__(self, knots: Sequence[Knots]) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor([x[0] for x, _ in knots], dtype=torch.float64, device="cpu"))
        self.register_buffer("high", torch.tensor([x[-1] for x, _ in knots], dtype=torch.float64, device="cpu"))
        knots = [_with_two(*of_column) for of_column in knots]
        self.inner = Sorted([np.append(x[1:-1], np.inf) for x, _ in knots])
        self.start, self.value = Table([x for x, _ in knots]), Table([y for _, y in knots])
        self.slope = Table([np.diff(y) / np.diff(x) for x, y in knots])

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, d), in double precision."""
        x = torch.minimum(torch.maximum(x, self.low), self.high)
        piece = self.inner.position(x, torch.le)  # at a knot, the value of the knot is exact
        return self.value(piece) + self.slope(piece) * (x - self.start(piece))


class TensorCurve(nn.Module):
    """What :class:`sklearn_ae.tables.scaler.Curve` does, in operations that every device and a graph have.

    Parameters
    ----------
    knots : sequence of (ndarray of shape (m,), ndarray of shape (m,))
        For each of the first columns: values in ascending order, and the normal quantiles that they are mapped to.
    """

    def __init__(self, knots: Sequence[Knots]) -> None:
        super().__init__()
        self.n_columns = len(knots)
        self.normal_of = Interpolation(knots)
        self.value_of = Interpolation([(normal, values) for values, normal in knots])
        self.steps = Table([_log_steps(*of_column) for of_column in knots])

    def on(self, device: torch.device) -> "TensorCurve":
        """Return the curve itself."""
        return self

    def to_normal(self, cells: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): normal quantiles of the first columns, the others as they are."""
        return self._first_mapped(self.normal_of, cells.double())

    def from_normal(self, cells: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): values of normal quantiles of the first columns, the others as they are."""
        return self._first_mapped(self.value_of, cells)

    def log_slope(self, cells: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): the logarithm of the derivative of ``from_normal``, 0 for other columns."""
        slopes = self.steps(self.value_of.inner.position(cells[:, : self.n_columns]))
        return torch.cat([slopes, torch.zeros_like(cells[:, self.n_columns :])], 1)

    def _first_mapped(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return torch.cat([function(x[:, : self.n_columns]), x[:, self.n_columns :]], 1)


def _with_two(x: NDArray[np.float64], y: NDArray[np.float64]) -> Knots:
    """Return at least two knots."""
    return (x, y) if len(x) > 1 else (np.array([x[0], x[0] + 1]), np.repeat(y, 2))


def _log_steps(values: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.diff(values) / np.diff(normal)) if len(values) > 1 else np.zeros(1)
