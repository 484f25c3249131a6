"""One fit on several processes: the same fit as on one, or an error on all of them."""

import pickle
import subprocess
import sys
import time
from functools import cache

import joblib
import numpy as np
import pytest
import torch
import torch.distributed as dist

import sklearn_ae
from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.objectives.terms import is_mean_over_rows, labeled_mean, mean_over_rows
from sklearn_ae.training import shared_step
from sklearn_ae.training.batches import EqualBatches
from sklearn_ae.training.shared_step import Share, SharedBatches, SharedStep, label_factor
from sklearn_ae.training.step import Step
from tests.families import tiny
from tests.training.nets import ROWS, net_of
from tests.training.ranked import CASES, FAMILIES, REFUSED, ROOT, SLOW_CASES, Pair, X, fit, free_ports


@pytest.fixture(scope="module", autouse=True)
def outcomes_of(tmp_path_factory, request):
    """What comes of the cases of a group on two processes. They run beside the first tests, which do without them."""
    selected = {getattr(item, "callspec", None) and item.callspec.params.get("name") for item in request.session.items}
    groups = ["default", *(["slow"] if selected & {*SLOW_CASES} else [])]
    pairs = {group: Pair(group, tmp_path_factory.mktemp(group)) for group in groups}
    outcomes = cache(lambda group: pairs[group].outcomes())

    yield outcomes
    for pair in pairs.values():
        pair.end()


@pytest.fixture(scope="module")
def both(outcomes_of):
    """Return the result of a case on each of the two processes."""

    def results(name):
        return [of_rank[name][0] for of_rank in outcomes_of("slow" if name in SLOW_CASES else "default")]

    return results


def state_of(estimator):
    """Return weights, buffers and moments of all members, as one vector."""
    nets = [model.net for model in estimator.model_.members]
    tensors = [tensor for net in nets for tensor in net.module_.state_dict().values()]
    for optimizer in (one for net in nets for one in net.optimizers_by_phase().values()):
        tensors += [value for of_one in optimizer.state_dict()["state"].values() for value in of_one.values()]
    return torch.cat([tensor.double().flatten() for tensor in tensors])


# Parts


@pytest.mark.parametrize("n", [2, 7, 128])
def test_shares_are_consecutive_rows_of_about_equal_number(n):
    parts = [Share(rank, 2).of(n) for rank in range(2)] if n < 3 else [Share(rank, 3).of(n) for rank in range(3)]
    rows = [[*range(n)][part] for part in parts]
    assert sum(rows, []) == [*range(n)]
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


@pytest.mark.parametrize("labeled", [[1, 1, 0, 2, 1], [0, 0, 0, 1, 2], [0, 0, 0, 0, 0]])
def test_means_over_labelled_rows_add_up(labeled):
    weight, cost = torch.tensor(labeled, dtype=torch.float64), torch.arange(5, dtype=torch.float64) + 1
    total = 0
    for part in (slice(0, 2), slice(2, 5)):
        own = weight[part] * label_factor(weight, part)
        total += labeled_mean(cost[part], own) * (part.stop - part.start) / 5
    assert float(total) == pytest.approx(float(labeled_mean(cost, weight)))


def test_terms_of_a_user_can_be_declared_means():
    def cost(module, batch, trace):
        return trace["code"].square().mean()

    assert not is_mean_over_rows(cost)
    assert mean_over_rows(cost) is cost
    assert is_mean_over_rows(cost)


def test_the_shared_step_is_recorded_and_replayed(monkeypatch):
    runs = []
    gradients = shared_step.gradients
    monkeypatch.setattr(shared_step, "gradients", lambda *given: runs.append(1) or gradients(*given))
    alone, net = net_of(batch_size=5), net_of(batch_size=5)
    added = []
    step = SharedStep(added.append, net.module_, net.phases, net.optimizers_by_phase(), net.precision, None)
    whole, batches = alone.get_iterator(ROWS, training=True), net.get_iterator(ROWS, training=True)
    assert isinstance(batches, EqualBatches)
    shared = SharedBatches(batches, Share(0, 1))
    for _ in range(20):
        for batch, share in zip(whole, shared, strict=True):
            expected, terms = alone.train_step(batch), step(share)
            assert {name: float(v) for name, v in terms.items()} == pytest.approx(
                {name: float(v) for name, v in expected.items()}, rel=1e-9
            )
    assert len(added) == 2 * 80  # two phases
    assert len(runs) < 2 * 40  # and then replayed
    step.end()
    for own, other in zip(net.module_.parameters(), alone.module_.parameters(), strict=True):
        assert torch.allclose(own, other, rtol=1e-9, atol=1e-9)


# The same fit


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CASES)])
def test_two_processes_fit_as_one_does(name, both):
    alone, first, second = (CASES | SLOW_CASES)[name](), *both(name)
    history = alone.history_.drop(columns="seconds")
    for estimator in (first, second):
        assert torch.allclose(state_of(estimator), state_of(alone), rtol=1e-9, atol=1e-9)
        own = estimator.history_.drop(columns="seconds")
        assert [*own.columns] == [*history.columns]
        np.testing.assert_allclose(own.to_numpy(float), history.to_numpy(float), rtol=1e-9, atol=1e-9)
        assert estimator.n_iter_ == alone.n_iter_
    assert torch.equal(state_of(first), state_of(second))


