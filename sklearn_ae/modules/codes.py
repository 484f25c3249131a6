"""Codes: what stands between encoder and decoder, a point or a distribution."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.bounds import within
from sklearn_ae.modules.mlp import Output


class Code(nn.Module, ABC):
    """What stands between encoder and decoder.

    Parameters
    ----------
    n_features, n_components : int
        Widths of the encoder's features and of the code.
    """

    def __init__(self, n_features: int, n_components: int) -> None:
        super().__init__()
        self.n_components = n_components
        self.location = Output(n_features, n_components)

    def mean(self, features: Tensor) -> Tensor:
        """(n, h) -> (n, k)."""
        return self.location(features)

    @abstractmethod
    def draw(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the code that the decoder sees, (n, k), or (n, L, k) for several draws a row."""


class PointCode(Code):
    """A code that is one point: a linear map of the encoder's features."""

    def draw(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the code that the decoder sees, (n, k)."""
        return trace["mean"]


class GaussianCode(Code):
    """A code that is a normal distribution with a diagonal covariance (Kingma & Welling 2014, eq. 9 and 10).

    Parameters
    ----------
    n_features, n_components : int
        Widths of the encoder's features and of the code.
    n_draws : int, default=1
        Codes drawn for each row.
    shared : bool, default=False
        Whether all rows of a batch share the standard normal numbers behind the draws. The numbers are then antithetic
        pairs. Sharing makes a fit of one full batch a function of the weighted rows alone: a row twice is a row of
        weight two.
    """

    def __init__(self, n_features: int, n_components: int, *, n_draws: int = 1, shared: bool = False) -> None:
        super().__init__(n_features, n_components)
        self.log_variance = Output(n_features, n_components)
        self.n_draws = n_draws
        self.shared = shared

    def log_var(self, features: Tensor) -> Tensor:
        """(n, h) -> (n, k), kept where its exponential is a usable number."""
        return within(self.log_variance(features), 20.0)

    def draw(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return codes by the reparametrisation mean + sigma * noise: (n, k), or (n, n_draws, k) for several draws."""
        mean, sigma = trace["mean"], (0.5 * trace["log_var"]).exp()
        if self.shared:
            return mean.unsqueeze(1) + sigma.unsqueeze(1) * self._antithetic(mean)
        if self.n_draws == 1:
            return mean + sigma * noise.normal_like(mean)
        mean = mean.unsqueeze(1).expand(-1, self.n_draws, -1)
        return mean + sigma.unsqueeze(1) * noise.normal_like(mean)

    def _antithetic(self, like: Tensor) -> Tensor:
        half = noise.normal(((self.n_draws + 1) // 2, like.shape[-1]), like)
        return torch.cat([half, -half])[: self.n_draws]
