"""Several fits as one: each model is trained as if it were alone."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from threading import Event, Thread

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, Checkpoint, LRScheduler
from torch.optim.lr_scheduler import StepLR
from torch.utils._pytree import tree_leaves

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.likelihoods import mixed
from sklearn_ae.parallel.conductor import Aborted
from sklearn_ae.training import fits as fits_module
from sklearn_ae.training import stack as stack_module
from sklearn_ae.training.devices import HOST, KINDS
from sklearn_ae.training.fits import Fit, first_error, train
from sklearn_ae.training.loop import DRIVER
from sklearn_ae.training.progress import Progress
from sklearn_ae.training.stacked_models import StackedModels
from tests.families import COVERING, INTRICATE, SMALL, VARIANTS
from tests.own_family import WassersteinAutoencoder

random = np.random.RandomState(0)
X, Y = random.uniform(size=(43, 4)), np.arange(43) % 3
GAPS = np.where(random.uniform(size=X.shape) < 0.1, np.nan, X)
MIXED = pd.DataFrame(
    {
        "a": GAPS[:, 0],
        "b": random.choice(["u", "v", None], 43),
        "c": X[:, 1] < 0.5,
        "d": random.choice(list("efghij"), 43),
    }
)
MOVED = {"alpha": [0.0, 0.01, 0.1, 1.0], "beta": [0.5, 1.0, 2.0, 4.0], "adversarial_weight": [0.5, 1.0, 2.0, 3.0]}


def train_together(estimators, data, check=lambda: None):
    """Fit estimators on their data up to the training, train them together, and go on. Return counts and errors."""
    reached, errors = {}, {}
    arrived, done = [Event() for _ in estimators], Event()

    def run(i):
        def wait(nets, split):
            reached[i] = [(net, split) for net in nets]
            arrived[i].set()
            done.wait()
            if error := first_error(fits[i]):
                raise error

        DRIVER.set(wait)
        try:
            estimators[i].fit(*data[i])
        except Exception as error:
            errors[i] = error
        finally:
            arrived[i].set()

    threads = [Thread(target=run, args=(i,)) for i in range(len(estimators))]
    for thread in threads:
        thread.start()
    for event in arrived:
        event.wait()
    fits = {i: [Fit(*one) for one in reached[i]] for i in sorted(reached)}
    progress = Progress(check)
    train([fit for of_estimator in fits.values() for fit in of_estimator], progress)
    done.set()
    for thread in threads:
        thread.join()
    return progress.counts, errors


def settings_of(variant, k, **settings):
    """Settings that may differ between the models of a stack."""
    settings = {**SMALL, "batch_size": 8, "precision": "float64", "random_state": k, **settings}
    settings = {"max_iter": 3, "learning_rate": 0.003 * (k + 1), "weight_decay": 0.01 * (k % 2)} | settings
    known = VARIANTS[variant]().get_params()
    for name, values in MOVED.items():
        if name in known and "importance" not in variant and "no penalty" not in variant:
            settings[name] = values[k]
    return settings | {"max_iter": settings["max_iter"]}


def difference(estimator, reference):
    """Return the largest difference of weights and of losses, relative to the size of a tensor."""
    pairs = zip(estimator.module_.state_dict().values(), reference.module_.state_dict().values(), strict=True)
    of_weights = max(((a - b).norm() / (1e-6 + b.norm())).item() for a, b in pairs)
    return max(of_weights, np.abs(np.divide(estimator.loss_curve_, reference.loss_curve_) - 1).max())


def left_behind(estimator):
    """Return all that a fit leaves behind, by name."""
    net, history = estimator.net_, estimator.history_
    optimizers = {phase: optimizer.state_dict()["state"] for phase, optimizer in net.optimizers_by_phase().items()}
    return {
        "epochs": np.array(estimator.n_iter_),
        "scores": estimator.score_samples(X[:5]),
        **{f"column {name}": history[name].to_numpy() for name in history.columns.drop("seconds")},
        **{f"weights {name}": tensor.numpy() for name, tensor in estimator.module_.state_dict().items()},
        **{f"buffer {name}": tensor.numpy() for name, tensor in estimator.module_.named_buffers()},
        **{
            f"state {phase} {i} {name}": tensor.numpy()
            for phase, states in optimizers.items()
            for i, state in states.items()
            for name, tensor in state.items()
        },
    }


def assert_same(estimator, reference):
    """Compare all that two fits have left behind."""
    found, expected = left_behind(estimator), left_behind(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-8, atol=1e-9, err_msg=name)


def without_row(rows, k):
    return rows[np.arange(43) != k]


@pytest.mark.parametrize(
    ("variant", "case"),
    [
        *((variant, "classes") for variant in VARIANTS),
        *((variant, case) for variant in INTRICATE for case in ("gaps and weights", "a mixed table")),
    ],
)
@pytest.mark.parametrize("max_iter", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_stack_trains_each_model_as_if_it_were_alone(variant, case, max_iter, monkeypatch):
    monkeypatch.setattr(mixed, "FEW", 4)
    rows = {"classes": X, "gaps and weights": GAPS, "a mixed table": MIXED}[case]
    weight = np.linspace(0.5, 2, 43) if case == "gaps and weights" else None
    make = [VARIANTS[variant](**settings_of(variant, k, max_iter=max_iter)) for k in range(4)]
    if case == "a mixed table":
        make = [e.set_params(likelihood="auto") for e in make]
    data = [
        (without_row(rows, k), without_row(Y, k), None if weight is None else without_row(weight, k)) for k in range(4)
    ]
    alone = [VARIANTS[variant](**e.get_params()).fit(*d) for e, d in zip(make, data, strict=True)]
    counts, errors = train_together(make, data)
    assert errors == {}
    assert counts["together"] >= 2
    assert max(map(difference, make, alone)) < 1e-9
    for estimator, reference in zip(make, alone, strict=True):
        assert list(estimator.history_.columns) == list(reference.history_.columns)
        np.testing.assert_allclose(
            estimator.transform(data[0][0]), reference.transform(data[0][0]), rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("max_iter", [4, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.parametrize("variant", INTRICATE)
def test_a_stack_agrees_in_single_precision(variant, max_iter):
    make = [VARIANTS[variant](**settings_of(variant, k, precision="float32", max_iter=max_iter)) for k in range(3)]
    data = [(without_row(X, k), without_row(Y, k)) for k in range(3)]
    alone = [VARIANTS[variant](**e.get_params()).fit(*d) for e, d in zip(make, data, strict=True)]
    train_together(make, data)
    for estimator, reference in zip(make, alone, strict=True):
        np.testing.assert_allclose(estimator.loss_curve_, reference.loss_curve_, rtol=1e-5)


def regularized(k=0, **settings):
    return RegularizedAutoencoder(
        **{**SMALL, "batch_size": 8, "max_iter": 8, "precision": "float64", "random_state": k, **settings}
    )


@pytest.mark.parametrize("most", [2, 3, 128])
def test_a_result_depends_neither_on_the_size_of_a_stack_nor_on_the_place_in_it(most, monkeypatch):
    monkeypatch.setattr(fits_module, "MOST_MODELS", most)
    seeds = [3, 0, 4, 1, 2]
    make = [regularized(k) for k in seeds]
    train_together(make, [(X, Y)] * 5)
    for seed, estimator in zip(seeds, make, strict=True):
        assert difference(estimator, regularized(seed).fit(X, Y)) < 1e-12


def test_models_that_end_early_leave_the_others_alone():
    epochs = [3, 20, 5, 7, 20]
    make = [regularized(k, max_iter=n) for k, n in enumerate(epochs)]
    train_together(make, [(X, Y)] * 5)
    assert [e.n_iter_ for e in make] == epochs
    assert (
        max(
            difference(e, regularized(k, max_iter=n).fit(X, Y))
            for k, (e, n) in enumerate(zip(make, epochs, strict=True))
        )
        < 1e-9
    )


def test_each_model_stops_when_its_own_rows_say_so():
    stopping = {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 60, "tol": 0.01, "validation_fraction": 0.3}
    make = [regularized(k, learning_rate=rate, **stopping) for k, rate in enumerate([0.03, 0.01, 0.003])]
    alone = [regularized(k, learning_rate=e.learning_rate, **stopping).fit(X, Y) for k, e in enumerate(make)]
    train_together(make, [(X, Y)] * 3)
    assert [e.n_iter_ for e in make] == [e.n_iter_ for e in alone]
    assert len({e.n_iter_ for e in make}) > 1
    assert max(map(difference, make, alone)) < 1e-9


class Stopping(Callback):
    """Ends a training after some epochs, as a user would from the keyboard."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise KeyboardInterrupt


