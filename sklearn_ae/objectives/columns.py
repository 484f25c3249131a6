"""Kinds of column: what the decoder's raw output means, as a loss and a link."""

import torch
from torch import Tensor

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Likelihood
from sklearn_ae.objectives import losses


class UnitGaussian(Likelihood):
    """Numeric columns with unit noise on the scale that the module sees."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Half the squared error and the constant of the density."""
        return losses.unit_gaussian(x, output, observed)

    def link(self, output: Tensor) -> Tensor:
        """Return the output itself: it is the mean."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """Return the output with unit noise."""
        return output + noise.normal_like(output)


class Gaussian(Likelihood):
    """Numeric columns with a noise of their own, one for all columns or one each.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    sigma : float, default=1.0
        Standard deviation of the noise, or where learning begins.
    per_column : bool, default=False
        Whether every column has its own noise.
    learned : bool, default=True
        Whether the noise is learned. A fixed one is no part of the state that a fit goes on from.
    """

    rate = 0.05  # of the running mean
    floor = 0.03**2  # keeps an over-complete code from driving the noise to zero

    variance: Tensor

    def __init__(self, n_columns: int, *, sigma: float = 1.0, per_column: bool = False, learned: bool = True) -> None:
        super().__init__()
        variance = torch.full((n_columns,) if per_column else (), float(sigma) ** 2)
        self.register_buffer("variance", variance, persistent=learned)

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the negative log-density under the noise as it stands."""
        return losses.gaussian(x, output, self.variance, observed)

    def link(self, output: Tensor) -> Tensor:
        """Return the output itself: it is the mean."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """Return the output with noise."""
        return output + self.variance.sqrt() * noise.normal_like(output)

    def running_variance(self, squared_errors: Tensor, weight: Tensor) -> Tensor:
        """Return the variance after one more batch: the closed-form maximum of the likelihood, as a running mean.

        Parameters
        ----------
        squared_errors, weight : Tensor of shape (n, d)
            Squared error of each cell, and how much it counts (0 where it is missing).
        """
        over = 0 if self.variance.ndim else (0, 1)
        # A column without an observed cell keeps its variance.
        counted = weight.sum(over)
        batch = torch.where(counted > 0, (squared_errors * weight).sum(over) / counted.clamp(min=1e-12), self.variance)
        return torch.lerp(self.variance, batch, self.rate).clamp(min=self.floor)


class Bernoulli(Likelihood):
    """Columns with values in [0, 1], outputs are log-odds."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the binary cross-entropy."""
        return losses.bernoulli(x, output, observed)

    def link(self, output: Tensor) -> Tensor:
        """Return the probability of a one."""
        return output.sigmoid()

    def draw(self, output: Tensor) -> Tensor:
        """Return zeros and ones."""
        return (noise.uniform_like(output) < output.sigmoid()).to(output.dtype)
