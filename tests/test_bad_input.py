"""Bad input is refused in words, and a refusal changes nothing."""

import copy
import datetime as dt
import pickle
import re
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import BatchScoring, Callback, EpochScoring, Freezer

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from tests.families import FAMILIES, families, tiny

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = np.arange(30) % 3
VALUES = X @ [1.0, -1.0, 0.5, 0.0]
READOUTS = ["score_cells", "explain_codes", "latent_summary"]  # of columns and codes


@lru_cache
def _fitted(family):
    return tiny(family).fit(X, Y)


def fitted(family, **settings):
    # A shallow copy: a refused call moves nothing, so that the next test may begin with the same net.
    return copy.copy(_fitted(family)).set_params(**settings)


def learned(estimator):
    """Everything that a failed call might have moved, as values that compare exactly."""
    state = {"attributes": list(vars(estimator)), "parameters": {k: repr(v) for k, v in estimator.get_params().items()}}
    if hasattr(estimator, "net_"):
        state |= {
            "codes": estimator.transform(X).tobytes(),
            "likelihood": estimator.score_samples(X).tobytes(),
            "samples": estimator.sample(5, random_state=0).tobytes(),
            "weights": {k: v.numpy().tobytes() for k, v in estimator.module_.state_dict().items()},
            "history": repr(list(estimator.net_.history)),
            "counts": (estimator.n_features_in_, estimator.n_iter_, estimator.loss_, list(estimator.loss_curve_)),
            "features": list(getattr(estimator, "feature_names_in_", [])),
        }
    if hasattr(estimator, "classes_"):
        state |= {"classes": list(estimator.classes_), "labels": estimator.predict(X).tobytes()}
    return state


def check_refused(estimator, call, match, error=(ValueError, TypeError)):
    """``call(estimator)`` raises, and the estimator is what it was, to the bit."""
    before = learned(estimator)
    with pytest.raises(error, match=match):
        call(estimator)
    assert learned(estimator) == before


def with_cell(value):
    changed = X.copy()
    changed[3, 1] = value
    return changed


def with_word(rows):
    rows[3][1] = "word"
    return rows


# Rows

BAD_ROWS = {
    "one-dimensional": (X[:, 0], "Expected 2D array, got 1D"),
    "a scalar": (3.0, "Expected 2D array, got scalar"),
    "three-dimensional": (X[:, :, None], "Found array with dim 3.*dim <= 2"),
    "no rows": (X[:0], r"0 sample\(s\).*shape=\(0, 4\)"),
    "no columns": (X[:, :0], r"0 feature\(s\).*shape=\(30, 0\)"),
    "strings": (np.full((30, 4), "a"), "got in column 0: could not convert string"),
    "a word among numbers": (
        with_word(np.array(X, dtype=object)),
        "got in column 1: could not convert string .*'word'",
    ),
    "a word in a list": (with_word(X.tolist()), "got in column 1: could not convert string .*'word'"),
    "objects": (np.array([[{}] * 4] * 30, dtype=object), "got in column 0: .* string or a real number, not 'dict'"),
    "rows of two lengths": ([[1.0], [1.0, 2.0]], r"X must have rows of one length, got \[\[1.0\], \[1.0, 2.0\]\]"),
    "a string": ("rows", "X must be an array or a DataFrame, got 'rows'"),
    "records": (np.ones(3, dtype="f8,f8"), "Expected 2D array|X must hold numbers, got records"),
    "complex": (X + 1j, "Complex data not supported"),
    "complex in a list": ((X + 1j).tolist(), "got in column 0: .* not 'complex'"),
    "complex and masked": (np.ma.MaskedArray(X + 1j, X > 0), "Complex data not supported"),
    "infinity": (with_cell(np.inf), "contains infinity"),
    "minus infinity": (with_cell(-np.inf), "contains infinity"),
    "float32 infinity": (with_cell(np.inf).astype(np.float32), "contains infinity"),
    "sparse infinity": (csr_matrix(with_cell(np.inf)), "contains infinity"),
    "both infinities": (np.vstack([with_cell(np.inf), with_cell(-np.inf)]), "contains infinity"),
    "None": (None, "NoneType|None|got scalar array"),
}
bad_rows = pytest.mark.parametrize(("rows", "match"), BAD_ROWS.values(), ids=BAD_ROWS.keys())


@families
@bad_rows
def test_rows_that_are_no_table_of_finite_numbers_are_refused_in_a_fit(family, rows, match):
    check_refused(tiny(family), lambda e: e.fit(rows), match)
    check_refused(fitted(family), lambda e: e.fit(rows), match)


@families
@bad_rows
def test_rows_that_are_no_table_of_finite_numbers_are_refused_in_partial_fit(family, rows, match):
    check_refused(tiny(family), lambda e: e.partial_fit(rows), match)
    check_refused(fitted(family), lambda e: e.partial_fit(rows), match)


@families
@bad_rows
def test_rows_that_are_no_table_of_finite_numbers_are_refused_afterwards(family, rows, match):
    methods = ["transform", "predict", "predict_proba", "predict_log_proba", "score", "score_samples"]
    methods += READOUTS
    estimator = fitted(family)
    before = learned(estimator)
    for method in methods + (["discriminate"] if family is AdversarialAutoencoder else []):
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(estimator, method)(rows)
    assert learned(estimator) == before


@families
@pytest.mark.parametrize("columns", [3, 5])
def test_another_number_of_columns_is_refused(family, columns):
    rows = np.ones((5, columns))
    match = f"X has {columns} features, but {family.__name__} is expecting 4 features"
    for method in ["transform", "predict", "predict_proba", "score", "score_samples", *READOUTS, "partial_fit"]:
        check_refused(fitted(family), lambda e, method=method: getattr(e, method)(rows), match)
    check_refused(fitted(family, warm_start=True), lambda e: e.fit(rows, [0, 1, 2, 0, 1]), match)