EARLY = {"early_stopping": True, "validation_fraction": 0.3, "tol": 1e9}  # nothing is an improvement
ENDS = {  # what ends a fit after n of at most 6 epochs
    "early stopping": lambda n: EARLY | {"n_iter_no_change": n - 1 if n < 6 else 10, "max_iter": 6},
    "max_iter": lambda n: {"max_iter": n},
    "a callback": lambda n: {"callbacks": [Stopping(n)], "max_iter": 6},
}
ONE_OF_EACH = {"regularized, learned scales", "variational, three members", "adversarial, both"}
MET_BY = {"early stopping": COVERING, "max_iter": ONE_OF_EACH, "a callback": ONE_OF_EACH}  # an end is not of a variant


@pytest.mark.parametrize(
    ("variant", "end"),
    [
        pytest.param(variant, end, marks=[] if variant in MET_BY[end] else pytest.mark.slow)
        for end in ENDS
        for variant in (VARIANTS if end == "early stopping" else INTRICATE)
    ],
)
def test_a_fit_that_ends_before_the_others_leaves_behind_what_it_would_alone(variant, end):
    # The last epochs of the others are alone, or in a smaller stack.
    n_epochs = [3, 6, 5] if end == "early stopping" else [3, 6, 5, 6]

    def estimators():
        return [
            VARIANTS[variant](**settings_of(variant, k, batch_size=16, **ENDS[end](n))) for k, n in enumerate(n_epochs)
        ]

    make, alone = estimators(), [estimator.fit(X, Y) for estimator in estimators()]
    assert [estimator.n_iter_ for estimator in alone] == n_epochs
    counts, errors = train_together(make, [(X, Y)] * len(make))
    assert (counts, errors) == ({"together": sum(estimator.n_members for estimator in make)}, {})
    for estimator, reference in zip(make, alone, strict=True):
        assert_same(estimator, reference)
    if variant in INTRICATE:  # a mixture of codes takes its time
        samples = [fit.sample(5, random_state=0) for fit in (make[0], alone[0])]
        np.testing.assert_allclose(*samples, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("most_cells", [10**6, 0], ids=["at once", "one by one"])
def test_models_have_their_own_validation_rows_without_dropout(most_cells, monkeypatch):
    monkeypatch.setattr(stack_module, "JOINT_VALIDATION", most_cells)
    monkeypatch.setitem(KINDS, "cpu", replace(HOST, chunk_rows=8))
    rows = random.uniform(size=(20, 4))

    def fit_on(k, fit):
        estimator = regularized(k, dropout=0.2, corruption_level=0.1)
        return fit(estimator, (X, Y, None, rows[: 17 + k % 2], Y[: 17 + k % 2]))

    pairs = [fit_on(k, lambda *pair: pair) for k in range(5)]
    make, data = zip(*pairs, strict=True)
    alone = [fit_on(k, lambda estimator, of_fit: estimator.fit(*of_fit)) for k in range(5)]
    counts, errors = train_together(make, data)
    assert (counts, errors) == ({"together": 5}, {})
    for estimator, reference in zip(make, alone, strict=True):
        assert list(estimator.history_.columns) == list(reference.history_.columns)
        for name in estimator.history_.columns.drop("seconds"):
            np.testing.assert_allclose(estimator.history_[name], reference.history_[name], rtol=1e-9)


class Keeping(Callback):
    """Keeps copies of what is trained."""

    def on_epoch_end(self, net, **kwargs):
        self.kept = deepcopy([net.module_.state_dict(), net.optimizer_.state_dict()])


def test_what_a_callback_keeps_of_a_model_takes_no_more_memory_than_the_model():
    keeping = [Keeping() for _ in range(4)]
    make = [regularized(k, callbacks=[keeping[k]]) for k in range(4)]
    train_together(make, [(X, Y)] * 4)
    for callback, estimator in zip(keeping, make, strict=True):
        tensors = [leaf for leaf in tree_leaves(estimator.callbacks[0].kept) if isinstance(leaf, torch.Tensor)]
        assert callback is estimator.callbacks[0]
        assert len(tensors) > 2 * len(list(estimator.module_.parameters()))
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)
        assert all(
            torch.equal(a, b)
            for a, b in zip(callback.kept[0].values(), estimator.module_.state_dict().values(), strict=True)
        )


