"""Callbacks of epochs, batches and gradients, and which of them are accepted."""

import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, GradientNormClipping, LRScheduler

from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.modules.noise import Masking
from sklearn_ae.training.callbacks import check_callbacks, listeners
from tests.training.nets import (
    AUTOENCODER,
    DISCRIMINATOR,
    OTHERS,
    BatchRecorder,
    D,
    GradientRecorder,
    Recorder,
    equal,
    fitted,
    net_of,
    weights_of,
)

# Callbacks


def test_a_callback_of_epochs_sees_the_history():
    recorder = Recorder()
    net = fitted(OTHERS, callbacks=[recorder])
    assert [epoch["train_loss"] for epoch in recorder.epochs] == net.history[:, "train_loss"]
    assert [epoch["valid_loss"] for epoch in recorder.epochs] == net.history[:, "valid_loss"]


def test_a_callback_of_batches_gets_every_batch():
    recorder = BatchRecorder()
    net = fitted(OTHERS, callbacks=[recorder])
    assert recorder.begun == [*[(True, 5)] * 4, (False, 7)] * 4
    assert [(training, shape) for training, _, shape in recorder.ended] == [*[(True, (5, D))] * 4, (False, (7, D))] * 4
    of_first_epoch = [loss for training, loss, _ in recorder.ended[:5] if training]
    assert sum(of_first_epoch) / 4 == pytest.approx(net.history[0, "train_loss"])
    assert net.history[0, "batches", :, "train_loss"][:4] == of_first_epoch


@pytest.mark.parametrize(
    "settings", [{}, {"Code": GaussianCode}, {"dropout": 0.3}, {"corruption": Masking(0.3)}], ids=str
)
@pytest.mark.parametrize("Listener", [BatchRecorder, GradientRecorder, Recorder])
def test_listening_changes_nothing(Listener, settings):
    alone, listened_to = fitted(OTHERS, **settings), fitted(OTHERS, callbacks=[Listener()], **settings)
    assert equal(alone, listened_to)
    assert alone.history[:, ("train_loss", "valid_loss")] == listened_to.history[:, ("train_loss", "valid_loss")]


def test_a_callback_of_gradients_sees_those_of_each_phase():
    recorder = GradientRecorder()
    net = fitted(callbacks=[recorder])
    names = [list(phase.parameters(net.module_)) for phase in (AUTOENCODER, DISCRIMINATOR)]
    assert [list(seen) for seen in recorder.seen] == names * 16  # 4 batches in 4 epochs
    assert all(norm > 0 for seen in recorder.seen for norm in seen.values())
    assert all(parameter.grad is None for parameter in net.module_.parameters())


def test_a_callback_may_put_other_gradients_in_place():
    class Freezing(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            for name, parameter in named_parameters:
                if name.startswith("encoder"):
                    parameter.grad = torch.zeros_like(parameter)

    before, after = weights_of(net_of()), weights_of(fitted(callbacks=[Freezing()]))
    assert {name for name in before if torch.equal(before[name], after[name])} == {"encoder.0.weight", "encoder.0.bias"}


def test_gradients_may_be_clipped():
    bounds = [(1e-8, False), (1e8, True)]
    for bound, same in bounds:
        assert equal(fitted(), fitted(callbacks=[GradientNormClipping(bound)])) == same


def test_clipped_gradients_are_what_the_optimizer_gets():
    after = GradientRecorder()
    net = fitted(callbacks=[GradientNormClipping(1e-3), after])
    norms = [sum(norm**2 for norm in seen.values()) ** 0.5 for seen in after.seen]
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-2)
    assert net.optimizer_.state[next(net.module_.parameters())]["exp_avg"].norm() < 1e-3


@pytest.mark.parametrize("callbacks", [[], [BatchRecorder()]], ids=["epochs", "batches"])
def test_a_scheduler_among_the_callbacks_sets_the_learning_rate(callbacks):
    recorder = Recorder()
    fitted(callbacks=[recorder, LRScheduler("StepLR", step_size=1, gamma=0.5), *callbacks])
    assert [rate for rate, _ in recorder.rates] == pytest.approx([0.01, 0.005, 0.0025, 0.00125])


def test_skorch_early_stopping_ends_the_training_and_restores_the_best_weights():
    stopping = EarlyStopping(patience=3, load_best=True, sink=lambda text: None)
    rates = {"autoencoder": {"lr": 0.3}, "discriminator": {"lr": 0.3}}
    net = fitted(OTHERS, max_epochs=200, optimizers=rates, callbacks=[stopping])
    losses = net.history[:, "valid_loss"]
    assert 3 < len(losses) < 200
    assert AUTOENCODER.evaluate(net.module_, OTHERS.table).loss.item() == pytest.approx(min(losses))
    assert losses[-1] > min(losses)


# Checks


def test_a_callback_is_a_listener_of_the_methods_that_it_defines():
    callbacks = [("epochs", Recorder()), ("batches", BatchRecorder()), ("gradients", GradientRecorder())]
    assert listeners(callbacks, "on_batch_begin") == ["batches"]
    assert listeners(callbacks, "on_batch_begin", "on_grad_computed") == ["batches", "gradients"]
    assert listeners(callbacks, "on_train_begin") == []


@pytest.mark.parametrize(("every", "expected"), [("epoch", []), ("batch", ["schedule"])])
def test_a_scheduler_of_epochs_is_no_listener_of_batches(every, expected):
    callbacks = [("schedule", LRScheduler("StepLR", step_size=1, step_every=every))]
    assert listeners(callbacks, "on_batch_end") == expected


@pytest.mark.parametrize("callback", [Recorder(), Recorder, ("named", Recorder())], ids=["object", "class", "pair"])
def test_callbacks_of_skorch_are_accepted(callback):
    assert check_callbacks([callback]) == [callback]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (print, "must hold callbacks of skorch, got"),
        (("a", "b", "c"), "must hold callbacks of skorch, got"),
        (EpochScoring("r2"), "must not score rows, because they get encoded rows, got"),
    ],
    ids=["function", "triple", "scoring"],
)
def test_other_callbacks_are_refused(callback, message):
    with pytest.raises(TypeError, match=message):
        check_callbacks([callback])
