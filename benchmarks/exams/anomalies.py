"""Anomalies of five ADBench tables (DTE, ICLR 2024, table 1): ``python benchmarks/exams/anomalies.py``.

Trained on the first half of the normal rows in file order, tested on the other half and all anomalies; standardised by
the training rows; no tuning. The figure is the area under the ROC curve times 100. The families have no linear path
and do not stop early, and the score is ``score_samples``. The detectors are ``AutoencoderOutlierDetector``, by default
the regularized family with four members and tanh, without linear path and early stopping, and the other families in
that setting. Peers: the mean distance to the five nearest training rows, the isolation forest, the one-class support
vector machine, the squared error of PCA with as many components as the autoencoders, a mixture of ten normals, and the
squared norm of the row, which a collapsed variational autoencoder amounts to. Only the forest and the mixture depend
on a seed.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from exam import FAMILIES, Cell, Table, arguments, bar, over_seeds, report
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from sklearn_ae import AutoencoderOutlierDetector

SETS = ("cardio", "thyroid", "satellite", "pendigits", "wilt")
CODES = 8  # n_components of the autoencoders by default
PUBLISHED = {  # DTE, table 1, means of five seeds, in the order of SETS
    "kNN": (92.00, 98.68, 82.24, 99.87, 63.66),
    "DTE-C": (87.26, 98.74, 78.61, 97.79, 85.10),
    "DDPM": (86.94, 97.95, 77.70, 98.11, 71.66),
    "OCSVM": (95.61, 98.56, 73.91, 96.36, 34.81),
    "IForest": (93.32, 98.96, 77.46, 97.22, 47.97),
    "VAE": (96.55, 98.55, 74.14, 94.50, 35.41),
    "PCA": (96.54, 98.55, 66.63, 94.37, 26.07),
    "GANomaly": (86.06, 94.78, 79.87, 67.93, 44.01),
    "DeepSVDD": (65.43, 88.77, 76.19, 46.29, 34.41),
}
Score = Callable[[NDArray, NDArray, int], NDArray]  # training rows, test rows, seed -> scores, high for anomalies


def by_score(Model, **settings) -> Score:
    """Return the negative ``score_samples`` of a model: a log-likelihood, except of the forest."""
    return lambda X, X_test, seed: -Model(**settings, random_state=seed).fit(X).score_samples(X_test)


def distance(X: NDArray, X_test: NDArray, seed: int) -> NDArray:
    return NearestNeighbors(n_neighbors=5).fit(X).kneighbors(X_test)[0].mean(1)


def support(X: NDArray, X_test: NDArray, seed: int) -> NDArray:
    return -OneClassSVM().fit(X).score_samples(X_test)


def pca_error(X: NDArray, X_test: NDArray, seed: int) -> NDArray:
    pca = PCA(min(CODES, X.shape[1] - 1)).fit(X)
    return np.square(X_test - pca.inverse_transform(pca.transform(X_test))).sum(1)


def norm(X: NDArray, X_test: NDArray, seed: int) -> NDArray:
    return np.square(X_test).sum(1)


PLAIN = {"linear_path": False, "early_stopping": False}
OWN: dict[str, Score] = {name: by_score(Family, task=None, **PLAIN) for name, Family in FAMILIES.items()}
OF_DETECTORS = {"activation": "tanh", "n_members": 4, **PLAIN}
DETECTORS: dict[str, Score] = {
    f"detector, {name}": by_score(AutoencoderOutlierDetector, estimator=Family(**OF_DETECTORS))
    for name, Family in FAMILIES.items()
}
PEERS: dict[str, Score] = {
    "5-NN distance": distance,
    "GaussianMixture(10)": by_score(GaussianMixture, n_components=10),
    "isolation forest": by_score(IsolationForest),
    "OneClassSVM": support,
    "PCA error": pca_error,
    "squared norm": norm,
}


def rows(folder: Path, name: str) -> tuple[NDArray, NDArray, NDArray]:
    """Return training rows, test rows, and which of these are anomalies."""
    file = np.load(folder / "adbench" / f"{name}.npz")
    normal, unusual = file["X"][file["y"] == 0], file["X"][file["y"] == 1]
    half = len(normal) // 2
    scaler = StandardScaler().fit(normal[:half])
    X_test = scaler.transform(np.concatenate([normal[half:], unusual]))
    return scaler.transform(normal[:half]), X_test, np.arange(len(X_test)) >= len(normal) - half


def with_means(of_set: dict[str, float]) -> dict[str, float]:
    """Add the means over the sets, with and without the one that no method agrees on."""
    areas = [of_set[name] for name in SETS]
    return of_set | {"mean": float(np.mean(areas)), "mean without wilt": float(np.mean(areas[:-1]))}


def main() -> None:
    asked = arguments(__doc__, seeds=5)
    start = time.perf_counter()
    data = {name: rows(asked.data, name) for name in SETS}

    def areas(score: Score, seed: int) -> dict[str, float]:
        scores = {name: score(X, X_test, seed) for name, (X, X_test, _) in data.items()}
        return with_means({name: 100 * roc_auc_score(data[name][2], scores[name]) for name in SETS})

    table: Table = {
        name: over_seeds(name, asked.seeds, lambda seed, score=score: areas(score, seed))
        for name, score in (OWN | DETECTORS | PEERS).items()
    }
    neighbours: Cell = table["5-NN distance"]["mean"]
    beside = f"5-NN distance {neighbours['mean']:.1f}, published kNN 87.3"
    bars = []
    for name in OWN | DETECTORS:
        bars.append(bar(f"{name}, mean of five sets", table[name]["mean"], least=91.5, beside=beside))
        four = table[name]["mean without wilt"]
        bars.append(bar(f"{name}, mean without wilt", four, least=91, beside="published kNN 93.2"))
    table |= {f"published: {name}": with_means(dict(zip(SETS, of, strict=True))) for name, of in PUBLISHED.items()}
    report("anomalies", asked, start, {"task": None}, {"auroc": table}, bars)


if __name__ == "__main__":
    main()
