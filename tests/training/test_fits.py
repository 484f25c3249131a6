"""Which fits are trained together: stacks that suit the cache and the cores."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from torch.multiprocessing.reductions import StorageWeakRef

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.training import fits
from sklearn_ae.training.fits import Fit, models_at_once
from sklearn_ae.training.loop import DRIVER
from sklearn_ae.training.stack import Stack
from tests.families import INTRICATE, SMALL, VARIANTS


@pytest.mark.parametrize(("sizes", "expected"), [((64,), 1), ((2000, 2000), 8)])
def test_a_stack_is_trained_by_as_many_threads_as_one_of_its_models(sizes, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    (fit,) = begun(RegularizedAutoencoder(8, hidden_layer_sizes=sizes, batch_size=128), 200)
    assert fits._threads_fed([fit]) == fits._threads_fed([fit] * 100) == expected


def begun(estimator, n_rows):
    """Return the fits of the members of an estimator whose training has begun."""
    of_members = []
    token = DRIVER.set(lambda nets, split: of_members.extend(Fit(net, split) for net in nets))
    try:
        estimator.fit(np.random.RandomState(0).normal(size=(n_rows, 30)))
    finally:
        DRIVER.reset(token)
    return of_members


@pytest.mark.parametrize(("sizes", "batch", "expected"), [((64,), 32, 30), ((2000, 2000), 32, 1)])
def test_large_models_are_not_stacked(sizes, batch, expected):
    (fit,) = begun(RegularizedAutoencoder(8, hidden_layer_sizes=sizes, batch_size=batch), 100)
    found = models_at_once(fit)
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
    group = [SimpleNamespace(n_left=k % 3) for k in range(n_fits)]
    chunks = fits.divided(group, n_threads)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [fit for chunk in chunks for fit in chunk] == [*group[::3], *group[1::3], *group[2::3]]  # by their length


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
    assert fits.n_trainers(group, 2) == expected


# Memory


class Limited(Stack):
    """A stack whose memory is observed from outside, with room for some models only."""

    room = 128  # models of a stack
    room_later = 128  # of one that has begun
    made: list = []  # of (weak reference, storages)
    alive: list = []  # stacks that were there when another one was begun

    def __init__(self, models, epochs, check):
        self.alive.append(sum(is_alive(*one) for one in self.made))
        super().__init__(models, epochs, check)
        matrices = [adam.values for adam in models.optimizers.values()]
        tensors = [*matrices, *models.state.values(), *self.batches.rows.values()]
        self.made.append((weakref.ref(self), [StorageWeakRef(tensor.untyped_storage()) for tensor in tensors]))
        self.n_epochs = 0
        if len(models.nets) > self.room:
            raise torch.OutOfMemoryError("no room to begin")

    def epoch(self):
        means = super().epoch()
        self.n_epochs += 1
        if len(self.nets) > self.room_later and self.n_epochs == self.fails_in:
            raise torch.OutOfMemoryError("no room to go on")
        return means

    fails_in = 1


def is_alive(stack, storages):
    return stack() is not None or not all(storage.expired() for storage in storages)


@pytest.fixture
def limited(monkeypatch):
    """Stacks are observed, nothing waits for the garbage collector, and the CPU is taken for a GPU."""
    for name in ("made", "alive"):
        monkeypatch.setattr(Limited, name, [])
    monkeypatch.setattr(fits, "Stack", Limited)
    monkeypatch.setattr(fits, "is_on_host", lambda fit: False)
    gc.collect()
    gc.disable()
    yield monkeypatch
    gc.enable()


def all_scores(variant="variational", n_iter=(4, 4, 6, 6, 8, 8, 8, 8), **settings):
    """Return what fits of several lengths say of some rows, trained together, or the error of each."""

    def score(seed, n):
        try:
            own = {"max_iter": n, "random_state": seed, "batch_size": 16, "precision": "float64"}
            return VARIANTS[variant](**SMALL | own | settings).fit(ROWS).score(ROWS)
        except torch.OutOfMemoryError as error:
            return str(error)

    with joblib.parallel_config(backend="sklearn_ae"):
        return joblib.Parallel(n_jobs=8)(joblib.delayed(score)(seed, n) for seed, n in enumerate(n_iter))


ROWS = np.random.RandomState(0).normal(size=(60, 4))
OFTEN = ("variational", "adversarial, both")
intricate = pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow) for name in INTRICATE]
)


def test_a_stack_is_gone_when_a_smaller_one_takes_over(limited):
    all_scores()
    assert len(Limited.made) == 2
    assert Limited.alive == [0, 0]
    assert not any(is_alive(*one) for one in Limited.made)


@intricate
def test_a_stack_without_room_to_begin_is_gone_when_its_halves_begin(variant, limited):
    expected = all_scores(variant)
    Limited.alive.clear()
    limited.setattr(Limited, "room", 2)
    assert all_scores(variant) == pytest.approx(expected, rel=1e-9)
    assert len(Limited.alive) > 4
    assert not any(Limited.alive)


@intricate
def test_a_stack_without_room_for_its_first_epoch_begins_again_in_halves(variant, limited):
    settings = {"early_stopping": True, "n_iter_no_change": 2}
    expected = all_scores(variant, **settings)
    Limited.alive.clear()
    limited.setattr(Limited, "room_later", 2)
    assert all_scores(variant, **settings) == pytest.approx(expected, rel=1e-9)
    assert len(Limited.alive) > 4
    assert not any(Limited.alive)


def test_without_room_for_a_later_epoch_the_fits_of_that_stack_fail_and_others_go_on(limited):
    n_iter = [6, 4, 4, 6, 4, 4]  # those of about one length share a stack, in whatever order they come
    expected = all_scores(n_iter=n_iter)
    limited.setattr(fits, "models_at_once", lambda fit: 4)
    limited.setattr(Limited, "room_later", 1)
    limited.setattr(Limited, "fails_in", 5)
    found = all_scores(n_iter=n_iter)
    assert [found.pop(3), found.pop(0)] == ["no room to go on"] * 2
    assert found == pytest.approx([expected[index] for index in (1, 2, 4, 5)], rel=1e-9)
