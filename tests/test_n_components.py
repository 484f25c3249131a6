"""The number of components that a fit chooses: by hidden cells, or by a share of variance."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch.callbacks import Callback

from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.model.sizes import candidates, smallest_sufficient
from sklearn_ae.model.variance import n_explaining
from tests.families import VARIANTS, families, tiny


def planted(rank, n=300, d=12, noise=0.4, seed=0):
    """Rows whose columns have ``rank`` factors in common."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, rank)) @ random.normal(size=(rank, d))
    return rows / rows.std(0) + noise * random.normal(size=(n, d))


X = planted(2, n=60, d=6)
Y = np.arange(60) % 3
CHOICES = ["auto", 0.7]
choices = pytest.mark.parametrize("choice", CHOICES)


def state(estimator):
    """The weights of all members, as values that compare exactly."""
    nets = [member.net for member in estimator.model_.members]
    return [tensor.numpy().tobytes() for net in nets for tensor in net.module_.state_dict().values()]


# The choice is all that differs from a fit with the number


@choices
@pytest.mark.parametrize("name", ["regularized", "variational, three members", "adversarial, both"])
def test_a_fit_equals_one_with_the_chosen_number(name, choice):
    chosen = VARIANTS[name](n_components=choice, max_iter=5, hidden_layer_sizes=(8,), random_state=0).fit(X, Y)
    given = clone(chosen).set_params(n_components=chosen.n_components_).fit(X, Y)
    assert state(chosen) == state(given)
    assert chosen.n_components_ == given.n_components_ == chosen.transform(X).shape[1]
    assert np.array_equal(chosen.sample(3, random_state=0), given.sample(3, random_state=0))
    assert len(chosen.latent_summary(X)) == chosen.n_components_


@pytest.mark.parametrize("choice", ["auto", 0.5, 0.999])
def test_a_fit_that_stops_early_by_default_equals_one_with_the_chosen_number(choice):
    for rows in (planted(6, n=220, d=4), planted(1, n=220, d=1)):
        chosen = tiny(n_components=choice).fit(rows)
        given = tiny(n_components=chosen.n_components_).fit(rows)
        assert state(chosen) == state(given)
        assert ("valid_loss" in chosen.history_) == (rows.shape[1] > 1)


@choices
def test_a_generator_is_advanced_as_by_a_fit_with_the_number(choice):
    generators = [np.random.RandomState(0) for _ in range(2)]
    for n_components, generator in zip((choice, 2), generators, strict=True):
        tiny(n_components=n_components, random_state=generator).fit(X)
    assert np.array_equal(*(generator.get_state()[1] for generator in generators))


@choices
def test_the_choice_does_not_depend_on_global_generators_nor_change_them(choice):
    def numbers():
        return np.random.mtrand._rand.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before, sizes = numbers(), {tiny(n_components=choice).fit(X).n_components_ for _ in range(2)}
    assert numbers() == before
    assert len(sizes) == 1


def test_the_target_has_no_influence_on_the_choice():
    sizes = {tiny(n_components="auto", early_stopping=False).fit(X, y).n_components_ for y in (None, Y, Y[::-1] == 0)}
    assert len(sizes) == 1


def test_trials_do_not_call_back_and_print_nothing(capsys):
    class Recorder(Callback):
        n_epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.n_epochs += 1

    recorder = Recorder()
    tiny(n_components="auto", callbacks=[recorder], verbose=2, max_iter=3, early_stopping=False).fit(X)
    assert recorder.n_epochs == 3
    assert len(capsys.readouterr().out.splitlines()) == 5  # a head of two lines and three epochs


# Whatever reads the number


@choices
@families
def test_parameters_stay_and_names_have_the_chosen_number(family, choice):
    estimator = tiny(family, n_components=choice).set_output(transform="pandas")
    codes = estimator.fit_transform(X)
    assert estimator.get_params()["n_components"] == clone(estimator).n_components == choice
    assert list(codes.columns) == list(estimator.get_feature_names_out())
    assert codes.shape[1] == estimator.n_components_
    loaded = pickle.loads(pickle.dumps(estimator))
    assert loaded.n_components_ == estimator.n_components_
    assert loaded.inverse_transform(codes).shape == X.shape


