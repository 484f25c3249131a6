"""Kinds of input: what the rows, targets and weights may be, and what a call leaves alone."""

import hashlib
import json
import os
import random
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from tests.families import FAMILIES, families, tiny

slow = pytest.mark.slow
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)) * [1.0, 10.0, 0.1, 3.0] + [0.0, 5.0, -1.0, 100.0]
Y = np.arange(30) % 3
VALUES = (X - X.mean(0)) @ [1.0, -0.1, 0.0, 0.3]
NAMES = ["width", "height", "depth", "weight"]


def with_gaps(share=0.2, seed=1):
    rows = X.copy()
    rows[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return rows


# Types of numbers


@families
@dtypes
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_what_comes_out_has_the_type_that_went_in(family, dtype, batch_size):
    rows = X.astype(dtype)
    estimator = tiny(family, batch_size=batch_size).fit(rows, Y)
    methods = ["transform", "predict_proba", "predict_log_proba", "score_samples"]
    for method in methods + (["discriminate"] if family is AdversarialAutoencoder else []):
        assert getattr(estimator, method)(rows).dtype == dtype, method
    assert estimator.inverse_transform(estimator.transform(rows)).dtype == dtype
    assert tiny(family, batch_size=batch_size).fit_transform(rows, Y).dtype == dtype


@families
@pytest.mark.parametrize(("fitted_on", "asked"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_the_type_of_the_answer_is_that_of_the_question(family, fitted_on, asked):
    estimator = tiny(family).fit(X.astype(fitted_on), Y)
    assert estimator.transform(X.astype(asked)).dtype == asked
    other = estimator.transform(X.astype(fitted_on))
    np.testing.assert_allclose(estimator.transform(X.astype(asked)), other, rtol=1e-3, atol=1e-4)


@families
@pytest.mark.parametrize(
    ("dtype", "precision", "batch_size", "computed"),
    [
        (np.float64, "auto", "auto", torch.float64),
        (np.float64, "auto", 8, torch.float32),
        (np.float32, "auto", "auto", torch.float32),
        (np.float32, "float64", 8, torch.float64),
        (np.float64, "float32", "auto", torch.float32),
        (np.float64, "bfloat16", "auto", torch.float32),  # the weights; products are in bfloat16
    ],
)
def test_precision_says_in_what_type_is_computed(family, dtype, precision, batch_size, computed):
    estimator = tiny(family, precision=precision, batch_size=batch_size, device="cpu").fit(X.astype(dtype), Y)
    assert {parameter.dtype for parameter in estimator.module_.parameters()} == {computed}
    codes = estimator.transform(X.astype(dtype))
    assert codes.dtype == dtype
    assert np.isfinite(codes).all()


@families
@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, bool, np.float16, object])
def test_other_numbers_are_taken_as_float64(family, dtype):
    rows = np.arange(120).reshape(30, 4) % 7
    rows = rows.astype(dtype)
    codes = tiny(family).fit_transform(rows)
    assert codes.dtype == np.float64
    assert np.array_equal(codes, tiny(family).fit_transform(rows.astype(np.float64)))


# Containers


@families
def test_lists_are_tables(family):
    estimator = tiny(family).fit(X.tolist(), Y.tolist(), sample_weight=[1.0, 2.0, 3.0] * 10)
    same = tiny(family).fit(X, Y, sample_weight=np.array([1.0, 2.0, 3.0] * 10))
    assert np.array_equal(estimator.transform(X.tolist()), same.transform(X))
    assert np.array_equal(estimator.predict([X[0].tolist()]), same.predict(X[:1]))
    assert estimator.score(X.tolist(), Y.tolist()) == same.score(X, Y)


@families
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_numbers_is_a_table_with_names(family, library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(NAMES)})
    estimator = tiny(family).fit(frame, frames.Series(Y))
    assert list(estimator.feature_names_in_) == NAMES
    assert estimator.n_features_in_ == 4
    same = tiny(family).fit(X, Y)
    assert not hasattr(same, "feature_names_in_")
    codes = estimator.transform(frame)
    assert isinstance(codes, np.ndarray)
    np.testing.assert_allclose(codes, same.transform(X), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(frame[NAMES[::-1]])


@families
def test_a_refit_on_an_array_forgets_the_names(family):
    pd = pytest.importorskip("pandas")
    estimator = tiny(family).fit(pd.DataFrame(X, columns=NAMES)).fit(X)
    assert not hasattr(estimator, "feature_names_in_")
    estimator.transform(X)


@families
@pytest.mark.parametrize("kind", ["Float64", "Float32", "Int64", "boolean", "mixed"])
def test_nullable_columns_are_columns_with_gaps(family, kind):
    pd = pytest.importorskip("pandas")
    gaps = np.isnan(with_gaps())
    plain = pd.DataFrame((X.mean(0) < X).astype(float) if kind == "boolean" else np.round(20 * X), columns=NAMES)
    plain = plain.mask(gaps)
    types = dict(zip(NAMES, ["Float64", "Int64", "boolean", "float32"], strict=True)) if kind == "mixed" else kind
    if kind == "mixed":
        plain["depth"] = (plain["depth"] > plain["depth"].mean()).astype(float).mask(gaps[:, 2])
    nullable = plain.astype(types)
    estimator = tiny(family).fit(nullable)
    codes = estimator.transform(nullable)
    assert np.isfinite(codes).all()
    likelihood = {"boolean": "bernoulli", "mixed": {2: "bernoulli"}}.get(kind, "auto")
    rows = plain.to_numpy(np.float64)
    expected = tiny(family, likelihood=likelihood).fit(rows).transform(rows)
    np.testing.assert_allclose(codes, expected, rtol=1e-4, atol=1e-4)


def families_and(one, cases, others=()):
    """Return pairs of a family and a case: all cases, which are of tables, in one family, and some in the others."""
    return [
        pytest.param(family, *case, marks=[] if family is one or case in others else slow)
        for case in cases
        for family in FAMILIES
    ]


@pytest.mark.parametrize(
    ("family", "container", "scale"),
    families_and(
        RegularizedAutoencoder,
        [
            (sparse.csr_matrix, True),
            (sparse.csr_matrix, "common"),
            (sparse.csr_matrix, False),
            (sparse.csr_array, True),
            (sparse.csc_matrix, True),
            (sparse.coo_matrix, True),
        ],
        [(sparse.csr_matrix, True)],
    ),
)
def test_a_sparse_matrix_is_the_dense_one(family, container, scale):
    dense = np.where(np.random.default_rng(2).random((30, 6)) < 0.3, np.random.default_rng(3).normal(size=(30, 6)), 0)
    rows = container(dense)
    ours, expected = tiny(family, scale=scale).fit(rows, Y), tiny(family, scale=scale).fit(dense, Y)
    np.testing.assert_allclose(ours.transform(rows), expected.transform(dense), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(ours.score_samples(rows), expected.score_samples(dense), rtol=1e-9)
    np.testing.assert_allclose(ours.transform(dense), expected.transform(dense), rtol=1e-9, atol=1e-10)
    assert np.array_equal(ours.predict(rows), expected.predict(dense))
    np.testing.assert_allclose(ours.fit_transform(rows, Y), expected.transform(dense), rtol=1e-9, atol=1e-10)


WAYS = ["gaps", "weights", "float32", "validation", "early stopping", "partial_fit"]


@pytest.mark.parametrize(
    ("family", "how", "batch_size"),
    families_and(
        VariationalAutoencoder,
        [(how, size) for how in WAYS for size in ("auto", 8)],
        [("gaps", 8), ("weights", 8), ("validation", "auto")],
    ),
)
def test_a_sparse_matrix_is_the_dense_one_in_every_way_to_fit(family, batch_size, how):
    dense = np.where(np.random.default_rng(2).random((30, 6)) < 0.3, np.random.default_rng(3).normal(size=(30, 6)), 0)
    if how == "gaps":
        dense[np.random.default_rng(4).random(dense.shape) < 0.2] = np.nan
    if how == "float32":
        dense = dense.astype(np.float32)

    def train(rows):
        estimator = tiny(family, batch_size=batch_size, early_stopping=how == "early stopping")
        if how == "partial_fit":
            return estimator.partial_fit(rows[:20]).partial_fit(rows[20:])
        weight = np.arange(30) % 4 if how == "weights" else None
        return estimator.fit(rows, Y, sample_weight=weight, X_val=rows[:9] if how == "validation" else None)

    rows = sparse.csr_matrix(dense)
    ours, expected = train(rows), train(dense)
    exact = batch_size == "auto" and how != "float32"
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if exact else {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(ours.transform(rows), expected.transform(dense), **tolerance)
    np.testing.assert_allclose(ours.score_samples(rows), expected.score_samples(dense), **tolerance)
    if how == "validation":
        np.testing.assert_allclose(ours.history_["valid_loss"], expected.history_["valid_loss"], **tolerance)


# Missing cells


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
@pytest.mark.parametrize("scale", [True, "common", False])
def test_gaps_leave_everything_finite(family, batch_size, scale):
    rows = with_gaps()
    rows[7] = np.nan  # a row without anything
    estimator = tiny(family, batch_size=batch_size, scale=scale, max_iter=2).fit(rows, Y)
    for method in ["transform", "predict_proba", "score_samples"]:
        assert np.isfinite(getattr(estimator, method)(rows)).all(), method
    assert np.isfinite(estimator.history_.to_numpy()).all()
    assert np.isfinite(estimator.sample(5, random_state=0)).all()
    assert np.isfinite(estimator.inverse_transform(estimator.transform(rows))).all()
    assert np.isfinite(estimator.score(rows))


@pytest.mark.parametrize("family", [RegularizedAutoencoder, AdversarialAutoencoder])
@pytest.mark.parametrize("scale", [True, "common", False])
def test_the_likelihood_of_a_row_is_that_of_its_observed_cells(family, scale):
    rows = with_gaps()
    estimator = tiny(family, scale=scale).fit(X)
    spread = {True: X.std(0), "common": np.full(4, np.sqrt(X.var(0).mean())), False: np.ones(4)}[scale]
    errors = (rows - estimator.inverse_transform(estimator.transform(rows))) / spread
    by_cell = -0.5 * (errors**2 + np.log(2 * np.pi)) - np.log(spread)
    np.testing.assert_allclose(estimator.score_samples(rows), np.nansum(by_cell, axis=1), rtol=1e-9)


def test_a_row_without_anything_has_likelihood_one():
    estimator = tiny(VariationalAutoencoder).fit(X)
    assert estimator.score_samples(np.full((1, 4), np.nan))[0] == pytest.approx(0, abs=0.2)  # a bound, by draws
    for family in (RegularizedAutoencoder, AdversarialAutoencoder):
        assert tiny(family).fit(X).score_samples(np.full((1, 4), np.nan))[0] == 0


@families
def test_a_gap_is_seen_as_the_mean_of_its_column(family):
    rows = with_gaps()
    filled = np.where(np.isnan(rows), X.mean(0), rows)
    estimator = tiny(family).fit(X)
    np.testing.assert_allclose(estimator.transform(rows), estimator.transform(filled), atol=1e-9)


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_a_gap_costs_nothing_in_training(family, batch_size):
    # Unscaled, so that the encoder sees the same numbers in both fits, and only the cost can differ.
    rows = with_gaps()
    settings = {"scale": False, "batch_size": batch_size, "learning_rate": 0.03}
    gaps, zeros = tiny(family, **settings).fit(rows), tiny(family, **settings).fit(np.nan_to_num(rows))
    assert not np.allclose(gaps.transform(X), zeros.transform(X), rtol=1e-4)


@families
def test_a_gap_among_the_rows_to_watch_costs_nothing(family):
    validation = np.nan_to_num(with_gaps(), nan=1e6)
    seen = tiny(family).fit(X, X_val=with_gaps()).history_["valid_reconstruction"]
    assert seen.iloc[0] < tiny(family).fit(X, X_val=validation).history_["valid_reconstruction"].iloc[0] / 1e3


@families
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_validation_rows_and_later_rows_may_have_no_target(family, task):
    y = Y if task == "classification" else VALUES
    estimator = tiny(family, task=task).fit(X, y, X_val=X[:9])
    assert np.array_equal(estimator.transform(X), tiny(family, task=task).fit(X, y).transform(X))
    assert np.isfinite(estimator.history_["valid_loss"]).all()
    before = estimator.transform(X)
    estimator.partial_fit(X)
    assert np.isfinite(estimator.transform(X)).all()
    assert not np.array_equal(estimator.transform(X), before)


# Layout and ownership


@families
def test_the_layout_in_memory_means_nothing(family):
    expected = tiny(family).fit(X, Y).transform(X)
    wide = np.empty((60, 8))
    wide[::2, ::2] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    big_endian = X.astype(">f8")
    layouts = [
        np.asfortranarray(X),
        X[::-1].copy()[::-1],
        X[:, ::-1].copy()[:, ::-1],
        wide[::2, ::2],
        frozen,
        big_endian,
    ]
    for rows in layouts:
        assert np.array_equal(rows, X)
        codes = tiny(family).fit(rows, Y).transform(rows)
        np.testing.assert_allclose(codes, expected, rtol=1e-9, atol=1e-12)  # the order of a sum may follow the layout
    y = np.repeat(Y, 2)[::2]
    y.flags.writeable = False
    weight = np.ones(60)[::-2]
    weight.flags.writeable = False
    codes = tiny(family).fit(frozen, y, sample_weight=weight).transform(frozen)
    np.testing.assert_allclose(codes, expected, rtol=1e-9, atol=1e-12)
    by_variance = tiny(family, n_components=0.9)
    expected = clone(by_variance).fit(X, Y, sample_weight=np.ones(30)).transform(X)
    codes = by_variance.fit(frozen, y, sample_weight=weight).transform(frozen)
    np.testing.assert_allclose(codes, expected, rtol=1e-9, atol=1e-12)


@families
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, False), (np.float64, True), (np.float64, False)])
@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix])
def test_what_the_user_hands_in_is_not_changed(family, dtype, scale, container):
    rows, y, weight = container(with_gaps().astype(dtype)), Y.copy(), np.linspace(0, 2, 30)
    validation = container(with_gaps(seed=5).astype(dtype))

    def contents():
        tables = [rows, validation]
        return [(t.toarray() if sparse.issparse(t) else t).tobytes() for t in tables] + [y.tobytes(), weight.tobytes()]

    before = contents()
    estimator = tiny(family, scale=scale, batch_size=8, max_iter=2)
    estimator.fit(rows, y, sample_weight=weight, X_val=validation, y_val=y)
    estimator.partial_fit(rows, y, sample_weight=weight)
    codes = estimator.transform(rows)
    kept = codes.copy()
    estimator.inverse_transform(codes)
    estimator.predict_proba(rows)
    estimator.score(rows, y, sample_weight=weight)
    estimator.score_samples(rows)
    assert contents() == before
    assert np.array_equal(codes, kept)


