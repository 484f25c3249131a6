"""Known cells of rows that are to be generated: all forms of a table, and what is no table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ae.tables.containers import ArrayContainer
from sklearn_ae.tables.frames import frame_container
from sklearn_ae.tables.known import completed

FRAME = pd.DataFrame({"x": [1.0, 2.0], "k": [3, 4], "c": ["a", "b"]})
PANDAS, POLARS = frame_container(FRAME).empty(), frame_container(pl.from_pandas(FRAME)).empty()
ARRAY = ArrayContainer(np.ones((2, 3))).empty()
OBJECTS = ArrayContainer(np.array([[1.0, 2, "a"]], dtype=object)).empty()
FRAMES = {"pandas": PANDAS, "polars": POLARS}
frames = pytest.mark.parametrize("fitted", FRAMES.values(), ids=FRAMES)
ONE_ROW = {
    "dict": {"k": 3},
    "pandas": FRAME[["k"]][:1],
    "polars": pl.DataFrame({"k": [3]}),
    "list": [[None, 3, None]],
    "array": np.array([[np.nan, 3, np.nan]]),
    "array of objects": np.array([[None, 3, pd.NA]], dtype=object),
}


def cells(table):
    """The cells of a table as lists of rows, None where they are missing."""
    container = frame_container(table) if hasattr(table, "columns") else ArrayContainer(np.asarray(table))
    columns = [container.values(position) for position in range(3)]
    return [[None if gap[row] else values[row] for values, gap in columns] for row in range(len(table))]


@frames
@pytest.mark.parametrize("given", ONE_ROW.values(), ids=ONE_ROW)
def test_one_row_in_any_form_is_repeated_in_a_table_like_that_of_the_fit(fitted, given):
    table = completed(given, 3, fitted)
    assert isinstance(table, type(fitted.native))
    assert list(table.columns) == ["x", "k", "c"]
    assert cells(table) == [[None, 3, None]] * 3


@pytest.mark.parametrize("given", [{1: 3}, *[ONE_ROW[name] for name in ("list", "array", "array of objects")]])
@pytest.mark.parametrize("fitted", [ARRAY, OBJECTS], ids=["numbers", "objects"])
def test_one_row_is_repeated_in_an_array(fitted, given):
    table = completed(given, 3, fitted)
    assert isinstance(table, np.ndarray)
    assert cells(table) == [[None, 3, None]] * 3


@frames
@pytest.mark.parametrize("made", [dict, pd.DataFrame, pl.DataFrame])
def test_each_row_has_cells_of_its_own(fitted, made):
    table = completed(made({"c": ["a", None, "b"], "x": [0.5, 1.5, None]}), 3, fitted)
    assert cells(table) == [[0.5, None, "a"], [1.5, None, None], [None, None, "b"]]


def test_frames_after_a_fit_on_an_array_go_by_position():
    for given in (
        pd.DataFrame({"p": [1.0], "q": [np.nan], "r": [2]}),
        pl.DataFrame({"p": [1.0], "q": [None], "r": [2]}),
    ):
        assert cells(completed(given, 2, ARRAY)) == [[1, None, 2]] * 2


def test_the_row_index_and_the_dtypes_of_a_frame_stay():
    given = FRAME.astype({"k": "int8"}).set_index(pd.Index([7, 9]))
    table = completed(given[["k"]], 2, PANDAS)
    assert list(table.index) == [7, 9]
    assert table["k"].dtype == "int8"


def test_names_may_be_of_any_type():
    numbered = frame_container(FRAME.set_axis([1, ("a", 2), 3], axis=1)).empty()
    assert cells(completed({1: 0.5, 3: "a"}, 1, numbered)) == [[0.5, None, "a"]]


def test_nothing_given_is_changed():
    given, array = FRAME[["k"]].copy(), np.array([[np.nan, 1, 2]])
    table = completed(given, 2, PANDAS)
    table.loc[:, "k"] = 9
    completed(array, 1, ARRAY)[:] = 9
    mapping = {"k": [1, 2]}
    completed(mapping, 2, PANDAS)
    pd.testing.assert_frame_equal(given, FRAME[["k"]])
    assert mapping == {"k": [1, 2]}


REFUSED = {
    "no columns": ({}, r"given must name columns of X, got \[\]"),
    "an unknown column": ({"x": 1.0, "zz": 1}, r"given must name columns of X, got \['zz'\] among"),
    "an unknown column of a frame": (pd.DataFrame({"zz": [1]}), r"given must name columns of X, got \['zz'\]"),
    "a column twice": (FRAME[["x", "x"]], "given must name columns of X, got"),
    "too many rows": (FRAME, "given must hold one row or n_samples=3 rows, got 2"),
    "no rows": (FRAME[:0], "given must hold one row or n_samples=3 rows, got 0"),
    "too few rows of polars": (pl.DataFrame({"x": [1.0, 2.0]}), "given must hold one row or n_samples=3 rows, got 2"),
    "too few cells": ({"x": [1.0, 2.0]}, "n_samples=3 cells for each column, got 2 of 'x'"),
    "cells of two dimensions": ({"x": np.ones((3, 2))}, r"cells for each column, got \(3, 2\) of 'x'"),
    "a vector": ([1.0, 2.0, 3.0], r"a table with all 3 columns, got shape \(3,\)"),
    "a number": (3.0, r"a table with all 3 columns, got shape \(\)"),
    "a name": ("x", r"a table with all 3 columns, got shape \(\)"),
    "other columns": ([[1.0, 2.0]], r"a table with all 3 columns, got shape \(1, 2\)"),
    "rows of two lengths": ([[1.0, 2.0], [1.0]], "given must have rows of one length"),
    "too many rows of an array": (np.ones((2, 3)), "given must hold one row or n_samples=3 rows, got 2"),
}


@frames
@pytest.mark.parametrize(("given", "match"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_of_known_cells_is_refused(fitted, given, match):
    with pytest.raises(ValueError, match=match):
        completed(given, 3, fitted)


def test_other_tables_are_refused():
    from scipy.sparse import csr_matrix

    with pytest.raises(TypeError, match="given must be a dict, a DataFrame or a dense array, got csr_matrix"):
        completed(csr_matrix(np.ones((1, 3))), 1, ARRAY)
    with pytest.raises(TypeError, match="given must be an array or a DataFrame, got LazyFrame"):
        completed(pl.DataFrame({"x": [1.0]}).lazy(), 1, POLARS)
    with pytest.raises(ValueError, match="given must hold numbers after a fit on numbers"):
        completed({0: "word"}, 1, ARRAY)
    with pytest.raises(ValueError, match=r"a table with all 3 columns, got shape \(2, 2\)"):
        completed(FRAME[["x", "k"]], 2, ARRAY)
    with pytest.raises(TypeError, match="given must hold cells of one type for each column, got .* of 'x'"):
        completed({"x": ["word", 1.0]}, 2, POLARS)
