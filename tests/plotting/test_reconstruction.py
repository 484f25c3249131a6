"""The picture of reconstructions: images, residuals of columns, and bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.plotting import ReconstructionDisplay
from tests.families import families, tiny
from tests.plotting.fits import DIGITS, fitted_to_digits, fitted_to_table, mixed_table


@families
def test_images_are_the_rows_above_the_decoded_rows(family):
    model = fitted_to_digits(family)
    display = ReconstructionDisplay.from_estimator(model, DIGITS, image_shape=(8, 8), n_images=4)
    decoded = model.inverse_transform(model.transform(DIGITS))
    assert_array_equal(display.originals, DIGITS)
    assert_allclose(display.reconstructions, decoded, atol=1e-5)
    picture = display.im_.get_array().filled(np.nan)
    assert picture.shape == (8 + 1 + 8, 4 * 8 + 3)
    assert_array_equal(picture[:8, 9:17], DIGITS[1].reshape(8, 8))
    assert_allclose(picture[9:, 27:], decoded[3].reshape(8, 8), atol=1e-5)
    assert np.isnan(picture[8]).all()  # a transparent gap
    assert display.im_.get_clim() == (DIGITS.min(), DIGITS.max())
    assert display.bars_ == []


def test_images_with_colours_are_scaled_to_the_range_of_the_rows():
    rows = np.arange(24.0).reshape(2, 12)
    display = ReconstructionDisplay.from_predictions(rows, rows + 100, image_shape=(2, 2, 3))
    picture = np.asarray(display.im_.get_array())
    assert_allclose(picture[:2, :2, :3], rows[0].reshape(2, 2, 3) / 23)
    assert_allclose(picture[3:, 3:, :3], 1)  # beyond the range
    assert_array_equal(picture[2, :, 3], 0)


@families
def test_residuals_are_in_standard_deviations_of_known_cells(family):
    model, X = fitted_to_table(family), mixed_table()
    display = ReconstructionDisplay.from_estimator(model, X)
    assert display.column_names == list(X.columns)
    restored = model.inverse_transform(model.transform(X))
    expected = (X["size"] - restored["size"]) / X["size"].std(ddof=0)
    assert_allclose(display.residuals[:, 0], expected, atol=1e-5)
    assert_allclose(
        display.residual_quantiles[:, 0], expected.quantile([0.05, 0.25, 0.5, 0.75, 0.95]).to_numpy(), atol=1e-5
    )
    numbers = [0, 1, 4]
    lower, upper = display.residual_quantiles[[1, 3]][:, numbers]
    assert_allclose([bar.get_width() for bar in display.bars_[0]], upper - lower)
    assert np.isnan(display.residuals[:, [2, 3]]).all()
    assert [text.get_text() for text in display.axes_[0].get_yticklabels()] == ["size", "rooms", "noise"]


@families
def test_the_share_of_categories_that_are_restored_correctly_is_drawn(family):
    model, X = fitted_to_table(family), mixed_table()
    display = ReconstructionDisplay.from_estimator(model, X)
    restored = model.inverse_transform(model.transform(X))
    known = X["kind"].notna()
    expected = [(restored["garden"] == X["garden"]).mean(), (restored["kind"] == X["kind"])[known].mean()]
    assert_allclose(display.accuracy, [np.nan, np.nan, *expected, np.nan])
    assert_allclose([bar.get_width() for bar in display.bars_[1]], expected)
    (usual,) = display.axes_[1].get_lines()
    shares = [X[name].value_counts(normalize=True).max() for name in ("garden", "kind")]
    assert_allclose(usual.get_xdata(), shares)


def test_categories_alone_are_drawn_in_given_axes_the_worst_ones_of_many():
    X = pd.DataFrame(
        {"a": list("xxyy"), "b": list("xyxy"), "c": ["x", None, None, None], "d": [None] * 4}, dtype=object
    )
    restored = pd.DataFrame({"a": list("xxyx"), "b": list("yyyy"), "c": list("xxxx"), "d": list("xxxx")})
    figure, ax = plt.subplots()
    display = ReconstructionDisplay.from_predictions(X, restored, ax=ax, max_columns=2)
    assert_array_equal(display.accuracy, [0.75, 0.5, 1, np.nan])
    assert list(display.axes_) == [display.ax_] == [ax]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


def test_columns_of_images_can_be_drawn():
    display = ReconstructionDisplay.from_predictions(DIGITS, DIGITS + 1.0, image_shape=(8, 8), kind="columns")
    assert display.im_ is None
    assert len(display.bars_[0]) == 30


def test_only_the_columns_with_the_widest_residuals_are_drawn():
    random = np.random.RandomState(0)
    rows = random.normal(size=(50, 4))
    display = ReconstructionDisplay.from_predictions(
        rows, rows + [0, 2, 0, 1] * random.normal(size=(50, 4)), max_columns=2
    )
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["x1", "x3"]


def test_constant_and_empty_columns_are_drawn():
    rows = np.array([[1.0, np.nan, 0], [1, np.nan, 1]])
    display = ReconstructionDisplay.from_predictions(rows, np.zeros((2, 3)))
    assert_array_equal(display.residuals[:, 0], [1, 1])
    assert np.isnan(display.residual_quantiles[:, 1]).all()


def test_other_transformers_and_other_frames():
    pca = PCA(2).fit(DIGITS)
    display = ReconstructionDisplay.from_estimator(pca, DIGITS)
    assert_allclose(display.reconstructions, pca.inverse_transform(pca.transform(DIGITS)))
    frame = pl.DataFrame({"a": np.arange(20.0), "b": ["x", "y"] * 10})
    assert ReconstructionDisplay.from_estimator(tiny().fit(frame), frame).accuracy[1] >= 0.5


@pytest.mark.parametrize("image_shape", [(8, 9), (64,), (4, 4, 4), (8, 8, 1), 64, "88", (8.5, 8), (-8, -8), (8, None)])
def test_a_wrong_image_shape_is_refused(image_shape):
    model = fitted_to_digits(RegularizedAutoencoder)
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width\) .* 64 pixels .*, got "):
        ReconstructionDisplay.from_estimator(model, DIGITS, image_shape=image_shape)


def test_bad_input():
    with pytest.raises(NotFittedError):
        ReconstructionDisplay.from_estimator(tiny(), DIGITS)
    categories = pd.DataFrame({"kind": ["a", "b"]})
    with pytest.raises(ValueError, match=r"image_shape must be None for rows with categories, got \(1, 1\)"):
        ReconstructionDisplay.from_predictions(categories, categories, image_shape=(1, 1))
    display = ReconstructionDisplay(np.zeros((2, 1)), np.zeros((2, 1)), ["a"])
    with pytest.raises(ValueError, match="kind must be one of 'auto', 'images', 'columns', got 'pictures'"):
        display.plot(kind="pictures")
    with pytest.raises(ValueError, match="image_shape must be .* for kind='images', got None"):
        display.plot(kind="images")
    with pytest.raises(ValueError, match="max_columns must be an int"):
        display.plot(max_columns=0)
    assert not plt.get_fignums()
