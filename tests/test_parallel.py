"""The joblib backend: scikit-learn's searches and ensembles, whose fits are trained as one."""

import _thread
import threading
import time
import warnings
from collections import Counter

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.parallel.conductor import Conductor
from sklearn_ae.training import stack
from tests.families import FAMILIES, families

X, Y = load_iris(return_X_y=True)
SHORT = {"n_components": 2, "hidden_layer_sizes": (8,), "batch_size": 32, "max_iter": 6, "random_state": 0}


def together(n_jobs=20):
    return joblib.parallel_config(backend="sklearn_ae", n_jobs=n_jobs)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("sklearn_ae")] == []


@pytest.fixture
def counts(monkeypatch):
    """How many fits were stacked, and how many were trained alone."""
    conductors = []

    class Counted(Conductor):
        def __init__(self, *settings):
            super().__init__(*settings)
            conductors.append(self)

    monkeypatch.setattr("sklearn_ae.parallel.stacking.Conductor", Counted)
    return lambda: sum((conductor.progress.counts for conductor in conductors), start=Counter())


def pipeline(family, **settings):
    return make_pipeline(StandardScaler(), family(**SHORT, task=None, **settings), LogisticRegression())


@families
def test_a_search_finds_what_it_finds_one_after_another(family, counts):
    name = family.__name__.lower()
    grid = {f"{name}__learning_rate": [1e-3, 1e-2], f"{name}__n_components": [1, 2]}
    expected = GridSearchCV(pipeline(family), grid, cv=3).fit(X, Y)
    with together():
        search = GridSearchCV(pipeline(family), grid, cv=3).fit(X, Y)
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(search.cv_results_[key], expected.cv_results_[key], atol=2e-3)
    assert search.best_params_ == expected.best_params_
    assert counts() == {"together": 12}
    assert np.array_equal(search.predict(X), expected.predict(X))


@families
def test_estimators_are_searched_without_a_pipeline_and_without_y(family):
    grid = {"learning_rate": [1e-3, 3e-3, 1e-2]}
    expected = GridSearchCV(family(**SHORT), grid, cv=3).fit(X)
    with together():
        search = GridSearchCV(family(**SHORT), grid, cv=3).fit(X)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-3
    )


def test_families_may_be_mixed_in_one_grid(counts):
    steps = make_pipeline(RegularizedAutoencoder(), LogisticRegression())
    grid = {"regularizedautoencoder": [family(**SHORT, task=None) for family in FAMILIES]}
    with together():
        search = GridSearchCV(steps, grid, cv=3, refit=False).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert counts() == {"together": 9}


USES = {
    "randomized search": lambda e: (
        RandomizedSearchCV(e, {"learning_rate": [1e-3, 1e-2]}, n_iter=2, cv=3, random_state=0).fit(X, Y).predict(X)
    ),
    "halving search": lambda e: (
        HalvingGridSearchCV(e, {"learning_rate": [1e-3, 1e-2]}, cv=3, random_state=0).fit(X, Y).predict(X)
    ),
    "cross_val_score": lambda e: cross_val_score(e, X, Y, cv=4),
    "cross_validate": lambda e: cross_validate(e, X, Y, cv=3, return_train_score=True)["train_score"],
    "learning_curve": lambda e: learning_curve(e, X, Y, cv=3, train_sizes=[0.5, 1.0], shuffle=True, random_state=0)[2],
    "stacking": lambda e: (
        StackingClassifier([("a", e), ("b", clone(e).set_params(learning_rate=1e-2))]).fit(X, Y).predict(X)
    ),
    "bagging": lambda e: BaggingClassifier(e, 4, random_state=0).fit(X, Y).predict(X),
    "one-vs-rest": lambda e: OneVsRestClassifier(e).fit(X, Y).predict(X),
    "column transformer": lambda e: make_column_transformer(
        (clone(e).set_params(task=None), [0, 1]), (clone(e).set_params(task=None), [2, 3])
    ).fit_transform(X, Y),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_the_tools_of_scikit_learn_give_the_same(use):
    estimator = RegularizedAutoencoder(**SHORT)
    expected = use(estimator)
    with together():
        found = use(estimator)
    np.testing.assert_allclose(np.asarray(found == expected).mean() if found.dtype.kind in "iu" else 1, 1, atol=0.02)
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-2)


class Failing(TransformerMixin, BaseEstimator):
    """Fails on request."""

    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, X, y=None):
        if self.fails:
            raise OSError("no space left")
        return self

    def transform(self, X):
        return X