class Decaying(Callback):
    """Begins with the decay of weights in the middle of a fit."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 4:
            net.optimizers["autoencoder"]["weight_decay"] = 0.1


def test_a_decay_that_begins_in_the_middle_is_noticed():
    make = [regularized(k, callbacks=[Decaying()] if k == 1 else None) for k in range(3)]
    train_together(make, [(X, Y)] * 3)
    alone = [regularized(k, callbacks=[Decaying()] if k == 1 else None).fit(X, Y) for k in range(3)]
    assert difference(alone[1], regularized(1).fit(X, Y)) > 1e-3
    assert max(map(difference, make, alone)) < 1e-9


def test_a_stack_trains_in_bfloat16():
    make = [regularized(k, precision="bfloat16") for k in range(3)]
    counts, errors = train_together(make, [(X, Y)] * 3)
    assert (counts, errors) == ({"together": 3}, {})
    for k, estimator in enumerate(make):
        alone = regularized(k, precision="bfloat16").fit(X, Y)
        np.testing.assert_allclose(estimator.loss_curve_, alone.loss_curve_, rtol=2e-2)
        exact = regularized(k, precision="float32").fit(X, Y)
        assert np.abs(np.divide(estimator.loss_curve_, exact.loss_curve_) - 1).max() > 1e-5


def branches_in_validation(module, batch, trace):
    """A penalty that vmap supports in training but not on validation rows."""
    return branches(module, batch, trace) if not module.training else trace["code"].square().sum(-1)


def test_validation_that_can_not_be_vmapped_is_found_before_anything_is_trained():
    settings = {"penalty": branches_in_validation, "alpha": 0.1, "early_stopping": True, "validation_fraction": 0.3}
    make = [regularized(k, **settings) for k in range(3)]
    with pytest.warns(RuntimeWarning, match="must be ones that torch.vmap supports, got"):
        counts, errors = train_together(make, [(X, Y)] * 3)
    assert (counts, errors) == ({"alone": 3}, {})
    assert max(difference(e, regularized(k, **settings).fit(X, Y)) for k, e in enumerate(make)) < 1e-12


def test_each_model_of_a_stack_has_its_own_checkpoints(tmp_path):
    def fit_with_checkpoint(k, folder, fit):
        callback = Checkpoint(dirname=tmp_path / folder / str(k), f_history=None)
        estimator = regularized(k, early_stopping=True, validation_fraction=0.3, callbacks=[callback])
        return fit(estimator)

    for k in range(3):
        fit_with_checkpoint(k, "alone", lambda estimator: estimator.fit(X, Y))
    make = [fit_with_checkpoint(k, "together", lambda estimator: estimator) for k in range(3)]
    counts, errors = train_together(make, [(X, Y)] * 3)
    assert (counts, errors) == ({"together": 3}, {})
    for k in range(3):
        paths = [tmp_path / folder / str(k) / "params.pt" for folder in ("together", "alone")]
        kept, expected = (torch.load(path) for path in paths)
        assert all((kept[name] - expected[name]).abs().max() < 1e-9 for name in expected)
        assert paths[0].stat().st_size == paths[1].stat().st_size


def scaled(module, batch, trace, by):
    return by * trace["code"].square().sum(-1)


def test_penalties_with_settings_share_a_stack_if_these_are_equal():
    make = [clone(regularized(k, penalty=partial(scaled, by=1.0 + k // 2), alpha=0.1)) for k in range(4)]
    counts, errors = train_together(make, [(X, Y)] * 4)
    assert (counts, errors) == ({"together": 4}, {})
    alone = [clone(estimator).fit(X, Y) for estimator in make]
    assert max(map(difference, make, alone)) < 1e-9


COUNT, NUMBERS = [0], np.random.RandomState(0)


def annealed(module, batch, trace):
    COUNT[0] += 1
    return trace["code"].square().sum(-1) * min(1.0, COUNT[0] / 60)


def drawing(module, batch, trace):
    return trace["code"].square().sum(-1) * NUMBERS.uniform()


@pytest.mark.parametrize("penalty", [annealed, drawing])
def test_penalties_with_state_in_python_are_computed_in_every_step_of_a_stack(penalty, monkeypatch):
    def trained(plain):
        monkeypatch.setattr(stack_module, "PLAIN_STEPS", plain)
        COUNT[0] = 0
        NUMBERS.seed(0)
        make = [regularized(k, penalty=penalty, alpha=0.1) for k in range(3)]
        assert train_together(make, [(X, Y)] * 3) == ({"together": 3}, {})
        return make

    reference = trained(10**9)
    with pytest.warns(RuntimeWarning, match="a step can be replayed if it does the same operations every time") as said:
        make = trained(2)
    assert len(said) == 1
    for estimator, other in zip(make, reference, strict=True):
        assert_same(estimator, other)


def test_models_of_different_shape_are_trained_in_stacks_of_their_own():
    make = [regularized(k, n_components=1 + k % 2) for k in range(6)]
    counts, _ = train_together(make, [(X, Y)] * 6)
    assert counts == {"together": 6}
    assert max(difference(e, regularized(k, n_components=1 + k % 2).fit(X, Y)) for k, e in enumerate(make)) < 1e-9


@pytest.mark.parametrize(
    "other",
    [{"activation": "relu"}, {"dropout": 0.1}, {"penalty": "l2"}, {"batch_size": 16}, {"precision": "float32"}],
    ids=str,
)
def test_fits_of_another_kind_do_not_share_a_stack(other):
    make = [regularized(0), regularized(0, **other)]
    counts, _ = train_together(make, [(X, Y)] * 2)
    assert counts == {"alone": 2}


def test_one_that_diverges_fails_alone():
    make = [regularized(k, learning_rate=rate, scale=False) for k, rate in enumerate([0.003, 1e200, 0.003])]
    _, errors = train_together(make, [(100 * X, Y)] * 3)
    assert list(errors) == [1]
    assert "the loss must stay finite" in str(errors[1])
    for k in (0, 2):
        assert difference(make[k], regularized(k, learning_rate=0.003, scale=False).fit(100 * X, Y)) < 1e-9


class Raising(Callback):
    """Fails at the end of its second epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise OSError("the disk is full")


