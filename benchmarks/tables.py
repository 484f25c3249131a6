"""Mixed tables against the usual tools: ``python benchmarks/tables.py WHAT --data FOLDER``, WHAT being one of these.

FOLDER holds the tables as ``<name>.csv.gz``, see TABLES. Columns that only number the rows are left out, and of more
than 3,000 rows 3,000 are drawn; nothing else is done to them. Results go to ``benchmarks/results/tables_*.json``.

imputation
    Cells are hidden completely at random (20 %), or at random given other columns: up to a third of the columns stay
    complete, and the probability that a cell of another one is hidden, 30 % on average, is a logistic function of the
    rank of one of them. At most 1,000 rows, and no columns of more than 30 categories. Numbers: root mean squared error
    in standard deviations, over all columns. Categories: share of wrong ones. The peers get standardised numbers and
    one-hot categories. "forest" is IterativeImputer with extra trees. Of 100 draws: the share of hidden numbers in
    intervals of 90 %, the interval score (Gneiting & Raftery 2007, eq. 43) in standard deviations, and how often draws
    of categories agree with the truth and with each other.
codes
    Accuracy of LogisticRegression on codes of an unsupervised fit, 5 folds, against PCA codes of one-hot and
    standardised columns. A price is above its median or not.
heads
    ``predict`` of a fit with y, on 30 % of the rows held out, four splits: area under the ROC curve, or the coefficient
    of determination. At most 1,500 rows. The bundled tables of scikit-learn are included. The peers get standardised
    numbers and one-hot categories. "100 epochs" is the fit on all rows without early stopping.
unsupervised
    Fits without y with 2, 4 and 8 components on 70 % of the rows of the tables of ``heads``, three splits: accuracy or
    coefficient of determination of LogisticRegression (Ridge) and 5 nearest neighbours on codes, against PCA, and the
    log-likelihood of the rows held out, in nats per row, against a linear autoencoder (``hidden_layer_sizes=()``).
synthetic
    ``sklearn_ae.metrics.sample_report`` of as many generated rows as there are training rows, with 30 % of the rows
    held out; means over three fits. "boosting" is trained on generated rows and tested on those held out: area under
    the ROC curve, or the coefficient of determination for a price. "real rows" are those held out; their boosting is
    trained on the training rows. "with gaps" is ``sample(missing=True)``; all other generated rows are complete. TVAE
    needs ``pip install ctgan`` (else it is left out) and complete tables; it and the mixture get them from
    SimpleImputer. Columns of nearly as many categories as rows are left out here.
roundtrip
    Whether all that comes back has the dtypes of the table and no gap, of all rows and columns as they are in the file.
step
    The time of an epoch on a table with categories beside that on numbers of the same encoded width.
size
    One epoch over a million rows of 20 numbers and 10 categories, one of them with 100,000.
"""

import argparse
import json
import platform
import resource
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from pandas import DataFrame
from pandas.api.types import is_integer_dtype, is_numeric_dtype
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sklearn_ae
from sklearn_ae import AdversarialAutoencoder, AutoencoderImputer, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.metrics import sample_report

RESULTS = Path(__file__).parent / "results"
ROWS = 3_000
TABLES = {  # the target, and the columns that number the rows
    "titanic": ("survived", []),
    "telco_churn": ("Churn", ["customerID"]),
    "ames_housing": ("price", ["Order", "PID"]),
    "california_housing": ("median_house_value", []),
    "credit_approval": ("class", []),
    "penguins": ("species", []),
}
PRICES = ("price", "median_house_value")
Figures = dict[str, dict[str, float | None]]


def table(folder: Path, name: str) -> DataFrame:
    _, numbering = TABLES[name]
    rows = pd.read_csv(folder / f"{name}.csv.gz").drop(columns=numbering)
    return rows.sample(ROWS, random_state=0).reset_index(drop=True) if len(rows) > ROWS else rows


def numeric(rows: DataFrame) -> list[str]:
    return [name for name in rows if is_numeric_dtype(rows[name])]


