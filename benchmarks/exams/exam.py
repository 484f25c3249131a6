"""What the exams share: arguments, data, seeds, times, and the files of results.

Each exam is a script, ``python benchmarks/exams/NAME.py --data FOLDER``. FOLDER holds the tables and ``mnist.npz`` as
arrays ``X_train, y_train, X_test, y_test``, and the folder ``adbench`` of ``X, y``. An exam prints its figures beside
the published ones and writes ``benchmarks/results/exams_NAME.json``: the settings, the seeds, tables of figures (a
row for each method), and each bar with what it asks for. Published rows of a table begin with "published". A figure
of several seeds has a mean, a standard deviation over them, and its values.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
from numpy.typing import NDArray

import sklearn_ae
from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder

RESULTS = Path(__file__).parent.parent / "results"
FAMILIES = {
    "regularized": RegularizedAutoencoder,
    "variational": VariationalAutoencoder,
    "adversarial": AdversarialAutoencoder,
}
Cell = float | dict[str, Any]
Table = dict[str, dict[str, Cell]]  # a row for each method, a column for each measure


def arguments(doc: str, seeds: int, **options: int) -> argparse.Namespace:
    """Read ``--data``, ``--seeds`` and the options of an exam, and make the run comparable: one thread, no warnings."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--dry", action="store_true", help="write no file of results")
    for name, value in {"seeds": seeds, **options}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    return parser.parse_args()


# Data


def mnist(folder: Path) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return training rows, test rows, (n, 784) in [0, 1], and their digits."""
    file = np.load(folder / "mnist.npz")
    X_train, X_test = (file[name].reshape(-1, 784).astype(np.float32) / 255 for name in ("X_train", "X_test"))
    return X_train, X_test, file["y_train"], file["y_test"]


def california(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return the eight columns that scikit-learn has of California housing, and the price in units of 100,000.

    207 blocks have no number of bedrooms in this file.
    """
    rows = pd.read_csv(folder / "california_housing.csv.gz")
    columns = {
        "MedInc": rows["median_income"],
        "HouseAge": rows["housing_median_age"],
        "AveRooms": rows["total_rooms"] / rows["households"],
        "AveBedrms": rows["total_bedrooms"] / rows["households"],
        "Population": rows["population"],
        "AveOccup": rows["population"] / rows["households"],
        "Latitude": rows["latitude"],
        "Longitude": rows["longitude"],
    }
    return pd.DataFrame(columns), rows["median_house_value"] / 1e5


# Figures


def timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, float]:
    """Return what a function returns, and the seconds that it took."""
    start = time.perf_counter()
    found = function(*args, **kwargs)
    return found, time.perf_counter() - start


def figure(values: Iterable[float]) -> dict[str, Any]:
    """Return mean, standard deviation over seeds and values."""
    values = [float(value) for value in values]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "values": values}


def over_seeds(name: str, seeds: int, run: Callable[[int], dict[str, float]]) -> dict[str, Cell]:
    """Return the figures of ``run(seed)``, measure by measure, and the seconds of a run."""
    records = []
    for seed in range(seeds):
        found, seconds = timed(run, seed)
        records.append(found | {"seconds": seconds})
        print(f"{name}, seed {seed}:", *(f"{key} {value:.5g}" for key, value in records[-1].items()), flush=True)
    return {measure: figure(record[measure] for record in records) for measure in records[0]}


def bar(measure: str, ours: Cell, *, least: float | None = None, most: float | None = None, beside: str) -> dict:
    """Return a bar: what it asks for, our figure, what to compare it with, and whether it is reached."""
    value = ours["mean"] if isinstance(ours, dict) else ours
    low, high = -np.inf if least is None else least, np.inf if most is None else most
    asked = f"at most {most:.4g}" if least is None else f"at least {least:.4g}"
    return {"measure": measure, "ours": ours, "beside": beside, "bar": asked, "reached": bool(low <= value <= high)}


# Results


def report(name: str, asked: argparse.Namespace, start: float, settings: dict, tables: dict[str, Table], bars: list):
    """Print the tables and the bars of an exam, and write them."""
    for title, table in tables.items():
        print(f"\n{title}\n{shown(table)}")
    for line in bars:
        print(f"{line['measure']}: {text(line['ours'])}; {line['bar']}: {'yes' if line['reached'] else 'NO'}")
    options = [f"--{key} {value}" for key, value in vars(asked).items() if key not in ("data", "dry")]
    written = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
        "command": " ".join(["python", f"benchmarks/exams/{name}.py", *options, "--data FOLDER"]),
        "threads": torch.get_num_threads(),
        "seeds": asked.seeds,
        "settings": settings,
        "seconds": time.perf_counter() - start,
        "tables": tables,
        "bars": bars,
    }
    if not asked.dry:
        (RESULTS / f"exams_{name}.json").write_text(json.dumps(written, indent=1) + "\n")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures depend on."""
    packages = {"numpy": np, "scikit-learn": sklearn, "torch": torch, "sklearn_ae": sklearn_ae}
    return {"python": platform.python_version(), **{name: package.__version__ for name, package in packages.items()}}


def text(cell: Cell | None) -> str:
    """Return a cell as text: mean and standard deviation."""
    if cell is None:
        return "-"
    mean, std = (cell["mean"], cell["std"]) if isinstance(cell, dict) else (cell, None)
    decimals = 2 if abs(mean) >= 10 else 4
    return f"{mean:.{decimals}f}" if not std else f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def shown(table: Table) -> str:
    """Return a table as text; rows need not have all columns."""
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = [["", *columns], *([name, *(text(row.get(c)) for c in columns)] for name, row in table.items())]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
