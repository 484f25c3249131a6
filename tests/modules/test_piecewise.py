"""The piecewise-linear encoding of numbers."""

import numpy as np
import pytest
import torch

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.modules.piecewise import BEYOND, PiecewiseLinear
from tests.families import families, tiny

RANDOM = np.random.default_rng(0)


def encoding(values, n_bins, weight=None):
    """Return a fitted encoding of one column beside another one that is not encoded."""
    x = torch.tensor(np.column_stack([values, np.zeros(len(values))]))
    weight = torch.ones_like(x) if weight is None else torch.tensor(np.column_stack([weight, weight]))
    bins = PiecewiseLinear(1, n_bins).double()
    bins.fit(x, weight)
    return lambda value: bins(torch.tensor([[value, 7.0]], dtype=torch.float64))[0].tolist()


def test_known_coordinates():
    encoded = encoding([0.0, 2.0, 4.0, 8.0], 4)  # the edges are 0, 1, 3, 6 and 8
    assert encoded(0.0) == [0, 0, 0, 0, 7]
    assert encoded(0.5) == [0.5, 0, 0, 0, 7]
    assert encoded(4.5) == [1, 1, 0.5, 0, 7]
    assert encoded(8.0) == [1, 1, 1, 1, 7]


def test_outer_bins_grow_up_to_a_limit():
    encoded = encoding([0.0, 2.0, 4.0, 8.0], 4)
    assert encoded(-0.5) == [-0.5, 0, 0, 0, 7]
    assert encoded(9.0) == [1, 1, 1, 1.5, 7]
    assert encoded(-1e30) == [-BEYOND, 0, 0, 0, 7]
    assert encoded(1e30) == [1, 1, 1, 1 + BEYOND, 7]


def test_coordinates_are_continuous_and_grow():
    values = RANDOM.normal(size=200)
    encoded = encoding(values, 7)
    grid = np.linspace(values.min() - 1, values.max() + 1, 2001)
    coordinates = np.array([encoded(value)[:-1] for value in grid])
    assert (np.diff(coordinates, axis=0) >= 0).all()
    assert np.diff(coordinates, axis=0).max() < 0.2
    inside = coordinates[(grid > values.min()) & (grid < values.max())]
    assert (inside.sum(1) > 0).all()
    assert inside.max() <= 1


def test_the_bins_hold_equally_many_rows():
    values = RANDOM.lognormal(size=1000)
    coordinates = np.array([encoding(values, 10)(value)[:-1] for value in values[:400]])
    counts = np.bincount((coordinates >= 1).sum(1).clip(max=9), minlength=10)
    assert counts.min() > 20


def test_a_column_of_few_values_has_an_edge_between_each_two():
    encoded = encoding([0.0, 1.0] * 50 + [3.0] * 3, 24)  # the edges are 0, 0.5, 2 and 3
    assert encoded(0.0)[:3] == [0, 0, 0]
    np.testing.assert_allclose(encoded(1.0)[:3], [1, 1 / 3, 0])
    assert encoded(3.0)[:3] == [1, 1, 1]
    assert encoded(3.0)[3:-1] == [0] * 21


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [2.0]])
def test_a_constant_column_has_one_coordinate(values):
    encoded = encoding(values, 5)
    assert encoded(2.0) == [0, 0, 0, 0, 0, 7]
    assert encoded(2.5) == [0.5, 0, 0, 0, 0, 7]


def test_a_column_without_any_value_is_encoded_as_a_number():
    assert encoding([1.0, 2.0], 3, weight=[0.0, 0.0])(0.25) == [0.25, 0, 0, 7]


def test_weights_count_as_repeated_values():
    values, weight = np.round(RANDOM.normal(size=60), 2), RANDOM.integers(0, 4, size=60)
    for value in np.linspace(-3, 3, 13):
        weighted, repeated = encoding(values, 6, weight)(value), encoding(np.repeat(values, weight), 6)(value)
        np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


# In estimators


@families
def test_with_y_standardised_columns_are_encoded_and_without_y_they_are_not(family):
    X, y = RANDOM.normal(size=(960, 3)), RANDOM.integers(0, 2, size=960)
    settings = {"max_iter": 1, "early_stopping": False}
    assert first_width(tiny(family, **settings).fit(X)) == 3
    assert first_width(tiny(family, **settings).fit(X, y)) == 3 * 24
    assert first_width(tiny(family, **settings, n_bins=1).fit(X, y)) == 3
    assert first_width(tiny(family, **settings, scale="common").fit(X, y)) == 3
    assert first_width(tiny(family, **settings, n_bins=5).fit(X)) == 15