class OneHot:
    """Standardised numbers and one-hot categories, missing cells NaN, and the way back."""

    def __init__(self, rows: DataFrame) -> None:
        self.like = rows
        self.numbers = numeric(rows)
        self.categories = {c: sorted(rows[c].dropna().unique()) for c in rows if c not in self.numbers}
        self.scaler = StandardScaler().fit(rows[self.numbers])

    def encoded(self, rows: DataFrame) -> np.ndarray:
        parts = [self.scaler.transform(rows[self.numbers])]
        for name, values in self.categories.items():
            hot = (rows[name].to_numpy(object)[:, None] == np.array(values, object)).astype(float)
            hot[rows[name].isna()] = np.nan
            parts.append(hot)
        return np.hstack(parts)

    def decoded(self, encoded: np.ndarray) -> DataFrame:
        widths = np.cumsum([len(self.numbers), *map(len, self.categories.values())])
        numbers, *hot, _ = np.split(encoded, widths, axis=1)
        rows = DataFrame(self.scaler.inverse_transform(numbers), columns=self.numbers)
        for (name, values), part in zip(self.categories.items(), hot, strict=True):
            rows[name] = np.array(values, object)[part.argmax(1)]
        return rows[list(self.like)]


# Imputation


def hidden(rows: DataFrame, seed: int, share: float = 0.2) -> DataFrame:
    mask = np.random.RandomState(seed).uniform(size=rows.shape) < share
    as_float = {name: float for name in rows if is_integer_dtype(rows[name])}
    return rows.astype(as_float).mask(mask)


def by_column(rows: DataFrame) -> DataFrame:
    """Fill with means and most frequent categories."""
    numbers = numeric(rows)
    filling = {name: rows[name].mean() if name in numbers else rows[name].mode().iloc[0] for name in rows}
    return rows.fillna(filling)


def by(imputer: object) -> Callable[[DataFrame], DataFrame]:
    def filled(rows: DataFrame) -> DataFrame:
        encoding = OneHot(rows)
        decoded = encoding.decoded(imputer.fit_transform(encoding.encoded(rows)))
        return rows.astype(dict.fromkeys(encoding.categories, object)).fillna(decoded)

    return filled


def errors(rows: DataFrame, gaps: DataFrame, filled: DataFrame) -> dict[str, float | None]:
    assert not filled.isna().to_numpy().any()
    squared, wrong = [], []
    for name in rows:
        asked = (gaps[name].isna() & rows[name].notna()).to_numpy()
        if not asked.any():
            continue
        truth, guess = rows[name][asked], filled[name][asked]
        if is_numeric_dtype(rows[name]):
            squared.append(np.square((guess.astype(float) - truth) / rows[name].std()).mean())
        else:
            wrong.append((guess.astype(object) != truth.astype(object)).mean())
    return {"numbers": float(np.sqrt(np.mean(squared))), "categories": float(np.mean(wrong)) if wrong else None}


