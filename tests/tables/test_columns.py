"""A column as numbers and back."""

import numpy as np
import pytest

from sklearn_ae.tables.columns import Categories, Grouping, Truth, WholeNumber


def categories(values, order=None, **grouping):
    values = np.array(values, dtype=object)
    missing = np.array([value is None for value in values])
    return Categories.learn(values, missing, order, Grouping(**grouping)), values, missing


def numbered(column, values, unknown="ignore"):
    values = np.array(values, dtype=object)
    return column.numbered(values, np.array([v is None for v in values]), "column 'c'", unknown).tolist()


def test_categories_are_numbered_in_their_order_and_missing_ones_are_0():
    column, values, missing = categories(["b", "a", None, "b", "a", "c", "c"])
    assert numbered(column, values) == [2, 1, 0, 2, 1, 3, 3]
    assert column.restored(np.array([2.0, 0.0, 3.0])).tolist() == ["b", None, "c"]
    assert column.shares.tolist() == [1 / 3, 1 / 3, 1 / 3]


def test_the_order_of_a_dtype_is_kept_and_what_does_not_occur_is_left_out():
    column, *_ = categories(["lo", "hi", "lo", "hi"], order=["hi", "mid", "lo"])
    assert numbered(column, ["hi", "lo", "mid"]) == [1, 2, 0]


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [
        ({"min_frequency": 1}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}),
        ({"min_frequency": 2}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 4}),
        ({"min_frequency": 3}, {"a": 1, "b": 2, "c": 3, "d": 3, "e": 3}),
        ({"min_frequency": 0.2}, {"a": 1, "b": 2, "c": 3, "d": 3, "e": 3}),
        ({"min_frequency": 1, "max_categories": 5}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}),
        ({"min_frequency": 1, "max_categories": 3}, {"a": 1, "b": 2, "c": 3, "d": 3, "e": 3}),
        ({"min_frequency": 2, "max_categories": 4}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 4}),
        ({"min_frequency": 2, "max_categories": 2}, {"a": 1, "b": 2, "c": 2, "d": 2, "e": 2}),
    ],
)
def test_rare_categories_share_the_last_number(grouping, expected):
    column, *_ = categories(["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d", "e"], **grouping)
    assert dict(zip("abcde", numbered(column, list("abcde")), strict=True)) == expected
    assert column.shares.sum() == pytest.approx(1)
    assert len(column.shares) == max(expected.values())


def test_a_single_rare_category_stays_what_it_is():
    column, *_ = categories(["a", "a", "b"])
    assert numbered(column, ["a", "b"]) == [1, 2]
    assert column.rare is None


def test_new_categories_are_rare_where_there_are_rare_ones_and_missing_ones_never():
    column, *_ = categories(["a", "a", "b", "c"])
    assert numbered(column, ["new", None, "a", "c"]) == [2, 0, 1, 2]
    assert column.restored(np.array([2.0])).tolist() == ["b"]  # the first of the most frequent
    plain, *_ = categories(["a", "a"])
    with pytest.warns(UserWarning, match="no category of column 'c' was in the fit"):
        assert numbered(plain, ["new", None]) == [0, 0]
    with pytest.raises(ValueError, match="got .*new.* in column 'c'"):
        numbered(plain, ["new"], "error")


def test_cells_that_can_not_be_categories_are_refused_by_their_column():
    column, *_ = categories(["a", "a", "b"])
    cells = np.fromiter([["a"], ["b"]], dtype=object, count=2)
    with pytest.raises(TypeError, match=r"got \['a'\] in column 'c'"):
        column.numbered(cells, np.zeros(2, dtype=bool), "column 'c'", "ignore")


def test_a_column_without_a_category_has_one_that_no_cell_is_of():
    column, *_ = categories([None, None])
    assert numbered(column, [None, "a"]) == [0, 0]
    assert column.restored(np.array([1.0, 0.0])).tolist() == [None, None]


@pytest.mark.parametrize("high", [9, 2**62 + 1, 2**63 + 5])
def test_whole_numbers_stay_in_their_range(high):
    dtype = np.uint64 if high > 2**63 - 1 else np.int64
    column = WholeNumber.learn(np.array([3, high], dtype=dtype), np.zeros(2, dtype=bool), "gaussian")
    restored = column.restored(np.array([-5.0, 4.4, 1e30]))
    assert restored.dtype == dtype
    assert restored.tolist()[:2] == [3, 4]
    assert high * (1 - 1e-15) <= int(restored[2]) <= high


@pytest.mark.parametrize(
    ("low", "high"), [(-(2**63), 2**63 - 1), (2**63 - 2, 2**63 - 1), (-(2**63), -(2**63) + 1), (0, 2**64 - 1)]
)
def test_whole_numbers_near_the_ends_of_64_bits_stay_at_their_end(low, high):
    column = WholeNumber(low, high)
    cells = np.array([-1e30, float(low), np.nextafter(float(low), np.inf), np.nextafter(float(high), -np.inf), 1e30])
    restored = [int(cell) for cell in column.restored(cells)]
    assert all(low <= cell <= high for cell in restored)
    assert restored[-1] == high
    assert restored == sorted(restored) or float(low) == float(high)


def test_truth_is_what_is_more_probable():
    assert Truth().restored(np.array([0.2, 0.5, 0.9])).tolist() == [False, True, True]
