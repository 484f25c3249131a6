"""The picture of the quality of columns: known scores, order, and bad input."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

from sklearn_ae.plotting import ColumnQualityDisplay
from tests.families import families, tiny
from tests.plotting.fits import DIGITS, fitted_to_digits, fitted_to_table, mixed_table


def test_known_scores():
    X = pd.DataFrame(
        {
            "perfect": [1.0, 2, 3, np.nan],
            "mean": [1.0, 2, 3, 4],
            "worse": [0.0, 1, 0, 1],
            "kind": ["a", "a", "b", None],
            "half": ["a", "a", "b", "b"],
            "usual": ["b", "b", "b", "a"],
            "constant": [1.0, 1, 1, 1],
        }
    )
    restored = pd.DataFrame(
        {
            "perfect": [1.0, 2, 3, 99],
            "mean": [2.5] * 4,
            "worse": [1.0, 0, 1, 0],
            "kind": ["a", "a", "a", "b"],  # as good as the most frequent category
            "half": ["a", "a", "b", "a"],
            "usual": ["a", "a", "a", "a"],
            "constant": [1.0, 2, 1, 1],
        }
    )
    display = ColumnQualityDisplay.from_predictions(X, restored)
    assert_allclose(display.scores, [1, 0, -3, 0, 0.5, -2, np.nan])
    assert_array_equal(display.is_categorical, [False, False, False, True, True, True, False])
    names = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert names == ["perfect", "half", "mean", "kind", "usual", "worse", "constant"]
    assert display.ax_.get_xlim() == (-1, 1)
    assert [text.get_text().strip() for text in display.ax_.texts] == ["undefined"]


@families
def test_scores_are_those_of_the_restored_rows(family):
    model, X = fitted_to_table(family), mixed_table()
    display = ColumnQualityDisplay.from_estimator(model, X)
    restored = model.inverse_transform(model.transform(X))
    known = X["size"].notna()
    assert_allclose(display.scores[0], r2_score(X["size"][known], restored["size"][known]), rtol=1e-6)
    accuracy = (X["garden"] == restored["garden"]).mean()
    usual = X["garden"].value_counts(normalize=True).max()
    assert_allclose(display.scores[2], (accuracy - usual) / (1 - usual))
    assert len(display.bars_) == 5


@families
def test_arrays_are_scored(family):
    model = fitted_to_digits(family)
    display = ColumnQualityDisplay.from_estimator(model, DIGITS, max_columns=3)
    scores = r2_score(DIGITS, model.inverse_transform(model.transform(DIGITS)), multioutput="raw_values")
    varies = DIGITS.std(axis=0) > 0
    assert_allclose(display.scores[varies], scores[varies], rtol=1e-4, atol=1e-4)
    assert len(display.bars_) == 3


def test_undefined_scores_are_left_out_first():
    X = np.column_stack([np.ones(4), [0, 1, 2, 3], [0, 1, 0, 1], np.full(4, np.nan)])
    display = ColumnQualityDisplay.from_predictions(X, np.zeros((4, 4)), max_columns=3)
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["x2", "x1", "x0"]


def test_integers_that_are_categories_of_the_fit_are_scored_as_such():
    X = np.random.RandomState(0).randint(3, size=(60, 3)).astype(float)
    display = ColumnQualityDisplay.from_estimator(tiny(categorical_features=[1]).fit(X), X)
    assert_array_equal(display.is_categorical, [False, True, False])


def test_truth_values_of_an_array_are_scored_as_numbers():
    X = np.repeat(np.random.RandomState(0).uniform(size=(60, 1)) > 0.5, 3, axis=1)
    display = ColumnQualityDisplay.from_estimator(tiny(max_iter=30).fit(X), X)
    assert not display.is_categorical.any()
    assert (display.scores > 0).all()


def test_bad_input():
    with pytest.raises(NotFittedError):
        ColumnQualityDisplay.from_estimator(tiny(), DIGITS)
    with pytest.raises(ValueError, match="restored must have as many columns as X, 64, got 63"):
        ColumnQualityDisplay.from_predictions(DIGITS, DIGITS[:, 1:])
    with pytest.raises(ValueError, match="restored must have as many rows as X, 120, got 119"):
        ColumnQualityDisplay.from_predictions(DIGITS, DIGITS[1:])
