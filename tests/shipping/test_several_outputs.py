"""Graphs of fits to several columns of y compute what the estimator does."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.onnx_converters import register_converters
from sklearn_ae.shipping.program import Program
from tests.families import INTRICATE, SMALL, VARIANTS, tiny
from tests.shipping.tables import inputs_of, mixed_table, new_rows

X, SPECIES = load_iris(return_X_y=True)
X = (X / 8).astype(np.float32)
RANDOM = np.random.RandomState(0)
ROWS = np.where(RANDOM.rand(30, 4) < 0.2, np.nan, X[::5]).astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
LABELS = np.column_stack([SPECIES, SPECIES > 0, X[:, 1] > 0.4])  # three classes, then two twice
WORDS = np.column_stack([NAMES, np.where(X[:, 1] > 0.4, "wide", "narrow")])
MIXED = np.column_stack([NAMES.astype(object), SPECIES, X[:, 1] > 0.4])
VALUES = np.column_stack([X[:, 0] * 100 + 1e3, X[:, 1]])
GAPS = RANDOM.rand(150, 3) < 0.3
TARGETS = {
    "labels": (LABELS, None),
    "labels, some unknown": (np.where(GAPS, -1, LABELS), -1),
    "values": (VALUES, None),
    "values, some unknown": (np.where(GAPS[:, :2], np.nan, VALUES), np.nan),
}
targets = pytest.mark.parametrize(("y", "unlabeled"), TARGETS.values(), ids=TARGETS)


def fitted(y, unlabeled=None, make=RegularizedAutoencoder, **settings):
    task = "regression" if y.dtype.kind == "f" else "classification"
    return make(**SMALL | settings, task=task, unlabeled=unlabeled).fit(X, y)


def methods_of(model):
    return ["predict"] if model.task == "regression" else ["predict", "predict_proba"]


def assert_equal(results, expected):
    """Compare the outputs of a graph with what the estimator returns."""
    if isinstance(expected, list):
        for of_column, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(of_column, wanted, rtol=1e-5, atol=1e-5)
    elif len(results) > 1:
        assert [of_column.tolist() for of_column in results] == expected.T.tolist()
    else:
        np.testing.assert_allclose(results[0], expected, rtol=1e-5, atol=1e-5)


def session_of(graph):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(graph.SerializeToString())


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")


# What is traced, by torch


@pytest.mark.parametrize(
    "variant", [name if name in INTRICATE else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
@targets
def test_a_program_of_any_family_computes_what_the_estimator_does(variant, y, unlabeled):
    model = fitted(y, unlabeled, VARIANTS[variant])
    for method in methods_of(model):
        with torch.no_grad():
            results = Program(model.model_, method).eval()(torch.from_numpy(ROWS))
        results = results if isinstance(results, tuple) else (results,)
        assert_equal([result.numpy() for result in results], getattr(model, method)(ROWS))


@pytest.mark.parametrize("n_members", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_columns_of_values_far_from_0_are_in_double_precision(n_members):
    model = fitted(VALUES + [1e9, 0], make=VariationalAutoencoder, n_members=n_members)
    with torch.no_grad():
        results = Program(model.model_, "predict").eval()(torch.from_numpy(X)).numpy()
    assert results.dtype == np.float64
    np.testing.assert_allclose(results, model.predict(X), rtol=1e-6)


# Graphs, by onnxruntime


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@targets
def test_a_graph_of_any_family_computes_what_the_estimator_does(variant, y, unlabeled):
    model = fitted(y, unlabeled, VARIANTS[variant])
    for method in methods_of(model) if variant in INTRICATE else methods_of(model)[-1:]:
        session = session_of(model.to_onnx(method=method))
        assert_equal(session.run(None, {"X": ROWS}), getattr(model, method)(ROWS))
        assert {len(result) for result in session.run(None, {"X": ROWS[:1]})} == {1}


LABEL_OUTPUTS = {"label_0": ("string", []), "label_1": ("int64", []), "label_2": ("bool", [])}
CLASS_OUTPUTS = {f"probabilities_{column}": ("float", [n_classes]) for column, n_classes in enumerate([3, 3, 2])}


@pytest.mark.parametrize(
    ("y", "method", "outputs"),
    [
        (MIXED, "predict", LABEL_OUTPUTS),
        pytest.param(MIXED, "predict_proba", CLASS_OUTPUTS, marks=pytest.mark.slow),
        pytest.param(VALUES, "predict", {"value": ("float", [2])}, marks=pytest.mark.slow),
    ],
    ids=["labels", "probabilities", "values"],
)
def test_a_graph_has_an_output_for_each_column_of_classes_and_one_for_values(y, method, outputs):
    model = fitted(y)
    session = session_of(model.to_onnx(method=method))
    found = {output.name: (output.type, output.shape[1:]) for output in session.get_outputs()}
    assert found == {name: (f"tensor({kind})", shape) for name, (kind, shape) in outputs.items()}
    assert_equal(session.run(None, {"X": ROWS}), getattr(model, method)(ROWS))


@pytest.mark.slow
def test_a_column_of_one_class_is_an_output():
    model = fitted(np.column_stack([SPECIES, np.ones_like(SPECIES)]))
    for method in methods_of(model):
        assert_equal(session_of(model.to_onnx(method=method)).run(None, {"X": ROWS}), getattr(model, method)(ROWS))


@pytest.mark.slow
def test_a_mixed_table_has_an_input_and_an_output_for_each_column():
    table, rows = mixed_table(), new_rows()
    y = np.column_stack([table["income"] > 1, table["n rooms"] % 3])
    model = RegularizedAutoencoder(**SMALL).fit(table, y)
    for method in methods_of(model):
        results = session_of(model.to_onnx(method=method)).run(
            None, inputs_of(rows, Program(model.model_, method).ports)
        )
        assert_equal(results, getattr(model, method)(rows))


def test_a_column_with_the_name_of_an_output_is_refused():
    table = mixed_table()[["town", "income"]].rename(columns={"income": "label_1"})
    model = tiny().fit(table, np.column_stack([table["label_1"] > 1, table["label_1"] > 2]))
    with pytest.raises(ValueError, match=r"other names than the outputs of a graph, got \['label_1'\]: rename"):
        model.to_onnx(method="predict")


# Pipelines, by skl2onnx


def converted(model, **options):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters()
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    return session_of(skl2onnx.to_onnx(model, X[:1], options={id(last): options} if options else None))


def pipeline_of(y, **settings):
    task = "regression" if y.dtype.kind == "f" else "classification"
    return make_pipeline(StandardScaler(), tiny(task=task, **settings)).fit(X, y)


@pytest.mark.parametrize("y", [LABELS, pytest.param(WORDS, marks=pytest.mark.slow)], ids=["numbers", "strings"])
@pytest.mark.parametrize("options", [{}, pytest.param({"zipmap": False}, marks=pytest.mark.slow)], ids=str)
def test_a_pipeline_that_ends_in_several_outputs_is_converted_as_a_multi_output_classifier(y, options):
    pipeline = pipeline_of(y)
    labels, probabilities = converted(pipeline, **options).run(None, {"X": X})
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    assert_equal(probabilities, pipeline.predict_proba(X))


@pytest.mark.slow
def test_a_pipeline_that_ends_in_several_values_is_converted():
    pipeline = pipeline_of(VALUES)
    (values,) = converted(pipeline).run(None, {"X": X})
    np.testing.assert_allclose(values, pipeline.predict(X), rtol=1e-5)


@pytest.mark.slow
def test_codes_of_a_fit_to_several_outputs_are_converted():
    model = tiny().fit(X, MIXED)
    (codes,) = converted(model, method="transform").run(None, {"X": X})
    np.testing.assert_allclose(codes, model.transform(X), rtol=1e-5, atol=1e-5)


def test_what_skl2onnx_can_not_hold_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="strings in all columns of y or in none.*use to_onnx"):
        converted(pipeline_of(MIXED))
    for option in ("output_class_labels", "nocl"):
        with pytest.raises(ValueError, match=f"{option} must be False after a fit to several columns"):
            converted(pipeline_of(LABELS), **{option: True})