def test_one_whose_callback_raises_fails_alone():
    make = [regularized(0), regularized(1, callbacks=[Raising()]), regularized(2)]
    _, errors = train_together(make, [(X, Y)] * 3)
    assert list(errors) == [1]
    assert "the disk is full" in str(errors[1])
    assert difference(make[2], regularized(2).fit(X, Y)) < 1e-9


class Batches(Callback):
    """Listens to batches."""

    def on_batch_end(self, net, **kwargs):
        pass


def test_one_whose_callback_wants_batches_is_trained_alone():
    make = [regularized(k, callbacks=[Batches()] if k > 1 else None) for k in range(4)]
    with pytest.warns(RuntimeWarning, match="must not listen to batches or gradients, got Batches") as said:
        counts, errors = train_together(make, [(X, Y)] * 4)
    assert len(said) == 1
    assert (counts["together"], counts["alone"], errors) == (2, 2, {})
    assert difference(make[2], regularized(2).fit(X, Y)) < 1e-9


def test_a_scheduler_among_the_callbacks_moves_its_own_model():
    def with_scheduler(k):
        scheduler = LRScheduler(StepLR, step_size=2, gamma=0.5)
        return regularized(k, learning_rate_schedule="constant", callbacks=[scheduler] if k == 1 else None)

    make = [with_scheduler(k) for k in range(3)]
    train_together(make, [(X, Y)] * 3)
    assert max(difference(e, with_scheduler(k).fit(X, Y)) for k, e in enumerate(make)) < 1e-9


