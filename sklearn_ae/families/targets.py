"""What y means: classes, values, or nothing."""

import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from sklearn_ae.objectives import terms
from sklearn_ae.objectives.terms import Term


class NoTarget:
    """There is no y: nothing is predicted."""

    n_outputs: ClassVar[int] = 0
    terms: ClassVar[dict[str, Term]] = {}


class ClassTarget:
    """A class for each row, some of them perhaps unknown.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    unlabeled : scalar or None
        The label that marks a row without one.
    class_weight : dict, "balanced" or None
        Weights of the classes in the cost of the target.
    """

    terms: ClassVar[dict[str, Term]] = {"target": terms.class_target}

    def __init__(self, classes: NDArray, unlabeled: Any = None, class_weight: Any = None) -> None:
        self.classes = classes
        self.unlabeled = unlabeled
        self.class_weight = class_weight

    @classmethod
    def fit(cls, y: NDArray, weight: NDArray | None, unlabeled: Any, class_weight: Any) -> "ClassTarget":
        """Learn the classes."""
        labeled = ~is_unlabeled(y, unlabeled)
        _check_labels(y, labeled, unlabeled)
        return cls(np.unique(y[labeled]), unlabeled, class_weight)

    @property
    def n_outputs(self) -> int:
        """Number of raw outputs of the head."""
        return len(self.classes)

    def encode(self, y: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return class indices and how much each row counts, 0 where it has no label, each (n,)."""
        labeled = ~is_unlabeled(y, self.unlabeled)
        unknown = np.setdiff1d(y[labeled], self.classes)
        if len(unknown):
            raise ValueError(f"y must hold labels of {list(self.classes)} only, however it holds {list(unknown)}")
        index = np.zeros(len(y), dtype=np.int64)
        index[labeled] = np.searchsorted(self.classes, y[labeled])
        weight = labeled.astype(np.float64)
        if self.class_weight is not None and labeled.any():
            present = np.unique(y[labeled])
            weights = compute_class_weight(_restricted(self.class_weight, present), classes=present, y=y[labeled])
            weight[labeled] = weights[np.searchsorted(present, y[labeled])]
        return index, weight

    def predict(self, outputs: NDArray) -> NDArray:
        """(n, n_classes) raw outputs -> (n,) labels."""
        return self.classes[outputs.argmax(1)]

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the accuracy."""
        return float(accuracy_score(y, prediction, sample_weight=weight))


class ValueTarget:
    """A number for each row, some of them perhaps unknown.

    Parameters
    ----------
    location, spread : float
        A value ``v`` is learned as ``(v - location) / spread``.
    unlabeled : float or None
        The value that marks a row without one.
    """

    n_outputs: ClassVar[int] = 1
    terms: ClassVar[dict[str, Term]] = {"target": terms.value_target}

    def __init__(self, location: float, spread: float, unlabeled: float | None = None) -> None:
        self.location = location
        self.spread = spread
        self.unlabeled = unlabeled

    @classmethod
    def fit(cls, y: NDArray, weight: NDArray | None, unlabeled: Any, class_weight: Any) -> "ValueTarget":
        """Learn location and spread."""
        if class_weight is not None:
            raise ValueError(f"class_weight must be None with task='regression', however: {class_weight!r}")
        y = _numbers(y, unlabeled)
        labeled = ~is_unlabeled(y, unlabeled)
        known, weight = y[labeled], None if weight is None else weight[labeled]
        location = float(np.average(known, weights=weight))
        spread = float(np.sqrt(np.average(np.square(known - location), weights=weight)))
        return cls(location, spread if spread > 0 else 1.0, unlabeled)

    def encode(self, y: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return standardised values and how much each row counts, 0 where it has none, each (n,)."""
        y = _numbers(y, self.unlabeled)
        labeled = ~is_unlabeled(y, self.unlabeled)
        return np.where(labeled, (y - self.location) / self.spread, 0.0), labeled.astype(np.float64)

    def predict(self, outputs: NDArray) -> NDArray:
        """(n, 1) raw outputs -> (n,) values."""
        return outputs[:, 0] * self.spread + self.location

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the coefficient of determination."""
        return float(r2_score(y, prediction, sample_weight=weight))


TARGETS = {"classification": ClassTarget, "regression": ValueTarget}
Target = NoTarget | ClassTarget | ValueTarget


def check_target(y: ArrayLike, unlabeled: Any) -> NDArray:
    """Return y as an array of shape (n,) whose labelled rows are known and finite."""
    y = column_or_1d(y, warn=True)
    labeled = ~is_unlabeled(y, unlabeled)
    if not labeled.any():
        raise ValueError(f"y must hold at least one labelled sample, however all {len(y)} are {unlabeled!r}")
    check_array(y[labeled], ensure_2d=False, dtype=None, input_name="y")
    if unlabeled is not None and labeled.all():
        warnings.warn(
            f"unlabeled={unlabeled!r}, however no row of y is: a meta-estimator may have encoded the labels",
            stacklevel=2,
        )
    return y


def is_unlabeled(y: NDArray, marker: Any) -> NDArray[np.bool_]:
    """Return which rows of y hold the marker, (n,); NaN may be one."""
    if marker is None:
        return np.zeros(len(y), dtype=bool)
    if isinstance(marker, float) and np.isnan(marker):
        return y != y  # noqa: PLR0124 - holds for NaN only, in arrays of objects as well
    return np.broadcast_to(np.asarray(y == marker, dtype=bool), y.shape)


def _check_labels(y: NDArray, labeled: NDArray[np.bool_], unlabeled: Any) -> None:
    kind = type_of_target(y[labeled], input_name="y")
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"Unknown label type: {kind}. With task='classification' y must hold classes; set task='regression' to "
            "predict values, or task=None to ignore y"
        )
    labels = np.unique(y[labeled])
    if unlabeled is None and labels.dtype.kind == "i" and len(labels) > 2 and -1 in labels:
        warnings.warn("y holds the label -1, taken as a class; set unlabeled=-1 if it marks unlabelled rows", stacklevel=2)


def _restricted(class_weight: Any, present: NDArray) -> Any:
    """Weights of absent classes say nothing about these rows."""
    if not isinstance(class_weight, dict):
        return class_weight
    return {label: weight for label, weight in class_weight.items() if label in present}


def _numbers(y: NDArray, unlabeled: Any) -> NDArray[np.float64]:
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"with task='regression' y must hold numbers, however: dtype {y.dtype}") from error
