"""What theory and scikit-learn say must come out."""

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Trace
from sklearn_ae.objectives import importance
from sklearn_ae.objectives.bounds import PRIORS, log_weights_by_draw
from sklearn_ae.objectives.losses import importance_weighted
from sklearn_ae.objectives.terms import Batch

LINEAR = {
    "early_stopping": False,
    "hidden_layer_sizes": (),
    "activation": "identity",
    "scale": False,
    "task": None,
    "random_state": 0,
}
DIGITS = load_digits().data / 16
BREAST_CANCER = StandardScaler().fit_transform(load_breast_cancer().data)
PROBABILISTIC_PCA = {2: -31.685, 3: -29.176, 5: -24.625, 8: -20.142}


def squared_error(model, X):
    return np.square(X - model.inverse_transform(model.transform(X))).sum(1).mean()


@pytest.mark.parametrize(
    ("X", "k", "known"),
    [
        (DIGITS, 2, 3.3553),
        (DIGITS, 3, 2.8017),
        (DIGITS, 5, 2.1356),
        (DIGITS, 8, 1.5304),
        (BREAST_CANCER, 2, 11.027),
        (BREAST_CANCER, 3, 8.2091),
        (BREAST_CANCER, 5, 4.5797),
        (BREAST_CANCER, 8, 2.2205),
    ],
    ids=lambda value: f"{value.shape[1]} columns" if isinstance(value, np.ndarray) else str(value),
)
def test_a_linear_autoencoder_reaches_pca_and_never_beats_it(X, k, known):
    X = X - X.mean(0)  # so that columns have both signs: restored rows keep the sign of a column
    model = RegularizedAutoencoder(k, penalty=None, learning_rate=3e-2, batch_size=128, max_iter=200, **LINEAR).fit(X)
    best = squared_error(PCA(k).fit(X), X)
    assert best == pytest.approx(known, rel=1e-4)
    assert best * (1 - 1e-9) <= squared_error(model, X) <= best * 1.002


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((2, -31.685), id="k=2"),
        pytest.param((3, -29.176), id="k=3", marks=pytest.mark.slow),
        pytest.param((5, -24.625), id="k=5", marks=pytest.mark.slow),
        pytest.param((8, -20.142), id="k=8", marks=pytest.mark.slow),
    ],
)
def linear_variational(request):
    k, known = request.param
    settings = {"learning_rate": 3e-2, "batch_size": len(BREAST_CANCER), "max_iter": 2000, "precision": "float64"}
    return VariationalAutoencoder(k, **settings, **LINEAR).fit(BREAST_CANCER), k, known


def test_a_linear_variational_autoencoder_is_probabilistic_pca(linear_variational, monkeypatch):
    """Lucas et al. (2019): its best bound is the best likelihood of probabilistic PCA."""
    model, k, known = linear_variational
    best = PCA(k).fit(BREAST_CANCER).score(BREAST_CANCER)
    assert best == pytest.approx(known, abs=1e-3)
    assert model.score_samples(BREAST_CANCER, tolerance=0.025).mean() == pytest.approx(best, abs=0.05)
    monkeypatch.setattr(importance, "DRAWS", 2048)  # as near to the model's own likelihood as one likes
    assert best - 0.05 <= model.score_samples(BREAST_CANCER, tolerance=0).mean() <= best + 1e-3


def test_more_draws_never_loosen_the_bound(linear_variational):
    """The same 50 draws of a row, in groups of 1, 5 and 50."""
    model, _, _ = linear_variational
    module, rows = model.module_.eval(), Batch(torch.from_numpy(BREAST_CANCER))
    module.bottleneck.n_draws, module.bottleneck.shared = 50, False
    trace = Trace(module, rows.x)
    with noise.drawn(torch.Generator().manual_seed(0)), torch.no_grad():
        log_weights = log_weights_by_draw(module, rows, trace, PRIORS["normal"])
    bounds = [-importance_weighted(log_weights.view(len(rows.x), -1, n)).mean().item() for n in (1, 5, 50)]
    assert bounds == sorted(bounds)
    score = model.score_samples(BREAST_CANCER, tolerance=0.025).mean()
    assert bounds[0] > score - 0.5
    assert bounds[2] == pytest.approx(score, abs=0.05)
    assert model.score(BREAST_CANCER) == pytest.approx(score, abs=0.25)


