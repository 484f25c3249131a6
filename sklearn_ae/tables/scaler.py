"""The scaler: cells to the tensors that a module sees and back, by the location and spread of each column.

Everything is computed in blocks of rows that stay in the cache, so that no second copy of a table is ever made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.utils import assert_all_finite
from torch import Tensor

from sklearn_ae.tables.interpolation import TensorCurve
from sklearn_ae.tables.sources import Source, as_tensor, blocks, on_host
from sklearn_ae.warning import warn

CONSTANT = 1e-13  # a column whose standard deviation is below this fraction of its mean varies by rounding only
# Distance of a column from zero, in standard deviations, beyond which single precision is not enough to centre it.
FAR = 1e3


class Scaler:
    """The scaling of the cells, and its inverse.

    Parameters
    ----------
    location, spread : ndarray of shape (n_cells,)
        A cell ``v`` is encoded as ``(v - location) / spread``; a missing cell as 0.
    gaps : ndarray of shape (n_cells,), optional
        Whether a column had missing cells.
    curve : Curve, optional
        A transformation that is applied before.
    empty : ndarray of shape (n_cells,), optional
        Whether a column had no observed value. Its cells are decoded as 0.
    labels : sequence, optional
        Names of the columns in messages.
    """

    def __init__(
        self,
        location: NDArray[np.float64],
        spread: NDArray[np.float64],
        gaps: NDArray[np.bool_] | None = None,
        curve: "Curve | TensorCurve | None" = None,
        empty: NDArray[np.bool_] | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self.location = location
        self.spread = spread
        self.gaps = np.zeros(len(location), dtype=bool) if gaps is None else gaps
        self.curve = curve
        self.empty = np.zeros(len(location), dtype=bool) if empty is None else empty
        self.labels = range(len(location)) if labels is None else labels
        with np.errstate(over="ignore"):
            single = np.stack([location, 1 / spread]).astype(np.float32)
        is_single = np.isfinite(single).all() and (single[1] >= np.finfo(np.float32).tiny).all()
        self.is_near = curve is None and bool(is_single and (np.abs(location) <= FAR * spread).all())
        self.takes_single = self.is_near if curve is None else curve.is_near
        self.single = torch.from_numpy(single)

    @classmethod
    def fit(
        cls,
        source: Source,
        weight: NDArray[np.float64] | None,
        scale: bool | str,
        n_scaled: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> Self:
        """Learn the scaling from the training rows.

        Parameters
        ----------
        source : Source of shape (n, n_cells)
            The rows.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        scale : bool or str
            A key of ``SCALES``.
        n_scaled : int, optional
            Number of columns that are scaled, which come first; all of them by default.
        labels : sequence, optional
            Names of the columns in messages.

        Returns
        -------
        scaler : Scaler
            The fitted scaler.
        """
        labels = range(source.shape[1]) if labels is None else labels
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance, all_missing, gaps = source.moments(weight)
        _check_variance(mean, variance, labels)
        if all_missing.any():
            warn(f"columns {_named(all_missing, labels)} have no observed value: nothing is learned of them")
        location, spread = np.zeros_like(mean), np.ones_like(mean)
        n = len(mean) if n_scaled is None else n_scaled
        chosen, curve = SCALES[scale], None
        if n:
            location[:n], spread[:n] = chosen.from_moments(mean[:n], variance[:n], all_missing[:n])
            curve = chosen.curve(source, weight, n) if chosen.curve else None
        return cls(location, spread, gaps, curve, all_missing, labels)

    def encode(self, source: Source, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Return the encoded rows, (n, n_cells), and a mask of the observed cells, or None where all are."""
        x = torch.empty(source.shape, dtype=dtype, device=device)
        observed = None
        for rows in blocks(source.shape):
            x[rows], observed_here = self.encode_block(source[rows], dtype)
            if observed_here is not None:
                observed = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
                observed[rows] = observed_here
        return x, observed

    def encode_block(self, cells: NDArray | Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return the same of some rows, (n, n_cells), on the device of a tensor and on the CPU for an array."""
        cells = as_tensor(cells)
        x = self.standardised(cells, dtype)
        if isfinite(x.sum().item()):
            return x, None
        if cells.isinf().any():
            with np.errstate(over="ignore", invalid="ignore"):  # infinities cancel in a sum
                assert_all_finite(cells.cpu().numpy(), allow_nan=True, input_name="X")
        missing = cells.isnan()
        self._check_finite(x.masked_fill_(missing, 0), cells)
        return x, ~missing if missing.any() else None

    def _check_finite(self, x: Tensor, cells: Tensor) -> None:
        """Raise if a finite cell is no longer finite once it is encoded."""
        infinite = (~x.isfinite()).nonzero()
        if len(infinite):
            row, column = infinite[0].tolist()
            raise ValueError(
                f"X must hold numbers that are finite once scaled, in {x.dtype}, got {cells[row, column].item():g} in "
                f"column {self.labels[column]!r}: leave such rows out, or fit with precision='float64'"
            )

    def farthest(self, cells: NDArray | Tensor) -> str:
        """Return the cell of a row (1, n_cells) with the largest encoded magnitude, as a text for messages."""
        x, _ = self.encode_block(cells, torch.float64)
        column = int(x.abs().argmax())
        return f"{cells[0, column].item():g} in column {self.labels[column]!r}"

    def standardised(self, cells: Tensor, dtype: torch.dtype) -> Tensor:
        """(n, n_cells) -> (n, n_cells): encoded cells, NaN where they are missing, on the device of the cells."""
        if self.is_near and cells.dtype is torch.float32 and dtype is torch.float32:
            location, factor = self.single.to(cells.device)
            return (cells - location).mul_(factor)
        location, spread = self._constants(cells.device)
        x = cells - location if self.curve is None else self.curve.on(cells.device).to_normal(cells)
        return x.div_(spread).to(dtype)

    def decode(self, x: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_cells): cells of encoded rows in the user's units, in double precision."""
        location, spread = self._constants(x.device)
        cells = (x.double() * spread).add_(location)
        if self.empty.any():
            cells.masked_fill_(as_tensor(self.empty).to(x.device), 0)
        return cells if self.curve is None else self.curve.on(x.device).from_normal(cells)

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return location and spread, each (n_cells,)."""
        return as_tensor(self.location).to(device), as_tensor(self.spread).to(device)

    def log_determinant(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """Return the log-determinant of decoding, summed over the observed cells.

        Its shape is (n,), or () if it is the same for all rows. Subtracted from the log-density of encoded rows, it
        gives the log-density in the user's units.
        """
        log_slopes = self.log_slopes(x)
        if observed is None:
            return log_slopes.sum(-1)
        return (observed * log_slopes).sum(-1)  # a matrix product may be computed in bfloat16

    def log_slopes(self, x: Tensor) -> Tensor:
        """Return the logarithm of the derivative of decoding, by cell.

        Its shape is (n, n_cells), or (n_cells,) if it is the same for all rows.
        """
        log_spread = torch.from_numpy(np.log(self.spread)).to(x)
        return log_spread if self.curve is None else log_spread + self.curve.on(x.device).log_slope(x.double()).to(x)


class Curve:
    """A monotone, piecewise linear map of each column to a normal distribution, through its quantiles.

    Parameters
    ----------
    knots : list of (ndarray of shape (m,), ndarray of shape (m,))
        For each column: values in ascending order, and the normal quantiles that they are mapped to.
    """

    n_knots = 1000
    n_rows = 100_000

    def __init__(self, knots: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
        self.knots = knots

    @classmethod
    def fit(cls, source: Source, weight: NDArray[np.float64] | None, n_columns: int) -> Self:
        """Learn the quantiles of the first columns, from rows that are evenly spaced in the table."""
        rows = np.arange(0, source.shape[0], max(1, source.shape[0] // cls.n_rows))
        cells = on_host(source[rows])[:, :n_columns].astype(np.float64)
        weight = np.ones(len(rows)) if weight is None else weight[rows]
        return cls([_quantiles(column, weight, cls.n_knots) for column in cells.T])

    @property
    def is_near(self) -> bool:
        """Whether single precision is enough to tell the values of all columns apart, as in ``Scaler``."""
        most = FAR * np.array([np.ptp(values) for values, _ in self.knots])
        largest = np.array([np.abs(values).max() for values, _ in self.knots])
        return bool(((largest <= most) & (largest <= np.finfo(np.float32).max) | (most == 0)).all())

    def on(self, device: torch.device) -> "Curve | TensorCurve":
        """Return what maps the cells of a device: the curve itself on the CPU, where NumPy is faster."""
        if device.type == "cpu":
            return self
        if device not in self._elsewhere:
            self._elsewhere[device] = TensorCurve(self.knots).to(device)
        return self._elsewhere[device]

    @cached_property
    def _elsewhere(self) -> dict[torch.device, TensorCurve]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what is kept for other devices."""
        return {"knots": self.knots}

    def to_normal(self, cells: Tensor) -> Tensor:
        """Return the normal quantiles of the cells; cells beyond the outermost knots are mapped to those."""
        return self._mapped(cells, lambda column, values, normal: np.interp(column, values, normal))

    def from_normal(self, cells: Tensor) -> Tensor:
        """Return the values of normal quantiles: the inverse of ``to_normal`` between the outermost knots."""
        return self._mapped(cells, lambda column, values, normal: np.interp(column, normal, values))

    def log_slope(self, cells: Tensor) -> Tensor:
        """Return the logarithm of the derivative of ``from_normal`` at each cell."""
        slopes, places = np.zeros(cells.shape), cells.numpy()
        for j, (values, normal) in enumerate(self.knots):
            if len(values) > 1:
                steps = np.log(np.diff(values) / np.diff(normal))
                slopes[:, j] = steps[np.searchsorted(normal[1:-1], places[:, j])]
        return torch.from_numpy(slopes)

    def _mapped(self, cells: Tensor, function: Callable[..., Any]) -> Tensor:
        given = cells.numpy()
        mapped = given.astype(np.float64)
        for j, (values, normal) in enumerate(self.knots):
            mapped[:, j] = function(given[:, j], values, normal)
            if len(values) == 1:
                mapped[np.isnan(given[:, j]), j] = np.nan  # which a single knot hides
        return torch.from_numpy(mapped)


def _quantiles(column: NDArray[np.float64], weight: NDArray[np.float64], n: int) -> tuple[NDArray, NDArray]:
    """Return at most n values of a column, and the normal quantiles at the middle of their ranks."""
    known = ~np.isnan(column)
    if not known.any():
        return np.zeros(1), np.zeros(1)
    values, place = np.unique(column[known], return_inverse=True)
    counted = np.bincount(place, weight[known], minlength=len(values))
    ranks = (counted.cumsum() - 0.5 * counted) / counted.sum()
    if len(values) > n:
        kept = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], n)).clip(max=len(values) - 1))
        values, ranks = values[kept], ranks[kept]
    return values, ndtri(ranks)


