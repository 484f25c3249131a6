"""The autoencoder as a torch module, and the trace of one pass through it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.modules.codes import Code
from sklearn_ae.modules.likelihood import Likelihood
from sklearn_ae.modules.linear import Components
from sklearn_ae.modules.piecewise import n_bins_of, place_bins


def own_memory(value: Any) -> Any:
    """Return a value; a tensor that is part of larger memory, as in training, is copied out of it.

    Copying or saving such a tensor would take along all of that memory.
    """
    is_part = isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes
    return value.clone(memory_format=torch.contiguous_format) if is_part else value


class Autoencoder(nn.Module):
    """Encoder, bottleneck, decoder, likelihood, and an optional head and corruption.

    Parameters
    ----------
    encoder : Module
        (n, d) inputs to (n, h) features.
    bottleneck : Module
        Features to a code, with ``mean(features)`` and ``draw(trace)``; see :mod:`sklearn_ae.modules.codes`.
    decoder : Module
        (n, k) codes to outputs.
    likelihood : Likelihood
        Distribution of the cells; see :mod:`sklearn_ae.likelihoods`.
    head : Module, optional
        (n, k) codes to raw predictions of the target.
    corruption : Module, optional
        Applied to cells and to the mask of observed cells before encoding, in losses. The clean row is reconstructed.
    flagged : sequence of int, default=()
        Columns with a missing indicator as an additional encoder input.
    column_weight : sequence of float, optional
        Weight of each column's loss while training.
    has_linear_path : bool, default=False
        Whether the last layers of encoder and decoder read the inputs and the code beside the hidden units. They then
        start at the principal components of the training rows.
    """

    flagged: Tensor
    column_weight: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        bottleneck: Code,
        decoder: nn.Module,
        likelihood: Likelihood,
        head: nn.Module | None = None,
        corruption: nn.Module | None = None,
        flagged: Sequence[int] = (),
        column_weight: Sequence[float] | None = None,
        has_linear_path: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.likelihood = likelihood
        self.head = head
        self.corruption = corruption
        self.has_linear_path = has_linear_path
        self.register_buffer("flagged", torch.tensor(flagged, dtype=torch.int64, device="cpu"), persistent=False)
        weight = None if column_weight is None else torch.tensor(column_weight, dtype=torch.float32, device="cpu")
        self.register_buffer("column_weight", weight, persistent=False)

    @property
    def n_bins(self) -> int:
        """Number of bins per column that the encoder begins with, 1 without any."""
        return n_bins_of(self.encoder)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return parameters and buffers; one that is part of larger memory is copied, so that copies are small."""
        state = super().state_dict(*args, **kwargs)
        if not kwargs.get("keep_vars"):
            state.update({name: own_memory(value) for name, value in state.items()})
        return state

    @torch.no_grad()
    def initialize(self, x: Tensor, weight: Tensor) -> None:
        """Initialize what depends on the training rows: bins, the decoder's last bias and the linear path.

        Parameters
        ----------
        x : Tensor of shape (n, n_cells)
            Training rows.
        weight : Tensor of shape (n, n_cells)
            Weight of each cell, 0 where it is missing.
        """
        place_bins(self.encoder, x, weight)
        *_, last = (layer for layer in self.decoder.modules() if isinstance(layer, nn.Linear))
        last.bias.add_(self.likelihood.initial_output(x, weight).to(last.bias))
        if self.has_linear_path and self.likelihood.n_means:
            inputs = self.inputs(x, None if bool((weight > 0).all()) else (weight > 0).to(x))
            components = Components.of(inputs, weight.amax(1), self.bottleneck.n_components, self._input_scale(inputs))
            scale = self.bottleneck.start(components)
            components.start_decoder(last, self.bottleneck.n_components, self.likelihood.n_means, scale)

    def _input_scale(self, inputs: Tensor) -> Tensor:
        """(n, d) -> (d,): square roots of the weights of the columns, for each input; 1 for missing indicators."""
        scale = torch.ones_like(inputs[0])
        if self.column_weight is not None:
            scale[: self.likelihood.n_inputs] = self.likelihood.per_input(self.column_weight.sqrt().unsqueeze(0))[0]
        return scale

    def cell_weight(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:
        """Return the weight of each cell's loss while training, (n, n_cells), or None where all weigh the same."""
        if self.column_weight is None:
            return observed
        return self.column_weight.expand_as(x) if observed is None else self.column_weight * observed

    def inputs(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, d): the encoder's inputs, missing indicators included."""
        inputs = self.likelihood.embed(x, observed)
        if not len(self.flagged):
            return inputs
        if observed is None:
            return torch.cat([inputs, x.new_zeros(x.shape[0], len(self.flagged))], 1)
        return torch.cat([inputs, 1 - observed.index_select(1, self.flagged)], 1)

    def corrupted_inputs(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, d): the encoder's inputs of the corrupted row.

        Validation rows are corrupted unless there is a head: early stopping by the loss of clean rows would restore an
        epoch that has not learned to restore corrupted ones, but predictions are for clean rows.
        """
        if self.corruption is None or not (self.training or self.head is None):
            return self.inputs(x, observed)
        return self.inputs(*self.corruption(x, observed))

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, k): the mean of the code."""
        return self.bottleneck.mean(self.encoder(self.inputs(x, observed)))

    def decode(self, code: Tensor) -> Tensor:
        """(n, k) -> (n, n_cells): expected numbers and most probable categories."""
        return self.likelihood.estimate(self.decoder(code))

    def predict(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_outputs): raw predictions of the target."""
        if self.head is None:
            raise ValueError("the autoencoder has no head to predict with")
        return self.head(self.encode(x, observed))

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): the reconstruction, as inputs."""
        return self.likelihood.link(self.decoder(self.encode(x, observed)))


QUANTITIES: dict[str, Callable[[Any, Any], Tensor]] = {
    "inputs": lambda module, trace: module.corrupted_inputs(trace["x"], trace.observed),
    "features": lambda module, trace: module.encoder(trace["inputs"]),
    "mean": lambda module, trace: module.bottleneck.mean(trace["features"]),
    "log_var": lambda module, trace: module.bottleneck.log_var(trace["features"]),
    "code": lambda module, trace: module.bottleneck.draw(trace),
    "output": lambda module, trace: module.decoder(trace["code"]),
    "logits": lambda module, trace: module.head(trace["code"]),
}


class Trace(dict[str, Tensor]):
    """The quantities of one forward pass, each computed when it is first read.

    Keys are those of ``QUANTITIES`` and ``x``. A phase that never reads the output never runs the decoder.
    """

    def __init__(self, module: Autoencoder, x: Tensor, observed: Tensor | None = None) -> None:
        super().__init__(x=x)
        self.observed = observed
        self._module = module

    def __missing__(self, name: str) -> Tensor:
        value = self[name] = QUANTITIES[name](self._module, self)
        return value
