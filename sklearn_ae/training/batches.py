"""Rows as batches on the device: batches of equal size for training, consecutive chunks for everything else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import ceil, prod
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sklearn_ae.modules import noise
from sklearn_ae.modules.noise import Request
from sklearn_ae.objectives.terms import Batch as Batch
from sklearn_ae.training.devices import capabilities

Draws = dict[str, list[Tensor]]  # the noise that each phase requests, in order
Requests = Mapping[str, Sequence[Request]]  # the requests of each phase

SPREAD = 1 << 22  # cells from which the initial biases of the decoder are computed, about
NOISE_BLOCK = 1 << 22  # numbers drawn at once, at most: 16 MiB of float32


class Rows(Dataset[Batch]):
    """Rows of an encoded table on the device.

    Parameters
    ----------
    table : Batch
        All rows; ``observed`` is boolean, which takes a quarter of the memory.
    """

    def __init__(self, table: Batch) -> None:
        self.table = table

    def __len__(self) -> int:
        return self.table.x.shape[0]

    @property
    def are_encoded(self) -> bool:
        """Whether all rows are in memory as encoded cells."""
        return True

    @property
    def n_cells(self) -> int:
        """Number of cells of a row."""
        return self.table.x.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of an index of rows."""
        return self.table.x.device

    def room(self, n: int) -> Batch:
        """Return uninitialised memory for ``n`` rows."""
        return _masked(self.table.map(lambda column: column.new_empty(n, *column.shape[1:])))

    def take(self, index: Tensor) -> Batch:
        """Return the rows at an index."""
        taken = self.room(len(index))
        self.copy(index.to(self.device), taken)
        return taken

    def copy(self, index: Tensor, into: Batch) -> None:
        """Copy the rows at an index into existing memory."""
        for column, target in zip(self.table, into, strict=True):
            if column is None or target is None:
                continue
            if column.dtype is target.dtype:
                torch.index_select(column, 0, index, out=target)
            else:
                target.copy_(column.index_select(0, index))

    def slice(self, start: int, stop: int) -> Batch:
        """Return consecutive rows as views; only the mask is copied."""
        return _masked(self.table.map(lambda column: column[start:stop]))

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield all rows in chunks of a size, the last one shorter."""
        return (self.slice(start, start + size) for start in range(0, len(self), size))

    def permutation(self, generator: torch.Generator) -> Tensor:
        """Return the order of the rows in an epoch, on the CPU."""
        return torch.randperm(len(self), generator=generator, device="cpu")

    def ahead(self, order: Tensor | None) -> AbstractContextManager["Copies"]:
        """Return a context in which the batches of an order, (n_batches, n), are copied one after the other."""
        return nullcontext(self)


class Copies(Protocol):
    """Copies rows into the memory of a batch."""

    def copy(self, index: Tensor, into: Batch) -> None:
        """Copy the rows at an index into existing memory."""


def _masked(rows: Batch) -> Batch:
    """Return rows with the mask as floating-point numbers, as the objectives read it."""
    observed = rows.observed
    return rows._replace(observed=None if observed is None else observed.to(rows.x.dtype))


class EncodedRows(Rows):
    """Rows of a table in the user's units, encoded when they are read.

    Parameters
    ----------
    source : indexable
        ``source[rows]`` is an array of shape (n, d) for a slice or an index of rows.
    encode : callable
        ``array -> (x, observed)``, on the CPU.
    table : Batch
        Targets and weights of all rows; its ``x`` has no columns.
    gaps : bool, default=False
        Whether the table has missing cells, so that all batches have a mask.
    """

    def __init__(
        self,
        source: Any,
        encode: Callable[[Any], tuple[Tensor, Tensor | None]],
        table: Batch,
        *,
        gaps: bool = False,
    ) -> None:
        super().__init__(table)
        self.source = source
        self.encode = encode
        self.gaps = gaps

    @property
    def are_encoded(self) -> bool:
        """False: rows are encoded when they are read."""
        return False

    @property
    def n_cells(self) -> int:
        """Number of cells of a row."""
        return self.source.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of an index of rows."""
        return torch.device("cpu")

    def room(self, n: int) -> Batch:
        """Return uninitialised memory for ``n`` rows."""
        x = self.table.x.new_empty(n, self.source.shape[1])
        return super().room(n)._replace(x=x, observed=torch.empty_like(x) if self.gaps else None)

    def copy(self, index: Tensor, into: Batch) -> None:
        """Copy the rows at an index into existing memory."""
        self.copy_others(index, into)
        x, observed = self.cells(index.numpy())
        into.x.copy_(x)
        if into.observed is not None:
            into.observed.copy_(torch.ones_like(x) if observed is None else observed)

    def copy_others(self, index: Tensor, into: Batch) -> None:
        """Copy targets and weights of the rows at an index into existing memory."""
        super().copy(index.to(self.table.x.device), into._replace(x=into.x[:, :0]))

    def slice(self, start: int, stop: int) -> Batch:
        """Return consecutive rows."""
        return self.with_cells(start, *self.cells(slice(start, stop)))

    def cells(self, rows: Any) -> tuple[Tensor, Tensor | None]:
        """Return encoded cells of a slice or an index of rows, and which are observed, on the CPU."""
        x, observed = self.encode(self.source[rows])
        return x, torch.ones_like(x, dtype=torch.bool) if observed is None and self.gaps else observed

    def with_cells(self, start: int, x: Tensor, observed: Tensor | None) -> Batch:
        """Return encoded cells of consecutive rows with their targets and weights, on the device of the rows."""
        rows = super().slice(start, start + len(x))
        device = rows.x.device
        return _masked(rows._replace(x=x.to(device), observed=None if observed is None else observed.to(device)))


