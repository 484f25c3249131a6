"""Readouts: what is computed of rows with a trained module."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement
from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder as Autoencoder
from sklearn_ae.objectives.terms import Batch as Batch
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.tables.sources import Source, as_tensor
from sklearn_ae.training.batches import EncodedRows as EncodedRows
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.streaming import encoded_rows

Readout = Callable[[Autoencoder, Batch], Tensor]


def rows_of(source: Source, encoding: Encoding, net: AutoencoderNet) -> EncodedRows:
    """Return rows that are encoded block by block, in the dtype of a net's module."""
    parameter = next(net.module_.parameters())
    encode = partial(encoding.encode_block, dtype=parameter.dtype)
    return encoded_rows(source, encode, Batch(parameter.new_empty(source.shape[0], 0, requires_grad=False)))


def rows_with(values: NDArray | Tensor, net: AutoencoderNet) -> Rows:
    """Return rows whose ``x`` are codes or cells, in the dtype and on the device of a net's module."""
    return Rows(Batch(as_tensor(values).to(next(net.module_.parameters()))))


def code(module: Autoencoder, batch: Batch) -> Tensor:
    """Return (n, k): codes."""
    return module.encode(batch.x, batch.observed)


def decoded(module: Autoencoder, batch: Batch) -> Tensor:
    """Return (n, n_cells): expected numbers and most probable categories of codes."""
    return module.decode(batch.x)


def of_observed(module: Autoencoder, batch: Batch, readout: Readout) -> Tensor:
    """Return a readout of the cells, (n, n_cells): NaN for a missing cell, minus infinity for an overflow."""
    value = readout(module, batch)
    value = value.masked_fill(~value.isfinite(), -torch.inf)
    return value if batch.observed is None else value.masked_fill(batch.observed == 0, torch.nan)


def chosen_pairs(n: int, most: int, random: np.random.RandomState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return at most ``most`` of n rows, in order, and for each of them another row."""
    if n < 2:
        raise ValueError(f"X must have at least 2 rows, got {n}: cells are replaced by those of other rows")
    chosen = np.sort(sample_without_replacement(n, min(n, most), random_state=random))
    return chosen, (chosen + random.randint(1, n, size=len(chosen))) % n


def pairs_of(rows: EncodedRows, first: NDArray, second: NDArray) -> Rows:
    """Return rows of which each has another one beside it, (n, 2 * n_cells)."""
    x, observed = rows.encode(rows.source[np.concatenate([first, second])])
    observed = None if observed is None else observed.to(x.dtype)
    pairs = Batch(x, observed=observed).map(lambda cells: torch.cat(cells.split(len(first)), 1))
    return Rows(pairs.map(lambda cells: cells.to(rows.table.x.device)))


def code_of_replaced(module: Autoencoder, batch: Batch, columns: slice) -> Tensor:
    """Return the codes of rows with some cells, missing ones included, of the rows beside them, (n, k)."""
    x, observed = batch.x, batch.observed
    return module.encode(_replaced(x, columns), None if observed is None else _replaced(observed, columns))


def _replaced(pairs: Tensor, columns: slice) -> Tensor:
    """(n, 2 * n_cells) -> (n, n_cells): the first half, with some columns of the second half."""
    first, second = pairs.chunk(2, 1)
    replaced = first.clone()
    replaced[:, columns] = second[:, columns]
    return replaced
