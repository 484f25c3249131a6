"""Scores of the variational family: cheap unless precision is asked for, and told how precise they are."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV

from sklearn_ae import VariationalAutoencoder
from sklearn_ae.model import posterior
from sklearn_ae.objectives.importance import log_evidence
from sklearn_ae.objectives.priors import PRIORS

X = load_breast_cancer().data[:120]
SETTINGS = {"n_components": 3, "hidden_layer_sizes": (16,), "task": None, "max_iter": 30, "random_state": 0}


@pytest.fixture(scope="module")
def model():
    return VariationalAutoencoder(**SETTINGS).fit(X)


@pytest.fixture
def decoded(model):
    """Numbers of codes that are decoded, call by call."""
    numbers = []
    hook = model.module_.decoder.register_forward_hook(lambda _, codes, __: numbers.append(codes[0][..., 0].numel()))
    yield numbers
    hook.remove()


@pytest.mark.parametrize("method", ["score", "score_samples"])
def test_a_score_decodes_a_few_codes_a_row(model, decoded, method):
    getattr(model, method)(X)
    assert sum(decoded) == 32 * len(X)


@pytest.mark.filterwarnings("ignore:.*rows have a standard error above tolerance:UserWarning")
def test_precision_takes_as_many_codes_as_it_needs(model, decoded):
    used = []
    for tolerance in (1.0, 0.01, 0.001):
        decoded.clear()
        model.score_samples(X, tolerance=tolerance)
        used.append(sum(decoded))
    assert used == sorted(set(used))


def test_a_search_without_y_is_cheap(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a search asks for no precision")

    monkeypatch.setattr(posterior, "log_evidence", refused)
    GridSearchCV(VariationalAutoencoder(**SETTINGS), {"n_components": [1, 2]}, cv=2).fit(X)


@pytest.mark.filterwarnings("ignore:.*rows have a standard error above tolerance:UserWarning")
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("gaps", [False, True])
def test_the_cheap_score_is_near_the_precise_one(prior, gaps):
    rows = X.copy()
    if gaps:
        rows[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = VariationalAutoencoder(**SETTINGS, prior=prior).fit(rows)
    precise, error = model.score_samples(rows, tolerance=0.01, return_std=True)
    cheap, std = model.score_samples(rows, return_std=True)
    assert (error <= 0.01).mean() > 0.9
    assert abs((precise - cheap).mean()) < 0.5  # what the guide says
    assert (np.abs(precise - cheap) < 4 * std + 0.04).mean() > 0.9
    assert np.median(std) < 0.3
    assert np.array_equal(cheap, model.score_samples(rows))


@pytest.mark.parametrize("tolerance", [None, 0.05])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_and_errors_are_those_of_the_row_alone(model, tolerance, dtype):
    rows = X[:10].astype(dtype)
    whole = model.score_samples(rows, tolerance=tolerance, return_std=True)
    alone = [model.score_samples(row[None], tolerance=tolerance, return_std=True) for row in rows]
    for values, of_rows in zip(whole, zip(*alone, strict=True), strict=True):
        assert values.shape == (10,)
        assert values.dtype == dtype
        np.testing.assert_allclose(values, np.concatenate(of_rows), rtol=1e-5 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("tolerance", [-0.1, "0.1", True, np.nan])
def test_a_tolerance_that_is_none_is_refused_by_name(model, tolerance):
    with pytest.raises(ValueError, match=r"tolerance must be a float .* or None, got"):
        model.score_samples(X, tolerance=tolerance)


def test_draws_for_scores_are_the_same_whatever_was_drawn_before(model):
    before = model.score_samples(X)
    state = torch.get_rng_state()
    model.sample(5)
    assert np.array_equal(model.score_samples(X), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_precise_score_of_many_dimensions_is_not_below_the_bound(monkeypatch):
    digits = load_digits().data.astype(np.float32) / 16
    settings = {"n_components": 50, "scale": "common", "task": None, "max_iter": 15, "random_state": 0}
    model = VariationalAutoencoder(**settings).fit(digits[:1500])
    with pytest.warns(UserWarning, match=r"rows have a standard error above tolerance=0.03") as warned:
        precise = model.score_samples(digits[1500:1510], tolerance=0.03)
    assert warned[0].filename == __file__
    monkeypatch.setattr(posterior, "SCORE_DRAWS", 16384)
    assert (precise - model.score_samples(digits[1500:1510])).mean() > -0.1  # -0.27 without a fixed part


@pytest.mark.parametrize(("k", "n_active"), [(2, 2), (8, 8), (20, 4), (50, 5)])
def test_the_evidence_of_a_linear_gaussian_model_is_exact(k, n_active):
    random = np.random.default_rng(0)
    loadings = np.zeros((30, k))
    loadings[:, :n_active] = random.normal(size=(30, n_active))
    evidence = stats.multivariate_normal(np.zeros(30), loadings @ loadings.T + np.eye(30))
    x = evidence.rvs(20, random_state=0)
    precision = np.eye(k) + loadings.T @ loadings
    mean = torch.from_numpy(np.linalg.solve(precision, loadings.T @ x.T).T)
    sigma = torch.from_numpy(np.tile(precision.diagonal() ** -0.5, (20, 1)))
    rows, decoder = torch.from_numpy(x), torch.from_numpy(loadings)

    def log_joint(z, index):
        residual = rows[index].unsqueeze(1) - z @ decoder.T
        return PRIORS["normal"].log_density(z) - 0.5 * residual.square().sum(-1) - 15 * np.log(2 * np.pi)

    value, error = log_evidence(log_joint, mean, sigma, posterior._widened(2 * sigma.log()).sqrt(), 0.05)
    assert error.max() <= 0.05
    assert np.abs(value.numpy() - evidence.logpdf(x)).max() < 0.15
