"""The transformer that fills missing cells."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ae import AutoencoderImputer, RegularizedAutoencoder

SHORT = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 5}


def imputer(**settings):
    return AutoencoderImputer(RegularizedAutoencoder(**SHORT, corruption_level=0.3), **{"random_state": 0} | settings)


def table(n=60):
    random = np.random.RandomState(0)
    x = random.normal(size=n)
    X = pd.DataFrame({"a": x, "b": 2 * x, "kind": np.where(x > 0, "plus", "minus"), "n": random.randint(0, 5, n)})
    return X.mask(np.column_stack([random.uniform(size=(n, 3)) < 0.2, np.zeros(n, dtype=bool)])).astype({"n": "int32"})


@parametrize_with_checks([imputer()])
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def test_it_fills_what_its_autoencoder_imputes():
    X = table()
    fitted = imputer().fit(X)
    filled = fitted.transform(X)
    assert filled.equals(fitted.estimator_.impute(X))
    assert filled.equals(RegularizedAutoencoder(**SHORT, corruption_level=0.3, random_state=0).fit(X).impute(X))
    assert filled.isna().sum().sum() == 0
    assert filled.dtypes.equals(X.dtypes)
    assert (filled.where(X.notna()) == X).where(X.notna(), True).all().all()


def test_by_default_it_learns_with_cells_hidden():
    X = table()
    fitted = AutoencoderImputer(random_state=0).fit(X)
    assert fitted.estimator_.corruption_level > 0
    assert fitted.transform(X).isna().sum().sum() == 0
    rows = np.random.default_rng(0).normal(size=(200, 9))
    assert "valid_loss" not in AutoencoderImputer(random_state=0).fit(rows).estimator_.history_  # learns from all rows


def test_it_keeps_the_seed_of_its_estimator():
    X = table()
    own = RegularizedAutoencoder(**SHORT, random_state=7)
    assert AutoencoderImputer(own, random_state=0).fit(X).transform(X).equals(own.fit(X).impute(X))


def test_its_draws_differ_and_repeat():
    X = table()
    first, second, again = (imputer(sample_posterior=True, random_state=seed).fit_transform(X) for seed in (0, 1, 0))
    assert first.equals(again)
    assert not first.equals(second)
    assert first.isna().sum().sum() == 0


def test_it_stands_in_pipelines_and_searches():
    X, y = table(), np.arange(60) % 2
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    pipeline = make_pipeline(imputer(), encoder, RandomForestClassifier(10, random_state=0))
    assert 0 <= cross_val_score(pipeline, X, y, cv=3).mean() <= 1
    grid = {"autoencoderimputer__estimator__corruption_level": [0.1, 0.5]}
    assert GridSearchCV(pipeline, grid, cv=3).fit(X, y).best_params_


def test_the_names_of_its_columns_are_those_of_the_table():
    X = table()
    fitted = imputer().fit(X)
    assert list(fitted.get_feature_names_out()) == list(X.columns)
    assert list(fitted.feature_names_in_) == list(X.columns)
    assert fitted.n_features_in_ == 4


@pytest.mark.parametrize("wrong", [table()[["b", "a", "kind", "n"]], table().drop(columns="a")])
def test_other_columns_are_refused(wrong):
    with pytest.raises(ValueError, match="feature"):
        imputer().fit(table()).transform(wrong)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"estimator": 3}, "estimator must be an autoencoder or None, got 3"),
        ({"estimator": RegularizedAutoencoder}, "estimator must be an autoencoder or None"),
        ({"estimator": RandomForestClassifier()}, "estimator must be an autoencoder or None, got RandomForest"),
        ({"sample_posterior": "yes"}, "sample_posterior must be a bool, got 'yes'"),
        ({"random_state": "seed"}, "random_state must be a seed, a RandomState or None, got 'seed'"),
    ],
)
def test_its_parameters_are_checked_by_name(settings, match):
    wrong = imputer().set_params(**settings)
    with pytest.raises((TypeError, ValueError), match=match):
        wrong.fit(table())
    assert not hasattr(wrong, "estimator_")
