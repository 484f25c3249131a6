"""Codes: a point, or a normal distribution and its draws."""

import pytest
import torch

from sklearn_ae.modules import noise
from sklearn_ae.modules.codes import GaussianCode, PointCode
from sklearn_ae.modules.mlp import draw_weights
from sklearn_ae.modules.noise import Request

N, H, K = 5, 4, 3
FEATURES = torch.randn(N, H, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def code_of(Code, **settings):
    code = Code(H, K, **settings).double()
    draw_weights(code, torch.Generator().manual_seed(0))
    return code


def trace_of(code):
    return {"mean": code.mean(FEATURES), "log_var": code.log_var(FEATURES)}


def draws_of(code, seed=2):
    with noise.drawn(torch.Generator().manual_seed(seed)):
        return code.draw(trace_of(code))


@pytest.mark.parametrize("Code", [PointCode, GaussianCode])
def test_the_mean_is_a_linear_map_of_the_features(Code):
    code = code_of(Code)
    assert torch.allclose(code.mean(FEATURES), FEATURES @ code.location.weight.T + code.location.bias)
    assert code.mean(FEATURES).shape == (N, K)
    assert code.n_components == K


def test_a_point_is_its_own_draw_and_asks_for_no_noise():
    mean = torch.randn(N, K)
    assert code_of(PointCode).draw({"mean": mean}) is mean


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (N, K)),
        ({"n_draws": 1}, (N, K)),
        ({"n_draws": 4}, (N, 4, K)),
        ({"n_draws": 1, "shared": True}, (N, 1, K)),
        ({"n_draws": 4, "shared": True}, (N, 4, K)),
        ({"n_draws": 5, "shared": True}, (N, 5, K)),
    ],
    ids=str,
)
def test_draws_have_a_dimension_of_their_own_where_there_are_several(settings, shape):
    assert draws_of(code_of(GaussianCode, **settings)).shape == shape


@pytest.mark.parametrize(
    ("settings", "request_"),
    [
        ({"n_draws": 1}, Request("normal", (K,), per_row=True)),
        ({"n_draws": 4}, Request("normal", (4, K), per_row=True)),
        ({"n_draws": 4, "shared": True}, Request("normal", (2, K), per_row=False)),
        ({"n_draws": 5, "shared": True}, Request("normal", (3, K), per_row=False)),
    ],
    ids=str,
)
def test_what_is_asked_for(settings, request_):
    code = code_of(GaussianCode, **settings)
    with noise.recorded() as asked:
        code.draw(trace_of(code))
    assert asked == [request_]


@pytest.mark.parametrize("n_draws", [1, 3])
def test_a_draw_is_the_mean_plus_sigma_times_the_numbers_handed_in(n_draws):
    code = code_of(GaussianCode, n_draws=n_draws)
    trace = trace_of(code)
    eps = torch.randn(N, *([n_draws] if n_draws > 1 else []), K, dtype=torch.float64)
    with noise.supplied([eps]):
        drawn = code.draw(trace)
    mean, sigma = trace["mean"].view(N, -1, K), trace["log_var"].exp().sqrt().view(N, -1, K)
    assert torch.allclose(drawn.view(N, -1, K), mean + sigma * eps.view(N, -1, K))


@pytest.mark.parametrize("n_draws", [2, 4, 6])
def test_the_mean_of_an_even_number_of_shared_draws_is_the_mean_of_the_code(n_draws):
    code = code_of(GaussianCode, n_draws=n_draws, shared=True)
    drawn = draws_of(code)
    assert torch.allclose(drawn.mean(1), code.mean(FEATURES), rtol=0, atol=1e-14)
    assert (drawn.std(1) > 0).all()


@pytest.mark.parametrize("n_draws", [1, 2, 4, 5])
def test_shared_draws_use_the_same_standardised_numbers_in_every_row(n_draws):
    code = code_of(GaussianCode, n_draws=n_draws, shared=True)
    trace = trace_of(code)
    standardised = (draws_of(code) - trace["mean"].unsqueeze(1)) / (0.5 * trace["log_var"]).exp().unsqueeze(1)
    assert torch.allclose(standardised, standardised[:1].expand_as(standardised))
    assert len(standardised[0].round(decimals=6).unique()) == n_draws * K


def test_draws_that_are_not_shared_differ_by_row():
    code = code_of(GaussianCode, n_draws=2)
    trace = trace_of(code)
    standardised = (draws_of(code) - trace["mean"].unsqueeze(1)) / (0.5 * trace["log_var"]).exp().unsqueeze(1)
    assert len(standardised.round(decimals=6).unique()) == N * 2 * K


def test_draws_follow_the_distribution_of_the_code():
    code = code_of(GaussianCode, n_draws=20_000)
    trace, drawn = trace_of(code), draws_of(code)
    sigma = (0.5 * trace["log_var"]).exp()
    assert ((drawn.mean(1) - trace["mean"]).abs() < 4 * sigma / 20_000**0.5).all()
    assert torch.allclose(drawn.std(1), sigma, rtol=0.03)


def test_the_log_variance_is_kept_where_its_exponential_is_a_usable_number():
    code = code_of(GaussianCode)
    log_var = code.log_var(1e6 * FEATURES)
    assert log_var.min() == -20
    assert log_var.max() == 20
    inside = code.log_var(FEATURES)
    assert torch.allclose(inside, FEATURES @ code.log_variance.weight.T + code.log_variance.bias)


def test_mean_and_log_variance_get_gradients_through_a_draw():
    code = code_of(GaussianCode, n_draws=2)
    draws_of(code).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in code.parameters())
