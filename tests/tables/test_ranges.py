"""Ranges, signs and decimals of the table hold in rows that come back."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix

from sklearn_ae.tables.ranges import Ranges
from sklearn_ae.tables.sources import Array, Sparse
from tests.families import families, tiny

NAN = np.nan
N = 120


def ranges_of(rows, weight=None):
    return Ranges.fit(Array(rows), weight, rows)


def test_a_cell_that_is_no_number_stays_so():
    """It is a fault of who made it, and would be hidden by a bound."""
    ranges = ranges_of(np.array([[1.0, 2.0], [3.0, 2.5]]))
    cells = torch.tensor([[NAN, 7.0], [0.0, NAN]], dtype=torch.float64)
    for found in (ranges.with_sign(cells), ranges.within(cells), ranges.as_values(cells)):
        assert torch.equal(found.isnan(), cells.isnan())


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([1.0, -3.0, 1e6], 0),
        ([0.5, 2.0, NAN], 1),
        ([7.25, 71.28], 2),
        ([0.1, 1234567.123456], 6),
        ([0.1234567, 1.0], -1),
        ([np.pi, 1.0], -1),
        ([1e15 + 0.5, 1.0], -1),  # too coarse to be known
        ([NAN, NAN], -1),
        ([0.0], 0),
    ],
)
def test_decimals_are_those_of_the_values(values, decimals):
    assert ranges_of(np.array(values)[:, None]).decimals.tolist() == [decimals]


def test_decimals_of_single_precision_are_those_that_were_meant():
    uniform = np.random.RandomState(0).uniform(0, 100, size=(500, 3))
    rows = np.stack([column.round(decimals) for decimals, column in enumerate(uniform.T)], 1).astype(np.float32)
    assert ranges_of(rows).decimals.tolist() == [0, 1, 2]


def test_decimals_are_found_beyond_the_first_values():
    assert ranges_of(np.r_[np.arange(500.0), 0.25][:, None]).decimals.tolist() == [2]


def test_rows_of_weight_zero_have_no_influence():
    rows = np.array([[-5.0], [1.0], [2.0], [9.0]])
    ranges = Ranges.fit(Array(rows), np.array([0.0, 1.0, 2.0, 0.0]), rows[1:3])
    assert (ranges.low.item(), ranges.high.item()) == (1, 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_extremes_of_a_sparse_matrix_are_those_of_its_dense_one(dtype):
    rows = np.array([[0, 5, 0, NAN], [-1, 2, 0, NAN], [0, NAN, 0, NAN]], dtype=dtype)
    for found, expected in zip(Sparse(csr_matrix(rows)).extremes(), Array(rows).extremes(), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(Array(rows).extremes()[0], [-1, 2, 0, NAN])


def test_cells_are_brought_into_range_as_far_as_asked():
    ranges = Ranges(np.array([1.0, -4.0, -9.0, NAN]), np.array([5.0, 8.0, -2.0, NAN]), np.array([0, 1, -1, -1]))
    cells = torch.tensor([[-0.4, -9.26, 1.5, 7.0, -3.0], [2.6, 3.14, -3.3, -7.0, 3.0]], dtype=torch.float64)
    assert ranges.with_sign(cells).tolist() == [[0, -9.26, 0, 7, -3], [2.6, 3.14, -3.3, -7, 3]]
    assert ranges.within(cells).tolist() == [[1, -4, -2, 7, -3], [2.6, 3.14, -3.3, -7, 3]]
    assert ranges.as_values(cells).tolist() == [[1, -4, -2, 7, -3], [3, 3.1, -3.3, -7, 3]]
    few = Ranges(np.array([0.6]), np.array([3.4]), np.array([0]))  # decimals of few rows may have been missed
    assert few.as_values(torch.tensor([[0.1], [2.7], [3.3]], dtype=torch.float64)).tolist() == [[0.6], [3], [3]]


def table():
    random = np.random.RandomState(0)
    z = random.normal(size=N)
    return pd.DataFrame(
        {
            "price": np.exp(z).round(2),
            "rooms": random.poisson(2, N).astype(float),
            "debt": -np.exp(random.normal(size=N) - z),
            "change": random.normal(size=N),
            "kind": random.choice(["a", "b"], N),
        }
    )


def with_gaps(frame):
    return frame.mask(np.random.RandomState(1).uniform(size=frame.shape) < 0.3)


def check_signs(rows):
    assert (np.asarray(rows["price"]) >= 0).all()
    assert (np.asarray(rows["rooms"]) >= 0).all()
    assert (np.asarray(rows["debt"]) <= 0).all()


def check_ranges(rows, frame):
    for name in ("price", "rooms", "debt", "change"):
        assert np.asarray(rows[name]).min() >= frame[name].min()
        assert np.asarray(rows[name]).max() <= frame[name].max()


def check_decimals(rows):
    for name, decimals in (("price", 2), ("rooms", 0)):
        values = np.asarray(rows[name])
        assert np.array_equal(values, values.round(decimals))


@families
@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_rows_have_the_ranges_and_decimals_of_the_table(family, convert):
    frame = table()
    model = tiny(family, max_iter=3, observation_noise="column") if family.__name__[0] == "V" else tiny(family)
    model.fit(convert(frame))
    gaps = convert(with_gaps(frame))
    sampled = model.sample(300, random_state=0)
    for rows in (sampled, *model.impute(gaps, n_draws=2, random_state=0)):
        check_signs(rows)
        check_ranges(rows, frame)
        check_decimals(rows)
    check_signs(model.impute(gaps))
    check_ranges(model.impute(gaps), frame)
    far = 30 * np.random.RandomState(0).normal(size=(50, model.n_components))
    restored = model.inverse_transform(far)
    check_signs(restored)
    assert np.abs(np.asarray(restored["change"])).max() > frame["change"].abs().max()  # not cut off


@families
@pytest.mark.parametrize("convert", [np.asarray, csr_matrix, lambda rows: rows.astype(np.float32)], ids=["a", "s", "f"])
def test_rows_of_an_array_have_its_ranges_and_decimals(family, convert):
    rows = table()[["price", "rooms", "debt", "change"]].to_numpy()
    names = dict(enumerate(["price", "rooms", "debt", "change"]))
    sampled = tiny(family).fit(convert(rows)).sample(200, random_state=0)
    sampled = pd.DataFrame(sampled).rename(columns=names)
    check_signs(sampled)
    tolerance = 1e-6 * np.abs(rows).max(0)
    assert (sampled.to_numpy() >= rows.min(0) - tolerance).all()
    assert (sampled.to_numpy() <= rows.max(0) + tolerance).all()
    check_decimals(sampled.round(6))
