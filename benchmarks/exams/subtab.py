"""Features of MNIST (SubTab, NeurIPS 2021, arXiv:2110.04361, table 1): ``python benchmarks/exams/subtab.py``.

Autoencoders of layers 784-512-256-128 on the 60,000 training rows without labels, then LogisticRegression on the 128
codes, its C chosen on 10,000 of the training rows; accuracy on the 10,000 test rows in %. The autoencoders have the
package's defaults but for their layers and one scale for all pixels: as they are, with dropout, and denoising.
Gradient boosting is trained on 10,000 rows.

Not as there: the denoising autoencoder masks cells, where the paper swaps them with those of other rows. Features are
standardised before the linear model.
"""

import time

import numpy as np
from exam import arguments, bar, mnist, report
from features import baselines, boosting, compared
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder

CODES = 128
SETTINGS = {
    "hidden_layer_sizes": (512, 256),
    "scale": "common",
    "task": None,
    "linear_path": False,
    "early_stopping": False,
}
OWN = {  # with the accuracy that is asked for, and the published one
    "autoencoder": ({}, 92.8, 92.77),
    "autoencoder, dropout 0.2": ({"dropout": 0.2}, 94.3, 94.31),
    "autoencoder, masks 0.3": ({"corruption_level": 0.3}, 96.3, 96.30),
}
PUBLISHED = {
    "raw, LogisticRegression": 92.60,
    "raw, random forest": 96.96,
    "raw, XGBoost": 98.02,
    "autoencoder": 92.77,
    "autoencoder, dropout": 94.31,
    "autoencoder, swap noise": 96.30,
    "SubTab": 98.31,
}
HEAD = "LogisticRegression"


class FirstRows(ClassifierMixin, BaseEstimator):
    """A classifier that is trained on the first 10,000 rows, to save time."""

    def __init__(self, classifier: BaseEstimator) -> None:
        self.classifier = classifier

    def fit(self, X: np.ndarray, y: np.ndarray) -> "FirstRows":
        self.classifier.fit(X[:10_000], y[:10_000])
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classifier.predict(X)


def heads(seed: int) -> dict[str, BaseEstimator]:
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1200))
    grid = {"logisticregression__C": [1e-3, 1e-2, 0.1, 1, 10]}
    return {
        HEAD: GridSearchCV(linear, grid, cv=ShuffleSplit(1, test_size=1 / 6, random_state=0)),
        "5-NN": KNeighborsClassifier(5),
        "HistGradientBoosting": FirstRows(boosting(seed)),
    }


def main() -> None:
    asked = arguments(__doc__, seeds=1, epochs=100, rows=60_000)
    start = time.perf_counter()
    X, X_test, y, y_test = mnist(asked.data)

    def features(seed: int) -> dict[str, BaseEstimator]:
        own = {
            name: RegularizedAutoencoder(CODES, **SETTINGS, **changed, max_iter=asked.epochs, random_state=seed)
            for name, (changed, *_) in OWN.items()
        }
        return own | baselines(CODES, 784, SETTINGS, seed)

    table = compared(features, heads, (X[: asked.rows], X_test, y[: asked.rows], y_test), asked.seeds)
    bars = [
        bar(f"{name}, {HEAD}", table[name][HEAD], least=least, beside=f"published {published}")
        for name, (_, least, published) in OWN.items()
    ]
    table |= {f"published: {name}": {HEAD: value} for name, value in PUBLISHED.items()}
    settings = SETTINGS | {"n_components": CODES, "max_iter": asked.epochs}
    report("subtab", asked, start, settings, {"accuracy": table}, bars)


if __name__ == "__main__":
    main()
