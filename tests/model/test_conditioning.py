"""Codes given what is known of a row, against posteriors in closed form."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from sklearn_ae.model import conditioning
from sklearn_ae.model.code_density import CodeDensity, Density
from sklearn_ae.model.conditioning import LinearCorrection, conditioned_codes

MEAN, COVARIANCE = np.array([1.0, -0.5]), np.array([[1.0, 0.6], [0.6, 0.8]])
MAP, NOISE = np.array([[1.0, 0.5], [0.3, -1.0]]), 0.3


def density_of(weights, means, covariances):
    mixture = GaussianMixture(len(weights))
    mixture.weights_, mixture.means_, mixture.covariances_ = map(np.asarray, (weights, means, covariances))
    mixture.precisions_cholesky_ = np.stack([np.linalg.cholesky(np.linalg.inv(c)) for c in mixture.covariances_])
    density = CodeDensity()
    nothing = np.zeros((1, 0), dtype=bool), np.ones((len(weights), 1))
    density._density = Density(mixture, *nothing, np.zeros(len(weights), dtype=np.int64))
    return density


ONE = density_of([1.0], [MEAN], [COVARIANCE])


def likelihood(values, noise=NOISE):
    """Of rows that are linear in the code, with normal noise: (codes, rows) -> (m, L)."""

    def log_likelihood(codes, rows):
        return -0.5 * np.square((codes @ MAP.T - values[rows][:, None]) / noise).sum(-1)

    return log_likelihood


def correction(values, noise):
    """Return a correction towards the values of the rows: (codes, rows) -> codes."""
    random = np.random.RandomState(5)

    def cells(codes):
        return codes @ MAP.T + noise * random.normal(size=codes.shape)

    codes = ONE.draw(5000, random)
    linear = LinearCorrection(codes, cells(codes))
    return lambda codes, rows: codes + linear.of(values[rows] - cells(codes), np.ones((len(rows), 2), dtype=bool))


def posterior(value, noise=NOISE):
    precision = np.linalg.inv(COVARIANCE) + MAP.T @ MAP / noise**2
    covariance = np.linalg.inv(precision)
    return covariance @ (np.linalg.inv(COVARIANCE) @ MEAN + MAP.T @ value / noise**2), covariance


@pytest.mark.parametrize("noise", [1.0, 0.3])
def test_codes_have_the_mean_and_the_covariance_of_the_posterior(noise):
    values = np.array([[1.5, 1.0], [0.0, 0.2], [1.0, -0.5]])
    rows = np.tile(np.arange(3), 3000)
    codes = conditioned_codes(ONE, likelihood(values, noise), rows, np.random.RandomState(0))
    for row, value in enumerate(values):
        mean, covariance = posterior(value, noise)
        spread = np.sqrt(covariance.diagonal())
        np.testing.assert_allclose((codes[rows == row].mean(0) - mean) / spread, 0, atol=0.1)
        found = np.cov(codes[rows == row].T)
        np.testing.assert_allclose(found / np.outer(spread, spread), covariance / np.outer(spread, spread), atol=0.12)


def test_steps_alone_move_codes_to_the_posterior(monkeypatch):
    monkeypatch.setattr(conditioning, "STEPS", (60, 60))
    value = np.array([[1.5, 1.0]])
    codes = conditioned_codes(ONE, likelihood(value, 0.1), np.zeros(2000, dtype=int), np.random.RandomState(0), 1)
    mean, covariance = posterior(value[0], 0.1)
    np.testing.assert_allclose((codes.mean(0) - mean) / np.sqrt(covariance.diagonal()), 0, atol=0.12)
    np.testing.assert_allclose(codes.std(0), np.sqrt(covariance.diagonal()), rtol=0.1)


def test_a_step_leaves_the_posterior_of_a_mixture_invariant():
    prior = density_of([0.7, 0.3], [[-1.0, 0.0], [1.0, 0.5]], [0.5 * np.eye(2), COVARIANCE])
    random, value = np.random.RandomState(0), np.array([[0.3, -0.2]])
    log_likelihood = likelihood(value, 1.0)
    candidates = prior.draw(40_000, random)
    weights = np.exp(log_likelihood(candidates[None], np.array([0]))[0])
    before = candidates[random.choice(len(weights), 20_000, p=weights / weights.sum())]
    after = before
    for _ in range(3):
        after = conditioning._slice_step(prior.mixture, log_likelihood, after, np.zeros(20_000, dtype=int), random)
    assert np.abs(after - before).mean() > 0.2
    np.testing.assert_allclose(after.mean(0), before.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(after.T), np.cov(before.T), atol=0.04)
    np.testing.assert_allclose((after[:, 0] > 0).mean(), (before[:, 0] > 0).mean(), atol=0.02)


@pytest.mark.parametrize("noise", [1.0, 0.05])
def test_both_modes_of_a_posterior_have_their_shares(noise):
    prior = density_of([0.8, 0.2], [[-2.0, 0.0], [2.0, 0.0]], [np.eye(2) * 0.1, np.eye(2) * 0.1])

    def second_coordinate(codes, rows):
        return np.broadcast_to(-0.5 * np.square((codes[..., 1] - 0.3) / noise), (len(rows), codes.shape[1]))

    codes = conditioned_codes(prior, second_coordinate, np.zeros(4000, dtype=int), np.random.RandomState(0))
    assert (codes[:, 0] > 0).mean() == pytest.approx(0.2, abs=0.03)
    assert codes[codes[:, 0] > 0, 0].std() == pytest.approx(np.sqrt(0.1), rel=0.1)


def test_each_row_has_codes_of_its_own_in_its_place(monkeypatch):
    monkeypatch.setattr(conditioning, "BLOCK", 3)
    values = np.random.RandomState(1).normal(size=(8, 2))
    rows = np.random.RandomState(2).randint(8, size=400)
    means = np.stack([posterior(value, 0.05)[0] for value in values])
    codes = conditioned_codes(ONE, likelihood(values, 0.05), rows, np.random.RandomState(0))
    np.testing.assert_allclose(codes, means[rows], atol=0.3)


def test_corrected_codes_are_those_of_the_posterior():
    value, noise = np.array([[3.0, -2.0]]), 0.02
    moved = correction(value, noise)(ONE.draw(4000, np.random.RandomState(0)), np.zeros(4000, dtype=int))
    mean, covariance = posterior(value[0], noise)
    np.testing.assert_allclose((moved.mean(0) - mean) / np.sqrt(covariance.diagonal()), 0, atol=0.3)
    np.testing.assert_allclose(moved.std(0), np.sqrt(covariance.diagonal()), rtol=0.1)


def test_cells_that_are_not_known_correct_nothing():
    random = np.random.RandomState(0)
    codes = random.normal(size=(3000, 2))
    linear = LinearCorrection(codes, np.column_stack([codes[:, 0], codes.sum(1)]))
    differences = np.array([[1.0, 7.0], [7.0, 1.0], [7.0, 7.0]])
    found = linear.of(differences, np.array([[True, False], [False, True], [False, False]]))
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.5], [0, 0]], atol=0.06)


def test_rows_that_few_candidates_explain_are_corrected(monkeypatch):
    monkeypatch.setattr(conditioning, "STEPS", (0, 0))
    values, rows, noise = np.array([[3.0, -2.0], [1.0, 0.5]]), np.tile([0, 1], 1500), 0.02
    means = np.stack([posterior(value, noise)[0] for value in values])
    spread = np.sqrt(posterior(values[0], noise)[1].diagonal())
    how = likelihood(values, noise), rows, np.random.RandomState(0), 500
    codes = conditioned_codes(ONE, *how, correction(values, noise))
    for row, mean in enumerate(means):
        np.testing.assert_allclose((codes[rows == row].mean(0) - mean) / spread, 0, atol=0.5)
    assert np.abs(codes - means[rows]).mean() < 0.3 * np.abs(conditioned_codes(ONE, *how) - means[rows]).mean()


def test_rows_that_many_candidates_explain_are_not_corrected():
    def refused(codes, rows):
        raise AssertionError

    conditioned_codes(
        ONE, likelihood(np.ones((1, 2)), 1.0), np.zeros(50, int), np.random.RandomState(0), corrected=refused
    )


def test_codes_of_a_row_that_no_code_explains_are_those_of_the_density():
    def impossible(codes, rows):
        return np.full((len(rows), codes.shape[1]), -np.inf)

    def undefined(codes, rows):
        return np.full((len(rows), codes.shape[1]), np.nan)

    for log_likelihood in (impossible, undefined):
        codes = conditioned_codes(ONE, log_likelihood, np.zeros(2000, dtype=int), np.random.RandomState(0))
        np.testing.assert_allclose(codes.mean(0), MEAN, atol=0.1)


def test_draws_are_those_of_the_generator():
    log_likelihood, rows = likelihood(np.ones((1, 2))), np.zeros(5, dtype=int)
    first, same, other = (conditioned_codes(ONE, log_likelihood, rows, np.random.RandomState(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)