def first_width(estimator):
    """Return the number of inputs of the first layer."""
    return next(parameter.shape[1] for parameter in estimator.module_.encoder.parameters())


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "expected"),
    [(960, 42, 24), (960, 64, 16), (960, 128, 8), (960, 129, 1), (959, 2, 23), (320, 2, 8), (319, 2, 1)],
)
def test_small_tables_and_tables_of_many_columns_have_fewer_bins(n_rows, n_columns, expected):
    X, y = RANDOM.normal(size=(n_rows, n_columns)), RANDOM.integers(0, 2, size=n_rows)
    assert first_width(tiny(max_iter=1, early_stopping=False).fit(X, y)) == n_columns * expected


@pytest.mark.parametrize(("n_labeled", "n_bins"), [(400, 10), (300, 1)])
def test_only_labelled_rows_count(n_labeled, n_bins):
    X, index = RANDOM.normal(size=(960, 3)), np.arange(960)
    y = np.where(index < n_labeled, index % 2, -1)
    assert first_width(tiny(max_iter=1, unlabeled=-1, early_stopping=False).fit(X, y)) == 3 * n_bins


def test_only_standardised_columns_are_encoded():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"word": ["a", "b"] * 30, "number": RANDOM.normal(size=60), "flag": [True, False] * 30})
    assert first_width(tiny(n_bins=4).fit(table)) == 4 + 1 + 2
    assert first_width(tiny(n_bins=4).fit(table[["word"]])) == 2


def test_a_linear_encoder_reads_the_coordinates():
    X = np.linspace(-1, 1, 300).reshape(-1, 1)
    y = (np.abs(X[:, 0]) < 0.5).astype(int)  # not linear
    settings = {"hidden_layer_sizes": (), "learning_rate": 0.03, "early_stopping": False, "random_state": 0}
    assert RegularizedAutoencoder(2, n_bins=8, **settings).fit(X, y).score(X, y) > 0.95
    assert RegularizedAutoencoder(2, n_bins=1, **settings).fit(X, y).score(X, y) < 0.8


def test_an_outlier_has_a_bounded_influence_on_predictions():
    X, y = RANDOM.normal(size=(200, 2)), RANDOM.normal(size=200)
    fitted = tiny(task="regression", n_bins=8).fit(X, y)
    near, far, farther = fitted.predict([[0.0, 50.0], [0.0, 1e4], [0.0, 1e8]])
    assert far == farther
    assert abs(far - y.mean()) < 20 * y.std()


@families
def test_a_continued_fit_keeps_its_bins(family):
    X, y = RANDOM.normal(size=(400, 3)), RANDOM.integers(0, 2, size=400)
    estimator = tiny(family, warm_start=True, early_stopping=False).fit(X, y)
    before = [tensor.clone() for tensor in estimator.module_.encoder[0].buffers()]
    assert estimator.module_.n_bins == 10
    goes_on = (
        lambda: estimator.fit(X[:40], y[:40]),
        lambda: estimator.fit(10 * np.tile(X, (3, 1)), np.tile(y, 3)),
        lambda: estimator.partial_fit(X[:5], y[:5]),
    )
    for fit in goes_on:
        fit()
        assert all(map(torch.equal, before, estimator.module_.encoder[0].buffers()))


def test_the_first_rows_of_partial_fit_do_not_place_bins():
    X, y = RANDOM.normal(size=(960, 3)), RANDOM.integers(0, 2, size=960)
    assert first_width(tiny().partial_fit(X, y, classes=[0, 1])) == 3
    assert first_width(tiny(n_bins=4).partial_fit(X, y, classes=[0, 1])) == 12


def test_coordinates_of_a_narrow_bin_are_exact_in_single_precision():
    values = np.float32(0.7) + 8 * np.arange(4) * np.spacing(np.float32(0.7))
    x = torch.tensor(np.array([-1, *values, 2], dtype=np.float32)).unsqueeze(1)
    bins = PiecewiseLinear(1, 6)
    bins.fit(x, torch.ones_like(x))
    narrow = bins(x)[1:-1, bins.slope[0] > 1e5]  # of the four neighbours; each inner one is in the middle of a bin
    np.testing.assert_allclose(narrow, [[0, 0], [0.5, 0], [1, 0.5], [1, 1]], atol=1e-3)


@pytest.mark.parametrize("n_bins", [0, 2.5, None, "many"])
def test_the_number_of_bins_is_checked(n_bins):
    with pytest.raises(ValueError, match="'n_bins' parameter of RegularizedAutoencoder must be 'auto' or an int"):
        tiny(n_bins=n_bins).fit(RANDOM.normal(size=(9, 2)))
