"""The number of components of a fit: as given, or chosen from the training rows."""

import copy
from dataclasses import replace
from numbers import Integral

import numpy as np

from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.problem import Problem
from sklearn_ae.model.recipe import Course
from sklearn_ae.model.samples import Encoding
from sklearn_ae.model.samples import Samples as Samples
from sklearn_ae.model.sizes import size_by_hidden_cells
from sklearn_ae.model.variance import size_by_variance


def with_components(
    problem: Problem,
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    encoding: Encoding,
    samples: Samples,
    course: Course,
    random: np.random.RandomState,
) -> Problem:
    """Return the problem with the number of components of the fit; a continued fit keeps that of the last one.

    The generator is not advanced, so that the fit equals one with the chosen number.
    """
    given, random = estimator.n_components, copy.deepcopy(random)
    if isinstance(given, Integral):
        return problem
    if last is not None:
        return replace(problem, n_components=last.n_components_)
    if isinstance(given, str):
        return replace(problem, n_components=size_by_hidden_cells(samples, problem, encoding, course, random))
    return replace(problem, n_components=size_by_variance(samples, encoding, float(given), random))
