"""Variational autoencoders: a code is a distribution, and the fit is a bound on the likelihood."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt
from operator import itemgetter
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sklearn_ae.families.base import BaseAutoencoder, Problem
from sklearn_ae.families.fitted import of_one_fit
from sklearn_ae.families.parameters import Number, OneOf, Whole
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.objectives import losses
from sklearn_ae.objectives.columns import Gaussian
from sklearn_ae.objectives.importance import draws_of_a_round, log_evidence, log_mean, standard_normal
from sklearn_ae.objectives.terms import Batch, Term, reconstruction, reconstruction_by_draw
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.phases import Phase

SHARED_DRAWS = 4  # of a full batch: two antithetic pairs

WIDENING = 2.0  # of the variances of q(z | x) in a code of one dimension, where draws stand for the posterior
SCORE_DRAWS = 32  # codes of a row that is scored without a tolerance

CELLS = 1 << 21  # decoded at once while rows are scored, about


class Prior(Protocol):
    """A distribution of codes."""

    def kl(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """(n, k), (n, k) -> (n,): the divergence of a normal posterior from the prior."""
        ...

    def log_density(self, code: Tensor) -> Tensor:
        """(..., k) -> (...)."""
        ...

    def draw(self, shape: tuple[int, int], random: np.random.RandomState) -> np.ndarray:
        """Return codes."""
        ...


class NormalPrior:
    """Independent standard normal code dimensions."""

    kl = staticmethod(losses.kl_normal)
    log_density = staticmethod(losses.normal_log_density)

    def draw(self, shape: tuple[int, int], random: np.random.RandomState) -> np.ndarray:
        """Return codes."""
        return random.normal(size=shape)


class LaplacePrior:
    """Independent Laplace code dimensions of scale 1: many near 0, some far from it."""

    kl = staticmethod(losses.kl_laplace)
    log_density = staticmethod(losses.laplace_log_density)

    def draw(self, shape: tuple[int, int], random: np.random.RandomState) -> np.ndarray:
        """Return codes."""
        return random.laplace(size=shape)


PRIORS: dict[str, Prior] = {"normal": NormalPrior(), "laplace": LaplacePrior()}


def divergence(module: Autoencoder, batch: Batch, trace: Trace, prior: Prior) -> Tensor:
    """Return ``KL(q(z | x) || p(z))``, (n,), in closed form."""
    return prior.kl(trace["mean"], trace["log_var"])


def importance_weighted_bound(module: Autoencoder, batch: Batch, trace: Trace, prior: Prior) -> Tensor:
    """Return ``-log mean_l p(x | z_l) p(z_l) / q(z_l | x)``, (n,) (Burda et al. 2016, eq. 8)."""
    return losses.importance_weighted(log_weights_by_draw(module, batch, trace, prior))


def log_weights_by_draw(module: Autoencoder, batch: Batch, trace: Trace, prior: Prior) -> Tensor:
    """Return ``log p(x | z) + log p(z) - log q(z | x)`` of several draws a row, (n, L)."""
    mean, log_var = trace["mean"].unsqueeze(1), trace["log_var"].unsqueeze(1)
    standardised = (trace["code"] - mean) * (-0.5 * log_var).exp()
    log_ratio = prior.log_density(trace["code"]) - losses.normal_log_density(standardised) + 0.5 * log_var.sum(-1)
    return log_ratio - reconstruction_by_draw(module, batch, trace)


def log_likelihood(
    module: Autoencoder, batch: Batch, prior: Prior, tolerance: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the importance-weighted bound of ``log p(x)``, (n,), and its standard error, (n,).

    It comes from a few draws around ``q(z | x)``; with a tolerance, from draws enough for each row.
    """
    if tolerance is None:
        bound, n_draws = _bound_of_few, SCORE_DRAWS
    else:
        bound, n_draws = partial(_evidence_of_few, tolerance=tolerance), draws_of_a_round(module.code.n_components)
    both = _by_few(module, batch, lambda few: torch.stack(bound(few, module, prior), 1), n_draws)
    return both[:, 0], both[:, 1]


