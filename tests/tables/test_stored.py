"""Tables in files: the same results as in memory, files that are removed, and errors before anything is changed."""

import copy
import gc
import operator
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score

from sklearn_ae import AutoencoderImputer, AutoencoderOutlierDetector, RegularizedAutoencoder, StoredTable
from sklearn_ae.tables import spooled
from sklearn_ae.tables.constraints import Formula
from sklearn_ae.tables.files import SPAN, FileOfRows
from tests.families import FAMILIES
from tests.tables.tiny import tiny

N = 4000
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N, 3)) @ RNG.normal(size=(3, 15)) + 0.1 * RNG.normal(size=(N, 15))
GAPS = np.where(RNG.uniform(size=X.shape) < 0.05, np.nan, X)
Y = (X[:, 0] > 0).astype(int)
MIXED = pd.DataFrame(
    {
        "a": GAPS[:, 0],
        "b": X[:, 1],
        "n": RNG.randint(-3, 9, N),
        "c": np.where(X[:, 2] > 0, "up", "down"),
        "d": pd.Categorical(RNG.choice(["s", "m", "l"], N), ["s", "m", "l", "xl"]),
        "t": X[:, 3] > 0.5,
    }
)
MIXED.loc[::9, "c"] = None
LEAST = 1 << 20  # bytes of memory, with which tables of more than 58,254 cells are streamed
family_of = pytest.mark.parametrize("family", FAMILIES)


def npy(folder, array):
    np.save(folder / "rows.npy", array)
    return folder / "rows.npy"


def in_folder(path, frame):
    path.mkdir()
    for part, start in enumerate(range(0, len(frame), 1500)):
        frame.iloc[start : start + 1500].to_parquet(path / f"part{part}.parquet")
    return path


ARRAYS = {
    "npy": npy,
    "text path": lambda folder, array: str(npy(folder, array)),
    "mapped": lambda folder, array: np.load(npy(folder, array), mmap_mode="r"),
}
FRAMES = {
    "frame": lambda folder, frame: frame,
    "list": lambda folder, frame: [frame.iloc[:1000], frame.iloc[1000:1000], frame.iloc[1000:]],
    "function": lambda folder, frame: lambda: (frame.iloc[start : start + 700] for start in range(0, len(frame), 700)),
    "parquet": lambda folder, frame: frame.to_parquet(folder / "rows.parquet") or folder / "rows.parquet",
    "folder": lambda folder, frame: in_folder(folder / "rows", frame),
    "dataset": lambda folder, frame: pyarrow.dataset.dataset(in_folder(folder / "rows", frame)),
}


def is_streamed(table):
    container = table.container()
    return container.numbers([0]).is_streamed


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_in_a_file_gives_the_results_of_the_array(tmp_path, kind):
    table = StoredTable(ARRAYS[kind](tmp_path, GAPS))
    assert table.shape == GAPS.shape
    assert not is_streamed(table)
    expected, model = tiny().fit(GAPS), tiny().fit(table)
    np.testing.assert_array_equal(model.transform(table), expected.transform(GAPS))
    np.testing.assert_array_equal(model.score_samples(table), expected.score_samples(GAPS))
    np.testing.assert_array_equal(model.sample(5, random_state=0), expected.sample(5, random_state=0))


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, bool, ">f8"])
def test_any_dtype_of_numbers_is_read_as_in_memory(tmp_path, dtype):
    array = (10 * np.abs(X)).astype(dtype)
    table = StoredTable(npy(tmp_path, array))
    expected, model = tiny().fit(array), tiny().fit(table)
    codes = model.transform(table)
    np.testing.assert_array_equal(codes, expected.transform(array))
    assert codes.dtype == expected.transform(array).dtype