@families
def test_other_column_names_are_refused(family):
    pd = pytest.importorskip("pandas")
    estimator = tiny(family).fit(pd.DataFrame(X, columns=list("abcd")))
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(pd.DataFrame(X, columns=list("abce")))


@families
def test_codes_of_another_shape_are_refused(family):
    masked = np.ma.MaskedArray(np.zeros((5, 2)), np.eye(5, 2, dtype=bool))
    check_refused(fitted(family), lambda e: e.inverse_transform(masked), "Input X contains NaN")
    check_refused(fitted(family), lambda e: e.inverse_transform([["a", 1.0]]), "X must hold numbers.* in column 0")
    check_refused(fitted(family), lambda e: e.inverse_transform(np.ones((5, 3))), "n_components=2.*3")
    check_refused(fitted(family), lambda e: e.inverse_transform(np.ones(2)), "Expected 2D array")
    check_refused(fitted(family), lambda e: e.inverse_transform(np.full((5, 2), np.nan)), "Input X contains NaN")
    check_refused(fitted(family), lambda e: e.inverse_transform(np.full((5, 2), np.inf)), "Input X contains infinity")


@families
@pytest.mark.parametrize("n_samples", [0, -1, 2.0, "2", None, True])
def test_a_number_of_samples_that_is_no_positive_int_is_refused(family, n_samples):
    check_refused(fitted(family), lambda e: e.sample(n_samples), f"n_samples.*{re.escape(repr(n_samples))}")


@families
def test_a_random_state_that_is_none_is_refused_by_sample(family):
    match = "random_state must be a seed, a RandomState or None, got 'seed'"
    check_refused(fitted(family), lambda e: e.sample(2, random_state="seed"), match)
    check_refused(fitted(family), lambda e: e.impute(X, n_draws=2, random_state="seed"), match)


@families
def test_an_unfitted_estimator_says_so(family):
    from sklearn.exceptions import NotFittedError

    calls = ["transform", "predict", "predict_proba", "score", "score_samples", *READOUTS, "inverse_transform"]
    for method in calls + (["discriminate"] if family is AdversarialAutoencoder else []):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(tiny(family), method)(X)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        tiny(family).sample()


# Targets


@families
def test_a_continuous_y_names_the_two_ways_out(family):
    for estimator in (tiny(family), fitted(family)):
        check_refused(estimator, lambda e: e.fit(X, VALUES), "(?s)Unknown label type.*task='regression'.*task=None")


BAD_TARGETS = {
    "too short": ("classification", Y[:-1], r"\[30, 29\]|29"),
    "three-dimensional": ("classification", np.stack([np.c_[Y, Y]] * 2, 2), "dim 3"),
    "NaN among several classes": ("classification", np.c_[Y, np.where(Y == 1, np.nan, Y)], "y contains NaN"),
    "NaN among classes": ("classification", np.where(Y == 1, np.nan, Y), "y contains NaN"),
    "no values for classes": ("classification", [None] * 30, "y|None"),
    "strings for values": ("regression", np.array(list("abc"))[Y], "task='regression'.*numbers"),
    "NaN among values": ("regression", np.where(Y == 1, np.nan, VALUES), "y contains NaN"),
    "infinity among values": ("regression", np.where(Y == 1, np.inf, VALUES), "y contains infinity"),
    "too short for values": ("regression", VALUES[:-1], r"\[30, 29\]|29"),
    "infinity in one of several": ("regression", np.c_[VALUES, np.where(Y == 1, np.inf, 1)], "y contains infinity"),
}


@families
@pytest.mark.parametrize(("task", "y", "match"), BAD_TARGETS.values(), ids=BAD_TARGETS.keys())
def test_a_target_that_can_not_be_learned_is_refused(family, task, y, match):
    check_refused(tiny(family, task=task), lambda e: e.fit(X, y), match)
    check_refused(fitted(family, task=task), lambda e: e.fit(X, y), match)


@families
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_y_without_a_labelled_row_is_refused(family, task):
    nothing = np.full(30, -1)
    check_refused(tiny(family, task=task, unlabeled=-1), lambda e: e.fit(X, nothing), "y.*labelled.*-1")
    check_refused(fitted(family, task=task, unlabeled=-1), lambda e: e.fit(X, nothing), "y.*labelled.*-1")


@families
def test_labelled_rows_of_weight_zero_only_are_no_labelled_rows(family):
    y = np.where(np.arange(30) < 10, Y, -1)
    weight = (np.arange(30) >= 10).astype(float)
    check_refused(tiny(family, unlabeled=-1), lambda e: e.fit(X, y, sample_weight=weight), "labelled|y")
    values = np.where(np.arange(30) < 10, VALUES, -1)
    check_refused(
        tiny(family, unlabeled=-1, task="regression"), lambda e: e.fit(X, values, sample_weight=weight), "labelled|y"
    )


@families
def test_class_weight_is_refused_where_there_are_no_classes(family):
    match = "class_weight.*task='regression'.*balanced"
    check_refused(tiny(family, task="regression", class_weight="balanced"), lambda e: e.fit(X, VALUES), match)


@families
def test_a_class_weight_for_no_class_of_y_is_refused(family):
    check_refused(tiny(family, class_weight={"none": 2.0}), lambda e: e.fit(X, Y), "class_weight.*none")


