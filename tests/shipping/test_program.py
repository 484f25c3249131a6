"""What a graph is made of, run by torch, computes what the estimator does."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.shipping.ports import ports_of
from sklearn_ae.shipping.program import METHODS, Program
from sklearn_ae.tables.constraints import Inequality
from tests.families import SMALL, VARIANTS, tiny
from tests.shipping.tables import CATEGORICAL, mixed_table, new_rows, numbers_of

X, Y = load_iris(return_X_y=True)
ROWS = np.where(np.random.RandomState(0).rand(30, 4) < 0.2, np.nan, X[::5] / 8).astype(np.float32)
TABLE, NEW = mixed_table(), new_rows()


def run(model, method, rows):
    program = Program(model.model_, method).eval()
    with torch.no_grad():
        return program, program(torch.tensor(rows, dtype=program.dtype)).numpy()


def expected_of(model, method, rows):
    return model.inverse_transform(model.transform(rows)) if method == "reconstruct" else getattr(model, method)(rows)


@pytest.fixture(scope="module", params=list(VARIANTS))
def fitted(request):
    return VARIANTS[request.param](**SMALL).fit(X / 8, Y)


@pytest.mark.parametrize("method", METHODS)
def test_a_program_of_any_family_computes_what_the_estimator_does(fitted, method):
    _, results = run(fitted, method, ROWS)
    np.testing.assert_allclose(results, expected_of(fitted, method, ROWS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", {0: "poisson", 2: "bernoulli"}], ids=str)
@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples"])
def test_counts_are_computed_as_the_estimator_does(likelihood, method):
    counts = np.minimum(np.rint(X), [9, 9, 1, 9]).astype(np.float32)
    model = tiny(likelihood=likelihood).fit(counts)
    _, results = run(model, method, counts)
    np.testing.assert_allclose(results, expected_of(model, method, counts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("n_members", [1, 2])
def test_predictions_are_those_of_the_estimator(task, n_members):
    model = tiny(VariationalAutoencoder, task=task, n_members=n_members).fit(X, Y * 10)
    _, results = run(model, "predict", X.astype(np.float32))
    np.testing.assert_allclose(results, model.predict(X.astype(np.float32)), rtol=1e-5)


@pytest.mark.parametrize("scale", [True, "common", "quantile", False])
def test_columns_far_from_0_are_read_and_restored_in_double_precision(scale):
    rows = X + np.array([1.6e9, 0, 0, 0]) if scale else X
    model = tiny(scale=scale, task="regression", max_iter=20).fit(rows, Y + 1e9)
    for method in METHODS if scale else ["transform"]:
        if method == "predict_proba":
            continue
        program, results = run(model, method, rows)
        assert program.dtype is (torch.float64 if scale else torch.float32)
        np.testing.assert_allclose(results, expected_of(model, method, rows), rtol=1e-9 if scale else 1e-5, atol=1e-4)


@pytest.fixture(scope="module", params=[True, "quantile"])
def mixed(request):
    settings = SMALL | {"scale": request.param, "n_bins": 3, "max_categories": 3, "categorical_features": CATEGORICAL}
    return RegularizedAutoencoder(**settings).fit(TABLE, TABLE["income"] > 1)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"reconstruct"}))
def test_a_program_of_a_mixed_table_computes_what_the_estimator_does(mixed, method):
    program = Program(mixed.model_, method)
    _, results = run(mixed, method, numbers_of(NEW, program.ports))
    np.testing.assert_allclose(results, expected_of(mixed, method, NEW), rtol=1e-5, atol=1e-5)


def test_the_reconstruction_of_a_mixed_table_is_that_of_the_estimator(mixed):
    program = Program(mixed.model_, "reconstruct")
    program, results = run(mixed, "reconstruct", numbers_of(NEW, program.ports))
    expected = expected_of(mixed, "reconstruct", NEW)
    for port, column in zip(program.ports, results.T, strict=True):
        if port.strings is None:
            np.testing.assert_allclose(column, expected[port.name].astype(float), rtol=1e-5, atol=1e-5)
        else:
            assert [port.strings[int(number) - 1] for number in column] == expected[port.name].tolist()


def test_columns_have_the_types_that_they_had_in_the_fit(mixed):
    types = {port.name: port.type for port in Program(mixed.model_, "transform").ports}
    assert types == {
        "income": "double",
        "year": "double",
        "single": "float",
        "n rooms": "int64",
        "is old": "bool",
        "gaps": "double",
        "town": "string",
        "district": "int64",
        "is new": "bool",
        "rate": "double",
        "linear": "double",
        "kind": "string",
        "code": "double",
    }


def test_an_integer_column_that_had_gaps_is_an_input_of_doubles():
    table = TABLE[["n rooms", "is old", "town"]].astype({"n rooms": "Int64", "is old": "boolean"})
    table.loc[0, ["n rooms", "is old"]] = pd.NA
    model = tiny().fit(table)
    assert [port.type for port in Program(model.model_, "transform").ports] == ["double", "double", "string"]


def test_many_categories_are_computed_as_the_estimator_does():
    table = pd.DataFrame({"word": [f"w{i % 90}" for i in range(270)], "x": np.arange(270.0)})
    model = tiny(VariationalAutoencoder).fit(table)
    for method in ("transform", "score_samples"):
        program = Program(model.model_, method)
        _, results = run(model, method, numbers_of(table, program.ports))
        np.testing.assert_allclose(results, expected_of(model, method, table), rtol=1e-5, atol=1e-5)


def test_categories_that_are_times_are_refused_with_the_column():
    days = pd.Categorical(pd.to_datetime(["2020-01-01", "2020-01-02"] * 20))
    model = tiny().fit(pd.DataFrame({"x": np.arange(40.0), "day": days}))
    schema = model.model_.encoding.schema
    with pytest.raises(ValueError, match=r"got Timestamp in column 'day'"):
        ports_of(schema, [False, False])


def test_columns_of_one_name_are_refused():
    table = pd.DataFrame({1: np.arange(40.0), "1": ["a", "b"] * 20})
    model = tiny(categorical_features=[1]).fit(table.to_numpy(dtype=object))
    assert len(Program(model.model_, "transform").ports) == 2
    schema = model.model_.encoding.schema
    schema.container.names[:] = ["a", "a"]
    schema.container.is_frame = True
    with pytest.raises(ValueError, match="different names"):
        ports_of(schema, [False, False])


def test_a_program_leaves_the_module_of_the_fit_as_it_is():
    model = tiny().fit(X, Y)
    before = {name: (id(value), value.requires_grad) for name, value in model.module_.named_parameters()}
    run(model, "transform", ROWS)
    assert before == {name: (id(value), value.requires_grad) for name, value in model.module_.named_parameters()}


def test_rows_are_not_reconstructed_under_constraints():
    model = tiny(constraints=[Inequality(0, 1)]).fit(np.sort(X, 1))
    with pytest.raises(ValueError, match="constraints"):
        run(model, "reconstruct", ROWS)