def chunk_size(rows: Rows) -> int:
    """Return the number of rows of a chunk on the host, where nothing is trained.

    Validation uses it on every device, so that the noise of each row does not depend on the device.
    """
    host = capabilities("cpu")
    return max(1, min(host.chunk_rows, host.chunk_cells // max(1, rows.n_cells)))


def cells_with_weights(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the cells of evenly spaced rows and their weights, both (n, n_cells)."""
    step = ceil(len(rows) * rows.n_cells / SPREAD)
    some = rows.take(torch.arange(0, len(rows), max(1, step), device="cpu"))
    weight = torch.ones_like(some.x) if some.observed is None else some.observed
    return some.x, weight if some.weight is None else weight * some.weight.unsqueeze(-1)


class Minibatch(NamedTuple):
    """Rows and the noise that each phase requests for them."""

    rows: Batch
    draws: Draws
    share: float = 1.0  # of the rows of a batch that several processes have


class Block(NamedTuple):
    """Consecutive batches of an epoch, drawn at once."""

    size: int  # number of batches
    order: Tensor | None  # (size, rows of a batch), the indices of rows; None for a single batch
    draws: Draws  # each (size, ...)
    rows: Copies  # copies the batches, in their order


class EqualBatches:
    """Batches of equal size for training.

    ``n`` rows make ``ceil(n / batch_size)`` batches of equal size; the last one is filled with the first rows of the
    permutation. So there is one shape, no mask and no incomplete batch. A single batch is not shuffled.

    All batches share one memory, which is refilled for every step, so that a recorded step finds its inputs there.

    Parameters
    ----------
    rows : Rows
        The training rows.
    batch_size : int
        Maximum number of rows of a batch.
    generator : torch.Generator
        Generator of the permutation and the noise of every epoch.
    requests : mapping of str to sequence of Request
        The noise that each phase requests.
    """

    def __init__(self, rows: Rows, batch_size: int, generator: torch.Generator, requests: Requests) -> None:
        self.rows = rows
        self.generator = generator
        self.requests = requests
        self.n_batches = ceil(len(rows) / batch_size)
        self.size = ceil(len(rows) / self.n_batches)
        whole = self.n_batches == 1
        self.batch = Minibatch(
            rows.slice(0, self.size) if whole else rows.room(self.size),
            {phase: [self._room(request) for request in of_phase] for phase, of_phase in requests.items()},
        )

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Minibatch]:
        for block in self.blocks():
            for position in range(block.size):
                if block.order is not None:
                    block.rows.copy(block.order[position], into=self.batch.rows)
                for phase, numbers_of_phase in block.draws.items():
                    for target, numbers in zip(self.batch.draws[phase], numbers_of_phase, strict=True):
                        target.copy_(numbers[position])
                yield self.batch

    def blocks(self, part: slice = slice(None)) -> Iterator["Block"]:
        """Yield the batches of an epoch in blocks, with their noise; only a part of the rows of each batch is read."""
        order = self._order()
        x = self.rows.table.x
        most = max(1, NOISE_BLOCK // max(1, noise_numbers(self.requests, self.size)))
        with self.rows.ahead(None if order is None else order[:, part]) as rows:
            for start in range(0, self.n_batches, most):
                size = min(most, self.n_batches - start)
                drawn = draw_noise(self.requests, size * self.size, size, self.generator, x)
                draws = {
                    phase: [
                        numbers.unflatten(0, (size, self.size)) if request.per_row else numbers
                        for request, numbers in zip(self.requests[phase], drawn[phase], strict=True)
                    ]
                    for phase in drawn
                }
                yield Block(size, None if order is None else order[start : start + size], draws, rows)

    def _order(self) -> Tensor | None:
        """Return the indices of the rows of each batch in an epoch, None for a single batch."""
        if self.n_batches == 1:
            return None
        permutation = self.rows.permutation(self.generator)
        order = torch.cat([permutation, permutation[: self.n_batches * self.size - len(permutation)]])
        return order.to(self.rows.device).view(self.n_batches, self.size)

    def _room(self, request: Request) -> Tensor:
        x = self.rows.table.x
        return x.new_empty(self.size, *request.shape) if request.per_row else x.new_empty(request.shape)


class Chunks:
    """Consecutive rows in chunks of a fixed size, the last one shorter, with the same noise in every pass."""

    def __init__(self, rows: Rows, size: int, seed: int = 0, requests: Requests | None = None) -> None:
        self.rows = rows
        self.size = size
        self.seed = seed
        self.requests = requests or {}

    def __len__(self) -> int:
        return ceil(len(self.rows) / self.size)

    def __iter__(self) -> Iterator[Minibatch]:
        generator = noise.generator(self.seed)
        for chunk in self.rows.in_order(self.size):
            rows = self._by_all_labels(chunk)
            drawn = draw_noise(self.requests, rows.x.shape[0], 1, generator, rows.x)
            yield Minibatch(rows, {phase: _one_batch(self.requests[phase], drawn[phase]) for phase in drawn})

    def _by_all_labels(self, rows: Batch) -> Batch:
        """Weight labelled rows so that the mean over chunks, weighted by size, is the mean over all labelled rows."""
        weight, of_all = rows.label_weight, self.rows.table.label_weight
        if weight is None or of_all is None:
            return rows
        share, share_of_all = ((w > 0).to(w.dtype).mean() for w in (weight, of_all))
        return rows._replace(label_weight=weight * share / share_of_all.clamp(min=1e-12))


def _one_batch(requests: Sequence[Request], drawn: Sequence[Tensor]) -> list[Tensor]:
    return [numbers if request.per_row else numbers[0] for request, numbers in zip(requests, drawn, strict=True)]


def noise_numbers(requests: Requests, n_rows: int) -> int:
    """Return how many random numbers one batch of ``n_rows`` requests."""
    asked = [request for of_phase in requests.values() for request in of_phase]
    return sum(prod(request.shape) * (n_rows if request.per_row else 1) for request in asked)


def draw_noise(requests: Requests, n_rows: int, n_batches: int, generator: torch.Generator, like: Tensor) -> Draws:
    """Draw the noise of the phases, on the CPU, so that every device gets the same numbers."""
    return {
        phase: [request.draw(n_rows, n_batches, generator, like.dtype).to(like.device) for request in of_phase]
        for phase, of_phase in requests.items()
    }
