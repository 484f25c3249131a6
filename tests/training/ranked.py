"""Fits on several processes, and the processes: ``python -m tests.training.ranked GROUP FOLDER PORT...``."""

import copy
import os
import pickle
import runpy
import socket
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback, GradientNormClipping

import sklearn_ae
from sklearn_ae import (
    AdversarialAutoencoder,
    AutoencoderOutlierDetector,
    RegularizedAutoencoder,
    VariationalAutoencoder,
)
from sklearn_ae.estimators import outliers
from sklearn_ae.tables.sources import Source
from tests.families import FAMILIES, VARIANTS
from tests.own_likelihood import Laplace
from tests.own_penalty import decorrelation

ROOT = Path(__file__).parents[2]
DEAD = 3  # exit status of a process that dies
N = 131  # no multiple of the number of processes, and neither are the batches: 5 of 27 rows

random = np.random.default_rng(0)
LATENT = random.normal(size=(N, 2))
X = np.tanh(LATENT @ random.normal(size=(2, 6))) + 0.1 * random.normal(size=(N, 6))
GAPS = np.where(random.random(X.shape) < 0.15, np.nan, X)
Y = np.where(random.random(N) < 0.3, -1, 1 * (LATENT[:, 0] > 0) + (LATENT[:, 1] > 1))
OUTPUTS = np.column_stack([Y, np.where(random.random(N) < 0.6, -1, LATENT[:, 1] > 0)])
WEIGHT = random.uniform(0.2, 3, N)
FRAME = pd.DataFrame(GAPS[:, :3], columns=["a", "b", "c"]).assign(
    count=random.poisson(2, N),
    yes=LATENT[:, 0] > 0,
    word=pd.Categorical.from_codes(np.where(random.random(N) < 0.1, -1, random.integers(0, 4, N)), [*"uvwx"]),
)


def rank():
    return int(os.environ.get("RANK", 0))


def settings(**others):
    small = {"n_components": 2, "hidden_layer_sizes": (8,), "activation": "tanh", "precision": "float64"}
    steps = {"batch_size": 32, "max_iter": 12, "early_stopping": False, "random_state": 0, "device": "cpu"}
    return small | steps | {"unlabeled": -1} | others


def fit(family, X=X, y=None, weight=None, n_fits=1, **others):
    estimator = family(**settings(**others))
    for _ in range(n_fits):
        estimator.fit(X, y, sample_weight=weight)
    return estimator


class InParts(Source):
    """Rows that are encoded when they are read."""

    is_kept_encoded = False

    def __init__(self, buffer_rows=None):
        self.shape, self.dtype, self.buffer_rows = X.shape, X.dtype, buffer_rows

    def __getitem__(self, rows):
        return X[rows]


def of_rows_in_parts(buffer_rows=None):
    return fit(RegularizedAutoencoder, InParts(buffer_rows))


def continued():
    first = RegularizedAutoencoder(**settings()).partial_fit(X[:70], Y[:70], [0, 1, 2])
    return first.partial_fit(X[70:], Y[70:])


# Fits that are the same on one process and on two

STOPS = {"early_stopping": True, "max_iter": 80, "n_iter_no_change": 3, "learning_rate": 0.02}
TABLES = {
    "gaps, labels, weights": {"X": GAPS, "y": Y, "weight": WEIGHT},
    "frame": {"X": FRAME},
    "frame, labels, weights": {"X": FRAME, "y": Y, "weight": WEIGHT, "class_weight": "balanced"},
    "one batch": {"X": GAPS, "y": Y, "batch_size": N, "max_iter": 55},
    "several outputs": {"y": OUTPUTS, "weight": WEIGHT},
    "values": {"y": LATENT[:, 0], "task": "regression", "weight": WEIGHT, "unlabeled": None},
    "early stopping": {"X": GAPS, **STOPS},
    "early stopping by labels": {"y": Y, **STOPS},
}
CASES = {
    f"{family.__name__}, {name}": partial(fit, family, **table) for family in FAMILIES for name, table in TABLES.items()
}
CASES |= {
    "rows in parts": of_rows_in_parts,
    "rows in buffers": partial(of_rows_in_parts, buffer_rows=50),
    "continued": continued,
    "warm start": partial(fit, VariationalAutoencoder, warm_start=True, n_fits=2),
    "clipped gradients": partial(
        fit, AdversarialAutoencoder, GAPS, callbacks=[("clip", GradientNormClipping(0.01))], max_iter=4
    ),
    "column weights": partial(fit, VariationalAutoencoder, FRAME, column_weight={"a": 3.0}),
}
# Their losses are no means over rows, or they copy gaps of other rows.
DEPENDENT = {"regularized, kl", "regularized, masked as other rows", "wasserstein, from outside the package"}
VARIED = {
    name: partial(fit, make, np.clip(X, 0, 1) if "bernoulli" in name else GAPS, Y, max_iter=11)
    for name, make in VARIANTS.items()
    if name not in DEPENDENT
}
INTRICATE = [
    "regularized, contractive with dropout",
    "regularized, own penalty",
    "regularized, masked",
    "regularized, learned scales",
    "variational, importance-weighted laplace",
    "variational, noise by column",
    "variational, three members",
    "adversarial, both",
    "adversarial, learned scales",
]
CASES |= {name: VARIED[name] for name in INTRICATE}
SLOW_CASES = {name: VARIED[name] for name in VARIED if name not in INTRICATE}
SLOW_CASES["chosen components"] = partial(fit, RegularizedAutoencoder, n_components="auto")

