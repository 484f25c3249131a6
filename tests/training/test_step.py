"""The step that is replayed against the step as it is written."""

import pickle
import re
import warnings
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.likelihoods import mixed
from sklearn_ae.training import program
from sklearn_ae.training import step as step_module
from tests.families import COVERING, INTRICATE, SMALL, VARIANTS, covering

N_STEPS = 15  # in three epochs; from the fourth step on they are replayed
random = np.random.default_rng(0)
X = random.uniform(size=(40, 4))
WITH_GAPS = np.where(random.uniform(size=X.shape) < 0.1, np.nan, X)
CLASSES = np.arange(40) % 3
MIXED = pd.DataFrame(
    {
        "number": WITH_GAPS[:, 0],
        "few": random.choice(["a", "b", None], 40),
        "as many": random.choice(["c", "d"], 40),
        "truth": X[:, 1] < 0.5,
        "many": random.choice(list("efghijkl"), 40),  # more than FEW
        "count": random.poisson(2, size=40),
    }
)
CASES = {
    "plain rows": {"X": X},
    "classes": {"X": X, "y": CLASSES},
    "gaps and weights": {"X": WITH_GAPS, "y": CLASSES, "sample_weight": random.uniform(0.5, 2, size=40)},
    "a mixed table": {"X": MIXED, "y": CLASSES},
}
# Every variant meets plain rows, because each has operations of its own; cells of several kinds are met by those that
# have all likelihoods, codes and penalties between them.
MET_BY = {"plain rows": VARIANTS, "a mixed table": COVERING}
LIKELIHOODS = {"a mixed table": {"count": "negative_binomial"}}


@contextmanager
def plain_steps(n):
    """Record after as many steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_module, "PLAIN_STEPS", n)
        yield


def fitted(variant, case, plain, **settings):
    settings = {**SMALL, "batch_size": 8, "max_iter": N_STEPS // 5, **settings}
    if case in LIKELIHOODS:
        settings["likelihood"] = LIKELIHOODS[case]
    with plain_steps(plain), warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error")
        patch.setattr(mixed, "FEW", 4)
        return VARIANTS[variant](**settings).fit(**CASES[case])


def largest_difference(estimator, reference):
    """Return the largest difference of weights and optimizers, relative to the size of a tensor."""
    states = [
        {**e.module_.state_dict(), **{f"{i}": t for i, t in enumerate(optimizer_tensors(e.net_))}}
        for e in (estimator, reference)
    ]
    assert states[0].keys() == states[1].keys()
    return max(((a - b).norm() / (1e-6 + b.norm())).item() for a, b in zip(*(s.values() for s in states), strict=True))


def optimizer_tensors(net):
    for optimizer in net.optimizers_by_phase().values():
        for state in optimizer.state_dict()["state"].values():
            yield from state.values()


@pytest.mark.parametrize(
    ("variant", "case"),
    [
        pytest.param(variant, case, marks=[] if variant in MET_BY.get(case, INTRICATE) else pytest.mark.slow)
        for variant in VARIANTS
        for case in CASES
        if case in MET_BY or variant in INTRICATE
    ],
)
def test_a_replayed_step_is_the_step_as_it_is_written(variant, case):
    reference = fitted(variant, case, plain=10**9, precision="float64")
    estimator = fitted(variant, case, plain=1, precision="float64")
    assert largest_difference(estimator, reference) < 1e-9
    for name in reference.history_.columns.drop("seconds"):
        np.testing.assert_allclose(estimator.history_[name], reference.history_[name], rtol=1e-9)


@pytest.mark.parametrize("variant", covering(INTRICATE))
def test_the_losses_agree_in_single_precision(variant):
    reference = fitted(variant, "classes", plain=10**9, precision="float32")
    estimator = fitted(variant, "classes", plain=1, precision="float32")
    np.testing.assert_allclose(estimator.history_["train_loss"], reference.history_["train_loss"], rtol=1e-5)


# What a step is bound to


class Meddler(Callback):
    """Changes what a recorded step is bound to, at the end of an epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            self.change(net)