@dataclass(frozen=True)
class Scale:
    """A way to scale columns.

    Parameters
    ----------
    from_moments : callable
        Mean, variance and whether all cells are missing, each (d,), to location and spread, each (d,).
    curve : callable, optional
        A source, weights of its rows and the number of columns to the ``Curve`` that is applied before.
    """

    from_moments: Callable[[NDArray, NDArray, NDArray], tuple[NDArray, NDArray]]
    curve: Callable[[Source, NDArray | None, int], Curve] | None = None


def _per_column(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    constant = np.sqrt(variance) <= CONSTANT * np.abs(mean)  # centred, not scaled, as scikit-learn's scalers do
    return mean, np.sqrt(np.where(constant | all_missing, 1.0, variance))


def _pooled(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    pooled = variance[~all_missing].mean() if not all_missing.all() else 1.0
    return mean, np.full_like(mean, np.sqrt(pooled) if pooled > 0 else 1.0)


def _unscaled(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    return np.zeros_like(mean), np.ones_like(mean)


def _centred(mean: NDArray, variance: NDArray, all_missing: NDArray) -> tuple[NDArray, NDArray]:
    return mean, np.ones_like(mean)


SCALES: dict[bool | str, Scale] = {
    True: Scale(_per_column),
    "common": Scale(_pooled),
    "quantile": Scale(_unscaled, Curve.fit),
    False: Scale(_centred),
}


def _check_variance(mean: NDArray, variance: NDArray, labels: Sequence[Any]) -> None:
    """Raise if the moments of a column overflow."""
    too_large = ~np.isfinite(mean) | ~np.isfinite(variance)
    if too_large.any():
        raise ValueError(
            "X must have a finite variance, got infinite numbers, or ones that are too large, in columns "
            f"{_named(too_large, labels)}"
        )


def _named(mask: NDArray, labels: Sequence[Any]) -> list[Any]:
    return [labels[i] for i in np.flatnonzero(mask).tolist()]
