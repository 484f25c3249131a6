"""Features and classes on data sets of scikit-learn, against the usual baselines: ``python benchmarks/features.py``.

It prints tables as markdown and writes the same numbers to ``benchmarks/results/features.json``. Every figure is the
mean accuracy over the test folds of a stratified, shuffled 5-fold cross-validation. Whatever is learned stands inside
the Pipeline.
"""

import json
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sklearn
import torch
from joblib import Memory
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder

SEED = 0
RESULTS = Path(__file__).parent / "results" / "features.json"

DATA = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
SCALE = {"digits": "common", "breast_cancer": True, "wine": True}  # pixels share a unit, the columns of tables do not
FAMILIES = {
    "regularized": RegularizedAutoencoder,
    "variational": VariationalAutoencoder,
    "adversarial": AdversarialAutoencoder,
}
Figures = dict[str, float | list[float]]


def heads() -> dict[str, BaseEstimator]:
    """Return what is put on top of features; only the linear model minds their size."""
    return {
        "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        "5-NN": KNeighborsClassifier(5),
    }


def features(data: str, k: int) -> dict[str, BaseEstimator]:
    """Return unsupervised features of one size; PCA gets the rows that the autoencoders see."""
    scaler = FunctionTransformer() if SCALE[data] == "common" else StandardScaler()
    settings = {"scale": SCALE[data], "task": None, "random_state": SEED}
    return {
        "PCA": make_pipeline(scaler, PCA(k, random_state=SEED)),
        **{name: Family(k, **settings) for name, Family in FAMILIES.items()},
    }


def pixels(X: np.ndarray) -> np.ndarray:
    """Return pixels of the digits on one scale, of mean 0 and variance 1 over all of them, about."""
    return (X - 5) / 6


def classifiers(data: str) -> dict[str, BaseEstimator]:
    """Return networks of the same layers: with the code in the middle, and the same as plain ones."""
    scaler = FunctionTransformer(pixels) if SCALE[data] == "common" else StandardScaler()
    plain = {"learning_rate_init": 3e-3, "max_iter": 500, "random_state": SEED}
    return {
        "LogisticRegression": make_pipeline(scaler, LogisticRegression(max_iter=5000)),
        "MLPClassifier 128-64": make_pipeline(scaler, MLPClassifier((128, 64), **plain)),
        "MLPClassifier 128-64-8": make_pipeline(scaler, MLPClassifier((128, 64, 8), **plain)),
        **{name: Family(8, scale=SCALE[data], random_state=SEED) for name, Family in FAMILIES.items()},
    }


def measured(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray) -> Figures:
    """Return the accuracy on the test folds, and its mean."""
    scores = cross_val_score(estimator, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=SEED))
    return {"accuracy": float(scores.mean()), "folds": scores.tolist()}


def cases(memory: Memory) -> Iterator[tuple[str, str, int, str, str, BaseEstimator]]:
    """Yield (table, data, k, features, head, estimator); ``memory`` lets the heads share one fit of the features."""
    for k in (2, 4, 8):
        for name, transformer in features("digits", k).items():
            for head, classifier in heads().items():
                steps = [("features", transformer), ("head", classifier)]
                yield "codes", "digits", k, name, head, Pipeline(steps, memory=memory)
    for data in DATA:
        for head, classifier in heads().items():
            scaled = classifier if data == "digits" else make_pipeline(StandardScaler(), classifier)
            yield "orientation", data, 8, "raw", head, scaled
        for name, transformer in features(data, 8).items():
            for head, classifier in heads().items():
                steps = [("features", transformer), ("head", classifier)]
                yield "orientation", data, 8, name, head, Pipeline(steps, memory=memory)
        for name, classifier in classifiers(data).items():
            yield "predict", data, 8, name, "own", classifier


def markdown(rows: list[list[str]]) -> str:
    """Return a table; the first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def table(records: list[dict], row: str, names: list[str], heads: tuple[str, ...]) -> str:
    """Return a markdown table of accuracies: a row for each value of ``row``, a column for each of ``names``."""
    found = {(record[row], record["features"], record["head"]): record["accuracy"] for record in records}
    keys = list(dict.fromkeys(record[row] for record in records))
    cells = [[" / ".join(f"{found[key, name, head]:.3f}" for head in heads) for name in names] for key in keys]
    return markdown([[row, *names], *([str(key), *line] for key, line in zip(keys, cells, strict=True))])


def main() -> None:
    """Measure, print, write."""
    versions = {
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in (np, sklearn, torch)},
    }
    print(f"seed {SEED}, {torch.get_num_threads()} thread(s), {versions}")
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for what, data, k, name, head, estimator in cases(Memory(folder, verbose=0)):
            X, y = DATA[data](return_X_y=True)
            records.append({"table": what, "data": data, "k": k, "features": name, "head": head})
            records[-1] |= measured(estimator, X, y)
    both = ("LogisticRegression", "5-NN")
    codes, orientation, predict = ([r for r in records if r["table"] == t] for t in ("codes", "orientation", "predict"))
    print("\ndigits, codes of an unsupervised fit: LogisticRegression / 5-NN")
    print(table(codes, "k", ["PCA", *FAMILIES], both))
    print("\n8 codes of an unsupervised fit: LogisticRegression / 5-NN")
    print(table(orientation, "data", ["raw", "PCA", *FAMILIES], both))
    print("\npredict of the autoencoder against plain networks")
    print(table(predict, "data", list(classifiers("digits")), ("own",)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"seed": SEED, "versions": versions, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
