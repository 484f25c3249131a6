"""Rows of files: an order that is nearly uniform, read ahead in a thread, with the values of rows in memory."""

import threading
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from sklearn_ae.model.samples import Samples
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.tables.scaler import Scaler
from sklearn_ae.tables.sources import Array, Source
from sklearn_ae.training.batches import Chunks, EncodedRows, EqualBatches
from sklearn_ae.training.streaming import CHUNKS, StreamedRows, encoded_rows, shuffled_chunks
from tests.families import FAMILIES, tiny

RNG = np.random.RandomState(0)
CELLS = RNG.normal(size=(1000, 5))
CELLS[900:, 2] = np.nan  # gaps in the last rows only


class Streamed(Source):
    """An array that is read like a file; reading fails from a row on."""

    is_kept_encoded = False

    def __init__(self, array, buffer_rows=300, fails_from=None):
        self.array, self.buffer_rows, self.fails_from = array, buffer_rows, fails_from
        self.shape, self.dtype = array.shape, array.dtype
        self.read = []

    def __getitem__(self, rows):
        self.read.append(rows)
        index = np.arange(len(self.array))[rows]
        if self.fails_from is not None and len(index) and index.max() >= self.fails_from:
            raise OSError("the disk is gone")
        return self.array[rows]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(kind=StreamedRows, cells=CELLS, gaps=True, **settings):
    source = Streamed(cells, **settings)
    n = len(cells)
    encode = partial(Scaler.fit(Array(cells), None, True).encode_block, dtype=torch.float64)
    table = Batch(torch.empty(n, 0, dtype=torch.float64), y=torch.arange(n), weight=torch.arange(n).double() + 1)
    return kind(source, encode, table, gaps=gaps)


def readers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sklearn_ae-reader")]


@pytest.mark.parametrize(("n", "buffer_rows"), [(1, 1), (10, 10), (10, 3), (1000, 999), (5000, 700), (5000, 1)])
def test_every_row_comes_once(n, buffer_rows):
    order = shuffled_chunks(n, buffer_rows, generator())
    assert sorted(order.tolist()) == list(range(n))
    assert torch.equal(order, shuffled_chunks(n, buffer_rows, generator()))
    assert n == 1 or not torch.equal(order, shuffled_chunks(n, buffer_rows, generator(1)))


def test_a_table_of_one_buffer_is_shuffled_as_in_memory():
    assert torch.equal(shuffled_chunks(500, 500, generator()), torch.randperm(500, generator=generator()))


