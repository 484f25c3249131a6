"""Piecewise-linear encoding of numeric inputs."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BEYOND = 3.0  # widths of an outer bin up to which its coordinate grows outside of the training values


class PiecewiseLinear(nn.Module):
    """Replaces each of the first columns by coordinates, one per bin (Gorishniy et al. 2022, equation 1).

    The coordinate of a bin grows linearly from 0 to 1 within the bin, is 0 below and 1 above it. The coordinates of the
    outer bins go on growing outside of the training values, up to a limit, so that far values stay distinct and an
    outlier remains small.

    Parameters
    ----------
    n_columns : int
        Number of columns that are encoded.
    n_bins : int
        Number of bins of a column.

    References
    ----------
    Gorishniy, Y., Rubachev, I. & Babenko, A. (2022). On embeddings for numerical features in tabular deep learning.
    NeurIPS, equation 1.
    """

    start: Tensor
    slope: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, n_columns: int, n_bins: int) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.n_bins = n_bins
        zeros = partial(torch.zeros, n_columns, n_bins, dtype=torch.float32, device="cpu")
        for name in ("start", "slope", "low", "high"):
            self.register_buffer(name, zeros())

    @property
    def n_added(self) -> int:
        """Number of outputs beyond that of the inputs."""
        return self.n_columns * (self.n_bins - 1)

    @torch.no_grad()
    def fit(self, x: Tensor, weight: Tensor) -> None:
        """Place the edges of the bins at quantiles of each column.

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Training rows.
        weight : Tensor of shape (n, n_inputs)
            Weight of each cell, 0 where it is missing.
        """
        values, weights = (t[:, : self.n_columns].cpu().double().numpy().T for t in (x, weight))
        edges = (_edges(*of_column, self.n_bins) for of_column in zip(values, weights, strict=True))
        lines = np.stack([_lines(of_column, self.n_bins) for of_column in edges], 1)
        for buffer, line in zip((self.start, self.slope, self.low, self.high), lines, strict=True):
            buffer.copy_(torch.from_numpy(line))

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_inputs) -> (..., n_outputs)."""
        columns = x[..., : self.n_columns].unsqueeze(-1)
        # The difference comes first: it is exact for values near the edge of a narrow bin.
        coordinates = torch.clamp((columns - self.start) * self.slope, self.low, self.high)
        return torch.cat([coordinates.flatten(-2), x[..., self.n_columns :]], -1)


def _edges(values: NDArray[np.float64], weight: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return the edges of at most ``n_bins`` bins, without those that are equal.

    The inner edges are weighted quantiles, halfway between two values: no training row is at a kink of a coordinate.
    """
    observed = weight > 0
    if not observed.any():
        return np.zeros(1)
    distinct, place = np.unique(values[observed], return_inverse=True)
    upper = np.bincount(place, weights=weight[observed]).cumsum()
    shares = np.linspace(0, 1, n_bins + 1)[1:-1] * upper[-1]
    index = np.searchsorted(upper, shares * (1 - 1e-9))  # an edge is not moved by rounding
    halfway = (distinct + np.append(distinct[1:], distinct[-1])) / 2
    return np.unique(np.concatenate([distinct[:1], halfway[index], distinct[-1:]]))


def _lines(edges: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return start, slope, lowest and highest value of each coordinate, (4, n_bins); 0 for bins that are unused."""
    n = max(1, len(edges) - 1)
    width = np.diff(edges) if len(edges) > 1 else np.ones(1)  # a constant column has no width
    lines = np.zeros((4, n_bins))
    lines[0, :n] = edges[:n]
    lines[1, :n] = 1 / width
    lines[3, :n] = 1
    lines[2, 0] = -BEYOND
    lines[3, n - 1] = 1 + BEYOND
    return lines


def n_bins_of(network: nn.Module) -> int:
    """Return the number of bins per column of the piecewise-linear encoding in a network, 1 without one."""
    return next((layer.n_bins for layer in network.modules() if isinstance(layer, PiecewiseLinear)), 1)


def place_bins(network: nn.Module, x: Tensor, weight: Tensor) -> None:
    """Place the bins of all piecewise-linear encodings in a network; see :meth:`PiecewiseLinear.fit`."""
    for layer in network.modules():
        if isinstance(layer, PiecewiseLinear):
            layer.fit(x, weight)
