"""Short trainings of denoising autoencoders with codes of several sizes, compared by hidden cells."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.inference import PluginInference
from sklearn_ae.model.recipe import Autoencoder, Course, Problem, Recipe
from sklearn_ae.modules.noise import Masking, generator
from sklearn_ae.modules.truncated import TruncatedCode
from sklearn_ae.objectives.terms import reconstruction
from sklearn_ae.training.apply import apply
from sklearn_ae.training.batches import Batch as Batch
from sklearn_ae.training.batches import Rows as Rows
from sklearn_ae.training.batches import cells_with_weights
from sklearn_ae.training.fits import train_members

MASKED_FRACTION = 0.25  # of the cells while training
N_STEPS = 100  # of a training, about, ...
EPOCHS = (10, 200)  # ... with at least and at most so many epochs
BATCH = 128
LEARNING_RATE = 5e-3
N_PARTS = 5  # of the cells of a validation row


def hidden_cell_scores(
    sizes: Sequence[int], problem: Problem, train: Rows, validation: Rows, course: Course, seed: int
) -> NDArray[np.float64]:
    """Return the log-likelihood of the hidden cells of each validation row, (n_sizes, n).

    For each size a denoising autoencoder with the network of the fit is trained on masked rows. A linear path that
    starts at the principal components runs beside the network, because small codes are the slowest to learn linear
    relations. All have the same initial weights, batches and masks. Their codes have the largest size, with zeros in
    the last dimensions, so that they are trained as one stack. The cells of a validation row are divided at random into
    five parts. Each part is hidden once, and predicted from the others.

    Parameters
    ----------
    sizes : sequence of int
        Code sizes; 0 is an empty code.
    problem : Problem
        The problem of the fit, without a target.
    train, validation : Rows
        Encoded rows.
    course : Course
        Settings of the fit.
    seed : int
        Seed of the trials.
    """
    problem = replace(problem, n_components=max(sizes), n_bins=1, batch_size=BATCH, has_linear_path=True)
    course = _short(course, len(train))
    nets = [_recipe(problem, size).net(course, np.random.RandomState(seed)) for size in sizes]
    if problem.is_described:
        description = cells_with_weights(train)
        for net in nets:
            net.module_.initialize(*description)
    train_members(nets, train)
    parts = _hidden_parts(validation, seed)
    return np.stack([sum(apply(net, _score_of_hidden, part, np.float64) for part in parts) for net in nets])


def _short(course: Course, n_rows: int) -> Course:
    """Return the settings of a trial, from those of the fit."""
    n_epochs = int(np.clip(N_STEPS // ceil(n_rows / BATCH), *EPOCHS))
    return replace(
        course,
        batch_size=BATCH,
        max_epochs=n_epochs,
        schedule="cosine",
        callbacks=(),
        monitor=None,
        verbose=0,
        signature=("trial of a code size", course.signature),
    )


def _recipe(problem: Problem, size: int) -> Recipe:
    phase = problem.autoencoder_phase({"reconstruction": reconstruction})
    return Recipe(
        problem.point_autoencoder(Masking(MASKED_FRACTION), partial(TruncatedCode, n_used=size)),
        (phase,),
        phase,
        {phase.name: {"lr": LEARNING_RATE, "weight_decay": 0.0}},
        PluginInference(problem.layout.n_scaled),
    )


def _hidden_parts(rows: Rows, seed: int) -> list[Rows]:
    """Return the rows for each part of their cells, with a mask of the hidden cells beside them, (n, 2 * n_cells)."""
    x, observed = rows.table.x, rows.table.observed
    part = torch.randint(N_PARTS, x.shape, generator=generator(seed), device="cpu").to(x.device)
    both = None if observed is None else torch.cat([observed, observed], 1)
    return [Rows(Batch(torch.cat([x, (part == k).to(x)], 1), observed=both)) for k in range(N_PARTS)]


def _score_of_hidden(module: Autoencoder, batch: Batch) -> Tensor:
    """Return the log-likelihood of the hidden cells of each row given the others, weighted as in training, (n,)."""
    x, hidden = batch.x.chunk(2, 1)
    observed = torch.ones_like(x) if batch.observed is None else batch.observed.chunk(2, 1)[0]
    seen = observed * (1 - hidden)
    output = module.decoder(module.encode(x * seen, seen))
    return -module.likelihood.loss(x, output, module.cell_weight(x, observed * hidden))