@pytest.mark.parametrize("kind", FRAMES)
def test_dataframes_in_files_give_the_results_of_the_dataframe(tmp_path, kind):
    expected = tiny().fit(MIXED)
    with StoredTable(FRAMES[kind](tmp_path, MIXED)) as table:
        assert table.shape == MIXED.shape
        model = tiny().fit(table)
        np.testing.assert_array_equal(model.transform(table), expected.transform(MIXED))
        np.testing.assert_array_equal(model.score_samples(table), expected.score_samples(MIXED))
    assert list(model.feature_names_in_) == list(MIXED)
    sample = model.sample(20, random_state=0)
    pd.testing.assert_frame_equal(sample, expected.sample(20, random_state=0), check_dtype=kind in ("frame", "list"))


def test_dataframes_of_polars_stay_such():
    rows = pl.from_pandas(MIXED)
    with StoredTable([rows[:10], rows[10:]]) as table:
        model = tiny().fit(table)
        sample = model.sample(5, random_state=0)
        assert sample.equals(tiny().fit(rows).sample(5, random_state=0))


@family_of
def test_streamed_results_differ_by_the_order_of_rows_only(tmp_path, family):
    table = StoredTable(npy(tmp_path, GAPS), memory_limit=LEAST)
    assert is_streamed(table)
    settings = {"max_iter": 20, "random_state": 0, "hidden_layer_sizes": (16,)}
    expected, model = family(3, **settings).fit(GAPS), family(3, **settings).fit(table)
    assert model.score(table) == pytest.approx(expected.score(GAPS), abs=0.5)
    np.testing.assert_array_equal(model.transform(table), model.transform(GAPS))
    np.testing.assert_array_equal(model.score_samples(table), model.score_samples(GAPS))


@family_of
def test_streamed_dataframes_are_read_like_dataframes(family):
    frame = pd.concat([MIXED] * 4, ignore_index=True)
    with StoredTable(frame, memory_limit=LEAST) as table:
        assert is_streamed(table)
        model = tiny(family, max_iter=3).fit(table)
        np.testing.assert_array_equal(model.transform(table), model.transform(frame))
        np.testing.assert_array_equal(model.score_samples(table), model.score_samples(frame))


def test_target_weights_and_validation_rows_go_along(tmp_path):
    weight = RNG.uniform(0.5, 2, N)
    weight[::3] = 0
    table = StoredTable(npy(tmp_path, X))
    settings = {"sample_weight": weight, "X_val": X[:100], "y_val": Y[:100]}
    expected = tiny(max_iter=3).fit(X, Y, **settings)
    model = tiny(max_iter=3).fit(table, Y, **settings | {"X_val": table[:100]})
    assert model.loss_curve_ == expected.loss_curve_
    assert model.history_["valid_loss"].tolist() == expected.history_["valid_loss"].tolist()
    np.testing.assert_array_equal(model.predict(table), expected.predict(X))
    assert model.score(table, Y) == expected.score(X, Y)


def test_a_streamed_classifier_learns(tmp_path):
    table = StoredTable(npy(tmp_path, X), memory_limit=LEAST)
    model = RegularizedAutoencoder(3, max_iter=30, random_state=0).fit(table, Y)
    assert model.score(table, Y) > 0.95


def test_streamed_rows_sorted_by_their_label_are_shuffled(tmp_path):
    order = np.argsort(Y, kind="stable")
    table = StoredTable(npy(tmp_path, X[order]), memory_limit=LEAST)
    model = RegularizedAutoencoder(3, max_iter=30, random_state=0).fit(table, Y[order])
    assert model.score(table, Y[order]) > 0.95


def test_categories_and_integers_are_learned_from_rows_of_positive_weight():
    weight = np.ones(N)
    weight[MIXED["n"] == 8] = 0
    weight[(MIXED["d"] == "l").to_numpy()] = 0
    with StoredTable([MIXED[:1000], MIXED[1000:]]) as table:
        model = tiny().fit(table, sample_weight=weight)
        columns, expected = (m.model_.encoding.schema.columns for m in (model, tiny().fit(MIXED, sample_weight=weight)))
    assert (columns[2].low, columns[2].high) == (expected[2].low, expected[2].high) == (-3, 7)
    for place in (3, 4):
        assert columns[place].ids == expected[place].ids
        np.testing.assert_array_equal(columns[place].frequencies, expected[place].frequencies)


