"""Problems and recipes: a family says module, phases, optimizers and inference, once a fit."""

import numpy as np
import pytest
import torch

from sklearn_ae.likelihoods.gaussian import Gaussian
from sklearn_ae.likelihoods.mixed import NUMERIC
from sklearn_ae.model.problem import Problem
from sklearn_ae.model.recipe import Course, Recipe
from sklearn_ae.model.targets import ClassTarget, NoTarget, ValueTarget
from sklearn_ae.modules.codes import GaussianCode
from sklearn_ae.objectives.terms import reconstruction
from sklearn_ae.tables.schema import Layout
from tests.families import SMALL, VARIANTS

X = np.random.default_rng(0).uniform(size=(30, 3))
LAYOUT = Layout({NUMERIC["gaussian"]: 2, NUMERIC["poisson"]: 1}, (np.ones(3) / 3,))


def problem(target=None, **changes):
    settings = {
        "layout": LAYOUT,
        "target": NoTarget() if target is None else target,
        "n_components": 2,
        "hidden_layer_sizes": (7, 5),
        "activation": "tanh",
        "dropout": 0.0,
        "target_weight": 4.0,
        "batch_size": 10,
        "full_batch": False,
    }
    return Problem(**settings | changes)


def widths(network):
    return [layer.in_features for layer in network.modules() if hasattr(layer, "in_features")]


def test_the_decoder_mirrors_the_encoder():
    module = problem(flagged=[0]).point_autoencoder()
    assert widths(module.encoder) == [3 + 3 + 1, 7]  # numbers, categories and a missing indicator
    assert widths(module.decoder) == [2, 5, 7]
    assert module.head is None


@pytest.mark.parametrize(
    ("target", "n_outputs"), [(ClassTarget(np.arange(3)), 3), (ValueTarget(0.0, 1.0), 1)], ids=["classes", "values"]
)
def test_a_target_adds_a_head_and_a_weighted_term(target, n_outputs):
    own = problem(target)
    assert own.point_autoencoder().head.out_features == n_outputs
    phase = own.autoencoder_phase({"reconstruction": reconstruction})
    assert list(phase.terms) == ["reconstruction", "target"]
    assert phase.weights == {"target": 4.0}
    assert "head" in phase.updates
    assert "head" not in problem().autoencoder_phase({"reconstruction": reconstruction}).updates


def test_a_family_chooses_code_and_noise_of_gaussian_columns():
    module = problem(layout=Layout({NUMERIC["gaussian"]: 2})).autoencoder(GaussianCode, Gaussian)
    assert isinstance(module.bottleneck, GaussianCode)
    assert isinstance(module.likelihood, Gaussian)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recipe_is_written_once_a_member_and_is_complete(name, monkeypatch):
    recipes = []
    family = type(VARIANTS[name]())
    written = family.recipe
    monkeypatch.setattr(family, "recipe", lambda self, given: recipes.append(written(self, given)) or recipes[-1])
    estimator = VARIANTS[name](**SMALL).fit(X)
    for recipe, member in zip(recipes, estimator.model_.members, strict=True):
        assert isinstance(recipe, Recipe)
        assert recipe.module is member.net.module_
        assert list(recipe.optimizers) == [phase.name for phase in recipe.phases]
        assert type(member.inference) is type(recipe.inference)
        assert set(recipe.validation_phase.terms) <= set(recipe.phases[0].terms)


@pytest.mark.parametrize(
    ("monitor", "epochs", "expected"),
    [
        ("valid_target", [{"valid_target": 3}, {"valid_target": 1}, {"valid_target": 2}], 1),  # the best is restored
        (None, [{"train_loss": 1, "valid_loss": 4}, {"train_loss": 2, "valid_loss": 5}], 5),
        (None, [{"train_loss": 1}, {"train_loss": 2}], 2),
    ],
)
def test_members_are_compared_by_the_loss_of_the_weights_that_they_keep(monitor, epochs, expected):
    cpu = torch.device("cpu")
    course = Course(torch.float32, cpu, 1, 1, "constant", [], monitor, autocast=False, verbose=0, signature=None)
    assert course.final_loss(epochs) == expected
