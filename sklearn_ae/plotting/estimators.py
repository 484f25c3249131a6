"""What displays read of fitted estimators: histories, codes, and restored rows."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_ae.estimators.around import AroundAutoencoder
from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.metrics.reading import Tables, container_of, position_of

if TYPE_CHECKING:
    import pandas as pd


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
        kind = type(estimator).__name__
        raise TypeError(f"estimator must be an autoencoder of sklearn_ae, such as a step of a pipeline, got {kind}")
    check_is_fitted(found)
    return found


def transformer_of(estimator: Any) -> Any:
    """Return a fitted transformer that can decode codes: a given one, or the autoencoder inside of an estimator.

    Parameters
    ----------
    estimator : transformer with inverse_transform, imputer or outlier detector
        A fitted estimator. What an imputer returns are no codes, so that its autoencoder is taken.

    Returns
    -------
    transformer : transformer with inverse_transform
        An autoencoder, or another transformer such as PCA or a pipeline.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator can't encode and decode rows.
    """
    if isinstance(estimator, AroundAutoencoder):
        return autoencoder_of(estimator)
    if not (hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform")):
        kind = type(estimator).__name__
        raise TypeError(f"estimator must be an autoencoder, or have transform and inverse_transform, got {kind}")
    check_is_fitted(estimator)
    return estimator


def codes_of(transformer: Any, X: Any) -> NDArray[np.float64]:
    """Return the codes of rows, (n, k)."""
    return np.asarray(transformer.transform(X), dtype=np.float64)


def restored_by(transformer: Any, X: Any) -> Any:
    """Return the rows that are decoded from the codes of rows, as the transformer returns them."""
    return transformer.inverse_transform(transformer.transform(X))


def categorical_features_of(transformer: Any) -> Any:
    """Return which columns hold categories: a mask of those of the fit, or "from_dtype" for other transformers."""
    if not isinstance(transformer, BaseAutoencoder):
        return "from_dtype"
    return np.array([column.likelihood is None for column in transformer.model_.encoding.schema.columns])


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


def column_of(X: Any, column: Any, name: str) -> "pd.Series":
    """Return a column of a table with its name.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n, d)
        The table.
    column : hashable
        An integer is a position, anything else a name.
    name : str
        The name of the parameter in messages.

    Returns
    -------
    cells : Series of pandas of shape (n,)
        The cells. Missing ones are NaN.

    Raises
    ------
    ValueError
        If X has no such column.
    """
    import pandas as pd

    container = container_of(X, "X")
    position = position_of(column, container.names, name)
    cells, missing = container.values(position)
    if missing.any():
        cells = cells.astype(np.float64 if cells.dtype.kind in "iuf" else object)
        cells[missing] = np.nan
    return pd.Series(cells, name=labels_of([container.names[position]])[0])


def labels_of(names: Any) -> list[str]:
    """Return names of columns in a picture: x0, x1, ... for positions, as scikit-learn names columns of an array."""
    return [name if isinstance(name, str) else f"x{name}" for name in names]


def most_frequent(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the most frequent known cell of each column, (n, d) -> (d,); NaN where there is none."""
    found = [np.unique(column[~np.isnan(column)], return_counts=True) for column in cells.T]
    return np.array([values[counts.argmax()] if len(values) else np.nan for values, counts in found])


def spreads_of(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviations of the known cells of columns, (n, d) -> (d,); 1 where there is none."""
    known = [column[~np.isnan(column)] for column in cells.T]
    spreads = np.array([column.std() if len(column) else 0.0 for column in known])
    return np.where(spreads > 0, spreads, 1.0)