@families
def test_labels_that_were_not_announced_are_refused_by_partial_fit(family):
    check_refused(tiny(family), lambda e: e.partial_fit(X, Y, classes=[0, 1]), r"(?s)y.*labels.*\[0, 1\].*\[2\]")
    begun = tiny(family).partial_fit(X, Y, classes=[0, 1, 2])
    check_refused(begun, lambda e: e.partial_fit(X, Y + 1), r"(?s)y.*labels.*\[0, 1, 2\].*\[3\]")
    check_refused(begun, lambda e: e.partial_fit(X, np.array(list("abc"))[Y]), "y|label")
    check_refused(begun, lambda e: e.partial_fit(X, Y, classes=[0, 1, 2, 3]), r"classes.*\[0, 1, 2, 3\]")
    check_refused(begun, lambda e: e.partial_fit(X, VALUES), "label")
    check_refused(fitted(family), lambda e: e.partial_fit(X, Y + 1), r"(?s)y.*labels.*\[0, 1, 2\].*\[3\]")


@families
def test_partial_fit_wants_to_know_the_classes_at_first(family):
    check_refused(tiny(family), lambda e: e.partial_fit(X, Y), "classes")
    check_refused(tiny(family, class_weight="balanced"), lambda e: e.partial_fit(X, Y, classes=[0, 1, 2]), "balance")


BAD_CLASSES = {
    "none at all": ([], "classes must hold all labels"),
    "none in an array": (np.array([]), "classes must hold all labels"),
    "two dimensions": ([[0, 1]], r"classes must hold all labels.*\[\[0, 1\]\]"),
    "a number": (3, "classes must hold all labels.*3"),
    "NaN": ([np.nan, 1.0], "classes contains NaN"),
    "values": ([0.5, 1.0], "continuous.*classes must hold classes"),
    "beyond 64 bits": ([2**70, 1], "classes must hold classes"),
    "of two kinds": (np.array(["a", 1], dtype=object), "classes must hold labels of one type"),
}


@families
@pytest.mark.parametrize(("classes", "match"), BAD_CLASSES.values(), ids=BAD_CLASSES)
def test_classes_that_are_none_are_refused_with_and_without_y(family, classes, match):
    check_refused(tiny(family), lambda e: e.partial_fit(X, classes=classes), match)
    check_refused(tiny(family), lambda e: e.partial_fit(X, Y, classes=classes), match)


BAD_Y = {
    "beyond a float": ([10**400] * 15 + [1] * 15, "y must hold numbers|y must hold classes"),
    "nothing": (np.array([None] * 30), "Input y contains NaN"),
    "dates": (np.array(["2020-01-01", "2021-01-01"] * 15, dtype="datetime64[D]"), "y must hold finite numbers"),
    "of two kinds": (np.array(["a", 1] * 15, dtype=object), "y must hold numbers|y must hold labels of one type"),
}


@families
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", BAD_Y)
def test_a_y_of_no_numbers_or_classes_is_refused_by_name(family, task, kind):
    if kind == "dates" and task == "classification":
        return  # dates may be labels
    y, match = BAD_Y[kind]
    check_refused(tiny(family, task=task), lambda e: e.fit(X, y), match)
    known = tiny(family, task=task).fit(X, Y)
    check_refused(known, lambda e: e.score(X, y), match)


def test_whole_numbers_beyond_64_bits_are_values_or_refused_as_classes():
    y = [2**70 + (i % 2) * 2**69 for i in range(30)]
    values = tiny(RegularizedAutoencoder, task="regression").fit(X, y)
    assert 2**70 < values.predict(X).mean() < 2**71
    check_refused(tiny(RegularizedAutoencoder), lambda e: e.fit(X, y), "y must hold classes")
    check_refused(tiny(RegularizedAutoencoder), lambda e: e.fit(X, sample_weight=[10**400] * 30), "sample_weight")


class OfTheCode:
    def __call__(self, code):
        return code.abs().sum(1)


WRONG_PENALTIES = {
    "too few arguments": lambda code: code.abs().sum(1),
    "none": lambda: 0.0,
    "one more": lambda module, batch, trace, power: trace["code"].abs().pow(power).sum(1),
    "one more by name": lambda module, batch, trace, *, power: trace["code"].abs().pow(power).sum(1),
    "one is bound already": partial(lambda module, batch, trace: trace["code"].abs().sum(1), 1),
    "an object": OfTheCode(),
    "a class": OfTheCode,
    "a function of torch": torch.abs,
}


@pytest.mark.parametrize("penalty", WRONG_PENALTIES.values(), ids=WRONG_PENALTIES)
def test_a_penalty_that_takes_something_else_is_refused_by_name(penalty):
    match = r"penalty must be a callable \(module, batch, trace\) -> tensor, got "
    check_refused(tiny(RegularizedAutoencoder, penalty=penalty), lambda e: e.fit(X), match)
    check_refused(fitted(RegularizedAutoencoder, penalty=penalty), lambda e: e.partial_fit(X), match)


def test_what_a_penalty_raises_itself_is_not_hidden():
    def penalty(module, batch, trace):
        return len(5)

    check_refused(
        tiny(RegularizedAutoencoder, penalty=penalty), lambda e: e.fit(X), r"^object of type 'int' has no len"
    )
    for right in (
        lambda *terms: terms[2]["code"].abs().sum(1),
        lambda m, b, trace, power=2: trace["code"].abs().sum(1),
    ):
        tiny(RegularizedAutoencoder, penalty=right).fit(X)


