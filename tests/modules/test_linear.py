"""The linear path beside the hidden layers."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine, make_regression
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.modules import linear
from sklearn_ae.modules.linear import Components
from tests.families import FAMILIES, tiny

RANDOM = np.random.RandomState(0)
POINTS = [RegularizedAutoencoder, AdversarialAutoencoder]


def components_of(rows, k, weight=None):
    weight = np.ones(len(rows)) if weight is None else weight
    return Components.of(torch.from_numpy(rows), torch.from_numpy(weight), k)


def standardised_wine():
    return StandardScaler().fit_transform(load_wine().data)


def started(family, k, X, **settings):
    """Return a fit that is still where it began."""
    return family(k, learning_rate=1e-14, max_iter=1, random_state=0, early_stopping=False, **settings).fit(X)


@pytest.mark.parametrize("shape", [(50, 4), (6, 30)], ids=["tall", "wide"])
@pytest.mark.parametrize("largest", [0, linear.LARGE], ids=["randomized", "exact"])
def test_components_are_those_of_pca(shape, largest, monkeypatch):
    monkeypatch.setattr(linear, "LARGE", largest)
    rows = RANDOM.normal(size=shape) @ np.diag(0.9 ** np.arange(shape[1])) + 3
    components, pca = components_of(rows, 3), PCA(3).fit(rows)
    assert np.allclose(components.mean, pca.mean_)
    assert np.allclose(np.abs(components.axes.numpy() @ pca.components_.T), np.eye(3), atol=1e-8)
    assert np.allclose(components.variance, pca.explained_variance_ * (len(rows) - 1) / len(rows))
    left = np.square(rows - rows.mean(0)).sum() / len(rows) - components.variance.numpy().sum()
    assert np.isclose(components.noise, left / (shape[1] - 3))


def test_axes_have_a_sign_and_all_directions_leave_no_other_noise():
    rows = RANDOM.normal(size=(40, 3)) * [1.0, 2.0, 3.0]
    for signs in ([1, 1, 1], [-1, -1, 1]):
        axes = components_of(rows * signs, 3).axes.numpy()
        assert (np.take_along_axis(axes, np.abs(axes).argmax(1)[:, np.newaxis], 1) > 0).all()
    components = components_of(rows, 3)
    assert components.noise == components.variance[-1]


def test_a_weight_of_two_is_a_row_twice():
    rows = RANDOM.normal(size=(20, 5))
    weighted, repeated = components_of(rows, 2, np.arange(20.0)), components_of(np.repeat(rows, range(20), 0), 2)
    assert torch.allclose(weighted.mean, repeated.mean)
    assert torch.allclose(weighted.axes, repeated.axes)
    assert np.isclose(weighted.noise, repeated.noise)


def test_directions_without_variance_are_left_out():
    rows = np.outer(RANDOM.normal(size=30), [1.0, 2.0, 0.0])
    assert components_of(rows, 3).axes.shape == (1, 3)
    assert components_of(np.ones((4, 3)), 2).axes.shape == (0, 3)


@pytest.mark.parametrize("family", POINTS)
@pytest.mark.parametrize("hidden", [(128, 64), ()], ids=["network", "linear"])
def test_training_starts_at_pca(family, hidden):
    X, pca = standardised_wine(), PCA(4)
    expected = pca.inverse_transform(pca.fit_transform(X))
    fitted = started(family, 4, X, hidden_layer_sizes=hidden)
    assert np.allclose(fitted.inverse_transform(fitted.transform(X)), expected, atol=1e-5)
    assert np.allclose(fitted.transform(X).std(axis=0), 1, atol=1e-5)


def test_the_variational_family_starts_at_probabilistic_pca():
    X = standardised_wine()
    fitted, pca = started(VariationalAutoencoder, 4, X), PCA(4).fit(X)
    n = len(X)
    noise = pca.noise_variance_ * (n - 1) / n
    variance = pca.explained_variance_ * (n - 1) / n
    restored = (X @ pca.components_.T * (1 - noise / variance)) @ pca.components_
    assert np.allclose(fitted.inverse_transform(fitted.transform(X)), restored, atol=1e-5)
    with torch.no_grad():
        module = fitted.module_
        log_var = module.bottleneck.log_var(module.encoder(torch.from_numpy(X).to(next(module.parameters()))))
    assert np.allclose(log_var.exp(), noise / variance, rtol=1e-4)


@pytest.mark.parametrize("family", POINTS)
def test_weights_of_columns_count(family):
    X, weight = standardised_wine(), np.r_[np.zeros(3), np.ones(9), 25.0]
    scaled, pca = X * np.sqrt(weight), PCA(3)
    expected = pca.inverse_transform(pca.fit_transform(scaled))[:, 3:] / np.sqrt(weight[3:])
    fitted = started(family, 3, X, column_weight=weight)
    restored = fitted.inverse_transform(fitted.transform(X))
    assert np.allclose(restored[:, 3:], expected, atol=1e-5)
    assert np.allclose(restored[:, :3], 0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_path_is_learned_beside_it(family):
    X = standardised_wine()
    start, fitted = started(family, 2, X), family(2, max_iter=60, random_state=0).fit(X)
    assert fitted.score(X) > start.score(X)


@pytest.mark.parametrize("family", FAMILIES)
def test_auto_is_for_fits_without_y(family):
    X, y = make_regression(60, 3, random_state=0)
    assert not tiny(family, n_components=3).fit(X).module_.has_linear_path  # it would start at the identity
    assert tiny(family).fit(X).module_.has_linear_path
    assert not tiny(family, task="regression").fit(X, y).module_.has_linear_path
    assert tiny(family, task="regression", linear_path=True).fit(X, y).module_.has_linear_path
    assert not tiny(family, linear_path=False).fit(X).module_.has_linear_path


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [np.ones((6, 3)), RANDOM.normal(size=(2, 3)), RANDOM.normal(size=(30, 3))])
def test_more_dimensions_than_components(family, rows):
    fitted = tiny(family, n_components=5, max_iter=3).fit(rows)
    assert np.isfinite(fitted.score(rows))
    assert fitted.module_.bottleneck.location.weight.abs().amax(1).gt(0).all()  # none is unused for good


def test_standardised_columns_of_a_mixed_table_start_at_the_components():
    pd = pytest.importorskip("pandas")
    x = RANDOM.normal(size=200)
    table = pd.DataFrame({"kind": np.where(x > 0, "a", "b"), "x": x, "y": 2 * x + 0.1 * RANDOM.normal(size=200)})
    fitted = started(RegularizedAutoencoder, 1, table)
    assert fitted.inverse_transform(fitted.transform(table))["x"].corr(table["x"]) > 0.99
    assert abs(fitted.transform(table).mean()) < 1e-5  # one-hot inputs have a mean


def test_a_table_without_standardised_columns_has_the_path_but_not_the_start():
    rows = (RANDOM.normal(size=(50, 6)) > 0).astype(float)
    module = started(VariationalAutoencoder, 2, rows, likelihood="bernoulli").module_
    assert module.has_linear_path
    assert module.bottleneck.location.weight[:, :-6].abs().mean() > 1e-3


def test_missing_cells_and_counts():
    X = RANDOM.poisson(3, size=(40, 4)).astype(float)
    X[::5, 1] = np.nan
    assert np.isfinite(tiny(likelihood={0: "poisson", 2: "negative_binomial"}).fit(X).score(X))
