"""The encoding: schema and scaler in one, rows to cells and back."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix

from sklearn_ae.tables.containers import ArrayContainer, SparseContainer
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.tables.frames import frame_container
from sklearn_ae.tables.scaler import SCALES
from sklearn_ae.tables.schema import Schema
from tests.tables.kinds import options

N = 60
RNG = np.random.default_rng(0)
CPU = torch.device("cpu")
COLUMNS = {
    "letter": RNG.choice(list("abc"), N).tolist(),
    "truth": (RNG.random(N) < 0.5).tolist(),
    "far": (1e3 + RNG.normal(size=N)).tolist(),
    "integer": RNG.integers(-5, 9, N).tolist(),
    "near": (0.1 * RNG.normal(size=N)).tolist(),
}
ORDER = ["far", "integer", "near", "truth", "letter"]
WEIGHT = RNG.uniform(0.1, 3, N)
scales = pytest.mark.parametrize("scale", SCALES)
libraries = pytest.mark.parametrize("library", [pd, pl])


def with_gaps(library):
    columns = {name: list(values) for name, values in COLUMNS.items()}
    columns["far"][3] = columns["letter"][5] = None
    return library.DataFrame(columns)


def encoding_of(table, scale=True, weight=None, **given):
    is_array = isinstance(table, np.ndarray)
    container = ArrayContainer(table) if is_array else frame_container(table)
    schema = Schema.learn(container, options(**given))
    source = schema.source(container, "ignore")
    return Encoding.fit(schema, source, weight, scale), container, source


@libraries
@scales
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal weights", "weighted"])
def test_a_table_comes_back_from_its_encoding(library, scale, weight):
    table = library.DataFrame(COLUMNS)
    encoding, _, source = encoding_of(table, scale, weight)
    x, observed = encoding.encode(source, torch.float64, CPU)
    assert x.shape == (N, encoding.layout.n_cells)
    assert observed is None
    back = encoding.table(encoding.decode(x).numpy())
    assert list(back.dtypes) == list(table.dtypes)
    for name, values in COLUMNS.items():
        found = back[name].to_list()
        assert found == (pytest.approx(values, rel=1e-12) if isinstance(values[0], float) else values)


@scales
def test_cells_that_are_not_scaled_are_numbers_and_ids_as_they_are(scale):
    encoding, _, source = encoding_of(pd.DataFrame(COLUMNS), scale)
    x, _ = encoding.encode(source, torch.float64, CPU)
    assert encoding.schema.labels == ORDER
    assert encoding.layout.n_scaled == 3
    assert x[:, 3].tolist() == COLUMNS["truth"]
    assert x[:, 4].tolist() == ["abc".index(letter) + 1 for letter in COLUMNS["letter"]]


@libraries
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_missing_cells_are_masked_and_numeric_columns_flagged(library, dtype):
    encoding, _, source = encoding_of(with_gaps(library))
    x, observed = encoding.encode(source, dtype, CPU)
    assert x.dtype == dtype
    assert observed.dtype == torch.bool
    assert (~observed).nonzero().tolist() == [[3, 0], [5, 4]]
    assert not x[~observed].any()
    assert encoding.flagged == [0]
    assert encoding_of(library.DataFrame(COLUMNS))[0].flagged == []


@libraries
def test_filling_writes_decoded_cells_into_gaps_only(library):
    table = with_gaps(library)
    encoding, container, source = encoding_of(table)
    x, _ = encoding.encode(source, torch.float64, CPU)
    x[5, 4] = 2
    filled = encoding.filled(container, encoding.decode(x).numpy())
    assert filled["letter"].to_list()[5] == "b"
    assert filled["far"].to_list()[3] == pytest.approx(encoding.scaler.location[0])
    for name in COLUMNS:
        known = [i for i in range(N) if i not in {"far": [3], "letter": [5]}.get(name, [])]
        assert [filled[name].to_list()[i] for i in known] == [COLUMNS[name][i] for i in known]


@scales
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_are_encoded_as_the_whole_is(scale, dtype):
    encoding, _, source = encoding_of(with_gaps(pd), scale)
    x, observed = encoding.encode(source, dtype, CPU)
    for rows in (slice(0, 3), slice(3, 7), np.array([5, 3, 3])):
        part, known = encoding.encode_block(source[rows], dtype)
        assert torch.equal(part, x[rows])
        assert (known is None and observed[rows].all()) or torch.equal(known, observed[rows])


@scales
def test_the_log_determinant_is_that_of_finite_differences_of_decoding(scale):
    encoding, _, source = encoding_of(with_gaps(pd), scale)
    x, observed = encoding.encode(source, torch.float64, CPU)
    x, step = x + 1e-4, 1e-7  # the rows of the fit are the knots of quantiles, where the slope changes
    slopes = (encoding.decode(x + step) - encoding.decode(x - step)).numpy() / (2 * step)
    inside = (slopes > 0).all(1)  # beyond the outermost quantiles there is no slope
    assert inside.sum() > N / 2
    found = encoding.log_determinant(x, observed.to(x.dtype)).numpy()
    expected = np.where(observed, np.log(np.where(slopes > 0, slopes, 1)), 0).sum(1)
    assert found[inside] == pytest.approx(expected[inside], abs=1e-4)


def test_arrays_are_plain_and_keep_their_order():
    X = RNG.normal(size=(N, 3))
    encoding, _, _ = encoding_of(X)
    assert encoding.is_plain
    assert encoding.table(X) is X
    assert not encoding_of(pd.DataFrame(X))[0].is_plain
    mixed, _, source = encoding_of(np.abs(X), likelihood={0: "count"})
    assert not mixed.is_plain
    x, _ = mixed.encode(source, torch.float64, CPU)
    assert mixed.table(mixed.decode(x).numpy()) == pytest.approx(np.abs(X))


def test_sparse_rows_are_encoded_as_dense_ones_are():
    X = np.where(RNG.random((N, 4)) < 0.5, 0, RNG.normal(size=(N, 4)))
    X[3, 2] = np.nan
    found, sparse = [], SparseContainer(csr_matrix(X))
    for container in (ArrayContainer(X), sparse):
        schema = Schema.learn(container, options(likelihood={1: "wide"}))
        source = schema.source(container, "ignore")
        encoding = Encoding.fit(schema, source, WEIGHT, True)
        found.append(encoding.encode(source, torch.float64, CPU))
        assert encoding.flagged == [1]
    assert torch.allclose(found[0][0], found[1][0], atol=1e-12)
    assert torch.equal(found[0][1], found[1][1])


def test_the_index_of_the_codes_is_that_of_the_table():
    encoding, _, source = encoding_of(pd.DataFrame(COLUMNS))
    like = pd.DataFrame({"z": [0.0, 1.0]}, index=["p", "q"])
    assert encoding.table(source[:2], like).index.tolist() == ["p", "q"]


def test_the_farthest_cell_is_named_by_its_column():
    encoding, _, source = encoding_of(pd.DataFrame(COLUMNS))
    row = source[:1].copy()
    row[0, 2] = 1e6
    assert encoding.farthest(row) == "1e+06 in column 'near'"


def test_an_infinite_cell_is_refused():
    encoding, _, source = encoding_of(RNG.normal(size=(N, 2)))
    with pytest.raises(ValueError, match="infinity"):
        encoding.encode_block(np.array([[np.inf, 0.0]]), torch.float64)
    with pytest.raises(ValueError, match="finite once scaled, in torch.float32, got 1e.39 in column 1"):
        encoding.encode_block(np.array([[0.0, 1e39]]), torch.float32)