@choices
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_that_goes_on_keeps_the_chosen_number(method, choice):
    estimator = tiny(n_components=choice, warm_start=True)
    first = getattr(estimator, method)(X).n_components_
    others = planted(1, n=60, d=6, noise=0.01)
    assert tiny(n_components=choice).fit(others).n_components_ != first
    assert getattr(estimator, method)(others).n_components_ == first
    with pytest.raises(ValueError, match=re.escape(f"must keep n_components={choice!r}, got n_components=2")):
        estimator.set_params(n_components=2).fit(X)


def test_imputer_and_detector_take_an_autoencoder_that_chooses():
    gaps = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.1, np.nan, X)
    imputer = AutoencoderImputer(tiny(n_components="auto"))
    assert np.isfinite(imputer.fit_transform(gaps)).all()
    assert imputer.estimator_.n_components_ >= 1
    detector = AutoencoderOutlierDetector(tiny(n_components=0.7)).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()


def test_a_search_in_stacks_chooses_as_one_after_another():
    def fitted():
        return GridSearchCV(tiny(), {"n_components": [1, "auto", 0.7]}, cv=2).fit(X)

    alone = fitted()
    with parallel_config(backend="sklearn_ae", n_jobs=6):
        together = fitted()
    np.testing.assert_allclose(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-4)
    assert together.best_estimator_.n_components_ == alone.best_estimator_.n_components_


# By hidden cells


@pytest.mark.parametrize("rank", [2, 4])
@families
def test_as_many_components_are_chosen_as_the_columns_have_in_common(family, rank):
    estimator = tiny(family, n_components="auto", hidden_layer_sizes=(32,), max_iter=1)
    assert estimator.fit(planted(rank)).n_components_ == rank


def test_columns_that_have_nothing_in_common_get_one_component():
    noise = np.random.default_rng(0).normal(size=(300, 12))
    assert tiny(n_components="auto", max_iter=1).fit(noise).n_components_ == 1


def test_a_table_of_any_columns_gets_a_number():
    random, rows = np.random.default_rng(0), planted(2, n=80, d=4)
    frame = pd.DataFrame(rows, columns=list("abcd")).assign(
        kind=np.where(rows[:, 0] > 0, "high", "low"), count=random.poisson(3, 80), yes=rows[:, 1] > 0
    )
    frame.loc[random.integers(80, size=20), ["a", "kind"]] = None
    for choice in CHOICES:
        estimator = tiny(n_components=choice, likelihood={"count": "poisson"}, column_weight={"a": 2.0})
        estimator.fit(frame, sample_weight=random.uniform(0.5, 1.5, 80))
        assert 1 <= estimator.n_components_ < 9


@choices
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 3), (9, 3), (30, 1), (30, 2)])
def test_a_tiny_table_gets_a_number(shape, choice):
    rows = np.random.default_rng(0).normal(size=shape)
    assert 1 <= tiny(n_components=choice).fit(rows).n_components_ <= max(1, shape[1] - 1)
    assert tiny(n_components=choice).fit(np.zeros(shape)).n_components_ == 1


@pytest.mark.parametrize(
    ("n_cells", "n_rows", "sizes"),
    [
        (1, 100, [1]),
        (2, 100, [1]),
        (6, 100, [1, 2, 4, 5]),
        (9, 100, [1, 2, 4, 8]),
        (100, 1000, [1, 2, 4, 8, 16, 32, 64]),
        (100, 40, [1, 2, 4, 8]),
        (100, 4, [1]),
    ],
)
def test_candidates_are_powers_of_two_and_the_largest_number(n_cells, n_rows, sizes):
    assert candidates(n_cells, n_rows) == sizes


