"""The joblib backend on the workers of an executor."""

import _thread
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from loky import get_reusable_executor
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.parallel import dealer, shares, workers
from sklearn_ae.parallel.board import Board, Reported
from sklearn_ae.parallel.conductor import Aborted
from sklearn_ae.tables.sources import Array
from tests.families import families

X, Y = load_iris(return_X_y=True)
SHORT = {"n_components": 2, "hidden_layer_sizes": (8,), "batch_size": 32, "max_iter": 6, "random_state": 0}
RATES = {"learning_rate": [1e-3, 3e-3, 1e-2, 3e-2]}


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    end = time.monotonic() + 20  # workers that are threads can't be asked to stop
    while any(thread.name.startswith("sklearn_ae") for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


class Here(Executor):
    """An executor that needs no processes: its workers are threads, and each call is noted."""

    def __init__(self, num_workers=2, dies=lambda tasks, how: False):
        self.num_workers = num_workers
        self.dies = dies
        self.tasks = []  # of each share
        self.hows = []
        self.stored = []
        self.sizes = []  # of the shares, in bytes
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="workers")

    def submit(self, fn, *args):
        tasks, how = shares.unpacked(*args)
        self.tasks.append(tasks)
        self.hows.append(how)
        self.stored.append(args[2:])
        self.sizes.append(len(args[0]))
        if self.dies(tasks, how):
            future = Future()
            future.set_exception(MemoryError("the worker died"))
            return future
        return self._pool.submit(fn, *args)


def on(executor, **settings):
    return joblib.parallel_config(backend="sklearn_ae", executor=executor, **settings)


def search(estimator, grid, **settings):
    return GridSearchCV(estimator, grid, cv=3, refit=False, **settings).fit(X, Y)


def scores(found):
    return found.cv_results_["mean_test_score"]


# What is found


@families
def test_a_search_finds_what_it_finds_in_this_process(family):
    expected = search(family(**SHORT), RATES)
    with on(Here()):
        found = search(family(**SHORT), RATES)
    np.testing.assert_allclose(scores(found), scores(expected), atol=2e-3)


def test_every_task_is_run_once_and_in_order():
    with on(executor := Here(3)):
        assert joblib.Parallel()(joblib.delayed(divmod)(k, 7) for k in range(1000)) == [
            divmod(k, 7) for k in range(1000)
        ]
    assert sum(map(len, executor.tasks)) == 1000
    assert max(map(len, executor.tasks)) <= 128


def test_a_call_without_tasks_returns_nothing():
    with on(Here()):
        assert joblib.Parallel()(joblib.delayed(abs)(k) for k in ()) == []


def test_successive_halving_and_generators_work():
    with on(Here()):
        found = HalvingGridSearchCV(RegularizedAutoencoder(**SHORT), RATES, cv=3, random_state=0, refit=False).fit(X, Y)
        assert np.isfinite(found.cv_results_["mean_test_score"]).all()
        results = joblib.Parallel(return_as="generator")(joblib.delayed(abs)(-k) for k in range(10))
        assert list(results) == list(range(10))


def test_fitted_estimators_come_back():
    with on(Here()):
        found = cross_validate(RegularizedAutoencoder(**SHORT), X, Y, cv=3, return_estimator=True)
    assert [fitted.score(X, Y) > 0.3 for fitted in found["estimator"]] == [True] * 3


# How tasks are dealt out


def kinds(tasks):
    return Counter(map(shares.kind_of, tasks))


def test_fits_of_one_signature_go_to_one_worker():
    grid = {"n_components": [1, 2], "learning_rate": np.geomspace(1e-3, 1e-2, 16).tolist()}
    with on(executor := Here()):
        search(RegularizedAutoencoder(**SHORT), grid)
    assert [len(kinds(tasks)) for tasks in executor.tasks] == [1, 1, 1]
    assert [len(tasks) for tasks in executor.tasks] == [48, 32, 16]


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"alpha": [0.0, 0.1], "learning_rate": [1e-3, 1e-2], "random_state": [0, 1]}, 1),
        ({"n_components": [1, 2], "alpha": [0.0, 0.1]}, 2),
        ({"hidden_layer_sizes": [(4,), (8,), (4,)]}, 2),
        ({"activation": ["tanh", "silu"], "n_components": [1, 2]}, 4),
    ],
    ids=str,
)
def test_a_kind_is_what_a_stack_has_in_common(grid, expected):
    """The parameters are those of the estimator itself, of one in a pipeline, and of one that is a parameter."""
    estimator = RegularizedAutoencoder(**SHORT)
    steps = make_pipeline(StandardScaler(), estimator, LogisticRegression())
    named = {f"regularizedautoencoder__{name}": values for name, values in grid.items()}
    for searched, values in ((estimator, grid), (steps, named)):
        with on(executor := Here()):
            search(searched, values)
        assert len(sum(map(kinds, executor.tasks), start=Counter())) == expected


