"""The course of a fit: check the input, learn columns and target, write the recipe, train."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ae.estimators import continuing
from sklearn_ae.estimators.choosing import Samples, n_components_of
from sklearn_ae.estimators.inputs import Schema, TableLike, check_samples
from sklearn_ae.estimators.planning import course_of, monitored, n_bins_of, n_labeled, problem_of, stops_early
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.learned_target import Target, partial_target, target_of
from sklearn_ae.model.model import Model
from sklearn_ae.model.training import Watch, fit_encoding, train, unwatched


def fitted_model(
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    X: TableLike,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    X_val: TableLike | None,
    y_val: ArrayLike | None,
    watch: Watch = unwatched,
) -> Model:
    """Return the model of a fit to a table.

    Parameters
    ----------
    estimator : AutoencoderState
        The parameters; its ``n_features_in_`` and ``feature_names_in_`` are set or checked.
    last : AutoencoderState or None
        The fit that this one continues.
    X, y, sample_weight, X_val, y_val : array-like or None
        As for ``fit``.
    watch : callable, optional
        Context manager of the training.
    """
    continuing.check_parameters_of(estimator, last)
    samples, schema = check_samples(estimator, X, y, sample_weight, last)
    samples = samples.with_positive_weight()
    if last is None:
        target = target_of(samples.y, samples.weight, estimator.task, estimator.unlabeled, estimator.class_weight)
    else:
        target = last.model_.target
        continuing.check_same_target(target, samples.y)
    random = continuing.generator_of(estimator, last)
    stops = stops_early(estimator, target, samples, schema.layout)
    validation: Samples | None = None
    if X_val is None and y_val is not None:
        raise ValueError("y_val needs X_val, the rows that it belongs to, got X_val=None")
    if X_val is not None:
        validation, _ = check_samples(estimator, X_val, y_val, None, last, schema)
    elif stops:
        strata = None if samples.y is None else target.strata(samples.y)
        samples, validation = samples.split(estimator.validation_fraction, strata, random)
    monitor = monitored(target, validation) if stops and validation is not None else None
    n_rows = n_labeled(target, samples.y)
    return _trained(estimator, last, (samples, validation), schema, target, random, n_rows, watch, monitor=monitor)


def partially_fitted_model(
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    X: TableLike,
    y: ArrayLike | None,
    classes: ArrayLike | None,
    sample_weight: ArrayLike | None,
    watch: Watch = unwatched,
) -> Model:
    """Return the model after one epoch on some rows; parameters as for ``fitted_model`` and ``partial_fit``."""
    continuing.check_parameters_of(estimator, last)
    samples, schema = check_samples(estimator, X, y, sample_weight, last)
    samples = samples.with_positive_weight()
    if last is None:
        target = partial_target(
            samples.y, samples.weight, classes, estimator.task, estimator.unlabeled, estimator.class_weight
        )
    else:
        target = last.model_.target
    if classes is not None:
        target.check_same_classes(classes)
    random = continuing.generator_of(estimator, last)
    n_rows = 0  # quantiles of these rows need not be those of later ones
    course = {"max_epochs": 1, "schedule": "constant"}
    return _trained(estimator, last, (samples, None), schema, target, random, n_rows, watch, **course)


def _trained(
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    split: tuple[Samples, Samples | None],
    schema: Schema,
    target: Target,
    random: np.random.RandomState,
    n_rows_for_bins: int,
    watch: Watch,
    **course: Any,
) -> Model:
    """Fit the encoding, write the recipe and train."""
    samples, _ = split
    encoding = fit_encoding(schema, samples, estimator.scale) if last is None else last.model_.encoding
    n_bins = n_bins_of(estimator, last, encoding.layout.n_scaled, n_rows_for_bins)
    problem_with = partial(problem_of, estimator, encoding, target, samples.X.shape[0], n_bins)
    settings = course_of(estimator, last, problem_with(1), samples.X.dtype, **course)
    problem = problem_with(n_components_of(estimator, last, problem_with(1), encoding, samples, settings, random))
    return train(
        [estimator.recipe(problem) for _ in range(estimator.n_members)],
        problem,
        encoding,
        split,
        settings,
        random,
        estimator.handle_unknown,
        None if last is None else partial(continuing.load_state, estimator=estimator, last=last),
        watch,
    )