# Fits that are refused, or that fail


def centred(module, batch, trace):
    """A penalty with one value per row, which depends on the other rows."""
    return (trace["code"] - trace["code"].mean(0)).square().sum(1)


class Stopping(Callback):
    """Stops the training on the second process only."""

    def on_epoch_end(self, net, **kwargs):
        if rank() == 1 and len(net.history) == 3:
            raise KeyboardInterrupt


class Silent(Callback):
    """Ends the second process without a word, or keeps it busy."""

    def __init__(self, how):
        self.how = how

    def on_epoch_end(self, net, **kwargs):
        if rank() == 1 and len(net.history) == 3:
            if self.how == "ends":
                os._exit(DEAD)
            time.sleep(6)


class Normalised(RegularizedAutoencoder):
    """A family whose encoder normalises the rows of a batch."""

    def recipe(self, problem):
        recipe = super().recipe(problem)
        recipe.module.encoder.append(torch.nn.BatchNorm1d(8, dtype=torch.float32, device="cpu"))
        return recipe


def nested():
    with sklearn_ae.distributed():
        return fit(RegularizedAutoencoder)


def searched():
    with joblib.parallel_config(backend="sklearn_ae"):
        return cross_val_score(RegularizedAutoencoder(**settings()), X, LATENT[:, 0] > 0)


def kept_after_a_refusal():
    """Return whether a fit that is refused leaves the estimator as it was."""
    estimator = fit(RegularizedAutoencoder)
    before = estimator.transform(X)
    try:
        estimator.set_params(penalty="kl").fit(X)
    except ValueError:
        return np.array_equal(before, estimator.transform(X))
    return False


REFUSED = {  # cases, and what their errors say
    "kl": (partial(fit, RegularizedAutoencoder, penalty="kl"), "got 'penalty'"),
    "a term of the batch": (partial(fit, RegularizedAutoencoder, penalty=decorrelation), "got 'penalty'"),
    "a family": (partial(fit, VARIANTS["wasserstein, from outside the package"]), "got 'discrepancy'"),
    "a term of other rows": (partial(fit, RegularizedAutoencoder, penalty=centred), "a gradient, penalty"),
    "copied gaps": (partial(fit, RegularizedAutoencoder, GAPS, corruption="gaps", corruption_level=0.2), "'gaps'"),
    "batch norm": (partial(fit, Normalised, y=Y), "BatchNorm1d in encoder.2"),
    "own buffers": (partial(fit, VariationalAutoencoder, likelihood=Laplace), "likelihood.scale"),
    "few rows": (partial(fit, RegularizedAutoencoder, batch_size=1), "2 processes for batches of 1"),
    "other cells": (lambda: fit(RegularizedAutoencoder, X + 1e-9 * rank(), scale=False), "training rows"),
    "other labels": (lambda: fit(RegularizedAutoencoder, y=np.roll(Y, rank())), "training rows"),
    "other weights": (lambda: fit(RegularizedAutoencoder, weight=np.roll(WEIGHT, rank())), "training rows"),
    "fewer rows": (lambda: fit(RegularizedAutoencoder, X[rank() :]), "training rows"),
    "other columns": (lambda: fit(RegularizedAutoencoder, X[:, rank() :]), "initial weights"),
    "other validation rows": (
        lambda: RegularizedAutoencoder(**settings()).fit(X, X_val=X[: 9 + rank()]),
        "got other validation rows on ranks [1] than",
    ),
    "another seed": (lambda: fit(RegularizedAutoencoder, random_state=rank()), "seeds"),
    "another rate": (lambda: fit(RegularizedAutoencoder, learning_rate=1e-3 * (1 + rank())), "got other settings on"),
    "another penalty": (lambda: fit(RegularizedAutoencoder, alpha=1e-3 * (1 + rank())), "got other settings on"),
    "another size": (lambda: fit(RegularizedAutoencoder, hidden_layer_sizes=(8 + rank(),)), "initial weights"),
    "more epochs": (lambda: fit(RegularizedAutoencoder, max_iter=3 + rank()), "got other settings on"),
    "a seed on one": (lambda: fit(RegularizedAutoencoder, random_state=[None, 0][rank()]), "must do the same"),
    "nested": (nested, "entered once"),
    "stacks": (searched, "outside of sklearn_ae.distributed"),
}


