"""Kinds of column: loss and link belong together, draws follow them, and noise is learned in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_ae.likelihoods.bernoulli import Bernoulli, bernoulli_loss
from sklearn_ae.likelihoods.categories import FEW, WIDTH, Categorical, Embedded
from sklearn_ae.likelihoods.counts import NegativeBinomial, Poisson, _poisson_ppf, negative_binomial_loss
from sklearn_ae.likelihoods.gaussian import Gaussian, UnitGaussian, gaussian_loss, unit_gaussian_loss
from sklearn_ae.likelihoods.mixed import Mixed, table_likelihood
from sklearn_ae.modules import noise
from sklearn_ae.modules.mlp import draw_weights

N, D = 400, 3
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, D, generator=GENERATOR, dtype=torch.float64)
OUTPUT = torch.randn(N, D, generator=GENERATOR, dtype=torch.float64)
SPREAD = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
ERRORS = (X * SPREAD).square()
ALL = torch.ones(N, D, dtype=torch.float64)

KINDS = {
    "unit": UnitGaussian(D),
    "scalar": Gaussian(D, sigma=0.5, per_column=False).double(),
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
        (KINDS["unit"], unit_gaussian_loss(X, OUTPUT)),
        (KINDS["scalar"], gaussian_loss(X, OUTPUT, torch.tensor(0.25))),
        (KINDS["column"], gaussian_loss(X, OUTPUT, torch.full((D,), 4.0))),
    ],
    ids=["unit", "scalar", "column"],
)
def test_a_numeric_column_costs_its_negative_log_density(kind, expected):
    assert torch.allclose(kind.loss(X, OUTPUT), expected)


def test_a_column_of_probabilities_costs_its_cross_entropy():
    assert torch.equal(Bernoulli(D).loss(X.sigmoid(), OUTPUT), bernoulli_loss(X.sigmoid(), OUTPUT))


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
    with noise.supplied([torch.tensor([[0.0, 0.999999]] * 2)]):
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
    likelihood = Gaussian(D, sigma=0.5, per_column=False)
    assert list(likelihood.parameters()) == []
    assert likelihood.state_dict()["variance"] == 0.25
    assert Gaussian(D, per_column=True).variance.shape == (D,)


# Categories and counts

CODES = torch.tensor([[1.0, 3.0], [2.0, 0.0], [1.0, 1.0], [2.0, 2.0]], dtype=torch.float64)  # 0: missing
LOGITS = torch.randn(4, 6, generator=GENERATOR, dtype=torch.float64)
COUNTS = torch.tensor([[0.0, 2.0], [5.0, 1.0], [31.0, 0.0]], dtype=torch.float64)
LOG_RATES = torch.tensor([[-1.0, 0.5], [1.6, 0.0], [3.0, -2.0]], dtype=torch.float64)


def embedded(n_categories=7):
    shares = torch.arange(1.0, n_categories + 1, dtype=torch.float64)
    column = Embedded(shares / shares.sum()).double()
    draw_weights(column, torch.Generator().manual_seed(3))
    return column


def mixed():
    return Mixed([UnitGaussian(1), Bernoulli(1), Poisson(1), Categorical([3, 3]), embedded()]).double()


CELLS = torch.tensor([[0.3, 1.0, 4.0, 1.0, 3.0, 7.0], [-1.0, 0.0, 0.0, 2.0, 0.0, 1.0]], dtype=torch.float64)
DECODED = torch.randn(2, 3 + 6 + WIDTH, generator=GENERATOR, dtype=torch.float64)


def test_a_category_is_an_input_of_its_own_and_a_missing_one_is_none():
    assert Categorical([3, 3]).double().embed(CODES[:2]).tolist() == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0]]


def test_a_category_costs_its_cross_entropy():
    expected = torch.nn.functional.cross_entropy(
        LOGITS.view(8, 3), (CODES - 1).clamp(min=0).long().view(8), reduction="none"
    )
    observed = (CODES > 0).double()
    found = Categorical([3, 3]).double().loss(CODES, LOGITS, observed)
    assert torch.allclose(found, (expected.view(4, 2) * observed).sum(1))


def test_columns_of_different_sizes_are_computed_as_if_each_were_alone():
    columns, parts = Categorical([2, 5, 3]).double(), [Categorical([size]).double() for size in (2, 5, 3)]
    x = torch.tensor([[2.0, 4.0, 1.0], [1.0, 5.0, 3.0]], dtype=torch.float64)
    output = 900 * torch.randn(2, 10, generator=GENERATOR, dtype=torch.float64)  # exponentials would overflow
    observed = torch.tensor([[1.0, 1.0, 0.0], [0.5, 1.0, 1.0]], dtype=torch.float64)
    of_parts = list(zip(parts, x.split(1, 1), output.split([2, 5, 3], 1), observed.split(1, 1), strict=True))
    assert torch.allclose(columns.loss(x, output, observed), sum(part.loss(*rest) for part, *rest in of_parts))
    assert torch.equal(columns.embed(x), torch.cat([part.embed(cells) for part, cells, *_ in of_parts], 1))
    assert torch.allclose(columns.link(output), torch.cat([part.link(o) for part, _, o, _ in of_parts], 1))
    assert torch.equal(columns.estimate(output), torch.cat([part.estimate(o) for part, _, o, _ in of_parts], 1))
    numbers = torch.rand(2, 3, generator=GENERATOR, dtype=torch.float64)
    with noise.supplied([numbers]):
        drawn = columns.draw(output)
    with noise.supplied(numbers.split(1, 1)):
        assert torch.equal(drawn, torch.cat([part.draw(o) for part, _, o, _ in of_parts], 1))


@pytest.mark.parametrize("column", [Categorical([3, 3]).double(), embedded(3)], ids=["one-hot", "embedded"])
def test_categories_are_drawn_as_often_as_they_are_probable(column):
    output = torch.randn(column.n_outputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    output = output.expand(20_000, -1)
    column.eval()
    with noise.drawn(torch.Generator().manual_seed(0)):
        drawn = column.draw(output)
    for j in range(column.n_cells):
        for category in (1.0, 2.0, 3.0):
            cells = torch.ones(1, column.n_cells, dtype=torch.float64)
            others = torch.zeros(1, column.n_cells, dtype=torch.float64)
            cells[0, j], others[0, j] = category, 1.0
            probability = (-column.loss(cells, output[:1], others)).exp().item()
            assert (drawn[:, j] == category).double().mean().item() == pytest.approx(probability, abs=0.015)


@pytest.mark.parametrize("column", [Categorical([3, 3]).double(), embedded(3).eval()], ids=["one-hot", "embedded"])
def test_the_probabilities_of_all_categories_are_one(column):
    output = torch.randn(1, column.n_outputs, generator=GENERATOR, dtype=torch.float64)
    only_the_first = torch.eye(column.n_cells, dtype=torch.float64)[:1]
    costs = [
        column.loss(torch.full((1, column.n_cells), c, dtype=torch.float64), output, only_the_first)
        for c in (1.0, 2.0, 3.0)
    ]
    assert sum((-cost).exp() for cost in costs).item() == pytest.approx(1)
    best = 1 + min(range(3), key=lambda c: costs[c].item())
    assert column.estimate(output)[0, 0] == best


def test_the_cost_of_many_categories_while_training_is_an_estimate_of_their_cost():
    column = embedded()
    shares = column.log_frequencies.exp()
    x = 1.0 + torch.multinomial(shares, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    x, output = (
        x.double().unsqueeze(1),
        torch.randn(1, WIDTH, generator=GENERATOR, dtype=torch.float64).expand(20_000, -1),
    )
    sampled, exact = column.train().loss(x[:4000], output[:4000]), column.eval().loss(x[:4000], output[:4000])
    assert sampled.mean().item() == pytest.approx(exact.mean().item(), abs=0.02)
    assert not torch.equal(sampled, exact)


def test_missing_categories_are_no_candidates_and_give_no_gradient():
    column = embedded().train()
    x = torch.tensor([[2.0], [0.0], [5.0]], dtype=torch.float64)
    output = torch.randn(3, WIDTH, generator=GENERATOR, dtype=torch.float64, requires_grad=True)
    loss = column.loss(x, output, (x > 0).double())
    alone = column.loss(x[[0, 2]], output[[0, 2]], torch.ones(2, 1, dtype=torch.float64))
    assert torch.allclose(loss[[0, 2]], alone)
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert gradient[1].abs().sum() == 0
    nothing = column.loss(torch.zeros_like(x), output, torch.zeros_like(x)).sum()
    assert torch.isfinite(torch.autograd.grad(nothing, output)[0]).all()


def test_counts_cost_their_log_probability():
    poisson = stats.poisson.logpmf(COUNTS.numpy(), LOG_RATES.exp().numpy()).sum(1)
    assert Poisson(2).loss(COUNTS, LOG_RATES).numpy() == pytest.approx(-poisson)
    column = NegativeBinomial(2).double()
    with torch.no_grad():
        column.log_dispersion.copy_(torch.tensor([-1.0, 0.7]))
    size = (-column.log_dispersion.detach()).exp().numpy()
    binomial = stats.nbinom.logpmf(COUNTS.numpy(), size, size / (size + LOG_RATES.exp().numpy())).sum(1)
    assert column.loss(COUNTS, LOG_RATES).detach().numpy() == pytest.approx(-binomial)


@pytest.mark.parametrize("Kind", [Poisson, NegativeBinomial])
def test_counts_are_drawn_around_their_rate(Kind):
    column = Kind(1).double()
    with noise.drawn(torch.Generator().manual_seed(0)), torch.no_grad():
        drawn = column.draw(torch.full((20_000, 1), 1.5, dtype=torch.float64))
    assert (drawn == drawn.round()).all()
    assert drawn.mean().item() == pytest.approx(math.exp(1.5), rel=0.05)
    variance = math.exp(1.5) if Kind is Poisson else math.exp(1.5) + math.exp(3.0)
    assert drawn.var().item() == pytest.approx(variance, rel=0.08)


def test_columns_of_several_kinds_cost_the_sum_of_their_parts():
    columns = mixed().eval()
    observed = torch.ones_like(CELLS)
    observed[1, 4] = 0
    cells, outputs = CELLS.split([1, 1, 1, 2, 1], 1), DECODED.split([1, 1, 1, 6, WIDTH], 1)
    masks = observed.split([1, 1, 1, 2, 1], 1)
    parts = [part.loss(*of_part) for part, *of_part in zip(columns.parts, cells, outputs, masks, strict=True)]
    assert torch.allclose(columns.loss(CELLS, DECODED, observed), sum(parts))
    assert columns.embed(CELLS).shape == columns.link(DECODED).shape == columns.per_input(CELLS).shape == (2, 9 + WIDTH)
    assert columns.estimate(DECODED).shape == (2, 6)


def test_the_cost_of_several_draws_is_that_of_each():
    columns = mixed().eval()
    draws = torch.stack([DECODED, DECODED.flip(0)], 1)  # (n, L, n_outputs)
    cost = columns.loss(CELLS.unsqueeze(1), draws)
    assert torch.allclose(cost[:, 0], columns.loss(CELLS, DECODED))
    assert torch.allclose(cost[:, 1], columns.loss(CELLS, DECODED.flip(0)))


def test_what_is_expected_of_one_draw_is_typical_of_it():
    columns = mixed().eval()
    certain = torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64)
    draws = torch.stack([DECODED, DECODED.flip(0)], 1)
    assert torch.allclose(columns.averaged_estimate(draws, certain), columns.estimate(DECODED))


@pytest.mark.parametrize("training", [True, False])
def test_the_gradients_of_all_kinds_agree_with_finite_differences(training):
    columns = mixed().train(training)
    observed = torch.ones_like(CELLS)
    observed[1, 4] = 0
    output = DECODED.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda o: columns.loss(CELLS, o, observed), output)
    assert torch.autograd.gradcheck(columns.link, output)
    dispersed = NegativeBinomial(2).double()
    rates = LOG_RATES.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda o, a: negative_binomial_loss(COUNTS, o, a), (rates, dispersed.log_dispersion)
    )


def test_a_table_is_put_together_from_its_kinds():
    shares = (np.ones(2) / 2, np.ones(3) / 3, np.ones(3) / 3, np.ones(FEW + 1) / (FEW + 1))
    columns = table_likelihood({UnitGaussian: 2, Poisson: 1}, shares, UnitGaussian)
    assert [type(part) for part in columns.parts] == [UnitGaussian, Poisson, Categorical, Embedded]
    assert (columns.n_cells, columns.n_inputs) == (7, 3 + 2 + 6 + WIDTH)
    assert isinstance(table_likelihood({UnitGaussian: 2}, (), UnitGaussian), UnitGaussian)


# Where columns begin

WEIGHT = torch.tensor([[1.0, 0.0], [2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)


def means(cells):
    return (cells * WEIGHT).sum(0) / WEIGHT.sum(0)


def test_truth_values_begin_at_the_log_odds_of_their_weighted_mean():
    cells = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    column = Bernoulli(2)
    assert torch.allclose(column.link(column.initial_output(cells, WEIGHT)), means(cells))
    nothing = column.initial_output(torch.zeros_like(cells), WEIGHT)
    assert nothing.isfinite().all()
    assert (column.link(nothing) < 1e-3).all()


def test_categories_begin_at_their_weighted_shares():
    column = Categorical([3, 2]).double()
    shares = column.link(column.initial_output(torch.tensor([[1.0, 0.0], [2.0, 2.0], [3.0, 1.0]]).double(), WEIGHT))
    assert torch.allclose(shares, torch.tensor([0.25, 0.5, 0.25, 0.75, 0.25], dtype=torch.float64))


@pytest.mark.parametrize("Kind", [Poisson, NegativeBinomial])
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_counts_begin_at_their_weighted_mean(Kind, size):
    cells = size * torch.tensor([[1.0, 7.0], [0.0, 3.0], [5.0, 1.0]], dtype=torch.float64)
    column = Kind(2).double()
    with torch.no_grad():
        output = column.initial_output(cells, WEIGHT)
        assert torch.allclose(column.estimate(output), means(cells))
        assert torch.allclose(column.link(output), torch.zeros_like(output))
        assert torch.allclose(column.link(output + 1), column.embed(column.estimate(output + 1)))
    if Kind is NegativeBinomial:
        mean, variance = means(cells), means((cells - means(cells)).square())
        expected = torch.maximum(variance - mean, 0.1 * mean) / mean**2
        assert torch.allclose(column.log_dispersion.exp(), expected)


def test_counts_that_are_never_there_begin_at_a_small_rate():
    column = NegativeBinomial(2).double()
    with torch.no_grad():
        rate = column.estimate(column.initial_output(torch.zeros(3, 2, dtype=torch.float64), WEIGHT))
    assert torch.allclose(rate, torch.full_like(rate, 1e-4))


def test_a_missing_count_is_encoded_as_the_mean():
    column = Poisson(2).double()
    cells = torch.tensor([[4.0, 0.0], [8.0, 9.0]], dtype=torch.float64)
    column.initial_output(cells, torch.ones_like(cells))
    observed = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert column.embed(cells, observed)[0, 1] == 0
    both = Mixed([UnitGaussian(1), column]).embed(torch.cat([cells[:, :1], cells], 1), torch.ones(2, 3).double())
    assert torch.equal(both, torch.cat([cells[:, :1], column.embed(cells)], 1))


def test_a_rate_far_out_has_a_gradient():
    column = Poisson(1).double()
    output = torch.tensor([[-50.0], [50.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(column.loss(torch.ones(2, 1, dtype=torch.float64), output).sum(), output)
    assert gradient[0] < 0 < gradient[1]


@pytest.mark.parametrize("Kind", [Poisson, NegativeBinomial])
@pytest.mark.parametrize("mean", [0.01, 1024.0, 1e6, 1e9])
def test_counts_of_all_sizes_are_drawn_in_single_precision(Kind, mean):
    column = Kind(1)
    with torch.no_grad(), noise.drawn(torch.Generator().manual_seed(0)):
        column.mean.fill_(mean)
        drawn = column.draw(torch.zeros(20_000, 1)).double()
    variance = mean if Kind is Poisson else mean + mean**2
    assert drawn.mean().item() == pytest.approx(mean, abs=4 * (variance / 20_000) ** 0.5 + 2e-6 * mean)
    assert drawn.std().item() == pytest.approx(variance**0.5, rel=0.1)


@pytest.mark.parametrize("Kind", [Poisson, NegativeBinomial])
def test_the_least_number_draws_no_count_that_cannot_be(Kind):
    column = Kind(1)
    column.mean.fill_(1e6)
    with torch.no_grad(), noise.supplied([torch.zeros(1, 1)]):
        drawn = column.draw(torch.zeros(1, 1)).item()
    assert drawn > 9e5 if Kind is Poisson else 0 <= drawn < 1


@pytest.mark.parametrize("rate", [1e4, 1e6])
def test_large_counts_are_drawn_as_exact_quantiles_are(rate):
    shares = np.random.default_rng(0).random(5000)
    assert np.abs(_poisson_ppf(shares, np.full(5000, rate)) - stats.poisson.ppf(shares, rate)).max() <= 1


# In bfloat16


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("observed", [None, torch.tensor([[1.0, 0, 1, 1, 0, 1], [1, 1, 1, 0, 1, 1]])])
def test_a_likelihood_is_computed_in_its_own_precision_where_layers_are_not(training, observed):
    columns, cells, output = mixed().float().train(training), CELLS.float(), 3.3 * DECODED.float()
    functions = {
        "loss": lambda: columns.loss(cells, output, observed),
        "link": lambda: columns.link(output),
        "typical": lambda: columns.estimate(output),
    }
    for function in functions.values():
        exact = function()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(function(), exact)
