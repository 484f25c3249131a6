"""The autoencoder as a torch module, and the lazy trace of one pass."""

import pytest
import torch

from sklearn_ae.likelihoods.bernoulli import Bernoulli
from sklearn_ae.likelihoods.gaussian import UnitGaussian
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.modules.codes import GaussianCode, PointCode
from sklearn_ae.modules.mlp import Linear, draw_weights, hidden_layers, mlp
from sklearn_ae.modules.noise import GaussianNoise, Masking

N, D, K = 6, 4, 2
X = torch.randn(N, D, generator=torch.Generator().manual_seed(1))


def autoencoder(Code=PointCode, likelihood=None, **parts):
    module = Autoencoder(
        hidden_layers([D, 5], "tanh"), Code(5, K), mlp([K, 5, D], "tanh"), likelihood or UnitGaussian(D), **parts
    )
    draw_weights(module, torch.Generator().manual_seed(0))
    return module


def counted(module, **submodules):
    """Count how often submodules run."""
    runs = dict.fromkeys(submodules, 0)

    def count(name):
        def hook(*_):
            runs[name] += 1

        return hook

    for name, submodule in submodules.items():
        submodule.register_forward_hook(count(name))
    return runs


@pytest.mark.parametrize(
    ("asked", "encoder", "decoder", "head"),
    [
        ((), 0, 0, 0),
        (("features",), 1, 0, 0),
        (("mean",), 1, 0, 0),
        (("code",), 1, 0, 0),
        (("logits",), 1, 0, 1),
        (("output",), 1, 1, 0),
        (("output", "code", "mean", "logits", "output", "logits"), 1, 1, 1),
    ],
    ids=str,
)
def test_a_trace_computes_what_is_asked_for_and_that_once(asked, encoder, decoder, head):
    module = autoencoder(head=Linear(K, 3))
    runs = counted(module, encoder=module.encoder, decoder=module.decoder, head=module.head)
    trace = Trace(module, X)
    for name in asked:
        trace[name]
    assert runs == {"encoder": encoder, "decoder": decoder, "head": head}


def test_asking_a_trace_twice_gives_the_same_draw():
    module = autoencoder(GaussianCode)
    with noise.drawn(torch.Generator().manual_seed(0)):
        trace = Trace(module, X)
        assert trace["code"] is trace["code"]
        assert torch.equal(trace["output"], module.decoder(trace["code"]))
        assert not torch.equal(trace["code"], Trace(module, X)["code"])


def test_what_a_trace_does_not_know_raises_its_name():
    with pytest.raises(KeyError, match="nonsense"):
        Trace(autoencoder(), X)["nonsense"]


def test_a_trace_holds_the_rows_and_what_the_module_makes_of_them():
    module = autoencoder(head=Linear(K, 3))
    trace = Trace(module, X)
    code = module.bottleneck.location(module.encoder(X))
    assert trace["x"] is X
    assert torch.equal(trace["code"], code)
    assert torch.equal(trace["output"], module.decoder(code))
    assert torch.equal(trace["logits"], module.head(code))


@pytest.mark.parametrize("columns", [UnitGaussian(D), Bernoulli(D)])
@pytest.mark.parametrize("Code", [PointCode, GaussianCode])
def test_encode_is_the_mean_and_decode_goes_through_the_link(Code, columns):
    module = autoencoder(Code, columns)
    code = module.bottleneck.location(module.encoder(X))
    assert torch.equal(module.encode(X), code)
    assert torch.equal(module.decode(code), columns.link(module.decoder(code)))
    assert torch.equal(module(X), module.decode(code))


def test_predict_is_the_head_at_the_mean_of_the_code():
    module = autoencoder(GaussianCode, head=Linear(K, 3))
    assert torch.equal(module.predict(X), module.head(module.encode(X)))


def test_predicting_without_a_head_raises():
    with pytest.raises(ValueError, match="no head"):
        autoencoder().predict(X)


@pytest.mark.parametrize("corruption", [Masking(0.5), GaussianNoise(0.5, D)])
@pytest.mark.parametrize("head", [None, Linear(K, 3)], ids=["rows", "target"])
def test_rows_are_corrupted_before_they_are_encoded(corruption, head):
    module = autoencoder(corruption=corruption, head=head)
    with noise.drawn(torch.Generator().manual_seed(0)):
        trace = Trace(module, X)
        features = trace["features"]
    with noise.drawn(torch.Generator().manual_seed(0)):
        assert torch.equal(features, module.encoder(corruption(X)[0]))
    assert torch.equal(trace["x"], X)
    assert not torch.equal(features, module.encoder(X))
    module.eval()
    with noise.drawn(torch.Generator().manual_seed(0)):
        validation = Trace(module, X)["features"]
    assert torch.equal(validation, features if head is None else module.encoder(X))  # predictions are for clean rows


def test_encode_never_corrupts():
    module = autoencoder(corruption=Masking(0.5))
    assert module.training
    assert torch.equal(module.encode(X), module.bottleneck.location(module.encoder(X)))


def test_without_corruption_nothing_stands_in_front():
    assert autoencoder().corruption is None