def test_a_candidate_that_raises_fails_alone():
    steps = make_pipeline(Failing(), RegularizedAutoencoder(**SHORT), LogisticRegression())
    with together(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(steps, {"failing__fails": [False, True]}, cv=3, refit=False).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    assert search.cv_results_["mean_test_score"][0] > 0.5


def test_a_candidate_that_diverges_fails_alone():
    grid = {"learning_rate": [1e-3, 1e200]}
    with together(), warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        search = GridSearchCV(RegularizedAutoencoder(**SHORT), grid, cv=3, refit=False).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    assert search.cv_results_["mean_test_score"][0] > 0.3


def test_the_error_of_a_fit_is_its_own():
    grid = {"learning_rate": [1e-3, 1e200]}
    with together(), pytest.raises(ValueError, match="the loss must stay finite"):
        GridSearchCV(RegularizedAutoencoder(**SHORT), grid, cv=3, error_score="raise").fit(X, Y)


def test_an_error_ends_a_search_that_wants_it():
    steps = make_pipeline(Failing(), RegularizedAutoencoder(**SHORT), LogisticRegression())
    with together(), pytest.raises(OSError, match="no space left"):
        GridSearchCV(steps, {"failing__fails": [False, True]}, cv=3, error_score="raise").fit(X, Y)


def test_an_interrupt_ends_everything_at_once(monkeypatch, sigint):
    epoch = stack.Stack.epoch

    def interrupted(self):
        if not interrupts:
            interrupts.append(time.perf_counter())
            _thread.interrupt_main()
        return epoch(self)

    interrupts = []
    monkeypatch.setattr(stack.Stack, "epoch", interrupted)
    estimator = RegularizedAutoencoder(**{**SHORT, "max_iter": 10_000})
    with together(), pytest.raises(KeyboardInterrupt):
        cross_val_score(estimator, X, Y, cv=5)
    assert time.perf_counter() - interrupts[0] < 2


def test_calls_within_a_task_run_one_after_another():
    class Searching(RegularizedAutoencoder):
        def fit(self, X, y=None):
            self.scores_ = cross_val_score(RegularizedAutoencoder(**SHORT), X, y, cv=3, n_jobs=3)
            return super().fit(X, y)

    with together():
        scores = cross_val_score(Searching(**SHORT), X, Y, cv=3)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 100])
def test_the_number_of_threads_changes_nothing(n_jobs):
    with together(n_jobs):
        found = cross_val_score(VariationalAutoencoder(**SHORT), X, Y, cv=5)
    np.testing.assert_allclose(found, cross_val_score(VariationalAutoencoder(**SHORT), X, Y, cv=5), atol=0.04)


def test_tasks_without_an_autoencoder_run_as_well():
    with together():
        assert joblib.Parallel()(joblib.delayed(abs)(-i) for i in range(50)) == list(range(50))


def test_no_jobs_are_refused():
    with joblib.parallel_config(backend="sklearn_ae", n_jobs=0), pytest.raises(ValueError, match="n_jobs must not be"):
        cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=3)


@pytest.mark.parametrize("n_jobs", [{}, {"n_jobs": None}, {"n_jobs": -1}, {"n_jobs": -2}], ids=str)
def test_without_a_number_of_jobs_many_fits_wait_for_each_other(n_jobs, counts):
    with joblib.parallel_config(backend="sklearn_ae", **n_jobs):
        cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=10)
    assert counts() == {"together": 10}


def test_one_job_is_no_stack():
    with together(1):
        assert len(cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=3)) == 3


def test_more_fits_than_threads_are_trained_in_turn(counts):
    with together(4):
        cross_val_score(AdversarialAutoencoder(**SHORT), X, Y, cv=10)
    assert counts()["together"] + counts()["alone"] == 10


def test_on_request_a_bar_shows_the_epochs_and_how_fits_were_trained(capsys):
    with together(3):
        cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=7, verbose=1)
    last = capsys.readouterr().err.rpartition("sklearn_ae: ")[2]
    assert last.startswith("100%")
    assert "42/42" in last
    assert "together=6, alone=1" in last


def test_a_bar_ends_where_fits_end_early(capsys):
    stopping = {"early_stopping": True, "n_iter_no_change": 1, "tol": 10.0}
    grid = {"learning_rate": [1e-3, 1e200]}
    with joblib.parallel_config(backend="sklearn_ae", verbose=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        GridSearchCV(RegularizedAutoencoder(**SHORT, **stopping), grid, cv=3, refit=False).fit(X, Y)
    last = capsys.readouterr().err.rpartition("sklearn_ae: ")[2]
    assert last.startswith("100%")
    assert "36/36" in last


def test_without_a_request_nothing_is_shown(capsys):
    with together():
        cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=3)
    assert capsys.readouterr() == ("", "")
