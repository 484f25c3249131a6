"""Phases: what is minimised, which submodules move, and the one training step."""

import pickle
from functools import partial

import pytest
import torch
from torch import nn

from sklearn_ae.likelihoods.gaussian import Gaussian
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.modules.mlp import Linear, draw_weights, hidden_layers, mlp
from sklearn_ae.modules.noise import Dropout, Request
from sklearn_ae.objectives.terms import Batch, l1, l2, reconstruction
from sklearn_ae.training.phases import Phase, gradients, requests, training_step

N, D, K = 6, 4, 2
X = torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
DRAWS = [torch.randn(N, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)]


def autoencoder(dropout=0.0):
    module = Autoencoder(
        hidden_layers([D, 5], "tanh", dropout),
        GaussianCode(5, K),
        mlp([K, 5, D], "tanh"),
        Gaussian(D, per_column=False),
        Linear(K, 3),
    ).double()
    draw_weights(module, torch.Generator().manual_seed(0))
    return module


class Player(nn.Module):
    """Two numbers that are moved against each other."""

    def __init__(self):
        super().__init__()
        for name in ("first", "second"):
            self.add_module(name, nn.Linear(1, 1, bias=False))
            nn.init.constant_(self.get_submodule(name).weight, 1.0)

    def numbers(self):
        return self.first.weight.squeeze(), self.second.weight.squeeze()


def product(module, batch, trace):
    first, second = module.numbers()
    return first * second


def square_of_first(module, batch, trace):
    return module.numbers()[0].square()


def moved(phase, module):
    return list(phase.parameters(module).values())


class Descent:
    """Plain gradient descent."""

    def __init__(self, phase, module, rate=0.5):
        self.parameters = moved(phase, module)
        self.rate = rate

    @torch.no_grad()
    def step(self, found):
        for parameter, gradient in zip(self.parameters, found, strict=True):
            parameter -= self.rate * gradient


def play(phases, module, **settings):
    def gradients_of(phase):
        found, evaluation = gradients(module, phase, moved(phase, module), Batch(X[:, :1]), [])
        return found, evaluation.terms

    return training_step(phases, gradients_of, {phase.name: Descent(phase, module, **settings) for phase in phases})


# What moves


@pytest.mark.parametrize(
    "updates",
    [
        ("encoder",),
        ("bottleneck",),
        ("decoder",),
        ("head",),
        ("encoder", "decoder"),
        ("decoder", "encoder", "bottleneck"),
    ],
)
def test_the_parameters_of_a_phase_are_those_of_its_submodules(updates):
    module = autoencoder()
    found = Phase("any", updates, {}).parameters(module)
    expected = {name: parameter for name, parameter in module.named_parameters() if name.split(".")[0] in updates}
    assert found.keys() == expected.keys()
    assert all(found[name] is expected[name] for name in expected)


