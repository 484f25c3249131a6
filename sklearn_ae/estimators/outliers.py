"""A detector of anomalous rows."""

from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin

from sklearn_ae.estimators.around import AroundAutoencoder, fit_inside
from sklearn_ae.estimators.base import BaseAutoencoder, TableLike, of_one_fit
from sklearn_ae.estimators.continuing import generator_of
from sklearn_ae.estimators.parameters import Float
from sklearn_ae.estimators.regularized import RegularizedAutoencoder
from sklearn_ae.model.code_residual_density import CodeResidualDensity, code_and_residual

MOST_ROWS = 10_000  # training rows that the densities are fitted to
FENCE = 1.5  # interquartile ranges below the first quartile (Tukey 1977)


class AutoencoderOutlierDetector(AroundAutoencoder, OutlierMixin, BaseEstimator):
    """Detect anomalous rows by the density of their code and of their residual.

    An autoencoder is fitted without y. A row is anomalous if its code is improbable under a Gaussian mixture of the
    codes of the training rows, or if its residual, the part of the row that the code does not reconstruct, is far from
    those of the training rows in Mahalanobis distance. Both surprisals, ``-log p``, are put on a logarithmic scale,
    standardised over the training rows, and averaged, also over the members of the autoencoder.

    Parameters
    ----------
    estimator : estimator, default=None
        An autoencoder. None stands for ``RegularizedAutoencoder(activation="tanh", n_members=4, linear_path=False,
        early_stopping=False)``: bounded hidden units can't reconstruct rows that are far from the training rows.
    contamination : float or "auto", default="auto"
        Fraction of the training rows that are outliers, in (0, 0.5]. ``"auto"`` does not assume that there are any: the
        threshold is 1.5 interquartile ranges below the first quartile of the scores of the training rows [1]_.
    random_state : int, RandomState or None, default=None
        Seed of the fit, where ``estimator`` is None or has none of its own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted autoencoder.
    densities_ : list of CodeResidualDensity
        Density of codes and residuals of each member of the autoencoder.
    offset_ : float
        Threshold of ``score_samples`` below which a row is an outlier. It may be set to another value.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.

    See Also
    --------
    RegularizedAutoencoder.score_samples : Log-likelihood of the reconstruction.
    sklearn.neighbors.LocalOutlierFactor : Compares the density of a row with that of its neighbors.
    sklearn.ensemble.IsolationForest : Isolates rows by random splits.

    Notes
    -----
    The densities are fitted to at most 10,000 training rows. Missing cells contribute nothing to the residual. The
    detector works best if the training rows are normal; with outliers among them set ``contamination``.

    References
    ----------
    .. [1] Tukey, J. W. (1977). Exploratory data analysis. Addison-Wesley, section 2D.
    .. [2] Zong, B. et al. (2018). Deep autoencoding Gaussian mixture model for unsupervised anomaly detection. ICLR:
       a mixture over codes and reconstruction errors.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ae import AutoencoderOutlierDetector
    >>> X, _ = load_wine(return_X_y=True)
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(X)
    >>> detector.predict(3 * X[:3])
    array([-1, -1, -1])
    """

    def __init__(
        self,
        estimator: BaseAutoencoder | None = None,
        *,
        contamination: float | str = "auto",
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: TableLike, y: None = None) -> Self:
        """Fit the autoencoder, and the densities of its codes and residuals.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : None
            Not used.

        Returns
        -------
        self : object
            The fitted detector.
        """
        self._check()
        with self._aside() as (aside, _):
            aside.estimator_ = fit_inside(self, aside._autoencoder(), X)
            table, model = aside.estimator_._table(X), aside.estimator_.model_
            index = _chosen(len(table), generator_of(aside.estimator_, None))
            values = [member.apply(code_and_residual, table, index) for member in model.members]
            aside.densities_ = [CodeResidualDensity.fit(of_member, model.n_components) for of_member in values]
            by_member = [density.score(own) for density, own in zip(aside.densities_, values, strict=True)]
            aside._medians = model.median_cell_log_likelihood(table, index)
            aside._offset_ = aside._threshold(np.mean(by_member, axis=0))
        return self

    @of_one_fit
    def score_samples(self, X: TableLike) -> NDArray[np.float64]:
        """Return how normal rows are.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Negative mean of the standardised logarithms of both surprisals, see above. Its mean over the training rows
            is 0. Lower is more anomalous.
        """
        table, members = self.estimator_._table(X), self.estimator_.model_.members
        of_members = zip(self.densities_, members, strict=True)
        scores = [member.apply(density.score_rows, table, dtype=np.float64) for density, member in of_members]
        return np.mean(scores, axis=0)[:, 0]

    @of_one_fit
    def decision_function(self, X: TableLike) -> NDArray[np.float64]:
        """Return ``score_samples`` minus the threshold.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    @of_one_fit
    def predict(self, X: TableLike) -> NDArray[np.int64]:
        """Return which rows are outliers.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        inlier : ndarray of shape (n_samples,)
            -1 for outliers, 1 for all others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    @of_one_fit
    def score_cells(self, X: TableLike) -> Any:
        """Return how normal each cell is: which columns make a row anomalous.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        scores : ndarray or DataFrame of shape (n_samples, n_features)
            Log-likelihood of each cell given the code of its row, minus the median of its column over the training
            rows, in nats. Lower is more anomalous, 0 is typical. A DataFrame with the columns and row index of X if X
            is a DataFrame. Missing cells are NaN, or null in polars.

        Notes
        -----
        The scores of a row do not sum to ``score_samples``, which takes the correlation of residuals into account, and
        how probable the code is. A row may be anomalous without an anomalous cell.
        """
        return self.estimator_.model_.cell_log_likelihood(self.estimator_._table(X).held("score_cells"), self._medians)

    @property
    def offset_(self) -> float:
        """Threshold of ``score_samples`` below which a row is an outlier."""
        return self._offset_

    @offset_.setter
    def offset_(self, offset: float) -> None:
        if not Float(-inf, closed_low=False).admits(offset):
            raise ValueError(f"offset_ must be a finite number, got {offset!r}")
        self._replace_in_fit(_offset_=float(offset))

    def _check(self) -> None:
        """Raise unless the parameters are valid."""
        super()._check()
        share = Float(0, 0.5, closed_low=False, closed_high=True)
        is_auto = isinstance(self.contamination, str) and self.contamination == "auto"
        if not (is_auto or share.admits(self.contamination)):
            raise ValueError(f"contamination must be 'auto' or {share}, got {self.contamination!r}")

    def _default(self) -> BaseAutoencoder:
        return RegularizedAutoencoder(activation="tanh", n_members=4, linear_path=False, early_stopping=False)

    def _threshold(self, scores: NDArray[np.float64]) -> float:
        if isinstance(self.contamination, str):
            first, third = np.percentile(scores, [25, 75])
            return float(first - FENCE * (third - first))
        return float(np.percentile(scores, 100 * self.contamination))


def _chosen(n: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Return the index of the rows that densities are fitted to."""
    return random.choice(n, size=MOST_ROWS, replace=False) if n > MOST_ROWS else np.arange(n)
