"""Whoever reads a fitted estimator meets one fit, whole, whatever other threads and set_params do meanwhile."""

import copy
import os
import pickle
import sys
import tempfile
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from skorch.callbacks import Callback

import sklearn_ae
from sklearn_ae import AutoencoderImputer, RegularizedAutoencoder
from tests import own_family
from tests.families import FAMILIES, SMALL, VARIANTS

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(30, 3))
OTHER = np.column_stack([5 + 100 * TABLE, RNG.normal(size=30)])
Y = np.arange(30) % 3
GAPS = np.where(RNG.uniform(size=TABLE.shape) < 0.2, np.nan, TABLE)[:4]
ROWS, OTHER_ROWS = TABLE[:4], OTHER[:4]
CODES, OTHER_CODES = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 3))
OWN = [thing for thing in vars(own_family).values() if getattr(thing, "__module__", "") == own_family.__name__]
NOT_PUBLIC = {"fit", "fit_transform", "partial_fit", "get_params", "set_params", "set_output", "get_metadata_routing"}


class Failure(Callback):
    """Fails when almost everything has been done."""

    def on_train_end(self, net, **kwargs):
        raise RuntimeError("on purpose")


@pytest.fixture(autouse=True)
def _threads_take_turns_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def small(name, **settings):
    return VARIANTS[name](**SMALL | {"max_iter": 1} | settings)


READS = {
    "transform": lambda e: e.transform(ROWS),
    "transform of the other table": lambda e: e.transform(OTHER_ROWS),
    "predict": lambda e: e.predict(ROWS),
    "predict_proba": lambda e: e.predict_proba(ROWS),
    "predict_log_proba": lambda e: e.predict_log_proba(ROWS),
    "score": lambda e: e.score(ROWS),
    "score with y": lambda e: e.score(ROWS, Y[:4]),
    "score_samples": lambda e: e.score_samples(ROWS),
    "score_samples of the other table": lambda e: e.score_samples(OTHER_ROWS),
    "score_cells": lambda e: e.score_cells(ROWS),
    "score_cells of the other table": lambda e: e.score_cells(OTHER_ROWS),
    "explain_codes": lambda e: e.explain_codes(ROWS),
    "latent_summary": lambda e: e.latent_summary(ROWS).to_numpy(float),
    "inverse_transform": lambda e: e.inverse_transform(CODES),
    "inverse_transform of other codes": lambda e: e.inverse_transform(OTHER_CODES),
    "sample": lambda e: e.sample(3, random_state=0),
    "sample of a class": lambda e: e.sample(3, random_state=0, y=1),
    "impute": lambda e: e.impute(GAPS),
    "draws of impute": lambda e: np.stack(e.impute(GAPS, n_draws=2, random_state=0)),
    "discriminate": lambda e: e.discriminate(ROWS),
    "names": lambda e: e.get_feature_names_out(),
    "named codes": lambda e: copy.copy(e).set_output(transform="pandas").transform(ROWS),
    "history": lambda e: e.history_.drop(columns="seconds"),
    "weights": lambda e: [t.numpy() for t in e.module_.state_dict().values()],
    "classes": lambda e: e.classes_,
    "epochs": lambda e: (e.n_iter_, e.loss_curve_),
    "columns": lambda e: e.n_features_in_,
    "pickled": lambda e: pickle.loads(pickle.dumps(e)).transform(ROWS),
    "deep copy": lambda e: copy.deepcopy(e).transform(ROWS),
    "save": lambda e: saved_and_loaded(e).transform(ROWS),
    "predicts": lambda e: hasattr(e, "predict"),
}


def saved_and_loaded(estimator):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        copy.copy(estimator).set_params(callbacks=None).save(path, trusted=OWN)  # callbacks can't be saved
        return sklearn_ae.load(path, trusted=OWN)


def outcome(read, estimator):
    """What a read gives, or raises, as a value that compares exactly."""
    try:
        found = read(estimator)
    except AttributeError:  # its words depend on whether the fit ended before or after the method was looked up
        return "AttributeError"
    except Exception as error:
        return type(error).__name__, str(error)
    if isinstance(found, pd.DataFrame):
        return list(found.columns), found.to_numpy().tobytes()
    if isinstance(found, np.ndarray):
        return found.shape, str(found.dtype), found.tolist() if found.dtype == object else found.tobytes()
    return [array.tobytes() for array in found] if isinstance(found, list) else found


def outcomes(estimator, reads=READS):
    return {name: outcome(read, estimator) for name, read in reads.items()}


