"""Quantile functions of columns: known values, both directions, weights, missing cells, and tails."""

import numpy as np
import pytest

from sklearn_ae.tables import encoding, quantiles
from sklearn_ae.tables.quantiles import Quantiles

RNG = np.random.default_rng(0)
LEVELS = np.linspace(0.001, 0.999, 333)[:, None]
COLUMNS = {
    "uniform": RNG.uniform(size=4000),
    "normal": RNG.normal(size=4000),
    "heavy tail": np.exp(2 * RNG.normal(size=4000)),
    "integers": RNG.poisson(3, 4000).astype(float),
    "many zeros": np.where(RNG.uniform(size=4000) < 0.7, 0.0, RNG.normal(size=4000)),
    "some zeros": np.where(RNG.uniform(size=4000) < 0.3, 0.0, RNG.normal(size=4000)),
    "few rows": RNG.normal(size=7),
    "one row": np.array([3.0]),
    "one value": np.full(50, 7.0),
}
columns = pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)


def of(column, weight=None):
    return Quantiles.of(np.asarray(column, dtype=float)[:, None], weight)


def test_quantiles_of_evenly_spaced_values_are_the_levels():
    column = of((np.arange(1000) + 0.5) / 1000)
    np.testing.assert_allclose(column.at(LEVELS), LEVELS, atol=1e-6)
    np.testing.assert_allclose(column.levels_of(LEVELS), LEVELS, atol=1e-6)


def test_a_discrete_column_has_its_values_by_their_shares():
    column = of([0.0] * 50 + [2.0] * 30 + [5.0] * 20)
    levels = np.array([[0.0], [0.49], [0.51], [0.79], [0.81], [1.0]])
    np.testing.assert_array_equal(column.at(levels)[:, 0], [0, 0, 2, 2, 5, 5])
    values = np.array([[0.0], [2.0], [5.0], [-9.0], [1.0], [9.0]])
    np.testing.assert_allclose(column.levels_of(values)[:, 0], [0.25, 0.65, 0.9, 0, 0.5, 1])


@columns
def test_both_directions_agree(column):
    both = of(column)
    values = np.unique(column)[:, None]
    inside = values[(values[:, 0] >= np.quantile(column, 0.001)) & (values[:, 0] <= np.quantile(column, 0.999))]
    np.testing.assert_allclose(both.at(both.levels_of(inside)), inside, atol=1e-6 + 0.1 * column.std())


@columns
def test_both_directions_ascend_within_their_ranges(column):
    both = of(column)
    values = np.linspace(column.min() - 1, column.max() + 1, 500)[:, None]
    levels, quantile = both.levels_of(values), both.at(np.linspace(0, 1, 500)[:, None])
    assert (np.diff(levels[:, 0]) >= 0).all()
    assert (np.diff(quantile[:, 0]) >= 0).all()
    assert levels.min() >= 0
    assert levels.max() <= 1
    assert quantile.min() == pytest.approx(column.min())
    assert quantile.max() == pytest.approx(column.max())


@columns
def test_values_at_uniform_levels_have_the_distribution_of_the_column(column):
    drawn = of(column).at((np.arange(20_000)[:, None] + 0.5) / 20_000)[:, 0]
    grid = np.quantile(column, np.linspace(0, 1, 200))
    share = np.searchsorted(np.sort(drawn), grid, "right") / len(drawn)
    own = np.searchsorted(np.sort(column), grid, "right") / len(column)
    below = np.searchsorted(np.sort(column), grid, "left") / len(column)
    tolerance = 0.005 + 0.5 / len(column)  # values are interpolated between the middles of their ranks
    assert ((share <= own + tolerance) & (share >= below - tolerance)).all()
    assert drawn.mean() == pytest.approx(column.mean(), rel=0.02, abs=0.01 * column.std())
    assert drawn.std() == pytest.approx(column.std(), rel=0.05 if len(column) > 10 else 0.2, abs=0.002)


def test_weights_are_numbers_of_repetitions():
    column = RNG.normal(size=600)
    times = np.where(column > 0, 3, 1) * RNG.integers(0, 2, 600)
    weighted, repeated = of(column, times.astype(float)), of(np.repeat(column, times))
    assert np.abs(weighted.at(LEVELS) - repeated.at(LEVELS)).mean() < 0.01
    assert np.abs(of(column).at(LEVELS) - repeated.at(LEVELS)).mean() > 0.2
    discrete, often = np.repeat([1.0, 2.0, 4.0], 10), np.repeat([3, 1, 2], 10)
    weighted, repeated = of(discrete, often.astype(float)), of(np.repeat(discrete, often))
    np.testing.assert_array_equal(weighted.at(LEVELS), repeated.at(LEVELS))


def test_missing_cells_and_rows_of_weight_zero_are_left_out():
    column = RNG.normal(size=200)
    with_gaps = np.concatenate([column, np.full(50, np.nan), np.full(50, 99.0)])
    weight = np.concatenate([np.ones(250), np.zeros(50)])
    np.testing.assert_allclose(of(with_gaps, weight).at(LEVELS), of(column).at(LEVELS))


def test_a_column_without_values_is_zero():
    empty = of([np.nan, np.nan])
    np.testing.assert_array_equal(empty.at(LEVELS), 0 * LEVELS)
    assert np.isfinite(empty.levels_of(LEVELS)).all()


def test_tables_without_columns_have_no_quantiles():
    none = Quantiles.of(np.empty((5, 0)))
    assert none.at(np.empty((3, 0))).shape == none.levels_of(np.empty((3, 0))).shape == (3, 0)


def test_columns_are_those_of_each_alone():
    several = Quantiles.of(np.column_stack([COLUMNS["normal"], COLUMNS["integers"]]))
    levels = np.column_stack([LEVELS, LEVELS[::-1]])
    found = several.at(levels)
    np.testing.assert_array_equal(found[:, :1], of(COLUMNS["normal"]).at(levels[:, :1]))
    np.testing.assert_array_equal(found[:, 1:], of(COLUMNS["integers"]).at(levels[:, 1:]))
    values = several.levels_of(found)
    np.testing.assert_array_equal(values[:, 1:], of(COLUMNS["integers"]).levels_of(found[:, 1:]))


def test_wide_tables_have_fewer_knots_but_keep_the_variance_and_the_shares():
    wide = Quantiles.of(np.column_stack([RNG.normal(size=(2000, 1500)), COLUMNS["integers"][:2000]]))
    assert len(wide.columns[0].levels) == quantiles.KNOTS[0]
    levels = np.broadcast_to(np.linspace(0.0005, 0.9995, 1000)[:, None], (1000, 1501))
    drawn = wide.at(levels)
    assert drawn[:, :-1].std(0).mean() == pytest.approx(1, abs=0.02)
    assert (drawn[:, -1] == 3).mean() == pytest.approx((COLUMNS["integers"][:2000] == 3).mean(), abs=0.003)


def test_quantiles_are_estimated_from_evenly_spaced_rows_of_positive_weight(monkeypatch):
    monkeypatch.setattr(encoding, "MAX_ROWS", 100)
    assert np.array_equal(encoding._evenly_spaced((1000, 2), None), np.arange(0, 1000, 10))
    weight = np.arange(1000) % 2
    assert np.array_equal(encoding._evenly_spaced((1000, 2), weight), np.arange(1, 1000, 10))
    monkeypatch.setattr(encoding, "FEWEST_ROWS", 50)
    assert len(encoding._evenly_spaced((1000, 10**9), None)) == 50
