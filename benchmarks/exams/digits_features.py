"""A hundred features of nudged digits (scikit-learn's RBM example): ``python benchmarks/exams/digits_features.py``.

The digits and their copies nudged by a pixel in four directions, 8,985 rows, split with ``random_state=0``; 100
features without labels; then LogisticRegression with C=6000, nearly without a penalty. Published: RBM 93.27 %, raw
pixels 78.19 % (C=100), 10, 20 and 30 components of PCA 53.0, 71.0 and 74.1 %. The families have their defaults with
100 codes and one scale for all pixels; "masks" is the denoising autoencoder of the package's imputer. Nudged copies
of a digit may lie on both sides of the split, as in the example.

Not as there: features are standardised before the linear model, and it stops by scikit-learn's default tolerance.
With the ``tol=1`` of the example it would stop at its first step today, since scikit-learn divides the gradient by
the rows.
"""

import time

import numpy as np
from exam import FAMILIES, arguments, bar, report
from features import Split, baselines, boosting, compared
from scipy.ndimage import shift
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, minmax_scale

from sklearn_ae import RegularizedAutoencoder

CODES = 100
SETTINGS = {"scale": "common", "task": None, "early_stopping": False}
DIRECTIONS = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
HEAD = "LogisticRegression"
PUBLISHED = {"RBM": 93.27, "raw, C=100": 78.19, "PCA 10": 53.0, "PCA 20": 71.0, "PCA 30": 74.1}


def nudged_digits() -> Split:
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8)
    rows = [shift(images, (0, *by), order=0, cval=0).reshape(-1, 64) for by in DIRECTIONS]
    pixels = minmax_scale(np.concatenate(rows).astype(np.float32), feature_range=(0, 1))
    return train_test_split(pixels, np.tile(y, len(DIRECTIONS)), test_size=0.2, random_state=0)


def heads(seed: int) -> dict[str, BaseEstimator]:
    return {
        HEAD: make_pipeline(StandardScaler(), LogisticRegression(C=6000, max_iter=1000)),
        "5-NN": KNeighborsClassifier(5),
        "HistGradientBoosting": boosting(seed),
    }


def features(seed: int) -> dict[str, BaseEstimator]:
    own = {name: Family(CODES, **SETTINGS, random_state=seed) for name, Family in FAMILIES.items()}
    own["regularized, masks"] = RegularizedAutoencoder(CODES, **SETTINGS, corruption_level=0.3, random_state=seed)
    rbm = BernoulliRBM(CODES, learning_rate=0.06, n_iter=10, random_state=seed)
    return own | baselines(CODES, 64, SETTINGS, seed) | {"BernoulliRBM": rbm}


def main() -> None:
    asked = arguments(__doc__, seeds=5)
    start = time.perf_counter()
    table = compared(features, heads, nudged_digits(), asked.seeds)
    beside = "published RBM 93.27"
    bars = [bar(f"{name}, {HEAD}", table[name][HEAD], least=93.3, beside=beside) for name in FAMILIES]
    table |= {f"published: {name}": {HEAD: value} for name, value in PUBLISHED.items()}
    settings = SETTINGS | {"n_components": CODES}
    report("digits_features", asked, start, settings, {"accuracy": table}, bars)


if __name__ == "__main__":
    main()
