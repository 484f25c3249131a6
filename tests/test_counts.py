"""Columns begin at their own means: counts from 0.01 to a million, rare truth values, skewed shares, raw numbers."""

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.tables.frames import frame_container
from tests.families import SMALL, families

MEANS = np.array([0.01, 1.0, 30.0, 1024.0, 1e6])
FACTOR = 1.5  # between the mean of a column, and that of its restored rows
SAMPLED = 2.0  # ... and that of its samples


def counts(n, seed, dispersions=(1e-9, 0.5)):
    """A column of each mean and dispersion, (n, 10); no row tells of another."""
    random = np.random.default_rng(seed)
    columns = [random.negative_binomial(1 / a, 1 / (1 + a * m), n) for m in MEANS for a in dispersions]
    return np.stack(columns, 1).astype(float)


def log_likelihood_at_the_means(X, likelihood):
    """The mean log-likelihood of a row, in nats, under columns of its own mean (and variance)."""
    mean, variance = np.maximum(X.mean(0), 1e-6), X.var(0)
    if likelihood == "poisson":
        return stats.poisson.logpmf(X, mean).sum(1).mean()
    size = mean**2 / np.maximum(variance - mean, 1e-9 * mean**2)
    return stats.nbinom.logpmf(X, size, size / (size + mean)).sum(1).mean()


def ratio(found, expected, rare=0.02):
    """How far means are apart, as a factor; rates below ``rare`` count as that."""
    found, expected = np.maximum(found, rare), np.maximum(expected, rare)
    return np.maximum(found / expected, expected / found).max()


def check(family, likelihood, X, seed):
    model = family(4, likelihood=likelihood, random_state=seed).fit(X)
    restored = model.inverse_transform(model.transform(X))
    assert ratio(restored.mean(0), X.mean(0)) < FACTOR
    assert ratio(model.sample(4000, random_state=0).mean(0), X.mean(0)) < SAMPLED
    assert model.score_samples(X).mean() > log_likelihood_at_the_means(X, likelihood) - 0.5


@families
@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_few_rows_of_counts_of_all_sizes_are_learned(family, likelihood, seed):
    # Samples of a likelihood that is right: a Poisson distribution can't be what a million of dispersion .5 is.
    check(family, likelihood, counts(20, seed, (1e-9,) if likelihood == "poisson" else (1e-9, 0.5)), seed)


@pytest.mark.slow
@families
@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("seed", range(3))
def test_many_rows_of_counts_of_all_sizes_are_learned(family, likelihood, seed):
    check(family, likelihood, counts(2000, seed, (1e-9,) if likelihood == "poisson" else (1e-9, 0.5)), seed)


@families
def test_counts_that_vary_too_much_for_their_likelihood_swamp_no_other_column(family):
    X = counts(200, 0)
    model = family(4, likelihood="poisson", random_state=0).fit(X)
    assert ratio(model.inverse_transform(model.transform(X)).mean(0), X.mean(0)) < FACTOR


def mixed(n, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "rare": random.random(n) < 0.02,
            "even": random.random(n) < 0.5,
            "kind": random.choice(list("abcd"), n, p=[0.9, 0.07, 0.02, 0.01]),
            "number": random.normal(5.0, 2.0, n),
            "visits": random.poisson(0.05, n).astype(float),
            "cells": random.poisson(1e6, n).astype(float),
        }
    )


LIKELIHOODS = {"visits": "negative_binomial", "cells": "poisson"}


@families
def test_all_columns_of_a_table_begin_at_their_weighted_means(family):
    X, weight = mixed(400), np.random.default_rng(1).integers(0, 4, 400).astype(float)
    X.loc[::3, ["visits", "cells"]] = None
    settings = {"learning_rate": 1e-9, "max_iter": 1, "random_state": 0, "likelihood": LIKELIHOODS, "min_frequency": 1}
    model = family(2, **settings).fit(X, sample_weight=weight)
    likelihood = model.module_.likelihood
    output = model.module_.decoder(model.module_.encode(*encoded(model, X)))
    number, rare, even, cells, visits, *kinds = means_of(likelihood, output)
    for name, expected in {"rare": rare, "even": even, "visits": visits, "cells": cells}.items():
        known = X[name].notna()
        assert ratio(expected, np.average(X.loc[known, name].astype(float), weights=weight[known]), 1e-3) < FACTOR
    shares = [np.average(X["kind"] == letter, weights=weight) for letter in "abcd"]
    assert ratio(np.sort(kinds), np.sort(shares), 1e-3) < FACTOR


