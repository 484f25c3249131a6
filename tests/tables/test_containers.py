"""Containers: arrays, sparse matrices and sources of a user's own as tables."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from sklearn_ae.tables import containers, sources
from sklearn_ae.tables.containers import ArrayContainer, SourceContainer, SparseContainer, with_nan
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.tables.frames import frame_container
from sklearn_ae.tables.schema import Schema
from sklearn_ae.tables.sources import Array, Source, Sparse
from tests.tables.kinds import KINDS, options

N, D = 30, 4
RNG = np.random.default_rng(0)
X = np.where(RNG.random((N, D)) < 0.3, 0, RNG.normal(size=(N, D)))
X[2, 1] = X[7, 3] = np.nan


class Mapped(Source):
    """A file of rows as a source."""

    def __init__(self, path):
        self.rows = np.load(path, mmap_mode="r")
        self.shape, self.dtype = self.rows.shape, self.rows.dtype

    def __getitem__(self, rows):
        return np.asarray(self.rows[rows])


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return Mapped(tmp_path / "rows.npy")


@pytest.fixture(params=["array", "sparse", "own"])
def container(request, mapped, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 3 * D)
    return {
        "array": lambda: ArrayContainer(X),
        "sparse": lambda: SparseContainer(csr_matrix(X)),
        "own": lambda: SourceContainer(mapped),
    }[request.param]()


def test_a_table_of_numbers_is_read_by_the_positions_of_its_columns(container):
    assert container.names == list(range(D))
    assert len(container) == N
    assert not container.is_frame
    for position in range(D):
        assert container.kind(position) == "float"
        assert container.label(position) == f"column {position}"
        values, missing = container.values(position)
        np.testing.assert_array_equal(values, X[:, position])
        np.testing.assert_array_equal(missing, np.isnan(X[:, position]))
    np.testing.assert_array_equal(container.missing(), np.isnan(X))


@pytest.mark.parametrize("positions", [[0, 1, 2, 3], [3, 0], [2]])
def test_numbers_are_a_source_of_the_chosen_columns(container, positions):
    source = container.numbers(positions)
    assert isinstance(source, Source)
    np.testing.assert_array_equal(source[:], X[:, positions])


def test_an_empty_table_keeps_columns_and_dtype_and_no_rows(container):
    empty = container.empty()
    assert (len(empty), empty.names) == (0, container.names)
    assert empty.array.dtype == np.float64
    assert empty.array.base is None


def test_a_table_of_the_same_kind_is_an_array(container):
    made = container.made_of(list(np.nan_to_num(X).T))
    assert isinstance(made, np.ndarray)
    np.testing.assert_array_equal(made, np.nan_to_num(X))


def test_filling_writes_gaps_only(container):
    filled = container.filled({1: np.full(N, 5.0), 3: np.full(N, 6.0)}, np.isnan(X), container.empty())
    expected = X.copy()
    expected[2, 1], expected[7, 3] = 5, 6
    np.testing.assert_array_equal(filled, expected)
    assert np.isnan(X[2, 1])


def test_numbers_of_an_array_are_not_copied():
    assert np.shares_memory(ArrayContainer(X).numbers(range(D))[:], X)


def test_a_frame_says_that_it_is_one():
    assert frame_container(pd.DataFrame(X)).is_frame


# A source of a user's own


def test_a_source_of_a_users_own_is_used_itself(mapped):
    assert SourceContainer(mapped).numbers(range(D)) is mapped


@pytest.mark.parametrize("dtype", [np.int64, np.float16, object])
def test_a_source_of_another_dtype_is_refused(dtype):
    with pytest.raises(TypeError, match=f"must be float32 or float64, got {np.dtype(dtype)}"):
        SourceContainer(Array(np.ones((3, 2), dtype)))


@pytest.mark.parametrize(
    ("make", "words"), [(lambda: SparseContainer(csr_matrix(X)), "a sparse matrix"), (None, "a Source")]
)
def test_categories_need_a_table_that_can_hold_them(make, words, mapped):
    container = SourceContainer(mapped) if make is None else make()
    with pytest.raises(TypeError, match=f"must name no column of {words}, got column 2"):
        Schema.learn(container, options(categorical_features=[2]))


@pytest.mark.parametrize("scale", [True, "common", "quantile", False])
def test_a_source_of_a_users_own_is_encoded_as_its_array_is(mapped, scale):
    chosen = options(likelihood={2: "wide", 0: "bernoulli"})
    mapped.rows = np.where(np.arange(D) == 0, np.abs(np.tanh(X)), X)
    encoded = []
    for container in (SourceContainer(mapped), ArrayContainer(mapped.rows)):
        schema = Schema.learn(container, chosen)
        source = schema.source(container, "ignore")
        encoding = Encoding.fit(schema, source, None, scale)
        assert encoding.layout.numeric == {KINDS["gaussian"]: 2, KINDS["wide"]: 1, KINDS["bernoulli"]: 1}
        encoded.append(encoding.encode(source, torch.float64, torch.device("cpu")))
    for of_source, of_array in zip(*encoded, strict=True):
        assert torch.equal(of_source, of_array)


# Input that is no table yet


def test_gaps_of_masked_arrays_and_objects_become_nan():
    masked = np.ma.MaskedArray([[1, 2], [3, 4]], [[0, 1], [0, 0]])
    np.testing.assert_array_equal(with_nan(masked), [[1, np.nan], [3, 4]])
    assert pd.isna(with_nan([[1.0, None], [pd.NA, "a"]])).tolist() == [[False, True], [True, False]]
    assert with_nan([[1.0, 2.0]]) == [[1.0, 2.0]]
    plain = np.ones((2, 2))
    assert with_nan(plain) is plain


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([[1, 2], [3]], "rows of one length"),
        (np.array([[1, "a"]], dtype=object), "in column 1: could not convert"),
        ("abc", "must be an array or a DataFrame, got 'abc'"),
    ],
)
def test_the_error_of_a_conversion_names_the_column(X, words):
    with pytest.raises((TypeError, ValueError), match=words):
        containers.raise_with_column(X, ValueError("of numpy"))


def test_times_and_lazy_frames_are_refused():
    with pytest.raises(TypeError, match="got times"):
        containers.check_kind(np.array([["2020"]], "M8[D]"))
    with pytest.raises(TypeError, match="collect"):
        containers.check_kind(pytest.importorskip("polars").LazyFrame({"a": [1]}))


def test_the_sources_of_arrays_and_sparse_matrices_are_their_own():
    assert type(ArrayContainer(X).numbers(range(D))) is Array
    assert type(SparseContainer(csr_matrix(X)).numbers([1, 0])) is Sparse
