import numpy as np
import pytest
import torch

from sklearn_ae.tables.interpolation import Interpolation, Sorted, TensorCurve
from sklearn_ae.tables.scaler import Curve, Scaler
from sklearn_ae.tables.sources import Array

RANDOM = np.random.RandomState(0)
TABLE = RANDOM.lognormal(size=(200, 3)) * [1, 100, 1e-3] + [0, 1e6, 0]
GAPS = np.where(RANDOM.rand(200, 3) < 0.2, np.nan, np.column_stack([TABLE[:, 0], np.ones(200), TABLE[:, 2].round(3)]))
SINGLE = (100 + RANDOM.normal(size=(200, 3))).astype(np.float32)  # near enough to be centred in single precision


@pytest.mark.parametrize(("side", "is_below"), [("left", torch.lt), ("right", torch.le)])
def test_the_position_of_a_value_is_that_of_numpy(side, is_below):
    keys = [np.array([1.0]), np.arange(7.0), np.sort(RANDOM.normal(size=100))]
    values = np.column_stack([RANDOM.choice([0, 1, 2], 50), RANDOM.randint(-1, 8, 50), RANDOM.choice(keys[2], 50)])
    position = Sorted(keys).position(torch.tensor(values, dtype=torch.float64), is_below).numpy()
    expected = [np.searchsorted(column, value, side) for column, value in zip(keys, values.T, strict=True)]
    np.testing.assert_array_equal(position, np.stack(expected, 1))


def test_the_interpolation_is_that_of_numpy():
    knots = [(np.sort(RANDOM.normal(size=m)), np.sort(RANDOM.normal(size=m))) for m in (1, 2, 3, 40)]
    x = np.concatenate([RANDOM.normal(size=(100, 4)), np.tile(knots[3][0], (4, 1)).T, np.full((1, 4), 9.0)])
    expected = np.stack([np.interp(x[:, j], *of_column) for j, of_column in enumerate(knots)], 1)
    np.testing.assert_allclose(Interpolation(knots)(torch.from_numpy(x)).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("rows", [TABLE, SINGLE, GAPS], ids=["numbers", "single", "gaps"])
def test_the_curve_of_other_devices_and_of_graphs_is_that_of_the_host(rows):
    host = Curve.fit(Array(rows), None, 2)
    other = host.on(torch.device("meta"))
    assert isinstance(other, TensorCurve)
    assert host.on(torch.device("cpu")) is host
    other, cells = TensorCurve(host.knots), torch.from_numpy(rows)
    normal = host.to_normal(cells)
    assert normal.dtype is torch.float64
    torch.testing.assert_close(other.to_normal(cells), normal, rtol=1e-12, atol=0, equal_nan=True)
    normal = normal.nan_to_num(0)
    torch.testing.assert_close(other.from_normal(normal), host.from_normal(normal), rtol=1e-12, atol=0)
    torch.testing.assert_close(other.log_slope(normal), host.log_slope(normal), rtol=1e-12, atol=0)


def test_a_gap_of_a_constant_column_is_seen():
    rows = np.column_stack([TABLE[:, :2], np.where(np.arange(200) == 3, np.nan, 5.0)])
    _, observed = Scaler.fit(Array(rows), None, "quantile").encode_block(rows, torch.float64)
    np.testing.assert_array_equal(observed, ~np.isnan(rows))


def test_what_a_curve_keeps_for_other_devices_is_not_saved():
    curve = Curve.fit(Array(TABLE), None, 3)
    curve.on(torch.device("meta"))
    assert set(curve.__getstate__()) == {"knots"}
