"""The choice of a code size by how well hidden cells of validation rows are predicted."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_ae.model.recipe import Course, Problem
from sklearn_ae.model.samples import Encoding, Samples, with_mean_one
from sklearn_ae.model.targets import NoTarget
from sklearn_ae.model.trials import Batch, Rows, hidden_cell_scores

LARGEST = 64  # candidate
ROWS_PER_DIMENSION = 5  # of the largest candidate, at least
MAX_ROWS = 2_000  # that the trials see
MAX_CELLS = 1 << 24  # of these rows
VALIDATION_FRACTION = 0.25  # of these rows
TOLERANCE = 0.03  # of the improvement over an empty code


def size_by_hidden_cells(
    samples: Samples, problem: Problem, encoding: Encoding, course: Course, random: np.random.RandomState
) -> int:
    """Return the smallest code size that predicts hidden cells of validation rows about as well as the best one.

    The likelihood of a cell that is part of the encoded row hardly penalises large codes, which can copy the row. A
    hidden cell has to be predicted from what it has in common with others, so that dimensions beyond that do not help.

    Parameters
    ----------
    samples : Samples
        Training rows; their target is not used.
    problem : Problem
        The problem of the fit; its number of components is not used.
    encoding : Encoding
        Fitted columns and scaling.
    course : Course
        Settings of the fit.
    random : RandomState
        Generator of the trials.
    """
    n_cells = encoding.layout.n_cells
    sizes = candidates(n_cells, samples.X.shape[0])
    if len(sizes) == 1:
        return sizes[0]
    some = samples.drawn(min(MAX_ROWS, max(100, MAX_CELLS // n_cells)), random)
    train, validation = some.split(VALIDATION_FRACTION, None, random)
    train_rows, validation_rows = (_rows(part, encoding, course) for part in (train, validation))
    problem, seed = replace(problem, target=NoTarget()), random.randint(2**31 - 1)
    scores = hidden_cell_scores([0, *sizes], problem, train_rows, validation_rows, course, seed)
    return max(1, [0, *sizes][smallest_sufficient(scores, validation.weight)])


def candidates(n_cells: int, n_rows: int) -> list[int]:
    """Return powers of two up to the largest size: the least of 64, the columns minus 1, and a fifth of the rows."""
    largest = max(1, min(LARGEST, n_cells - 1, n_rows // ROWS_PER_DIMENSION))
    return [*(2**i for i in range(largest.bit_length()) if 2**i < largest), largest]


def smallest_sufficient(scores: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> int:
    """Return the index of the smallest code size that scores about as well as the best one.

    Its mean score must be below the best one by at most one standard error of the difference (Hastie et al. 2009,
    section 7.10), or at most 3 % of the improvement of the best one over an empty code.

    Parameters
    ----------
    scores : ndarray of shape (n_sizes, n)
        Scores of n rows: with an empty code, then with codes of increasing size.
    weight : ndarray of shape (n,), optional
        Weights of the rows.
    """
    means = np.average(scores, axis=1, weights=weight)
    best = int(np.argmax(means))
    error = (scores[best] - scores).std(1) / np.sqrt(scores.shape[1])
    tolerance = np.maximum(error, TOLERANCE * (means[best] - means[0]))
    return int(np.argmax(means[best] - means <= tolerance))


def _rows(samples: Samples, encoding: Encoding, course: Course) -> Rows:
    x, observed = encoding.encode(samples.X, course.dtype, course.device)
    weight = None if samples.weight is None else torch.from_numpy(with_mean_one(samples.weight)).to(x)
    return Rows(Batch(x, weight=weight, observed=observed))
