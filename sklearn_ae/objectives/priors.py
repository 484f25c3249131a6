"""Priors of codes."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.objectives import losses


class Prior(ABC):
    """A distribution of codes."""

    @abstractmethod
    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """(n, k), (n, k) -> (n,): ``KL(N(mean, var) || p(z))``."""

    @abstractmethod
    def log_density(self, code: Tensor) -> Tensor:
        """(..., k) -> (...): ``log p(z)``."""

    @abstractmethod
    def draw(self, shape: tuple[int, int], random: np.random.RandomState) -> NDArray[np.float64]:
        """Return codes of shape (n, k)."""


class NormalPrior(Prior):
    """Independent standard normal dimensions."""

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """(n, k), (n, k) -> (n,): ``KL(N(mean, var) || N(0, I))``."""
        return losses.kl_normal(mean, log_var)

    def log_density(self, code: Tensor) -> Tensor:
        """(..., k) -> (...): ``log N(z; 0, I)``."""
        return losses.normal_log_density(code)

    def draw(self, shape: tuple[int, int], random: np.random.RandomState) -> NDArray[np.float64]:
        """Return codes of shape (n, k)."""
        return random.normal(size=shape)


class LaplacePrior(Prior):
    """Independent Laplace dimensions of scale 1: sparser codes."""

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """(n, k), (n, k) -> (n,): ``KL(N(mean, var) || Laplace(0, 1))``."""
        return losses.kl_laplace(mean, log_var)

    def log_density(self, code: Tensor) -> Tensor:
        """(..., k) -> (...): ``log Laplace(z; 0, 1)``."""
        return losses.laplace_log_density(code)

    def draw(self, shape: tuple[int, int], random: np.random.RandomState) -> NDArray[np.float64]:
        """Return codes of shape (n, k)."""
        return random.laplace(size=shape)


PRIORS: dict[str, Prior] = {"normal": NormalPrior(), "laplace": LaplacePrior()}
