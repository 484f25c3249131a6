"""Evaluation of a function of the module for all rows, in chunks."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training import threads
from sklearn_ae.training.batches import Chunks, Rows, chunk_size
from sklearn_ae.training.devices import capabilities
from sklearn_ae.training.net import AutoencoderNet


def apply(
    net: AutoencoderNet, function: Callable[[Autoencoder, Batch], Tensor], rows: Rows, dtype: Any = None
) -> NDArray:
    """Return ``function(module, batch)`` for all rows as an array; see ``evaluated``."""
    return evaluated(net, function, rows, dtype).numpy()


@torch.no_grad()
def evaluated(
    net: AutoencoderNet,
    function: Callable[[Autoencoder, Batch], Tensor],
    rows: Rows,
    dtype: Any = None,
    finish: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return ``finish(function(module, batch))`` for all rows, computed in chunks.

    The chunks fit into the cache of a CPU. On a GPU they are larger, and the values of a chunk are put where they are
    asked for before the next one is computed.

    Parameters
    ----------
    net : AutoencoderNet
        The net with the module, which is set to evaluation mode.
    function : callable
        ``(module, batch) -> tensor``, one row of values for each row of the batch.
    rows : Rows
        The rows.
    dtype : dtype, optional
        The dtype of the values, one of torch or NumPy; by default that of the function.
    finish : callable, optional
        ``tensor -> tensor``, applied to the values where they are put, a chunk at a time.
    device : device, default="cpu"
        Where the values are put.

    Returns
    -------
    values : Tensor of shape (n, ...)
        The values of all rows.
    """
    net.module_.eval()
    n_on_host = chunk_size(rows)
    with net.precision(), threads.at_most(threads.suited(net.module_, min(len(rows), n_on_host))):
        size = device_chunk_size(rows, net.module_, net.device)
        values = (function(net.module_, chunk.rows).to(device) for chunk in Chunks(rows, size))
        parts = (part for of_chunk in values for part in of_chunk.split(capabilities(device).chunk_rows))
        finished = (_for_numpy(part) if finish is None else finish(_for_numpy(part)) for part in parts)
        return _concatenated(finished, len(rows), dtype)


def apply_with_noise(
    net: AutoencoderNet,
    function: Callable[[Autoencoder, Batch], Tensor],
    rows: Rows,
    index: Tensor,
) -> NDArray:
    """Return ``function(module, batch)`` for the rows at an index; the noise that it draws is the same on all devices.

    Noise is drawn by chunk, so chunks have the size that they have on a CPU.
    """
    size = min(chunk_size(rows), device_chunk_size(rows, net.module_, "cpu"))
    return np.concatenate([apply(net, function, Rows(rows.take(part))) for part in index.split(size)])


def device_chunk_size(rows: Rows, module: Autoencoder, device: torch.device | str) -> int:
    """Return the number of rows of a chunk on a device, where nothing is trained."""
    limits = capabilities(device)
    layers = [*module.encoder.modules(), *module.decoder.modules()] if limits.chunks_by_layer else []
    widths = [max(layer.in_features, layer.out_features) for layer in layers if isinstance(layer, nn.Linear)]
    return max(1, min(limits.chunk_rows, limits.chunk_cells // max(1, rows.n_cells, *widths)))


def _for_numpy(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))  # NumPy has no bfloat16


def _concatenated(chunks: Iterable[Tensor], n: int, dtype: Any) -> Tensor:
    """Return chunks of ``n`` rows in all as one tensor, with no second copy in memory."""
    whole, start = torch.empty(0, device="cpu"), 0
    for chunk in chunks:
        if start == 0:
            whole = chunk.new_empty(n, *chunk.shape[1:], dtype=_torch_dtype(dtype))
        whole[start : start + len(chunk)] = chunk
        start += len(chunk)
    return whole


def _torch_dtype(dtype: Any) -> torch.dtype | None:
    """Return a dtype of torch or NumPy as one of torch."""
    return dtype if dtype is None or isinstance(dtype, torch.dtype) else torch.from_numpy(np.empty(0, dtype)).dtype
