"""The skorch net: optimizers, schedules, callbacks, history, and how a training ends."""

import pickle
from copy import deepcopy
from math import cos, pi
from types import SimpleNamespace

import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler

from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.modules.codes import GaussianCode, PointCode
from sklearn_ae.modules.mlp import Linear, draw_weights, hidden_layers, mlp
from sklearn_ae.modules.noise import Masking
from sklearn_ae.objectives.columns import UnitGaussian
from sklearn_ae.objectives.terms import Batch, l2, reconstruction
from sklearn_ae.training import net as net_module
from sklearn_ae.training import step as step_module
from sklearn_ae.training.adam import Adam
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import AutoencoderNet, Split, device_chunk_size
from sklearn_ae.training.phases import Phase

N, D, K = 20, 4, 2
X = torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
ROWS, OTHERS = Rows(Batch(X)), Rows(Batch(X[:7] + 0.5))


def judgement(module, batch, trace):
    """What a second player minimises."""
    return (trace["logits"] - 1).square().sum(-1)


AUTOENCODER = Phase(
    "autoencoder", ("encoder", "code", "decoder"), {"reconstruction": reconstruction, "size": l2}, {"size": 0.1}
)
DISCRIMINATOR = Phase("discriminator", ("head",), {"value": judgement})
RATES = {"autoencoder": {"lr": 0.01}, "discriminator": {"lr": 0.03, "betas": (0.5, 0.9)}}


def net_of(Code=PointCode, *, dropout=0.0, corruption=None, phases=(AUTOENCODER, DISCRIMINATOR), **settings):
    module = Autoencoder(
        hidden_layers([D, 5], "tanh", dropout),
        Code(5, K),
        mlp([K, 5, D], "tanh", dropout),
        UnitGaussian(D),
        Linear(K, 1),
        corruption,
    ).double()
    draw_weights(module, torch.Generator().manual_seed(0))
    settings = {"optimizers": RATES, "max_epochs": 4, "batch_size": 5, "verbose": 0, "device": "cpu"} | settings
    return AutoencoderNet(module, phases, phases[0], **settings).initialize()


def fitted(valid=None, rows=ROWS, **settings):
    return net_of(**settings).partial_fit(Split(rows, valid))


def weights_of(net):
    return {name: value.clone() for name, value in net.module_.state_dict().items()}


