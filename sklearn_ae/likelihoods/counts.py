"""Counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri
from torch import Tensor, nn

from sklearn_ae.likelihoods.gaussian import LOG_2PI
from sklearn_ae.likelihoods.numeric import RARE, Numeric, column_mean, column_variance
from sklearn_ae.modules import noise
from sklearn_ae.modules.bounds import within

ALMOST = -1 + 1e-7  # lower bound of log1p's argument: the logarithm is then finite in single precision
FARTHEST = 20.0  # largest distance of the log rate from that of the column's mean
MANY = 1e4  # rate from which on a normal approximation of the Poisson quantiles is exact to one count
LEAST_PROBABILITY = 2.0**-26  # smallest probability whose quantile is drawn
LEAST_EXCESS = 0.1  # smallest initial excess of the variance over the mean, as a fraction of the mean


def poisson_loss(x: Tensor, log_rate: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): ``-log Poisson(x; rate)``, summed over the observed columns.

    As the deviance from a rate of x, and what a rate of x costs: the terms of the density itself are large numbers
    that cancel, of which single precision would leave nothing where counts are large.
    """
    one, distance, excess = _compared(x, log_rate)
    cost = excess - x * distance + (x > 0) * (0.5 * (2 * pi * one).log() + _stirling(one))
    return (cost if observed is None else cost * observed).sum(-1)


def negative_binomial_loss(
    x: Tensor, log_mean: Tensor, log_dispersion: Tensor, observed: Tensor | None = None
) -> Tensor:
    """(n, d), (n, d), (d,) -> (n,): minus the log-probability of counts of variance ``mean + dispersion * mean^2``.

    Summed over the observed columns (Cameron & Trivedi 2013, eq. 3.26), as the deviance from a mean of x and what a
    mean of x costs, for the same reason as above.
    """
    size = (-log_dispersion).exp()
    one, distance, excess = _compared(x, log_mean)
    above = (excess / (x + size)).clamp(min=ALMOST).log1p()
    below = (size / (one + size) * (-distance).expm1()).clamp(min=ALMOST).log1p()
    at_best = 0.5 * (2 * pi * one).log() + 0.5 * (one / size).log1p()
    at_best = at_best + _stirling(size) + _stirling(one) - _stirling(one + size)
    cost = size * above + x * below + (x > 0) * at_best
    return (cost if observed is None else cost * observed).sum(-1)


