"""Calibration of drawn cells: how far they are from known cells that were hidden."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.modules.likelihood import Likelihood
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.apply import evaluated
from sklearn_ae.training.batches import Rows, chunk_size
from sklearn_ae.training.net import AutoencoderNet

HIDDEN_FRACTION = 0.2  # fraction of the known cells of a row that are hidden from the encoder
PRIOR_CELLS = 50  # pseudo-cells with the corrected training error, which shrink the error of a column
FEW_CELLS = 5  # pseudo-cells with the training error, which shrink its correction if few cells are unseen
LEAST_SHARE = 0.1  # smallest variance of the noise of a column, relative to its mean squared error


class HiddenCells(NamedTuple):
    """Rows without some of their known cells."""

    x: Tensor  # (n, n_cells) all known cells
    kept: Tensor  # (n, n_cells) 1 for the cells that are read
    hidden: Tensor  # (n, n_cells) 1 for the known cells that are not read

    @classmethod
    def of(cls, rows: Rows, generator: torch.Generator) -> Self:
        """Return some rows with a fraction of their known cells hidden at random."""
        some = rows.take(_some(len(rows), max(1, chunk_size(rows) // 4), generator))
        known = torch.ones_like(some.x) if some.observed is None else some.observed
        uniform = torch.rand(some.x.shape, generator=generator, dtype=torch.float32, device="cpu")
        kept = known * (uniform.to(known.device) >= HIDDEN_FRACTION)
        return cls(some.x, kept, known - kept)

    def outputs(self, nets: Sequence[AutoencoderNet]) -> Tensor:
        """Return the outputs of nets that read the kept cells, (K, n, n_outputs)."""
        rows = Rows(Batch(self.x * self.kept, observed=self.kept))
        return torch.stack([evaluated(net, _output, rows, device=self.x.device).to(self.x) for net in nets])


class UnseenCells(NamedTuple):
    """Known cells that training does not see."""

    rows: Rows  # with all known cells
    hidden: Tensor  # (n, n_cells) True for the cells that training does not see

    def some(self, generator: torch.Generator) -> HiddenCells:
        """Return some of the rows without these cells."""
        chosen = _some(len(self.rows), chunk_size(self.rows), generator).to(self.hidden.device)
        some, hidden = self.rows.take(chosen), self.hidden[chosen].to(self.rows.table.x)
        known = torch.ones_like(some.x) if some.observed is None else some.observed
        return HiddenCells(some.x, known - hidden, hidden)


def without_some_cells(rows: Rows, fraction: float, random: np.random.RandomState) -> tuple[Rows, UnseenCells | None]:
    """Return training rows without a fraction of their known cells, and these cells.

    Rows that are encoded when they are read, such as sparse ones, are returned as they are.
    """
    if not fraction or not rows.are_encoded:
        return rows, None
    x, observed = rows.table.x, rows.table.observed
    generator = noise.generator(random.randint(2**31 - 1))
    hidden = (torch.rand(x.shape, generator=generator, dtype=torch.float32, device="cpu") < fraction).to(x.device)
    hidden = hidden if observed is None else hidden & observed
    kept = ~hidden if observed is None else observed & ~hidden
    return Rows(rows.table._replace(x=x * kept, observed=kept)), UnseenCells(rows, hidden)


def hidden_cells(
    trained: Rows, validation: Rows | None, unseen: UnseenCells | None, random: np.random.RandomState
) -> tuple[HiddenCells, HiddenCells | None]:
    """Return cells that training has seen, and cells that it has not seen, if there are any, to compare draws with."""
    generator = noise.generator(random.randint(2**31 - 1))
    seen = HiddenCells.of(trained, generator)
    if unseen is not None:
        return seen, unseen.some(generator)
    return seen, None if validation is None else HiddenCells.of(validation, generator)


class Calibration(NamedTuple):
    """Noise of drawn numbers and temperatures of drawn categories, by the errors of hidden cells.

    Members share one calibration. Draws come from all members in turn, so they vary by the differences between members
    as well: the variance of the noise is the squared error of the mean of the members minus the variance between them.
    """

    errors: Tensor  # (n_scaled,) standard deviation of the noise of standardised columns
    temperature: Tensor  # (n_cells,)

    @classmethod
    def none(cls, n_scaled: int) -> Self:
        """Return the calibration before a fit: noise of variance 1, no temperatures."""
        return cls(torch.ones(n_scaled, dtype=torch.float32, device="cpu"), torch.empty(0, device="cpu"))

    @classmethod
    def fit(
        cls, nets: Sequence[AutoencoderNet], trained: HiddenCells, unseen: HiddenCells | None, n_scaled: int
    ) -> Self:
        """Measure hidden cells: those that training has seen, corrected by those that it has not seen."""
        likelihood, outputs = nets[0].module_.likelihood, trained.outputs(nets)
        squared, variance, count = _squared_errors(likelihood, trained, outputs, n_scaled)
        error = torch.where(count > 0, squared / count.clamp(min=1), 1.0)
        cells = trained
        if unseen is not None:
            cells, outputs = unseen, unseen.outputs(nets)
            squared, variance, count = _squared_errors(likelihood, unseen, outputs, n_scaled)
            error = _corrected(error, squared, count)
        spread = torch.maximum(error - variance, LEAST_SHARE * error).sqrt()
        return cls(spread.cpu(), likelihood.temperatures(cells.x, outputs, cells.hidden).cpu())

    def draw(self, module: Autoencoder, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_cells): drawn cells, with noise from ``modules.noise``."""
        n = len(self.errors)
        expected = module.likelihood.estimate(output)[:, :n]
        numbers = expected + self.errors.to(output) * noise.normal_like(expected)
        if len(self.temperature):
            output = module.likelihood.tempered(output, self.temperature.to(output))
        return torch.cat([numbers, module.likelihood.draw(output)[:, n:]], 1)


def _squared_errors(
    likelihood: Likelihood, cells: HiddenCells, outputs: Tensor, n_scaled: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each column, the sum of squared errors, the variance between nets, and the number of hidden cells."""
    x, hidden = cells.x[:, :n_scaled], cells.hidden[:, :n_scaled]
    numbers = torch.stack([likelihood.estimate(output)[:, :n_scaled] for output in outputs])
    mean, count = numbers.mean(0), hidden.sum(0)
    variance = (hidden * (numbers - mean).square().mean(0)).sum(0) / count.clamp(min=1)
    return (hidden * (mean - x).square()).sum(0), variance, count


def _corrected(error: Tensor, squared: Tensor, count: Tensor) -> Tensor:
    """Return squared errors from those of training cells, and from sums over unseen cells, each (n_scaled,)."""
    prior = FEW_CELLS * error.mean()
    expected = (error * count).sum() + prior
    ratio = torch.where(expected > 0, (squared.sum() + prior) / expected, 1.0)  # how optimistic training is
    return (squared + PRIOR_CELLS * error * ratio) / (count + PRIOR_CELLS)


def _output(module: Autoencoder, batch: Batch) -> Tensor:
    return module.decoder(module.encode(batch.x, batch.observed))


def _some(n: int, most: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator, device="cpu")[:most]
