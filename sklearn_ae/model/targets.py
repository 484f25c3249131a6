"""Targets: classes, values, or no target."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from math import inf, log, nan
from numbers import Real
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, r2_score
from torch import Tensor

from sklearn_ae.model.labels import check_classes, check_label_kind, check_labels, is_unlabeled
from sklearn_ae.objectives import terms
from sklearn_ae.objectives.terms import Term
from sklearn_ae.tables.containers import with_nan
from sklearn_ae.tables.scaler import FAR
from sklearn_ae.tables.sources import as_tensor
from sklearn_ae.warning import warn

Outputs: TypeAlias = NDArray | Tensor

NO_HEAD = "y must be None after a fit without y, got a class or value: fit with y to generate rows of it"
NO_CLASSES = "task must be 'classification' for probabilities of classes, and y given to fit"
NO_TARGET = "y must be given to fit before it can be predicted, got a fit without y"
FARTHEST = 100.0  # bound of requested values, in standard deviations of y: larger squares overflow


class Target(ABC):
    """The meaning of y: its encoding for the module, and predictions in the user's terms.

    Attributes
    ----------
    terms : mapping of str to Term
        Terms that the target adds to the loss.
    n_outputs : int
        Number of outputs of the head, 0 without a head.
    n_columns : int
        Number of columns of y.
    classes : ndarray of shape (n_classes,) or None
        Labels, sorted.
    """

    n_columns = 1
    terms: Mapping[str, Term]
    n_outputs: int
    classes: NDArray | None = None

    @property
    def kind(self) -> Hashable:
        """Key of the targets with which fits may be trained as one stack."""
        return type(self)

    @abstractmethod
    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[NDArray | None, NDArray[np.float64] | None]:
        """Return the encoded target and the weight of each row in its loss, each (n,); 0 for unlabelled rows."""

    @abstractmethod
    def is_labeled(self, y: NDArray) -> NDArray[np.bool_]:
        """Return a mask of the labelled rows, (n,)."""

    @abstractmethod
    def strata(self, y: NDArray) -> NDArray | None:
        """Return the strata of a split into training and validation rows, (n,), or None."""

    @abstractmethod
    def pooled(self, outputs: Tensor) -> Tensor:
        """(n, n_members, n_outputs) -> (n, n_outputs): outputs of several heads as those of one."""

    @abstractmethod
    def predict(self, outputs: Outputs) -> Any:
        """(n, n_outputs) -> (n,): predictions from outputs of the head, a tensor for a tensor if it can hold them."""

    def log_probabilities(self, outputs: Outputs) -> Any:
        """(n, n_classes) -> (n, n_classes): log-probabilities of classes from outputs of the head."""
        raise ValueError(NO_CLASSES)

    def labels(self, y: NDArray) -> Any:
        """Return the labels of the labelled rows."""
        return y[self.is_labeled(y)]

    def check_same_classes(self, labels: Any) -> None:
        """Raise unless the unique labels are the classes, if there are any."""
        return

    @abstractmethod
    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the accuracy or the coefficient of determination on labelled rows."""

    @abstractmethod
    def requested(self, y: ArrayLike, n: int) -> NDArray:
        """Return the encoded target of n rows to be generated, (n,), from a label or value, or n of them."""


