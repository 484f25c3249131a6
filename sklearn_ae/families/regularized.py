"""Autoencoders whose code is a point, held in place by a penalty or by noise on the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from sklearn_ae.families.base import BaseAutoencoder, Problem
from sklearn_ae.families.parameters import Function, Number, OneOf
from sklearn_ae.modules.codes import PointCode
from sklearn_ae.modules.noise import CORRUPTIONS
from sklearn_ae.objectives.columns import UnitGaussian
from sklearn_ae.objectives.terms import PENALTIES, reconstruction
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.phases import Phase

KEPT_CODES = 10_000  # of the training rows, for the density of codes
MIXTURE_COMPONENTS = 10  # Ghosh et al. (2020), section 5


@dataclass(kw_only=True, eq=False, repr=False)
class RegularizedAutoencoder(BaseAutoencoder):
    """Autoencoder with a penalty on its code, and optionally noise on its input.

    Minimises ``-log p(x | z) + alpha * penalty(z) + target_weight * -log p(y | z)``, in nats, averaged over the rows.
    """

    penalty: Annotated[str | Callable | None, OneOf(*PENALTIES, None), Function()] = "l1"
    alpha: Annotated[float, Number(0)] = 1e-3
    noise: Annotated[float, Number(0)] = 0.0
    noise_kind: Annotated[str, OneOf(*CORRUPTIONS)] = "mask"

    def _module(self, problem: Problem) -> nn.Module:
        if self.noise_kind == "mask" and self.noise >= 1:
            raise ValueError(f"noise must lie in [0, 1) with noise_kind='mask', however: noise={self.noise!r}")
        corruption = CORRUPTIONS[self.noise_kind](self.noise) if self.noise else None
        return self._autoencoder(problem, PointCode, UnitGaussian(), corruption)

    def _phases(self, problem: Problem) -> tuple[Phase, ...]:
        penalty = {} if self.penalty is None else {"penalty": PENALTIES.get(self.penalty, self.penalty)}
        terms = {"reconstruction": reconstruction, **penalty}
        return (self._autoencoder_phase(problem, terms, dict.fromkeys(penalty, self.alpha)),)

    def _learn_codes(self, rows: Rows, random: np.random.RandomState) -> None:
        """Keep codes of training rows; the density is learned when it is first asked for."""
        n = len(rows)
        weight = rows.columns.weight
        if weight is not None:
            share = weight.cpu().numpy().astype(np.float64)
            index = random.choice(n, size=min(n, KEPT_CODES), p=share / share.sum())
        elif n > KEPT_CODES:
            index = random.choice(n, size=KEPT_CODES, replace=False)
        else:
            index = np.arange(n)
        kept = Rows(rows.take(torch.from_numpy(index)))
        self._training_codes = self.net_.apply(lambda module, batch: module.encode(batch.x), kept).numpy()
        self._density = None

    def _sample_codes(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        if self._density is None:
            self._density = _fitted_mixture(self._training_codes.astype(np.float64))
        counts = random.multinomial(n_samples, self._density.weights_)
        parts = [
            random.multivariate_normal(mean, covariance, size=int(count))
            for mean, covariance, count in zip(
                self._density.means_, self._density.covariances_, counts, strict=True
            )
        ]
        return torch.from_numpy(random.permutation(np.concatenate(parts)))


def _fitted_mixture(codes: NDArray[np.float64]) -> GaussianMixture:
    """Return the density of codes after training: ex-post density estimation (Ghosh et al. 2020, section 5)."""
    n_distinct = len(np.unique(codes, axis=0))
    if len(codes) == 1:  # a mixture wants two rows
        codes = np.repeat(codes, 2, axis=0)
    return GaussianMixture(min(MIXTURE_COMPONENTS, n_distinct), random_state=0).fit(codes)