def decay_weights(net):
    net.optimizer_.param_groups[0]["weight_decay"] = 0.5


def halve_the_rate(net):
    net.optimizer_.param_groups[0]["lr"] *= 0.5


def take_over_an_older_state(net):
    state = deepcopy(net.optimizer_.state_dict())
    for of_parameter in state["state"].values():
        of_parameter["exp_avg"].zero_()
    net.optimizer_.load_state_dict(state)


def move_the_module_elsewhere(net):
    for parameter in net.module_.parameters():
        parameter.data = parameter.data.clone()


def round_trip_through_pickle(net):
    copy = pickle.loads(pickle.dumps(net))
    assert all(map(torch.equal, copy.module_.parameters(), net.module_.parameters()))


def weights_of_zero(net):
    net.module_.load_state_dict({name: 0 * value for name, value in net.module_.state_dict().items()})


CHANGES = [
    decay_weights,
    halve_the_rate,
    take_over_an_older_state,
    move_the_module_elsewhere,
    round_trip_through_pickle,
    weights_of_zero,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("variant", ["regularized", "adversarial"])
def test_a_change_of_what_a_step_is_bound_to_is_noticed(variant, change):
    settings = {
        "callbacks": [Meddler(change)],
        "max_iter": 6,
        "learning_rate_schedule": "constant",
        "precision": "float64",
    }
    reference = fitted(variant, "plain rows", plain=10**9, **settings)
    estimator = fitted(variant, "plain rows", plain=1, **settings)
    assert largest_difference(estimator, reference) < 1e-9


def test_most_steps_of_a_long_fit_are_replayed_and_a_short_one_records_nothing(monkeypatch):
    recordings, replays = [], []
    build = program.build

    def counted(*seen):
        recordings.append(1)
        run_again = build(*seen)
        return lambda: (replays.append(1), run_again())

    monkeypatch.setattr(program, "build", counted)
    fitted("regularized", "plain rows", plain=24, max_iter=5)  # 25 steps
    assert len(recordings) == 1
    fitted("regularized", "plain rows", plain=24, max_iter=4)
    assert len(recordings) == 1
    fitted("adversarial", "plain rows", plain=24, max_iter=20)
    assert len(recordings) == 2
    assert len(replays) == 75


def test_a_term_that_can_not_be_replayed_warns_once_and_trains_all_the_same():
    def nondeterministic(module, batch, trace):
        return trace["code"].square().sum(-1) * (1 + 0 * torch.rand(()))

    settings = {**SMALL, "max_iter": 40, "alpha": 0.1, "batch_size": 8}
    with pytest.warns(RuntimeWarning, match="draws from torch's global generator") as caught:
        estimator = RegularizedAutoencoder(penalty=nondeterministic, **settings).fit(X)
    assert len(caught) == 1
    reference = RegularizedAutoencoder(penalty="l2", **settings).fit(X)
    np.testing.assert_allclose(estimator.loss_curve_, reference.loss_curve_, rtol=1e-4)


# Penalties that do something in Python


class Annealed:
    """Grows by a Python number."""

    n = 0

    def __call__(self, module, batch, trace):
        self.n += 1
        return trace["code"].square().sum(-1) * min(1.0, self.n / 60)


class Drawing:
    """Draws from NumPy."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def __call__(self, module, batch, trace):
        weight = torch.from_numpy(self.random.normal(size=2)).to(trace["code"].dtype)
        return (trace["code"] * weight).sum(-1).square()


class DrawingNumbers(Drawing):
    """Draws a Python number."""

    def __call__(self, module, batch, trace):
        return trace["code"].square().sum(-1) * self.random.uniform()


class Averaging:
    """Keeps a running mean, in another tensor each time."""

    mean = 0.0

    def __call__(self, module, batch, trace):
        self.mean = (0.9 * self.mean + 0.1 * trace["code"].mean(0)).detach()
        return (trace["code"] - self.mean).square().sum(-1)


class Alternating:
    """Does something else every other time."""

    n = 0

    def __call__(self, module, batch, trace):
        self.n += 1
        return trace["code"].abs().sum(-1) if self.n % 2 else trace["code"].square().sum(-1)


class Hidden:
    """Changes the memory of a tensor behind torch's back."""

    def __init__(self):
        self.numbers = np.ones(2)
        self.weight = torch.from_numpy(self.numbers)

    def __call__(self, module, batch, trace):
        self.numbers *= 0.99
        return (trace["code"].square() * self.weight.to(trace["code"].dtype)).sum(-1)


class Outside(Averaging):
    """Computes its running mean in NumPy."""

    def __call__(self, module, batch, trace):
        self.mean = 0.9 * self.mean + 0.1 * trace["code"].detach().numpy().mean(0)
        return (trace["code"] - torch.from_numpy(self.mean)).square().sum(-1)


class AveragingInPlace:
    """Keeps a running mean where it is."""

    mean = None

    def __call__(self, module, batch, trace):
        if self.mean is None:
            self.mean = trace["code"].new_zeros(2)
        torch.lerp(self.mean, trace["code"].detach().mean(0), 0.1, out=self.mean)
        return (trace["code"] - self.mean).square().sum(-1)


class Summing:
    """Sums up in a tensor that is made anew."""

    def __call__(self, module, batch, trace):
        total = torch.tensor(0.0, dtype=trace["code"].dtype)
        for column in trace["code"].detach().T:
            total += column.square().mean()
        return trace["code"].square().sum(-1) * total


class WritingInto:
    """Writes into a tensor of its own by name."""

    def __init__(self):
        self.mean = torch.zeros(2, dtype=torch.float64)

    def __call__(self, module, batch, trace):
        torch.mean(trace["code"].detach().double(), 0, out=self.mean)
        return (trace["code"] - self.mean.to(trace["code"].dtype)).square().sum(-1)


PENALTIES = {  # and what a warning says, if they can't be replayed
    Annealed: r"aten\.mul\.Tensor met 0\.4.* where it met 0\.4.* a step before",
    Drawing: "numbers met",
    DrawingNumbers: "met 0",
    Averaging: "lay elsewhere",
    Alternating: "where it did aten",
    Hidden: "a replay came to other values",
    Outside: "numbers met",
    AveragingInPlace: None,
    Summing: None,
    WritingInto: None,
}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("kind", PENALTIES)
def test_a_penalty_that_keeps_state_is_trained_as_it_is_written(kind, precision):
    def trained(plain):
        settings = {**SMALL, "batch_size": 8, "max_iter": 10, "alpha": 0.3, "precision": precision}
        with plain_steps(plain):
            return RegularizedAutoencoder(penalty=kind(), **settings).fit(X)

    reference, says = trained(10**9), PENALTIES[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = trained(24)
    assert [str(warning.message) for warning in caught if "can be replayed" not in str(warning.message)] == []
    assert len(caught) == (says is not None)
    assert all(re.search(says, str(warning.message)) for warning in caught)
    if says or precision == "float64":
        assert largest_difference(estimator, reference) < 1e-9
        np.testing.assert_allclose(estimator.history_["penalty"], reference.history_["penalty"], rtol=1e-9)


def test_after_a_fit_nothing_shares_memory_and_nothing_recorded_is_left():
    estimator = fitted("adversarial", "classes", plain=1)
    tensors = [*estimator.module_.parameters(), *optimizer_tensors(estimator.net_)]
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors)
    assert not estimator.net_.step_.is_recorded


def test_a_fit_that_goes_on_is_the_fit_that_was_not_interrupted():
    whole = fitted("regularized", "plain rows", plain=3, precision="float64", batch_size=40, max_iter=20)
    parts = fitted("regularized", "plain rows", plain=3, precision="float64", batch_size=40, max_iter=10)
    assert largest_difference(parts, whole) > 1e-3
    settings = {"learning_rate_schedule": "constant", "precision": "float64", "batch_size": 40}
    whole = fitted("regularized", "plain rows", plain=3, max_iter=20, **settings)
    parts = fitted("regularized", "plain rows", plain=3, max_iter=10, warm_start=True, **settings)
    with plain_steps(3):
        parts.fit(X)
    assert largest_difference(parts, whole) < 1e-9