class NoTarget(Target):
    """A fit without y."""

    terms = MappingProxyType({})
    n_outputs = 0

    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[None, None]:
        """Return None twice."""
        if y is not None:
            raise ValueError("the estimator was fitted without y, so that it has no head to train: fit it anew with y")
        return None, None

    def is_labeled(self, y: NDArray) -> NDArray[np.bool_]:
        """Return a mask of False: labels have no meaning."""
        return np.zeros(len(y), dtype=bool)

    def strata(self, y: NDArray) -> None:
        """Return None: there is nothing to stratify by."""

    def pooled(self, outputs: Tensor) -> Tensor:
        """Raise: there is no head."""
        raise ValueError(NO_TARGET)

    def predict(self, outputs: Outputs) -> Any:
        """Raise: there is no head."""
        raise ValueError(NO_TARGET)

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Raise: there is no head."""
        raise ValueError(NO_TARGET)

    def requested(self, y: ArrayLike, n: int) -> NDArray:
        """Raise: there is no head."""
        raise ValueError(NO_HEAD)


class ClassTarget(Target):
    """Classes; some rows may be unlabelled.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    unlabeled : scalar or None
        Value of y that marks unlabelled rows.
    class_weight : dict, "balanced" or None
        Weights of the classes in the loss.
    """

    terms = MappingProxyType({"target": terms.class_target})
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
        check_labels(labels, unlabeled)
        return cls(np.unique(labels), unlabeled, class_weight).checked()

    @classmethod
    def of(cls, classes: ArrayLike, y: NDArray | None, unlabeled: Any, class_weight: Any) -> Self:
        """Return the target of given classes, of which y may lack some."""
        if class_weight == "balanced":
            raise ValueError("partial_fit can't know the balance of the classes: give class_weight as a dict")
        if y is not None and not is_unlabeled(y, unlabeled).all():
            check_labels(y[~is_unlabeled(y, unlabeled)], unlabeled)
        return cls(check_classes(classes), unlabeled, class_weight).checked()

    def checked(self) -> Self:
        """Return the target itself; raise if ``class_weight`` has other classes or invalid weights."""
        if isinstance(self.class_weight, dict):
            unknown = [label for label in self.class_weight if label not in self.classes]
            wrong = {label: weight for label, weight in self.class_weight.items() if not _is_weight(weight)}
            if unknown or wrong:
                raise ValueError(
                    f"class_weight must give classes of {self.classes.tolist()} weights of at least 0, got "
                    f"class_weight={self.class_weight!r}"
                )
        return self

    def is_labeled(self, y: NDArray) -> NDArray[np.bool_]:
        """Return a mask of the labelled rows, (n,)."""
        return ~is_unlabeled(y, self.unlabeled)

    def strata(self, y: NDArray) -> NDArray[np.int64]:
        """Return class indices, -1 for unlabelled rows."""
        index, _ = self.encode(y, np.ones(len(y)))
        return np.where(is_unlabeled(y, self.unlabeled), -1, index)

    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return class indices and weights, each (n,). Without y all rows are unlabelled."""
        if y is None:
            return np.zeros(len(weight), dtype=np.int64), np.zeros(len(weight))
        _check_one_column(y)
        labeled = ~is_unlabeled(y, self.unlabeled)
        labels = y[labeled]
        try:
            unknown = np.setdiff1d(labels, self.classes)
        except TypeError as error:  # they can't be compared with the classes
            some, got = self.classes[:5].tolist(), labels[:5].tolist()
            raise TypeError(f"y must hold labels such as {some}, got {got}") from error
        if len(unknown):
            raise ValueError(f"y must hold labels of {self.classes.tolist()} only, got {unknown.tolist()}")
        index, encoded_weight = np.zeros(len(y), dtype=np.int64), np.zeros(len(y))
        index[labeled] = np.searchsorted(self.classes, labels)
        class_weight = self._class_weights(index[labeled], weight[labeled])
        encoded_weight[labeled] = weight[labeled] * class_weight[index[labeled]]
        return index, encoded_weight

    def _class_weights(self, index: NDArray[np.int64], weight: NDArray) -> NDArray[np.float64]:
        """Return the weight of each class, (n_classes,)."""
        if self.class_weight is None:
            return np.ones(self.n_outputs)
        if isinstance(self.class_weight, dict):
            return np.array([self.class_weight.get(label, 1.0) for label in self.classes.tolist()])
        size = np.bincount(index, weights=weight, minlength=self.n_outputs)
        share = size / size.sum() if size.any() else size
        return np.divide(1.0, share * np.count_nonzero(size), out=np.ones(self.n_outputs), where=size > 0)

    def pooled(self, outputs: Tensor) -> Tensor:
        """(n, n_members, n_classes) logits -> (n, n_classes): logarithms of mean probabilities."""
        return outputs.log_softmax(2).logsumexp(1) - log(outputs.shape[1])

    def predict(self, outputs: Outputs) -> Any:
        """(n, n_classes) logits -> (n,) labels."""
        index = outputs.argmax(1)
        if isinstance(index, np.ndarray):
            return self.classes[index]
        if self.classes.dtype.kind not in "bif":  # torch can't hold them, or not index them
            return self.classes[index.cpu().numpy()]
        return as_tensor(self.classes).to(index.device)[index]

    def log_probabilities(self, outputs: Outputs) -> Outputs:
        """(n, n_classes) logits -> (n, n_classes) log-probabilities."""
        logarithms = as_tensor(outputs).log_softmax(1)
        # A probability that rounds to 1 has the logarithm 0, so that both agree in single precision as well.
        logarithms.masked_fill_(logarithms.exp() == 1, 0)
        return logarithms if isinstance(outputs, Tensor) else logarithms.numpy()

    def check_same_classes(self, labels: Any) -> None:
        """Raise unless the unique labels are the classes."""
        if not np.array_equal(np.unique(labels), self.classes):
            found = np.unique(labels).tolist()
            raise ValueError(f"classes must stay {self.classes.tolist()} in a continued fit, got {found}")

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the accuracy on labelled rows."""
        y, prediction, weight = _labeled(y, prediction, weight, self.unlabeled)
        if not len(y):
            return nan
        check_label_kind(np.tile(y, 2), "y")  # and so does the metric
        try:
            return float(accuracy_score(y, prediction, sample_weight=weight))
        except (TypeError, ValueError) as error:
            raise ValueError(f"y must hold labels such as {self.classes.tolist()}, got {y[:5].tolist()}") from error

    def requested(self, y: ArrayLike, n: int) -> NDArray[np.int64]:
        """Return the class indices of n rows to be generated, (n,), from a label or n labels."""
        given = np.asarray(with_nan(y))
        wanted = np.broadcast_to(given, n) if given.ndim == 0 else given
        labels = (label if isinstance(label, Hashable) else repr(label) for label in wanted.ravel().tolist())
        unknown = set(labels) - set(self.classes.tolist())
        if wanted.shape != (n,) or unknown:
            raise ValueError(
                f"y must be a class or hold n_samples={n} of the classes {self.classes.tolist()}, got "
                f"{sorted(unknown, key=str) or f'shape {wanted.shape}'}"
            )
        return np.searchsorted(self.classes, wanted)


class ValueTarget(Target):
    """Real values; some rows may be unlabelled.

    Parameters
    ----------
    location, spread : float
        A value ``v`` is encoded as ``(v - location) / spread``.
    unlabeled : float or None
        Value of y that marks unlabelled rows.
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

    def encode(self, y: NDArray | None, weight: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return standardised values and weights, each (n,). Without y all rows are unlabelled."""
        if y is None:
            return np.zeros(len(weight)), np.zeros(len(weight))
        _check_one_column(y)
        labeled = ~is_unlabeled(y, self.unlabeled)
        encoded = np.zeros(len(y))
        encoded[labeled] = (_numbers(y[labeled]) - self.location) / self.spread
        return encoded, labeled * weight

    def is_labeled(self, y: NDArray) -> NDArray[np.bool_]:
        """Return a mask of the labelled rows, (n,)."""
        return ~is_unlabeled(y, self.unlabeled)

    def strata(self, y: NDArray) -> None:
        """Return None: values are not stratified."""

    def pooled(self, outputs: Tensor) -> Tensor:
        """(n, n_members, 1) -> (n, 1): mean outputs."""
        return outputs.mean(1)

    @property
    def needs_double(self) -> bool:
        """Whether single precision can't tell the values apart, far from 0, or can't hold them."""
        smallest, largest = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
        return abs(self.location) > FAR * self.spread or not FAR * smallest <= self.spread <= largest / FAR

    def predict(self, outputs: Outputs) -> Any:
        """(n, 1) outputs -> (n,) values, in the precision of the outputs if that is enough."""
        outputs = outputs[:, 0]
        if self.needs_double:
            outputs = outputs.double() if isinstance(outputs, Tensor) else outputs.astype(np.float64)
        return outputs * self.spread + self.location

    def score(self, y: NDArray, prediction: NDArray, weight: NDArray | None) -> float:
        """Return the coefficient of determination on labelled rows."""
        y, prediction, weight = _labeled(y, prediction, weight, self.unlabeled)
        if not len(y):
            return nan
        return float(r2_score(_numbers(y), prediction, sample_weight=weight))

    def requested(self, y: ArrayLike, n: int) -> NDArray[np.float64]:
        """Return the encoded values of n rows to be generated, (n,), from a value or n values.

        Values beyond ``FARTHEST`` standard deviations are taken as that: no code has them.
        """
        given = np.asarray(with_nan(y))
        values = np.broadcast_to(given, n) if given.ndim == 0 else given
        if values.shape != (n,):
            raise ValueError(f"y must be a value or hold n_samples={n} of them, got shape {values.shape}")
        return ((_numbers(values) - self.location) / self.spread).clip(-FARTHEST, FARTHEST)


def _labeled(
    y: NDArray, prediction: NDArray, weight: NDArray | None, unlabeled: Any
) -> tuple[NDArray, NDArray, NDArray | None]:
    """Return targets, predictions and weights of the labelled rows; warn if there are none."""
    _check_one_column(y)
    labeled = ~is_unlabeled(y, unlabeled)
    if not labeled.any():
        warn("no row of y has a label: the score is not defined", UndefinedMetricWarning)
    return y[labeled], prediction[labeled], None if weight is None else weight[labeled]


def _check_one_column(y: NDArray) -> None:
    if y.ndim != 1:
        raise ValueError(f"y must have one column, as in the fit, got shape {y.shape}")


def _is_weight(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < inf


def _numbers(y: NDArray) -> NDArray[np.float64]:
    try:
        numbers = y.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"with task='regression' y must hold numbers, got dtype {y.dtype}: {error}") from error
    if y.dtype.kind in "mMc" or not np.isfinite(numbers).all():
        raise ValueError(f"with task='regression' y must hold finite numbers, got dtype {y.dtype}: {y[:3]!r}, ...")
    return numbers
