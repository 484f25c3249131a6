"""Write the tables of the benchmark page from the results of the benchmarks."""

import csv
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

OWN = "sklearn_ae"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
HIGHEST, LOWEST = max, min
CONTESTS = {  # of the exams: a table, whether the highest or the lowest figure is the best, and the figures
    ("anomalies", "auroc"): (HIGHEST, ("cardio", "thyroid", "satellite", "pendigits", "wilt", "mean")),
    ("california", "rmse"): (LOWEST, ("test",)),
    ("digits_features", "accuracy"): (HIGHEST, ("LogisticRegression", "5-NN", "HistGradientBoosting")),
    ("fills", "means"): (LOWEST, ("at random", "given others", "not at random")),
    ("generation", "r2"): (HIGHEST, ("R2",)),
    ("science_2006", "error"): (LOWEST, ("squared error",)),
    ("subtab", "accuracy"): (HIGHEST, ("LogisticRegression", "5-NN", "HistGradientBoosting")),
}
OWN_METHODS = (
    "detector",
    "regularized",
    "variational",
    "adversarial",
    "autoencoder",
    "Autoencoder",
    "Regularized",
    "Variational",
)
NO_METHODS = ("published", "real rows")
LEVEL = 0.002  # difference of two accuracies up to which they are level
NATS = 0.01  # difference of two log-likelihoods up to which they are level


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
    fits = _result("speed_fits")["results"]
    for family in dict.fromkeys(fit["family"] for fit in fits):
        _write(folder / f"speed_{family}.csv", _speed([fit for fit in fits if fit["family"] == family]))
    _write(folder / "speed_growth.csv", _growth(_result("speed_growth")["results"]))
    _write(folder / "speed_threads.csv", _threads(_result("speed_threads")["results"]))
    _write(folder / "speed_members.csv", _members(_result("speed_members")["results"]))
    _draw_speed(fits, folder / "speed.png")
    for table in ("imputation", "codes", "heads"):
        name = "mixed_codes" if table == "codes" else table
        _write(folder / f"{name}.csv", _by_way(_result(f"tables_{table}")["results"]))
    _write(folder / "imputation_draws.csv", _draws(_result("tables_imputation")["results"]))
    unsupervised = _result("tables_unsupervised")["results"]
    _write(folder / "unsupervised_codes.csv", _against_pca(unsupervised))
    _write(folder / "unsupervised_likelihood.csv", _against_linear(unsupervised))
    for measure, results in _by_measure(_result("tables_synthetic")["results"]).items():
        _write(folder / f"synthetic_{measure}.csv", _by_table(results))
    for part, results in _result("conditional")["results"].items():
        _write(folder / f"conditional_{part.replace(' ', '_')}.csv", _by_way(results))
    _write(folder / "search.csv", _searches(_result("search_pairs")["results"]))
    _write(folder / "search_grids.csv", _searches(_result("search_grids")["results"]))
    _write(folder / "search_workers.csv", _workers(_result("search_workers")["results"]))
    _draw_searches(_result("search_curve")["results"], folder / "search.png")
    stored = _result("stored")["results"]
    _write(folder / "stored.csv", _stored(stored))
    _draw_stored(stored, folder / "stored.png")
    _write(folder / "ranks.csv", _ranks(_result("ranks")["results"]))
    size = _result("tables_size")["results"]
    _write(folder / "size.csv", [["measure", "value"], *([key, f"{value:,.6g}"] for key, value in size.items())])
    _write_exams(folder)


