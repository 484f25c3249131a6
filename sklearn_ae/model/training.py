"""Training: from checked samples and a recipe to a model."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from sklearn_ae.model.calibration import HiddenCells, UnseenCells, without_some_cells
from sklearn_ae.model.ensemble import Ensemble, Model
from sklearn_ae.model.generation import Generation, Generator
from sklearn_ae.model.inference import Inference
from sklearn_ae.model.recipe import Course, Problem, Recipe
from sklearn_ae.model.samples import Samples
from sklearn_ae.modules.noise import generator
from sklearn_ae.tables.encoding import Encoding, Schema
from sklearn_ae.training.batches import Rows, cells_with_weights
from sklearn_ae.training.fits import train_members
from sklearn_ae.training.net import AutoencoderNet


def fit_encoding(schema: Schema, samples: Samples, scale: bool | str) -> Encoding:
    """Return the encoding of a table: its columns, and the scaling learned from training rows."""
    return Encoding.fit(schema, samples.X, samples.weight, scale)


def train(
    recipes: Sequence[Recipe],
    problem: Problem,
    encoding: Encoding,
    split: tuple[Samples, Samples | None],
    course: Course,
    random: np.random.RandomState,
    handle_unknown: str,
    load_state: Callable[[Sequence[AutoencoderNet]], object] | None = None,
) -> Model:
    """Train a new net for each member and return the model.

    Parameters
    ----------
    recipes : sequence of Recipe
        Module, phases, optimizers and inference of each member.
    problem : Problem
        What the recipe was written for.
    encoding : Encoding
        Fitted columns and scaling.
    split : (Samples, Samples or None)
        Training rows, and validation rows if there are any.
    course : Course
        Settings of the training.
    random : RandomState
        Generator of the fit.
    handle_unknown : {"ignore", "error"}
        Treatment of unknown categories after the fit.
    load_state : callable, optional
        Loads the state of an earlier fit, which this one continues, into the new nets.
    """
    courses = course.of_members(len(recipes))
    nets = [recipe.net(of_member, random) for recipe, of_member in zip(recipes, courses, strict=True)]
    samples, validation = split
    train_rows = samples.encoded(encoding, problem.target, nets[0])
    own = generator(random.randint(2**31 - 1))
    train_rows, unseen = without_some_cells(train_rows, recipes[0].unseen_fraction, own)
    validation_rows = None if validation is None else validation.encoded(encoding, problem.target, nets[0])
    if load_state is not None:
        load_state(nets)
    elif problem.is_described:
        description = cells_with_weights(train_rows)
        for net in nets:
            net.module_.initialize(*description)
    train_members(nets, train_rows, validation_rows, verbose=bool(course.verbose))
    inference = _calibrated(recipes[0], nets, (train_rows, validation_rows, unseen), own)
    members = [_model(inference, net, train_rows, problem, encoding, random, handle_unknown) for net in nets]
    if len(members) == 1:
        return members[0]
    losses = [course.final_loss(net.history[net.first_epoch_ :]) for net in nets]
    return Ensemble.of(members, int(np.argmin(losses)))


def _calibrated(
    recipe: Recipe,
    nets: Sequence[AutoencoderNet],
    rows: tuple[Rows, Rows | None, UnseenCells | None],
    generator: torch.Generator,
) -> Inference:
    """Return the inference, which has measured imputed cells: if possible, cells or rows that training has not seen."""
    train_rows, validation_rows, unseen = rows
    trained = HiddenCells.of(train_rows, generator)
    if unseen is not None:
        return recipe.inference.calibrated(nets, trained, unseen.some(generator))
    hidden = None if validation_rows is None else HiddenCells.of(validation_rows, generator)
    return recipe.inference.calibrated(nets, trained, hidden)


def _model(
    inference: Inference,
    net: AutoencoderNet,
    rows: Rows,
    problem: Problem,
    encoding: Encoding,
    random: np.random.RandomState,
    handle_unknown: str,
) -> Model:
    """Return the model of a trained net, with what is measured on training rows after training."""
    inference = copy.copy(inference).fit(net, rows, random)  # members share nothing
    generator = Generator.fit(net, rows, problem.layout.n_scaled, inference.trained_codes, random)
    generation = Generation(encoding, problem.target, net, generator)
    return Model(encoding, problem.target, net, inference, generation, random, handle_unknown)