def branches(module, batch, trace):
    """A penalty that no vmap knows: it looks at a number."""
    return trace["code"].square().sum(-1) if trace["code"].sum() > 0 else trace["code"].abs().sum(-1)


def test_what_can_not_be_vmapped_is_trained_one_after_another():
    make = [regularized(k, penalty=branches, alpha=0.1, max_iter=3) for k in range(2)]
    with pytest.warns(RuntimeWarning, match="must be ones that torch.vmap supports, got"):
        counts, errors = train_together(make, [(X, Y)] * 2)
    assert (counts, errors) == ({"alone": 2}, {})
    assert (
        max(
            difference(e, regularized(k, penalty=branches, alpha=0.1, max_iter=3).fit(X, Y)) for k, e in enumerate(make)
        )
        < 1e-12
    )


def test_a_stack_that_is_too_large_for_the_memory_is_halved(monkeypatch):
    class Small(stack_module.Stack):
        def __init__(self, models, *args):
            if len(models.nets) > 2:
                raise torch.OutOfMemoryError("no memory")
            super().__init__(models, *args)

    monkeypatch.setattr(fits_module, "Stack", Small)
    make = [regularized(k) for k in range(5)]
    counts, errors = train_together(make, [(X, Y)] * 5)
    assert errors == {}
    assert sum(counts.values()) == 5
    assert max(difference(e, regularized(k).fit(X, Y)) for k, e in enumerate(make)) < 1e-9


