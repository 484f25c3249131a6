"""Graphs of ONNX compute what the estimator does, run by onnxruntime."""

import os
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.onnx_converters import register_converters
from sklearn_ae.shipping.graph import LABELS_OPSET, METHODS, OPSET
from sklearn_ae.shipping.program import Program
from tests.families import INTRICATE, SMALL, VARIANTS, tiny
from tests.own_family import WassersteinAutoencoder
from tests.shipping.tables import CATEGORICAL, inputs_of, mixed_table, new_rows

X, Y = load_iris(return_X_y=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"])[Y]
ROWS = np.where(np.random.RandomState(0).rand(30, 4) < 0.2, np.nan, X[::5] / 8).astype(np.float32)


def session_of(graph):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(graph if isinstance(graph, str) else graph.SerializeToString())


def expected_of(model, method, rows):
    return model.inverse_transform(model.transform(rows)) if method == "reconstruct" else getattr(model, method)(rows)


def slow_but(few, everything):
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in everything]


@pytest.fixture(autouse=True)
def _installed(request):
    if "without" not in request.node.name:
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")


@pytest.mark.parametrize("variant", slow_but([], VARIANTS))
def test_a_graph_of_any_family_computes_what_the_estimator_does(variant, tmp_path):
    model = VARIANTS[variant](**SMALL).fit(X / 8, SPECIES)
    for method in METHODS if variant in INTRICATE else ["predict"]:
        graph = model.to_onnx(tmp_path / "fit.onnx", method)
        session = session_of(str(tmp_path / "fit.onnx"))
        (results,) = session.run(None, {"X": ROWS})
        if method == "predict":
            assert results.tolist() == model.predict(ROWS).tolist()
        else:
            np.testing.assert_allclose(results, expected_of(model, method, ROWS), rtol=1e-5, atol=1e-5)
        (alone,) = session.run(None, {"X": ROWS[:1]})
        assert alone.shape[0] == 1
    assert {entry.domain: entry.version for entry in graph.opset_import} == {"": OPSET, "ai.onnx.ml": LABELS_OPSET}
    assert (graph.producer_name, graph.metadata_props[0].value) == ("sklearn_ae", method)
    assert os.listdir(tmp_path) == ["fit.onnx"]


@pytest.mark.parametrize("method", slow_but(["reconstruct"], METHODS))
def test_a_graph_of_a_mixed_table_has_an_input_for_each_column(method):
    table, rows = mixed_table(), new_rows()
    settings = SMALL | {"scale": "quantile", "categorical_features": CATEGORICAL}
    model = RegularizedAutoencoder(**settings).fit(table, table["income"] > 1)
    session = session_of(model.to_onnx(method=method))
    results = session.run(None, inputs_of(rows, Program(model.model_, method).ports))
    expected = expected_of(model, method, rows)
    if method != "reconstruct":
        np.testing.assert_allclose(results[0], expected, rtol=1e-5, atol=1e-5)
        return
    assert [output.name for output in session.get_outputs()] == [f"reconstructed_{name}" for name in table]
    for column, name in zip(results, table, strict=True):
        if column.dtype == object:
            assert column[:, 0].tolist() == expected[name].tolist()
        else:
            assert column.dtype == expected[name].dtype
            np.testing.assert_allclose(column[:, 0].astype(float), expected[name].astype(float), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu"},
        {"activation": "elu"},
        {"activation": "silu"},
        {"likelihood": "negative_binomial"},
        {"likelihood": "poisson"},
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_operators_that_onnx_lacks_are_replaced(settings, precision):
    counts = np.rint(X * 3).astype(np.float32)
    model = tiny(precision=precision, **settings).fit(counts)
    (results,) = session_of(model.to_onnx(method="score_samples")).run(None, {"X": counts})
    np.testing.assert_allclose(results, model.score_samples(counts), rtol=1e-5, atol=1e-5)


def test_a_pipeline_with_an_autoencoder_is_converted_by_skl2onnx():
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters()
    rows = X.astype(np.float32)
    pipeline = make_pipeline(StandardScaler(), tiny(), LogisticRegression()).fit(rows, Y)
    graph = skl2onnx.to_onnx(pipeline, rows[:1], options={"zipmap": False})
    labels, probabilities = session_of(graph).run(None, {"X": rows})
    np.testing.assert_array_equal(labels, pipeline.predict(rows))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("y", [Y, SPECIES], ids=["numbers", "strings"])
@pytest.mark.parametrize("zipmap", [True, False])
def test_a_pipeline_that_ends_in_a_classifier_is_converted_by_skl2onnx(y, zipmap):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters(WassersteinAutoencoder)
    rows = X.astype(np.float32)
    pipeline = make_pipeline(StandardScaler(), tiny(WassersteinAutoencoder)).fit(rows, y)
    graph = skl2onnx.to_onnx(pipeline, rows[:1], options={"zipmap": zipmap})
    labels, probabilities = session_of(graph).run(None, {"X": rows})
    if zipmap:
        probabilities = [[row[label] for label in pipeline.classes_] for row in probabilities]
    assert labels.tolist() == pipeline.predict(rows).tolist()
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", None])
def test_a_pipeline_that_ends_in_a_regressor_or_transformer_is_converted_by_skl2onnx(task):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters()
    pipeline = make_pipeline(StandardScaler(), tiny(task=task)).fit(X, Y)
    graph = skl2onnx.to_onnx(pipeline, X[:1])  # in double precision
    (results,) = session_of(graph).run(None, {"X": X})
    expected = pipeline.predict(X)[:, np.newaxis] if task else pipeline.transform(X)
    np.testing.assert_allclose(results, expected, rtol=1e-4, atol=1e-5)


def test_a_pipeline_with_categories_is_refused_by_the_converter():
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters()
    model = tiny(categorical_features=[0]).fit(np.column_stack([Y, X]))
    with pytest.raises(ValueError, match="one table of numbers"):
        skl2onnx.to_onnx(model, ROWS[:1])


@pytest.mark.parametrize("variant", slow_but(["variational, laplace"], VARIANTS))
def test_the_module_of_any_family_is_exported_by_torch(variant):
    module = VARIANTS[variant](**SMALL, precision="float32").fit(X / 8, Y).module_.eval()
    rows, shapes = torch.from_numpy(np.nan_to_num(ROWS)), ({0: torch.export.Dim("n")},)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about its own code
        exported = torch.export.export(module, (rows[:3],), dynamic_shapes=shapes)
        torch.testing.assert_close(exported.module()(rows), module(rows))


def test_a_method_that_the_fit_lacks_is_refused():
    with pytest.raises(ValueError, match=r"method must be one of .*, got 'fit'"):
        tiny().fit(X).to_onnx(method="fit")
    with pytest.raises(ValueError, match="fitted without y"):
        tiny().fit(X).to_onnx(method="predict")
    with pytest.raises(ValueError, match="there are no classes"):
        tiny(VariationalAutoencoder, task="regression").fit(X, Y).to_onnx(method="predict_proba")


def test_without_onnx_the_error_says_what_to_install(monkeypatch):
    model = tiny().fit(X)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn_ae\[onnx\]'"):
        model.to_onnx()
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn_ae\[onnx\]'"):
        register_converters()
