"""Columns: values as numbers, and numbers as values."""

import numpy as np
import pytest

from sklearn_ae.tables.columns import BooleanColumn, CategoryColumn, Grouping, IntegerColumn, counted
from tests.tables.kinds import KINDS


def categories(values, order=None, **grouping):
    values = np.array(values, dtype=object)
    missing = np.array([value is None for value in values])
    counts = counted(values[~missing].tolist(), order, "the column")
    return CategoryColumn.learn(counts, order, Grouping(**grouping)), values, missing


def ids_of(column, values, unknown="ignore"):
    values = np.array(values, dtype=object)
    return column.ids_of(values, np.array([v is None for v in values]), "column 'c'", unknown).tolist()


def test_categories_have_ids_in_their_order_and_missing_ones_have_0():
    column, values, missing = categories(["b", "a", None, "b", "a", "c", "c"])
    assert ids_of(column, values) == [2, 1, 0, 2, 1, 3, 3]
    assert column.restored(np.array([2.0, 0.0, 3.0])).tolist() == ["b", None, "c"]
    assert column.frequencies.tolist() == [1 / 3, 1 / 3, 1 / 3]


def test_the_order_of_a_dtype_is_kept_without_absent_categories():
    column, *_ = categories(["lo", "hi", "lo", "hi"], order=["hi", "mid", "lo"])
    assert ids_of(column, ["hi", "lo", "mid"]) == [1, 2, 0]


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
def test_rare_categories_share_the_last_id(grouping, expected):
    column, *_ = categories(["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d", "e"], **grouping)
    assert dict(zip("abcde", ids_of(column, list("abcde")), strict=True)) == expected
    assert column.frequencies.sum() == pytest.approx(1)
    assert len(column.frequencies) == max(expected.values())


def test_a_single_rare_category_stays_what_it_is():
    column, *_ = categories(["a", "a", "b"])
    assert ids_of(column, ["a", "b"]) == [1, 2]
    assert column.rare is None


def test_unknown_categories_are_rare_or_missing():
    column, *_ = categories(["a", "a", "b", "c"])
    assert ids_of(column, ["new", None, "a", "c"]) == [2, 0, 1, 2]
    assert column.restored(np.array([2.0])).tolist() == ["b"]  # the first of the most frequent
    plain, *_ = categories(["a", "a"])
    with pytest.warns(UserWarning, match="no category of column 'c' was in the fit"):
        assert ids_of(plain, ["new", None]) == [0, 0]
    with pytest.raises(ValueError, match="got .*new.* in column 'c'"):
        ids_of(plain, ["new"], "error")


def test_unhashable_cells_are_refused_by_their_column():
    column, *_ = categories(["a", "a", "b"])
    cells = np.fromiter([["a"], ["b"]], dtype=object, count=2)
    with pytest.raises(TypeError, match=r"got \['a'\] in column 'c'"):
        column.ids_of(cells, np.zeros(2, dtype=bool), "column 'c'", "ignore")


def test_a_column_without_a_value_has_one_category_that_no_cell_has():
    column, *_ = categories([None, None])
    assert ids_of(column, [None, "a"]) == [0, 0]
    assert column.restored(np.array([1.0, 0.0])).tolist() == [None, None]


@pytest.mark.parametrize("high", [9, 2**62 + 1, 2**63 + 5])
def test_integers_stay_in_their_range(high):
    dtype = np.uint64 if high > 2**63 - 1 else np.int64
    column = IntegerColumn(3, high, KINDS["gaussian"])
    restored = column.restored(np.array([-5.0, 4.4, 1e30]))
    assert restored.dtype == dtype
    assert restored.tolist()[:2] == [3, 4]
    assert high * (1 - 1e-15) <= int(restored[2]) <= high


@pytest.mark.parametrize(
    ("low", "high"), [(-(2**63), 2**63 - 1), (2**63 - 2, 2**63 - 1), (-(2**63), -(2**63) + 1), (0, 2**64 - 1)]
)
def test_integers_at_the_ends_of_64_bits_stay_there(low, high):
    column = IntegerColumn(low, high, KINDS["gaussian"])
    cells = np.array([-1e30, float(low), np.nextafter(float(low), np.inf), np.nextafter(float(high), -np.inf), 1e30])
    restored = [int(cell) for cell in column.restored(cells)]
    assert all(low <= cell <= high for cell in restored)
    assert restored[-1] == high
    assert restored == sorted(restored) or float(low) == float(high)


def test_a_truth_value_is_the_more_probable_one():
    assert BooleanColumn(KINDS["bernoulli"]).restored(np.array([0.2, 0.5, 0.9])).tolist() == [False, True, True]