def _against_pca(results: dict[str, Any]) -> list[list[str]]:
    """Return a line for each way: mean scores of its codes, and the number of codes better and worse than PCA."""
    lines = [["codes", "LogisticRegression, k = 2", "k = 4", "k = 8", "ahead", "behind"]]
    lines[0] += ["5-NN, k = 2", "k = 4", "k = 8", "ahead", "behind"]
    for way in next(iter(results.values())):
        line = [way]
        for readout in ("linear", "neighbours"):
            gain = {of: ways[way][readout] - ways["PCA"][readout] for of, ways in results.items()}
            for k in (2, 4, 8):
                scores = [ways[way][readout] for of, ways in results.items() if of.endswith(f"k = {k}")]
                line.append(f"{sum(scores) / len(scores):.3f}")
            line += [str(sum(g > LEVEL for g in gain.values())), str(sum(g < -LEVEL for g in gain.values()))]
        lines.append(line)
    return lines


def _against_linear(results: dict[str, Any]) -> list[list[str]]:
    """Return a line for each way: its log-likelihood of new rows minus that of a linear autoencoder, in nats."""
    lines = [["fit", "tables and k", "not below linear", "median gain", "smallest gain"]]
    for way in next(iter(results.values())):
        linear = f"{way.split(',')[0]}, linear"
        if way in ("PCA", linear):
            continue
        gain = sorted(ways[way]["likelihood"] - ways[linear]["likelihood"] for ways in results.values())
        level = sum(g > -NATS for g in gain)
        lines.append([way, str(len(gain)), str(level), f"{gain[len(gain) // 2]:.2f}", f"{gain[0]:.2f}"])
    return lines


def _write_exams(folder: Path) -> None:
    """Write the tables of each exam, and one of all bars."""
    lines = [["exam", "figure", "sklearn_ae", "compare with", "bar", "reached", "seeds"]]
    for path in sorted(RESULTS.glob("exams_*.json")):
        exam = json.loads(path.read_text())
        name = path.stem.removeprefix("exams_")
        for line in exam["bars"]:
            reached = "yes" if line["reached"] else "no"
            cells = [line["measure"], _cell(line["ours"]), line["beside"], line["bar"], reached]
            lines.append([f":ref:`{name} <exam-{name}>`", *cells, str(exam["seeds"])])
        for title, table in exam["tables"].items():
            _write(folder / f"exams_{name}_{title}.csv", _by_method(table))
    _write(folder / "exams.csv", lines)
    _write(folder / "exams_contests.csv", _contests())


def _contests() -> list[list[str]]:
    """Return the best of our figures beside the best of the other methods that were run."""
    lines = [["exam", "figure", "best of sklearn_ae", "", "best of the others", "", "ahead"]]
    for (name, title), (best, measures) in CONTESTS.items():
        table = _result(f"exams_{name}")["tables"][title]
        for measure in measures:
            means = {way: row[measure]["mean"] for way, row in table.items() if not way.startswith(NO_METHODS)}
            own, other = (
                best((way for way in means if way.startswith(OWN_METHODS) == ours), key=means.__getitem__)
                for ours in (True, False)
            )
            ahead = "sklearn_ae" if best(means, key=means.__getitem__) == own else "other"
            found = [text for way in (own, other) for text in (way, _cell(table[way][measure]))]
            lines.append([f":ref:`{name} <exam-{name}>`", measure, *found, ahead])
    return lines


