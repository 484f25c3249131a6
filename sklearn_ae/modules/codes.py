"""Codes: points or distributions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.bounds import within
from sklearn_ae.modules.linear import Components
from sklearn_ae.modules.mlp import Output


class Code(nn.Module, ABC):
    """The map from the encoder's features to the code.

    Parameters
    ----------
    n_features, n_components : int
        Dimensions of the encoder's features and of the code.
    """

    def __init__(self, n_features: int, n_components: int) -> None:
        super().__init__()
        self.n_components = n_components
        self.location = Output(n_features, n_components)

    def mean(self, features: Tensor) -> Tensor:
        """(n, h) -> (n, k): the mean of the code."""
        return self.location(features)

    def start(self, components: Components) -> Tensor:
        """Start at standardised principal components.

        Parameters
        ----------
        components : Components
            Principal components of the training rows. The last features are the encoder's inputs.

        Returns
        -------
        scale : Tensor of shape (m,)
            Length along each axis that a code of 1 stands for.
        """
        scale = components.variance.sqrt()
        components.start_encoder(self.location, 1 / scale)
        return scale

    @abstractmethod
    def draw(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the decoder's input, (n, k), or (n, L, k) for L draws per row."""


class PointCode(Code):
    """A code that is a point: a linear map of the encoder's features."""

    def draw(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the decoder's input, (n, k)."""
        return trace["mean"]


class GaussianCode(Code):
    """A code that is a normal distribution with diagonal covariance (Kingma & Welling 2014, eq. 9 and 10).

    Parameters
    ----------
    n_features, n_components : int
        Dimensions of the encoder's features and of the code.
    n_draws : int, default=1
        Number of codes drawn per row.
    shared : bool, default=False
        Whether all rows of a batch share the same standard normal numbers, in antithetic pairs. A fit of one full batch
        is then a function of the weighted rows: repeating a row equals doubling its weight.
    """

    def __init__(self, n_features: int, n_components: int, *, n_draws: int = 1, shared: bool = False) -> None:
        super().__init__(n_features, n_components)
        self.log_variance = Output(n_features, n_components)
        self.n_draws = n_draws
        self.shared = shared

    def start(self, components: Components) -> Tensor:
        """Start at the distribution of latent variables given the row in probabilistic PCA (Tipping & Bishop 1999)."""
        scale = components.signal.sqrt()
        components.start_encoder(self.location, scale / components.variance)
        components.start_log_variance(self.log_variance)
        return scale

    def log_var(self, features: Tensor) -> Tensor:
        """(n, h) -> (n, k): the log-variance, bounded so that its exponential is finite and not 0."""
        return within(self.log_variance(features), 20.0)

    def draw(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return codes ``mean + sigma * noise``, (n, k), or (n, n_draws, k) for several draws."""
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