def _by_few(module: Autoencoder, batch: Batch, function: Callable[[Batch], Tensor], n_draws: int) -> Tensor:
    """Apply a function that draws many codes for each row to a few rows at a time."""
    few = max(1, CELLS // (n_draws * module.columns.n_outputs))
    parts = (batch.map(itemgetter(slice(start, start + few))) for start in range(0, len(batch.x), few))
    return torch.cat([function(part) for part in parts])


def _weighted_codes(batch: Batch, module: Autoencoder, prior: Prior, n_draws: int) -> tuple[Tensor, Tensor]:
    """Return draws r(z) around ``q(z | x)``, (n, L, k), the same normal numbers for all rows, and their log-weights.

    The second is ``log p(x, z) / r(z)``, (n, L).
    """
    trace = Trace(module, batch.x, batch.observed)
    mean, sigma = trace["mean"].unsqueeze(1), _wider(trace["log_var"]).sqrt().unsqueeze(1)
    standard = standard_normal(mean.shape[-1], n_draws).to(mean)
    codes = mean + sigma * standard
    log_joint = _log_joint(module, batch, prior, codes, torch.arange(len(batch.x), device=mean.device))
    return codes, log_joint - losses.normal_log_density(standard) + sigma.log().sum(-1)


def _wider(log_var: Tensor) -> Tensor:
    """(n, k) -> (n, k): variances that cover the posterior, of which ``q(z | x)`` finds the middle only.

    A dimension that a row says nothing about is left alone: there q is the prior, and right. The more dimensions, the
    less each is widened, so that the share of the draws that count stays the same.
    """
    variance = log_var.exp()
    return variance * (1 + WIDENING / sqrt(log_var.shape[-1]) * (1 - variance).clamp(min=0))


def _posterior_codes(batch: Batch, module: Autoencoder, prior: Prior) -> tuple[Tensor, Tensor]:
    """Return codes for each row, (n, L, k), and how much each counts among them, (n, L).

    They count as the posterior asks for (Mattei & Frellsen 2019, eq. 12).
    """
    codes, log_weights = _weighted_codes(batch, module, prior, draws_of_a_round(module.code.n_components))
    return codes, log_weights.softmax(1)


def _expected_cells(batch: Batch, module: Autoencoder, prior: Prior) -> Tensor:
    codes, weight = _posterior_codes(batch, module, prior)
    return module.columns.expected(module.decoder(codes), weight)


def _drawn_cells(batch: Batch, module: Autoencoder, prior: Prior) -> Tensor:
    codes, weight = _posterior_codes(batch, module, prior)
    chosen = (weight.cumsum(1) <= noise.uniform_like(weight[:, 0]).unsqueeze(1)).sum(1).clamp(max=codes.shape[1] - 1)
    return module.columns.draw(module.decoder(codes[torch.arange(len(codes), device=codes.device), chosen]))


def _bound_of_few(batch: Batch, module: Autoencoder, prior: Prior) -> tuple[Tensor, Tensor]:
    _, log_weights = _weighted_codes(batch, module, prior, SCORE_DRAWS)
    return log_mean(log_weights.double())


def _evidence_of_few(batch: Batch, module: Autoencoder, prior: Prior, tolerance: float) -> tuple[Tensor, Tensor]:
    trace = Trace(module, batch.x, batch.observed)
    log_joint = partial(_log_joint, module, batch, prior)
    return log_evidence(log_joint, trace["mean"], (0.5 * trace["log_var"]).exp(), tolerance)


def _log_joint(module: Autoencoder, batch: Batch, prior: Prior, codes: Tensor, index: Tensor) -> Tensor:
    """(m, L, k), (m,) -> (m, L): ``log p(x | z) + log p(z)``."""
    x = batch.x[index].unsqueeze(1)
    observed = None if batch.observed is None else batch.observed[index].unsqueeze(1)
    codes = codes.to(x)
    return prior.log_density(codes) - module.columns.loss(x, module.decoder(codes), observed)


@dataclass(kw_only=True, eq=False, repr=False)
class VariationalAutoencoder(BaseAutoencoder):
    """Autoencoder whose code is a distribution, trained on a bound of the likelihood.

    The mean over the rows of ``-E_q[log p(x | z)] + beta * KL(q(z | x) || p(z)) - target_weight * E_q[log p(y | z)]``
    is minimised, with ``q(z | x)`` normal [1]_. At ``beta=1`` and without a target this is the negative evidence lower
    bound of ``log p(x)``.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the divergence of a code from the prior [2]_. It must be 1 if ``n_draws`` is above 1.
    prior : {"normal", "laplace"}, default="normal"
        Distribution of codes, independent and of scale 1. ``"laplace"`` gives sparser codes.
    n_draws : int, default=1
        Codes drawn for each row in a step. Above 1 the importance-weighted bound is trained [3]_.
    noise : {"scalar", "column"} or float, default="scalar"
        Standard deviation of numeric columns around the decoder's output, on the standardised scale: learned in closed
        form, one for all columns or one each, or fixed. Not used with ``likelihood="bernoulli"``.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    RegularizedAutoencoder : The code is a point.
    AdversarialAutoencoder : A discriminator compares generated rows or codes with real ones.
    sklearn.decomposition.PCA : Its ``score`` is the likelihood of a linear variational autoencoder.

    Notes
    -----
    ``transform`` returns the mean of ``q(z | x)``. ``score_samples`` is an importance-weighted bound of ``log p(x)``
    [3]_ from 32 draws and a fixed seed: cheap, some tenths of a nat below, and of the same ranks. With a ``tolerance``
    the proposal adapts to each row, for as many draws as it takes [4]_. ``sample`` draws from ``p(x | z)``, noise
    included; ``inverse_transform`` returns means.

    A fit of one full batch shares its normal numbers among the rows, in antithetic pairs. So it is a function of the
    weighted rows alone, and a row twice is a row of weight two.

    References
    ----------
    .. [1] Kingma, D. & Welling, M. (2014). Auto-encoding variational Bayes. ICLR.
    .. [2] Higgins, I. et al. (2017). beta-VAE: learning basic visual concepts with a constrained variational framework.
       ICLR.
    .. [3] Burda, Y., Grosse, R. & Salakhutdinov, R. (2016). Importance weighted autoencoders. ICLR, equation 8.
    .. [4] Oh, M.-S. & Berger, J. (1992). Adaptive importance sampling in Monte Carlo integration. Journal of
       Statistical Computation and Simulation, 41(3-4), 143-168.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ae import VariationalAutoencoder
    >>> X, y = load_wine(return_X_y=True)
    >>> autoencoder = VariationalAutoencoder(n_components=2, max_iter=20, random_state=0).fit(X)
    >>> autoencoder.score_samples(X).shape
    (178,)
    >>> autoencoder.sample(3, random_state=0).shape
    (3, 13)
    """

    beta: Annotated[float, Number(0)] = 1.0
    prior: Annotated[str, OneOf(*PRIORS)] = "normal"
    n_draws: Annotated[int, Whole(1)] = 1
    noise: Annotated[str | float, OneOf("scalar", "column"), Number(0, closed_low=False)] = "scalar"

    differs_in_a_stack = BaseAutoencoder.differs_in_a_stack | {"beta"}
    kept_when_going_on = BaseAutoencoder.kept_when_going_on | {"noise"}

    def _module(self, problem: Problem) -> Autoencoder:
        # A full batch shares its draws, so that a row twice is a row of weight two.
        several = SHARED_DRAWS if problem.full_batch and self.n_draws == 1 else self.n_draws
        code = partial(GaussianCode, n_draws=several, shared=problem.full_batch)
        fixed = not isinstance(self.noise, str)
        sigma = 1.0 if isinstance(self.noise, str) else self.noise
        numbers = partial(Gaussian, sigma=sigma, per_column=self.noise == "column", fixed=fixed)
        return self._autoencoder(problem, code, numbers)

    def _phases(self, problem: Problem) -> tuple[Phase, ...]:
        prior = PRIORS[self.prior]
        if self.n_draws == 1:
            terms: dict[str, Term] = {"reconstruction": reconstruction, "kl": partial(divergence, prior=prior)}
            return (self._autoencoder_phase(problem, terms, {"kl": self.beta}),)
        if self.beta != 1:
            raise ValueError(
                f"the importance-weighted bound (n_draws > 1) has no beta, got n_draws={self.n_draws!r} and "
                f"beta={self.beta!r}. Set one of them to 1"
            )
        bound: Term = partial(importance_weighted_bound, prior=prior)
        return (self._autoencoder_phase(problem, {"bound": bound}, {}),)

    def _learn_afterwards(self, rows: Rows, random: np.random.RandomState) -> None:
        """Learn nothing: prior and noise are the model's own."""

    def _expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        return self._of_posterior(_expected_cells, module, batch)

    def _drawn_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        return self._of_posterior(_drawn_cells, module, batch)

    def _of_posterior(self, function: Callable[..., Tensor], module: Autoencoder, batch: Batch) -> Tensor:
        n_draws = draws_of_a_round(module.code.n_components)
        return _by_few(module, batch, partial(function, module=module, prior=PRIORS[self.prior]), n_draws)

    @of_one_fit
    def score_samples(self, X: ArrayLike, tolerance: float | None = None, return_std: bool = False) -> Any:
        """Return a lower bound of the log-likelihood of each row, ``log p(x)``, in nats and in the units of X.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. Missing cells count for nothing.
        tolerance : float, default=None
            Standard error in nats that a row may have. Its proposal adapts to the row until the error is below that,
            or until it has had 5,120 draws (more in codes of over 8 dimensions). Expect milliseconds a row. None takes
            32 draws around ``q(z | x)``: less than a tenth of the time of a fit on as many rows, and some tenths of a
            nat below.
        return_std : bool, default=False
            Whether to return standard errors as well.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            The importance-weighted bound, the same at every call.
        std : ndarray of shape (n_samples,)
            Its standard error, as far as the draws tell of it. Only with ``return_std=True``.
        """
        if tolerance is not None and not Number(0).admits(tolerance):
            raise ValueError(f"tolerance must be {Number(0)} or None, got {tolerance!r}")
        scores = self._apply(partial(self._scores, tolerance=tolerance), X)
        value, std = scores[:, 0].copy(), scores[:, 1].copy()
        return (value, std) if return_std else value

    def _scores(self, module: Autoencoder, batch: Batch, tolerance: float | None) -> Tensor:
        """Return the bound in the units of X and its standard error, (n, 2)."""
        value, error = log_likelihood(module, batch, PRIORS[self.prior], tolerance)
        return torch.stack([value - self._table.log_volume(batch.x, batch.observed), error], 1)

    def _sample_codes(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        return torch.from_numpy(PRIORS[self.prior].draw((n_samples, self.n_components), random))

    def _generate(self, module: Autoencoder, codes: Tensor, random: np.random.RandomState) -> Tensor:
        """Return draws from ``p(x | z)``."""
        output = module.decoder(codes)
        with noise.drawn(noise.generator(random.randint(2**31 - 1))):
            return module.columns.draw(output)
