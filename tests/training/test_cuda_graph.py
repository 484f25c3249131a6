"""A training step as a CUDA graph: it does what the CPU does, and waits for nothing."""

from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score

from sklearn_ae.training import cuda_graph
from sklearn_ae.training import step as step_module
from sklearn_ae.training.devices import CUDA, KINDS
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.replay import Repeated
from tests.families import SMALL, VARIANTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU on this machine"),
]

random = np.random.default_rng(0)
X = random.uniform(size=(200, 4))
Y = np.arange(200) % 3
variants = pytest.mark.parametrize("variant", VARIANTS)


def fitted(variant, device, **settings):
    settings = {**SMALL, "batch_size": 16, "max_iter": 6, "device": device, "precision": "float32", **settings}
    return VARIANTS[variant](**settings).fit(X, Y)


def test_a_replay_reads_its_input_and_writes_its_result_where_they_were():
    a, b = torch.ones(5, device="cuda"), torch.full((5,), 2.0, device="cuda")
    result, replay = cuda_graph.record(lambda: {"sum": a + b})
    assert result["sum"].tolist() == [3] * 5
    a.fill_(10)
    replay()
    assert result["sum"].tolist() == [12] * 5


def test_what_can_not_be_captured_is_run_once_and_not_replayed():
    a = torch.ones(5, device="cuda")
    with pytest.warns(RuntimeWarning, match="CUDA graph"):
        result, replay = cuda_graph.record(lambda: a * a.sum().item())
    assert result.tolist() == [5] * 5
    assert replay is None
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@variants
def test_a_fit_on_the_gpu_agrees_with_one_on_the_cpu(variant):
    on_gpu, on_cpu = (fitted(variant, device) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(on_gpu.loss_curve_, on_cpu.loss_curve_, rtol=1e-3)
    np.testing.assert_allclose(on_gpu.transform(X), on_cpu.transform(X), rtol=1e-2, atol=1e-3)


@variants
def test_a_captured_step_agrees_with_the_step_as_it_is_written(variant, monkeypatch):
    estimators = []
    for plain in (10**9, 1):
        monkeypatch.setattr(step_module, "PLAIN_STEPS", plain)
        estimators.append(fitted(variant, "cuda", precision="float64"))
    np.testing.assert_allclose(estimators[1].loss_curve_, estimators[0].loss_curve_, rtol=1e-9)


@variants
def test_a_captured_step_trains_in_bfloat16(variant):
    estimator = fitted(variant, "cuda", precision="bfloat16", max_iter=20)
    assert np.isfinite(estimator.loss_curve_).all()
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]


def test_a_long_fit_is_captured_once(monkeypatch):
    captures = []

    def counted(computation):
        captures.append(1)
        return cuda_graph.record(computation)

    monkeypatch.setitem(KINDS, "cuda", replace(CUDA, capture=counted))
    fitted("adversarial", "cuda")
    assert len(captures) == 1


def test_no_step_but_the_one_that_checks_the_capture_waits_for_the_gpu(monkeypatch):
    train_step, compared = AutoencoderNet.train_step, Repeated._compared

    def strict(self, batch, **kwargs):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return train_step(self, batch, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def free(self, *known):
        torch.cuda.set_sync_debug_mode("default")
        return compared(self, *known)

    monkeypatch.setattr(Repeated, "_compared", free)

    monkeypatch.setattr(AutoencoderNet, "train_step", strict)
    fitted("variational", "cuda")


@variants
def test_fits_that_are_trained_together_on_the_gpu_agree_with_fits_alone(variant):
    settings = {**SMALL, "batch_size": 16, "max_iter": 6, "device": "cuda", "precision": "float64"}
    estimator = VARIANTS[variant](**settings)
    alone = cross_val_score(estimator, X, Y, cv=4)
    with joblib.parallel_config(backend="sklearn_ae"):
        together = cross_val_score(estimator, X, Y, cv=4)
    np.testing.assert_allclose(together, alone, rtol=1e-6)
