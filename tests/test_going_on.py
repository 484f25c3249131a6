"""A fit that goes on: which parameters may change before it, what it draws, and what it counts."""

import pickle
import re
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from skorch.callbacks import Callback

from sklearn_ae import AdversarialAutoencoder, AutoencoderImputer, RegularizedAutoencoder
from sklearn_ae.estimators.parameters import FIXED, marked
from sklearn_ae.tables.constraints import Inequality
from tests.families import FAMILIES, INTRICATE, SMALL, VARIANTS, families

RNG = np.random.default_rng(0)
N = 30
X = RNG.poisson(2, size=(N, 3)).astype(float)
Y = np.arange(N) % 3


class Recorder(Callback):
    """Counts epochs."""

    n_epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


def small(family, **settings):
    return family(**SMALL | {"max_iter": 3, "warm_start": True} | settings)


def copy_of(estimator):
    return pickle.loads(pickle.dumps(estimator))


def left(estimator):
    """What a fit leaves, as a value that compares exactly."""
    return [tensor.numpy().tobytes() for tensor in estimator.module_.state_dict().values()]


# Another value of every parameter.
CHANGES = {
    "n_components": 3,
    "hidden_layer_sizes": (5,),
    "n_members": 2,
    "n_bins": 3,
    "linear_path": True,
    "activation": "relu",
    "dropout": 0.5,
    "categorical_features": [0],
    "min_frequency": 7,
    "max_categories": 2,
    "handle_unknown": "error",
    "likelihood": "poisson",
    "column_weight": [1, 2, 3],
    "constraints": [Inequality(0, 1)],
    "scale": "quantile",
    "task": "regression",
    "target_weight": 30.0,
    "unlabeled": 1,
    "class_weight": "balanced",
    "batch_size": 5,
    "learning_rate": 0.5,
    "learning_rate_schedule": "constant",
    "weight_decay": 0.5,
    "max_iter": 5,
    "tol": 100.0,
    "early_stopping": True,
    "validation_fraction": 0.5,
    "n_iter_no_change": 1,
    "warm_start": False,
    "device": "nowhere",
    "precision": "float32",
    "callbacks": None,
    "verbose": 1,
    "random_state": 9,
    "penalty": None,
    "alpha": 7.0,
    "corruption_level": 0.7,
    "corruption": "gaussian",
    "unseen_fraction": 0.5,
    "beta": 0.3,
    "observation_noise": "column",
    "prior": "laplace",
    "n_draws": 3,
    "discriminator": "latent",
    "adversarial_weight": 3.0,
    "generator_loss": "minimax",
    "discriminator_learning_rate": 0.5,
    "gradient_penalty": 0.0,
}
# What has to be set as well for a parameter to mean something.
WITH = {
    "tol": {"early_stopping": True, "n_iter_no_change": 1, "task": None, "linear_path": False},
    "n_iter_no_change": {"early_stopping": True, "tol": 100.0},
    "validation_fraction": {"early_stopping": True},
    "corruption": {"corruption_level": 0.5, "corruption": "mask"},
    "random_state": {"batch_size": 8},
}
TOLD = {"callbacks", "verbose", "handle_unknown"}  # what has another effect than on weights and epochs: tested below
OF_SEVERAL_EPOCHS = {
    *("learning_rate_schedule", "max_iter", "early_stopping", "validation_fraction", "n_iter_no_change", "tol"),
    "warm_start",
}
PARAMETERS = [
    (family, name, method)
    for family in FAMILIES
    for name in family().get_params()
    for method in ("fit", "partial_fit")
    if name not in TOLD and not (method == "partial_fit" and name in OF_SEVERAL_EPOCHS)
]


@lru_cache
def twice_fitted(family, method, settings):
    """A fit, and what comes out where one goes on from it with no change."""
    first = small(family, **dict(settings)).fit(X, Y)
    return first, getattr(copy_of(first), method)(X, Y)


def refusal(call, *args):
    """What a call says when it refuses, or None."""
    try:
        call(*args)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(("family", "name", "method"), PARAMETERS)
def test_a_parameter_that_changes_before_a_fit_goes_on_takes_effect_or_is_named(family, name, method):
    settings = {key: value for key, value in WITH.get(name, {}).items() if key in family().get_params()}
    first, same = twice_fitted(family, method, tuple(settings.items()))
    changed = copy_of(first).set_params(**{name: CHANGES[name]})
    message = refusal(getattr(changed, method), X, Y)
    if message is None:
        assert (left(changed), changed.n_iter_) != (left(same), same.n_iter_)
    else:
        assert f"{name}={CHANGES[name]!r}" in message
        assert len(message) < 300
        assert left(changed) == left(first)


@families
def test_callbacks_and_printed_lines_may_be_asked_for_later(family, capsys):
    estimator, recorder = small(family).fit(X), Recorder()
    estimator.set_params(callbacks=[recorder], verbose=2).fit(X)
    assert recorder.n_epochs == 3
    assert "train_loss" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:no category of column")
@families
def test_what_happens_to_unknown_categories_may_change(family):
    table = pd.DataFrame({"kind": ["a", "b"] * 15, "size": X[:, 0]})
    estimator = small(family, min_frequency=1).fit(table)
    estimator.fit(table.assign(kind="new"))
    with pytest.raises(ValueError, match="new"):
        estimator.set_params(handle_unknown="error").fit(table.assign(kind="new"))
    with pytest.raises(ValueError, match="new"):
        estimator.fit(table).transform(table.assign(kind="new"))