@families
def test_a_warm_start_goes_on_with_the_same_target_and_module(family):
    check_refused(fitted(family, warm_start=True), lambda e: e.fit(X), "y must be given.*warm_start=False")
    check_refused(fitted(family, warm_start=True), lambda e: e.fit(X, Y + 1), r"\[0, 1, 2\].*\[1, 2, 3\]")
    check_refused(fitted(family, warm_start=True), lambda e: e.fit(X, VALUES), "Unknown label type|classes")
    check_refused(
        fitted(family, warm_start=True, hidden_layer_sizes=(9,)),
        lambda e: e.fit(X, Y),
        r"must keep hidden_layer_sizes=\(8,\), got",
    )
    wider = fitted(family, warm_start=True, n_components=3)
    with pytest.raises(ValueError, match="must keep n_components=2, got n_components=3"):
        wider.fit(X, Y)
    assert learned(wider.set_params(n_components=2)) == learned(fitted(family, warm_start=True))
    without = tiny(family, warm_start=True).fit(X)
    check_refused(without, lambda e: e.fit(X, Y), "y must be given.*warm_start=False")


@families
def test_a_wrong_y_is_refused_by_score(family):
    check_refused(fitted(family), lambda e: e.score(X, Y[:-1]), r"\[30, 29\]|29")
    check_refused(fitted(family), lambda e: e.score(X, Y, sample_weight=-np.ones(30)), "sample_weight.*negative.*-1")


# Weights

BAD_WEIGHTS = {
    "negative": (np.where(Y == 0, -0.5, 1.0), "sample_weight.*negative.*-0.5"),
    "all zero": (np.zeros(30), "sample_weight.*non-zero"),
    "too short": (np.ones(29), r"\[30, 29\]|29"),
    "too long": (np.ones(31), r"\[30, 31\]|31"),
    "NaN": (np.where(Y == 0, np.nan, 1.0), "sample_weight contains NaN"),
    "infinity": (np.where(Y == 0, np.inf, 1.0), "sample_weight contains infinity"),
    "two-dimensional": (np.ones((30, 1)), r"sample_weight.*\(30, 1\)"),
    "a number": (2.0, "sample_weight|Singleton"),
    "strings": (["a"] * 30, "string"),
}


@families
@pytest.mark.parametrize(("weight", "match"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS.keys())
def test_weights_that_can_not_weigh_are_refused(family, weight, match):
    check_refused(tiny(family), lambda e: e.fit(X, Y, sample_weight=weight), match)
    check_refused(fitted(family), lambda e: e.fit(X, Y, sample_weight=weight), match)
    check_refused(fitted(family), lambda e: e.partial_fit(X, Y, sample_weight=weight), match)
    check_refused(fitted(family), lambda e: e.score(X, sample_weight=weight), match)


# Validation rows


@families
def test_validation_rows_that_do_not_fit_are_refused(family):
    for begin in (tiny, fitted):
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=X[:, :3], y_val=Y), "3 features.*4 features")
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=X[0], y_val=Y[:1]), "Expected 2D array")
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=X[:0], y_val=Y[:0]), r"0 sample\(s\)")
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=with_cell(np.inf), y_val=Y), "infinity")
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=X[:5], y_val=Y), r"\[5, 30\]|30")
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=X, y_val=Y + 1), r"(?s)labels.*\[0, 1, 2\].*\[3\]")
        check_refused(begin(family), lambda e: e.fit(X, Y, X_val=X, y_val=VALUES), "label")


@families
def test_a_validation_target_without_validation_rows_is_refused(family):
    check_refused(tiny(family), lambda e: e.fit(X, Y, y_val=Y), "y_val.*X_val|X_val.*y_val")


@families
def test_one_row_can_not_be_split(family):
    check_refused(tiny(family, early_stopping=True), lambda e: e.fit(X[:1]), "early_stopping=True.*1")


# Parameters

