"""How many code dimensions: the summary of the code, and the warning about a collapsed one."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.model.collapse import are_correlated
from tests.families import families, tiny

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3)) @ RANDOM.normal(size=(3, 6)) + 0.1 * RANDOM.normal(size=(120, 6))
NOISE = RANDOM.normal(size=(120, 6))
COLUMNS = ["mean", "std", "share", "divergence", "active"]


def linear_encoder(estimator, components):
    """Replace the module of a fitted linear autoencoder by orthogonal projections."""
    module = estimator.module_
    components = torch.as_tensor(np.asarray(components), dtype=next(module.parameters()).dtype)
    (decoder,) = (layer for layer in module.decoder.modules() if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        for layer, weight in ((module.bottleneck.location, components), (decoder, components.T)):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    return estimator


@families
def test_the_summary_has_a_row_for_each_dimension(family):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "word": np.where(X[:, 0] > 0, "yes", "no")})
    frame.loc[3, ["a", "word"]] = np.nan
    estimator = tiny(family).set_output(transform="pandas").fit(frame)
    summary = estimator.latent_summary(frame)
    assert list(summary.columns) == COLUMNS
    assert list(summary.index) == list(estimator.get_feature_names_out())
    codes = estimator.transform(frame)
    np.testing.assert_allclose(summary["mean"], codes.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(summary["std"], codes.std(ddof=0), rtol=1e-5)
    assert summary["active"].dtype == bool
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(estimator)).latent_summary(frame), summary)


@families
def test_the_summary_is_that_of_the_best_member(family):
    estimator = tiny(family, n_members=2).fit(X)
    np.testing.assert_allclose(estimator.latent_summary(X)["std"], estimator.transform(X).std(0), rtol=1e-5)


def test_shares_of_a_projection_are_those_of_pca():
    standard = (X - X.mean(0)) / X.std(0)
    pca = PCA(3).fit(standard)
    estimator = tiny(n_components=3, hidden_layer_sizes=(), max_iter=1).fit(X)
    summary = linear_encoder(estimator, pca.components_).latent_summary(X)
    np.testing.assert_allclose(
        summary["share"], pca.explained_variance_ratio_ / pca.explained_variance_ratio_.sum(), rtol=1e-4
    )
    np.testing.assert_allclose(summary["std"], np.sqrt(pca.explained_variance_ * 119 / 120), rtol=1e-4)


def test_a_constant_dimension_of_points_has_no_share_and_is_not_active():
    estimator = tiny(n_components=3, hidden_layer_sizes=(), max_iter=1).fit(X)
    summary = linear_encoder(estimator, [[1.0, 0, 0, 0, 0, 0], [0] * 6, [0, 0.005, 0, 0, 0, 0]]).latent_summary(X)
    assert list(summary["active"]) == [True, False, False]
    assert summary["share"].iloc[1] == pytest.approx(0, abs=1e-6)


def test_a_code_that_explains_nothing_has_no_shares():
    estimator = tiny(n_components=2, hidden_layer_sizes=(), max_iter=1).fit(X)
    summary = linear_encoder(estimator, np.zeros((2, 6))).latent_summary(X)
    assert list(summary["share"]) == [0, 0]
    assert not summary["active"].any()


def test_the_divergence_is_the_closed_form():
    estimator = tiny(VariationalAutoencoder, precision="float64").fit(X)
    rows = torch.as_tensor((X - X.mean(0)) / X.std(0))
    with torch.no_grad():
        features = estimator.module_.encoder(rows)
        mean, log_var = estimator.module_.bottleneck.mean(features), estimator.module_.bottleneck.log_var(features)
    expected = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).mean(0)
    np.testing.assert_allclose(estimator.latent_summary(X)["divergence"], expected, rtol=1e-6)


def test_points_have_no_divergence():
    for family in (RegularizedAutoencoder, AdversarialAutoencoder):
        assert tiny(family).fit(X).latent_summary(X)["divergence"].isna().all()


def test_useless_dimensions_of_a_variational_code_are_not_active():
    # A linear path starts with all principal components of the training rows, those of the noise as well.
    settings = {"n_components": 6, "hidden_layer_sizes": (32,), "max_iter": 1500, "linear_path": False}
    estimator = tiny(VariationalAutoencoder, **settings).fit(X)
    summary = estimator.latent_summary(X).sort_values("std")
    assert list(summary["active"]) == [False, False, False, True, True, True]
    assert (summary["divergence"][3:] > 1).all()
    assert (summary["divergence"][:3] < 0.1).all()
    assert summary["share"][3:].min() > 10 * summary["share"][:3].abs().max()


@families
def test_the_summary_needs_the_columns_of_the_fit(family):
    with pytest.raises(ValueError, match="features"):
        tiny(family).fit(X).latent_summary(X[:, :2])


# The warning


def test_a_collapsed_code_warns_and_names_the_way_out():
    with pytest.warns(UserWarning, match=r"code has collapsed.*Lower beta") as caught:
        tiny(VariationalAutoencoder, beta=100.0, max_iter=120, linear_path=False).fit(X)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (X, {"beta": 1.0, "max_iter": 120}),
        (X, {"beta": 100.0, "max_iter": 5}),  # not converged
        (NOISE, {"beta": 100.0, "max_iter": 120}),  # the code is rightly empty
        (X[:, :1], {"beta": 100.0, "max_iter": 120}),
    ],
)
def test_there_is_no_warning_where_it_means_nothing(rows, settings):
    tiny(VariationalAutoencoder, **settings).fit(rows)  # warnings are errors


def test_partial_fits_do_not_warn():
    estimator = tiny(VariationalAutoencoder, beta=100.0)
    for _ in range(120):
        estimator.partial_fit(X)


def test_the_warning_does_not_change_the_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collapsed = tiny(VariationalAutoencoder, beta=100.0, max_iter=120).fit(X)
    state = collapsed.model_.random.get_state()[1]
    other = tiny(VariationalAutoencoder, beta=1.0, max_iter=120).fit(X)
    np.testing.assert_array_equal(state, other.model_.random.get_state()[1])


def test_correlated_columns_are_told_from_independent_ones():
    heavy = RANDOM.standard_t(2, size=(300, 10))
    categories = RANDOM.integers(3, size=(300, 10)).astype(float)
    wide = RANDOM.normal(size=(30, 200))
    assert [are_correlated(rows) for rows in (NOISE, heavy, categories, wide, X[:, :1])] == [False] * 5
    assert are_correlated(X)
    assert are_correlated(np.column_stack([X, np.ones(len(X))]))
