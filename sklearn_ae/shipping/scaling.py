"""The scaling of a table in operations of torch, so that it can be a part of a graph."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_ae.tables.scaler import FAR as FAR
from sklearn_ae.tables.scaler import Scaler

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
    """The curve of a scaler; see :class:`sklearn_ae.tables.scaler.Curve`.

    Parameters
    ----------
    knots : sequence of (ndarray of shape (m,), ndarray of shape (m,))
        For each of the first columns: values in ascending order, and the normal quantiles that they are mapped to.
    """

    def __init__(self, knots: Sequence[Knots]) -> None:
        super().__init__()
        self.n_columns = len(knots)
        self.to_normal = Interpolation(knots)
        self.from_normal = Interpolation([(normal, values) for values, normal in knots])
        self.steps = Table([_log_steps(*of_column) for of_column in knots])

    def first_mapped(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): the first columns mapped, the others as they are."""
        return torch.cat([function(x[:, : self.n_columns]), x[:, self.n_columns :]], 1)

    def log_slope(self, x: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): the logarithm of the derivative of ``from_normal``, 0 for other columns."""
        slopes = self.steps(self.from_normal.inner.position(x[:, : self.n_columns]))
        return torch.cat([slopes, torch.zeros_like(x[:, self.n_columns :])], 1)


class TensorScaler(nn.Module):
    """A scaler whose results are those of :class:`sklearn_ae.tables.scaler.Scaler`.

    Parameters
    ----------
    scaler : Scaler
        The scaler.
    dtype : torch.dtype
        The dtype of encoded rows.
    """

    location: Tensor
    spread: Tensor
    single: Tensor
    empty: Tensor

    def __init__(self, scaler: Scaler, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.takes_single = scaler.takes_single
        self.is_near = scaler.is_near and dtype == torch.float32
        self.curve = None if scaler.curve is None else TensorCurve(scaler.curve.knots)
        self.register_buffer("location", torch.from_numpy(scaler.location))
        self.register_buffer("spread", torch.from_numpy(scaler.spread))
        self.register_buffer("single", scaler.single)
        self.register_buffer("empty", torch.from_numpy(scaler.empty))

    def encode(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """(n, n_cells) -> (n, n_cells), (n, n_cells): encoded rows and the mask of observed cells."""
        missing = cells.isnan()
        return self._standardised(cells).to(self.dtype).masked_fill(missing, 0), (~missing).to(self.dtype)

    def _standardised(self, cells: Tensor) -> Tensor:
        if self.is_near and cells.dtype == torch.float32:
            return (cells - self.single[0]) * self.single[1]
        cells = cells.double()
        if self.curve is not None:
            return self.curve.first_mapped(self.curve.to_normal, cells) / self.spread
        return (cells - self.location) / self.spread

    def decode(self, x: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): cells of encoded rows in the user's units, in double precision."""
        cells = (x.double() * self.spread + self.location).masked_fill(self.empty, 0)
        return cells if self.curve is None else self.curve.first_mapped(self.curve.from_normal, cells)

    def log_determinant(self, x: Tensor, observed: Tensor) -> Tensor:
        """(n, n_cells), (n, n_cells) -> (n,): the log-determinant of decoding, summed over the observed cells."""
        return (observed * self.log_slopes(x)).sum(-1)

    def log_slopes(self, x: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells) or (n_cells,): the logarithm of the derivative of decoding, by cell."""
        slopes = self.spread.log()
        return (slopes if self.curve is None else slopes + self.curve.log_slope(x.double())).to(x.dtype)


def _with_two(x: NDArray[np.float64], y: NDArray[np.float64]) -> Knots:
    """Return at least two knots."""
    return (x, y) if len(x) > 1 else (np.array([x[0], x[0] + 1]), np.repeat(y, 2))


def _log_steps(values: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.diff(values) / np.diff(normal)) if len(values) > 1 else np.zeros(1)
