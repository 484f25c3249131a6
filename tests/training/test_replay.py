"""A computation that is done again and again: what is replayed is what would have been computed."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from sklearn_ae.training import cuda_graph, program
from sklearn_ae.training.devices import CUDA, HOST, KINDS
from sklearn_ae.training.replay import Repeated


class Descent:
    """Moves a tensor, by what a function says."""

    def __init__(self, step):
        self.at, self.step, self.n = torch.ones(3, dtype=torch.float64), step, 0

    def __call__(self):
        self.n += 1
        by = self.step(self)
        self.at.sub_(by)
        return {"loss": by.square().sum()}


def course(step, n=12, n_plain=2):
    """Return losses and the end of a computation that is repeated, and how often it was run as it is written."""
    descent = Descent(step)
    repeated = Repeated(descent, descent.at, n_plain)
    losses = [float(repeated()["loss"]) for _ in range(n)]
    return losses, descent.at.tolist(), descent.n


def same_every_time(descent):
    return 0.1 * descent.at.exp()


def grows(descent):
    return 0.001 * descent.n * descent.at


STEPS = {"same": same_every_time, "grows": grows}


@pytest.mark.filterwarnings("ignore:a step can be replayed")
@pytest.mark.parametrize("n_plain", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_what_is_repeated_is_what_is_written(step, n_plain):
    losses, end, n_written = course(step, n_plain=n_plain)
    expected, expected_end, _ = course(step, n_plain=10**9)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(end, expected_end, rtol=1e-12)
    assert n_written == (min(12, max(n_plain, 1) + 2) if step is same_every_time else 12)


def test_a_replay_that_is_wrong_is_found_and_undone(monkeypatch):
    build = program.build

    def wrong(result, recorded):
        run = build(result, recorded)
        return lambda: (run(), recorded.state()[0].add_(1e-3))

    monkeypatch.setattr(program, "build", wrong)
    with pytest.warns(RuntimeWarning, match="a replay came to other values"):
        losses, end, n_written = course(same_every_time)
    monkeypatch.undo()
    assert n_written == 12
    assert (losses, end) == course(same_every_time, n_plain=10**9)[:2]


def test_what_is_not_finite_agrees_with_itself():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, _, n_written = course(lambda descent: descent.at * torch.inf)
    assert n_written == 4


def test_a_graph_is_captured_only_of_what_was_the_same_twice(monkeypatch):
    captured = []

    def record(computation):
        captured.append(1)
        return program.record(computation)

    monkeypatch.setitem(KINDS, "cpu", replace(HOST, capture=record))
    with pytest.warns(RuntimeWarning, match="a step can be replayed"):
        course(grows)
    assert captured == []
    course(same_every_time)
    assert captured == [1]
    assert CUDA.capture is cuda_graph.record


def test_on_other_devices_nothing_is_recorded(monkeypatch):
    monkeypatch.delitem(KINDS, "cpu")
    assert course(grows, n_plain=1)[2] == 12
