"""Saved estimators: what is loaded is what was saved, and no file runs code or damages anything."""

import errno
import json
import operator
import os
import sys
import tracemalloc
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
import torch
from safetensors import safe_open
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from skorch.exceptions import DeviceWarning

import sklearn_ae
from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, VariationalAutoencoder
from sklearn_ae.persistence import files
from sklearn_ae.tables.constraints import Formula
from tests import own_family
from tests.families import FAMILIES, INTRICATE, SMALL, VARIANTS, families, largest, tiny
from tests.persistence.damage import damaged, parts_of, written

random = np.random.RandomState(0)
X, Y = random.normal(size=(60, 4)), np.arange(60) % 3
OWN = [thing for thing in vars(own_family).values() if getattr(thing, "__module__", "") == own_family.__name__]
RELEASES = Path(__file__).parent / "releases"
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="what is missing is a GPU")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def mixed_table():
    table = pd.DataFrame(
        {
            "number": np.where(np.arange(60) == 3, np.nan, X[:, 0]),
            "single": X[:, 1].astype(np.float32),
            "integer": np.arange(60),
            "nullable": pd.array([1, 2, None] * 20, dtype="Int64"),
            "category": pd.Categorical(list("abc") * 20, categories=list("cbax"), ordered=True),
            "text": ["x", "y", None, "z"] * 15,
            "truth": np.arange(60) % 2 == 0,
            "sparse": pd.arrays.SparseArray(np.arange(60) % 5 == 0, dtype=pd.SparseDtype(float, 0.0)),
        }
    )
    return table.assign(text=table["text"].astype("string"))


def answers(estimator, rows=X):
    values = [estimator.transform(rows), estimator.score_samples(rows[:9]), estimator.sample(3, random_state=0)]
    return [value.to_json() if isinstance(value, pd.DataFrame) else value.tobytes() for value in values]


@pytest.mark.parametrize("variant", [*INTRICATE, "regularized, masked as other rows", "regularized, bins"])
def test_a_loaded_fit_gives_the_same_and_goes_on_as_the_saved_one(variant, path):
    estimator = VARIANTS[variant](**SMALL).fit(X, Y)
    expected = answers(estimator)
    estimator.save(path, trusted=OWN)
    loaded = sklearn_ae.load(path, trusted=OWN)
    assert type(loaded) is type(estimator)
    assert loaded.get_params() == estimator.get_params()
    assert answers(loaded) == expected == answers(estimator)
    assert (loaded.predict(X) == estimator.predict(X)).all()
    assert loaded.history_.equals(estimator.history_)
    assert answers(loaded.partial_fit(X, Y)) == answers(estimator.partial_fit(X, Y))


def without_sparse(table):
    return table.drop(columns="sparse")


@pytest.mark.parametrize("of", [lambda table: table, lambda table: polars.from_pandas(without_sparse(table))])
@pytest.mark.parametrize("family", [*FAMILIES, AutoencoderImputer, AutoencoderOutlierDetector])
def test_tables_are_restored_with_their_names_and_dtypes(family, of, path):
    table = of(mixed_table())
    own = tiny(max_iter=2) if family in (AutoencoderImputer, AutoencoderOutlierDetector) else None
    estimator = (tiny(family, max_iter=2) if own is None else family(own)).fit(table)
    estimator.save(path)
    loaded = family.load(path)
    assert loaded.feature_names_in_.tolist() == estimator.feature_names_in_.tolist()
    if hasattr(estimator, "sample"):
        assert loaded.sample(4, random_state=0).equals(estimator.sample(4, random_state=0))
        assert loaded.impute(table).equals(estimator.impute(table))
        made = loaded.inverse_transform(loaded.transform(table))
        assert list(made.dtypes) == list(estimator.inverse_transform(estimator.transform(table)).dtypes)
    else:
        method = "transform" if hasattr(estimator, "transform") else "score_samples"
        found, expected = (getattr(each, method)(table) for each in (loaded, estimator))
        assert found.equals(expected) if hasattr(found, "equals") else (found == expected).all()


def test_tables_of_arrow_are_restored(path):
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1].astype(np.float32), "c": list("abc") * 20, "d": np.arange(60)})
    estimator = tiny().fit(table)
    estimator.save(path)
    loaded = sklearn_ae.load(path)
    assert loaded.sample(4, random_state=0).equals(estimator.sample(4, random_state=0))


@pytest.mark.parametrize("dtype", [polars.Categorical(), polars.Enum(list("dcbax")), polars.String()], ids=str)
def test_categories_of_polars_keep_their_dtype(dtype, path):
    table = polars.DataFrame({"a": X[:, 0], "c": polars.Series(list("abcd") * 15, dtype=dtype)})
    estimator = tiny().fit(table)
    estimator.save(path)
    made = sklearn_ae.load(path).sample(4, random_state=0)
    assert made.schema == estimator.sample(4, random_state=0).schema
    assert made["c"].dtype == dtype


def test_the_name_of_the_index_of_columns_is_restored(path):
    table = pd.DataFrame(X, columns=pd.Index(list("abcd"), name="measure"))
    tiny().fit(table).save(path)
    assert sklearn_ae.load(path).sample(2).columns.name == "measure"