@families
def test_what_the_user_does_to_the_rows_afterwards_means_nothing(family):
    rows, y = X.astype(np.float32), Y.copy()
    estimator = tiny(family, scale=False).fit(rows, y)
    codes, samples = estimator.transform(X), estimator.sample(5, random_state=0)
    rows[:], y[:] = 0, 0
    codes_again = estimator.transform(X)
    codes_again[:] = 7
    assert np.array_equal(estimator.transform(X), codes)
    assert np.array_equal(estimator.sample(5, random_state=0), samples)
    assert list(estimator.classes_) == [0, 1, 2]


# Sizes


@families
@pytest.mark.parametrize("batch_size", [8, "auto", 1])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 17])
def test_any_number_of_rows_can_be_trained_on(family, n, batch_size):
    estimator = tiny(family, batch_size=batch_size, max_iter=1, scale=False).fit(X[:n])
    assert estimator.transform(X).shape == (30, 2)
    assert np.isfinite(estimator.transform(X)).all()
    assert np.isfinite(estimator.sample(3, random_state=0)).all()
    assert np.isfinite(estimator.score(X))


@families
def test_one_row_and_one_column_are_a_table(family):
    estimator = tiny(family).fit(X[:1], Y[:1])
    assert estimator.transform(X[:1]).shape == (1, 2)
    assert np.isfinite(estimator.score_samples(X)).all()
    assert list(estimator.predict(X)) == [0] * 30
    estimator = tiny(family).fit(X[:, :1], Y)
    assert estimator.inverse_transform(estimator.transform(X[:, :1])).shape == (30, 1)
    assert estimator.sample(3, random_state=0).shape == (3, 1)
    assert np.isfinite(estimator.score_samples(X[:, :1])).all()


