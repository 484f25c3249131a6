"""Layers, and weights that come from a generator of their own."""

import pytest
import torch
from torch import nn

from sklearn_ae.modules.mlp import ACTIVATIONS, Linear, Output, draw_weights, hidden_layers, mlp
from sklearn_ae.modules.noise import Dropout

SIZES = [5, 7, 3, 2]


def drawn(module, seed=0):
    draw_weights(module, torch.Generator().manual_seed(seed))
    return module


def kinds(layers):
    return [type(layer) for layer in layers.modules() if not isinstance(layer, nn.Sequential)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_follows_every_hidden_layer_and_not_the_last(activation):
    hidden = [Linear, ACTIVATIONS[activation]]
    assert kinds(hidden_layers(SIZES, activation)) == 3 * hidden
    assert kinds(mlp(SIZES, activation)) == [*2 * hidden, Output]


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("identity", lambda x: x),
        ("logistic", lambda x: 1 / (1 + (-x).exp())),
        ("tanh", torch.tanh),
        ("relu", lambda x: x.clamp(min=0)),
        ("elu", lambda x: torch.where(x > 0, x, x.exp() - 1)),
        ("silu", lambda x: x / (1 + (-x).exp())),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
    ],
)
def test_an_activation_is_what_its_name_says(activation, function):
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    assert torch.allclose(ACTIVATIONS[activation]()(x), function(x))


def test_an_mlp_equals_a_hand_computation():
    net = drawn(mlp([4, 3, 2], "relu"))
    (first_weight, first_bias), (second_weight, second_bias) = [
        (layer.weight, layer.bias) for layer in net.modules() if isinstance(layer, Linear)
    ]
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    expected = (x @ first_weight.T + first_bias).clamp(min=0) @ second_weight.T + second_bias
    assert torch.allclose(net(x), expected, atol=1e-6)


def test_dropout_follows_every_hidden_activation():
    assert kinds(mlp(SIZES, "tanh", dropout=0.2)) == [*2 * [Linear, nn.Tanh, Dropout], Output]
    assert {layer.probability for layer in mlp(SIZES, "tanh", 0.2).modules() if isinstance(layer, Dropout)} == {0.2}


def test_no_hidden_layer_is_the_identity():
    x = torch.ones(2, 5)
    assert torch.equal(hidden_layers([5], "relu")(x), x)
    assert kinds(mlp([5, 2], "relu")) == [Output]


def test_layers_and_weights_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    drawn(mlp(SIZES, "relu", dropout=0.1))
    Linear(3, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_depend_on_the_seed_of_the_generator_only():
    torch.manual_seed(0)
    first = drawn(mlp(SIZES, "relu")).state_dict()
    torch.manual_seed(1)
    again, other = drawn(mlp(SIZES, "relu")).state_dict(), drawn(mlp(SIZES, "relu"), seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_float32_and_float64_start_equal():
    single, double = drawn(mlp(SIZES, "relu")), drawn(mlp(SIZES, "relu").double())
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert (a.dtype, b.dtype) == (torch.float32, torch.float64)
        assert torch.equal(a, b.float())


@pytest.mark.parametrize("n_in", [1, 4, 400])
def test_weights_and_biases_fill_the_interval_of_their_layer(n_in):
    layer = drawn(Linear(n_in, 1000))
    bound = n_in**-0.5
    for parameter in layer.parameters():
        assert parameter.abs().max().item() <= bound
        assert parameter.abs().max().item() > 0.95 * bound
        assert parameter.mean().item() == pytest.approx(0, abs=4 * bound / 3**0.5 / parameter.numel() ** 0.5)
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_layers_do_not_share_their_weights():
    first, second = drawn(nn.ModuleList([Linear(3, 3), Linear(3, 3)]))
    assert not torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight[0], first.bias)


def test_drawing_weights_leaves_no_gradient_history():
    net = drawn(mlp(SIZES, "relu"))
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in net.parameters())


def test_what_a_network_returns_is_in_the_precision_of_its_weights():
    network = drawn(mlp(SIZES, "tanh"))
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside, hidden = network(rows), network[0](rows)
    assert inside.dtype is torch.float32
    assert hidden.dtype is torch.bfloat16  # layers are computed in the cheap precision
    assert torch.allclose(inside, network(rows), atol=0.02)
