"""The target that y is learned as: classes or values, of one column or of several, or no target."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from sklearn_ae.model.labels import check_labeled, columns_of
from sklearn_ae.model.multi_output import MultiOutputTarget, classes_of_columns
from sklearn_ae.model.targets import ClassTarget, NoTarget, ValueTarget
from sklearn_ae.model.targets import Target as Target

TARGETS: dict[str, type[ClassTarget] | type[ValueTarget]] = {"classification": ClassTarget, "regression": ValueTarget}


def target_of(y: NDArray | None, weight: NDArray | None, task: str | None, unlabeled: Any, class_weight: Any) -> Target:
    """Return the target that y is learned as, under the parameters of an estimator."""
    if y is None or task is None:
        return NoTarget()
    check_labeled(y, unlabeled)
    learn = TARGETS[task].learn
    if y.ndim == 1:
        return learn(y, weight, unlabeled, class_weight)
    return MultiOutputTarget([learn(column, weight, unlabeled, class_weight) for column in columns_of(y)])


def partial_target(
    y: NDArray | None,
    weight: NDArray | None,
    classes: ArrayLike | None,
    task: str | None,
    unlabeled: Any,
    class_weight: Any,
) -> Target:
    """Return the target of the first call of ``partial_fit``, which needs all classes that y may hold later."""
    if task != "classification" or (y is None and classes is None):
        return target_of(y, weight, task, unlabeled, class_weight)
    if classes is None:
        raise ValueError("the first call of partial_fit with y needs classes, all labels that may come")
    if y is None or y.ndim == 1:
        return ClassTarget.of(classes, y, unlabeled, class_weight)
    columns = zip(classes_of_columns(classes, y.shape[1]), columns_of(y), strict=True)
    return MultiOutputTarget([ClassTarget.of(own, column, unlabeled, class_weight) for own, column in columns])
