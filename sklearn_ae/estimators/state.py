"""The state of an autoencoder: parameters, recipe and fitted attributes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import metaestimators

from sklearn_ae.estimators.saved import Saved
from sklearn_ae.estimators.settings import Settings
from sklearn_ae.model.model import Model
from sklearn_ae.model.problem import Problem
from sklearn_ae.model.recipe import Recipe
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.training.net import AutoencoderNet

if TYPE_CHECKING:
    import pandas as pd

Method = TypeVar("Method", bound=Callable[..., Any])


class AutoencoderState(Settings, Saved, BaseEstimator, ABC):
    """The state of an autoencoder: its parameters, its recipe, and attributes that are read from the fitted model.

    Attributes
    ----------
    model_ : Model
        What the fit has produced.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    """

    model_: Model
    n_features_in_: int
    feature_names_in_: NDArray

    @abstractmethod
    def recipe(self, problem: Problem) -> Recipe:
        """Return module, phases, optimizers and inference for a problem.

        Parameters
        ----------
        problem : Problem
            Columns, target and network; its methods build autoencoders and phases.

        Returns
        -------
        recipe : Recipe
            A new module, and what is done with it.
        """

    @property
    def net_(self) -> AutoencoderNet:
        """The skorch net."""
        return self.as_fitted().model_.net

    @property
    def module_(self) -> Autoencoder:
        """The trained PyTorch module."""
        return self.net_.module_

    @property
    def device_(self) -> torch.device:
        """Device of the module."""
        return torch.device(self.net_.device)

    @property
    def classes_(self) -> Any:
        """Class labels; for several outputs a list with those of each."""
        classes = self.as_fitted().model_.target.classes
        if classes is None:
            raise AttributeError(f"this {type(self).__name__} was not fitted to classes: there is no classes_")
        return classes

    @property
    def n_iter_(self) -> int:
        """Epochs of the last call of ``fit`` or ``partial_fit``."""
        return len(self.net_.history) - self.net_.first_epoch_

    @property
    def loss_curve_(self) -> list[float]:
        """Training loss of each epoch."""
        return list(self.net_.history[:, "train_loss"])

    @property
    def loss_(self) -> float:
        """Training loss of the last epoch."""
        return self.loss_curve_[-1]

    @property
    def history_(self) -> "pd.DataFrame":
        """One row per epoch: its terms, ``train_loss``, and ``valid_...`` if there were validation rows."""
        import pandas as pd

        history = pd.DataFrame([dict(epoch) for epoch in self.net_.history]).set_index("epoch")
        left_out = ("batches", "_batch_count", "_loss_best")  # used by callbacks
        kept = [name for name in history.columns if not name.endswith(left_out)]
        return history[kept].rename(columns={"dur": "seconds"})

    @property
    def n_components_(self) -> int:
        """Dimensions of the code, as given or as chosen by the fit."""
        return self.as_fitted().model_.n_components

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


def has_head(estimator: AutoencoderState) -> bool:
    """Return True if the estimator can predict; before a fit by its parameters, so that tools can see it."""
    name, fitted = type(estimator).__name__, estimator.as_fitted()
    if fitted.task is None:
        raise AttributeError(f"this {name} has task=None: there is nothing to predict")
    if hasattr(fitted, "model_") and not fitted.model_.target.n_outputs:
        raise AttributeError(f"this {name} was fitted without y: there is nothing to predict")
    return True


def has_classes(estimator: AutoencoderState) -> bool:
    """Return True if the estimator can predict probabilities of classes."""
    fitted = estimator.as_fitted()
    is_fitted = hasattr(fitted, "model_")
    without_classes = fitted.model_.target.classes is None if is_fitted else fitted.task == "regression"
    if has_head(estimator) and without_classes:
        name = type(estimator).__name__
        raise AttributeError(f"this {name} predicts values, task='regression': there are no classes")
    return True


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorate a method to be there if a check passes, as scikit-learn's does, which hides its type."""
    return metaestimators.available_if(check)
