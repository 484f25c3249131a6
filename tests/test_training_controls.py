"""What a user controls of a training: when it stops, how it goes on, its precision, its noise, who listens."""

import threading
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
)

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.model.samples import Samples
from sklearn_ae.tables.sources import Array
from sklearn_ae.training.devices import HOST, KINDS
from tests.families import families
from tests.families import tiny as families_tiny

RNG = np.random.default_rng(0)
N, D = 60, 4
Y = np.arange(N) % 3
X = RNG.normal(size=(N, D)) @ RNG.normal(size=(D, D)) + Y[:, None]
X_VAL, Y_VAL = RNG.normal(size=(30, D)) * 0.5 + 1, np.arange(30) % 3


tiny = partial(families_tiny, activation="relu")


def overfitting(family=RegularizedAutoencoder, **settings):
    """Few rows of pure noise and a large network: the validation loss soon rises again."""
    settings = {"hidden_layer_sizes": (64,), "n_components": 3, "max_iter": 400, "learning_rate": 0.02} | settings
    settings = {"learning_rate_schedule": "constant"} | settings
    return tiny(family, early_stopping=True, **settings)


NOISE, NOISE_VAL = RNG.normal(size=(20, D)), RNG.normal(size=(30, D))


def weights_of(estimator):
    return torch.cat([parameter.detach().flatten().double() for parameter in estimator.module_.parameters()])


def state_of(estimator):
    return {name: value.clone() for name, value in estimator.module_.state_dict().items()}


