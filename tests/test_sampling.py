"""Generated rows: their distribution, on condition as well, their missing cells, and tables of all kinds."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import ks_2samp

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.model.row_sampler import Known
from tests.families import FAMILIES, families, tiny
from tests.test_bad_input import check_refused, fitted

RNG = np.random.RandomState(0)
N = 1000
GROUP = RNG.choice(["a", "b"], p=[0.3, 0.7], size=N)
FIRST = np.where(GROUP == "a", 2.0, -1.0) + RNG.normal(size=N)
SECOND = 0.8 * FIRST + 0.6 * RNG.normal(size=N)
THIRD = np.where(RNG.uniform(size=N) < np.where(GROUP == "a", 0.5, 0.05), np.nan, SECOND + RNG.normal(size=N))
TABLE = pd.DataFrame({"c": GROUP, "x": FIRST, "y": SECOND, "k": RNG.poisson(3, N), "g": THIRD})
TABLE["h"] = np.where(np.isnan(THIRD), np.nan, RNG.lognormal(0, 1.5, size=N))  # missing where g is
KINDS = pd.DataFrame(
    {
        "double": RNG.normal(size=90),
        "single": RNG.normal(size=90).astype(np.float32),
        "int": RNG.randint(0, 9, 90),
        "byte": RNG.randint(0, 9, 90).astype(np.int8),
        "word": RNG.choice(["u", "v"], 90),
        "flag": RNG.uniform(size=90) < 0.5,
        "category": pd.Categorical(RNG.choice(["l", "m"], 90), categories=["m", "l"]),
    }
)
LIBRARIES = {"pandas": KINDS, "polars": pl.from_pandas(KINDS)}
libraries = pytest.mark.parametrize("table", LIBRARIES.values(), ids=LIBRARIES)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return request.param(3, hidden_layer_sizes=(64,), max_iter=50, random_state=0).fit(TABLE)


@pytest.fixture(scope="module")
def small():
    return {name: tiny().fit(table) for name, table in LIBRARIES.items()}


def dtypes(table):
    return list(table.dtypes)


# Distributions


def test_columns_have_the_distributions_of_the_training_rows(model):
    rows = model.sample(4000, random_state=0)
    for name in "xykgh":
        assert ks_2samp(rows[name], TABLE[name].dropna()).statistic < 0.06
        assert rows[name].std() == pytest.approx(TABLE[name].std(), rel=0.12 if name != "h" else 0.3)
    assert (rows["c"] == "a").mean() == pytest.approx(0.3, abs=0.05)
    assert set(rows["k"]) <= set(TABLE["k"])


def test_columns_keep_their_correlation_and_their_groups(model):
    rows = model.sample(4000, random_state=0)
    for pair in (["x", "y"], ["x", "g"], ["y", "g"], ["x", "k"]):
        assert rows[pair].corr().iloc[0, 1] == pytest.approx(TABLE[pair].corr().iloc[0, 1], abs=0.08)
    assert rows["x"][rows["c"] == "a"].mean() == pytest.approx(2, abs=0.3)
    assert rows["x"][rows["c"] == "b"].std() == pytest.approx(1, abs=0.25)


def test_rows_given_a_category_have_its_mean_and_spread(model):
    rows = model.sample(1000, random_state=0, given={"c": "a"})
    assert (rows["c"] == "a").all()
    assert rows["x"].mean() == pytest.approx(2, abs=0.3)  # a short variational fit blurs the groups
    assert rows["x"].std() == pytest.approx(1, rel=0.35)
    assert rows["y"].mean() == pytest.approx(1.6, abs=0.25)


def test_rows_given_a_number_have_the_conditional_mean_spread_and_shares(model):
    for value, share in ((2.0, 0.975), (-1.0, 0.005)):
        rows = model.sample(300, random_state=0, given={"x": value})
        assert (rows["x"] == value).all()
        assert rows["y"].mean() == pytest.approx(0.8 * value, abs=0.25)
        assert rows["y"].std() == pytest.approx(0.6, rel=0.2)
        assert (rows["c"] == "a").mean() == pytest.approx(share, abs=0.25)


def test_each_row_is_drawn_given_its_own_cells(model):
    given = TABLE[["x", "k"]][79::-1]
    rows = model.sample(80, random_state=0, given=given)
    pd.testing.assert_frame_equal(rows[["x", "k"]], given)
    assert (rows["y"] - 0.8 * given["x"]).std() == pytest.approx(0.6, rel=0.25)


@families
def test_rows_of_which_all_cells_but_one_are_known_are_near_them(family):
    random = np.random.RandomState(0)
    loadings, noise = random.normal(size=(6, 15)) / np.sqrt(6), 0.1
    rows, others = (random.normal(size=(n, 6)) @ loadings + noise * random.normal(size=(n, 15)) for n in (600, 30))
    estimator = family(6, hidden_layer_sizes=(64,), max_iter=40, random_state=0).fit(rows)
    drawn = estimator.sample(30, 0, given=np.where(np.arange(15) == 0, np.nan, others))
    np.testing.assert_array_equal(drawn[:, 1:], others[:, 1:])
    assert np.square(drawn[:, 0] - others[:, 0]).mean() < 0.5 * others[:, 0].var()


@families
def test_rows_of_a_value_have_the_conditional_mean(family):
    random = np.random.RandomState(0)
    rows = random.normal(size=(500, 2))
    values = 2 * rows[:, 0] + 0.5 * random.normal(size=500)
    estimator = family(2, hidden_layer_sizes=(32,), max_iter=60, task="regression", random_state=0).fit(rows, values)
    drawn = estimator.sample(300, 0, y=2.0)
    assert drawn[:, 0].mean() == pytest.approx(2 * 2 / 4.25, abs=0.35)
    assert drawn[:, 0].std() < 0.45  # the conditional standard deviation is 0.24
    assert drawn[:, 1].std() == pytest.approx(1, abs=0.15)
    both = estimator.sample(60, 0, y=np.tile([-2.0, 2.0], 30))
    assert both[::2, 0].mean() < -0.7
    assert both[1::2, 0].mean() > 0.7
    for far in (1e9, 1e300):
        assert estimator.sample(20, 0, y=far)[:, 0].mean() > 1.8


@families
def test_a_cell_far_outside_conditions_like_the_largest(family):
    estimator = family(2, hidden_layer_sizes=(32,), max_iter=40, random_state=0).fit(TABLE[["x", "y"]][:300])
    for far in (1e3, 1e308):
        rows = estimator.sample(20, 0, given={"x": far})
        assert (rows["x"] == far).all()
        assert 2.5 < rows["y"].mean() <= SECOND.max()


def test_known_numbers_are_encoded_at_their_level_among_generated_ones(model):
    generation, n = model.model_.sampler, 3
    levels = np.tile([[0.05], [0.5], [0.95]], generation.n_scaled)
    values = generation.encoding.quantiles.at(levels)
    cells = np.column_stack([values, np.full((n, 6 - generation.n_scaled), np.nan)])
    known = generation._encoded(Known(cells)).x[:, : generation.n_scaled].numpy()
    wanted = generation.encoding.quantiles.levels_of(values)
    np.testing.assert_allclose(generation.quantiles.levels_of(known), wanted, atol=0.01)


# Missing cells


def test_missing_cells_have_the_shares_of_the_training_rows_and_occur_together(model):
    rows = model.sample(3000, random_state=0, missing=True)
    assert rows["g"].isna().mean() == pytest.approx(TABLE["g"].isna().mean(), abs=0.05)
    of_group = TABLE["g"].isna()[TABLE["c"] == "a"].mean()
    assert rows["g"].isna()[rows["c"] == "a"].mean() == pytest.approx(of_group, abs=0.2)
    assert (rows["g"].isna() == rows["h"].isna()).all()
    assert rows.drop(columns=["g", "h"]).notna().all(axis=None)
    assert model.sample(300, random_state=0).notna().all(axis=None)
    assert dtypes(rows) == dtypes(TABLE)


@pytest.mark.parametrize("library", [pd, pl])
def test_known_cells_are_never_missing(library):
    table = TABLE[:200] if library is pd else pl.from_pandas(TABLE[:200])
    estimator = tiny().fit(table)
    rows = estimator.sample(50, 0, given={"g": 1.5, "c": "a"}, missing=True)
    assert set(rows["g"]) == {1.5}
    assert set(rows["c"]) == {"a"}
    assert rows["h"].isna().any() if library is pd else rows["h"].is_null().any()
    assert dtypes(rows) == dtypes(table)


def test_tables_without_missing_cells_stay_complete():
    rows = tiny().fit(KINDS).sample(50, 0, missing=True)
    assert rows.notna().all(axis=None)


# Kinds of tables

GIVEN = {
    "a double": {"double": 0.1},
    "a single": {"single": 1.5},
    "an int": {"int": 300},
    "a byte": {"byte": 7},
    "a word": {"word": "u"},
    "a flag": {"flag": True},
    "a category": {"category": "l"},
    "all but one": {"double": 0.1, "int": 3, "byte": 1, "word": "v", "flag": False, "category": "m"},
    "some rows": {"int": [1, None, 2], "word": [None, "u", None], "flag": [True, None, False]},
}


@libraries
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_rows_on_condition_have_the_known_cells_and_the_dtypes_of_the_training_rows(small, table, given):
    rows = small["pandas" if table is KINDS else "polars"].sample(3, random_state=0, given=given)
    assert isinstance(rows, type(table))
    assert dtypes(rows) == dtypes(table)
    for name, wanted in given.items():
        found = rows[name].to_list()
        for cell, known in zip(found, wanted if isinstance(wanted, list) else 3 * [wanted], strict=True):
            assert cell == known if known is not None else cell is not None


@libraries
@pytest.mark.parametrize(
    "given", [{"byte": 700}, {"byte": [700, None, -700]}, {"int": 2.5}, {"single": 0.1}, {"int": [2.5, None, 1.5]}]
)
def test_a_column_that_cannot_hold_known_cells_has_a_wider_dtype(small, table, given):
    rows = small["pandas" if table is KINDS else "polars"].sample(3, random_state=0, given=given)
    ((name, wanted),) = given.items()
    known = wanted if isinstance(wanted, list) else 3 * [wanted]
    assert [cell for cell, own in zip(rows[name].to_list(), known, strict=True) if own is not None] == [
        own for own in known if own is not None
    ]
    assert dtypes(rows.drop(columns=name) if table is KINDS else rows.drop(name)) == dtypes(
        table.drop(columns=name) if table is KINDS else table.drop(name)
    )


@libraries
@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_are_a_table_of_the_kind_of_the_fit(small, table, library):
    given = table[["int", "category"]][:3]
    rows = small[library].sample(3, random_state=0, given=given, missing=True)
    assert dtypes(rows) == dtypes(LIBRARIES[library])
    assert rows["category"].to_list() == given["category"].to_list()


def test_the_row_index_of_known_rows_stays(small):
    given = KINDS[["int"]][40:43]
    rows = small["pandas"].sample(3, random_state=0, given=given)
    assert list(rows.index) == [40, 41, 42]
    pd.testing.assert_frame_equal(rows[["int"]], given)


def test_known_cells_of_arrays_stay_to_the_bit():
    numbers = KINDS[["double", "single", "int"]].to_numpy()
    for dtype in (np.float64, np.float32):
        estimator = tiny().fit(numbers.astype(dtype))
        given = np.where(RNG.uniform(size=(9, 3)) < 0.5, np.nan, numbers[:9]).astype(dtype)
        rows = estimator.sample(9, 0, given=given)
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows[~np.isnan(given)], given[~np.isnan(given)])
        assert np.isfinite(rows).all()
    objects = KINDS[["double", "word", "int"]].to_numpy(dtype=object)
    estimator = tiny(categorical_features=[1]).fit(objects)
    for given in ([[0.1, None, None]], np.array([[0.1, np.nan, np.nan]])):
        rows = estimator.sample(40, 0, given=given, missing=True)
        assert set(rows[:, 0]) == {0.1}
        assert set(rows[:, 1]) == {"u", "v"}


TABLES = {
    "categories": KINDS[["word", "category"]],
    "one category": pd.DataFrame({"word": ["u"] * 40}),
    "flags": KINDS[["flag"]],
    "one row": KINDS[:1],
    "one value": pd.DataFrame({"double": KINDS["double"], "same": 7.0}),
    "no values": pd.DataFrame({"double": KINDS["double"], "none": np.nan}),
    "sparse columns": pd.DataFrame({"double": pd.arrays.SparseArray(KINDS["double"].to_numpy().clip(0))}),
    "nullable": KINDS[["int", "flag", "double"]].astype({"int": "Int16", "flag": "boolean", "double": "Float64"}),
}


@pytest.mark.filterwarnings("ignore:columns .* have no observed value")
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_odd_tables_can_be_sampled_and_conditioned_on(table):
    estimator = tiny().fit(table)
    given = table[[table.columns[0]]][:1].reset_index(drop=True)
    for rows in (estimator.sample(4, 0), estimator.sample(4, 0, given=given)):
        assert dtypes(rows) == dtypes(table)
        assert rows.notna().all(axis=None)
    assert estimator.sample(1, 0, given=given)[given.columns[0]].tolist() == given.iloc[:, 0].tolist()


def test_counts_can_be_conditioned_on():
    rate = RNG.gamma(2, 2, size=(200, 1))
    estimator = tiny(likelihood="poisson", max_iter=40, learning_rate=0.02).fit(RNG.poisson(rate, (200, 4)))
    many, few = (estimator.sample(50, 0, given=[[count, count, count, np.nan]])[:, 3] for count in (12, 1))
    assert many.mean() > few.mean() + 4
    assert (np.concatenate([many, few]) % 1 == 0).all()
    assert np.isfinite(estimator.sample(5, 0, given={0: 1e12})).all()


def test_wide_tables_have_noise_of_low_rank_and_keep_their_spread():
    random = np.random.RandomState(0)
    wide = random.normal(size=(300, 3)) @ random.normal(size=(3, 150)) + 0.5 * random.normal(size=(300, 150))
    estimator = tiny(n_components=3, hidden_layer_sizes=(32,), max_iter=20).fit(wide)
    assert estimator.model_.sampler.distribution.noise.root.shape == (150, 64)
    rows = estimator.sample(600, 0)
    assert (rows.std(0) / wide.std(0)).mean() == pytest.approx(1, abs=0.04)
    covariance, found = np.cov(wide.T), np.cov(rows.T)
    assert np.linalg.norm(found - covariance) < 0.4 * np.linalg.norm(covariance)


def test_sparse_rows_are_sampled_as_an_array():
    matrix = csr_matrix(np.where(RNG.uniform(size=(80, 4)) < 0.5, 0, RNG.normal(size=(80, 4))))
    estimator = tiny().fit(matrix)
    assert isinstance(estimator.sample(3, 0), np.ndarray)
    assert (estimator.sample(3, 0, given={1: 0.5})[:, 1] == 0.5).all()


# Draws


def test_draws_depend_on_the_seed_only_and_leave_everything_as_it_was(small):
    estimator, given = small["pandas"], KINDS[["int", "word"]][:5]
    kept, state = given.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    ask = [{}, {"given": given}, {"given": {"word": "u"}, "missing": True}]
    rows = [estimator.sample(5, random_state=3, **settings) for settings in ask]
    copy = pickle.loads(pickle.dumps(estimator))  # noqa: S301
    for settings, first in zip(ask, rows, strict=True):
        pd.testing.assert_frame_equal(estimator.sample(5, random_state=3, **settings), first)
        pd.testing.assert_frame_equal(copy.sample(5, random_state=3, **settings), first)
        assert not estimator.sample(5, random_state=4, **settings).equals(first)
    pd.testing.assert_frame_equal(given, kept)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_known_cells_that_are_all_missing_condition_on_nothing(small):
    estimator = small["pandas"]
    rows = estimator.sample(5, 0, given={"int": None})
    pd.testing.assert_frame_equal(rows, estimator.sample(5, 0))


def test_one_row_and_equal_rows_are_drawn_alike(small):
    estimator = small["polars"]
    one, each = estimator.sample(4, 0, given={"int": 3}), estimator.sample(4, 0, given={"int": [3] * 4})
    assert one.equals(each)
    assert one["double"].n_unique() == 4


@families
def test_members_generate_rows_on_condition(family):
    estimator = tiny(family, n_members=2).fit(TABLE[:200], FIRST[:200] > 0)
    rows = estimator.sample(60, 0, y=[True, False] * 30, given={"c": "a"}, missing=True)
    assert (rows["c"] == "a").all()
    assert rows["g"].isna().any()
    assert dtypes(rows) == dtypes(TABLE)


@pytest.mark.parametrize("proceed", ["warm_start", "partial_fit"])
def test_a_continued_fit_generates_rows_on_condition(proceed):
    estimator = tiny(warm_start=proceed == "warm_start")
    for _ in range(2):
        (estimator.fit if proceed == "warm_start" else estimator.partial_fit)(KINDS)
    rows = estimator.sample(5, 0, given={"word": "u"})
    assert dtypes(rows) == dtypes(KINDS)


# What is refused

BAD_GIVEN = {
    "an unknown column": ({7: 1.0}, r"given must name columns of X, got \[7\]"),
    "infinity": ([[np.inf, 0, 0, 0]], "given must hold .*infinity"),
    "a word": ({0: "word"}, "given must hold numbers"),
    "two rows": (np.ones((2, 4)), "given must hold one row or n_samples=3 rows, got 2"),
    "three columns": (np.ones((3, 3)), r"given must be .* 4 columns, got shape \(3, 3\)"),
}


@families
@pytest.mark.parametrize(("given", "match"), BAD_GIVEN.values(), ids=BAD_GIVEN)
def test_bad_cells_are_refused(family, given, match):
    check_refused(fitted(family), lambda e: e.sample(3, given=given), match)


@families
def test_a_switch_of_missing_cells_that_is_no_bool_is_refused(family):
    check_refused(fitted(family), lambda e: e.sample(3, missing="yes"), "missing must be a bool, got 'yes'")


@libraries
@pytest.mark.parametrize(
    ("given", "match"),
    [
        (
            {"word": "zz"},
            r"given must hold .*categories must be among those of fit, got \[\"'zz'\"\] in column 'word'$",
        ),
        ({"word": 3}, "given must hold .*categories must be among those of fit"),
        ({"double": np.inf}, "given must hold .*'double'.*infinity"),
        ({"double": "x"}, "given must hold .*'double'"),
    ],
)
@pytest.mark.parametrize("handle_unknown", ["ignore", "error"])
def test_bad_cells_of_frames_are_refused(small, table, given, match, handle_unknown):
    estimator = small["pandas" if table is KINDS else "polars"].set_params(handle_unknown=handle_unknown)
    with pytest.raises((ValueError, TypeError), match=f"(?s){match}"):
        estimator.sample(3, given=given)


@pytest.mark.parametrize("count", [-1, 0.5])
def test_known_cells_that_are_no_counts_are_refused(count):
    estimator = tiny(likelihood="poisson").fit(RNG.poisson(3, (40, 2)))
    with pytest.raises(ValueError, match=f"given must hold .*counts.*got {count}"):
        estimator.sample(3, given={0: count})


@pytest.mark.parametrize(
    ("y", "match"),
    [
        ([1.0, 2.0], r"y must be a value or hold n_samples=3 of them, got shape \(2,\)"),
        ([[1.0], [2.0], [3.0]], r"y must be a value or hold n_samples=3 of them, got shape \(3, 1\)"),
        (np.nan, "y must hold finite numbers"),
        ("word", "y must hold numbers"),
        (np.inf, "y must hold finite numbers"),
    ],
)
def test_values_that_are_no_finite_numbers_are_refused(y, match):
    estimator = tiny(VariationalAutoencoder, task="regression").fit(np.c_[FIRST, SECOND], FIRST)
    with pytest.raises(ValueError, match=match):
        estimator.sample(3, y=y)


def test_a_target_is_refused_after_a_fit_without_one():
    estimator = tiny(RegularizedAutoencoder, task=None).fit(np.c_[FIRST, SECOND], FIRST)
    with pytest.raises(ValueError, match="y must be None after a fit without y"):
        estimator.sample(3, y=1.0)


@families
def test_rows_of_a_rare_class_are_like_those_of_the_fit(family):
    random = np.random.RandomState(0)
    label = np.where(random.uniform(size=1000) < 0.02, "rare", "usual")
    rows = random.normal(size=(1000, 4))
    rows[:, 0] += 4 * (label == "rare")
    rows[:, 1] += 0.7 * rows[:, 0]
    estimator = family(3, hidden_layer_sizes=(32,), max_iter=40, random_state=0).fit(rows, label)
    of_rare = estimator.sample(400, 0, y="rare")
    assert of_rare[:, 0].mean() == pytest.approx(rows[label == "rare", 0].mean(), abs=0.9)
    assert estimator.sample(400, 0, y="usual")[:, 0].mean() == pytest.approx(0, abs=0.2)
    assert (estimator.sample(4000, 0)[:, 0] > 3).mean() == pytest.approx((rows[:, 0] > 3).mean(), abs=0.015)


@families
@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_rows_on_condition_are_drawn_in_every_precision(family, precision):
    rows = np.random.RandomState(0).normal(size=(60, 3)).astype(np.float32)
    for task, y in (("classification", rows[:, 0] > 0), ("regression", rows[:, 0])):
        estimator = tiny(family, task=task, precision=precision, max_iter=2).fit(rows, y)
        drawn = estimator.sample(4, 0, y=1, given={1: 0.5})
        assert np.isfinite(drawn).all()
        assert (drawn[:, 1] == 0.5).all()


def test_cells_that_calibrate_draws_are_no_gaps_of_generated_rows():
    rows = np.random.RandomState(0).normal(size=(200, 4))
    estimator = tiny(unseen_fraction=0.3).fit(rows)
    assert not np.isnan(estimator.sample(100, 0, missing=True)).any()


@families
def test_unlabelled_rows_belong_to_the_class_that_is_predicted(family):
    random = np.random.RandomState(0)
    label = random.randint(2, size=400)
    rows = random.normal(size=(400, 3)) + 6 * label[:, None]
    given = np.where(random.uniform(size=400) < 0.7, -1, label)
    estimator = family(2, unlabeled=-1, random_state=0).fit(rows, given)
    assert (estimator.sample(300, 0, y=0).mean(1) < 3).mean() > 0.95
    assert (estimator.sample(300, 0, y=1).mean(1) > 3).mean() > 0.95
