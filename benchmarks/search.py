"""A whole grid search as one program: ``python benchmarks/search.py pairs|grids|curve|workers``.

The same search with the backend ``sklearn_ae`` and one fit after another, both on one core; with the backend and in two
processes, both on two cores. ``pairs`` compares them on several cases, and with plain skorch nets, ``grids`` where
architectures differ and with early stopping, ``curve`` by the number of fits, ``workers`` in this process and on the
workers of an executor, which were started before. Runs are interleaved and ratios are
medians. torch has one thread. Results go to ``benchmarks/results/search_*.json``. The cores are chosen as Linux allows.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
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

RESULTS = Path(__file__).parent / "results"
PLAIN = {"linear_path": False, "early_stopping": False}  # the work of a net that one writes with skorch
SMALL = {"hidden_layer_sizes": (64,), "batch_size": 32, "max_iter": 20, "task": None, "random_state": 0, **PLAIN}
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


def grids() -> dict[str, tuple[BaseEstimator, dict, Callable]]:
    """Return searches over 24 candidates that differ in what fits have in common."""

    def case(estimator: BaseEstimator, sizes: list[int]) -> tuple[BaseEstimator, dict, Callable]:
        rates = np.geomspace(1e-3, 1e-2, 24 // len(sizes)).tolist()
        return estimator, {"n_components": sizes, "learning_rate": rates}, load_breast_cancer

    stopping = {"early_stopping": True, "n_iter_no_change": 50, "max_iter": 40}
    return {
        "one code size": case(RegularizedAutoencoder(**SMALL), [8]),
        "6 code sizes": case(RegularizedAutoencoder(**SMALL), list(range(3, 9))),
        "24 code sizes": case(RegularizedAutoencoder(**SMALL), list(range(2, 26))),
        "40 epochs, validation rows": case(RegularizedAutoencoder(**SMALL | stopping), [8]),
    }


@contextmanager
def cores(n: int) -> Iterator[None]:
    """Run on some of the cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:n])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def searched(estimator: BaseEstimator, grid: dict, load: Callable, **settings: object) -> tuple[float, np.ndarray]:
    """Return the seconds of a search, and its scores."""
    X, y = load(return_X_y=True)
    named = {f"{type(estimator).__name__.lower()}__{name}": values for name, values in grid.items()}
    pipeline = make_pipeline(StandardScaler(), estimator, LogisticRegression(max_iter=500))
    search = GridSearchCV(pipeline, named, cv=5, refit=False, **settings)
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start, search.cv_results_["mean_test_score"]


def together(*case: object) -> tuple[float, np.ndarray]:
    with joblib.parallel_config(backend="sklearn_ae"):
        return searched(*case)


WAYS = {
    "together, one core": lambda *case: _on(1, together, case),
    "one after another": lambda *case: _on(1, searched, case),
    "together, two cores": lambda *case: _on(2, together, case),
    "two processes": lambda *case: _on(2, partial(searched, n_jobs=2), case),
}


def _on(n: int, way: Callable, case: tuple) -> tuple[float, np.ndarray]:
    with cores(n):
        return way(*case)


def compared(cases: dict, repeats: int) -> dict:
    """Return seconds and ratios of searches, medians over interleaved repeats."""
    results = {}
    for name, case in cases.items():
        runs = [{way: run(*case) for way, run in WAYS.items()} for _ in range(repeats)]
        of_way = {way: [run[way][0] for run in runs] for way in WAYS}
        scores = {way: runs[0][way][1] for way in WAYS}
        results[name] = {"fits": len(scores["one after another"]) * 5}
        results[name] |= {way: statistics.median(seconds) for way, seconds in of_way.items()}
        for ratio, (one, other) in {
            "ratio, one core": ("together, one core", "one after another"),
            "ratio, two cores": ("together, two cores", "two processes"),
        }.items():
            results[name][ratio] = statistics.median(np.divide(of_way[one], of_way[other]))
        difference = np.abs(scores["together, one core"] - scores["one after another"]).max()
        results[name]["largest difference of a score"] = float(difference)
        print(name, results[name], flush=True)
    return results


