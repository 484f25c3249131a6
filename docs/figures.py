"""Write the tables of the benchmark page from the results that the benchmarks left behind."""

import csv
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def write_tables(folder: Path) -> None:
    """Write one CSV file for each table of the page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    features = _result("features")["records"]
    both = ("LogisticRegression", "5-NN")
    for table, row, heads in (("codes", "k", both), ("orientation", "data", both), ("predict", "data", ("own",))):
        _write(folder / f"{table}.csv", _pivot([r for r in features if r["table"] == table], row, heads))
    defaults = _result("defaults")["records"]
    for family in ("regularized", "variational"):
        chosen = [{k: v for k, v in r.items() if k != "family"} for r in defaults if r["family"] == family]
        lines = [[_text(value) for value in record.values()] for record in chosen]
        _write(folder / f"defaults_{family}.csv", [list(chosen[0]), *lines])
    _write(folder / "one_fit.csv", _ratios(_result("one_fit")["cases"]))


def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _pivot(records: list[dict[str, Any]], row: str, heads: tuple[str, ...]) -> list[list[str]]:
    found = {(r[row], r["features"], r["head"]): r["accuracy"] for r in records}
    rows, names = ([*dict.fromkeys(r[key] for r in records)] for key in (row, "features"))
    cells = [[str(key), *(" / ".join(_text(found[key, name, h]) for h in heads) for name in names)] for key in rows]
    return [[row, *names], *cells]


def _ratios(cases: dict[str, Any]) -> list[list[str]]:
    names = list(next(iter(cases.values()))["ratio_of_fit"])
    lines = [[case, *(f"{result['ratio_of_fit'][name]:.2f}" for name in names)] for case, result in cases.items()]
    return [["network", *(f"against the {name}" for name in names)], *lines]


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _write(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
