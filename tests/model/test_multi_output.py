"""Several targets of a row: multilabel and multi-output y."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import parallel_config
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_linnerud, make_multilabel_classification
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score

import sklearn_ae
from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.model.learned_target import target_of
from sklearn_ae.model.multi_output import MultiOutputTarget
from sklearn_ae.model.targets import ClassTarget
from sklearn_ae.objectives import terms
from sklearn_ae.objectives.terms import Batch
from tests.families import families, tiny

X, LABELS = make_multilabel_classification(200, 10, n_classes=4, random_state=0)
LETTERS = np.stack([np.array(["a", "b"])[LABELS[:, 0]], np.array(["x", "y", "z"])[LABELS[:, 1] + LABELS[:, 2]]], 1)
VALUES = X[:, :3] @ np.random.default_rng(0).normal(size=(3, 2)) * [1, 100] + [0, 1e3]
FEW = np.where(np.random.default_rng(1).random(LABELS.shape) < 0.3, -1, LABELS)


def fitted(family=RegularizedAutoencoder, y=LABELS, **settings):
    return tiny(family, **{"max_iter": 60, "learning_rate": 0.01} | settings).fit(X, y)


# What scikit-learn's multi-output estimators return


@families
def test_predictions_of_several_classes_have_the_shapes_of_scikit_learn(family):
    model = fitted(family, LETTERS)
    assert [classes.tolist() for classes in model.classes_] == [["a", "b"], ["x", "y", "z"]]
    assert model.predict(X).shape == (200, 2)
    assert [p.shape for p in model.predict_proba(X)] == [(200, 2), (200, 3)]
    for j, (p, log_p) in enumerate(zip(model.predict_proba(X), model.predict_log_proba(X), strict=True)):
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(np.log(p), log_p, atol=1e-5)
        np.testing.assert_array_equal(model.classes_[j][p.argmax(1)], model.predict(X)[:, j])


@families
def test_labels_are_learned(family):
    model = fitted(family, n_components=4, hidden_layer_sizes=(32,))
    assert model.predict(X).dtype == LABELS.dtype
    p = np.stack([of_label[:, 1] for of_label in model.predict_proba(X)], 1)
    assert roc_auc_score(LABELS, p) > 0.8
    assert model.score(X, LABELS) == pytest.approx(accuracy_score(LABELS, model.predict(X)))  # of whole rows


@families
def test_values_are_learned_in_their_units(family):
    model = fitted(family, VALUES, task="regression", max_iter=200)
    assert model.predict(X).shape == (200, 2)
    assert model.score(X, VALUES) == pytest.approx(r2_score(VALUES, model.predict(X)))
    assert min(r2_score(VALUES, model.predict(X), multioutput="raw_values")) > 0.7
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("y", [LABELS, LETTERS])
def test_members_are_averaged(y):
    model = fitted(y=y, n_members=3, max_iter=5)
    alone = [
        member.target.log_probabilities(member.apply(member.outputs, model._table(X)))
        for member in model.model_.members
    ]
    for j, p in enumerate(model.predict_proba(X)):
        np.testing.assert_allclose(p, np.mean([np.exp(of_member[j]) for of_member in alone], 0), atol=1e-5)


def test_a_column_is_one_output():
    with pytest.warns(match="column-vector"):
        model = tiny().fit(X, LABELS[:, :1])
    assert model.predict(X).shape == (200,)


# The loss


def test_the_loss_is_the_mean_over_the_outputs():
    n, widths = 5, (2, 3)
    logits = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[0, 2], [1, 1], [1, 0], [0, 0], [1, 2]])
    weight = torch.tensor([[1.0, 0], [1, 2], [0, 1], [1, 1], [1, 1]])
    parts = [
        terms.class_target(None, Batch(logits, y[:, j], label_weight=weight[:, j]), {"logits": own})
        for j, own in enumerate(logits.split(widths, 1))
    ]
    batch = Batch(logits, y, label_weight=weight)
    mean = terms.mean_over_outputs(None, batch, {"logits": logits}, terms.class_target, widths)
    torch.testing.assert_close(mean, sum(parts) / 2)


# Unlabelled cells


def test_unlabelled_cells_have_no_influence():
    model = fitted(y=FEW, unlabeled=-1)
    assert [classes.tolist() for classes in model.classes_] == [[0, 1]] * 4
    target, ones = model.model_.target, np.ones(200)
    _, weight = target.encode(FEW, ones)
    np.testing.assert_array_equal(weight > 0, FEW >= 0)
    right = (model.predict(X) == FEW) | (FEW == -1)
    known = (FEW >= 0).any(1)
    assert model.score(X, FEW) == pytest.approx(right.all(1)[known].mean())
    assert model.score(X, FEW, sample_weight=np.arange(200.0)) == pytest.approx(
        np.average(right.all(1)[known], weights=np.arange(200.0)[known])
    )


def test_an_output_without_a_label_has_no_part_in_the_score():
    model = tiny(task="regression", unlabeled=-1).fit(X, np.where(np.arange(400).reshape(200, 2) == 0, -1, VALUES))
    half = VALUES.copy()
    half[:, 1] = -1
    assert model.score(X, half) == pytest.approx(r2_score(VALUES[:, 0], model.predict(X)[:, 0]))


def test_targets_whose_outputs_differ_in_width_are_not_stacked():
    kinds = [target_of(y, None, "classification", None, None).kind for y in (LETTERS, LETTERS[:, ::-1], LETTERS)]
    assert kinds[0] == kinds[2] != kinds[1]


def test_rows_without_y_of_a_later_partial_fit_are_unlabelled():
    model = tiny().partial_fit(X, LABELS, classes=[[0, 1]] * 4)
    assert model.partial_fit(X).partial_fit(X, LABELS).predict(X).shape == LABELS.shape


def test_class_weights_balance_each_output():
    target = target_of(LABELS, None, "classification", None, "balanced")
    _, weight = target.encode(LABELS, np.ones(200))
    for j in range(4):
        by_class = [weight[LABELS[:, j] == label, j].sum() for label in (0, 1)]
        assert by_class[0] == pytest.approx(by_class[1])


def test_each_output_has_weights_of_mean_one_over_its_labels():
    seen = []

    def penalty(module, batch, trace):
        seen.append(batch.label_weight.clone())
        return trace["code"].sum(1)

    tiny(penalty=penalty, unlabeled=-1, class_weight={0: 1, 1: 9}, max_iter=1, early_stopping=False).fit(X, FEW)
    weight = seen[-1].numpy()
    assert ((weight > 0) == (FEW >= 0)).all()
    np.testing.assert_allclose(weight.sum(0) / (weight > 0).sum(0), 1, rtol=1e-5)


# Around it


@families
def test_several_outputs_stop_early_continue_and_are_kept(family, tmp_path):
    model = fitted(family, early_stopping=True, warm_start=True, max_iter=5)
    assert "valid_target" in model.history_
    model.fit(X, LABELS)
    expected = model.predict_proba(X)
    model.save(tmp_path / "model")
    for kept in (pickle.loads(pickle.dumps(model)), sklearn_ae.load(tmp_path / "model")):
        np.testing.assert_array_equal(kept.predict_proba(X), expected)
        assert kept.fit(X, LABELS).n_iter_ <= 5


@families
def test_rows_are_generated_without_a_class(family):
    model = fitted(family, max_iter=3)
    assert model.sample(5, random_state=0).shape == (5, 10)
    with pytest.raises(ValueError, match="several outputs"):
        model.sample(5, y=1)


def test_stacked_fits_equal_lone_ones():
    search = GridSearchCV(tiny(max_iter=5), {"alpha": [0, 0.1], "target_weight": [1.0, 5.0]}, cv=3, scoring="roc_auc")
    alone = clone(search).fit(X, LABELS)
    with parallel_config(backend="sklearn_ae", n_jobs=8):
        stacked = clone(search).fit(X, LABELS)
    np.testing.assert_allclose(stacked.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=2e-3)


def test_scikit_learn_scores_several_outputs():
    X_exercise, physiology = load_linnerud(return_X_y=True)
    assert np.isfinite(cross_val_score(tiny(task="regression"), X_exercise, physiology, cv=3)).all()
    assert np.isfinite(cross_val_score(tiny(), X, LABELS, scoring="f1_macro", cv=3)).all()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_the_columns_of_a_frame_may_have_gaps_and_types_of_their_own(frame):
    y = frame({"a": ["x", "y", None, "x"] * 50, "b": [1, None, 0, 1] * 50, "c": [False, True] * 100})
    y = y.convert_dtypes() if frame is pd.DataFrame else y
    model = tiny(unlabeled=np.nan).fit(X, y)
    assert [classes.tolist() for classes in model.classes_] == [["x", "y"], [0, 1], [False, True]]
    assert np.isfinite(model.score(X, y))


def test_a_frame_of_outputs_is_taken():
    frame = pd.DataFrame({"letter": LETTERS[:, 0], "number": LABELS[:, 1]})
    model = tiny().fit(X, frame)
    assert [classes.tolist() for classes in model.classes_] == [["a", "b"], [0, 1]]
    assert [type(value) for value in model.predict(X)[0]] == [str, int]
    continued = tiny().partial_fit(X, frame, classes=[["a", "b"], [0, 1]])
    assert [type(value) for value in continued.predict(X)[0]] == [str, int]
    assert model.score(X, frame) == (model.predict(X) == frame.to_numpy()).all(1).mean()


@pytest.mark.parametrize("container", [csr_matrix, torch.from_numpy, pl.DataFrame, pd.DataFrame, np.ndarray.tolist])
def test_labels_come_in_any_container(container):
    expected = tiny().fit(X, LABELS).predict_proba(X)
    np.testing.assert_array_equal(tiny().fit(X, container(LABELS)).predict_proba(X), expected)


# Bad input


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (VALUES, "Unknown label type"),
        (np.where(LABELS == 1, np.nan, LABELS), "NaN"),
        (LABELS[:-1], "inconsistent"),
        (LABELS[:, :, None], "dim 3"),
        ([[0, 1]] * 199 + [[0]], "y must have as many columns in each row"),
        (np.where(np.arange(4) == 2, -1, LABELS), r"at least one labelled sample, got none in columns \[2\]"),
    ],
)
def test_bad_outputs_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        tiny(unlabeled=-1 if "labelled" in match else None).fit(X, y)


@pytest.mark.parametrize("classes", [3, [0, 1], [[0, 1]] * 3, [0, 1, 0, 1], "abcd"])
def test_classes_of_several_outputs_are_a_list_for_each(classes):
    for model in (tiny(), tiny().partial_fit(X, LABELS, classes=[[0, 1]] * 4)):
        with pytest.raises(ValueError, match="classes must be a list with the labels of each of 4 columns"):
            model.partial_fit(X, LABELS, classes=classes)


def test_the_columns_of_y_must_stay():
    model = tiny(warm_start=True).fit(X, LABELS)
    for other in (LABELS[:, :2], LABELS[:, 0]):
        for use in (lambda y: model.score(X, y), lambda y: model.fit(X, y), lambda y: model.partial_fit(X, y)):
            with pytest.raises(ValueError, match="4 columns"):
                use(other)
        with pytest.raises(ValueError, match="columns"):
            tiny().fit(X, LABELS, X_val=X, y_val=other)
    one = tiny(warm_start=True).fit(X, LABELS[:, 0])
    for use in (lambda y: one.score(X, y), lambda y: one.partial_fit(X, y)):
        with pytest.raises(ValueError, match="one column"):
            use(LABELS)
    with pytest.raises(ValueError, match="classes must stay"):
        model.fit(X, np.where(LABELS == 1, 2, LABELS))


def test_labels_of_another_type_have_no_score():
    with pytest.raises(ValueError, match="labels such as"):
        tiny().fit(X, LABELS).score(X, LETTERS[:, [0, 0, 1, 1]])


def test_its_parts_are_targets_of_one_output():
    target = target_of(LETTERS, None, "classification", None, None)
    assert isinstance(target, MultiOutputTarget)
    assert all(isinstance(part, ClassTarget) for part in target.parts)
    assert target.n_outputs == 5
