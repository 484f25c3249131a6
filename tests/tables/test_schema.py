"""The schema: types of the columns, order of the cells, and checks of their values."""

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.tables import sources
from sklearn_ae.tables.columns import BooleanColumn, CategoryColumn, FloatColumn, IntegerColumn
from sklearn_ae.tables.containers import ArrayContainer, SourceContainer, SparseContainer
from sklearn_ae.tables.frames import frame_container
from sklearn_ae.tables.schema import Layout, Schema
from sklearn_ae.tables.sources import Source
from tests.tables.kinds import KINDS, Between, options

N = 12
COLUMNS = {
    "many": list("abcdef") * 2,
    "truth": [True, False] * 6,
    "count": list(range(N)),
    "float": [0.5 + i for i in range(N)],
    "few": ["x", "y"] * 6,
    "wide": [10.0 * i for i in range(N)],
}
LIKELIHOOD = {"count": "count", "wide": "wide"}
libraries = pytest.mark.parametrize("library", [pd, pl])


def schema_of(table, **given):
    container = frame_container(table) if hasattr(table, "columns") else ArrayContainer(table)
    return Schema.learn(container, options(**given)), container


def labels_of(likelihood):
    return schema_of(pd.DataFrame(COLUMNS), likelihood=likelihood)[0].labels


# Types of the columns


@libraries
def test_the_dtype_says_what_a_column_is(library):
    schema, _ = schema_of(library.DataFrame(COLUMNS))
    expected = [CategoryColumn, BooleanColumn, IntegerColumn, FloatColumn, CategoryColumn, FloatColumn]
    assert list(map(type, schema.columns)) == expected
    names = [column.likelihood and column.likelihood.name for column in schema.columns]
    assert names == [None, "bernoulli", "gaussian", "gaussian", None, "gaussian"]
    assert (schema.columns[2].low, schema.columns[2].high) == (0, N - 1)


def test_left_out_rows_are_ignored():
    left_out = np.arange(N) >= 4
    schema = Schema.learn(frame_container(pd.DataFrame(COLUMNS)), options(), left_out)
    assert schema.columns[2].high == 3
    assert list(schema.columns[0].ids) == list("abcd")


def test_a_schema_keeps_no_rows():
    schema, _ = schema_of(pd.DataFrame(COLUMNS))
    assert len(schema.container) == 0
    assert len(pickle.loads(pickle.dumps(schema)).container) == 0  # noqa: S301


# The order of the cells


@libraries
def test_cells_are_ordered_by_likelihood_with_categories_last(library):
    schema, _ = schema_of(library.DataFrame(COLUMNS), likelihood=LIKELIHOOD)
    assert schema.labels == ["float", "wide", "truth", "count", "few", "many"]
    layout = schema.layout
    assert list(layout.numeric.values()) == [1, 1, 1, 1]
    assert list(layout.numeric) == list(KINDS.values())
    assert [len(frequencies) for frequencies in layout.frequencies] == [2, 6]
    assert (layout.n_scaled, layout.n_numeric, layout.n_cells) == (2, 4, 6)


def test_cells_of_scaled_likelihoods_come_first():
    late = Between("late", is_scaled=True)
    table = frame_container(pd.DataFrame(COLUMNS))
    chosen = options(likelihood={"float": "late", "wide": "count"})
    assert labels_of({"float": late, "wide": "count"}) == ["count", "float", "truth", "wide", "few", "many"]
    named = Schema.learn(table, type(chosen)("from_dtype", chosen.likelihood, chosen.grouping, {**KINDS, "late": late}))
    assert named.labels == ["count", "float", "truth", "wide", "few", "many"]


def test_cells_of_unnamed_likelihoods_follow_the_named():
    scaled, other, another = Between("a", is_scaled=True), Between("b"), Between("c")
    likelihood = {"count": another, "float": scaled, "wide": "wide", "truth": other}
    assert labels_of(likelihood) == ["wide", "float", "truth", "count", "few", "many"]
    assert labels_of(likelihood | {"truth": "count"}) == ["wide", "float", "truth", "count", "few", "many"]


def test_equal_likelihoods_are_modelled_together():
    schema, _ = schema_of(np.ones((3, 4)), likelihood={0: Between("a"), 2: Between("a"), 3: Between("b")})
    assert schema.layout.numeric == {KINDS["gaussian"]: 1, Between("a"): 2, Between("b"): 1}
    assert schema.order.tolist() == [1, 0, 2, 3]