def test_unknown_categories_are_treated_as_in_memory():
    new = MIXED.assign(c="new")
    model, strict = tiny().fit(MIXED), tiny(handle_unknown="error").fit(MIXED)
    with StoredTable(new) as table:
        with pytest.warns(UserWarning, match="no category of column 'c' was in the fit"):
            codes = model.transform(table)
        with pytest.warns(UserWarning, match="no category"):
            np.testing.assert_array_equal(codes, model.transform(new))
        with pytest.raises(ValueError, match="got .*new.* in column 'c'"):
            strict.transform(table)


def test_constraints_hold():
    frame = MIXED.assign(s=MIXED["b"] + MIXED["n"])
    with StoredTable(frame) as table:
        model = tiny(constraints=[Formula("s", operator.add, ["b", "n"])]).fit(table)
    rows = model.sample(20, random_state=0)
    np.testing.assert_allclose(rows["s"], rows["b"] + rows["n"])


def test_columns_are_chosen(tmp_path):
    positions, names = [4, 1, 2], ["t", "a", "c"]
    table = StoredTable(npy(tmp_path, X), columns=positions)
    chosen = X[:, positions]
    np.testing.assert_array_equal(tiny().fit(table).transform(table), tiny().fit(chosen).transform(chosen))
    for kind in ("list", "parquet"):
        with StoredTable(FRAMES[kind](tmp_path, MIXED), columns=names) as frames:
            assert list(frames.head) == names
            expected = tiny().fit(MIXED[names]).transform(MIXED[names])
            np.testing.assert_array_equal(tiny().fit(frames).transform(frames), expected)
    with pytest.raises(ValueError, match=r"columns must be positions below 15, got \[15\]"):
        StoredTable(npy(tmp_path, X), columns=[15])
    for columns in ("ab", [True] * 6, np.ones(15, dtype=bool)):
        for data in (MIXED, npy(tmp_path, X)):
            with pytest.raises(TypeError, match="columns must be a list of names or positions, got"):
                StoredTable(data, columns=columns)


def test_scikit_learn_takes_rows_of_an_array(tmp_path):
    for limit in (1 << 30, LEAST):
        table = StoredTable(npy(tmp_path, X), memory_limit=limit)
        scores = cross_val_score(tiny(max_iter=3), table, cv=3)
        np.testing.assert_allclose(
            scores, cross_val_score(tiny(max_iter=3), X, cv=3), rtol=0.05 if limit == LEAST else 0
        )
        search = GridSearchCV(tiny(), {"alpha": [0.0, 1.0]}, cv=2).fit(table, Y)
        assert search.predict(table).shape == (N,)
    np.testing.assert_array_equal(table[5:8][:], X[5:8])
    np.testing.assert_array_equal(table[Y == 1][:3], X[Y == 1][:3])
    with pytest.raises(TypeError, match="a slice or an index"):
        table[3]
    with StoredTable(MIXED) as frames, pytest.raises(TypeError, match="rows must be those of an array"):
        frames[:3]


@pytest.mark.parametrize("limit", [1 << 30, LEAST])
def test_results_are_written_part_by_part(tmp_path, limit):
    table = StoredTable(npy(tmp_path, GAPS), memory_limit=limit)
    model = tiny().fit(GAPS)
    table.write(tmp_path / "filled.npy", model.impute)
    np.testing.assert_array_equal(np.load(tmp_path / "filled.npy"), model.impute(GAPS))
    table.write(tmp_path / "scores.npy", model.score_samples)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), model.score_samples(GAPS))
    table.write(str(tmp_path / "codes.parquet"), model.transform)
    codes = pd.read_parquet(tmp_path / "codes.parquet")
    assert list(codes) == [f"transform{place}" for place in range(codes.shape[1])]
    np.testing.assert_array_equal(codes.to_numpy(), model.transform(GAPS))
    table.write(tmp_path / "scores.parquet", model.score_samples)
    assert list(pd.read_parquet(tmp_path / "scores.parquet")) == ["score_samples"]