def pairs(repeats: int) -> dict:
    """Return the figures of the cases, and the seconds of plain skorch nets in the first one."""
    results = compared(cases(), repeats)
    plain, _ = _on(1, searched, (PlainNet(), {"lr": RATES, "seed": list(range(8))}, load_breast_cancer))
    results["breast_cancer, regularized"]["plain skorch nets"] = plain
    return results


def curve(repeats: int) -> dict:
    """Return the seconds of searches by their number of fits, medians over interleaved repeats."""
    results: dict = {way: {} for way in WAYS}
    for n_fits in (10, 30, 100, 300, 1000):
        grid = {"learning_rate": np.geomspace(1e-3, 1e-2, n_fits // 5).tolist()}
        case = (RegularizedAutoencoder(8, **SMALL), grid, load_breast_cancer)
        for way, run in WAYS.items():
            seconds = statistics.median(run(*case)[0] for _ in range(repeats if n_fits < 1000 else 1))
            results[way][n_fits] = seconds
            print(n_fits, way, f"{seconds:.2f}", flush=True)
    return results


def workers(repeats: int) -> dict:
    """Return the seconds of searches of 120 and 1,000 fits in threads and on worker processes, medians over repeats."""
    spawn = multiprocessing.get_context("spawn")
    results: dict = {}
    with ProcessPoolExecutor(1, spawn) as one, ProcessPoolExecutor(2, spawn) as two:
        ways = {
            "threads of this process": {},
            "one worker process": {"executor": one},
            "two worker processes": {"executor": two},
        }
        small = (RegularizedAutoencoder(8, **SMALL), {"learning_rate": RATES}, load_breast_cancer)
        for options in ways.values():
            _with(options, small)  # what the first search of a process loads
        for n_fits in (120, 1000):
            grid = {"learning_rate": np.geomspace(1e-3, 1e-2, n_fits // 5).tolist()}
            case = (RegularizedAutoencoder(8, **SMALL), grid, load_breast_cancer)
            n_runs = repeats if n_fits < 1000 else 1
            runs = [{way: _with(options, case) for way, options in ways.items()} for _ in range(n_runs)]
            of_way = {way: [run[way][0] for run in runs] for way in ways}
            scores = {way: runs[0][way][1] for way in ways}
            results[f"{n_fits} fits"] = {way: statistics.median(seconds) for way, seconds in of_way.items()} | {
                "ratio, two processes / one": statistics.median(
                    np.divide(of_way["two worker processes"], of_way["one worker process"])
                ),
                "ratio, two processes / threads": statistics.median(
                    np.divide(of_way["two worker processes"], of_way["threads of this process"])
                ),
                "largest difference of a score": float(
                    np.abs(scores["two worker processes"] - scores["threads of this process"]).max()
                ),
            }
            print(n_fits, results[f"{n_fits} fits"], flush=True)
    return results


def _with(options: dict, case: tuple) -> tuple[float, np.ndarray]:
    with joblib.parallel_config(backend="sklearn_ae", **options):
        return searched(*case)


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pairs", "grids", "curve", "workers"])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    RegularizedAutoencoder(2, max_iter=3).fit(load_breast_cancer().data)  # what the first fit of a process loads
    runs = {"pairs": pairs, "grids": lambda repeats: compared(grids(), repeats), "curve": curve, "workers": workers}
    results = runs[arguments.what](arguments.repeats)
    versions = {"torch": torch.__version__, "scikit-learn": sklearn.__version__, "skorch": skorch.__version__}
    written = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "sklearn_ae": sklearn_ae.__version__, **versions},
        "results": results,
    }
    (RESULTS / f"search_{arguments.what}.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
