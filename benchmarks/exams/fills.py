"""Missing cells of six numeric tables, beside CACTI's figures for ten others: ``python benchmarks/exams/fills.py``.

30 % of the cells are hidden: at random; given others (in half of the columns, by a random combination of the other
half); or not at random (by the cell's own value). The figure is the root mean squared error of the hidden cells in
standard deviations, the mean over six tables of at most 1,500 rows. Imputers have their defaults and get standardised
columns. Published are means over ten UCI tables which are not the ones here, so they give an impression only.

Not as there: other tables, and rows are filled that the imputers are fitted to. MissForest and HyperImpute are not
run: they take minutes a table.
"""

import time
from pathlib import Path

import numpy as np
from exam import Table, arguments, bar, california, figure, report
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import scale

from sklearn_ae import AutoencoderImputer, VariationalAutoencoder

ROWS = 1500
SHARE = 0.3
PUBLISHED = {  # at random, given others, not at random
    "CACTI": (0.66, 0.67, 0.68),
    "copied masks alone": (0.67, 0.69, 0.70),
    "ReMasker": (0.68, 0.69, 0.73),
    "HyperImpute": (0.72, 0.73, 0.76),
    "MissForest": (0.77, 0.79, 0.79),
    "chained equations": (0.86, 0.78, 0.93),
}


def tables(folder: Path) -> dict[str, NDArray]:
    """Return standardised rows."""
    found = {
        load.__name__.removeprefix("load_"): load().data for load in (load_breast_cancer, load_wine, load_diabetes)
    }
    found["california"] = california(folder)[0].dropna().to_numpy()
    for name in ("satellite", "pendigits"):
        found[name] = np.load(folder / "adbench" / f"{name}.npz")["X"].astype(float)
    return {name: scale(np.random.RandomState(0).permutation(X)[:ROWS]) for name, X in found.items()}


# Which cells are hidden


def at_random(X: NDArray, random: np.random.RandomState) -> NDArray:
    return random.uniform(size=X.shape) < SHARE


def given_others(X: NDArray, random: np.random.RandomState) -> NDArray:
    """Hide cells of half of the columns, twice as often, by the values of the other half."""
    order = random.permutation(X.shape[1])
    asked, known = np.split(order, [X.shape[1] // 2])
    logits = scale(X[:, known] @ random.normal(size=(len(known), len(asked))))
    hidden = np.zeros(X.shape, bool)
    hidden[:, asked] = random.uniform(size=logits.shape) < chances(logits, SHARE * X.shape[1] / len(asked))
    return hidden


def not_at_random(X: NDArray, random: np.random.RandomState) -> NDArray:
    """Hide cells by their own value: large ones in about half of the columns, small ones in the others."""
    return random.uniform(size=X.shape) < chances(X * random.choice([-1, 1], size=X.shape[1]), SHARE)


def chances(logits: NDArray, share: float) -> NDArray:
    """Return probabilities, logistic in the logits, whose mean is the share in each column."""
    low, high = np.full((2, 1, logits.shape[1]), [[[-20.0]], [[20.0]]])
    for _ in range(40):  # bisection
        middle = (low + high) / 2
        above = expit(2 * logits + middle).mean(0) > share
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return expit(2 * logits + low)


HIDE = {"at random": at_random, "given others": given_others, "not at random": not_at_random}


def imputers(seed: int) -> dict:
    return {
        "AutoencoderImputer": AutoencoderImputer(random_state=seed).fit_transform,
        "VariationalAutoencoder": lambda X: VariationalAutoencoder(random_state=seed).fit(X).impute(X),
        "IterativeImputer": IterativeImputer(random_state=seed).fit_transform,
        "KNNImputer": KNNImputer().fit_transform,
        "SimpleImputer": SimpleImputer().fit_transform,
    }


def error(name: str, X: NDArray, hide, seed: int) -> float:
    hidden = hide(X, np.random.RandomState(seed))
    hidden[hidden.all(1)] = False
    filled = imputers(seed)[name](np.where(hidden, np.nan, X))
    return float(np.sqrt(np.square(filled - X)[hidden].mean()))


def main() -> None:
    asked = arguments(__doc__, seeds=3)
    start = time.perf_counter()
    means: Table = {name: {} for name in imputers(0)}
    by_table: Table = {}
    for way, hide in HIDE.items():
        for name in imputers(0):
            found = []  # a row for each table
            for table, X in tables(asked.data).items():
                found.append([error(name, X, hide, seed) for seed in range(asked.seeds)])
                by_table.setdefault(f"{table}, {way}", {})[name] = figure(found[-1])
            means[name][way] = figure(np.mean(found, axis=0))
            print(way, name, means[name][way]["mean"], flush=True)
    others = ("IterativeImputer", "KNNImputer", "SimpleImputer")
    bars = []
    for way in HIDE:
        lowest, best = min((means[name][way]["mean"], name) for name in others)
        ours, beside = means["AutoencoderImputer"][way], f"{best} {lowest:.3f}"
        bars.append(bar(f"AutoencoderImputer, {way}", ours, most=lowest, beside=beside))
    means |= {f"published: {name}": dict(zip(HIDE, of, strict=True)) for name, of in PUBLISHED.items()}
    report("fills", asked, start, {}, {"means": means, "tables": by_table}, bars)


if __name__ == "__main__":
    main()