@pytest.mark.parametrize("names", [[1, 2, 3, 4], [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]])
def test_names_of_columns_need_not_be_texts(names, path):
    table = pd.DataFrame(X)
    table.columns = pd.Index(names)
    estimator = tiny().fit(table)
    estimator.save(path)
    loaded = sklearn_ae.load(path)
    assert loaded.sample(3, random_state=0).equals(estimator.sample(3, random_state=0))


@pytest.mark.parametrize("target", [np.array(["no", "yes"])[Y % 2], Y == 1, Y.astype(np.int8)])
def test_labels_are_restored(target, path):
    estimator = tiny(max_iter=2).fit(X, np.asarray(target))
    estimator.save(path)
    loaded = sklearn_ae.load(path)
    assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.predict(X).tolist() == estimator.predict(X).tolist()


def test_requests_of_metadata_are_restored(path):
    with config_context(enable_metadata_routing=True):
        estimator = tiny().set_fit_request(sample_weight=True).set_score_request(sample_weight="weight").fit(X)
        estimator.save(path)
        loaded = sklearn_ae.load(path)
        requests = loaded.get_metadata_routing()
        assert requests.fit.requests["sample_weight"] is True
        assert requests.score.requests["sample_weight"] == "weight"
        assert repr(requests) == repr(estimator.get_metadata_routing())
        clone(loaded).fit(X)


def test_a_file_holds_no_rows_of_the_fit(path):
    rows = np.random.RandomState(1).uniform(size=(500, 5))
    VariationalAutoencoder(2, max_iter=2, hidden_layer_sizes=(8,), random_state=0).fit(rows).save(path)
    with safe_open(path, framework="numpy") as file:
        arrays = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 (not a dict)
    assert max(len(array) for array in arrays if array.ndim == 2) < 100


# What can't be saved


def test_functions_of_the_user_are_refused_unless_they_are_trusted(path):
    estimator = tiny(penalty=largest).fit(X)
    with pytest.raises(ValueError, match=r"^penalty must be data or a part of sklearn_ae.*trusted"):
        estimator.save(path)
    assert not path.exists()
    estimator.save(path, trusted=[largest])
    with pytest.raises(ValueError, match="got 'tests.families.largest'"):
        sklearn_ae.load(path)
    assert sklearn_ae.load(path, trusted=[largest]).penalty is largest


@pytest.mark.parametrize("penalty", [lambda module, batch, trace: trace["code"].sum(1), partial(largest)])
def test_other_callables_are_refused(penalty, path):
    with pytest.raises(ValueError, match=r"penalty.* must be data"):
        tiny(penalty=penalty).fit(X).save(path)


@pytest.mark.parametrize("function", [operator.add, np.add])
def test_functions_of_constraints_may_be_trusted(function, path):
    table = pd.DataFrame(X, columns=list("abcd")).assign(total=lambda rows: rows["a"] + rows["b"])
    estimator = tiny(constraints=[Formula("total", function, ["a", "b"])]).fit(table)
    with pytest.raises(ValueError, match=r"^constraints.*must be data"):
        estimator.save(path)
    estimator.save(path, trusted=[function])
    loaded = sklearn_ae.load(path, trusted=[function])
    assert loaded.sample(5, random_state=0).equals(estimator.sample(5, random_state=0))


def test_callbacks_are_refused_until_they_are_taken_away(path):
    estimator = tiny(callbacks=[Callback()]).fit(X)
    with pytest.raises(ValueError, match=r"callbacks must be None.*set_params\(callbacks=None\)"):
        estimator.save(path)
    codes = estimator.transform(X)
    estimator.set_params(callbacks=None).save(path)
    assert (sklearn_ae.load(path).transform(X) == codes).all()
    assert estimator.as_fitted().callbacks


def test_an_estimator_must_be_fitted_to_be_saved(path):
    with pytest.raises(NotFittedError):
        tiny().save(path)


def test_trusted_must_hold_classes_and_functions(path):
    with pytest.raises(TypeError, match="trusted must hold classes and functions, got 'largest'"):
        tiny().fit(X).save(path, trusted=["largest"])


# What can't be loaded


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    table = pd.DataFrame(X).assign(category=pd.Categorical(list("abc") * 20)).rename(columns=str)
    tiny(max_iter=2).fit(table, Y).save(path)
    return path


def test_another_class_is_refused(saved):
    with pytest.raises(ValueError, match="must be a file with a VariationalAutoencoder, got a RegularizedAutoencoder"):
        VariationalAutoencoder.load(saved)


def test_a_missing_file_is_said_to_be_missing(path):
    with pytest.raises(FileNotFoundError, match="path must be a file"):
        sklearn_ae.load(path)


def test_a_file_of_a_newer_format_names_the_version_that_wrote_it(path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(files, "FORMAT", 2)
        tiny().fit(X).save(path)
    with pytest.raises(ValueError, match=f"got format 2: it was written by sklearn_ae {sklearn_ae.__version__}"):
        sklearn_ae.load(path)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9, 1])
