"""Constraints hold in every row that comes out of an autoencoder, and known cells are never changed."""

import operator
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ae import RegularizedAutoencoder
from sklearn_ae.tables.constraints import Constraint, FixedCombinations, Formula, Inequality
from tests.families import families, tiny

N = 150
CITIES = {"Bern": "CH", "Basel": "CH", "Bonn": "DE", "Graz": "AT"}


def country_of(city):
    return np.array([CITIES[one] for one in city], dtype=object)


def table():
    random = np.random.RandomState(0)
    low = random.normal(size=N).round(1)
    city = random.choice(list(CITIES), N)
    frame = pd.DataFrame({"low": low, "high": low + random.uniform(0, 1, N).round(1), "a": random.poisson(3, N)})
    frame["b"] = random.poisson(2, N)
    frame["sum"] = frame["a"] + frame["b"]
    return frame.assign(city=city, country=country_of(city), other=random.normal(size=N))


CONSTRAINTS = [
    Inequality("low", "high"),
    Formula("sum", operator.add, ["a", "b"]),
    FixedCombinations(["city", "country"]),
]


def check_met(rows):
    rows = rows.to_pandas() if isinstance(rows, pl.DataFrame) else rows
    assert (rows["low"] <= rows["high"]).all()
    assert (rows["sum"] == rows["a"] + rows["b"]).all()
    assert (country_of(rows["city"]) == rows["country"]).all()


def broken(rows):
    rows = rows.to_pandas() if isinstance(rows, pl.DataFrame) else rows
    return [
        (rows["low"] > rows["high"]).any(),
        (rows["sum"] != rows["a"] + rows["b"]).any(),
        (country_of(rows["city"]) != rows["country"]).any(),
    ]


@families
@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_constraints_hold_in_all_rows(family, convert):
    frame = convert(table())
    codes = np.random.RandomState(0).normal(size=(300, 2))
    free, bound = (tiny(family, constraints=constraints).fit(frame) for constraints in (None, CONSTRAINTS))
    assert all(broken(free.sample(300, random_state=0)))  # so that there is something to repair
    check_met(bound.sample(300, random_state=0))
    check_met(bound.inverse_transform(codes))
    check_met(bound.sample(30, random_state=0, given={"other": 0.5}))
    assert bound.sample(9, random_state=0).equals(pickle.loads(pickle.dumps(bound)).sample(9, random_state=0))  # noqa: S301


@families
def test_filled_rows_meet_constraints_and_known_cells_stay(family):
    frame = table()
    gaps = frame.copy()
    for place, names in enumerate(
        [["sum"], ["low", "high"], ["low"], ["high"], ["city"], ["country", "city"], ["a", "sum"]]
    ):
        gaps.loc[place::7, names] = np.nan
    model = tiny(family, constraints=CONSTRAINTS).fit(frame)
    for filled in (model.impute(gaps), *model.impute(gaps, n_draws=2, random_state=0)):
        check_met(filled)
        known = gaps.notna()
        assert filled.where(known).equals(frame.astype(filled.dtypes).where(known))


def test_what_only_a_known_cell_could_mend_is_left():
    frame = table()
    gaps = frame.copy()
    gaps.loc[:9, "a"] = np.nan
    filled = tiny(constraints=CONSTRAINTS).fit(frame).impute(gaps)
    assert filled["sum"].equals(frame["sum"])


def test_constraints_of_an_array_name_positions():
    rows = table()[["low", "high"]].to_numpy()
    model = tiny(constraints=[Inequality(0, 1)]).fit(rows)
    sampled = model.sample(200, random_state=0)
    assert (sampled[:, 0] <= sampled[:, 1]).all()


def test_an_inequality_exchanges_generated_cells_and_moves_the_free_one():
    cells, free = [np.array([1.0, 5.0, 5.0, 5.0]), np.array([2.0, 3.0, 3.0, 3.0])], np.array([True, True, False, True])
    low, high = Inequality("a", "b").repaired(cells, [free, np.array([True, True, True, False])])
    assert low.tolist() == [1, 3, 5, 3]
    assert high.tolist() == [2, 5, 5, 3]