@pytest.mark.parametrize("kind", FRAMES)
def test_filled_dataframes_are_written(tmp_path, kind):
    frame = MIXED.reset_index(drop=True)
    model = tiny().fit(frame)
    with StoredTable(FRAMES[kind](tmp_path, frame), memory_limit=LEAST) as table:
        table.write(tmp_path / "filled.parquet", model.impute)
        table.write(tmp_path / "cells.parquet", model.score_cells)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "filled.parquet"), model.impute(frame))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "cells.parquet"), model.score_cells(frame))


def test_polars_are_written(tmp_path):
    frame = pl.from_pandas(MIXED)
    model = tiny().fit(frame)
    with StoredTable([frame[:99], frame[99:]]) as table:
        table.write(tmp_path / "filled.parquet", model.impute)
    assert pl.read_parquet(tmp_path / "filled.parquet").equals(model.impute(frame))


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    path, seen = tmp_path / "codes.npy", []
    path.write_bytes(b"old")
    table = StoredTable(npy(tmp_path, X), memory_limit=LEAST)

    def failing(rows):
        seen.append(len(rows))
        if len(seen) > 1:
            raise RuntimeError("on purpose")
        return rows

    with pytest.raises(RuntimeError, match="on purpose"):
        table.write(path, failing)
    with pytest.raises(ValueError, match="a row for each row, got 1 for"):
        table.write(path, lambda rows: rows[:1])
    with pytest.raises(TypeError, match="results must be arrays for an .npy file, got DataFrame"):
        table.write(path, pd.DataFrame)
    dtypes = iter([np.float64, np.float32])
    with pytest.raises(ValueError, match="one dtype and one shape, got float32"):
        table.write(path, lambda rows: rows.astype(next(dtypes)))
    for ending in ("codes.csv", "codes"):
        with pytest.raises(ValueError, match="path must end with .npy or .parquet, got"):
            table.write(tmp_path / ending, len)
    assert path.read_bytes() == b"old"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["codes.npy", "rows.npy"]


def test_parts_with_other_types_are_not_written(tmp_path):
    types = iter([int, str])

    def constant(rows):
        return pd.DataFrame({"x": np.ones(len(rows))}).astype(next(types))

    message = "results must have columns of the same types"
    with StoredTable([MIXED[:10], MIXED[10:20]]) as table, pytest.raises(ValueError, match=message):
        table.write(tmp_path / "x.parquet", constant)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["impute", "score_cells"])
def test_tables_as_results_must_be_written(tmp_path, method):
    model, message = tiny().fit(X), rf"in memory for {method}, got a StoredTable: .*write\(path, {method}\)"
    with pytest.raises(TypeError, match=message):
        getattr(model, method)(StoredTable(npy(tmp_path, X)))
    with StoredTable(MIXED) as table, pytest.raises(TypeError, match=message):
        getattr(tiny().fit(MIXED), method)(table)


def test_the_other_estimators_take_tables_in_files(tmp_path):
    table = StoredTable(npy(tmp_path, GAPS))
    imputer = AutoencoderImputer(tiny()).fit(table)
    table.write(tmp_path / "filled.npy", imputer.transform)
    np.testing.assert_array_equal(
        np.load(tmp_path / "filled.npy"), AutoencoderImputer(tiny()).fit(GAPS).transform(GAPS)
    )
    detector = AutoencoderOutlierDetector(tiny()).fit(table)
    expected = AutoencoderOutlierDetector(tiny()).fit(GAPS)
    np.testing.assert_array_equal(detector.score_samples(table), expected.score_samples(GAPS))
    with pytest.raises(TypeError, match="in memory for score_cells"):
        detector.score_cells(table)