def same_state(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def validation_loss(estimator, rows, y=None):
    """The validation loss of rows at the weights as they are, with the draws of the fit."""
    fitted = estimator.net_
    model = estimator.model_
    (chunk,) = fitted.get_iterator(Samples(Array(rows), y).encoded(model.encoding, model.target, fitted))
    return fitted.validation_phase.loss(fitted.validation_step(chunk)).item()


class Recorder(Callback):
    """Writes down the epochs that it is told of."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.epochs_ = []

    def on_epoch_end(self, net, **kwargs):
        self.epochs_.append(net.history[-1, "epoch"])
        if len(self.epochs_) == self.stop_at:
            raise KeyboardInterrupt


class BatchRecorder(Callback):
    """Listens to batches."""

    def __init__(self):
        self.shapes_ = []

    def on_batch_end(self, net, training, y_pred, **kwargs):
        self.shapes_.append((training, tuple(y_pred.shape)))


class Interruption(Callback):
    """A user presses Ctrl-C in the middle of an epoch."""

    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt


class Locked(Callback):
    """Holds something that cannot be copied, as writers of logs do."""

    def __init__(self):
        self.lock_ = threading.Lock()


# Early stopping


@families
def test_early_stopping_stops_and_keeps_the_best_weights(family):
    estimator = overfitting(family, tol=0.0).fit(NOISE, X_val=NOISE_VAL)
    losses = estimator.history_["valid_loss"]
    assert estimator.n_iter_ < 400
    assert losses.argmin() == estimator.n_iter_ - 1 - 10
    assert losses.iloc[-1] > losses.min()
    assert validation_loss(estimator, NOISE_VAL) == pytest.approx(losses.min(), rel=1e-6)


def test_the_best_weights_are_those_that_a_user_sees():
    estimator = overfitting(tol=0.0, penalty=None, scale=False).fit(NOISE, X_val=NOISE_VAL)
    assert -estimator.score(NOISE_VAL) == pytest.approx(estimator.history_["valid_loss"].min(), rel=1e-6)


def test_a_fit_that_ends_at_max_iter_keeps_the_best_weights_as_well():
    estimator = overfitting(tol=0.0, n_iter_no_change=400, max_iter=60).fit(NOISE, X_val=NOISE_VAL)
    losses = estimator.history_["valid_loss"]
    assert estimator.n_iter_ == 60
    assert losses.argmin() < 59
    assert validation_loss(estimator, NOISE_VAL) == pytest.approx(losses.min(), rel=1e-6)


@pytest.mark.parametrize("patience", [1, 3])
def test_an_improvement_below_tol_does_not_count(patience):
    estimator = overfitting(tol=1e6, n_iter_no_change=patience).fit(NOISE, X_val=NOISE_VAL)
    assert estimator.n_iter_ == 1 + patience


def test_without_early_stopping_validation_rows_are_evaluated_and_nothing_stops():
    settings = {"early_stopping": False, "n_iter_no_change": 1, "tol": 1e6, "max_iter": 6}
    validated, plain = overfitting().set_params(**settings), overfitting().set_params(**settings)
    validated.fit(NOISE, X_val=NOISE_VAL)
    plain.fit(NOISE)
    assert validated.n_iter_ == 6
    assert "valid_loss" in validated.history_
    assert "valid_loss" not in plain.history_
    assert torch.equal(weights_of(validated), weights_of(plain))


@pytest.fixture
def splits(monkeypatch):
    """The splits that fits make."""
    made = []
    split = Samples.split

    def recorded(self, *args):
        parts = split(self, *args)
        made.append([part._replace(X=part.X[:]) for part in parts])
        return parts

    monkeypatch.setattr(Samples, "split", recorded)
    return made


@pytest.mark.parametrize(("fraction", "n_aside"), [(0.1, 6), (0.25, 15), (0.5, 30)])
def test_rows_are_set_aside_by_class(splits, fraction, n_aside):
    tiny(early_stopping=True, validation_fraction=fraction).fit(X, Y)
    ((kept, aside),) = splits
    assert np.bincount(aside.y).tolist() == [n_aside // 3] * 3
    assert len(kept.X) == N - n_aside


def test_validation_rows_are_evaluated_and_not_trained_on(splits):
    estimator = tiny(early_stopping=True, scale=False, tol=0.0).fit(X, Y)
    ((kept, aside),) = splits
    alone = tiny(early_stopping=True, scale=False, tol=0.0).fit(kept.X, kept.y, X_val=aside.X, y_val=aside.y)
    assert estimator.history_["valid_loss"].min() == pytest.approx(
        validation_loss(estimator, aside.X, aside.y), rel=1e-6
    )
    assert alone.net_.history[0, "train_batch_count"] == estimator.net_.history[0, "train_batch_count"]
    assert alone.loss_curve_[-1] == pytest.approx(estimator.loss_curve_[-1], rel=0.5)  # other weights, the same rows


def test_the_split_depends_on_the_seed_only(splits):
    for seed in (0, 0, 1):
        tiny(early_stopping=True, random_state=seed).fit(X, Y)
    first, again, other = (aside.X for _, aside in splits)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_given_validation_rows_make_no_split(splits):
    estimator = tiny(early_stopping=True).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert splits == []
    assert {"valid_loss", "valid_reconstruction", "valid_target"} <= set(estimator.history_)


@families
def test_the_target_of_validation_rows_counts(family):
    right, wrong = (tiny(family).fit(X, Y, X_val=X_VAL, y_val=y) for y in (Y_VAL, (Y_VAL + 1) % 3))
    assert (right.history_["valid_target"] != wrong.history_["valid_target"]).all()
    assert right.history_["valid_reconstruction"].equals(wrong.history_["valid_reconstruction"])
    assert torch.equal(weights_of(right), weights_of(wrong))


@pytest.mark.parametrize("chunk", [4, 7, 1024])
def test_the_validation_target_is_the_mean_over_all_labelled_rows(chunk, monkeypatch):
    monkeypatch.setitem(KINDS, "cpu", replace(HOST, chunk_rows=chunk))
    some = np.where(np.arange(30) < 5, Y_VAL, -1)
    whole = tiny(unlabeled=-1).fit(X, np.where(np.arange(N) == 7, -1, Y), X_val=X_VAL, y_val=some)
    probability = whole.predict_proba(X_VAL[:5])[np.arange(5), Y_VAL[:5]]
    assert whole.history_["valid_target"].iloc[-1] == pytest.approx(-np.log(probability).mean(), rel=1e-6)


@families
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_validation_rows_may_come_without_a_target(family, task):
    estimator = tiny(family, task=task).fit(X, Y, X_val=X_VAL)
    assert (estimator.history_["valid_target"] == 0).all()


# Warm start


@families
def test_a_warm_start_goes_on(family):
    estimator = tiny(family, warm_start=True, max_iter=20, n_components=3, learning_rate=0.01).fit(X, Y)
    trained, curve = estimator.module_, list(estimator.loss_curve_)
    before = state_of(estimator)
    estimator.set_params(max_iter=5).fit(X, Y)
    assert estimator.n_iter_ == 5
    assert len(estimator.history_) == len(estimator.loss_curve_) == 25
    assert estimator.loss_curve_[:20] == curve
    assert np.mean(estimator.loss_curve_[20:]) < curve[0]
    assert same_state(trained.state_dict(), before)  # a copy goes on
    assert not same_state(state_of(estimator), before)


@families
def test_a_warm_start_begins_at_the_weights_as_they_were(family):
    estimator = tiny(family, warm_start=True).fit(X)
    before = weights_of(estimator)
    rates = {"learning_rate": 1e-12}
    if family is AdversarialAutoencoder:
        rates["discriminator_learning_rate"] = 1e-12
    after = weights_of(estimator.set_params(**rates).fit(X))
    assert torch.allclose(after, before, atol=1e-9)


def test_without_warm_start_a_fit_begins_anew():
    estimator = tiny(warm_start=False).fit(X)
    first = weights_of(estimator)
    assert torch.equal(weights_of(estimator.fit(X)), first)
    assert estimator.n_iter_ == 5


@families
def test_the_first_fit_of_a_warm_start_is_a_fit_like_any_other(family):
    assert torch.equal(weights_of(tiny(family, warm_start=True).fit(X)), weights_of(tiny(family).fit(X)))


@families
@pytest.mark.parametrize(
    "settings",
    [{"n_components": 3}, {"hidden_layer_sizes": (9,)}, {"hidden_layer_sizes": (8, 8)}, {"activation": "tanh"}],
    ids=str,
)
def test_a_warm_start_with_another_module_raises_and_leaves_the_estimator_as_it_is(family, settings):
    estimator = tiny(family, warm_start=True).fit(X, Y)
    before, codes = dict(vars(estimator)), estimator.transform(X)
    with pytest.raises(ValueError, match=f"a continued fit must keep {next(iter(settings))}="):
        estimator.set_params(**settings).fit(X, Y)
    assert vars(estimator) == before | settings
    np.testing.assert_array_equal(estimator.set_params(n_components=2).transform(X), codes)


@pytest.mark.parametrize(
    ("y", "message"),
    [(Y + 1, "classes must stay"), (Y % 2, "classes must stay"), (None, "y must be given")],
    ids=["others", "fewer", "none"],
)
def test_a_warm_start_with_another_target_raises_and_leaves_the_estimator_as_it_is(y, message):
    estimator = tiny(warm_start=True).fit(X, Y)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)
    assert vars(estimator) == before


def test_a_warm_start_with_other_columns_raises():
    estimator = tiny(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="3 features.*expecting 4"):
        estimator.fit(X[:, :3])
    assert estimator.n_features_in_ == 4


CHANGES = {
    "weight decay": (RegularizedAutoencoder, {}, {"weight_decay": 5.0}),
    "learning rate": (RegularizedAutoencoder, {}, {"learning_rate": 0.1}),
    "schedule": (RegularizedAutoencoder, {}, {"learning_rate_schedule": "constant"}),
    "batch size": (RegularizedAutoencoder, {}, {"batch_size": 7}),
    "penalty": (RegularizedAutoencoder, {}, {"alpha": 10.0}),
    "dropout": (RegularizedAutoencoder, {"dropout": 0.1}, {"dropout": 0.8}),
    "share of masked cells": (RegularizedAutoencoder, {"corruption_level": 0.1}, {"corruption_level": 0.8}),
    "scale": (RegularizedAutoencoder, {}, {"scale": False}),
    "precision": (RegularizedAutoencoder, {"precision": "float32"}, {"precision": "float64"}),
    "beta": (VariationalAutoencoder, {}, {"beta": 20.0}),
    "prior": (VariationalAutoencoder, {}, {"prior": "laplace"}),
    "noise of columns": (VariationalAutoencoder, {}, {"observation_noise": "column"}),
    "fixed noise": (VariationalAutoencoder, {"observation_noise": 1.0}, {"observation_noise": 0.3}),
    "adversarial weight": (AdversarialAutoencoder, {}, {"adversarial_weight": 20.0}),
    "discriminator's rate": (AdversarialAutoencoder, {}, {"discriminator_learning_rate": 0.1}),
}


@pytest.mark.parametrize(("family", "settings", "changes"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_settings_before_a_warm_start_is_not_ignored(family, settings, changes):
    """It takes effect, or the fit says that it can't."""
    same, other = (tiny(family, warm_start=True, **settings).fit(X) for _ in range(2))
    assert torch.equal(weights_of(same), weights_of(other))
    same.fit(X)
    try:
        other.set_params(**changes).fit(X)
    except ValueError:
        return
    assert not torch.equal(weights_of(same), weights_of(other))


@pytest.mark.parametrize("batch_size", [8, N])
def test_a_change_of_the_draws_before_a_warm_start_is_not_ignored(batch_size):
    estimator = tiny(VariationalAutoencoder, warm_start=True, batch_size=batch_size).fit(X)
    try:
        estimator.set_params(n_draws=5).fit(X)
    except ValueError:
        return
    assert estimator.module_.bottleneck.n_draws == 5


# Partial fits


@families
def test_partial_fits_learn(family):
    estimator = tiny(family, learning_rate=0.03, linear_path=False)  # with it, there is less to learn
    for _ in range(15):
        for rows in np.array_split(np.arange(N), 2):
            estimator.partial_fit(X[rows])
    assert len(estimator.history_) == 30
    costs = estimator.history_["reconstruction"]
    assert costs.iloc[-4:].mean() < costs.iloc[:4].mean() - 0.1


def test_partial_fits_learn_the_classes():
    estimator = tiny(learning_rate=0.05)
    rows = X + 5 * np.eye(D)[Y]
    for _ in range(25):
        estimator.partial_fit(rows, Y, classes=[0, 1, 2])
    assert estimator.score(rows, Y) > 0.9


@families
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_partial_fit_without_y_takes_the_rows_as_unlabelled(family, task):
    classes = [0, 1, 2] if task == "classification" else None
    estimator = tiny(family, task=task, batch_size=8).partial_fit(X, Y, classes=classes)
    head = estimator.module_.head.weight.clone()
    estimator.partial_fit(X)
    assert len(estimator.history_) == 2
    assert estimator.history_["target"].iloc[-1] == 0
    assert torch.allclose(head, estimator.module_.head.weight, atol=0.1)  # Adam still has some momentum
    assert estimator.predict(X).shape == (N,)


def test_a_partial_fit_with_y_after_one_without_raises():
    estimator = tiny().partial_fit(X)
    with pytest.raises(ValueError, match="fitted without y"):
        estimator.partial_fit(X, Y, classes=[0, 1, 2])
    assert estimator.n_iter_ == 1


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, None, "needs classes, all labels that may come"),
        ({"classes": [0, 1]}, None, "y must hold labels of"),
        ({"classes": [0, 1, 2]}, {"classes": [0, 1, 2, 3]}, "classes must stay"),
    ],
    ids=["none", "too few", "others later"],
)
def test_partial_fits_need_the_same_classes_from_the_first_call(first, second, message):
    estimator = tiny()
    if second is not None:
        estimator.partial_fit(X, Y, **first)
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(X, Y, **(first if second is None else second))
    assert hasattr(estimator, "net_") == (second is not None)


