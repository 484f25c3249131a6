"""Every family in every variant; the properties of the tests run over this list."""

from functools import partial

import pytest

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from tests.own_family import WassersteinAutoencoder

FAMILIES = [RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder]
families = pytest.mark.parametrize("family", FAMILIES)


def largest(module, batch, trace):
    """A penalty of a user's own: the largest code dimension, (n,)."""
    return trace["code"].abs().amax(-1)


VARIANTS = {
    "regularized": partial(RegularizedAutoencoder),
    "regularized, l2": partial(RegularizedAutoencoder, penalty="l2", alpha=0.1),
    "regularized, kl": partial(RegularizedAutoencoder, penalty="kl", alpha=0.1),
    "regularized, contractive": partial(RegularizedAutoencoder, penalty="contractive", alpha=0.1),
    "regularized, contractive with dropout": partial(RegularizedAutoencoder, penalty="contractive", dropout=0.2),
    "regularized, no penalty": partial(RegularizedAutoencoder, penalty=None),
    "regularized, own penalty": partial(RegularizedAutoencoder, penalty=largest, alpha=0.1),
    "regularized, masked": partial(RegularizedAutoencoder, corruption_level=0.3),
    "regularized, masked as other rows": partial(
        RegularizedAutoencoder, corruption_level=0.3, corruption="gaps", unseen_fraction=0.1, n_members=2
    ),
    "regularized, noisy": partial(RegularizedAutoencoder, corruption_level=0.3, corruption="gaussian"),
    "regularized, dropout": partial(RegularizedAutoencoder, dropout=0.3),
    "regularized, bins": partial(RegularizedAutoencoder, n_bins=5),
    "regularized, bernoulli": partial(RegularizedAutoencoder, likelihood="bernoulli"),
    "regularized, learned scales": partial(RegularizedAutoencoder, likelihood="learned_gaussian"),
    "variational": partial(VariationalAutoencoder),
    "variational, beta": partial(VariationalAutoencoder, beta=0.5),
    "variational, laplace": partial(VariationalAutoencoder, prior="laplace"),
    "variational, importance-weighted": partial(VariationalAutoencoder, n_draws=5),
    "variational, importance-weighted laplace": partial(VariationalAutoencoder, n_draws=3, prior="laplace"),
    "variational, noise by column": partial(VariationalAutoencoder, observation_noise="column"),
    "variational, fixed noise": partial(VariationalAutoencoder, observation_noise=0.5),
    "variational, dropout": partial(VariationalAutoencoder, dropout=0.3),
    "variational, bernoulli": partial(VariationalAutoencoder, likelihood="bernoulli"),
    "variational, three members": partial(VariationalAutoencoder, n_members=3),
    "adversarial": partial(AdversarialAutoencoder),
    "adversarial, minimax": partial(AdversarialAutoencoder, generator_loss="minimax"),
    "adversarial, latent": partial(AdversarialAutoencoder, discriminator="latent"),
    "adversarial, both": partial(AdversarialAutoencoder, discriminator="both"),
    "adversarial, no gradient penalty": partial(AdversarialAutoencoder, gradient_penalty=0.0),
    "adversarial, learned scales": partial(AdversarialAutoencoder, likelihood="learned_gaussian"),
    "adversarial, bernoulli": partial(AdversarialAutoencoder, likelihood="bernoulli"),
    "wasserstein, from outside the package": partial(WassersteinAutoencoder),
}

# One or two of each family, the most intricate ones: for what is crossed with other cases.
INTRICATE = [
    "regularized, contractive with dropout",
    "regularized, learned scales",
    "variational",
    "variational, importance-weighted laplace",
    "variational, three members",
    "adversarial, both",
    "wasserstein, from outside the package",
]

# All that a fit is made of, at least once: each family, likelihood and prior, penalties of the package and of a user,
# dropout, corruption, bins, members, noise by column. The others differ from one of these in a number or a loss alone.
COVERING = [
    *INTRICATE,
    "regularized",
    "regularized, own penalty",
    "regularized, masked as other rows",
    "regularized, bins",
    "regularized, bernoulli",
    "variational, noise by column",
    "adversarial, minimax",
]


def covering(chosen=COVERING):
    """Return all variants as parameters of a test, with those that are not chosen among the slow ones.

    For what depends on a part of a variant only, or is tested at length elsewhere. What depends on a loss (gradients,
    the recorded step, a stack) runs over VARIANTS.
    """
    return [pytest.param(name, marks=[] if name in chosen else pytest.mark.slow) for name in VARIANTS]


SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "activation": "tanh", "max_iter": 4, "random_state": 0}


def tiny(family=RegularizedAutoencoder, **settings):
    """Return an estimator that is fitted in milliseconds."""
    return family(**{"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0} | settings)