def hidden_given_others(rows: DataFrame, seed: int, share: float = 0.3, slope: float = 6.0) -> DataFrame:
    """Hide cells with a probability that depends on the rank of the row in a column that stays complete."""
    random = np.random.RandomState(seed)
    ranked = [name for name in numeric(rows) if rows[name].notna().mean() > 0.9 and rows[name].nunique() > 5]
    complete = list(random.choice(ranked, max(1, min(len(ranked) // 2, rows.shape[1] // 3)), replace=False))
    mask = np.zeros(rows.shape, bool)
    for j, name in enumerate(rows):
        if name not in complete:
            driver = rows[complete[random.randint(len(complete))]].rank(pct=True).fillna(0.5).to_numpy()
            log_odds = random.choice([-1, 1]) * slope * (driver - 0.5)
            offset = brentq(lambda shift, odds=log_odds: expit(odds + shift).mean() - share, -20, 20)
            mask[:, j] = random.uniform(size=len(rows)) < expit(log_odds + offset)
    as_float = {name: float for name in rows if is_integer_dtype(rows[name])}
    return rows.astype(as_float).mask(mask)


def quality_of_draws(rows: DataFrame, gaps: DataFrame, draws: list[DataFrame]) -> dict[str, float | None]:
    """Return the coverage and the score of intervals of 90 %, and how often drawn categories agree."""
    covered, scores, with_truth, with_each_other = [], [], [], []
    for name in rows:
        asked = (gaps[name].isna() & rows[name].notna()).to_numpy()
        if not asked.any():
            continue
        truth = rows[name].to_numpy()[asked]
        drawn = np.stack([draw[name].to_numpy()[asked] for draw in draws])
        if is_numeric_dtype(rows[name]):
            low, high = np.quantile(drawn.astype(float), [0.05, 0.95], axis=0)
            covered.append(((low <= truth) & (truth <= high)).mean())
            outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
            scores.append((high - low + 2 / 0.1 * outside).mean() / rows[name].std())
        else:
            with_truth.append((drawn == truth).mean())
            with_each_other.append((drawn[1:] == drawn[:-1]).mean())
    return {
        "coverage": float(np.mean(covered)),
        "interval score": float(np.mean(scores)),
        "agreement with truth": float(np.mean(with_truth)) if with_truth else None,
        "agreement of draws": float(np.mean(with_each_other)) if with_each_other else None,
    }


N_DRAWS = 100
HIDINGS = {"": hidden, ", given other columns": hidden_given_others}
ITERATIVE = {"max_iter": 3, "n_nearest_features": 20, "keep_empty_features": True, "random_state": 0}


def drawn_by_iterations(rows: DataFrame) -> list[DataFrame]:
    encoding = OneHot(rows)
    encoded = encoding.encoded(rows)
    imputer = IterativeImputer(sample_posterior=True, **ITERATIVE).fit(encoded)
    as_objects = rows.astype(dict.fromkeys(encoding.categories, object))
    return [as_objects.fillna(encoding.decoded(imputer.transform(encoded))) for _ in range(N_DRAWS)]


def imputation(folder: Path) -> dict[str, dict[str, Figures]]:
    ways = {
        "AutoencoderImputer": lambda rows: AutoencoderImputer(random_state=0).fit_transform(rows),
        "one member, random masks": lambda rows: AutoencoderImputer(
            RegularizedAutoencoder(corruption_level=0.3, early_stopping=False, random_state=0)
        ).fit_transform(rows),
        "VariationalAutoencoder": lambda rows: (
            VariationalAutoencoder(random_state=0, observation_noise="column").fit(rows).impute(rows)
        ),
        "SimpleImputer": by_column,
        "KNNImputer": by(KNNImputer(keep_empty_features=True)),
        "IterativeImputer": by(IterativeImputer(**ITERATIVE)),
        "forest": by(IterativeImputer(ExtraTreesRegressor(n_estimators=20, random_state=0), tol=0, **ITERATIVE)),
    }
    drawing = {
        "AutoencoderImputer": lambda rows: (
            AutoencoderImputer(random_state=0).fit(rows).estimator_.impute(rows, n_draws=N_DRAWS, random_state=0)
        ),
        "IterativeImputer": drawn_by_iterations,
    }
    results: dict[str, dict[str, Figures]] = {}
    for name, (kind, hide) in product(TABLES, HIDINGS.items()):
        rows = table(folder, name)
        rows = rows[[c for c in rows if is_numeric_dtype(rows[c]) or rows[c].nunique() <= 30]]
        rows = rows.sample(min(len(rows), 1000), random_state=0).reset_index(drop=True)
        gaps = hide(rows, seed=0)
        for way, fill in ways.items():
            start = time.perf_counter()
            found = errors(rows, gaps, fill(gaps)) | {"seconds": time.perf_counter() - start}
            if way in drawing:
                found |= quality_of_draws(rows, gaps, drawing[way](gaps))
            results.setdefault(name + kind, {})[way] = found
            print(name + kind, way, found, flush=True)
    return results


# Codes


def pca(k: int) -> object:
    """Return PCA of standardised numbers and one-hot categories."""
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    return make_pipeline(columns, PCA(k, random_state=0))


def codes(folder: Path) -> dict[str, Figures]:
    results: dict[str, Figures] = {}
    for name, (target, _) in TABLES.items():
        rows = table(folder, name)
        y = rows.pop(target)
        y = y > y.median() if target in PRICES else y
        for k in (2, 4, 8):
            settings = {"task": None, "random_state": 0}
            ways = {
                "PCA": pca(k),
                "regularized": RegularizedAutoencoder(k, **settings),
                "variational": VariationalAutoencoder(k, **settings),
                "adversarial": AdversarialAutoencoder(k, **settings),
            }
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            for way, step in ways.items():
                model = make_pipeline(step, StandardScaler(), LogisticRegression(max_iter=1000))
                accuracy = float(cross_val_score(model, rows, y, cv=folds).mean())
                results.setdefault(f"{name}, k = {k}", {})[way] = accuracy
                print(name, k, way, accuracy, flush=True)
    return results


# Heads


HEADS = {
    "linear": (LogisticRegression(max_iter=2000), RidgeCV(np.logspace(-2, 3, 12))),
    "MLP, early stopping": (
        MLPClassifier((128, 64), early_stopping=True, max_iter=300, random_state=0),
        TransformedTargetRegressor(
            MLPRegressor(hidden_layer_sizes=(128, 64), early_stopping=True, max_iter=300, random_state=0),
            transformer=StandardScaler(),
        ),
    ),
    "regularized": RegularizedAutoencoder(random_state=0),
    "regularized, 8 members": RegularizedAutoencoder(n_members=8, random_state=0),
    "regularized, n_bins=1": RegularizedAutoencoder(n_bins=1, random_state=0),
    "regularized, 100 epochs": RegularizedAutoencoder(early_stopping=False, random_state=0),
    "variational": VariationalAutoencoder(random_state=0),
    "adversarial": AdversarialAutoencoder(random_state=0),
}


def head(way: str, regression: bool) -> object:
    """Return an unfitted model of a table as it is."""
    if isinstance(HEADS[way], tuple):
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        hot = OneHotEncoder(handle_unknown="ignore", min_frequency=2)
        columns = make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (hot, make_column_selector(dtype_exclude="number")),
        )
        return make_pipeline(columns, clone(HEADS[way][regression]))
    return clone(HEADS[way]).set_params(task="regression" if regression else "classification")


def labelled_tables(folder: Path) -> dict[str, tuple[DataFrame, pd.Series, bool]]:
    """Return rows, target, and whether it holds values."""
    found = {}
    for load in (load_breast_cancer, load_wine, load_digits, load_iris, load_diabetes):
        X, y = load(return_X_y=True, as_frame=True)
        found[load.__name__.removeprefix("load_")] = (X, y, load is load_diabetes)
    for name, (target, _) in TABLES.items():
        rows = table(folder, name).dropna(subset=[target])
        found[name] = (rows.drop(columns=target), rows[target], target in PRICES)
    return found


def heads(folder: Path) -> dict[str, Figures]:
    results: dict[str, Figures] = {}
    for name, (X, y, regression) in labelled_tables(folder).items():
        X, y = (values.sample(min(len(X), 1500), random_state=0).reset_index(drop=True) for values in (X, y))
        splits = ShuffleSplit(4, test_size=0.3, random_state=1)
        if not regression:
            y, splits = y.astype(str), StratifiedShuffleSplit(4, test_size=0.3, random_state=1)
        scoring = "r2" if regression else "roc_auc" if y.nunique() == 2 else "roc_auc_ovr"
        for way in HEADS:
            figure = float(cross_val_score(head(way, regression), X, y, cv=splits, scoring=scoring).mean())
            results.setdefault(name, {})[way] = figure
            print(name, way, round(figure, 4), flush=True)
    return results


# Fits without y


LINEAR = {"hidden_layer_sizes": (), "early_stopping": True}
UNSUPERVISED = {
    "regularized": RegularizedAutoencoder(random_state=0),
    "regularized, linear_path=False": RegularizedAutoencoder(linear_path=False, early_stopping=True, random_state=0),
    "regularized, early_stopping=False": RegularizedAutoencoder(early_stopping=False, random_state=0),
    "regularized, linear": RegularizedAutoencoder(random_state=0, **LINEAR),
    "variational": VariationalAutoencoder(random_state=0),
    "variational, linear_path=False": VariationalAutoencoder(linear_path=False, early_stopping=True, random_state=0),
    "variational, early_stopping=False": VariationalAutoencoder(early_stopping=False, random_state=0),
    "variational, linear": VariationalAutoencoder(random_state=0, **LINEAR),
    "adversarial": AdversarialAutoencoder(random_state=0),
    "adversarial, linear_path=False": AdversarialAutoencoder(linear_path=False, early_stopping=True, random_state=0),
    "adversarial, early_stopping=False": AdversarialAutoencoder(early_stopping=False, random_state=0),
    "adversarial, linear": AdversarialAutoencoder(random_state=0, **LINEAR),
}


def readouts(regression: bool) -> dict[str, object]:
    if regression:
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 12)))
        return {"linear": ridge, "neighbours": KNeighborsRegressor()}
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return {"linear": logistic, "neighbours": KNeighborsClassifier()}