def test_batches_are_made_of_rows_from_everywhere():
    n, size = 100_000, 100
    order = shuffled_chunks(n, n // 10, generator())
    means = order.view(-1, size).double().mean(1) / n
    assert means.std() == pytest.approx(np.sqrt(1 / 12 / size), rel=0.25)  # of uniform draws
    assert (order.view(-1, size).sort(1).values.diff(dim=1) == 1).double().mean() < 0.02
    assert abs(np.corrcoef(order.numpy(), np.arange(n))[0, 1]) < 0.1


def test_a_buffer_is_made_of_few_pieces_of_the_file():
    order = shuffled_chunks(100_000, 10_240, generator())
    for part in order.split(10_240)[:-1]:
        assert (part.sort().values.diff() > 1).sum() < CHUNKS


@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize("batch_size", [7, 64, 400])
def test_batches_are_those_of_their_index(gaps, batch_size):
    cells = CELLS if gaps else CELLS[:800]
    rows, plain = (rows_of(kind, cells, gaps) for kind in (StreamedRows, EncodedRows))
    batches = EqualBatches(rows, batch_size, generator(), {})
    seen = []
    for batch in batches:
        expected = plain.take(batch.rows.y)
        for found, wanted in zip(batch.rows.present().values(), expected.present().values(), strict=True):
            assert torch.equal(found, wanted)
        seen += batch.rows.y.tolist()
    assert set(seen) == set(range(len(cells)))
    assert not readers()


def test_the_next_buffer_is_read_while_one_is_used():
    rows = rows_of(buffer_rows=100)
    epoch = iter(EqualBatches(rows, 50, generator(), {}))
    next(epoch)
    epoch_reads = len(rows.source.read)
    assert epoch_reads >= 1
    assert readers()
    epoch.close()
    assert not readers()


def test_batches_come_in_the_order_in_which_they_are_read():
    rows = rows_of()
    order = rows.permutation(generator()).view(10, 100)
    with rows.ahead(order) as copies, pytest.raises(RuntimeError, match="in the order in which they are read ahead"):
        copies.copy(order[1], rows.room(100))


@pytest.mark.parametrize("size", [1, 30, 299, 300, 301, 2000])
def test_chunks_are_those_of_the_table(size):
    streamed, plain = (Chunks(rows_of(kind), size) for kind in (StreamedRows, EncodedRows))
    assert len(streamed) == len(plain)
    for chunk, expected in zip(streamed, plain, strict=True):
        for found, wanted in zip(chunk.rows.present().values(), expected.rows.present().values(), strict=True):
            assert torch.equal(found, wanted)
    assert not readers()


def test_gaps_that_nobody_told_of_are_found():
    chunks = list(Chunks(rows_of(gaps=False), 100))
    assert torch.equal(
        torch.cat([c.rows.observed for c in chunks if c.rows.observed is not None])[-1, 2], torch.tensor(0.0).double()
    )
    observed = [torch.ones_like(c.rows.x) if c.rows.observed is None else c.rows.observed for c in chunks]
    np.testing.assert_array_equal(torch.cat(observed).numpy() == 0, np.isnan(CELLS))


def test_only_sources_that_ask_for_it_are_streamed():
    kinds = []
    for buffer_rows in (None, 100):
        source = Streamed(CELLS, buffer_rows)
        for some in (source, source.take(np.arange(50)), source.columns([1, 0])):
            rows = encoded_rows(some, lambda cells: (torch.from_numpy(cells), None), Batch(torch.empty(len(some), 0)))
            kinds.append(type(rows))
    assert kinds == [EncodedRows] * 3 + [StreamedRows] * 3


@pytest.mark.parametrize("family", FAMILIES)
def test_an_error_of_the_reader_ends_the_fit(family):
    model = tiny(family).fit(CELLS)
    before = model.transform(CELLS)
    source = Streamed(CELLS)
    model.fit(source)
    source.fails_from = 950
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(source)
    with pytest.raises(OSError, match="the disk is gone"):
        model.transform(source)
    assert not readers()
    assert model.transform(CELLS).shape == before.shape


@pytest.mark.parametrize("family", FAMILIES)
def test_stacks_read_each_model_its_own_order(family):
    source = Streamed(CELLS)
    grid = {"learning_rate": [1e-3, 1e-2]}
    model = tiny(family, random_state=0, precision="float64", early_stopping=False, max_iter=3)
    alone = GridSearchCV(model, grid, cv=2).fit(source)
    with joblib.parallel_config(backend="sklearn_ae"):
        together = GridSearchCV(model, grid, cv=2).fit(source)
    np.testing.assert_allclose(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-9)
    assert not readers()


def test_members_share_rows():
    source = Streamed(CELLS)
    model = tiny(n_members=3, early_stopping=False).fit(source)
    np.testing.assert_array_equal(model.transform(source), model.transform(CELLS))


def test_rows_of_a_split_are_read_in_the_order_of_the_file():
    for source, is_sorted in [(Streamed(CELLS), True), (Array(CELLS), False)]:
        parts = Samples(source).split(0.1, None, np.random.RandomState(0))
        assert [bool((np.diff(part.X.index) > 0).all()) for part in parts] == [is_sorted] * 2
        assert sorted(np.concatenate([part.X.index for part in parts])) == list(range(1000))


@pytest.mark.parametrize("buffer_rows", [0, -1, 1.5, True, "all"])
def test_the_rows_of_a_buffer_are_checked(buffer_rows):
    with pytest.raises(TypeError, match="buffer_rows of a Source must be an int of at least 1 or None, got"):
        tiny().fit(Streamed(CELLS, buffer_rows))