def test_a_chunk_of_partial_fits_may_lack_labels_of_any_kind():
    estimator = tiny(unlabeled=-1)
    some = np.where(np.arange(N) % 2, Y, -1)
    for y in (some, np.full(N, -1), Y, np.zeros(N, dtype=int)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            estimator.partial_fit(X, y, classes=[0, 1, 2])
    assert len(estimator.history_) == 4


@pytest.mark.parametrize("y", [np.full(N, -1), Y], ids=["no label", "labels only"])
def test_the_first_chunk_of_partial_fits_may_be_any_chunk(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = tiny(unlabeled=-1).partial_fit(X, y, classes=[0, 1, 2])
    assert estimator.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        (VariationalAutoencoder, {"batch_size": 8}),
        (VariationalAutoencoder, {}),
        (RegularizedAutoencoder, {"dropout": 0.5}),
        (RegularizedAutoencoder, {"corruption_level": 0.5}),
    ],
    ids=str,
)
def test_every_partial_fit_meets_other_noise_and_a_seed_gives_them_again(family, settings):
    def losses():
        estimator = tiny(family, learning_rate=1e-14, linear_path=False, **settings)  # the weights stay
        return [estimator.partial_fit(X).loss_ for _ in range(4)]

    first = losses()
    assert len({round(loss, 6) for loss in first}) == 4
    assert losses() == first


