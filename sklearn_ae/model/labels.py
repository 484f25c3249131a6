"""Labels and values of y, checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from sklearn_ae.tables.containers import missing_cells, with_nan
from sklearn_ae.tables.frames import is_frame
from sklearn_ae.warning import warn

# In scikit-learn's words.
COLUMN = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), for "
    "example using ravel()"
)
MANY_CLASSES = 50  # number of numeric classes from which on y probably holds values


def check_target(y: Any, unlabeled: Any, name: str = "y") -> NDArray:
    """Return y as an array, (n,) or (n, n_columns), finite where it is labelled, with NaN for missing values."""
    y = y.toarray() if issparse(y) else y
    y = with_nan(y) if isinstance(y, np.ma.MaskedArray | torch.Tensor) else y
    n_dimensions = y.ndim if hasattr(y, "ndim") else _array_of(y, name).ndim
    if n_dimensions == 0:
        raise TypeError(f"{name} must hold a label or value for each row, got {y!r}")
    if n_dimensions == 2 and np.shape(y)[1] > 1:
        columns = _frame_columns(y) if is_frame(y) else columns_of(np.asarray(with_nan(y)))
        return side_by_side([check_target(column, unlabeled, name) for column in columns])
    checked: NDArray = with_nan(column_or_1d(y))
    if n_dimensions > 1:
        warn(COLUMN, DataConversionWarning)
    labels = checked[~is_unlabeled(checked, unlabeled)]
    if labels.dtype == object and (labels != labels).any():  # noqa: PLR0124 - holds for NaN only
        raise ValueError(f"Input {name} contains NaN. Set unlabeled=float('nan') if it marks rows without a label")
    if len(labels):
        check_array(labels, ensure_2d=False, dtype=None, input_name=name)
    return checked


def _array_of(y: Any, name: str) -> NDArray:
    try:
        return np.asarray(y)
    except ValueError as error:
        raise ValueError(f"{name} must have as many columns in each row, got rows of different lengths") from error


def _frame_columns(y: Any) -> list[Any]:
    """Return the columns of a DataFrame with their own dtypes."""
    return [_safe_indexing(y, position, axis=1) for position in range(y.shape[1])]


def side_by_side(columns: Sequence[NDArray]) -> NDArray:
    """Return columns as one array, (n, n_columns), of objects if they are of several kinds: numbers stay numbers."""
    same = len({column.dtype.kind for column in columns}) == 1
    return np.stack(columns if same else [column.astype(object) for column in columns], 1)


def columns_of(y: NDArray) -> list[NDArray]:
    """Return the columns of an array, those of numbers of one type in the dtype of the numbers."""
    return [_narrowed(column) if y.dtype == object else column for column in y.T]


def _narrowed(column: NDArray) -> NDArray:
    kinds = {type(value) for value in column.tolist()}
    return np.array(column.tolist()) if len(kinds) == 1 and kinds <= {bool, int, float} else column


def check_classes(classes: ArrayLike) -> NDArray:
    """Return the unique classes, sorted."""
    if np.asarray(classes).ndim != 1 or not len(np.asarray(classes)):
        raise ValueError(f"classes must hold all labels that may come, in one dimension, got {classes!r}")
    checked = check_target(classes, None, "classes")
    check_label_kind(np.tile(checked, 2), "classes")  # scikit-learn 1.6 warns of labels that are all different
    return np.unique(checked)


def check_labeled(y: NDArray, unlabeled: Any) -> None:
    """Raise if no row of a column has a label; warn if no row has the marker of unlabelled rows."""
    labeled = ~is_unlabeled(y, unlabeled)
    if not labeled.any():
        raise ValueError(f"y must hold at least one labelled sample, got {len(y)} times {unlabeled!r}")
    if not labeled.any(0).all():
        empty = np.flatnonzero(~labeled.any(0)).tolist()
        raise ValueError(f"each column of y must hold at least one labelled sample, got none in columns {empty}")
    if unlabeled is not None and labeled.all():
        warn(
            f"unlabeled must be a value of y, got {unlabeled!r}, which no row of it is: a meta-estimator may have "
            "encoded the labels"
        )


def is_unlabeled(y: NDArray, marker: Any) -> NDArray[np.bool_]:
    """Return a mask of the rows of y that equal the marker, (n,); NaN is a valid marker."""
    if marker is None:
        return np.zeros(len(y), dtype=bool)
    if missing_cells(np.array([marker], dtype=object))[0]:
        return y != y  # noqa: PLR0124 - holds for NaN only, in arrays of objects as well
    return np.broadcast_to(np.asarray(y == marker, dtype=bool), y.shape)


def check_label_kind(labels: NDArray, name: str) -> NDArray:
    """Return the unique labels, sorted; raise if they are no class labels."""
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


def check_labels(labels: NDArray, unlabeled: Any) -> None:
    """Raise if labels are not those of classes; warn if they look like values or a marker of unlabelled rows."""
    distinct = check_label_kind(labels, "y")
    if unlabeled is None and distinct.dtype.kind == "i" and len(distinct) > 2 and -1 in distinct:
        warn("y holds a class -1; set unlabeled=-1 if it marks rows without a label")
    if distinct.dtype.kind in "iuf" and len(distinct) > max(MANY_CLASSES, len(labels) / 10):
        warn(f"y holds {len(distinct)} different numbers, taken as classes; set task='regression' if they are values")


def _distinct(labels: NDArray, name: str) -> NDArray:
    """Return the unique labels, sorted."""
    try:
        return np.unique(labels)
    except TypeError as error:  # they can't be compared
        types = sorted({type(label).__name__ for label in labels.tolist()})
        raise TypeError(
            f"{name} must hold labels of one type, numbers or strings, got {' and '.join(types)}"
        ) from error
