"""Adversarial autoencoders: a discriminator tells what is real, and the autoencoder learns to fool it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sklearn_ae.families.base import BaseAutoencoder, Problem
from sklearn_ae.families.fitted import of_one_fit
from sklearn_ae.families.parameters import Number, OneOf
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.modules.codes import PointCode
from sklearn_ae.modules.mlp import ACTIVATIONS, mlp
from sklearn_ae.objectives import losses
from sklearn_ae.objectives.columns import UnitGaussian
from sklearn_ae.objectives.terms import Batch, reconstruction, weighted_mean
from sklearn_ae.training.phases import Phase

BETAS = (0.5, 0.9)  # of Adam: a short memory, since the other player moves as well

GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": losses.log_fake,
    "non-saturating": lambda logits: -losses.log_real(logits),  # Goodfellow et al. (2014), section 3
}

Weighted = tuple[Tensor, Tensor | None]  # samples, and their weights or None
Samples = Callable[[Autoencoder, Batch, Trace, int], Weighted]


def real_rows(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return the rows, (n, d), missing cells filled with their reconstruction so that a gap gives nothing away."""
    rows = module.columns.embed(batch.x, batch.observed)
    if batch.observed is None:
        return rows, batch.weight
    known = module.columns.per_input(batch.observed) > 0
    return torch.where(known, rows, module(batch.x, batch.observed)), batch.weight