def test_partial_fits_keep_the_learning_rate():
    estimator = tiny(learning_rate_schedule="cosine", learning_rate=0.01)
    for _ in range(3):
        estimator.partial_fit(X)
        assert estimator.net_.optimizer_.param_groups[0]["lr"] == 0.01


def test_the_columns_lie_where_the_first_partial_fit_saw_them():
    estimator = tiny(penalty=None).partial_fit(X)
    encoding = estimator.model_.encoding
    estimator.partial_fit(X + 100)
    assert estimator.model_.encoding is encoding
    assert encoding.scaler.location == pytest.approx(X.mean(0))


def test_a_partial_fit_goes_on_from_a_fit():
    estimator = tiny().fit(X)
    curve = list(estimator.loss_curve_)
    estimator.partial_fit(X)
    assert estimator.loss_curve_[:-1] == curve
    assert estimator.loss_ < curve[0]


# Learning rates, epochs and batches


@families
@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.5 * (1 + np.cos(np.pi * 0.8))), ("constant", 1.0)])
def test_the_schedule_sets_the_learning_rates(family, schedule, last):
    estimator = tiny(family, learning_rate_schedule=schedule, learning_rate=0.01).fit(X)
    assert estimator.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(0.01 * last)
    if family is AdversarialAutoencoder:
        rate = estimator.net_.discriminator_optimizer_.param_groups[0]["lr"]
        assert rate == pytest.approx(estimator.discriminator_learning_rate * last)