def test_temporary_files_are_removed(tmp_path):
    def n_files():
        return len(list(tmp_path.iterdir()))

    with StoredTable(MIXED, folder=tmp_path) as table:
        assert table.files.parent == tmp_path
        assert n_files() == 1
        fitted = tiny().fit(table)
    assert n_files() == 0
    assert fitted.transform(MIXED).shape == (N, 2)
    for call in (fitted.transform, fitted.fit):
        with pytest.raises(ValueError, match="must be open, got one whose files were removed"):
            call(table)
    table.close()
    lost = StoredTable(MIXED, folder=tmp_path)
    assert n_files() == 1
    del lost
    gc.collect()
    assert n_files() == 0
    with pytest.raises(TypeError, match="data must be made of DataFrames, got int"):
        StoredTable([MIXED, 3], folder=tmp_path)
    gc.collect()
    assert n_files() == 0


def test_a_copy_reads_the_files_and_does_not_remove_them(tmp_path):
    with StoredTable([MIXED], folder=tmp_path) as table:
        model = tiny().fit(table)
        for other in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
            np.testing.assert_array_equal(model.transform(other), model.transform(MIXED))
            other.close()
            del other
            gc.collect()
        assert table.files.exists()


def test_a_fitted_estimator_does_not_hold_the_table(tmp_path):
    with StoredTable(MIXED, folder=tmp_path) as table:
        assert str(tmp_path).encode() not in pickle.dumps(tiny().fit(table))


def test_a_failed_fit_changes_nothing(tmp_path):
    model = tiny().fit(X)
    before = model.transform(X)
    with pytest.raises(ValueError, match="X must have a finite variance"):
        model.fit(StoredTable(npy(tmp_path, np.where(X > 3, np.inf, X)), memory_limit=LEAST))
    with StoredTable(MIXED) as table, pytest.raises(ValueError, match="n_components"):
        tiny(n_components=-1).fit(table)
    np.testing.assert_array_equal(model.transform(X), before)
    with pytest.raises(ValueError, match="expecting 15 features"):
        model.transform(StoredTable(npy(tmp_path, X[:, :3])))
    with StoredTable(MIXED.rename(columns={"a": "z"})) as table, pytest.raises(ValueError, match="feature names"):
        tiny().fit(MIXED).transform(table)
    with pytest.raises(TypeError, match="rows must come in a DataFrame"):
        tiny().fit(MIXED).transform(StoredTable(npy(tmp_path, X[:, :6])))


def test_kinds_of_parts_must_agree():
    def stored(*parts, name="x"):
        return StoredTable([pd.DataFrame({name: part}) for part in parts])

    with stored([1, 2, 3, 4], [1.5, 2.5, np.nan]) as table:
        assert table.head.dtypes.tolist() == [np.float64]
        assert set(tiny(n_components=1).fit(table).sample(5)["x"] % 1) != {0.0}
    with stored([1.5, 2.5, 3.5], [1, 2, 3]) as table:
        assert table.head.dtypes.tolist() == [np.float64]
    with stored(["a", "b"], [None, None], [np.nan, np.nan], ["a", "b"]) as table:
        assert table.container().value_counts(0, None) == {"a": 2, "b": 2}
    for parts, message in [
        (([1.0, 2.0], ["a", "b"]), "got category after float in column 'x'"),
        ((["a", "b"], [1.0, 2.0]), "got float after category in column 'x'"),
        (([True, False], [1, 2]), "got integer after boolean in column 'x'"),
        (([1, 2], [1, 2**53 + 2]), r"integers .* at most 2\^53, got 9007199254740994 in column 'x'"),
        (([1, 2], pd.to_datetime(["2026-01-01"])), "got times"),
        ((np.float32([1, 2]), np.float64([1, 2])), "same dtypes, got float64 after float32"),
    ]:
        with pytest.raises(TypeError, match=message):
            stored(*parts)
    with pytest.raises(ValueError, match=r"the same columns, got \['y'\] after \['x'\]"):
        StoredTable([pd.DataFrame({"x": [1.0]}), pd.DataFrame({"y": [1.0]})])


