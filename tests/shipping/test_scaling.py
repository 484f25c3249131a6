import numpy as np
import pytest
import torch

from sklearn_ae.shipping.scaling import Interpolation, Sorted, TensorScaler
from sklearn_ae.tables.scaler import Scaler
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


@pytest.mark.parametrize("scale", [True, False, "common", "quantile"])
@pytest.mark.parametrize("rows", [TABLE, SINGLE, GAPS], ids=["numbers", "single", "gaps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scaling_with_torch_is_that_with_numpy(scale, rows, dtype):
    scaler = Scaler.fit(Array(rows), None, scale)
    with_torch = TensorScaler(scaler, dtype)
    x, observed = with_torch.encode(torch.from_numpy(rows))
    expected, mask = scaler.encode_block(rows, dtype)
    mask = torch.ones_like(x) if mask is None else mask.to(dtype)
    torch.testing.assert_close(x, expected, rtol=0, atol=0)
    torch.testing.assert_close(observed, mask)
    np.testing.assert_allclose(with_torch.decode(x), scaler.decode(x), rtol=1e-12)
    determinant = scaler.log_determinant(x, mask).expand(len(x))
    torch.testing.assert_close(with_torch.log_determinant(x, observed), determinant, rtol=1e-5, atol=1e-5)


def test_a_column_without_values_is_decoded_as_0():
    rows = np.column_stack([TABLE, np.full(len(TABLE), np.nan)])
    with pytest.warns(UserWarning, match="no observed value"):
        scaler = Scaler.fit(Array(rows), None, True)
    decoded = TensorScaler(scaler, torch.float64).decode(torch.ones(5, 4, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(decoded, scaler.decode(torch.ones(5, 4, dtype=torch.float64)))
