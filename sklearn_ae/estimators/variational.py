"""Variational autoencoders: the code is a distribution, and the fit maximises a bound of the likelihood."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.estimators.parameters import FIXED, VARIES_IN_STACK, Float, Int, OneOf
from sklearn_ae.likelihoods.gaussian import Gaussian
from sklearn_ae.model.posterior import PosteriorInference
from sklearn_ae.model.recipe import Autoencoder, Phase, Problem, Recipe
from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.objectives.bounds import PRIORS, divergence, importance_weighted_bound
from sklearn_ae.objectives.terms import Term, reconstruction

SHARED_DRAWS = 4  # codes per row in a full batch: two antithetic pairs


@dataclass(kw_only=True, eq=False, repr=False)
class VariationalAutoencoder(BaseAutoencoder):
    """Autoencoder whose code is a distribution, trained on a lower bound of the likelihood.

    The mean over the rows of ``-E_q[log p(x | z)] + beta * KL(q(z | x) || p(z)) - target_weight * E_q[log p(y | z)]``
    is minimised, with ``q(z | x)`` normal [1]_. At ``beta=1`` and without a target this is the negative evidence lower
    bound of ``log p(x)``.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the divergence of a code from the prior [2]_. It must be 1 if ``n_draws`` is above 1.
    prior : {"normal", "laplace"}, default="normal"
        Prior of the code dimensions, independent and of scale 1. ``"laplace"`` gives sparser codes.
    n_draws : int, default=1
        Number of codes drawn per row and step. Above 1 the importance-weighted bound is maximised [3]_.
    observation_noise : {"scalar", "column"} or float, default="scalar"
        Standard deviation of standardised columns around the decoder's output: learned in closed form, shared by all
        columns (``"scalar"``) or one per column (``"column"``), or a fixed number. Only for columns with
        ``likelihood="gaussian"``.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    RegularizedAutoencoder : Codes are points.
    AdversarialAutoencoder : A discriminator compares generated rows or codes with real ones.
    sklearn.decomposition.PCA : Its ``score`` is the likelihood of a linear variational autoencoder.

    Notes
    -----
    ``transform`` returns the mean of ``q(z | x)``. ``score_samples`` is an importance-weighted bound of ``log p(x)``
    [3]_ from 32 draws with a fixed seed. It is cheap, some tenths of a nat below ``log p(x)``, and ranks rows alike.
    With a ``tolerance`` the proposal adapts to each row, with as many draws as needed [4]_. ``sample`` draws from
    ``p(x | z)``, observation noise included; ``inverse_transform`` returns means.

    In a fit of one full batch all rows share the same normal numbers, in antithetic pairs. The fit is then a function
    of the weighted rows: repeating a row equals doubling its weight.

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

    beta: Annotated[float, Float(0), VARIES_IN_STACK] = 1.0
    prior: Annotated[str, OneOf(*PRIORS)] = "normal"
    n_draws: Annotated[int, Int(1)] = 1
    observation_noise: Annotated[str | float, OneOf("scalar", "column"), Float(0, closed_low=False), FIXED] = "scalar"

    def recipe(self, problem: Problem) -> Recipe:
        """Return module, phase, optimizer and inference."""
        phase = self._phase(problem)
        return Recipe(
            self._module(problem),
            (phase,),
            phase,
            {phase.name: {"lr": self.learning_rate, "weight_decay": self.weight_decay}},
            PosteriorInference(PRIORS[self.prior]),
        )

    def _module(self, problem: Problem) -> Autoencoder:
        # A full batch shares its draws, so that repeating a row equals doubling its weight.
        n_draws = SHARED_DRAWS if problem.full_batch and self.n_draws == 1 else self.n_draws
        code = partial(GaussianCode, n_draws=n_draws, shared=problem.full_batch)
        noise = self.observation_noise
        if isinstance(noise, str):
            return problem.autoencoder(code, partial(Gaussian, per_column=noise == "column"))
        return problem.autoencoder(code, partial(Gaussian, sigma=noise, per_column=False, fixed=True))

    def _phase(self, problem: Problem) -> Phase:
        prior = PRIORS[self.prior]
        if self.n_draws == 1:
            terms: dict[str, Term] = {"reconstruction": reconstruction, "kl": partial(divergence, prior=prior)}
            return problem.autoencoder_phase(terms, {"kl": self.beta})
        if self.beta != 1:
            raise ValueError(
                f"the importance-weighted bound (n_draws > 1) has no beta, got n_draws={self.n_draws!r} and "
                f"beta={self.beta!r}. Set one of them to 1"
            )
        return problem.autoencoder_phase({"bound": partial(importance_weighted_bound, prior=prior)})
