"""A function of the module, applied to all rows in chunks."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from sklearn_ae.modules.mlp import Linear
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.apply import apply, device_chunk_size
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.devices import HOST, KINDS
from tests.training.nets import (
    K,
    X,
    net_of,
)


@pytest.mark.parametrize("n", [1, 7, 20])
@pytest.mark.parametrize("chunk", [4, 1024])
def test_what_is_applied_in_chunks_is_what_is_applied_at_once(n, chunk, monkeypatch):
    monkeypatch.setitem(KINDS, "cpu", replace(HOST, chunk_rows=chunk))
    net = net_of(dropout=0.5)
    found = apply(net, lambda module, batch: module.encode(batch.x), Rows(Batch(X[:n])))
    assert found == pytest.approx(net.module_.eval().encode(X[:n]).detach().numpy(), rel=1e-12)
    assert found.shape == (n, K)


@pytest.mark.parametrize(
    ("n_columns", "hidden", "expected"),
    [(10, 64, 65_536), (256, 256, 65_536), (512, 64, 32_768), (100_000, 64, 167), (10, 4096, 4096), (1 << 25, 8, 1)],
)
def test_a_chunk_on_a_gpu_has_fewer_rows_where_they_are_wide(n_columns, hidden, expected):
    layers = torch.nn.Sequential(Linear(n_columns, 2)) if n_columns < 1000 else torch.nn.Identity()
    module = SimpleNamespace(encoder=layers, decoder=torch.nn.Sequential(Linear(2, hidden)))
    assert device_chunk_size(SimpleNamespace(n_cells=n_columns), module, "cuda") == expected
