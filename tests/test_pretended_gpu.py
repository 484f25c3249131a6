"""Fits on a GPU that is only pretended agree with those on the CPU, alone and together, and no step waits."""

import pickle
import warnings
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from skorch.exceptions import DeviceWarning

import sklearn_ae
from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.shipping.program import Program
from sklearn_ae.tables.containers import ArrayContainer
from sklearn_ae.training import adam
from sklearn_ae.training import step as step_module
from sklearn_ae.training.devices import CUDA, KINDS
from sklearn_ae.training.net import AutoencoderNet
from tests.families import INTRICATE, SMALL, VARIANTS
from tests.pretended_gpu import pretended_gpu

slow = pytest.mark.slow
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and nothing to pretend")

random = np.random.default_rng(0)
N = 60
X = random.uniform(size=(N, 4))
Y = np.arange(N) % 3
GAPS = np.where(random.uniform(size=X.shape) < 0.2, np.nan, X)
FRAME = pd.DataFrame(
    {
        "number": np.where(random.uniform(size=N) < 0.2, np.nan, random.normal(size=N)),
        "few": pd.Categorical(random.choice(list("uvw"), N)),
        "many": pd.Categorical(np.r_[np.arange(N - 3), 0, 1, 2].astype(str)),
        "count": random.poisson(3, N),
        "spread count": random.poisson(2, N),
        "truth": random.uniform(size=N) < 0.5,
    }
)
COUNTS = {"count": "poisson", "spread count": "negative_binomial"}
WITHOUT_LABEL = np.where(np.arange(N) % 5 == 0, -1, Y)


@pytest.fixture(autouse=True)
def _recorded_early(monkeypatch):
    """Steps are many times slower here."""
    monkeypatch.setattr(step_module, "PLAIN_STEPS", 1)  # captured in the third step, replayed from the fifth on
    monkeypatch.setattr("sklearn_ae.likelihoods.mixed.FEW", 20)  # what has more categories gets vectors


def fitted(family, device, rows=X, y=Y, **settings):
    own = {"batch_size": 15, "max_iter": 2, "precision": "float32", "device": device}
    return family(**SMALL | own | settings).fit(rows, y)