def generated_rows(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return rows decoded from the prior, (n_draws, d), through the link: probabilities, never log-odds."""
    with noise.once_for_the_batch():
        codes = noise.normal((n_draws, module.code.n_components), batch.x)
        return module.columns.link(module.decoder(codes)), None


def prior_codes(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return codes from the prior, (n_draws, k)."""
    return noise.normal((n_draws, module.code.n_components), batch.x), None


def encoded_codes(module: Autoencoder, batch: Batch, trace: Trace, n_draws: int) -> Weighted:
    """Return the codes of the rows, (n, k)."""
    return trace["code"], batch.weight


class Comparison(NamedTuple):
    """What a critic tells apart."""

    critic: str  # name of the submodule
    real: Samples
    fake: Samples


DATA = Comparison("critic", real_rows, generated_rows)
CODES = Comparison("code_critic", prior_codes, encoded_codes)
DISCRIMINATORS = {"data": (DATA,), "latent": (CODES,), "both": (DATA, CODES)}


def _judged(module: Autoencoder, comparison: Comparison, samples: Tensor) -> Tensor:
    """(n, ...) -> (n,): the log-odds of being real."""
    return module.get_submodule(comparison.critic)(samples).squeeze(-1)


def value(module: Autoencoder, batch: Batch, trace: Trace, comparison: Comparison, n_draws: int) -> Tensor:
    """Return ``V = E log D(real) + E log(1 - D(fake))``, () (Goodfellow et al. 2014, eq. 1)."""
    real, real_weight = comparison.real(module, batch, trace, n_draws)
    fake, fake_weight = comparison.fake(module, batch, trace, n_draws)
    return weighted_mean(losses.log_real(_judged(module, comparison, real)), real_weight) + weighted_mean(
        losses.log_fake(_judged(module, comparison, fake)), fake_weight
    )


def fooling(module: Autoencoder, batch: Batch, trace: Trace, comparison: Comparison, n_draws: int, loss: str) -> Tensor:
    """Return the generator's part of V, (), or its non-saturating stand-in."""
    fake, weight = comparison.fake(module, batch, trace, n_draws)
    return weighted_mean(GENERATOR_LOSSES[loss](_judged(module, comparison, fake)), weight)


def gradient_penalty(module: Autoencoder, batch: Batch, trace: Trace, comparison: Comparison, n_draws: int) -> Tensor:
    """Return half the squared slope of the log-odds at real samples, () (Mescheder et al. 2018, eq. 9)."""
    real, weight = comparison.real(module, batch, trace, n_draws)
    slope = torch.func.grad(lambda samples: _judged(module, comparison, samples).sum())(real)
    return weighted_mean(0.5 * slope.square().sum(-1), weight)


@dataclass(kw_only=True, eq=False, repr=False)
class AdversarialAutoencoder(BaseAutoencoder):
    """Autoencoder with a discriminator: generated rows, or codes, have to look real.

    Two players move in turn. The discriminator maximises ``V = E[log D(real)] + E[log(1 - D(fake))]`` [1]_. The
    autoencoder minimises the reconstruction, ``adversarial_weight`` times its own part of V, and ``target_weight``
    times the cost of the target.

    Parameters
    ----------
    discriminator : {"data", "latent", "both"}, default="data"
        What is compared: rows with rows that are decoded from the prior, codes with the prior [2]_, or both.
    adversarial_weight : float, default=1.0
        Weight of the autoencoder's part of V.
    generator_loss : {"non-saturating", "minimax"}, default="non-saturating"
        The autoencoder's part of V: ``E[log(1 - D(fake))]``, or ``-E[log D(fake)]``, which has the same fixed point and
        a gradient that does not vanish while the discriminator wins.
    discriminator_learning_rate : float, default=4e-3
        Learning rate of the discriminator's own Adam.
    gradient_penalty : float, default=0.05
        Weight of half the squared slope of the discriminator at real samples [3]_: it lets the game settle.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    RegularizedAutoencoder : The code is a point, held by a penalty.
    VariationalAutoencoder : The code is a distribution; rows have a likelihood.

    Notes
    -----
    V is the column ``value`` of ``history_`` (``code_value`` for the codes under ``discriminator="both"``). At the
    equilibrium it is ``-log 4``. A value near ``-log 4`` is no proof of it: a discriminator that looks at nothing has
    that value as well. Both optimizers are Adam with ``betas=(0.5, 0.9)``.

    References
    ----------
    .. [1] Goodfellow, I. et al. (2014). Generative adversarial nets. NeurIPS, equation 1.
    .. [2] Makhzani, A. et al. (2016). Adversarial autoencoders. ICLR workshop.
    .. [3] Mescheder, L., Geiger, A. & Nowozin, S. (2018). Which training methods for GANs do actually converge? ICML,
       equation 9.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ae import AdversarialAutoencoder
    >>> X, y = load_wine(return_X_y=True)
    >>> autoencoder = AdversarialAutoencoder(n_components=2, max_iter=20, random_state=0).fit(X)
    >>> autoencoder.discriminate(X).shape
    (178,)
    >>> list(autoencoder.history_.columns)
    ['reconstruction', 'fooling', 'value', 'gradient_penalty', 'train_loss', 'seconds']
    """

    activation: Annotated[str, OneOf(*ACTIVATIONS)] = "relu"
    learning_rate: Annotated[float, Number(0, closed_low=False)] = 2e-3
    discriminator: Annotated[str, OneOf(*DISCRIMINATORS)] = "data"
    adversarial_weight: Annotated[float, Number(0)] = 1.0
    generator_loss: Annotated[str, OneOf(*GENERATOR_LOSSES)] = "non-saturating"
    discriminator_learning_rate: Annotated[float, Number(0, closed_low=False)] = 4e-3
    gradient_penalty: Annotated[float, Number(0)] = 0.05

    differs_in_a_stack = BaseAutoencoder.differs_in_a_stack | {
        "adversarial_weight",
        "gradient_penalty",
        "discriminator_learning_rate",
    }
    kept_when_going_on = BaseAutoencoder.kept_when_going_on | {"discriminator"}

    def _module(self, problem: Problem) -> Autoencoder:
        module = self._autoencoder(problem, PointCode, UnitGaussian)
        widths = {DATA: module.columns.n_inputs, CODES: self.n_components}
        for comparison in DISCRIMINATORS[self.discriminator]:
            sizes = [widths[comparison], *self.hidden_layer_sizes, 1]
            module.add_module(comparison.critic, mlp(sizes, self.activation))
        return module

    def _phases(self, problem: Problem) -> tuple[Phase, ...]:
        # As many draws from the prior as a batch has rows when there are enough of them: the number does not depend
        # on the rows there are, so that a row twice is a row of weight two.
        comparisons = DISCRIMINATORS[self.discriminator]
        fooled, judged, weights = {}, {}, {}
        for comparison in comparisons:
            prefix = "" if comparison is comparisons[0] else "code_"
            options: dict[str, Any] = {"comparison": comparison, "n_draws": problem.batch_size}
            fooled[f"{prefix}fooling"] = partial(fooling, **options, loss=self.generator_loss)
            judged[f"{prefix}value"] = partial(value, **options)
            weights[f"{prefix}value"] = -1.0
            if self.gradient_penalty:
                judged[f"{prefix}gradient_penalty"] = partial(gradient_penalty, **options)
                weights[f"{prefix}gradient_penalty"] = self.gradient_penalty
        return (
            self._autoencoder_phase(
                problem, {"reconstruction": reconstruction, **fooled}, dict.fromkeys(fooled, self.adversarial_weight)
            ),
            Phase("discriminator", tuple(comparison.critic for comparison in comparisons), judged, weights),
        )

    def _watched(self, problem: Problem) -> Phase:
        return self._autoencoder_phase(problem, {"reconstruction": reconstruction}, {})

    def _optimizers(self, problem: Problem) -> dict[str, dict[str, Any]]:
        shared = {"betas": BETAS, "weight_decay": self.weight_decay}
        return {
            "autoencoder": {"lr": self.learning_rate, **shared},
            "discriminator": {"lr": self.discriminator_learning_rate, **shared},
        }

    def _sample_codes(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        return torch.from_numpy(random.normal(size=(n_samples, self.n_components)))

    @of_one_fit
    def discriminate(self, X: ArrayLike) -> NDArray:
        """Return how probable the discriminator finds it that rows are real.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            ``D(x)``; with ``discriminator="latent"`` the probability that the code of the row comes from the prior.
        """
        return self._apply(partial(_probability_real, comparison=DISCRIMINATORS[self.discriminator][0]), X)


def _probability_real(module: Autoencoder, batch: Batch, comparison: Comparison) -> Tensor:
    if comparison is DATA:
        samples, _ = real_rows(module, batch, Trace(module, batch.x, batch.observed), len(batch.x))
    else:
        samples = module.encode(batch.x, batch.observed)
    return _judged(module, comparison, samples).sigmoid()
