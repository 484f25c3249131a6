"""Callbacks of scikit-learn (1.9 and later): the tasks of a fit, and the estimator after each epoch."""

import pickle

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_ae
from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, RegularizedAutoencoder
from tests.families import FAMILIES, families, tiny

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from version 1.9 on")
X, Y = load_iris(return_X_y=True)


class Recorder:
    """Records the tasks of fits, and what ``read`` returns of the fitted estimator at their ends."""

    def __init__(self, read=lambda fitted: None, stop=lambda context: False):
        self.read, self.stop = read, stop
        self.told, self.values = [], {}

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.told.append(f"end {context.task_name} {context.task_id}")
        self.last = X, y, metadata
        self.values[context.task_name, context.task_id] = (
            None if fitted_estimator is None else self.read(fitted_estimator)
        )
        return self.stop(context)


class Propagated(Recorder):
    max_propagation_depth = None


def epochs(n):
    return [f"{what} epoch {index}" for index in range(n) for what in ("begin", "end")]


@families
def test_each_epoch_is_a_task_of_the_fit(family):
    recorder = Recorder()
    tiny(family).set_callbacks(recorder).fit(X, Y)
    assert recorder.told == ["setup", "begin fit 0", *epochs(5), "end fit 0", "teardown"]


@families
def test_the_estimator_after_an_epoch_is_that_of_a_fit_that_stopped_there(family):
    def stop(context):
        return context.task_name == "epoch" and context.task_id == 2

    def read(fitted):
        return np.hstack([fitted.transform(X), fitted.predict_proba(X), fitted.score_samples(X)[:, None]])

    recorder = Recorder(read)
    watched = tiny(family).set_callbacks(recorder).fit(X, Y)
    stopped = tiny(family).set_callbacks(Recorder(stop=stop)).fit(X, Y)
    assert stopped.n_iter_ == 3
    np.testing.assert_array_equal(recorder.values["epoch", 2], read(stopped))
    np.testing.assert_array_equal(recorder.values["epoch", 4], read(watched))
    np.testing.assert_array_equal(recorder.values["fit", 0], read(watched))
    np.testing.assert_array_equal(read(watched), read(tiny(family).fit(X, Y)))  # watching changes nothing


@families
def test_the_estimator_after_an_epoch_can_sample_and_impute(family):
    gaps = np.where(np.eye(150, 4) == 1, np.nan, X)
    recorder = Recorder(lambda fitted: (fitted.sample(5, random_state=0), fitted.impute(gaps)))
    watched = tiny(family).set_callbacks(recorder).fit(X)
    sampled, imputed = recorder.values["epoch", 4]
    np.testing.assert_array_equal(sampled, watched.sample(5, random_state=0))
    np.testing.assert_array_equal(imputed, watched.impute(gaps))


def test_an_estimator_that_a_callback_keeps_does_not_go_on():
    recorder = Recorder(lambda fitted: (fitted, fitted.transform(X)))
    tiny().set_callbacks(recorder).fit(X)
    kept, codes = recorder.values["epoch", 0]
    np.testing.assert_array_equal(kept.transform(X), codes)
    assert kept.n_iter_ == 1


def test_the_epochs_of_each_member_are_told():
    recorder = Recorder(lambda fitted: fitted.predict_proba(X))
    watched = tiny(n_members=2, max_iter=2).set_callbacks(recorder).fit(X, Y)
    told = sorted(line for line in recorder.told if "member" in line)
    assert told == ["begin member 0", "begin member 1", "end member 0", "end member 1"]
    assert sum("end epoch" in line for line in recorder.told) == 4
    np.testing.assert_array_equal(recorder.values["fit", 0], watched.predict_proba(X))
    of_members = [recorder.values["member", index] for index in range(2)]
    np.testing.assert_allclose(np.mean(of_members, 0), watched.predict_proba(X), atol=1e-6)


def test_callbacks_get_the_rows_as_they_were_given():
    recorder, weight = Recorder(), np.arange(150.0)
    tiny().set_callbacks(recorder).fit(X, Y, sample_weight=weight)
    assert recorder.last[0] is X
    assert recorder.last[1] is Y
    assert recorder.last[2]["sample_weight"] is weight


def test_an_epoch_that_early_stopping_ends_is_ended_for_the_callbacks():
    recorder = Recorder(lambda fitted: fitted.transform(X))
    watched = tiny(max_iter=50, early_stopping=True, n_iter_no_change=1, tol=1e9).set_callbacks(recorder).fit(X, Y)
    assert recorder.told[1:-2] == ["begin fit 0", *epochs(watched.n_iter_)]
    assert watched.n_iter_ < 50
    np.testing.assert_array_equal(recorder.values["epoch", watched.n_iter_ - 1], watched.transform(X))


def test_a_callback_that_raises_leaves_the_last_fit_as_it_was():
    def fail(fitted):
        raise RuntimeError("disk full")

    recorder = Recorder(fail)
    model = tiny().fit(X)
    codes = model.transform(X)
    with pytest.raises(RuntimeError, match="disk full"):
        model.set_callbacks(recorder).fit(2 * X)
    assert recorder.told[-1] == "teardown"
    np.testing.assert_array_equal(model.transform(X), codes)


