"""Kinds of column: loss and link belong together, draws follow them, and noise is learned in closed form."""

import pytest
import torch

from sklearn_ae.modules import noise
from sklearn_ae.objectives import losses
from sklearn_ae.objectives.columns import Bernoulli, Gaussian, UnitGaussian

N, D = 400, 3
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, D, generator=GENERATOR, dtype=torch.float64)
OUTPUT = torch.randn(N, D, generator=GENERATOR, dtype=torch.float64)
SPREAD = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
ERRORS = (X * SPREAD).square()
ALL = torch.ones(N, D, dtype=torch.float64)

KINDS = {
    "unit": UnitGaussian(D),
    "scalar": Gaussian(D, sigma=0.5).double(),
    "column": Gaussian(D, sigma=2.0, per_column=True).double(),
    "bernoulli": Bernoulli(D),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def after(likelihood, n_steps, errors=ERRORS, weight=ALL):
    """The variance after a number of batches."""
    for _ in range(n_steps):
        likelihood.variance.copy_(likelihood.running_variance(errors, weight))
    return likelihood.variance


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (KINDS["unit"], losses.unit_gaussian(X, OUTPUT)),
        (KINDS["scalar"], losses.gaussian(X, OUTPUT, torch.tensor(0.25))),
        (KINDS["column"], losses.gaussian(X, OUTPUT, torch.full((D,), 4.0))),
    ],
    ids=["unit", "scalar", "column"],
)
def test_a_numeric_column_costs_its_negative_log_density(kind, expected):
    assert torch.allclose(kind.loss(X, OUTPUT), expected)


def test_a_column_of_probabilities_costs_its_cross_entropy():
    assert torch.equal(Bernoulli(D).loss(X.sigmoid(), OUTPUT), losses.bernoulli(X.sigmoid(), OUTPUT))


@kinds
def test_the_link_is_the_row_that_costs_least(kind):
    x = X.sigmoid()
    output = (x.logit() if kind is KINDS["bernoulli"] else x.clone()).requires_grad_()
    assert torch.allclose(kind.link(output), x)
    (gradient,) = torch.autograd.grad(kind.loss(x, output).sum(), output)
    assert torch.allclose(gradient, torch.zeros_like(x), atol=1e-10)


@kinds
def test_the_link_is_the_mean_of_the_draws(kind):
    output = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64).expand(20_000, D)
    with noise.drawn(torch.Generator().manual_seed(0)):
        rows = kind.draw(output)
    error = rows.std(0) / len(rows) ** 0.5
    assert ((rows.mean(0) - kind.link(output[0])).abs() < 4 * error).all()


@pytest.mark.parametrize(("name", "sigma"), [("unit", 1.0), ("scalar", 0.5), ("column", 2.0)])
def test_the_draws_of_a_numeric_column_spread_as_its_noise(name, sigma):
    with noise.drawn(torch.Generator().manual_seed(0)):
        rows = KINDS[name].draw(torch.zeros(20_000, D, dtype=torch.float64))
    assert rows.std(0).tolist() == pytest.approx([sigma] * D, rel=0.03)


def test_the_draws_of_a_probability_are_zeros_and_ones():
    with noise.drawn(torch.Generator().manual_seed(0)):
        rows = Bernoulli(D).draw(OUTPUT)
    assert rows.dtype == OUTPUT.dtype
    assert set(rows.unique().tolist()) == {0.0, 1.0}


def test_a_probability_of_one_is_always_drawn_and_of_zero_never():
    with noise.handed([torch.tensor([[0.0, 0.999999]] * 2)]):
        rows = Bernoulli(D).draw(torch.tensor([[-1e3, -1e3], [1e3, 1e3]]))
    assert rows.tolist() == [[0, 0], [1, 1]]


# Learned noise


@pytest.mark.parametrize("per_column", [False, True])
def test_the_running_variance_converges_to_the_mean_squared_error(per_column):
    variance = after(Gaussian(D, per_column=per_column).double(), 400)
    assert torch.allclose(variance, ERRORS.mean(0) if per_column else ERRORS.mean())


@pytest.mark.parametrize("per_column", [False, True])
def test_one_batch_moves_the_variance_by_the_rate(per_column):
    likelihood = Gaussian(D, sigma=3.0, per_column=per_column).double()
    expected = 0.95 * 9 + 0.05 * (ERRORS.mean(0) if per_column else ERRORS.mean())
    assert torch.allclose(likelihood.running_variance(ERRORS, ALL), expected)
    assert likelihood.variance.eq(9).all()  # what is returned is not yet written


@pytest.mark.parametrize("per_column", [False, True])
def test_the_running_variance_looks_at_observed_cells_only(per_column):
    observed = (X > -0.3).double()
    errors = torch.where(observed.bool(), ERRORS, ERRORS + 1e6)
    over = 0 if per_column else (0, 1)
    variance = after(Gaussian(D, per_column=per_column).double(), 400, errors, observed)
    assert torch.allclose(variance, (ERRORS * observed).sum(over) / observed.sum(over))


@pytest.mark.parametrize("per_column", [False, True])
def test_the_running_variance_counts_a_row_of_weight_two_twice(per_column):
    twice = torch.tensor([0, 0, 1, 2])
    weight = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64).unsqueeze(1).expand(3, D)
    likelihood = Gaussian(D, per_column=per_column).double()
    weighted = likelihood.running_variance(ERRORS[:3], weight)
    assert torch.allclose(weighted, likelihood.running_variance(ERRORS[twice], ALL[:4]))
    assert torch.allclose(weighted, likelihood.running_variance(ERRORS[:3], 7 * weight))


@pytest.mark.parametrize("per_column", [False, True])
def test_the_running_variance_has_a_floor(per_column):
    likelihood = Gaussian(D, per_column=per_column).double()
    variance = after(likelihood, 400, torch.zeros_like(ERRORS))
    assert torch.allclose(variance, torch.full_like(variance, 0.03**2))


def test_a_column_that_is_never_observed_keeps_its_variance():
    observed = ALL.clone()
    observed[:, 1] = 0
    variance = after(Gaussian(D, sigma=1.5, per_column=True).double(), 50, ERRORS, observed)
    assert variance[1] == 1.5**2
    assert variance[0] != 1.5**2
    assert variance[2] != 1.5**2


@pytest.mark.parametrize("per_column", [False, True])
def test_where_nothing_is_observed_the_variance_stays(per_column):
    likelihood = Gaussian(D, sigma=1.5, per_column=per_column).double()
    assert torch.equal(likelihood.running_variance(ERRORS, torch.zeros_like(ERRORS)), likelihood.variance)


def test_the_variance_is_a_buffer_that_is_saved_and_never_trained():
    likelihood = Gaussian(D, sigma=0.5)
    assert list(likelihood.parameters()) == []
    assert likelihood.state_dict()["variance"] == 0.25
    assert Gaussian(D, per_column=True).variance.shape == (D,)
