"""What gradient boosting learns from generated rows: to tell them from real ones, and to predict a column."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

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
    rows, is_sample = np.concatenate([real, samples]), np.repeat([0, 1], [len(real), len(samples)])
    areas = []
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rows, is_sample):
        model = Boosting(HistGradientBoostingClassifier, rows[train], is_sample[train], discrete, seed)
        areas.append(roc_auc_score(is_sample[test], model.shares(rows[test])[1]))
    return float(np.mean(areas))


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
    score = _areas if discrete[target] else _determination
    of_train, of_test = ((rows[:, others], rows[:, target]) for rows in (train, test))
    return score(*of_train, *of_test, discrete[others], seed)


class Boosting:
    """Gradient boosting that is trained on cells of tables.

    Parameters
    ----------
    Model : type
        The class of the model.
    cells : ndarray of shape (n, d)
        Cells of the training rows.
    y : ndarray of shape (n,)
        The target.
    discrete : ndarray of shape (d,)
        Which columns hold category codes.
    seed : int
        Seed of the model.
    """

    def __init__(self, Model: type, cells: NDArray, y: NDArray, discrete: NDArray[np.bool_], seed: int) -> None:
        self.discrete = np.append(discrete, False)
        self.used = np.append(~np.isnan(cells).all(axis=0), True)  # scikit-learn raises if a column has no known cell
        model = Model(categorical_features=self.discrete[self.used], random_state=seed)
        self.model = model.fit(self._inputs(cells), y)

    def predict(self, cells: NDArray) -> NDArray:
        """Return predictions, (n, d) -> (n,)."""
        return self.model.predict(self._inputs(cells))

    def shares(self, cells: NDArray) -> dict[float, NDArray]:
        """Return the probability of each class, (n, d) -> (n,)."""
        return dict(zip(self.model.classes_.tolist(), self.model.predict_proba(self._inputs(cells)).T, strict=True))

    def _inputs(self, cells: NDArray) -> NDArray:
        """Return the columns that are used, with a constant one, since there may be no other."""
        columns = np.hstack([cells, np.zeros((len(cells), 1))])
        return np.where(self.discrete, np.minimum(columns, MAX_CATEGORIES - 1), columns)[:, self.used]


def _determination(X: NDArray, y: NDArray, X_test: NDArray, y_test: NDArray, discrete: NDArray, seed: int) -> float:
    scale = np.abs(y).max() or 1.0  # the gradients of scikit-learn are in single precision
    model = Boosting(HistGradientBoostingRegressor, X, y / scale, discrete, seed)
    return float(r2_score(y_test, scale * model.predict(X_test)))


def _areas(X: NDArray, y: NDArray, X_test: NDArray, y_test: NDArray, discrete: NDArray, seed: int) -> float:
    """Return the mean area of the classes in the test rows, each against the others; 0.5 for an unknown class."""
    occurring = np.unique(y_test).tolist()
    if len(occurring) < 2:
        return float("nan")
    shares = dict.fromkeys(occurring, np.zeros(len(y_test)))
    if len(np.unique(y)) > 1:
        shares |= Boosting(HistGradientBoostingClassifier, X, y, discrete, seed).shares(X_test)
    return float(np.mean([roc_auc_score(y_test == value, shares[value]) for value in occurring]))