def test_the_cases_move_the_weights_over_many_steps():
    name = "VariationalAutoencoder, gaps, labels, weights"
    long, short = CASES[name](), CASES[name].func(*CASES[name].args, **CASES[name].keywords | {"max_iter": 1})
    assert long.n_iter_ * long.history_.attrs.get("batches", 5) >= 50
    assert (state_of(long) - state_of(short)).abs().max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_early_stopping_stops_all_processes_at_once(family, both):
    for case in ("early stopping", "early stopping by labels"):
        epochs = {estimator.n_iter_ for estimator in both(f"{family.__name__}, {case}")}
        assert len(epochs) == 1
        assert 3 < min(epochs) < 80


def test_without_a_seed_all_processes_take_that_of_the_first(both):
    first, second = both("no seed")
    assert torch.equal(state_of(first), state_of(second))
    again = fit(VariationalAutoencoder, random_state=None, early_stopping=True)
    assert not torch.equal(state_of(again), state_of(first))


def test_a_detector_without_a_seed_is_the_same_on_all_processes(both):
    first, second = both("detector without a seed")
    np.testing.assert_array_equal(first, second)


def test_methods_of_a_fitted_estimator_need_no_other_process(both):
    assert both("drawn by one") == [(1, 6), (3, 6)]


def test_a_process_group_of_the_user_is_used_and_kept(both):
    alone = fit(RegularizedAutoencoder)
    for estimator, n_processes in both("own group"):
        assert torch.allclose(state_of(estimator), state_of(alone), rtol=1e-9, atol=1e-9)
        assert n_processes == 2


def test_a_group_that_was_made_is_destroyed(both):
    assert both("left") == [False, False]


def test_the_fitted_estimator_keeps_nothing_of_the_processes(both):
    assert both("afterwards") == [(Step.__name__, 2), (Step.__name__, 2)]
    for estimator in both("RegularizedAutoencoder, early stopping"):  # it was pickled on its process
        more = pickle.loads(pickle.dumps(estimator)).set_params(warm_start=True, max_iter=2).fit(X)
        assert more.n_iter_ == 2


def check_script(codes):
    alone = VariationalAutoencoder(8, hidden_layer_sizes=(512, 256), batch_size=1024, random_state=0).fit(X)
    np.testing.assert_allclose(codes, alone.transform(X), rtol=1e-6, atol=1e-6)


def test_the_script_of_the_guide_fits_as_one_process_does(both):
    codes, other = both("script")
    assert other is None
    check_script(codes)


@pytest.mark.slow
def test_torchrun_starts_the_script_of_the_guide(tmp_path):
    rows, file = tmp_path / "rows.npy", tmp_path / "fit.safetensors"
    np.save(rows, X)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, ROOT / "tests" / "on_ranks.py", rows, file], check=True, capture_output=True, cwd=ROOT)
    check_script(sklearn_ae.load(file).transform(X))


# Failures and refusals


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_shared_is_refused_on_all_processes(name, both):
    for error in both(name):
        assert type(error) is ValueError
        assert REFUSED[name][1] in str(error)


def test_a_refused_fit_changes_nothing(both):
    assert both("kept after a refusal") == [True, True]


def test_a_training_that_ends_on_some_processes_only_is_an_error_on_all(both):
    for error in both("stopped by one"):
        assert type(error) is RuntimeError
        assert "ranks [1] of 2" in str(error)


@pytest.mark.parametrize(("how", "most"), [("ends", 20), ("is stuck", 20)])
def test_a_process_that_does_not_answer_ends_the_others_with_an_error(how, most, outcomes_of):
    (error, seconds), second = outcomes_of("default")[0][how], outcomes_of("default")[1]
    assert type(error) is RuntimeError
    assert "processes of the fit must answer within timeout=" in str(error)
    assert seconds < most  # "ends" has a timeout of 40 seconds: a connection that is lost is noticed before
    assert how != "ends" or how not in second


def test_without_a_launcher_an_error_gives_the_way_out(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    expected = pytest.raises(ValueError, match="got no RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT .* torchrun")
    with expected, sklearn_ae.distributed():
        pass
    assert not dist.is_initialized()


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_a_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(ValueError, match="timeout must be"), sklearn_ae.distributed(timeout):
        pass


def test_processes_that_do_not_come_are_an_error(monkeypatch):
    here = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_ports(1)[0]}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    start = time.perf_counter()
    expected = pytest.raises(RuntimeError, match="all processes must begin within timeout=1 seconds")
    with expected, sklearn_ae.distributed(timeout=1):
        pass
    assert time.perf_counter() - start < 15
    assert not dist.is_initialized()


def test_tasks_of_the_stacking_backend_refuse_it():
    def task():
        with sklearn_ae.distributed():
            return tiny().fit(X)

    expected = pytest.raises(ValueError, match="in a task of the joblib backend")
    with expected, joblib.parallel_config(backend="sklearn_ae", n_jobs=2):
        joblib.Parallel()(joblib.delayed(task)() for _ in range(2))
