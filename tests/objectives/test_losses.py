"""Losses: known values, gradients, batches, missing cells and draws."""

from functools import partial
from math import exp, log, pi

import numpy as np
import pytest
import torch
from scipy import stats
from torch.autograd import gradcheck

from sklearn_ae.likelihoods.bernoulli import bernoulli_loss
from sklearn_ae.likelihoods.counts import negative_binomial_loss, poisson_loss
from sklearn_ae.likelihoods.gaussian import gaussian_loss, squared_error, unit_gaussian_loss
from sklearn_ae.objectives import losses

N, D, L = 4, 3, 5
RNG = np.random.default_rng(0)


def tensor(values):
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


X = tensor(RNG.normal(size=(N, D)))
OUTPUT = tensor(RNG.normal(size=(N, D)))
OBSERVED = tensor(RNG.random((N, D)) < 0.6)
VARIANCE = tensor(RNG.uniform(0.2, 3, D))
LOG_VAR = tensor(RNG.normal(size=(N, D)))
LABELS = torch.tensor([2, 0, 1, 2])


COUNTS = tensor([[0, 1, 7], [3, 0, 40], [1e3, 2, 0], [1, 0, 1e6]])


def negative_binomial(x, output, observed=None):
    return negative_binomial_loss(x, output, LOG_VAR[0], observed)


def gaussian(x, output, observed=None, variance=VARIANCE):
    return gaussian_loss(x, output, variance, observed)


# (row, output, mask) -> (n,)
OF_ROWS = {
    "squared_error": squared_error,
    "gaussian": gaussian,
    "gaussian, one variance": partial(gaussian, variance=tensor(0.3)),
    "unit_gaussian": unit_gaussian_loss,
    "bernoulli": bernoulli_loss,
    "poisson": poisson_loss,
    "negative_binomial": negative_binomial,
}
of_rows = pytest.mark.parametrize("loss", OF_ROWS.values(), ids=OF_ROWS)
OTHER_ROWS = {"bernoulli": X.sigmoid(), "poisson": COUNTS, "negative_binomial": COUNTS}
ROWS = {name: OTHER_ROWS.get(name, X) for name in OF_ROWS}
of_rows_and_data = pytest.mark.parametrize(
    ("loss", "x"), [(loss, ROWS[name]) for name, loss in OF_ROWS.items()], ids=OF_ROWS
)

# tensors in, all of which get gradients
OF_TENSORS = {
    "categorical": (partial(losses.categorical, LABELS), (OUTPUT,)),
    "kl_normal": (losses.kl_normal, (X, LOG_VAR)),
    "kl_laplace": (losses.kl_laplace, (X, LOG_VAR)),
    "normal_log_density": (losses.normal_log_density, (X,)),
    "laplace_log_density": (losses.laplace_log_density, (X,)),
    "importance_weighted": (losses.importance_weighted, (X,)),
    "log_real": (losses.log_real, (X[:, 0],)),
    "log_fake": (losses.log_fake, (X[:, 0],)),
    "bernoulli_divergence": (partial(losses.bernoulli_divergence, 0.05), (X[:, 0].sigmoid(),)),
}
of_tensors = pytest.mark.parametrize(("loss", "tensors"), OF_TENSORS.values(), ids=OF_TENSORS)


# Known values


def test_squared_error_is_the_sum_of_squared_differences():
    assert squared_error(tensor([[1, 2, 3]]), tensor([[1, 4, 0]])).tolist() == [13]


def test_gaussian_is_the_negative_log_density():
    expected = -stats.norm.logpdf(X, OUTPUT, VARIANCE.sqrt()).sum(1)
    assert gaussian(X, OUTPUT).numpy() == pytest.approx(expected, rel=1e-12)


def test_unit_gaussian_is_the_negative_log_density_at_unit_noise():
    expected = -stats.norm.logpdf(X, OUTPUT).sum(1)
    assert unit_gaussian_loss(X, OUTPUT).numpy() == pytest.approx(expected, rel=1e-12)


