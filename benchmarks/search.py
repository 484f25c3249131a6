"""A whole grid search as one program: ``python benchmarks/search.py``.

The same search, one fit after another and with the backend ``sklearn_ae``, on one thread; the pairs are interleaved and
ratios are medians. On breast_cancer also in two processes, and with plain skorch nets. Results go to
``benchmarks/results/search.json``.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import sklearn
import skorch
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import sklearn_ae
from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder

RESULTS = Path(__file__).parent / "results" / "search.json"
SMALL = {"hidden_layer_sizes": (64,), "batch_size": 32, "max_iter": 20, "task": None, "random_state": 0}
RATES = [1e-3, 3e-3, 1e-2]
WEIGHTS = [0.1, 0.3, 1.0, 2.0]


class PlainNet(TransformerMixin, BaseEstimator):
    """The autoencoder that one writes with skorch: 64-8-64, Adam, a penalty on the code left out."""

    def __init__(self, lr: float = 3e-3, seed: int = 0) -> None:
        self.lr = lr
        self.seed = seed

    def fit(self, X: np.ndarray, y: None = None) -> "PlainNet":
        torch.manual_seed(self.seed)
        d = X.shape[1]
        encoder = nn.Sequential(nn.Linear(d, 64), nn.SiLU(), nn.Linear(64, 8))
        decoder = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, d))
        settings = {"max_epochs": 20, "batch_size": 32, "lr": self.lr, "optimizer": torch.optim.Adam, "verbose": 0}
        net = skorch.NeuralNetRegressor(
            nn.Sequential(encoder, decoder), train_split=None, iterator_train__shuffle=True, **settings
        )
        rows = X.astype(np.float32)
        self.net_ = net.fit(rows, rows)
        return self

    @torch.no_grad()
    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.net_.module_[0](torch.from_numpy(X.astype(np.float32))).numpy()


def cases() -> dict[str, tuple[BaseEstimator, dict, Callable]]:
    digits = {**SMALL, "scale": "common", "batch_size": 128}
    rates_and_seeds = {"learning_rate": RATES, "random_state": [0, 1]}
    return {
        "breast_cancer, regularized": (
            RegularizedAutoencoder(8, **SMALL),
            {"alpha": [1e-4, 1e-3, 1e-2, 1e-1], **rates_and_seeds},
            load_breast_cancer,
        ),
        "breast_cancer, variational": (
            VariationalAutoencoder(8, **SMALL),
            {"beta": WEIGHTS, **rates_and_seeds},
            load_breast_cancer,
        ),
        "breast_cancer, adversarial": (
            AdversarialAutoencoder(8, **SMALL),
            {"adversarial_weight": WEIGHTS, **rates_and_seeds},
            load_breast_cancer,
        ),
        "digits, 64-64, two code sizes": (
            RegularizedAutoencoder(8, **digits),
            {"n_components": [4, 8], **rates_and_seeds},
            load_digits,
        ),
        "digits, 512-256": (
            RegularizedAutoencoder(8, **{**digits, "hidden_layer_sizes": (512, 256), "max_iter": 5}),
            {"learning_rate": RATES},
            load_digits,
        ),
    }


def searched(estimator: BaseEstimator, grid: dict, load: Callable, **settings: object) -> tuple[float, np.ndarray]:
    """Return the seconds of a search, and its scores."""
    X, y = load(return_X_y=True)
    named = {f"{type(estimator).__name__.lower()}__{name}": values for name, values in grid.items()}
    pipeline = make_pipeline(StandardScaler(), estimator, LogisticRegression(max_iter=500))
    search = GridSearchCV(pipeline, named, cv=5, refit=False, **settings)
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start, search.cv_results_["mean_test_score"]


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    repeats = parser.parse_args().repeats
    RegularizedAutoencoder(2, max_iter=3).fit(load_breast_cancer().data)  # what the first fit of a process loads
    results = {}
    for name, (estimator, grid, load) in cases().items():
        pairs = []
        for _ in range(repeats):
            with joblib.parallel_config(backend="sklearn_ae", n_jobs=120):
                together, found = searched(estimator, grid, load)
            alone, expected = searched(estimator, grid, load)
            pairs.append((together, alone))
        results[name] = {
            "fits": len(found) * 5,
            "seconds": statistics.median(a for a, _ in pairs),
            "one after another": statistics.median(b for _, b in pairs),
            "ratio": statistics.median(a / b for a, b in pairs),
            "largest difference of a score": float(np.abs(found - expected).max()),
        }
        if "regularized" in name:
            processes, _ = searched(estimator, grid, load, n_jobs=2)
            plain, _ = searched(PlainNet(), {"lr": RATES, "seed": list(range(8))}, load)
            results[name] |= {"two processes": processes, "plain skorch nets": plain}
        print(name, results[name], flush=True)
    versions = {"torch": torch.__version__, "scikit-learn": sklearn.__version__, "skorch": skorch.__version__}
    written = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "sklearn_ae": sklearn_ae.__version__, **versions},
        "results": results,
    }
    RESULTS.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
