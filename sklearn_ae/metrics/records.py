"""Copies of training rows, and the distance of rows to the closest training row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked

MEMORY = 64  # MiB of distances at a time
MISMATCH = 2.0  # squared distance of two one-hot categories; that of two standardised numbers has this expectation


def row_numbers(tables: Sequence[NDArray]) -> list[NDArray[np.int64]]:
    """Return an integer for each row of several tables, (n, d) -> (n,): equal for rows that are equal in all cells."""
    import pandas as pd

    cells = np.concatenate(tables)
    numbers = np.zeros(len(cells), np.int64)
    for column in cells.T:
        codes, values = pd.factorize(column, use_na_sentinel=False)
        numbers, _ = pd.factorize(numbers * len(values) + codes)
    return np.split(numbers, np.cumsum([len(table) for table in tables])[:-1])


def share_of_copies(rows: NDArray, training: NDArray) -> float:
    """Return the share of rows that equal a training row in all cells, missing ones included."""
    numbers, training_numbers = row_numbers([rows, training])
    return float(np.isin(numbers, training_numbers).mean())


def distance_to_closest(rows: NDArray, training: NDArray, discrete: NDArray[np.bool_]) -> float:
    """Return the median distance of rows to the closest training row.

    It is the Euclidean distance of standardised numbers and one-hot categories. A missing number is the mean and has
    an indicator of 1; a missing category is a category of its own. The squared distance of two different categories is
    2, the expectation of that of two numbers, or of a number and a missing one.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Cells of the rows.
    training : ndarray of shape (n_training, d)
        Cells of the training rows. They are the scale of numbers.
    discrete : ndarray of shape (d,)
        Which columns hold category codes.

    Returns
    -------
    distance : float
        The median.
    """
    codes, training_codes = (np.nan_to_num(cells[:, discrete], nan=-1.0) for cells in (rows, training))

    def smallest(squared: NDArray, start: int) -> NDArray:
        block = codes[start : start + len(squared)]
        for one, other in zip(block.T, training_codes.T, strict=True):
            np.add(squared, MISMATCH, out=squared, where=one[:, None] != other)
        return squared.min(axis=1)

    numbers = _standardised(rows[:, ~discrete], training[:, ~discrete])
    blocks = pairwise_distances_chunked(*numbers, reduce_func=smallest, metric="sqeuclidean", working_memory=MEMORY)
    return float(np.median(np.sqrt(np.concatenate(list(blocks)))))


def _standardised(rows: NDArray, training: NDArray) -> list[NDArray]:
    """Return standardised numbers and indicators of missing ones, of both tables, (n, 2 d + 1)."""
    known = ~np.isnan(training)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, training, 0.0).sum(axis=0) / count
    scale = np.sqrt(np.where(known, (training - mean) ** 2, 0.0).sum(axis=0) / count)
    scale[scale == 0] = 1.0
    # The column of zeros is for tables without numbers: a table of distances needs a column.
    return [
        np.hstack([np.nan_to_num((cells - mean) / scale, nan=0.0), np.isnan(cells), np.zeros((len(cells), 1))])
        for cells in (rows, training)
    ]
