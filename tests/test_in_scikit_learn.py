"""Autoencoders inside the tools of scikit-learn, and those of joblib, pandas and polars."""

import copy
import hashlib
import json
import pickle
import subprocess
import sys
import warnings
from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import UndefinedMetricWarning, UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    check_cv,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from tests.families import FAMILIES, families
from tests.families import tiny as families_tiny

_order = np.random.default_rng(0).permutation(150)
X, Y = (array[_order] for array in load_iris(return_X_y=True))
X_VALUES, VALUES = (array[:150] for array in load_diabetes(return_X_y=True))
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]


tiny = partial(families_tiny, max_iter=8, learning_rate=0.1)


def feature_names(family, n=2):
    return [f"{family.__name__.lower()}{i}" for i in range(n)]


# Pipelines


@families
def test_a_pipeline_ends_in_an_autoencoder_without_y(family):
    pipe = make_pipeline(StandardScaler(), tiny(family)).fit(X)
    assert pipe.transform(X).shape == (150, 2)
    assert np.array_equal(pipe.transform(X), tiny(family).fit_transform(StandardScaler().fit_transform(X)))
    assert pipe.inverse_transform(pipe.transform(X)).shape == X.shape
    assert pipe.score(X) == pytest.approx(pipe.score_samples(X).mean())
    assert not hasattr(pipe, "predict")
    assert not hasattr(pipe, "predict_proba")


@families
def test_a_pipeline_ends_in_a_classifier(family):
    pipe = make_pipeline(StandardScaler(), tiny(family, max_iter=25)).fit(X, Y)
    assert is_classifier(pipe)
    assert list(pipe.classes_) == [0, 1, 2]
    assert pipe.score(X, Y) == accuracy_score(Y, pipe.predict(X))
    assert pipe.score(X, Y) > 0.7
    assert pipe.predict_proba(X).shape == (150, 3)
    assert np.array_equal(pipe.predict_proba(X).argmax(1), pipe.predict(X))
    assert pipe.transform(X).shape == (150, 2)


@families
def test_a_pipeline_ends_in_a_regressor(family):
    pipe = make_pipeline(StandardScaler(), tiny(family, task="regression", max_iter=25)).fit(X_VALUES, VALUES)
    assert is_regressor(pipe)
    assert not is_classifier(pipe)
    assert pipe.score(X_VALUES, VALUES) == pytest.approx(r2_score(VALUES, pipe.predict(X_VALUES)))
    assert pipe.score(X_VALUES, VALUES) > 0.2
    assert not hasattr(pipe, "predict_proba")
    assert not hasattr(pipe, "classes_")


@families
@pytest.mark.parametrize("task", ["classification", None])
def test_a_classifier_learns_from_codes(family, task):
    pipe = make_pipeline(StandardScaler(), tiny(family, task=task, max_iter=15), LogisticRegression()).fit(X, Y)
    assert pipe.score(X, Y) > 0.75
    alone = tiny(family, task=task, max_iter=15).fit(StandardScaler().fit_transform(X), Y)
    assert np.array_equal(pipe[:-1].transform(X), alone.transform(StandardScaler().fit_transform(X)))
    without_y = tiny(family, task=task, max_iter=15).fit(StandardScaler().fit_transform(X))
    same = np.array_equal(pipe[:-1].transform(X), without_y.transform(StandardScaler().fit_transform(X)))
    assert same == (task is None)  # y is learned from under task="classification" only


@families
@pytest.mark.parametrize("task", ["regression", None])
def test_a_regressor_learns_from_codes(family, task):
    encoder = tiny(family, n_components=4, task=task, max_iter=60, learning_rate=0.02)
    pipe = make_pipeline(StandardScaler(), encoder, Ridge()).fit(X_VALUES, VALUES)
    assert pipe.score(X_VALUES, VALUES) > 0.2
    assert pipe.predict(X_VALUES).shape == (150,)


