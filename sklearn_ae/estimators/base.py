"""The interface of scikit-learn that all families share."""

from abc import ABC
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import RegressorTags, Tags

from sklearn_ae.estimators import inputs
from sklearn_ae.estimators.documentation import documented
from sklearn_ae.estimators.fitted import of_one_fit as of_one_fit
from sklearn_ae.estimators.impute_and_sample import ImputesAndSamples
from sklearn_ae.estimators.inputs import TableLike as TableLike
from sklearn_ae.estimators.shipping import Ships
from sklearn_ae.estimators.state import available_if, has_classes, has_head
from sklearn_ae.estimators.watching import CallbackSupportMixin, fitted_model, partially_fitted_model, watched_model
from sklearn_ae.model.summary import summary_of_codes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(kw_only=True, eq=False, repr=False)
class BaseAutoencoder(
    ImputesAndSamples,
    Ships,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClassifierMixin,
    BaseEstimator,
    ABC,
):
    """Base class of all families. A family defines its parameters and its recipe.

    Think twice before adding to this class: code of one family belongs into its file, code about y into
    ``model/targets.py``, code about tables into ``tables/``, and the results of a fit into ``model/model.py``.

    The class inherits from ClassifierMixin whatever the task, and the tags of an instance follow ``task``: a class is
    defined before ``task`` is known, and scikit-learn's tools read the tags of the instance.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Fill the shared parameters and attributes into the docstring of a family."""
        super().__init_subclass__(**kwargs)
        cls.__doc__ = documented(cls.__doc__ or "", cls.activation, cls.learning_rate)

    # Fitting

    def fit(
        self,
        X: TableLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: TableLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the autoencoder to a table.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. Missing cells are NaN, None, NaT or NA.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Target: class labels or values, see ``task``. Several columns are several outputs.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Rows of weight 0 are ignored.
        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Validation rows, for ``valid_loss`` in ``history_`` and for early stopping.
        y_val : array-like of shape (n_validation_samples,) or (n_validation_samples, n_outputs), default=None
            Target of the validation rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the input is invalid, or the loss is not finite. The estimator is then unchanged.
        """
        with self._aside(continues=self.warm_start) as (aside, last):
            fit = partial(fitted_model, aside, last, X, y, sample_weight, X_val, y_val)
            aside.model_ = watched_model(self, aside, fit, aside.max_iter, X, y, sample_weight)
        return self

    def partial_fit(
        self,
        X: TableLike,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch, continuing the last fit if there is one.

        Columns and scaling are those of the first call. The learning rate is constant.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. Missing cells are NaN, None, NaT or NA.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Target: class labels or values, see ``task``. Several columns are several outputs. Without y, rows of
            a later call are unlabelled.
        classes : array-like of shape (n_classes,) or list of such, default=None
            All class labels, for several outputs those of each. Required in the first call with y and
            ``task="classification"``.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            As for ``fit``, or if ``y`` holds labels that are not in ``classes``.
        """
        with self._aside(continues=True) as (aside, last):
            fit = partial(partially_fitted_model, aside, last, X, y, classes, sample_weight)
            aside.model_ = watched_model(self, aside, fit, 1, X, y, sample_weight)
        return self

    # Codes

    def transform(self, X: TableLike) -> NDArray:
        """Encode rows. The result is deterministic.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            Codes in the dtype of X: the posterior mean for codes that are distributions.
        """
        return self.model_.codes(self._table(X))

    @of_one_fit
    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        rows : ndarray or DataFrame of shape (n_samples, n_features)
            Expected numbers and most probable categories, with the units, columns and dtypes of the training rows.
            Numbers of a column that was never negative in the fit are not negative, and the other way round.
        """
        return self.model_.restored(inputs.check_codes(X), like=X)

    # Predictions

    @available_if(has_head)
    @of_one_fit
    def predict(self, X: TableLike) -> NDArray:
        """Predict the target.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class labels with ``task="classification"``, values with ``task="regression"``.
        """
        has_head(self)  # another fit may have ended since the method was looked up
        return self.model_.predictions(self._table(X))

    @available_if(has_classes)
    @of_one_fit
    def predict_proba(self, X: TableLike) -> Any:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or list of such
            Columns in the order of ``classes_``. After a fit to several outputs a list with the array of each.
        """
        logarithms = self.predict_log_proba(X)
        return [_exp(own) for own in logarithms] if isinstance(logarithms, list) else _exp(logarithms)

    @available_if(has_classes)
    @of_one_fit
    def predict_log_proba(self, X: TableLike) -> Any:
        """Predict log-probabilities of the classes.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes) or list of such
            Columns in the order of ``classes_``. After a fit to several outputs a list with the array of each.
        """
        has_classes(self)  # another fit may have ended since the method was looked up
        return self.model_.log_probabilities(self._table(X))

    @of_one_fit
    def score(self, X: TableLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the quality of the fit on rows; higher is better.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            True target.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            If the estimator was fitted with y and y is given, the accuracy, or the coefficient of determination with
            ``task="regression"``, on labelled rows. Otherwise the mean of ``score_samples``. With several outputs the
            share of rows of which all labels are right, or the mean coefficient of determination.
        """
        y, weight = inputs.check_y(self, y, X), inputs.check_weight(sample_weight, X)
        if y is None or not self.model_.target.n_outputs:
            return float(np.average(inputs.with_nan(self.score_samples(X)), weights=weight))
        return self.model_.target.score(y, inputs.with_nan(self.predict(X)), weight)

    # Likelihood and explanation

    @of_one_fit
    def score_samples(self, X: TableLike, tolerance: float | None = None, return_std: bool = False) -> Any:
        """Return the log-likelihood of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. Missing cells do not contribute.
        tolerance : float, default=None
            Standard error in nats up to which the likelihood of a row is estimated, for codes that are distributions:
            the proposal adapts to the row until the estimated error is below the tolerance, or until it has had 5,120
            draws (more for codes of over 8 dimensions), which takes milliseconds per row. Rows that do not reach a
            tolerance above 0 are counted in a warning. The error is estimated from the same draws: for codes of many
            dimensions it can be too small, and the estimate is then too low rather than too high. None takes 32 draws
            around ``q(z | x)``: less than a tenth of the time of a fit to as many rows, and some tenths of a nat below.
        return_std : bool, default=False
            Whether to return the standard errors as well.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            For codes that are points ``log p(x | z)`` at the code of the row. For codes that are distributions the
            importance-weighted bound of ``log p(x)``. Repeated calls return the same values.
        std : ndarray of shape (n_samples,)
            Standard errors, 0 for codes that are points. Only with ``return_std=True``.
        """
        value, std = self.model_.log_likelihood(self._table(X), inputs.check_tolerance(tolerance))
        inputs.warn_if_imprecise(std, tolerance)
        return (value, std) if return_std else value

    @of_one_fit
    def score_cells(self, X: TableLike) -> Any:
        r"""Return the log-likelihood of each cell, in nats and in the units of X.

        For codes that are points the score of a cell is ``log p(x_j | z)`` at the code of the row, and the observed
        cells of a row sum to its ``score_samples``. For codes that are distributions it is the mean of
        ``log p(x_j | z)`` over the posterior of the code, with the draws of ``score_samples``. The cells of a row then
        sum to the reconstruction part of the log-likelihood, see Notes.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        scores : ndarray or DataFrame of shape (n_samples, n_features)
            Log-probabilities of categories and counts, log-densities of other numbers. A DataFrame with the columns
            and row index of X if X is a DataFrame. Missing cells are NaN, or null in polars; so are categories that
            ``transform`` takes as missing because they were not in the fit. Repeated calls return the same values.

        Notes
        -----
        For codes that are distributions

        .. math::

           \log p(x) = \sum_j \mathbb{E}_{p(z \mid x)} \bigl[ \log p(x_j \mid z) \bigr]
           - \mathrm{KL} \bigl( p(z \mid x) \,\|\, p(z) \bigr),

        and the divergence, which belongs to the code and not to a cell, is the difference between the sum and
        ``score_samples``. With ``n_members`` above 1 the score of a cell is the mean over the members, weighted by the
        probability of each member given the row. The sum of a row is then larger by the divergence of these
        probabilities from equal ones, at most ``log(n_members)``.

        A density depends on the unit and the spread of its column. To find the unusual cells of a row, compare each
        score with those of its column, for example ``scores - model.score_cells(X_train).median()``.
        """
        return self.model_.cell_log_likelihood(self._table(X).held("score_cells"))

    @of_one_fit
    def explain_codes(
        self, X: TableLike, max_samples: int = 500, random_state: int | np.random.RandomState | None = 0
    ) -> "pd.DataFrame":
        """Return how much each column moves each code.

        The effect of column j on code k is the mean absolute change of the code if the cell of the column is replaced
        by that of another row, which is drawn at random, and all other cells are kept:
        ``E|z_k(x) - z_k(x with x_j from another row)|``. Cells of all kinds are replaced, missing ones included. If the
        code is linear in a column, it is ``|dz_k/dx_j| E|x_j - x'_j|``, where the last factor is the mean difference of
        two values of the column: 1.13 standard deviations for a normal distribution.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            At least two rows.
        max_samples : int, default=500
            Maximum number of rows in which cells are replaced, drawn at random if there are more. Each of them is
            encoded once for each column.
        random_state : int, RandomState or None, default=0
            Seed or generator of the drawn rows. The default returns the same values in repeated calls.

        Returns
        -------
        effects : DataFrame of pandas of shape (n_features, n_components)
            In the units of the codes. Rows have the names of the columns of X (x0, x1, ... for an array), columns
            those of ``get_feature_names_out``.
        """
        import pandas as pd

        most, random = inputs.check_count("max_samples", max_samples), inputs.check_random(random_state)
        effects = self.model_.code_changes(self._table(X), most, random)
        return pd.DataFrame(effects, self.model_.encoding.schema.column_names, self.get_feature_names_out())

    @of_one_fit
    def latent_summary(self, X: TableLike) -> "pd.DataFrame":
        """Return statistics of each code dimension over rows. The result is deterministic.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows, for example those of the fit, which keeps none.

        Returns
        -------
        summary : DataFrame of pandas of shape (n_components, 5)
            One row per dimension, named as in ``get_feature_names_out``, with columns

            - ``mean``, ``std``: of the codes that ``transform`` returns;
            - ``share``: increase of the mean reconstruction loss ``-log p(x | z)`` if the dimension is replaced by its
              mean, relative to the increase if all dimensions are. With a Gaussian likelihood it is the share of the
              variance that is explained. Shares sum to 1 if the contributions of the dimensions to the decoded rows
              are uncorrelated and add up, as in PCA. A dimension that is worse than its mean has a negative share;
            - ``divergence``: mean of ``KL(q(z_i | x) || p(z_i))`` in nats, NaN for codes that are points;
            - ``active``: whether the dimension depends on the rows. For codes that are distributions, whether the
              variance of the posterior mean is above 0.01 (Burda et al. 2016, section 5.2); for codes that are points,
              whether ``std`` is above 0.01 times the largest one.
        """
        import pandas as pd

        return pd.DataFrame(summary_of_codes(self.model_, self._table(X)), self.get_feature_names_out())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        if self.task != "classification":
            tags.classifier_tags = None
            tags.estimator_type = None
        elif tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = True
        if self.task == "regression":
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags


def _exp(logarithms: Any) -> Any:
    """Return exponentials of an array, or of a tensor on its device."""
    return logarithms.exp() if isinstance(logarithms, torch.Tensor) else torch.from_numpy(logarithms).exp().numpy()