@families
def test_the_number_of_epochs_is_max_iter(family):
    estimator = tiny(family, max_iter=7).fit(X)
    assert estimator.n_iter_ == 7 == len(estimator.history_) == len(estimator.loss_curve_)
    assert estimator.loss_ == estimator.loss_curve_[-1]
    assert list(estimator.history_.index) == list(range(1, 8))


@pytest.mark.parametrize(
    ("n", "batch_size", "n_batches"),
    [
        (10, "auto", 1),
        (256, "auto", 1),
        (257, "auto", 3),
        (60, 60, 1),
        (60, 59, 2),
        (60, 1000, 1),
        (60, 7, 9),
        (5, 1, 5),
    ],
)
def test_the_batch_size_sets_the_number_of_batches(n, batch_size, n_batches):
    rows = np.random.default_rng(0).normal(size=(n, 2))
    estimator = tiny(max_iter=1, batch_size=batch_size, early_stopping=False).fit(rows)
    assert estimator.net_.history[0, "train_batch_count"] == n_batches


@families
def test_weight_decay_shrinks_the_weights(family):
    norms = [
        weights_of(tiny(family, max_iter=40, learning_rate=0.02, weight_decay=decay).fit(X)).norm().item()
        for decay in (0.0, 0.1, 10.0)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.5 * norms[0]


# Dropout and noise


@families
def test_dropout_is_off_after_training(family):
    estimator = tiny(family, dropout=0.5).fit(X)
    codes = estimator.transform(X)
    np.testing.assert_array_equal(codes, estimator.transform(X))
    np.testing.assert_allclose(codes[:7], estimator.transform(X[:7]), rtol=1e-10)
    np.testing.assert_array_equal(estimator.inverse_transform(codes), estimator.inverse_transform(codes))
    assert estimator.score(X) == estimator.score(X)


@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0.5}, {"corruption_level": 0.5}, {"corruption_level": 0.5, "corruption": "gaussian"}],
    ids=str,
)
def test_noise_is_on_while_training(settings):
    # A linear path starts with hidden layers that do not contribute, so that dropout has no effect in the first epoch.
    estimator, plain = (tiny(linear_path=False, **of_fit).fit(X) for of_fit in (settings, {}))
    assert all(loss != other for loss, other in zip(estimator.loss_curve_, plain.loss_curve_, strict=True))