@families
def test_what_is_kept_is_named_with_both_values(family):
    estimator = small(family, likelihood={0: "poisson"}).fit(X)
    changes = {"likelihood": {0: "gaussian"}, "min_frequency": 0.1, "learning_rate": 0.5}
    message = "must keep likelihood={0: 'poisson'}, min_frequency=2, got likelihood={0: 'gaussian'}, min_frequency=0.1"
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=re.escape(message)):
            getattr(copy_of(estimator).set_params(**changes), method)(X)


@families
def test_a_value_that_means_the_same_is_no_change(family):
    given = {"hidden_layer_sizes": (8,), "unlabeled": float("nan"), "likelihood": {0: "poisson", 1: "gaussian"}}
    equal = {"hidden_layer_sizes": [np.int64(8)], "unlabeled": np.nan, "likelihood": {1: "gaussian", 0: "poisson"}}
    y = np.where(Y == 0, np.nan, Y)
    first = small(family, categorical_features=[2], **given).fit(X, y)
    expected = left(copy_of(first).fit(X, y))
    changed = copy_of(first).set_params(categorical_features=np.array([2]), n_components=np.int64(2), **equal)
    assert left(changed.fit(X, y)) == expected


def test_a_family_from_outside_names_what_changed_its_module():
    class Wider(RegularizedAutoencoder):
        def recipe(self, problem):
            recipe = super().recipe(problem)
            if self.alpha > 1:
                recipe.module.register_buffer("more", recipe.module.flagged.clone())
            return recipe

    estimator = small(Wider).fit(X)
    with pytest.raises(ValueError, match=r"must keep alpha=0.001, got alpha=2.0\."):
        estimator.set_params(alpha=2.0).fit(X)


# Seeds


@pytest.mark.parametrize("name", INTRICATE)
@pytest.mark.parametrize("settings", [{}, {"batch_size": 8}, {"early_stopping": True}], ids=str)
def test_a_seed_and_a_generator_of_that_seed_give_equal_fits(name, settings):
    seed, generator = (VARIANTS[name](**SMALL | settings | {"random_state": s}) for s in (3, np.random.RandomState(3)))
    for estimator in (seed, generator):
        estimator.set_params(warm_start=True)
    for _ in range(2):  # the second one goes on
        assert left(seed.fit(X, Y)) == left(generator.fit(X, Y))
    assert left(seed.partial_fit(X, Y)) == left(generator.partial_fit(X, Y))
    assert np.array_equal(seed.sample(3, random_state=0), generator.sample(3, random_state=0))


@families
def test_a_seed_begins_anew_with_every_new_fit_and_a_generator_does_not(family):
    seed = small(family, warm_start=False)
    assert left(seed.fit(X)) == left(seed.fit(X))
    generator = np.random.RandomState(0)
    other = small(family, warm_start=False, random_state=generator)
    assert left(other.fit(X)) != left(other.fit(X))
    assert left(other) != left(seed)
    both = np.random.RandomState(0)
    assert [left(small(family, random_state=both).fit(X)) for _ in range(2)][1] == left(other)


@families
def test_fits_that_go_on_repeat_themselves_but_not_their_numbers(family):
    def curves():
        estimator = small(family, batch_size=8)
        return [left(estimator.partial_fit(X)) for _ in range(3)], estimator

    (first, estimator), (again, _) = curves(), curves()
    assert first == again
    begun = copy_of(estimator)
    assert left(begun.partial_fit(X)) == left(estimator.partial_fit(X))
    assert left(copy_of(estimator).set_params(random_state=5).fit(X)) != left(copy_of(estimator).fit(X))
    with pytest.raises(ValueError, match="Input X contains infinity"):
        estimator.partial_fit(np.where(X > 0, np.inf, X))
    assert left(estimator.partial_fit(X)) == left(begun.partial_fit(X))


def test_the_imputer_takes_a_seed_as_a_generator_of_that_seed():
    gaps = np.where(X == 0, np.nan, X)
    estimator = RegularizedAutoencoder(**SMALL | {"random_state": None})
    seed, generator = (AutoencoderImputer(estimator, random_state=s) for s in (3, np.random.RandomState(3)))
    assert np.array_equal(seed.fit_transform(gaps), generator.fit_transform(gaps))


# Counts


@families
def test_epochs_are_those_of_the_last_call_and_curves_those_of_all(family):
    estimator = small(family, max_iter=10).fit(X)
    assert estimator.n_iter_ == 10
    estimator.set_params(max_iter=20).fit(X)
    assert estimator.n_iter_ == 20
    assert len(estimator.loss_curve_) == len(estimator.history_) == 30
    estimator.partial_fit(X)
    assert estimator.n_iter_ == 1
    assert len(estimator.loss_curve_) == len(estimator.history_) == 31
    estimator.set_params(warm_start=False).fit(X)
    assert estimator.n_iter_ == len(estimator.history_) == 20


def test_every_parameter_is_changed_in_these_tests():
    assert set(CHANGES) >= set().union(*(family().get_params() for family in FAMILIES))
    assert marked(AdversarialAutoencoder, FIXED) - marked(RegularizedAutoencoder, FIXED) == {"discriminator"}
    assert all(marked(family, FIXED) <= set(family().get_params()) for family in FAMILIES)