@families
def test_a_row_is_treated_alike_alone_and_among_others(family):
    estimator = tiny(family).fit(X, Y)
    rows = with_gaps()
    for method in ["transform", "predict_proba", "score_samples"]:
        together = getattr(estimator, method)(rows)
        alone = np.concatenate([getattr(estimator, method)(rows[i : i + 1]) for i in range(30)])
        np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-9)


@families
def test_more_components_than_columns_and_no_hidden_layer_work(family):
    estimator = tiny(family, n_components=7, hidden_layer_sizes=()).fit(X, Y)
    assert estimator.transform(X).shape == (30, 7)
    assert np.isfinite(estimator.sample(3, random_state=0)).all()
    assert tiny(family, hidden_layer_sizes=[8, 8, 8]).fit(X, Y).transform(X).shape == (30, 2)


@families
def test_rows_beyond_the_chunk_of_inference_are_all_there(family):
    rows = np.tile(X, (50, 1))  # 1500
    estimator = tiny(family).fit(X, Y)
    np.testing.assert_allclose(
        estimator.transform(rows), np.tile(estimator.transform(X), (50, 1)), rtol=1e-9, atol=1e-12
    )
    assert estimator.sample(1500, random_state=0).shape == (1500, 4)


@families
@pytest.mark.parametrize("n", [1, 8, 20, 30])
@pytest.mark.parametrize("batch_size", [8, "auto"])
def test_dropout_works_with_any_number_of_rows(family, n, batch_size):
    estimator = tiny(family, dropout=0.5, batch_size=batch_size, scale=False).fit(X[:n], Y[:n])
    assert np.isfinite(estimator.transform(X)).all()
    assert np.array_equal(estimator.transform(X), estimator.transform(X))  # none afterwards
    assert not np.allclose(
        estimator.transform(X), tiny(family, batch_size=batch_size, scale=False).fit(X[:n]).transform(X)
    )


