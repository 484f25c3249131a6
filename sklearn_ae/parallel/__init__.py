"""The joblib backend that trains fits in stacks, here or on the workers of an executor."""

from sklearn_ae.parallel.ray import RayExecutor
from sklearn_ae.parallel.stacking import StackingBackend

__all__ = ["RayExecutor", "StackingBackend"]
