"""Rows on their way to the device: equal wrapped batches, chunks, and the noise that goes along."""

from copy import deepcopy
from math import ceil

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from sklearn_ae.modules.noise import Request
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.tables.scaler import Scaler
from sklearn_ae.tables.sources import Array, Sparse
from sklearn_ae.training import batches
from sklearn_ae.training.batches import Chunks, EncodedRows, EqualBatches, Rows, draw_noise, noise_numbers

REQUESTS = {
    "first": [Request("normal", (3,), per_row=True), Request("uniform", (2, 2), per_row=True)],
    "second": [Request("normal", (5, 3), per_row=False)],
    "silent": [],
}
SIZES = [(1, 1), (1, 8), (2, 1), (7, 7), (7, 8), (8, 7), (9, 4), (10, 3), (10, 9), (13, 4), (100, 32), (101, 10)]
sizes = pytest.mark.parametrize(("n", "batch_size"), SIZES)


def rows_of(n, dtype=torch.float64):
    """Rows that know their own index."""
    index = torch.arange(n, dtype=dtype)
    return Rows(Batch(index.unsqueeze(1).repeat(1, 2), y=index.long(), weight=index + 1))


def batches_of(n, batch_size, seed=0, requests=REQUESTS, dtype=torch.float64):
    return EqualBatches(rows_of(n, dtype), batch_size, torch.Generator().manual_seed(seed), requests)


def kept(epoch):
    """Copies of the batches of an epoch: there is one in memory, filled anew every time."""
    return [deepcopy(batch) for batch in epoch]


def indices(epoch):
    return [batch.rows.x[:, 0].long().tolist() for batch in epoch]


def numbers(epoch):
    """All numbers of an epoch, by phase and request: (n_batches, ...)."""
    return {
        phase: [torch.stack([batch.draws[phase][i] for batch in epoch]) for i in range(len(asked))]
        for phase, asked in REQUESTS.items()
    }


# Equal, wrapped batches


@sizes
def test_batches_have_one_shape_and_are_as_few_as_possible(n, batch_size):
    equal = batches_of(n, batch_size)
    epoch = indices(equal)
    assert len(epoch) == len(equal) == ceil(n / batch_size)
    assert {len(batch) for batch in epoch} == {ceil(n / len(equal))}
    assert len(epoch[0]) <= batch_size


@sizes
def test_every_row_comes_once_an_epoch_and_twice_only_where_it_is_wrapped(n, batch_size):
    equal = batches_of(n, batch_size)
    for _ in range(3):
        order = sum(indices(equal), [])
        assert sorted(order[:n]) == list(range(n))
        assert order[n:] == order[: len(order) - n]


@sizes
def test_no_row_comes_twice_in_a_batch(n, batch_size):
    assert all(len(set(batch)) == len(batch) for batch in indices(batches_of(n, batch_size)))


def test_a_single_batch_is_not_shuffled_and_several_are_anew_every_epoch():
    single, several = batches_of(50, 50), batches_of(50, 10)
    assert indices(single) == indices(single) == [list(range(50))]
    first, second = sum(indices(several), []), sum(indices(several), [])
    assert first != second
    assert list(range(50)) not in (first, second)


@pytest.mark.parametrize("batch_size", [10, 50])
def test_the_columns_of_a_row_stay_together(batch_size):
    for batch in batches_of(50, batch_size):
        index = batch.rows.x[:, 0]
        assert torch.equal(batch.rows.x[:, 1], index)
        assert torch.equal(batch.rows.y, index.long())
        assert torch.equal(batch.rows.weight, index + 1)
        assert batch.rows.observed is None


@pytest.mark.parametrize("batch_size", [4, 50])
def test_the_same_seed_gives_the_same_epochs_and_another_one_others(batch_size):
    first, again, other = batches_of(13, batch_size), batches_of(13, batch_size), batches_of(13, batch_size, seed=1)
    for _ in range(2):
        a, b, c = kept(first), kept(again), kept(other)
        assert indices(a) == indices(b)
        for phase, asked in numbers(a).items():
            for of_a, of_b, of_c in zip(asked, numbers(b)[phase], numbers(c)[phase], strict=True):
                assert torch.equal(of_a, of_b)
                assert not torch.equal(of_a, of_c)