# Targets


def targets():
    import pandas as pd

    words = np.array(["ash", "birch", "cedar"])
    Y = np.argsort(np.argsort(X[:, 0])) // 10  # of equal size, and easy to learn
    return {
        "str": words[Y],
        "bytes-like object": words[Y].astype(object),
        "list of str": words[Y].tolist(),
        "bool": Y == 1,
        "bools of pandas": pd.Series(Y == 1),
        "negative ints": Y * 10 - 10,
        "floats": Y.astype(float),
        "uint8": Y.astype(np.uint8),
        "Categorical": pd.Series(pd.Categorical(words[Y], categories=["cedar", "ash", "birch", "oak"])),
        "Int64": pd.Series(Y, dtype="Int64"),
        "string of pandas": pd.Series(words[Y], dtype="string"),
    }


@lru_cache
def codes_of_classes(family, classes):
    return quick(family).fit_transform(X, classes)


def quick(family):
    return tiny(family, max_iter=15, learning_rate=0.1, n_components=3)


@pytest.mark.parametrize(
    ("family", "kind"),
    families_and(RegularizedAutoencoder, [(kind,) for kind in targets()], [("str",), ("Int64",)]),
)
@pytest.mark.filterwarnings("ignore:y holds the label -1")
def test_labels_may_be_of_any_type(family, kind):
    y = targets()[kind]
    estimator = quick(family).fit(X, y)
    labels = np.unique(np.asarray(y))
    assert np.array_equal(estimator.classes_, labels)
    assert estimator.predict_proba(X).shape == (30, len(labels))
    np.testing.assert_allclose(estimator.predict_proba(X).sum(1), 1)
    predicted = estimator.predict(X)
    assert set(predicted) <= set(labels)
    assert estimator.score(X, y) == pytest.approx(np.mean(predicted == np.asarray(y)))
    assert estimator.score(X, y) > 0.5  # labels and classes are in step
    codes = codes_of_classes(family, tuple(np.unique(y, return_inverse=True)[1]))
    np.testing.assert_allclose(estimator.transform(X), codes, rtol=1e-9)