def test_estimators_may_be_what_is_searched():
    steps = make_pipeline(StandardScaler(), RegularizedAutoencoder(), LogisticRegression())
    chosen = [
        cls(**{**SHORT, "random_state": k}, task=None)
        for k in (0, 1)
        for cls in (RegularizedAutoencoder, VariationalAutoencoder)
    ]
    with on(executor := Here()):
        found = search(steps, {"regularizedautoencoder": chosen})
    assert len(sum(map(kinds, executor.tasks), start=Counter())) == 2
    assert np.isfinite(scores(found)).all()


@pytest.mark.parametrize(("n_jobs", "expected"), [(1, 1), (3, 3), (-1, 6), (None, 6)])
def test_n_jobs_bounds_the_fits_that_wait_for_each_other(n_jobs, expected):
    with on(executor := Here(), n_jobs=n_jobs):
        cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=12)
    assert max(map(len, executor.tasks)) == expected


def test_no_worker_has_nothing_to_do_while_another_has_much():
    with on(executor := Here(4)):
        joblib.Parallel(pre_dispatch="all")(joblib.delayed(abs)(k) for k in range(1000))
    assert [len(tasks) for tasks in executor.tasks[:4]] == [128] * 4
    assert len(executor.tasks[-1]) <= 32


# How data travel