def plainly_fitted(*args, **settings):
    """Fit on the CPU, every step as it is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_module, "PLAIN_STEPS", 10**9)
        return fitted(*args, **settings)


def answers(estimator, rows=X):
    """Return what a fit has to say, by the name of the question."""
    few, codes = rows[:6], estimator.transform(rows)
    found = {
        "losses": np.array(estimator.loss_curve_),
        "codes": codes,
        "restored": estimator.inverse_transform(codes),
        "scores": estimator.score_samples(few),
        "scores of cells": estimator.score_cells(few),
        "effects": estimator.explain_codes(few),
        "probabilities": estimator.predict_proba(rows),
        "samples": estimator.sample(4, random_state=0),
        "samples of a class": estimator.sample(2, y=0, random_state=0),
    }
    if not isinstance(rows, csr_matrix):
        found |= {"filled": estimator.impute(few), "drawn": estimator.impute(few, n_draws=1, random_state=0)[0]}
    if hasattr(estimator, "discriminate"):
        found["real"] = estimator.discriminate(rows)
    return found


def assert_agree(found, expected, rtol=2e-3):
    assert found.keys() == expected.keys()
    for question in expected:
        one, other = (pd.DataFrame(values).convert_dtypes() for values in (found[question], expected[question]))
        pd.testing.assert_frame_equal(one, other, rtol=rtol, atol=rtol, obj=question)


# Alone


@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=[] if name in INTRICATE else pytest.mark.slow) for name in VARIANTS],
)
def test_a_fit_on_the_gpu_agrees_with_one_on_the_cpu(variant):
    with pretended_gpu() as gpu:
        estimator = fitted(VARIANTS[variant], "cuda")
        tensors = [*estimator.module_.parameters(), *estimator.module_.buffers()]
        assert {str(tensor.device) for tensor in tensors} == {"cuda:0"}
        assert len(gpu.graphs) == 1
        found = answers(estimator)
    assert_agree(found, answers(plainly_fitted(VARIANTS[variant], "cpu")))


CASES = {
    "gaps": {"rows": GAPS, "column_weight": [1, 2, 0, 1]},
    "mixed": {"rows": FRAME, "likelihood": COUNTS, "min_frequency": 1},
    "sparse": {"rows": csr_matrix(X)},
    "quantile": {"rows": GAPS, "scale": "quantile"},
    "full batch": {"batch_size": "auto", "max_iter": 6},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 1, "validation_fraction": 0.3, "max_iter": 4},
    "few labels": {"y": WITHOUT_LABEL, "unlabeled": -1, "class_weight": "balanced"},
    "weight decay": {"weight_decay": 0.01},
    "double precision": {"precision": "float64"},
    "half precision": {"precision": "bfloat16"},
}
OFTEN = "variational"  # it meets every case in the default run, because a case is one of tables and settings
MIXED = {"regularized, learned scales", "adversarial, both"}  # one of each other family meets cells of several kinds


@pytest.mark.parametrize(
    ("case", "variant"),
    [
        pytest.param(case, variant, marks=[] if variant == OFTEN or (case == "mixed" and variant in MIXED) else slow)
        for case in CASES
        for variant in INTRICATE
    ],
)
def test_tables_and_settings_agree(case, variant):
    rows, rtol = CASES[case].get("rows", X), 0.05 if case == "half precision" else 2e-3
    with pretended_gpu() as gpu:
        found = answers(fitted(VARIANTS[variant], "cuda", **CASES[case]), rows)
        assert gpu.graphs
    assert_agree(found, answers(plainly_fitted(VARIANTS[variant], "cpu", **CASES[case]), rows), rtol)


@pytest.mark.parametrize("variant", [OFTEN, "adversarial, both"])
def test_a_fit_goes_on_on_the_gpu(variant):
    def gone_on(device):
        estimator = fitted(VARIANTS[variant], device, warm_start=True, max_iter=2)
        return answers(estimator.partial_fit(X, Y).partial_fit(X[:20]).fit(X, Y))

    with pretended_gpu():
        found = gone_on("cuda")
    assert_agree(found, gone_on("cpu"))


# Together


def score(seed, family, device, rows=X, **settings):
    """Return what a fit says of some rows; one of two ends earlier."""
    own = {"random_state": seed, "max_iter": 2 + seed % 2, "precision": "float64"}
    return fitted(family, device, rows, **own | settings).score_samples(rows[:6])


def scores_together(*args, **settings):
    with joblib.parallel_config(backend="sklearn_ae"):
        return joblib.Parallel(n_jobs=4)(joblib.delayed(score)(seed, *args, **settings) for seed in range(3))


TOGETHER = {
    "numbers": {},
    "gaps": {"rows": GAPS},
    "mixed": {"rows": FRAME, "likelihood": COUNTS, "min_frequency": 1},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 1, "validation_fraction": 0.3},
}


@pytest.mark.parametrize(
    ("case", "variant"),
    [
        pytest.param(case, variant, marks=[] if variant == OFTEN and case != "numbers" else pytest.mark.slow)
        for case in TOGETHER
        for variant in INTRICATE
    ],
)
def test_fits_that_are_trained_together_on_the_gpu_agree_with_fits_alone(case, variant):
    with pretended_gpu() as gpu:
        found = scores_together(VARIANTS[variant], "cuda", **TOGETHER[case])
    assert 1 <= len(gpu.graphs) < 3
    expected = [score(seed, VARIANTS[variant], "cpu", **TOGETHER[case]) for seed in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# What waits, and what it takes


@pytest.mark.parametrize("variant", ["regularized, learned scales", OFTEN, "adversarial, both"])
def test_one_step_of_a_fit_waits_for_the_gpu_at_most(variant, monkeypatch):
    train_step, waits = AutoencoderNet.train_step, []

    def counted(net, batch, **kwargs):
        before = len(gpu.waits)
        terms = train_step(net, batch, **kwargs)
        waits.append(len(gpu.waits) > before)
        return terms

    monkeypatch.setattr(AutoencoderNet, "train_step", counted)
    with pretended_gpu() as gpu:
        fitted(VARIANTS[variant], "cuda", max_iter=2)
    assert len(waits) == 2 * 4
    assert sum(waits) <= 1  # where a replay is compared with the step as it is written


def test_a_stack_does_not_wait_more_often_for_more_batches():
    def waits(batch_size):
        with pretended_gpu() as gpu:
            scores_together(VARIANTS[OFTEN], "cuda", batch_size=batch_size)
        return len(gpu.waits)

    assert waits(15) == waits(5)


def test_values_leave_the_gpu_in_chunks(monkeypatch):
    monkeypatch.setitem(KINDS, "cuda", replace(CUDA, chunk_rows=10))

    def most_bytes(n_rows):
        used = []

        def encoded(module, batch):
            used.append(gpu.places.bytes_on_gpu())
            return module.encode(batch.x)

        codes = estimator.model_.apply(encoded, ArrayContainer(np.tile(X, (n_rows // N, 1))))
        assert codes.shape == (n_rows, 2)
        return max(used)

    with pretended_gpu() as gpu:
        estimator = fitted(VARIANTS["regularized"], "cuda", max_iter=1)
        assert most_bytes(20 * N) == most_bytes(2 * N)


@pytest.mark.parametrize("variant", ["regularized, learned scales", OFTEN, "adversarial, both"])
def test_a_fit_made_on_the_gpu_is_loaded_there_and_where_there_is_none(variant, tmp_path):
    rows, settings = FRAME, {"likelihood": COUNTS, "min_frequency": 1, "max_iter": 1}
    with pretended_gpu():
        estimator = fitted(VARIANTS[variant], "cuda", rows, **settings)
        expected, pickled = answers(estimator, rows), pickle.dumps(estimator)
        estimator.save(tmp_path / "model")
        loaded = sklearn_ae.load(tmp_path / "model")
        assert loaded.device_.type == "cuda"
        assert_agree(answers(loaded, rows), expected)
        codes = [each.partial_fit(rows, Y).transform(rows) for each in (loaded, estimator)]
        np.testing.assert_allclose(*codes, rtol=2e-3, atol=2e-3)
    for load in (lambda: pickle.loads(pickled), lambda: sklearn_ae.load(tmp_path / "model")):
        with pytest.warns(DeviceWarning, match="onto the CPU"):
            loaded = load()
        assert loaded.device_ == torch.device("cpu")
        assert_agree(answers(loaded, rows), expected)


@pytest.mark.parametrize("variant", ["regularized, learned scales", OFTEN, "adversarial, both"])
def test_the_program_of_a_graph_runs_on_the_host(variant):
    with pretended_gpu():
        estimator = fitted(VARIANTS[variant], "cuda", max_iter=1)
        expected = estimator.score_samples(X)
        program = Program(estimator.model_, "score_samples").eval()
        with torch.no_grad():
            found = program(torch.tensor(X, dtype=program.dtype, device="cpu")).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def moving(module, batch, trace):
    """A penalty that moves a constant to the GPU at every step, (n,)."""
    return (trace["code"] * torch.arange(2.0).to(trace["code"].device)).sum(-1)


def test_a_capture_that_fails_is_told_of_and_the_next_fit_is_captured():
    penalized = partial(RegularizedAutoencoder, penalty=moving)
    with pretended_gpu() as gpu:
        with pytest.warns(RuntimeWarning, match="not permitted when stream is capturing"):
            found = answers(fitted(penalized, "cuda"))
        assert not gpu.graphs
        fitted(VARIANTS["regularized"], "cuda")
        assert len(gpu.graphs) == 1
    assert_agree(found, answers(plainly_fitted(penalized, "cpu")))


# Does it find what it is there for?


class Counting:
    """A penalty with a weight that grows, in Python or in memory of the host."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, module, batch, trace):
        self.weight += 1
        return trace["code"].square().sum(-1) * self.weight