@pytest.mark.parametrize(
    ("means", "spread", "weight", "index"),
    [
        ([0.0, 10.0, 19.5, 20.0], 0.0, None, 2),  # within 3 % of the improvement
        ([0.0, 10.0, 18.9, 20.0], 0.0, None, 3),  # outside
        ([0.0, 10.0, 18.9, 20.0], 8.0, None, 2),  # within one standard error of the difference
        ([0.0, -1.0, -2.0, -3.0], 0.0, None, 0),
        ([0.0, 10.0, 18.0, 20.0], 4.0, [1.0, 0.0], 2),  # the row on which both are equal
    ],
)
def test_the_smallest_sufficient_size_is_chosen(means, spread, weight, index):
    scores = np.array(means)[:, np.newaxis] + np.zeros(2)
    scores[2] += np.array([0.5, -0.5]) * spread
    assert smallest_sufficient(scores, None if weight is None else np.array(weight)) == index


# By a share of variance


@pytest.mark.parametrize("share", [0.01, 0.5, 0.8, 0.95, 0.999])
def test_a_share_is_that_of_pca(share):
    rows = planted(3, n=80, d=10) * np.arange(1, 11)
    scaled = StandardScaler().fit_transform(rows)
    for scale, encoded in ((True, scaled), (False, rows), ("common", rows)):
        estimator = tiny(n_components=share, scale=scale, max_iter=1).fit(rows)
        assert estimator.n_components_ == min(PCA(share).fit(encoded).n_components_, 9)


def test_a_share_counts_categories_as_indicators_and_missing_cells_as_means():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(planted(3, n=90, d=6), columns=list("abcdef"))
    frame["kind"] = random.choice(list("xyz"), 90)
    frame.loc[random.integers(90, size=20), "a"] = np.nan
    numbers = make_pipeline(StandardScaler(), SimpleImputer())
    columns = make_column_transformer((numbers, list("abcdef")), (OneHotEncoder(sparse_output=False), ["kind"]))
    encoded = columns.fit_transform(frame)
    for share in (0.3, 0.6, 0.7, 0.8, 0.9):
        estimator = tiny(VariationalAutoencoder, n_components=share, max_iter=1).fit(frame)
        assert estimator.n_components_ == min(PCA(share).fit(encoded).n_components_, 6)


def test_a_share_has_missing_cells_at_the_mean_of_their_column():
    random = np.random.default_rng(0)
    rows = (planted(2, n=80, d=8) > -0.8).astype(float)
    rows[random.uniform(size=rows.shape) < np.linspace(0, 0.7, 8)] = np.nan
    for share in (0.3, 0.5, 0.7, 0.8, 0.9):
        estimator = tiny(n_components=share, likelihood="bernoulli", max_iter=1).fit(rows)
        assert estimator.n_components_ == PCA(share).fit(SimpleImputer().fit_transform(rows)).n_components_


def test_a_row_of_weight_nine_counts_nine_times():
    rows = np.concatenate([planted(1, n=20, d=6), planted(6, n=20, d=6)])
    weight = np.repeat([9, 1], 20)
    for share in (0.5, 0.7, 0.8, 0.9, 0.95):
        weighted = tiny(n_components=share, max_iter=1).fit(rows, sample_weight=weight)
        repeated = tiny(n_components=share, max_iter=1).fit(rows.repeat(weight, axis=0))
        assert weighted.n_components_ == repeated.n_components_


def test_a_table_wider_than_long_has_the_same_components():
    rows = planted(3, n=10, d=25)
    rows -= rows.mean(0)
    ratios = PCA().fit(rows).explained_variance_ratio_.cumsum()
    for number in (1, 3, 6, 9):
        assert n_explaining(rows, np.ones(10), ratios[number - 1] - 1e-6) == number


def test_an_invalid_number_is_refused_with_what_is_valid():
    with pytest.raises(ValueError, match=r"n_components.*int in.*float in the range \(0, 1\) or 'auto'.*Got 1.5"):
        RegularizedAutoencoder(n_components=1.5).fit(X)