def test_weight_decay_shrinks_the_singular_directions_of_a_linear_autoencoder():
    """Kunin et al. (2019), theorem 2: the map is U (1 - lambda / s^2)_+ U' over the top directions."""
    random = np.random.RandomState(0)
    basis, _ = np.linalg.qr(random.normal(size=(6, 6)))
    X = random.normal(size=(200, 6)) * [5, 4, 3, 2, 1, 0.5] @ basis
    X -= X.mean(0)
    decay = 2.0
    settings = {"learning_rate": 1e-2, "batch_size": 200, "max_iter": 3000, "precision": "float64"}
    model = RegularizedAutoencoder(4, penalty=None, weight_decay=decay, **settings, **LINEAR).fit(X)
    _, s, Vt = np.linalg.svd(X, full_matrices=False)
    expected = np.maximum(0, 1 - len(X) * decay / s**2)[:4]
    zero = model.inverse_transform(model.transform(np.zeros((1, 6))))
    found = np.diag(Vt @ (model.inverse_transform(model.transform(Vt)) - zero).T)
    assert 0 < expected[-1] < 0.6 < expected[0]
    np.testing.assert_allclose(found[:4], expected, atol=5e-3)
    np.testing.assert_allclose(found[4:], 0, atol=5e-3)


@pytest.mark.parametrize(
    ("load", "scale", "k"),
    [pytest.param(load_digits, "common", 8, marks=pytest.mark.slow), (load_breast_cancer, True, 4)],
)
@pytest.mark.filterwarnings("ignore:.*rows have a standard error above tolerance:UserWarning")
def test_the_score_of_a_variational_autoencoder_is_as_near_as_is_asked_for(load, scale, k, monkeypatch):
    """Against the same integral with a hundred times the draws."""
    X = load().data
    model = VariationalAutoencoder(k, scale=scale, task=None, max_iter=60, random_state=0).fit(X)
    cheap = model.score_samples(X[:50])
    score, std = model.score_samples(X[:50], tolerance=0.025, return_std=True)
    monkeypatch.setattr(importance, "DRAWS", 2048)
    exact = model.score_samples(X[:50], tolerance=0)
    assert (std > 0.025).mean() < 0.1  # a row that is not done after all draws
    assert 0 < (exact - cheap).mean() < 0.6
    assert spearmanr(cheap, exact).statistic > 0.99
    assert np.quantile(np.abs(score - exact), 0.95) < 0.1
    assert np.abs(score - exact).max() < 0.2
    assert abs((score - exact).mean()) < 0.03


def held_out_auc(real, fake):
    """How well a fresh classifier tells two samples apart on rows that it has not seen."""
    half = len(real) // 2
    label = np.r_[np.ones(half), np.zeros(half)]
    judge = HistGradientBoostingClassifier(random_state=0).fit(np.r_[real[:half], fake[:half]], label)
    return roc_auc_score(label, judge.predict_proba(np.r_[real[half:], fake[half:]])[:, 1])


def gaussian(n, seed):
    return np.random.RandomState(seed).multivariate_normal([1, -2], [[1, 0.6], [0.6, 1]], size=n)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("discriminator", ["data", "latent"])
def test_the_game_ends_at_its_equilibrium(discriminator, seed):
    """V alone proves nothing, so a fresh classifier has a look as well."""
    settings = {"hidden_layer_sizes": (64, 64), "max_iter": 60, "task": None, "early_stopping": False}
    model = AdversarialAutoencoder(2, discriminator=discriminator, random_state=seed, **settings).fit(gaussian(4000, 2))
    assert model.history_["value"].iloc[-5:].mean() == pytest.approx(-np.log(4), abs=0.05)
    if discriminator == "data":
        real, fake = gaussian(4000, 3), model.inverse_transform(np.random.RandomState(0).normal(size=(4000, 2)))
    else:
        real, fake = np.random.RandomState(0).normal(size=(4000, 2)), model.transform(gaussian(4000, 3))
    assert held_out_auc(real, fake) <= 0.55


class KnownGenerator(Callback):
    """Put a generator of a known density, N(-1, 0.5), in the place of the decoder."""

    def on_train_begin(self, net, **kwargs):
        net.module_.decoder = torch.nn.Linear(1, 1)
        with torch.no_grad():
            net.module_.decoder.weight.fill_(0.5)
            net.module_.decoder.bias.fill_(-1.0)


def test_a_trained_discriminator_is_the_ratio_of_the_densities():
    """Goodfellow et al. (2014), proposition 1: D = p / (p + q) for a generator that stands still."""
    X = np.random.RandomState(0).normal(size=(20_000, 1))
    settings = {"hidden_layer_sizes": (32, 32), "activation": "tanh", "scale": False, "task": None, "batch_size": 500}
    model = AdversarialAutoencoder(
        1, gradient_penalty=0.0, max_iter=40, random_state=0, callbacks=[KnownGenerator()], **settings
    ).fit(X)
    grid = np.linspace(-1.5, 1.0, 11)
    p, q = norm.pdf(grid), norm.pdf(grid, -1.0, 0.5)
    np.testing.assert_allclose(model.discriminate(grid[:, None]), p / (p + q), atol=0.05)
