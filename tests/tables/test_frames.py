"""DataFrames as containers: every dtype is read exactly, or refused by name when the table is first seen."""

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ae.tables.columns import CategoryColumn, Grouping
from sklearn_ae.tables.frames import frame_container
from sklearn_ae.tables.schema import Schema
from tests.families import FAMILIES
from tests.tables.kinds import options
from tests.tables.tiny import tiny

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
HALF = [True, False] * (N // 2)


SUPPORTED = {
    "sparse floats": pd.Series(pd.arrays.SparseArray(RNG.integers(0, 3, N) / 4, fill_value=0.0)),
    "sparse float32": pd.Series(pd.arrays.SparseArray(RNG.integers(0, 3, N).astype("f4"), fill_value=0.0)),
    "sparse ints": pd.Series(pd.arrays.SparseArray(RNG.integers(0, 3, N))),
    "sparse truth": pd.Series(pd.arrays.SparseArray(np.array(HALF))),
    "big-endian ints": pd.Series(RNG.integers(0, 9, N).astype(">i4")),
    "big-endian floats": pd.Series(X.astype(">f8")),
    "long double": pd.Series(X.astype(np.longdouble)),
    "float16": pd.Series(X.astype("f2")),
    "whole objects": pd.Series([1, 2] * (N // 2), dtype=object),
    "objects with NA": pd.Series([1.5, pd.NA] * (N // 2), dtype=object),
    "truth as objects": pd.Series(HALF, dtype=object),
    "categories of numbers": pd.Series([10, 20] * (N // 2), dtype="category"),
    "UInt64": pd.Series([0, 2**64 - 1] * (N // 2), dtype="UInt64"),
    "nothing": pd.Series([None] * N, dtype=object),
    "polars Decimal": pl.Series([1.25, 2] * (N // 2)).cast(pl.Decimal(10, 2)),
    "polars Float16": pl.Series(X, dtype=pl.Float16),
    "polars UInt64": pl.Series([0, 2**64 - 1] * (N // 2), dtype=pl.UInt64),
    "polars Null": pl.Series([None] * N),
}
ARROW = {
    "dictionary": ("dictionary", list("ab")),
    "dictionary with gaps": ("dictionary", ["b", None]),
    "decimal": ("decimal128(10, 2)", [1, 2]),
    "string": ("string", list("ab")),
    "int64": ("int64", [1, 2]),
    "bool": ("bool", [True, None]),
}


def table_with(column):
    return (pl if isinstance(column, pl.Series) else pd).DataFrame({"x": X, "c": column})


def check_there_and_back(table):
    model = tiny().fit(table)
    for rows in (model.inverse_transform(model.transform(table)), model.sample(5, random_state=0), model.impute(table)):
        assert list(rows.dtypes) == list(table.dtypes)
    again = pickle.loads(pickle.dumps(model)).sample(5, random_state=0)  # noqa: S301
    assert list(again.dtypes) == list(table.dtypes)
    return model


@pytest.mark.filterwarnings(r"ignore:columns \['c'\] have no observed value")
@pytest.mark.parametrize("column", SUPPORTED.values(), ids=SUPPORTED)
def test_a_column_comes_back_in_its_dtype(column):
    check_there_and_back(table_with(column))


@pytest.mark.parametrize(("kind", "cells"), ARROW.values(), ids=ARROW)
def test_a_column_of_arrow_comes_back_in_its_dtype(kind, cells):
    pa = pytest.importorskip("pyarrow")
    kinds = {"dictionary": pa.dictionary(pa.int32(), pa.string()), "decimal128(10, 2)": pa.decimal128(10, 2)}
    dtype = pd.ArrowDtype(kinds.get(kind) or getattr(pa, kind + "_" * (kind == "bool"))())
    column = pd.Series(cells * (N // 2))
    check_there_and_back(
        table_with(column.astype(dtype) if kind == "dictionary" else pd.Series(column.tolist(), dtype=dtype))
    )


def test_gaps_among_sparse_columns_of_several_kinds_are_found():
    table = pd.DataFrame({"x": X, "c": SUPPORTED["sparse truth"], "d": SUPPORTED["sparse floats"]})
    table["d"] = pd.Series(pd.arrays.SparseArray(np.where(HALF, np.nan, 0.5)))
    filled = tiny().fit(table).impute(table)
    assert filled.notna().all(axis=None)
    assert list(filled.dtypes) == list(table.dtypes)


def test_codes_in_a_list_give_rows_of_the_frame():
    table = table_with(pd.Series(HALF))
    model = tiny().fit(table)
    codes = model.transform(table)
    assert model.inverse_transform(codes.tolist()).equals(model.inverse_transform(codes))


def test_numbers_of_any_dtype_are_read_as_they_are():
    plain = pd.DataFrame({"x": X, "c": RNG.integers(0, 3, N).astype(float)})
    codes = tiny().fit(plain).transform(plain)
    for dtype in (pd.SparseDtype(float, 0.0), ">f8", ">i4", np.longdouble, object, "Int64"):
        table = plain.astype({"c": dtype})
        model = tiny().fit(table)
        assert np.array_equal(model.transform(table), codes), dtype


REFUSED = {
    "complex": pd.Series(X + 1j),
    "periods": pd.Series(pd.period_range("2020", periods=N)),
    "intervals": pd.Series(pd.interval_range(0, N)),
    "bytes": pd.Series([b"a"] * N),
    "lists": pd.Series([[1]] * N),
    "ints and words": pd.Series([1, "a"] * (N // 2), dtype=object),
    "ints of 71 bits": pd.Series([1, 2**70] * (N // 2), dtype=object),
    "ints of both ends": pd.Series([-1, 2**63] * (N // 2), dtype=object),
    "polars Int128": pl.Series(range(N), dtype=pl.Int128),
    "polars Binary": pl.Series([b"a"] * N),
    "polars List": pl.Series([[1]] * N),
    "polars Struct": pl.Series([{"a": 1}] * N),
    "polars Object": pl.Series([object()] * N, dtype=pl.Object),
}


@pytest.mark.parametrize("column", REFUSED.values(), ids=REFUSED)
def test_a_column_that_is_no_number_truth_or_category_is_refused_by_name(column):
    model = tiny()
    with pytest.raises(TypeError, match=r"must h.* got .* in column 'c'"):
        model.fit(table_with(column))
    assert not hasattr(model, "net_")


# 64 bits


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("gap", [True, False])
def test_ids_that_no_float_tells_apart_stay_apart(library, gap):
    ids = [2**60 + 1, 2**60 + 2, None if gap else 2**60 + 3, 5]
    column = pd.Series(ids * (N // 4), dtype="Int64") if library is pd else pl.Series(ids * (N // 4))
    table = library.DataFrame({"x": X, "id": column})
    model = tiny(categorical_features=["id"]).fit(table)
    assert set(model.sample(200, random_state=0)["id"].to_list()) <= set(ids)
    container = frame_container(table)
    found = CategoryColumn.learn(container.value_counts(1, None), None, Grouping())
    assert list(found.ids) == sorted(i for i in ids if i is not None)
    ((cells, gaps),) = container.objects([1])
    assert found.ids_of(cells, gaps, "column 'id'", "error").tolist()[:4] == [2, 3, 0 if gap else 4, 1]


EXTREMES = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1), "Int64": (2**63 - 1025, 2**63 - 1)}


@pytest.mark.parametrize(("dtype", "ends"), EXTREMES.items(), ids=EXTREMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_whole_numbers_near_the_ends_of_64_bits_do_not_wrap(family, dtype, ends):
    low, high = ends
    table = pd.DataFrame({"x": X, "c": pd.Series([low] * (N // 4) + [high] * (3 * N // 4), dtype=dtype)})
    model = tiny(family, max_iter=60).fit(table)
    drawn = model.sample(200, random_state=0)
    assert np.mean([int(cell) > (low + high) / 2 for cell in drawn["c"]]) > 0.5  # as most are in the fit
    for rows in (drawn, model.inverse_transform(50 * model.transform(table))):
        assert rows["c"].dtype == dtype
        cells = [int(cell) for cell in rows["c"]]
        assert low <= min(cells)
        assert max(cells) <= high


# Many columns


def calls_of(function):
    """Count the calls of functions that a computation makes: what it costs, on any machine."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", ["numbers", "whole", "words"])
def test_the_cost_of_a_table_grows_with_its_columns(library, kind):
    def table(d):
        cells = {"numbers": RNG.normal(size=(9, d)), "whole": RNG.integers(0, 9, (9, d))}.get(kind)
        cells = RNG.choice(["a", "b"], (9, d)) if cells is None else cells
        frame = pd.DataFrame(cells, columns=[f"c{i}" for i in range(d)])
        return frame if library == "pandas" else pl.from_pandas(frame)

    def cost(d):
        rows = table(d)
        return calls_of(lambda: Schema.learn(frame_container(rows), options()).source(frame_container(rows), "ignore"))

    cost(10)  # what happens once in a process
    assert cost(400) < 2.5 * cost(200)