def test_a_likelihood_may_be_any_object_with_its_attributes():
    own = SimpleNamespace(name="own", is_scaled=False, accepts_all=False, check=lambda values: None)
    own = type("Own", (), vars(own))()
    schema, _ = schema_of(np.ones((3, 2)), likelihood=own)
    assert schema.layout.numeric == {own: 2}


def test_an_empty_layout_counts_nothing():
    layout = Layout({}, (np.ones(1),))
    assert (layout.n_scaled, layout.n_numeric, layout.n_cells) == (0, 0, 1)


# Invalid options

REFUSED = {
    "name": (
        {"likelihood": "other"},
        r"likelihood of a column must be one of \['auto', 'gaussian', .*\] or a class of likelihoods, got 'other'",
    ),
    "value": ({"likelihood": {"wide": "other"}}, "likelihood of a column must be one of .*, got 'other'"),
    "number": ({"likelihood": {"wide": 3}}, "likelihood of a column must be one of .*, got 3"),
    "column": ({"likelihood": {"no": "wide"}}, r"likelihood must name columns of X, got \['no'\] among \['many'"),
    "mask": ({"categorical_features": [True]}, r"must have one entry for each of 6 columns, got shape \(1,\)"),
    "position": ({"categorical_features": [9]}, r"names or positions of columns of X, .*, got \[9\]"),
    "names": ({"categorical_features": ["no"]}, r"names or positions of columns of X, .*, got \['no'\]"),
    "strings": (
        {"categorical_features": ["few"]},
        "columns of strings must be among .*, got column 'many' that is not",
    ),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED)
def test_invalid_options_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        schema_of(pd.DataFrame(COLUMNS), **given)


@pytest.mark.parametrize("asked", [[0, 2], ["a", "c"], [True, False, True], None])
def test_categories_are_named_by_name_position_or_mask(asked):
    schema, _ = schema_of(pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}), categorical_features=asked)
    expected = [IntegerColumn] * 3 if asked is None else [CategoryColumn, IntegerColumn, CategoryColumn]
    assert list(map(type, schema.columns)) == expected


@pytest.mark.parametrize(
    ("given", "by_column"),
    [({}, False), ({"likelihood": {}}, True), ({"categorical_features": [0]}, True), ({"likelihood": "wide"}, False)],
)
def test_columns_of_an_array_are_read_one_by_one_on_demand(given, by_column):
    assert options(**given).by_column == by_column


WEIGHTS = {
    "mapping": ({"wide": 2, "few": 0}, [1, 2, 1, 1, 0, 1]),
    "list": ([1, 2, 3, 4, 5, 6], [4, 6, 2, 3, 5, 1]),
    "none": (None, None),
}


