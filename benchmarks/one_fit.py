"""One fit against a bare torch loop that does the same work: `python benchmarks/one_fit.py`.

Both train the same network on the same rows with the same batches, Adam and a constant learning rate. The loop is
what one writes by hand: rows in a tensor, a permutation an epoch, zero_grad, backward, step. The fit is what users
call: input is checked, columns are scaled, a history is kept. Repeats are interleaved, and ratios are medians of pairs.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sklearn
import skorch
import torch
from torch import nn

from sklearn_ae import RegularizedAutoencoder

CASES = {
    "30-64-8-64-30": {"columns": 30, "hidden": (64,), "code": 8, "rows": 20_000, "epochs": 6},
    "784-256-32-256-784": {"columns": 784, "hidden": (256,), "code": 32, "rows": 20_000, "epochs": 4},
}
BATCH = 128
RATE = 1e-3


def bare_loop(X, case, *, fused):
    """Train by hand; return the mean loss of the last epoch, half the squared error summed over columns."""
    x = torch.from_numpy(X)
    sizes = [case["columns"], *case["hidden"], case["code"]]
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in zip(sizes[:-2], sizes[1:-1], strict=True)]
    back = [[nn.Linear(b, a), nn.ReLU()] for a, b in zip(sizes[1:-1], sizes[2:], strict=True)][::-1]
    module = nn.Sequential(
        *[layer for pair in layers for layer in pair],
        nn.Linear(sizes[-2], sizes[-1]),
        *[layer for pair in back for layer in pair],
        nn.Linear(sizes[1], sizes[0]),
    )
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, fused=fused)
    for _ in range(case["epochs"]):
        total = 0.0
        batches = torch.randperm(len(x)).split(BATCH)
        for index in batches:
            rows = x[index]
            loss = 0.5 * (module(rows) - rows).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
    return float(total) / len(batches)


def fit(X, case):
    """Train by the estimator; return the same loss, the constant of the density left out."""
    estimator = RegularizedAutoencoder(
        case["code"],
        hidden_layer_sizes=case["hidden"],
        activation="relu",
        penalty=None,
        task=None,
        scale=True,
        batch_size=BATCH,
        learning_rate=RATE,
        learning_rate_schedule="constant",
        max_iter=case["epochs"],
        random_state=0,
    ).fit(X)
    return estimator.loss_ - 0.5 * np.log(2 * np.pi) * case["columns"]


def rows_of(case):
    """Rows near a curved surface of a few dimensions, standardised."""
    random = np.random.default_rng(0)
    codes = random.normal(size=(case["rows"], 5))
    X = np.tanh(codes @ random.normal(size=(5, case["columns"]))) + 0.1 * random.normal(
        size=(case["rows"], case["columns"])
    )
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32)


def compare(case, repeats):
    X = rows_of(case)
    ways = {
        "bare loop": lambda: bare_loop(X, case, fused=False),
        "bare loop, fused Adam": lambda: bare_loop(X, case, fused=True),
        "fit": lambda: fit(X, case),
    }
    seconds = {name: [] for name in ways}
    losses = {name: way() for name, way in ways.items()}  # and warm up
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds["fit"], seconds[name], strict=True))
        for name in ways
        if name != "fit"
    }
    return {
        "median_seconds": {n: statistics.median(s) for n, s in seconds.items()},
        "losses": losses,
        "ratio_of_fit": ratios,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "one_fit.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for name, case in CASES.items():
        results[name] = compare(case, options.repeats)
        print(name, json.dumps(results[name], indent=1), flush=True)
    versions = {"torch": torch.__version__, "scikit-learn": sklearn.__version__, "skorch": skorch.__version__}
    machine = {"processor": processor(), "threads": options.threads, "python": platform.python_version(), **versions}
    options.out.parent.mkdir(exist_ok=True)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "repeats": options.repeats,
        "cases": results,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")


def processor():
    """Name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