def test_batches_leave_the_global_generators_alone():
    before = torch.get_rng_state()
    list(batches_of(13, 4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch_size", [4, 50])
def test_a_batch_is_filled_anew_where_it_is(batch_size):
    equal = batches_of(50, batch_size)
    places = {
        tuple(t.data_ptr() for t in (*batch.rows[:3], *batch.draws["first"], *batch.draws["second"]))
        for _ in range(2)
        for batch in equal
    }
    assert len(places) == 1


# Noise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@sizes
def test_every_batch_has_the_noise_that_was_asked_for(n, batch_size, dtype):
    equal = batches_of(n, batch_size, dtype=dtype)
    for batch in equal:
        assert batch.draws.keys() == REQUESTS.keys()
        n_rows = len(batch.rows.x)
        for phase, asked in REQUESTS.items():
            shapes = [((n_rows, *request.shape) if request.per_row else request.shape) for request in asked]
            assert [tuple(draw.shape) for draw in batch.draws[phase]] == shapes
            assert all(draw.dtype == dtype for draw in batch.draws[phase])


@pytest.mark.parametrize("batch_size", [4, 10, 50])
@pytest.mark.parametrize("block", [1, 60, 100, 1000, 1 << 22])
def test_no_number_comes_twice_whatever_the_block(block, batch_size, monkeypatch):
    monkeypatch.setattr(batches, "NOISE_BLOCK", block)
    equal = batches_of(50, batch_size)
    epochs = [kept(equal) for _ in range(3)]
    assert all(len(epoch) == ceil(50 / batch_size) for epoch in epochs)
    drawn = torch.cat(
        [draw.flatten() for epoch in epochs for batch in epoch for draws in batch.draws.values() for draw in draws]
    )
    assert len(drawn) == 3 * len(equal) * noise_numbers(REQUESTS, equal.size)
    assert len(drawn.unique()) == len(drawn)


@pytest.mark.parametrize(("block", "most"), [(1, 1), (2 * (10 * 7 + 15), 2), (1 << 22, 5)])
def test_noise_is_drawn_for_as_many_batches_as_a_block_holds(block, most, monkeypatch):
    counts = []

    def counted(requests, n_rows, n_batches, generator, like):
        counts.append(n_batches)
        assert n_rows == 10 * n_batches
        return draw_noise(requests, n_rows, n_batches, generator, like)

    monkeypatch.setattr(batches, "NOISE_BLOCK", block)
    monkeypatch.setattr(batches, "draw_noise", counted)
    list(batches_of(50, 10))
    assert max(counts) == most
    assert sum(counts) == 5


def test_how_many_numbers_a_batch_asks_for():
    assert noise_numbers(REQUESTS, 10) == 10 * 3 + 10 * 4 + 15
    assert noise_numbers({}, 10) == 0


def test_without_requests_there_is_no_noise():
    assert [batch.draws for batch in batches_of(10, 5, requests={})] == [{}, {}]


# Chunks


@pytest.mark.parametrize(("n", "size"), [(1, 4), (4, 4), (5, 4), (11, 4), (12, 4)])
def test_chunks_cover_all_rows_in_order(n, size):
    chunks = Chunks(rows_of(n), size)
    found = indices(chunks)
    assert sum(found, []) == list(range(n))
    assert len(found) == len(chunks) == ceil(n / size)
    assert {len(chunk) for chunk in found[:-1]} <= {size}


def test_chunks_meet_the_same_noise_at_every_pass():
    chunks = Chunks(rows_of(11), 4, seed=3, requests=REQUESTS)
    first, second = list(chunks), list(chunks)
    drawn = []
    for a, b in zip(first, second, strict=True):
        for phase, asked in REQUESTS.items():
            for request, of_a, of_b in zip(asked, a.draws[phase], b.draws[phase], strict=True):
                assert torch.equal(of_a, of_b)
                assert of_a.shape == ((len(a.rows.x), *request.shape) if request.per_row else request.shape)
                drawn.append(of_a.flatten())
    assert len(torch.cat(drawn).unique()) == len(torch.cat(drawn))


def test_chunks_of_another_seed_meet_other_noise():
    a, b = (next(iter(Chunks(rows_of(4), 4, seed, REQUESTS))).draws["first"][0] for seed in (0, 1))
    assert not torch.equal(a, b)


# Rows


def both_kinds_of_rows(dtype=torch.float64, gaps=False):
    random = np.random.default_rng(0)
    X = random.normal(size=(9, 4)) * (random.random((9, 4)) < 0.5)
    X[:, 3] += 1
    if gaps:
        X[2, 1] = X[4, 3] = np.nan
    table = Scaler.fit(Array(X), None, True)

    def encode(rows):
        return table.encode_block(rows, dtype)

    own = Batch(torch.empty(9, 0, dtype=dtype), y=torch.arange(9), weight=torch.arange(9.0, dtype=dtype))
    x, observed = encode(X)
    return Rows(own._replace(x=x, observed=observed)), EncodedRows(Sparse(csr_matrix(X)), encode, own, gaps=gaps)


def assert_equal(dense, sparse):
    for a, b in zip(dense, sparse, strict=True):
        assert (a is None and b is None) or (a.dtype == b.dtype and torch.equal(a, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_rows_are_the_dense_ones(dtype):
    dense, sparse = both_kinds_of_rows(dtype)
    assert len(dense) == len(sparse) == 9
    for index in ([0], [3, 3, 1], list(range(8, -1, -1))):
        assert_equal(dense.take(torch.tensor(index)), sparse.take(torch.tensor(index)))
    for start, stop in [(0, 9), (2, 5), (6, 40)]:
        assert_equal(dense.slice(start, stop), sparse.slice(start, stop))


def test_sparse_rows_with_gaps_are_the_dense_ones():
    dense, sparse = both_kinds_of_rows(gaps=True)
    for index in ([4, 2, 0], [0, 1]):
        assert_equal(dense.take(torch.tensor(index)), sparse.take(torch.tensor(index)))
    assert_equal(dense.slice(1, 6), sparse.slice(1, 6))


def test_sparse_rows_make_the_same_epoch_as_dense_ones():
    epochs = [kept(EqualBatches(rows, 4, torch.Generator().manual_seed(0), REQUESTS)) for rows in both_kinds_of_rows()]
    for a, b in zip(*epochs, strict=True):
        assert_equal(a.rows, b.rows)
        assert torch.equal(a.draws["first"][0], b.draws["first"][0])


def test_a_slice_of_rows_is_no_copy():
    rows = rows_of(6)
    assert rows.slice(2, 4).x.data_ptr() == rows.table.x[2:].data_ptr()
