"""The number of components of a fit: as given, or chosen from the training rows."""

import copy
from numbers import Integral

import numpy as np

from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.problem import Problem
from sklearn_ae.model.recipe import Course
from sklearn_ae.model.samples import Encoding
from sklearn_ae.model.samples import Samples as Samples
from sklearn_ae.model.sizes import size_by_hidden_cells
from sklearn_ae.model.variance import size_by_variance


def n_components_of(
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    problem: Problem,
    encoding: Encoding,
    samples: Samples,
    course: Course,
    random: np.random.RandomState,
) -> int:
    """Return the number of components of a fit; a continued fit keeps that of the last one.

    Parameters
    ----------
    estimator : AutoencoderState
        The parameters.
    last : AutoencoderState or None
        The fit that is continued.
    problem : Problem
        The problem of the fit with any number of components.
    encoding : Encoding
        Fitted columns and scaling.
    samples : Samples
        Training rows.
    course : Course
        Settings of the training.
    random : RandomState
        Generator of the fit. It is not advanced, so that the fit equals one with the chosen number.
    """
    if last is not None:
        return last.n_components_
    given = estimator.n_components
    if isinstance(given, Integral):
        return int(given)
    random = copy.deepcopy(random)
    if isinstance(given, str):
        return size_by_hidden_cells(samples, problem, encoding, course, random)
    return size_by_variance(samples, encoding, float(given), random)