def test_the_order_of_categories_is_kept_if_all_parts_have_it():
    one, other = (pd.Series(pd.Categorical(["s", "l", "m"], order)) for order in (["s", "m", "l"], ["l", "m", "s"]))
    with StoredTable([pd.DataFrame({"c": one}), pd.DataFrame({"c": one})]) as table:
        assert table.container().ordered_categories(0) == ["s", "m", "l"]
    with StoredTable([pd.DataFrame({"c": one}), pd.DataFrame({"c": other})]) as table:
        assert table.container().ordered_categories(0) is None


def test_categories_have_a_bound(monkeypatch):
    monkeypatch.setattr(spooled, "MOST_CATEGORIES", 3)
    with pytest.raises(ValueError, match="at most 3 distinct values, got more in column 'c': leave it out"):
        StoredTable([pd.DataFrame({"c": ["a", "b"]}), pd.DataFrame({"c": ["c", "d"]})])


def test_numbers_are_no_categories_in_files(tmp_path):
    with StoredTable(MIXED) as table:
        with pytest.raises(TypeError, match="must hold strings in a table in files, got numbers in column 'n'"):
            tiny(categorical_features=["n"]).fit(table)
        with pytest.raises(ValueError, match="columns of strings must be among categorical_features"):
            tiny(categorical_features=None).fit(table)
    with StoredTable(MIXED.assign(b="x")) as table, pytest.raises(ValueError, match="got categories in column 'b'"):
        tiny().fit(MIXED).transform(table)
    with pytest.raises(TypeError, match="must name no column of an array in a file, got column 1"):
        tiny(categorical_features=[1]).fit(StoredTable(npy(tmp_path, X)))


class Lazy:
    """Like a DataFrame of Dask."""

    def __iter__(self):
        return iter("ab")

    def to_parquet(self, path):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: np.zeros((3, 2)), "got ndarray"),
        (lambda: (part for part in [MIXED]), "got generator"),
        (lambda: 3, "got int"),
        (lambda: [np.zeros((3, 2))], "made of DataFrames, got ndarray"),
        (lambda: Lazy(), "in files, got Lazy: write it with to_parquet, and give the folder"),
    ],
)
def test_other_data_are_refused(data, message):
    with pytest.raises(TypeError, match=message):
        StoredTable(data())


@pytest.mark.parametrize("data", [[], [MIXED[:0]], MIXED[:0], MIXED[[]]])
def test_tables_without_cells_are_refused(data):
    with pytest.raises(ValueError, match="data must hold at least one row and one column"):
        StoredTable(data)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.asfortranarray(X), "must be in C order"),
        (X[0], r"a table of numbers, got shape \(15,\)"),
        (X.astype(str), "a table of numbers, got shape .* of <U"),
        (X.astype(complex), "of complex128"),
        (X[:0], r"at least one row and one column, got shape \(0, 15\)"),
        (X[:, :0], r"at least one row and one column, got shape \(4000, 0\)"),
    ],
)
def test_files_of_other_arrays_are_refused(tmp_path, array, message):
    with pytest.raises(ValueError, match=message):
        StoredTable(npy(tmp_path, array))


def test_only_whole_mapped_arrays_are_read(tmp_path):
    mapped = np.load(npy(tmp_path, X), mmap_mode="r+")
    for part in (mapped[5:], mapped[:, :4], mapped.T, mapped[::2], mapped.reshape(-1)):
        with pytest.raises(ValueError, match="data must be a whole mapped array"):
            StoredTable(part)
    with pytest.raises(ValueError, match="mapped with mode 'r' or 'r\\+', got 'c'"):
        StoredTable(np.load(tmp_path / "rows.npy", mmap_mode="c"))
    mapped[0, 0] = 7.0
    assert StoredTable(mapped)[:1][:][0, 0] == 7.0  # what was changed is written before