@pytest.mark.parametrize(
    ("cells", "is_free", "expected"),
    [
        (([-1], [-1.5]), (True, False), ([-2], [-1.5])),
        (([1.5], [1]), (False, True), ([1.5], [2])),
        (([3], [2.5]), (True, False), ([2], [2.5])),
        (([1], [0.5]), (True, True), ([0], [1.0])),
        (([0.5], [0]), (True, True), ([0.0], [1])),
    ],
)
def test_integers_are_rounded_to_the_side_where_an_inequality_holds(cells, is_free, expected):
    columns, free = [np.array(column) for column in cells], [np.array([one]) for one in is_free]
    repaired = Inequality("a", "b").repaired(columns, free)
    assert [column.tolist() for column in repaired] == list(expected)
    assert [column.dtype for column in repaired] == [column.dtype for column in columns]


@pytest.mark.parametrize(
    "constraints",
    [
        [Formula("sum", operator.add, ["a", "b"]), Inequality("b", "c"), Inequality("a", "b")],
        [Inequality("b", "c"), Inequality("a", "b"), Formula("sum", operator.add, ["a", "b"])],
        [Inequality("a", "b"), Formula("sum", operator.add, ["a", "b"]), Inequality("b", "c")],
    ],
    ids=["formula first", "formula last", "formula between"],
)
def test_constraints_that_share_columns_hold_in_any_order(constraints):
    random = np.random.RandomState(0)
    frame = pd.DataFrame(np.sort(random.normal(size=(N, 3))), columns=["a", "b", "c"])
    model = tiny(constraints=constraints).fit(frame.assign(sum=frame["a"] + frame["b"]))
    for rows in (model.sample(500, random_state=0), model.inverse_transform(3 * random.normal(size=(500, 2)))):
        assert (rows["a"] <= rows["b"]).all()
        assert (rows["b"] <= rows["c"]).all()
        assert np.allclose(rows["sum"], rows["a"] + rows["b"])


def test_combinations_are_replaced_by_the_most_similar_one():
    cells = [np.array(list("aabbc"), object), np.array(list("xxyyz"), object), np.array(list("12344"), object)]
    constraint = FixedCombinations(["p", "q", "r"]).learned(cells)
    wrong = [np.array(["a", "b", "c"], object), np.array(["x", "y", "y"], object), np.array(["4", "4", "4"], object)]
    everywhere = [np.ones(3, bool)] * 3
    assert list(zip(*constraint.repaired(wrong, everywhere), strict=True)) == [
        ("a", "x", "1"),
        ("b", "y", "4"),
        ("b", "y", "4"),
    ]
    first_known = [np.zeros(3, bool), np.ones(3, bool), np.ones(3, bool)]
    assert [column[2] for column in constraint.repaired(wrong, first_known)] == ["c", "z", "4"]
    assert [column[2] for column in constraint.repaired(wrong, [np.zeros(3, bool)] * 3)] == ["c", "y", "4"]


@pytest.mark.parametrize(
    ("constraint", "error", "words"),
    [
        (Inequality("low", "size"), ValueError, r"constraints must name columns of X, got \['size'\]"),
        (Inequality("high", "low"), ValueError, r"constraints must hold in all complete rows of X, got \d+ of 150"),
        (Formula("sum", operator.sub, ["a", "b"]), ValueError, "constraints must hold"),
        (Formula("sum", len, ["a"]), ValueError, "must return 150 values"),
        ("low <= high", TypeError, "constraints must hold instances of Constraint"),
        (Constraint, TypeError, "constraints must hold instances of Constraint"),
    ],
    ids=str,
)
def test_invalid_constraints_are_refused(constraint, error, words):
    model = tiny().fit(table())
    codes = model.transform(table())
    with pytest.raises(error, match=words):
        model.set_params(constraints=[constraint]).fit(table())
    assert np.array_equal(model.transform(table()), codes)


def test_incomplete_rows_and_rows_of_weight_zero_need_not_meet_them():
    frame = table().astype({"low": float})
    frame.loc[0, ["low", "high"]] = [np.nan, -9.0]
    frame.loc[1, ["low", "high"]] = [5.0, 1.0]
    weight = np.arange(N) != 1
    model = RegularizedAutoencoder(2, max_iter=2, constraints=CONSTRAINTS[:1], random_state=0)
    with pytest.raises(ValueError, match="got 1 of 149"):
        model.fit(frame)
    check_met(model.set_params(constraints=CONSTRAINTS).fit(frame, sample_weight=weight).sample(50, random_state=0))
