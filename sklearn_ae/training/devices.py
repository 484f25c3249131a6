"""What each kind of device can do: the one table that all code reads that depends on the device."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from sklearn_ae.training import cuda_graph

Capture = Callable[[Callable[[], Any]], tuple[Any, Callable[[], object] | None]]


@dataclass(frozen=True)
class Capabilities:
    """What a kind of device can do.

    Parameters
    ----------
    is_host : bool
        Whether operations run on the cores of the host and in its memory.
    records_steps : bool
        Whether a training step can be recorded and replayed.
    capture : callable or None
        Captures a computation as ``computation -> (result, replay)``; None if the recorded operations are replayed.
    float64_is_fast : bool
        Whether double precision costs little, so that ``precision="auto"`` may choose it.
    rate_dtype : dtype
        The dtype of the learning rate that the fused Adam kernel takes.
    chunk_rows, chunk_cells : int
        Most rows and most cells of a chunk, where rows are processed without training.
    chunks_by_layer : bool
        Whether the widest layer counts as the width of a row, so that activations fit into the memory of the device.
    """

    is_host: bool
    records_steps: bool
    capture: Capture | None
    float64_is_fast: bool
    rate_dtype: torch.dtype
    chunk_rows: int
    chunk_cells: int
    chunks_by_layer: bool


HOST = Capabilities(
    is_host=True,
    records_steps=True,
    capture=None,
    float64_is_fast=True,
    rate_dtype=torch.float64,
    chunk_rows=2048,
    chunk_cells=1 << 19,
    chunks_by_layer=False,
)
OTHER = Capabilities(  # what is safe to assume of any accelerator
    is_host=False,
    records_steps=False,
    capture=None,
    float64_is_fast=False,
    rate_dtype=torch.float32,
    chunk_rows=1 << 16,
    chunk_cells=1 << 24,
    chunks_by_layer=True,
)
CUDA = replace(OTHER, records_steps=True, capture=cuda_graph.record)

KINDS = {"cpu": HOST, "cuda": CUDA}


def capabilities(device: torch.device | str) -> Capabilities:
    """Return what a device can do; ``OTHER`` for kinds that are not in the table."""
    return KINDS.get(torch.device(device).type, OTHER)
