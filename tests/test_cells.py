"""Scores of cells add up to those of rows, come as the table that they are of, and effects on codes are known ones."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from scipy.sparse import csr_matrix

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.likelihoods.bernoulli import Bernoulli
from sklearn_ae.likelihoods.categories import Categorical, Embedded
from sklearn_ae.likelihoods.counts import NegativeBinomial, Poisson
from sklearn_ae.likelihoods.gaussian import Gaussian, UnitGaussian
from sklearn_ae.likelihoods.mixed import Mixed
from sklearn_ae.model.inference import PluginInference
from sklearn_ae.model.readouts import chosen_pairs
from sklearn_ae.modules.mlp import draw_weights
from tests.families import FAMILIES, SMALL, VARIANTS, families, tiny
from tests.own_family import WassersteinAutoencoder
from tests.own_likelihood import Laplace
from tests.own_source import NpyFile

RANDOM = np.random.RandomState(0)
N = 60
X = RANDOM.uniform(size=(N, 4))
GAPS = np.where(RANDOM.uniform(size=X.shape) < 0.2, np.nan, X)
POINTS = [RegularizedAutoencoder, AdversarialAutoencoder, WassersteinAutoencoder]
ALL = [*FAMILIES, WassersteinAutoencoder]


def frame():
    """Columns of all kinds, with categories in the middle, gaps, and an index of its own."""
    random = np.random.RandomState(1)
    table = pd.DataFrame(
        {
            "few": random.choice(["u", "v", "w"], N),
            "size": random.normal(50, 10, N),
            "many": np.r_[np.arange(N - 3), 0, 1, 2].astype(str),
            "count": random.poisson(3, N),
            "truth": random.uniform(size=N) < 0.5,
            "rate": random.exponential(2, N),
        },
        index=pd.date_range("2020-01-01", periods=N),
    )
    table.loc[table.index[:9], "size"] = np.nan
    table.loc[table.index[5:11], "few"] = None
    return table


MIXED = {"likelihood": {"count": "poisson", "rate": "learned_gaussian"}, "min_frequency": 1}


# The cost of a cell


def embedded():
    column = Embedded(torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)).double()
    draw_weights(column, torch.Generator().manual_seed(0))
    return column


LIKELIHOODS = {
    "unit gaussian": (UnitGaussian(2), "number"),
    "gaussian": (Gaussian(2, sigma=0.5), "number"),
    "gaussian, one variance": (Gaussian(2, sigma=0.5, per_column=False), "number"),
    "bernoulli": (Bernoulli(2), "probability"),
    "poisson": (Poisson(2), "count"),
    "negative binomial": (NegativeBinomial(2), "count"),
    "few categories": (Categorical([3, 4]), "category"),
    "many categories": (embedded(), "category"),
    "own": (Laplace(2), "number"),
    "mixed": (Mixed([UnitGaussian(1), Poisson(1), Categorical([3, 3]), embedded(), Laplace(1)]), "category"),
}
CELLS = {
    "number": lambda shape: np.random.RandomState(0).normal(size=shape),
    "probability": lambda shape: np.random.RandomState(0).uniform(size=shape),
    "count": lambda shape: np.random.RandomState(0).poisson(3, shape).astype(float),
    "category": lambda shape: np.random.RandomState(0).randint(0, 4, shape).astype(float),  # 0 is a missing one
}


@pytest.mark.parametrize(("likelihood", "kind"), LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_the_cost_of_a_cell_is_the_loss_of_a_row_in_which_it_is_the_only_one(likelihood, kind):
    likelihood = likelihood.double().eval()
    x = torch.from_numpy(CELLS[kind]((8, likelihood.n_cells))).clamp(max=3)
    output = torch.randn(8, likelihood.n_outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        cost = likelihood.cell_loss(x, output)
        alone = [likelihood.loss(x, output, mask.expand_as(x)) for mask in torch.eye(likelihood.n_cells).double()]
        assert torch.allclose(cost, torch.stack(alone, 1), rtol=1e-12)
        observed = (x > 0.5).double()
        assert torch.allclose((cost * observed).sum(1), likelihood.loss(x, output, observed), rtol=1e-12)
        drawn = likelihood.cell_loss(x.unsqueeze(1), output.unsqueeze(1).expand(-1, 3, -1))
        assert torch.allclose(drawn, cost.unsqueeze(1).expand(-1, 3, -1), rtol=1e-12)
    assert not cost.requires_grad


# Scores of cells


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("rows", [X, GAPS], ids=["whole", "gaps"])
def test_the_cells_of_a_row_add_up_to_its_score(name, rows):
    model = VARIANTS[name](**SMALL).fit(rows)
    cells = model.score_cells(rows)
    assert cells.shape == rows.shape
    np.testing.assert_array_equal(np.isnan(cells), np.isnan(rows))
    difference = np.nansum(cells, axis=1) - model.score_samples(rows)
    if isinstance(model.model_.inference, PluginInference) and model.n_members == 1:
        assert np.abs(difference).max() < 1e-9
    else:
        assert difference.min() > -0.5  # a divergence, up to the error of 32 draws
        assert difference.max() > 1e-6


@pytest.mark.parametrize("family", ALL)
def test_cells_of_several_members_are_means_by_the_probability_of_the_member(family):
    model = tiny(family, n_members=3, scale="quantile").fit(GAPS)
    table = model._table(GAPS)
    cells = np.stack([member.cell_log_likelihood(table) for member in model.model_.members])
    scores = np.stack([member.log_likelihood(table, None)[0] for member in model.model_.members])
    weight = np.exp(scores - np.logaddexp.reduce(scores))
    assert np.ptp(weight, axis=0).max() > 0.01
    found = model.score_cells(GAPS)
    np.testing.assert_allclose(found, (weight[:, :, None] * cells).sum(0), rtol=1e-5, atol=1e-6)
    if family in POINTS:
        divergence = (weight * np.log(3 * weight)).sum(0)
        np.testing.assert_allclose(np.nansum(found, 1) - model.score_samples(GAPS), divergence, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("scale", [True, "quantile"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_of_all_kinds_is_scored_cell_by_cell(monkeypatch, family, scale, library):
    monkeypatch.setattr("sklearn_ae.likelihoods.mixed.FEW", 20)
    table = frame() if library == "pandas" else pl.from_pandas(frame())
    model = tiny(family, scale=scale, **MIXED).fit(table)
    assert {"Categorical", "Embedded", "Poisson"} <= {type(part).__name__ for part in model.module_.likelihood.parts}
    cells = model.score_cells(table)
    assert isinstance(cells, type(table))
    assert list(cells.columns) == list(table.columns)
    if library == "pandas":
        pd.testing.assert_frame_equal(cells.isna(), table.isna())  # the row index is that of the table
        total = cells.sum(axis=1).to_numpy()
        assert set(cells.dtypes) == {np.dtype(np.float64)}
    else:
        assert cells.select(pl.all().is_null()).equals(table.select(pl.all().is_null()))
        total = cells.sum_horizontal().to_numpy()
        assert set(cells.dtypes) == {pl.Float64}
    if family in POINTS:
        np.testing.assert_allclose(total, model.score_samples(table), rtol=1e-5)


@families
def test_a_cell_of_a_category_is_scored_by_its_probability(family):
    """Cells are in the order of the columns, though the model has numbers first and few categories before many."""
    table = pd.DataFrame({"b": ["x", "y", "y"] * 20, "size": X[:, 0], "a": ["p", "q", "r", "s", "p", "p"] * 10})
    table["truth"] = X[:, 1] > 0.3
    model = tiny(family, max_iter=60, learning_rate=0.01).fit(table)
    cells = model.score_cells(table)
    for name in ("b", "a", "truth"):
        assert (np.exp(cells[name]) < 1).all()
        share = table[name].value_counts(normalize=True)
        entropy = -(share * np.log(share)).sum()
        assert -cells[name].mean() < entropy + 0.02  # no other column has so little
    assert cells["size"].max() > 0  # a density


@pytest.mark.parametrize("family", POINTS)
@pytest.mark.parametrize("scale", [True, "common", False])
def test_cells_of_a_linear_model_are_the_densities_of_its_residuals(family, scale):
    rows = np.random.RandomState(2).normal(3.0, [1.0, 20.0, 0.1, 5.0], size=(N, 4))
    model = tiny(family, hidden_layer_sizes=(), scale=scale).fit(rows)
    spread = {True: rows.std(0), "common": np.sqrt(rows.var(0).mean()), False: 1.0}[scale]
    expected = stats.norm(model.inverse_transform(model.transform(rows)), spread).logpdf(rows)
    np.testing.assert_allclose(model.score_cells(rows), expected, rtol=1e-9)


def test_cells_of_a_linear_variational_model_are_posterior_means_of_log_densities():
    """With a linear decoder the posterior is normal, and E[(x - Wz)^2] known (Tipping & Bishop 1999, section 3)."""
    rows = np.random.RandomState(3).normal(size=(200, 1)) @ [[1.0, -0.5, 2.0]] + RANDOM.normal(size=(200, 3))
    settings = {"hidden_layer_sizes": (), "max_iter": 300, "learning_rate": 0.01, "early_stopping": False}
    model = VariationalAutoencoder(1, random_state=0, **settings).fit(rows)
    with torch.no_grad():
        decode = model.module_.decoder
        at_zero, at_one = (decode(torch.full((1, 1), z, dtype=torch.float64)).numpy()[0] for z in (0.0, 1.0))
    weights, variance = at_one - at_zero, float(model.module_.likelihood.variance)
    standard = (rows - rows.mean(0)) / rows.std(0)
    code_variance = 1 / (1 + weights @ weights / variance)
    code = code_variance * (standard - at_zero) @ weights / variance
    errors = (standard - at_zero - np.outer(code, weights)) ** 2 + weights**2 * code_variance
    expected = -0.5 * (errors / variance + np.log(2 * np.pi * variance)) - np.log(rows.std(0))
    cells = model.score_cells(rows)
    np.testing.assert_allclose(cells, expected, atol=0.2)
    np.testing.assert_allclose(cells.mean(0), expected.mean(0), atol=0.02)
    divergence = 0.5 * (code**2 + code_variance - 1 - np.log(code_variance))
    remainder = cells.sum(1) - model.score_samples(rows)
    np.testing.assert_allclose(remainder, divergence, atol=0.2)
    assert remainder.mean() == pytest.approx(divergence.mean(), abs=0.02)


@pytest.mark.parametrize("family", ALL)
def test_a_wrong_cell_has_the_lowest_score_of_its_row(family):
    random = np.random.RandomState(4)
    size = random.normal(size=(300, 1))
    units = np.array([3.0, 1.0, -20.0, 0.5, 1.0, 100.0, -0.1, 7.0])
    table = pd.DataFrame(units * (size + 0.2 * random.normal(size=(300, 8))), columns=list("abcdefgh"))
    table.insert(3, "kind", np.where(size[:, 0] > 0, "large", "small"))
    train, test = table[:200], table[200:]
    model = family(2, max_iter=60, random_state=0).fit(train)
    typical = model.score_cells(train).median()
    wrong, expected = test.copy(), []
    for row in range(100):
        name = random.choice(test.columns)
        other = {"large": "small", "small": "large"}
        cell = test[name].iloc[row]
        wrong.iloc[row, wrong.columns.get_loc(name)] = other[cell] if name == "kind" else cell + 3 * train[name].std()
        expected.append(name)
    found = (model.score_cells(wrong) - typical).idxmin(axis=1)
    clear = np.abs(size[200:, 0]) > 0.3  # where the kind is no matter of chance
    assert (found == expected)[clear].mean() > 0.9


@families
def test_an_unknown_category_is_scored_as_missing_or_as_a_rare_one(family):
    table = frame()
    strange = table.assign(few=table["few"].where(table["few"] != "u", "new"))
    cells = tiny(family, **MIXED).fit(table).score_cells(strange)
    assert (cells["few"].isna() == (strange["few"].isna() | (strange["few"] == "new"))).all()
    rare = table.assign(few=["once", "only", *table["few"][2:]])
    cells = tiny(family, min_frequency=2).fit(rare).score_cells(rare.assign(few=["new", *rare["few"][1:]]))
    assert cells["few"].notna().tolist() == [True, *rare["few"].notna()[1:]]  # as a rare one


@families
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_all_kinds_are_scored_to_arrays_of_their_type(family, dtype):
    rows = GAPS.astype(dtype)
    model = tiny(family).fit(rows)
    cells = model.score_cells(rows)
    assert cells.dtype == dtype
    sparse = model.score_cells(csr_matrix(np.nan_to_num(rows)))
    assert isinstance(sparse, np.ndarray)
    np.testing.assert_allclose(sparse, model.score_cells(np.nan_to_num(rows)), rtol=1e-5)
    categories = np.column_stack([X[:, 0], np.arange(N) % 3, X[:, 1]]).astype(object)
    cells = tiny(family, categorical_features=[1]).fit(categories).score_cells(categories)
    assert cells.dtype == np.float64
    assert cells.shape == (N, 3)


@pytest.mark.parametrize("family", ALL)
def test_rows_of_a_file_are_scored_and_explained_as_those_of_an_array(family, tmp_path):
    np.save(tmp_path / "rows.npy", GAPS)
    source, model = NpyFile(tmp_path / "rows.npy"), tiny(family).fit(GAPS)
    np.testing.assert_array_equal(model.score_cells(source), model.score_cells(GAPS))
    pd.testing.assert_frame_equal(model.explain_codes(source), model.explain_codes(GAPS))


def test_names_of_columns_and_rows_are_kept_whatever_they_are():
    columns = pd.MultiIndex.from_product([["a", "b"], ["u", "v"]], names=["upper", "lower"])
    table = pd.DataFrame(X, columns=columns, index=pd.MultiIndex.from_product([range(6), range(10)]))
    model = tiny().fit(table)
    cells = model.score_cells(table)
    assert cells.columns.equals(columns)
    assert cells.index.equals(table.index)
    assert list(model.explain_codes(table).index) == list(columns)
    assert list(tiny().fit(X).explain_codes(X).index) == ["x0", "x1", "x2", "x3"]


@families
def test_cells_are_scored_by_themselves_and_again_after_a_pickle(family):
    table = frame()
    model = tiny(family, scale="quantile", **MIXED).fit(table)
    whole = model.score_cells(table)
    parts = pd.concat([model.score_cells(table[start : start + 7]) for start in range(0, N, 7)])
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5)
    pd.testing.assert_frame_equal(whole, pickle.loads(pickle.dumps(model)).score_cells(table))


def test_a_cell_of_which_no_finite_score_comes_is_refused_by_its_column():
    rows = GAPS.copy()
    rows[3, 1] = 1e30
    for family in FAMILIES:
        with pytest.raises(ValueError, match=r"got 1e\+30 in column 1 \(row 3\).*precision='float64'"):
            tiny(family, precision="float32").fit(X).score_cells(rows)


# Effects on codes


def linear(rows):
    """A model whose codes are linear in the standardised columns, and its weights."""
    model = tiny(hidden_layer_sizes=(), max_iter=30).fit(rows)
    codes = model.transform(np.vstack([rows.mean(0), rows.mean(0) + np.diag(rows.std(0))]))
    return model, (codes[1:] - codes[0])  # (d, k)


def test_effects_of_a_linear_model_are_its_weights_times_the_spread_of_the_columns():
    rows = np.random.RandomState(5).normal(1.0, [1.0, 50.0, 0.01, 3.0], size=(4000, 4))
    model, weights = linear(rows)
    effects = model.explain_codes(rows, max_samples=4000)
    np.testing.assert_allclose(effects, np.abs(weights) * 2 / np.sqrt(np.pi), rtol=0.06)
    np.testing.assert_allclose(model.explain_codes(rows), effects, rtol=0.25)  # from 500 rows


@families
@pytest.mark.parametrize("table", [GAPS, frame()], ids=["gaps", "mixed"])
def test_an_effect_is_the_mean_change_of_the_code_if_a_cell_is_replaced(family, table):
    model = tiny(family, **(MIXED if table is not GAPS else {})).fit(table)
    effects = model.explain_codes(table, max_samples=40, random_state=3)
    chosen, others = chosen_pairs(N, 40, np.random.RandomState(3))
    rows, other_rows = (pd.DataFrame(table).iloc[index].reset_index(drop=True) for index in (chosen, others))
    assert list(effects.columns) == list(model.get_feature_names_out())
    for name, column in zip(effects.index, rows.columns, strict=True):
        replaced = rows.assign(**{str(column): other_rows[column]}) if table is not GAPS else rows.copy()
        replaced[column] = other_rows[column]
        before, after = (model.transform(r if table is not GAPS else r.to_numpy()) for r in (rows, replaced))
        np.testing.assert_allclose(effects.loc[name], np.abs(after - before).mean(0), rtol=1e-5, atol=1e-7)


@families
def test_an_effect_of_close_cells_is_the_derivative_times_their_mean_difference(family):
    """Finite differences: the rows differ in little, and in every column at random."""
    model = tiny(family, activation="tanh").fit(X)
    rows = X[0] + 1e-4 * np.random.RandomState(6).normal(size=(50, 4))
    chosen, others = chosen_pairs(50, 50, np.random.RandomState(0))
    step = 1e-5
    ahead, behind = (model.transform(X[0] + sign * step * np.eye(4)) for sign in (1, -1))
    derivative = np.abs(ahead - behind) / (2 * step)  # (d, k)
    distance = np.abs(rows[chosen] - rows[others]).mean(0)
    np.testing.assert_allclose(model.explain_codes(rows), derivative * distance[:, None], rtol=0.01, atol=1e-8)


@families
def test_a_column_that_is_ignored_has_no_effect_and_one_of_a_single_value_none(family):
    model = tiny(family).fit(X)
    rows = X.copy()
    rows[:, 2] = 0.5
    effects = model.explain_codes(rows)
    assert (effects.loc["x2"] == 0).all()
    assert (effects.drop("x2") > 0).all(axis=None)


def test_effects_are_those_of_a_seed():
    model = tiny().fit(X)
    first = model.explain_codes(X, max_samples=10)
    assert first.equals(model.explain_codes(X, max_samples=10))
    assert first.equals(model.explain_codes(X, max_samples=10, random_state=0))
    assert not first.equals(model.explain_codes(X, max_samples=10, random_state=1))
    assert model.explain_codes(X, max_samples=1).shape == (4, 2)


def test_the_number_of_encoded_rows_is_that_of_the_columns_times_the_maximum():
    model, counted = tiny().fit(X), []
    hook = model.module_.encoder.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    model.explain_codes(X, max_samples=10)
    hook.remove()
    assert sum(counted) == 10 * (4 + 2)  # as they are, and as the other rows are


def test_each_row_is_paired_with_another_one_at_random():
    chosen, others = chosen_pairs(5, 3, np.random.RandomState(0))
    assert len(set(chosen)) == 3
    for n in (2, 3, 50):
        pairs = [chosen_pairs(n, n, np.random.RandomState(seed)) for seed in range(40)]
        for chosen, others in pairs:
            assert chosen.tolist() == list(range(n))
            assert (others != chosen).all()
            assert set(others) <= set(range(n))
        assert len({int(others[0]) for _, others in pairs}) > 0.5 * min(n - 1, 40) - 1


@families
@pytest.mark.parametrize("value", [0, -3, 2.0, "10", None, True])
def test_a_number_of_rows_that_is_none_is_refused(family, value):
    with pytest.raises(ValueError, match=r"max_samples must be an int .*, got"):
        tiny(family).fit(X).explain_codes(X, max_samples=value)


def test_effects_need_two_rows_finite_ones_and_a_seed():
    model = tiny(precision="float32", activation="relu").fit(X)
    with pytest.raises(ValueError, match="X must have at least 2 rows, got 1"):
        model.explain_codes(X[:1])
    with pytest.raises(ValueError, match="random_state must be a seed, a RandomState or None, got 'seed'"):
        model.explain_codes(X, random_state="seed")
    rows = X.copy()
    rows[7, 1] = 3e37
    for parameter in model.module_.encoder.parameters():
        parameter.data.mul_(100)
    with pytest.raises(ValueError, match=r"got 3e\+37 in column 1 \(row 7\)"):
        model.explain_codes(rows)