@families
@pytest.mark.parametrize("kind", ["list", "int64", "float32", "object", "Float64"])
def test_values_may_be_of_any_type_of_number(family, kind):
    pd = pytest.importorskip("pandas")
    whole = np.round(VALUES * 3)
    y = {
        "list": whole.tolist(),
        "int64": whole.astype(np.int64),
        "float32": whole.astype(np.float32),
        "object": whole.astype(object),
        "Float64": pd.Series(whole, dtype="Float64"),
    }[kind]
    estimator = tiny(family, task="regression").fit(X, y)
    assert np.array_equal(estimator.predict(X), tiny(family, task="regression").fit(X, whole).predict(X))
    assert np.isfinite(estimator.score(X, y))
    assert not hasattr(estimator, "classes_")


@families
def test_a_column_of_labels_warns_and_works(family):
    from sklearn.exceptions import DataConversionWarning

    with pytest.warns(DataConversionWarning, match="1d array was expected"):
        estimator = tiny(family).fit(X, Y[:, None])
    assert np.array_equal(estimator.transform(X), tiny(family).fit(X, Y).transform(X))


@families
@pytest.mark.parametrize(
    ("y", "marker"),
    [
        (np.where(np.arange(30) < 15, Y, -1), -1),
        (np.where(np.arange(30) < 15, Y.astype(float), np.nan), float("nan")),
        (np.where(np.arange(30) < 15, np.array(list("abc"))[Y], "?"), "?"),
    ],
    ids=["int", "NaN", "str"],
)
def test_unlabelled_rows_may_be_marked_by_any_value(family, y, marker):
    estimator = tiny(family, unlabeled=marker).fit(X, y)
    assert list(estimator.classes_) == sorted(set(y[:15]))
    assert estimator.score(X, y) == estimator.score(X[:15], y[:15])
    # The unlabelled rows are learned from: without them the codes are others.
    with_labels_only = tiny(family).fit(X[:15], y[:15])
    assert not np.allclose(estimator.transform(X), with_labels_only.transform(X), rtol=1e-3)


