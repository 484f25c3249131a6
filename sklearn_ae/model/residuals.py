"""The noise of numbers given their code: the covariance of residuals of training rows."""

from collections.abc import Iterator
from math import log, pi
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.modules import noise

MAX_COLUMNS = 128  # with more columns, residuals are independent
LEAST_SPREAD = 0.03  # of a known number given its code, on the encoded scale


class ResidualNoise:
    """Normal noise with the covariance of residuals.

    The residuals of an autoencoder are correlated: what its code does not hold of several columns often is their
    difference. Noise of this covariance keeps the covariance of the columns.

    Parameters
    ----------
    covariance : Tensor of shape (d, d) or (d,)
        The covariance, or its diagonal if residuals are independent.
    """

    def __init__(self, covariance: Tensor) -> None:
        self.covariance = covariance
        self.is_diagonal = covariance.ndim == 1
        self._root = covariance.sqrt() if self.is_diagonal else _root(covariance)

    @classmethod
    def of(cls, residuals: NDArray) -> Self:
        """Return the noise of residuals, (n, d), NaN in missing cells; a column without any has variance 1."""
        known = (~np.isnan(residuals)).astype(np.float64)
        filled = np.nan_to_num(residuals.astype(np.float64))
        if residuals.shape[1] > MAX_COLUMNS:
            count = known.sum(0)
            variance = np.divide(np.square(filled).sum(0), count, out=np.ones_like(count), where=count > 0)
            return cls(torch.from_numpy(variance.astype(np.float32)))
        count = known.T @ known
        covariance = np.divide(filled.T @ filled, count, out=np.eye(len(count)), where=count > 0)
        return cls(torch.from_numpy(covariance.astype(np.float32)))

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.covariance)

    def like(self, t: Tensor) -> Tensor:
        """(n, d) -> (n, d): noise, from standard normal numbers of ``modules.noise``."""
        root, standard = self._root.to(t), noise.normal_like(t)
        return standard * root if self.is_diagonal else standard @ root.t()

    def given(self, drawn: Tensor, known: Tensor, observed: Tensor) -> Tensor:
        """Return noise given the residuals of some columns, each (n, d), from drawn noise (Matheron's rule)."""
        result = torch.where(observed > 0, known, drawn)
        for rows, columns in _patterns(observed):
            if self.is_diagonal:
                continue
            difference = (known - drawn)[rows][:, columns]
            weights = torch.cholesky_solve(difference.t(), self._known_root(columns, drawn))
            moved = drawn[rows] + (self.covariance.to(drawn)[:, columns] @ weights).t()
            result[rows] = torch.where(observed[rows] > 0, known[rows], moved)
        return result

    def log_density(self, residual: Tensor, observed: Tensor) -> Tensor:
        """(m, L, d), (m, d) -> (m, L): log-density of the residuals of the observed columns."""
        result = residual.new_zeros(residual.shape[:2])
        for rows, columns in _patterns(observed):
            root = self._known_root(columns, residual)
            part = residual[rows][..., columns]
            standard = torch.linalg.solve_triangular(root, part.flatten(0, 1).t(), upper=False)
            constant = root.diagonal().log().sum() + 0.5 * len(columns) * log(2 * pi)
            result[rows] = -0.5 * standard.square().sum(0).unflatten(0, part.shape[:2]) - constant
        return result

    def _known_root(self, columns: Tensor, like: Tensor) -> Tensor:
        """Return the Cholesky factor of the covariance of some columns, whose spread has a lower bound."""
        of_columns = self.covariance.to(like.device)[columns]
        part = of_columns.diag() if self.is_diagonal else of_columns[:, columns].clone()
        part.diagonal().add_(LEAST_SPREAD**2)
        return torch.linalg.cholesky(part).to(like)


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of the nearest positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return (vectors * values.clamp(min=0).sqrt() @ vectors.t()).float()


def _patterns(observed: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of each pattern of observed columns, and these columns; not the pattern without any."""
    if not observed.shape[1]:
        return
    patterns, index = torch.unique(observed > 0, dim=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        if pattern.any():
            yield (index == i).nonzero()[:, 0], pattern.nonzero()[:, 0]
