"""The training loop: history, validation, checks, and how a training ends."""

from dataclasses import replace

import pytest
import torch
from skorch.callbacks import Callback

from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.modules.noise import Masking
from sklearn_ae.training import step as step_module
from sklearn_ae.training import tape
from sklearn_ae.training.devices import HOST, KINDS
from sklearn_ae.training.loop import Split
from tests.training.nets import AUTOENCODER, OTHERS, ROWS, Interruption, N, Recorder, equal, fitted, net_of

# History


KEPT = {"epoch", "dur", *(f"{prefix}_{name}" for prefix in ("train", "valid") for name in ("batch_count", "loss_best"))}


def test_the_history_has_a_column_for_each_term():
    history = fitted(OTHERS).history
    own = {"reconstruction", "size", "value", "train_loss"}
    validation = {"valid_reconstruction", "valid_size", "valid_loss"}
    assert set(history[-1]) - {"batches"} == own | validation | KEPT
    assert history[:, "epoch"] == [1, 2, 3, 4]
    assert history[:, "train_batch_count"] == [4] * 4


def test_a_loss_is_the_weighted_sum_of_the_terms_of_the_first_phase():
    for epoch in fitted(OTHERS).history:
        assert epoch["train_loss"] == pytest.approx(epoch["reconstruction"] + 0.1 * epoch["size"])
        assert epoch["valid_loss"] == pytest.approx(epoch["valid_reconstruction"] + 0.1 * epoch["valid_size"])


def test_the_terms_of_an_epoch_are_those_before_each_step():
    net = net_of(batch_size=N)
    expected = AUTOENCODER.evaluate(net.module_, ROWS.table)
    net.partial_fit(Split(ROWS))
    assert net.history[0, "train_loss"] == pytest.approx(expected.loss.item())
    assert net.history[0, "reconstruction"] == pytest.approx(expected.terms["reconstruction"].item())


@pytest.mark.parametrize("chunk", [3, 1024])
def test_the_validation_loss_is_that_of_the_validation_rows_after_the_epoch(chunk, monkeypatch):
    monkeypatch.setitem(KINDS, "cpu", replace(HOST, chunk_rows=chunk))
    net = fitted(OTHERS)
    expected = AUTOENCODER.evaluate(net.module_, OTHERS.table).loss.item()
    assert net.history[-1, "valid_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("noisy", [{"dropout": 0.5}, {"corruption": Masking(0.5)}], ids=["dropout", "mask"])
def test_validation_is_without_the_noise_of_training(noisy):
    net = fitted(OTHERS, **noisy)
    expected = AUTOENCODER.evaluate(net.module_.eval(), OTHERS.table).loss.item()
    assert net.history[-1, "valid_loss"] == pytest.approx(expected)


def test_validation_changes_nothing_in_training():
    settings = {"Code": GaussianCode, "dropout": 0.2}
    assert equal(fitted(**settings), fitted(OTHERS, **settings))


def test_the_noise_of_validation_rows_is_the_same_in_every_epoch():
    rates = {"autoencoder": {"lr": 1e-30}, "discriminator": {"lr": 1e-30}}  # nothing moves
    net = fitted(OTHERS, Code=GaussianCode, optimizers=rates)
    assert len(set(net.history[:, "valid_loss"])) == 1
    assert len(set(net.history[:, "train_loss"])) == 4


# The end of a training


def test_a_callback_may_end_the_training_after_an_epoch():
    recorder = Recorder(stop_at=2)
    net = fitted(max_epochs=50, callbacks=[recorder])
    assert len(net.history) == 2
    assert equal(net, fitted(max_epochs=2))


def test_an_interrupt_within_an_epoch_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        fitted(callbacks=[Interruption()])


def test_the_callbacks_hear_of_the_end_of_a_training_that_one_of_them_ended():
    heard = []

    class Ending(Callback):
        def on_train_end(self, net, **kwargs):
            heard.append(len(net.history))

    fitted(callbacks=[Recorder(stop_at=2), Ending()])
    assert heard == [2]


# What can go wrong


@pytest.mark.parametrize(("batch_size", "epoch"), [(5, 1), (N, 2)])
def test_a_loss_that_is_not_finite_stops_the_fit_and_names_the_epoch(batch_size, epoch):
    with pytest.raises(ValueError, match=rf"must stay finite, got \S+ in epoch {epoch}: reconstruction=") as error:
        fitted(phases=(AUTOENCODER,), optimizers={"autoencoder": {"lr": 1e200}}, batch_size=batch_size)
    assert "learning_rate" in str(error.value)
    assert "1e+200" in str(error.value)


def test_a_term_of_the_second_phase_that_is_not_finite_stops_the_fit_as_well():
    rates = {"autoencoder": {"lr": 0.01}, "discriminator": {"lr": 1e200}}
    with pytest.raises(ValueError, match=r"must stay finite, got \S+ in epoch 1: value="):
        fitted(optimizers=rates)


# Speed


def count_of_host_reads(monkeypatch, **settings):
    counts = []

    def counting(original):
        def read(self, *args, **kwargs):
            counts.append(1)
            return original(self, *args, **kwargs)

        return read

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
            patch.setattr(torch.Tensor, name, counting(getattr(torch.Tensor, name)))
        fitted(OTHERS, **settings)
    return len(counts)


def test_numbers_leave_the_device_once_an_epoch(monkeypatch):
    monkeypatch.setattr(step_module, "PLAIN_STEPS", 3)  # all are recorded, and compared with a replay once
    fitted(OTHERS)  # the first time, each operation is tried
    monkeypatch.setattr(tape, "close", lambda *_: True)  # it reads more numbers where rounding differs
    few, many = (count_of_host_reads(monkeypatch, batch_size=size, max_epochs=6) for size in (10, 2))
    assert few == many
    longer = count_of_host_reads(monkeypatch, batch_size=10, max_epochs=12)
    assert 0 < longer - few <= 6 * 2  # training and validation rows
