"""Thirty codes of MNIST (Hinton & Salakhutdinov 2006, figure 2B): ``python benchmarks/exams/science_2006.py``.

784-1000-500-250-30 on the 60,000 training rows without labels. The figure is the squared error summed over the pixels
in [0, 1], the mean over the 10,000 test rows. The autoencoder has the package's defaults but for its layers and one
scale for all pixels. All methods have 30 numbers a row. A random projection is inverted by its pseudo-inverse; the
untrained encoder keeps its decoder untrained as well.

Not as there: layers are silu, not logistic, and begin at random, not at restricted Boltzmann machines; the loss is
the squared error, not the cross-entropy.
"""

import time

import numpy as np
from exam import Table, arguments, bar, mnist, over_seeds, report
from features import UNTRAINED
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.random_projection import GaussianRandomProjection

from sklearn_ae import RegularizedAutoencoder

CODES = 30
SETTINGS = {
    "n_components": CODES,
    "hidden_layer_sizes": (1000, 500, 250),
    "scale": "common",
    "task": None,
    "linear_path": False,
    "early_stopping": False,
}
PUBLISHED = {"autoencoder": 3.00, "logistic PCA": 8.01, "PCA": 13.87}


def methods(seed: int, epochs: int) -> dict:
    return {
        "RegularizedAutoencoder": RegularizedAutoencoder(**SETTINGS, max_iter=epochs, random_state=seed),
        "untrained autoencoder": RegularizedAutoencoder(**SETTINGS, **UNTRAINED, random_state=seed),
        "PCA": PCA(CODES, random_state=seed),
        "TruncatedSVD": TruncatedSVD(CODES, random_state=seed),
        "random projection": GaussianRandomProjection(CODES, compute_inverse_components=True, random_state=seed),
    }


def error(model, X: NDArray, X_test: NDArray) -> dict[str, float]:
    model.fit(X)
    return {"squared error": np.square(X_test - model.inverse_transform(model.transform(X_test))).sum(1).mean()}


def main() -> None:
    asked = arguments(__doc__, seeds=1, epochs=100, rows=60_000)
    start = time.perf_counter()
    X, X_test, *_ = mnist(asked.data)
    X = X[: asked.rows]
    table: Table = {}
    for name in methods(0, asked.epochs):
        run = lambda seed, name=name: error(methods(seed, asked.epochs)[name], X, X_test)  # noqa: E731
        table[name] = over_seeds(name, asked.seeds, run)
    ours = table["RegularizedAutoencoder"]["squared error"]
    table |= {f"published: {name}": {"squared error": value} for name, value in PUBLISHED.items()}
    beside = "published 3.00, logistic PCA 8.01, PCA 13.87"
    bars = [bar("squared error of a test row", ours, most=3.3, beside=beside)]
    report("science_2006", asked, start, SETTINGS | {"max_iter": asked.epochs}, {"error": table}, bars)


if __name__ == "__main__":
    main()