# State outside


def outside():
    return {
        "random": random.getstate(),
        "numpy": repr(np.random.get_state(legacy=False)),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "anomalies": torch.is_anomaly_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "errors": repr(np.geterr()),
        "environment": dict(os.environ),
    }


@families
@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("settings", [{}, {"batch_size": 8, "early_stopping": True}, {"precision": "bfloat16"}])
def test_states_outside_the_estimator_are_left_alone(family, random_state, settings):
    tiny(family).fit(X)  # what happens once on import or first use does not count
    before = outside()
    estimator = tiny(family, random_state=random_state, **settings).fit(X, Y)
    estimator.partial_fit(X, Y)
    estimator.inverse_transform(estimator.transform(X))
    estimator.score_samples(X)
    estimator.predict(X)
    estimator.sample(5)
    estimator.sample(5, random_state=0)
    assert outside() == before


@families
def test_a_fit_that_fails_leaves_the_states_outside_alone(family):
    before = outside()
    with pytest.raises(ValueError, match="finite"):
        tiny(family, learning_rate=1e200, learning_rate_schedule="constant", max_iter=20).fit(X)
    assert outside() == before


@families
def test_states_outside_mean_nothing_to_a_fit(family):
    expected = tiny(family, batch_size=8).fit(X, Y)
    state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        np.random.seed(7)  # noqa: NPY002
        torch.manual_seed(7)
        torch.set_default_dtype(torch.float64)
        other = tiny(family, batch_size=8).fit(X, Y)
    finally:
        torch.set_default_dtype(torch.float32)
        np.random.set_state(state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
    assert np.array_equal(expected.transform(X), other.transform(X))
    assert np.array_equal(expected.sample(4, random_state=1), other.sample(4, random_state=1))


@families
def test_a_fit_inside_no_grad_is_a_fit(family):
    expected = tiny(family).fit(X, Y).transform(X)
    with torch.no_grad():
        assert np.array_equal(tiny(family).fit(X, Y).transform(X), expected)


# Seeds

FIT_ELSEWHERE = """
import hashlib, json, sys
import test_inputs as here
from tests.families import FAMILIES
print(json.dumps({family.__name__: here.fingerprints(family) for family in FAMILIES}))
"""


def fingerprints(family):
    """Digests of everything random in a fit, full batch and mini-batches."""
    found = []
    for settings in ({}, {"batch_size": 8, "dropout": 0.2, "early_stopping": True}, {"task": "regression"}):
        estimator = tiny(family, **settings).fit(with_gaps(), Y, sample_weight=1 + Y)
        parts = [estimator.transform(X), estimator.score_samples(X), estimator.predict(X)]
        parts += [estimator.sample(5, random_state=3), np.array(estimator.loss_curve_)]
        found += [hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest() for part in parts]
    return found


def test_one_seed_gives_the_same_bits_in_another_process():
    here = Path(__file__)  # one test for all families, because a process takes longer to begin than to fit
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(here.parent)!r}]\n{FIT_ELSEWHERE}"],
        capture_output=True,
        text=True,
        cwd=here.parents[1],
    )
    assert done.returncode == 0, done.stderr
    elsewhere = json.loads(done.stdout.splitlines()[-1])
    assert {family.__name__: fingerprints(family) for family in FAMILIES} == elsewhere


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_a_seed_is_what_makes_fits_alike(family, batch_size):
    def codes(random_state):
        return tiny(family, batch_size=batch_size, random_state=random_state, max_iter=2).fit(X, Y).transform(X)

    first = codes(0)
    assert np.array_equal(first, codes(0))
    assert not np.allclose(first, codes(1))
    assert not np.allclose(codes(None), codes(None))
    assert np.array_equal(codes(np.int64(5)), codes(5))


