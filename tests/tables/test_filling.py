"""Imputed tables: a known cell comes back as it was given, bit for bit, and only gaps are written."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from sklearn_ae import AutoencoderImputer
from tests.families import FAMILIES
from tests.tables.tiny import tiny

N = 40
RNG = np.random.default_rng(0)
BIG = 2**60 + 1  # no float64 is equal to it


def fit_columns():
    return {
        "number": RNG.normal(size=N),
        "whole": RNG.integers(0, 50, N),
        "truth": RNG.uniform(size=N) < 0.5,
        "word": RNG.choice(["a", "b"], N).tolist(),
    }


FITTED = tiny().fit(pd.DataFrame(fit_columns()))
ORDERED = pd.CategoricalDtype(["b", "z", "a"], ordered=True)


def zoned(*times):
    return pd.Series([None if time is None else pd.Timestamp(time, tz="Asia/Kathmandu") for time in times])


# What a column may be when its gaps are filled, whatever it was in the fit: (column, cells with a gap each).
PANDAS_COLUMNS = {
    "float64": ("number", pd.Series([0.1 + 0.2, np.nan, -0.0])),
    "float64, big endian": ("number", pd.Series(np.array([0.1 + 0.2, np.nan], ">f8"))),
    "float32": ("number", pd.Series(np.array([1 / 3, np.nan], "f4"))),
    "float16": ("number", pd.Series(np.array([1 / 3, np.nan], "f2"))),
    "long double": ("number", pd.Series(np.array([1 / np.longdouble(3), np.nan]))),
    "Float64": ("number", pd.Series([0.1 + 0.2, None], dtype="Float64")),
    "sparse": ("number", pd.Series(pd.arrays.SparseArray([0.0, 0.1 + 0.2, np.nan], fill_value=0.0))),
    "objects": ("number", pd.Series([0.1 + 0.2, None, pd.NA], dtype=object)),
    "Int64 for numbers": ("number", pd.Series([BIG, None], dtype="Int64")),
    "Int64": ("whole", pd.Series([BIG, None], dtype="Int64")),
    "UInt64": ("whole", pd.Series([2**64 - 1, None], dtype="UInt64")),
    "Int8": ("whole", pd.Series([-128, None, 127], dtype="Int8")),
    "fractions of whole numbers": ("whole", pd.Series([40.9, np.nan])),
    "boolean": ("truth", pd.Series([True, None, False], dtype="boolean")),
    "shares of truth": ("truth", pd.Series([0.3, np.nan])),
    "truth as objects": ("truth", pd.Series([True, None, False], dtype=object)),
    "words": ("word", pd.Series(["new", None, "a"])),
    "words as objects": ("word", pd.Series(["new", None, "a"], dtype=object)),
    "string": ("word", pd.Series(["new", None, "a"], dtype="string")),
    "ordered words": ("word", pd.Series(["z", None, "a"], dtype=ORDERED)),
}
PYARROW = {
    "Arrow int64": ("whole", [BIG, None], "int64[pyarrow]"),
    "Arrow double": ("number", [0.1 + 0.2, None], "double[pyarrow]"),
    "Arrow string": ("word", ["new", None], "string[pyarrow]"),
    "Arrow bool": ("truth", [True, None], "bool[pyarrow]"),
}
POLARS_COLUMNS = {
    "Float64": ("number", pl.Series([0.1 + 0.2, None, float("nan")])),
    "Float32": ("number", pl.Series([1 / 3, None], dtype=pl.Float32)),
    "Int64": ("whole", pl.Series([BIG, None])),
    "UInt8": ("whole", pl.Series([255, None], dtype=pl.UInt8)),
    "fractions of whole numbers": ("whole", pl.Series([40.9, None])),
    "Boolean": ("truth", pl.Series([True, None, False])),
    "String": ("word", pl.Series(["new", None, "a"])),
    "Categorical": ("word", pl.Series(["new", None, "a"], dtype=pl.Categorical)),
    "Enum": ("word", pl.Series(["z", None, "a"], dtype=pl.Enum(["z", "a", "b"]))),
}


def table_with(name, column, library):
    columns = {other: values[: len(column)] for other, values in fit_columns().items()}
    return library.DataFrame(columns | {name: column})


def check_filled(filled, given, missing):
    """Known cells are the same objects or bits in the same dtype, and there are no gaps."""
    assert filled.dtype == given.dtype
    cells = list(zip(list(filled), list(given), missing, strict=True))
    known = [(new, old) for new, old, gap in cells if not gap]
    assert [repr(new) for new, _ in known] == [repr(old) for _, old in known]
    assert not any(pd.isna(new) for new, *_ in cells)


@pytest.mark.filterwarnings("ignore:no category of column")
@pytest.mark.parametrize("draws", [None, 1])
@pytest.mark.parametrize(("name", "column"), PANDAS_COLUMNS.values(), ids=PANDAS_COLUMNS)
def test_known_cells_of_pandas_come_back_as_they_were_given(name, column, draws):
    rows = table_with(name, column, pd)
    before = rows.copy(deep=True)
    filled = FITTED.impute(rows, n_draws=draws, random_state=0)
    filled = filled if draws is None else filled[0]
    check_filled(filled[name], rows[name], rows[name].isna())
    for other in rows.columns.drop(name):
        assert filled[other].equals(rows[other])
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.filterwarnings("ignore:no category of column")
@pytest.mark.parametrize(("name", "cells", "dtype"), PYARROW.values(), ids=PYARROW)
def test_known_cells_of_arrow_come_back_as_they_were_given(name, cells, dtype):
    pytest.importorskip("pyarrow")
    rows = table_with(name, pd.Series(cells, dtype=dtype), pd)
    check_filled(FITTED.impute(rows)[name], rows[name], rows[name].isna())


@pytest.mark.filterwarnings("ignore:no category of column")
@pytest.mark.parametrize(("name", "column"), POLARS_COLUMNS.values(), ids=POLARS_COLUMNS)
def test_known_cells_of_polars_come_back_as_they_were_given(name, column):
    rows = table_with(name, column, pl)
    missing = [cell is None or cell != cell for cell in column]
    check_filled(FITTED.impute(rows)[name], rows[name], missing)


ARRAYS = [np.float64, np.float32, np.float16, np.longdouble, ">f8", object]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ARRAYS, ids=str)
@pytest.mark.parametrize("gaps", [(1,), (0, 1, 2), ()], ids=["one", "all", "none"])
def test_known_cells_of_arrays_come_back_as_they_were_given(family, dtype, gaps):
    model = tiny(family).fit(RNG.normal(size=(N, 3)).astype(np.float32))  # a fit in single precision
    rows = (RNG.normal(size=(2, 3)) + 1 / 3).astype(dtype)
    rows[0, list(gaps)] = np.nan
    before = rows.copy()
    filled = model.impute(rows)
    assert filled.dtype == rows.dtype
    assert filled.shape == rows.shape
    known = before == before  # noqa: PLR0124 - not where it is NaN
    assert np.array_equal(filled[known], before[known])
    assert not pd.isna(filled).any()
    assert np.array_equal(pd.isna(rows), pd.isna(before))


def test_whole_numbers_of_arrays_come_back_as_they_were_given():
    model = tiny().fit(RNG.normal(size=(N, 2)))
    rows = np.array([[BIG, 1]])
    assert model.impute(rows).tolist() == [[BIG, 1]]
    assert model.impute(rows) is not rows


def test_what_is_masked_in_an_array_is_missing():
    model = tiny().fit(RNG.normal(size=(N, 2)))
    masked = np.ma.masked_array([[1.0, 1e6], [2.0, 3.0]], mask=[[0, 1], [0, 0]])
    assert np.array_equal(model.transform(masked), model.transform([[1.0, np.nan], [2.0, 3.0]]))
    assert model.impute(masked)[[0, 1, 1], [0, 0, 1]].tolist() == [1.0, 2.0, 3.0]
    assert abs(model.impute(masked)[0, 1]) < 1e3


def test_sparse_rows_are_filled_as_an_array():
    model = tiny().fit(RNG.normal(size=(N, 2)))
    filled = model.impute(csr_matrix([[0.1, np.nan], [0.0, 0.3]]))
    assert filled[[0, 1, 1], [0, 0, 1]].tolist() == [0.1, 0.0, 0.3]
    assert np.isfinite(filled).all()


# Dtypes that can't hold what is written


def test_a_column_is_widened_where_its_dtype_is_too_narrow():
    model = tiny().fit(pd.DataFrame({"far": 1e6 + RNG.normal(size=N), "whole": RNG.integers(1000, 1010, N)}))
    rows = pd.DataFrame({"far": pd.Series([7.5, None], dtype="float16"), "whole": pd.Series([5, None], dtype="Int8")})
    filled = model.impute(rows)
    assert filled.dtypes.astype(str).to_dict() == {"far": "float64", "whole": "Int64"}
    assert filled.iloc[0].tolist() == [7.5, 5]
    assert filled["far"][1] == pytest.approx(1e6, rel=0.1)
    assert 1000 <= filled["whole"][1] < 1010
    narrow = pl.DataFrame({"far": [7.5, None], "whole": pl.Series([5, None], dtype=pl.Int8)})
    assert model.impute(narrow)["whole"].dtype == pl.Int64
    array = np.array([[7.5, 3], [np.nan, 4]], np.float16)
    assert tiny().fit(np.column_stack([1e6 + RNG.normal(size=N)] * 2)).impute(array).dtype == np.float64


def test_a_category_is_added_to_a_dtype_that_lacks_it():
    rows = table_with("word", pd.Series(["new", None], dtype="category"), pd)
    with pytest.warns(UserWarning, match="no category of column 'word' was in the fit"):
        filled = FITTED.impute(rows)
    assert filled["word"][0] == "new"
    assert filled["word"][1] in {"a", "b"}
    assert rows["word"].cat.categories.tolist() == ["new"]


@pytest.mark.filterwarnings("ignore:no category of column")
def test_an_ordered_dtype_takes_its_order_from_the_fit():
    frame = pd.DataFrame(fit_columns())
    model = tiny().fit(frame.assign(word=frame["word"].astype(ORDERED)))
    part = pd.CategoricalDtype(["z"], ordered=True)
    filled = model.impute(table_with("word", pd.Series(["z", None], dtype=part), pd))
    assert filled["word"].cat.categories.tolist() == ["b", "z", "a"]
    assert filled["word"].cat.ordered
    assert filled["word"].notna().all()


UNFIT = {
    "numbers among words": ("word", pd.Series([5.0, None]), "'word' .Float64"),
    "fractions among truth values": ("number", pd.Series([True, None], dtype="boolean"), "'number' .Boolean"),
    "words of another order": (
        "word",
        pd.Series(["z", None], dtype=pd.CategoricalDtype(["z"], ordered=True)),
        "'word'",
    ),
}


@pytest.mark.filterwarnings("ignore:no category of column")
@pytest.mark.parametrize(("name", "column", "words"), UNFIT.values(), ids=UNFIT)
def test_a_column_that_can_not_hold_what_is_written_is_named(name, column, words):
    rows = table_with(name, column, pd)
    with pytest.raises(ValueError, match=rf"must be able to hold what fills its gaps, got .* column {words}"):
        FITTED.impute(rows)


# Columns without a known cell: one row with an empty cell is the commonest case of all

EMPTY = {
    "None": pd.Series([None], dtype=object),
    "NaN": pd.Series([np.nan]),
    "words": pd.Series([None], dtype="str"),
    "string": pd.Series([None], dtype="string"),
    "category": pd.Series([None], dtype="category"),
    "Int64": pd.Series([None], dtype="Int64"),
    "boolean": pd.Series([None], dtype="boolean"),
    "polars": pl.Series([None]),
    "polars String": pl.Series([None], dtype=pl.String),
    "polars Float64": pl.Series([None], dtype=pl.Float64),
}
LABELED = {family: tiny(family).fit(pd.DataFrame(fit_columns()), np.arange(N) % 2) for family in FAMILIES}


@pytest.mark.parametrize("column", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("name", fit_columns())
@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_with_an_empty_cell_is_encoded_and_filled(family, name, column):
    model = LABELED[family]
    rows = table_with(name, column, pl if isinstance(column, pl.Series) else pd)
    codes = model.transform(rows)
    assert np.isfinite(codes).all()
    assert model.predict(rows).shape == (1,)
    filled = model.impute(rows)[name]
    value = filled[0]
    assert not pd.isna(value)
    assert isinstance(value, str) == (name == "word")
    if name == "word":
        assert value in {"a", "b"}


def test_a_column_of_categories_without_any_in_the_fit_stays_missing():
    frame = pd.DataFrame({"x": RNG.normal(size=N), "none": pd.Series([None] * N, dtype=object)})
    with pytest.warns(UserWarning, match=r"\['none'\] have no observed value"):
        model = tiny().fit(frame)
    assert model.impute(frame)["none"].isna().all()


@pytest.mark.parametrize(
    "empty",
    [pl.Series([None] * 3, dtype=dtype) for dtype in (pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.List(pl.String))],
    ids=lambda empty: str(empty.dtype),
)
@pytest.mark.parametrize("column", ["word", "number"])
def test_an_empty_column_of_times_or_lists_takes_the_dtype_of_the_fit(empty, column):
    fitted = tiny().fit(pl.DataFrame({"word": list("abc") * 5, "number": np.arange(15.0)}))
    given = pl.DataFrame({"word": list("abc"), "number": [1.0, 2.0, 3.0]}).with_columns(empty.alias(column))
    if column == "word":
        filled = fitted.impute(given)
        assert filled[column].dtype == pl.String
        assert set(filled[column]) <= set("abc")
        assert filled["number"].equals(given["number"])
    else:
        with pytest.raises(TypeError, match="column 'number'"):
            fitted.impute(given)


@pytest.mark.parametrize("gaps", [[0, 1, 2], [1]])
def test_a_dictionary_of_arrow_is_filled_even_if_it_is_empty(gaps):
    pa = pytest.importorskip("pyarrow")
    dtype = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    fitted = tiny().fit(pd.DataFrame({"word": pd.Series(list("abc") * 5, dtype=dtype), "number": np.arange(15.0)}))
    words = [None if place in gaps else "b" for place in range(3)]
    given = pd.DataFrame({"word": pd.Series(words, dtype=dtype), "number": [1.0, 2.0, 3.0]}).set_axis([7, 8, 9])
    filled = fitted.impute(given)
    assert filled["word"].dtype == dtype
    assert filled.index.tolist() == [7, 8, 9]
    assert set(filled["word"]) <= set("abc")
    assert [filled["word"].iloc[place] for place in range(3) if place not in gaps] == ["b"] * (3 - len(gaps))


@pytest.mark.filterwarnings("ignore:no category of column")
def test_the_imputer_leaves_known_cells_as_they_are():
    table = pd.DataFrame(fit_columns()).assign(id=pd.Series([BIG, None] * (N // 2), dtype="Int64"))
    imputer = AutoencoderImputer(tiny()).fit(table)
    rows = table[:2].assign(word=["new", None], number=[0.1 + 0.2, np.nan], whole=[40.9, np.nan])
    filled = imputer.transform(rows)
    assert filled.iloc[0].tolist() == rows.iloc[0].tolist()
    assert filled.notna().all(axis=None)


def test_times_that_are_named_as_categories_keep_their_zone():
    frame = pd.DataFrame({"x": RNG.normal(size=N), "day": pd.concat([zoned("2020", "2021")] * (N // 2))})
    model = tiny(categorical_features=["day"]).fit(frame)
    rows = pd.DataFrame({"x": [1.0, 2.0], "day": zoned("2020", None)})
    filled = model.impute(rows)
    assert filled["day"].dtype == rows["day"].dtype
    assert filled["day"][0] == rows["day"][0]
    assert filled["day"][1] in set(frame["day"])
    assert set(model.sample(9, random_state=0)["day"]) <= set(frame["day"])


def test_a_masked_array_of_whole_numbers_stays_one():
    known = np.array([[BIG, 2], [3, 4], [5, 6]])
    filled = tiny().fit(known).impute(np.ma.MaskedArray(known, [[False, True], [False] * 2, [True, False]]))
    assert filled.dtype == known.dtype
    assert filled[0, 0] == BIG
    assert filled[:, 1].tolist()[1:] == [4, 6]
    truths = np.ma.MaskedArray([[True, False], [True, True]], [[False, True], [False, False]])
    assert tiny().fit(truths).impute(truths).dtype == bool


@pytest.mark.parametrize("gap", [None, pd.NA, np.nan])
def test_a_list_may_have_gaps(gap):
    rows = [[1.0, 2.0], [gap, 3.0], [4.0, 5.0]]
    model = tiny().fit(rows)
    filled = model.impute(rows)
    assert np.isfinite(filled).all()
    assert filled[:, 1].tolist() == [2, 3, 5]
    assert filled.tolist() == model.impute(np.array([[1, 2], [np.nan, 3], [4, 5]])).tolist()


def test_an_array_of_strings_may_hold_categories():
    rows = np.array([["a", "x"], ["b", "y"]] * 4)
    model = tiny(categorical_features=[0, 1]).fit(rows)
    for made in (model.sample(3, random_state=0), model.inverse_transform(model.transform(rows))):
        assert set(made[:, 0].tolist()) <= {"a", "b"}
        assert set(made[:, 1].tolist()) <= {"x", "y"}
    assert model.impute(rows).tolist() == rows.tolist()


@pytest.mark.parametrize("dtype", [np.longdouble, ">f8", ">f4", "f2"])
def test_an_array_of_unusual_floats_may_have_likelihoods_by_column(dtype):
    rows = np.arange(12.0).reshape(4, 3)
    codes = tiny(likelihood={0: "poisson"}).fit(rows.astype(dtype)).transform(rows)
    assert codes == pytest.approx(tiny(likelihood={0: "poisson"}).fit(rows).transform(rows), rel=1e-3, abs=1e-3)
