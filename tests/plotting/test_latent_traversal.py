"""The picture along the dimensions of the code: steps, decoded rows, changes, and bad input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.plotting import LatentTraversalDisplay
from tests.families import families, tiny
from tests.plotting.fits import DIGITS, fitted_to_digits, fitted_to_table, mixed_table


@families
def test_images_are_decoded_codes_along_each_dimension(family):
    model = fitted_to_digits(family)
    display = LatentTraversalDisplay.from_estimator(model, DIGITS, image_shape=(8, 8), n_steps=3, quantiles=(0.1, 0.8))
    codes = model.transform(DIGITS)
    low, high = np.quantile(codes, (0.1, 0.8), axis=0)
    assert_allclose(display.steps, np.stack([low, (low + high) / 2, high], axis=1), rtol=1e-5)
    code = [codes[:, 0].mean(), high[1]]
    assert_allclose(display.decoded[1, 2], model.inverse_transform([code])[0], atol=1e-4)
    picture = display.im_.get_array().filled(np.nan)
    assert_array_equal(picture[9:17, 18:26], display.decoded[1, 2].reshape(8, 8))


@families
def test_changes_are_those_from_the_mean_code(family):
    model, X = fitted_to_table(family), mixed_table()
    display = LatentTraversalDisplay.from_estimator(model, X, dimensions=[2, 0], n_steps=5)
    codes = model.transform(X)
    code = codes.mean(axis=0)
    middle = model.inverse_transform([code])
    code[0] = display.steps[1, 4]
    end = model.inverse_transform([code])
    assert display.changes.shape == (2, 5, 5)
    assert_allclose(display.changes[1, 4, 0], (end["size"] - middle["size"])[0] / X["size"].std(ddof=0), atol=1e-4)
    is_other = np.isnan(display.changes[1, 4, 2:4])
    assert_array_equal(is_other, (end != middle)[["garden", "kind"]].to_numpy()[0])
    assert len(display.axes_) == len(display.heat_maps_) == 2


def test_other_categories_are_crossed_and_explained():
    X = mixed_table()
    display = LatentTraversalDisplay.from_estimator(fitted_to_table(RegularizedAutoencoder), X, quantiles=(0, 1))
    n_other = np.isnan(display.changes).sum()
    crosses = sum(len(line.get_xdata()) for ax in display.axes_ for line in ax.get_lines())
    assert crosses == n_other > 0
    assert display.heat_maps_[0].get_cmap().get_bad()[3] == 0.4  # half transparent on every background
    assert [text.get_text() for text in display.legend_.get_texts()] == ["another category"]


def test_along_principal_components_changes_are_the_loadings():
    pca = PCA(3).fit(DIGITS)
    display = LatentTraversalDisplay.from_estimator(pca, DIGITS, n_steps=2, max_columns=5)
    span = display.steps[:, 1] - display.steps[:, 0]
    spread = DIGITS.std(axis=0)
    expected = span[:, None] * pca.components_ / np.where(spread > 0, spread, 1)
    assert_allclose(display.changes[:, 1] - display.changes[:, 0], expected, atol=1e-8)
    shown = {text.get_text() for text in display.axes_[0].get_yticklabels()}
    largest = np.argsort(-np.abs(display.changes).max(axis=(0, 1)))[:5]
    assert shown == {f"x{column}" for column in largest}


def test_other_dimensions_have_the_code_of_a_given_row():
    pca = PCA(3).fit(DIGITS)
    display = LatentTraversalDisplay.from_estimator(pca, DIGITS, n_steps=3, dimensions=[1], center=DIGITS[5:6])
    code = pca.transform(DIGITS[5:6])
    restored = pca.inverse_transform(code)
    code[0, 1] = display.steps[0, 2]
    end = pca.inverse_transform(code)
    assert_allclose(display.decoded[0, 2], end[0], atol=1e-8)
    spread = DIGITS.std(axis=0)
    assert_allclose(display.changes[0, 2], (end - restored)[0] / np.where(spread > 0, spread, 1), atol=1e-8)


def test_chosen_columns_are_drawn_and_large_changes_are_cut():
    changes = np.zeros((1, 2, 3))
    changes[0, 1] = [0.5, 40, -2]
    display = LatentTraversalDisplay(np.array([[0.0, 1]]), changes, changes, ["a", "b", "c"], [0])
    for columns, names, limit, extend in [(None, ["a", "b", "c"], 3, "both"), (["c", 0], ["c", "a"], 2, "neither")]:
        display.plot(columns=columns)
        assert [text.get_text() for text in display.axes_[0].get_yticklabels()] == names
        assert display.heat_maps_[0].get_clim() == (-limit, limit)
        assert display.colorbar_.extend == extend
    with pytest.raises(ValueError, match="columns must be the name or the position of a column, got 'd'"):
        display.plot(columns=["d"])


def test_a_single_step_and_many_dimensions_are_drawn():
    pca = PCA(5).fit(DIGITS)
    display = LatentTraversalDisplay.from_estimator(pca, DIGITS, n_steps=1)
    assert len(display.axes_) == 5
    display.figure_.canvas.draw()


def test_bad_input():
    with pytest.raises(NotFittedError):
        LatentTraversalDisplay.from_estimator(tiny(), DIGITS)
    model = fitted_to_digits(RegularizedAutoencoder)
    for name, value, message in [
        ("image_shape", (8, 9), r"image_shape must be \(height, width\)"),
        ("dimensions", [2], r"dimensions must be integers from 0 to 1, got \[2\]"),
        ("dimensions", [], "dimensions must be integers"),
        ("n_steps", 0, "n_steps must be"),
        ("quantiles", (0.9, 0.1), "quantiles must be two numbers"),
        ("quantiles", 0.5, "quantiles must be two numbers"),
        ("center", DIGITS[:2], "center must be a table of one row, got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            LatentTraversalDisplay.from_estimator(model, DIGITS, **{name: value})
    model = fitted_to_table(RegularizedAutoencoder)
    with pytest.raises(ValueError, match="image_shape must be None for rows with categories"):
        LatentTraversalDisplay.from_estimator(model, mixed_table(), image_shape=(1, 5))
