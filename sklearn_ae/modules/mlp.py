"""Multilayer perceptrons, with weights drawn from a generator of the fit."""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from sklearn_ae.modules.linear import WithInputs
from sklearn_ae.modules.noise import Dropout
from sklearn_ae.modules.piecewise import PiecewiseLinear

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class Linear(nn.Linear):
    """A linear layer with uninitialized weights: PyTorch would draw them from its global generator."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, device="cpu", dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Leave the weights uninitialized."""


class Output(Linear):
    """The last layer of a network, whose output has the dtype of its weights under autocast as well.

    So likelihoods and divergences are summed in single precision if layers are computed in bfloat16.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        return super().forward(input).to(self.weight.dtype)


def hidden_layers(sizes: Sequence[int], activation: str, dropout: float = 0.0) -> nn.Sequential:
    """Return the layers ``sizes[0] -> sizes[1] -> ...``, each followed by its activation."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [Linear(n_in, n_out), ACTIVATIONS[activation]()]
        if dropout > 0:
            layers.append(Dropout(dropout))
    return nn.Sequential(*layers)


def binned_layers(
    sizes: Sequence[int], activation: str, dropout: float, n_columns: int, n_bins: int
) -> tuple[nn.Sequential, int]:
    """Return hidden layers that read the first columns as coordinates of bins, and the number of their outputs."""
    if n_bins == 1 or not n_columns:
        return hidden_layers(sizes, activation, dropout), sizes[-1]
    binning = PiecewiseLinear(n_columns, n_bins)
    sizes = [sizes[0] + binning.n_added, *sizes[1:]]
    return nn.Sequential(binning, *hidden_layers(sizes, activation, dropout)), sizes[-1]


def with_inputs(hidden: nn.Sequential, n_in: int, n_out: int) -> tuple[nn.Sequential, int]:
    """Return hidden layers with their inputs appended to their outputs, and the number of both.

    A network without hidden layers is returned as it is: its output is its input.
    """
    return (nn.Sequential(WithInputs(hidden)), n_out + n_in) if len(hidden) else (hidden, n_in)


def mlp(sizes: Sequence[int], activation: str, dropout: float = 0.0) -> nn.Sequential:
    """Return the layers ``sizes[0] -> sizes[1] -> ...``; the last one is linear."""
    return nn.Sequential(*hidden_layers(sizes[:-1], activation, dropout), Output(sizes[-2], sizes[-1]))


@torch.no_grad()
def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Draw weights and biases of all linear layers from U(-1/sqrt(n_in), 1/sqrt(n_in)), PyTorch's default.

    They are rounded to single precision, so that float32 and float64 fits start from the same weights.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / sqrt(layer.in_features)
            for parameter in layer.parameters():
                uniform = torch.rand(parameter.shape, generator=generator, dtype=torch.float64, device="cpu")
                parameter.copy_((bound * (2 * uniform - 1)).float())
