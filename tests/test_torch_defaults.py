"""What torch makes by default, device and dtype, is the user's: fits and answers are the same under any of them."""

import ast
import pickle
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.model_selection import cross_val_score

import sklearn_ae
from tests.families import INTRICATE, SMALL, VARIANTS

random = np.random.default_rng(0)
N = 60
X = random.uniform(size=(N, 4))
Y = np.arange(N) % 3
GAPS = np.where(random.uniform(size=X.shape) < 0.2, np.nan, X)
FRAME = pd.DataFrame(
    {
        "number": np.where(random.uniform(size=N) < 0.2, np.nan, random.normal(size=N)),
        "few": pd.Categorical(random.choice(list("uvw"), N)),
        "many": pd.Categorical(np.arange(N).astype(str)),
        "count": random.poisson(3, N),
        "spread count": random.poisson(2, N),
        "truth": random.uniform(size=N) < 0.5,
    }
)
COUNTS = {"count": "poisson", "spread count": "negative_binomial"}

TABLES = {
    "full batch, double precision": (X, {}),
    "batches": (X.astype(np.float32), {"batch_size": 16}),
    "gaps": (GAPS, {"column_weight": [0.1, 2, 0, 1], "dropout": 0.2}),
    "sparse": (csr_matrix(X), {"batch_size": 16}),
    "quantile": (GAPS, {"scale": "quantile"}),
    "mixed": (FRAME, {"likelihood": COUNTS, "min_frequency": 1, "batch_size": 16}),
    "early stopping": (X, {"early_stopping": True, "n_iter_no_change": 1, "batch_size": 16}),
}


@contextmanager
def default_device(name):
    before = torch.get_default_device()
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None if before.type == "cpu" else before)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


DEFAULTS = {
    "device meta": lambda: default_device("meta"),
    "dtype float64": lambda: default_dtype(torch.float64),
    "dtype float16": lambda: default_dtype(torch.float16),
    "dtype bfloat16": lambda: default_dtype(torch.bfloat16),
}


def answers(variant, table):
    """Return what a fit says to every question, as bytes."""
    rows, settings = TABLES[table]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = VARIANTS[variant](**SMALL | settings).fit(rows, Y)
        loss = list(estimator.loss_curve_)
        estimator = pickle.loads(pickle.dumps(estimator))
        codes = estimator.transform(rows)
        found = [codes, estimator.inverse_transform(codes), estimator.predict_proba(rows)]
        found += [estimator.score_samples(rows[:8]), estimator.sample(5, random_state=0)]
        found += [estimator.score_cells(rows[:8]), estimator.explain_codes(rows[:8])]
        found += [estimator.sample(2, random_state=0, y=0), [loss], [estimator.score(rows, Y)]]
        if table in ("gaps", "mixed"):
            found += [estimator.impute(rows[:8]), *estimator.impute(rows[:8], n_draws=2, random_state=0)]
        if hasattr(estimator, "discriminate"):
            found.append(estimator.discriminate(rows))
        estimator.partial_fit(rows, Y)
        found += [list(estimator.module_.state_dict().values()), estimator.transform(rows)]
    return [pickle.dumps(np.asarray(part).tolist()) for values in found for part in _parts(values)]


def _parts(values):
    return values if isinstance(values, list) else [values]


answers_as_usual = cache(answers)


# Where a tensor is made without saying so, any default shows it: two of them in every variant, all four in one.
OFTEN = {("mixed", "device meta"), ("gaps", "dtype float64")}
IN_ONE = {("gaps", "device meta"), ("mixed", "dtype float16"), ("gaps", "dtype bfloat16")}
crossed = [
    pytest.param(
        variant,
        table,
        default,
        marks=[]
        if (table, default) in OFTEN or (variant == "variational" and (table, default) in IN_ONE)
        else pytest.mark.slow,
    )
    for variant in INTRICATE
    for table in TABLES
    for default in DEFAULTS
]


@pytest.mark.parametrize(("variant", "table", "default"), crossed)
def test_a_fit_does_not_hear_of_torch_defaults(variant, table, default):
    expected = answers_as_usual(variant, table)
    with DEFAULTS[default]():
        assert answers(variant, table) == expected


@pytest.mark.parametrize("default", DEFAULTS)
def test_fits_that_are_trained_together_do_not_hear_of_torch_defaults(default):
    def scores():
        with joblib.parallel_config(backend="sklearn_ae"):
            return cross_val_score(VARIANTS["variational"](**SMALL, batch_size=16), X, cv=3).tolist()

    expected = scores()
    with DEFAULTS[default]():
        assert scores() == expected


@pytest.mark.parametrize("variant", ["regularized", "adversarial, both"])
def test_adam_counts_its_steps_in_single_precision(variant):
    with default_dtype(torch.float64):
        net = VARIANTS[variant](**SMALL).fit(X).net_
    states = [state for adam in net.optimizers_by_phase().values() for state in adam.state.values()]
    assert {state["step"].dtype for state in states} == {torch.float32}


FACTORIES = {"tensor", "as_tensor", "empty", "zeros", "ones", "full", "arange", "linspace", "eye", "Generator"} | {
    *("rand", "randn", "randperm", "randint", "scalar_tensor", "tril_indices", "triu_indices")
}


def test_all_that_makes_tensors_says_on_which_device():
    for path in sorted(Path(sklearn_ae.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if ast.unparse(call.func.value) == "torch" and call.func.attr in FACTORIES:
                says = call.func.attr == "Generator" and bool(call.args)
                says = says or any(keyword.arg == "device" for keyword in call.keywords)
                assert says, f"{path.name}:{call.lineno}: {ast.unparse(call)}"


def test_a_user_s_own_defaults_are_left_alone():
    with default_dtype(torch.float64), default_device("meta"):
        VARIANTS["variational"](**SMALL).fit(X).score(X)
        assert torch.get_default_dtype() is torch.float64
        assert torch.get_default_device().type == "meta"
