"""Random calls on random tables: a call gives what it should, or is refused in words and changes nothing."""

import copy
import os
import pickle
import random
import re
import warnings
from math import inf, nan

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning

from sklearn_ae import AdversarialAutoencoder, AutoencoderImputer, RegularizedAutoencoder, VariationalAutoencoder
from tests.families import FAMILIES
from tests.random_tables import cells_of, dtypes_of, missing_of, other_tables, tables, whole

REFUSALS = (ValueError, TypeError, AttributeError)  # a NotFittedError is two of them
REFUSED = object()

# Words of other libraries, and of Python, in messages that should speak of what the user gave.
STRANGE = re.compile(
    r"torch\.(?!float)|numpy\.|narwhals|[Tt]ensor|ufunc|unhashable|NoneType|broadcast|out of bounds|not iterable|"
    r"unsupported operand|argument|keyword|Cannot cast|safely|division|mismatch|object has no attribute|list index|"
    r"zero-size|concatenate|invalid literal|ambiguous|Arrow|overflow|not supported between|must be real number"
)

# What a message must name: a parameter, or what is wrong with the rows in scikit-learn's words.
SCIKIT_LEARN = (
    r"Expected 2D array|Found array with|inconsistent numbers of samples|feature names|'predict|features, but|"
    r"Unknown label type|Complex data"
)

SETTINGS = {
    "n_components": [1, 2],
    "hidden_layer_sizes": [(3,), ()],
    "scale": [True, False, "common", "quantile"],
    "likelihood": [
        "auto",
        "gaussian",
        "learned_gaussian",
        "bernoulli",
        "poisson",
        "negative_binomial",
        {0: "poisson"},
        {"a": "gaussian"},
    ],
    "precision": ["auto", "float32", "float64", "bfloat16"],
    "task": ["classification", "regression", None],
    "unlabeled": [None, -1, nan, "a"],
    "handle_unknown": ["ignore", "error"],
    "min_frequency": [1, 2, 0.3],
    "max_categories": [None, 2],
    "categorical_features": ["from_dtype", None, [0], ["a"], [True, False]],
    "column_weight": [None, [1.0, 2.0], {"a": 2.0}, {0: 0.0}],
    "warm_start": [False, True],
    "early_stopping": [False, True],
    "class_weight": [None, "balanced", {0: 2.0}],
    "batch_size": ["auto", 1, 3],
    "max_iter": [1, 2],
    "random_state": [0, None],
    "dropout": [0.0, 0.5],
    "target_weight": ["auto", 0.0, 2],
    "learning_rate_schedule": ["cosine", "constant"],
}
WRONG = {
    "n_components": [0, 1.5, None],
    "scale": ["x", None],
    "likelihood": ["x", {"a": "x"}, {"z": "poisson"}],
    "task": ["x"],
    "min_frequency": [0],
    "categorical_features": ["z", ["z"], [7], [True]],
    "column_weight": [[1.0], {"z": 1.0}, [nan, 1.0], [-1.0, 1.0], ["a", "b"]],
    "class_weight": ["x", {7: 1.0}, {0: -1.0}],
    "batch_size": [0],
    "max_iter": [True],
    "random_state": ["x", -1],
    "callbacks": [[1]],
    "device": ["x"],
}
NAMED = re.compile(
    r"\b(X|y|X_val|y_val|sample_weight|classes|codes|columns?|n_samples|n_draws|max_samples|loss|tolerance|"
    rf"{'|'.join([*SETTINGS, *WRONG])})\b|{SCIKIT_LEARN}"
)
OWN = {RegularizedAutoencoder: "alpha", VariationalAutoencoder: "beta", AdversarialAutoencoder: "adversarial_weight"}


def chosen(options, most):
    names = st.lists(st.sampled_from(sorted(options)), max_size=most, unique=True)
    return names.flatmap(lambda names: st.fixed_dictionaries({name: st.sampled_from(options[name]) for name in names}))


# y and weights


def in_series(library, **how):
    return lambda cells: library.Series(list(cells), **how)


def masked(cells):
    return np.ma.MaskedArray([0 if cell is None else cell for cell in cells], [cell is None for cell in cells])