@families
def test_a_random_state_of_the_user_goes_on(family):
    first, second = np.random.RandomState(0), np.random.RandomState(0)
    one, other = tiny(family, random_state=first), tiny(family, random_state=second)
    assert np.array_equal(one.fit(X).transform(X), other.fit(X).transform(X))
    before = one.transform(X)
    assert not np.allclose(one.fit(X).transform(X), before)
    assert np.array_equal(other.fit(X).transform(X), one.transform(X))


@families
def test_samples_go_by_their_own_seed(family):
    estimator = tiny(family).fit(X)
    assert np.array_equal(estimator.sample(4, random_state=1), estimator.sample(4, random_state=1))
    assert np.array_equal(estimator.sample(4, np.random.RandomState(1)), estimator.sample(4, np.random.RandomState(1)))
    assert not np.allclose(estimator.sample(4, random_state=1), estimator.sample(4, random_state=2))
    assert not np.allclose(estimator.sample(4), estimator.sample(4))
    source = np.random.RandomState(1)
    assert not np.allclose(estimator.sample(4, source), estimator.sample(4, source))


@families
def test_samples_after_a_second_fit_are_those_of_the_second_fit(family):
    estimator = tiny(family).fit(X)
    estimator.sample(4, random_state=1)
    estimator.fit(X[:, :3] + 1000)
    same = tiny(family).fit(X[:, :3] + 1000)
    assert np.array_equal(estimator.sample(4, random_state=1), same.sample(4, random_state=1))
    estimator.partial_fit(X[:, :3] + 1000)
    same.partial_fit(X[:, :3] + 1000)
    assert np.array_equal(estimator.sample(4, random_state=1), same.sample(4, random_state=1))


@families
def test_a_second_fit_forgets_the_first(family):
    estimator = tiny(family).fit(X, Y).fit(X[:, :3])
    same = tiny(family).fit(X[:, :3])
    assert set(vars(estimator)) == set(vars(same))
    assert np.array_equal(estimator.transform(X[:, :3]), same.transform(X[:, :3]))


# Weights

WEIGHT = np.random.default_rng(6).integers(0, 4, size=30).astype(float)


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
@pytest.mark.parametrize("task", ["classification", "regression", None])
def test_a_weight_of_zero_is_the_same_as_no_row(family, batch_size, task):
    y = VALUES if task == "regression" else Y
    kept = WEIGHT > 0
    assert 15 < kept.sum() < 30
    settings = {"batch_size": batch_size, "task": task}
    zero, removed = tiny(family, **settings), tiny(family, **settings)
    zero.fit(X, y, sample_weight=WEIGHT)
    removed.fit(X[kept], y[kept], sample_weight=WEIGHT[kept])
    assert np.array_equal(zero.transform(X), removed.transform(X))
    assert np.array_equal(zero.score_samples(X), removed.score_samples(X))
    assert np.array_equal(zero.sample(4, random_state=0), removed.sample(4, random_state=0))
    assert zero.loss_curve_ == removed.loss_curve_


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_weights_of_zero_and_one_are_a_choice_of_rows(family, batch_size):
    kept = WEIGHT > 0
    chosen = tiny(family, batch_size=batch_size).fit(X, Y, sample_weight=kept.astype(float))
    removed = tiny(family, batch_size=batch_size).fit(X[kept], Y[kept])
    np.testing.assert_allclose(chosen.transform(X), removed.transform(X), rtol=1e-5, atol=1e-6)
    everything = tiny(family, batch_size=batch_size).fit(X, Y)
    assert not np.allclose(chosen.transform(X), everything.transform(X), rtol=1e-3)


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_a_weight_of_zero_is_the_same_as_no_row_in_partial_fit(family, batch_size):
    kept = WEIGHT > 0
    zero, removed = tiny(family, batch_size=batch_size), tiny(family, batch_size=batch_size)
    zero.partial_fit(X, Y, classes=[0, 1, 2], sample_weight=WEIGHT).partial_fit(X, Y, sample_weight=WEIGHT)
    for _ in range(2):
        removed.partial_fit(X[kept], Y[kept], classes=[0, 1, 2], sample_weight=WEIGHT[kept])
    assert np.array_equal(zero.transform(X), removed.transform(X))


@families
def test_what_a_row_of_weight_zero_holds_means_nothing(family):
    rows, y = X.copy(), np.where(WEIGHT > 0, Y, 99)
    rows[WEIGHT == 0] = 1e30
    estimator = tiny(family, batch_size=8).fit(rows, y, sample_weight=WEIGHT)
    assert list(estimator.classes_) == [0, 1, 2]
    assert np.array_equal(
        estimator.transform(X), tiny(family, batch_size=8).fit(X, Y, sample_weight=WEIGHT).transform(X)
    )


