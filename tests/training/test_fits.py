"""Which fits are trained together: stacks that suit the cache and the cores."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.training import fits
from sklearn_ae.training.fits import Fit, models_at_once
from sklearn_ae.training.net import DRIVER


@pytest.mark.parametrize(("sizes", "batch", "expected"), [((64,), 32, 30), ((2000, 2000), 32, 1)])
def test_large_models_are_not_stacked(sizes, batch, expected):
    nets = []
    token = DRIVER.set(lambda net, split: nets.append(Fit(net, split)))
    try:
        with pytest.raises(Exception):  # noqa: B017, PT011
            RegularizedAutoencoder(8, hidden_layer_sizes=sizes, batch_size=batch).fit(
                np.random.RandomState(0).normal(size=(100, 30))
            )
    finally:
        DRIVER.reset(token)
    found = models_at_once(nets[0])
    assert found == 1 if expected == 1 else found >= expected


KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("n_fits", "most", "n_bytes", "n_threads", "sizes"),
    [
        (120, 51, 128 * KIB, 1, [40, 40, 40]),
        (120, 51, 128 * KIB, 2, [30, 30, 30, 30]),
        (120, 128, 128 * KIB, 2, [60, 60]),
        (20, 51, 128 * KIB, 2, [20]),  # small stacks would keep the interpreter busy
        (20, 3, MIB, 4, [3, 3, 3, 3, 3, 3, 2]),
        (3, 1, 4 * MIB, 2, [1, 1, 1]),
        (1, 128, KIB, 4, [1]),
    ],
)
def test_stacks_are_of_about_one_size(n_fits, most, n_bytes, n_threads, sizes, monkeypatch):
    monkeypatch.setattr(fits, "models_at_once", lambda fit: most)
    monkeypatch.setattr(fits, "model_bytes", lambda fit: n_bytes)
    group = [object() for _ in range(n_fits)]
    chunks = fits._chunks(group, n_threads)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [fit for chunk in chunks for fit in chunk] == group


@pytest.mark.parametrize(("least", "expected"), [(1, 3), (1 << 40, 1)])
def test_threads_are_for_stacks_that_are_not_small(least, expected, monkeypatch):
    n_threads = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, n, **settings):
            n_threads.append(n)
            super().__init__(n, **settings)

    monkeypatch.setattr(fits, "ThreadPoolExecutor", Counted)
    monkeypatch.setattr(fits, "LEAST", least)
    monkeypatch.setattr(fits, "cpu_count", lambda: 3 * torch.get_num_threads())
    estimator = RegularizedAutoencoder(2, hidden_layer_sizes=(8,), max_iter=2, random_state=0)
    with joblib.parallel_config(backend="sklearn_ae"):
        cross_val_score(estimator, np.random.RandomState(0).normal(size=(60, 4)), cv=6)
    assert n_threads == [expected]


@pytest.mark.parametrize(
    ("devices", "cores_per_thread", "expected"),
    [(["cpu", "cpu"], 4, 4), (["cpu"], 0.5, 1), (["cpu", "cuda"], 4, 1), (["mps"], 4, 1)],
)
def test_cores_that_torch_leaves_idle_are_used(devices, cores_per_thread, expected, monkeypatch):
    monkeypatch.setattr(fits, "cpu_count", lambda: int(cores_per_thread * 2))
    group = [SimpleNamespace(net=SimpleNamespace(device=device)) for device in devices]
    assert fits._n_threads(group, 2) == expected
