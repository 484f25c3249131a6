"""What all pictures share: missing matplotlib, settings, and light and dark backgrounds."""

import inspect
import sys
from functools import cache

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError

from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, RegularizedAutoencoder, plotting
from sklearn_ae.tables.sources import Array
from tests.families import tiny
from tests.plotting.fits import CLASSES, DIGITS, fitted_to_table, mixed_table

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


@cache
def other_fits():
    """Return fits to a frame of polars, to a sparse matrix and to a source, with the rows."""
    tables = pl.from_pandas(mixed_table(30)), csr_matrix(DIGITS[:30, 20:22]), Array(DIGITS[:30, 20:22])
    return [(tiny(max_iter=1).fit(X), X) for X in tables]


@every_display
def test_without_matplotlib_the_error_says_how_to_install_it(display, monkeypatch):
    made = kept(display)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    name, way_out = display.__name__, r'needs matplotlib: pip install "sklearn_ae\[plotting\]"'
    with pytest.raises(ImportError, match=rf"^{name}.from_estimator {way_out}$"):
        display.from_estimator(None, None) if display is not plotting.LossCurveDisplay else display.from_estimator(None)
    with pytest.raises(ImportError, match=rf"^{name}.plot {way_out}$"):
        made.plot()


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


@every_display
def test_polars_frames_sparse_matrices_and_sources_are_drawn(display):
    for model, X in other_fits():
        display.from_estimator(model, *(() if display is plotting.LossCurveDisplay else (X,)))


@pytest.mark.parametrize("around", [AutoencoderImputer, AutoencoderOutlierDetector])
def test_of_an_estimator_around_an_autoencoder_the_autoencoder_is_drawn(around):
    X = mixed_table()
    estimator = around(tiny(), random_state=0).fit(X)
    codes = plotting.LatentSpaceDisplay.from_estimator(estimator, X).codes
    assert_array_equal(codes, estimator.estimator_.transform(X))
    restored = plotting.ReconstructionDisplay.from_estimator(estimator, X).column_names
    assert restored == plotting.SampleQualityDisplay.from_estimator(estimator, X).column_names == list(X.columns)
    for display in DISPLAYS:
        with pytest.raises(NotFittedError):
            display.from_estimator(around(), *(() if display is plotting.LossCurveDisplay else (X,)))


@every_display
def test_estimators_without_codes_are_refused(display):
    model = DummyClassifier().fit(DIGITS, CLASSES)
    with pytest.raises(TypeError, match="estimator must be an autoencoder.*, got DummyClassifier"):
        display.from_estimator(model, *(() if display is plotting.LossCurveDisplay else (DIGITS,)))


def test_the_rows_of_the_user_are_not_changed():
    X = mixed_table()
    before = X.copy()
    for display in DISPLAYS:
        drawn(display)
    assert X.equals(before)
    assert np.isnan(X["size"]).any()