def equal(net, other):
    a, b = weights_of(net), weights_of(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Recorder(Callback):
    """Writes down what it is told and what it then sees."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.epochs = []
        self.rates = []

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(dict(net.history[-1]))
        self.rates.append((net.optimizer_.param_groups[0]["lr"], net.discriminator_optimizer_.param_groups[0]["lr"]))
        if len(self.epochs) == self.stop_at:
            raise KeyboardInterrupt


class BatchRecorder(Callback):
    """Listens to batches."""

    def __init__(self):
        self.begun = []
        self.ended = []

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.begun.append((training, len(batch.rows.x)))

    def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
        self.ended.append((training, loss.item(), tuple(y_pred.shape)))


class GradientRecorder(Callback):
    """Listens to gradients."""

    def __init__(self):
        self.seen = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.seen.append({name: parameter.grad.norm().item() for name, parameter in named_parameters})


class Interruption(Callback):
    """A user presses Ctrl-C in the middle of an epoch."""

    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt


# Optimizers and learning rates


def test_there_is_an_optimizer_for_each_phase():
    net = net_of()
    for name, phase in [("optimizer_", AUTOENCODER), ("discriminator_optimizer_", DISCRIMINATOR)]:
        optimizer = getattr(net, name)
        assert isinstance(optimizer, Adam)
        (group,) = optimizer.param_groups
        own = list(phase.parameters(net.module_).values())
        assert len(group["params"]) == len(own)
        assert all(a is b for a, b in zip(group["params"], own, strict=True))
    assert net.optimizer_.param_groups[0]["lr"] == 0.01
    assert net.discriminator_optimizer_.param_groups[0]["lr"] == 0.03
    assert net.discriminator_optimizer_.param_groups[0]["betas"] == (0.5, 0.9)


def test_the_net_trains_what_plain_torch_trains():
    net, plain = net_of(batch_size=N), net_of().module_
    of_phase = [
        (phase, torch.optim.Adam(phase.parameters(plain).values(), **RATES[phase.name]))
        for phase in (AUTOENCODER, DISCRIMINATOR)
    ]
    for _ in range(4):
        for phase, optimizer in of_phase:
            plain.zero_grad()
            phase.evaluate(plain, Batch(X)).loss.backward()
            optimizer.step()
    net.partial_fit(Split(ROWS))
    for found, expected in zip(net.module_.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("plain_steps", [0, 2, 100])
def test_phases_may_move_the_same_parameters(plain_steps, monkeypatch):
    """As in Makhzani et al. (2016), where the encoder moves in a phase of its own as well."""
    monkeypatch.setattr(step_module, "PLAIN_STEPS", plain_steps)
    phases = (AUTOENCODER, Phase("encoder", ("encoder", "code"), {"size": l2}))
    rates = {"autoencoder": {"lr": 0.01}, "encoder": {"lr": 0.02}}
    net, plain = net_of(batch_size=N, phases=phases, optimizers=rates, max_epochs=6), net_of().module_
    of_phase = [(phase, torch.optim.Adam(phase.parameters(plain).values(), **rates[phase.name])) for phase in phases]
    for _ in range(6):
        for phase, optimizer in of_phase:
            plain.zero_grad()
            phase.evaluate(plain, Batch(X)).loss.backward()
            optimizer.step()
    net.partial_fit(Split(ROWS))
    for found, expected in zip(net.module_.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-10)


def test_the_cosine_schedule_begins_at_the_learning_rate_and_goes_to_zero():
    recorder = Recorder()
    fitted(schedule="cosine", max_epochs=40, callbacks=[recorder])
    first, second = zip(*recorder.rates, strict=True)
    assert first == pytest.approx([0.01 * 0.5 * (1 + cos(pi * epoch / 40)) for epoch in range(40)])
    assert second == pytest.approx([3 * rate for rate in first])
    assert first[0] == 0.01
    assert first[-1] < 1e-4


def test_a_cosine_schedule_begins_again_with_the_next_fit():
    recorder = Recorder()
    net = fitted(schedule="cosine", callbacks=[recorder])
    net.partial_fit(Split(ROWS))
    assert recorder.rates[4:] == recorder.rates[:4]
    assert len(net.history) == 8


def test_the_constant_schedule_stays():
    recorder = Recorder()
    fitted(schedule="constant", callbacks=[recorder])
    assert recorder.rates == [(0.01, 0.03)] * 4


# History


KEPT = {"epoch", "dur", *(f"{prefix}_{name}" for prefix in ("train", "valid") for name in ("batch_count", "loss_best"))}


def test_the_history_has_a_column_for_each_term():
    history = fitted(OTHERS).history
    own = {"reconstruction", "size", "value", "train_loss"}
    watched = {"valid_reconstruction", "valid_size", "valid_loss"}
    assert set(history[-1]) - {"batches"} == own | watched | KEPT
    assert history[:, "epoch"] == [1, 2, 3, 4]
    assert history[:, "train_batch_count"] == [4] * 4


def test_a_loss_is_the_weighted_sum_of_the_terms_of_the_first_phase():
    for epoch in fitted(OTHERS).history:
        assert epoch["train_loss"] == pytest.approx(epoch["reconstruction"] + 0.1 * epoch["size"])
        assert epoch["valid_loss"] == pytest.approx(epoch["valid_reconstruction"] + 0.1 * epoch["valid_size"])


def test_the_terms_of_an_epoch_are_those_before_each_step():
    net = net_of(batch_size=N)
    expected = AUTOENCODER.evaluate(net.module_, ROWS.columns)
    net.partial_fit(Split(ROWS))
    assert net.history[0, "train_loss"] == pytest.approx(expected.loss.item())
    assert net.history[0, "reconstruction"] == pytest.approx(expected.terms["reconstruction"].item())


@pytest.mark.parametrize("chunk", [3, 1024])
def test_the_validation_loss_is_that_of_the_watched_rows_after_the_epoch(chunk, monkeypatch):
    monkeypatch.setattr(net_module, "CHUNK", chunk)
    net = fitted(OTHERS)
    expected = AUTOENCODER.evaluate(net.module_, OTHERS.columns).loss.item()
    assert net.history[-1, "valid_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("noisy", [{"dropout": 0.5}, {"corruption": Masking(0.5)}], ids=["dropout", "mask"])
def test_rows_are_watched_without_the_noise_of_training(noisy):
    net = fitted(OTHERS, **noisy)
    expected = AUTOENCODER.evaluate(net.module_.eval(), OTHERS.columns).loss.item()
    assert net.history[-1, "valid_loss"] == pytest.approx(expected)


def test_watching_rows_changes_nothing():
    settings = {"Code": GaussianCode, "dropout": 0.2}
    assert equal(fitted(**settings), fitted(OTHERS, **settings))


def test_the_draws_for_watched_rows_are_the_same_in_every_epoch():
    rates = {"autoencoder": {"lr": 1e-30}, "discriminator": {"lr": 1e-30}}  # nothing moves
    net = fitted(OTHERS, Code=GaussianCode, optimizers=rates)
    assert len(set(net.history[:, "valid_loss"])) == 1
    assert len(set(net.history[:, "train_loss"])) == 4


# Seeds


@pytest.mark.parametrize(
    "settings", [{}, {"Code": GaussianCode}, {"dropout": 0.3}, {"corruption": Masking(0.3)}], ids=str
)
def test_a_fit_depends_on_its_seed_only(settings):
    torch.manual_seed(0)
    first = fitted(seed=3, **settings)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    again, other = fitted(seed=3, **settings), fitted(seed=4, **settings)
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())
    assert equal(first, again)
    assert not equal(first, other)


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
    assert AUTOENCODER.evaluate(net.module_, OTHERS.columns).loss.item() == pytest.approx(min(losses))
    assert losses[-1] > min(losses)


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


# Persistence


def test_a_pickled_net_goes_on_as_the_original_does():
    net = fitted(Code=GaussianCode)
    for copy in (pickle.loads(pickle.dumps(net)), deepcopy(net)):
        original = deepcopy(net)
        assert equal(copy, net)
        assert copy.history == net.history
        for continued in (copy, original):
            continued.partial_fit(Split(ROWS))
        assert equal(copy, original)
        assert not equal(copy, net)
        for optimizer, phase in [(copy.optimizer_, AUTOENCODER), (copy.discriminator_optimizer_, DISCRIMINATOR)]:
            own = phase.parameters(copy.module_).values()
            assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], own, strict=True))


def test_a_net_says_what_it_does():
    assert repr(net_of()) == "AutoencoderNet(phases=['autoencoder', 'discriminator'], device='cpu')"


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
    few, many = (count_of_host_reads(monkeypatch, batch_size=size, max_epochs=6) for size in (10, 2))
    assert few == many
    longer = count_of_host_reads(monkeypatch, batch_size=10, max_epochs=12)
    assert 0 < longer - few <= 6 * 2  # training and watched rows


# Without training


@pytest.mark.parametrize("n", [1, 7, 20])
@pytest.mark.parametrize("chunk", [4, 1024])
def test_what_is_applied_in_chunks_is_what_is_applied_at_once(n, chunk, monkeypatch):
    monkeypatch.setattr(net_module, "CHUNK", chunk)
    net = net_of(dropout=0.5)
    found = net.apply(lambda module, batch: module.encode(batch.x), Rows(Batch(X[:n])))
    assert found == pytest.approx(net.module_.eval().encode(X[:n]).detach().numpy(), rel=1e-12)
    assert found.shape == (n, K)


@pytest.mark.parametrize(
    ("n_columns", "hidden", "expected"),
    [(10, 64, 65_536), (256, 256, 65_536), (512, 64, 32_768), (100_000, 64, 167), (10, 4096, 4096), (1 << 25, 8, 1)],
)
def test_a_chunk_on_a_gpu_has_fewer_rows_where_they_are_wide(n_columns, hidden, expected):
    layers = torch.nn.Sequential(Linear(n_columns, 2)) if n_columns < 1000 else torch.nn.Identity()
    module = SimpleNamespace(encoder=layers, decoder=torch.nn.Sequential(Linear(2, hidden)))
    assert device_chunk_size(SimpleNamespace(n_cells=n_columns), module) == expected
