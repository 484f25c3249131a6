"""The joint density of codes and residuals, by which rows are compared with training rows."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from torch import Tensor

from sklearn_ae.model.mixtures import fitted_mixture
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch


def code_and_residual(module: Autoencoder, batch: Batch) -> Tensor:
    """Return (n, k + n_inputs): codes, and differences of inputs and reconstructions, 0 in missing cells."""
    code = module.encode(batch.x, batch.observed)
    residual = module.likelihood.embed(batch.x, batch.observed) - module.likelihood.link(module.decoder(code))
    if batch.observed is not None:
        residual = residual * module.likelihood.per_input(batch.observed.to(residual))
    return torch.cat([code, residual], 1)


class CodeResidualDensity:
    """A Gaussian mixture of codes, and a normal distribution of residuals.

    The surprisal of a row, ``-log p``, has a heavy tail. So each of the two surprisals is put on a logarithmic scale
    and standardised over the training rows before both are averaged. The scores of several autoencoders are comparable.

    Parameters
    ----------
    mixture : GaussianMixture
        Distribution of the codes.
    residuals : LedoitWolf
        Mean and shrunk covariance of the residuals.
    scales : ndarray of shape (3, 2)
        Smallest surprisal of the training rows, and mean and standard deviation on the logarithmic scale, of the code
        and of the residual.
    """

    def __init__(self, mixture: GaussianMixture, residuals: LedoitWolf, scales: NDArray[np.float64]) -> None:
        self.mixture = mixture
        self.residuals = residuals
        self.scales = scales

    @classmethod
    def fit(cls, values: NDArray, n_components: int) -> Self:
        """Return the density of training rows.

        Parameters
        ----------
        values : ndarray of shape (n, n_components + n_inputs)
            Codes and residuals, as ``code_and_residual`` returns them.
        n_components : int
            Dimensions of the code.
        """
        if len(values) == 1:  # a covariance needs two rows
            values = np.repeat(values, 2, axis=0)
        codes, residuals = np.split(values.astype(np.float64), [n_components], axis=1)
        density = cls(fitted_mixture(codes), LedoitWolf().fit(residuals), np.array([[0.0] * 2, [0.0] * 2, [1.0] * 2]))
        surprisals = density.surprisals(values)
        smallest = surprisals.min(0)
        on_log_scale = np.log1p(surprisals - smallest)
        spread = on_log_scale.std(0)
        density.scales = np.stack([smallest, on_log_scale.mean(0), np.where(spread > 0, spread, 1.0)])
        return density

    def score_rows(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return the score of rows, (n, 1), in double precision."""
        return torch.from_numpy(self.score(code_and_residual(module, batch).cpu().numpy())).unsqueeze(1)

    def score(self, values: NDArray) -> NDArray[np.float64]:
        """Return how normal rows are, (n,), from their codes and residuals: 0 on average over the training rows."""
        smallest, location, spread = self.scales
        above = self.surprisals(values) - smallest
        return -((np.sign(above) * np.log1p(np.abs(above)) - location) / spread).mean(1)

    def surprisals(self, values: NDArray) -> NDArray[np.float64]:
        """Return ``-log p`` of codes and of residuals, the latter up to a constant, (n, 2)."""
        codes, residuals = np.split(values.astype(np.float64), [self.mixture.means_.shape[1]], axis=1)
        return np.stack([-self.mixture.score_samples(codes), 0.5 * self.residuals.mahalanobis(residuals)], 1)
