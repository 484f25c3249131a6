"""The picture of effects on codes: numbers, chosen columns, and bad input."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_ae.plotting import CodeAttributionDisplay
from tests.families import families, tiny
from tests.plotting.fits import DIGITS, fitted_to_digits, fitted_to_table, mixed_table


@families
def test_effects_are_those_of_explain_codes(family):
    model, X = fitted_to_table(family), mixed_table()
    display = CodeAttributionDisplay.from_estimator(model, X, max_samples=20, random_state=3)
    assert_array_equal(display.effects, model.explain_codes(X, 20, 3))
    assert display.column_names == list(X.columns)
    assert_array_equal(display.im_.get_array(), display.effects)


@families
def test_columns_that_move_codes_most_are_drawn(family):
    display = CodeAttributionDisplay.from_estimator(fitted_to_digits(family), DIGITS, max_samples=20, max_columns=4)
    assert display.effects.shape == (64, 2)
    assert display.im_.get_array().shape == (4, 2)


def test_a_code_of_small_numbers_counts_as_much_as_another():
    effects = np.array([[9.0, 0.0], [10.0, 0.0], [0.0, 0.1], [0.0, 0.01]])
    display = CodeAttributionDisplay(effects, ["a", "b", "c", "d"], ["left", "right"]).plot(max_columns=2)
    assert_array_equal(display.im_.get_array(), effects[[1, 2]])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["b", "c"]
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["left", "right"]


def test_codes_that_nothing_moves_are_drawn():
    CodeAttributionDisplay(np.zeros((2, 30)), ["a", "b"]).plot().figure_.canvas.draw()


def test_bad_input():
    with pytest.raises(NotFittedError):
        CodeAttributionDisplay.from_estimator(tiny(), DIGITS)
    with pytest.raises(TypeError, match="estimator must be an autoencoder of sklearn_ae"):
        CodeAttributionDisplay.from_estimator(None, DIGITS)
