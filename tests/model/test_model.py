"""The model: everything that a fit leaves behind, in one object."""

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_ae.model.model import Model
from sklearn_ae.tables.containers import ArrayContainer
from sklearn_ae.tables.frames import frame_container
from tests.families import INTRICATE, SMALL, VARIANTS, families, tiny

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(40, 3))
Y = np.arange(40) % 2
FRAME = pd.DataFrame({"number": X[:, 0], "word": RNG.choice(list("abc"), 40), "truth": X[:, 1] < 0.5})


@pytest.mark.parametrize("name", INTRICATE)
def test_a_fit_leaves_a_model_and_the_names_of_the_columns(name):
    for table, names in ((X, set()), (FRAME, {"feature_names_in_"})):
        if isinstance(table, pd.DataFrame) and "bernoulli" in name:
            continue
        estimator = VARIANTS[name](**SMALL).fit(table, Y)
        left = vars(estimator.as_fitted()).keys() - estimator.get_params().keys()
        assert left == {"model_", "n_features_in_", "_last_fit"} | names
        assert vars(estimator).keys() - estimator.get_params().keys() == {"_last_fit"}


@families
def test_a_model_answers_as_the_estimator_does(family):
    estimator = tiny(family).fit(X, Y)
    model, table = estimator.model_, ArrayContainer(X)
    assert np.array_equal(model.codes(table), estimator.transform(X))
    assert np.array_equal(model.restored(model.codes(table)), estimator.inverse_transform(estimator.transform(X)))
    assert np.array_equal(model.predictions(table), estimator.predict(X))
    assert np.array_equal(model.log_probabilities(table), estimator.predict_log_proba(X))
    assert np.array_equal(model.log_likelihood(table, None)[0], estimator.score_samples(X))
    assert np.array_equal(
        model.generated(5, np.random.RandomState(0)), estimator.sample(5, random_state=np.random.RandomState(0))
    )


@families
def test_a_model_of_a_frame_gives_frames(family):
    estimator = tiny(family).fit(FRAME)
    holes = FRAME.copy()
    holes.loc[::3, "number"] = np.nan
    table = frame_container(holes)
    assert estimator.model_.expected(table).equals(estimator.impute(holes))
    first, second = estimator.model_.drawn(table, 2, np.random.RandomState(0))
    assert not first.equals(second)
    assert estimator.model_.generated(4, np.random.RandomState(0)).dtypes.equals(FRAME.dtypes)


@families
def test_a_model_applies_any_function_of_module_and_batch(family):
    model = tiny(family).fit(X).model_
    rows = model.apply(lambda module, batch: batch.x, ArrayContainer(X))
    assert np.allclose(rows, (X - X.mean(0)) / X.std(0))
    with pytest.raises(ValueError, match=r"finite results can be computed.*row 7"):
        model.apply(
            lambda module, batch: torch.where(torch.arange(40).unsqueeze(1) == 7, torch.nan, batch.x), ArrayContainer(X)
        )


def test_a_model_is_not_changed_after_the_fit():
    estimator = tiny(warm_start=True).fit(X)
    model = estimator.model_
    for field in fields(Model):
        with pytest.raises(FrozenInstanceError):
            setattr(model, field.name, None)
    codes = model.codes(ArrayContainer(X))
    estimator.fit(X)
    assert estimator.model_ is not model
    assert np.array_equal(model.codes(ArrayContainer(X)), codes)


@families
def test_codes_that_are_points_have_scores_without_error(family):
    value, std = tiny(family).fit(X).score_samples(X, return_std=True)
    assert value.shape == std.shape == (40,)
    assert (std > 0).all() if family.__name__ == "VariationalAutoencoder" else (std == 0).all()
