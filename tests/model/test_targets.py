"""What y means: classes, values or nothing, some of them perhaps unknown."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.model.labels import check_labeled, check_target, is_unlabeled
from sklearn_ae.model.learned_target import TARGETS
from sklearn_ae.model.targets import NoTarget, ValueTarget
from sklearn_ae.objectives import terms
from tests.families import families
from tests.families import tiny as families_tiny

N = 12
ONES, WEIGHT = np.ones(N), np.arange(N) + 1.0
UNKNOWN = np.arange(N) % 4 == 0
INDEX = np.array([0, 1, 2, 0, 1, 2, 0, 2, 2, 2, 1, 0])
LETTERS = np.array(["ant", "bee", "cat"])

# labels, marker, classes
CLASSES = {
    "-1": (np.where(UNKNOWN, -1, INDEX), -1, [0, 1, 2]),
    "-1 among floats": (np.where(UNKNOWN, -1.0, INDEX), -1, [0, 1, 2]),
    "nan": (np.where(UNKNOWN, np.nan, INDEX), np.nan, [0, 1, 2]),
    "a string": (np.where(UNKNOWN, "?", LETTERS[INDEX]), "?", list(LETTERS)),
    "objects and a string": (np.where(UNKNOWN, "", LETTERS[INDEX].astype(object)), "", list(LETTERS)),
    "objects and nan": (np.where(UNKNOWN, np.nan, LETTERS[INDEX].astype(object)), np.nan, list(LETTERS)),
    "objects and -1": (np.where(UNKNOWN, -1, LETTERS[INDEX].astype(object)), -1, list(LETTERS)),
    "large labels": (np.where(UNKNOWN, -1, 100 * INDEX + 7), -1, [7, 107, 207]),
}
classes = pytest.mark.parametrize(("y", "marker", "labels"), CLASSES.values(), ids=CLASSES)

X = np.random.default_rng(0).normal(size=(N, 3)) + INDEX[:, None]


tiny = partial(families_tiny, activation="relu", max_iter=3)


def learned(y, unlabeled=None, class_weight=None, weight=None, task="classification"):
    return TARGETS[task].learn(np.asarray(y), weight, unlabeled, class_weight)


# Unlabelled rows


@classes
def test_the_marker_tells_which_rows_are_unlabelled(y, marker, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_unlabeled(y, marker).tolist() == UNKNOWN.tolist()
    assert not is_unlabeled(y, None).any()


@pytest.mark.parametrize("marker", [-1, "?", np.nan, -1.0])
@pytest.mark.parametrize("y", [INDEX, LETTERS[INDEX], INDEX.astype(float), LETTERS[INDEX].astype(object), INDEX == 1])
def test_a_marker_of_another_kind_marks_nothing(y, marker):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = is_unlabeled(y, marker)
    assert found.dtype == bool
    assert found.tolist() == [False] * N


@pytest.mark.parametrize("marker", [float("nan"), np.nan, np.float64("nan"), np.float32("nan")], ids=repr)
def test_every_nan_is_a_marker(marker):
    assert is_unlabeled(np.array([1.0, np.nan]), marker).tolist() == [False, True]


@classes
def test_a_target_is_checked_on_its_labelled_rows(y, marker, labels):
    checked = check_target(y, marker)
    assert checked.shape == (N,)
    assert checked[~UNKNOWN].tolist() == y[~UNKNOWN].tolist()


@pytest.mark.parametrize(("value", "message"), [(np.nan, "y contains NaN"), (np.inf, "y contains infinity")])
def test_a_labelled_row_must_be_finite(value, message):
    y = np.where(UNKNOWN, -1.0, INDEX)
    y[5] = value
    with pytest.raises(ValueError, match=message):
        check_target(y, -1)


def test_a_target_has_at_most_two_dimensions():
    with pytest.raises(ValueError, match="dim 3"):
        check_target(np.ones((N, 2, 2)), None)


@pytest.mark.parametrize(("y", "marker"), [(np.full(N, -1), -1), (np.full(N, np.nan), np.nan)])
def test_at_least_one_row_has_a_label(y, marker):
    with pytest.raises(ValueError, match=f"at least one labelled sample, got 12 times {marker!r}"):
        check_labeled(y, marker)


def test_a_marker_that_marks_nothing_warns():
    with pytest.warns(UserWarning, match="unlabeled must be a value of y, got -1"):
        check_labeled(INDEX, -1)


@pytest.mark.parametrize(("y", "marker"), [(INDEX, None), (np.where(UNKNOWN, -1, INDEX), -1)])
def test_a_marker_in_use_and_no_marker_do_not_warn(y, marker):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_labeled(y, marker)


# Classes


@classes
def test_classes_are_the_sorted_labels_without_the_marker(y, marker, labels):
    target = learned(y, marker)
    assert target.classes.tolist() == labels
    assert target.n_outputs == 3
    assert target.terms["target"] is terms.class_target


@classes
def test_a_label_is_encoded_as_its_index_and_an_unlabelled_row_counts_nothing(y, marker, labels):
    index, weight = learned(y, marker).encode(y, ONES)
    assert index.dtype == np.int64
    assert index[~UNKNOWN].tolist() == INDEX[~UNKNOWN].tolist()
    assert ((index >= 0) & (index < 3)).all()
    assert weight.tolist() == (~UNKNOWN).astype(float).tolist()


@classes
def test_the_prediction_is_the_label_of_the_largest_output(y, marker, labels):
    prediction = learned(y, marker).predict(np.eye(3)[INDEX])
    assert prediction.tolist() == [labels[i] for i in INDEX]


@pytest.mark.parametrize("target", [learned(INDEX), learned([0.5, 1.5], task="regression")], ids=["classes", "values"])
def test_without_y_no_row_counts(target):
    encoded, weight = target.encode(None, ONES)
    assert weight.tolist() == [0] * N
    assert encoded.shape == (N,)


def test_without_y_a_class_is_still_an_index():
    assert learned(INDEX).encode(None, ONES)[0].dtype == np.int64


def test_labels_that_were_not_learned_raise():
    target = learned(INDEX)
    with pytest.raises(ValueError, match=r"y must hold labels of .*0.*1.*2.* only, got .*5"):
        target.encode(np.array([0, 5]), ONES[:2])


def test_a_part_of_the_labels_is_enough():
    assert learned(INDEX).encode(np.array([2, 2]), ONES[:2])[0].tolist() == [2, 2]


@pytest.mark.parametrize("y", [np.linspace(0, 1, N), np.array([0.5, 1.5] * 6)])
def test_values_are_no_classes_and_the_error_names_the_ways_out(y):
    with pytest.raises(ValueError, match="Unknown label type: continuous.*task='regression'.*task=None"):
        learned(y)


def test_a_class_minus_one_that_may_be_a_marker_warns():
    with pytest.warns(UserWarning, match="set unlabeled=-1"):
        learned([-1, 0, 1])


@pytest.mark.parametrize(("y", "marker"), [([-1, 1, 1, -1], None), ([-1, 0, 1], -1), ([0, 1, 2], None)])
def test_two_classes_or_a_marker_do_not_warn(y, marker):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned(y, marker)


# Weights of classes


@classes
def test_balanced_classes_are_weighted_as_scikit_learn_does(y, marker, labels):
    _, weight = learned(y, marker, "balanced").encode(y, ONES)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=INDEX[~UNKNOWN])
    assert weight == pytest.approx(np.where(UNKNOWN, 0, expected[INDEX]))


@classes
def test_balanced_classes_weigh_alike_whatever_the_rows_weigh(y, marker, labels):
    _, weight = learned(y, marker, "balanced").encode(y, WEIGHT)
    sizes = np.bincount(INDEX[~UNKNOWN], weights=weight[~UNKNOWN])
    assert sizes == pytest.approx([WEIGHT[~UNKNOWN].sum() / 3] * 3)
    of_first = np.flatnonzero(~UNKNOWN & (INDEX == 0))
    assert weight[of_first] / WEIGHT[of_first] == pytest.approx(
        [weight[of_first[0]] / WEIGHT[of_first[0]]] * len(of_first)
    )


def test_weights_of_rows_and_of_classes_are_multiplied():
    given = {0: 1.0, 1: 2.0, 2: 0.5}
    _, weight = learned(INDEX, class_weight=given).encode(INDEX, WEIGHT)
    assert weight == pytest.approx(WEIGHT * compute_sample_weight(given, INDEX))


@classes
def test_a_row_counts_as_much_as_it_weighs(y, marker, labels):
    assert learned(y, marker).encode(y, WEIGHT)[1].tolist() == np.where(UNKNOWN, 0, WEIGHT).tolist()


@pytest.mark.parametrize("given", [{0: 1.0, 1: 2.0, 2: 0.5}, {1: 3.0}, {}], ids=str)
def test_weights_of_classes_may_be_given(given):
    _, weight = learned(INDEX, class_weight=given).encode(INDEX, ONES)
    assert weight.tolist() == [given.get(label, 1.0) for label in INDEX]


def test_weights_of_classes_may_be_given_for_strings():
    y = CLASSES["objects and nan"][0]
    _, weight = learned(y, np.nan, {"bee": 3.0}).encode(y, ONES)
    assert weight.tolist() == np.where(UNKNOWN, 0, np.where(INDEX == 1, 3.0, 1.0)).tolist()


def test_weights_of_classes_that_some_rows_lack_say_nothing_about_them():
    _, weight = learned(INDEX, class_weight={0: 2.0, 1: 3.0}).encode(np.array([1, 1]), ONES[:2])
    assert weight.tolist() == [3, 3]


@pytest.mark.parametrize("given", [{0: 1.0, 9: 1.0}, {"ant": 1.0}], ids=str)
def test_weights_of_classes_that_do_not_exist_raise_as_in_scikit_learn(given):
    with pytest.raises(ValueError, match="class_weight"):
        learned(INDEX, class_weight=given).encode(INDEX, ONES)


@pytest.mark.parametrize("given", ["balanced", {0: 2.0}])
def test_unlabelled_rows_alone_have_no_class_to_weigh(given):
    _, weight = learned(np.where(UNKNOWN, -1, INDEX), -1, given).encode(np.array([-1, -1]), ONES[:2])
    assert weight.tolist() == [0, 0]


def test_values_have_no_class_weight():
    with pytest.raises(ValueError, match="class_weight must be None with task='regression', got 'balanced'"):
        learned(INDEX, class_weight="balanced", task="regression")


# Values

VALUES = np.array([3.0, -1, 4, 1, -5, 9, 2, 6, 5, 3, 5, 8])


def test_values_are_standardised():
    target = learned(VALUES, task="regression")
    encoded, weight = target.encode(VALUES, WEIGHT)
    assert encoded.mean() == pytest.approx(0, abs=1e-12)
    assert encoded.std() == pytest.approx(1)
    assert weight.tolist() == WEIGHT.tolist()
    assert target.predict(encoded[:, None]) == pytest.approx(VALUES)
    assert target.n_outputs == 1
    assert target.classes is None
    assert target.terms["target"] is terms.value_target


@pytest.mark.parametrize(
    ("y", "marker"),
    [
        (np.where(UNKNOWN, np.nan, VALUES), np.nan),
        (np.where(UNKNOWN, -999, VALUES), -999),
        (np.where(UNKNOWN, -999, VALUES.astype(int)), -999),
        (np.where(UNKNOWN, np.nan, VALUES.astype(object)), np.nan),
        (np.where(UNKNOWN, "?", VALUES.astype(object)), "?"),
    ],
    ids=["nan", "-999", "whole numbers", "objects and nan", "objects and a string"],
)
def test_unlabelled_values_neither_set_the_scale_nor_count(y, marker):
    target = learned(y, marker, task="regression")
    assert target.location == pytest.approx(VALUES[~UNKNOWN].mean())
    assert target.spread == pytest.approx(VALUES[~UNKNOWN].std())
    encoded, weight = target.encode(y, ONES)
    assert weight.tolist() == (~UNKNOWN).astype(float).tolist()
    assert np.isfinite(encoded).all()
    assert encoded[~UNKNOWN] == pytest.approx((VALUES[~UNKNOWN] - target.location) / target.spread)


def test_the_scale_of_values_goes_by_the_weights():
    weight = np.where(np.arange(N) < 2, 1.0, 0.0)
    target = learned(VALUES, weight=weight, task="regression")
    assert (target.location, target.spread) == (1, 2)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0])
def test_constant_values_are_predicted_as_they_are(value):
    target = learned(np.full(N, value), task="regression")
    encoded, _ = target.encode(np.full(N, value), N)
    assert np.isfinite(encoded).all()
    assert target.predict(np.zeros((1, 1))) == pytest.approx([value])


def test_many_classes_that_are_announced_are_no_reason_for_a_warning():
    X = np.random.RandomState(0).normal(size=(30, 3))
    estimator = RegularizedAutoencoder(2, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.partial_fit(X, np.arange(30) % 3, classes=np.arange(40))
        estimator.score(X, np.arange(30) % 3)


@families
@pytest.mark.parametrize(("location", "spread"), [(1e9, 1.0), (0.0, 1e-60), (0.0, 1e60), (5e3, 1e-3)])
def test_values_that_single_precision_cannot_hold_are_predicted_in_double(family, location, spread):
    rows = np.random.RandomState(0).normal(size=(60, 3)).astype(np.float32)
    near = rows[:, 0].astype(np.float64)
    settings = {"task": "regression", "max_iter": 40, "learning_rate": 0.05}
    expected = families_tiny(family, **settings).fit(rows, near)
    model = families_tiny(family, **settings).fit(rows, location + spread * near)
    assert model.predict(rows).dtype == np.float64
    assert model.score(rows, location + spread * near) == pytest.approx(expected.score(rows, near), abs=1e-3)
    assert expected.predict(rows).dtype == np.float32


def test_values_must_be_numbers():
    with pytest.raises(ValueError, match="with task='regression' y must hold numbers, got dtype"):
        learned(LETTERS, task="regression")


# No target


def test_without_a_target_nothing_is_encoded_and_y_cannot_come_later():
    assert NoTarget().encode(None, ONES) == (None, None)
    assert (NoTarget().n_outputs, len(NoTarget().terms), NoTarget().classes) == (0, 0, None)
    with pytest.raises(ValueError, match="fitted without y"):
        NoTarget().encode(INDEX, ONES)


# Scores


def test_the_score_of_classes_is_the_accuracy_and_of_values_the_explained_share():
    other = np.roll(INDEX, 1)
    for given in (None, WEIGHT):
        assert learned(INDEX).score(INDEX, other, given) == accuracy_score(INDEX, other, sample_weight=given)
        target = ValueTarget(0, 1)
        assert target.score(VALUES, VALUES + 1, given) == r2_score(VALUES, VALUES + 1, sample_weight=given)
    assert isinstance(learned(INDEX).score(INDEX, other, None), float)


@classes
def test_an_estimator_is_scored_on_the_labelled_rows(y, marker, labels):
    estimator = tiny(unlabeled=marker, max_iter=30).fit(X, y)
    assert list(estimator.classes_) == labels
    prediction = estimator.predict(X)
    assert set(prediction) <= set(labels)
    expected = np.mean(prediction[~UNKNOWN] == y[~UNKNOWN])
    assert estimator.score(X, y) == pytest.approx(expected)
    weighted = np.average(prediction[~UNKNOWN] == y[~UNKNOWN], weights=WEIGHT[~UNKNOWN])
    assert estimator.score(X, y, WEIGHT) == pytest.approx(weighted)


@classes
def test_an_estimator_stops_early_on_partly_labelled_rows(y, marker, labels):
    estimator = tiny(unlabeled=marker, early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert list(estimator.classes_) == labels


def test_the_label_of_an_unlabelled_row_does_not_matter():
    """Nothing of a row is learned but the row itself."""
    known = [np.where(UNKNOWN, marker, VALUES) for marker in (np.nan, -999.0)]
    first, second = (
        tiny(task="regression", unlabeled=marker).fit(X, y) for marker, y in zip((np.nan, -999.0), known, strict=True)
    )
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


@pytest.mark.parametrize("batch_size", [1, 3, N])
def test_weights_count_however_small_the_batches_are(batch_size):
    plain, *weighted = (
        tiny(max_iter=20, learning_rate=0.03, batch_size=batch_size, class_weight=class_weight)
        .fit(X, INDEX, sample_weight=weight)
        .predict_proba(X)
        for class_weight, weight in [(None, None), ({0: 100.0}, None), (None, np.where(INDEX == 0, 100.0, 1.0))]
    )
    for probabilities in weighted:
        assert probabilities[:, 0].mean() > plain[:, 0].mean() + 0.05


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("factor", [1e-15, 1e15])
def test_only_the_ratios_of_the_weights_of_rows_count(factor, class_weight):
    first, other = (
        tiny(class_weight=class_weight).fit(X, INDEX, sample_weight=weight) for weight in (WEIGHT, factor * WEIGHT)
    )
    assert other.history_["target"].tolist() == pytest.approx(first.history_["target"].tolist())
    assert other.loss_curve_ == pytest.approx(first.loss_curve_)


def test_a_balanced_fit_weighs_the_classes_alike():
    """A class of one row among many is predicted as often as its share of the weight says."""
    y = np.array([0] * 11 + [1])
    even = tiny(max_iter=200, learning_rate=0.03, class_weight="balanced", target_weight=100.0, n_components=1)
    plain = tiny(max_iter=200, learning_rate=0.03, target_weight=100.0, n_components=1)
    rows = np.zeros((N, 2)) + np.random.default_rng(0).normal(size=(N, 2)) * 1e-9 + np.arange(2)
    shares = [
        estimator.set_params(scale=False).fit(rows, y).predict_proba(rows)[:, 1].mean() for estimator in (plain, even)
    ]
    assert shares == pytest.approx([1 / 12, 1 / 2], abs=0.01)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_many_whole_numbers_are_classes_with_a_warning(dtype):
    y = np.arange(300).astype(dtype) // 3
    with pytest.warns(UserWarning, match="100 different numbers, taken as classes; set task='regression'"):
        assert TARGETS["classification"].learn(y, None, None, None).n_outputs == 100


@pytest.mark.parametrize(
    "y", [np.arange(300) % 40, np.array([f"class {i // 3}" for i in range(300)])], ids=["few", "names"]
)
def test_few_numbers_and_many_names_are_classes_without_a_word(y):
    TARGETS["classification"].learn(y, None, None, None)


# Odd kinds of y

GAP = {
    "masked": np.ma.MaskedArray([0, 1, 7] * 4, [False, False, True] * 4),
    "masked floats": np.ma.MaskedArray([0.0, 1.0, np.nan] * 4, [False, False, True] * 4),
    "objects": np.array(["a", "b", None] * 4, dtype=object),
    "NA": np.array(["a", "b", pd.NA] * 4, dtype=object),
    "Int64": pd.Series([0, 1, None] * 4, dtype="Int64"),
    "str": pd.Series(["a", "b", None] * 4),
    "category": pd.Series(["a", "b", None] * 4, dtype="category"),
    "polars": pl.Series(["a", "b", None] * 4),
    "polars numbers": pl.Series([0, 1, None] * 4),
    "polars categorical": pl.Series(["a", "b", None] * 4, dtype=pl.Categorical),
}


@pytest.mark.parametrize("y", GAP.values(), ids=GAP)
def test_a_gap_in_y_is_refused_unless_nan_marks_rows_without_a_label(y):
    for call in (lambda e: e.fit(X, y), lambda e: e.partial_fit(X, y, classes=[0, 1])):
        with pytest.raises(ValueError, match="Input y contains NaN"):
            call(tiny())
    with pytest.raises(ValueError, match="Input y contains NaN"):
        tiny().fit(X, INDEX).score(X, y)
    estimator = tiny(unlabeled=np.nan).fit(X, y)
    known = np.arange(N) % 3 < 2
    expected = tiny(unlabeled=-1).fit(X, np.where(known, np.arange(N) % 3, -1))
    assert [str(label) for label in estimator.classes_] in (["0", "1"], ["0.0", "1.0"], ["a", "b"])
    assert estimator.transform(X).tolist() == expected.transform(X).tolist()


def test_a_masked_value_is_no_value():
    y = np.ma.MaskedArray(np.where(UNKNOWN, 1e6, X[:, 0]), UNKNOWN)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        tiny(task="regression").fit(X, y)
    marked = tiny(task="regression", unlabeled=np.nan)
    assert marked.fit(X, y).predict(X).tolist() == marked.fit(X, y.filled(np.nan)).predict(X).tolist()
    whole = np.ma.MaskedArray(X[:, 0], np.zeros(N, dtype=bool))
    estimator = tiny(task="regression")
    assert estimator.fit(X, whole).predict(X).tolist() == estimator.fit(X, X[:, 0]).predict(X).tolist()


@pytest.mark.parametrize("weight", [np.ma.MaskedArray(np.ones(N), UNKNOWN), pd.Series([1, None] * 6, dtype="Int64")])
def test_a_gap_among_the_weights_is_refused(weight):
    estimator = tiny().fit(X, INDEX)
    for call in (estimator.fit, estimator.partial_fit, estimator.score):
        with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
            call(X, INDEX, sample_weight=weight)


def test_weights_that_are_no_numbers_are_refused_by_name():
    with pytest.raises(ValueError, match="sample_weight must hold finite numbers, got: could not convert string"):
        tiny().fit(X, sample_weight=["a"] * N)


def test_labels_of_several_types_are_refused_by_name():
    with pytest.raises(TypeError, match="y must hold labels of one type, numbers or strings, got int and str"):
        tiny().fit(X, np.array(["a", 0] * 6, dtype=object))
    with pytest.raises(ValueError, match=r"y must hold labels such as \[0, 1, 2\], got \['ant'"):
        tiny().fit(X, INDEX).score(X, LETTERS[INDEX])


@pytest.mark.parametrize("labels", [[{}], [{}, {}], ["a", 0], [None, ()]])
def test_labels_that_are_no_classes_are_refused_after_a_fit(labels):
    model = tiny().fit(X, INDEX)
    y = np.fromiter(labels * (N // len(labels)), dtype=object, count=N)
    with pytest.raises((TypeError, ValueError), match="y must hold labels|Input y contains NaN"):
        model.partial_fit(X, y)


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        ([], "classes must hold all labels that may come, in one dimension, got \\[\\]"),
        ([0.5, np.nan], "Input classes contains NaN"),
    ],
)
@pytest.mark.parametrize("y", [None, INDEX], ids=["without y", "with y"])
def test_classes_that_are_none_are_refused_by_name(classes, match, y):
    with pytest.raises(ValueError, match=match):
        tiny().partial_fit(X, y, classes=classes)


def test_warnings_of_y_point_to_the_line_of_the_user():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tiny().fit(np.ones((60, 1)), np.arange(60) % 55)
        tiny().fit(X, INDEX[:, None])
        tiny().fit(X, INDEX - 1)
        tiny(unlabeled=7).fit(X, INDEX)
        tiny(unlabeled=0).fit(X, INDEX).score(X, np.zeros(N))
    expected = ["55 different numbers", "1d array was", "holds a class -1", "no row of it is", "no row of y has"]
    assert [words in str(one.message) for words, one in zip(expected, warned, strict=True)] == [True] * 5
    assert {one.filename for one in warned} == {__file__}


@pytest.mark.parametrize("y", [np.arange(N).astype("M8[D]"), np.arange(N) + 1j], ids=["times", "complex"])
def test_values_that_are_no_numbers_are_refused(y):
    with pytest.raises((TypeError, ValueError), match="y must hold finite numbers|Complex data not supported"):
        tiny(task="regression").fit(X, y)
    with pytest.raises((TypeError, ValueError), match="sample_weight must hold (finite )?numbers"):
        tiny().fit(X, sample_weight=y.astype("m8[D]") if y.dtype.kind == "M" else y)


def test_values_of_infinite_variance_are_refused():
    with pytest.raises(ValueError, match=r"y must have a finite variance, got values up to 1\.1e\+301"):
        tiny(task="regression").fit(X, np.arange(N) * 1e300)


@pytest.mark.parametrize("y", [3, iter([0]), None], ids=["a number", "an iterator", "nothing"])
def test_what_is_no_column_is_refused_as_y(y):
    if y is None:
        assert not hasattr(tiny().fit(X, y), "classes_")
        return
    with pytest.raises(TypeError, match="y must hold a label or value for each row, got"):
        tiny().fit(X, y)


@pytest.mark.parametrize("marker", [pd.NA, pd.NaT, np.nan, float("nan")])
def test_any_missing_value_marks_the_rows_without_a_label(marker):
    y = np.array(["a", "b", None] * 4, dtype=object)
    expected = tiny(unlabeled="?").fit(X, np.array(["a", "b", "?"] * 4, dtype=object)).predict_proba(X)
    assert tiny(unlabeled=marker).fit(X, y).predict_proba(X).tolist() == expected.tolist()


@pytest.mark.parametrize("marker", [[0], np.array([0, 1]), {}, {1}])
def test_several_values_mark_no_row(marker):
    with pytest.raises(ValueError, match="'unlabeled' parameter .* must be a single value"):
        tiny(unlabeled=marker).fit(X, INDEX)
