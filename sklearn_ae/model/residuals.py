"""The noise of numbers given their code: the covariance of residuals of training rows."""

from collections.abc import Iterator
from math import log, pi
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from sklearn_ae.modules import noise

MAX_COLUMNS = 128  # with more columns, the covariance has a low rank and a diagonal
RANK = 64
FACTOR_ROWS = 2000  # residuals that the factor of low rank is computed from
LEAST_SPREAD = 0.03  # of a known number given its code, on the encoded scale


class ResidualNoise:
    """Normal noise with the covariance of residuals.

    The residuals of an autoencoder are correlated: what its code does not hold of several columns often is their
    difference. Noise of this covariance keeps the covariance of the columns.

    Parameters
    ----------
    root : Tensor of shape (d, r)
        Factor of the covariance, ``root @ root.T + diag(rest)``.
    rest : Tensor of shape (d,)
        Variance that the factor does not explain; 0 for up to ``MAX_COLUMNS`` columns.
    """

    def __init__(self, root: Tensor, rest: Tensor) -> None:
        self.root = root
        self.rest = rest

    @classmethod
    def of(cls, residuals: NDArray) -> Self:
        """Return the noise of residuals, (n, d), NaN in missing cells; a column without any has variance 1."""
        known = (~np.isnan(residuals)).astype(np.float64)
        filled = np.nan_to_num(residuals.astype(np.float64))
        if residuals.shape[1] > MAX_COLUMNS:
            return cls(*_factors(filled, known.sum(0)))
        count = known.T @ known
        covariance = np.divide(filled.T @ filled, count, out=np.eye(len(count)), where=count > 0)
        return cls(_root(covariance), torch.zeros(len(covariance), dtype=torch.float32, device="cpu"))

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.rest)

    @property
    def covariance(self) -> Tensor:
        """The covariance, (d, d)."""
        return self.root @ self.root.t() + self.rest.diag()

    def like(self, t: Tensor) -> Tensor:
        """(n, d) -> (n, d): noise, from standard normal numbers of ``modules.noise``."""
        root, rest = self.root.to(t), self.rest.to(t)
        correlated = noise.normal_like(t.new_empty(len(t), root.shape[1])) @ root.t()
        return correlated + rest.sqrt() * noise.normal_like(t) if bool(rest.any()) else correlated

    def given(self, drawn: Tensor, known: Tensor, observed: Tensor) -> Tensor:
        """Return noise given the residuals of some columns, each (n, d), from drawn noise (Matheron's rule)."""
        result = torch.where(observed > 0, known, drawn)
        root = self.root.to(drawn)
        for rows, columns in _patterns(observed):
            difference = (known - drawn)[rows][:, columns]
            weights = torch.cholesky_solve(difference.t(), self._known_root(columns, drawn))
            moved = drawn[rows] + (root @ (root[columns].t() @ weights)).t()
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
        root = self.root.to(like.device)[columns]
        covariance = root @ root.t()
        covariance.diagonal().add_(self.rest.to(like.device)[columns] + LEAST_SPREAD**2)
        return torch.linalg.cholesky(covariance).to(like)


def _root(covariance: NDArray[np.float64]) -> Tensor:
    """Return the symmetric square root of the nearest positive semidefinite matrix, (d, d)."""
    values, vectors = np.linalg.eigh(covariance)
    return torch.from_numpy((vectors * np.sqrt(values.clip(min=0)) @ vectors.T).astype(np.float32))


def _factors(residuals: NDArray[np.float64], count: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Return a factor of the covariance of many columns, (d, r), and the variance that it does not explain, (d,)."""
    variance = np.divide(np.square(residuals).sum(0), count, out=np.ones_like(count), where=count > 0)
    some = residuals[:FACTOR_ROWS]
    _, values, vectors = randomized_svd(some, min(RANK, *some.shape), random_state=0)
    root = vectors.T * values / np.sqrt(len(some))
    explained = np.square(root).sum(1)
    root *= np.sqrt(np.minimum(1, np.divide(variance, explained, out=np.ones_like(variance), where=explained > 0)))[
        :, None
    ]
    rest = (variance - np.square(root).sum(1)).clip(min=0)
    return torch.from_numpy(root.astype(np.float32)), torch.from_numpy(rest.astype(np.float32))


def _patterns(observed: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of each pattern of observed columns, and these columns; not the pattern without any."""
    if not observed.shape[1]:
        return
    patterns, index = torch.unique(observed > 0, dim=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        if pattern.any():
            yield (index == i).nonzero()[:, 0], pattern.nonzero()[:, 0]