NAN, INF = float("nan"), float("inf")
SHARED = {
    "n_components": [0, -1, 0.0, 1.0, -0.5, 1.5, True, False, "2", "Auto", None, NAN, INF, (2,)],
    "hidden_layer_sizes": [(0,), (8, 0), (-3, 4), (16.0,), 16, "16", None, (True,), ("8",), {8: 8}, {8, 4}],
    "activation": ["sigmoid", "RELU", None, 1, torch.relu],
    "n_members": [0, -1, 2.0, True, "2", None],
    "n_bins": [0, -1, 2.0, True, "2", None],
    "linear_path": ["yes", 1, 0, None],
    "dropout": [-0.1, 1, 1.0, NAN, INF, "0.1", True, None],
    "categorical_features": ["all", 3, True, {"a": 1}],
    "min_frequency": [0, -1, 0.0, 1.0, 1.5, "2", None, True, NAN],
    "max_categories": [0, 1, 2.5, "10", True],
    "handle_unknown": ["infrequent_if_exist", None, 1],
    "likelihood": ["normal", None, 1, ["gaussian"]],
    "column_weight": ["equal", 1.0, True],
    "constraints": ["low <= high", {"low": "high"}, 3, True],
    "scale": ["columns", None, 0, 1, 1.0],
    "task": ["clustering", True, False, "classifier"],
    "target_weight": [-1.0, "none", None, NAN, INF, True],
    "class_weight": ["equal", 2.0, [1.0, 2.0], True],
    "batch_size": [0, -1, 32.0, "all", None, True],
    "learning_rate": [0, 0.0, -1e-3, NAN, INF, "auto", None, True],
    "learning_rate_schedule": ["linear", None, 1],
    "weight_decay": [-1e-4, NAN, INF, None, "0", True],
    "max_iter": [0, -1, 2.5, 3.0, True, None, INF, "3"],
    "tol": [-1e-4, NAN, INF, "0", True],
    "early_stopping": ["yes", 1, 0, None],
    "validation_fraction": [0.0, 0, 1.0, 1, -0.2, 5, NAN, None, True],
    "n_iter_no_change": [0, -1, 1.5, None, True, INF],
    "warm_start": ["no", 1, 0, None],
    "device": [3.5, None, "nonsense", "cuda:99", True],
    "precision": ["float16", "double", 32, None, torch.float32],
    "callbacks": ["print", 3, [3], ["print"], Callback],
    "verbose": [-1, "loud", 0.5, None],
    "random_state": [-1, 2**32, "seed", 0.5, True, np.random.default_rng(0)],
}
OWN = {
    RegularizedAutoencoder: {
        "penalty": ["l3", "L1", 3, True, ["l1"]],
        "alpha": [-1e-3, NAN, INF, "auto", None, True],
        "corruption_level": [-0.1, 1, 1.0, 1.5, NAN, INF, None, True, "0.1"],
        "corruption": ["salt", None, 1],
        "unseen_fraction": [-0.1, 1, 1.0, NAN, INF, None, True, "0.1"],
    },
    VariationalAutoencoder: {
        "beta": [-1.0, NAN, INF, None, "1", True],
        "prior": ["uniform", None, 1],
        "n_draws": [0, -1, 1.5, None, True, INF],
        "observation_noise": [0, 0.0, -1.0, NAN, INF, "row", None, True],
    },
    AdversarialAutoencoder: {
        "discriminator": ["pixels", None, 1, ("data",)],
        "adversarial_weight": [-1.0, NAN, INF, None, "1", True],
        "generator_loss": ["wasserstein", None, 1],
        "discriminator_learning_rate": [0, 0.0, -1e-3, NAN, INF, None, True],
        "gradient_penalty": [-1.0, NAN, INF, None, True],
    },
}
parameters = pytest.mark.parametrize(("family", "name"), [(f, name) for f in FAMILIES for name in SHARED | OWN[f]])


@parameters
def test_a_parameter_out_of_its_range_is_refused_by_name_and_value(family, name):
    for value in (SHARED | OWN[family])[name]:
        match = f"(?s)(?=.*{name})(?=.*{re.escape(repr(value))})"
        check_refused(tiny(family, **{name: value}), lambda e: e.fit(X, Y), match)
        check_refused(tiny(family, **{name: value}), lambda e: e.partial_fit(X, Y, classes=[0, 1, 2]), match)


@families
def test_a_fitted_estimator_outlives_a_wrong_parameter(family):
    for name in SHARED | OWN[family]:
        value = (SHARED | OWN[family])[name][0]
        estimator = fitted(family)
        good, codes = getattr(estimator, name), estimator.transform(X)
        estimator.set_params(**{name: value})
        attributes = set(vars(estimator))
        with pytest.raises((ValueError, TypeError), match=name):
            estimator.fit(X[:20], Y[:20])
        assert set(vars(estimator)) == attributes
        assert np.array_equal(estimator.set_params(**{name: good}).transform(X), codes)


@families
def test_every_parameter_has_bad_values_in_these_tests(family):
    assert set(SHARED | OWN[family]) | {"unlabeled"} == set(family().get_params())


@families
def test_an_unknown_parameter_is_refused(family):
    with pytest.raises(TypeError, match="n_codes"):
        family(n_codes=3)
    with pytest.raises(ValueError, match="n_codes"):
        family().set_params(n_codes=3)


@families
@pytest.mark.parametrize(("low", "high"), [(-0.25, 1.0), (0.0, 1.5)])
def test_a_bernoulli_likelihood_wants_values_between_zero_and_one(family, low, high):
    rows = np.linspace(low, high, 120).reshape(30, 4)
    outside = low if low < 0 else high
    match = rf"likelihood='bernoulli' X must lie in \[0, 1\], got values in \[.*{outside:g}"
    check_refused(tiny(family, likelihood="bernoulli"), lambda e: e.fit(rows), match)
    check_refused(tiny(family, likelihood="bernoulli"), lambda e: e.fit(csr_matrix(rows)), match)
    check_refused(tiny(family, likelihood="bernoulli"), lambda e: e.fit(rows.clip(0, 1), X_val=rows), match)
    estimator = tiny(family, likelihood="bernoulli").fit(rows.clip(0, 1))
    with pytest.raises(ValueError, match=match):
        estimator.transform(rows)


def test_the_importance_weighted_bound_has_no_beta():
    estimator = tiny(VariationalAutoencoder, n_draws=3, beta=0.5)
    check_refused(estimator, lambda e: e.fit(X), r"n_draws=3.*beta=0\.5")


# Terms of the user


def two_values_a_sample(module, batch, trace):
    return trace["code"]


def one_value_too_few(module, batch, trace):
    return trace["code"].sum(1)[1:]


def a_value_a_component(module, batch, trace):
    return trace["code"].mean(0)


def a_number(module, batch, trace):
    return 0.5


def an_array(module, batch, trace):
    return np.zeros(len(batch.x))


def nothing(module, batch, trace):
    return None


def too_few_arguments(module, batch):
    return batch.x.sum(1)


