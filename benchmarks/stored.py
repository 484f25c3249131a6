"""Tables in memory and in files, of more and more rows and columns: ``python benchmarks/stored.py``.

A fit of two epochs and ``transform`` of a float32 table, in memory and as a ``StoredTable`` with a memory limit of 64
MiB, each in a process of its own, one after the other, medians of the repetitions (one of tables of over 1e8 cells).
PyTorch has one thread. Peaks are the growth of the process since a fit to a small table. ``--folder`` is where the
tables are written, the folder of temporary files by default: the largest one takes 800 MB. The results go to
``benchmarks/results/stored.json``.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

import sklearn_ae
from sklearn_ae import RegularizedAutoencoder, StoredTable

RESULTS = Path(__file__).parent / "results" / "stored.json"
LIMIT = 64 << 20
SHAPES = {
    "rows": [(10_000, 20), (100_000, 20), (1_000_000, 20), (10_000_000, 20)],
    "columns": [(20_000, 10), (20_000, 100), (20_000, 1000), (20_000, 10_000)],
}
WAYS = ("in memory", "in a file")
BLOCK = 1 << 22


def written(path: Path, n_rows: int, n_columns: int) -> None:
    """Write a table of which four factors explain most."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(4, n_columns)).astype(np.float32)
    table = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    step = max(1, BLOCK // n_columns)
    for start in range(0, n_rows, step):
        n = min(step, n_rows - start)
        factors = random.normal(size=(n, 4)).astype(np.float32)
        table[start : start + n] = factors @ mixing + 0.5 * random.normal(size=(n, n_columns)).astype(np.float32)
    table.flush()


def peak() -> int:
    """Return the largest number of bytes that this process has had in memory; on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def measured(path: Path, way: str) -> dict[str, float]:
    """Return seconds, bytes and score of a fit, in this process."""
    shape = np.load(path, mmap_mode="r").shape
    model = RegularizedAutoencoder(4, max_iter=2, hidden_layer_sizes=(64,), random_state=0)
    model.fit(np.random.default_rng(1).normal(size=(300, shape[1])).astype(np.float32))
    before = peak()
    table = StoredTable(path, memory_limit=LIMIT) if way == WAYS[1] else np.load(path)
    start = time.perf_counter()
    model.fit(table)
    fitted = time.perf_counter()
    model.transform(table)
    ended = time.perf_counter()
    highest = peak() - before
    return {
        "fit, s": fitted - start,
        "transform, s": ended - fitted,
        "peak, MiB": highest / 2**20,
        "score": model.score(table[: shape[0] // 10]),
    }


def compared(path: Path, n_repetitions: int) -> dict[str, dict[str, float]]:
    """Return the medians of each way; the ways take turns."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(n_repetitions):
        for way in WAYS:
            command = [sys.executable, __file__, "--one", way, "--path", str(path)]
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_thread)
            found[way].append(json.loads(done.stdout))
    return {
        way: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for way, runs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--one", choices=WAYS, help="measure one way in this process")
    parser.add_argument("--path", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.path, options.one)))
        return
    results: dict[str, Any] = {}
    for growing, shapes in SHAPES.items():
        results[growing] = []
        for n_rows, n_columns in shapes:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                path = Path(folder, "rows.npy")
                written(path, n_rows, n_columns)
                ways = compared(path, 1 if n_rows * n_columns >= 10**8 else options.repetitions)
            results[growing].append({"rows": n_rows, "columns": n_columns, **ways})
            print(results[growing][-1], flush=True)
    versions = {
        "python": platform.python_version(),
        "sklearn_ae": sklearn_ae.__version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
    }
    written_results = {"date": datetime.now(UTC).date().isoformat(), "versions": versions, "results": results}
    RESULTS.write_text(json.dumps(written_results, indent=1) + "\n")


if __name__ == "__main__":
    main()