class Running:
    """A penalty with a running mean that is replaced, not written."""

    def __init__(self):
        self.mean = None

    def __call__(self, module, batch, trace):
        now = trace["code"].detach().mean(0)
        self.mean = now if self.mean is None else 0.9 * self.mean + 0.1 * now
        return (trace["code"] - self.mean).square().sum(-1)


def reading(module, batch, trace):
    """A penalty that reads a number off, (n,)."""
    return trace["code"].sum(-1) * trace["code"].mean().item()


def weighted(weights):
    """Return a penalty that makes its weights anew at every step, of a code of a device."""
    return lambda: lambda module, batch, trace: (trace["code"] * weights(trace["code"])).sum(-1)


PENALTIES = {
    "a constant on the host": weighted(lambda code: torch.arange(2.0)),
    "numbers that are copied to the GPU": weighted(lambda code: torch.tensor([1.0, 2.0], device=code.device)),
    "a constant that is moved": lambda: moving,
    "a number that is read off": lambda: reading,
    "an array": weighted(lambda code: float(code.detach().numpy().mean())),
    "a mask": lambda: lambda module, batch, trace: trace["code"][trace["code"] > 0].sum(),
    "a generator of the host": weighted(
        lambda code: torch.rand(2, generator=torch.Generator("cpu"), device=code.device)
    ),
    "a Python number that changes": lambda: Counting(0.0),
    "a number in memory of the host": lambda: Counting(torch.zeros(())),
    "memory that is replaced": Running,
}


def is_found(family):
    """Whether a fit on the GPU fails, warns or comes out otherwise than on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with pretended_gpu():
                found = answers(fitted(family(), "cuda"))
        except (RuntimeError, TypeError, RuntimeWarning):
            return True
    try:
        assert_agree(found, answers(plainly_fitted(family(), "cpu")))
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_fault_in_a_penalty_is_found(penalty):
    assert is_found(lambda: partial(RegularizedAutoencoder, penalty=PENALTIES[penalty](), alpha=10))


def test_steps_in_double_precision_are_found(monkeypatch):
    monkeypatch.setattr(adam, "STEPS", torch.float64)
    assert is_found(lambda: RegularizedAutoencoder)


def test_a_learning_rate_that_is_a_number_is_found(monkeypatch):
    fused = torch._fused_adam_
    monkeypatch.setattr(torch, "_fused_adam_", lambda *args, lr, **others: fused(*args, lr=float(lr), **others))
    assert is_found(lambda: RegularizedAutoencoder)


def test_a_constant_that_stays_on_the_host_is_found(monkeypatch):
    to = torch.nn.Module.to

    def without_buffers(module, *args, **kwargs):
        buffers = dict(module.named_buffers(recurse=False))
        to(module, *args, **kwargs)
        module._buffers.update(buffers)
        return module

    monkeypatch.setattr(torch.nn.Module, "to", without_buffers)
    assert is_found(lambda: partial(VariationalAutoencoder, column_weight=[1, 2, 1, 1]))


def test_what_is_as_it_should_be_is_not_found():
    assert not is_found(lambda: RegularizedAutoencoder)