@pytest.mark.parametrize("updates", [("encoder", "bottleneck"), ("decoder",)])
def test_a_phase_moves_its_own_submodules_only(updates):
    module = autoencoder()
    phase = Phase("own", updates, {"reconstruction": reconstruction})
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}

    def gradients_of(phase):
        found, evaluation = gradients(module, phase, moved(phase, module), Batch(X), DRAWS)
        return found, evaluation.terms

    training_step([phase], gradients_of, {"own": Descent(phase, module)})
    changed = {name for name, parameter in module.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == set(phase.parameters(module))
    assert all(parameter.grad is None for parameter in module.parameters())


def test_gradients_are_those_of_the_weighted_sum():
    module = autoencoder()
    phase = Phase(
        "own", ("encoder", "bottleneck"), {"reconstruction": reconstruction, "l2": l2, "l1": l1}, {"l2": 0.25, "l1": 0}
    )
    found, evaluation = gradients(module, phase, moved(phase, module), Batch(X), DRAWS)
    with noise.supplied(DRAWS):
        loss = phase.evaluate(module, Batch(X)).loss
    loss.backward()
    for gradient, parameter in zip(found, moved(phase, module), strict=True):
        assert torch.equal(gradient, parameter.grad)
    terms = evaluation.terms
    assert list(terms) == ["reconstruction", "l2", "l1"]
    assert evaluation.loss.item() == pytest.approx((terms["reconstruction"] + 0.25 * terms["l2"]).item())
    assert not evaluation.loss.requires_grad
    assert not any(term.requires_grad for term in terms.values())


def test_a_parameter_that_no_term_uses_gets_a_gradient_of_zero():
    module = autoencoder()
    phase = Phase("own", ("encoder", "bottleneck", "decoder"), {"l2": l2})
    found, _ = gradients(module, phase, moved(phase, module), Batch(X), DRAWS)
    for name, gradient in zip(phase.parameters(module), found, strict=True):
        assert gradient.any() == (not name.startswith("decoder")), name


# The step


def test_phases_run_in_order_and_the_second_sees_what_the_first_has_moved():
    module = Player()
    phases = [Phase("one", ("first",), {"a": product}), Phase("two", ("second",), {"b": product})]
    log = play(phases, module)
    assert module.first.weight.item() == 0.5  # 1 - 0.5 * second
    assert module.second.weight.item() == 0.75  # 1 - 0.5 * (first as it is now)
    assert {name: term.item() for name, term in log.items()} == {"a": 1, "b": 0.5}  # before each phase's own step


def test_the_order_of_the_phases_matters():
    module = Player()
    phases = [Phase("two", ("second",), {"b": product}), Phase("one", ("first",), {"a": product})]
    play(phases, module)
    assert (module.first.weight.item(), module.second.weight.item()) == (0.75, 0.5)


@pytest.mark.parametrize(("weight", "expected"), [(1.0, 0.5), (-1.0, 1.5), (0.0, 1.0), (0.5, 0.75)])
def test_a_term_of_weight_minus_one_is_maximised(weight, expected):
    module = Player()
    log = play([Phase("one", ("first",), {"product": product}, {"product": weight})], module)
    assert module.first.weight.item() == expected
    assert log["product"].item() == 1  # terms are logged as they are, without their weights


def test_a_loss_goes_down_step_by_step():
    module, phase = Player(), Phase("one", ("first",), {"square": square_of_first})
    values = [play([phase], module, rate=0.1)["square"].item() for _ in range(5)]
    assert values == pytest.approx([0.8 ** (2 * i) for i in range(5)])


@pytest.mark.parametrize("weights", [{}, {"a": 2.0}, {"a": 2.0, "b": -1.0}])
def test_the_loss_is_the_weighted_sum_of_numbers_as_well(weights):
    phase = Phase("any", (), {"a": l1, "b": l2}, weights)
    assert phase.loss({"a": 3.0, "b": 5.0, "another": 100.0}) == weights.get("a", 1) * 3 + weights.get("b", 1) * 5


# Terms


def whole(module, batch, trace):
    return trace["code"]


def by_column(module, batch, trace):
    return trace["code"].mean(0)


def number(module, batch, trace):
    return 1.0


def column(module, batch, trace):
    return trace["code"].sum(1, keepdim=True)


@pytest.mark.parametrize("term", [whole, by_column, column])
def test_a_term_of_a_wrong_shape_raises_its_name(term):
    with (
        noise.supplied(DRAWS),
        pytest.raises(ValueError, match=r"'my_term' must return one value per sample, shape \(6,\)"),
    ):
        Phase("own", ("encoder",), {"my_term": term}).evaluate(autoencoder(), Batch(X))


def test_a_term_that_is_no_tensor_raises_its_name():
    with pytest.raises(TypeError, match="'my_term' must return a tensor, got float"):
        Phase("own", ("encoder",), {"my_term": number}).evaluate(autoencoder(), Batch(X))


def test_values_per_sample_are_averaged_by_weight_and_a_value_for_the_batch_is_kept():
    weight = torch.tensor([6.0, 0, 0, 0, 0, 0], dtype=torch.float64)
    phase = Phase("own", (), {"by_row": lambda m, b, t: b.x[:, 0], "of_batch": lambda m, b, t: b.x[1, 0]})
    terms = phase.evaluate(autoencoder(), Batch(X, weight=weight)).terms
    assert torch.allclose(terms["by_row"], X[0, 0])
    assert torch.equal(terms["of_batch"], X[1, 0])
    assert torch.allclose(phase.evaluate(autoencoder(), Batch(X)).terms["by_row"], X[:, 0].mean())


def test_the_terms_of_a_phase_share_one_pass():
    module, runs = autoencoder(), []
    module.encoder.register_forward_hook(lambda *_: runs.append(1))
    with noise.supplied(DRAWS):
        Phase("own", (), {"reconstruction": reconstruction, "l1": l1, "l2": l2}).evaluate(module, Batch(X))
    assert len(runs) == 1


# Buffers and noise


def doubled_variance(module, batch, trace):
    return {"columns.variance": 2 * trace["output"].square().mean()}


def test_new_values_of_buffers_are_returned_not_written():
    module = autoencoder()
    phase = Phase("own", ("decoder",), {"reconstruction": reconstruction}, buffers=doubled_variance)
    _, evaluation = gradients(module, phase, moved(phase, module), Batch(X), DRAWS)
    assert list(evaluation.buffers) == ["columns.variance"]
    assert not evaluation.buffers["columns.variance"].requires_grad
    assert module.likelihood.variance == 1
    features = module.encoder(X)
    code = module.bottleneck.mean(features) + (0.5 * module.bottleneck.log_var(features)).exp() * DRAWS[0]
    assert torch.allclose(evaluation.buffers["columns.variance"], 2 * module.decoder(code).square().mean())


def test_without_buffers_none_are_returned():
    module = autoencoder()
    phase = Phase("own", ("decoder",), {"reconstruction": reconstruction})
    assert gradients(module, phase, moved(phase, module), Batch(X), DRAWS)[1].buffers == {}


def test_the_requests_of_a_phase_are_found_in_the_order_of_asking():
    module = autoencoder(dropout=0.5)
    dropout, code = Request("uniform", (5,), per_row=True), Request("normal", (K,), per_row=True)
    phase = Phase("own", ("encoder",), {"reconstruction": reconstruction})
    assert requests(module, phase, Batch(X[:2])) == [dropout, code]
    assert requests(module.eval(), phase, Batch(X[:2])) == [code]
    assert any(isinstance(layer, Dropout) for layer in module.modules())


def test_a_phase_is_pickled():
    phase = Phase("own", ("encoder",), {"l1": l1, "again": partial(l2)}, {"l1": 2.0})
    copy = pickle.loads(pickle.dumps(phase))
    assert (copy.name, copy.updates, copy.weights) == (phase.name, phase.updates, phase.weights)
    assert copy.terms["l1"] is l1
