"""Training: from checked samples and a recipe to a model."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from sklearn_ae.model.calibration import hidden_cells, without_some_cells
from sklearn_ae.model.ensemble import Ensemble, Model
from sklearn_ae.model.recipe import Course, Inference, Problem, Recipe
from sklearn_ae.model.row_sampler import RowDistribution, RowSampler
from sklearn_ae.model.samples import Samples
from sklearn_ae.tables.encoding import Encoding, Schema
from sklearn_ae.training.batches import Rows, cells_with_weights
from sklearn_ae.training.fits import AutoencoderNet, train_members

# (nets, model_of) -> context manager of their training; model_of(k) is the model of net k as if training had stopped.
Watch = Callable[[Sequence[AutoencoderNet], Callable[[int], Model]], AbstractContextManager[object]]


def unwatched(nets: Sequence[AutoencoderNet], model_of: Callable[[int], Model]) -> AbstractContextManager[object]:
    """Return a context in which nothing is watched."""
    return nullcontext()


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
    watch: Watch = unwatched,
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
    watch : callable, optional
        ``(nets, model_of) -> context manager``, entered for the training of the nets. In it ``model_of(k)`` returns the
        model of net k as if its training had stopped.

    Returns
    -------
    model : Model
        The model, an ensemble if there are several members.
    """
    courses = course.of_members(len(recipes))
    nets = [recipe.net(of_member, random) for recipe, of_member in zip(recipes, courses, strict=True)]
    samples, validation = split
    rows = samples.encoded(encoding, problem.target, nets[0])
    train_rows, unseen = without_some_cells(rows, recipes[0].unseen_fraction, random)
    validation_rows = None if validation is None else validation.encoded(encoding, problem.target, nets[0])
    if load_state is not None:
        load_state(nets)
    elif problem.is_described:
        description = cells_with_weights(train_rows)
        for net in nets:
            net.module_.initialize(*description)

    def models_of(nets: Sequence[AutoencoderNet], random: np.random.RandomState) -> list[Model]:
        inference = recipes[0].inference.calibrated(nets, *hidden_cells(train_rows, validation_rows, unseen, random))
        return [_model(inference, net, rows, problem, encoding, random, handle_unknown) for net in nets]

    def model_of(index: int) -> Model:
        return models_of([copy.deepcopy(nets[index])], copy.deepcopy(random))[0]

    with watch(nets, model_of):
        train_members(nets, train_rows, validation_rows, verbose=bool(course.verbose))
    members = models_of(nets, random)
    if len(members) == 1:
        return members[0]
    losses = [course.final_loss(net.history[net.first_epoch_ :]) for net in nets]
    return Ensemble.of(members, int(np.argmin(losses)))


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
    distribution = RowDistribution.fit(net, rows, problem.layout.n_scaled, inference.trained_codes, random)
    sampler = RowSampler(encoding, problem.target, net, distribution)
    return Model(encoding, problem.target, net, inference, sampler, random, handle_unknown)
