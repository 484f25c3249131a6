"""How the defaults were chosen: one setting changed at a time, ``python benchmarks/defaults.py``.

Codes of an unsupervised fit on digits (common scale) under LogisticRegression and 5-NN, and ``predict`` on two small
tables. Mean accuracies of a stratified, shuffled 5-fold cross-validation; every fold has its own seed, so that no
figure hangs on one draw of the weights. The results go to ``benchmarks/results/defaults.json``.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder

PLAIN = {"linear_path": False, "early_stopping": False}
RESULTS = Path(__file__).parent / "results" / "defaults.json"
SETTINGS = [
    {},
    {"activation": "relu"},
    {"activation": "tanh"},
    {"activation": "gelu"},
    {"learning_rate": 1e-3},
    {"learning_rate": 1e-2},
    {"learning_rate_schedule": "constant"},
    {"max_iter": 50},
    {"max_iter": 200},
    {"batch_size": 64},
    {"batch_size": 256},
    {"hidden_layer_sizes": (64,)},
    {"hidden_layer_sizes": (256, 128)},
]
FAMILIES = {"regularized": RegularizedAutoencoder, "variational": VariationalAutoencoder}
OWN_SETTINGS = {
    "regularized": [{"penalty": None}],
    "variational": [{"observation_noise": 1.0}, {"observation_noise": "column"}],
}


def folds(X, y):
    return enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))


def accuracy_of_codes(Family, k, settings):
    """Return the accuracies of LogisticRegression and 5-NN on k codes of digits."""
    X, y = load_digits(return_X_y=True)
    found = []
    for seed, (train, test) in folds(X, y):
        model = Family(k, scale="common", task=None, random_state=seed, **PLAIN, **settings).fit(X[train])
        heads = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)), KNeighborsClassifier()
        codes = model.transform(X[train]), model.transform(X[test])
        found.append([head.fit(codes[0], y[train]).score(codes[1], y[test]) for head in heads])
    return np.mean(found, axis=0).tolist()


def accuracy_of_predictions(Family, load, settings):
    X, y = load(return_X_y=True)
    models = ((Family(random_state=seed, **PLAIN, **settings), train, test) for seed, (train, test) in folds(X, y))
    return float(np.mean([model.fit(X[train], y[train]).score(X[test], y[test]) for model, train, test in models]))


def main():
    records = []
    for name, Family in FAMILIES.items():
        for settings in SETTINGS + OWN_SETTINGS[name]:
            record = {"family": name, "changed": ", ".join(f"{k}={v!r}" for k, v in settings.items()) or "none"}
            for k in (2, 8):
                linear, neighbours = accuracy_of_codes(Family, k, settings)
                record |= {f"k={k}, LogisticRegression": linear, f"k={k}, 5-NN": neighbours}
            for data, load in {"breast_cancer": load_breast_cancer, "wine": load_wine}.items():
                record[f"predict, {data}"] = accuracy_of_predictions(Family, load, settings)
            print(record, flush=True)
            records.append(record)
    versions = {module.__name__: module.__version__ for module in (np, sklearn, torch)}
    RESULTS.write_text(json.dumps({"versions": versions, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