def test_one_wrong_bit_is_found(saved, tmp_path, place):
    content = bytearray(saved.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(ValueError, match="path must be a file"):
        sklearn_ae.load(tmp_path / "damaged")


def test_weights_of_another_shape_are_refused(saved, tmp_path):
    header, arrays = parts_of(saved)
    weight = sklearn_ae.load(saved).module_.decoder[0].weight.detach().numpy()
    place = next(i for i, array in enumerate(arrays) if np.array_equal(array, weight))
    arrays[place] = np.zeros((weight.shape[0], weight.shape[1] + 1), dtype=weight.dtype)
    (tmp_path / "other").write_bytes(written(header, arrays))
    with pytest.raises(ValueError, match="path must be a file"):
        sklearn_ae.load(tmp_path / "other")


@pytest.mark.filterwarnings("ignore")  # numpy warns about some of the numbers
def test_damaged_files_are_refused_or_harmless(saved, tmp_path):
    path, outcomes = tmp_path / "damaged", []
    for number in range(90):
        path.write_bytes(damaged(saved, number))
        outcomes.append(_outcome(path))
    assert outcomes.count("refused") > 50
    assert outcomes.count("loaded") > 1  # otherwise the mutations are all found by the checksum


def _outcome(path):
    try:
        sklearn_ae.load(path)
    except ValueError:
        return "refused"
    return "loaded"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_damaged_files_run_nothing_and_take_little_memory(tmp_path):
    path, events, is_watched = tmp_path / "large", [], [False]
    tiny(max_iter=2, hidden_layer_sizes=(400, 400)).fit(np.random.RandomState(0).normal(size=(300, 60))).save(path)
    runs_code = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "exec", "os.remove"}

    def watch(event, details):
        if is_watched[0] and event in runs_code:
            events.append((event, details))

    sklearn_ae.load(path)  # imports what it needs
    sys.addaudithook(watch)
    tracemalloc.start()
    largest_share = 0.0
    for number in range(10_000):
        size = (tmp_path / "damaged").write_bytes(damaged(path, number))
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        is_watched[0] = True
        _outcome(tmp_path / "damaged")
        is_watched[0] = False
        _, peak = tracemalloc.get_traced_memory()
        largest_share = max(largest_share, (peak - before) / max(size, 1 << 20))
    tracemalloc.stop()
    print(f"peak memory relative to the size of the file: {largest_share:.2f}")  # noqa: T201
    assert events == []
    assert largest_share <= 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["damaged", "large"]


# Files


def test_a_file_is_replaced_only_by_a_complete_one(path, monkeypatch):
    estimator = tiny().fit(X)
    estimator.save(path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(files.os, name, full)
            with pytest.raises(OSError, match="No space left"):
                estimator.save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        tiny().fit(X).save(tmp_path / "nowhere" / "model")


@needs_no_gpu
def test_a_fit_of_a_gpu_is_loaded_where_there_is_none(path, monkeypatch):
    estimator = tiny(VariationalAutoencoder).fit(X)
    with monkeypatch.context() as patched:
        patched.setattr(estimator.net_, "device", torch.device("cuda:1"))
        estimator.save(path)
    with pytest.warns(DeviceWarning, match="cuda:1.*onto the CPU"):
        loaded = sklearn_ae.load(path)
    assert loaded.device_ == torch.device("cpu")
    assert answers(loaded) == answers(estimator)


@families
def test_files_of_the_first_release_are_loaded(family):
    name = family.__name__
    rows, _ = load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = family.load(RELEASES / f"0.1.0-{name}.safetensors")
    expected = json.loads((RELEASES / "0.1.0.json").read_text())[name]
    np.testing.assert_allclose(loaded.transform(rows[::30]), expected["codes"], rtol=1e-4, atol=1e-5)
    assert loaded.predict(rows[::30]).tolist() == expected["labels"]


# skops


@pytest.mark.parametrize(
    "make",
    [
        *(partial(tiny, family) for family in FAMILIES),
        partial(tiny, n_members=2),
        lambda: AutoencoderOutlierDetector(tiny(max_iter=2)),
        lambda: make_pipeline(StandardScaler(), tiny(VariationalAutoencoder)),
    ],
)
def test_skops_keeps_a_fit_and_names_its_types(make):
    skops = pytest.importorskip("skops.io")
    rows, _ = load_wine(return_X_y=True)
    estimator = make().fit(rows)
    kept = skops.dumps(estimator)
    types = skops.get_untrusted_types(data=kept)
    assert set(types) <= {
        *(f"{family.__module__}.{family.__name__}" for family in (*FAMILIES, AutoencoderOutlierDetector)),
        "sklearn_ae.model.model.Model",
        "sklearn_ae.model.ensemble.Ensemble",
        "sklearn_ae.model.code_residual_density.CodeResidualDensity",
    }
    loaded = skops.loads(kept, trusted=types)
    method = "transform" if hasattr(estimator, "transform") else "score_samples"
    assert (getattr(loaded, method)(rows) == getattr(estimator, method)(rows)).all()
