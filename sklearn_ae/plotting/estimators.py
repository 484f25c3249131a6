"""What displays read of fitted estimators: histories, codes, and restored rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_ae.estimators.around import AroundAutoencoder
from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.metrics.reading import Tables


def autoencoder_of(estimator: Any) -> BaseAutoencoder:
    """Return a fitted autoencoder, itself or that inside of an imputer or an outlier detector.

    Parameters
    ----------
    estimator : autoencoder, imputer or outlier detector
        A fitted estimator.

    Returns
    -------
    autoencoder : BaseAutoencoder
        The autoencoder.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator is neither an autoencoder nor has one inside.
    """
    found = estimator
    if isinstance(estimator, AroundAutoencoder):
        check_is_fitted(estimator)
        found = estimator.estimator_
    if not isinstance(found, BaseAutoencoder):
        raise TypeError(f"estimator must be an autoencoder of sklearn_ae, got {estimator!r}")
    check_is_fitted(found)
    return found


def codes_of(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Return the codes of rows, (n, k), of any fitted transformer."""
    check_is_fitted(estimator)
    return np.asarray(estimator.transform(X), dtype=np.float64)


def restored_by(estimator: Any, X: Any) -> Any:
    """Return the rows that are decoded from the codes of rows, as the estimator returns them."""
    check_is_fitted(estimator)
    return estimator.inverse_transform(estimator.transform(X))


def categorical_features_of(estimator: Any) -> Any:
    """Return which columns hold categories: a mask of those of the fit, or "from_dtype" for other estimators."""
    if not isinstance(estimator, BaseAutoencoder):
        return "from_dtype"
    return np.array([column.likelihood is None for column in estimator.model_.encoding.schema.columns])


def tables_of(X: Any, others: Any, categorical_features: Any, name: str) -> Tables:
    """Return rows, and rows that were made from them, as cells.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n, d)
        Rows of a user.
    others : array-like or DataFrame of shape (m, d)
        Rows with the same columns.
    categorical_features : "from_dtype", array-like or None
        Categorical columns, as in the estimators.
    name : str
        Name of the other rows in messages.

    Returns
    -------
    tables : Tables
        The tables ``X`` and ``name``.
    """
    return Tables.read({"X": X, name: others}, categorical_features)


def restored_tables(X: Any, restored: Any, categorical_features: Any) -> Tables:
    """Return rows and their reconstructions as cells, the tables ``X`` and ``restored``; raise unless they match."""
    tables = tables_of(X, restored, categorical_features, "restored")
    n_rows, n_restored = (len(cells) for cells in tables.cells.values())
    if n_restored != n_rows:
        raise ValueError(f"restored must have as many rows as X, {n_rows}, got {n_restored}")
    return tables


def labels_of(names: Any) -> list[str]:
    """Return names of columns in a picture: x0, x1, ... for positions, as scikit-learn names columns of an array."""
    return [name if isinstance(name, str) else f"x{name}" for name in names]


def spreads_of(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviations of the known cells of columns, (n, d) -> (d,); 1 where there is none."""
    known = [column[~np.isnan(column)] for column in cells.T]
    spreads = np.array([column.std() if len(column) else 0.0 for column in known])
    return np.where(spreads > 0, spreads, 1.0)
