"""Several members in one fit: what is averaged, what is of the best member, and how they are trained."""

import copy
import pickle
import signal
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback

from sklearn_ae import AutoencoderImputer, VariationalAutoencoder
from sklearn_ae.model.ensemble import Ensemble
from sklearn_ae.training import fits
from tests.families import FAMILIES, families, tiny

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 4)) @ RANDOM.normal(size=(4, 5))
Y = (X[:, 0] + 0.3 * RANDOM.normal(size=90) > 0).astype(int)
GAPS = np.where(RANDOM.uniform(size=X.shape) < 0.2, np.nan, X)
TABLE = pd.DataFrame({"a": X[:, 0], "word": np.where(Y, "yes", "no"), "b": X[:, 1], "flag": X[:, 2] > 0})


def members_of(estimator):
    """Return an estimator for each member of a fitted one."""
    singles = []
    for member in estimator.model_.members:
        single = clone(estimator).set_params(n_members=1, max_iter=1).fit(X, Y)
        single.as_fitted().model_ = member
        singles.append(single)
    return singles


@pytest.fixture(scope="module", params=FAMILIES)
def fitted(request):
    return tiny(request.param, n_members=3, max_iter=20).fit(X, Y)


def test_probabilities_and_predictions_are_those_of_the_mean(fitted):
    mean = np.mean([single.predict_proba(X) for single in members_of(fitted)], 0)
    np.testing.assert_allclose(fitted.predict_proba(X), mean, rtol=1e-5)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[mean.argmax(1)])


@families
def test_values_are_means(family):
    estimator = tiny(family, n_members=3, task="regression").fit(X, X[:, 1])
    own = [member.predictions(estimator._table(X)) for member in estimator.model_.members]
    assert np.ptp(own, 0).max() > 0.01
    np.testing.assert_allclose(estimator.predict(X), np.mean(own, 0), rtol=1e-5, atol=1e-7)


def test_scores_are_log_likelihoods_of_the_mixture(fitted):
    value, std = fitted.score_samples(X, return_std=True)
    own = np.array([single.score_samples(X, return_std=True) for single in members_of(fitted)])
    np.testing.assert_allclose(value, np.logaddexp.reduce(own[:, 0]) - np.log(3), rtol=1e-5)
    likelihood = np.exp(own[:, 0] - own[:, 0].max(0))
    expected = np.sqrt(np.square(likelihood * own[:, 1]).sum(0)) / likelihood.sum(0)
    np.testing.assert_allclose(std, expected, rtol=1e-4, atol=1e-7)


def test_imputed_numbers_are_means(fitted):
    own = [single.impute(GAPS) for single in members_of(fitted)]
    np.testing.assert_allclose(fitted.impute(GAPS), np.mean(own, 0), rtol=1e-5, atol=1e-6)


def test_imputed_categories_are_those_that_most_members_expect(monkeypatch):
    estimator = tiny(n_members=5).fit(TABLE)
    gaps = estimator._table(TABLE.assign(word=None), finite="allow-nan")
    for member, votes in zip(estimator.model_.members, RANDOM.integers(1, 3, size=(5, 90)), strict=True):
        categories = torch.from_numpy(votes)

        def expected(module, batch, categories=categories):
            return torch.cat([batch.x[:, :-1], categories.to(batch.x).unsqueeze(1)], 1)

        monkeypatch.setattr(member.inference, "expected_cells", expected)
    own = np.array([member.expected(gaps)["word"] for member in estimator.model_.members])
    most = np.where((own == "yes").sum(0) > 2, "yes", "no")
    assert (own != most).any(axis=1).all()
    np.testing.assert_array_equal(estimator.model_.expected(gaps)["word"], most)


def test_draws_of_missing_cells_are_dealt_among_the_members(fitted, monkeypatch):
    drawn = []
    for k, member in enumerate(fitted.model_.members):
        own = member.inference.drawn_cells
        monkeypatch.setattr(
            member.inference,
            "drawn_cells",
            lambda module, batch, k=k, own=own: drawn.append((k, module)) or own(module, batch),
        )
    fitted.impute(GAPS, n_draws=7, random_state=0)
    assert sorted(np.bincount([k for k, _ in drawn])) == [2, 2, 3]
    assert all(module is fitted.model_.members[k].net.module_ for k, module in drawn)


