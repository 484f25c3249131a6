"""Rows of a tensor stay on its device: they are checked, encoded and answered there, as arrays are on the host."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.likelihoods.counts import Poisson
from sklearn_ae.tables import encoding
from sklearn_ae.tables.constraints import Inequality
from sklearn_ae.tables.sources import Array
from sklearn_ae.tables.tensors import TensorContainer, Tensors, rows_on_device
from tests.families import INTRICATE, SMALL, VARIANTS, tiny
from tests.pretended_gpu import GPU, pretended_gpu

random = np.random.default_rng(0)
N, D = 61, 6
X = random.uniform(size=(N, D)).astype(np.float32)
GAPS = np.where(random.uniform(size=X.shape) < 0.2, np.nan, X).astype(np.float32)
Y = np.arange(N) % 3
FEW = ["regularized, learned scales", "variational", "variational, three members", "adversarial, both"]
METHODS = ["transform", "predict", "predict_proba", "score_samples", "score_cells", "impute", "discriminate"]

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and nothing to pretend")
often = pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[] if name in INTRICATE else pytest.mark.slow) for name in VARIANTS]
)


@pytest.fixture(autouse=True)
def _dispatch():
    with config_context(array_api_dispatch=True):
        yield


def answers(model, rows):
    """Return what methods say of rows, by their name."""
    found = {method: getattr(model, method)(rows) for method in METHODS if hasattr(model, method)}
    return found | {"inverse_transform": model.inverse_transform(found["transform"])}


def assert_agree(found, expected):
    assert found.keys() == expected.keys()
    for method, values in expected.items():
        assert isinstance(values, np.ndarray)
        assert isinstance(found[method], torch.Tensor)
        of_tensor = found[method].cpu().numpy()
        assert of_tensor.dtype == values.dtype, method
        np.testing.assert_allclose(of_tensor, values, rtol=1e-6, atol=1e-6, err_msg=method)


# No row is read by the host


@without_gpu
@pytest.mark.parametrize(
    ("variant", "scale"),
    [
        pytest.param(
            variant, scale, marks=[] if variant in FEW and (scale is True) == (variant != FEW[0]) else pytest.mark.slow
        )
        for variant in VARIANTS
        for scale in (True, "quantile")
    ],
)
def test_rows_on_a_gpu_are_not_read_by_the_host(variant, scale):
    with pretended_gpu() as gpu:
        rows = gpu.places.put(torch.from_numpy(GAPS), GPU)
        model = VARIANTS[variant](**SMALL | {"device": "cuda", "max_iter": 1, "scale": scale}).fit(GAPS, Y)
        gpu.read.clear()
        found = answers(model, rows)
        assert max(gpu.read) < N
        assert {gpu.places.of(values) for values in found.values()} == {GPU}
        found = {method: values.cpu() for method, values in found.items()}
        expected = answers(model, GAPS)
    assert_agree(found, expected)


@without_gpu
def test_the_host_reads_a_sample_of_the_rows_of_a_fit(monkeypatch):
    monkeypatch.setattr(encoding, "MAX_ROWS", 5)
    monkeypatch.setattr("sklearn_ae.model.row_distribution.MAX_ROWS", 5)
    with pretended_gpu() as gpu:
        rows, y = (gpu.places.put(torch.from_numpy(values), GPU) for values in (GAPS, Y))
        model = tiny(device="cuda", max_iter=2, n_components=1).fit(rows, y)
        assert max(gpu.read) < X.size / 4  # the labels, and what is measured of 5 rows
        found = model.transform(rows).cpu().numpy()
    expected = tiny(max_iter=2, n_components=1, device="cpu", precision="float32").fit(GAPS, Y).transform(GAPS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@without_gpu
@pytest.mark.parametrize(("of_rows", "of_model"), [("gpu", "cpu"), ("host", "cuda")])
def test_results_are_where_the_rows_are_wherever_the_model_is(of_rows, of_model):
    with pretended_gpu() as gpu:
        rows = gpu.places.put(torch.from_numpy(GAPS), of_rows)
        model = tiny(device=of_model, max_iter=1).fit(rows, Y)
        found = answers(model, rows)
        assert {gpu.places.of(values) for values in found.values()} == {of_rows}
        assert_agree({method: values.cpu() for method, values in found.items()}, answers(model, GAPS))


# The same results


@often
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_for_tensors_are_those_for_arrays(variant, dtype):
    rows = GAPS.astype(dtype)
    model = VARIANTS[variant](**SMALL | {"max_iter": 1}).fit(rows, Y)
    assert isinstance(model._table(torch.from_numpy(rows)), TensorContainer)
    assert_agree(answers(model, torch.from_numpy(rows)), answers(model, rows))


@often
def test_a_fit_to_tensors_is_that_to_arrays(variant):
    model = VARIANTS[variant](**SMALL | {"max_iter": 2, "early_stopping": True, "validation_fraction": 0.3})
    weight = np.arange(N) % 4
    of_array = model.fit(GAPS, Y, sample_weight=weight).score_samples(X)
    tensors = (torch.from_numpy(values) for values in (GAPS, Y, weight))
    of_tensor = model.fit(*tensors).score_samples(X)
    np.testing.assert_allclose(of_tensor, of_array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_every_dtype_are_converted_as_arrays_are(dtype):
    rows = torch.from_numpy(3 * X).to(dtype)
    model = tiny(max_iter=1).fit(rows, Y)
    of_array = rows.to(torch.float32 if dtype is torch.bfloat16 else torch.float64).numpy()
    assert_agree(answers(model, rows), answers(model, of_array))


def test_outputs_of_several_columns_are_tensors():
    rows, several = torch.from_numpy(X), np.stack([Y, Y == 1], 1)
    model = tiny(max_iter=1).fit(rows, several)
    np.testing.assert_array_equal(model.predict(rows).numpy(), model.predict(X))
    for own, other in zip(model.predict_proba(rows), model.predict_proba(X), strict=True):
        np.testing.assert_allclose(own.numpy(), other, rtol=1e-6)
    values = tiny(max_iter=1, task="regression").fit(rows, X[:, :2])
    np.testing.assert_allclose(values.predict(rows).numpy(), values.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    "labels", [np.array(["a", "b", "c"]), np.array([1, 2, 3], dtype=np.uint32), np.array([0.0, 1.0, 2.0])]
)
def test_predicted_labels_are_those_of_arrays(labels):
    model = tiny(max_iter=1).fit(X, labels[Y])
    found, expected = model.predict(torch.from_numpy(X)), model.predict(X)
    assert isinstance(found, np.ndarray) == (labels.dtype.kind == "U")
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert model.score(torch.from_numpy(X), labels[Y]) == model.score(X, labels[Y])


@pytest.mark.parametrize(
    "settings",
    [
        {"likelihood": {0: "bernoulli"}},
        {"categorical_features": [0], "min_frequency": 1},
        {"constraints": [Inequality(0, 1)]},
    ],
    ids=["likelihoods by column", "categories", "constraints"],
)
def test_tables_that_the_host_has_to_read_give_the_same_results(settings):
    rows = X.copy()
    rows[:, 0], rows[:, 1] = np.arange(N) % 2, 3
    model = tiny(max_iter=1, **settings).fit(torch.from_numpy(rows), Y)
    assert not isinstance(model._table(torch.from_numpy(rows)), TensorContainer)
    assert_agree(answers(model, torch.from_numpy(rows)), answers(model, rows))


def test_a_fit_to_a_dataframe_of_numbers_takes_tensors():
    model = tiny(max_iter=1).fit(pd.DataFrame(X), Y)
    codes = model.transform(torch.from_numpy(X))
    assert isinstance(codes, torch.Tensor)
    pd.testing.assert_frame_equal(model.inverse_transform(codes), model.inverse_transform(codes.numpy()))


class OfArrays(Poisson):
    """Counts whose check knows nothing of tensors."""

    @classmethod
    def check(cls, values):
        """Raise unless all values are counts."""
        assert isinstance(values, np.ndarray)
        super().check(values)


def test_the_check_of_a_likelihood_of_the_user_gets_arrays():
    rows = torch.from_numpy(np.floor(9 * X))
    assert tiny(max_iter=1, likelihood=OfArrays).fit(rows).transform(rows).isfinite().all()


# Bad input


def error_of(function, *arguments):
    with pytest.raises((TypeError, ValueError)) as raised:
        function(*arguments)
    return raised.type, str(raised.value)


def changed(row, column, value):
    rows = GAPS.copy()
    rows[row, column] = value
    return rows


BAD = {
    "infinity": changed(40, 2, np.inf),
    "both infinities": np.vstack([changed(40, 2, np.inf), changed(3, 2, -np.inf)]),
    "too large once scaled": changed(40, 2, 3e38),
    "a column less": X[:, 1:],
    "one dimension": X[0],
    "no rows": X[:0],
    "no columns": X[:, :0],
    "complex": X.astype(np.complex64),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tensors_are_refused_in_the_words_for_arrays(case):
    model = tiny(max_iter=1).fit(X / 1e3)
    for method in (model.transform, model.score_samples, model.impute, model.partial_fit):
        assert error_of(method, torch.from_numpy(BAD[case])) == error_of(method, BAD[case])
    if case not in ("too large once scaled", "a column less", "both infinities"):
        assert error_of(tiny().fit, torch.from_numpy(BAD[case])) == error_of(tiny().fit, BAD[case])


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson"])
@pytest.mark.parametrize("value", [-1, 1.5])
def test_numbers_outside_the_range_of_a_likelihood_are_refused(likelihood, value):
    rows = np.where(np.isnan(GAPS), np.nan, GAPS > 0.5).astype(np.float32)
    model = tiny(max_iter=1, likelihood=likelihood).fit(torch.from_numpy(rows))
    rows[5, 1] = value
    for method in (model.transform, tiny(likelihood=likelihood).fit):
        assert error_of(method, torch.from_numpy(rows)) == error_of(method, rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_bad_codes_are_refused_in_the_words_for_arrays(value):
    model = tiny(max_iter=1).fit(torch.from_numpy(1e30 * X))
    codes = np.full((3, 2), value, dtype=np.float32)
    assert error_of(model.inverse_transform, torch.from_numpy(codes)) == error_of(model.inverse_transform, codes)
    wide = np.zeros((3, 5), dtype=np.float32)
    assert error_of(model.inverse_transform, torch.from_numpy(wide)) == error_of(model.inverse_transform, wide)


def test_a_row_without_finite_results_is_named():
    model = RegularizedAutoencoder(2, activation="relu", max_iter=1, random_state=0, precision="float32").fit(X)
    rows = changed(40, 2, 1e37)
    assert error_of(model.score_samples, torch.from_numpy(rows)) == error_of(model.score_samples, rows)


# Parts


def test_moments_and_extremes_of_tensors_are_known():
    rows = torch.tensor([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan], [8.0, 2.0, np.nan]], dtype=torch.float64)
    source = Tensors(rows)
    mean, variance, all_missing, gaps = source.moments(np.array([1.0, 3.0, 1.0]))
    assert mean.tolist() == pytest.approx([3.6, 3.5, 0])
    assert variance.tolist() == pytest.approx([5.44, 0.75, 0])
    assert all_missing.tolist() == [False, False, True]
    assert gaps.tolist() == [False, True, True]
    np.testing.assert_array_equal(source.extremes(), [[1, 2, np.nan], [8, 4, np.nan]])
    assert source.has_gaps()
    assert not source.columns([0]).has_gaps()
    assert source.take(np.array([2, 0])).tensor[:, 0].tolist() == [8, 1]
    assert torch.cat(list(source.known_values(slice(0, 2)))).sum() == 18


@pytest.mark.parametrize("weight", [None, np.arange(N) / 7])
def test_moments_of_tensors_are_those_of_arrays(weight, monkeypatch):
    monkeypatch.setattr("sklearn_ae.tables.sources.BLOCK", 40)
    for found, expected in zip(
        Tensors(torch.from_numpy(GAPS)).moments(weight), Array(GAPS).moments(weight), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_filled_tensors_are_new_and_wide_enough():
    rows = torch.tensor([[1.0, np.nan], [np.nan, 4.0]])
    container = TensorContainer(rows)
    filled = container.filled({0: torch.tensor([9.0, 2.0]).double()}, container.missing(), container)
    np.testing.assert_array_equal(filled.numpy(), [[1, np.nan], [2, 4]])
    assert filled.dtype is torch.float32
    wide = container.filled({1: torch.tensor([1e39, 0], dtype=torch.float64)}, container.missing(), container)
    np.testing.assert_array_equal(wide.numpy(), [[1, 1e39], [np.nan, 4]])
    assert rows.isnan().sum() == 2


@pytest.mark.parametrize(
    "given",
    [
        X,
        torch.from_numpy(X[0]),
        torch.from_numpy(X).requires_grad_(),
        torch.from_numpy(X).to_sparse(),
        torch.from_numpy(X[:0]),
        torch.from_numpy(BAD["complex"]),
        torch.from_numpy(BAD["infinity"]),
    ],
    ids=["array", "one dimension", "gradient", "sparse", "no rows", "complex", "infinite"],
)
def test_what_is_not_a_table_of_numbers_is_left_to_the_host(given):
    assert rows_on_device(given, finite=True) is None


def test_without_the_setting_tensors_are_left_to_the_host():
    rows = torch.from_numpy(X)
    assert rows_on_device(rows, finite=True) is rows
    with config_context(array_api_dispatch=False):
        assert rows_on_device(rows, finite=True) is None
