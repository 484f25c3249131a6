"""Threads of torch: a fit takes as many as it can feed, and leaves the user's setting alone."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.parallel.shares import InStacks
from sklearn_ae.training.threads import at_most, blas_at_most, suited

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
WIDE = np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32)


@pytest.fixture(autouse=True)
def _three_threads():
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


def all_counts():
    """Return what torch's libraries say of this thread."""
    told = re.findall(r"(?:omp|mkl)_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
    return {torch.get_num_threads(), *map(int, told)}


def in_another_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_limit_is_that_of_one_thread_and_ends():
    for _ in range(2):
        with at_most(1):
            assert all_counts() == {1}
            assert in_another_thread(all_counts) == {3}
            with at_most(2):
                assert all_counts() == {1}
        assert all_counts() == {3}
        torch.set_num_threads(3)  # MKL goes its own way from then on


def test_a_limit_is_never_more_than_there_was():
    for n in (3, 4, 10**9):
        with at_most(n):
            assert all_counts() == {3}
    with at_most(2):
        assert all_counts() == {2}


def test_a_limit_holds_in_a_thread_that_has_not_used_torch_before():
    def limited():
        with at_most(1):
            torch.ones(100, 100) @ torch.ones(100, 100)
            return all_counts()

    assert in_another_thread(limited) == {1}


def test_a_limit_ends_with_an_error():
    with pytest.raises(OSError, match="disk"), at_most(1):
        raise OSError("disk")
    assert all_counts() == {3}


def test_wide_products_get_threads_and_small_ones_do_not():
    def net(*widths):
        return nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)))

    assert suited(net(10, 32, 4, 32, 10), 32) == 1
    assert suited(net(30, 64, 8, 64, 30), 128) == 1
    assert suited(net(784, 1000, 500, 250, 30, 250, 500, 1000, 784), 128) >= 16
    assert suited(nn.Identity(), 10**9) == 1
    assert suited(net(10, 32).to("meta"), 32) == 3  # not on the CPU


class Counting(Callback):
    """Keeps the numbers of threads that it meets."""

    def __init__(self, fails=False):
        self.found, self.fails = set(), fails

    def on_epoch_end(self, net, **kwargs):
        self.found |= all_counts()
        if self.fails:
            raise OSError("disk")


def small(**settings):
    return VariationalAutoencoder(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0, **settings)


def wide(**settings):
    return RegularizedAutoencoder(8, hidden_layer_sizes=(256,), batch_size=300, max_iter=1, random_state=0, **settings)


@pytest.mark.parametrize(("make", "rows", "n"), [(small, X, 1), (wide, WIDE, 3)], ids=["small", "wide"])
def test_a_fit_chooses_its_threads_and_leaves_the_setting_alone(make, rows, n):
    counting = Counting()
    make(callbacks=[counting]).fit(rows)
    assert counting.found == {n}
    assert all_counts() == {3}


def test_a_fit_takes_no_more_threads_than_the_user_allows():
    torch.set_num_threads(2)
    counting = Counting()
    wide(callbacks=[counting]).fit(WIDE)
    assert counting.found == {2}


def test_a_fit_that_fails_leaves_the_setting_alone():
    counting = Counting(fails=True)
    with pytest.raises(OSError, match="disk"):
        small(callbacks=[counting]).fit(X)
    assert counting.found == {1}
    assert all_counts() == {3}


ASKED = ["transform", "score_samples", "score_cells", "explain_codes"]


@pytest.mark.parametrize("method", [*ASKED, "sample", "impute", "inverse_transform"])
def test_what_is_asked_of_a_fit_leaves_the_setting_alone(method):
    estimator, found = small().fit(X), []
    for layer in (estimator.module_.encoder, estimator.module_.decoder):
        layer.register_forward_hook(lambda *args: found.append(all_counts()))
    argument = {"sample": 3, "inverse_transform": np.zeros((3, 2))}.get(method, X[:3])
    getattr(estimator, method)(argument)
    assert found
    assert all(counts == {1} for counts in found)
    assert all_counts() == {3}


def test_fits_in_threads_of_joblib_choose_for_themselves():
    def fitted(make, rows):
        counting = Counting()
        make(callbacks=[counting]).fit(rows)
        return counting.found, all_counts()

    tasks = [(small, X), (wide, WIDE)] * 3
    found = joblib.Parallel(n_jobs=4, prefer="threads")(joblib.delayed(fitted)(*task) for task in tasks)
    assert found == [({1}, {3}), ({3}, {3})] * 3
    assert all_counts() == {3}


MET = []


def counting(module, batch, trace):
    """A penalty that keeps the numbers of threads that it meets."""
    MET.append((threading.current_thread().name, all_counts()))
    return trace["code"].square().sum(-1)


@pytest.mark.parametrize(("rows", "sizes", "n"), [(X, (8,), 1), (WIDE, (256,), 3)], ids=["small", "wide"])
def test_fits_that_are_trained_together_choose_as_well(rows, sizes, n):
    MET.clear()
    estimator = RegularizedAutoencoder(
        2, hidden_layer_sizes=sizes, batch_size=300, max_iter=3, penalty=counting, random_state=0
    )
    with joblib.parallel_config(backend="sklearn_ae"):
        cross_val_score(estimator, rows, cv=2)
    trained = [counts for name, counts in MET if name.startswith("sklearn_ae-trainer_")]
    assert trained
    assert all(counts == {n} for counts in trained)
    assert all_counts() == {3}


def blas_counts():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_limit_of_a_worker_is_that_of_its_process_and_ends():
    with threadpool_limits(2, user_api="blas"):
        with blas_at_most(1):
            assert blas_counts() == {1}
            assert in_another_thread(blas_counts) == {1}
            with blas_at_most(1):
                assert blas_counts() == {1}
        assert blas_counts() == {2}
        with blas_at_most(4):
            assert blas_counts() == {2}
        with pytest.raises(RuntimeError, match="on purpose"), blas_at_most(1):
            raise RuntimeError("on purpose")
        assert blas_counts() == {2}


def test_limits_of_two_shares_in_one_process_leave_nothing():
    entered, left = threading.Event(), threading.Event()

    def second():
        with blas_at_most(1):
            entered.set()
            left.wait(30)

    with threadpool_limits(2, user_api="blas"):
        with ThreadPoolExecutor(1) as pool:
            with blas_at_most(1):
                other = pool.submit(second)
                assert entered.wait(30)
            left.set()
            other.result()
        assert blas_counts() == {2}


@pytest.mark.parametrize("n_cores", [1, 2, None])
def test_a_worker_limits_the_threads_of_its_share(n_cores):
    with threadpool_limits(2, user_api="blas"):
        assert InStacks(n_cores, None).run([blas_counts]).results == [{1}]
        assert blas_counts() == {2}


def fails():
    raise RuntimeError("on purpose")


def test_tasks_of_the_backend_have_one_thread_of_blas_each():
    with threadpool_limits(2, user_api="blas"), joblib.parallel_config(backend="sklearn_ae"):
        assert joblib.Parallel()(joblib.delayed(blas_counts)() for _ in range(3)) == [{1}] * 3
        assert blas_counts() == {2}
        with pytest.raises(RuntimeError, match="on purpose"):
            joblib.Parallel()(joblib.delayed(fails)() for _ in range(3))
        assert blas_counts() == {2}
