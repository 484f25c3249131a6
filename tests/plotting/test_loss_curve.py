"""The picture of losses: which numbers it holds, where the best epoch is, and bad input."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_ae import AdversarialAutoencoder, AutoencoderOutlierDetector, RegularizedAutoencoder
from sklearn_ae.plotting import LossCurveDisplay
from tests.families import families, tiny
from tests.plotting.fits import CLASSES, DIGITS, fitted_to_digits


@families
def test_curves_are_the_columns_of_the_history(family):
    model = fitted_to_digits(family)
    display, history = LossCurveDisplay.from_estimator(model), model.history_
    assert_array_equal(display.training["loss"], history["train_loss"])
    assert_array_equal(display.training["reconstruction"], history["reconstruction"])
    assert_array_equal(display.validation["loss"], history["valid_loss"])
    drawn = {"train_loss", *display.training, *(f"valid_{name}" for name in display.validation)} - {"loss"}
    assert set(display.lines_) == drawn == set(history) - {"seconds"}
    assert_array_equal(display.lines_["valid_loss"].get_xydata(), history["valid_loss"].reset_index())


def test_the_marker_is_at_the_lowest_validation_loss():
    display = LossCurveDisplay([1, 2, 3, 4], {"loss": [4.0, 3, 2, 1]}, {"loss": [4.0, 2, 1.5, 3]}).plot()
    assert (display.monitored, display.best_epoch) == ("loss", 3)
    assert_array_equal(display.best_.get_xydata(), [[3, 1.5]])


def test_with_labels_the_best_epoch_is_that_of_the_target_as_in_early_stopping():
    model = tiny(max_iter=3).fit(DIGITS[:80], CLASSES[:80], X_val=DIGITS[80:], y_val=CLASSES[80:])
    display = LossCurveDisplay.from_estimator(model)
    assert display.monitored == "target"
    assert display.best_epoch == model.history_["valid_target"].idxmin()


def test_without_validation_rows_there_is_no_marker():
    display = LossCurveDisplay.from_estimator(tiny(early_stopping=False).fit(DIGITS))
    assert display.validation is None
    assert display.best_ is None
    assert display.best_epoch is None


@pytest.mark.parametrize(("family", "n_lines"), [(AdversarialAutoencoder, 1), (RegularizedAutoencoder, 0)])
def test_the_value_of_the_game_is_drawn_against_its_equilibrium(family, n_lines):
    display = LossCurveDisplay.from_estimator(fitted_to_digits(family))
    lines = [line for ax in display.axes_ for line in ax.get_lines() if "log 4" in line.get_label()]
    assert [line.get_ydata()[0] for line in lines] == [-np.log(4)] * n_lines


def test_chosen_terms_take_the_place_of_given_axes():
    figure, (left, right) = plt.subplots(1, 2)
    model = AutoencoderOutlierDetector(tiny(), random_state=0).fit(DIGITS)
    display = LossCurveDisplay.from_estimator(model, terms=["penalty"], ax=right, logy=True)
    assert list(display.training) == ["loss", "penalty"]
    assert display.figure_ is figure
    assert display.ax_ is right
    assert [ax.get_yscale() for ax in display.axes_] == ["log", "log"]
    assert len(left.get_lines()) == 0


def test_bad_input():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(tiny())
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(AutoencoderOutlierDetector())
    with pytest.raises(TypeError, match="estimator must be an autoencoder"):
        LossCurveDisplay.from_estimator("model")
    model = fitted_to_digits(RegularizedAutoencoder)
    with pytest.raises(ValueError, match=r"terms must be among \['reconstruction', 'penalty'\], got \['kl'\]"):
        LossCurveDisplay.from_estimator(model, terms=["kl"])
    with pytest.raises(TypeError, match="ax must be axes"):
        LossCurveDisplay.from_estimator(model, ax=plt.subplots(1, 2)[1])
    with pytest.raises(ValueError, match="ax must be axes of a grid"):
        LossCurveDisplay.from_estimator(model, ax=plt.figure().add_axes((0, 0, 1, 1)))