def test_a_stacked_fit_goes_on_alone():
    make = [regularized(k, warm_start=True) for k in range(2)]
    train_together(make, [(X, Y)] * 2)
    alone = [regularized(k, warm_start=True).fit(X, Y).fit(X, Y) for k in range(2)]
    assert max(map(difference, [e.fit(X, Y) for e in make], alone)) < 1e-9


def memory(estimator):
    tensors = [*estimator.module_.parameters(), *estimator.module_.buffers()]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


@pytest.mark.parametrize("variant", INTRICATE)
def test_the_models_share_no_memory_afterwards(variant):
    make = [VARIANTS[variant](**settings_of(variant, k, max_iter=2)) for k in range(3)]
    train_together(make, [(X, Y)] * 3)
    assert not memory(make[0]) & memory(make[1])
    before = make[1].transform(X)
    with torch.no_grad():
        for tensor in make[0].module_.state_dict(keep_vars=True).values():
            tensor.zero_()
    assert np.array_equal(make[1].transform(X), before)


@pytest.fixture
def fits():
    """Three fits whose training has begun."""
    begun = []

    def keep(nets, split):
        begun.extend(Fit(net, split) for net in nets)
        raise Aborted

    token = DRIVER.set(keep)
    try:
        for k in range(3):
            with pytest.raises(Aborted):
                VARIANTS["regularized, learned scales"](**settings_of("regularized, learned scales", k)).fit(X, Y)
    finally:
        DRIVER.reset(token)
    return begun


def tensors_of(net):
    """Parameters, buffers in the state and the state of the optimizers, as they lie in memory."""
    states = (state for adam in net.optimizers_by_phase().values() for state in adam.state.values())
    return [*net.module_.state_dict(keep_vars=True).values(), *(t for state in states for t in state.values())]


