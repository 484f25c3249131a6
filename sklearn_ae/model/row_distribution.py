"""The distribution of rows that an autoencoder has learned: codes, and cells given codes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.code_density import CodeDensity as CodeDensity
from sklearn_ae.model.residuals import ResidualNoise
from sklearn_ae.modules.autoencoder import Autoencoder as Autoencoder
from sklearn_ae.modules.noise import drawn_from
from sklearn_ae.objectives.terms import Batch as Batch
from sklearn_ae.training.apply import apply_with_noise as apply_with_noise
from sklearn_ae.training.batches import Rows as Rows
from sklearn_ae.training.net import AutoencoderNet as AutoencoderNet

MAX_ROWS = 10_000  # maximum number of training rows that are measured
MAX_CELLS = 1 << 24  # maximum number of their cells, which reduces the number of rows of wide tables
FEWEST_ROWS = 1000  # rows that are measured in the widest tables
PRIOR_ROWS = 5  # pseudo-rows without residual that shrink the mean residual of a class

Codes = Callable[[Autoencoder, Batch], Tensor]  # the codes of rows, (n, k)


@dataclass(frozen=True, eq=False)
class RowDistribution:
    """The distribution of codes ``p(z)``, and of cells ``p(x | z)``, as measured on training rows after training.

    Parameters
    ----------
    density : CodeDensity
        Distribution of codes and of missing cells.
    noise : ResidualNoise
        Noise of the standardised columns, which come first, and of a target of values, if there is one. All other
        columns are drawn from their likelihood.
    n_scaled : int
        Number of standardised columns.
    shifts : ndarray of shape (n_classes, n_scaled)
        Mean residual of the rows of each class: what the decoder lacks for rare classes. No rows without classes.
    """

    density: CodeDensity
    noise: ResidualNoise
    n_scaled: int
    shifts: NDArray[np.float64]

    @property
    def has_values(self) -> bool:
        """Whether there is a target of values. It is then one more cell, the last one."""
        return self.noise.n_columns > self.n_scaled

    @classmethod
    def fit(cls, net: AutoencoderNet, rows: Rows, n_scaled: int, codes: Codes, random: np.random.RandomState) -> Self:
        """Measure at most ``MAX_ROWS`` training rows, which are drawn by weight if there are weights."""
        index = torch.from_numpy(_chosen_rows(rows, random))
        width = net.module_.bottleneck.n_components
        with drawn_from(random):
            readout = partial(_measured, n_scaled=n_scaled, codes=codes)
            of_rows = apply_with_noise(net, readout, rows, index)
        codes_of_rows, residuals, of_target, labels, gaps = np.split(
            of_rows, np.cumsum([width, n_scaled, 1, 1]), axis=1
        )
        density = CodeDensity(
            codes_of_rows.copy(),
            gaps.astype(bool) if gaps.any() else None,
            None if np.isnan(labels).any() else labels[:, 0].astype(np.int64),
        )
        shifts = _shifts(residuals, labels)
        residuals = residuals if np.isnan(of_target).all() else np.hstack([residuals, of_target])
        return cls(density, ResidualNoise.of(residuals), n_scaled, shifts)

    def cells(self, module: Autoencoder, codes: Tensor) -> Tensor:
        """(n, k) -> (n, n_cells): cells drawn from ``p(x | z)``, with noise from ``modules.noise``."""
        output = module.decoder(codes)
        expected = self._expected(module, codes, output)
        return self._with(expected + self.noise.like(expected), module.likelihood.draw(output), module)

    def given(self, module: Autoencoder, codes: Tensor, drawn: Tensor, known: Batch) -> Tensor:
        """Return drawn cells of rows, (n, n_cells), as draws given the residuals of the known numbers as well."""
        expected = self._expected(module, codes, module.decoder(codes))
        observed = torch.ones_like(known.x) if known.observed is None else known.observed
        of_drawn, of_known, observed = (self._numbers(module, cells) for cells in (drawn, known.x, observed))
        moved = expected + self.noise.given(of_drawn - expected, of_known - expected, observed)
        return self._with(moved, drawn, module)

    def log_density(self, module: Autoencoder, codes: Tensor, known: Batch) -> Tensor:
        """Return ``log p(x | z)`` of the known cells of rows, (m, L), at codes, (m, L, k) or (1, L, k)."""
        n, n_cells, m = self.n_scaled, module.likelihood.n_cells, len(known.x)
        observed = torch.ones_like(known.x) if known.observed is None else known.observed
        output = module.decoder(codes)
        residual = self._numbers(module, known.x).unsqueeze(1) - self._expected(module, codes, output)
        of_numbers = self.noise.log_density(residual, self._numbers(module, observed))
        others = torch.cat([torch.zeros_like(observed[:, :n]), observed[:, n:n_cells]], -1).unsqueeze(1)
        x = known.x[:, :n_cells].unsqueeze(1)
        return of_numbers - module.likelihood.loss(x, output.expand(m, -1, -1), others)

    def _expected(self, module: Autoencoder, codes: Tensor, output: Tensor) -> Tensor:
        """Return (..., n_scaled + has_values): expected numbers and target."""
        numbers = module.likelihood.estimate(output)[..., : self.n_scaled]
        return torch.cat([numbers, module.head(codes)], -1) if self.has_values and module.head is not None else numbers

    def _numbers(self, module: Autoencoder, cells: Tensor) -> Tensor:
        """(..., n_cells + has_values) -> (..., n_scaled + has_values): numbers and target."""
        return torch.cat([cells[..., : self.n_scaled], cells[..., module.likelihood.n_cells :]], -1)

    def _with(self, numbers: Tensor, cells: Tensor, module: Autoencoder) -> Tensor:
        """Return cells, (n, n_cells) or with a target, with other numbers and another target."""
        n, n_cells = self.n_scaled, module.likelihood.n_cells
        return torch.cat([numbers[:, :n], cells[:, n:n_cells], numbers[:, n:]], -1)


def _chosen_rows(rows: Rows, random: np.random.RandomState) -> NDArray[np.int64]:
    n, weight = len(rows), rows.table.weight
    most = min(MAX_ROWS, max(FEWEST_ROWS, MAX_CELLS // rows.n_cells))
    if weight is not None:
        probability = weight.cpu().numpy().astype(np.float64)
        return random.choice(n, size=min(n, most), p=probability / probability.sum())
    return random.choice(n, size=most, replace=False) if n > most else np.arange(n)


def _measured(module: Autoencoder, batch: Batch, n_scaled: int, codes: Codes) -> Tensor:
    """Return codes, residuals of numbers and of the target, classes, and which cells are missing.

    Residuals are NaN where there is none, and so are classes if there are none.
    """
    code = codes(module, batch)
    residual = code.new_empty(len(code), 0)
    if n_scaled:
        residual = (batch.x - module.likelihood.estimate(module.decoder(code)))[:, :n_scaled]
    if batch.observed is None:
        return torch.cat([code, residual, _target_residual(module, batch, code), _labels(module, batch, code)], 1)
    residual = residual.masked_fill(batch.observed[:, :n_scaled] == 0, torch.nan)
    of_target, labels = _target_residual(module, batch, code), _labels(module, batch, code)
    return torch.cat([code, residual, of_target, labels, 1 - batch.observed], 1)


def _target_residual(module: Autoencoder, batch: Batch, code: Tensor) -> Tensor:
    """Return (n, 1): residuals of a target of values, NaN where there is none or several."""
    if module.head is None or batch.y is None or batch.y.ndim > 1 or not batch.y.is_floating_point():
        return torch.full_like(code[:, :1], torch.nan)
    residual = batch.y.unsqueeze(1) - module.head(code)
    return (
        residual
        if batch.label_weight is None
        else residual.masked_fill(batch.label_weight.unsqueeze(1) == 0, torch.nan)
    )


def _labels(module: Autoencoder, batch: Batch, code: Tensor) -> Tensor:
    """Return (n, 1): class indices, those of unlabelled rows predicted; NaN without classes or with several outputs."""
    if module.head is None or batch.y is None or batch.y.ndim > 1 or batch.y.is_floating_point():
        return torch.full_like(code[:, :1], torch.nan)
    labels = batch.y
    if batch.label_weight is not None:
        labels = torch.where(batch.label_weight > 0, labels, module.predict(batch.x, batch.observed).argmax(1))
    return labels.unsqueeze(1).to(code)


def _shifts(residuals: NDArray, labels: NDArray) -> NDArray[np.float64]:
    """Return the mean residual of each class, (n_classes, n_scaled), from residuals, (n, n_scaled), and labels."""
    if np.isnan(labels).any():
        return np.zeros((0, residuals.shape[1]))
    index = labels[:, 0].astype(np.int64)
    known = ~np.isnan(residuals)
    sums, counts = np.zeros((2, index.max() + 1, residuals.shape[1]))
    np.add.at(sums, index, np.nan_to_num(residuals).astype(np.float64))
    np.add.at(counts, index, known)
    return sums / (counts + PRIOR_ROWS)
