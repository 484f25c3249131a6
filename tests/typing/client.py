"""A user's program, which ``mypy --strict`` checks: it names all public classes, functions, methods and attributes."""

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, assert_type

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sklearn_ae
from sklearn_ae import (
    AdversarialAutoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    RegularizedAutoencoder,
    StoredTable,
    VariationalAutoencoder,
    distributed,
    load,
)
from sklearn_ae.likelihoods.gaussian import Gaussian
from sklearn_ae.metrics import column_shapes, pair_trends, sample_report
from sklearn_ae.model.model import Model
from sklearn_ae.model.problem import Problem
from sklearn_ae.model.recipe import Recipe
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.plotting import (
    CodeAttributionDisplay,
    ColumnQualityDisplay,
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SampleQualityDisplay,
)
from sklearn_ae.tables.constraints import FixedCombinations, Formula, Inequality
from sklearn_ae.tables.sources import Source
from sklearn_ae.training.net import AutoencoderNet

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]
# The body of a function of a constrained variable is checked for each of the classes.
Family = TypeVar("Family", RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder)
Saved = TypeVar(
    "Saved",
    RegularizedAutoencoder,
    VariationalAutoencoder,
    AdversarialAutoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
)


def largest(module: Autoencoder, batch: Batch, trace: Any) -> torch.Tensor:
    """Return a penalty of the user's own."""
    assert_type(batch.x, torch.Tensor)
    code: torch.Tensor = trace["code"]
    return code.abs().amax(1)


class MyAutoencoder(RegularizedAutoencoder):
    """A family of the user's own."""

    def recipe(self, problem: Problem) -> Recipe:
        """Return the recipe of the family that it is made of."""
        return super().recipe(problem)


def constructed() -> tuple[RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder]:
    """Return an estimator of each family, with parameters of all kinds."""
    RegularizedAutoencoder(n_components="auto", penalty=largest, alpha=0.1, corruption="gaps", corruption_level=0.2)
    RegularizedAutoencoder(0.9, penalty=None, unseen_fraction=0.1, scale="quantile", likelihood={"income": Gaussian})
    RegularizedAutoencoder(likelihood=Gaussian, class_weight={0: 2.0}, device=torch.device("cpu"), unlabeled=-1)
    RegularizedAutoencoder(
        constraints=[
            Formula("total", operator.add, ["a", "b"]),
            Inequality("a", "b"),
            FixedCombinations(["country", "city"]),
        ]
    )
    settings: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    return (
        RegularizedAutoencoder(2, n_members=2, n_bins=4, linear_path=False, activation="tanh", **settings),
        VariationalAutoencoder(2, beta=1.0, prior="normal", n_draws=2, observation_noise="column", **settings),
        AdversarialAutoencoder(
            2,
            discriminator="both",
            adversarial_weight=0.5,
            generator_loss="minimax",
            discriminator_learning_rate=1e-3,
            gradient_penalty=0.1,
            **settings,
        ),
    )


def fitted(model: Family, X: Rows, y: Labels) -> Family:
    """Fit a model in all ways."""
    assert_type(model.partial_fit(X, y, classes=[0, 1, 2], sample_weight=None), Family)
    assert_type(model.fit(X), Family)
    assert_type(model.fit(X.tolist(), y.tolist(), sample_weight=np.ones(len(X))), Family)
    assert_type(model.fit(pd.DataFrame(X)), Family)
    assert_type(model.fit(pl.DataFrame(X)), Family)
    assert_type(model.fit(scipy.sparse.csr_array(X)), Family)
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
        model.set_partial_fit_request(classes=True)
        model.set_score_request(sample_weight=True)
    model.set_params(max_iter=3).set_output(transform="default")
    return model.fit(X, y, X_val=X[:20], y_val=y[:20])


def fitted_to_a_source(model: Family, source: Source) -> Family:
    """Fit a model to rows that are read from elsewhere."""
    return model.fit(source)


def stored(path: Path) -> StoredTable:
    """Read a table in files."""
    return StoredTable(path, memory_limit=1 << 20)


def fitted_to_files(model: Family, table: StoredTable, path: Path) -> Family:
    """Fit a model to a table in files, and write results of it."""
    model.fit(table, X_val=table[:10])
    assert_type(model.transform(table), NDArray[Any])
    assert table.container() is not None
    assert assert_type(table.shape, tuple[int, int])[1] == table.head.shape[1]
    table.write(path, model.impute)
    if table.files is None:
        table.close()
    return model


def results(model: Family, X: Rows, y: Labels) -> None:
    """Ask a model for all that it returns."""
    codes = assert_type(model.transform(X), NDArray[Any])
    model.fit_transform(X, y)
    model.inverse_transform(codes)
    assert_type(model.predict(X), NDArray[Any])
    model.predict_proba(X)[:, 1]  # a list after a fit to several outputs
    model.predict_log_proba(X)
    assert_type(model.score(X, y, sample_weight=None), float)
    model.score_samples(X)
    value, std = model.score_samples(X, tolerance=0.5, return_std=True)
    model.score_cells(X)
    model.explain_codes(X, max_samples=10, random_state=0)
    model.latent_summary(X)
    model.impute(X, n_draws=2, random_state=0)
    model.sample(5, random_state=0, y=[0, 1, 2, 0, 1], missing=True)
    model.sample(5, np.random.RandomState(0), given={0: 5.0})


def exported(model: Family, path: Path) -> None:
    """Export a method of a model."""
    model.to_onnx(path, method="predict")


