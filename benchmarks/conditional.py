"""Conditional samples against known distributions, and their time: ``python benchmarks/conditional.py``.

joint
    A mixture of three normal distributions in three columns, with the component as a category; 3,000 rows, defaults,
    six seeds. Of 4,000 rows given a number (three values) or a category: error of the conditional mean of a column in
    its standard deviations, relative error of its standard deviation, and largest error of the shares of the
    categories.
many cells
    2,000 rows of 20 columns with 8 factors and noise. Of 300 new rows all cells but one are known: root mean squared
    error of the mean of five draws of this cell, of ``impute`` of a denoising fit and of linear regression.
time
    Milliseconds of the fit, of the first ``sample(10)`` and per 1,000 rows: ``sample``, ``sample`` given one number,
    and ``impute``; median of three.
"""

import json
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LinearRegression

import sklearn_ae
from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder

FAMILIES = {
    "regularized": RegularizedAutoencoder(),
    "variational": VariationalAutoencoder(),
    "variational, column noise": VariationalAutoencoder(observation_noise="column"),
    "adversarial": AdversarialAutoencoder(),
}
SHARES = np.array([0.3, 0.5, 0.2])
MEANS = np.array([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.0], [0.0, -2.0, -2.0]])
ROOT = np.array([[1.0, 0.0, 0.0], [0.7, 0.7, 0.0], [-0.4, 0.3, 0.8]])
COVARIANCE = ROOT @ ROOT.T
Figures = dict[str, float]


def of_joint(model: object, seed: int) -> tuple[list[float], list[float], list[float]]:
    """Return errors of conditional means, standard deviations and shares."""
    random = np.random.RandomState(seed)
    component = random.choice(3, p=SHARES, size=3000)
    numbers = MEANS[component] + random.normal(size=(3000, 3)) @ ROOT.T
    rows = pd.DataFrame(numbers, columns=list("xyw")).assign(c=np.array(list("abc"))[component])
    model.set_params(n_components=3, random_state=seed).fit(rows)
    means, spreads, shares = [], [], []
    for value in (-1.0, 0.5, 2.0):
        drawn = model.sample(4000, 0, given={"x": value})
        weights = SHARES * norm.pdf(value, MEANS[:, 0], np.sqrt(COVARIANCE[0, 0]))
        weights /= weights.sum()
        of_component = MEANS[:, 1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (value - MEANS[:, 0])
        mean = weights @ of_component
        variance = COVARIANCE[1, 1] - COVARIANCE[1, 0] ** 2 / COVARIANCE[0, 0] + weights @ (of_component - mean) ** 2
        means.append(abs(drawn["y"].mean() - mean) / rows["y"].std())
        spreads.append(abs(drawn["y"].std() / np.sqrt(variance) - 1))
        shares.append(max(abs((drawn["c"] == name).mean() - share) for name, share in zip("abc", weights, strict=True)))
    for place, name in enumerate("abc"):
        drawn = model.sample(4000, 0, given={"c": name})
        for j, column in enumerate("xyw"):
            means.append(abs(drawn[column].mean() - MEANS[place, j]) / rows[column].std())
            spreads.append(abs(drawn[column].std() / np.sqrt(COVARIANCE[j, j]) - 1))
    return means, spreads, shares


def joint() -> dict[str, Figures]:
    results = {}
    for name, model in FAMILIES.items():
        errors = [sum(parts, []) for parts in zip(*(of_joint(model, seed) for seed in range(6)), strict=True)]
        results[name] = {
            f"{what}, {how}": float(function(of_what))
            for what, of_what in zip(("mean", "spread", "shares"), errors, strict=True)
            for how, function in (("average", np.mean), ("largest", np.max))
        }
        print(name, results[name], flush=True)
    return results


def many_cells() -> dict[str, Figures]:
    results = {}
    for seed in range(3):
        random = np.random.RandomState(seed)
        loadings = random.normal(size=(8, 20))
        rows, new = (random.normal(size=(n, 8)) @ loadings + 0.5 * random.normal(size=(n, 20)) for n in (2000, 300))
        gaps = np.where(np.arange(20) == 0, np.nan, new)

        def error(filled: np.ndarray, truth: np.ndarray = new[:, 0]) -> float:
            return float(np.sqrt(np.square(filled - truth).mean()))

        found = {
            f"sample, {name}": error(np.mean([model.sample(300, s, given=gaps)[:, 0] for s in range(5)], 0))
            for name, family in FAMILIES.items()
            for model in [family.set_params(n_components=8, random_state=0).fit(rows)]
        }
        denoising = RegularizedAutoencoder(8, corruption_level=0.3, early_stopping=False, random_state=0).fit(rows)
        found["impute, denoising"] = error(denoising.impute(gaps)[:, 0])
        found["linear regression"] = error(LinearRegression().fit(rows[:, 1:], rows[:, 0]).predict(new[:, 1:]))
        found["standard deviation"] = float(new[:, 0].std())
        results[f"seed {seed}"] = found
        print(found, flush=True)
    return results


def milliseconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def times_of(model: object, X: np.ndarray, gaps: np.ndarray) -> Figures:
    return {
        "fit": milliseconds(lambda: model.fit(X)),
        "first sample": milliseconds(lambda: model.sample(10, 0)),
        "sample": milliseconds(lambda: model.sample(1000, 0)),
        "sample given a number": milliseconds(lambda: model.sample(1000, 0, given={3: float(X[0, 3])})),
        "impute": milliseconds(lambda: model.impute(gaps)) / len(X) * 1000,
    }


def times() -> dict[str, Figures]:
    results = {}
    for table, X in (("breast_cancer", load_breast_cancer().data), ("digits", load_digits().data)):
        gaps = np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.2, np.nan, X)
        for name, family in FAMILIES.items():
            model = family.set_params(n_components=8, random_state=0)
            runs = [times_of(model, X, gaps) for _ in range(3)]
            results[f"{table}, {name}"] = pd.DataFrame(runs).median().to_dict()
            print(table, name, results[f"{table}, {name}"], flush=True)
    return results


def main() -> None:
    torch.set_num_threads(1)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "torch": torch.__version__,
            "sklearn_ae": sklearn_ae.__version__,
        },
        "results": {"joint": joint(), "many cells": many_cells(), "time": times()},
    }
    path = Path(__file__).parent / "results" / "conditional.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
