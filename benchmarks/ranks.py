"""One fit on several processes: `python benchmarks/ranks.py`, milliseconds of a step on one process and on two.

Both processes run on this machine, with one thread each. A process with two threads is compared as well: that is what
a fit does with two cores if nothing is asked for. The ways are interleaved, with a barrier between them. The steps are
those after the recording, the median and the fastest are those of epochs: the fastest is that of an idle machine, and
while other processes use the same cores, two processes wait for the slower one in every step.
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
SETTLED = 28  # steps after which they are replayed


class Case(NamedTuple):
    hidden: tuple[int, ...]
    batch: int
    steps: int  # of an epoch
    epochs: int


CASES = [
    Case((64,), 128, 32, 20),
    Case((256, 128), 128, 16, 20),
    Case((256, 128), 1024, 8, 20),
    Case((512, 256), 1024, 8, 20),
    Case((1024, 512), 128, 16, 16),
    Case((1024, 512), 1024, 8, 16),
    Case((2048, 1024), 128, 8, 12),
    Case((2048, 1024), 1024, 4, 14),
]


def milliseconds(case: Case) -> list[float]:
    """Fit, and return the milliseconds of a step in each epoch."""
    X = np.random.default_rng(0).normal(size=(case.batch * case.steps, COLUMNS)).astype(np.float32)
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
    first = -(-SETTLED // case.steps)
    return [1000 * seconds / case.steps for seconds in fit.history_["seconds"][first:]]


def timed(way: str, case: Case, rank: int) -> list[float]:
    """Return the milliseconds of a step; only the first process works in the ways of one process."""
    if way == "two processes":
        with sklearn_ae.distributed():
            return milliseconds(case)
    if rank:
        return []
    torch.set_num_threads(2 if way == "one process, two threads" else 1)
    try:
        return milliseconds(case)
    finally:
        torch.set_num_threads(1)


def compared(case: Case, repeats: int, rank: int) -> dict:
    """Return the milliseconds of a step in all ways, and the ratios to one process."""
    rounds = []
    for _ in range(repeats):
        of_round = {}
        for way in WAYS:
            dist.barrier()
            of_round[way] = timed(way, case, rank)
        rounds.append(of_round)
    if rank:
        return {}
    layers = [COLUMNS, *case.hidden, 8]
    fastest = {way: min(min(of_round[way]) for of_round in rounds) for way in WAYS}
    medians = [{way: statistics.median(of_way) for way, of_way in of_round.items()} for of_round in rounds]
    found = {
        "network": "-".join(map(str, layers)),
        "batch": case.batch,
        "parameters": sum(2 * a * b for a, b in zip(layers, layers[1:], strict=False)),
        "median": {way: statistics.median(of_round[way] for of_round in medians) for way in WAYS},
        "median_ratio": {way: statistics.median(m[way] / m["one process"] for m in medians) for way in WAYS[1:]},
        "fastest": fastest,
        "fastest_ratio": {way: fastest[way] / fastest["one process"] for way in WAYS[1:]},
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
