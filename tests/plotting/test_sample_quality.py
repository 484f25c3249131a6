"""The picture of generated rows: scores of columns and pairs, and bad input."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.metrics import column_shapes, pair_trends
from sklearn_ae.plotting import SampleQualityDisplay, sample_quality
from tests.families import families, tiny
from tests.plotting.fits import DIGITS, fitted_to_table, mixed_table


@families
def test_scores_are_those_of_the_metrics(family):
    model, X = fitted_to_table(family), mixed_table()
    display = SampleQualityDisplay.from_estimator(model, X, n_samples=70, random_state=0)
    samples = model.sample(70, 0, missing=True)
    assert samples.isna().to_numpy().any()
    assert_array_equal(display.column_scores, column_shapes(X, samples)["score"])
    assert_array_equal(display.pair_scores, pair_trends(X, samples))
    assert_array_equal([bar.get_width() for bar in display.bars_], display.column_scores)
    assert_array_equal(display.im_.get_array().filled(np.nan), display.pair_scores)
    assert display.column_names == list(X.columns)


def test_by_default_as_many_rows_are_generated_as_there_are_up_to_a_limit(monkeypatch):
    asked = []

    class Sampler(RegularizedAutoencoder):
        def sample(self, n_samples, *args, **settings):
            asked.append(n_samples)
            return super().sample(n_samples, *args, **settings)

    model = tiny(Sampler).fit(DIGITS[:, 20:24])
    for X in (DIGITS[:, 20:24], csr_matrix(DIGITS[:, 20:24])):
        SampleQualityDisplay.from_estimator(model, X, random_state=0)
    monkeypatch.setattr(sample_quality, "MOST_SAMPLES", 7)
    SampleQualityDisplay.from_estimator(model, DIGITS[:, 20:24], random_state=0)
    assert asked == [120, 120, 7]


def test_equal_tables_have_scores_of_one():
    display = SampleQualityDisplay.from_tables(mixed_table(), mixed_table())
    assert_array_equal(display.column_scores, np.ones(5))
    assert np.nanmin(display.pair_scores) == 1


def test_columns_that_differ_most_are_drawn():
    real = np.random.RandomState(0).normal(size=(60, 4))
    display = SampleQualityDisplay.from_tables(real, real + [0, 5, 0, 1], max_columns=2)
    assert [text.get_text() for text in display.axes_[0].get_yticklabels()] == ["x1", "x3"]
    assert display.im_.get_array().shape == (2, 2)


def test_a_table_of_one_column_is_drawn():
    display = SampleQualityDisplay.from_tables(DIGITS[:, 2:3], DIGITS[:, 2:3])
    display.figure_.canvas.draw()


def test_bad_input():
    with pytest.raises(NotFittedError):
        SampleQualityDisplay.from_estimator(tiny(), DIGITS)
    with pytest.raises(ValueError, match="samples must have as many columns as X, 64, got 63"):
        SampleQualityDisplay.from_tables(DIGITS, DIGITS[:, 1:])
