"""One fit on several processes: `python benchmarks/ranks.py`, seconds per epoch on one process and on two.

Both processes run on this machine, with one thread each. A process with two threads is compared as well: that is what
a fit does with two cores if nothing is asked for. The ways are interleaved, with a barrier between them. The seconds of
an epoch are the median over the epochs of a fit after those in which its step is recorded; ratios are medians over
repeats.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from speed import machine

import sklearn_ae
from sklearn_ae import RegularizedAutoencoder

RESULTS = Path(__file__).parent / "results"
WAYS = ("one process", "one process, two threads", "two processes")
COLUMNS = 100
SETTLED = 3  # epochs after which steps are replayed


class Case(NamedTuple):
    hidden: tuple[int, ...]
    batch: int
    rows: int
    epochs: int


CASES = [
    Case((64,), 128, 4096, 15),
    Case((256, 128), 128, 4096, 12),
    Case((256, 128), 1024, 16384, 10),
    Case((512, 256), 1024, 16384, 8),
    Case((1024, 512), 128, 4096, 6),
    Case((1024, 512), 1024, 8192, 8),
    Case((2048, 1024), 128, 2048, 6),
    Case((2048, 1024), 1024, 8192, 6),
]


def seconds_of_an_epoch(case: Case) -> float:
    """Fit, and return the median seconds of its epochs."""
    X = np.random.default_rng(0).normal(size=(case.rows, COLUMNS)).astype(np.float32)
    fit = RegularizedAutoencoder(
        8,
        hidden_layer_sizes=case.hidden,
        batch_size=case.batch,
        max_iter=case.epochs,
        early_stopping=False,
        linear_path=False,
        random_state=0,
        device="cpu",
    ).fit(X)
    return statistics.median(fit.history_["seconds"][SETTLED:])


def timed(way: str, case: Case, rank: int) -> float | None:
    """Return the seconds of an epoch; only the first process works in the ways of one process."""
    if way == "two processes":
        with sklearn_ae.distributed():
            return seconds_of_an_epoch(case)
    if rank:
        return None
    torch.set_num_threads(2 if way == "one process, two threads" else 1)
    try:
        return seconds_of_an_epoch(case)
    finally:
        torch.set_num_threads(1)


def compared(case: Case, repeats: int, rank: int) -> dict:
    """Return the seconds of all ways, and the ratios to one process."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            dist.barrier()
            found = timed(way, case, rank)
            if found is not None:
                seconds[way].append(found)
    if rank:
        return {}
    one = seconds["one process"]
    layers = [COLUMNS, *case.hidden, 8]
    found = {
        "network": "-".join(map(str, layers)),
        "batch": case.batch,
        "parameters": sum(2 * a * b for a, b in zip(layers, layers[1:], strict=False)),
        "steps_per_epoch": -(-case.rows // case.batch),
        "median_seconds": {way: statistics.median(of_way) for way, of_way in seconds.items()},
        "fastest_seconds": {way: min(of_way) for way, of_way in seconds.items()},
        "ratio": {way: statistics.median(a / b for a, b in zip(seconds[way], one, strict=True)) for way in WAYS[1:]},
    }
    print(json.dumps(found), flush=True)
    return found


def run(repeats: int) -> None:
    """Run all cases on this process, one of two."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    results = [compared(case, repeats, rank) for case in CASES]
    dist.destroy_process_group()
    if rank:
        return
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "repeats": repeats,
        "results": results,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ranks.json").write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if "RANK" in os.environ:
        run(options.repeats)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, *sys.argv], env=os.environ | launched | {"RANK": rank}) for rank in "01"
    ]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit("a process has failed")


if __name__ == "__main__":
    main()
