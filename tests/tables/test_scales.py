"""A table of numbers and its tensors: moments, scales, gaps, and the way back."""

import warnings

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.preprocessing import StandardScaler

from sklearn_ae.tables import sources
from sklearn_ae.tables.scales import FAR, NumericTable, check_support
from sklearn_ae.tables.schema import Layout
from sklearn_ae.tables.sources import Dense, Frame, Selected

N, D = 40, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) * [1, 10, 0.01, 3, 1e4] + [0, 5, -1, 100, -1e6]
GAPS = np.where(RNG.random((N, D)) < 0.3, np.nan, X)
WEIGHT = RNG.uniform(0.1, 3, N)
DENSE = {"full": X, "gaps": GAPS}
CPU = torch.device("cpu")

data = pytest.mark.parametrize("rows", DENSE.values(), ids=DENSE)
weights = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
scales = pytest.mark.parametrize("scale", [True, "common", False])
kinds = pytest.mark.parametrize("kind", [np.asarray, csr_matrix], ids=["dense", "sparse"])


def moments(rows, weight):
    weight = np.where(np.isnan(rows), 0, (np.ones(N) if weight is None else weight)[:, None])
    filled = np.nan_to_num(rows)
    mean = np.average(filled, axis=0, weights=weight)
    return mean, np.average((filled - mean) ** 2, axis=0, weights=weight)


def encoded(table, rows, dtype=torch.float64):
    return table.encode(rows, dtype, CPU)


# What is learned


@kinds
@data
@weights
def test_location_and_spread_are_mean_and_standard_deviation_of_the_known_cells(kind, rows, weight):
    table = NumericTable.fit(kind(rows), weight, True)
    mean, variance = moments(rows, weight)
    assert table.location == pytest.approx(mean, rel=1e-10)
    assert table.spread == pytest.approx(np.sqrt(variance), rel=1e-6)


@data
@weights
def test_encoding_standardises_as_scikit_learn_does(rows, weight):
    expected = StandardScaler().fit(rows, sample_weight=weight).transform(rows)
    x, _ = encoded(NumericTable.fit(rows, weight, True), rows)
    assert x.numpy() == pytest.approx(np.nan_to_num(expected), abs=1e-8)


@kinds
@data
@weights
def test_the_common_scale_centres_each_column_and_divides_by_one_pooled_spread(kind, rows, weight):
    table = NumericTable.fit(kind(rows), weight, "common")
    mean, variance = moments(rows, weight)
    assert table.location == pytest.approx(mean, rel=1e-10)
    assert table.spread == pytest.approx([np.sqrt(variance.mean())] * D, rel=1e-6)


@kinds
def test_without_scale_the_rows_are_centred_only(kind):
    table = NumericTable.fit(kind(X), None, False)
    assert table.location == pytest.approx(moments(X, None)[0], rel=1e-10)
    assert table.spread.tolist() == [1] * D


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@scales
@weights
def test_a_sparse_table_learns_what_a_dense_one_learns(scale, weight, dtype):
    rows = np.where(RNG.random((N, D)) < 0.6, 0, RNG.normal(size=(N, D)) + 3).astype(dtype)
    dense, sparse = NumericTable.fit(rows, weight, scale), NumericTable.fit(csr_matrix(rows), weight, scale)
    accuracy = 1e-5 if dtype == np.float32 else 1e-12
    assert sparse.location == pytest.approx(dense.location, rel=accuracy, abs=accuracy)
    assert sparse.spread == pytest.approx(dense.spread, rel=accuracy)
    assert (sparse.location.dtype, sparse.spread.dtype) == (np.float64, np.float64)


@data
@weights
def test_moments_do_not_depend_on_the_block(rows, weight, monkeypatch):
    whole = NumericTable.fit(rows, weight, True)
    monkeypatch.setattr(sources, "BLOCK", 7)
    by_block = NumericTable.fit(rows, weight, True)
    assert by_block.location == pytest.approx(whole.location, rel=1e-12)
    assert by_block.spread == pytest.approx(whole.spread, rel=1e-12)
    expected = np.nan_to_num((rows - by_block.location) / by_block.spread)
    assert encoded(by_block, rows)[0].numpy() == pytest.approx(expected, rel=1e-12)


@kinds
def test_a_weight_of_two_is_a_row_twice(kind):
    twice = np.repeat(X, 2, axis=0)
    weighted = NumericTable.fit(kind(X), np.full(N, 2.0), True)
    doubled = NumericTable.fit(kind(twice), None, True)
    assert weighted.location == pytest.approx(doubled.location, rel=1e-12)
    assert weighted.spread == pytest.approx(doubled.spread, rel=1e-6)


# Columns with nothing to learn from


