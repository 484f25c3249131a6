"""``n_components="auto"`` on tables with a planted number of factors: ``python benchmarks/components.py``.

24 columns are combinations of 2, 4 or 8 factors, linear or on a curved manifold, with noise of 0.4 standard deviations;
300 or 1,000 rows, three seeds. A table of independent columns has no factor, and the right number is 1. The time of the
choice is that of a fit of one epoch minus that of the same fit with the number given. The results go to
``benchmarks/results/components.json``.
"""

import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from sklearn_ae import RegularizedAutoencoder

RESULTS = Path(__file__).parent / "results" / "components.json"
N_COLUMNS = 24


def planted(n_factors: int, n_rows: int, curved: bool, seed: int) -> NDArray:
    random = np.random.default_rng(seed)
    factors = random.normal(size=(n_rows, n_factors))
    rows = factors @ random.normal(size=(n_factors, N_COLUMNS))
    if curved:
        bent = np.tanh(factors @ random.normal(size=(n_factors, N_COLUMNS)))
        rows += bent @ random.normal(size=(N_COLUMNS, N_COLUMNS)) / np.sqrt(N_COLUMNS)
    return rows / rows.std(0) + 0.4 * random.normal(size=rows.shape)


def cases() -> Iterator[tuple[str, int, NDArray]]:
    """Yield the kind of a table, the right number and the rows."""
    for curved in (False, True):
        for n_factors in (2, 4, 8):
            for n_rows in (300, 1000):
                for seed in range(3):
                    kind = "curved" if curved else "linear"
                    yield kind, n_factors, planted(n_factors, n_rows, curved, seed)
    for seed in range(10):
        yield "independent columns", 1, np.random.default_rng(seed).normal(size=(300, N_COLUMNS // 2))


def chosen(rows: NDArray) -> tuple[int, float]:
    """Return the chosen number, and the seconds of the choice."""
    start = time.perf_counter()
    number = RegularizedAutoencoder("auto", max_iter=1, random_state=0).fit(rows).n_components_
    choosing = time.perf_counter() - start
    start = time.perf_counter()
    RegularizedAutoencoder(number, max_iter=1, random_state=0).fit(rows)
    return number, choosing - (time.perf_counter() - start)


def main() -> None:
    torch.set_num_threads(1)
    records = []
    for kind, right, rows in cases():
        number, seconds = chosen(rows)
        records.append({"kind": kind, "rows": len(rows), "right": right, "chosen": number, "seconds": seconds})
    for kind in dict.fromkeys(record["kind"] for record in records):
        of_kind = [record for record in records if record["kind"] == kind]
        exact = sum(record["chosen"] == record["right"] for record in of_kind)
        near = sum(0.5 <= record["chosen"] / record["right"] <= 2 for record in of_kind)
        seconds = np.median([record["seconds"] for record in of_kind])
        print(f"{kind}: {exact} of {len(of_kind)} exact, {near} within one candidate, {seconds:.2f} s")
    versions = {"python": platform.python_version(), "sklearn": sklearn.__version__, "torch": torch.__version__}
    RESULTS.write_text(json.dumps({"versions": versions, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
