"""Rows, their targets and their weights, as the user gave them and checked."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_array, check_consistent_length

from sklearn_ae.tables.containers import with_nan
from sklearn_ae.tables.sources import Selected, Source


class Samples(NamedTuple):
    """Checked input of a fit."""

    X: Source | csr_matrix  # (n, d)
    y: NDArray | None = None  # (n,)
    weight: NDArray[np.float64] | None = None  # (n,)

    def take(self, index: NDArray) -> Self:
        """Return some of the rows, without a copy of a dense table."""
        X = self.X[index] if issparse(self.X) else Selected(self.X, index)
        y, weight = (column if column is None else column[index] for column in self[1:])
        return type(self)(X, y, weight)

    def of_positive_weight(self) -> Self:
        """Leave out rows of weight 0, so that they mean nothing at all."""
        return self if self.weight is None or self.weight.all() else self.take(np.flatnonzero(self.weight))

    def split(self, fraction: float, strata: NDArray | None, random: np.random.RandomState) -> tuple[Self, Self]:
        """Set a share of the rows aside: shuffled, and stratified where every stratum has rows enough."""
        n = self.X.shape[0]
        if n < 2:
            raise ValueError(f"early_stopping=True needs at least 2 rows, got {n}. Give X_val, or more rows")
        n_aside = min(n - 1, max(1, round(fraction * n)))
        if strata is not None:
            _, counts = np.unique(strata, return_counts=True)
            if counts.min() < 2 or len(counts) > min(n_aside, n - n_aside):
                strata = None
        kept, aside = train_test_split(np.arange(n), test_size=n_aside, stratify=strata, random_state=random)
        return self.take(kept), self.take(aside)


def check_weight(sample_weight: ArrayLike | None, X: ArrayLike) -> NDArray[np.float64] | None:
    """Return the weights of the rows of X as an array of shape (n,), or None where there are none."""
    if sample_weight is None:
        return None
    sample_weight = with_nan(sample_weight)  # a masked weight is no weight
    if np.ndim(np.asarray(sample_weight)) != 1:
        raise ValueError(f"sample_weight must be 1-dimensional, got shape {np.shape(np.asarray(sample_weight))}")
    if np.asarray(sample_weight).dtype.kind in "mM":
        raise TypeError(f"sample_weight must hold numbers, got times ({np.asarray(sample_weight).dtype})")
    try:
        weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"sample_weight must hold finite numbers, got: {error}") from error
    check_consistent_length(X, weight)
    if (weight < 0).any():
        raise ValueError(f"sample_weight must not be negative, got {weight.min():g}")
    if not weight.any():
        raise ValueError("sample_weight must hold a non-zero value, got zeros only")
    return weight


def of_mean_one(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights whose mean over the rows that count is 1."""
    counting = weight > 0
    return weight / weight[counting].mean() if counting.any() else weight
