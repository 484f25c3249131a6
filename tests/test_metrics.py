"""Measures of generated rows: known values, properties, kinds of tables, and bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from scipy.sparse import csr_matrix
from scipy.stats import ks_2samp
from sklearn.metrics import r2_score

from sklearn_ae.metrics import column_shapes, pair_trends, sample_report
from sklearn_ae.metrics.boosting import MAX_CATEGORIES, classifier_auc, prediction_score
from sklearn_ae.metrics.reading import Tables
from sklearn_ae.metrics.records import distance_to_closest, row_numbers, share_of_copies
from sklearn_ae.metrics.report import LEAST_QUERIES

NAN = np.nan


def table(n, seed):
    """Draw rows of numbers, integers, truth values, categories and strings that depend on one another, with gaps."""
    random = np.random.RandomState(seed)
    z = random.normal(size=n)
    kind = np.where(z + random.normal(size=n) > 0, "house", "flat").astype(object)
    kind[random.uniform(size=n) < 0.1] = None
    size = np.where(random.uniform(size=n) < 0.1, NAN, 100 * np.exp(z))
    return pd.DataFrame(
        {
            "size": size,
            "rooms": np.rint(3 + z).astype(int),
            "garden": z + 0.5 * random.normal(size=n) > 0,
            "kind": pd.Categorical(kind),
            "city": random.choice(["Bern", "Oslo", "Rome"], n),
        }
    )


REAL, HOLDOUT, OTHER = table(300, 0), table(200, 1), table(250, 2)


def shape(real, samples, **options):
    return column_shapes(pd.DataFrame({"a": real}), pd.DataFrame({"a": samples}), **options)["score"]["a"]


def trend(real, samples, **options):
    return pair_trends(pd.DataFrame(real), pd.DataFrame(samples), **options).iloc[0, 1]


# Similarity of columns


@pytest.mark.parametrize(
    ("real", "samples", "score"),
    [
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], 1),
        ([1.0, 2.0, 3.0, 4.0], [3.0, 4.0], 0.5),  # below 3: 1/2 and 0
        ([1.0, 2.0], [3.0, 4.0, 5.0], 0),
        ([1.0, NAN, 2.0, NAN], [2.0, 1.0], 1),  # missing cells are left out
        ([0.3, 0.6], [0.1 + 0.2, 0.6], 1),  # rounding errors are no difference
        ([3e-20, 6e-20], [9e-20, 9e-20], 0),  # in any unit
        ([7, 7, 7], [7, 7], 1),
        ([7, 7, 7], [8, 7], 0.5),
        (["a", "a", "b", "b"], ["a", "b", "b", "b"], 0.75),
        (["a", "a", "b", "c"], ["d", "b", "b", "b"], 0.25),  # a category that real rows do not have
        (["a", None, "b"], ["b", "a", None], 1),
        ([True, True, False, False], [True, False, False, False], 0.75),
        ([True, False], [1, 0], 1),  # a generator without truth values
    ],
)
def test_a_column_is_as_similar_as_worked_out_by_hand(real, samples, score):
    assert shape(real, samples) == pytest.approx(score)


def test_numbers_are_as_similar_as_the_kolmogorov_smirnov_test_says():
    real, samples = np.random.RandomState(0).gamma(2, size=80).round(1), np.random.RandomState(1).gamma(3, size=50)
    assert shape(real, samples) == pytest.approx(1 - ks_2samp(real, samples).statistic)


def test_numbers_are_categories_if_they_are_named():
    assert shape([1, 2, 3, 4], [2, 1, 3, 3]) == 0.75
    assert shape([1, 2, 3, 4], [9, 9, 9, 1]) == 0.25
    assert shape([1, 2, 3, 4], [9, 9, 9, 1], categorical_features=["a"]) == 0.25
    assert shape([1, 2, 3, 4], [4, 4, 4, 1]) == 0.5
    assert shape([1, 2, 3, 9], [9, 1, 1, 1], categorical_features=["a"]) == 0.5


def test_a_column_without_a_known_cell_has_no_score():
    scores = column_shapes(pd.DataFrame({"a": [NAN, NAN], "b": [1.0, 2]}), pd.DataFrame({"a": [1.0, 2], "b": [1.0, 2]}))
    assert np.isnan(scores["score"]["a"])
    assert scores["score"]["b"] == 1
    assert scores["missing"].tolist() == [0, 1]


def test_the_share_of_missing_cells_is_compared():
    real = pd.DataFrame({"a": [1.0, NAN, NAN, 2.0], "b": ["x", "y", None, "x"]})
    samples = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    assert column_shapes(real, samples)["missing"].tolist() == [0.5, 0.75]


# Similarity of pairs


def test_two_numbers_are_compared_by_their_correlation():
    x = [1.0, 2.0, 3.0, 4.0]
    assert trend({"a": x, "b": x}, {"a": x, "b": x}) == pytest.approx(1)
    assert trend({"a": x, "b": x}, {"a": x, "b": x[::-1]}) == pytest.approx(0)
    # Correlations 0.8 and 0.4
    assert trend({"a": x, "b": [1.0, 2, 4, 3]}, {"a": x, "b": [2.0, 1, 4, 2]}) == pytest.approx(
        1 - abs(0.8 - np.corrcoef(x, [2, 1, 4, 2])[0, 1]) / 2
    )


def test_correlations_are_those_of_rows_in_which_both_are_known():
    real = {"a": [1.0, 2, 3, 4, NAN, 9], "b": [1.0, 2, 4, 3, 100, NAN]}
    assert trend(real, {"a": [1.0, 2, 3, 4], "b": [1.0, 2, 4, 3]}) == pytest.approx(1)


def test_correlation_with_a_constant_has_no_score():
    assert np.isnan(trend({"a": [1.0, 2, 3], "b": [5.0, 5, 5]}, {"a": [1.0, 2, 3], "b": [1.0, 2, 3]}))
    assert np.isnan(trend({"a": [1.0, 2, 3], "b": [1.0, 2, 3]}, {"a": [1.0, 2, 3], "b": [0.1, 0.1, 0.1]}))


def test_two_categories_are_compared_by_their_contingency_table():
    real = {"a": ["x", "x", "y", "y"], "b": [True, True, False, False]}
    assert trend(real, {"a": ["x", "y"], "b": [True, False]}) == pytest.approx(1)
    assert trend(real, {"a": ["x", "y"], "b": [False, True]}) == pytest.approx(0)
    assert trend(real, {"a": ["x", "x", "y", "y"], "b": [True, False, True, False]}) == pytest.approx(0.5)
    assert trend(real, {"a": ["x", "z"], "b": [True, False]}) == pytest.approx(0.5)


def test_a_missing_cell_is_a_category_of_its_own_in_pairs():
    real = {"a": ["x", None, "y", None], "b": ["u", "u", None, None]}
    assert trend(real, real) == 1
    assert trend(real, {"a": ["x", "x", "y", "y"], "b": ["u", "u", None, None]}) == pytest.approx(0.5)


def test_numbers_beside_categories_are_in_ten_bins_of_the_range_of_real_rows():
    real = {"a": [0.0, 1.0, 9.5, 10.0], "b": ["x"] * 4}  # bins 1, 2, 10, 10
    assert trend(real, {"a": [0.9, 1.9, 9.0, 9.1], "b": ["x"] * 4}) == pytest.approx(1)
    assert trend(real, {"a": [-50.0, 1.0, 9.5, 99.0], "b": ["x"] * 4}) == pytest.approx(1)  # outer bins are open
    assert trend(real, {"a": [0.9, 2.0, 9.5, 8.9], "b": ["x"] * 4}) == pytest.approx(0.5)
    assert trend(real, {"a": [0.0, NAN, 10.0, 10.0], "b": ["x"] * 4}) == pytest.approx(0.75)
    assert trend(real, {"a": [1000.0] * 4, "b": ["x"] * 4}) == pytest.approx(0.5)


def test_a_constant_number_beside_a_category_has_a_bin():
    real = {"a": [3.0, 3.0], "b": ["x", "y"]}
    assert trend(real, real) == 1
    assert trend(real, {"a": [3.01, 2.99], "b": ["x", "y"]}) == pytest.approx(0.5)  # the edge is at the constant
    assert trend(real, {"a": [4.0, 4.0], "b": ["x", "y"]}) == pytest.approx(0)


def test_pairs_are_symmetric_and_named():
    scores = pair_trends(REAL, OTHER)
    assert list(scores.index) == list(scores.columns) == list(REAL.columns)
    assert np.isnan(np.diag(scores)).all()
    assert_allclose(scores, scores.T)
    assert ((scores.fillna(0) >= 0) & (scores.fillna(0) <= 1)).to_numpy().all()


# Records


def test_rows_are_equal_if_all_cells_are():
    first = np.array([[1.0, NAN], [1.0, 2.0], [-0.0, 1.0]])
    second = np.array([[0.0, 1.0], [1.0, NAN], [2.0, 1.0], [NAN, 1.0]])
    one, other = row_numbers([first, second])
    assert np.isin(one, other).tolist() == [True, False, True]
    assert np.isin(other, one).tolist() == [True, True, False, False]
    assert share_of_copies(second, first) == 0.5


def test_the_distance_to_the_closest_record_is_as_worked_out_by_hand():
    training = np.array([[-1.0, 0, 5.0], [1.0, 1, 5.0]])  # a number of variance 1, a category, a constant
    discrete = np.array([False, True, False])

    def distance(*row):
        return distance_to_closest(np.array([row]), training, discrete)

    assert distance(-1.0, 0, 5.0) == 0
    assert distance(2.0, 1, 5.0) == pytest.approx(1)
    assert distance(1.0, 7, 5.0) == pytest.approx(np.sqrt(2))  # another category
    assert distance(-1.0, 1, 5.0) == pytest.approx(np.sqrt(2))
    assert distance(NAN, 1, 5.0) == pytest.approx(np.sqrt(2))  # the mean, and the indicator
    assert distance(1.0, NAN, 5.0) == pytest.approx(np.sqrt(2))
    assert distance(1.0, 1, 8.0) == pytest.approx(3)
    rows = np.array([[-1.0, 0, 5.0], [2.0, 1, 5.0], [9.0, 1, 5.0]])
    assert distance_to_closest(rows, training, discrete) == pytest.approx(1)  # the median


def test_the_distance_does_not_depend_on_the_units_or_on_blocks(monkeypatch):
    cells = Tables.read({"real": REAL, "rows": OTHER})
    args = cells.cells["rows"], cells.cells["real"], cells.discrete
    whole = distance_to_closest(*args)
    monkeypatch.setattr("sklearn_ae.metrics.records.MEMORY", 0.01)
    assert distance_to_closest(*args) == pytest.approx(whole)
    scale = np.where(cells.discrete, 1, 1000)
    assert distance_to_closest(scale * args[0], scale * args[1], cells.discrete) == pytest.approx(whole)


def test_tables_of_categories_alone_have_distances():
    rows = np.array([[0.0, 1.0], [1.0, 1.0]])
    assert distance_to_closest(rows[:1], rows[1:], np.array([True, True])) == pytest.approx(np.sqrt(2))


# Boosting


def test_a_classifier_finds_rows_that_differ_and_no_others():
    random = np.random.RandomState(0)
    real, alike, noisy = random.normal(size=(3, 300, 2))
    real[:, 1] = real[:, 0] + 0.2 * real[:, 1]
    alike[:, 1] = alike[:, 0] + 0.2 * alike[:, 1]
    numbers = np.array([False, False])
    assert classifier_auc(real, alike, numbers, 0) == pytest.approx(0.5, abs=0.08)
    assert classifier_auc(real, noisy, numbers, 0) > 0.85


def test_codes_of_categories_do_not_tell_of_which_table_a_row_is():
    names = np.arange(2000).astype(str)[:, None]  # boosting has the first 254 codes, and one for all others
    cells = Tables.read({"real": names[:1000], "samples": names[1000:]}, [0]).cells
    assert (cells["real"] < 254).mean() == pytest.approx((cells["samples"] < 254).mean(), abs=0.05)


def test_frequent_categories_have_the_first_codes():
    cells = Tables.read(
        {"real": np.array([["b"], ["a"], ["b"]]), "samples": np.array([["c"], ["c"], ["c"]])}, [0]
    ).cells
    assert cells["real"].tolist() == [[1], [2], [1]]
    assert cells["samples"].tolist() == [[0], [0], [0]]


def test_boosting_learns_a_number_and_categories_from_rows():
    random = np.random.RandomState(0)
    x, kind = random.normal(size=400), random.randint(0, 3, 400).astype(float)
    rows = np.column_stack([x, kind, x + kind, (x > 0).astype(float)])
    discrete = np.array([False, True, False, True])
    train, test = rows[:300], rows[300:]
    assert prediction_score(train, test, discrete, 2, 0) > 0.9
    assert prediction_score(train, test, discrete, 3, 0) > 0.99
    shuffled = np.column_stack([train[:, :2], *map(random.permutation, train[:, 2:].T)])
    assert prediction_score(shuffled, test, discrete, 2, 0) < 0.2
    assert prediction_score(shuffled, test, discrete, 3, 0) == pytest.approx(0.5, abs=0.15)


def test_a_class_that_the_samples_lack_counts_as_not_recognised():
    x = np.linspace(-1, 1, 300)
    test = np.column_stack([x, np.digitize(x, [-0.3, 0.3])])
    train = test[test[:, 1] < 2]
    # Classes 0 and 1 against the others, and 0.5 for class 2
    score = prediction_score(train, test, np.array([False, True]), 1, 0)
    assert 0.5 < score < 1
    one_class = test[test[:, 1] == 0]
    assert prediction_score(one_class, test, np.array([False, True]), 1, 0) == 0.5
    assert np.isnan(prediction_score(train, one_class, np.array([False, True]), 1, 0))


def test_rows_without_a_target_are_left_out():
    random = np.random.RandomState(0)
    rows = random.normal(size=(200, 2))
    rows[:, 1] += rows[:, 0]
    gaps = np.vstack([rows, np.column_stack([random.normal(size=50), np.full(50, NAN)])])
    numbers = np.array([False, False])
    whole = prediction_score(rows, rows, numbers, 1, 0)
    assert prediction_score(gaps, gaps, numbers, 1, 0) == pytest.approx(whole)
    assert np.isnan(prediction_score(gaps[200:], rows, numbers, 1, 0))


def test_more_categories_than_boosting_allows_are_grouped():
    n = 2 * MAX_CATEGORIES
    names = np.concatenate([np.arange(n), np.zeros(200), np.ones(200)]).astype(str)
    real = pd.DataFrame({"name": names, "x": (names == "0.0").astype(float)})
    report = sample_report(real, real, real, target="x", random_state=0)
    assert report["samples"]["boosting_r2"] > 0.9


# The report


@pytest.fixture(scope="module")
def report():
    return sample_report(REAL, OTHER, HOLDOUT, target="kind", random_state=0)


MEASURES = [
    "column_shapes",
    "pair_trends",
    "missing_cells",
    "classifier_auc",
    "boosting_auc",
    "closest_record",
    "copies",
]


def test_a_report_has_a_row_for_each_measure(report):
    assert list(report.index) == MEASURES
    assert list(report.columns) == ["samples", "holdout", "ideal"]
    assert report.notna().to_numpy().all()
    assert report["ideal"].tolist() == [1, 1, 1, 0.5, 1, 1, 0]


def test_rows_of_the_same_distribution_score_as_holdout_rows(report):
    assert_allclose(report["samples"], report["holdout"], atol=0.2)
    assert report["samples"]["classifier_auc"] == pytest.approx(0.5, abs=0.1)


def test_the_report_has_the_means_of_the_scores_by_column_and_pair(report):
    by_column = column_shapes(REAL, OTHER)
    assert report["samples"]["column_shapes"] == pytest.approx(by_column["score"].mean())
    assert report["samples"]["missing_cells"] == pytest.approx(by_column["missing"].mean())
    assert report["samples"]["pair_trends"] == pytest.approx(np.nanmean(pair_trends(REAL, OTHER)))


def test_copies_are_recognised():
    scores = sample_report(REAL, REAL, HOLDOUT, target="kind", random_state=0)
    assert scores["samples"][["column_shapes", "pair_trends", "missing_cells", "copies"]].tolist() == [1, 1, 1, 1]
    assert scores["samples"]["classifier_auc"] == pytest.approx(0.5, abs=0.1)
    assert scores["samples"]["closest_record"] == 0
    assert scores["holdout"]["closest_record"] == 1
    assert scores["holdout"]["copies"] < 0.3
    assert scores["samples"]["boosting_auc"] == scores["holdout"]["boosting_auc"]


def test_columns_that_are_drawn_one_by_one_are_recognised():
    random = np.random.RandomState(0)
    samples = REAL.apply(lambda column: column.sample(len(column), random_state=random).to_numpy())
    samples = samples.astype(REAL.dtypes.to_dict())
    found = sample_report(REAL, samples, HOLDOUT, target="size", random_state=0)
    assert found["samples"]["column_shapes"] == 1
    assert found["samples"]["pair_trends"] < found["holdout"]["pair_trends"] - 0.05
    assert found["samples"]["classifier_auc"] > 0.75
    assert found["samples"]["boosting_r2"] < 0.2 < found["holdout"]["boosting_r2"]
    assert found["samples"]["closest_record"] > 1.2


def test_without_holdout_the_measures_that_need_it_are_left_out():
    found = sample_report(REAL, OTHER, random_state=0)
    assert list(found.index) == ["column_shapes", "pair_trends", "missing_cells", "classifier_auc", "copies"]
    assert list(found.columns) == ["samples", "ideal"]


def test_the_target_decides_how_boosting_is_scored():
    def measure(target, **options):
        return sample_report(REAL, OTHER, HOLDOUT, target=target, max_rows=10, random_state=0, **options).index[4]

    assert measure("size") == measure(1) == "boosting_r2"
    assert measure("garden") == measure(3) == "boosting_auc"
    assert measure("rooms", categorical_features=["rooms", "kind", "city"]) == "boosting_auc"


def test_a_report_depends_on_the_seed_alone():
    np.random.seed(0)  # noqa: NPY002 - the global state must not be used
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    options = {"target": "size", "max_rows": 50}
    first, again, other = (sample_report(REAL, OTHER, HOLDOUT, random_state=seed, **options) for seed in (0, 0, 1))
    assert_frame_equal(first, again)
    assert (first != other).to_numpy().any()
    assert_frame_equal(first, sample_report(REAL, OTHER, HOLDOUT, random_state=np.random.RandomState(0), **options))
    sample_report(REAL, OTHER, max_rows=50)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_of_large_tables_rows_are_drawn(monkeypatch):
    seen = {}

    def closest(rows, training, discrete):
        seen.setdefault("closest", []).append((len(rows), len(training)))
        return 1.0

    def auc(real, samples, discrete, seed):
        seen.setdefault("auc", []).append((len(real), len(samples)))
        return 0.5

    monkeypatch.setattr("sklearn_ae.metrics.report.distance_to_closest", closest)
    monkeypatch.setattr("sklearn_ae.metrics.report.classifier_auc", auc)
    real, holdout, samples = table(1000, 0), table(500, 1), table(900, 2)
    found = sample_report(real, real, holdout, max_rows=400, random_state=0)
    assert found["samples"]["copies"] == 1  # of all rows
    assert seen["auc"] == [(400, 400), (400, 400)]
    assert set(seen["closest"]) == {(160, 1000)}
    seen.clear()
    sample_report(real, samples, holdout, max_rows=50, random_state=0)
    assert set(seen["closest"]) == {(LEAST_QUERIES, 1000)}
    assert seen["auc"] == [(50, 50), (50, 50)]


# Kinds of tables


def test_tables_are_not_changed():
    tables = [REAL.copy(), OTHER.copy(), HOLDOUT.copy()]
    arrays = [frame[["size", "rooms"]].to_numpy() for frame in tables]
    kept = [array.copy() for array in arrays]
    sample_report(*tables, target="size", random_state=0, max_rows=20)
    sample_report(*arrays, target=0, random_state=0, max_rows=20)
    for frame, original in zip(tables, (REAL, OTHER, HOLDOUT), strict=True):
        assert_frame_equal(frame, original)
    for array, original in zip(arrays, kept, strict=True):
        assert_allclose(array, original)


def in_polars(frame):
    return pl.DataFrame(
        {name: pl.Series(frame[name].astype(object).where(frame[name].notna(), None).tolist()) for name in frame}
    )


def in_objects(frame):
    return frame.astype(object).to_numpy()


def nullable(frame):
    return frame.convert_dtypes()


@pytest.mark.parametrize("convert", [in_polars, in_objects, nullable])
@pytest.mark.parametrize("which", ["all", "samples"])
def test_containers_have_equal_cells(convert, which):
    def read(*tables):
        return Tables.read(dict(zip(("real", "samples", "holdout"), tables, strict=True)), [2, 3, 4])

    expected = read(REAL, OTHER, HOLDOUT)
    found = read(
        *(convert(rows) if which == "all" or i == 1 else rows for i, rows in enumerate((REAL, OTHER, HOLDOUT)))
    )
    assert found.discrete.tolist() == expected.discrete.tolist()
    for name, cells in expected.cells.items():
        assert_allclose(found.cells[name], cells)


def test_frames_of_polars_have_a_report(report):
    tables = map(in_polars, (REAL, OTHER, HOLDOUT))
    assert_frame_equal(sample_report(*tables, target="kind", random_state=0), report)


def test_sparse_matrices_lists_and_masked_arrays_are_tables():
    real, samples = np.random.RandomState(0).poisson(1, size=(2, 60, 3)).astype(float)
    expected = column_shapes(real, samples)
    for convert in (csr_matrix, np.ndarray.tolist, np.float32):
        assert_frame_equal(column_shapes(convert(real), convert(samples)), expected)
    masked = np.ma.MaskedArray(samples, samples == 0)
    assert_frame_equal(column_shapes(real, masked), column_shapes(real, np.where(samples == 0, NAN, samples)))


def test_categories_of_another_dtype_are_the_same_categories():
    real = pd.DataFrame({"a": pd.Categorical(["x", "y", "x", None], categories=["z", "y", "x"])})
    for dtype in (object, "string", pd.CategoricalDtype(["x", "y"])):
        assert column_shapes(real, real.astype(dtype))["score"]["a"] == 1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_tables_of_a_few_rows_and_one_column_have_a_report(n):
    found = (
        sample_report(np.arange(n), np.arange(n), random_state=0)
        if n < 0
        else sample_report(
            np.arange(n)[:, None], np.arange(n)[:, None], np.arange(n)[:, None], target=0, random_state=0
        )
    )
    assert found["samples"]["column_shapes"] == 1
    assert np.isnan(found["samples"]["pair_trends"])
    assert found["samples"]["copies"] == 1
    assert found["samples"]["closest_record"] == 1  # both distances are 0


def test_constant_columns_and_columns_of_missing_cells_are_left_out():
    def with_constants(frame):
        return frame.assign(constant=1.0, word="same", empty=NAN, nothing=None)

    plain = sample_report(REAL, OTHER, HOLDOUT, target="size", random_state=0)
    found = sample_report(*map(with_constants, (REAL, OTHER, HOLDOUT)), target="size", random_state=0)
    assert found.notna().to_numpy().all()
    same = ["classifier_auc", "boosting_r2", "closest_record", "copies"]
    assert_allclose(found.loc[same], plain.loc[same], atol=0.05)


def test_samples_farther_than_holdout_rows_at_distance_0_are_infinitely_far():
    real = np.array([[0.0], [1.0]])
    assert sample_report(real, real + 5, real, random_state=0)["samples"]["closest_record"] == np.inf


@pytest.mark.parametrize("outlier", [1e30, 1e99])
def test_samples_far_away_are_scored(outlier):
    samples = OTHER.copy()
    samples.loc[1, "size"] = outlier
    found = sample_report(REAL, samples, HOLDOUT, target="size", random_state=0)
    assert found["samples"].notna().all()
    assert found["samples"]["boosting_r2"] < found["holdout"]["boosting_r2"]


# Bad input

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
BAD = {
    "other columns": (
        FRAME,
        FRAME.rename(columns={"b": "c"}),
        r"samples must have the columns of real .*\['a', 'b'\], got \['a', 'c'\]",
    ),
    "another order": (FRAME, FRAME[["b", "a"]], r"samples must have the columns of real in their order"),
    "fewer columns": (FRAME.to_numpy(), FRAME[["a"]].to_numpy(), "samples must have as many columns as real, 2, got 1"),
    "a frame and fewer columns": (
        FRAME,
        FRAME[["a"]].to_numpy(),
        "samples must have as many columns as real, 2, got 1",
    ),
    "no rows": (FRAME, FRAME[:0], r"samples must have rows and columns, got shape \(0, 2\)"),
    "no rows in an array": (np.ones((2, 2)), np.ones((0, 2)), r"samples must be .* got: .*0 sample"),
    "one dimension": (
        np.ones((2, 2)),
        np.ones(2),
        "samples must be a DataFrame or an array of rows and columns, got: ",
    ),
    "nothing": (None, FRAME, "real must be a DataFrame or an array of rows and columns, got: "),
    "words for numbers": (FRAME, FRAME.assign(a=["x", "y"]), "samples must hold numbers in column 'a', got 'x'"),
    "words in an array": (
        np.array([[1.0], ["x"]], object),
        np.ones((2, 1)),
        "real must hold numbers in column 0, got: .*'x'",
    ),
    "infinity": (
        FRAME,
        FRAME.assign(a=[1.0, np.inf]),
        "samples must hold numbers .* up to 1e.100, got inf in column 'a'",
    ),
    "huge numbers": (
        FRAME.assign(a=[-1e200, 1]),
        FRAME,
        "real must hold numbers .* up to 1e.100, got 1e.200 in column 'a'",
    ),
    "times": (FRAME, FRAME.assign(a=pd.to_datetime(["2020", "2021"])), "got times .* in column 'a'"),
    "times in an array": (np.ones((2, 1)), np.array([[1]], "M8[D]"), "samples must hold numbers, got times"),
    "lazy": (FRAME, pl.DataFrame({"a": [1]}).lazy(), "samples must be an array or a DataFrame, got LazyFrame"),
}


@pytest.mark.parametrize("measure", [sample_report, column_shapes, pair_trends])
@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused(measure, case):
    real, samples, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        measure(real, samples)


def test_a_bad_holdout_is_named():
    with pytest.raises(ValueError, match="holdout must have the columns of real"):
        sample_report(FRAME, FRAME, FRAME.rename(columns={"a": "c"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "c"}, r"target must be the name or the position of a column, got 'c' among \['a', 'b'\]"),
        ({"target": 2}, "target must be the name or the position of a column, got 2"),
        ({"target": -1}, "target must be .* got -1"),
        ({"target": True}, "target must be .* got True"),
        ({"target": "a", "holdout": None}, "target must be None without holdout, got 'a'"),
        ({"max_rows": 0}, "max_rows must be an int in the range .* got 0"),
        ({"max_rows": 2.5}, "max_rows must be .* got 2.5"),
        ({"random_state": "seed"}, "random_state must be .* got 'seed'"),
        ({"categorical_features": ["c"]}, r"categorical_features must be names or positions .*\['c'\]"),
        (
            {"categorical_features": None},
            "real must hold numbers in column 'b', got 'x': name the column in categorical_features",
        ),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sample_report(FRAME, FRAME, **({"holdout": FRAME} | options))


def test_r2_is_that_of_scikit_learn():
    rows = np.random.RandomState(0).normal(size=(30, 2))  # too few rows for a split: the mean is predicted
    expected = r2_score(rows[:, 1], np.full(30, rows[:10, 1].mean()))
    assert prediction_score(rows[:10], rows, np.array([False, False]), 1, 0) == pytest.approx(expected)
