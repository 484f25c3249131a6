"""Inference with a trained module: log-likelihood and imputed cells."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.apply import apply
from sklearn_ae.training.batches import Rows as Rows
from sklearn_ae.training.batches import chunk_size
from sklearn_ae.training.net import AutoencoderNet

HIDDEN_FRACTION = 0.2  # of the known cells, hidden to measure the error of imputed numbers
ACTIVE_STD = 0.01  # of an active dimension of a code that is a point, relative to the largest one


class Inference(ABC):
    """What a family computes with a trained module. Final subclasses: plug-in and posterior."""

    @abstractmethod
    def fit(self, net: AutoencoderNet, rows: Rows, random: np.random.RandomState) -> Self:
        """Return the inference with what it estimates from the training rows after training."""

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
    errors : Tensor of shape (n_scaled,), optional
        Root mean squared error of imputed numbers in these columns, on the encoded scale.
    """

    def __init__(self, n_scaled: int, errors: Tensor | None = None) -> None:
        self.n_scaled = n_scaled
        self.errors = torch.ones(n_scaled, dtype=torch.float32, device="cpu") if errors is None else errors

    def fit(self, net: AutoencoderNet, rows: Rows, random: np.random.RandomState) -> Self:
        """Estimate the errors of imputed numbers."""
        generator = noise.generator(random.randint(2**31 - 1))
        return type(self)(self.n_scaled, _imputation_errors(net, rows, self.n_scaled, generator))

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
        output = module.decoder(module.encode(batch.x, batch.observed))
        n = self.n_scaled
        expected = module.likelihood.estimate(output)[:, :n]
        numbers = expected + self.errors.to(output) * noise.normal_like(expected)
        return torch.cat([numbers, module.likelihood.draw(output)[:, n:]], 1)


def _reconstructed(module: Autoencoder, batch: Batch) -> Tensor:
    return module.decode(module.encode(batch.x, batch.observed))


def _imputation_errors(net: AutoencoderNet, rows: Rows, n_scaled: int, generator: torch.Generator) -> Tensor:
    """Return the root mean squared error of hidden cells, (n_scaled,), from one chunk of rows."""
    seen = rows.take(torch.randperm(len(rows), generator=generator, device="cpu")[: max(1, chunk_size(rows) // 4)])
    known = torch.ones_like(seen.x) if seen.observed is None else seen.observed
    uniform = torch.rand(seen.x.shape, generator=generator, dtype=torch.float32, device="cpu")
    kept = known * (uniform.to(known.device) >= HIDDEN_FRACTION)
    imputed = torch.from_numpy(apply(net, _reconstructed, Rows(Batch(seen.x * kept, observed=kept))))
    squared_errors = (imputed - seen.x.cpu()).square()[:, :n_scaled]
    hidden = (known - kept).cpu()[:, :n_scaled]
    count = hidden.sum(0)
    return torch.where(count > 0, (hidden * squared_errors).sum(0) / count.clamp(min=1), 1.0).sqrt()
