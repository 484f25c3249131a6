"""What y means: classes, values, or nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from sklearn_ae.families.parameters import Number
from sklearn_ae.objectives import terms
from sklearn_ae.objectives.terms import Term
from sklearn_ae.tables.containers import missing_cells, with_nan
from sklearn_ae.warning import warn

# In scikit-learn's words.
COLUMN = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), for "
    "example using ravel()"
)
MANY_CLASSES = 50  # numbers in y beyond which one may have meant values


class Target(ABC):
    """What y means to the module and to the user."""

    terms: ClassVar[Mapping[str, Term]]  # its cost
    dtype: ClassVar[type] = np.float64  # of the encoded target
    n_outputs: int  # raw outputs of the head
    classes: NDArray | None = None

    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[NDArray | None, NDArray[np.float64] | None]:
        """Return the target as numbers and how much each row counts, each (n,). Without y no row has a label."""
        if y is None:
            return np.zeros(len(weight), dtype=self.dtype), np.zeros(len(weight))
        return self._encode(y, weight)

    @abstractmethod
    def _encode(self, y: NDArray, weight: NDArray) -> tuple[NDArray, NDArray[np.float64]]: ...

    def strata(self, y: NDArray) -> NDArray | None:
        """Return what a split should keep the shares of, (n,), or None."""
        return None

    @abstractmethod
    def predict(self, outputs: NDArray) -> NDArray:
        """(n, n_outputs) raw outputs -> (n,) predictions."""

    @abstractmethod
    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return how good predictions of labelled rows are."""


class NoTarget(Target):
    """There is no y: nothing is predicted."""

    terms = MappingProxyType({})
    n_outputs = 0

    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[None, None]:
        """Return nothing."""
        if y is not None:
            raise ValueError("the estimator was fitted without y, so that it has no head to train: fit it anew with y")
        return None, None

    def _encode(self, y: NDArray, weight: NDArray) -> tuple[NDArray, NDArray[np.float64]]:
        raise AssertionError("there is no y")

    def predict(self, outputs: NDArray) -> NDArray:
        """Never called: ``predict`` is not available."""
        raise AssertionError("there is nothing to predict")

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Never called: ``score`` is the likelihood."""
        raise AssertionError("there is nothing to predict")


class ClassTarget(Target):
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

    terms = MappingProxyType({"target": terms.class_target})
    dtype = np.int64
    classes: NDArray

    def __init__(self, classes: NDArray, unlabeled: Any = None, class_weight: Any = None) -> None:
        self.classes = classes
        self.n_outputs = len(classes)
        self.unlabeled = unlabeled
        self.class_weight = class_weight

    @classmethod
    def learn(cls, y: NDArray, weight: NDArray | None, unlabeled: Any, class_weight: Any) -> Self:
        """Learn the classes."""
        labels = y[~is_unlabeled(y, unlabeled)]
        _check_labels(labels, unlabeled)
        return cls(np.unique(labels), unlabeled, class_weight).checked()

    @classmethod
    def of(cls, classes: ArrayLike, y: NDArray | None, unlabeled: Any, class_weight: Any) -> Self:
        """Take classes that were announced, whatever of them y holds."""
        if class_weight == "balanced":
            raise ValueError("partial_fit can't know the balance of the classes: give class_weight as a dict")
        if y is not None and not is_unlabeled(y, unlabeled).all():
            _check_labels(y[~is_unlabeled(y, unlabeled)], unlabeled)
        return cls(check_classes(classes), unlabeled, class_weight).checked()

    def checked(self) -> Self:
        """Return the target itself if the class weights are ones of its classes."""
        if isinstance(self.class_weight, dict):
            unknown = [label for label in self.class_weight if label not in self.classes]
            wrong = {label: weight for label, weight in self.class_weight.items() if not Number(0).admits(weight)}
            if unknown or wrong:
                raise ValueError(
                    f"class_weight must give classes of {self.classes.tolist()} weights of at least 0, got "
                    f"class_weight={self.class_weight!r}"
                )
        return self

    def strata(self, y: NDArray) -> NDArray[np.int64]:
        """Return class indices, -1 for unlabelled rows."""
        index, _ = self._encode(y, np.ones(len(y)))
        return np.where(is_unlabeled(y, self.unlabeled), -1, index)

    def _encode(self, y: NDArray, weight: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        labeled = ~is_unlabeled(y, self.unlabeled)
        labels = y[labeled]
        try:
            unknown = np.setdiff1d(labels, self.classes)
        except TypeError as error:  # they can't be compared with the classes
            some, got = self.classes[:5].tolist(), labels[:5].tolist()
            raise TypeError(f"y must hold labels such as {some}, got {got}") from error
        if len(unknown):
            raise ValueError(f"y must hold labels of {self.classes.tolist()} only, got {unknown.tolist()}")
        index, counts = np.zeros(len(y), dtype=np.int64), np.zeros(len(y))
        index[labeled] = np.searchsorted(self.classes, labels)
        counts[labeled] = weight[labeled] * self._weight_of_class(index[labeled], weight[labeled])[index[labeled]]
        return index, counts

    def _weight_of_class(self, index: NDArray[np.int64], weight: NDArray) -> NDArray[np.float64]:
        """Return the weight of each class, (n_classes,); classes of equal weighted size are what "balanced" makes."""
        if self.class_weight is None:
            return np.ones(self.n_outputs)
        if isinstance(self.class_weight, dict):
            return np.array([self.class_weight.get(label, 1.0) for label in self.classes.tolist()])
        size = np.bincount(index, weights=weight, minlength=self.n_outputs)
        share = size / size.sum() if size.any() else size
        return np.divide(1.0, share * np.count_nonzero(size), out=np.ones(self.n_outputs), where=size > 0)

    def predict(self, outputs: NDArray) -> NDArray:
        """(n, n_classes) raw outputs -> (n,) labels."""
        return self.classes[outputs.argmax(1)]

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the accuracy."""
        _check_kind(np.tile(y, 2), "y")  # and so does the metric
        try:
            return float(accuracy_score(y, prediction, sample_weight=weight))
        except (TypeError, ValueError) as error:
            raise ValueError(f"y must hold labels such as {self.classes.tolist()}, got {y[:5].tolist()}") from error