def own_memory(net):
    return all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors_of(net))


def test_a_model_that_is_released_leaves_the_stack_with_its_values(fits):
    models = StackedModels([fit.net for fit in fits])
    models.join()
    assert not any(own_memory(net) for net in models.nets)
    before = [tensor.clone() for tensor in tensors_of(models.nets[1])]
    models.release(1)
    assert [own_memory(net) for net in models.nets] == [False, True, False]
    for tensors in models.state.values():
        with torch.no_grad():
            tensors.add_(1)
    assert all(map(torch.equal, tensors_of(models.nets[1]), before))
    assert not all(map(torch.equal, tensors_of(models.nets[0]), before))
    models.release_all()
    assert all(map(own_memory, models.nets))


@pytest.mark.parametrize("n_steps", [0, 3])
def test_models_are_released_however_the_training_of_a_stack_ends(n_steps, fits):
    calls = []

    def check():
        calls.append(1)
        if len(calls) > n_steps:
            raise Aborted

    with pytest.raises(Aborted):
        train(fits, Progress(check))
    assert len(calls) == n_steps + 1
    assert all(own_memory(fit.net) for fit in fits)


class Measuring(Callback):
    """Finds out whether the model has memory of its own when the training has ended."""

    def on_train_end(self, net, **kwargs):
        self.owns = own_memory(net)


def test_a_model_is_released_before_its_callbacks_hear_of_the_end():
    make = [regularized(k, max_iter=3 + k, callbacks=[Measuring()]) for k in range(3)]
    counts, errors = train_together([*make, regularized(3)], [(X, Y)] * 4)
    assert (counts, errors) == ({"together": 4}, {})
    assert all(estimator.callbacks[0].owns for estimator in make)


class HalfTrained(WassersteinAutoencoder):
    """Its encoder stays as it was drawn: random features."""

    def recipe(self, problem):
        recipe = super().recipe(problem)
        (phase,) = recipe.phases
        moved = tuple(name for name in phase.updates if name != "encoder")
        return replace(recipe, phases=(replace(phase, updates=moved),))


def test_what_no_phase_moves_is_that_of_each_model():
    settings = SMALL | {"batch_size": 8, "precision": "float64"}
    make = [HalfTrained(**settings | {"random_state": k}) for k in range(3)]
    counts, errors = train_together(make, [(X, Y)] * 3)
    assert (counts, errors) == ({"together": 3}, {})
    for estimator in make:
        assert_same(estimator, clone(estimator).fit(X, Y))


@pytest.mark.parametrize("most", [1, 128], ids=["alone", "together"])
def test_what_is_raised_between_steps_ends_everything(most, monkeypatch):
    monkeypatch.setattr(fits_module, "MOST_MODELS", most)
    monkeypatch.setattr(fits_module, "cpu_count", lambda: 1)
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 15:
            raise Aborted

    estimators = [regularized(k) for k in range(2)]
    nets = []
    token = DRIVER.set(lambda of_fit, split: nets.extend(Fit(net, split) for net in of_fit))
    try:
        for estimator in estimators:
            estimator.fit(X)
    finally:
        DRIVER.reset(token)
    with pytest.raises(Aborted):
        train(nets, Progress(check))
    assert len(nets[0].net.history) == -(-15 // -(-len(X) // 8)) == 3


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_number_of_threads_changes_no_result(n_threads, monkeypatch):
    monkeypatch.setattr(fits_module, "cpu_count", lambda: n_threads * torch.get_num_threads())
    monkeypatch.setattr(fits_module, "MOST_MODELS", 2)
    make = [VARIANTS["adversarial"](**settings_of("adversarial", k % 4)) for k in range(9)]
    counts, errors = train_together(make, [(X, Y)] * 9)
    assert (counts, errors) == ({"together": 8, "alone": 1}, {})
    for k in range(4):
        alone = VARIANTS["adversarial"](**settings_of("adversarial", k)).fit(X, Y)
        assert max(difference(estimator, alone) for estimator in make[k::4]) < 1e-9
