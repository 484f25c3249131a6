"""Adversarial autoencoders: a discriminator compares generated rows or codes with real ones."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from numpy.typing import NDArray

from sklearn_ae.estimators.base import BaseAutoencoder, TableLike, of_one_fit
from sklearn_ae.estimators.parameters import FIXED, VARIES_IN_STACK, Float, OneOf
from sklearn_ae.model.inference import PluginInference
from sklearn_ae.model.recipe import Phase, Problem, Recipe
from sklearn_ae.modules.mlp import ACTIVATIONS, mlp
from sklearn_ae.objectives import adversarial as game
from sklearn_ae.objectives.terms import Term, reconstruction

BETAS = (0.5, 0.9)  # of Adam: a short memory, since the other player moves as well


@dataclass(kw_only=True, eq=False, repr=False)
class AdversarialAutoencoder(BaseAutoencoder):
    """Autoencoder with a discriminator that compares generated rows or codes with real ones.

    Two players take turns. The discriminator maximises ``V = E[log D(real)] + E[log(1 - D(fake))]`` [1]_. The
    autoencoder minimises the reconstruction, ``adversarial_weight`` times its own part of V, and ``target_weight``
    times the loss of the target.

    Parameters
    ----------
    discriminator : {"data", "latent", "both"}, default="data"
        What the discriminator compares: rows with rows decoded from the prior, codes with the prior [2]_, or both.
    adversarial_weight : float, default=1.0
        Weight of the autoencoder's part of V.
    generator_loss : {"non-saturating", "minimax"}, default="non-saturating"
        The autoencoder's part of V: ``E[log(1 - D(fake))]`` (``"minimax"``), or ``-E[log D(fake)]``, which has the same
        fixed point, and gradients that do not vanish while the discriminator wins.
    discriminator_learning_rate : float, default=4e-3
        Learning rate of the discriminator's Adam.
    gradient_penalty : float, default=0.05
        Weight of half the squared gradient of the discriminator at real samples [3]_, which stabilises the game.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    RegularizedAutoencoder : Codes are points with a penalty.
    VariationalAutoencoder : Codes are distributions, and rows have a likelihood.

    Notes
    -----
    V is the column ``value`` of ``history_`` (``code_value`` for the codes under ``discriminator="both"``). At the
    equilibrium it is ``-log 4``. A value near ``-log 4`` does not prove an equilibrium: a constant discriminator has
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

    activation: Annotated[str, OneOf(*ACTIVATIONS), FIXED] = "relu"
    learning_rate: Annotated[float, Float(0, closed_low=False), VARIES_IN_STACK] = 2e-3
    discriminator: Annotated[str, OneOf(*game.DISCRIMINATORS), FIXED] = "data"
    adversarial_weight: Annotated[float, Float(0), VARIES_IN_STACK] = 1.0
    generator_loss: Annotated[str, OneOf(*game.GENERATOR_LOSSES)] = "non-saturating"
    discriminator_learning_rate: Annotated[float, Float(0, closed_low=False), VARIES_IN_STACK] = 4e-3
    gradient_penalty: Annotated[float, Float(0), VARIES_IN_STACK] = 0.05

    def recipe(self, problem: Problem) -> Recipe:
        """Return module, phases, optimizers and inference."""
        module = problem.point_autoencoder()
        widths = {game.DATA: module.likelihood.n_inputs, game.CODES: problem.n_components}
        for comparison in game.DISCRIMINATORS[self.discriminator]:
            sizes = [widths[comparison], *self.hidden_layer_sizes, 1]
            module.add_module(comparison.critic, mlp(sizes, self.activation))
        rates = {"autoencoder": self.learning_rate, "discriminator": self.discriminator_learning_rate}
        return Recipe(
            module,
            (self._autoencoder_phase(problem), self._discriminator_phase(problem)),
            problem.autoencoder_phase({"reconstruction": reconstruction}),
            {name: {"lr": rate, "betas": BETAS, "weight_decay": self.weight_decay} for name, rate in rates.items()},
            PluginInference(problem.layout.n_scaled),
        )

    def _autoencoder_phase(self, problem: Problem) -> Phase:
        fooling: dict[str, Term] = {
            f"{prefix}fooling": partial(game.fooling, **options, loss=self.generator_loss)
            for prefix, options in self._comparisons(problem).items()
        }
        terms = {"reconstruction": reconstruction, **fooling}
        return problem.autoencoder_phase(terms, dict.fromkeys(fooling, self.adversarial_weight))

    def _discriminator_phase(self, problem: Problem) -> Phase:
        terms: dict[str, Term] = {}
        weights: dict[str, float] = {}
        for prefix, options in self._comparisons(problem).items():
            terms[f"{prefix}value"] = partial(game.value, **options)
            weights[f"{prefix}value"] = -1.0
            if self.gradient_penalty:
                terms[f"{prefix}gradient_penalty"] = partial(game.gradient_penalty, **options)
                weights[f"{prefix}gradient_penalty"] = self.gradient_penalty
        critics = tuple(comparison.critic for comparison in game.DISCRIMINATORS[self.discriminator])
        return Phase("discriminator", critics, terms, weights)

    def _comparisons(self, problem: Problem) -> dict[str, dict[str, Any]]:
        """Return the arguments of the terms of each comparison, by the prefix of their names."""
        # The number of draws from the prior does not depend on the number of rows, so that repeating a row equals
        # doubling its weight.
        first, *others = game.DISCRIMINATORS[self.discriminator]
        prefixes = {"": first, **dict.fromkeys(["code_"] if others else [], game.CODES)}
        return {p: {"comparison": comparison, "n_draws": problem.batch_size} for p, comparison in prefixes.items()}

    @of_one_fit
    def discriminate(self, X: TableLike) -> NDArray:
        """Return the probability that rows are real, according to the discriminator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            ``D(x)``; with ``discriminator="latent"`` the probability that the code of the row comes from the prior.
        """
        comparison, *_ = game.DISCRIMINATORS[self.discriminator]
        return self.model_.averaged(partial(game.probability_real, comparison=comparison), self._table(X))
