"""Features without labels that autoencoders have to compete with, and the classifiers that are trained on them."""

from collections.abc import Callable

from exam import Cell, over_seeds
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import FunctionTransformer
from sklearn.random_projection import GaussianRandomProjection

from sklearn_ae import RegularizedAutoencoder

UNTRAINED = {
    "learning_rate": 1e-12,
    "max_iter": 1,
    "linear_path": False,
}  # an epoch that leaves all weights as they began


def baselines(k: int, n_columns: int, settings: dict, seed: int) -> dict[str, BaseEstimator]:
    """Return transformers to k features or fewer; ``settings`` are those of the untrained encoder."""
    return {
        "raw": FunctionTransformer(),
        "PCA": PCA(min(k, n_columns), random_state=seed),
        "TruncatedSVD": TruncatedSVD(min(k, n_columns), random_state=seed),
        "random projection": GaussianRandomProjection(k, random_state=seed),
        "untrained encoder": RegularizedAutoencoder(k, **settings, **UNTRAINED, random_state=seed),
    }


def boosting(seed: int) -> BaseEstimator:
    """Return gradient boosting that is short enough for hundreds of features."""
    return HistGradientBoostingClassifier(max_iter=50, random_state=seed)


Split = tuple[NDArray, NDArray, NDArray, NDArray]  # training rows, test rows, training and test labels
HeadsOf = Callable[[int], dict[str, BaseEstimator]]


def accuracies(transformer: BaseEstimator, heads: dict[str, BaseEstimator], split: Split) -> dict[str, float]:
    """Return the accuracy of each classifier on the test rows, in %, from one fit of the features."""
    X, X_test, y, y_test = split
    transformer.fit(X)
    features, tested = transformer.transform(X), transformer.transform(X_test)
    return {name: 100 * clone(head).fit(features, y).score(tested, y_test) for name, head in heads.items()}


def compared(of_seed: Callable[[int], dict[str, BaseEstimator]], heads: HeadsOf, split: Split, seeds: int) -> dict:
    """Return a table: a row for each transformer of a seed, a column for each classifier."""

    def row(name: str) -> dict[str, Cell]:
        return over_seeds(name, seeds, lambda seed: accuracies(of_seed(seed)[name], heads(seed), split))

    return {name: row(name) for name in of_seed(0)}