@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e6])
def test_a_constant_column_is_centred_and_not_scaled(kind, dtype, value):
    rows = X.astype(dtype)
    rows[:, 1] = value
    table = NumericTable.fit(kind(rows), None, True)
    assert table.spread[1] == 1
    assert table.location[1] == pytest.approx(rows[0, 1], rel=1e-6)
    assert encoded(table, rows)[0][:, 1].abs().max() <= 1e-6 * max(1, abs(value))


@pytest.mark.parametrize(("location", "spread"), [(1e8, 1.0), (1.7e9, 50.0), (1e3, 1e-6), (0.0, 1e-12)])
def test_a_column_that_varies_a_little_far_from_zero_is_not_constant(location, spread):
    rows = location + spread * RNG.normal(size=(N, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = NumericTable.fit(rows, None, True)
    assert table.spread == pytest.approx(rows.std(0), rel=1e-3)


@kinds
@pytest.mark.parametrize("scale", [True, "common"])
def test_a_column_without_a_known_cell_warns_and_is_learned_as_zero(kind, scale):
    rows = X.copy()
    rows[:, 2] = np.nan
    with pytest.warns(UserWarning, match=r"columns \[2\] have no observed value") as warned:
        table = NumericTable.fit(kind(rows), None, scale)
    assert len(warned) == 1
    assert table.location[2] == 0
    assert np.isfinite(table.spread).all()
    if scale == "common":
        assert table.spread == pytest.approx(np.sqrt(X[:, [0, 1, 3, 4]].var(0).mean()))
    else:
        assert table.spread[2] == 1


@pytest.mark.parametrize("scale", [True, "common", False])
def test_a_constant_column_needs_no_warning(scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = NumericTable.fit(np.full((N, 2), 3.0), None, scale)
    assert table.spread.tolist() == [1, 1]


def test_one_row_has_no_spread():
    table = NumericTable.fit(X[:1], None, True)
    assert table.location == pytest.approx(X[0])
    assert table.spread.tolist() == [1] * D


# There and back


@scales
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decoding_undoes_encoding(scale, dtype):
    rows = X if dtype == torch.float64 or scale else X[:, :4]
    table = NumericTable.fit(rows, None, scale)
    x, observed = encoded(table, rows, dtype)
    assert x.dtype == dtype
    assert observed is None
    back = table.decode(x)
    assert back.dtype == np.float64
    accuracy = 1e-12 if dtype == torch.float64 else 1e-6
    assert back == pytest.approx(rows, rel=accuracy, abs=accuracy * table.spread.max() * 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_missing_cell_is_zero_and_masked(dtype):
    table = NumericTable.fit(GAPS, None, True)
    x, observed = encoded(table, GAPS, dtype)
    missing = torch.from_numpy(np.isnan(GAPS))
    assert x.dtype == dtype
    assert torch.equal(observed, ~missing)
    assert not x[missing].any()
    assert np.allclose(table.decode(x)[~np.isnan(GAPS)], GAPS[~np.isnan(GAPS)])


def test_encoding_leaves_the_rows_alone():
    rows = GAPS.copy()
    encoded(NumericTable.fit(rows, None, True), rows)
    np.testing.assert_array_equal(rows, GAPS)


# The change of variables


def test_the_log_volume_is_minus_the_log_determinant():
    table = NumericTable.fit(X, None, True)
    jacobian = torch.autograd.functional.jacobian(
        lambda row: (row - torch.from_numpy(table.location)) / torch.from_numpy(table.spread), torch.from_numpy(X[0])
    )
    found = table.log_volume(torch.zeros(1, D, dtype=torch.float64), None)
    assert found.shape == ()
    assert found.item() == pytest.approx(-torch.linalg.slogdet(jacobian).logabsdet.item())


def test_the_log_volume_is_that_of_the_known_cells():
    table = NumericTable.fit(GAPS, None, True)
    x, observed = encoded(table, GAPS)
    expected = np.where(np.isnan(GAPS), 0, np.log(table.spread)).sum(1)
    assert table.log_volume(x, observed.to(x.dtype)).numpy() == pytest.approx(expected)


def test_the_log_volume_is_exact_where_products_are_in_bfloat16():
    table = NumericTable.fit(GAPS, None, True)
    x, observed = encoded(table, GAPS, torch.float32)
    expected = table.log_volume(x, observed.to(x.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(table.log_volume(x, observed.to(x.dtype)), expected)


def test_without_scale_there_is_no_volume():
    assert NumericTable.fit(X, None, False).log_volume(torch.zeros(1, D), None) == 0


# Probabilities

PROBABILITIES = Layout({"bernoulli": 2})


@kinds
@pytest.mark.parametrize("rows", [[[0.0, 1.0]], [[0.5, 0.0]], [[0.0, 0.0]]])
def test_values_in_the_unit_interval_pass(kind, rows):
    check_support(kind(np.array(rows)), PROBABILITIES)


@kinds
@pytest.mark.parametrize(
    ("rows", "interval"),
    [([[0.0, 1.5]], r"\[0, 1.5\]"), ([[-0.25, 1.0]], r"\[-0.25, 1\]"), ([[255.0, np.nan]], r"\[0, 255\]")],
)
def test_values_outside_the_unit_interval_raise(kind, rows, interval):
    with pytest.raises(ValueError, match=f"X must lie in .0, 1., got values in {interval}: divide by"):
        check_support(kind(np.array(rows)), PROBABILITIES)


@pytest.mark.parametrize("rows", [[[np.nan, 0.5]], [[np.nan, np.nan]]])
def test_missing_cells_may_be_anything(rows):
    check_support(np.array(rows), PROBABILITIES)


# Sources


FRAME_COLUMNS = {
    "numbers": {"a": [1.0, 2.0, 3.0], "b": [4, 5, 6], "c": [True, False, True]},
    "gaps": {"a": [1.0, None, 3.0], "b": [None, 5.0, 6.0]},
}


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("columns", FRAME_COLUMNS.values(), ids=FRAME_COLUMNS)
def test_a_frame_gives_its_rows_as_numbers(columns, library):
    frame = Frame(pytest.importorskip(library).DataFrame(columns))
    whole = np.array([[np.nan if cell is None else float(cell) for cell in column] for column in columns.values()]).T
    assert frame.shape == whole.shape
    assert frame.dtype == np.float64
    for rows in (slice(0, 2), slice(1, 9), np.array([2, 0, 0])):
        np.testing.assert_array_equal(frame[rows], whole[rows])


def test_a_frame_of_single_precision_stays_so():
    pd = pytest.importorskip("pandas")
    frame = Frame(pd.DataFrame(X.astype(np.float32)))
    assert frame.dtype == frame[:3].dtype == np.float32


@pytest.mark.parametrize("bad", [np.inf, "word"])
@pytest.mark.parametrize("row", [0, 25])
def test_a_cell_of_a_frame_that_is_no_number_is_found_in_every_block(bad, row, monkeypatch):
    pd = pytest.importorskip("pandas")
    monkeypatch.setattr(sources, "BLOCK", 3 * D)
    frame = pd.DataFrame(X).astype(object)
    frame.iloc[row, 2] = bad
    with pytest.raises(ValueError, match="infinity|could not convert string to float"):
        Frame(frame)


def test_selected_rows_are_looked_up_in_their_source():
    rows = Selected(Selected(X, np.array([5, 7, 1, 1])), np.array([3, 0]))
    assert rows.shape == (2, D)
    assert rows.dtype == X.dtype
    np.testing.assert_array_equal(rows[:], X[[1, 5]])
    np.testing.assert_array_equal(rows[1:], X[[5]])


@kinds
@weights
def test_a_source_learns_and_encodes_as_an_array_does(kind, weight):
    pd = pytest.importorskip("pandas")
    source = Dense(csr_matrix(X)) if kind is csr_matrix else Frame(pd.DataFrame(X))
    table, expected = NumericTable.fit(source, weight, True), NumericTable.fit(X, weight, True)
    assert table.location == pytest.approx(expected.location, rel=1e-10)
    np.testing.assert_allclose(encoded(table, source)[0], encoded(expected, X)[0], atol=1e-6)


@pytest.mark.parametrize("block", [D, 7 * D, 1 << 17])
def test_gaps_in_some_blocks_make_one_mask(block, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", block)
    rows = X.copy()
    rows[20, 1] = np.nan
    x, observed = encoded(NumericTable.fit(rows, None, True), rows)
    assert torch.equal(observed, torch.from_numpy(~np.isnan(rows)))
    assert x[20, 1] == 0


def test_an_infinite_cell_is_no_gap():
    rows = X.copy()
    rows[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        encoded(NumericTable.fit(X, None, True), rows)


@pytest.mark.parametrize("column", [[1e40, 3e40, 2e40], [1e60, -1e60, 0.0], [1e-60, -1e-60, 0.0]])
def test_a_scale_beyond_single_precision_is_applied_in_double_precision(column):
    table = NumericTable.fit(np.array(column)[:, None], None, True)  # without a warning
    rows = np.float32([[1e-30], [1e30]])[: 1 if column[0] < 1 else 2]
    x, _ = encoded(table, rows, torch.float32)
    expected = (rows.astype(float) - table.location) / table.spread
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("location", [0.0, 1.0, 500.0, 1e5, -1e7])
def test_single_precision_is_encoded_as_well_as_its_rows_allow(location):
    rows = (location + RNG.normal(size=(500, 1))).astype(np.float32)
    table = NumericTable.fit(rows, None, True)
    x, _ = encoded(table, rows, torch.float32)
    exact = (rows.astype(np.float64) - table.location) / table.spread
    assert np.abs(x.numpy() - exact).max() <= 5e-7 * (1 + min(abs(location), FAR))
    assert abs(x.mean().item()) <= 1e-4
