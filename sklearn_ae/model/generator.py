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

MAX_ROWS = 10_000  # training rows that are measured
FEWEST_ROWS = 1000  # of these, in wide tables
MAX_CELLS = 1 << 24  # of these rows

Codes = Callable[[Autoencoder, Batch], Tensor]  # the codes of rows, (n, k)


@dataclass(frozen=True, eq=False)
class Generator:
    """The distribution of codes ``p(z)``, and of cells ``p(x | z)``, as measured on training rows after training.

    Parameters
    ----------
    density : CodeDensity
        Distribution of codes and of missing cells.
    noise : ResidualNoise
        Noise of the standardised columns, which come first. All other columns are drawn from their likelihood.
    target_spread : float
        Root mean squared residual of a target of values, on the encoded scale; 1 without such a target.
    """

    density: CodeDensity
    noise: ResidualNoise
    target_spread: float

    @classmethod
    def fit(cls, net: AutoencoderNet, rows: Rows, n_scaled: int, codes: Codes, random: np.random.RandomState) -> Self:
        """Measure at most ``MAX_ROWS`` training rows, which are drawn by weight if there are weights."""
        index = torch.from_numpy(_chosen_rows(rows, random))
        width = net.module_.code.n_components
        with drawn_from(random):
            readout = partial(_measured, n_scaled=n_scaled, codes=codes)
            of_rows = apply_with_noise(net, readout, rows, index)
        codes_of_rows, residuals, of_target, labels, gaps = np.split(
            of_rows, np.cumsum([width, n_scaled, 1, 1]), axis=1
        )
        of_target = of_target[~np.isnan(of_target)].astype(np.float64)
        density = CodeDensity(
            codes_of_rows.copy(),
            gaps.astype(bool) if gaps.any() else None,
            None if np.isnan(labels).any() else labels[:, 0].astype(np.int64),
        )
        spread = float(np.sqrt(np.square(of_target).mean())) if len(of_target) else 1.0
        return cls(density, ResidualNoise.of(residuals), spread)

    def cells(self, module: Autoencoder, codes: Tensor) -> Tensor:
        """(n, k) -> (n, n_cells): cells drawn from ``p(x | z)``, with noise from ``modules.noise``."""
        output, n = module.decoder(codes), self.noise.n_columns
        numbers = module.likelihood.estimate(output)[:, :n]
        return torch.cat([numbers + self.noise.like(numbers), module.likelihood.draw(output)[:, n:]], 1)

    def given(self, module: Autoencoder, codes: Tensor, drawn: Tensor, known: Batch) -> Tensor:
        """Return drawn cells of rows, (n, n_cells), as draws given the residuals of the known numbers as well."""
        n = self.noise.n_columns
        observed = torch.ones_like(known.x) if known.observed is None else known.observed
        numbers = module.likelihood.estimate(module.decoder(codes))[:, :n]
        moved = self.noise.given(drawn[:, :n] - numbers, known.x[:, :n] - numbers, observed[:, :n])
        return torch.cat([numbers + moved, drawn[:, n:]], 1)

    def log_density(self, module: Autoencoder, output: Tensor, known: Batch) -> Tensor:
        """Return ``log p(x | z)`` of the known cells of rows, (m, L), at L outputs of the decoder for each."""
        n = self.noise.n_columns
        observed = torch.ones_like(known.x) if known.observed is None else known.observed
        of_numbers, x, observed = observed[:, :n], known.x.unsqueeze(1), observed.unsqueeze(1)
        residual = x[..., :n] - module.likelihood.estimate(output)[..., :n]
        others = torch.cat([torch.zeros_like(observed[..., :n]), observed[..., n:]], -1)
        return self.noise.log_density(residual, of_numbers) - module.likelihood.loss(x, output, others)


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
    """Return (n, 1): residuals of a target of values, NaN where there is none."""
    if module.head is None or batch.y is None or not batch.y.is_floating_point():
        return torch.full_like(code[:, :1], torch.nan)
    residual = batch.y.unsqueeze(1) - module.head(code)
    return (
        residual
        if batch.label_weight is None
        else residual.masked_fill(batch.label_weight.unsqueeze(1) == 0, torch.nan)
    )


def _labels(module: Autoencoder, batch: Batch, code: Tensor) -> Tensor:
    """Return (n, 1): class indices, those of unlabelled rows predicted; NaN without classes."""
    if module.head is None or batch.y is None or batch.y.is_floating_point():
        return torch.full_like(code[:, :1], torch.nan)
    labels = batch.y
    if batch.label_weight is not None:
        labels = torch.where(batch.label_weight > 0, labels, module.head(code).argmax(1))
    return labels.unsqueeze(1).to(code)
