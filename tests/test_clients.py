"""Other libraries around the estimators, as their users put them together; each test runs if its library is there."""

import os
import signal
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.parallel import RayExecutor
from sklearn_ae.parallel.workers import workers_of
from tests.families import families, tiny

pytestmark = [
    pytest.mark.slow,
    # Libraries warn about each other's new versions, which is not this package's doing.
    pytest.mark.filterwarnings("default"),
]
X, Y = load_iris(return_X_y=True)
TRUSTED = ["sklearn_ae.estimators.regularized.RegularizedAutoencoder", "sklearn_ae.model.model.Model"]


def learner(family=RegularizedAutoencoder, **settings):
    """Return an estimator that learns the classes of the flowers in a fraction of a second."""
    return tiny(family, **{"max_iter": 30, "learning_rate": 0.05} | settings)


# Optuna


def studied(optuna, objective, direction, n_trials=8):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, pruner = optuna.samplers.RandomSampler(seed=0), optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(direction=direction, sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=n_trials)
    return study


@families
def test_optuna_prunes_trials_between_partial_fits(family):
    optuna = pytest.importorskip("optuna")

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
        model = tiny(family, learning_rate=rate)
        for epoch in range(10):
            model.partial_fit(X[::2])
            trial.report(model.score(X[1::2]), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return model.score(X[1::2])

    study = studied(optuna, objective, "maximize")
    states = {trial.state.name for trial in study.trials}
    assert states == {"COMPLETE", "PRUNED"}


def test_optuna_prunes_trials_by_a_callback_of_skorch():
    optuna = pytest.importorskip("optuna")
    callback = pytest.importorskip("optuna_integration").SkorchPruningCallback
    stopped = []

    def objective(trial):
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
        model = tiny(learning_rate=rate, max_iter=10, callbacks=[callback(trial, "valid_loss")])
        try:
            model.fit(X[::2], X_val=X[1::2])
        except optuna.TrialPruned:
            stopped.append(hasattr(model, "model_"))
            raise
        return float(model.history_["valid_loss"].iloc[-1])

    study = studied(optuna, objective, "minimize")
    assert {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
    assert stopped  # some were pruned, each before it left a fit
    assert not any(stopped)


@families
def test_optuna_searches_as_scikit_learn_does(family):
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")
    pipe = make_pipeline(StandardScaler(), learner(family))
    step = family.__name__.lower()
    space = {f"{step}__n_components": optuna.distributions.IntDistribution(1, 3)}
    search = integration.OptunaSearchCV(pipe, space, cv=2, n_trials=3, random_state=0, error_score="raise")
    assert search.fit(X, Y).score(X, Y) > 0.5
    assert search.best_params_[f"{step}__n_components"] in (1, 2, 3)
    pruned = integration.OptunaSearchCV(tiny(family), {}, cv=2, n_trials=1, enable_pruning=True, max_iter=3)
    assert pruned.fit(X, Y).predict(X).shape == (150,)


# Dask


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        yield client


@families
def test_a_grid_search_runs_on_the_processes_of_dask(family, cluster):
    grid = {"n_components": [1, 2], "learning_rate": [0.003, 0.01]}
    with joblib.parallel_config(backend="dask"):
        together = GridSearchCV(tiny(family), grid, cv=2, error_score="raise").fit(X, Y)
    alone = GridSearchCV(tiny(family), grid, cv=2, error_score="raise").fit(X, Y)
    np.testing.assert_allclose(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert np.array_equal(together.transform(X), alone.transform(X))


class Killing(TransformerMixin, BaseEstimator):
    """A step that ends its process, in the fits of one candidate, or once."""

    def __init__(self, how="not", mark=None):
        self.how = how
        self.mark = mark

    def fit(self, X, y=None):
        if self.how == "always" or (self.how == "once" and not Path(self.mark).exists()):
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    def transform(self, X):
        return X


@pytest.fixture(scope="module")
def ray_executor():
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}
    )
    yield RayExecutor()
    ray.shutdown()


@pytest.fixture(params=["dask", "ray"])
def executor(request):
    if request.param == "dask":
        return request.getfixturevalue("cluster").get_executor()
    return request.getfixturevalue("ray_executor")


@families
def test_a_search_in_stacks_runs_on_the_workers_of_a_cluster(family, executor):
    grid = {"n_components": [1, 2], "learning_rate": [0.003, 0.01]}
    with joblib.parallel_config(backend="sklearn_ae", executor=executor):
        there = GridSearchCV(tiny(family), grid, cv=2, error_score="raise").fit(X, Y)
    here = GridSearchCV(tiny(family), grid, cv=2, error_score="raise").fit(X, Y)
    np.testing.assert_allclose(there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"], atol=2e-3)


def test_data_travel_to_the_workers_of_a_cluster_once(executor, monkeypatch):
    kind, stored = type(workers_of(executor)), []
    store = kind.store
    monkeypatch.setattr(kind, "store", lambda self, buffer: stored.append(buffer.nbytes) or store(self, buffer))
    table = np.arange(100_000.0)
    with joblib.parallel_config(backend="sklearn_ae", executor=executor, n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(np.sum)(table) for _ in range(12))
    assert found == [table.sum()] * 12
    assert len(stored) == 2  # the numbers, and the pickle without them
    assert max(stored) == table.nbytes


def test_a_killed_worker_of_a_cluster_is_survived(executor, tmp_path):
    steps = make_pipeline(Killing(mark=str(tmp_path / "mark")), tiny(task=None), LogisticRegression())
    with joblib.parallel_config(backend="sklearn_ae", executor=executor):
        search = GridSearchCV(steps, {"killing__how": ["not", "once"]}, cv=2, error_score="raise").fit(X, Y)
    assert (tmp_path / "mark").exists()
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_fitted_estimator_goes_to_the_processes_of_dask(cluster):
    model = tiny().fit(X, Y)
    assert np.array_equal(cluster.submit(model.transform, X).result(), model.transform(X))


# MLflow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """MLflow with a store of its own, which takes seconds to set up; nothing is sent elsewhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        library = pytest.importorskip("mlflow")
        pytest.importorskip("mlflow.sklearn")
        folder = tmp_path_factory.mktemp("mlflow")
        library.set_tracking_uri(f"sqlite:///{folder}/runs.db")
        experiment = library.create_experiment("autoencoders", artifact_location=(folder / "artifacts").as_uri())
        library.set_experiment(experiment_id=experiment)
        yield library


@pytest.fixture
def mlflow(store):
    yield store
    store.sklearn.autolog(disable=True)
    while store.active_run():
        store.end_run()


def logged(mlflow, model, **options):
    """Log a model without looking up its requirements, which asks a package index."""
    with mlflow.start_run():
        return mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"], **options).model_uri


@pytest.mark.parametrize("steps", [[], [StandardScaler()]], ids=["alone", "in a pipeline"])
def test_mlflow_keeps_a_model_in_its_default_format(mlflow, steps):
    model = make_pipeline(*steps, tiny()).fit(X, Y) if steps else tiny().fit(X, Y)
    uri = logged(mlflow, model, skops_trusted_types=TRUSTED)
    assert np.array_equal(mlflow.sklearn.load_model(uri).predict_proba(X), model.predict_proba(X))
    assert np.array_equal(mlflow.pyfunc.load_model(uri).predict(X), model.predict(X))


def test_mlflow_says_which_types_must_be_trusted(mlflow):
    with pytest.raises(mlflow.exceptions.MlflowException, match="skops_trusted_types") as raised:
        logged(mlflow, tiny().fit(X, Y))
    assert all(name in str(raised.value) for name in TRUSTED)


@families
def test_mlflow_keeps_a_model_by_cloudpickle(mlflow, family):
    model = tiny(family).fit(X, Y)
    uri = logged(mlflow, model, serialization_format="cloudpickle")
    assert np.array_equal(mlflow.sklearn.load_model(uri).predict_proba(X), model.predict_proba(X))


def test_mlflow_keeps_the_file_that_save_writes(mlflow, tmp_path):
    model = tiny().fit(X, Y)
    model.save(tmp_path / "iris.safetensors")
    with mlflow.start_run() as run:
        mlflow.log_artifact(tmp_path / "iris.safetensors")
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/iris.safetensors")
    assert np.array_equal(RegularizedAutoencoder.load(path).transform(X), model.transform(X))


def test_mlflow_logs_searches_and_pipelines_by_itself(mlflow):
    mlflow.sklearn.autolog(log_models=False, silent=True)
    with mlflow.start_run() as run:
        make_pipeline(StandardScaler(), tiny()).fit(X, Y)
    data = mlflow.get_run(run.info.run_id).data
    assert data.params["regularizedautoencoder__n_components"] == "2"
    assert data.metrics["training_score"] > 0.3
    with mlflow.start_run() as run:
        GridSearchCV(tiny(), {"n_components": [1, 2]}, cv=2, error_score="raise").fit(X, Y)
    assert mlflow.get_run(run.info.run_id).data.params["best_n_components"] in ("1", "2")


# Loggers of skorch


@families
def test_mlflow_logs_the_epochs(mlflow, family):
    from skorch.callbacks import MlflowLogger

    with mlflow.start_run() as run:
        model = tiny(family, callbacks=[MlflowLogger(terminate_after_train=False)]).fit(X, Y, X_val=X, y_val=Y)
    client = mlflow.tracking.MlflowClient()
    for name in ("train_loss", "valid_loss"):
        history = [metric.value for metric in client.get_metric_history(run.info.run_id, name)]
        np.testing.assert_allclose(history, model.history_[name])


@families
def test_tensorboard_logs_the_epochs(family, tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from skorch.callbacks import TensorBoard

    with tensorboard.SummaryWriter(tmp_path) as writer:
        model = tiny(family, callbacks=[TensorBoard(writer)]).fit(X, Y)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    found = [event.value for event in events.Scalars("Loss/train_loss")]
    np.testing.assert_allclose(found, model.history_["train_loss"], rtol=1e-5)


@pytest.mark.parametrize("has_validation", [True, False])
def test_weights_and_biases_logs_the_epochs_offline(tmp_path, monkeypatch, has_validation):
    wandb = pytest.importorskip("wandb")
    from skorch.callbacks import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    validation = {"X_val": X, "y_val": Y} if has_validation else {}
    with wandb.init(mode="offline", dir=tmp_path, project="autoencoders") as run:
        model = tiny(callbacks=[WandbLogger(run, save_model=has_validation)]).fit(X, Y, **validation)
        assert run.summary["train_loss"] == pytest.approx(model.loss_)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


# skops


@pytest.mark.parametrize(
    "model",
    [tiny(), tiny(VariationalAutoencoder, n_members=2), AutoencoderOutlierDetector(tiny()), AutoencoderImputer(tiny())],
    ids=lambda model: type(model).__name__,
)
def test_skops_keeps_a_pipeline(model):
    skops = pytest.importorskip("skops.io")
    pipe = make_pipeline(StandardScaler(), model).fit(X)
    kept = skops.dumps(pipe)
    types = skops.get_untrusted_types(data=kept)
    assert all(name.startswith("sklearn_ae.") for name in types)
    again = skops.loads(kept, trusted=types)
    method = "score_samples" if hasattr(pipe, "score_samples") else "transform"
    assert np.array_equal(getattr(again, method)(X), getattr(pipe, method)(X))


# SHAP


@families
def test_shap_explains_codes_and_probabilities(family):
    shap = pytest.importorskip("shap")
    model = tiny(family).fit(X, Y)
    for function in (model.transform, model.predict_proba):
        explained = shap.Explainer(function, X[:50], seed=0)(X[:4])
        sums = explained.base_values + explained.values.sum(1)
        np.testing.assert_allclose(sums, function(X[:4]), atol=1e-5)
        values = shap.KernelExplainer(function, X[:10]).shap_values(X[:2], nsamples=16, silent=True)
        assert np.shape(values) == (2, 4, function(X[:2]).shape[1])


def test_shap_explains_the_scores_of_a_detector():
    shap = pytest.importorskip("shap")
    detector = AutoencoderOutlierDetector(tiny()).fit(X)
    explained = shap.Explainer(detector.score_samples, X[:50], seed=0)(X[:3])
    np.testing.assert_allclose(
        explained.base_values + explained.values.sum(1), detector.score_samples(X[:3]), atol=1e-5
    )


def test_shap_takes_the_columns_of_a_dataframe():
    shap = pytest.importorskip("shap")
    frame = pd.DataFrame(X, columns=list("abcd"))
    explained = shap.Explainer(tiny().fit(frame).transform, frame[:50], seed=0)(frame[:2])
    assert explained.feature_names == list("abcd")


# imbalanced-learn


@families
def test_a_sampler_of_imbalanced_learn_stands_in_front(family):
    pipeline = pytest.importorskip("imblearn.pipeline")
    from imblearn.over_sampling import SMOTE
    from imblearn.under_sampling import RandomUnderSampler

    rows = np.r_[0:50, 50:70, 100:150]
    for sampler in (SMOTE(random_state=0), RandomUnderSampler(random_state=0)):
        pipe = pipeline.make_pipeline(StandardScaler(), sampler, learner(family))
        assert pipe.fit(X[rows], Y[rows]).score(X, Y) > 0.4
        assert np.isfinite(cross_val_score(pipe, X[rows], Y[rows], cv=2, error_score="raise")).all()
    codes = pipeline.make_pipeline(tiny(family), SMOTE(random_state=0), LogisticRegression()).fit(X[rows], Y[rows])
    assert codes.score(X, Y) > 0.4


# skrub


def orders(n=120):
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=n),
            "city": random.choice(["Oslo", "Bergen", None], n),
            "note": [f"order {i} of {random.integers(1000)}" for i in range(n)],
            "price": random.gamma(2, size=n),
        }
    )


@families
def test_a_vectorizer_of_skrub_stands_in_front(family):
    skrub = pytest.importorskip("skrub")
    table = orders()
    pipe = make_pipeline(skrub.TableVectorizer(), tiny(family)).fit(table)
    codes = pipe.transform(table)
    assert np.asarray(codes).shape == (120, 2)
    assert np.isfinite(np.asarray(codes)).all()
    categories_as_they_are = skrub.TableVectorizer(low_cardinality=skrub.ToCategorical(), high_cardinality="drop")
    pipe = make_pipeline(categories_as_they_are, tiny(family)).fit(table)
    assert isinstance(pipe[-1].sample(3, random_state=0)["city"].dtype, pd.CategoricalDtype)


# Yellowbrick


def test_yellowbrick_draws_a_validation_curve():
    # Its visualizers of classifiers refuse those of scikit-learn 1.9, scikit-learn's own included.
    pytest.importorskip("matplotlib").use("agg")
    selection = pytest.importorskip("yellowbrick.model_selection")
    curve = selection.ValidationCurve(tiny(), param_name="n_components", param_range=[1, 2], cv=2)
    assert np.isfinite(curve.fit(X, Y).test_scores_).all()