@families
def test_a_regressor_after_a_classifying_autoencoder_is_told_what_to_do(family):
    with pytest.raises(ValueError, match=r"(?s)task='regression'.*task=None"):
        make_pipeline(tiny(family), Ridge()).fit(X_VALUES, VALUES + 0.5)


@families
def test_a_pipeline_keeps_its_fits_in_a_cache(family, tmp_path):
    pipe = make_pipeline(tiny(family), LogisticRegression(), memory=str(tmp_path)).fit(X, Y)
    expected = pipe.predict_proba(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(clone(pipe).fit(X, Y).predict_proba(X), expected)


@families
def test_two_autoencoders_follow_each_other(family):
    pipe = make_pipeline(tiny(family, n_components=3), tiny(RegularizedAutoencoder)).fit(X)
    assert pipe.transform(X).shape == (150, 2)
    assert pipe.inverse_transform(pipe.transform(X)).shape == X.shape


# Tags


@families
def test_the_tags_follow_the_task(family):
    def tags(**settings):
        return sklearn.utils.get_tags(family(**settings))

    assert tags().estimator_type == "classifier"
    assert tags(task="regression").estimator_type == "regressor"
    assert tags(task=None).estimator_type is None
    for task in ("classification", "regression", None):
        found = tags(task=task)
        assert not found.target_tags.required
        assert found.input_tags.sparse
        assert found.input_tags.allow_nan
        assert (found.classifier_tags is not None) == (task == "classification")
        assert (found.regressor_tags is not None) == (task == "regression")
        assert found.transformer_tags is not None
        estimator = family(task=task)
        folds = check_cv(3, Y, classifier=is_classifier(estimator))
        assert isinstance(folds, StratifiedKFold if task == "classification" else KFold)


# Searches

GRID = {"n_components": [1, 2]}


def searches(estimator, **settings):
    return {
        "grid": GridSearchCV(estimator, GRID, cv=3, **settings),
        "random": RandomizedSearchCV(estimator, GRID, n_iter=2, cv=3, random_state=0, **settings),
        "halving": HalvingGridSearchCV(estimator, GRID, cv=3, min_resources=60, random_state=0, **settings),
        "halving by epochs": HalvingGridSearchCV(
            estimator, GRID, cv=3, resource="max_iter", min_resources=3, max_resources=9, random_state=0, **settings
        ),
    }


kinds_of_search = pytest.mark.parametrize("kind", list(searches(None)))


@families
@kinds_of_search
def test_a_search_with_y_goes_by_accuracy(family, kind):
    search = searches(tiny(family))[kind].fit(X, Y)
    assert 0.3 < search.best_score_ <= 1
    assert search.score(X, Y) == accuracy_score(Y, search.predict(X))
    assert search.transform(X).shape == (150, search.best_params_["n_components"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@families
@kinds_of_search
def test_a_search_without_y_goes_by_the_likelihood_of_held_out_rows(family, kind):
    search = searches(tiny(family))[kind].fit(X)
    assert search.score(X) == pytest.approx(search.score_samples(X).mean())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.transform(X).shape == (150, search.best_params_["n_components"])
    assert not hasattr(search, "predict")
    assert not hasattr(search, "predict_proba")
    if kind == "grid":  # the scores are those of the folds
        for n_components, score in zip([1, 2], search.cv_results_["split0_test_score"], strict=True):
            train, test = next(KFold(3).split(X))
            assert tiny(family, n_components=n_components).fit(X[train]).score(X[test]) == pytest.approx(score)


@families
@pytest.mark.parametrize("kind", ["grid", "random", "halving"])
def test_a_search_over_a_regressor_goes_by_the_coefficient_of_determination(family, kind):
    search = searches(tiny(family, task="regression"))[kind].fit(X_VALUES, VALUES)
    assert search.score(X_VALUES, VALUES) == pytest.approx(r2_score(VALUES, search.predict(X_VALUES)))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert not hasattr(search, "predict_proba")


@families
def test_a_halving_search_without_y_chooses_its_resources_under_no_task(family):
    # With "exhaust" or "smallest" scikit-learn counts the classes of anything that is a classifier.
    search = HalvingGridSearchCV(tiny(family, task=None), GRID, cv=3, random_state=0).fit(X)
    assert np.isfinite(search.best_score_)
    assert search.transform(X).shape == (150, search.best_params_["n_components"])


@families
def test_no_task_ignores_y_in_a_search(family):
    with_y = GridSearchCV(tiny(family, task=None), GRID, cv=KFold(3)).fit(X, Y)
    without = GridSearchCV(tiny(family, task=None), GRID, cv=KFold(3)).fit(X)
    assert np.array_equal(with_y.cv_results_["mean_test_score"], without.cv_results_["mean_test_score"])
    assert not hasattr(with_y, "predict")


@families
def test_a_search_without_y_prefers_a_code_that_is_wide_enough(family):
    rows = np.random.default_rng(0).normal(size=(150, 3)) @ np.random.default_rng(1).normal(size=(3, 12))
    rows += 0.05 * np.random.default_rng(2).normal(size=rows.shape)
    estimator = tiny(family, max_iter=40, activation="tanh")
    search = GridSearchCV(estimator, {"n_components": [1, 3]}, cv=2).fit(rows)
    assert search.best_params_ == {"n_components": 3}


@families
def test_a_search_over_a_pipeline_finds_nested_parameters(family):
    pipe = Pipeline([("scale", StandardScaler()), ("encode", tiny(family)), ("classify", LogisticRegression())])
    grid = {"encode__n_components": [1, 2], "encode__task": ["classification", None], "classify__C": [1.0]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, Y)
    assert search.best_score_ > 0.5
    assert search.predict_proba(X).shape == (150, 3)


@families
def test_a_search_may_range_over_numpy_values(family):
    grid = {
        "activation": np.array(["relu", "tanh"]),
        "n_components": np.arange(1, 2),
        "learning_rate": np.array([0.1], dtype=np.float32),
        "early_stopping": np.array([False]),
    }
    search = GridSearchCV(tiny(family), grid, cv=2, error_score="raise").fit(X, Y)
    assert np.isfinite(search.best_score_)


@families
def test_a_score_over_no_labelled_row_is_undefined(family):
    estimator = tiny(family, unlabeled=-1).fit(X, np.where(np.arange(150) % 2, Y, -1))
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(estimator.score(X, np.full(150, -1)))


@families
@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_log_loss", ["accuracy", "f1_macro"]])
def test_scorers_work(family, scoring):
    results = cross_validate(tiny(family), X, Y, cv=2, scoring=scoring, error_score="raise")
    assert all(np.isfinite(scores).all() for scores in results.values())


def reasons(error):
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


@families
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_what_can_not_be_predicted_says_why(family, method):
    search = GridSearchCV(tiny(family), GRID, cv=2).fit(X)
    pipe = make_pipeline(StandardScaler(), tiny(family)).fit(X)
    for tool in (search, pipe, tiny(family).fit(X)):
        with pytest.raises(AttributeError) as caught:
            getattr(tool, method)
        assert any("fitted without y" in reason for reason in reasons(caught.value))
        assert method not in dir(tool) or tool is not search
    with pytest.raises(AttributeError) as caught:
        getattr(tiny(family, task=None).fit(X, Y), method)
    assert any("task=None" in reason for reason in reasons(caught.value))


@families
def test_a_regressor_has_no_classes_and_says_so(family):
    estimator = tiny(family, task="regression").fit(X_VALUES, VALUES)
    for method in ["predict_proba", "predict_log_proba"]:
        with pytest.raises(AttributeError) as caught:
            getattr(estimator, method)
        assert any("task='regression'" in reason for reason in reasons(caught.value))


@families
def test_what_can_be_predicted_is_seen_before_the_fit(family):
    assert hasattr(tiny(family), "predict_proba")
    assert hasattr(tiny(family, task="regression"), "predict")
    assert not hasattr(tiny(family, task="regression"), "predict_proba")
    assert not hasattr(tiny(family, task=None), "predict")


@families
def test_a_fit_without_y_after_one_with_y_can_not_predict(family):
    estimator = tiny(family).fit(X, Y)
    assert hasattr(estimator, "predict")
    estimator.fit(X)
    assert not hasattr(estimator, "predict")
    assert not hasattr(estimator, "classes_")
    assert estimator.score(X, Y) == pytest.approx(estimator.score_samples(X).mean())
    estimator.fit(X, Y)
    assert list(estimator.classes_) == [0, 1, 2]


# Cross-validation


@families
def test_cross_val_score_works_with_and_without_y(family):
    scores = cross_val_score(tiny(family), X, Y, cv=3)
    for (train, test), score in zip(StratifiedKFold(3).split(X, Y), scores, strict=True):
        assert score == tiny(family).fit(X[train], Y[train]).score(X[test], Y[test])
    scores = cross_val_score(tiny(family), X, cv=3)
    for (train, test), score in zip(KFold(3).split(X), scores, strict=True):
        assert score == pytest.approx(tiny(family).fit(X[train]).score(X[test]))
    assert cross_val_score(tiny(family, task="regression"), X_VALUES, VALUES, cv=2).shape == (2,)


@families
def test_cross_val_predict_works(family):
    labels = cross_val_predict(tiny(family), X, Y, cv=3)
    assert accuracy_score(Y, labels) > 0.5
    for method in ["predict_proba", "predict_log_proba"]:
        probabilities = cross_val_predict(tiny(family), X, Y, cv=3, method=method)
        assert np.array_equal(probabilities.argmax(1), labels)
    values = cross_val_predict(tiny(family, task="regression"), X_VALUES, VALUES, cv=3)
    assert values.shape == (150,)


@families
def test_cross_val_predict_without_y_says_why(family):
    with pytest.raises(AttributeError) as caught:
        cross_val_predict(tiny(family), X, cv=2)
    assert any("fitted without y" in reason for reason in reasons(caught.value))


@families
def test_unlabelled_rows_go_through_cross_validation(family):
    y = np.where(np.arange(150) % 3 == 0, -1, Y)
    scores = cross_val_score(tiny(family, unlabeled=-1), X, y, cv=3, error_score="raise")
    for (train, test), score in zip(StratifiedKFold(3).split(X, y), scores, strict=True):
        labeled = test[y[test] != -1]
        assert score == tiny(family, unlabeled=-1).fit(X[train], y[train]).score(X[labeled], y[labeled])


@families
def test_curves_are_drawn_with_and_without_y(family):
    for y in (Y, None):
        sizes, train, test = learning_curve(tiny(family), X, y, cv=2, train_sizes=[0.5, 1.0], error_score="raise")
        assert train.shape == test.shape == (2, 2)
        assert np.isfinite(test).all()
    _, test = validation_curve(tiny(family), X, Y, param_name="n_components", param_range=[1, 2], cv=2)
    assert np.isfinite(test).all()
    _, _, test = learning_curve(
        tiny(family), X, Y, cv=2, train_sizes=[0.5, 1.0], exploit_incremental_learning=True, error_score="raise"
    )
    assert np.isfinite(test).all()


# Unions and columns


@families
def test_codes_stand_beside_other_features(family):
    union = make_union(tiny(family), StandardScaler()).fit(X, Y)
    name = family.__name__.lower()
    assert list(union.get_feature_names_out(NAMES))[:2] == [f"{name}__{name}0", f"{name}__{name}1"]
    codes = tiny(family).fit(X, Y).transform(X)
    assert np.array_equal(union.transform(X), np.hstack([codes, StandardScaler().fit_transform(X)]))
    pipe = make_pipeline(
        FeatureUnion([("codes", tiny(family)), ("raw", "passthrough")]), LogisticRegression(max_iter=1000)
    )
    assert pipe.fit(X, Y).score(X, Y) > 0.9


@families
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_some_columns_are_encoded_by_name(family, library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(NAMES)})
    columns = ColumnTransformer([("petal", tiny(family), NAMES[2:]), ("sepal", "passthrough", NAMES[:2])])
    encoded = columns.fit_transform(frame, Y)
    assert encoded.shape == (150, 4)
    assert list(columns.named_transformers_["petal"].feature_names_in_) == NAMES[2:]
    expected = [f"petal__{name}" for name in feature_names(family)] + [f"sepal__{name}" for name in NAMES[:2]]
    assert list(columns.get_feature_names_out()) == expected
    columns.set_output(transform=library)
    assert list(columns.fit(frame, Y).transform(frame).columns) == expected


@families
def test_names_of_the_codes(family):
    estimator = tiny(family, n_components=3).fit(X)
    assert list(estimator.get_feature_names_out()) == feature_names(family, 3)
    assert list(estimator.get_feature_names_out(NAMES)) == feature_names(family, 3)
    pipe = make_pipeline(StandardScaler(), tiny(family)).fit(X)
    assert list(pipe.get_feature_names_out(NAMES)) == feature_names(family)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        tiny(family).get_feature_names_out()


@families
def test_codes_come_as_a_pandas_frame(family):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=NAMES, index=[f"flower {i}" for i in range(150)])
    estimator = tiny(family).set_output(transform="pandas")
    codes = estimator.fit_transform(frame, Y)
    assert list(codes.columns) == feature_names(family)
    assert list(codes.index) == list(frame.index)
    pd.testing.assert_frame_equal(codes, estimator.transform(frame))
    assert np.array_equal(
        codes.to_numpy(), clone(estimator).set_output(transform="default").fit(frame, Y).transform(frame)
    )
    with config_context(transform_output="pandas"):
        assert isinstance(tiny(family).fit(X).transform(X), pd.DataFrame)
    pipe = make_pipeline(StandardScaler(), tiny(family), LogisticRegression()).set_output(transform="pandas")
    assert list(pipe.fit(frame, Y)[-1].feature_names_in_) == feature_names(family)


@families
def test_codes_come_as_a_polars_frame(family):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(X, schema=NAMES)
    codes = tiny(family).set_output(transform="polars").fit_transform(frame, Y)
    assert isinstance(codes, pl.DataFrame)
    assert codes.columns == feature_names(family)
    assert codes.shape == (150, 2)


# Ensembles


@families
def test_stacks_of_classifiers_and_regressors_work(family):
    members = [("autoencoder", tiny(family)), ("linear", LogisticRegression(max_iter=1000))]
    stack = StackingClassifier(members, cv=2).fit(X, np.array(["a", "b", "c"])[Y])
    assert stack.score(X, np.array(["a", "b", "c"])[Y]) > 0.8
    assert stack.transform(X).shape == (150, 6)
    members = [("autoencoder", tiny(family, task="regression")), ("linear", Ridge())]
    stack = StackingRegressor(members, cv=2).fit(X_VALUES, VALUES)
    assert np.isfinite(stack.score(X_VALUES, VALUES))


@families
def test_votes_work(family):
    members = [("autoencoder", tiny(family)), ("linear", LogisticRegression(max_iter=1000))]
    for voting in ("soft", "hard"):
        assert VotingClassifier(members, voting=voting).fit(X, Y).score(X, Y) > 0.6
    members = [("autoencoder", tiny(family, task="regression")), ("linear", Ridge())]
    assert np.isfinite(VotingRegressor(members).fit(X_VALUES, VALUES).score(X_VALUES, VALUES))


@families
def test_bagging_works(family):
    bag = BaggingClassifier(tiny(family), n_estimators=3, max_samples=0.8, random_state=0).fit(X, Y)
    assert bag.score(X, Y) > 0.6
    bag = BaggingRegressor(tiny(family, task="regression"), n_estimators=2, random_state=0).fit(X_VALUES, VALUES)
    assert bag.predict(X_VALUES).shape == (150,)
    codes = [member.transform(X) for member in BaggingClassifier(tiny(family), 2, random_state=0).fit(X, Y).estimators_]
    assert not np.allclose(*codes)


@families
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_probabilities_can_be_calibrated(family, method):
    calibrated = CalibratedClassifierCV(tiny(family), method=method, cv=2).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    assert calibrated.score(X, Y) > 0.6


@families
def test_a_fitted_autoencoder_can_be_calibrated(family):
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator(tiny(family).fit(X[:100], Y[:100]))
    calibrated = CalibratedClassifierCV(frozen).fit(X[100:], Y[100:])
    assert calibrated.score(X, Y) > 0.5


@families
def test_other_tools_around_a_classifier_work(family):
    assert OneVsRestClassifier(tiny(family)).fit(X, Y).score(X, Y) > 0.5
    y = np.where(np.arange(150) % 2, Y, -1)
    assert SelfTrainingClassifier(tiny(family), max_iter=2).fit(X, y).predict(X).shape == (150,)
    chosen = SequentialFeatureSelector(tiny(family, max_iter=2), n_features_to_select=1, cv=2).fit(X, Y)
    assert chosen.get_support().sum() == 1
    scaled = TransformedTargetRegressor(tiny(family, task="regression"), func=np.log, inverse_func=np.exp)
    assert (scaled.fit(X_VALUES, VALUES).predict(X_VALUES) > 0).all()


# Inspection


@families
def test_columns_have_an_importance(family):
    rows = np.c_[X, np.random.default_rng(1).normal(size=150)]  # the last column tells nothing of the labels
    estimator = tiny(family, n_components=4, max_iter=30, learning_rate=0.05).fit(rows, Y)
    found = permutation_importance(estimator, rows, Y, n_repeats=3, random_state=0).importances_mean
    assert found.argmax() in (2, 3)  # the petals
    assert found.max() > 0.1 + found[4]
    found = permutation_importance(tiny(family).fit(X), X, None, n_repeats=2, random_state=0).importances_mean
    assert np.isfinite(found).all()
    dependence = partial_dependence(estimator, rows, [2], grid_resolution=5, response_method="predict_proba")
    assert np.isfinite(dependence["average"]).all()


# Copies


@families
def test_a_clone_has_the_parameters_and_no_more(family):
    estimator = tiny(family, hidden_layer_sizes=[16], random_state=3, callbacks=[], class_weight={0: 2.0})
    for original in (estimator, estimator.fit(X, Y)):
        copied = clone(original)
        assert copied.get_params() == original.get_params()
        assert set(vars(copied)) == set(copied.get_params())
    assert np.array_equal(clone(estimator).fit(X, Y).transform(X), estimator.transform(X))


@families
def test_a_fit_does_not_touch_the_parameters(family):
    estimator = family(random_state=0, max_iter=2)
    before = {name: repr(value) for name, value in estimator.get_params().items()}
    estimator.fit(X, Y)
    assert {name: repr(value) for name, value in estimator.get_params().items()} == before


def all_answers(estimator):
    answers = [estimator.transform(X), estimator.score_samples(X), estimator.inverse_transform(estimator.transform(X))]
    answers += [estimator.predict(X), estimator.predict_proba(X), estimator.sample(5, random_state=0)]
    return [answer.tobytes() for answer in answers]


@families
def test_a_deep_copy_and_a_pickle_are_the_same_estimator(family):
    estimator = tiny(family, batch_size=32, early_stopping=True).fit(X, Y)
    for copied in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        assert all_answers(copied) == all_answers(estimator)
        assert copied.history_.equals(estimator.history_)
        # It can go on as the original does, and the original does not move with it.
        before = all_answers(estimator)
        copied.partial_fit(X, Y)
        assert all_answers(estimator) == before
        assert all_answers(copied) == all_answers(copy.deepcopy(estimator).partial_fit(X, Y))


@families
def test_an_unfitted_estimator_can_be_pickled(family):
    estimator = pickle.loads(pickle.dumps(tiny(family)))
    assert np.array_equal(estimator.fit(X, Y).transform(X), tiny(family).fit(X, Y).transform(X))


LOAD_ELSEWHERE = """
import hashlib, json, pickle, sys
from pathlib import Path
import joblib
import numpy as np

folder = Path(sys.argv[1])
rows = np.load(folder / "rows.npy")
answers = {}
for path in sorted(folder.glob("*.p*kl")) + sorted(folder.glob("*.joblib")):
    estimator = joblib.load(path) if path.suffix == ".joblib" else pickle.loads(path.read_bytes())
    codes = estimator.transform(rows)
    parts = [codes, estimator.predict_proba(rows), estimator.score_samples(rows), estimator.sample(5, random_state=0)]
    answers[path.name] = [hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest() for part in parts]
print(json.dumps(answers))
"""


def digests(estimator):
    codes = estimator.transform(X)
    parts = [codes, estimator.predict_proba(X), estimator.score_samples(X), estimator.sample(5, random_state=0)]
    return [hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest() for part in parts]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What a second process finds in files of this one, and what it should find."""
    folder = tmp_path_factory.mktemp("estimators")
    np.save(folder / "rows.npy", X)
    expected = {}
    for family in FAMILIES:
        estimator = tiny(family, batch_size=32).fit(X, Y)
        (folder / f"{family.__name__}.pkl").write_bytes(pickle.dumps(estimator))
        joblib.dump(estimator, folder / f"{family.__name__}.joblib")
        expected |= {f"{family.__name__}{suffix}": digests(estimator) for suffix in (".pkl", ".joblib")}
    done = subprocess.run([sys.executable, "-c", LOAD_ELSEWHERE, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), expected


@families
@pytest.mark.parametrize("suffix", [".pkl", ".joblib"])
def test_a_file_gives_the_same_bits_in_another_process(family, suffix, elsewhere):
    found, expected = elsewhere
    assert found[f"{family.__name__}{suffix}"] == expected[f"{family.__name__}{suffix}"]


@families
def test_a_file_can_be_memory_mapped(family, tmp_path):
    estimator = tiny(family).fit(X, Y)
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    mapped = joblib.load(tmp_path / "estimator.joblib", mmap_mode="r")
    assert all_answers(mapped) == all_answers(estimator)
    mapped.save(tmp_path / "estimator.ae")
    assert all_answers(family.load(tmp_path / "estimator.ae")) == all_answers(estimator)
    mapped.to_onnx(tmp_path / "estimator.onnx")


@families
def test_a_diagram_and_a_representation_are_drawn(family):
    estimator = tiny(family)
    assert repr(estimator).startswith(f"{family.__name__}(")
    for state in (estimator, estimator.fit(X, Y)):
        assert family.__name__ in state._repr_html_()


# Two processes


def test_two_processes_find_what_one_finds():
    grid = {"n_components": [1, 2]}
    alone = GridSearchCV(tiny(RegularizedAutoencoder), grid, cv=2).fit(X, Y)
    together = GridSearchCV(tiny(RegularizedAutoencoder), grid, cv=2, n_jobs=2, error_score="raise").fit(X, Y)
    assert np.array_equal(alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"])
    scores = cross_val_score(tiny(VariationalAutoencoder), X, cv=2, n_jobs=2, error_score="raise")
    np.testing.assert_allclose(scores, cross_val_score(tiny(VariationalAutoencoder), X, cv=2), rtol=1e-9)
    scores = cross_val_score(tiny(AdversarialAutoencoder), X, Y, cv=2, n_jobs=2, error_score="raise")
    assert np.array_equal(scores, cross_val_score(tiny(AdversarialAutoencoder), X, Y, cv=2))


@families
def test_threads_do_not_disturb_each_other(family):
    def codes(seed):
        return tiny(family, batch_size=32, random_state=seed).fit(X, Y).transform(X)

    together = joblib.Parallel(n_jobs=4, backend="threading")(joblib.delayed(codes)(seed) for seed in [0, 1, 0, 1])
    for seed, found in zip([0, 1, 0, 1], together, strict=True):
        assert np.array_equal(found, codes(seed))


# Metadata

WEIGHT = np.where(Y == 0, 1.0, 0.0) + np.where(Y == 1, 2.0, 0.0) + 0.1


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


@families
@pytest.mark.usefixtures("routing")
def test_sample_weight_is_routed_where_it_was_asked_for(family):
    expected = tiny(family).fit(StandardScaler().fit_transform(X), Y, sample_weight=WEIGHT)
    asked = make_pipeline(
        StandardScaler().set_fit_request(sample_weight=False), tiny(family).set_fit_request(sample_weight=True)
    )
    codes = asked.fit(X, Y, sample_weight=WEIGHT).transform(X)
    assert np.array_equal(codes, expected.transform(StandardScaler().fit_transform(X)))
    assert not np.allclose(
        codes, tiny(family).fit(StandardScaler().fit_transform(X), Y).transform(StandardScaler().fit_transform(X))
    )
    refused = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), tiny(family))
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        refused.fit(X, Y, sample_weight=WEIGHT)


@families
@pytest.mark.usefixtures("routing")
def test_sample_weight_reaches_fits_and_scores_of_a_search(family):
    estimator = tiny(family).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(estimator, {"n_components": [2]}, cv=KFold(2), error_score="raise")
    found = search.fit(X, Y, sample_weight=WEIGHT).cv_results_["split0_test_score"][0]
    train, test = next(KFold(2).split(X))
    alone = tiny(family).fit(X[train], Y[train], sample_weight=WEIGHT[train])
    assert found == pytest.approx(alone.score(X[test], Y[test], sample_weight=WEIGHT[test]))
    assert np.array_equal(search.transform(X), tiny(family).fit(X, Y, sample_weight=WEIGHT).transform(X))


@families
@pytest.mark.usefixtures("routing")
def test_partial_fit_can_be_asked_to_take_classes_and_weights(family):
    estimator = tiny(family).set_partial_fit_request(classes=True, sample_weight=True)
    request = estimator.get_metadata_routing().partial_fit.requests
    assert request == {"classes": True, "sample_weight": True}


@families
@pytest.mark.usefixtures("routing")
def test_validation_rows_go_through_the_steps_before(family):
    train, valid = slice(0, 100), slice(100, 150)
    encoder = tiny(family, early_stopping=True, n_iter_no_change=2, max_iter=20).set_fit_request(X_val=True, y_val=True)
    pipe = Pipeline([("scale", StandardScaler()), ("encode", encoder)], transform_input=["X_val"])
    pipe.fit(X[train], Y[train], X_val=X[valid], y_val=Y[valid])
    scaler = StandardScaler().fit(X[train])
    alone = clone(encoder).fit(scaler.transform(X[train]), Y[train], X_val=scaler.transform(X[valid]), y_val=Y[valid])
    assert np.array_equal(pipe.transform(X), alone.transform(scaler.transform(X)))
    assert list(pipe[-1].history_["valid_loss"]) == list(alone.history_["valid_loss"])
    unscaled = clone(encoder).fit(scaler.transform(X[train]), Y[train], X_val=X[valid], y_val=Y[valid])
    assert list(unscaled.history_["valid_loss"]) != list(alone.history_["valid_loss"])
