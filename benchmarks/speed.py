"""Time and memory against peers: `python benchmarks/speed.py fits|transform|growth|threads|members`.

All peers train the same network on the same rows with the same batches and epochs on one thread (`--threads`). Each is
warmed up, repeats are interleaved, ratios are medians over pairs. The error of the reconstruction stands beside every
time, computed here for all peers alike: nobody wins by learning less. The peers need `pip install --group bench`.
`threads` compares the threads that a fit chooses with one, and with all that torch would take; `members` compares fits
of several members with a fit of one.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count, islice
from operator import truediv
from pathlib import Path

import numpy as np
import torch
from peers import PEERS, Case, rows_of
from sklearn.decomposition import PCA

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.training.fits import Fit
from sklearn_ae.training.loop import DRIVER
from sklearn_ae.training.threads import at_most, suited

RESULTS = Path(__file__).parent / "results"
OWN, LOOP = "sklearn_ae", "bare loop, fused Adam"

# Epochs enough that the start of a fit is under 5 % of it.
FITS = [
    Case("30-64-8-64-30", "regularized", 30, (64,), 8, batch=128, rows=20_000, epochs=40),
    Case("10-32-4-32-10", "regularized", 10, (32,), 4, batch=32, rows=20_000, epochs=12),
    Case("100-128-16-128-100", "regularized", 100, (128,), 16, batch=256, rows=20_000, epochs=30),
    Case("784-256-32-256-784", "regularized", 784, (256,), 32, batch=128, rows=20_000, epochs=6),
    Case("30-64-8-64-30", "variational", 30, (64,), 8, batch=128, rows=20_000, epochs=30),
    Case("10-32-4-32-10", "variational", 10, (32,), 4, batch=32, rows=20_000, epochs=10),
    Case("30-64-8-64-30", "adversarial", 30, (64,), 8, batch=128, rows=20_000, epochs=15),
    Case("10-32-4-32-10", "adversarial", 10, (32,), 4, batch=32, rows=20_000, epochs=5),
]
GROWTH = [
    *[Case(f"{n:,} rows", "regularized", 30, (64,), 8, 128, n, 2) for n in (1_000, 10_000, 100_000, 1_000_000)],
    *[Case(f"{d:,} columns", "regularized", d, (64,), 8, 128, 10_000, 5) for d in (10, 100, 500, 2_000)],
]


def seconds_of(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def interleaved(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each action, all of them run in every round."""
    rounds = [{name: seconds_of(action) for name, action in actions.items()} for _ in range(repeats)]
    return {name: [of_round[name] for of_round in rounds] for name in actions}


def ratios(seconds: dict[str, list[float]], own: str) -> dict[str, float]:
    """Return how long the own way takes beside each other one."""
    return {
        name: statistics.median(a / b for a, b in zip(seconds[own], seconds[name], strict=True))
        for name in seconds
        if name != own
    }


# Fits


def fits(repeats: int) -> list[dict]:
    return [compared(case, repeats) for case in FITS]


def compared(case: Case, repeats: int) -> dict:
    X = rows_of(case)
    peers = {name: peer for name, peer in PEERS.items() if case.family in peer.families}
    errors = {}
    for peer in peers.values():
        peer.fit(replace(case, rows=2_000, epochs=1), X[:2_000])  # imports, and all that is done once
    seconds = {name: [] for name in peers}
    for _ in range(repeats):
        for name, peer in peers.items():
            start = time.perf_counter()
            reconstruct = peer.fit(case, X)
            seconds[name].append(time.perf_counter() - start)
            errors[name] = float(np.square(reconstruct(X) - X).mean())
    products = products_of(case)
    products()
    floor = min(seconds_of(products) for _ in range(repeats)) * case.epochs
    found = {
        "network": case.name,
        "family": case.family,
        "batch": case.batch,
        "rows": case.rows,
        "epochs": case.epochs,
        "median_seconds": {name: statistics.median(of_peer) for name, of_peer in seconds.items()},
        "matrix_products_seconds": floor if case.family == "regularized" else None,
        "mean_squared_error": errors,
        "ratio_of_own": ratios(seconds, OWN),
    }
    print(json.dumps(found, indent=1), flush=True)
    return found


