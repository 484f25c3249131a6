"""Real numbers with Gaussian observation noise."""

from collections.abc import Mapping
from math import log, pi
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.likelihoods.numeric import Numeric
from sklearn_ae.modules import noise

LOG_2PI = log(2 * pi)


def squared_error(x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): the sum of squared errors over the observed columns."""
    error = F.mse_loss(output, x.expand_as(output), reduction="none")
    return (error if observed is None else error * observed).sum(-1)


def gaussian_loss(x: Tensor, mean: Tensor, variance: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d), () or (d,) -> (n,): ``-log N(x; mean, variance)``, summed over the observed columns."""
    cost = F.mse_loss(mean, x.expand_as(mean), reduction="none") / variance + (variance.log() + LOG_2PI)
    return 0.5 * (cost if observed is None else cost * observed).sum(-1)


def unit_gaussian_loss(x: Tensor, mean: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): ``-log N(x; mean, I)``, half the squared error and the constant of the density."""
    n_observed = x.shape[-1] if observed is None else observed.sum(-1)
    return 0.5 * (squared_error(x, mean, observed) + LOG_2PI * n_observed)


class UnitGaussian(Numeric):
    """Gaussian noise of variance 1 on the standardised scale.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    name = "gaussian"
    is_scaled = True
    accepts_all = True

    @classmethod
    def check(cls, values: NDArray[Any]) -> None:
        """Accept every number."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d), (n, d) -> (n,): half the squared error, plus the constant of the density."""
        return unit_gaussian_loss(x, output, observed)

    def link(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the output itself, which is the mean."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the mean plus noise of variance 1."""
        return output + noise.normal_like(output)


class Gaussian(Numeric):
    """Gaussian noise with a learned variance, shared by all columns or one per column.

    The variance has a closed-form update: a running mean of the squared errors of the batches.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    sigma : float, default=1.0
        Standard deviation of the noise, or its initial value.
    per_column : bool, default=True
        Whether each column has its own variance.
    fixed : bool, default=False
        Whether the variance stays at its initial value. It is then left out of the module's state dict.
    """

    name = "learned_gaussian"
    is_scaled = True
    accepts_all = True

    momentum = 0.05  # of the running mean
    floor = 0.03**2  # lower bound of the variance: an over-complete code would drive it to zero

    variance: Tensor

    def __init__(self, n_columns: int, *, sigma: float = 1.0, per_column: bool = True, fixed: bool = False) -> None:
        super().__init__(n_columns)
        self.fixed = fixed
        shape = (n_columns,) if per_column else ()
        variance = torch.full(shape, float(sigma) ** 2, dtype=torch.float32, device="cpu")
        self.register_buffer("variance", variance, persistent=not fixed)

    @classmethod
    def check(cls, values: NDArray[Any]) -> None:
        """Accept every number."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d), (n, d) -> (n,): the negative log-density under the current variance."""
        return gaussian_loss(x, output, self.variance, observed)

    def link(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the output itself, which is the mean."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the mean plus noise."""
        return output + self.variance.sqrt() * noise.normal_like(output)

    def batch_sums(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the sums of squared errors and weights, in all columns or in each."""
        if self.fixed:
            return {}
        squared_errors = (x - output).square()
        if squared_errors.ndim > weight.ndim:
            squared_errors = squared_errors.mean(1)
        return self._sums(squared_errors, weight)

    def buffers_after(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the variance after a batch: the maximum-likelihood estimate, as a running mean."""
        if self.fixed:
            return {}
        total = sums["weight"]
        # A column without an observed cell keeps its variance.
        batch = torch.where(total > 0, sums["squared_error"] / total.clamp(min=1e-12), self.variance)
        return {"variance": torch.lerp(self.variance, batch, self.momentum).clamp(min=self.floor)}

    def running_variance(self, squared_errors: Tensor, weight: Tensor) -> Tensor:
        """Return the variance after a batch.

        Parameters
        ----------
        squared_errors, weight : Tensor of shape (n, d)
            Squared error of each cell, and its weight (0 where it is missing).
        """
        return self.buffers_after(self._sums(squared_errors, weight))["variance"]

    def _sums(self, squared_errors: Tensor, weight: Tensor) -> dict[str, Tensor]:
        over = 0 if self.variance.ndim else (0, 1)
        return {"weight": weight.sum(over), "squared_error": (squared_errors * weight).sum(over)}
