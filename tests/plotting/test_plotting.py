"""What all pictures share: missing matplotlib, settings, and light and dark backgrounds."""

import inspect
import sys
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.sparse import csr_matrix

from sklearn_ae import RegularizedAutoencoder, plotting
from tests.plotting.fits import DIGITS, fitted_to_digits, fitted_to_table, mixed_table

DISPLAYS = [getattr(plotting, name) for name in plotting.__all__]
every_display = pytest.mark.parametrize("display", DISPLAYS, ids=plotting.__all__)


def drawn(display, **options):
    model = fitted_to_table(RegularizedAutoencoder)
    X = () if display is plotting.LossCurveDisplay else (mixed_table(),)
    return display.from_estimator(model, *X, **options)


@cache
def kept(display):
    """Return a display whose numbers were computed once."""
    return drawn(display)


@every_display
def test_without_matplotlib_the_error_says_how_to_install_it(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf'{display.__name__}.plot needs matplotlib: pip install "sklearn_ae\['):
        drawn(display)


@every_display
def test_it_is_drawn_into_given_axes(display):
    figure, (left, right) = plt.subplots(1, 2)
    found = drawn(display, ax=right)
    assert found.ax_ is right
    assert found.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()


@every_display
def test_it_can_be_drawn_again(display):
    first = kept(display).plot()
    figure = first.figure_
    assert first.plot() is first
    assert first.figure_ is not figure


@every_display
def test_the_constructor_stores_its_parameters(display):
    names = list(inspect.signature(display).parameters)
    made = display(**{name: name for name in names})
    assert {name: getattr(made, name) for name in names} == {name: name for name in names}


@every_display
def test_texts_are_in_the_colour_of_the_style(display):
    with plt.style.context("dark_background"):
        figure = kept(display).plot().figure_
        light = mpl.rcParams["text.color"]
        texts = [text for ax in figure.axes for text in [ax.title, ax.xaxis.label, *ax.get_yticklabels()]]
        assert {text.get_color() for text in texts} == {light}


@pytest.mark.parametrize("display", [found for found in DISPLAYS if found is not plotting.LossCurveDisplay])
def test_sparse_rows_are_drawn(display):
    model = fitted_to_digits(RegularizedAutoencoder)
    assert display.from_estimator(model, csr_matrix(DIGITS[:30])).figure_ is not None


def test_the_rows_of_the_user_are_not_changed():
    X = mixed_table()
    before = X.copy()
    for display in DISPLAYS:
        drawn(display)
    assert X.equals(before)
    assert np.isnan(X["size"]).any()