def test_bernoulli_is_the_negative_log_probability():
    x = (X > 0).double()
    expected = -stats.bernoulli.logpmf(x, OUTPUT.sigmoid()).sum(1)
    assert bernoulli_loss(x, OUTPUT).numpy() == pytest.approx(expected, rel=1e-12)


def test_bernoulli_of_a_value_between_is_the_cross_entropy():
    found = bernoulli_loss(tensor([[0.25]]), tensor([[log(3)]]))
    assert found.item() == pytest.approx(-0.25 * log(0.75) - 0.75 * log(0.25))


def test_categorical_is_the_negative_log_probability_of_the_class():
    probability = tensor([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
    found = losses.categorical(torch.tensor([2, 0]), probability.log() + 7)  # a shift of all logits changes nothing
    assert found.numpy() == pytest.approx([-log(0.5), -log(0.1)])


@pytest.mark.parametrize(
    ("mean", "sigma", "expected"), [(0, 1, 0), (2, 1, 2), (0, 2, 0.5 * (4 - 1) - log(2)), (-1, 0.5, 0.125 + log(2))]
)
def test_kl_normal_has_known_values(mean, sigma, expected):
    assert losses.kl_normal(tensor([[mean]]), tensor([[2 * log(sigma)]])).item() == pytest.approx(expected)


MEANS = [0.01, 1.0, 30.0, 1024.0, 1e6]
PRECISIONS = [(torch.float64, 1e-7), (torch.float32, 5e-3)]  # scipy's own figures are no better in float64


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS, ids=["float64", "float32"])
def test_counts_of_all_sizes_cost_their_log_probability_in_single_precision_too(mean, dtype, tolerance):
    random = np.random.default_rng(0)
    means = mean * np.exp(random.normal(0, 0.3, 300) * min(1, mean**-0.5))
    x = random.poisson(means)
    found = poisson_loss(torch.tensor(x)[:, None].to(dtype), torch.tensor(means).log()[:, None].to(dtype))
    assert found.double().numpy() == pytest.approx(-stats.poisson.logpmf(x, means), rel=1e-6, abs=tolerance)
    for dispersion in (1e-6, 1e-3, 0.5, 20.0, 1e3):
        size = 1 / dispersion
        x = random.negative_binomial(size, size / (size + means))
        found = negative_binomial_loss(
            torch.tensor(x)[:, None].to(dtype),
            torch.tensor(means).log()[:, None].to(dtype),
            torch.tensor([dispersion]).log().to(dtype),
        )
        expected = -stats.nbinom.logpmf(x, size, size / (size + means))
        assert found.double().numpy() == pytest.approx(expected, rel=1e-6, abs=tolerance)


@pytest.mark.parametrize("mean", MEANS)
def test_the_gradients_of_counts_of_all_sizes_agree_with_finite_differences(mean):
    x = tensor(np.random.default_rng(0).poisson(mean, (4, 2)))
    natural = min(1.0, mean**-0.5)  # so that a step of a finite difference is one on the scale of the noise
    steps = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for log_dispersion in (-12.0, -1.0, 4.0):
        dispersion = torch.full((2,), log_dispersion, dtype=torch.float64, requires_grad=True)

        def loss(steps, dispersion):
            return negative_binomial_loss(x, log(mean) + natural * steps, dispersion)

        assert gradcheck(loss, (steps.clone().requires_grad_(), dispersion), rtol=1e-3, atol=1e-4)
    assert gradcheck(lambda s: poisson_loss(x, log(mean) + natural * s), steps.clone().requires_grad_(), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_far_from_their_mean_pull_it_near(dtype):
    x = torch.tensor([[0.0], [1.0], [1e6], [1e9]], dtype=dtype)
    for log_mean in (-25.0, 30.0):
        for log_dispersion in (-18.0, 0.0, 7.0):
            output = torch.full((4, 1), log_mean, dtype=dtype, requires_grad=True)
            binomial = negative_binomial_loss(x, output, torch.tensor([log_dispersion], dtype=dtype))
            for cost in (binomial, poisson_loss(x, output)):
                (gradient,) = torch.autograd.grad(cost.sum(), output, retain_graph=True)
                assert cost.isfinite().all()
                assert gradient.isfinite().all()
                pulled = gradient[1:] if log_mean < 0 else gradient  # a count of 0 is at home in a small mean
                assert (pulled * log_mean > 0).all()


def test_kl_laplace_has_a_known_value_at_zero():
    expected = (2 / pi) ** 0.5 + log(2) - 0.5 * log(2 * pi * exp(1))
    assert losses.kl_laplace(tensor([[0.0]]), tensor([[0.0]])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (losses.normal_log_density(X), stats.norm.logpdf(X).sum(1)),
        (losses.laplace_log_density(X), stats.laplace.logpdf(X).sum(1)),
        (losses.log_real(X[:, 0]), stats.logistic.logcdf(X[:, 0])),
        (losses.log_fake(X[:, 0]), stats.logistic.logsf(X[:, 0])),
    ],
    ids=["normal", "laplace", "real", "fake"],
)
def test_log_densities_are_those_of_scipy(found, expected):
    assert found.numpy() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("target", "activity"), [(0.05, 0.05), (0.05, 0.5), (0.3, 0.01)])