def products_of(case: Case) -> Callable[[], None]:
    """Return the matrix products of an epoch of a regularized fit, forward and backward, and nothing else."""
    sizes = [case.columns, *case.hidden, case.code, *reversed(case.hidden), case.columns]
    layers = [(torch.randn(case.batch, a), torch.randn(b, a), torch.randn(case.batch, b)) for a, b in pairs(sizes)]
    calls = []
    for position, (x, weight, slope) in enumerate(layers):
        calls += [(x, weight.t()), (slope.t(), x)] + ([(slope, weight)] if position else [])
    out = [torch.empty(a.shape[0], b.shape[1]) for a, b in calls]

    def run() -> None:
        for _ in range(-(-case.rows // case.batch)):
            for (a, b), target in zip(calls, out, strict=True):
                torch.mm(a, b, out=target)

    return run


def pairs(sizes: list[int]) -> list[tuple[int, int]]:
    return list(zip(sizes[:-1], sizes[1:], strict=True))


# Transform


def transform(repeats: int) -> dict:
    """Transform 1e6 rows of 100 columns through 100-128-16."""
    X = np.random.default_rng(0).standard_normal((1_000_000, 100), dtype=np.float32)
    estimator = RegularizedAutoencoder(
        16,
        hidden_layer_sizes=(128,),
        activation="relu",
        task=None,
        linear_path=False,
        max_iter=1,
        device="cpu",
        random_state=0,
    ).fit(X[:5_000])
    pca = PCA(16, random_state=0).fit(X[:5_000])
    inner, outer = (
        layer.weight.detach().t() for layer in (estimator.module_.encoder[0], estimator.module_.bottleneck.location)
    )
    x, codes = torch.from_numpy(X), torch.empty(len(X), 16)

    def products() -> None:
        hidden = torch.empty(2_048, 128)
        for start in range(0, len(X), 2_048):
            rows = x[start : start + 2_048]
            torch.mm(rows, inner, out=hidden[: len(rows)])
            torch.mm(hidden[: len(rows)], outer, out=codes[start : start + 2_048])

    actions = {OWN: lambda: estimator.transform(X), "matrix products": products, "PCA": lambda: pca.transform(X)}
    interleaved(actions, 1)
    seconds = interleaved(actions, 3 * repeats)
    found = {
        "rows": len(X),
        "network": "100-128-16",
        "median_seconds": {name: statistics.median(of_action) for name, of_action in seconds.items()},
        "ratio_of_own": ratios(seconds, OWN),
        "share_of_the_speed_of_the_products": 1 / ratios(seconds, OWN)["matrix products"],
    }
    print(json.dumps(found, indent=1), flush=True)
    return found


# Growth


def growth(repeats: int) -> list[dict]:
    """Return how time and memory grow. Each fit has a process of its own, so that its peak can be read."""
    found = []
    for number, case in enumerate(GROWTH):
        for name in (OWN, LOOP):
            runs = [alone(number, name) for _ in range(repeats)]
            best = min(runs, key=lambda run: run["seconds"])
            copy = 4 * case.rows * case.columns
            found.append({"case": case.name, "peer": name, "epochs": case.epochs, "float32_copy_bytes": copy, **best})
            print(json.dumps(found[-1]), flush=True)
    return found


def alone(number: int, name: str) -> dict:
    command = [sys.executable, __file__, "one", "--case", str(number), "--peer", name]
    threads = str(torch.get_num_threads())
    out = subprocess.run([*command, "--threads", threads], capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def one(number: int, name: str) -> dict:
    case, peer = GROWTH[number], PEERS[name]
    small = replace(case, rows=1_000, epochs=4)
    peer.fit(small, rows_of(small))
    X = rows_of(case)
    before = peak_bytes(reset=True)
    seconds = seconds_of(lambda: peer.fit(case, X))
    return {"seconds": seconds, "seconds_an_epoch": seconds / case.epochs, "peak_bytes": peak_bytes() - before}


def peak_bytes(*, reset: bool = False) -> int:
    """Return the peak of the process's memory, on Linux since it was reset."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Threads


NETWORKS = [  # columns, hidden layers, code, rows of a batch
    (10, (32,), 4, 32),
    (30, (64,), 8, 128),
    (64, (128, 64), 8, 128),
    (128, (128,), 16, 128),
    (256, (128,), 16, 128),
    (30, (64,), 8, 1024),
    (784, (64,), 8, 128),
    (784, (256,), 32, 128),
    (784, (1000, 500, 250), 30, 128),
]


def threads(repeats: int) -> list[dict]:
    """Return microseconds of a step in the threads that a fit chooses, in one, and in all; they take turns."""
    found = []
    for columns, hidden, code, rows in NETWORKS:
        training = begun(columns, hidden, code, rows)
        every = torch.get_num_threads()
        chosen = min(every, suited(training.net.module_, rows))
        limits = {"chosen": chosen, "one": 1, "all": every}
        steps = taken(training, limits, seconds=4.0 * repeats)
        network = "-".join(map(str, (columns, *hidden, code)))
        found.append({"network": network, "batch": rows, "chosen": chosen})
        for name, share in (("median", 0.5), ("fastest", 0.0)):  # the fastest is what others at work disturb least
            times = {which: 1e6 * np.quantile(of_steps, share) for which, of_steps in steps.items()}
            against = times["chosen"] / min(times["one"], times["all"])
            found[-1][name] = {**{which: round(time, 1) for which, time in times.items()}, "ratio": round(against, 3)}
        print(json.dumps(found[-1]), flush=True)
    return found


def begun(columns: int, hidden: tuple[int, ...], code: int, rows: int) -> Fit:
    """Return a fit whose step is replayed by now."""
    reached: list[Fit] = []

    def keep(nets, split):
        reached.extend(Fit(net, split) for net in nets)
        raise StopIteration

    token = DRIVER.set(keep)
    X = np.random.default_rng(0).normal(size=(4 * rows, columns)).astype(np.float32)
    with suppress(StopIteration):
        RegularizedAutoencoder(code, hidden_layer_sizes=hidden, batch_size=rows, device="cpu", random_state=0).fit(X)
    DRIVER.reset(token)
    for _ in range(8):
        reached[0].training.run_epoch(reached[0].epoch)
    return reached[0]


def taken(training: Fit, limits: dict[str, int], seconds: float) -> dict[str, list[float]]:
    """Return the seconds of single steps under each limit, a few at a time."""
    batches = chain.from_iterable(iter(training.epoch.batches) for _ in count())
    times: dict[str, list[float]] = {which: [] for which in limits}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for which, n in limits.items():
            with at_most(n):
                for batch in islice(batches, 6):
                    times[which].append(seconds_of(partial(training.net.step_, batch)))
    return times


# The report


def members(repeats: int) -> list[dict]:
    """Return the seconds of fits of several members, and their ratios to a fit of one."""
    found = []
    for n_columns, hidden, n_rows in ((10, (32,), 2_000), (30, (64,), 2_000), (30, (128, 64), 2_000)):
        X = np.random.default_rng(0).normal(size=(n_rows, n_columns)).astype(np.float32)
        settings = {"hidden_layer_sizes": hidden, "max_iter": 50, "device": "cpu", "random_state": 0}
        settings |= {"linear_path": False, "early_stopping": False}
        actions = {str(n): partial(RegularizedAutoencoder(n_members=n, **settings).fit, X) for n in (1, 2, 4, 8, 16)}
        seconds = interleaved(actions, repeats)
        ratio = {n: statistics.median(map(truediv, of, seconds["1"])) for n, of in seconds.items()}
        layers = "-".join(map(str, (n_columns, *hidden, 8)))
        found.append({"layers": layers, "seconds": {n: min(of) for n, of in seconds.items()}, "ratio": ratio})
        print(json.dumps(found[-1]), flush=True)
    return found


def machine() -> dict:
    versions = {peer.package: installed(peer) for peer in PEERS.values()}
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{package: version for package, version in sorted(versions.items()) if version},
    }


def installed(peer) -> str | None:
    try:
        return peer.version
    except ModuleNotFoundError:
        return None


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fits", "transform", "growth", "threads", "members", "one"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="1 by default, all where threads are compared")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads or (os.cpu_count() if options.what in ("threads", "members") else 1))
    if options.what == "one":
        print(json.dumps(one(options.case, options.peer)))
        return
    runs = {run.__name__: run for run in (fits, transform, growth, threads, members)}
    found = runs[options.what](options.repeats)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "repeats": options.repeats,
        "results": found,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"speed_{options.what}.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
