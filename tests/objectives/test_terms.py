"""Terms: one value per sample or one for the batch, over draws, gaps, weights and labels."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from sklearn_ae.likelihoods.bernoulli import Bernoulli
from sklearn_ae.likelihoods.gaussian import Gaussian, UnitGaussian, unit_gaussian_loss
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.modules.codes import PointCode
from sklearn_ae.modules.mlp import draw_weights, hidden_layers, mlp
from sklearn_ae.objectives import terms
from sklearn_ae.objectives.terms import PENALTIES, Batch, labeled_mean, weighted_mean

N, D, K, L = 6, 4, 3, 5
GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


X, CODES, OUTPUT, OUTPUTS = normal(N, D), normal(N, K), normal(N, D), normal(N, L, D)
WEIGHT = torch.tensor([1.0, 0.0, 2.0, 0.5, 1.5, 1.0], dtype=torch.float64)
OBSERVED = (normal(N, D) > -0.5).double()


def autoencoder(encoder=None, n_features=5, n_components=K, likelihood=None):
    module = Autoencoder(
        encoder or hidden_layers([D, n_features], "tanh"),
        PointCode(n_features, n_components),
        mlp([n_components, D], "tanh"),
        likelihood or UnitGaussian(D),
    ).double()
    draw_weights(module, torch.Generator().manual_seed(0))
    return module


# Parts


def test_the_weighted_mean_divides_by_the_number_of_rows():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert weighted_mean(values, None).item() == 3
    assert weighted_mean(values, torch.tensor([3.0, 0.0, 0.0])).item() == 1
    # Not a ratio: the weights of a batch need not have mean 1, those of the training rows have.
    assert weighted_mean(values, torch.tensor([1.0, 1.0, 0.0])).item() == 1


def test_the_mean_over_labelled_rows_divides_by_their_number():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert labeled_mean(values, None).item() == 3
    assert labeled_mean(values, torch.tensor([1.0, 0.0, 1.0])).item() == 3.5
    # Weights would cancel in a batch of one row, if they were divided by.
    assert labeled_mean(values, torch.tensor([3.0, 0.5, 0.0])).item() == 2
    assert labeled_mean(values, torch.zeros(3)).item() == 0


def test_the_weighted_means_of_equal_batches_average_to_that_of_all_rows():
    values = normal(N)
    of_batches = [weighted_mean(values[rows], WEIGHT[rows]) for rows in torch.arange(N).split(2)]
    assert torch.stack(of_batches).mean().item() == pytest.approx(np.average(values, weights=WEIGHT))


@pytest.mark.parametrize(("like", "shape"), [(OUTPUT, (N, D)), (OUTPUTS, (N, 1, D))])
def test_rows_stand_beside_their_draws(like, shape):
    assert terms.rows_for(X, like).shape == shape


def test_a_batch_is_mapped_where_something_is_there():
    batch = Batch(X, weight=WEIGHT).map(lambda column: column[:2])
    assert torch.equal(batch.x, X[:2])
    assert torch.equal(batch.weight, WEIGHT[:2])
    assert (batch.y, batch.label_weight, batch.observed) == (None, None, None)


# Reconstruction


@pytest.mark.parametrize("observed", [None, OBSERVED], ids=["full", "gaps"])
@pytest.mark.parametrize(
    "likelihood",
    [UnitGaussian(D), Gaussian(D, sigma=0.5, per_column=True).double(), Bernoulli(D)],
    ids=lambda o: type(o).__name__,
)
def test_the_reconstruction_is_the_loss_of_the_likelihood(likelihood, observed):
    x = X.sigmoid()
    found = terms.reconstruction(autoencoder(likelihood=likelihood), Batch(x, observed=observed), {"output": OUTPUT})
    assert torch.equal(found, likelihood.loss(x, OUTPUT, observed))


@pytest.mark.parametrize("observed", [None, OBSERVED], ids=["full", "gaps"])
def test_the_reconstruction_of_several_draws_is_their_mean(observed):
    module, batch = autoencoder(), Batch(X, observed=observed)
    by_draw = terms.reconstruction_by_draw(module, batch, {"output": OUTPUTS})
    one_by_one = [unit_gaussian_loss(X, OUTPUTS[:, i], observed) for i in range(L)]
    assert torch.allclose(by_draw, torch.stack(one_by_one, 1))
    assert torch.allclose(terms.reconstruction(module, batch, {"output": OUTPUTS}), by_draw.mean(1))


# Targets

LABELS = torch.tensor([0, 2, 1, 1, 0, 2])
VALUES = normal(N)
TARGETS = {
    "class": (terms.class_target, LABELS, normal(N, 3), normal(N, L, 3)),
    "value": (terms.value_target, VALUES, normal(N, 1), normal(N, L, 1)),
}
targets = pytest.mark.parametrize(("term", "y", "logits", "of_draws"), TARGETS.values(), ids=TARGETS)


def test_the_class_target_is_the_cross_entropy():
    logits = TARGETS["class"][2]
    found = terms.class_target(None, Batch(X, LABELS), {"logits": logits}).item()
    assert found == pytest.approx(log_loss(LABELS, logits.softmax(1), labels=[0, 1, 2]))


def test_the_value_target_is_half_the_squared_error():
    output = TARGETS["value"][2]
    found = terms.value_target(None, Batch(X, VALUES), {"logits": output}).item()
    assert found == pytest.approx(0.5 * (VALUES - output[:, 0]).square().mean().item())


@targets
def test_an_unlabelled_row_costs_nothing_and_gets_no_gradient(term, y, logits, of_draws):
    labelled = torch.tensor([1.0, 0, 1, 0, 0, 1], dtype=torch.float64)
    other = torch.where(labelled > 0, y, torch.zeros_like(y))
    logits = logits.clone().requires_grad_()
    cost = term(None, Batch(X, y, label_weight=labelled), {"logits": logits})
    assert cost.shape == ()
    assert torch.equal(cost, term(None, Batch(X, other, label_weight=labelled), {"logits": logits}))
    cost.backward()
    assert torch.equal(logits.grad.abs().sum(1) > 0, labelled.bool())


@targets
def test_a_target_averages_over_the_labelled_rows(term, y, logits, of_draws):
    labelled = torch.tensor([True, False, True, False, False, True])
    found = term(None, Batch(X, y, label_weight=labelled.double()), {"logits": logits})
    assert torch.allclose(found, term(None, Batch(X[labelled], y[labelled]), {"logits": logits[labelled]}))


@targets
def test_a_target_goes_by_its_own_weight(term, y, logits, of_draws):
    trace = {"logits": logits}
    assert torch.equal(term(None, Batch(X, y, weight=WEIGHT), trace), term(None, Batch(X, y), trace))
    assert not torch.equal(term(None, Batch(X, y, label_weight=WEIGHT), trace), term(None, Batch(X, y), trace))


@targets
def test_a_target_of_a_batch_without_labels_costs_nothing_and_gives_no_gradient(term, y, logits, of_draws):
    logits = logits.clone().requires_grad_()
    cost = term(None, Batch(X, y, label_weight=torch.zeros_like(WEIGHT)), {"logits": logits})
    assert cost.item() == 0
    cost.backward()
    assert not logits.grad.any()


@targets
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
def test_a_target_of_several_draws_is_their_mean(term, y, logits, of_draws, weight):
    batch = Batch(X, y, label_weight=weight)
    one_by_one = [term(None, batch, {"logits": of_draws[:, i]}) for i in range(L)]
    assert torch.allclose(term(None, batch, {"logits": of_draws}), torch.stack(one_by_one).mean())


# Penalties


def test_the_penalties_have_names():
    assert set(PENALTIES) == {"l1", "l2", "kl", "contractive"}


@pytest.mark.parametrize(("name", "expected"), [("l1", [3.5, 0.0]), ("l2", [5.25, 0.0])])
def test_a_norm_of_the_code_has_a_known_value(name, expected):
    codes = torch.tensor([[1.0, -2.0, 0.5], [0, 0, 0]])
    assert PENALTIES[name](None, Batch(codes), {"code": codes}).tolist() == expected


def test_sparsity_is_the_divergence_of_the_mean_activity():
    codes = torch.tensor([[0.2, 0.05], [0.4, 0.05]], dtype=torch.float64).logit()
    found = terms.sparsity(None, Batch(codes), {"code": codes})
    assert found.shape == ()
    expected = 0.05 * np.log(0.05 / 0.3) + 0.95 * np.log(0.95 / 0.7)  # the second dimension is on target
    assert found.item() == pytest.approx(expected)
    assert terms.sparsity(None, Batch(codes), {"code": codes}, target=0.3).item() == pytest.approx(
        0.3 * np.log(0.3 / 0.05) + 0.7 * np.log(0.7 / 0.95)
    )


def test_sparsity_counts_a_row_of_weight_two_twice():
    once, twice = torch.tensor([1.5, 0.75, 0.75], dtype=torch.float64), torch.tensor([0, 0, 1, 2])
    weighted = terms.sparsity(None, Batch(X[:3], weight=once), {"code": CODES[:3]})
    assert torch.allclose(weighted, terms.sparsity(None, Batch(X[twice]), {"code": CODES[twice]}))


def sigmoid_layer(n_hidden=5):
    """An autoencoder whose code is one sigmoid layer."""
    module = autoencoder(nn.Sequential(nn.Linear(D, n_hidden), nn.Sigmoid()), n_hidden, n_hidden)
    with torch.no_grad():
        module.bottleneck.location.weight.copy_(torch.eye(n_hidden))
        module.bottleneck.location.bias.zero_()
    return module


def contractive_of_a_sigmoid_layer(layer, x):
    hidden = (x @ layer.weight.T + layer.bias).sigmoid()
    return (hidden * (1 - hidden)).square() @ layer.weight.square().sum(1)


def test_the_contractive_penalty_of_a_sigmoid_layer_has_a_closed_form():
    """Rifai et al. (2011), section 3.1."""
    module = sigmoid_layer()
    found = terms.contractive(module, Batch(X), Trace(module, X))
    assert found.shape == (N,)
    assert torch.allclose(found, contractive_of_a_sigmoid_layer(module.encoder[0], X), rtol=1e-12)


def test_the_contractive_penalty_has_the_gradient_of_its_closed_form():
    module = sigmoid_layer()
    layer = module.encoder[0]
    found = torch.autograd.grad(terms.contractive(module, Batch(X), {}).mean(), [layer.weight, layer.bias])
    expected = torch.autograd.grad(contractive_of_a_sigmoid_layer(layer, X).mean(), [layer.weight, layer.bias])
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(found, expected, strict=True))


def test_the_contractive_penalty_is_the_squared_norm_of_the_jacobian():
    module = autoencoder(hidden_layers([D, 7, 5], "tanh"))
    jacobians = [torch.autograd.functional.jacobian(module.encode, X[i : i + 1]).view(K, D) for i in range(N)]
    found = terms.contractive(module, Batch(X), {})
    assert torch.allclose(found, torch.stack([jacobian.square().sum() for jacobian in jacobians]))


@pytest.mark.parametrize("name", ["l1", "l2", "contractive"])
def test_a_penalty_of_a_row_does_not_depend_on_the_others(name):
    module = autoencoder()
    of_batch = PENALTIES[name](module, Batch(X), Trace(module, X))
    alone = [PENALTIES[name](module, Batch(x), Trace(module, x)) for x in X.split(1)]
    assert torch.allclose(torch.cat(alone), of_batch)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_of_a_penalty_is_that_of_finite_differences(name):
    module = autoencoder()
    weight = module.encoder[0].weight

    def cost():
        with torch.enable_grad():
            return PENALTIES[name](module, Batch(X), Trace(module, X)).sum()

    (found,) = torch.autograd.grad(cost(), weight)
    step = 1e-6
    with torch.no_grad():
        for i, j in [(0, 0), (2, 3), (4, 1)]:
            weight[i, j] += step
            above = cost().item()
            weight[i, j] -= 2 * step
            below = cost().item()
            weight[i, j] += step
            assert found[i, j].item() == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("term", [*PENALTIES.values(), partial(terms.sparsity, target=0.2)])
def test_a_penalty_leaves_the_batch_and_the_weights_alone(term):
    module, x = autoencoder(), X.clone()
    before = [parameter.clone() for parameter in module.parameters()]
    term(module, Batch(x), Trace(module, x))
    assert torch.equal(x, X)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
