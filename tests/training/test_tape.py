"""The tape: what can't be replayed is found, and two runs are compared."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_ae.training import tape
from sklearn_ae.training.program import record
from sklearn_ae.training.tape import RecordedRun, run_recorded


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# What can't be replayed


OBSTACLES = {
    "global generator": (lambda a: a + torch.randn_like(a), "draws from torch's global generator"),
    "dropout": (lambda a: F.dropout(a, 0.5), "draws from torch's global generator"),
    "number": (lambda a: a * a.sum().item(), "reads a number off a tensor"),
    "branch": (lambda a: a if a.sum() > 0 else -a, "reads a number off a tensor"),
    "mask": (lambda a: a[a > 0].sum(), "a shape that depends on values"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_would_not_be_the_same_every_time_is_run_once_and_not_replayed(name):
    computation, message = OBSTACLES[name]
    a, runs = numbers(6, 4), []

    def counted():
        runs.append(1)
        return computation(a)

    with pytest.warns(RuntimeWarning, match=message):
        result, replay = record(counted)
    assert replay is None
    assert len(runs) == 1
    assert isinstance(result, torch.Tensor)


def test_recording_leaves_global_state_alone():
    a = numbers(6, 4)
    before = torch.get_rng_state(), torch.is_grad_enabled(), torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, replay = record(lambda: a * 2)
        replay()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.is_grad_enabled(), torch.get_num_threads()) == before[1:]


# Comparison of two runs


def run_of(computation):
    result, recorded = run_recorded(computation)
    return RecordedRun(recorded, result)


def test_a_run_does_not_differ_from_its_repetition():
    a = numbers(6, 4)
    assert run_of(lambda: (a * 2).sum()).difference(run_of(lambda: (a * 2).sum())) is None


DIFFERENCES = {
    "operation": (lambda a, b: a + b, r"it did aten\.add\.Tensor where it did aten\.mul\.Tensor"),
    "number": (lambda a, b: a * 3, r"aten\.mul\.Tensor met 3 where it met 2"),
    "tensor": (lambda a, b: b * 2, "met a tensor that lay elsewhere"),
    "length": (lambda a, b: (a * 2).exp(), r"it did aten\.exp\.default where it did a result"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_first_difference_of_two_runs_is_named(name):
    a, b = numbers(6, 4), numbers(6, 4, seed=1)
    other, message = DIFFERENCES[name]
    first = run_of(lambda: (a * b) if name == "operation" else a * 2)
    found = first.difference(run_of(lambda: other(a, b)))
    assert re.search(message, found)


def test_the_state_of_a_tape_is_what_existed_before_and_is_changed():
    a, b = numbers(6, 4), numbers(6, 4, seed=1)
    _, recorded = run_recorded(lambda: (a[0].add_(1), (b * 2).add_(a)))
    (state,) = recorded.state()
    assert torch.equal(state, a[0])
    assert state.data_ptr() == a.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_precision_of_a_tape_is_its_lowest_one(dtype):
    a = numbers(6, 4)
    _, recorded = run_recorded(lambda: (a.to(dtype) * 2).double())
    assert recorded.precision() == torch.finfo(dtype).eps


@pytest.mark.parametrize(
    ("found", "expected", "equal"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.0000001], [1.0, 2.0], True),
        ([1.0, 2.01], [1.0, 2.0], False),
        ([1.0, np.inf, np.nan], [1.0, np.inf, np.nan], True),
        ([1.0000001, np.inf, np.nan], [1.0, np.inf, np.nan], True),
        ([1.0], [np.inf], False),
        ([np.inf], [1.0], False),
        ([-np.inf], [np.inf], False),
        ([1.0], [np.nan], False),
        ([np.nan], [1.0], False),
    ],
)
def test_tensors_are_close_if_they_are_equal_but_for_rounding(found, expected, equal):
    assert tape.close(torch.tensor(found), torch.tensor(expected)) is equal
