"""The autoencoder as a torch module, and the trace of one pass through it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.modules.codes import Code


def own_memory(value: Any) -> Any:
    """Return a value; a tensor that is part of larger memory, as in training, is copied out of it.

    Copying or saving such a tensor would take along all of that memory.
    """
    is_part = isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes
    return value.clone(memory_format=torch.contiguous_format) if is_part else value


class Columns(nn.Module, ABC):
    """What the columns of a table are to a module: what the encoder sees of them, and what the decoder says of them.

    Three vectors stand for a row. Its *cells* are what a table hands over, one number a column: a category is its
    index, from 1 on, and a missing cell is 0. Its *inputs* are what networks see: a category is a few of them. Its
    *outputs* are what a decoder returns: the parameters of a distribution of the cells.

    Parameters
    ----------
    n_cells, n_inputs, n_outputs : int
        Widths of the three.
    """

    def __init__(self, n_cells: int, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.n_cells = n_cells
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs

    @abstractmethod
    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): the inputs, those of a missing cell 0 unless cells are numbers in [0, 1]."""

    @abstractmethod
    def per_input(self, values: Tensor) -> Tensor:
        """Repeat a value of each cell for all of its inputs, (n, n_cells) -> (n, n_inputs)."""

    @abstractmethod
    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return ``-log p(x | output)`` in nats, summed over the observed cells, (n, n_cells), (n, n_outputs) -> (n,).

        ``observed`` may hold any weights of the cells.
        """

    @abstractmethod
    def link(self, output: Tensor) -> Tensor:
        """Return the expected inputs, (n, n_outputs) -> (n, n_inputs)."""

    @abstractmethod
    def typical(self, output: Tensor) -> Tensor:
        """Return expected numbers and most probable categories, (n, n_outputs) -> (n, n_cells)."""

    @abstractmethod
    def expected(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the same over weighted draws of a code, (n, L, n_outputs), (n, L) -> (n, n_cells)."""

    @abstractmethod
    def draw(self, output: Tensor) -> Tensor:
        """Return cells drawn from ``p(x | output)``, their noise handed in, (n, n_outputs) -> (n, n_cells)."""

    def begin(self, x: Tensor, weight: Tensor) -> Tensor:
        """Begin where rows are like all rows together: return the outputs that say so, (n_outputs,), on the CPU.

        What is learned of the columns themselves begins there as well. ``x`` are rows to train on, (n, n_cells), and
        ``weight`` is that of each cell, 0 where it is missing. Unless a kind of column says otherwise, outputs begin
        at 0.
        """
        return torch.zeros(self.n_outputs, dtype=torch.float64, device="cpu")

    def learned(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the buffers that are known in closed form after a batch, by name; ``weight`` is that of each cell."""
        return {}


class Autoencoder(nn.Module):
    """Encoder, code, decoder, and what stands around them.

    Parameters
    ----------
    encoder : Module
        (n, d) inputs to (n, h) features.
    code : Module
        Features to a code, with ``mean(features)`` and ``draw(trace)``; see :mod:`sklearn_ae.modules.codes`.
    decoder : Module
        (n, k) codes to outputs.
    columns : Columns
        What cells and outputs mean; see :mod:`sklearn_ae.objectives.columns`.
    head : Module, optional
        (n, k) codes to raw predictions of the target.
    corruption : Module, optional
        What happens to cells, and to the mask of the observed ones, before they are encoded while training; the target
        stays the clean row.
    flagged : sequence of int, default=()
        Columns of which the encoder is told whether a cell is missing.
    column_weight : sequence of float, optional
        How much the cost of each column counts while training.
    """

    flagged: Tensor
    column_weight: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        code: Code,
        decoder: nn.Module,
        columns: Columns,
        head: nn.Module | None = None,
        corruption: nn.Module | None = None,
        flagged: Sequence[int] = (),
        column_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.code = code
        self.decoder = decoder
        self.columns = columns
        self.head = head
        self.corruption = corruption
        self.register_buffer("flagged", torch.tensor(flagged, dtype=torch.int64, device="cpu"), persistent=False)
        weight = None if column_weight is None else torch.tensor(column_weight, dtype=torch.float32, device="cpu")
        self.register_buffer("column_weight", weight, persistent=False)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return parameters and buffers; one that is part of larger memory is copied, so that copies are small."""
        state = super().state_dict(*args, **kwargs)
        if not kwargs.get("keep_vars"):
            state.update({name: own_memory(value) for name, value in state.items()})
        return state

    def separate(self) -> None:
        """Give buffers that are part of larger memory, as in a stack, memory of their own again."""
        for module in self.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, own_memory(buffer))

    @torch.no_grad()
    def begin(self, x: Tensor, weight: Tensor) -> None:
        """Move the decoder to where its outputs begin; see :meth:`Columns.begin`."""
        *_, last = (layer for layer in self.decoder.modules() if isinstance(layer, nn.Linear))
        last.bias.add_(self.columns.begin(x, weight).to(last.bias))

    def counted(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:
        """Return how much the cost of each cell counts while training, (n, n_cells), or None where all count alike."""
        if self.column_weight is None:
            return observed
        return self.column_weight.expand_as(x) if observed is None else self.column_weight * observed

    def inputs(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, d): what the encoder sees of a row, 1 where a flagged cell is missing."""
        inputs = self.columns.embed(x, observed)
        if not len(self.flagged):
            return inputs
        if observed is None:
            return torch.cat([inputs, x.new_zeros(x.shape[0], len(self.flagged))], 1)
        return torch.cat([inputs, 1 - observed.index_select(1, self.flagged)], 1)

    def corrupted_inputs(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, d): the same, of what a corruption leaves of the row."""
        return self.inputs(x, observed) if self.corruption is None else self.inputs(*self.corruption(x, observed))

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, k): the mean of the code."""
        return self.code.mean(self.encoder(self.inputs(x, observed)))

    def decode(self, code: Tensor) -> Tensor:
        """(n, k) -> (n, n_cells): expected numbers and most probable categories."""
        return self.columns.typical(self.decoder(code))

    def predict(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_outputs): raw predictions of the target."""
        if self.head is None:
            raise ValueError("the autoencoder has no head to predict with")
        return self.head(self.encode(x, observed))

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): the reconstruction, as inputs."""
        return self.columns.link(self.decoder(self.encode(x, observed)))


QUANTITIES: dict[str, Callable[[Any, Any], Tensor]] = {
    "inputs": lambda module, trace: module.corrupted_inputs(trace["x"], trace.observed),
    "features": lambda module, trace: module.encoder(trace["inputs"]),
    "mean": lambda module, trace: module.code.mean(trace["features"]),
    "log_var": lambda module, trace: module.code.log_var(trace["features"]),
    "code": lambda module, trace: module.code.draw(trace),
    "output": lambda module, trace: module.decoder(trace["code"]),
    "logits": lambda module, trace: module.head(trace["code"]),
}


class Trace(dict[str, Tensor]):
    """What one pass leaves behind, each quantity computed when it is first asked for.

    Keys are those of ``QUANTITIES`` and ``x``. A phase that never asks for the output never runs the decoder.
    """

    def __init__(self, module: Autoencoder, x: Tensor, observed: Tensor | None = None) -> None:
        super().__init__(x=x)
        self.observed = observed
        self._module = module

    def __missing__(self, name: str) -> Tensor:
        value = self[name] = QUANTITIES[name](self._module, self)
        return value