@pytest.mark.parametrize("batch_size", ["auto", 8])
@pytest.mark.parametrize(
    ("penalty", "match"),
    [
        (two_values_a_sample, r"penalty.*one value per sample.*shape \(\d+, 2\)"),
        (one_value_too_few, r"penalty.*one value per sample.*shape \(\d+,\)"),
        (a_value_a_component, r"penalty.*one value per sample.*shape \(2,\)"),
        (a_number, "penalty.*tensor.*float"),
        (an_array, "penalty.*tensor.*ndarray"),
        (nothing, "penalty.*tensor.*NoneType"),
        (too_few_arguments, "too_few_arguments"),
    ],
)
def test_a_penalty_that_returns_something_else_is_refused(penalty, match, batch_size):
    settings = {"penalty": penalty, "batch_size": batch_size}
    check_refused(tiny(RegularizedAutoencoder, **settings), lambda e: e.fit(X), match)
    check_refused(fitted(RegularizedAutoencoder, **settings), lambda e: e.fit(X, Y), match)
    check_refused(fitted(RegularizedAutoencoder, **settings), lambda e: e.partial_fit(X, Y), match)
    check_refused(fitted(RegularizedAutoencoder, **settings, warm_start=True), lambda e: e.fit(X, Y), match)


def not_a_number(module, batch, trace):
    return trace["code"].sum(1) * float("nan")


def test_a_penalty_that_is_not_a_number_is_refused_at_once():
    check_refused(fitted(RegularizedAutoencoder, penalty=not_a_number), lambda e: e.fit(X, Y), "finite.*nan.*epoch 1")


# Training that fails

DIVERGING = {"learning_rate": 1e200, "learning_rate_schedule": "constant"}


@families
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", ["auto", 8])
def test_a_loss_that_is_not_finite_ends_the_fit(family, dtype, batch_size):
    rows = X.astype(dtype)
    settings = DIVERGING | {"batch_size": batch_size}
    match = r"(?s)finite.*epoch \d.*learning rate.*1e\+200"
    check_refused(tiny(family, **settings), lambda e: e.fit(rows, Y), match)
    check_refused(fitted(family, **settings), lambda e: e.fit(rows, Y), match)
    check_refused(fitted(family, **settings, warm_start=True), lambda e: e.fit(rows, Y), match)


@families
def test_a_loss_that_is_not_finite_ends_partial_fit(family):
    settings = DIVERGING | {"batch_size": 8}
    match = r"(?s)finite.*epoch \d.*learning rate.*1e\+200"
    check_refused(tiny(family, **settings), lambda e: e.partial_fit(X, Y, classes=[0, 1, 2]), match)
    # A fitted estimator keeps the learning rates that it began with or takes the new ones: in either case no half step.
    estimator = fitted(family, **settings)
    before = learned(estimator)
    try:
        estimator.partial_fit(X, Y)
    except ValueError as error:
        assert re.search(match, str(error))  # noqa: PT017
        assert learned(estimator) == before
    assert np.isfinite(estimator.transform(X)).all()


@families
@pytest.mark.parametrize("learning_rate", [1e6, 1e200])
def test_the_usual_too_large_learning_rate_is_an_error_in_single_precision(family, learning_rate):
    settings = {"learning_rate": learning_rate, "learning_rate_schedule": "constant", "max_iter": 10}
    check_refused(tiny(family, **settings), lambda e: e.fit(X.astype(np.float32), Y), "finite.*epoch")


@families
@pytest.mark.parametrize("max_iter", [1, 3])
def test_a_fit_that_returns_gives_finite_codes(family, max_iter):
    estimator = tiny(family, **DIVERGING, max_iter=max_iter)
    try:
        estimator.fit(X, Y)
    except ValueError as error:
        assert "finite" in str(error)  # noqa: PT017
        assert not hasattr(estimator, "n_features_in_")
    else:
        assert np.isfinite(estimator.transform(X)).all()


@families
def test_an_error_names_a_value_that_is_not_finite(family):
    with pytest.raises(ValueError, match="got (nan|inf|-inf)"):
        tiny(family, **DIVERGING).fit(X, Y)


class Interrupt(Callback):
    """Press Ctrl-C in the third batch."""

    def initialize(self):
        self.batches = 0
        return self

    def on_batch_end(self, net, training=True, **kwargs):
        self.batches += 1
        if self.batches == 3:
            raise KeyboardInterrupt


