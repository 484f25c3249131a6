"""What theory says must come out: ``python benchmarks/exams/oracles.py``; the tests hold the same to it, and more.

A linear autoencoder has the squared error of PCA (the mean over the rows, summed over the columns), and a linear
variational autoencoder with learned noise has the likelihood of probabilistic PCA, in nats a row (Lucas et al. 2019),
on digits / 16 and on three standardised tables of scikit-learn. The latter is integrated to a standard error of 0.025
nats.
"""

import time

import numpy as np
from exam import Table, arguments, bar, over_seeds, report
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder

SETS = {
    "digits / 16": load_digits().data / 16,
    "breast_cancer": scale(load_breast_cancer().data),
    "wine": scale(load_wine().data),
    "diabetes": scale(load_diabetes().data),
}
LINEAR = {
    "hidden_layer_sizes": (),
    "activation": "identity",
    "scale": False,
    "task": None,
    "learning_rate": 3e-2,
    "linear_path": False,
    "early_stopping": False,
}
POINT = {"penalty": None, "batch_size": 128, "max_iter": 400}
DISTRIBUTION = {"max_iter": 2000, "precision": "float64"}


def squared_error(model, X: NDArray) -> float:
    return np.square(X - model.inverse_transform(model.transform(X))).sum(1).mean()


def error_beside_pca(X: NDArray, k: int, seed: int) -> dict[str, float]:
    best = squared_error(PCA(k).fit(X), X)
    ours = squared_error(RegularizedAutoencoder(k, **LINEAR, **POINT, random_state=seed).fit(X), X)
    return {"PCA": best, "linear autoencoder": ours, "ratio": ours / best}


def likelihood_beside_pca(X: NDArray, k: int, seed: int) -> dict[str, float]:
    best = PCA(k).fit(X).score(X)
    model = VariationalAutoencoder(k, **LINEAR, **DISTRIBUTION, batch_size=len(X), random_state=seed).fit(X)
    ours = model.score_samples(X, tolerance=0.025).mean()
    return {"probabilistic PCA": best, "linear variational autoencoder": ours, "difference": ours - best}


def means(table: Table, measure: str) -> list[float]:
    return [row[measure]["mean"] for row in table.values()]


def main() -> None:
    asked = arguments(__doc__, seeds=3)
    start = time.perf_counter()
    errors: Table = {}
    likelihoods: Table = {}
    for name, X in SETS.items():
        for k in (2, 3, 5, 8):
            row, case = f"{name}, k = {k}", (X, k)
            errors[row] = over_seeds(row, asked.seeds, lambda seed, case=case: error_beside_pca(*case, seed))
            likelihoods[row] = over_seeds(row, asked.seeds, lambda seed, case=case: likelihood_beside_pca(*case, seed))
    ratios, differences = means(errors, "ratio"), means(likelihoods, "difference")
    bars = [
        bar("squared error relative to PCA, the least", min(ratios), least=1 - 1e-6, beside="1"),
        bar("squared error relative to PCA, the largest", max(ratios), most=1.002, beside="1"),
        bar("log-likelihood beyond PCA, the least, nats", min(differences), least=-0.05, beside="0"),
        bar("log-likelihood beyond PCA, the largest, nats", max(differences), most=0.001, beside="0"),
    ]
    settings = {"both": LINEAR, "error": POINT, "likelihood": DISTRIBUTION}
    report("oracles", asked, start, settings, {"errors": errors, "likelihoods": likelihoods}, bars)


if __name__ == "__main__":
    main()