# Precision and device


@pytest.mark.parametrize(
    ("precision", "batch_size", "rows", "expected"),
    [
        ("auto", "auto", X, torch.float64),
        ("auto", 8, X, torch.float32),
        ("auto", "auto", X.astype(np.float32), torch.float32),
        ("auto", 8, X.astype(np.float32), torch.float32),
        ("float32", "auto", X, torch.float32),
        ("float64", 8, X.astype(np.float32), torch.float64),
        ("bfloat16", "auto", X, torch.float32),
        ("bfloat16", 8, X.astype(np.float32), torch.float32),
    ],
)
def test_the_precision_is_that_of_the_weights(precision, batch_size, rows, expected):
    estimator = tiny(precision=precision, batch_size=batch_size).fit(rows)
    assert {value.dtype for value in estimator.module_.state_dict().values()} == {expected}
    assert estimator.transform(rows).dtype == rows.dtype


@families
@pytest.mark.parametrize("scale", [True, "quantile"])
def test_bfloat16_scores_rows_with_gaps_as_single_precision_does(family, scale):
    random = np.random.RandomState(0)
    rows = np.exp(random.normal(4, 1, (60, 1)) + 0.1 * random.normal(size=(60, 40)))
    rows[random.uniform(size=rows.shape) < 0.3] = np.nan
    estimator = tiny(family, precision="bfloat16", scale=scale).fit(rows)
    half = estimator.score_samples(rows)
    estimator.net_.autocast = False
    difference = half - estimator.score_samples(rows)
    assert 0 < np.abs(difference).max() < 0.1  # layers are rounded ...
    assert np.abs(difference.mean()) < 0.02  # ... this way and that


@families
def test_bfloat16_comes_close_to_single_precision(family):
    half, single = (tiny(family, precision=precision, max_iter=20).fit(X, Y) for precision in ("bfloat16", "float32"))
    assert np.isfinite(half.loss_curve_).all()
    assert half.loss_curve_ != single.loss_curve_
    assert half.loss_ == pytest.approx(single.loss_, rel=0.02)


@families
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_that_a_bfloat16_fit_returns_has_the_type_that_went_in(family, dtype):
    rows = X.astype(dtype)
    estimator = tiny(family, precision="bfloat16").fit(rows, Y)
    codes = estimator.transform(rows)
    methods = ["predict_proba", "predict_log_proba", "score_samples", "score_cells"]
    found = [codes, estimator.inverse_transform(codes), *(getattr(estimator, method)(rows) for method in methods)]
    assert all(values.dtype == dtype and np.isfinite(values).all() for values in found)
    assert np.isfinite(estimator.sample(3, random_state=0)).all()
    assert estimator.predict_proba(rows).sum(1) == pytest.approx(np.ones(N), abs=0.02)