def _compared(x: Tensor, log_mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return counts with 1 in place of 0, the logarithm of the ratio of a mean to them, and the mean minus x."""
    one = x.clamp(min=1)
    distance = log_mean - one.log()
    return one, distance, one * distance.expm1() + (one - x)


def _stirling(z: Tensor) -> Tensor:
    """Return what Stirling's formula lacks: ``lgamma(z) - (z - 1/2) log z + z - log(2 pi) / 2`` (DLMF 5.11.1)."""
    few, many = z.clamp(max=8.0), z.clamp(min=8.0)
    inverse = 1 / many
    series = inverse * (1 / 12 - inverse.square() * (1 / 360 - inverse.square() / 1260))
    return torch.where(z < 8, few.lgamma() - (few - 0.5) * few.log() + few - 0.5 * LOG_2PI, series)


class Counts(Numeric, ABC):
    """Counts whose mean is ``exp(log_rate)``; encoder inputs are standardised logarithms of ``1 + count``.

    So large counts of small relative variance are as easy to distinguish as small ones, and all columns need steps of
    one size.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    mean: Tensor  # (d,) of the counts
    spread: Tensor  # (d,) standard deviation of their logarithms, at most 1

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.register_buffer("mean", torch.ones(n_columns, dtype=torch.float32, device="cpu"))
        self.register_buffer("spread", torch.ones(n_columns, dtype=torch.float32, device="cpu"))

    @classmethod
    def check(cls, values: NDArray[Any]) -> None:
        """Raise unless all values are whole numbers of at least 0."""
        wrong = values[(values < 0) | (values != values.round()) & (values == values)]  # noqa: PLR0124 - NaN is not wrong
        if len(wrong):
            raise ValueError(
                f"with likelihood={cls.name!r} X must hold counts, 0, 1, 2, ..., got {wrong[0]:g}: set "
                "likelihood='gaussian'"
            )

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d) -> (n, d): standardised logarithms; a missing count gives 0."""
        inputs = (x.log1p() - self.mean.log1p()) / self.spread
        return inputs if observed is None else inputs * observed

    def link(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the input that corresponds to the expected count."""
        return self.embed(self.estimate(output))

    def estimate(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the expected count."""
        return self.log_rate(output).exp()

    def log_rate(self, output: Tensor) -> Tensor:
        """(..., d) -> (..., d): the logarithm of the expected count, within a finite range of the column's mean."""
        return self.mean.log() + within(self.spread * output, FARTHEST)

    def initial_output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return zeros, which stand for the mean of each column, and learn mean and spread of the columns."""
        mean, variance = column_mean(x, weight).clamp(min=RARE), column_variance(x, weight)
        relative = torch.maximum(variance, mean) / mean.square()  # at least the variance of independent events
        self.mean.copy_(mean)
        self.spread.copy_(relative.log1p().sqrt().clamp(max=1))  # as if they were log-normal
        self._learn_dispersion(mean, variance)
        return torch.zeros(self.n_outputs, dtype=torch.float64, device="cpu")

    @abstractmethod
    def _learn_dispersion(self, mean: Tensor, variance: Tensor) -> None:
        """Initialize parameters other than the mean from moments of the columns, each (d,)."""


class Poisson(Counts):
    """Counts of independent events.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    name = "poisson"

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d), (n, d) -> (n,): the negative log-probability under a Poisson distribution."""
        return poisson_loss(x, self.log_rate(output), observed)

    def draw(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): counts."""
        return _quantiles(_poisson_ppf, noise.uniform_like(output), self.log_rate(output).cpu().double().exp())

    def _learn_dispersion(self, mean: Tensor, variance: Tensor) -> None:
        """Learn nothing: the variance is the mean."""


class NegativeBinomial(Counts):
    """Overdispersed counts, with a learned dispersion per column: the variance is ``mean + dispersion * mean^2``.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    name = "negative_binomial"

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.log_dispersion = nn.Parameter(torch.zeros(n_columns, dtype=torch.float32, device="cpu"))

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d), (n, d) -> (n,): the negative log-probability under a negative binomial distribution."""
        return negative_binomial_loss(x, self.log_rate(output), self.log_dispersion, observed)

    def draw(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): counts."""
        size, rate = (-self.log_dispersion).cpu().double().exp(), self.log_rate(output).cpu().double().exp()
        return _quantiles(stats.nbinom.ppf, noise.uniform_like(output), size.expand_as(rate), size / (size + rate))

    def _learn_dispersion(self, mean: Tensor, variance: Tensor) -> None:
        """Start at the dispersion that the moments give."""
        self.log_dispersion.copy_((torch.maximum(variance - mean, LEAST_EXCESS * mean) / mean.square()).log())


def _quantiles(ppf: Callable[..., NDArray[np.float64]], uniform: Tensor, *parameters: Tensor) -> Tensor:
    """Return quantiles in double precision; a probability of 0, which has none, is replaced by the least one."""
    probabilities = uniform.cpu().double().clamp(min=LEAST_PROBABILITY).numpy()
    return torch.from_numpy(ppf(probabilities, *(parameter.numpy() for parameter in parameters))).to(uniform)


def _poisson_ppf(probability: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles of Poisson distributions; for large rates by the expansion of Cornish & Fisher (1938).

    The time of the exact ones grows with the rate, and the expansion is exact to one count there.
    """
    z = ndtri(probability)
    quantiles = np.ceil(rate + np.sqrt(rate) * z + (np.square(z) - 1) / 6 - 0.5)
    few = rate < MANY
    quantiles[few] = stats.poisson.ppf(probability[few], rate[few])
    return quantiles
