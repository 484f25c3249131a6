"""What gradient boosting learns from generated rows: to tell them from real ones, and to predict a column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score

N_FOLDS = 5
MAX_CATEGORIES = 255  # per column, of HistGradientBoosting


def classifier_auc(real: NDArray, samples: NDArray, discrete: NDArray[np.bool_], seed: int) -> float:
    """Return how well a classifier distinguishes generated from real rows: the area under the ROC curve.

    It is the mean of five folds. If samples are copies of the real rows it is below 0.5: the classifier is trained on
    the copy of a row with the other label.

    Parameters
    ----------
    real, samples : ndarray of shape (n, d)
        Cells of the rows.
    discrete : ndarray of shape (d,)
        Which columns hold category codes.
    seed : int
        Seed of the folds and the classifier.

    Returns
    -------
    area : float
        NaN if a table has a single row.
    """
    n_folds = min(N_FOLDS, len(real), len(samples))
    if n_folds < 2:
        return float("nan")
    X = _inputs(np.concatenate([real, samples]), discrete)
    y = np.repeat([0, 1], [len(real), len(samples)])
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    model = _model(HistGradientBoostingClassifier, discrete, seed)
    return float(cross_val_score(model, X, y, cv=folds, scoring="roc_auc").mean())


def prediction_score(train: NDArray, test: NDArray, discrete: NDArray[np.bool_], target: int, seed: int) -> float:
    """Return how well boosting that is trained on some rows predicts a column of others.

    Parameters
    ----------
    train, test : ndarray of shape (n, d)
        Cells of the rows. Those without a known target are left out.
    discrete : ndarray of shape (d,)
        Which columns hold category codes.
    target : int
        The position of the column.
    seed : int
        Seed of the model.

    Returns
    -------
    score : float
        The coefficient of determination of numbers; the area under the ROC curve of categories, the mean over the
        classes in ``test``. NaN if it is undefined.
    """
    train, test = (rows[~np.isnan(rows[:, target])] for rows in (train, test))
    if len(train) < 1 or len(test) < 2:
        return float("nan")
    others = np.arange(len(discrete)) != target
    (X, y), (X_test, y_test) = ((_inputs(rows[:, others], discrete[others]), rows[:, target]) for rows in (train, test))
    score = _areas if discrete[target] else _determination
    return score(X, y, X_test, y_test, discrete[others], seed)


def _determination(X: NDArray, y: NDArray, X_test: NDArray, y_test: NDArray, discrete: NDArray, seed: int) -> float:
    model = _model(HistGradientBoostingRegressor, discrete, seed)
    return float(r2_score(y_test, model.fit(X, y).predict(X_test)))


def _areas(X: NDArray, y: NDArray, X_test: NDArray, y_test: NDArray, discrete: NDArray, seed: int) -> float:
    """Return the mean area of the classes in the test rows, each against the others; 0.5 for an unknown class."""
    occurring = np.unique(y_test)
    if len(occurring) < 2:
        return float("nan")
    shares = dict.fromkeys(occurring.tolist(), np.zeros(len(y_test)))
    if len(np.unique(y)) > 1:
        model = _model(HistGradientBoostingClassifier, discrete, seed).fit(X, y)
        shares |= dict(zip(model.classes_.tolist(), model.predict_proba(X_test).T, strict=True))
    return float(np.mean([roc_auc_score(y_test == value, shares[value]) for value in occurring.tolist()]))


def _model(Model: type, discrete: NDArray[np.bool_], seed: int) -> Any:
    return Model(categorical_features=discrete if discrete.any() else None, random_state=seed)


def _inputs(cells: NDArray, discrete: NDArray[np.bool_]) -> NDArray:
    """Return cells with the rarest categories of a column as one where there are too many."""
    return np.where(discrete, np.minimum(cells, MAX_CATEGORIES - 1), cells)
