"""Residual noise: its covariance, its conditional distribution in closed form, and its density."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from sklearn_ae.model import residuals
from sklearn_ae.model.residuals import LEAST_SPREAD, ResidualNoise
from sklearn_ae.modules.noise import drawn_from

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(4, 4))
COVARIANCE = MIX @ MIX.T + 0.1 * np.eye(4)
SINGULAR = np.outer([1.0, 2.0, -1.0, 0.5], [1.0, 2.0, -1.0, 0.5])
PATTERNS = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.float64)
RIDGE = LEAST_SPREAD**2


def noise_of(covariance):
    covariance = np.asarray(covariance, dtype=np.float64)
    return ResidualNoise(residuals._root(covariance), torch.zeros(len(covariance)))


def drawn(noise, n, seed=0):
    with drawn_from(np.random.RandomState(seed)):
        return noise.like(torch.zeros(n, noise.n_columns, dtype=torch.float64))


@pytest.mark.parametrize("covariance", [COVARIANCE, SINGULAR, np.zeros((4, 4))], ids=["full", "singular", "none"])
def test_draws_have_the_covariance(covariance):
    found = np.cov(drawn(noise_of(covariance), 40_000).numpy().T)
    np.testing.assert_allclose(found, covariance, atol=0.03 * max(1, covariance.max()))


def test_the_covariance_is_that_of_the_residuals_of_pairs_of_known_cells():
    rows = RNG.multivariate_normal(np.zeros(4), COVARIANCE, size=20_000)
    rows[RNG.uniform(size=rows.shape) < 0.3] = np.nan
    np.testing.assert_allclose(ResidualNoise.of(rows).covariance, COVARIANCE, atol=0.15)
    few = ResidualNoise.of(np.array([[1.0, 2.0], [3.0, np.nan]]))
    np.testing.assert_allclose(few.covariance, [[5, 2], [2, 4]])


def test_a_column_without_residuals_is_standard_normal_and_independent():
    noise = ResidualNoise.of(np.column_stack([RNG.normal(size=50), np.full(50, np.nan)]))
    np.testing.assert_allclose(noise.covariance[1], [0, 1])
    assert drawn(noise, 5000)[:, 1].std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("covariance", [COVARIANCE, SINGULAR + 0.2 * np.eye(4)], ids=["full", "nearly singular"])
def test_noise_given_some_residuals_is_the_conditional_normal(covariance):
    noise, n = noise_of(covariance), 20_000
    known = torch.tensor([0.5, -1.0, 2.0, 0.3], dtype=torch.float64)
    observed = PATTERNS.repeat_interleave(n, 0)
    found = noise.given(drawn(noise, len(observed)), known.expand(len(observed), 4), observed).reshape(4, n, 4).numpy()
    for pattern, rows in zip(PATTERNS.numpy() > 0, found, strict=True):
        others = ~pattern
        np.testing.assert_array_equal(rows[:, pattern], np.broadcast_to(known.numpy()[pattern], (n, pattern.sum())))
        if not others.any():
            continue
        root = np.linalg.inv(covariance[np.ix_(pattern, pattern)] + RIDGE * np.eye(pattern.sum()))
        weights = covariance[np.ix_(others, pattern)] @ root
        np.testing.assert_allclose(rows[:, others].mean(0), weights @ known.numpy()[pattern], atol=0.06)
        expected = covariance[np.ix_(others, others)] - weights @ covariance[np.ix_(pattern, others)]
        np.testing.assert_allclose(np.cov(rows[:, others].T), expected.squeeze(), atol=0.04 * covariance.max())


@pytest.mark.parametrize("covariance", [COVARIANCE, SINGULAR, np.zeros((4, 4))], ids=["full", "singular", "none"])
def test_the_log_density_is_that_of_the_normal_of_the_observed_columns(covariance):
    residual = torch.from_numpy(RNG.normal(size=(4, 3, 4)))
    found = noise_of(covariance).log_density(residual, PATTERNS)
    for row, pattern, of_row in zip(residual.numpy(), PATTERNS.numpy() > 0, found.numpy(), strict=True):
        part = covariance[np.ix_(pattern, pattern)] + RIDGE * np.eye(pattern.sum())
        expected = multivariate_normal(cov=part).logpdf(row[:, pattern]) if pattern.any() else np.zeros(3)
        np.testing.assert_allclose(of_row, expected, rtol=1e-3)


def test_the_covariance_of_many_columns_is_a_factor_of_low_rank_and_the_rest(monkeypatch):
    factor = RNG.normal(size=(6, 2))
    rows = RNG.normal(size=(20_000, 2)) @ factor.T + 0.3 * RNG.normal(size=(20_000, 6))
    rows[:5000, 1] = np.nan
    monkeypatch.setattr(residuals, "MAX_COLUMNS", 5)
    monkeypatch.setattr(residuals, "FACTOR_ROWS", 15_000)
    for rank, tolerance in ((2, 0.15), (6, 0.15), (1, None)):
        monkeypatch.setattr(residuals, "RANK", rank)
        noise = ResidualNoise.of(rows[::-1])
        np.testing.assert_allclose(noise.covariance.diagonal(), np.nanmean(np.square(rows), 0), rtol=1e-4)
        if tolerance:
            expected = factor @ factor.T + 0.09 * np.eye(6)
            np.testing.assert_allclose(noise.covariance, expected, atol=tolerance)
            np.testing.assert_allclose(np.cov(drawn(noise, 40_000).numpy().T), noise.covariance, atol=0.1)
    assert noise.root.shape == (6, 1)


def test_densities_and_conditional_noise_of_many_columns_are_those_of_their_covariance(monkeypatch):
    monkeypatch.setattr(residuals, "MAX_COLUMNS", 3)
    monkeypatch.setattr(residuals, "RANK", 2)
    noise = ResidualNoise.of(RNG.multivariate_normal(np.zeros(4), COVARIANCE, size=5000))
    assert noise.rest.sum() > 0
    same, residual = noise_of(noise.covariance), torch.from_numpy(RNG.normal(size=(4, 3, 4)))
    np.testing.assert_allclose(noise.log_density(residual, PATTERNS), same.log_density(residual, PATTERNS), rtol=1e-3)
    first, known = drawn(noise, 4), torch.ones(4, 4, dtype=torch.float64)
    np.testing.assert_allclose(noise.given(first, known, PATTERNS), same.given(first, known, PATTERNS), atol=1e-3)


def test_tables_without_numbers_have_no_noise():
    noise, nothing = ResidualNoise.of(np.empty((5, 0))), torch.zeros(3, 0)
    assert drawn(noise, 3).shape == (3, 0)
    assert noise.given(nothing, nothing, nothing).shape == (3, 0)
    np.testing.assert_array_equal(noise.log_density(torch.zeros(3, 2, 0), nothing), np.zeros((3, 2)))