class Break(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("the user's callback")


@families
def test_an_interrupted_fit_is_no_fit(family):
    settings = {"callbacks": [Interrupt()], "batch_size": 8}
    check_refused(tiny(family, **settings), lambda e: e.fit(X, Y), None, error=KeyboardInterrupt)
    check_refused(fitted(family, **settings), lambda e: e.fit(X, Y), None, error=KeyboardInterrupt)
    check_refused(fitted(family, **settings), lambda e: e.partial_fit(X, Y), None, error=KeyboardInterrupt)
    check_refused(fitted(family, **settings, warm_start=True), lambda e: e.fit(X, Y), None, error=KeyboardInterrupt)


@families
def test_an_error_in_a_callback_leaves_the_estimator_as_it_was(family):
    check_refused(tiny(family, callbacks=[Break()]), lambda e: e.fit(X, Y), "user's callback", error=RuntimeError)
    for settings in ({}, {"warm_start": True}):
        estimator = fitted(family, callbacks=[Break()], **settings)
        check_refused(estimator, lambda e: e.fit(X, Y), "user's callback", error=RuntimeError)


@families
def test_frozen_parameters_are_refused(family):
    check_refused(
        tiny(family, callbacks=[Freezer("encoder*")]), lambda e: e.fit(X, Y), "got frozen ones: encoder.0.weight"
    )


@pytest.mark.parametrize(
    "scoring", [EpochScoring("r2"), BatchScoring("r2"), ("named", EpochScoring("r2"))], ids=["epoch", "batch", "named"]
)
def test_callbacks_that_score_are_refused(scoring):
    check_refused(
        tiny(RegularizedAutoencoder, callbacks=[scoring]),
        lambda e: e.fit(X, Y),
        "callbacks must not score rows",
        error=TypeError,
    )


@families
def test_a_refused_call_does_not_move_a_random_state_of_the_user(family):
    random = np.random.RandomState(0)
    estimator = tiny(family, random_state=random)
    with pytest.raises(ValueError, match="infinity"):
        estimator.fit(with_cell(np.inf))
    assert random.randint(2**31) == np.random.RandomState(0).randint(2**31)


# Columns without information are no error


@families
@pytest.mark.parametrize("scale", [True, "common", False])
@pytest.mark.parametrize("container", [np.asarray, csr_matrix])
def test_a_constant_column_works(family, container, scale):
    rows = X.copy()
    rows[:, 2] = 7.0
    estimator = tiny(family, scale=scale).fit(container(rows), Y)  # without a warning, as scikit-learn's scalers
    assert np.isfinite(estimator.transform(rows)).all()
    assert np.isfinite(estimator.score_samples(rows)).all()
    assert np.isfinite(estimator.sample(5, random_state=0)).all()


@families
@pytest.mark.parametrize("scale", [True, "common", False])
@pytest.mark.parametrize("container", [np.asarray, csr_matrix])
def test_a_column_without_an_observed_value_warns_and_works(family, container, scale):
    rows = X.copy()
    rows[:, 2] = np.nan
    estimator = tiny(family, scale=scale)
    with pytest.warns(UserWarning, match=r"columns \[2\]"):
        estimator.fit(container(rows), Y)
    for seen in (rows, X):  # with the column missing, and with values in it
        assert np.isfinite(estimator.transform(seen)).all()
        assert np.isfinite(estimator.score_samples(seen)).all()
    assert np.isfinite(estimator.inverse_transform(estimator.transform(rows))).all()
    assert np.isfinite(estimator.sample(5, random_state=0)).all()


@families
def test_the_warning_of_a_column_without_a_value_points_to_the_line_of_the_user(family):
    rows = X.copy()
    rows[:, 2] = np.nan
    for call in (lambda: tiny(family).fit(rows), lambda: make_pipeline(FunctionTransformer(), tiny(family)).fit(rows)):
        with pytest.warns(UserWarning, match=r"columns \[2\] have no observed value") as warned:
            call()
        assert [warning.filename for warning in warned] == [__file__]


# Numbers beyond the reach of the arithmetic


METHODS = ["transform", "predict", "predict_proba", "predict_log_proba", "score", "score_samples", *READOUTS, "impute"]


def in_pandas(rows):
    return pd.DataFrame(rows, columns=list("abcd"))


def in_polars(rows):
    return pl.DataFrame(rows, schema=list("abcd"))


@families
@pytest.mark.parametrize("value", [1e40, -1e40])
@pytest.mark.parametrize("container", [np.asarray, csr_matrix, in_pandas, in_polars])
def test_a_number_that_single_precision_does_not_reach_is_refused_by_its_column(family, value, container):
    estimator = tiny(family, precision="float32").fit(container(X), Y)
    before = pickle.dumps(estimator)
    far = container(with_cell(value))
    for method in METHODS + (["discriminate"] if family is AdversarialAutoencoder else []):
        with pytest.raises(ValueError, match=r"finite once scaled, .* got -?1e\+40 in column ('b'|1)"):
            getattr(estimator, method)(far)
    with pytest.raises(ValueError, match="finite once scaled|too large"):
        tiny(family, precision="float32", scale=False).fit(far)
    assert pickle.dumps(estimator) == before


@families
def test_a_number_of_which_no_finite_score_comes_is_refused_by_its_column(family):
    estimator = tiny(family, precision="float32").fit(X)
    with pytest.raises(ValueError, match=r"got 1e\+30 in column 1 \(row 3\).*precision='float64'"):
        estimator.score_samples(with_cell(1e30))
    exact = tiny(family, precision="float64").fit(X)
    assert np.isfinite(exact.score_samples(with_cell(1e30))).all()


@families
def test_codes_of_which_no_finite_row_comes_are_refused(family):
    estimator = tiny(family, precision="float32", activation="relu").fit(X)
    with pytest.raises(ValueError, match=r"codes must be such that finite rows come of them, got .*1e\+300"):
        estimator.inverse_transform(np.full((2, estimator.n_components), 1e300))


# Tables that are none


TABLES = {
    "no rows": (pd.DataFrame({"c": ["a", "b"]})[:0], ValueError, r"0 sample\(s\) \(shape=\(0, 1\)\)"),
    "no columns": (pd.DataFrame(index=range(4)), ValueError, r"0 feature\(s\) \(shape=\(4, 0\)\)"),
    "polars, no rows": (pl.DataFrame({"c": ["a"]})[:0], ValueError, r"0 sample\(s\)"),
    "polars, nothing": (pl.DataFrame(), ValueError, r"0 sample\(s\) \(shape=\(0, 0\)\)"),
    "lazy": (pl.LazyFrame({"c": [1.0, 2.0]}), TypeError, r"got LazyFrame: call its method collect\(\)"),
    "times": (
        np.arange(8).reshape(4, 2).astype("M8[D]"),
        TypeError,
        r"must hold numbers, got times \(datetime64\[D\]\)",
    ),
    "durations": (np.arange(8).reshape(4, 2).astype("m8[D]"), TypeError, "must hold numbers, got times"),
    "infinity": (pd.DataFrame({"a": [1.0], "c": [np.inf]}), ValueError, "in column 'c': .*infinity"),
    "infinities": (pl.DataFrame({"a": [1.0] * 2, "c": [np.inf, -np.inf]}), ValueError, "in column 'c': .*infinity"),
}


@families
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(("rows", "error", "match"), TABLES.values(), ids=TABLES)
def test_a_table_that_is_none_is_refused_in_words(family, rows, error, match):
    with pytest.raises(error, match=match):
        tiny(family).fit(rows)
    estimator = tiny(family).fit(pd.DataFrame({"c": ["a", "b"] * 5}))
    for method in ("transform", "score_samples", *READOUTS, "impute"):
        with pytest.raises((ValueError, TypeError), match=rf"{match}|DataFrame|feature"):
            getattr(estimator, method)(rows)


@families
@pytest.mark.parametrize("library", [pd, pl])
def test_a_word_in_a_column_of_numbers_is_refused_by_its_column(family, library):
    estimator = tiny(family).fit(library.DataFrame({"a": X[:, 0], "b": X[:, 1]}))
    for method in ("transform", "score_samples", *READOUTS, "impute"):
        with pytest.raises(ValueError, match="in column 'b': could not convert string to float: 'word'"):
            getattr(estimator, method)(library.DataFrame({"a": [1.0], "b": ["word"]}))


REFUSED = {
    "times": pl.Series("b", [dt.date(2020, 1, 1)]),
    "128 bits": pl.Series("b", [1], dtype=pl.Int128),
    "times of pandas": pd.Series([pd.Timestamp(0)], name="b"),
    "complex": pd.Series([1j], name="b"),
    "durations of pandas": pd.Series([pd.Timedelta(0)], name="b"),
}


@families
@pytest.mark.parametrize("column", REFUSED.values(), ids=REFUSED)
def test_a_dtype_that_a_fit_refuses_is_refused_afterwards_by_its_column(family, column):
    library = pd if isinstance(column, pd.Series) else pl
    estimator = tiny(family).fit(library.DataFrame({"a": X[:, 0], "b": X[:, 1]}))
    for method in ("transform", "score_samples", *READOUTS, "impute"):
        with pytest.raises((TypeError, ValueError), match="must hold numbers.*in column 'b'"):
            getattr(estimator, method)(library.DataFrame({"a": [1.0], "b": column}))


@families
def test_complex_numbers_are_refused_beside_nullable_ones_as_well(family):
    rows = pd.DataFrame({"a": pd.Series(X[:, 0], dtype="Float32"), "b": pd.Series(X[:, 1], dtype=">f8")})
    estimator = tiny(family).fit(rows)
    for method in ("transform", "score_samples", "impute", "partial_fit"):  # pandas would drop imaginary parts
        with pytest.raises(TypeError, match="got complex numbers in column 'b'"):
            getattr(estimator, method)(rows.assign(b=X[:, 1] + 1j))


MIXED = {"words": [1, "a"], "truth": [True, 1], "unsortable": [(1,), ("a",)], "uncountable": [[1], [2]]}


@families
@pytest.mark.parametrize("cells", MIXED.values(), ids=MIXED)
def test_categories_of_several_types_are_refused_by_their_column(family, cells):
    frame = pd.DataFrame({"a": np.arange(10.0), "b": pd.Series(cells * 5, dtype=object)})
    with pytest.raises(TypeError, match="categories .* in column 'b': convert them"):
        tiny(family, categorical_features=["b"]).fit(frame)


@families
def test_a_sparse_matrix_has_no_categories(family):
    with pytest.raises(TypeError, match="categorical_features must name no column of a sparse matrix, got column 1"):
        tiny(family, categorical_features=[1]).fit(csr_matrix(X))


@families
def test_categories_that_are_all_new_are_told_of(family):
    estimator = tiny(family).fit(pd.DataFrame({"c": ["a", "b"] * 5}))
    with pytest.warns(
        UserWarning, match="no category of column 'c' was in the fit, got .*'y'.* where the fit had .*'a'"
    ):
        estimator.transform(pd.DataFrame({"c": ["y", "z"]}))
    estimator.transform(pd.DataFrame({"c": ["a", "z"]}))  # one of them is known: nothing to tell


@families
@pytest.mark.parametrize("container", [np.asarray, csr_matrix])
def test_a_column_that_spreads_too_far_is_refused_by_its_number(family, container):
    with pytest.raises(
        ValueError,
        match=r"X must have a finite variance, got infinite numbers, or ones that are too large, in columns \[1\]",
    ):
        tiny(family).fit(container(with_cell(1e300)))


@families
def test_infinity_among_long_doubles_is_refused_without_a_warning(family):
    rows = X.astype(np.longdouble)
    rows[3, 1], rows[4, 1] = np.inf, -np.inf
    with pytest.raises(ValueError, match="contains infinity"):
        tiny(family).fit(rows)


@families
@pytest.mark.parametrize("y", [np.ma.MaskedArray([0, 1], [False, True]), [0, None], [[0], [1]], {0}, {}, [0, "a"]])
def test_what_is_no_class_is_refused_by_sample(family, y):
    check_refused(fitted(family), lambda e: e.sample(2, y=y), "y must be a class or hold n_samples=2 of the classes")


@families
def test_a_device_without_memory_is_refused(family):
    check_refused(tiny(family, device="meta"), lambda e: e.fit(X), "device must be one .* device='meta'")


@families
@pytest.mark.parametrize("weights", [["a"] * 4, [None, 1.0, 1.0, 1.0], {0: "a"}, "a", [[1.0] * 4]], ids=repr)
def test_column_weights_that_are_no_numbers_are_refused(family, weights):
    match = "column_weight must hold 4 numbers|The 'column_weight' parameter"
    check_refused(tiny(family, column_weight=weights), lambda e: e.fit(X), match)