def while_others_read(write, estimator, allowed, reads=READS, n_rounds=2, n_readers=4):
    """Let readers go round while ``write`` is called again and again; return how often each outcome was met."""
    met = {name: set() for name in reads}
    wrong, running = [], [True]

    def read_all(first):
        names = list(reads)
        for name in n_rounds * (names[first:] + names[:first]):
            found = outcome(reads[name], estimator)
            places = [i for i, one in enumerate(allowed) if one[name] == found]
            met[name].update(places[:1])
            wrong.extend([] if places else [(name, found)])

    def write_on():
        while running[0]:
            write()

    writer = threading.Thread(target=write_on)
    readers = [threading.Thread(target=read_all, args=(5 * i,)) for i in range(n_readers)]
    for thread in (writer, *readers):
        thread.start()
    for thread in readers:
        thread.join()
    running[0] = False
    writer.join()
    assert wrong == []
    return met


def one(estimator):
    """The first of two fits: with y."""
    return estimator.set_params(n_components=2, scale=True).fit(TABLE, Y)


def another(estimator):
    """The second: another table, other parameters, no y."""
    return estimator.set_params(n_components=3, scale="common").fit(OTHER)


FAMILIES_ONCE = ["regularized", "variational", "adversarial, both", "wasserstein, from outside the package"]
families = pytest.mark.parametrize("name", FAMILIES_ONCE)
some_families = pytest.mark.parametrize("name", ["variational", "adversarial, both"])


@families
def test_readers_meet_the_old_fit_or_the_new_one_while_another_thread_fits(name):
    make = partial(small, name)
    allowed = [outcomes(one(make())), outcomes(another(make()))]
    estimator = one(make())

    def write():
        another(estimator)
        one(estimator)

    met = while_others_read(write, estimator, allowed)
    assert set().union(*met.values()) == {0, 1}
    assert outcomes(estimator) == allowed[0]


@some_families
def test_readers_meet_the_old_fit_while_others_fail(name):
    estimator = one(small(name))
    allowed = [outcomes(estimator)]

    def write():
        with pytest.raises(RuntimeError, match="on purpose"):
            another(estimator.set_params(callbacks=[Failure()]))

    while_others_read(write, estimator, allowed, n_rounds=1)
    assert outcomes(estimator) == allowed[0]


@families
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_that_goes_on_changes_nothing_of_the_one_it_goes_on_from(name, method):
    estimator = one(small(name, warm_start=True))
    allowed = [outcomes(estimator)]
    for _ in range(2):
        going_on = copy.copy(estimator)
        getattr(going_on, method)(TABLE, Y)
        allowed.append(outcomes(going_on))
        assert outcomes(estimator) == allowed[0]
        assert allowed[-1]["weights"] != allowed[0]["weights"]


