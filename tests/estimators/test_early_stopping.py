"""Early stopping by default: by the target, where there are enough labelled rows for a split."""

import numpy as np
import pytest

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.estimators.planning import MIN_ROWS
from tests.families import families, tiny

RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=(N, 5))
CLASSES = RNG.integers(0, 2, N)  # noise: the loss on other rows soon increases
VALUES = RNG.normal(size=N)
LONG = {"max_iter": 60, "tol": 0.0, "learning_rate": 0.03, "hidden_layer_sizes": (32,)}


def has_validation(estimator):
    return "valid_loss" in estimator.history_


@families
@pytest.mark.parametrize(
    ("task", "y"), [("classification", CLASSES), ("regression", VALUES)], ids=["classes", "values"]
)
def test_a_fit_with_enough_labels_stops_at_the_best_epoch_of_the_target(family, task, y):
    estimator = tiny(family, task=task, **LONG).fit(X, y)
    loss = estimator.history_["valid_target"].to_numpy()
    assert len(loss) < 60
    assert len(loss) - 1 - loss.argmin() == estimator.n_iter_no_change
    again = tiny(family, task=task, early_stopping=True, **LONG).fit(X, y)
    assert np.array_equal(again.transform(X), estimator.transform(X))
    last = tiny(family, task=task, early_stopping=True, **LONG | {"n_iter_no_change": 1000}).fit(X, y)
    best = int(last.history_["valid_target"].to_numpy().argmin())
    assert best == loss.argmin()
    assert np.allclose(last.transform(X), estimator.transform(X))  # both restored the best epoch


@families
@pytest.mark.parametrize(("n", "stops"), [(MIN_ROWS - 1, False), (MIN_ROWS, True)])
def test_all_rows_count_in_a_fit_without_y(family, n, stops):
    for estimator in (tiny(family).fit(X[:n]), tiny(family, task=None).fit(X[:n], CLASSES[:n])):
        assert has_validation(estimator) is stops
        assert stops or estimator.n_iter_ == estimator.max_iter


@pytest.mark.parametrize(("n", "stops"), [(MIN_ROWS - 1, False), (MIN_ROWS, True)])
def test_labelled_rows_decide(n, stops):
    assert has_validation(tiny().fit(X[:n], CLASSES[:n])) is stops
    y = np.where(np.arange(N) < n, CLASSES, -1)
    assert has_validation(tiny(unlabeled=-1).fit(X, y)) is stops


def test_a_partial_fit_and_a_fit_without_early_stopping_train_on_all_rows():
    assert not has_validation(tiny().partial_fit(X, CLASSES, classes=[0, 1]))
    assert not has_validation(tiny(early_stopping=False).fit(X, CLASSES))


def test_validation_rows_without_labels_are_monitored_by_the_loss_of_the_model():
    estimator = tiny(**LONG | {"early_stopping": True}).fit(X, CLASSES, X_val=X[:50] + 3.0)
    history = estimator.history_
    assert (history["valid_target"] == 0).all()
    assert len(history) - 1 - history["valid_loss"].to_numpy().argmin() in (0, estimator.n_iter_no_change)


def test_a_continued_fit_stops_early_as_well():
    estimator = tiny(warm_start=True, **LONG).fit(X, CLASSES)
    before = len(estimator.history_)
    estimator.fit(X, CLASSES)
    assert before < len(estimator.history_) < before + 60


@pytest.mark.parametrize("corruption", ["mask", "gaussian"])
def test_validation_rows_are_corrupted_in_a_fit_without_y_only(corruption):
    settings = {"max_iter": 1, "learning_rate": 1e-14, "early_stopping": True, "corruption": corruption}
    fits = [tiny(corruption_level=level, **settings) for level in (0.1, 0.8)]
    slightly, strongly = (fit.fit(X).history_["valid_loss"].iloc[0] for fit in fits)
    assert strongly > slightly + 0.1
    slightly, strongly = (fit.fit(X, CLASSES).history_["valid_loss"].iloc[0] for fit in fits)
    assert strongly == pytest.approx(slightly)


def test_a_denoising_fit_that_stops_early_fills_cells_as_well_as_a_long_one():
    rows = RNG.normal(size=(400, 2)) @ RNG.normal(size=(2, 8)) + 0.3 * RNG.normal(size=(400, 8))
    hidden = RNG.uniform(size=rows.shape) < 0.3
    gaps = np.where(hidden, np.nan, rows)

    def error(**settings):
        model = RegularizedAutoencoder(4, corruption_level=0.3, random_state=0, **settings).fit(gaps)
        return np.sqrt(np.square(model.impute(gaps) - rows)[hidden].mean())

    assert error() < 1.08 * error(early_stopping=False)


@families
@pytest.mark.parametrize(
    "settings", [{"n_components": X.shape[1]}, {"linear_path": False}, {"likelihood": "bernoulli"}], ids=str
)
def test_a_fit_without_y_that_starts_at_no_principal_components_uses_all_rows(family, settings):
    rows = (X > 0).astype(float)  # a variational code may be unused for many epochs
    assert not has_validation(tiny(family, **settings).fit(rows))
    assert has_validation(tiny(family, **{"early_stopping": True} | settings).fit(rows))
