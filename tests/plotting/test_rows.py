"""Pictures of the rows of a source: those of the same rows as an array, and of a sample if there are many."""

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA

from sklearn_ae import AutoencoderOutlierDetector, RegularizedAutoencoder, StoredTable, plotting
from sklearn_ae.plotting import rows
from sklearn_ae.plotting.rows import shown_rows, shown_together
from sklearn_ae.tables.sources import Array, Source
from tests.families import tiny
from tests.plotting.fits import fitted_to_table, mixed_table

RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(60, 4)) @ RANDOM.normal(size=(4, 4))
X[::7, 1] = np.nan
CLASSES = np.arange(60) % 3
MODEL = tiny().fit(X)

OF_ROWS = {name: getattr(plotting, name) for name in plotting.__all__ if name != "LossCurveDisplay"}
every_display = pytest.mark.parametrize("display", OF_ROWS.values(), ids=OF_ROWS)


class Read(Source):
    """Rows of an array that remembers which of them were read."""

    is_kept_encoded = False

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read = []

    def __getitem__(self, rows):
        self.read.extend(np.arange(len(self.array))[rows].tolist())
        return self.array[rows]


@pytest.fixture(autouse=True)
def _not_drawn(monkeypatch):
    """Compute what is drawn, without drawing it: that does not depend on where the rows come from."""
    for display in OF_ROWS.values():
        monkeypatch.setattr(display, "plot", lambda self, ax=None, **options: self)


@pytest.fixture
def few(monkeypatch):
    """Draw 20 rows of a source at most."""
    monkeypatch.setattr(rows, "MOST_ROWS", 20)


def assert_equal(display, other):
    """Compare all that two displays were made of."""
    for name in inspect.signature(type(display)).parameters:
        assert_array_equal(getattr(display, name), getattr(other, name), err_msg=name)


def drawn(display, table, model=MODEL):
    options = {"random_state": 0} if display is plotting.SampleQualityDisplay else {}
    return display.from_estimator(model, table, **options)


@every_display
def test_a_picture_of_a_source_is_that_of_the_same_rows_as_an_array(display):
    assert_equal(drawn(display, Array(X)), drawn(display, X))


@every_display
def test_a_picture_of_a_long_source_reads_a_sample_only(display, few):
    source = Read(X)
    found = drawn(display, source)
    if display is plotting.CodeAttributionDisplay:  # draws rows itself
        found = display.from_estimator(MODEL, Read(X), max_samples=20)
        assert_equal(found, display.from_estimator(MODEL, X, max_samples=20))
        return
    assert len(source.read) == len(set(source.read)) == 20
    assert source.read == sorted(source.read)
    assert max(source.read) > 40  # from all of the rows
    assert_equal(found, drawn(display, X[source.read]))
    assert_equal(found, drawn(display, Array(X)))


def test_effects_on_codes_read_two_rows_for_each_one_drawn():
    source = Read(X)
    plotting.CodeAttributionDisplay.from_estimator(MODEL, source, max_samples=5)
    assert len(source.read) <= 2 * 5


@pytest.mark.parametrize("of", [np.asarray, list, pd.Series, pl.Series], ids=["array", "list", "pandas", "polars"])
def test_labels_stay_with_their_rows(of, few):
    source = Read(X)
    display = plotting.LatentSpaceDisplay.from_estimator(MODEL, source, of(CLASSES))
    assert_array_equal(display.labels, CLASSES[source.read])
    named = plotting.LatentSpaceDisplay.from_estimator(MODEL, Array(X), pd.Series(CLASSES, name="kind"))
    assert named.label_name == "kind"


def test_a_column_of_a_source_colours_points(few):
    source = Read(X)
    display = plotting.LatentSpaceDisplay.from_estimator(MODEL, source, color_by=2)
    assert_array_equal(display.labels, X[source.read, 2])
    assert len(source.read) == 20


def test_a_source_of_codes_is_drawn(few):
    codes = MODEL.transform(X)
    source = Read(codes)
    display = plotting.LatentSpaceDisplay.from_codes(source, CLASSES)
    assert_array_equal(display.codes, codes[source.read])
    assert_array_equal(display.labels, CLASSES[source.read])


