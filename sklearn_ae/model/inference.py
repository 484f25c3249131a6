"""Inference with a trained module: log-likelihood and imputed cells."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.calibration import Calibration, HiddenCells
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.batches import Rows as Rows
from sklearn_ae.training.net import AutoencoderNet as AutoencoderNet

ACTIVE_STD = 0.01  # of an active dimension of a code that is a point, relative to the largest one


class Inference(ABC):
    """What a family computes with a trained module. Final subclasses: plug-in and posterior."""

    @abstractmethod
    def fit(self, net: AutoencoderNet, rows: Rows, random: np.random.RandomState) -> Self:
        """Return the inference with what it estimates from the training rows after training."""

    def calibrated(self, nets: Sequence[AutoencoderNet], trained: HiddenCells, unseen: HiddenCells | None) -> Self:
        """Return the inference with draws that are calibrated on hidden cells; all members share it.

        Parameters
        ----------
        nets : sequence of AutoencoderNet
            The trained members.
        trained : HiddenCells
            Training rows.
        unseen : HiddenCells or None
            Rows with cells that training has not seen.
        """
        return self

    @abstractmethod
    def trained_codes(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return the codes of rows that the decoder was trained on, (n, k), with noise from ``modules.noise``."""

    @abstractmethod
    def log_likelihood(self, module: Autoencoder, batch: Batch, tolerance: float | None) -> Tensor:
        """Return the log-likelihood of each row on the encoded scale and its standard error, (n, 2)."""

    @abstractmethod
    def cell_log_likelihood(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return the log-likelihood of each cell on the encoded scale, (n, n_cells); arbitrary for a missing cell."""

    @abstractmethod
    def expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return expected numbers and most probable categories given the observed cells, (n, n_cells)."""

    @abstractmethod
    def drawn_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return cells drawn given the observed cells, (n, n_cells), with noise from ``modules.noise``."""

    @abstractmethod
    def divergence(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return ``KL(q(z_i | x) || p(z_i))`` of each code dimension, (n, k); NaN if codes are points."""

    @abstractmethod
    def is_active(self, std: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(k,) -> (k,): whether code dimensions with these standard deviations over rows are active."""


class PluginInference(Inference):
    """Inference at one code per row: the likelihood is that of the reconstruction.

    Parameters
    ----------
    n_scaled : int
        Number of standardised columns, which come first.
    calibration : Calibration, optional
        Errors of imputed numbers in these columns, on the encoded scale, and temperatures of categories.
    """

    def __init__(self, n_scaled: int, calibration: Calibration | None = None) -> None:
        self.n_scaled = n_scaled
        self.calibration = Calibration.none(n_scaled) if calibration is None else calibration

    @property
    def errors(self) -> Tensor:
        """Standard deviation of the noise of drawn numbers, (n_scaled,)."""
        return self.calibration.errors

    def fit(self, net: AutoencoderNet, rows: Rows, random: np.random.RandomState) -> Self:
        """Return the inference itself."""
        return self

    def calibrated(self, nets: Sequence[AutoencoderNet], trained: HiddenCells, unseen: HiddenCells | None) -> Self:
        """Return the inference with the errors of imputed cells."""
        return type(self)(self.n_scaled, Calibration.fit(nets, trained, unseen, self.n_scaled))

    def trained_codes(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return the codes of rows, (n, k)."""
        return module.encode(batch.x, batch.observed)

    def divergence(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return NaN, (n, k)."""
        return torch.full_like(module.encode(batch.x, batch.observed), torch.nan)

    def is_active(self, std: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(k,) -> (k,): whether a standard deviation is above ``ACTIVE_STD`` times the largest one."""
        return std > ACTIVE_STD * std.max()

    def log_likelihood(self, module: Autoencoder, batch: Batch, tolerance: float | None) -> Tensor:
        """Return ``log p(x | z)`` at the code of each row, and an error of 0, (n, 2)."""
        output = module.decoder(module.encode(batch.x, batch.observed))
        value = -module.likelihood.loss(batch.x, output, batch.observed)
        return torch.stack([value, torch.zeros_like(value)], 1)

    def cell_log_likelihood(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return ``log p(x_j | z)`` at the code of each row, (n, n_cells)."""
        return -module.likelihood.cell_loss(batch.x, module.decoder(module.encode(batch.x, batch.observed)))

    def expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return expected numbers and most probable categories at the code of each row, (n, n_cells)."""
        return _reconstructed(module, batch)

    def drawn_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return normal draws of scaled numbers, of the measured error, and draws of the other cells, (n, n_cells)."""
        return self.calibration.draw(module, module.decoder(module.encode(batch.x, batch.observed)))


def _reconstructed(module: Autoencoder, batch: Batch) -> Tensor:
    return module.decode(module.encode(batch.x, batch.observed))