def learned(model: Family) -> None:
    """Read what a model has learned."""
    assert_type(model.n_components_, int)
    assert_type(model.n_features_in_, int)
    model.classes_.tolist()
    assert_type(model.n_iter_, int)
    assert_type(model.loss_, float)
    assert_type(model.loss_curve_, list[float])
    assert_type(model.model_, Model)
    assert_type(model.net_, AutoencoderNet)
    assert_type(model.module_, Autoencoder)
    assert_type(model.device_, torch.device)
    history: pd.DataFrame = model.history_
    assert len(history) == model.n_iter_
    assert_type(model.as_fitted(), Family)
    model.column_options()
    names: Sequence[str] = model.get_feature_names_out()
    assert len(names) == model.n_components_


def names_of_columns(model: Family, X: pd.DataFrame) -> list[str]:
    """Return the names of the columns of a fit to a DataFrame."""
    model.fit(X)
    return list(model.feature_names_in_)


def recipe_of(model: Family, problem: Problem) -> Recipe:
    """Return the recipe of a family."""
    return assert_type(model.recipe(problem), Recipe)


def discriminated(model: AdversarialAutoencoder, X: Rows) -> NDArray[Any]:
    """Ask what only an adversarial autoencoder knows."""
    return model.discriminate(X)


def saved(model: Saved, path: Path) -> Saved:
    """Save a model and load it."""
    model.save(path, trusted=[largest])
    model.save(str(path))
    anything: Any = load(path, trusted=[largest])
    assert type(anything) is type(model)
    again = assert_type(type(model).load(path), Saved)
    state = assert_type(model.saved_state(), dict[str, Any])
    return assert_type(again.from_saved_state(state), Saved)


def imputed(model: AutoencoderImputer, X: Rows) -> None:
    """Fill missing cells."""
    assert_type(model.fit(X, sample_weight=np.ones(len(X))), AutoencoderImputer)
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
    model.transform(X)
    assert_type(model.estimator_.n_components_, int)
    assert_type(model.n_features_in_, int)
    assert_type(model.as_fitted(), AutoencoderImputer)
    model.fit(pd.DataFrame(X, columns=list("abcd")))
    assert list(model.feature_names_in_) == list("abcd")


def detected(model: AutoencoderOutlierDetector, X: Rows) -> None:
    """Detect anomalous rows."""
    assert_type(model.fit(X), AutoencoderOutlierDetector)
    assert_type(model.score_samples(X), Rows)
    assert_type(model.decision_function(X), Rows)
    assert_type(model.predict(X), Labels)
    model.score_cells(X)
    assert_type(model.offset_, float)
    model.offset_ = -2.5
    assert_type(model.n_features_in_, int)
    assert_type(model.as_fitted(), AutoencoderOutlierDetector)
    model.estimator_.latent_summary(X)
    [density.score(X[:, :2]) for density in model.densities_[:0]]
    model.fit(pd.DataFrame(X, columns=list("abcd")))
    assert list(model.feature_names_in_) == list("abcd")


def drawn(model: VariationalAutoencoder, X: Rows, y: Labels) -> None:
    """Draw each display."""
    _, ax = plt.subplots()
    curve = assert_type(LossCurveDisplay.from_estimator(model), LossCurveDisplay)
    losses(curve)
    assert_type(LatentSpaceDisplay.from_estimator(model, X, y, ax=ax, dimensions=[0, 1]), LatentSpaceDisplay)
    assert_type(LatentSpaceDisplay.from_codes(model.transform(X), y).plot(), LatentSpaceDisplay)
    restored = model.inverse_transform(model.transform(X))
    assert_type(ReconstructionDisplay.from_predictions(X, restored), ReconstructionDisplay)
    reconstructed(assert_type(ReconstructionDisplay.from_estimator(model, X), ReconstructionDisplay))
    assert_type(LatentTraversalDisplay.from_estimator(model, X, n_steps=3).plot(cmap="PuOr"), LatentTraversalDisplay)
    assert_type(ColumnQualityDisplay.from_predictions(X, restored), ColumnQualityDisplay)
    assert_type(ColumnQualityDisplay.from_estimator(model, X).plot(max_columns=2), ColumnQualityDisplay)
    assert_type(CodeAttributionDisplay.from_estimator(model, X).plot(), CodeAttributionDisplay)
    assert_type(SampleQualityDisplay.from_tables(X, X), SampleQualityDisplay)
    assert_type(SampleQualityDisplay.from_estimator(model, X).plot(), SampleQualityDisplay)
    plt.close("all")


def losses(display: LossCurveDisplay) -> None:
    """Read and draw a loss curve."""
    display.plot(logy=True)
    assert_type(display.best_epoch, int | None)
    assert_type(display.monitored, str | None)


def reconstructed(display: ReconstructionDisplay) -> None:
    """Read and draw reconstructions."""
    display.plot(kind="columns")
    assert_type(display.residuals, Rows)
    assert_type(display.residual_quantiles, Rows)
    assert_type(display.accuracy, Rows)


def measured(real: Rows, samples: Rows) -> None:
    """Measure generated rows."""
    sample_report(real, samples, holdout=real[:20], target=0, max_rows=100, random_state=0)
    column_shapes(real, samples, categorical_features=None)
    pair_trends(real, samples)


def shared(model: Family, X: Rows) -> Family:
    """Fit on the processes of a launcher."""
    with distributed(timeout=60):
        return assert_type(model.fit(X), Family)


def searched(X: Rows, y: Labels) -> Any:
    """Search in a pipeline of scikit-learn."""
    assert_type(sklearn_ae.__version__, str)
    search = GridSearchCV(make_pipeline(RegularizedAutoencoder(max_iter=2)), {"regularizedautoencoder__alpha": [0.1]})
    return search.fit(X, y)
