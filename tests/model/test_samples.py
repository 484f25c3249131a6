"""Rows, targets and weights: taken together, split, and checked."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from sklearn_ae.estimators.inputs import check_weight
from sklearn_ae.model.samples import Samples, with_mean_one
from sklearn_ae.tables.sources import Array, Sparse

N = 60
X = np.arange(N, dtype=float).reshape(-1, 1).repeat(2, axis=1)
Y = np.repeat([0, 1, 2], [30, 20, 10])
WEIGHT = np.arange(N) + 1.0


def split(samples, fraction=0.2, by_class=True, seed=0):
    strata = strata_of(samples.y) if by_class and samples.y is not None else None
    return samples.split(fraction, strata, np.random.RandomState(seed))


def strata_of(y):
    number = {label: i for i, label in enumerate(dict.fromkeys(map(str, y)))}
    return np.array([number[str(label)] for label in y])


def index_of(samples):
    return samples.X[:][:, 0].astype(int)


# Rows of a table


@pytest.mark.parametrize("source", [Array(X), Sparse(csr_matrix(X))], ids=["dense", "sparse"])
def test_rows_are_taken_with_their_targets_and_weights(source):
    taken = Samples(source, Y, WEIGHT).take(np.array([5, 59, 5]))
    assert index_of(taken).tolist() == [5, 59, 5]
    assert taken.y.tolist() == [0, 2, 0]
    assert taken.weight.tolist() == [6, 60, 6]


def test_what_is_not_there_is_not_taken():
    taken = Samples(Array(X)).take(np.array([1]))
    assert taken.y is None
    assert taken.weight is None


def test_rows_of_weight_zero_are_left_out():
    weight = np.where(np.arange(N) % 2, 2.0, 0.0)
    kept = Samples(Array(X), Y, weight).with_positive_weight()
    assert index_of(kept).tolist() == list(range(1, N, 2))
    assert kept.y.tolist() == Y[1::2].tolist()
    assert (kept.weight == 2).all()


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_without_rows_of_weight_zero_nothing_is_copied(weight):
    samples = Samples(Array(X), Y, weight)
    assert samples.with_positive_weight() is samples


# Splits


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("y", [None, Y], ids=["no y", "y"])
def test_a_split_gives_every_row_to_one_of_the_parts(fraction, y):
    kept, aside = split(Samples(Array(X), y, WEIGHT), fraction)
    assert sorted([*index_of(kept), *index_of(aside)]) == list(range(N))
    assert aside.X.shape[0] == max(1, round(fraction * N))
    for part in (kept, aside):
        assert part.weight.tolist() == (index_of(part) + 1).tolist()
        assert y is None or part.y.tolist() == Y[index_of(part)].tolist()


def test_a_split_is_shuffled_and_depends_on_the_seed_only():
    first, again, other = (index_of(split(Samples(Array(X)), seed=seed)[1]).tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert first != sorted(first)
    assert sorted(first) != list(range(N - 12, N))


def test_a_split_is_stratified_by_class():
    kept, aside = split(Samples(Array(X), Y))
    assert np.bincount(aside.y).tolist() == [6, 4, 2]
    assert np.bincount(kept.y).tolist() == [24, 16, 8]


def test_values_are_not_stratified():
    counts = {
        tuple(np.bincount(split(Samples(Array(X), Y), by_class=False, seed=seed)[1].y, minlength=3))
        for seed in range(5)
    }
    assert len(counts) > 1


@pytest.mark.parametrize(
    "y",
    [np.arange(N) == 0, np.arange(N), np.arange(N) // 2],
    ids=["lone row", "all lone", "more classes than rows aside"],
)
def test_where_a_class_is_too_small_the_split_is_not_stratified(y):
    kept, aside = split(Samples(Array(X), y), 0.1)
    assert (kept.X.shape[0], aside.X.shape[0]) == (54, 6)


@pytest.mark.parametrize(
    "y",
    [
        np.where(np.arange(N) % 4 == 0, -1, Y),
        np.where(np.arange(N) % 4 == 0, np.nan, Y),
        np.where(np.arange(N) % 4 == 0, "?", Y.astype(str)),
        np.where(np.arange(N) % 4 == 0, -1, Y.astype(str).astype(object)),
        np.where(np.arange(N) % 4 == 0, np.nan, Y.astype(str).astype(object)),
    ],
    ids=["-1", "nan", "string", "objects and -1", "objects and nan"],
)
def test_unlabelled_rows_are_a_class_of_a_split(y):
    kept, aside = split(Samples(Array(X), y))
    unlabelled = np.arange(N) % 4 == 0
    assert unlabelled[index_of(aside)].sum() == 3
    assert unlabelled[index_of(kept)].sum() == 12


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9, 0.99])
def test_both_parts_of_a_split_have_rows(n, fraction):
    kept, aside = split(Samples(Array(X[:n])), fraction)
    assert kept.X.shape[0] + aside.X.shape[0] == n
    assert kept.X.shape[0] >= 1
    assert aside.X.shape[0] >= 1


def test_one_row_cannot_be_split():
    with pytest.raises(ValueError, match="needs at least 2 rows, got 1. Give X_val"):
        split(Samples(Array(X[:1])))


# Weights


def test_no_weights_are_no_weights():
    assert check_weight(None, X) is None


@pytest.mark.parametrize("weight", [WEIGHT.tolist(), WEIGHT.astype(np.float32), WEIGHT.astype(int)])
def test_weights_become_an_array_of_floats(weight):
    checked = check_weight(weight, X)
    assert checked.dtype == np.float64
    assert checked.tolist() == WEIGHT.tolist()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (WEIGHT[:, None], r"sample_weight must be 1-dimensional, got shape \(60, 1\)"),
        (WEIGHT[:-1], "inconsistent numbers of samples"),
        (WEIGHT - 3, "sample_weight must not be negative, got -2"),
        (np.zeros(N), "sample_weight must hold a non-zero value, got zeros only"),
        (np.where(WEIGHT > 5, WEIGHT, np.nan), "Input sample_weight contains NaN"),
        (np.where(WEIGHT > 5, WEIGHT, np.inf), "Input sample_weight contains infinity"),
        (["heavy"] * N, "could not convert string to float"),
    ],
    ids=["2d", "too few", "negative", "zero", "nan", "inf", "strings"],
)
def test_bad_weights_raise_and_say_why(weight, message):
    with pytest.raises(ValueError, match=message):
        check_weight(weight, X)


def test_weights_are_brought_to_a_mean_of_one():
    scaled = with_mean_one(WEIGHT)
    assert scaled.mean() == pytest.approx(1)
    assert scaled / scaled[0] == pytest.approx(WEIGHT)
    assert with_mean_one(1e9 * WEIGHT) == pytest.approx(scaled)
    assert with_mean_one(np.zeros(3)).tolist() == [0, 0, 0]
