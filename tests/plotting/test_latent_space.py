"""The picture of codes: coordinates, kinds of labels, and bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.plotting import LatentSpaceDisplay
from sklearn_ae.plotting.figures import GREY
from tests.families import families, tiny
from tests.plotting.fits import CLASSES, DIGITS, fitted_to_digits, fitted_to_table, mixed_table

CODES = np.random.RandomState(0).normal(size=(30, 4)) * [3, 1, 2, 0.1]


@families
def test_two_dimensions_are_drawn_as_they_are(family):
    model = fitted_to_digits(family)
    display = LatentSpaceDisplay.from_estimator(model, DIGITS, CLASSES)
    assert_allclose(display.codes, model.transform(DIGITS))
    assert_array_equal(display.labels, CLASSES)
    assert [text.get_text() for text in display.legend_.get_texts()] == [str(digit) for digit in range(10)]
    assert sum(len(points.get_offsets()) for points in display.scatter_) == len(DIGITS)


def test_classes_differ_in_colour_or_marker():
    display = LatentSpaceDisplay.from_codes(np.zeros((90, 2)), [f"class {i:02d}" for i in range(90)])
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes()) for points in display.scatter_
    }
    assert len(looks) == 90


@families
def test_codes_of_more_dimensions_are_their_principal_components(family):
    model, X = fitted_to_table(family), mixed_table()
    display = LatentSpaceDisplay.from_estimator(model, X, X["size"])
    codes = model.transform(X)
    pca = PCA(2).fit(codes)
    assert_allclose(display.codes, pca.transform(codes), atol=1e-4)
    assert f"({pca.explained_variance_ratio_[0]:.0%} of variance)" in display.ax_.get_xlabel()
    assert display.colorbar_.ax.get_ylabel() == display.label_name == "size"


def test_chosen_dimensions_are_drawn():
    display = LatentSpaceDisplay.from_codes(CODES, dimensions=(2, 0))
    assert_array_equal(display.codes, CODES[:, [2, 0]])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("code 2", "code 0")
    assert display.legend_ is None


@pytest.mark.parametrize(
    ("labels", "are_numbers"),
    [
        (np.arange(30) % 3, False),
        (np.arange(30), True),
        (np.arange(30) % 2 + 0.5, True),
        (np.arange(30) % 2 * 1.0, False),
        (np.arange(30) % 2 == 0, False),
        (np.array(["a", "b", None] * 10, dtype=object), False),
        (pd.Series(["a", "b", None] * 10, dtype="string"), False),
        (np.where(np.arange(30) % 4, np.arange(30), np.nan), True),
        (pd.Series(pd.Categorical([1.5, 2.5, 3.5] * 10), name="kind"), True),
    ],
)
def test_numbers_have_a_colour_bar_and_classes_a_legend(labels, are_numbers):
    display = LatentSpaceDisplay.from_codes(CODES[:, :2], labels)
    assert (display.colorbar_ is not None, display.legend_ is not None) == (are_numbers, not are_numbers)
    assert sum(len(points.get_offsets()) for points in display.scatter_) == 30  # missing labels are drawn as well
    display.figure_.canvas.draw()


def test_one_dimension_is_a_histogram_or_points_over_a_number():
    bars = LatentSpaceDisplay.from_codes(CODES[:, :1], np.arange(30) % 2)
    assert bars.ax_.get_ylabel() == "rows"
    assert len({bar[0].get_linestyle() for bar in bars.hist_}) == len(bars.hist_) == 2
    assert bars.scatter_ == []
    points = LatentSpaceDisplay.from_codes(CODES, np.arange(30.0), dimensions=[1])
    assert_array_equal(points.scatter_[0].get_offsets(), np.column_stack([CODES[:, 1], np.arange(30)]))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, np.column_stack], ids=["pandas", "polars", "array"])
def test_points_are_coloured_by_a_column_of_the_rows(frame):
    random = np.random.RandomState(0)
    columns = {
        "a": random.normal(size=30),
        "b": np.arange(30) % 3 * 1.0,
        "c": np.where(random.rand(30) < 0.3, np.nan, 5.5),
    }
    X = frame(list(columns.values())) if frame is np.column_stack else frame(columns)
    model = tiny().fit(X)
    numbers = LatentSpaceDisplay.from_estimator(model, X, color_by=0)
    assert to_hex(numbers.scatter_[0].get_edgecolors()[0]) == GREY  # seen on light and on dark backgrounds
    assert_array_equal(numbers.labels, columns["a"])
    assert numbers.label_name == ("x0" if frame is np.column_stack else "a")
    assert_array_equal(numbers.scatter_[0].get_array(), columns["a"])
    classes = LatentSpaceDisplay.from_estimator(model, X, color_by=1 if frame is np.column_stack else "b")
    assert [text.get_text() for text in classes.legend_.get_texts()] == ["0", "1", "2"]
    gaps = LatentSpaceDisplay.from_estimator(model, X, color_by=2)
    assert [len(points.get_offsets()) for points in gaps.scatter_] == [
        np.isnan(columns["c"]).sum(),
        np.isfinite(columns["c"]).sum(),
    ]


def test_columns_of_categories_integers_and_truth_values_with_gaps_colour_points():
    X = mixed_table().assign(rooms=lambda X: X["rooms"].astype("Int8").where(X.index % 5 > 0))
    model = tiny().fit(X)
    legends = {}
    for name in ("kind", "rooms", "garden"):
        display = LatentSpaceDisplay.from_estimator(model, X, color_by=name)
        legends[name] = [text.get_text() for text in display.legend_.get_texts()]
    assert legends["kind"] == ["no label", "flat", "house"]
    assert legends["rooms"] == ["no label", *(str(n) for n in sorted(X["rooms"].dropna().unique()))]
    assert legends["garden"] == ["False", "True"]


def test_equal_codes_are_drawn():
    display = LatentSpaceDisplay.from_codes(np.ones((5, 3)))
    assert_array_equal(display.codes, np.zeros((5, 2)))


def test_bad_input():
    with pytest.raises(NotFittedError):
        LatentSpaceDisplay.from_estimator(tiny(), DIGITS)
    model = fitted_to_digits(RegularizedAutoencoder)
    for dimensions in [(0, 2), (0, 0), (0, 1, 1), (), ("a",)]:
        with pytest.raises(ValueError, match="dimensions must be one or two different integers from 0 to 1, got"):
            LatentSpaceDisplay.from_estimator(model, DIGITS, dimensions=dimensions)
    with pytest.raises(ValueError, match="color_by must be None if y is given, got 3"):
        LatentSpaceDisplay.from_estimator(model, DIGITS, CLASSES, color_by=3)
    for column in (64, "a", CLASSES):
        with pytest.raises(ValueError, match="color_by must be the name or the position of a column, got"):
            LatentSpaceDisplay.from_estimator(model, DIGITS, color_by=column)
    with pytest.raises(ValueError, match="y must be 1-dimensional, got shape"):
        LatentSpaceDisplay.from_estimator(model, DIGITS, np.stack([CLASSES, CLASSES], 1))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LatentSpaceDisplay.from_estimator(model, DIGITS, CLASSES[1:])
