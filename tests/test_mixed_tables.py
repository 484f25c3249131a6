"""DataFrames as they are: kinds of column, missing cells, and the way back."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from tests.families import COVERING, VARIANTS, covering, families
from tests.families import tiny as families_tiny

N = 60
Y = np.where(np.random.RandomState(7).uniform(size=N) < 0.4, "yes", "no")


tiny = partial(families_tiny, max_iter=4)


def columns(seed=0, n=N):
    """Columns of every kind, missing cells in some."""
    random = np.random.RandomState(seed)

    def gap(values):
        return [None if hidden else value for value, hidden in zip(values, random.uniform(size=n) < 0.2, strict=True)]

    numbers = random.normal(size=n)
    return {
        "weight": gap((60 + 20 * numbers).tolist()),
        "rooms": random.randint(2, 9, n).tolist(),
        "city": gap(random.choice(["Bern", "Oslo", "Rome"], n).tolist()),
        "member": (numbers > 0).tolist(),
        "size": gap(random.choice(["S", "L"], n).tolist()),
        "visits": random.poisson(2, n).tolist(),
    }


def pandas_frame(seed=0):
    frame = pd.DataFrame(columns(seed))
    frame["size"] = pd.Categorical(frame["size"], categories=["S", "M", "L"], ordered=True)
    frame["years"] = pd.array(np.where(frame["rooms"] == 3, None, frame["rooms"]), dtype="Int64")
    frame["loyal"] = pd.array(np.where(frame["rooms"] == 5, None, frame["member"]), dtype="boolean")
    frame["note"] = pd.Series(np.where(frame["member"], "long", None), dtype=object)
    return frame.astype({"rooms": "int16"})


def polars_frame(seed=0):
    return pl.DataFrame(columns(seed)).with_columns(
        pl.col("size").cast(pl.Enum(["S", "M", "L"])), pl.col("rooms").cast(pl.UInt8), pl.col("weight").cast(pl.Float32)
    )


FRAMES = {"pandas": pandas_frame, "polars": polars_frame}
frames = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


def dtypes_of(frame):
    return dict(frame.schema) if isinstance(frame, pl.DataFrame) else frame.dtypes.to_dict()


def missing_in(frame):
    return sum(frame.null_count().row(0)) if isinstance(frame, pl.DataFrame) else int(frame.isna().sum().sum())


def same_known_cells(filled, frame):
    pairs = ((filled[name].to_list(), frame[name].to_list()) for name in frame.columns)
    return all(pd.isna(b) or a == b for new, old in pairs for a, b in zip(new, old, strict=True))


# The way back


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(make, *name.values, marks=name.marks)
        for make, chosen in ((pandas_frame, COVERING), (polars_frame, ["variational", "regularized, bins"]))
        for name in covering(chosen)
    ],
)
def test_all_that_comes_back_has_the_columns_and_dtypes_of_the_table(name, make):
    X = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = tiny(VARIANTS[name], likelihood=likelihood_of(name)).fit(X, Y)
        codes = model.transform(X)
        for rows, n in [
            (model.inverse_transform(codes), N),
            (model.sample(7, random_state=0), 7),
            (model.impute(X), N),
        ]:
            assert type(rows) is type(X)
            assert rows.shape == (n, X.shape[1])
            assert list(rows.columns) == list(X.columns)
            assert dtypes_of(rows) == dtypes_of(X)
            assert missing_in(rows) == 0
            assert set(rows["city"].to_list()) <= {"Bern", "Oslo", "Rome"}
            assert 2 <= min(rows["rooms"].to_list()) <= max(rows["rooms"].to_list()) <= 8
    assert codes.shape == (N, 2)
    assert np.isfinite(codes).all()
    assert np.isfinite(model.score(X))
    assert set(model.predict(X)) <= {"yes", "no"}


def likelihood_of(name):
    return {"weight": "gaussian"} if "bernoulli" in name else "auto"


@families
@frames
def test_impute_leaves_known_cells_as_they_are(family, make):
    X = make()
    model = tiny(family).fit(X)
    assert missing_in(X) > 10
    assert same_known_cells(model.impute(X), X)
    first, second = model.impute(X, n_draws=2, random_state=3)
    again, _ = model.impute(X, n_draws=2, random_state=3)
    assert dtypes_of(first) == dtypes_of(X)
    assert same_known_cells(first, X)
    assert missing_in(first) == 0
    assert not first.equals(second)
    assert first.equals(again)


@families
def test_imputed_rows_keep_their_index(family):
    X = pandas_frame().set_index(pd.Index(range(100, 100 + N)))
    assert (tiny(family).fit(X).impute(X).index == X.index).all()


@families
def test_codes_in_a_frame_give_rows_with_its_index(family):
    X = pandas_frame().set_index(pd.Index(range(100, 100 + N)))
    model = tiny(family).set_output(transform="pandas").fit(X)
    codes = model.transform(X)
    assert list(codes.columns) == [f"{family.__name__.lower()}{i}" for i in range(2)]
    assert (model.inverse_transform(codes).index == X.index).all()


@families
def test_arrays_are_imputed_to_arrays(family):
    X = np.random.RandomState(0).normal(size=(N, 3)).astype(np.float32)
    X[::4, 1] = np.nan
    before = X.copy()
    filled = tiny(family).fit(X).impute(X)
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    assert np.array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert np.array_equal(X, before, equal_nan=True)


@families
def test_numbers_are_filled_with_what_goes_with_the_others(family):
    random = np.random.RandomState(0)
    x = random.normal(size=600)
    X = pd.DataFrame({"a": x, "b": 3 * x, "c": np.where(x > 0, "plus", "minus"), "d": -x})
    gaps = X.mask(random.uniform(size=X.shape) < 0.25)
    filled = family(2, max_iter=150, random_state=0).fit(gaps).impute(gaps)
    hidden = gaps.isna()
    for name in ("a", "b", "d"):
        error = (filled[name] - X[name])[hidden[name]].std() / X[name].std()
        assert error < 0.6
    assert (filled["c"] == X["c"])[hidden["c"]].mean() > 0.85


@families
def test_draws_differ_as_far_as_cells_are_uncertain(family):
    random = np.random.RandomState(0)
    x = random.normal(size=400)
    X = pd.DataFrame({"sure": x, "twin": x, "unsure": random.normal(size=400)})
    gaps = X.copy()
    gaps.loc[::3, "twin"] = None
    gaps.loc[1::3, "unsure"] = None
    model = family(3, max_iter=150, random_state=0).fit(gaps)
    draws = model.impute(gaps, n_draws=8, random_state=0)
    spread = {
        name: np.std([draw[name] for draw in draws], axis=0)[gaps[name].isna()].mean() for name in ("twin", "unsure")
    }
    assert spread["twin"] < 0.6 * spread["unsure"]
    assert 0.6 < spread["unsure"] < 1.4


# What a table may be


@families
def test_other_columns_than_those_of_the_fit_are_refused(family):
    X = pandas_frame()
    model = tiny(family).fit(X)
    for wrong in (X[X.columns[::-1]], X.assign(more=1), X.drop(columns="city"), X.rename(columns={"city": "town"})):
        with pytest.raises(ValueError, match="feature"):
            model.transform(wrong)


@families
def test_a_fit_on_pandas_knows_polars_and_back(family):
    pandas, polars = pd.DataFrame(columns()), pl.DataFrame(columns())
    model, other = tiny(family).fit(pandas), tiny(family).fit(polars)
    for X in (pandas, polars):
        np.testing.assert_allclose(model.transform(X), other.transform(X), rtol=1e-6)
        assert isinstance(model.inverse_transform(model.transform(X)), pd.DataFrame)
    assert isinstance(other.sample(3), pl.DataFrame)


@families
def test_an_array_after_a_frame_with_categories_is_refused_in_words(family):
    X = pandas_frame()
    model = tiny(family).fit(X)
    with pytest.raises(TypeError, match=r"rows must come in a DataFrame.*got ndarray. Give a DataFrame"):
        model.transform(np.zeros(X.shape))


@families
@pytest.mark.parametrize(
    "values",
    [pd.date_range("2020", periods=N), pd.to_timedelta(np.arange(N), "D")],
    ids=["dates", "durations"],
)
def test_times_are_refused_by_name(family, values):
    with pytest.raises(TypeError, match=r"got times .* in column 'since': .* skrub.TableVectorizer"):
        tiny(family).fit(pandas_frame().assign(since=values))


@families
def test_a_column_of_several_types_is_refused_by_name(family):
    mixture = pd.Series(["a", 1] * (N // 2), dtype=object)
    with pytest.raises(TypeError, match=r"got int and str in column 'both' \(Object\): convert it"):
        tiny(family).fit(pandas_frame().assign(both=mixture))


@families
def test_an_infinite_number_is_refused(family):
    X = pandas_frame()
    X.loc[3, "weight"] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        tiny(family).fit(X)


@families
def test_a_column_without_a_value_is_told_of_and_comes_back(family):
    X = pandas_frame().assign(
        empty=np.nan, nothing=pd.Series([None] * N, dtype=object), none=pd.Series([pd.NA] * N, dtype="str")
    )
    with pytest.warns(UserWarning, match=r"columns \['empty', 'nothing', 'none'\] have no observed value"):
        model = tiny(family).fit(X)
    for rows in (model.inverse_transform(model.transform(X)), model.impute(X), model.sample(3)):
        assert dtypes_of(rows) == dtypes_of(X)
        assert (rows["empty"] == 0).all()
        assert rows[["nothing", "none"]].isna().all().all()


@families
def test_columns_may_be_named_by_numbers(family):
    X = pandas_frame()
    numbered = X.set_axis(range(X.shape[1]), axis=1)
    model = tiny(family).fit(numbered)
    assert np.array_equal(model.transform(numbered), tiny(family).fit(X).transform(X))
    assert list(model.sample(2).columns) == list(numbered.columns)
    assert missing_in(model.impute(numbered)) == 0
    likelihood = {numbered.columns[X.columns.get_loc("visits")]: "poisson"}
    assert tiny(family, likelihood=likelihood).fit(numbered).sample(2).shape == (2, X.shape[1])


@families
def test_columns_of_the_same_name_are_refused(family):
    X = pandas_frame()
    with pytest.raises(ValueError, match="unique column names"):
        tiny(family).fit(X.set_axis(["weight"] * X.shape[1], axis=1))


# Categories


@families
def test_categories_are_named_by_position_mask_or_name(family):
    X = pandas_frame()
    expected = tiny(family, categorical_features=["rooms", "city", "size", "note"]).fit(X)
    positions = [X.columns.get_loc(name) for name in ("rooms", "city", "size", "note")]
    mask = np.isin(np.arange(X.shape[1]), positions)
    for asked in (positions, np.array(positions), mask, mask.tolist()):
        model = tiny(family, categorical_features=asked).fit(X)
        assert np.array_equal(model.transform(X), expected.transform(X))
    assert set(expected.sample(50)["rooms"]) <= set(X["rooms"])
    assert dtypes_of(expected.sample(2)) == dtypes_of(X)


@families
@pytest.mark.parametrize("asked", [["town"], [99], [True, False], [[0, 1]]], ids=str)
def test_categories_that_are_not_there_are_refused(family, asked):
    with pytest.raises(ValueError, match="categorical_features"):
        tiny(family, categorical_features=asked).fit(pandas_frame())


@families
def test_strings_that_are_not_to_be_categories_are_refused_by_name(family):
    with pytest.raises(ValueError, match="must be among categorical_features, got column 'city'"):
        tiny(family, categorical_features=["size", "note"]).fit(pandas_frame())


@families
@pytest.mark.parametrize("dtype", [float, object])
def test_an_array_may_hold_categories(family, dtype):
    random = np.random.RandomState(0)
    X = np.column_stack([random.normal(size=N), random.randint(0, 3, N), random.normal(size=N)]).astype(dtype)
    if dtype is object:
        X[:, 1] = random.choice(["a", "b"], N)
        X[3, 1] = None
    model = tiny(family, categorical_features=[1]).fit(X)
    rows = model.inverse_transform(model.transform(X))
    assert rows.dtype == dtype
    assert set(rows[:, 1]) <= ({"a", "b"} if dtype is object else {0.0, 1.0, 2.0})
    assert model.impute(X).dtype == dtype


@families
def test_an_unknown_category_counts_as_missing_or_is_refused(family):
    X = pandas_frame()
    strange = X.assign(city=X["city"].where(X["city"] != "Rome", "Atlantis"))
    gone = X.assign(city=X["city"].where(X["city"] != "Rome"))
    model = tiny(family).fit(X)
    assert np.array_equal(model.transform(strange), model.transform(gone))
    assert np.array_equal(model.score_samples(strange), model.score_samples(gone))
    assert (model.impute(strange)["city"] == "Atlantis").sum() == (X["city"] == "Rome").sum()  # it is not missing
    strict = tiny(family, handle_unknown="error").fit(X)
    with pytest.raises(ValueError, match=r"got \[\"'Atlantis'\"\] in column 'city': set handle_unknown='ignore'"):
        strict.transform(strange)


@families
def test_rare_categories_share_a_number(family):
    many = np.array(["a", "b", "c"] * 18 + list("uvwxyz"))
    X = pandas_frame().assign(many=many)
    model = tiny(family).fit(X)
    together = X.assign(many=np.where(np.isin(many, list("uvwxyz")), "u", many))
    assert np.array_equal(model.transform(X), model.transform(together))
    assert set(model.sample(200, random_state=0)["many"]) <= {"a", "b", "c", "u"}
    apart = tiny(family, min_frequency=1).fit(X)
    assert not np.allclose(apart.transform(X), apart.transform(together))
    few = tiny(family, max_categories=2).fit(X)
    assert np.array_equal(few.transform(X), few.transform(X.assign(many=np.where(many == "a", "a", "b"))))


@families
def test_a_row_of_weight_zero_does_not_exist(family):
    X = pandas_frame()
    more = pd.concat([X, X.assign(city="Atlantis", weight=1e6)], ignore_index=True).astype(X.dtypes.to_dict())
    weight = np.repeat([1.0, 0.0], N)
    expected = tiny(family).fit(X, sample_weight=weight[:N])
    model = tiny(family, handle_unknown="error").fit(more, sample_weight=weight)
    np.testing.assert_allclose(model.transform(X), expected.transform(X), rtol=1e-7)
    with pytest.raises(ValueError, match="Atlantis"):
        model.transform(more)


@families
def test_the_rows_of_a_call_do_not_depend_on_each_other(family):
    X = pandas_frame()
    model = tiny(family).fit(X)
    np.testing.assert_allclose(model.transform(X[10:13]), model.transform(X)[10:13], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(model.score_samples(X[10:13]), model.score_samples(X)[10:13], rtol=1e-5)
    assert model.impute(X)[10:13].equals(model.impute(X[10:13]))


# Weights, kinds and scales of columns


@families
def test_a_column_without_weight_is_not_learned(family):
    random = np.random.RandomState(0)
    X = pd.DataFrame({"a": random.normal(size=200), "b": random.normal(size=200), "c": random.normal(size=200)})
    settings = {"n_components": 1, "max_iter": 60, "random_state": 0}
    for weights in ({"a": 10.0, "b": 0.0, "c": 0.0}, [10.0, 0.0, 0.0]):
        model = family(**settings, column_weight=weights).fit(X)
        rows = model.inverse_transform(model.transform(X))
        assert np.corrcoef(rows["a"], X["a"])[0, 1] > 0.9
        covariance = np.cov(rows["b"], X["b"])[0, 1]
        assert abs(covariance) < 0.5 * rows["b"].std() * X["b"].std() + 1e-9  # it may be constant
    same = family(**settings, column_weight=[1, 1, 1]).fit(X)
    np.testing.assert_allclose(same.transform(X), family(**settings).fit(X).transform(X), rtol=1e-6)


@families
@pytest.mark.parametrize("weights", [{"town": 1.0}, [1.0], [-1.0] * 9, {"city": float("nan")}], ids=str)
def test_weights_that_fit_no_columns_are_refused(family, weights):
    with pytest.raises(ValueError, match="column_weight"):
        tiny(family, column_weight=weights).fit(pandas_frame())


@families
def test_a_scale_is_learned_for_each_column_on_request(family):
    random = np.random.RandomState(0)
    x = random.normal(size=400)
    clear = {name: x + 0.2 * random.normal(size=400) for name in "abc"}
    X = pd.DataFrame({**clear, "d": random.normal(size=400)})
    model = family(1, likelihood="learned_gaussian", max_iter=100, random_state=0).fit(X)
    variance = model.module_.likelihood.variance
    errors = (model.inverse_transform(model.transform(X)) - X).var() / X.var()
    assert variance.shape == (4,)
    assert variance[3] > 3 * variance[:3].max()
    np.testing.assert_allclose(variance, errors, atol=0.15)


@families
@pytest.mark.parametrize("kind", ["poisson", "negative_binomial"])
def test_counts_are_learned_on_request(family, kind):
    random = np.random.RandomState(0)
    rate = random.choice([1.0, 20.0], 300)
    X = pd.DataFrame(
        {"n": random.poisson(rate), "where": np.where(rate > 5, "town", "field"), "m": random.poisson(rate)}
    )
    model = family(2, likelihood={"n": kind, "m": kind}, max_iter=80, random_state=0).fit(X)
    rows = model.inverse_transform(model.transform(X))
    assert rows["n"].dtype == X["n"].dtype
    assert np.corrcoef(rows["n"], rate)[0, 1] > 0.9
    with pytest.raises(ValueError, match=f"likelihood='{kind}' X must hold counts.*-3"):
        family(likelihood={"n": kind}).fit(X.assign(n=-3))


@families
@pytest.mark.parametrize(
    ("likelihood", "words"), [({"town": "poisson"}, "must name columns"), ({"rooms": "normal"}, "must be one of")]
)
def test_a_likelihood_of_no_column_or_kind_is_refused(family, likelihood, words):
    with pytest.raises(ValueError, match=words):
        tiny(family, likelihood=likelihood).fit(pandas_frame())


@families
def test_quantiles_tame_heavy_tails(family):
    random = np.random.RandomState(0)
    x = random.standard_cauchy(size=(400, 1)) * [1.0, 2.0]
    model = family(2, scale="quantile", max_iter=60, random_state=0).fit(x)
    rows = model.inverse_transform(model.transform(x))
    assert (rows >= x.min(0)).all()
    assert (rows <= x.max(0)).all()
    inside = np.abs(x) < 10
    assert np.corrcoef(rows[:, 0][inside[:, 0]], x[:, 0][inside[:, 0]])[0, 1] > 0.9
    assert np.isfinite(model.score_samples(x)).all()


# Around the estimators


@families
def test_a_mixed_table_goes_through_pipelines_and_searches(family):
    X = pandas_frame()
    pipeline = make_pipeline(tiny(family, task=None), LogisticRegression())
    assert 0 <= cross_val_score(pipeline, X, Y, cv=3).mean() <= 1
    search = GridSearchCV(tiny(family), {"n_components": [1, 2]}, cv=3).fit(X, Y)
    assert search.predict(X).shape == (N,)
    union = make_column_transformer((tiny(family), ["weight", "city", "member"]), remainder="drop")
    assert union.fit_transform(X).shape == (N, 2)


@families
def test_a_mixed_fit_can_be_cloned_and_pickled(family):
    X = pandas_frame()
    model = tiny(family, column_weight={"city": 2.0}, likelihood={"rooms": "poisson"}).fit(X, Y)
    restored = pickle.loads(pickle.dumps(model))
    assert np.array_equal(restored.transform(X), model.transform(X))
    assert restored.sample(3, random_state=0).equals(model.sample(3, random_state=0))
    assert np.array_equal(clone(model).fit(X, Y).transform(X), model.transform(X))


@families
def test_a_mixed_fit_goes_on(family):
    X = pandas_frame()
    model = tiny(family, warm_start=True).fit(X).fit(X)
    assert len(model.history_) == 8
    parts = tiny(family).partial_fit(X[:30]).partial_fit(X[30:])
    assert np.isfinite(parts.transform(X)).all()
    stopped = tiny(family, early_stopping=True, max_iter=8).fit(X)
    assert "valid_loss" in stopped.history_


@families
def test_the_frame_is_left_as_it_was(family):
    X = pandas_frame()
    before = X.copy()
    model = tiny(family).fit(X)
    model.impute(X, n_draws=1)
    model.transform(X)
    pd.testing.assert_frame_equal(X, before)


@families
def test_a_failed_refit_leaves_the_schema_as_it_was(family):
    X = pandas_frame()
    model = tiny(family).fit(X)
    codes = model.transform(X)
    with pytest.raises(TypeError):
        model.fit(X.assign(since=pd.Timestamp("2020")))
    assert np.array_equal(model.transform(X), codes)


# Rows of a class


@families
def test_rows_are_generated_of_a_class(family):
    random = np.random.RandomState(0)
    y = np.where(random.uniform(size=400) < 0.25, "far", "near")
    X = pd.DataFrame({"x": random.normal(size=400) + 6 * (y == "far"), "c": np.where(y == "far", "F", "N")})
    model = family(2, max_iter=60, random_state=0).fit(X, y)
    far, near = model.sample(100, 0, y="far"), model.sample(100, 0, y="near")
    assert (far["c"] == "F").mean() > 0.4  # of all rows it is a quarter
    assert (near["c"] == "N").mean() > 0.8
    wanted = np.array(["far", "near"] * 20)
    rows = model.sample(40, 0, y=wanted)
    assert ((rows["x"] > 3) == (wanted == "far")).mean() > 0.6
    assert rows.equals(model.sample(40, 0, y=wanted))


@families
@pytest.mark.parametrize("labels", [["often", "never", "seldom"], [10, 20, 30], [0.0, -1.0, 5.0]], ids=str)
def test_a_class_that_no_row_is_of_is_named_by_its_label(family, labels):
    y = np.array(labels)[[0, 2] * (N // 2)]
    model = tiny(family).partial_fit(pandas_frame(), y, classes=labels)
    with torch.no_grad():
        model.module_.head.bias[np.searchsorted(model.classes_, labels[1])] = -100
    for asked, n in ((labels[1], 3), ([labels[0], labels[1]], 2)):
        with pytest.raises(ValueError, match=f"got {labels[1]}, but none of the measured"):
            model.sample(n, random_state=0, y=asked)


@families
@pytest.mark.parametrize(("y", "words"), [("maybe", "maybe"), (["yes"], "shape"), (["yes", "maybe"], "maybe")])
def test_a_class_that_is_none_is_refused(family, y, words):
    model = tiny(family).fit(pandas_frame(), Y)
    with pytest.raises(ValueError, match=f"y must be a class or hold n_samples=2 .*{words}"):
        model.sample(2, y=y)


@families
def test_rows_of_a_class_need_classes(family):
    with pytest.raises(ValueError, match="fit with y to generate rows of it"):
        tiny(family).fit(pandas_frame()).sample(2, y="yes")


# What the encoder is told


@families
def test_the_encoder_is_told_of_missing_numbers_where_some_were_missing_in_the_fit(family):
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(N, 3)), columns=list("abc"))
    gaps = X.copy()
    gaps.loc[::3, "b"] = None
    model = family(2, hidden_layer_sizes=(8,), max_iter=20, scale=False, random_state=0).fit(gaps)
    assert model.module_.flagged.tolist() == [1]
    row = X.head(1)
    assert not np.allclose(model.transform(row.assign(b=np.nan)), model.transform(row.assign(b=0.0)), atol=1e-3)
    assert np.allclose(model.transform(row.assign(a=np.nan)), model.transform(row.assign(a=X["a"].mean())))
