"""Sources: rows of numbers in blocks, whatever they come from."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from sklearn_ae.tables import sources
from sklearn_ae.tables.sources import Array, Categorized, Frame, Reordered, Selected, Source, Sparse, blocks

N, D = 40, 5
RNG = np.random.default_rng(0)
X = np.where(RNG.random((N, D)) < 0.4, 0, RNG.normal(size=(N, D)) + 3)
GAPS = np.where(RNG.random((N, D)) < 0.2, np.nan, X)
WEIGHT = RNG.uniform(0.1, 3, N)


class Mapped(Source):
    """A file of rows as a source, with the defaults of the base class."""

    is_kept_encoded = False

    def __init__(self, path):
        self.rows = np.load(path, mmap_mode="r")
        self.shape, self.dtype = self.rows.shape, self.rows.dtype

    def __getitem__(self, rows):
        return np.asarray(self.rows[rows])


def mapped(rows, folder):
    np.save(folder / "rows.npy", rows)
    return Mapped(folder / "rows.npy")


SOURCES = {
    "array": lambda rows, folder: Array(rows),
    "sparse": lambda rows, folder: Sparse(csr_matrix(rows)),
    "pandas": lambda rows, folder: Frame(pd.DataFrame(rows)),
    "polars": lambda rows, folder: Frame(pl.DataFrame(rows)),
    "objects": lambda rows, folder: Frame(rows.astype(object)),
    "own": mapped,
    "selected": lambda rows, folder: Selected(Array(rows[::-1].copy()), np.arange(N)[::-1]),
    "selected sparse": lambda rows, folder: Selected(Sparse(csr_matrix(rows[::-1])), np.arange(N)[::-1]),
    "taken sparse": lambda rows, folder: Sparse(csr_matrix(rows[::-1])).take(np.arange(N)[::-1]),
    "reordered": lambda rows, folder: Array(rows[:, ::-1].copy()).columns(range(D)[::-1]),
    "reordered sparse": lambda rows, folder: Sparse(csr_matrix(rows[:, ::-1])).columns(range(D)[::-1]),
    "reordered own": lambda rows, folder: mapped(rows[:, ::-1], folder).columns(range(D)[::-1]),
}
every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
tables = pytest.mark.parametrize("rows", [X, GAPS], ids=["full", "gaps"])
block_sizes = pytest.mark.parametrize("block", [D, 7 * D, 1 << 17])


@every_source
@tables
def test_every_source_has_equal_rows(make, rows, tmp_path):
    source = make(rows, tmp_path)
    assert source.shape == (N, D)
    assert len(source) == N
    assert source.dtype == np.float64
    for index in (slice(0, 3), slice(35, 99), np.array([5, 0, 0, 39])):
        part = source[index]
        assert part.dtype == source.dtype
        np.testing.assert_array_equal(part, rows[index])
    np.testing.assert_array_equal(np.concatenate([source[part] for part in blocks(source.shape)]), rows)


@every_source
@tables
def test_taken_rows_are_those_of_the_index(make, rows, tmp_path):
    index = np.array([7, 7, 0, 39, 12])
    taken = make(rows, tmp_path).take(index)
    assert taken.shape == (5, D)
    np.testing.assert_array_equal(taken[:], rows[index])
    np.testing.assert_array_equal(taken[np.array([3, 1])], rows[index[[3, 1]]])
    again = taken.take(np.array([4, 0]))
    np.testing.assert_array_equal(again[:], rows[[12, 7]])


@every_source
@tables
def test_chosen_columns_are_those_of_the_positions(make, rows, tmp_path):
    chosen = make(rows, tmp_path).columns([3, 0])
    assert chosen.shape == (N, 2)
    np.testing.assert_array_equal(chosen[:9], rows[:9, [3, 0]])


@every_source
@tables
@block_sizes
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal weights", "weighted"])
def test_every_source_has_equal_moments(make, rows, block, weight, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", block)
    mean, variance, all_missing, gaps = make(rows, tmp_path).moments(weight)
    counted = np.where(np.isnan(rows), 0, (np.ones(N) if weight is None else weight)[:, None])
    filled = np.nan_to_num(rows)
    expected = np.average(filled, axis=0, weights=counted)
    assert mean == pytest.approx(expected, rel=1e-10)
    assert variance == pytest.approx(np.average((filled - expected) ** 2, axis=0, weights=counted), rel=1e-10)
    assert not all_missing.any()
    assert gaps.tolist() == np.isnan(rows).any(0).tolist()


@every_source
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal weights", "weighted"])
def test_a_column_without_a_known_cell_has_moments_of_zero(make, weight, tmp_path):
    rows = np.where(np.arange(D) == 2, np.nan, X)
    mean, variance, all_missing, gaps = make(rows, tmp_path).moments(weight)
    assert np.flatnonzero(all_missing).tolist() == np.flatnonzero(gaps).tolist() == [2]
    assert (mean[2], variance[2]) == (0, 0)


@every_source
@tables
@block_sizes
def test_every_source_has_equal_known_values(make, rows, block, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", block)
    values = np.concatenate([part.ravel() for part in make(rows, tmp_path).known_values(slice(1, 4))])
    expected = rows[:, 1:4].ravel()
    expected = expected[~np.isnan(expected)]
    assert not np.isnan(values).any()
    assert sorted(values[values != 0]) == sorted(expected[expected != 0])  # a sparse matrix may leave out zeros


@every_source
@block_sizes
def test_every_source_finds_its_gaps(make, block, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", block)
    assert not make(X, tmp_path).has_gaps()
    for row in (0, 21, 39):
        rows = X.copy()
        rows[row, 3] = np.nan
        assert make(rows, tmp_path).has_gaps()


def test_large_sources_are_encoded_when_they_are_asked_for(tmp_path):
    for source in (Sparse(csr_matrix(X)), mapped(X, tmp_path)):
        parts = (source, source.take(np.arange(3)), source.columns([0]), Selected(source, np.arange(3)))
        assert not any(part.is_kept_encoded for part in parts)
    for source in (Array(X), Frame(pd.DataFrame(X))):
        assert all(part.is_kept_encoded for part in (source, Selected(source, np.arange(3)), Reordered(source, [0])))


def test_an_array_is_not_copied():
    assert np.shares_memory(Array(X)[3:9], X)


def test_a_source_without_rows_is_abstract():
    with pytest.raises(TypeError, match="__getitem__"):
        Source()


def test_the_sources_of_the_package_do_not_change_the_rows(tmp_path):
    rows = GAPS.copy()
    source = Array(rows)
    source.moments(WEIGHT), source.has_gaps(), list(source.known_values(slice(0, D)))
    np.testing.assert_array_equal(rows, GAPS)


# Category ids


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_category_ids_follow_the_numbers_and_0_is_missing(dtype):
    ids = np.array([[1, 0], [2, 3]], np.int32)
    source = Categorized(Array(np.array([[0.5], [1.5]], dtype)), ids)
    assert (source.shape, source.dtype) == ((2, 3), dtype)
    np.testing.assert_array_equal(source[:], np.array([[0.5, 1, np.nan], [1.5, 2, 3]], dtype))
    assert source.has_gaps()
    np.testing.assert_array_equal(Categorized(None, ids)[1:], [[2, 3]])


# DataFrames

FRAME_COLUMNS = {
    "numbers": {"a": [1.0, 2.0, 3.0], "b": [4, 5, 6], "c": [True, False, True]},
    "gaps": {"a": [1.0, None, 3.0], "b": [None, 5.0, 6.0]},
}


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("columns", FRAME_COLUMNS.values(), ids=FRAME_COLUMNS)
def test_a_frame_gives_its_rows_as_numbers(columns, library):
    frame = Frame(library.DataFrame(columns))
    whole = np.array([[np.nan if cell is None else float(cell) for cell in column] for column in columns.values()]).T
    assert frame.shape == whole.shape
    assert frame.dtype == np.float64
    for rows in (slice(0, 2), slice(1, 9), np.array([2, 0, 0])):
        np.testing.assert_array_equal(frame[rows], whole[rows])


def test_a_frame_of_single_precision_stays_so():
    frame = Frame(pd.DataFrame(X.astype(np.float32)))
    assert frame.dtype == frame[:3].dtype == np.float32


@pytest.mark.parametrize("bad", [np.inf, "word"])
@pytest.mark.parametrize("row", [0, 25])
def test_a_cell_of_a_frame_that_is_no_number_is_found_in_every_block(bad, row, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 3 * D)
    frame = pd.DataFrame(X).astype(object)
    frame.iloc[row, 2] = bad
    with pytest.raises(ValueError, match="got in column 'c': .*(infinity|could not convert string to float)"):
        Frame(frame, ["column 'a'", "column 'b'", "column 'c'", "column 'd'", "column 'e'"])