@some_families
def test_of_two_fits_at_once_one_is_left_whole(name):
    estimator = small(name, max_iter=2)
    allowed = [outcomes(clone(estimator).fit(TABLE, Y)), outcomes(clone(estimator).fit(OTHER))]
    for _ in range(3):
        threads = [
            threading.Thread(target=estimator.fit, args=args) for args in [(TABLE, Y), (OTHER,), (TABLE, Y), (OTHER,)]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes(estimator) in allowed


@some_families
def test_two_estimators_fit_at_once_and_many_read_without_a_writer(name):
    estimator, fitted = small(name), one(small(name))
    allowed = [outcomes(fitted)]
    while_others_read(lambda: another(estimator), fitted, allowed, n_rounds=1)
    assert outcomes(estimator) == outcomes(another(small(name)))


def test_the_imputer_gives_one_fit_as_well():
    reads = {
        "transform": lambda e: e.transform(GAPS),
        "names": lambda e: e.get_feature_names_out(),
        "named": lambda e: copy.copy(e).set_output(transform="pandas").transform(GAPS),
        "columns": lambda e: e.n_features_in_,
        "pickled": lambda e: pickle.loads(pickle.dumps(e)).transform(GAPS),
    }
    make = partial(AutoencoderImputer, RegularizedAutoencoder(**SMALL), random_state=0)
    tables = [pd.DataFrame(TABLE, columns=list("abc")).to_numpy(), OTHER[:, :3]]
    allowed = [outcomes(make().fit(table), reads) for table in tables]
    estimator = make().fit(tables[0])

    def write():
        for table in reversed(tables):
            estimator.set_params(sample_posterior=table is tables[1]).fit(table)

    allowed[1] = outcomes(make(sample_posterior=True).fit(tables[1]), reads)
    met = while_others_read(write, estimator, allowed, reads, n_rounds=8, n_readers=2)
    assert set().union(*met.values()) == {0, 1}


# Parameters that are set after a fit


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_set_after_a_fit_waits_for_the_next_one(family):
    fitted = family(**SMALL | {"max_iter": 2}).fit(TABLE, Y)
    expected = outcomes(fitted)
    everything = copy.copy(fitted).set_params(**dict.fromkeys(fitted.get_params(), "nonsense"))
    assert outcomes(everything) == expected
    assert set(everything.get_params().values()) == {"nonsense"}


@pytest.mark.filterwarnings("ignore:no category of column")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_table_of_kinds_comes_back_as_it_was_fitted_whatever_is_set_afterwards(family):
    table = pd.DataFrame({"size": TABLE[:, 0], "kind": ["b", "a", None] * 10, "sold": TABLE[:, 1] > 0})
    fitted = family(**SMALL).fit(table)
    changed = copy.copy(fitted).set_params(
        handle_unknown="error", categorical_features=None, scale=False, min_frequency=9
    )
    new = table.head(6).assign(kind="new")
    for method in ("transform", "score_samples", "score_cells", "explain_codes", "impute"):
        found, expected = (getattr(e, method)(new) for e in (changed, fitted))
        np.testing.assert_array_equal(found, expected)
    assert changed.sample(4, random_state=0).equals(fitted.sample(4, random_state=0))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_that_reads_a_fit_is_among_those_that_are_read_here(family):
    read = {name.split()[0] for name in READS} | {"get_feature_names_out"}
    read |= {"recipe", "column_options", "as_fitted"}  # for families and for the fit itself
    read |= {"load", "saved_state", "from_saved_state"}  # used by save and load
    read |= {"to_onnx"}  # takes seconds; reads one fit by the same decorator
    assert family.to_onnx.__code__ is family.score_samples.__code__
    methods = {
        name
        for name in dir(family)
        if not name.startswith(("_", "set_")) and callable(getattr(family, name, None)) and name not in NOT_PUBLIC
    }
    available = {name for name in methods if not name.startswith("metadata")}
    assert {name for name in available - read if hasattr(getattr(family, name), "__code__")} == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_warnings_of_a_method_point_at_the_line_that_calls_it(family):
    fitted = family(**SMALL, unlabeled=1).fit(TABLE, Y)
    with pytest.warns(UndefinedMetricWarning) as found:
        fitted.score(TABLE, np.ones(30, dtype=int))
    assert found[0].filename == __file__
    with pytest.warns(UserWarning, match="a meta-estimator may have encoded the labels") as found:
        fitted.fit(TABLE, np.arange(30) % 2 + 2)
    assert found[0].filename == __file__


class Calibrated(RegularizedAutoencoder):
    """A class of a user's own, which learns something beside."""

    def fit(self, X, y=None):
        super().fit(X, y)
        self.typical_ = float(np.median(super().score_samples(X)))
        return self

    def score_samples(self, X):
        return super().score_samples(X) - self.typical_


def test_a_class_of_a_users_own_may_learn_something_beside():
    estimator = Calibrated(**SMALL)
    for table in (TABLE, OTHER, TABLE):
        for fitted in (estimator.fit(table), pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
            assert np.median(fitted.score_samples(table)) == pytest.approx(0)
            assert fitted.score(table) == pytest.approx(fitted.score_samples(table).mean())
    assert list(estimator.set_output(transform="pandas").transform(TABLE).columns) == list(
        estimator.get_feature_names_out()
    )
    assert isinstance(estimator.set_output(transform="default").transform(TABLE), np.ndarray)
    estimator.set_output(transform="pandas").fit(TABLE).set_output(transform="default")
    assert isinstance(estimator.transform(TABLE), np.ndarray)


def test_what_is_learned_is_shown_and_what_is_missing_is_named():
    estimator = small("regularized")
    with pytest.raises(AttributeError, match="not fitted yet"):
        estimator.loss_  # noqa: B018
    with pytest.raises(AttributeError, match="not fitted yet"):
        estimator.module_  # noqa: B018
    with pytest.raises(AttributeError, match="'nothing'"):
        estimator.nothing  # noqa: B018
    estimator.fit(TABLE)
    assert {"loss_", "n_iter_", "net_"} <= set(dir(estimator))
    with pytest.raises(AttributeError, match="classes_"):
        estimator.classes_  # noqa: B018
