"""All that needs a GPU, in one command: ``python benchmarks/gpu.py``, under nine minutes.

Right: the CPU and the GPU agree in every variant, a captured step agrees with the step as it is written, fits that are
trained together agree with fits alone, a pickle is read where there is no GPU, and a capture that fails harms nothing.
Fast: a step beside those of bare loops and beside its matrix products, 120 fits of a search, ``transform``. And memory.

``benchmarks/results/gpu.json`` is written after every part, so that what is cut off is not lost. Parts that would begin
after ``--minutes`` are left out. ``--device cpu`` is a dry run with small sizes: it shows that the script works.
"""

import argparse
import gc
import json
import os
import pickle
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import processor
from torch import Tensor, nn

import sklearn_ae
from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.training import step as step_module

sys.path.append(str(Path(__file__).parents[1]))  # for the list of all variants
from tests.families import SMALL, VARIANTS  # noqa: E402

RESULTS = Path(__file__).parent / "results"

ROWS = np.random.default_rng(0).uniform(size=(200, 4))
LABELS = np.arange(200) % 3


@dataclass(frozen=True)
class Network:
    """A regularized autoencoder on rows of random numbers."""

    widths: tuple[int, ...]  # from the columns to the code; the decoder mirrors them
    batch: int
    rows: int
    epochs: int = 12

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.widths))}, batches of {self.batch}"

    @property
    def sizes(self) -> list[int]:
        return [*self.widths, *self.widths[-2::-1]]

    @property
    def n_batches(self) -> int:
        return self.rows // self.batch

    def table(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((self.rows, self.widths[0]), dtype=np.float32)

    def estimator(self, family: type = RegularizedAutoencoder, **settings: object) -> RegularizedAutoencoder:
        own = {"penalty": None} if family is RegularizedAutoencoder else {}
        return family(
            self.widths[-1],
            hidden_layer_sizes=self.widths[1:-1],
            activation="relu",
            batch_size=self.batch,
            max_iter=self.epochs,
            precision="float32",
            random_state=0,
            **own | settings,
        )


NETWORKS = [
    Network((10, 32, 4), 32, 6_400),
    Network((30, 64, 8), 128, 25_600),
    Network((100, 128, 16), 256, 51_200),
    Network((784, 256, 32), 128, 25_600),
    Network((784, 1000, 500, 250, 30), 1024, 51_200),
]


@dataclass(frozen=True)
class Plan:
    """Where everything runs, and how much of it."""

    device: str
    networks: list[Network]
    n_transformed: int
    n_search: int  # learning rates of the search; five folds and eight other candidates each
    size_of_product: int

    @classmethod
    def of(cls, device: str, small: bool) -> "Plan":
        if small:
            tiny = [replace(network, rows=4 * network.batch, epochs=8) for network in NETWORKS[:3]]
            return cls(device, tiny, 20_000, 1, 512)
        return cls(device, NETWORKS, 1_000_000, 3, 8192)


def fitted(variant: str, device: str, **settings: object):
    own = {"batch_size": 16, "max_iter": 6, "device": device, "precision": "float32"}
    return VARIANTS[variant](**SMALL | own | settings).fit(ROWS, LABELS)


@contextmanager
def plain_steps(n: int) -> Iterator[None]:
    """Set how many steps run as they are written before one is recorded."""
    before, step_module.PLAIN_STEPS = step_module.PLAIN_STEPS, n
    try:
        yield
    finally:
        step_module.PLAIN_STEPS = before


def difference(found: object, expected: object) -> float:
    """Return the largest difference, relative to the largest value."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(action: Callable[[], object], device: str) -> float:
    synchronize(device)
    start = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - start


# Right


def agreement(plan: Plan) -> dict:
    """Compare fits on the CPU and on the device."""
    found = {}
    for variant in VARIANTS:
        on_cpu, on_device = (fitted(variant, device) for device in ("cpu", plan.device))
        found[variant] = {
            "losses": difference(on_device.loss_curve_, on_cpu.loss_curve_),
            "codes": difference(on_device.transform(ROWS), on_cpu.transform(ROWS)),
            "scores": difference(on_device.score_samples(ROWS[:20]), on_cpu.score_samples(ROWS[:20])),
        }
    return found


def replays(plan: Plan) -> dict:
    """Compare losses of steps that are replayed with those of steps as they are written, in double precision."""
    found = {}
    for variant in VARIANTS:
        losses = []
        for n in (10**9, 1):
            with plain_steps(n):
                losses.append(fitted(variant, plan.device, precision="float64").loss_curve_)
        found[variant] = difference(losses[1], losses[0])
    return found


def stacks(plan: Plan) -> dict:
    """Compare scores of fits that are trained together with those of fits alone, in double precision."""
    found = {}
    for variant in VARIANTS:
        settings = {"batch_size": 16, "max_iter": 6, "device": plan.device, "precision": "float64"}
        estimator = VARIANTS[variant](**SMALL | settings)
        alone = cross_val_score(estimator, ROWS, cv=3)
        with joblib.parallel_config(backend="sklearn_ae"):
            found[variant] = difference(cross_val_score(estimator, ROWS, cv=3), alone)
    return found


LOAD = """
import pickle, sys, warnings
from pathlib import Path
import numpy as np, torch
folder = Path(sys.argv[1])
assert not torch.cuda.is_available()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    estimator = pickle.loads((folder / "fit.pkl").read_bytes())
rows = np.load(folder / "rows.npy")
np.save(folder / "codes.npy", estimator.transform(rows))
estimator.set_params(device="cpu").partial_fit(rows, np.arange(len(rows)) % 3).transform(rows)
print(estimator.device_, "|", *{str(one.message) for one in told})
"""


def pickles(plan: Plan) -> dict:
    """Compare codes of fits that another process has unpickled, where there is no GPU."""
    found = {}
    for variant in ("regularized", "variational", "adversarial, both"):
        estimator = fitted(variant, plan.device)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "fit.pkl").write_bytes(pickle.dumps(estimator))
            np.save(Path(folder, "rows.npy"), ROWS)
            alone = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            done = subprocess.run([sys.executable, "-c", LOAD, folder], capture_output=True, text=True, env=alone)
            if done.returncode:
                raise RuntimeError(done.stderr)
            codes = np.load(Path(folder, "codes.npy"))
            found[variant] = {
                "bytes": Path(folder, "fit.pkl").stat().st_size,
                "codes": difference(codes, estimator.transform(ROWS)),
                "told": done.stdout.strip(),
            }
    return found


def moving(module: object, batch: object, trace: dict) -> Tensor:
    """Move a constant to the GPU, (n,): a penalty that can't be captured."""
    return (trace["code"] * torch.arange(2.0).to(trace["code"].device)).sum(-1)


def failed_capture(plan: Plan) -> dict:
    """Fit what can't be captured, then what can."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        settings = {**SMALL, "max_iter": 6, "batch_size": 16, "penalty": moving}
        losses = [
            RegularizedAutoencoder(**settings, device=device).fit(ROWS).loss_curve_ for device in ("cpu", plan.device)
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = difference(fitted("variational", plan.device).loss_curve_, fitted("variational", "cpu").loss_curve_)
    return {
        "told": sorted({str(one.message) for one in told if issubclass(one.category, RuntimeWarning)}),
        "losses, against the CPU": difference(losses[1], losses[0]),
        "losses of the next fit, against the CPU": after,
    }


# Fast


def steps(plan: Plan) -> list[dict]:
    """Return microseconds of a step, medians over epochs, beside bare loops and the matrix products of a step."""
    rate = product_rate(plan)
    found = []
    for network in plan.networks:
        X = network.table()
        own = {
            family.__name__: network.estimator(family, device=plan.device).fit(X)
            for family in (RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder)
        }
        seconds = {name: statistics.median(one.history_["seconds"].to_numpy()[2:]) for name, one in own.items()}
        seconds["bare loop, eager"] = bare_loop(network, X, plan.device, captured=False)
        if plan.device == "cuda":
            seconds["bare loop, captured"] = bare_loop(network, X, plan.device, captured=True)
        seconds["matrix products"] = products(network, plan.device)
        mine = seconds["RegularizedAutoencoder"]
        found.append(
            {
                "network": network.name,
                "microseconds_a_step": {name: 1e6 * s / network.n_batches for name, s in seconds.items()},
                "ratio_of_own": {name: mine / s for name, s in seconds.items() if name.startswith(("bare", "matrix"))},
                "share_of_the_ceiling": flops(network) * network.n_batches / mine / rate,
            }
        )
        print(json.dumps(found[-1]), flush=True)
    return [{"products_per_second_at_their_best": rate, "unit": "flop"}, *found]


def module_of(network: Network) -> nn.Sequential:
    code = len(network.widths) - 1
    layers = []
    for position, (a, b) in enumerate(zip(network.sizes, network.sizes[1:], strict=False), 1):
        last = position in (code, 2 * code)
        layers += [nn.Linear(a, b)] if last else [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers)


def bare_loop(network: Network, X: np.ndarray, device: str, *, captured: bool) -> float:
    """Return the median seconds of an epoch of the loop that one writes by hand, with the fused Adam."""
    torch.manual_seed(0)
    x, module = torch.from_numpy(X).to(device), module_of(network).to(device)
    adam = torch.optim.Adam(module.parameters(), lr=3e-3, fused=True, capturable=captured)
    rows = torch.empty(network.batch, X.shape[1], device=device)
    total = torch.zeros((), device=device)

    def step() -> None:
        loss = 0.5 * (module(rows) - rows).square().sum(1).mean()
        adam.zero_grad(set_to_none=not captured)
        loss.backward()
        adam.step()
        total.add_(loss.detach())

    run = captured_graph(step).replay if captured else step

    def epoch() -> None:
        total.zero_()
        for index in torch.randperm(len(x), device=device).split(network.batch):
            torch.index_select(x, 0, index, out=rows)
            run()
        total.item()

    return statistics.median([seconds_of(epoch, device) for _ in range(network.epochs)][2:])


def captured_graph(step: Callable[[], None]) -> "torch.cuda.CUDAGraph":
    """Capture a step as torch's manual says: after some on a stream of their own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def multiplied(network: Network) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the shapes of the matrices that a step multiplies, forward and backward."""
    n, shapes = network.batch, []
    for position, (a, b) in enumerate(zip(network.sizes, network.sizes[1:], strict=False)):
        shapes += [((n, a), (a, b)), ((b, n), (n, a))] + ([((n, b), (b, a))] if position else [])
    return shapes


def flops(network: Network) -> int:
    """Return the operations of a step's matrix products."""
    return sum(2 * a[0] * a[1] * b[1] for a, b in multiplied(network))


def products(network: Network, device: str) -> float:
    """Return the median seconds of the matrix products of an epoch; on a GPU they are captured."""
    calls = [(torch.randn(*a, device=device), torch.randn(*b, device=device)) for a, b in multiplied(network)]
    out = [a @ b for a, b in calls]

    def step() -> None:
        for (a, b), target in zip(calls, out, strict=True):
            torch.mm(a, b, out=target)

    run = captured_graph(step).replay if device == "cuda" else step

    def epoch() -> None:
        for _ in range(network.n_batches):
            run()

    return statistics.median([seconds_of(epoch, device) for _ in range(network.epochs)][2:])


def product_rate(plan: Plan) -> float:
    """Return the operations a second of a large matrix product in single precision, as torch is set."""
    n = plan.size_of_product
    a = torch.randn(n, n, device=plan.device)
    a @ a
    return 2 * n**3 / min(seconds_of(lambda: a @ a, plan.device) for _ in range(5))


def search(plan: Plan) -> dict:
    """Return the seconds of a search of 120 fits, trained together here and on the CPU, and the largest difference."""
    X, y = load_breast_cancer(return_X_y=True)
    rates = np.geomspace(1e-3, 1e-2, plan.n_search).tolist()
    grid = {"learning_rate": rates, "alpha": [1e-4, 1e-3, 1e-2, 1e-1], "random_state": [0, 1]}
    named = {f"regularizedautoencoder__{name}": values for name, values in grid.items()}
    scores, seconds = {}, {}

    def searched(device: str) -> None:
        estimator = RegularizedAutoencoder(
            8, hidden_layer_sizes=(64,), batch_size=32, max_iter=20, early_stopping=False, task=None, device=device
        )
        pipeline = make_pipeline(StandardScaler(), estimator, LogisticRegression(max_iter=500))
        with joblib.parallel_config(backend="sklearn_ae"):
            found = GridSearchCV(pipeline, named, cv=5, refit=False).fit(X, y)
        scores[device] = found.cv_results_["mean_test_score"]

    for device in dict.fromkeys(("cpu", plan.device)):
        seconds[device] = min(seconds_of(lambda: searched(device), device) for _ in range(2))  # noqa: B023
    return {
        "fits": 5 * len(scores[plan.device]),
        "seconds": seconds,
        "largest difference of a score": float(np.abs(scores[plan.device] - scores["cpu"]).max()),
    }


def transform(plan: Plan) -> dict:
    """Return the seconds of ``transform`` of a million rows of 100 columns through 100-128-16."""
    X = np.random.default_rng(0).standard_normal((plan.n_transformed, 100), dtype=np.float32)
    network = Network((100, 128, 16), 256, 5_120, 2)
    seconds, codes = {}, {}
    for device in dict.fromkeys(("cpu", plan.device)):
        estimator = network.estimator(device=device).fit(X[: network.rows])
        codes[device] = estimator.transform(X[:10_000])
        seconds[device] = min(seconds_of(lambda: estimator.transform(X), device) for _ in range(3))  # noqa: B023
    return {"rows": len(X), "seconds": seconds, "codes": difference(codes[plan.device], codes["cpu"])}


# Memory


def memory(plan: Plan) -> dict | str:
    """Return peaks beyond what was there before, and what stays though Python collects no garbage meanwhile."""
    if plan.device != "cuda":
        return "only a GPU tells"
    X = NETWORKS[2].table()
    peaks_of_a_fit(X)  # what libraries keep for themselves
    gc.collect()
    before = torch.cuda.memory_allocated()
    gc.disable()
    try:
        found = {"float32_copy_bytes": X.nbytes, **peaks_of_a_fit(X), "search": peak_bytes(lambda: search(plan))}
        return {**found, "left behind": torch.cuda.memory_allocated() - before}
    finally:
        gc.enable()


def peaks_of_a_fit(X: np.ndarray) -> dict[str, int]:
    estimator = NETWORKS[2].estimator(device="cuda")
    rows = np.tile(X, (10, 1))
    return {"fit": peak_bytes(lambda: estimator.fit(X)), "transform": peak_bytes(lambda: estimator.transform(rows))}


def peak_bytes(action: Callable[[], object]) -> int:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    action()
    return torch.cuda.max_memory_allocated() - before


# The report

PARTS: dict[str, Callable[[Plan], object]] = {
    "agreement of CPU and GPU": agreement,
    "replayed steps against plain ones": replays,
    "fits together against alone": stacks,
    "pickles": pickles,
    "a failed capture": failed_capture,
    "steps": steps,
    "search": search,
    "transform": transform,
    "memory": memory,
}


def machine(device: str) -> dict:
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sklearn_ae": sklearn_ae.__version__,
    }


def outcome_of(part: Callable[[Plan], object], plan: Plan) -> object:
    """Return what a part found, or what went wrong: the other parts are worth having all the same."""
    try:
        return part(plan)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes, as in a dry run on the CPU")
    parser.add_argument("--minutes", type=float, default=7.5, help="after which no part begins")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args()
    plan = Plan.of(options.device, options.small or options.device == "cpu")
    report: dict = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(options.device),
        "small": plan.n_search == 1,
        "seconds": {},
        "results": {},
    }
    start = time.perf_counter()
    for name in options.parts or PARTS:
        begun = time.perf_counter()
        late = begun - start > 60 * options.minutes
        report["results"][name] = "left out: no time" if late else outcome_of(PARTS[name], plan)
        report["seconds"][name] = time.perf_counter() - begun
        options.out.write_text(json.dumps(report, indent=1) + "\n")
        print(name, f"{report['seconds'][name]:.1f} s", json.dumps(report["results"][name])[:400], flush=True)


if __name__ == "__main__":
    main()