N = 20_000
RANDOM = np.random.RandomState(0)
TABLES = {
    "array": RANDOM.normal(size=(N, 4)),
    "Fortran": np.asfortranarray(RANDOM.normal(size=(N, 4))),
    "strided": RANDOM.normal(size=(2 * N, 8))[::2, ::2],
    "read-only": np.broadcast_to(RANDOM.normal(size=4), (N, 4)),
    "frame": pd.DataFrame(
        {
            "number": RANDOM.normal(size=N),
            "category": pd.Categorical(RANDOM.choice(list("xyz"), size=N)),
            "gaps": pd.array(np.where(RANDOM.uniform(size=N) < 0.1, None, 3), dtype="Int64"),
            "text": RANDOM.choice(["u", None], size=N),
        }
    ),
    "polars": pl.DataFrame({"number": RANDOM.normal(size=N), "text": ["u", None] * (N // 2)}),
    "sparse": sparse.random(N, 20, 0.2, format="csr", random_state=0),
    "tensor": torch.from_numpy(RANDOM.normal(size=(N, 4))),
    "source": Array(RANDOM.normal(size=(N, 4))),
}
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@every_table
def test_a_table_travels_once_for_all_shares(table, monkeypatch):
    store, n_bytes = workers.Workers.store, []
    monkeypatch.setattr(
        workers.Workers, "store", lambda self, buffer: n_bytes.append(buffer.nbytes) or store(self, buffer)
    )
    with on(executor := Here(), n_jobs=2):
        joblib.Parallel()(joblib.delayed(_itself)(table) for _ in range(12))
    assert len(executor.stored) >= 6
    assert len(n_bytes) == len(executor.stored[0])
    assert 0 < sum(n_bytes) < 1.2 * len(pickle.dumps(table)) + 1000
    assert max(executor.sizes) < shares.LARGE


def test_tasks_of_a_share_have_one_table_and_small_ones_travel_with_them():
    table, labels = TABLES["array"], np.arange(10)
    with on(executor := Here(1)):
        joblib.Parallel()(joblib.delayed(_itself)((k, labels)[1], table) for k in range(4))
    [tasks] = executor.tasks
    arrived = [args for task in tasks for _, args, _ in task.items]
    assert all(own is arrived[0][1] for _, own in arrived)
    assert [part.nbytes for part in executor.stored[0]][1:] == [table.nbytes]


@every_table
def test_tables_arrive_as_they_are(table):
    with on(Here(1)):
        [arrived] = joblib.Parallel()(joblib.delayed(_itself)(one) for one in [table])
    assert arrived is not table
    assert type(arrived) is type(table)
    values = [
        np.asarray(t[:] if isinstance(t, Array) else t.toarray() if sparse.issparse(t) else t) for t in (arrived, table)
    ]
    assert pd.DataFrame(values[0]).equals(pd.DataFrame(values[1]))
    if isinstance(table, pd.DataFrame):
        pd.testing.assert_frame_equal(arrived, table)


def _sum_of_copy(table):
    return table.sum()


def _itself(table, *others):
    return table


@dataclass(frozen=True)
class Unhashable:
    """Has a hash by its class, but none by its value."""

    value: list


@pytest.mark.parametrize(
    "value", [[{1}], slice(3), Unhashable([1]), np.arange(100_000.0)], ids=["set", "slice", "class", "array"]
)
def test_any_parameter_of_any_estimator_is_dealt_with(value):
    with on(executor := Here()):
        found = cross_val_score(make_pipeline(Failing(mark=value), StandardScaler(), LogisticRegression()), X, Y, cv=3)
    assert np.isfinite(found).all()
    assert sum(map(len, executor.tasks)) == 3


# What goes wrong


class Failing(TransformerMixin, BaseEstimator):
    """Fails on request, or ends its process."""

    def __init__(self, how="not", mark=None):
        self.how = how
        self.mark = mark

    def fit(self, X, y=None):
        if self.how == "error":
            raise OSError("no space left")
        if self.how == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "death, once" and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    def transform(self, X):
        return X


def failing_steps():
    return make_pipeline(Failing(), RegularizedAutoencoder(**SHORT, task=None), LogisticRegression())


def test_a_candidate_that_raises_fails_alone():
    with on(Here()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = search(failing_steps(), {"failing__how": ["not", "error"]})
    assert np.isnan(scores(found)[1])
    assert scores(found)[0] > 0.5


def test_an_error_ends_a_search_that_wants_it():
    with on(Here()), pytest.raises(OSError, match="no space left") as caught:
        search(failing_steps(), {"failing__how": ["not", "error"]}, error_score="raise")
    assert "raise OSError" in caught.value.__notes__[0]


def test_results_that_cannot_travel_are_refused():
    with on(Here()), pytest.raises(RuntimeError, match="results and errors must be picklable"):
        joblib.Parallel()(joblib.delayed(threading.Lock)() for _ in range(2))


def test_tasks_that_cannot_travel_are_refused():
    with on(Here()), pytest.raises(TypeError, match="pickle"):
        joblib.Parallel()(joblib.delayed(_itself)(threading.Lock()) for _ in range(2))


def test_a_share_is_run_again_after_a_death():
    deaths = iter([True, False, False, False])
    with on(executor := Here(dies=lambda tasks, how: next(deaths))):
        found = search(RegularizedAutoencoder(**SHORT), RATES)
    assert np.isfinite(scores(found)).all()
    assert [len(tasks) for tasks in executor.tasks] == [6, 6, 6]


def test_fits_that_kill_two_workers_fail_alone():
    """Every fit of their share has error_score, and the others are as usual."""

    def dies(tasks, how):
        return isinstance(how, shares.InStacks) and any("n_components': 1" in str(task.items) for task in tasks)

    expected = search(RegularizedAutoencoder(**SHORT), {"n_components": [1, 2]})
    with (
        on(Here(dies=dies)),
        pytest.warns(FitFailedWarning, match="workers must survive a fit, but two"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        found = search(RegularizedAutoencoder(**SHORT), {"n_components": [1, 2]})
    assert np.isnan(scores(found)[0])
    np.testing.assert_allclose(scores(found)[1], scores(expected)[1], atol=2e-3)


def test_tasks_that_kill_a_worker_without_a_fit_raise():
    with on(executor := Here(dies=lambda tasks, how: True)), pytest.raises(MemoryError, match="the worker died"):
        joblib.Parallel()(joblib.delayed(abs)(k) for k in range(2))
    assert Counter(type(how).__name__ for how in executor.hows)["InStacks"] >= 2


def test_a_fault_of_the_dealer_is_raised(monkeypatch):
    monkeypatch.setattr(dealer.Dealer, "_next_share", lambda self: 1 / 0)
    with on(Here()), pytest.raises(ZeroDivisionError):
        search(RegularizedAutoencoder(**SHORT), RATES)


@pytest.mark.parametrize(
    "executor", [3, "loky", ThreadPoolExecutor(1), ProcessPoolExecutor], ids=["number", "name", "threads", "class"]
)
def test_what_is_no_executor_of_processes_is_refused(executor):
    with pytest.raises(TypeError, match=r"executor must be a concurrent.futures.Executor of processes, got"):
        on(executor)


def test_an_executor_must_tell_its_workers():
    with on(_Nameless()), pytest.raises(TypeError, match="attribute num_workers"):
        search(RegularizedAutoencoder(**SHORT), RATES)


class _Nameless(Executor):
    pass


def test_a_board_tells_what_a_share_has_done_and_when_to_stop(tmp_path):
    board = Board.made(tmp_path / "board")
    progress = Reported(pickle.loads(pickle.dumps(board)))
    progress.expect(30)
    progress.ran(7)
    progress.ran(5)
    progress.check()
    assert board.counts() == (30, 12)
    board.stop()
    with pytest.raises(Aborted):
        progress.check()


# Real processes


@pytest.fixture(scope="module")
def processes():
    """Two workers of loky."""
    return get_reusable_executor(2, timeout=300, env={"OMP_NUM_THREADS": "1"})


def test_processes_find_the_same_and_leave_no_files(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    expected = search(VariationalAutoencoder(**SHORT), RATES)
    with on(processes):
        found = search(VariationalAutoencoder(**SHORT), RATES)
    np.testing.assert_allclose(scores(found), scores(expected), atol=2e-3)
    assert list(tmp_path.iterdir()) == []


def test_processes_map_the_data_from_a_file(processes, tmp_path):
    table = np.arange(100_000.0)
    with on(processes):
        found = joblib.Parallel()(joblib.delayed(_where)(table, tmp_path) for _ in range(4))
    assert {total for _, total, _ in found} == {table.sum()}
    assert len({process for process, _, _ in found} - {os.getpid()}) == 2
    assert not any(writeable for _, _, writeable in found)


def test_several_calls_in_one_context_see_their_own_data(processes):
    table = np.zeros(100_000)
    with on(processes), joblib.Parallel() as parallel:
        for k in range(5):
            table[:] = k
            assert parallel(joblib.delayed(_sum_of_copy)(table) for _ in range(3)) == [k * 100_000] * 3


def _where(table, folder):
    """Wait for another process, however long it takes to start."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return os.getpid(), table.sum(), table.flags.writeable


def test_a_bar_shows_the_epochs_of_all_processes(processes, capsys):
    with on(processes):
        cross_val_score(RegularizedAutoencoder(**SHORT), X, Y, cv=6, verbose=1)
    last = capsys.readouterr().err.rpartition("sklearn_ae: ")[2]
    assert last.startswith("100%")
    assert "36/36" in last
    assert "together=6" in last


class Marking(Callback):
    """Makes a file in the first epoch."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, net, **settings):
        Path(self.path).touch()


def test_an_interrupt_ends_the_fits_on_processes(processes, sigint, tmp_path):
    begun = tmp_path / "begun"

    def interrupt():
        while not begun.exists():
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    endless = RegularizedAutoencoder(**{**SHORT, "max_iter": 10_000_000}, callbacks=[Marking(str(begun))])
    with on(processes), pytest.raises(KeyboardInterrupt):
        cross_val_score(endless, X, Y, cv=5)
    assert processes.submit(os.getpid).result(timeout=10) != os.getpid()


def test_a_killed_process_is_survived(processes, tmp_path):
    grid = {"failing__how": ["not", "death, once"], "failing__mark": [str(tmp_path / "mark")]}
    with on(processes):
        found = search(failing_steps(), grid)
    assert (tmp_path / "mark").exists()
    assert np.isfinite(scores(found)).all()


class Killing(Callback):
    """Ends its process in the third epoch."""

    def on_epoch_end(self, net, **settings):
        if len(net.history) == 3:
            time.sleep(0.5)  # the other share has begun, and the bar has shown some epochs
            os.kill(os.getpid(), signal.SIGKILL)


class Waiting(Callback):
    """Is still at work when the other share kills its process."""

    def on_epoch_end(self, net, **settings):
        if len(net.history) == 3:
            time.sleep(1)


@pytest.mark.slow
def test_fits_that_kill_two_processes_fail_and_others_of_their_pool_do_not(processes, capsys):
    grid = [{"n_components": [2], "callbacks": [[Waiting()]]}, {"n_components": [1], "callbacks": [[Killing()]]}]
    estimator = RegularizedAutoencoder(**{**SHORT, "max_iter": 40})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with on(processes, verbose=1):
            found = search(estimator, grid)
    assert np.isnan(scores(found)[1])
    np.testing.assert_allclose(scores(found)[0], scores(search(estimator, grid[:1]))[0], atol=2e-3)
    last = capsys.readouterr().err.rpartition("sklearn_ae: ")[2]
    assert last.startswith("100%")
    assert "120/120" in last


@pytest.mark.slow
def test_a_pool_of_the_standard_library_begins_anew(tmp_path):
    """Also in a second search, for which the given pool is broken from the beginning."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for k in range(2):
            grid = {"failing__how": ["not", "death, once"], "failing__mark": [str(tmp_path / f"mark-{k}")]}
            with on(pool):
                assert np.isfinite(scores(search(failing_steps(), grid))).all()