TARGETS = {  # pools of cells, and how y is made of them
    "list": (([0, 1], ["a", "b"], [0.0, 1.0], [False, True], [0.5, 1.25, 3.0]), list),
    "array": (([0, 1], [0, 1, -1], ["a", "b"], [0.0, 1.0], [False, True], [0.5, nan], [inf, 1.0]), np.array),
    "objects": (
        (["a", "b"], ["a", None], [0, 1], [0, "a"], [True, False], [0, nan], [{}, 1]),
        lambda c: np.array(c, object),
    ),
    "column": (([0, 1], [0.5, 1.25]), lambda cells: np.array(cells).reshape(-1, 1)),
    "two columns": (([0, 1],), lambda cells: np.array([cells, cells]).T),
    "float32": (([0, 1], [0.5, 3.0]), lambda cells: np.array(cells, dtype="float32")),
    "masked": (([0, 1], [0, 1, None], [0.5, 2.0, None]), masked),
    "pandas": (([0, 1], ["a", "b"], ["a", None], [True, False], [0.5, 1.5]), in_series(pd)),
    "Int64": (([0, 1], [0, 1, None]), in_series(pd, dtype="Int64")),
    "boolean": (([True, False], [True, None]), in_series(pd, dtype="boolean")),
    "category": ((["a", "b"], ["a", "b", None], [0, 1]), in_series(pd, dtype="category")),
    "frame": (([0, 1],), lambda cells: pd.DataFrame({"y": list(cells)})),
    "polars": (([0, 1], ["a", "b"], ["a", None], [0, None], [True, False], [0.5, 1.5]), in_series(pl, strict=False)),
    "polars categorical": ((["a", "b"], ["a", None]), in_series(pl, dtype=pl.Categorical)),
    "times": (([0, 1],), lambda cells: np.array(cells).astype("M8[D]")),
}
WEIGHTS = {
    "list": (([1, 2], [1.0, 0.0], [0, 0]), list),
    "array": (([1.0, 2.5], [1e300, 1.0], [1e-300, 1.0], [inf, 1.0], [nan, 1.0], [-1.0, 1.0]), np.array),
    "integers": (([1, 2, 3],), lambda cells: np.array(cells, dtype="uint8")),
    "float32": (([1.0, 2.5],), lambda cells: np.array(cells, dtype="float32")),
    "truths": (([True, False],), np.array),
    "objects": (([1, 2.5], [1, None], [1, "a"]), lambda cells: np.array(cells, object)),
    "masked": (([1, 2], [1, None]), masked),
    "pandas": (([1.0, 2.0],), in_series(pd)),
    "Int64": (([1, 2], [1, None]), in_series(pd, dtype="Int64")),
    "polars": (([1.0, 2.0], [1, None]), in_series(pl, strict=False)),
    "column": (([1.0],), lambda cells: np.array(cells).reshape(-1, 1)),
    "words": ((["a"],), np.array),
}


class Vector:
    """What a y or a sample_weight is made of, so that it can be made again."""

    def __init__(self, kinds, kind, cells):
        self.kinds, self.kind, self.cells = kinds, kind, cells

    def made(self):
        return self.kinds[self.kind][1](self.cells)

    def __repr__(self):
        return f"{self.kind} of {self.cells!r}"


@st.composite
def vectors(draw, kinds, n):
    kind = draw(st.sampled_from(sorted(kinds)))
    pool = draw(st.sampled_from(kinds[kind][0]))
    n = draw(st.sampled_from([n] * 12 + [n + 1, 0]))
    return Vector(kinds, kind, draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n)))


def of_vector(made):
    """Everything that a y is, as values that compare exactly."""
    dtype = getattr(made, "dtype", None)
    return repr(type(made)), repr(dtype), repr(made.tolist() if isinstance(made, np.ndarray) else list(made))


def state_of(made):
    is_table = isinstance(made, (pd.DataFrame, pl.DataFrame)) or (
        isinstance(made, list) and made and isinstance(made[0], list)
    )
    if is_table or hasattr(made, "toarray") or (isinstance(made, np.ndarray) and made.ndim == 2):
        return whole(made)
    return of_vector(made)


# What must not move


