"""Tensors in, tensors out, if scikit-learn's ``array_api_dispatch`` is set."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_array_api_input

from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector
from sklearn_ae.tables.namespaces import as_given
from tests.families import families, tiny

X, Y = load_iris(return_X_y=True)
TENSOR, LABELS = torch.from_numpy(X.astype(np.float32)), torch.from_numpy(Y)


@pytest.fixture
def dispatch():
    with config_context(array_api_dispatch=True):
        yield


@families
@pytest.mark.parametrize("task", ["classification", "regression", None])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scikit_learns_check_of_tensors_passes(family, task, dtype):
    check_array_api_input(family.__name__, tiny(family, task=task), "torch", "cpu", dtype, check_values=True)


@families
def test_results_for_tensors_are_tensors_with_the_values_of_arrays(family, dispatch):
    model = tiny(family).fit(TENSOR, LABELS)
    for method in (
        "transform",
        "predict",
        "predict_proba",
        "predict_log_proba",
        "score_samples",
        "score_cells",
        "impute",
    ):
        of_tensor, of_array = getattr(model, method)(TENSOR), getattr(model, method)(TENSOR.numpy())
        assert isinstance(of_tensor, torch.Tensor)
        assert isinstance(of_array, np.ndarray)
        np.testing.assert_array_equal(of_tensor.numpy(), of_array)
    assert isinstance(model.inverse_transform(model.transform(TENSOR)), torch.Tensor)
    value, std = model.score_samples(TENSOR, return_std=True)
    assert isinstance(value, torch.Tensor)
    assert isinstance(std, torch.Tensor)
    assert isinstance(model.score(TENSOR, LABELS), float)


@families
def test_without_the_setting_results_are_arrays(family):
    assert isinstance(tiny(family).fit(TENSOR, LABELS).transform(TENSOR), np.ndarray)


def test_labels_that_tensors_can_not_hold_stay_an_array(dispatch):
    assert tiny().fit(TENSOR, np.array(["a", "b", "c"])[Y]).predict(TENSOR).dtype.kind == "U"


def test_several_outputs_are_a_list_of_tensors(dispatch):
    probabilities = tiny().fit(TENSOR, np.stack([Y, Y == 1], 1)).predict_proba(TENSOR)
    assert [type(own) for own in probabilities] == [torch.Tensor, torch.Tensor]


def test_cross_validation_of_tensors_equals_that_of_arrays(dispatch):
    model = tiny(max_iter=20)
    of_tensors = cross_val_score(clone(model), TENSOR, LABELS, scoring="accuracy", cv=3)
    of_arrays = cross_val_score(clone(model), TENSOR.numpy(), Y, scoring="accuracy", cv=3)
    np.testing.assert_allclose(of_tensors, of_arrays, rtol=1e-6)  # the metric of tensors is of single precision


def test_the_detector_and_the_imputer_return_tensors(dispatch):
    gaps = TENSOR.where(torch.eye(150, 4) == 0, torch.nan)
    filled = AutoencoderImputer(tiny()).fit_transform(gaps)
    assert isinstance(filled, torch.Tensor)
    assert filled.isfinite().all()
    detector = AutoencoderOutlierDetector(tiny()).fit(TENSOR)
    for result in (detector.predict(TENSOR), detector.decision_function(TENSOR), detector.score_cells(TENSOR)):
        assert isinstance(result, torch.Tensor)


def test_a_result_goes_to_the_device_of_the_table(dispatch):
    assert as_given(np.ones(3), torch.ones(3, device="meta")).device.type == "meta"