def encoded(model, X):
    encoding = model.model_.encoding
    source = encoding.schema.source(frame_container(X), "ignore")
    x, observed = encoding.encode(source, next(model.module_.parameters()).dtype, model.device_)
    return x, observed.to(x.dtype)


def means_of(likelihood, output):
    """Return the mean of each column, and of the categories the mean of each of their probabilities."""
    parts = zip(likelihood.parts, output.split(likelihood.output_widths, 1), strict=True)
    means = [(part.link if type(part).__name__ == "Categorical" else part.estimate)(out).mean(0) for part, out in parts]
    return np.concatenate([mean.detach().numpy() for mean in means])


@families
def test_rare_truth_values_and_skewed_categories_are_learned(family):
    X = mixed(600)
    model = family(2, likelihood=LIKELIHOODS, max_iter=40, random_state=0).fit(X)
    codes = model.transform(X)
    restored = model.inverse_transform(codes)
    assert ratio(restored["cells"].mean(), X["cells"].mean()) < 1.01
    assert ratio(restored["visits"].mean(), X["visits"].mean()) < SAMPLED
    assert (restored["kind"] == "a").mean() == pytest.approx(0.9, abs=0.11)
    assert restored["rare"].mean() <= 0.04
    assert np.corrcoef(restored["number"], X["number"])[0, 1] > 0.1  # counts of a million do not hide it


@families
@pytest.mark.parametrize("n", [20, 300])
def test_numbers_that_are_not_scaled_begin_at_their_means(family, n):
    X = np.random.default_rng(0).normal([1e4, -3.0, 0.5], [3.0, 1.0, 0.1], (n, 3))
    model = family(2, scale=False, random_state=0).fit(X)
    restored = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(restored.mean(0), X.mean(0), atol=0.5)
    np.testing.assert_allclose(model.sample(2000, random_state=0).mean(0), X.mean(0), atol=1.5)


@families
def test_a_missing_count_is_like_the_mean(family):
    X = counts(40, 0)[:, -2:]
    module = family(likelihood="poisson", **SMALL).fit(X).module_
    rows = torch.from_numpy(X)
    observed = torch.ones_like(rows)
    observed[:, 0] = 0
    as_the_mean = torch.where(observed > 0, rows, rows.mean(0))
    torch.testing.assert_close(module.encode(rows * observed, observed), module.encode(as_the_mean))


def test_masked_counts_are_encoded_as_the_mean_while_training():
    X = counts(40, 0)[:, -2:]
    model = RegularizedAutoencoder(2, likelihood="poisson", corruption_level=0.5, max_iter=30, random_state=0).fit(X)
    assert ratio(model.inverse_transform(model.transform(X)).mean(0), X.mean(0)) < FACTOR


@families
def test_a_stack_begins_where_each_of_its_models_would_alone(family):
    X = mixed(90)
    halves = [X.iloc[:60].reset_index(drop=True), X.iloc[30:].reset_index(drop=True)]

    def fitted(rows):
        return family(likelihood=LIKELIHOODS, min_frequency=1, **SMALL).fit(rows)

    with joblib.parallel_config(backend="sklearn_ae", n_jobs=2):
        stacked = joblib.Parallel()(joblib.delayed(fitted)(rows) for rows in halves)
    for rows, model in zip(halves, stacked, strict=True):
        np.testing.assert_allclose(model.score_samples(rows), fitted(rows).score_samples(rows), rtol=1e-4)
        assert model.module_.likelihood.parts[-3].mean.item() == pytest.approx(rows["cells"].mean(), rel=1e-6)


@families
def test_a_fit_that_goes_on_keeps_where_it_began(family):
    X = counts(40, 0)
    model = family(likelihood="negative_binomial", **SMALL).fit(X)
    before = model.module_.likelihood.mean.clone()
    model.partial_fit(X * 3)
    assert (model.module_.likelihood.mean == before).all()
    assert np.isfinite(model.score_samples(X * 3)).all()
