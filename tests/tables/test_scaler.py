"""The scaler: location and spread, missing cells, and the way back."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.special import ndtri
from sklearn.preprocessing import StandardScaler

from sklearn_ae.tables import sources
from sklearn_ae.tables.scaler import FAR, SCALES, Scale, Scaler
from sklearn_ae.tables.sources import Array, Frame, Source, Sparse

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
SOURCES = {"sparse": lambda rows: Sparse(csr_matrix(rows)), "frame": lambda rows: Frame(pd.DataFrame(rows))}
kinds = pytest.mark.parametrize("kind", [Array, lambda rows: Sparse(csr_matrix(rows))], ids=["dense", "sparse"])


def moments(rows, weight):
    weight = np.where(np.isnan(rows), 0, (np.ones(N) if weight is None else weight)[:, None])
    filled = np.nan_to_num(rows)
    mean = np.average(filled, axis=0, weights=weight)
    return mean, np.average((filled - mean) ** 2, axis=0, weights=weight)


def encoded(scaler, rows, dtype=torch.float64):
    return scaler.encode(rows if isinstance(rows, Source) else Array(rows), dtype, CPU)


# Location and spread


@kinds
@data
@weights
def test_location_and_spread_are_mean_and_standard_deviation(kind, rows, weight):
    scaler = Scaler.fit(kind(rows), weight, True)
    mean, variance = moments(rows, weight)
    assert scaler.location == pytest.approx(mean, rel=1e-10)
    assert scaler.spread == pytest.approx(np.sqrt(variance), rel=1e-6)


@data
@weights
def test_encoding_standardises_as_scikit_learn_does(rows, weight):
    expected = StandardScaler().fit(rows, sample_weight=weight).transform(rows)
    x, _ = encoded(Scaler.fit(Array(rows), weight, True), rows)
    assert x.numpy() == pytest.approx(np.nan_to_num(expected), abs=1e-8)


@kinds
@data
@weights
def test_the_common_scale_divides_by_one_pooled_spread(kind, rows, weight):
    scaler = Scaler.fit(kind(rows), weight, "common")
    mean, variance = moments(rows, weight)
    assert scaler.location == pytest.approx(mean, rel=1e-10)
    assert scaler.spread == pytest.approx([np.sqrt(variance.mean())] * D, rel=1e-6)


@kinds
def test_without_scale_the_rows_are_centred_only(kind):
    scaler = Scaler.fit(kind(X), None, False)
    assert scaler.location == pytest.approx(moments(X, None)[0], rel=1e-10)
    assert scaler.spread.tolist() == [1] * D


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@scales
@weights
def test_sparse_rows_are_scaled_as_dense_ones_are(scale, weight, dtype):
    rows = np.where(RNG.random((N, D)) < 0.6, 0, RNG.normal(size=(N, D)) + 3).astype(dtype)
    dense, sparse = Scaler.fit(Array(rows), weight, scale), Scaler.fit(Sparse(csr_matrix(rows)), weight, scale)
    accuracy = 1e-5 if dtype == np.float32 else 1e-12
    assert sparse.location == pytest.approx(dense.location, rel=accuracy, abs=accuracy)
    assert sparse.spread == pytest.approx(dense.spread, rel=accuracy)
    assert (sparse.location.dtype, sparse.spread.dtype) == (np.float64, np.float64)


@data
@weights
def test_moments_do_not_depend_on_the_block(rows, weight, monkeypatch):
    whole = Scaler.fit(Array(rows), weight, True)
    monkeypatch.setattr(sources, "BLOCK", 7)
    by_block = Scaler.fit(Array(rows), weight, True)
    assert by_block.location == pytest.approx(whole.location, rel=1e-12)
    assert by_block.spread == pytest.approx(whole.spread, rel=1e-12)
    expected = np.nan_to_num((rows - by_block.location) / by_block.spread)
    assert encoded(by_block, rows)[0].numpy() == pytest.approx(expected, rel=1e-12)


@kinds
def test_a_weight_of_two_is_a_row_twice(kind):
    twice = np.repeat(X, 2, axis=0)
    weighted = Scaler.fit(kind(X), np.full(N, 2.0), True)
    doubled = Scaler.fit(kind(twice), None, True)
    assert weighted.location == pytest.approx(doubled.location, rel=1e-12)
    assert weighted.spread == pytest.approx(doubled.spread, rel=1e-6)


# Columns with nothing to learn from


@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e6])
def test_a_constant_column_is_centred_and_not_scaled(kind, dtype, value):
    rows = X.astype(dtype)
    rows[:, 1] = value
    scaler = Scaler.fit(kind(rows), None, True)
    assert scaler.spread[1] == 1
    assert scaler.location[1] == pytest.approx(rows[0, 1], rel=1e-6)
    assert encoded(scaler, rows)[0][:, 1].abs().max() <= 1e-6 * max(1, abs(value))


@pytest.mark.parametrize(("location", "spread"), [(1e8, 1.0), (1.7e9, 50.0), (1e3, 1e-6), (0.0, 1e-12)])
def test_a_column_that_varies_a_little_far_from_zero_is_not_constant(location, spread):
    rows = location + spread * RNG.normal(size=(N, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = Scaler.fit(Array(rows), None, True)
    assert scaler.spread == pytest.approx(rows.std(0), rel=1e-3)


@kinds
@pytest.mark.parametrize("scale", [True, "common"])
def test_a_column_without_a_known_cell_warns_and_is_located_at_zero(kind, scale):
    rows = X.copy()
    rows[:, 2] = np.nan
    with pytest.warns(UserWarning, match=r"columns \[2\] have no observed value") as warned:
        scaler = Scaler.fit(kind(rows), None, scale)
    assert len(warned) == 1
    assert scaler.location[2] == 0
    assert np.isfinite(scaler.spread).all()
    if scale == "common":
        assert scaler.spread == pytest.approx(np.sqrt(X[:, [0, 1, 3, 4]].var(0).mean()))
    else:
        assert scaler.spread[2] == 1


@pytest.mark.parametrize("scale", [True, "common", False])
def test_a_constant_column_needs_no_warning(scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = Scaler.fit(Array(np.full((N, 2), 3.0)), None, scale)
    assert scaler.spread.tolist() == [1, 1]


def test_one_row_has_no_spread():
    scaler = Scaler.fit(Array(X[:1]), None, True)
    assert scaler.location == pytest.approx(X[0])
    assert scaler.spread.tolist() == [1] * D


def test_a_column_without_a_known_cell_is_decoded_as_zero():
    rows = np.where(np.arange(D) == 2, np.nan, X)
    with pytest.warns(UserWarning, match="no observed value"):
        scaler = Scaler.fit(Array(rows), None, True)
    decoded = scaler.decode(torch.ones(3, D)).numpy()
    assert not decoded[:, 2].any()
    assert decoded[:, [0, 1, 3, 4]].all()


# Quantiles


@kinds
def test_the_quantile_scale_maps_ranks_to_a_normal_distribution(kind):
    x, _ = encoded(Scaler.fit(kind(X), None, "quantile"), X)
    normal = ndtri((np.arange(N) + 0.5) / N)
    assert np.sort(x.numpy(), axis=0) == pytest.approx(np.tile(normal[:, None], D))
    assert np.array_equal(np.argsort(x.numpy(), axis=0), np.argsort(X, axis=0))


def test_quantiles_of_weighted_rows_are_those_of_repeated_rows():
    times = np.arange(N) % 3 + 1
    weighted = Scaler.fit(Array(X), times.astype(float), "quantile")
    repeated = Scaler.fit(Array(np.repeat(X, times, axis=0)), None, "quantile")
    assert encoded(weighted, X)[0].numpy() == pytest.approx(encoded(repeated, X)[0].numpy())


def test_cells_beyond_the_quantiles_are_mapped_to_the_outermost():
    scaler = Scaler.fit(Array(X), None, "quantile")
    ends = np.stack([X.min(0), X.max(0)])
    beyond = ends + [[-1e9], [1e9]]
    assert torch.equal(encoded(scaler, beyond)[0], encoded(scaler, ends)[0])


# Encoding and decoding


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decoding_undoes_encoding(scale, dtype):
    rows = X if dtype == torch.float64 or scale else X[:, :4]
    scaler = Scaler.fit(Array(rows), None, scale)
    x, observed = encoded(scaler, rows, dtype)
    assert x.dtype == dtype
    assert observed is None
    back = scaler.decode(x).numpy()
    assert back.dtype == np.float64
    accuracy = 1e-12 if dtype == torch.float64 else 1e-6
    assert back == pytest.approx(rows, rel=accuracy, abs=accuracy * scaler.spread.max() * 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_missing_cell_is_zero_and_masked(dtype):
    scaler = Scaler.fit(Array(GAPS), None, True)
    x, observed = encoded(scaler, GAPS, dtype)
    missing = torch.from_numpy(np.isnan(GAPS))
    assert x.dtype == dtype
    assert torch.equal(observed, ~missing)
    assert not x[missing].any()
    assert np.allclose(scaler.decode(x).numpy()[~np.isnan(GAPS)], GAPS[~np.isnan(GAPS)])


def test_encoding_leaves_the_rows_alone():
    rows = GAPS.copy()
    encoded(Scaler.fit(Array(rows), None, True), rows)
    np.testing.assert_array_equal(rows, GAPS)


# The log-determinant


def test_the_log_determinant_is_that_of_the_inverse_of_encoding():
    scaler = Scaler.fit(Array(X), None, True)
    jacobian = torch.autograd.functional.jacobian(
        lambda row: (row - torch.from_numpy(scaler.location)) / torch.from_numpy(scaler.spread), torch.from_numpy(X[0])
    )
    found = scaler.log_determinant(torch.zeros(1, D, dtype=torch.float64), None)
    assert found.shape == ()
    assert found.item() == pytest.approx(-torch.linalg.slogdet(jacobian).logabsdet.item())


def test_the_log_determinant_counts_observed_cells_only():
    scaler = Scaler.fit(Array(GAPS), None, True)
    x, observed = encoded(scaler, GAPS)
    expected = np.where(np.isnan(GAPS), 0, np.log(scaler.spread)).sum(1)
    assert scaler.log_determinant(x, observed.to(x.dtype)).numpy() == pytest.approx(expected)


def test_the_log_determinant_is_exact_where_products_are_in_bfloat16():
    scaler = Scaler.fit(Array(GAPS), None, True)
    x, observed = encoded(scaler, GAPS, torch.float32)
    expected = scaler.log_determinant(x, observed.to(x.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scaler.log_determinant(x, observed.to(x.dtype)), expected)


def test_without_scale_the_log_determinant_is_zero():
    assert Scaler.fit(Array(X), None, False).log_determinant(torch.zeros(1, D), None) == 0


@pytest.mark.parametrize("scale", SCALES)
def test_the_log_determinant_is_that_of_finite_differences_of_decoding(scale):
    scaler = Scaler.fit(Array(X), WEIGHT, scale)
    x, step = torch.from_numpy(np.random.default_rng(1).normal(size=(6, D))), 1e-7
    change = scaler.decode(x + step) - scaler.decode(x - step)
    slopes = change.numpy() / (2 * step)  # each cell depends on its own only
    inside = (slopes > 0).all(1)  # beyond the outermost quantiles there is no slope
    assert inside.sum() > 2
    found = scaler.log_determinant(x, torch.ones_like(x)).numpy()
    assert found[inside] == pytest.approx(np.log(slopes[inside]).sum(1), abs=1e-4)


@pytest.mark.parametrize("scale", SCALES)
def test_columns_beyond_the_scaled_ones_stay_as_they_are(scale):
    scaler = Scaler.fit(Array(X), None, scale, n_scaled=0)
    assert np.array_equal(encoded(scaler, X)[0], X)


def test_a_new_scale_is_one_entry(monkeypatch):
    monkeypatch.setitem(SCALES, "halved", Scale(lambda mean, variance, all_missing: (mean, np.full_like(mean, 2))))
    x, _ = encoded(Scaler.fit(Array(X), None, "halved"), X)
    assert x.numpy() == pytest.approx((X - X.mean(0)) / 2)


def test_an_infinite_variance_is_refused_by_column():
    rows = np.where(np.arange(D) == 3, 1e200 * X, X)
    with pytest.raises(ValueError, match=r"X must have a finite variance, got .* in columns \['d'\]"):
        Scaler.fit(Array(rows), None, True, labels=list("abcde"))


def test_the_farthest_cell_is_named():
    scaler = Scaler.fit(Array(X), None, True, labels=list("abcde"))
    row = scaler.location[None].copy()
    row[0, 1] += 1000
    assert scaler.farthest(row) == f"{row[0, 1]:g} in column 'b'"


# Blocks and precision


@pytest.mark.parametrize("kind", SOURCES.values(), ids=SOURCES)
@weights
def test_a_source_is_fitted_and_encoded_as_an_array_is(kind, weight):
    source = kind(X)
    scaler, expected = Scaler.fit(source, weight, True), Scaler.fit(Array(X), weight, True)
    assert scaler.location == pytest.approx(expected.location, rel=1e-10)
    np.testing.assert_allclose(encoded(scaler, source)[0], encoded(expected, X)[0], atol=1e-6)


@pytest.mark.parametrize("block", [D, 7 * D, 1 << 17])
def test_gaps_in_some_blocks_make_one_mask(block, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", block)
    rows = X.copy()
    rows[20, 1] = np.nan
    x, observed = encoded(Scaler.fit(Array(rows), None, True), rows)
    assert torch.equal(observed, torch.from_numpy(~np.isnan(rows)))
    assert x[20, 1] == 0


def test_an_infinite_cell_is_no_gap():
    rows = X.copy()
    rows[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        encoded(Scaler.fit(Array(X), None, True), rows)


@pytest.mark.parametrize("column", [[1e40, 3e40, 2e40], [1e60, -1e60, 0.0], [1e-60, -1e-60, 0.0]])
def test_a_scale_beyond_single_precision_is_applied_in_double_precision(column):
    scaler = Scaler.fit(Array(np.array(column)[:, None]), None, True)  # without a warning
    rows = np.float32([[1e-30], [1e30]])[: 1 if column[0] < 1 else 2]
    x, _ = encoded(scaler, rows, torch.float32)
    expected = (rows.astype(float) - scaler.location) / scaler.spread
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("location", [0.0, 1.0, 500.0, 1e5, -1e7])
def test_single_precision_is_encoded_as_well_as_its_rows_allow(location):
    rows = (location + RNG.normal(size=(500, 1))).astype(np.float32)
    scaler = Scaler.fit(Array(rows), None, True)
    x, _ = encoded(scaler, rows, torch.float32)
    exact = (rows.astype(np.float64) - scaler.location) / scaler.spread
    assert np.abs(x.numpy() - exact).max() <= 5e-7 * (1 + min(abs(location), FAR))
    assert abs(x.mean().item()) <= 1e-4


def test_constants_may_be_read_only_as_in_a_mapped_file():
    location, spread, empty = np.array([1.0, 0.0]), np.array([2.0, 1.0]), np.array([False, True])
    for constants in (location, spread, empty):
        constants.flags.writeable = False
    scaler = Scaler(location, spread, empty=empty)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, _ = scaler.encode_block(np.array([[5.0, 3.0]]), torch.float64)
        assert x.tolist() == [[2.0, 3.0]]
        assert scaler.decode(x).tolist() == [[5.0, 0.0]]