def test_generated_rows_are_of_all_members_in_random_order(fitted, monkeypatch):
    for k, member in enumerate(fitted.model_.members):
        monkeypatch.setattr(
            member.sampler,
            "draw",
            lambda known, row, random, k=k: (np.full((len(row), X.shape[1]), 100.0 * k), None),
        )
    offset = fitted.sample(300, random_state=0)
    values, counts = np.unique(offset[:, 0], return_counts=True)
    assert len(values) == 3
    assert counts.min() > 70
    assert (np.diff(offset[:, 0]) != 0).mean() > 0.5
    assert len(np.unique(np.searchsorted(values, offset[:, 0])[:10])) > 1


@families
def test_each_member_generates_rows_of_a_class(family):
    fitted = tiny(family, n_members=3, max_iter=60, learning_rate=0.02).fit(X, Y)
    of_class, others = (fitted.sample(200, random_state=0, y=label) for label in (1, 0))
    assert (of_class[:, 0] > 0).mean() > (others[:, 0] > 0).mean() + 0.3
    assert fitted.predict_proba(of_class)[:, 1].mean() > fitted.predict_proba(others)[:, 1].mean() + 0.2


def test_codes_are_those_of_the_member_of_lowest_loss(fitted):
    losses = [member.net.history[-1]["train_loss"] for member in fitted.model_.members]
    best = members_of(fitted)[int(np.argmin(losses))]
    assert len(set(losses)) == 3
    assert fitted.loss_ == min(losses)
    np.testing.assert_array_equal(fitted.transform(X), best.transform(X))
    np.testing.assert_array_equal(
        fitted.inverse_transform(fitted.transform(X)), best.inverse_transform(best.transform(X))
    )


def test_with_early_stopping_the_best_member_is_that_of_the_lowest_validation_loss_of_the_target():
    estimator = tiny(n_members=4, early_stopping=True, n_iter_no_change=2, max_iter=30).fit(X, Y)
    losses = [min(member.net.history[:, "valid_target"]) for member in estimator.model_.members]
    assert estimator.net_ is estimator.model_.members[int(np.argmin(losses))].net


def test_the_mean_of_members_discriminates():
    estimator = tiny(FAMILIES[2], n_members=3).fit(X)
    own = [single.discriminate(X) for single in members_of(estimator)]
    np.testing.assert_allclose(estimator.discriminate(X), np.mean(own, 0), rtol=1e-5)


@families
def test_the_first_member_is_the_fit_of_one(family):
    ensemble, one = (tiny(family, n_members=n, precision="float64").fit(X, Y) for n in (3, 1))
    first, *others = members_of(ensemble)
    np.testing.assert_allclose(first.transform(X), one.transform(X), rtol=1e-6, atol=1e-8)
    assert all(np.abs(other.transform(X) - one.transform(X)).max() > 0.01 for other in others)


