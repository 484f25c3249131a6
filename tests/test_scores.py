"""Scores of the variational family: cheap unless precision is asked for, and told how precise they are."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV

from sklearn_ae import VariationalAutoencoder
from sklearn_ae.model import posterior
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
