"""Estimators that fit an autoencoder and use it for one purpose."""

from abc import ABC, abstractmethod
from typing import Any

from sklearn.base import clone
from sklearn.utils import Tags

from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.estimators.inputs import check_random
from sklearn_ae.estimators.saved import Saved
from sklearn_ae.estimators.watching import CallbackSupportMixin
from sklearn_ae.estimators.watching import fit_inside as fit_inside


class AroundAutoencoder(CallbackSupportMixin, Saved, ABC):
    """An estimator with an autoencoder inside: ``estimator``, or a default one, fitted as ``estimator_``."""

    estimator: BaseAutoencoder | None
    random_state: Any
    estimator_: BaseAutoencoder

    @abstractmethod
    def _default(self) -> BaseAutoencoder:
        """Return the autoencoder that ``estimator=None`` stands for."""

    def _autoencoder(self) -> BaseAutoencoder:
        """Return the autoencoder to be fitted; a seed of its own comes before that of this estimator."""
        estimator = self._default() if self.estimator is None else clone(self.estimator)
        if estimator.random_state is None:
            estimator.set_params(random_state=self.random_state)
        return estimator

    def _check(self) -> None:
        """Raise unless the parameters are valid."""
        if not (self.estimator is None or isinstance(self.estimator, BaseAutoencoder)):
            raise TypeError(f"estimator must be an autoencoder or None, got {self.estimator!r}")
        check_random(self.random_state)

    @property
    def n_features_in_(self) -> int:
        """Number of columns seen in ``fit``."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """Names of the columns, if all are strings."""
        return self.estimator_.feature_names_in_

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags
