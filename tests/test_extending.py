"""Families, likelihoods, sources and penalties that are defined outside the package, each in one file."""

import ast
import pickle
from collections import Counter
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_ae import AdversarialAutoencoder, AutoencoderImputer, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Trace
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.progress import Progress
from tests.families import SMALL
from tests.own_family import WassersteinAutoencoder
from tests.own_likelihood import Laplace
from tests.own_penalty import decorrelation
from tests.own_source import NpyFile

FILES = ["own_family", "own_likelihood", "own_source", "own_penalty"]
RANDOM = np.random.RandomState(0)
ROWS = RANDOM.laplace(size=(60, 2)) @ RANDOM.normal(size=(2, 4)) + 0.3 * RANDOM.laplace(size=(60, 4))
GAPS = np.where(RANDOM.uniform(size=ROWS.shape) < 0.1, np.nan, ROWS)
Y = (ROWS[:, 0] > 0).astype(int)
TABLE = pd.DataFrame(GAPS, columns=list("abcd")).assign(e=RANDOM.choice(["u", "v"], 60), f=RANDOM.poisson(3, 60))

EXTENDED = {
    "family": partial(WassersteinAutoencoder, **SMALL),
    "likelihood": partial(RegularizedAutoencoder, likelihood=Laplace, **SMALL),
    "likelihood, variational": partial(VariationalAutoencoder, likelihood=Laplace, **SMALL),
    "likelihood, several draws": partial(VariationalAutoencoder, likelihood=Laplace, n_draws=3, **SMALL),
    "likelihood, adversarial": partial(AdversarialAutoencoder, likelihood=Laplace, **SMALL),
    "penalty": partial(RegularizedAutoencoder, penalty=decorrelation, alpha=1.0, **SMALL),
}
extended = pytest.mark.parametrize("extended", EXTENDED.values(), ids=EXTENDED)


@pytest.mark.parametrize("name", FILES)
def test_an_extension_imports_public_names_only(name):
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [part for node in imports for part in (node.module.split(".") + [alias.name for alias in node.names])]
    assert "sklearn_ae" in names
    assert [part for part in names if part.startswith("_")] == []
    assert {node.module.split(".")[0] for node in imports} <= {
        *("sklearn_ae", "torch", "numpy", "dataclasses", "functools", "math", "pathlib", "typing")
    }


# Every extension through the interface of scikit-learn


@extended
def test_an_extended_estimator_encodes_scores_fills_and_generates(extended):
    model = extended().fit(GAPS, Y)
    assert model.transform(GAPS).shape == (60, 2)
    assert model.inverse_transform(model.transform(GAPS)).shape == GAPS.shape
    assert np.isfinite(model.score_samples(GAPS)).all()
    assert np.array_equal(np.isfinite(model.score_cells(GAPS)), np.isfinite(GAPS))
    assert np.isfinite(model.explain_codes(GAPS)).all(axis=None)
    assert np.isfinite(model.impute(GAPS)).all()
    assert np.isfinite(model.impute(GAPS, n_draws=2, random_state=0)[1]).all()
    assert model.sample(7, random_state=0).shape == (7, 4)
    assert set(model.predict(GAPS)) <= {0, 1}


@extended
def test_an_extended_estimator_is_pickled(extended):
    model = extended().fit(GAPS)
    loaded = pickle.loads(pickle.dumps(model))
    assert np.array_equal(loaded.transform(GAPS), model.transform(GAPS))
    assert np.array_equal(loaded.sample(5, random_state=0), model.sample(5, random_state=0))


@pytest.fixture
def counts(monkeypatch):
    """How many fits were trained in stacks, and how many alone."""
    counts = Counter()
    of_progress = Progress.__init__

    def counting(progress, *args, **kwargs):
        of_progress(progress, *args, **kwargs)
        progress.counts = counts

    monkeypatch.setattr(Progress, "__init__", counting)
    return counts


@extended
def test_an_extended_estimator_is_trained_in_a_stack_as_if_alone(extended, counts):
    estimator = extended(batch_size=20, precision="float64")
    grid = {"learning_rate": [1e-3, 3e-3], "random_state": [0, 1]}
    alone = GridSearchCV(estimator, grid, cv=2, error_score="raise", refit=False).fit(GAPS)
    with joblib.parallel_config(backend="sklearn_ae"):
        stacked = GridSearchCV(estimator, grid, cv=2, error_score="raise", refit=False).fit(GAPS)
    assert counts == {"together": 8}
    difference = stacked.cv_results_["mean_test_score"] - alone.cv_results_["mean_test_score"]
    assert np.abs(difference).max() < 1e-8


# The family


def test_fits_of_the_family_that_differ_in_its_parameter_are_stacked(counts):
    grid = {"discrepancy_weight": [0.0, 1.0, 10.0]}
    estimator = WassersteinAutoencoder(**SMALL | {"precision": "float64"})
    alone = GridSearchCV(estimator, grid, cv=2, error_score="raise", refit=False).fit(ROWS)
    with joblib.parallel_config(backend="sklearn_ae"):
        stacked = GridSearchCV(estimator, grid, cv=2, error_score="raise", refit=False).fit(ROWS)
    assert counts == {"together": 6}
    assert stacked.cv_results_["mean_test_score"] == pytest.approx(alone.cv_results_["mean_test_score"], abs=1e-8)
    assert len(set(alone.cv_results_["mean_test_score"])) == 3


def test_the_family_has_a_method_of_its_own():
    model = WassersteinAutoencoder(**SMALL).fit(ROWS)
    expected = stats.norm.logpdf(model.transform(ROWS)).sum(1)
    assert model.log_prior(ROWS) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(NotFittedError):
        WassersteinAutoencoder().log_prior(ROWS)


# The likelihood


@pytest.fixture
def laplace():
    likelihood = Laplace(3).double()
    likelihood.scale.copy_(torch.tensor([0.5, 1.0, 2.0]))
    return likelihood


CELLS, OUTPUT = torch.from_numpy(RANDOM.normal(size=(2, 5, 3)))


def test_the_loss_of_the_likelihood_is_its_negative_log_density(laplace):
    density = stats.laplace(OUTPUT.numpy(), laplace.scale.numpy())
    assert laplace.loss(CELLS, OUTPUT).numpy() == pytest.approx(-density.logpdf(CELLS.numpy()).sum(1))
    assert laplace.cell_loss(CELLS, OUTPUT).numpy() == pytest.approx(-density.logpdf(CELLS.numpy()))
    assert torch.allclose(laplace.loss(CELLS[:1], OUTPUT[:1]), laplace.loss(CELLS, OUTPUT)[:1])


def test_the_loss_of_the_likelihood_skips_missing_cells(laplace):
    observed = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).expand(5, 3)
    changed = CELLS + 100 * (1 - observed)
    assert torch.equal(laplace.loss(changed, OUTPUT, observed), laplace.loss(CELLS, OUTPUT, observed))
    assert not torch.allclose(laplace.loss(CELLS, OUTPUT, observed), laplace.loss(CELLS, OUTPUT))


def test_the_loss_of_the_likelihood_has_the_gradient_of_finite_differences(laplace):
    output = OUTPUT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda o: laplace.loss(CELLS, o), output)


def test_draws_of_the_likelihood_follow_its_density(laplace):
    with noise.drawn(torch.Generator().manual_seed(0)):
        draws = laplace.draw(OUTPUT[:1].expand(20_000, 3))
    for column in range(3):
        density = stats.laplace(OUTPUT[0, column].item(), laplace.scale[column].item())
        assert stats.kstest(draws[:, column].numpy(), density.cdf).pvalue > 0.01


def test_the_least_uniform_number_is_a_finite_draw(laplace):
    with noise.supplied([torch.zeros(1, 3, dtype=torch.float64)]):
        assert torch.isfinite(laplace.draw(OUTPUT[:1])).all()


def test_the_scale_of_the_likelihood_converges_to_the_mean_absolute_error(laplace):
    for _ in range(400):
        laplace.scale.copy_(laplace.updated_buffers(CELLS, OUTPUT, torch.ones_like(CELLS))["scale"])
    assert torch.allclose(laplace.scale, (CELLS - OUTPUT).abs().mean(0))


def test_the_likelihood_of_a_fit_is_in_the_units_of_the_table():
    settings = SMALL | {"hidden_layer_sizes": (), "max_iter": 300, "learning_rate": 1e-2}
    narrow = RegularizedAutoencoder(likelihood=Laplace, **settings).fit(ROWS)
    wide = RegularizedAutoencoder(likelihood=Laplace, **settings).fit(10 * ROWS)
    shift = narrow.score_samples(ROWS) - wide.score_samples(10 * ROWS)
    assert shift == pytest.approx(4 * np.log(10), abs=0.01)


def test_a_likelihood_fits_its_own_noise_better():
    """Rows with Laplace noise are more likely under a Laplace than under a Gaussian with a learned variance."""
    settings = SMALL | {"hidden_layer_sizes": (), "max_iter": 300, "learning_rate": 1e-2}
    own = RegularizedAutoencoder(likelihood=Laplace, **settings).fit(ROWS)
    gaussian = RegularizedAutoencoder(likelihood="learned_gaussian", **settings).fit(ROWS)
    assert own.score(ROWS) > gaussian.score(ROWS) + 0.1


@pytest.mark.parametrize("family", [RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder])
def test_a_likelihood_is_given_by_column_beside_others(family):
    likelihood = {"a": Laplace, "c": Laplace, "f": "poisson"}
    model = family(likelihood=likelihood, **SMALL).fit(TABLE)
    names = [type(part).__name__ for part in model.module_.likelihood.parts]
    assert "Laplace" in names
    assert "Poisson" in names
    assert model.sample(3, random_state=0).dtypes.equals(TABLE.dtypes)
    assert int(model.impute(TABLE).isna().sum().sum()) == 0
    assert np.isfinite(model.score_samples(TABLE)).all()


def test_an_estimator_with_a_likelihood_is_cloned_and_continues():
    model = clone(RegularizedAutoencoder(likelihood=Laplace, warm_start=True, **SMALL)).fit(ROWS)
    before = model.module_.likelihood.scale.clone()
    assert model.fit(ROWS).loss_curve_[:4] != model.loss_curve_[4:]
    assert not torch.equal(model.module_.likelihood.scale, before)


def test_a_class_that_is_no_likelihood_is_refused():
    with pytest.raises(ValueError, match="a subclass of Numeric"):
        RegularizedAutoencoder(likelihood=dict).fit(ROWS)


# The source


@pytest.fixture(params=[ROWS, GAPS], ids=["complete", "with gaps"])
def file(request, tmp_path):
    """An array and the same rows in a file."""
    np.save(tmp_path / "rows.npy", request.param)
    return request.param, NpyFile(tmp_path / "rows.npy")


@pytest.mark.parametrize("family", [RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder])
def test_a_source_gives_the_results_of_the_array(file, family):
    array, source = file
    of_array, of_source = (family(**SMALL | {"batch_size": 25}).fit(rows, Y) for rows in (array, source))
    assert of_source.transform(source) == pytest.approx(of_array.transform(array), rel=1e-5, abs=1e-6)
    assert of_source.score_samples(source) == pytest.approx(of_array.score_samples(array), rel=1e-4)
    assert of_source.impute(source) == pytest.approx(of_array.impute(array), rel=1e-5, abs=1e-6)
    assert of_source.sample(3, random_state=0) == pytest.approx(of_array.sample(3, random_state=0), rel=1e-3)
    assert of_source.score(source, Y) == of_array.score(array, Y)
    assert np.array_equal(of_array.transform(source), of_array.transform(array))


def test_a_source_is_weighted_and_validated_as_the_array(file):
    weight = np.arange(60) % 3  # rows of weight 0 are left out
    settings = SMALL | {"batch_size": 25, "early_stopping": True}
    estimators = [RegularizedAutoencoder(**settings).fit(rows, sample_weight=weight) for rows in file]
    of_array, of_source = (estimator.history_["valid_loss"].tolist() for estimator in estimators)
    assert of_source == pytest.approx(of_array, rel=1e-5)
    assert "valid_loss" in RegularizedAutoencoder(**SMALL).fit(file[1], X_val=file[1]).history_


def test_a_source_works_in_an_imputer_and_a_stacked_search(file):
    array, source = file
    filled = AutoencoderImputer(RegularizedAutoencoder(**SMALL)).fit(source).transform(source)
    assert np.isfinite(filled).all()
    assert np.array_equal(filled[~np.isnan(array)], array[~np.isnan(array)])
    grid = {"alpha": [0.0, 0.1], "learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(RegularizedAutoencoder(**SMALL), grid, cv=2, error_score="raise", refit=False)
    with joblib.parallel_config(backend="sklearn_ae"):
        of_array, of_source = (clone(search).fit(rows) for rows in file)
    assert of_source.cv_results_["mean_test_score"] == pytest.approx(of_array.cv_results_["mean_test_score"], rel=1e-4)


def test_a_fitted_estimator_does_not_hold_its_source(file):
    array, source = file
    model = RegularizedAutoencoder(**SMALL).fit(source)
    source.rows = None  # a later read of the file would fail
    loaded = pickle.loads(pickle.dumps(model))
    assert np.array_equal(loaded.transform(array), model.transform(array))


# The penalty

CODE = torch.from_numpy(RANDOM.normal(size=(30, 3)))


def penalty_of(code, weight=None):
    return decorrelation(None, Batch(code, weight=weight), {"code": code})


def test_the_penalty_is_that_of_the_covariance():
    covariance = np.cov(CODE.T.numpy(), bias=True)
    assert penalty_of(CODE).item() == pytest.approx(np.square(covariance[np.triu_indices(3, 1)]).sum())
    axes = torch.eye(3, dtype=torch.float64)
    assert penalty_of(torch.cat([axes, -axes])).item() == pytest.approx(0, abs=1e-12)


def test_the_penalty_has_the_gradient_of_finite_differences():
    assert torch.autograd.gradcheck(penalty_of, CODE.clone().requires_grad_())


def test_the_penalty_counts_a_row_of_weight_two_twice():
    weight = torch.ones(30, dtype=torch.float64)
    weight[0] = 2
    assert torch.allclose(penalty_of(CODE, weight), penalty_of(torch.cat([CODE[:1], CODE])))


def test_the_penalty_makes_codes_less_correlated():
    settings = SMALL | {"max_iter": 100, "precision": "float64", "hidden_layer_sizes": ()}
    plain, penalized = (
        RegularizedAutoencoder(penalty=penalty, alpha=10.0, **settings).fit(ROWS) for penalty in (None, decorrelation)
    )
    of_plain, of_penalized = (abs(np.corrcoef(model.transform(ROWS).T)[0, 1]) for model in (plain, penalized))
    assert of_penalized < 0.4 * of_plain
    assert "penalty" in penalized.history_


def test_a_trace_computes_what_the_penalty_reads_only():
    model = RegularizedAutoencoder(**SMALL).fit(ROWS)
    trace = Trace(model.module_, torch.zeros(5, 4, dtype=next(model.module_.parameters()).dtype))
    decorrelation(model.module_, Batch(trace["x"]), trace)
    assert "output" not in trace
