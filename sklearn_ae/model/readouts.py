"""Readouts: what is computed of rows with a trained module."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder as Autoencoder
from sklearn_ae.objectives.terms import Batch as Batch
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.tables.sources import Source
from sklearn_ae.training.batches import EncodedRows as EncodedRows
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import AutoencoderNet

Readout = Callable[[Autoencoder, Batch], Tensor]


def rows_of(source: Source, encoding: Encoding, net: AutoencoderNet) -> EncodedRows:
    """Return rows that are encoded block by block, in the dtype of a net's module."""
    parameter = next(net.module_.parameters())
    encode = partial(encoding.encode_block, dtype=parameter.dtype)
    return EncodedRows(source, encode, Batch(parameter.new_empty(source.shape[0], 0, requires_grad=False)))


def rows_with(values: NDArray | Tensor, net: AutoencoderNet) -> Rows:
    """Return rows whose ``x`` are codes or cells, in the dtype and on the device of a net's module."""
    values = np.require(values, requirements="W") if isinstance(values, np.ndarray) else values
    return Rows(Batch(torch.as_tensor(values, device="cpu").to(next(net.module_.parameters()))))


def code(module: Autoencoder, batch: Batch) -> Tensor:
    """Return (n, k): codes."""
    return module.encode(batch.x, batch.observed)


def decoded(module: Autoencoder, batch: Batch) -> Tensor:
    """Return (n, n_cells): expected numbers and most probable categories of codes."""
    return module.decode(batch.x)