@families
def test_single_and_double_precision_begin_alike(family):
    curves = [tiny(family, precision=precision).fit(X).loss_curve_[0] for precision in ("float32", "float64")]
    if family is RegularizedAutoencoder:  # the others draw numbers, which differ by precision
        assert curves[0] == pytest.approx(curves[1], rel=1e-6)
    assert curves[0] == pytest.approx(curves[1], rel=0.2)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "auto"], ids=str)
def test_the_device_is_the_one_asked_for(device):
    estimator = tiny(device=device).fit(X)
    expected = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    assert estimator.device_.type == expected
    assert next(estimator.module_.parameters()).device.type == expected


@pytest.mark.parametrize("device", ["nowhere", "cpu:x", "", 3])
def test_a_bad_name_of_a_device_raises_and_fits_nothing(device):
    estimator = tiny(device=device)
    with pytest.raises((RuntimeError, ValueError)):
        estimator.fit(X)
    with pytest.raises(NotFittedError):
        estimator.transform(X)


# Callbacks and what is printed


@families
def test_verbose_shows_a_bar_with_the_losses_of_the_last_epoch(family, capsys):
    estimator = tiny(family, verbose=1, max_iter=3).fit(X, X_val=X)
    captured = capsys.readouterr()
    last = captured.err.split("\r")[-1]
    assert captured.out == ""
    assert "3/3" in last
    for name in ("train_loss", "valid_loss", "reconstruction"):
        assert f"{name}={estimator.history_[name].iloc[-1]:.4g}" in last


@families
def test_verbose_above_1_prints_a_line_for_each_epoch(family, capsys):
    tiny(family, verbose=2, max_iter=3).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3
    assert {"epoch", "train_loss", "reconstruction", "dur"} <= set(lines[0].split())


@families
def test_nothing_is_printed_otherwise(family, capsys):
    overfitting(family, max_iter=30, n_iter_no_change=1).fit(NOISE, X_val=NOISE_VAL)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_verbose_may_change_from_fit_to_fit(capsys):
    estimator = tiny(warm_start=True).fit(X)
    assert capsys.readouterr().out == ""
    estimator.set_params(verbose=2).fit(X)
    assert "train_loss" in capsys.readouterr().out
    estimator.set_params(verbose=0).fit(X)
    assert capsys.readouterr().out == ""


@families
@pytest.mark.parametrize("kind", [list, tuple])
def test_callbacks_are_told_of_every_epoch(family, kind):
    recorder = Recorder()
    tiny(family, callbacks=kind([recorder])).fit(X)
    assert recorder.epochs_ == [1, 2, 3, 4, 5]


def test_callbacks_are_told_of_the_epoch_after_which_a_fit_stops_early():
    recorder = Recorder()
    estimator = overfitting(callbacks=[recorder]).fit(NOISE, X_val=NOISE_VAL)
    assert estimator.n_iter_ < 400
    assert recorder.epochs_ == list(range(1, estimator.n_iter_ + 1))


@families
def test_callbacks_are_told_of_every_batch_and_change_nothing(family):
    recorder = BatchRecorder()
    settings = {"batch_size": 20, "max_iter": 3, "dropout": 0.3}
    plain = tiny(family, **settings).fit(X, X_val=X_VAL)
    listened_to = tiny(family, callbacks=[recorder], **settings).fit(X, X_val=X_VAL)
    assert recorder.shapes_ == [*[(True, (20, D))] * 3, (False, (30, D))] * 3
    assert same_state(state_of(plain), state_of(listened_to))
    assert plain.loss_curve_ == listened_to.loss_curve_


