"""Small nets with two phases, and callbacks that record what they are given."""

import torch
from skorch.callbacks import Callback

from sklearn_ae.likelihoods.gaussian import UnitGaussian
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.modules.codes import PointCode
from sklearn_ae.modules.mlp import Linear, draw_weights, hidden_layers, mlp
from sklearn_ae.objectives.terms import Batch, l2, reconstruction
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.loop import Split
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.phases import Phase

N, D, K = 20, 4, 2
X = torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
ROWS, OTHERS = Rows(Batch(X)), Rows(Batch(X[:7] + 0.5))


def judgement(module, batch, trace):
    """What a second player minimises."""
    return (trace["logits"] - 1).square().sum(-1)


AUTOENCODER = Phase(
    "autoencoder", ("encoder", "bottleneck", "decoder"), {"reconstruction": reconstruction, "size": l2}, {"size": 0.1}
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