def unsupervised(folder: Path) -> dict[str, dict[str, Figures]]:
    results: dict[str, dict[str, Figures]] = {}
    for name, (X, y, regression) in labelled_tables(folder).items():
        X, y = (values.sample(min(len(X), 1500), random_state=0).reset_index(drop=True) for values in (X, y))
        y = y if regression else y.astype(str)
        splits = (ShuffleSplit if regression else StratifiedShuffleSplit)(3, test_size=0.3, random_state=1)
        for k in (k for k in (2, 4, 8) if k < X.shape[1]):
            for way in ("PCA", *UNSUPERVISED):
                step = pca(k) if way == "PCA" else clone(UNSUPERVISED[way]).set_params(n_components=k)
                found = [judged_codes(clone(step), X, y, regression, *split) for split in splits.split(X, y)]
                results.setdefault(f"{name}, k = {k}", {})[way] = DataFrame(found).mean().to_dict()
            print(name, k, results[f"{name}, k = {k}"], flush=True)
    return results


def judged_codes(step: object, X: DataFrame, y: pd.Series, regression: bool, train: object, test: object) -> Figures:
    Z_train, Z_test = step.fit(X.iloc[train]).transform(X.iloc[train]), step.transform(X.iloc[test])
    figures = {
        name: float(model.fit(Z_train, y.iloc[train]).score(Z_test, y.iloc[test]))
        for name, model in readouts(regression).items()
    }
    return figures | ({"likelihood": float(step.score(X.iloc[test]))} if hasattr(step, "score_cells") else {})