def test_bernoulli_divergence_is_the_relative_entropy(target, activity):
    found = losses.bernoulli_divergence(target, tensor([activity])).item()
    assert found == pytest.approx(stats.entropy([target, 1 - target], [activity, 1 - activity]), abs=1e-15)


def test_bernoulli_divergence_is_finite_where_nothing_is_active():
    assert losses.bernoulli_divergence(0.05, tensor([0.0, 1.0])).isfinite().all()


def test_losses_of_logits_are_finite_far_out():
    far = tensor([[-1e4, 1e4]])
    assert bernoulli_loss(tensor([[1.0, 0.0]]), far).item() == 2e4
    assert losses.log_real(far[0]).tolist() == [-1e4, 0]
    assert losses.categorical(torch.tensor([0]), far).item() == 2e4
    assert losses.importance_weighted(tensor([[-1e4, -1e4]])).item() == 1e4


# Monte Carlo


@pytest.mark.parametrize("mean", [-2.0, 0.0, 0.7])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(
    ("closed_form", "log_prior"),
    [(losses.kl_normal, losses.normal_log_density), (losses.kl_laplace, losses.laplace_log_density)],
    ids=["normal", "laplace"],
)
def test_a_divergence_in_closed_form_is_what_monte_carlo_finds(closed_form, log_prior, mean, sigma):
    eps = torch.randn(50_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_posterior = losses.normal_log_density(eps) - log(sigma)
    differences = log_posterior - log_prior(mean + sigma * eps)
    error = differences.std().item() / len(eps) ** 0.5
    found = closed_form(tensor([[mean]]), tensor([[2 * log(sigma)]])).item()
    assert found == pytest.approx(differences.mean().item(), abs=4 * error + 1e-12)
    assert found >= 0


# The importance-weighted bound


def test_the_importance_weighted_bound_of_one_draw_is_the_negative_log_weight():
    assert torch.equal(losses.importance_weighted(X[:, :1]), -X[:, 0])


def test_the_importance_weighted_bound_is_the_log_of_the_mean_weight():
    assert losses.importance_weighted(tensor([[log(1), log(2), log(6)]])).item() == pytest.approx(-log(3))


def test_the_importance_weighted_bound_does_not_grow_with_the_draws():
    log_weights = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    costs = [losses.importance_weighted(log_weights[:, :n]) for n in (1, 4, 16, 64)]
    means = [cost.mean().item() for cost in costs]
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.4
    assert means[-1] > -0.5 - 0.02  # log E exp(z) = 1/2 is never passed


# Every loss


@of_rows_and_data
@pytest.mark.parametrize("observed", [None, OBSERVED], ids=["full", "gaps"])
def test_the_gradient_of_a_loss_of_rows_is_that_of_finite_differences(loss, x, observed):
    assert gradcheck(lambda output: loss(x, output, observed), OUTPUT.clone().requires_grad_())


@of_tensors
def test_the_gradient_of_a_loss_is_that_of_finite_differences(loss, tensors):
    assert gradcheck(loss, tuple(t.clone().requires_grad_() for t in tensors))


def test_the_gradient_for_the_variance_is_that_of_finite_differences():
    assert gradcheck(lambda variance: gaussian_loss(X, OUTPUT, variance, OBSERVED), VARIANCE.clone().requires_grad_())


@of_rows_and_data
@pytest.mark.parametrize("observed", [None, OBSERVED], ids=["full", "gaps"])
def test_a_batch_of_one_is_one_of_a_batch(loss, x, observed):
    of_batch = loss(x, OUTPUT, observed)
    assert of_batch.shape == (N,)
    for i in range(N):
        mask = None if observed is None else observed[i : i + 1]
        assert torch.allclose(loss(x[i : i + 1], OUTPUT[i : i + 1], mask), of_batch[i : i + 1], rtol=1e-14)


@of_tensors
def test_a_sample_alone_costs_what_it_costs_in_a_batch(loss, tensors):
    of_batch = loss(*tensors)
    assert of_batch.shape == (N,)
    if isinstance(loss, partial) and loss.func is losses.categorical:
        alone = [losses.categorical(LABELS[i : i + 1], OUTPUT[i : i + 1]) for i in range(N)]
    else:
        alone = [loss(*(t[i : i + 1] for t in tensors)) for i in range(N)]
    assert torch.allclose(torch.cat(alone), of_batch, rtol=1e-14)


@of_rows_and_data
def test_missing_cells_cost_nothing(loss, x):
    known = OBSERVED.bool()
    elsewhere = torch.where(known, OUTPUT, OUTPUT + 100)
    assert torch.equal(loss(x, OUTPUT, OBSERVED), loss(x, elsewhere, OBSERVED))
    nothing = torch.zeros_like(x)
    assert torch.equal(loss(x, OUTPUT, nothing), torch.zeros(N, dtype=torch.float64))


@of_rows_and_data
def test_a_row_with_gaps_costs_what_its_known_cells_cost(loss, x):
    of_cells = sum(
        loss(x, OUTPUT, torch.eye(D, dtype=torch.float64)[j].expand(N, D)) * OBSERVED[:, j] for j in range(D)
    )
    assert torch.allclose(loss(x, OUTPUT, OBSERVED), of_cells)
    assert torch.allclose(loss(x, OUTPUT, torch.ones_like(x)), loss(x, OUTPUT))


@of_rows_and_data
def test_missing_cells_get_no_gradient_and_known_ones_do(loss, x):
    output = OUTPUT.clone().requires_grad_()
    loss(x, output, OBSERVED).sum().backward()
    assert torch.equal(output.grad != 0, OBSERVED.bool())


@of_rows_and_data
@pytest.mark.parametrize("observed", [None, OBSERVED], ids=["full", "gaps"])
def test_several_draws_of_a_row_are_costed_one_by_one(loss, x, observed):
    outputs = torch.randn(N, L, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = None if observed is None else observed.unsqueeze(1)
    found = loss(x.unsqueeze(1), outputs, mask)
    assert found.shape == (N, L)
    assert torch.allclose(found, torch.stack([loss(x, outputs[:, i], observed) for i in range(L)], 1))


def test_a_class_is_costed_for_every_draw():
    logits = torch.randn(N, L, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = losses.categorical(LABELS.unsqueeze(1).expand(N, L), logits)
    assert found.shape == (N, L)
    assert torch.allclose(found, torch.stack([losses.categorical(LABELS, logits[:, i]) for i in range(L)], 1))


@pytest.mark.parametrize("log_density", [losses.normal_log_density, losses.laplace_log_density])
def test_a_log_density_takes_any_leading_dimensions(log_density):
    z = torch.randn(2, 3, 4, D, dtype=torch.float64)
    assert torch.allclose(log_density(z), log_density(z.reshape(-1, D)).view(2, 3, 4))