@pytest.mark.parametrize(("asked", "expected"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_in_the_order_of_the_cells(asked, expected):
    schema, _ = schema_of(pd.DataFrame(COLUMNS), likelihood=LIKELIHOOD)
    assert schema.weights(asked) == expected


@pytest.mark.parametrize("asked", [{"no": 1}, [1], [-1] * 6, [np.nan] * 6, ["a"] * 6])
def test_invalid_weights_are_refused(asked):
    with pytest.raises(ValueError, match="column_weight must"):
        schema_of(pd.DataFrame(COLUMNS))[0].weights(asked)


# Cells


@libraries
def test_cells_are_numbers_and_category_ids_in_their_order(library):
    schema, container = schema_of(library.DataFrame(COLUMNS), likelihood=LIKELIHOOD)
    cells = schema.source(container, "error")[:]
    assert cells[1].tolist() == [1.5, 10, 0, 1, 2, 2]
    assert cells.shape == (N, 6)
    again = frame_container(library.DataFrame({**COLUMNS, "few": ["y", None] * 6}))
    np.testing.assert_array_equal(schema.source(again, "error")[:2][:, 4], [2, np.nan])
    with pytest.raises(ValueError, match="with handle_unknown='error'.*'z'.*column 'few'"):
        schema.source(frame_container(library.DataFrame({**COLUMNS, "few": ["y", "z"] * 6})), "error")


def test_a_table_of_categories_only_has_no_numbers():
    schema, container = schema_of(pd.DataFrame({"a": ["x", "y"], "b": ["z", "z"]}))
    assert schema.labels == ["b", "a"]  # few categories before many
    assert schema.source(container, "error")[:].tolist() == [[1, 1], [1, 2]]
    assert schema.layout.numeric == {}


@libraries
def test_a_table_comes_back_from_its_cells(library):
    table = library.DataFrame(COLUMNS)
    schema, container = schema_of(table, likelihood=LIKELIHOOD)
    back = schema.restored(schema.source(container, "error")[:])
    assert list(back.columns) == list(COLUMNS)
    assert list(back.dtypes) == list(table.dtypes)
    assert {name: back[name].to_list() for name in COLUMNS} == COLUMNS


def test_plain_cells_are_the_array_itself():
    cells = np.ones((3, 2))
    schema, _ = schema_of(cells)
    assert schema.is_plain
    assert schema.restored(cells) is cells
    assert not schema_of(cells, likelihood={0: "count"})[0].is_plain
    assert not schema_of(cells, categorical_features=[1])[0].is_plain
    assert not schema_of(pd.DataFrame(cells))[0].is_plain


def test_a_frame_is_needed_for_its_categories_only():
    assert schema_of(pd.DataFrame(COLUMNS))[0].needs_frame
    assert not schema_of(pd.DataFrame({"a": [1.0]}))[0].needs_frame
    assert not schema_of(np.ones((2, 1)), categorical_features=[0])[0].needs_frame


# Checks of the values


@pytest.mark.parametrize("kind", [ArrayContainer, lambda rows: SparseContainer(csr_matrix(rows))])
@pytest.mark.parametrize("row", [0, 9])
def test_values_are_checked_by_the_likelihood_of_their_column(kind, row, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 6)
    rows = np.array([[5.0, 0.5, 7.0]] * 10)
    rows[3, 1] = rows[4, 0] = np.nan
    schema = Schema.learn(kind(rows), options(likelihood={1: "bernoulli", 2: "count"}))
    np.testing.assert_array_equal(schema.source(kind(rows), "ignore")[:], rows)
    for column, bad, words in [(1, 1.5, "bernoulli must lie in .0, 1., got .*1.5"), (2, -1, "count must .*-1")]:
        wrong = rows.copy()
        wrong[row, column] = bad
        with pytest.raises(ValueError, match=words):
            schema.source(kind(wrong), "ignore")
    rows[row, 0] = -1e9
    schema.source(kind(rows), "ignore")


def test_likelihoods_do_not_check_missing_values():
    met = []
    own = type(
        "Own", (), {"name": "own", "is_scaled": False, "accepts_all": False, "check": staticmethod(met.append)}
    )()
    rows = np.array([[1.0, np.nan], [np.nan, 2.0]])
    for container in (ArrayContainer(rows), SparseContainer(csr_matrix(rows)), frame_container(pd.DataFrame(rows))):
        Schema.learn(container, options(likelihood=own)).source(container, "ignore")
    assert [sorted(values.tolist()) for values in met] == [[1, 2]] * 3


def test_rows_are_not_read_for_likelihoods_without_a_check():
    class Unread(Source):
        shape, dtype = (3, 2), np.dtype(np.float64)

        def __getitem__(self, rows):
            raise AssertionError("rows were read")

    unread = SourceContainer(Unread())
    own = type("Own", (), {"name": "own", "is_scaled": True, "accepts_all": True, "check": lambda self, values: None})()
    assert Schema.learn(unread, options(likelihood=own)).source(unread, "ignore").shape == (3, 2)
    with pytest.raises(AssertionError, match="rows were read"):
        Schema.learn(unread, options(likelihood="count")).source(unread, "ignore")


kinds = pytest.mark.parametrize("kind", [np.asarray, csr_matrix], ids=["dense", "sparse"])


def bernoulli():
    return RegularizedAutoencoder(1, hidden_layer_sizes=(), likelihood="bernoulli", max_iter=1, random_state=0)


@kinds
@pytest.mark.parametrize("rows", [[[0.0, 1.0]], [[0.5, 0.0]], [[0.0, 0.0]]])
def test_probabilities_in_the_unit_interval_are_accepted(kind, rows):
    bernoulli().fit(kind(np.array(rows)))


@kinds
@pytest.mark.parametrize(
    ("rows", "interval"),
    [([[0.0, 1.5]], r"\[0, 1.5\]"), ([[-0.25, 1.0]], r"\[-0.25, 1\]"), ([[255.0, np.nan]], r"\[0, 255\]")],
)
def test_probabilities_outside_the_unit_interval_are_refused(kind, rows, interval):
    with pytest.raises(ValueError, match=f"X must lie in .0, 1., got values in {interval}: divide by"):
        bernoulli().fit(kind(np.array(rows)))


@pytest.mark.filterwarnings("ignore:columns .* have no observed value")
@pytest.mark.parametrize("rows", [[[np.nan, 0.5]], [[np.nan, np.nan]]])
def test_missing_probabilities_are_accepted(rows):
    bernoulli().fit(np.array(rows))