def test_files_that_are_missing_or_change_are_noticed(tmp_path):
    with pytest.raises(FileNotFoundError):
        StoredTable(tmp_path / "none.npy")
    with pytest.raises(FileNotFoundError):
        StoredTable(tmp_path / "none.parquet")
    for other in (X[:100], np.concatenate([X, X]), X.T, X + 1):
        table = StoredTable(npy(tmp_path, X))
        npy(tmp_path, np.ascontiguousarray(other))
        os.utime(tmp_path / "rows.npy")
        with pytest.raises(ValueError, match="must stay as it was when it was opened, got one that has changed"):
            tiny().fit(table)
    path = npy(tmp_path, X)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="the file must hold 4000 rows, as its head says, got fewer"):
        tiny().fit(StoredTable(path))


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_rows_that_can_not_be_read_again_are_not_written(tmp_path, ending):
    parts = iter([MIXED[["a", "b"]]])
    for data, n_rows in [(lambda: parts, 0), (iter([[MIXED], [MIXED[:9]]]).__next__, 9)]:
        with StoredTable(data) as table, pytest.raises(ValueError, match=f"the same rows .* got {n_rows} after 4000"):
            table.write(tmp_path / f"x.{ending}", lambda rows: rows[["b"]].to_numpy())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [0, -1, LEAST - 1, 1e9, "1GB", None, True])
def test_memory_limits_are_checked(limit):
    with pytest.raises(ValueError, match="memory_limit must be an int of at least"):
        StoredTable(MIXED, memory_limit=limit)


@pytest.mark.parametrize("path", ["rows.npy", "rows.csv"])
def test_a_path_is_no_table_but_the_way_is_named(tmp_path, path):
    for X_ in (path, tmp_path / path):
        with pytest.raises(TypeError, match="X must be an array or a DataFrame, got .*: read a file with StoredTable"):
            tiny().fit(X_)


@pytest.mark.parametrize("n_columns", [1, 7, 3000])
def test_rows_of_an_index_are_those_of_the_array(tmp_path, n_columns):
    array = RNG.normal(size=(500, n_columns))
    array.tofile(tmp_path / "rows")
    rows = FileOfRows(tmp_path / "rows", array.dtype, array.shape)
    indices = [
        slice(None), slice(5, 9), slice(490, 999), slice(9, 5), slice(None, None, 3), slice(-5, None),
        RNG.randint(0, 500, 700), RNG.permutation(500), np.array([-1, 0, -500, 3, 3]), RNG.uniform(size=500) < 0.1,
        np.array([], dtype=np.int64), [4, 2], SPAN // (8 * n_columns) + np.arange(-1, 1) if n_columns == 3000 else [1],
    ]  # fmt: skip
    for index in indices:
        np.testing.assert_array_equal(rows[index], array[index])
    for index in ([500], [-501], [0, 10**6]):
        with pytest.raises(IndexError, match="rows must be below 500, got"):
            rows[index]


def test_nothing_is_warned_of(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = StoredTable(np.load(npy(tmp_path, X), mmap_mode="r"), memory_limit=LEAST)
        tiny().fit(table).score(table)
        with StoredTable(MIXED, memory_limit=LEAST) as frames:
            tiny().fit(frames).score(frames)


PEAK = """
import sys
from pathlib import Path
from sklearn_ae import StoredTable
from tests.tables.tiny import tiny

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10

table = StoredTable(sys.argv[1], memory_limit=1 << 23)
model = tiny().fit(table[:300])
before = peak()
model.fit(table).transform(table)
table.write(sys.argv[2], model.impute)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_fit_takes_less_memory_than_the_table(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, (1_000_000, 100))
    for start in range(0, len(rows), 50_000):
        rows[start : start + 50_000] = RNG.normal(size=(50_000, 100))
    rows.flush()
    command = [sys.executable, "-c", PEAK, str(tmp_path / "rows.npy"), str(tmp_path / "filled.npy")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert int(done.stdout) < 0.8 * rows.nbytes  # in memory: more than twice the table