def test_one_member_is_no_ensemble_and_a_seed_decides_about_several():
    assert not isinstance(tiny().fit(X).model_, Ensemble)
    one, two = (tiny(n_members=3).fit(X, Y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_members_of_all_sizes_of_networks_are_trained(monkeypatch):
    expected = tiny(n_members=3, precision="float64").fit(X, Y)
    monkeypatch.setattr(fits, "models_at_once", lambda fit: 1)
    alone = tiny(n_members=3, precision="float64").fit(X, Y)
    np.testing.assert_allclose(alone.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


def test_members_share_the_stacks_of_a_search():
    estimator = tiny(VariationalAutoencoder, n_members=2, precision="float64")
    expected = cross_val_predict(estimator, X, Y, cv=3, method="predict_proba")
    with joblib.parallel_config(backend="sklearn_ae"):
        found = cross_val_predict(estimator, X, Y, cv=3, method="predict_proba", n_jobs=3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# Continuing, copies and failures


@families
def test_a_fit_that_goes_on_continues_every_member(family):
    parts, whole = tiny(family, n_members=2), tiny(family, n_members=2, max_iter=4, learning_rate_schedule="constant")
    for _ in range(4):
        parts.partial_fit(X, Y, classes=[0, 1])
    assert len(parts.model_.members) == 2
    assert [len(member.net.history) for member in parts.model_.members] == [4, 4]
    assert len(whole.fit(X, Y).loss_curve_) == len(parts.loss_curve_)


def test_a_fit_that_goes_on_must_keep_the_number_of_members():
    estimator = tiny(warm_start=True, n_members=2).fit(X)
    with pytest.raises(ValueError, match="must keep n_members=2, got n_members=3"):
        estimator.set_params(n_members=3).fit(X)
    assert len(estimator.model_.members) == 2


def test_copies_predict_alike(fitted):
    for copied in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(copied.predict_proba(X), fitted.predict_proba(X))
        assert copied.net_ in [member.net for member in copied.model_.members]


class Recorder(Callback):
    def __init__(self):
        self.n_epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


def test_every_member_after_the_first_has_a_copy_of_the_callbacks():
    recorder = Recorder()
    estimator = tiny(n_members=3, callbacks=[recorder]).fit(X)
    assert recorder.n_epochs == 5
    own = [dict(member.net.callbacks_)["Recorder"] for member in estimator.model_.members]
    assert own[0] is recorder
    assert [callback.n_epochs for callback in own] == [5, 5, 5]
    assert len({id(callback) for callback in own}) == 3


def test_callbacks_that_can_not_be_copied_are_refused():
    recorder = Recorder()
    recorder.lock = threading.Lock()
    with pytest.raises(ValueError, match="callbacks must be such that each member can have a copy"):
        tiny(n_members=2, callbacks=[recorder]).fit(X)
    tiny(callbacks=[recorder]).fit(X)


class BatchListener(Callback):
    def on_batch_end(self, net, **kwargs):
        pass


def test_members_that_can_not_be_stacked_are_trained_one_after_another_and_a_warning_says_so():
    expected = tiny(n_members=2, precision="float64").fit(X, Y)
    with pytest.warns(RuntimeWarning, match="callbacks must not listen to batches") as caught:
        found = tiny(n_members=2, precision="float64", callbacks=[BatchListener()]).fit(X, Y)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


def test_a_member_that_diverges_fails_the_fit_and_the_last_one_stays():
    estimator = tiny(n_members=4).fit(X)
    before = estimator.transform(X)
    with pytest.raises(ValueError, match="the loss must stay finite"):
        estimator.set_params(learning_rate=1e20, n_members=3).fit(X)
    np.testing.assert_array_equal(estimator.transform(X), before)


class Interrupter(Recorder):
    """Interrupts the main thread in the third epoch of the first member; copies don't."""

    def __init__(self):
        super().__init__()
        self.original = id(self)

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        if self.n_epochs == 3 and id(self) == self.original:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_an_interrupt_ends_the_training_of_members(sigint):
    interrupter = Interrupter()
    estimator = tiny(n_members=4, max_iter=100_000, callbacks=[interrupter])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    assert 3 <= interrupter.n_epochs < 100_000
    assert not hasattr(estimator, "model_")


def test_several_members_show_a_progress_bar_instead_of_lines(capsys):
    tiny(n_members=2, verbose=1).fit(X)
    out, err = capsys.readouterr()
    assert "train_loss" not in out
    assert "10/10" in err


@pytest.mark.parametrize("n_members", [0, 1.5, True, "two", None])
def test_the_number_of_members_is_checked(n_members):
    with pytest.raises(ValueError, match="'n_members' parameter of RegularizedAutoencoder must be an int"):
        tiny(n_members=n_members).fit(X)


def test_an_imputer_takes_members():
    filled = AutoencoderImputer(tiny(n_members=3)).fit_transform(GAPS)
    known = ~np.isnan(GAPS)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[known], GAPS[known])


@parametrize_with_checks([tiny(n_members=2, max_iter=20, learning_rate=0.02, random_state=None)])
def test_members_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)
