"""A transformer that fills missing cells."""

from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from sklearn_ae.estimators.around import AroundAutoencoder, fit_inside
from sklearn_ae.estimators.base import BaseAutoencoder, TableLike
from sklearn_ae.estimators.parameters import Bool
from sklearn_ae.estimators.regularized import RegularizedAutoencoder


class AutoencoderImputer(AroundAutoencoder, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Impute missing cells by an autoencoder, given the observed cells of their row.

    Parameters
    ----------
    estimator : estimator, default=None
        An autoencoder. None stands for ``RegularizedAutoencoder(16, n_members=2, corruption="gaps",
        corruption_level=0.25, unseen_fraction=0.05, learning_rate=0.02, max_iter=90, early_stopping=False)``, whose two
        members learn to fill masked cells [1]_.
    sample_posterior : bool, default=False
        Whether cells are filled with draws from their conditional distribution, as multiple imputation needs them
        [2]_, and not with expected values.
    random_state : int, RandomState or None, default=None
        Seed of the fit, where ``estimator`` is None or has none of its own, and of the draws.

    Attributes
    ----------
    estimator_ : estimator
        The fitted autoencoder.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.

    See Also
    --------
    RegularizedAutoencoder.impute : The same as a method of every autoencoder.
    sklearn.impute.KNNImputer : Fills numbers with those of similar rows.

    References
    ----------
    .. [1] Gondara, L. & Wang, K. (2018). MIDA: multiple imputation using denoising autoencoders. PAKDD.
    .. [2] Rubin, D. B. (1987). Multiple imputation for nonresponse in surveys. Wiley.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_ae import AutoencoderImputer
    >>> table = pd.DataFrame({"height": [1.8, None, 1.6, 1.7] * 5, "size": ["L", "S", "S", None] * 5})
    >>> filled = AutoencoderImputer(random_state=0).fit_transform(table)
    >>> filled.isna().sum().sum(), filled.dtypes.equals(table.dtypes)
    (np.int64(0), True)
    """

    def __init__(
        self,
        estimator: BaseAutoencoder | None = None,
        *,
        sample_posterior: bool = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    def fit(self, X: TableLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the autoencoder.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows; NaN, None and the like mark missing cells.
        y : None
            Not used.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        self._check()
        with self._aside() as (aside, _):
            aside.estimator_ = fit_inside(self, aside._autoencoder(), X, sample_weight=sample_weight)
        return self

    def _check(self) -> None:
        """Raise unless the parameters are valid."""
        super()._check()
        if not Bool().admits(self.sample_posterior):
            raise TypeError(f"sample_posterior must be {Bool()}, got {self.sample_posterior!r}")

    def _default(self) -> BaseAutoencoder:
        # The learning rate takes the place of two to three times as many epochs.
        return RegularizedAutoencoder(
            16,
            n_members=2,
            corruption="gaps",
            corruption_level=0.25,
            unseen_fraction=0.05,
            learning_rate=0.02,
            max_iter=90,
            early_stopping=False,
        )

    def transform(self, X: TableLike) -> Any:
        """Fill missing cells.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        filled : ndarray or DataFrame of shape (n_samples, n_features)
            The rows with no cell missing.
        """
        if not self.sample_posterior:
            return self.estimator_.impute(X)
        (drawn,) = self.estimator_.impute(X, n_draws=1, random_state=self.random_state)
        return drawn

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
