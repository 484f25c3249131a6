"""A pickled fit holds what it needs and no more, and is read where its device is not at hand."""

import copy
import io
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, LRScheduler
from skorch.exceptions import DeviceWarning

from sklearn_ae import RegularizedAutoencoder
from tests.families import INTRICATE, SMALL, VARIANTS

random = np.random.default_rng(0)
X = random.uniform(size=(60, 4))
Y = np.arange(60) % 3
variants = pytest.mark.parametrize("variant", INTRICATE)

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="what is missing is a GPU")


def weighted(module, batch, trace, weight):
    """A penalty that holds a tensor, (n,)."""
    return (trace["code"].square() * weight).sum(-1)


FITS = {
    **{variant: VARIANTS[variant] for variant in INTRICATE},
    "a scheduler": partial(RegularizedAutoencoder, callbacks=[LRScheduler("StepLR", step_size=2)]),
    "early stopping": partial(RegularizedAutoencoder, early_stopping=True),
    "a penalty that holds a tensor": partial(RegularizedAutoencoder, penalty=partial(weighted, weight=torch.ones(2))),
}


def fitted(fit, **settings):
    return fit(**{**SMALL, "batch_size": 16, **settings}).fit(X, Y)


def dumped_as_from(device, net, monkeypatch):
    """Return the pickle of a net, all tensors of which say that they lie on a device."""
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: device)
        patched.setattr(net, "device", torch.device(device))
        return pickle.dumps(net)


def with_net(estimator, net):
    """Return a copy of a fitted estimator with another net."""
    twin = copy.deepcopy(estimator)
    twin.as_fitted().model_ = replace(twin.model_, net=net)
    return twin


def answers(estimator):
    codes = estimator.transform(X)
    values = [codes, estimator.predict_proba(X), estimator.sample(3, random_state=0), estimator.score_samples(X[:9])]
    return [value.tobytes() for value in values]


@needs_no_gpu
@pytest.mark.parametrize(
    ("fit", "device"), [*((fit, "cuda:0") for fit in FITS), ("variational", "cuda:3"), ("variational", "mps")]
)
def test_a_fit_made_on_a_gpu_is_loaded_where_there_is_none(fit, device, monkeypatch):
    estimator = fitted(FITS[fit], max_iter=2)
    expected = answers(estimator)
    saved = dumped_as_from(device, estimator.net_, monkeypatch)
    with pytest.warns(DeviceWarning, match=f"{device}.*onto the CPU"):
        loaded = pickle.loads(saved)
    twin = with_net(estimator, loaded)
    assert twin.net_ is loaded
    assert answers(twin) == expected
    assert twin.device_ == torch.device("cpu")
    assert twin.history_.equals(estimator.history_)
    assert answers(twin.partial_fit(X, Y)) == answers(estimator.partial_fit(X, Y))


@needs_no_gpu
def test_going_on_needs_a_device_that_is_there(monkeypatch):
    estimator = fitted(VARIANTS["variational"])
    saved = dumped_as_from("cuda", estimator.net_, monkeypatch)
    with pytest.warns(DeviceWarning):
        estimator = with_net(estimator, pickle.loads(saved)).set_params(device="cuda")
    before = answers(estimator)
    with pytest.raises(ValueError, match="device must be one that torch can reach"):
        estimator.partial_fit(X, Y)
    assert answers(estimator) == before
    estimator.set_params(device="auto").partial_fit(X, Y)


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    ("fit", "copied"),
    [
        *((fit, through_pickle) for fit in FITS),
        *((fit, copy.deepcopy) for fit in ("variational", "a scheduler")),
        ("adversarial, both", through_joblib),
    ],
)
def test_a_copy_goes_on_as_the_original_does(fit, copied):
    estimator = fitted(FITS[fit], warm_start=True, max_iter=2)
    twin = copied(estimator)
    assert answers(twin) == answers(estimator)
    assert twin.net_.module is twin.module_
    for go_on in (lambda e: e.partial_fit(X, Y), lambda e: e.fit(X, Y)):
        assert answers(go_on(twin)) == answers(go_on(estimator))
    assert answers(clone(twin).fit(X, Y)) == answers(fitted(FITS[fit], max_iter=2))


@pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])
def test_a_copy_shares_no_memory_with_the_original(copied):
    estimator = fitted(VARIANTS["adversarial, both"])
    before, twin = answers(estimator), copied(estimator)
    for tensor in [*twin.module_.parameters(), *twin.module_.buffers()]:
        tensor.data.zero_()
    assert answers(estimator) == before


@pytest.mark.parametrize("family", [VARIANTS["regularized"], VARIANTS["adversarial, both"]])
@pytest.mark.parametrize("copied", [lambda e: e, through_pickle, copy.deepcopy])
def test_a_pickle_holds_weights_and_two_moments_of_each_and_little_else(family, copied):
    estimator = copied(family(hidden_layer_sizes=(300, 200), max_iter=2, batch_size=8, random_state=0).fit(X))
    weights = sum(parameter.nbytes for parameter in estimator.module_.parameters())
    assert 3 * weights < len(pickle.dumps(estimator)) < 3 * weights + 100_000


class Saving(Callback):
    """Pickles the net after each epoch, as a checkpoint does."""

    def __init__(self, folder):
        self.folder = folder

    def on_epoch_end(self, net, **kwargs):
        (self.folder / f"{len(net.history)}.pkl").write_bytes(pickle.dumps(net))


def test_what_was_recorded_of_a_step_does_not_travel(tmp_path: Path):
    rows = random.uniform(size=(4000, 50))
    settings = {"hidden_layer_sizes": (8,), "batch_size": 1000, "max_iter": 12, "early_stopping": False}
    fit = RegularizedAutoencoder(2, **settings, callbacks=[Saving(tmp_path)])
    fit.fit(rows)
    assert not fit.net_.step_.is_recorded
    first, last = ((tmp_path / f"{epoch}.pkl").read_bytes() for epoch in (1, 12))
    assert len(last) < len(first) + 20_000  # a history; a batch alone takes 200,000 bytes
    assert not pickle.loads(last).step_.is_recorded


def test_a_fit_with_what_no_pickle_holds_is_copied():
    estimator = fitted(RegularizedAutoencoder, penalty=lambda module, batch, trace: trace["code"].abs().sum(-1))
    assert answers(copy.deepcopy(estimator)) == answers(estimator)