def _by_method(table: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return a table of an exam; a method need not have all figures."""
    measures = list(dict.fromkeys(measure for row in table.values() for measure in row))
    lines = [[name, *(_cell(row.get(measure)) for measure in measures)] for name, row in table.items()]
    return [["", *measures], *lines]


def _cell(value: Any) -> str:
    """Return a figure, or mean and standard deviation over seeds."""
    if value is None:
        return ""
    mean, std = (value["mean"], value["std"]) if isinstance(value, dict) else (value, None)
    decimals = 2 if abs(mean) >= 10 else 3
    return f"{mean:.{decimals}f}" if not std else f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _pivot(records: list[dict[str, Any]], row: str, heads: tuple[str, ...]) -> list[list[str]]:
    found = {(r[row], r["features"], r["head"]): r["accuracy"] for r in records}
    rows, names = ([*dict.fromkeys(r[key] for r in records)] for key in (row, "features"))
    cells = [[str(key), *(" / ".join(_text(found[key, name, h]) for h in heads) for name in names)] for key in rows]
    return [[row, *names], *cells]


def _speed(fits: list[dict[str, Any]]) -> list[list[str]]:
    """Return the time of a fit relative to each peer, with reconstruction errors in brackets."""
    peers = list(fits[0]["ratio_of_own"])
    lines = []
    for fit in fits:
        errors = fit["mean_squared_error"]
        cells = [f"{fit['ratio_of_own'][peer]:.2f} ({errors[peer]:.3f})" for peer in peers]
        network = f"{fit['network']}, {fit['batch']}"
        lines.append([network, f"{fit['median_seconds'][OWN]:.1f} s ({errors[OWN]:.3f})", *cells])
    return [["network, batch", OWN, *(f"relative to {peer}" for peer in peers)], *lines]


def _growth(runs: list[dict[str, Any]]) -> list[list[str]]:
    peers = list(dict.fromkeys(run["peer"] for run in runs))
    of_case = {(run["case"], run["peer"]): run for run in runs}
    lines = []
    for case in dict.fromkeys(run["case"] for run in runs):
        cells = [f"{of_case[case, peer]['seconds_an_epoch']:.3g}" for peer in peers]
        memory = [
            f"{of_case[case, peer]['peak_bytes'] / of_case[case, peer]['float32_copy_bytes']:.2f}" for peer in peers
        ]
        lines.append([case, *cells, *memory])
    return [["table", *(f"seconds per epoch, {p}" for p in peers), *(f"memory, {p}" for p in peers)], *lines]


def _members(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return how many times as long as a fit of one member fits of several take."""
    return [["layers", *runs[0]["ratio"]], *([run["layers"], *map(_text, run["ratio"].values())] for run in runs)]


def _threads(runs: list[dict[str, Any]]) -> list[list[str]]:
    ways = ("chosen", "one", "all")
    lines = [
        [run["network"], str(run["batch"]), str(run["chosen"])]
        + [f"{run[kind][way]:,.0f}" for kind in ("fastest", "median") for way in ways]
        for run in runs
    ]
    heads = [f"{kind}, {way}" for kind in ("fastest", "median") for way in ways]
    return [["network", "batch", "threads chosen", *heads], *lines]


def _searches(results: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the seconds of searches on one core and on two, with ratios in brackets."""
    pairs = {
        "one core: together / one after another": ("together, one core", "one after another", "ratio, one core"),
        "two cores: together / two processes": ("together, two cores", "two processes", "ratio, two cores"),
    }
    lines = []
    for search, found in results.items():
        cells = [f"{found[one]:.1f} / {found[other]:.1f} ({found[ratio]:.2f})" for one, other, ratio in pairs.values()]
        lines.append([search, str(found["fits"]), *cells])
    return [["search", "fits", *pairs], *lines]


def _workers(results: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the seconds of searches in threads and on processes, with ratios in brackets."""
    one, two, threads = "one worker process", "two worker processes", "threads of this process"
    lines = [
        [
            search,
            f"{found[one]:.1f}",
            f"{found[two]:.1f} ({found['ratio, two processes / one']:.2f})",
            f"{found[threads]:.1f}",
        ]
        for search, found in results.items()
    ]
    return [["search", one, two, threads], *lines]


def _stored(results: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """Return the seconds and the peaks of fits in memory and in files, a line for each shape."""
    lines = []
    for run in (run for of_kind in results.values() for run in of_kind):
        memory, file = run["in memory"], run["in a file"]
        seconds = [
            f"{memory[step]:.2f} / {file[step]:.2f} ({file[step] / memory[step]:.2f})"
            for step in ("fit, s", "transform, s")
        ]
        peaks, scores = (
            [f"{of_way[name]:,.{n}f}" for of_way in (memory, file)] for name, n in (("peak, MiB", 0), ("score", 3))
        )
        lines.append([f"{run['rows']:,}", f"{run['columns']:,}", *seconds, " / ".join(peaks), " / ".join(scores)])
    return [["rows", "columns", "fit, s", "transform, s", "peak, MiB", "score"], *lines]


def _ranks(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the milliseconds of a step on one process and on two, with ratios in brackets."""
    lines = []
    for run in runs:
        ratios = {"one process": "", **{way: f" ({ratio:.2f})" for way, ratio in run["fastest_ratio"].items()}}
        cells = [f"{run['fastest'][way]:,.2f}{ratio}" for way, ratio in ratios.items()]
        lines.append([run["network"], str(run["batch"]), f"{run['parameters']:,}", *cells])
    return [["network", "batch", "parameters", *runs[0]["fastest"]], *lines]


def _draws(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return the quality of the draws of missing cells, a line for each table and way that draws."""
    measures = ["coverage", "interval score", "agreement with truth", "agreement of draws"]
    drawn = [(of, way, found) for of, ways in results.items() for way, found in ways.items() if "coverage" in found]
    return [["table", "way", *measures], *([of, way, *(_cell(found[m]) for m in measures)] for of, way, found in drawn)]


def _by_way(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return the results of each table, one column per method."""
    ways = list(next(iter(results.values())))
    lines = [[table, *(_figure(of_way[way]) for way in ways)] for table, of_way in results.items()]
    return [["table", *ways], *lines]


def _by_table(results: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the results of each method, one column per table and one with the mean."""
    ways = list(next(iter(results.values())))
    means = {way: sum(of_way[way] for of_way in results.values()) / len(results) for way in ways}
    columns = _by_way(results | {"mean": means})
    return [list(line) for line in zip(*columns, strict=True)]


def _by_measure(results: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the results of each measure, by table and method."""
    measures = next(iter(next(iter(results.values())).values()))
    return {
        measure: {
            table: {way: found[measure] for way, found in ways.items() if measure in found}
            for table, ways in results.items()
        }
        for measure in measures
    }


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return " / ".join("-" if value[kind] is None else f"{value[kind]:.3f}" for kind in ("numbers", "categories"))
    return f"{value:.3f}"


def _draw_speed(fits: list[dict[str, Any]], path: Path) -> None:
    """Draw the time of a fit relative to each peer."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    peers = list(dict.fromkeys(peer for fit in fits for peer in fit["ratio_of_own"]))
    for fit in fits:
        ratios = fit["ratio_of_own"]
        places = [peers.index(peer) for peer in ratios]
        label = f"{fit['family']}, {fit['network']}"
        axes.plot(list(ratios.values()), places, "o", label=label, markersize=6, alpha=0.8)
    axes.axvline(1, color="0.6", linewidth=1)
    axes.set(yticks=range(len(peers)), yticklabels=peers, xlim=(0, None), xlabel="time of a fit / time of the peer")
    axes.invert_yaxis()
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=150)


def _draw_searches(results: dict[str, dict[str, float]], path: Path) -> None:
    """Draw the seconds of searches against their number of fits."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (way, seconds), marker in zip(results.items(), "osD^", strict=True):
        axes.plot([int(n) for n in seconds], list(seconds.values()), f"{marker}-", label=way, markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="fits in the search", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _draw_stored(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw seconds and peaks of fits in memory and in files against rows and columns."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    for line, measure in zip(figure.subplots(2, 2, sharex="col"), ("fit, s", "peak, MiB"), strict=True):
        for axes, (growing, runs) in zip(line, results.items(), strict=True):
            for way, marker in (("in memory", "o"), ("in a file", "s")):
                axes.plot([run[growing] for run in runs], [run[way][measure] for run in runs], f"{marker}-", label=way)
            axes.set(xscale="log", yscale="log", xlabel=growing, ylabel=measure)
            axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _write(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
