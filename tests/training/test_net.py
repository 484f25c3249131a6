"""The skorch net: optimizers, schedules, seeds and pickles."""

import pickle
from copy import deepcopy
from math import cos, pi

import pytest
import torch

from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.modules.noise import Masking
from sklearn_ae.objectives.terms import Batch, l2
from sklearn_ae.training import step as step_module
from sklearn_ae.training.adam import Adam
from sklearn_ae.training.loop import Split
from sklearn_ae.training.phases import Phase
from tests.training.nets import (
    AUTOENCODER,
    DISCRIMINATOR,
    RATES,
    ROWS,
    N,
    Recorder,
    X,
    equal,
    fitted,
    net_of,
)

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
    phases = (AUTOENCODER, Phase("encoder", ("encoder", "bottleneck"), {"size": l2}))
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