class ValueTarget(Target):
    """A number for each row, some of them perhaps unknown.

    Parameters
    ----------
    location, spread : float
        A value ``v`` is learned as ``(v - location) / spread``.
    unlabeled : float or None
        The value that marks a row without one.
    """

    terms = MappingProxyType({"target": terms.value_target})
    n_outputs = 1

    def __init__(self, location: float, spread: float, unlabeled: float | None = None) -> None:
        self.location = location
        self.spread = spread
        self.unlabeled = unlabeled

    @classmethod
    def learn(cls, y: NDArray, weight: NDArray | None, unlabeled: Any, class_weight: Any) -> Self:
        """Learn location and spread."""
        if class_weight is not None:
            raise ValueError(f"class_weight must be None with task='regression', got {class_weight!r}")
        labeled = ~is_unlabeled(y, unlabeled)
        values, weight = _numbers(y[labeled]), None if weight is None else weight[labeled]
        with np.errstate(over="ignore", invalid="ignore"):
            location = float(np.average(values, weights=weight))
            spread = float(np.sqrt(np.average(np.square(values - location), weights=weight)))
        if not np.isfinite(spread):
            raise ValueError(f"y must have a finite variance, got values up to {np.abs(values).max():g}")
        return cls(location, spread if spread > 0 else 1.0, unlabeled)

    def _encode(self, y: NDArray, weight: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        labeled = ~is_unlabeled(y, self.unlabeled)
        encoded = np.zeros(len(y))
        encoded[labeled] = (_numbers(y[labeled]) - self.location) / self.spread
        return encoded, labeled * weight

    def predict(self, outputs: NDArray) -> NDArray:
        """(n, 1) raw outputs -> (n,) values."""
        return outputs[:, 0] * self.spread + self.location

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the coefficient of determination."""
        return float(r2_score(_numbers(y), prediction, sample_weight=weight))


TARGETS: dict[str, type[ClassTarget] | type[ValueTarget]] = {"classification": ClassTarget, "regression": ValueTarget}


def check_target(y: ArrayLike, unlabeled: Any, name: str = "y") -> NDArray:
    """Return y as an array of shape (n,) whose labelled rows are finite; what is missing in it is NaN."""
    y = with_nan(y) if isinstance(y, np.ma.MaskedArray) else y
    n_dimensions = y.ndim if hasattr(y, "ndim") else np.asarray(y).ndim
    if n_dimensions == 0:
        raise TypeError(f"{name} must hold a label or value for each row, got {y!r}")
    checked: NDArray = with_nan(column_or_1d(y))
    if n_dimensions > 1:
        warn(COLUMN, DataConversionWarning)
    labels = checked[~is_unlabeled(checked, unlabeled)]
    if labels.dtype == object and (labels != labels).any():  # noqa: PLR0124 - holds for NaN only
        raise ValueError(f"Input {name} contains NaN. Set unlabeled=float('nan') if it marks rows without a label")
    if len(labels):
        check_array(labels, ensure_2d=False, dtype=None, input_name=name)
    return checked


def check_classes(classes: ArrayLike) -> NDArray:
    """Return the classes that were announced, sorted, each once."""
    if np.asarray(classes).ndim != 1 or not len(np.asarray(classes)):
        raise ValueError(f"classes must hold all labels that may come, in one dimension, got {classes!r}")
    checked = check_target(classes, None, "classes")
    _check_kind(np.tile(checked, 2), "classes")  # scikit-learn 1.6 warns of labels that are all different
    return np.unique(checked)


def check_labeled(y: NDArray, unlabeled: Any) -> None:
    """Raise if no row has a label; warn if the marker of unlabelled rows is never used."""
    labeled = ~is_unlabeled(y, unlabeled)
    if not labeled.any():
        raise ValueError(f"y must hold at least one labelled sample, got {len(y)} times {unlabeled!r}")
    if unlabeled is not None and labeled.all():
        warn(
            f"unlabeled must be a value of y, got {unlabeled!r}, which no row of it is: a meta-estimator may have "
            "encoded the labels"
        )


def is_unlabeled(y: NDArray, marker: Any) -> NDArray[np.bool_]:
    """Return which rows of y hold the marker, (n,); NaN may be one."""
    if marker is None:
        return np.zeros(len(y), dtype=bool)
    if missing_cells(np.array([marker], dtype=object))[0]:
        return y != y  # noqa: PLR0124 - holds for NaN only, in arrays of objects as well
    return np.broadcast_to(np.asarray(y == marker, dtype=bool), y.shape)


def _check_kind(labels: NDArray, name: str) -> NDArray:
    """Return the labels that occur, sorted, if they are ones of classes."""
    distinct = _distinct(labels, name)
    try:
        kind = type_of_target(labels, input_name=name)
    except TypeError as error:  # they are bytes
        raise TypeError(f"{name} must hold labels of numbers or strings, got {labels.tolist()[0]!r}") from error
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"Unknown label type: {kind}. With task='classification' {name} must hold classes; set task='regression' "
            "to predict values, or task=None to ignore y"
        )
    return distinct


def _check_labels(labels: NDArray, unlabeled: Any) -> None:
    distinct = _check_kind(labels, "y")
    if unlabeled is None and distinct.dtype.kind == "i" and len(distinct) > 2 and -1 in distinct:
        warn("y holds a class -1; set unlabeled=-1 if it marks rows without a label")
    if distinct.dtype.kind in "iuf" and len(distinct) > max(MANY_CLASSES, len(labels) / 10):
        warn(f"y holds {len(distinct)} different numbers, taken as classes; set task='regression' if they are values")


def _distinct(labels: NDArray, name: str) -> NDArray:
    """Return the labels that occur, sorted."""
    try:
        return np.unique(labels)
    except TypeError as error:  # they can't be compared
        types = sorted({type(label).__name__ for label in labels.tolist()})
        raise TypeError(
            f"{name} must hold labels of one type, numbers or strings, got {' and '.join(types)}"
        ) from error


def _numbers(y: NDArray) -> NDArray[np.float64]:
    try:
        numbers = y.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"with task='regression' y must hold numbers, got dtype {y.dtype}: {error}") from error
    if y.dtype.kind in "mMc" or not np.isfinite(numbers).all():
        raise ValueError(f"with task='regression' y must hold finite numbers, got dtype {y.dtype}: {y[:3]!r}, ...")
    return numbers
