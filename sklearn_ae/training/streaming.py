"""Rows of files: read ahead in buffers, in a thread, while the rows of the last buffer are used."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training import threads
from sklearn_ae.training.batches import Copies, EncodedRows

CHUNKS = 256  # chunks of consecutive rows in a buffer of shuffled rows
CELLS = 1 << 20  # cells that are read and encoded at once, about


class Buffer(NamedTuple):
    """Encoded cells of some rows, in the order in which they are used."""

    rows: Tensor  # (n,), their index
    x: Tensor  # (n, n_cells)
    observed: Tensor | None  # (n, n_cells)


class StreamedRows(EncodedRows):
    """Rows of a file, encoded while they are read ahead.

    Training takes them in an order that is nearly uniform: chunks of consecutive rows are shuffled, and the rows of
    ``CHUNKS`` chunks are shuffled with each other in a buffer. A table that fits into one buffer is shuffled as a table
    in memory is.

    The source has the attribute ``buffer_rows``, the number of rows of a buffer. Two buffers are in memory at once.
    """

    def permutation(self, generator: torch.Generator) -> Tensor:
        """Return the order of the rows in an epoch, on the CPU."""
        return shuffled_chunks(len(self), self.source.buffer_rows, generator)

    @contextmanager
    def ahead(self, order: Tensor | None) -> Iterator[Copies]:
        """Yield what copies the batches of an order, (n_batches, n), in this order only."""
        if order is None:
            yield self
            return
        at_once = max(1, self.source.buffer_rows // order.shape[1])
        with ThreadPoolExecutor(1, thread_name_prefix="sklearn_ae-reader") as reader:
            buffers = _ahead(reader, self.buffer, (part.flatten() for part in order.split(at_once)))
            yield _InSequence(self, buffers)

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield all rows in chunks of a size, the last one shorter."""
        n, step = len(self), size * max(1, self.source.buffer_rows // size)
        parts = (slice(start, min(start + step, n)) for start in range(0, n, step))
        with ThreadPoolExecutor(1, thread_name_prefix="sklearn_ae-reader") as reader:
            for part, (x, observed) in zip(range(0, n, step), _ahead(reader, self._consecutive, parts), strict=True):
                for start in range(0, len(x), size):
                    rows = slice(start, start + size)
                    yield self.with_cells(part + start, x[rows], None if observed is None else observed[rows])

    def buffer(self, index: Tensor) -> Buffer:
        """Read and encode the rows at an index, in the order in which they are stored."""
        room = self.room(len(index))
        x = torch.empty_like(room.x, device="cpu")
        observed = None
        stored = np.argsort(index.numpy(), kind="stable")
        with threads.at_most(1):
            for places in np.array_split(stored, self._n_parts(len(index))):
                here, known = self.cells(index.numpy()[places])
                x[places] = here
                if known is not None:
                    observed = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
                    observed[places] = known
        return Buffer(index, x, observed)

    def _consecutive(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Read and encode consecutive rows."""
        buffer = self.buffer(torch.arange(rows.start, rows.stop, device="cpu"))
        return buffer.x, buffer.observed

    def _n_parts(self, n: int) -> int:
        """Return in how many parts rows are encoded, so that the memory for it is small beside the buffer."""
        return max(1, ceil(n * self.n_cells / CELLS))


class _InSequence:
    """Copies batches from buffers that follow each other."""

    def __init__(self, rows: StreamedRows, buffers: Iterator[Buffer]) -> None:
        self.rows = rows
        self.buffers = buffers
        self.buffer = Buffer(torch.empty(0, dtype=torch.int64, device="cpu"), *[torch.empty(0, device="cpu")] * 2)
        self.start = 0

    def copy(self, index: Tensor, into: Batch) -> None:
        """Copy the rows of the next batch into existing memory."""
        if self.start == len(self.buffer.rows):
            self.buffer, self.start = next(self.buffers), 0
        part = slice(self.start, self.start + len(index))
        self.start += len(index)
        read, x, observed = self.buffer
        if not torch.equal(read[part], index):
            raise RuntimeError("batches of streamed rows must be copied in the order in which they are read ahead")
        self.rows.copy_others(index, into)
        into.x.copy_(x[part])
        if into.observed is not None:
            into.observed.copy_(torch.ones_like(into.observed) if observed is None else observed[part])


def _ahead(reader: ThreadPoolExecutor, read: Any, parts: Iterable[Any]) -> Iterator[Any]:
    """Yield ``read(part)`` of all parts; the next one is read while the last one is used."""
    following: Future[Any] | None = None
    for part in parts:
        ready, following = following, reader.submit(read, part)
        if ready is not None:
            yield ready.result()
    if following is not None:
        yield following.result()


def encoded_rows(
    source: Any, encode: Callable[[Any], tuple[Tensor, Tensor | None]], table: Batch, *, gaps: bool = False
) -> EncodedRows:
    """Return the rows of a source, encoded when they are read, and in buffers if the source asks for it."""
    kind = StreamedRows if source.is_streamed else EncodedRows
    return kind(source, encode, table, gaps=gaps)


def shuffled_chunks(n_rows: int, buffer_rows: int, generator: torch.Generator) -> Tensor:
    """Return the numbers of rows in an order that is nearly uniform and reads few pieces of a file at once.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    buffer_rows : int
        Number of rows that are read at once. They are made of ``CHUNKS`` random chunks of consecutive rows, and are
        shuffled with each other.
    generator : torch.Generator
        Generator of the order.

    Returns
    -------
    order : Tensor of shape (n_rows,)
        Each number of a row once.
    """
    if n_rows <= buffer_rows:
        return torch.randperm(n_rows, generator=generator, device="cpu")
    size = max(1, buffer_rows // CHUNKS)
    chunks = torch.randperm(ceil(n_rows / size), generator=generator, device="cpu")
    order = (chunks.unsqueeze(1) * size + torch.arange(size, device="cpu")).flatten()
    order = order[order < n_rows]
    for part in order.split(buffer_rows):
        part.copy_(part[torch.randperm(len(part), generator=generator, device="cpu")])
    return order
