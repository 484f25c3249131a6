"""Several members of one fit, averaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.model import Known
from sklearn_ae.model.model import Model as Model
from sklearn_ae.model.readouts import Readout
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.tables.containers import Container


@dataclass(frozen=True, eq=False)
class Ensemble(Model):
    """Autoencoders that were trained on the same rows from different random weights.

    Codes and reconstructions are those of the best member, because codes of different members have no common axes.
    Predictions, likelihoods, imputed cells and generated rows are those of all members.

    Parameters
    ----------
    encoding, target, net, inference, sampler, random, handle_unknown : object
        Those of the best member, as in :class:`~sklearn_ae.model.model.Model`.
    members : sequence of Model
        The members, in the order of their training.
    """

    members: Sequence[Model] = ()

    @classmethod
    def of(cls, members: Sequence[Model], best: int) -> Self:
        """Return an ensemble of members, of which the best has the given index."""
        own = {field.name: getattr(members[best], field.name) for field in fields(Model)}
        return cls(**own, members=tuple(members))

    def averaged(self, readout: Readout, table: Container) -> Any:
        """Return the mean of a readout over the members, for all rows."""
        return table.results(
            self._values(lambda module, batch: self._stacked(batch, lambda member: readout).mean(1), table)
        )

    def outputs(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return (n, n_outputs): outputs of the head, as the target pools them."""
        return self.target.pooled(self._stacked(batch, lambda member: member.outputs))

    def scores(self, module: Autoencoder, batch: Batch, tolerance: float | None) -> Tensor:
        """Return (n, 2): log-likelihoods of the mixture of the members, and their standard errors."""
        of_members = self._stacked(batch, lambda member: partial(member.scores, tolerance=tolerance))
        value, error = of_members.double().unbind(2)
        share = value.softmax(1)  # the derivative of the logarithm of the mean
        pooled = value.logsumexp(1) - np.log(len(self.members))
        return torch.stack([pooled, (share * error).square().sum(1).sqrt()], 1)

    def cell_scores(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return (n, n_cells): means over the members, weighted by their probabilities given the row."""
        scores = self._stacked(batch, lambda member: partial(member.scores, tolerance=None))[:, :, 0]
        cells = self._stacked(batch, lambda member: member.cell_scores)
        return (scores.softmax(1).unsqueeze(-1) * cells).sum(1)

    def expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return (n, n_cells): means of the expected numbers, and the categories that most members expect."""
        of_members = self._stacked(batch, lambda member: member.expected_cells)
        n_numeric = self.encoding.layout.n_numeric
        categories = of_members[:, :, n_numeric:].mode(1).values
        return torch.cat([of_members[:, :, :n_numeric].mean(1), categories], 1)

    def _stacked(self, batch: Batch, readout_of: Callable[[Model], Readout]) -> Tensor:
        """Return (n, n_members, ...): a readout of each member."""
        return torch.stack([readout_of(member)(member.net.module_.eval(), batch) for member in self.members], 1)

    def _drawing(self, n_draws: int, random: np.random.RandomState) -> list[Readout]:
        """Return the readout of each draw of missing cells: that of one member, of each member equally often."""
        return [partial(_drawn_by, self.members[k]) for k in _dealt(len(self.members), n_draws, random)]

    def _generated(
        self, known: Known, row: NDArray[np.int64], random: np.random.RandomState
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Return generated cells and gaps of the rows, each row by a random member."""
        chosen = random.randint(len(self.members), size=len(row))
        cells = np.empty((len(row), self.encoding.layout.n_cells))
        gaps = np.zeros(cells.shape, dtype=bool)
        for index, member in enumerate(self.members):
            own = np.flatnonzero(chosen == index)
            if len(own):
                cells[own], own_gaps = member._generated(known, row[own], random)
                gaps[own] = False if own_gaps is None else own_gaps
        return cells, gaps if gaps.any() else None


def _drawn_by(member: Model, module: Autoencoder, batch: Batch) -> Tensor:
    return member.inference.drawn_cells(member.net.module_.eval(), batch)


def _dealt(n_members: int, n_draws: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Return a member for each draw: random orders of all members, one after another."""
    orders = [random.permutation(n_members) for _ in range(-(-n_draws // n_members))]
    return np.concatenate(orders)[:n_draws]
