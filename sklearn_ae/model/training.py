"""Training: from checked samples and a recipe to a model."""

from collections.abc import Callable

import numpy as np

from sklearn_ae.model.model import Model
from sklearn_ae.model.problem import Problem
from sklearn_ae.model.recipe import Course, Recipe
from sklearn_ae.model.samples import Samples
from sklearn_ae.tables.encoding import Encoding, Schema
from sklearn_ae.training.batches import cells_with_weights
from sklearn_ae.training.loop import Split
from sklearn_ae.training.net import AutoencoderNet


def fit_encoding(schema: Schema, samples: Samples, scale: bool | str) -> Encoding:
    """Return the encoding of a table: its columns, and the scaling learned from training rows."""
    return Encoding.fit(schema, samples.X, samples.weight, scale)


def train(
    recipe: Recipe,
    problem: Problem,
    encoding: Encoding,
    split: tuple[Samples, Samples | None],
    course: Course,
    random: np.random.RandomState,
    handle_unknown: str,
    load_state: Callable[[AutoencoderNet], object] | None = None,
) -> Model:
    """Train a new net and return the model.

    Parameters
    ----------
    recipe : Recipe
        Module, phases, optimizers and inference.
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
        Loads the state of an earlier fit, which this one continues, into the new net.
    """
    net = recipe.net(course, random)
    samples, validation = split
    train_rows = samples.encoded(encoding, problem.target, net)
    validation_rows = None if validation is None else validation.encoded(encoding, problem.target, net)
    if load_state is not None:
        load_state(net)
    elif problem.layout.n_scaled < problem.layout.n_cells:  # scaled columns have mean 0
        net.module_.initialize_output(*cells_with_weights(train_rows))
    net.partial_fit(Split(train_rows, validation_rows))
    inference = recipe.inference.fit(net, train_rows, random)
    return Model(encoding, problem.target, net, inference, random, handle_unknown)