# Synthetic rows


def mixture(rows: DataFrame, seed: int) -> DataFrame:
    full = by_column(rows)
    encoding = OneHot(full)
    density = GaussianMixture(10, covariance_type="diag", reg_covar=1e-3, random_state=seed).fit(encoding.encoded(full))
    return encoding.decoded(density.sample(len(rows))[0])


def tvae(rows: DataFrame, seed: int) -> DataFrame:
    from ctgan import TVAE  # an optional peer

    full = by_column(rows)
    numbers = numeric(full)
    discrete = [c for c in full if c not in numbers or (is_integer_dtype(full[c]) and full[c].nunique() <= 10)]
    np.random.seed(seed)  # noqa: NPY002  # what it draws from
    torch.manual_seed(seed)
    model = TVAE(epochs=300, enable_gpu=False)
    model.fit(full, discrete)
    return model.sample(len(rows))


SEEDS = (0, 1, 2)
GENERATORS = {
    "regularized": RegularizedAutoencoder(random_state=0),
    "variational": VariationalAutoencoder(random_state=0),
    "variational, column noise": VariationalAutoencoder(observation_noise="column", max_iter=300, random_state=0),
    "adversarial": AdversarialAutoencoder(random_state=0),
}


def drawn_by(name: str, missing: bool) -> Callable[[DataFrame, int], DataFrame]:
    def draw(rows: DataFrame, seed: int) -> DataFrame:
        return clone(GENERATORS[name]).set_params(random_state=seed).fit(rows).sample(len(rows), seed, missing=missing)

    return draw


def synthetic(folder: Path) -> dict[str, dict[str, Figures]]:
    ways: dict[str, Callable[[DataFrame, int], DataFrame]] = {
        **{name: drawn_by(name, missing=False) for name in GENERATORS},
        **{f"{name}, with gaps": drawn_by(name, missing=True) for name in GENERATORS},
        "Gaussian mixture": mixture,
    }
    if find_spec("ctgan"):
        ways["TVAE"] = tvae
    results: dict[str, dict[str, Figures]] = {}
    for name, (target, _) in TABLES.items():
        rows = table(folder, name)
        numbers = numeric(rows)
        rows = rows.drop(columns=[c for c in rows if c not in numbers and rows[c].nunique() > 0.5 * rows[c].count()])
        if target not in PRICES:
            rows[target] = rows[target].astype(str).astype(object)
        train, test = (part.reset_index(drop=True) for part in train_test_split(rows, test_size=0.3, random_state=0))
        found = {}
        for way, generate in ways.items():
            start = time.perf_counter()
            reports = [
                sample_report(train, generate(train, seed), test, target=target, random_state=0) for seed in SEEDS
            ]
            found |= {
                "real rows": reports[0]["holdout"],
                way: sum(report["samples"] for report in reports) / len(SEEDS),
            }
            print(name, way, f"{time.perf_counter() - start:.1f} s", flush=True)
        found = DataFrame(found).rename(index={"boosting_auc": "boosting", "boosting_r2": "boosting"}).to_dict("series")
        print(DataFrame(found).round(3).to_string(), flush=True)
        results[name] = {way: measures.to_dict() for way, measures in found.items()}
    return results