@pytest.mark.parametrize("display", [plotting.ColumnQualityDisplay, plotting.ReconstructionDisplay])
@pytest.mark.parametrize("kinds", [(Read, Array), (Read, np.asarray), (Array, pd.DataFrame)], ids=str)
def test_given_reconstructions_stay_with_their_rows(display, kinds, few):
    restored = MODEL.inverse_transform(MODEL.transform(X))
    originals, others = (kind(table) for kind, table in zip(kinds, (X, restored), strict=True))
    found = display.from_predictions(originals, others)
    source = Read(X)
    shown_rows(source)
    index = source.read
    assert_equal(found, display.from_predictions(X[index], restored[index]))
    reverse = display.from_predictions(X, Array(restored))
    assert_equal(reverse, display.from_predictions(X[index], restored[index]))


def test_given_samples_may_be_a_source_of_another_length(few):
    display = plotting.SampleQualityDisplay.from_tables(Array(X), Array(X[:10]))
    assert display.column_scores.shape == (4,)
    same = plotting.SampleQualityDisplay.from_tables(Array(X[:20]), X[:10])
    assert_equal(same, plotting.SampleQualityDisplay.from_tables(X[:20], X[:10]))


def test_the_row_in_the_center_may_be_a_source():
    display = plotting.LatentTraversalDisplay
    assert_equal(
        display.from_estimator(MODEL, Array(X), center=Array(X[3:4])), display.from_estimator(MODEL, X, center=X[3:4])
    )


def test_images_of_a_source_are_the_first_ones_of_its_sample(few):
    source = Read(X)
    display = plotting.ReconstructionDisplay.from_estimator(MODEL, source, image_shape=(2, 2), n_images=3)
    assert_array_equal(display.originals[:3], X[source.read[:3]])


@every_display
def test_a_source_is_drawn_by_other_transformers_and_of_estimators_around_an_autoencoder(display):
    complete = np.nan_to_num(X)
    detector = AutoencoderOutlierDetector(tiny(), random_state=0).fit(complete)
    assert_equal(drawn(display, Array(complete), detector), drawn(display, complete, detector))
    if display not in (plotting.CodeAttributionDisplay, plotting.SampleQualityDisplay):
        pca = PCA(2).fit(complete)
        assert_equal(drawn(display, Array(complete), pca), drawn(display, complete, pca))


@every_display
def test_a_source_is_refused_after_a_fit_with_categories(display):
    source = Read(np.zeros((50, 5)))
    with pytest.raises(TypeError, match="Give a DataFrame with the same columns"):
        drawn(display, source, fitted_to_table(RegularizedAutoencoder))
    assert source.read == []


@every_display
def test_a_source_is_drawn_after_a_fit_to_an_array_with_categories(display):
    cells = np.column_stack([CLASSES, X])
    model = tiny(categorical_features=[0]).fit(cells)
    assert_equal(drawn(display, Array(cells), model), drawn(display, cells, model))


@every_display
def test_a_source_of_integers_is_refused_before_it_is_read(display):
    source = Read(np.ones((30, 4), dtype=int))
    with pytest.raises(TypeError, match="dtype of a Source must be float32 or float64"):
        drawn(display, source)
    assert source.read == []


def test_labels_of_another_length_are_refused_before_the_source_is_read(few):
    source = Read(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plotting.LatentSpaceDisplay.from_estimator(MODEL, source, CLASSES[:-1])
    with pytest.raises(ValueError, match="color_by must be None if y is given"):
        plotting.LatentSpaceDisplay.from_estimator(MODEL, source, CLASSES, color_by=0)
    assert source.read == []


def test_tables_in_memory_are_taken_as_they_are(few):
    frame = mixed_table()
    assert shown_rows(frame) is frame
    assert shown_together(X, None, CLASSES)[0] is X
    assert shown_together(Array(X[:20]), None, CLASSES[:20])[1:] == [None, pytest.approx(CLASSES[:20])]


@every_display
def test_a_picture_of_a_table_in_a_file_is_that_of_its_rows(display, tmp_path, few):
    np.save(tmp_path / "rows.npy", X)
    assert_equal(drawn(display, StoredTable(tmp_path / "rows.npy")), drawn(display, Array(X)))
    if display is not plotting.CodeAttributionDisplay:  # which asks the estimator for a sample
        with StoredTable(pd.DataFrame(X)) as table, pytest.raises(TypeError, match="a table of DataFrames: give the"):
            drawn(display, table)
