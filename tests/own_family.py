"""A family defined outside the package: codes are pulled to the prior by their maximum mean discrepancy."""

from dataclasses import dataclass
from functools import partial
from math import log, pi
from typing import Annotated

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sklearn_ae.estimators.base import BaseAutoencoder, of_one_fit
from sklearn_ae.estimators.parameters import VARIES_IN_STACK, Float
from sklearn_ae.model.inference import PluginInference
from sklearn_ae.model.recipe import Problem, Recipe
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives.terms import Batch, reconstruction


def discrepancy(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Tensor:
    """Return the squared maximum mean discrepancy of codes and prior, () (Gretton et al. 2012, eq. 5)."""
    codes, prior = trace["code"], noise.normal((n_draws, module.bottleneck.n_components), trace["code"])
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


def log_prior_of_code(module: Autoencoder, batch: Batch) -> Tensor:
    """Return the log-density of the prior at the codes, (n,)."""
    code = module.encode(batch.x, batch.observed)
    return -0.5 * (code.square() + log(2 * pi)).sum(1)


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

    discrepancy_weight: Annotated[float, Float(0), VARIES_IN_STACK] = 1.0

    def recipe(self, problem: Problem) -> Recipe:
        """Return module, phase, optimizer and inference."""
        terms = {"reconstruction": reconstruction, "discrepancy": partial(discrepancy, n_draws=problem.batch_size)}
        phase = problem.autoencoder_phase(terms, {"discrepancy": self.discrepancy_weight})
        return Recipe(
            module=problem.point_autoencoder(),
            phases=(phase,),
            validation_phase=phase,
            optimizers={phase.name: {"lr": self.learning_rate, "weight_decay": self.weight_decay}},
            inference=PluginInference(problem.layout.n_scaled),
        )

    @of_one_fit
    def log_prior(self, X: ArrayLike) -> NDArray:
        """Return the log-density of the prior at the code of each row.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            The log-density, low for rows with unusual codes.
        """
        return self.model_.apply(log_prior_of_code, self._table(X))