def world():
    """The state that all code of a process shares."""
    kind, key, *rest = np.random.get_state()  # noqa: NPY002 - this is the one that must not move
    return (
        random.getstate(),
        (kind, key.tobytes(), *rest),
        torch.get_rng_state().numpy().tobytes(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
        tuple(np.geterr().items()),
    )


def learned(estimator):
    """Everything that a call might move in an estimator, as values that compare exactly."""
    own = vars(estimator)
    settings = {name: repr(value) for name, value in own.items() if name != "_last_fit"}
    fitted = own.get("_last_fit")
    if fitted is None:
        return settings
    net, table = fitted.net_, fitted.model_.encoding.scaler
    state = [net.module_.state_dict(), *(of_one for of_one in net.optimizer_.state_dict()["state"].values())]
    return (
        (settings, id(fitted), list(vars(fitted))),
        [tensor.numpy().tobytes() for tensors in state for tensor in tensors.values()],
        (len(net.history), fitted.n_iter_, fitted.loss_, table.location.tobytes(), table.spread.tobytes()),
        fitted.model_.random.get_state()[1].tobytes(),
    )


def check_message(error):
    # scikit-learn's checks ask for this sentence of Python's
    text = str(error).replace("float() argument must be a string or a real number", "X must hold numbers")
    if isinstance(error, NotFittedError):
        return
    assert len(text) > 20, f"too short a message: {text!r}"
    assert not STRANGE.search(text), f"a stranger's words: {type(error).__name__}: {text}"
    assert NAMED.search(text), f"nothing is named: {type(error).__name__}: {text}"


def check_warnings(warned):
    """They point to the user's line, unless they are ones that scikit-learn raises for all estimators."""
    for warning in warned:
        assert issubclass(warning.category, (UserWarning, RuntimeWarning)), warning
        scikit_learn = "feature names" in str(warning.message) or warning.category is UndefinedMetricWarning
        assert warning.filename == __file__ or scikit_learn, f"a warning that points elsewhere: {warning}"


class Calls(RuleBasedStateMachine):
    """One estimator, and whatever may be called of it."""

    @initialize(family=st.sampled_from(FAMILIES), options=chosen(SETTINGS, 3), data=st.data())
    def begin(self, family, options, data):
        self.settings = {"n_components": 1, "hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0} | options
        self.estimator = family(**self.settings)
        self.fit_on = None  # the table of the first fit since the estimator was new
        self.values = None  # which of its columns had a value
        self.fitted_with = None  # the settings of the last fit
        for _ in range(data.draw(st.sampled_from([1, 2, 3, 0]))):  # or most calls would be refused
            if self.fit_on is None:
                self.fit(data)

    # How calls are made

    def call(self, call, *given, moves=False, must=False):
        """Return what a call returns, or REFUSED; whatever it says, nothing else may have moved."""
        made = [None if one is None else one.made() for one in given]
        before, around = learned(self.estimator), world()
        refusal = None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                result = call(*made)
            except REFUSALS as error:
                refusal = error
        check_warnings(warned)
        assert world() == around
        for one, recipe in zip(made, given, strict=True):
            assert one is None or state_of(one) == state_of(recipe.made()), "the input was changed"
        if refusal is not None:
            assert learned(self.estimator) == before, "a refused call changed the estimator"
            check_message(refusal)
            assert not must, f"refused without a reason: {refusal!r}"
            return REFUSED
        assert moves or learned(self.estimator) == before, "a call that only reads changed the estimator"
        return result

    def rows(self, data):
        """Rows for an estimator: mostly such as it was fitted on."""
        if self.fit_on is None or data.draw(st.sampled_from([False] * 5 + [True])):
            return data.draw(tables() if self.fit_on is None else other_tables(self.fit_on))
        return data.draw(tables(like=self.fit_on))

    def fits_in(self, table):
        """Whether the rows are such that no method may refuse them."""
        same = self.fit_on is not None and [(c.name, c.kind) for c in table.columns] == [
            (c.name, c.kind) for c in self.fit_on.columns
        ]
        return (
            same
            and table.container == self.fit_on.container
            and table.is_usual
            and self.fit_on.is_usual
            and self.is_plain(self.fitted_with)
        )

    @staticmethod
    def is_plain(settings):
        """Whether settings admit all rows."""
        wrong = [name for name in WRONG if name in settings and repr(settings[name]) in map(repr, WRONG[name])]
        return not wrong and not set(settings) & {
            "likelihood",
            "categorical_features",
            "column_weight",
            "handle_unknown",
        }

    # Fits

    def draw_fit(self, data, table):
        y = data.draw(st.none() | vectors(TARGETS, table.n))
        weight = data.draw(st.none() | st.none() | vectors(WEIGHTS, table.n))
        return y, weight

    def took(self, table, weight, *, anew):
        if anew:
            counted = [True] * table.n if weight is None else [bool(w) for w in weight.cells]
            missing = missing_of(table.made())
            self.fit_on, self.values = table, (~missing[np.array(counted, bool)]).any(axis=0)
        self.fitted_with = dict(self.settings)

    @rule(data=st.data())
    def fit_anew(self, data):
        self.fit(data)

    def fit(self, data):
        table = self.rows(data)
        y, weight = self.draw_fit(data, table)
        validation = data.draw(st.none() | st.none() | st.none() | tables(like=table))
        goes_on = self.fit_on is not None and self.settings.get("warm_start", False)
        must = table.is_usual and y is None and weight is None and validation is None and not goes_on
        must = must and self.is_plain(self.settings) and not self.settings.get("early_stopping")
        fitted = self.call(
            lambda X, y, w, v: self.estimator.fit(X, y, sample_weight=w, X_val=v), table, y, weight, validation,
            moves=True, must=must,
        )  # fmt: skip
        if fitted is not REFUSED:
            assert fitted is self.estimator
            self.took(table, weight, anew=not goes_on)
            self.check_attributes()

    @rule(data=st.data())
    def partial_fit(self, data):
        table = self.rows(data)
        y, weight = self.draw_fit(data, table)
        classes = data.draw(st.sampled_from([None, [0, 1], [0, 1, 2, -1], ["a", "b"], [True, False], [], [0.5, nan]]))
        first = self.fit_on is None
        fitted = self.call(
            lambda X, y, w: self.estimator.partial_fit(X, y, classes=classes, sample_weight=w), table, y, weight,
            moves=True,
        )  # fmt: skip
        if fitted is not REFUSED:
            self.took(table, weight, anew=first)
            self.check_attributes()

    def check_attributes(self):
        estimator = self.estimator
        assert np.isfinite(estimator.loss_)
        assert estimator.n_iter_ >= 1
        assert estimator.n_features_in_ == len(self.fit_on.columns)
        if self.fit_on.frame:
            assert list(estimator.feature_names_in_) == [column.name for column in self.fit_on.columns]

    @rule(
        options=chosen(SETTINGS, 2),
        wrong=st.sampled_from([{}] * 3 + [WRONG]).flatmap(lambda w: chosen(w, 1) if w else st.just({})),
    )
    def set_params(self, options, wrong):
        before = self.shown()
        self.settings |= options | wrong
        self.estimator.set_params(**(options | wrong))
        assert self.shown() == before, "parameters that wait for the next fit changed the last one"

    def shown(self):
        """What a fitted estimator says, as values that compare exactly."""
        return self.fit_on and whole(self.estimator.sample(2, random_state=0))

    # What a fitted estimator does

    METHODS = ["transform", "predict", "predict_proba", "score_samples", "discriminate"]

    @rule(data=st.data(), method=st.sampled_from(METHODS))
    def look(self, data, method):
        table = self.rows(data)
        if not hasattr(type(self.estimator), method):
            return
        must = method in ("transform", "score_samples") and self.fits_in(table)
        values = self.call(lambda X: getattr(self.estimator, method)(X), table, must=must)
        if values is REFUSED:
            return
        assert len(values) == table.n
        self.check_values(method, values)
        again = self.call(lambda X: getattr(self.estimator, method)(X), table, must=True)
        assert again.tolist() == values.tolist(), "the same call gave something else"
        if table.mode != "far" and method != "predict":
            i = data.draw(st.integers(0, table.n - 1))
            alone = self.call(lambda X: getattr(self.estimator, method)(X), table.row(i), must=True)
            tolerance = 0.1 if self.fitted_with.get("precision") == "bfloat16" else 1e-3
            np.testing.assert_allclose(alone[0], values[i], rtol=tolerance, atol=tolerance)

    def check_values(self, method, values):
        if method == "predict":
            classes = getattr(self.estimator, "classes_", None)
            assert np.isfinite(values).all() if classes is None else set(values.tolist()) <= set(classes.tolist())
            return
        assert values.dtype in (np.float32, np.float64)
        assert np.isfinite(values).all()
        if method == "transform":
            assert values.shape[1] == self.fitted_with["n_components"]
        elif method == "predict_proba":
            np.testing.assert_allclose(values.sum(1), 1, rtol=1e-4)
        elif method == "discriminate":
            assert ((values >= 0) & (values <= 1)).all()

    @rule(data=st.data(), tolerance=st.sampled_from([0.1, 1, None, "x", nan]))
    def score_precisely(self, data, tolerance):
        table = self.rows(data)
        if not isinstance(self.estimator, VariationalAutoencoder):
            return
        must = tolerance in (0.1, 1, None) and self.fits_in(table)
        scores = self.call(lambda X: self.estimator.score_samples(X, tolerance, return_std=True), table, must=must)
        if scores is not REFUSED:
            value, std = scores
            assert value.shape == std.shape == (table.n,)
            assert np.isfinite(value).all()
            assert (std >= 0).all()

    @rule(data=st.data())
    def score_cells(self, data):
        table = self.rows(data)
        cells = self.call(lambda X: self.estimator.score_cells(X), table, must=self.fits_in(table))
        if cells is REFUSED:
            return
        assert cells.shape == (table.n, len(table.columns))
        assert not np.isinf(np.asarray(cells, dtype=float)).any()
        if not isinstance(self.estimator, VariationalAutoencoder):
            rows = self.call(lambda X: self.estimator.score_samples(X), table, must=True)
            total = np.nansum(np.asarray(cells, dtype=float), axis=1)
            np.testing.assert_allclose(total, rows, rtol=1e-3, atol=1e-2)

    @rule(data=st.data(), max_samples=st.sampled_from([1, 500, 0, None]))
    def explain_codes(self, data, max_samples):
        table = self.rows(data)
        must = max_samples in (1, 500) and table.n > 1 and self.fits_in(table)
        effects = self.call(lambda X: self.estimator.explain_codes(X, max_samples), table, must=must)
        if effects is not REFUSED:
            assert effects.shape == (len(table.columns), self.fitted_with["n_components"])
            assert (np.isfinite(effects) & (effects >= 0)).all(axis=None)

    @rule(data=st.data())
    def score(self, data):
        table = self.rows(data)
        y, weight = self.draw_fit(data, table)
        value = self.call(lambda X, y, w: self.estimator.score(X, y, sample_weight=w), table, y, weight)
        assert value is REFUSED or isinstance(value, float)

    @rule(
        codes=st.sampled_from([[[0.0]], [[0.5], [-1.0]], [[0.0, 1.0]], [[1e30, 0.0]], [[nan]], [], [0.0], [[inf]]]),
        dtype=st.sampled_from(["float64", "float32", object, None]),
    )
    def inverse_transform(self, codes, dtype):
        given = codes if dtype is None else np.array(codes).astype(dtype)
        rows = self.call(lambda: self.estimator.inverse_transform(given))
        if rows is not REFUSED:
            self.check_rows(rows, len(codes))

    def check_rows(self, rows, n):
        """Generated rows are such as the table of the fit."""
        fitted = self.fit_on.made()
        assert rows.shape == (n, len(self.fit_on.columns))
        if self.fit_on.frame:
            assert type(rows) is type(fitted)
            assert list(rows.columns) == list(fitted.columns)
            assert dtypes_of(rows) == dtypes_of(fitted)
            assert not missing_of(rows)[:, self.values].any()
        else:
            assert isinstance(rows, np.ndarray)
            assert rows.dtype == object or np.isfinite(rows).all()

    @rule(
        n=st.sampled_from([1, 3, 1, 3, 0, 2.0]),
        seed=st.sampled_from([0, 0, None, "x"]),
        y=st.sampled_from([None, None, 0, "a", True, [0, 1, 1], ["a"], 9]),
    )
    def sample(self, n, seed, y):
        draw = lambda: self.estimator.sample(n, random_state=seed, y=y)  # noqa: E731
        must = self.fit_on is not None and self.fit_on.is_usual and y is None and seed != "x" and n in (1, 3)
        rows = self.call(draw, must=must)
        if rows is not REFUSED:
            self.check_rows(rows, n)
            assert seed is None or whole(self.call(draw)) == whole(rows), "the same seed gave other rows"

    @rule(data=st.data(), n_draws=st.sampled_from([None, None, 1, 2, 0, "x"]))
    def impute(self, data, n_draws):
        table = self.rows(data)
        must = n_draws not in (0, "x") and self.fits_in(table)
        filled = self.call(lambda X: self.estimator.impute(X, n_draws=n_draws, random_state=0), table, must=must)
        if filled is REFUSED:
            return
        again = self.call(lambda X: self.estimator.impute(X, n_draws=n_draws, random_state=0), table)
        assert n_draws is None or len(filled) == n_draws
        pairs = [(filled, again)] if n_draws is None else zip(filled, again, strict=True)
        for one, other in pairs:
            assert whole(one) == whole(other), "the same call gave something else"
            check_filled(table, one, self.values)

    # Estimators that are made of others

    @rule(data=st.data(), how=st.sampled_from([copy.deepcopy, copy.copy, lambda e: pickle.loads(pickle.dumps(e))]))  # noqa: S301
    def go_on_with_a_copy(self, data, how):
        unfitted, other = (self.call(lambda make=make: make(self.estimator)) for make in (clone, how))
        assert repr(unfitted.get_params()) == repr(self.estimator.get_params())
        assert not hasattr(unfitted, "net_")
        if self.fit_on is not None:
            row = data.draw(tables(like=self.fit_on))
            codes, same = (self.call(lambda X, e=e: e.transform(X), row) for e in (self.estimator, other))
            assert codes is same or codes.tolist() == same.tolist()
            before = self.shown()
            self.estimator = other
            assert self.shown() == before
        self.estimator = other

    @rule(data=st.data(), posterior=st.booleans(), family=st.sampled_from(FAMILIES), options=chosen(SETTINGS, 2))
    def impute_with_a_transformer(self, data, posterior, family, options):
        table, again = data.draw(tables()), None
        own = {"n_components": 1, "hidden_layer_sizes": (3,), "max_iter": 1} | options
        imputer = AutoencoderImputer(family(**own), sample_posterior=posterior, random_state=0)
        fitted = self.call(
            lambda X: imputer.fit(X),
            table,
            must=table.is_usual and self.is_plain(own) and not own.get("early_stopping"),
        )
        if fitted is REFUSED:
            assert not hasattr(imputer, "estimator_")
            return
        again = data.draw(st.just(table) | tables(like=table) | other_tables(table))
        filled = self.call(lambda X: imputer.transform(X), again, must=again is table)
        if filled is not REFUSED:
            check_filled(again, filled, (~missing_of(table.made())).any(axis=0))


def check_filled(table, filled, values):
    """Known cells are as they were given, in their own dtype; gaps of columns with a value in the fit are filled."""
    given = table.made()
    missing = missing_of(given)
    assert not missing_of(filled)[:, values].any(), "a gap was left"
    if table.container in ("list", "sparse"):
        given = np.asarray(given.toarray() if hasattr(given, "toarray") else given, dtype=filled.dtype)
    if table.container == "pandas":
        assert list(filled.columns) == list(given.columns)
        assert list(filled.index) == list(given.index)
    before, after = cells_of(given), cells_of(filled)
    own, now = dtypes_of(given), dtypes_of(filled)
    for j, (cells, changed) in enumerate(zip(before, after, strict=True)):
        known = ~missing[:, j]
        same = [a == b for a, b, k in zip(cells, changed, known, strict=True) if k]
        assert all(same), f"known cells of column {j} were changed: {cells} {changed}"
        dtype, new = (own[j], now[j]) if len(own) == len(before) and table.frame else (own[0], now[0])
        if not missing[:, j].any() or (known.any() and table.mode != "far" and not hasattr(dtype, "categories")):
            assert new == dtype, f"column {j} of {dtype} became one of {new}"


QUICK = settings(
    max_examples=200,
    stateful_step_count=8,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "10000")), derandomize=False)


def test_calls_give_what_they_should_or_are_refused_in_words():
    run_state_machine_as_test(Calls, settings=QUICK)


@pytest.mark.slow
def test_very_many_calls_give_what_they_should_or_are_refused_in_words():
    run_state_machine_as_test(Calls, settings=LONG)
