"""The detector of anomalous rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, RegularizedAutoencoder
from sklearn_ae.estimators import outliers
from sklearn_ae.model.code_residual_density import CodeResidualDensity, code_and_residual
from sklearn_ae.tables.sources import Array
from tests.families import families, tiny

RANDOM = np.random.default_rng(0)
PLANE = RANDOM.normal(size=(2, 5))
X = RANDOM.normal(size=(300, 2)) @ PLANE + 0.1 * RANDOM.normal(size=(300, 5))
FAR_CODE = np.array([[6.0, 6.0]]) @ PLANE  # on the plane, far from all rows
NORMAL = np.linalg.svd(PLANE)[2][-1]
FAR_RESIDUAL = X[:1] + 3 * NORMAL  # among the rows, but off the plane


def detector(**settings):
    return AutoencoderOutlierDetector(tiny(max_iter=30), **{"random_state": 0} | settings)


@parametrize_with_checks([detector(), detector(contamination=0.1)])
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


@families
def test_rows_with_an_improbable_code_or_residual_are_outliers(family):
    fitted = AutoencoderOutlierDetector(tiny(family, max_iter=200), random_state=0).fit(X)
    np.testing.assert_array_equal(fitted.predict(np.vstack([FAR_CODE, FAR_RESIDUAL])), [-1, -1])
    assert (fitted.predict(X) == 1).mean() > 0.85
    mixed = np.vstack([X + 1.0 * NORMAL, X])
    assert roc_auc_score(np.repeat([0, 1], 300), fitted.score_samples(mixed)) > 0.95


def test_the_surprisals_are_those_of_a_mixture_and_a_normal_distribution():
    values = RANDOM.normal(size=(200, 5))
    density = CodeResidualDensity.fit(values, 2)
    mixture = GaussianMixture(10, init_params="k-means++", random_state=0).fit(values[:, :2])
    far = LedoitWolf().fit(values[:, 2:]).mahalanobis(values[:, 2:])
    expected = np.stack([-mixture.score_samples(values[:, :2]), 0.5 * far], 1)
    np.testing.assert_allclose(density.surprisals(values), expected, rtol=1e-9)
    on_log_scale = np.log1p(expected - expected.min(0))
    standardised = (on_log_scale - on_log_scale.mean(0)) / on_log_scale.std(0)
    np.testing.assert_allclose(density.score(values), -standardised.mean(1), rtol=1e-9)


def test_scores_fall_with_the_distance_and_stay_finite():
    values = RANDOM.normal(size=(200, 5))
    density = CodeResidualDensity.fit(values, 2)
    for far in (np.array([1.0, 1, 0, 0, 0]), np.array([0.0, 0, 1, 1, 1])):
        scores = density.score(np.outer(10.0 ** np.arange(1, 9), far))
        assert (np.diff(scores) < 0).all()
    for n in (1, 2, 20):
        constant = CodeResidualDensity.fit(np.ones((n, 5)), 2)
        assert np.isfinite(constant.score(np.ones((3, 5)))).all()


def test_scores_are_means_over_the_members():
    fitted = AutoencoderOutlierDetector(tiny(n_members=3), random_state=0).fit(X)
    assert len(fitted.densities_) == 3
    whole, own = fitted.score_samples(X), []
    for density, member in zip(fitted.densities_, fitted.estimator_.model_.members, strict=True):
        own.append(member.apply(density.score_rows, fitted.estimator_._table(X))[:, 0])
    assert np.ptp(own, axis=0).max() > 0.1
    np.testing.assert_allclose(whole, np.mean(own, 0), rtol=1e-6)
    np.testing.assert_allclose(np.mean(own, 1), 0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [300, 301])  # of 301 scores the threshold is one
def test_contamination_is_the_share_of_outliers_among_the_training_rows(n, dtype):
    rows = np.vstack([X, X[:1] + 0.1])[:n].astype(dtype)
    assert (detector(contamination=0.2).fit_predict(rows) == -1).sum() == 60


def test_scores_of_training_rows_are_those_that_the_threshold_was_chosen_by():
    rows = np.vstack([X, X[:1] + 0.1]).astype(np.float32)
    fitted = detector(contamination=0.2).fit(rows)
    assert np.sort(fitted.score_samples(rows))[60].item() == fitted.offset_  # the threshold is one of 301 scores


def test_residuals_of_missing_cells_are_0():
    fitted = detector().fit(X)
    rows = X[:20].copy()
    rows[:, 2] = np.nan
    values = fitted.estimator_.model_.apply(code_and_residual, fitted.estimator_._table(rows))
    assert (values[:, 2 + 2] == 0).all()  # after two codes
    assert (np.delete(values, 2 + 2, axis=1) != 0).all()


def test_without_contamination_few_training_rows_are_outliers_and_the_threshold_may_be_moved():
    fitted = detector().fit(X)
    first, third = np.percentile(fitted.score_samples(X), [25, 75])
    assert fitted.offset_ == pytest.approx(first - 1.5 * (third - first))
    np.testing.assert_allclose(fitted.decision_function(X), fitted.score_samples(X) - fitted.offset_)
    fitted.offset_ = fitted.score_samples(X).max() + 1
    for moved in (fitted, pickle.loads(pickle.dumps(fitted))):
        assert (moved.predict(X) == -1).all()
    assert (clone(fitted).fit(X).predict(X) == -1).mean() < 0.1


@pytest.mark.parametrize("offset", [np.nan, np.inf, "low", None, True])
def test_a_threshold_must_be_finite_and_needs_a_fit(offset):
    fitted = detector().fit(X)
    before = fitted.predict(X)
    with pytest.raises(ValueError, match="offset_ must be a finite number, got"):
        fitted.offset_ = offset
    np.testing.assert_array_equal(fitted.predict(X), before)
    with pytest.raises(NotFittedError):
        detector().offset_ = 0.0


def test_the_densities_of_large_tables_are_those_of_some_rows(monkeypatch):
    sizes = []
    fit = CodeResidualDensity.fit.__func__
    counting = classmethod(lambda cls, values, k: sizes.append(len(values)) or fit(cls, values, k))
    monkeypatch.setattr(CodeResidualDensity, "fit", counting)
    monkeypatch.setattr(outliers, "MOST_ROWS", 50)
    assert np.isfinite(detector().fit(X).score_samples(X)).all()
    assert sizes == [50]


def test_tables_of_all_kinds_are_scored():
    table = pd.DataFrame(
        {"word": np.where(X[:, 0] > 0, "a", "b"), "x": X[:, 0], "gap": np.where(X > 1, np.nan, X)[:, 1]}
    )
    fitted = detector().fit(table)
    assert np.isfinite(fitted.score_samples(table)).all()
    wrong = table[:1].assign(word="b" if table["word"][0] == "a" else "a")
    assert fitted.score_samples(wrong)[0] < fitted.score_samples(table[:1])[0] - 0.5
    assert list(fitted.feature_names_in_) == list(table)
    dense, sparse = (detector().fit(rows).score_samples(rows) for rows in (X, csr_matrix(X)))
    np.testing.assert_allclose(sparse, dense, rtol=1e-5, atol=1e-5)
    assert np.isfinite(detector().fit(Array(X)).score_samples(Array(X))).all()
    assert make_pipeline(StandardScaler(), detector()).fit_predict(X).shape == (300,)


def test_copies_score_alike_and_hold_no_codes():
    fitted = detector().fit(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).score_samples(X), fitted.score_samples(X))


def test_by_default_it_averages_members_of_bounded_units():
    fitted = AutoencoderOutlierDetector(random_state=0).fit(X)
    assert fitted.estimator_.activation == "tanh"
    assert len(fitted.densities_) == 4
    assert fitted.predict(FAR_RESIDUAL)[0] == -1
    wide = AutoencoderOutlierDetector(random_state=0).fit(np.tile(X, 2)).estimator_  # more columns than components
    assert not wide.module_.has_linear_path
    assert wide.n_iter_ == wide.max_iter


def test_the_estimator_is_cloned_and_keeps_its_seed():
    own = tiny(random_state=7)
    fitted = AutoencoderOutlierDetector(own, random_state=0).fit(X)
    assert fitted.estimator_ is not own
    assert not hasattr(own, "model_")
    np.testing.assert_array_equal(fitted.estimator_.transform(X), clone(own).fit(X).transform(X))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"estimator": StandardScaler()}, TypeError, "estimator must be an autoencoder or None"),
        ({"contamination": 0.6}, ValueError, "contamination must be 'auto' or a float"),
        ({"contamination": 0.0}, ValueError, "contamination must be 'auto' or a float"),
        ({"contamination": "many"}, ValueError, "contamination must be 'auto' or a float"),
        ({"random_state": "x"}, ValueError, "random_state must be"),
    ],
)
def test_invalid_parameters_raise_and_the_last_fit_stays(settings, error, message):
    fitted = detector().fit(X)
    before = fitted.score_samples(X)
    with pytest.raises(error, match=message):
        fitted.set_params(**settings).fit(X[:, :3])
    np.testing.assert_array_equal(fitted.score_samples(X), before)


def test_a_row_that_can_not_be_scored_is_refused():
    with pytest.raises(ValueError, match="X must hold numbers that are finite once scaled"):
        detector().fit(X).score_samples(1e200 * X[:1])


def test_cells_are_scored_relative_to_their_column():
    random = np.random.RandomState(0)
    z = random.normal(size=(300, 1))
    noise = random.normal(size=(300, 3)) * [0.1, 10, 0.001]
    rows = pd.DataFrame(np.hstack([z, 100 * z, 0.01 * z]) + noise, columns=list("abc"))
    rows["kind"] = np.where(z[:, 0] > 0, "high", "low")
    detector = AutoencoderOutlierDetector(tiny(n_components=1, max_iter=100)).fit(rows)
    scores = detector.score_cells(rows)
    assert list(scores.columns) == list(rows.columns)
    np.testing.assert_allclose(scores.median(), 0, atol=1e-5)
    odd = rows.iloc[:4].copy()
    odd.loc[0, "a"] = odd.loc[0, "a"] + 5
    odd.loc[1, "b"] = odd.loc[1, "b"] - 500
    odd.loc[2, "kind"] = "low" if odd.loc[2, "kind"] == "high" else "high"
    odd.loc[3, "c"] = np.nan
    scores = detector.score_cells(odd)
    assert scores.iloc[:2][list("abc")].idxmin(axis=1).tolist() == ["a", "b"]
    assert scores.loc[2, "kind"] < -1
    assert scores.isna().to_numpy().nonzero() == ([3], [2])


def test_representations_link_to_the_documentation():
    for estimator in (AutoencoderOutlierDetector(), RegularizedAutoencoder(), AutoencoderImputer()):
        page = f"generated/sklearn_ae.{type(estimator).__name__}.html"
        assert page in estimator._repr_html_()
