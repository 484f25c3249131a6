"""Several targets of a row: multilabel and multi-output y."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from math import nan
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import UndefinedMetricWarning
from torch import Tensor

from sklearn_ae.model.labels import columns_of, side_by_side
from sklearn_ae.model.targets import ClassTarget, Outputs, Target, ValueTarget
from sklearn_ae.objectives.terms import Term, mean_over_outputs
from sklearn_ae.tables.containers import with_nan
from sklearn_ae.warning import warn


class MultiOutputTarget(Target):
    """Several outputs, each with classes or values of its own; some labels may be missing.

    Parameters
    ----------
    parts : sequence of ClassTarget or of ValueTarget
        The target of each column of y, all of one kind.
    """

    def __init__(self, parts: Sequence[ClassTarget | ValueTarget]) -> None:
        self.parts = tuple(parts)
        self.n_columns = len(self.parts)
        self.widths = [part.n_outputs for part in parts]
        self.n_outputs = sum(self.widths)

    @property
    def kind(self) -> Hashable:
        """Key of the targets with which fits may be trained as one stack."""
        return type(self), type(self.parts[0]), *self.widths

    @property
    def terms(self) -> Mapping[str, Term]:  # type: ignore[override]
        """The mean over the outputs of their losses."""
        of_one = self.parts[0].terms["target"]
        return {"target": partial(mean_over_outputs, term=of_one, widths=tuple(self.widths))}

    @property
    def classes(self) -> list[NDArray] | None:  # type: ignore[override]
        """Sorted labels of each output, or None if the outputs are values."""
        return [part.classes for part in self.parts if part.classes is not None] or None

    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[NDArray, NDArray[np.float64]]:
        """Return the encoded outputs and the weights of the labels, each (n, n_columns)."""
        columns: Any = [None] * self.n_columns if y is None else self._columns(y)
        encoded = [part.encode(column, weight) for part, column in zip(self.parts, columns, strict=True)]
        values, weights = zip(*encoded, strict=True)
        return np.stack(values, 1), np.stack(weights, 1)

    def is_labeled(self, y: NDArray) -> NDArray[np.bool_]:
        """Return a mask of the rows with at least one label, (n,)."""
        labeled: NDArray[np.bool_] = np.asarray(self._are_labeled(y).any(1))
        return labeled

    def strata(self, y: NDArray) -> NDArray | None:
        """Return an index of the combination of classes, (n,), or None for values."""
        if self.classes is None:
            return None
        strata: Any = [part.strata(column) for part, column in zip(self.parts, self._columns(y), strict=True)]
        _, index = np.unique(np.stack(strata, 1), axis=0, return_inverse=True)
        return index.reshape(-1)

    def pooled(self, outputs: Tensor) -> Tensor:
        """(n, n_members, n_outputs) -> (n, n_outputs): outputs of several heads as those of one."""
        parts = zip(self.parts, outputs.split(self.widths, -1), strict=True)
        return torch.cat([part.pooled(of_part) for part, of_part in parts], 1)

    def predict(self, outputs: Outputs) -> Any:
        """(n, n_outputs) -> (n, n_columns): predictions."""
        columns = [part.predict(of_part) for part, of_part in zip(self.parts, self._split(outputs), strict=True)]
        if all(isinstance(column, Tensor) for column in columns) and len({column.dtype for column in columns}) == 1:
            return torch.stack(columns, 1)
        return side_by_side([with_nan(column) for column in columns])

    def log_probabilities(self, outputs: Outputs) -> list[Outputs]:
        """Return the log-probabilities of the classes of each output, each (n, n_classes)."""
        parts = zip(self.parts, self._split(outputs), strict=True)
        return [part.log_probabilities(of_part) for part, of_part in parts]

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the share of rows of which all labels are right, or the mean coefficient of determination."""
        labeled = self._are_labeled(y)
        if not labeled.any():
            warn("no row of y has a label: the score is not defined", UndefinedMetricWarning)
            return nan
        of_parts = [
            part.score(column[known], predicted[known], None if weight is None else weight[known])
            for part, column, predicted, known in zip(
                self.parts, self._columns(y), columns_of(prediction), labeled.T, strict=True
            )
            if known.any()
        ]
        if self.classes is None:
            return float(np.mean(of_parts))
        known = labeled.any(1)
        right: Any = (np.asarray(y == prediction) | ~labeled)[known].all(1)
        return float(np.average(right, weights=None if weight is None else weight[known]))

    def requested(self, y: ArrayLike, n: int) -> NDArray:
        """Raise: rows are not generated given several outputs."""
        raise ValueError(
            "y must be None after a fit to several outputs, got y: fit to one output to generate rows of it"
        )

    def labels(self, y: NDArray) -> list[NDArray]:
        """Return the labels of each output."""
        return [part.labels(column) for part, column in zip(self.parts, self._columns(y), strict=True)]

    def check_same_classes(self, labels: Any) -> None:
        """Raise unless the unique labels of each output are its classes."""
        for part, of_part in zip(self.parts, classes_of_columns(labels, self.n_columns), strict=True):
            part.check_same_classes(of_part)

    def _are_labeled(self, y: NDArray) -> NDArray[np.bool_]:
        parts = zip(self.parts, self._columns(y), strict=True)
        return np.stack([part.is_labeled(column) for part, column in parts], 1)

    def _columns(self, y: NDArray) -> list[NDArray]:
        if y.ndim != 2 or y.shape[1] != self.n_columns:
            raise ValueError(f"y must have {self.n_columns} columns, as in the fit, got shape {y.shape}")
        return columns_of(y)

    def _split(self, outputs: Outputs) -> list[Outputs]:
        stops = np.cumsum(self.widths).tolist()
        return [outputs[:, stop - width : stop] for width, stop in zip(self.widths, stops, strict=True)]


def classes_of_columns(classes: Any, n_columns: int) -> list[NDArray]:
    """Return the labels of each column of y; raise unless there are as many sequences of labels as columns."""
    is_list = isinstance(classes, Sequence | np.ndarray) and len(classes) == n_columns
    if not is_list or any(np.ndim(of_column) != 1 for of_column in classes):
        raise ValueError(f"classes must be a list with the labels of each of {n_columns} columns of y, got {classes!r}")
    return [np.asarray(of_column) for of_column in classes]