@families
@pytest.mark.parametrize("task", ["classification", "regression", None])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_weight_of_three_is_a_row_thrice_in_a_full_batch(family, task, gaps):
    rows, y = with_gaps() if gaps else X, VALUES if task == "regression" else Y
    index = np.repeat(np.arange(30), WEIGHT.astype(int))
    weighted = tiny(family, task=task).fit(rows, y, sample_weight=WEIGHT)
    repeated = tiny(family, task=task).fit(rows[index], y[index])
    np.testing.assert_allclose(weighted.transform(rows), repeated.transform(rows), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(weighted.score_samples(rows), repeated.score_samples(rows), rtol=1e-7)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-7)
    unweighted = tiny(family, task=task).fit(rows, y)
    assert not np.allclose(weighted.transform(rows), unweighted.transform(rows), rtol=1e-3)


@families
@pytest.mark.parametrize("settings", [{"class_weight": "balanced"}, {"class_weight": {0: 5.0}}, {"unlabeled": -1}])
def test_a_weight_of_three_is_a_row_thrice_whatever_the_classes_weigh(family, settings):
    y = np.where(np.arange(30) % 5 == 0, -1, Y) if "unlabeled" in settings else np.minimum(Y, np.arange(30) // 10)
    index = np.repeat(np.arange(30), WEIGHT.astype(int))
    weighted = tiny(family, max_iter=10, **settings).fit(X, y, sample_weight=WEIGHT)
    repeated = tiny(family, max_iter=10, **settings).fit(X[index], y[index])
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-7, atol=1e-8)


@families
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_the_size_of_all_weights_together_means_nothing(family, batch_size):
    weight = 1 + WEIGHT
    one = tiny(family, batch_size=batch_size).fit(X, Y, sample_weight=weight)
    for factor in (1e-6, 1e6):
        other = tiny(family, batch_size=batch_size).fit(X, Y, sample_weight=factor * weight)
        np.testing.assert_allclose(other.transform(X), one.transform(X), rtol=1e-4, atol=1e-5)
    assert one.score(X, Y, sample_weight=weight) == pytest.approx(np.average(one.predict(X) == Y, weights=weight))
    assert one.score(X, sample_weight=weight) == pytest.approx(np.average(one.score_samples(X), weights=weight))


@families
def test_weights_count_in_mini_batches(family):
    # The rows of one cluster weigh nearly everything: it is the cluster that is learned.
    clusters = np.concatenate([X - 3 * X.std(0), X + 3 * X.std(0)])
    settings = {"batch_size": 8, "max_iter": 15, "learning_rate": 0.02, "scale": "common"}
    heavy = np.repeat([1e3, 1.0], 30)
    score = {}
    for name, weight in {"first": heavy, "second": heavy[::-1]}.items():
        score[name] = tiny(family, **settings).fit(clusters, sample_weight=weight).score_samples(clusters)
    assert score["first"][:30].mean() > score["second"][:30].mean()
    assert score["second"][30:].mean() > score["first"][30:].mean()


# Tensors


def test_tensors_are_taken_as_arrays():
    of_arrays = tiny().fit(X, Y, sample_weight=Y + 1.0)
    of_tensors = tiny().fit(torch.tensor(X), torch.tensor(Y), sample_weight=torch.tensor(Y + 1.0))
    assert (of_tensors.transform(torch.tensor(X)) == of_arrays.transform(X)).all()
    codes = of_arrays.transform(X)
    assert (of_tensors.inverse_transform(torch.tensor(codes)) == of_arrays.inverse_transform(codes)).all()


def test_tensors_of_bfloat16_are_taken_as_single_precision():
    rows = torch.tensor(X).bfloat16()
    assert (tiny().fit(rows).transform(rows) == tiny().fit(rows.float().numpy()).transform(rows.float().numpy())).all()


@pytest.mark.parametrize("place", ["X", "y", "sample_weight"])
@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (lambda tensor: tensor.requires_grad_(), r"must not require a gradient.*detach\(\)"),
        (lambda tensor: tensor.to_sparse(), r"must be dense.*to_dense\(\)"),
    ],
)
def test_tensors_that_can_not_be_arrays_are_refused(place, refused, words):
    given = {"X": X, "y": VALUES, "sample_weight": Y + 1.0}
    with pytest.raises(TypeError, match=words):
        tiny(task="regression").fit(**{**given, place: refused(torch.tensor(given[place]))})