def detector_without_a_seed():
    """A detector that draws the rows for its densities, as that of a large table does."""
    autoencoder = RegularizedAutoencoder(**settings(random_state=None))
    with patch.object(outliers, "MOST_ROWS", 60):
        return AutoencoderOutlierDetector(autoencoder).fit(X).score_samples(X)


OTHERS = {
    "detector without a seed": detector_without_a_seed,
    "stopped by one": partial(fit, RegularizedAutoencoder, callbacks=[Stopping()]),
    "kept after a refusal": kept_after_a_refusal,
    "no seed": partial(fit, VariationalAutoencoder, random_state=None, early_stopping=True),
    "drawn by one": lambda: fit(RegularizedAutoencoder).sample(3 * rank() or 1).shape,
}
STUCK = {"is stuck": partial(fit, RegularizedAutoencoder, max_iter=10_000, callbacks=[Silent("is stuck")])}
ENDS = {"ends": partial(fit, RegularizedAutoencoder, max_iter=10_000, callbacks=[Silent("ends")])}
GROUPS = {  # the timeout and the cases of each context
    "default": [(60, CASES | {name: case for name, (case, _) in REFUSED.items()} | OTHERS), (3, STUCK), (40, ENDS)],
    "slow": [(60, SLOW_CASES)],
}


# Processes


def outcome_of(case):
    """Return the result of a case or its error, and the seconds that it took."""
    start = time.perf_counter()
    try:
        found = case()
    except Exception as error:
        found = error.with_traceback(None)
        found.__cause__ = found.__context__ = None
    return found, time.perf_counter() - start


def of_script(folder):
    """Run the script of the guide, and return whether its model is there."""
    rows, file = Path(folder, f"rows-{rank()}.npy"), Path(folder, "fit.safetensors")
    np.save(rows, X)
    with patch.object(sys, "argv", ["on_ranks.py", str(rows), str(file)]):
        runpy.run_path(str(ROOT / "tests" / "on_ranks.py"), run_name="__main__")
    return sklearn_ae.load(file).transform(X) if rank() == 0 else None


def trained_afterwards(estimator):
    """Return the kind of step of a fitted estimator, and how many epochs it trains without the other process."""
    step = type(estimator.net_.step_).__name__
    return step, copy.deepcopy(estimator).set_params(warm_start=True, max_iter=2).fit(X).n_iter_


def of_own_group(port):
    """Fit in a process group of the user, and return what an exchange in it gives afterwards."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank(), world_size=2)
    with sklearn_ae.distributed(timeout=60):
        estimator = fit(RegularizedAutoencoder)
    numbers = torch.ones(1, device="cpu")
    dist.all_reduce(numbers)
    dist.destroy_process_group()
    return estimator, numbers.item()


def main(group, folder, *ports):
    """Run the cases of a group on this process, and write what comes of them."""
    torch.set_num_threads(1)
    os.environ["MASTER_PORT"] = ports[0]
    found = {"script": outcome_of(partial(of_script, folder))}
    found["own group"] = outcome_of(partial(of_own_group, ports[1]))
    for (timeout, cases), port in zip(GROUPS[group], ports[2:], strict=True):
        os.environ["MASTER_PORT"] = port
        with sklearn_ae.distributed(timeout=timeout):
            found |= {name: outcome_of(case) for name, case in cases.items()}
        found["left"] = dist.is_initialized(), 0.0
        if "no seed" in cases:
            found["afterwards"] = outcome_of(partial(trained_afterwards, found["no seed"][0]))
        Path(folder, str(rank())).write_bytes(pickle.dumps(found))


def free_ports(n):
    """Return ports that no other process has."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


class Pair:
    """Two processes that run the cases of a group.

    Parameters
    ----------
    group : str
        A key of GROUPS.
    folder : Path
        Where they write.
    """

    def __init__(self, group, folder):
        self.folder = folder
        command = [sys.executable, "-m", "tests.training.ranked", group, str(folder)]
        command += free_ports(2 + len(GROUPS[group]))
        launched = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.processes = [
            subprocess.Popen(command, env=launched | {"RANK": place}, cwd=ROOT, **streams) for place in "01"
        ]

    def outcomes(self):
        """Return what came of the cases on each process."""
        for process in self.processes:
            output, _ = process.communicate(timeout=200)
            assert process.returncode in (0, DEAD), output
        return [pickle.loads((self.folder / place).read_bytes()) for place in "01"]

    def end(self):
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(*sys.argv[1:])
