"""A family defined outside the package: codes are pulled to the prior by their maximum mean discrepancy."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from sklearn_ae.families.base import BaseAutoencoder, Problem
from sklearn_ae.families.parameters import Number
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.modules.codes import PointCode
from sklearn_ae.objectives.columns import UnitGaussian
from sklearn_ae.objectives.terms import Batch, reconstruction
from sklearn_ae.training.phases import Phase


def discrepancy(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Tensor:
    """Return the squared maximum mean discrepancy of codes and prior, () (Gretton et al. 2012, eq. 5)."""
    codes, prior = trace["code"], noise.normal((n_draws, module.code.n_components), trace["code"])
    share = torch.ones_like(codes[:, 0]) if batch.weight is None else batch.weight
    share = share / share.shape[0]
    width = 2.0 * codes.shape[1]  # inverse multiquadratic kernel of Tolstikhin et al. (2018), section 4
    kernel = partial(_kernel, width=width)
    return (
        share @ kernel(codes, codes) @ share + kernel(prior, prior).mean() - 2 * (share @ kernel(codes, prior)).mean()
    )


def _kernel(a: Tensor, b: Tensor, width: float) -> Tensor:
    """(n, k), (m, k) -> (n, m)."""
    return width / (width + (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1))


@dataclass(kw_only=True, eq=False, repr=False)
class WassersteinAutoencoder(BaseAutoencoder):
    """Wasserstein autoencoder (Tolstikhin et al. 2018).

    Parameters
    ----------
    discrepancy_weight : float, default=1.0
        Weight of the discrepancy between the codes and the prior.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s
    """

    discrepancy_weight: Annotated[float, Number(0)] = 1.0

    def _module(self, problem: Problem) -> Autoencoder:
        return self._autoencoder(problem, PointCode, UnitGaussian)

    def _phases(self, problem: Problem) -> tuple[Phase, ...]:
        terms = {"reconstruction": reconstruction, "discrepancy": partial(discrepancy, n_draws=problem.batch_size)}
        return (self._autoencoder_phase(problem, terms, {"discrepancy": self.discrepancy_weight}),)

    def _sample_codes(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        return torch.from_numpy(random.normal(size=(n_samples, self.n_components)))