LISTENERS = {
    "PrintLog": lambda folder: PrintLog(sink=lambda *args: None),
    "ProgressBar": lambda folder: ProgressBar(),
    "a scheduler": lambda folder: LRScheduler("StepLR", step_size=1000),
    "a scheduler that waits": lambda folder: LRScheduler("ReduceLROnPlateau", patience=1000),
    "a scheduler of batches": lambda folder: LRScheduler("StepLR", step_size=1000, step_every="batch"),
    "EarlyStopping": lambda folder: EarlyStopping("train_loss", patience=1000),
    "PassthroughScoring": lambda folder: PassthroughScoring("train_loss", on_train=True),
    "Checkpoint": lambda folder: Checkpoint(dirname=folder),
    "Checkpoint of every epoch": lambda folder: Checkpoint(monitor=None, dirname=folder, f_pickle="net.pkl"),
    "TrainEndCheckpoint": lambda folder: TrainEndCheckpoint(dirname=folder),
}


@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS)
def test_callbacks_of_skorch_that_only_listen_change_nothing(listener, tmp_path):
    settings = {"batch_size": 20, "learning_rate_schedule": "constant"}
    plain = tiny(**settings).fit(X, X_val=X_VAL)
    listened_to = tiny(callbacks=[listener(tmp_path)], **settings).fit(X, X_val=X_VAL)
    assert same_state(state_of(plain), state_of(listened_to))
    assert plain.loss_curve_ == listened_to.loss_curve_


@families
def test_a_checkpoint_takes_the_best_epoch_back(family, tmp_path):
    def fitted(callback):
        settings = {"early_stopping": False, "max_iter": 60, "callbacks": [callback]}
        return overfitting(family).set_params(**settings).fit(NOISE, X_val=NOISE_VAL)

    estimator = fitted(Checkpoint(dirname=tmp_path, load_best=True))
    best = int(np.argmin(estimator.history_["valid_loss"])) + 1
    assert best < 60
    assert same_state(state_of(estimator), state_of(fitted(Recorder(stop_at=best))))


@families
def test_gradients_may_be_clipped(family):
    plain, clipped = tiny(family).fit(X), tiny(family, callbacks=[GradientNormClipping(1e-9)]).fit(X)
    assert not same_state(state_of(plain), state_of(clipped))


def test_the_callbacks_of_a_user_are_used_themselves_and_a_clone_has_its_own():
    estimator = tiny(callbacks=[Recorder()], warm_start=True)
    other = clone(estimator)
    estimator.fit(X).fit(X).partial_fit(X)
    assert estimator.callbacks[0].epochs_ == list(range(1, 12))
    assert other.callbacks[0].epochs_ == []


def test_a_callback_may_hold_what_cannot_be_copied():
    estimator = tiny(callbacks=[Locked()], warm_start=True)
    estimator.fit(X).fit(X).partial_fit(X)
    assert len(estimator.history_) == 11


@families
def test_a_callback_may_end_a_fit(family):
    estimator = tiny(family, callbacks=[Recorder(stop_at=2)]).fit(X)
    assert estimator.n_iter_ == 2
    assert estimator.transform(X).shape == (N, 2)


@families
def test_an_interrupted_fit_raises_and_does_not_claim_to_be_fitted(family):
    estimator = tiny(family, callbacks=[Interruption()])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    assert not hasattr(estimator, "net_")
    with pytest.raises(NotFittedError):
        estimator.transform(X)


@families
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupted_fit_leaves_the_last_one_in_place(family, method):
    estimator = tiny(family, warm_start=True).fit(X)
    before, state = dict(vars(estimator)), state_of(estimator)
    interruption = [Interruption()]
    with pytest.raises(KeyboardInterrupt):
        getattr(estimator.set_params(callbacks=interruption), method)(X)
    assert vars(estimator) == before | {"callbacks": interruption}
    assert same_state(state_of(estimator), state)


@families
def test_a_loss_that_is_not_finite_raises_and_leaves_the_last_fit_in_place(family):
    estimator = tiny(family).fit(X)
    codes = estimator.transform(X)
    with pytest.raises(ValueError, match=r"must stay finite, got \S+ in epoch \d: "):
        estimator.set_params(learning_rate=1e200).fit(X)
    np.testing.assert_array_equal(estimator.transform(X), codes)