# Round trips


def roundtrip(folder: Path) -> dict[str, list[int]]:
    """Check that what comes back has the columns, the dtypes and the index of the table, and no gap."""
    results = {}
    for name, (target, numbering) in TABLES.items():
        rows = pd.read_csv(folder / f"{name}.csv.gz")
        X, y = rows.drop(columns=target), rows[target]
        task = "regression" if target in PRICES else "classification"
        for Family in (RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder):
            model = Family(max_iter=3, task=task, random_state=0).fit(X, y)
            for back in (model.inverse_transform(model.transform(X)), model.sample(50, 0), model.impute(X)):
                assert back.dtypes.equals(X.dtypes)
                assert not back.isna().to_numpy().any()
            assert model.impute(X).index.equals(X.index)
            assert len(model.predict(X)) == len(X)
        results[name] = [*X.shape, len(numbering)]
        print(name, X.shape, flush=True)
    return results


# The cost of a step


def step(folder: Path) -> dict[str, float]:
    """Return the time of an epoch on a mixed table beside that on numbers of the same encoded width."""
    n, random = 20_000, np.random.RandomState(0)
    z = random.normal(size=(n, 3))
    numbers = (z @ random.normal(size=(3, 20)) + 0.3 * random.normal(size=(n, 20))).astype(np.float32)
    mixed = DataFrame(numbers, columns=[f"x{i}" for i in range(20)])
    for j in range(9):
        bins = np.digitize(z[:, j % 3] + 0.5 * random.normal(size=n), np.linspace(-1.5, 1.5, 3 + j))
        mixed[f"c{j}"] = np.array([f"v{i}" for i in range(12)], object)[bins]
    results = {}
    for Family in (RegularizedAutoencoder, VariationalAutoencoder, AdversarialAutoencoder):
        ratios = []
        for _ in range(3):
            model = Family(max_iter=4, batch_size=128, random_state=0).fit(mixed)
            wide = random.normal(size=(n, model.module_.likelihood.n_inputs)).astype(np.float32)
            plain = Family(max_iter=4, batch_size=128, random_state=0).fit(wide)
            ratios.append(model.history_["seconds"][1:].min() / plain.history_["seconds"][1:].min())
        results[Family.__name__] = float(np.median(ratios))
    return results


# Size


def size(folder: Path) -> dict[str, float]:
    n, random = 1_000_000, np.random.RandomState(0)
    z = random.normal(size=(n, 3)).astype(np.float32)
    numbers = z @ random.normal(size=(3, 20)) + 0.3 * random.normal(size=(n, 20))
    rows = DataFrame(numbers.astype(np.float32), columns=[f"x{i}" for i in range(20)])
    names = np.array([f"v{i}" for i in range(100_000)], object)
    for j in range(9):
        bins = np.digitize(z[:, j % 3] + 0.5 * random.normal(size=n), np.linspace(-1.5, 1.5, 3 + j))
        rows[f"c{j}"] = pd.Categorical(names[bins])
    rows["id"] = names[random.randint(0, len(names), n)]
    del numbers, z
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    model = RegularizedAutoencoder(16, batch_size=1024, max_iter=2, random_state=0, device="cpu").fit(rows)
    seconds = time.perf_counter() - start
    return {
        "rows": n,
        "parameters": sum(p.numel() for p in model.module_.parameters()),
        "fit_seconds": seconds,
        "epoch_seconds": float(model.history_["seconds"].iloc[-1]),
        "share_of_the_loop": float(model.history_["seconds"].sum() / seconds),
        "rss_before_gb": before / 1e6,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    runs = {run.__name__: run for run in (imputation, codes, heads, unsupervised, synthetic, roundtrip, step, size)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=runs)
    parser.add_argument("--data", type=Path, default=Path())
    asked = parser.parse_args()
    results = runs[asked.what](asked.data)
    versions = {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "sklearn_ae": sklearn_ae.__version__,
    }
    written = {"date": datetime.now(UTC).date().isoformat(), "versions": versions, "results": results}
    (RESULTS / f"tables_{asked.what}.json").write_text(json.dumps(written, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
