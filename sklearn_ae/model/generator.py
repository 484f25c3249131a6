"""The distribution of rows that an autoencoder has learned: codes, and cells given codes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.code_density import CodeDensity
from sklearn_ae.model.residuals import ResidualNoise
from sklearn_ae.modules.autoencoder import Autoencoder as Autoencoder
from sklearn_ae.modules.noise import drawn_from
from sklearn_ae.objectives.terms import Batch as Batch
from sklearn_ae.training.apply import apply as apply
from sklearn_ae.training.batches import Rows as Rows
from sklearn_ae.training.batches import chunk_size
from sklearn_ae.training.net import AutoencoderNet as AutoencoderNet

MAX_ROWS = 10_000  # training rows that are measured

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
        measured, gaps = [], []
        with drawn_from(random):
            for part in index.split(chunk_size(rows)):  # so that no second copy of the rows is made
                batch = rows.take(part)
                gaps.append(None if batch.observed is None else (batch.observed == 0).cpu().numpy())
                readout = lambda module, batch: _codes_and_residuals(module, batch, n_scaled, codes)  # noqa: E731
                measured.append(apply(net, readout, Rows(batch)))
        of_rows = np.concatenate(measured)
        masks = [mask for mask in gaps if mask is not None]
        density = CodeDensity(of_rows[:, :width].copy(), np.concatenate(masks) if masks else None)
        of_target = of_rows[:, -1][~np.isnan(of_rows[:, -1])].astype(np.float64)
        spread = float(np.sqrt(np.square(of_target).mean())) if len(of_target) else 1.0
        return cls(density, ResidualNoise.of(of_rows[:, width:-1]), spread)

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
    if weight is not None:
        probability = weight.cpu().numpy().astype(np.float64)
        return random.choice(n, size=min(n, MAX_ROWS), p=probability / probability.sum())
    return random.choice(n, size=MAX_ROWS, replace=False) if n > MAX_ROWS else np.arange(n)


def _codes_and_residuals(module: Autoencoder, batch: Batch, n_scaled: int, codes: Codes) -> Tensor:
    """Return (n, k + n_scaled + 1): codes, and residuals of numbers and of the target, NaN where there is none."""
    code = codes(module, batch)
    parts = [code]
    if n_scaled:
        residual = (batch.x - module.likelihood.estimate(module.decoder(code)))[:, :n_scaled]
        if batch.observed is not None:
            residual = residual.masked_fill(batch.observed[:, :n_scaled] == 0, torch.nan)
        parts.append(residual)
    return torch.cat([*parts, _target_residual(module, batch, code)], 1)


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