def test_a_failed_fit_is_torn_down():
    recorder = Recorder()
    with pytest.raises(ValueError, match="max_iter"):
        tiny(max_iter=-1).set_callbacks(recorder).fit(X)
    assert recorder.told == ["setup", "begin fit 0", "teardown"]


def test_the_fitted_estimator_refers_to_no_callback_and_can_be_pickled_and_saved(tmp_path):
    recorder = Recorder(lambda fitted: None)
    recorder.read = lambda fitted: len(pickle.dumps(fitted.model_))  # a lambda: the recorder can't be pickled
    model = tiny().set_callbacks(recorder).fit(X)
    assert [name for name, _ in model.net_.callbacks_ if name == "epochs"] == []
    with pytest.raises(ValueError, match="set_callbacks"):
        model.save(tmp_path / "model")
    model.set_callbacks()
    assert pickle.loads(pickle.dumps(model)).n_iter_ == 5
    model.save(tmp_path / "model")
    assert RegularizedAutoencoder.load(tmp_path / "model").n_iter_ == 5


@pytest.mark.parametrize("backend", ["threading", "sklearn_ae"])
def test_a_scoring_monitor_in_a_grid_search_sees_every_epoch_of_every_fit(backend):
    monitor = callback.ScoringMonitor(scoring="accuracy")
    search = GridSearchCV(tiny(max_iter=3).set_callbacks(monitor), {"alpha": [0, 0.1]}, cv=2)
    with parallel_config(backend=backend, n_jobs=2):
        search.fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    of_epochs = log[log.task_name == "epoch"]
    assert len(of_epochs) == 3 * 5
    assert of_epochs.accuracy.between(0, 1).all()
    refitted = of_epochs.groupby("parent_task_id_path").accuracy.last()
    assert search.best_estimator_.score(X, Y) in refitted.to_numpy()


def test_auto_propagated_callbacks_reach_an_autoencoder_in_a_pipeline_and_in_a_search():
    recorder = Propagated()
    pipe = make_pipeline(StandardScaler(), tiny(max_iter=2))
    GridSearchCV(pipe, {"regularizedautoencoder__alpha": [0, 0.1]}, cv=2).set_callbacks(recorder).fit(X, Y)
    assert sum("end epoch" in line for line in recorder.told) == 2 * 5


@pytest.mark.parametrize("Around", [AutoencoderImputer, AutoencoderOutlierDetector])
def test_auto_propagated_callbacks_reach_the_autoencoder_inside(Around):
    recorder = Propagated()
    Around(tiny(max_iter=2)).set_callbacks(recorder).fit(X)
    assert [line for line in recorder.told if "epoch" in line] == epochs(2)
    assert recorder.told[-1] == "teardown"


def test_watching_changes_nothing_of_a_weighted_imputer():
    weight, gaps = (Y == 0) * 1.0, np.where(np.eye(150, 4) == 1, np.nan, X)
    watched, alone = AutoencoderImputer(tiny()).set_callbacks(Propagated()), AutoencoderImputer(tiny())
    filled = [imputer.fit(X, sample_weight=weight).transform(gaps) for imputer in (watched, alone)]
    np.testing.assert_array_equal(*filled)


def test_a_callback_can_save_the_estimator_after_an_epoch(tmp_path):
    recorder = Recorder(
        lambda fitted: (fitted.save(tmp_path / str(fitted.n_iter_)), pickle.dumps(fitted), clone(fitted))
    )
    tiny().set_callbacks(recorder).fit(X, Y)
    stopped = tiny().set_callbacks(Recorder(stop=lambda context: context.task_id == 2)).fit(X, Y)
    for saved in (sklearn_ae.load(tmp_path / "3"), pickle.loads(recorder.values["epoch", 2][1])):
        np.testing.assert_array_equal(saved.transform(X), stopped.transform(X))
    assert "_skl_callbacks" not in vars(sklearn_ae.load(tmp_path / "3"))


def test_a_partial_fit_is_a_task_of_one_epoch():
    recorder = Recorder(lambda fitted: fitted.transform(X))
    model = tiny().set_callbacks(recorder)
    for _ in range(2):
        model.partial_fit(X, Y, classes=[0, 1, 2])
        np.testing.assert_array_equal(recorder.values["epoch", 0], model.transform(X))
    assert recorder.told == ["setup", "begin fit 0", *epochs(1), "end fit 0", "teardown"] * 2


def test_clones_keep_the_callbacks():
    recorder = Recorder()
    clone(tiny().set_callbacks(recorder)).fit(X)
    assert recorder.told


def test_a_progress_bar_of_scikit_learn_shows_the_epochs(capsys):
    pytest.importorskip("rich")
    tiny().set_callbacks(callback.ProgressBar()).fit(X)
    assert "RegularizedAutoencoder" in capsys.readouterr().out


@pytest.mark.parametrize("Estimator", [*FAMILIES, AutoencoderImputer, AutoencoderOutlierDetector])
def test_only_callbacks_are_accepted(Estimator):
    with pytest.raises(TypeError, match="callbacks"):
        Estimator().set_callbacks("progress")
