"""What a family decides about a fit: the module, the phases of a training step, and the inference after it."""

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sklearn_ae.model.inference import Inference as Inference
from sklearn_ae.model.problem import Problem as Problem
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder as Autoencoder
from sklearn_ae.modules.mlp import draw_weights
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.phases import Phase as Phase


@dataclass(frozen=True)
class Recipe:
    """The choices of a family for one fit.

    Parameters
    ----------
    module : Autoencoder
        The module, its weights not initialized.
    phases : tuple of Phase
        The phases of a training step, in order.
    validation_phase : Phase
        Evaluated on validation rows.
    optimizers : mapping of str to mapping
        Arguments of Adam for each phase.
    inference : Inference
        Likelihood and imputation with the trained module.
    unseen_fraction : float, default=0.0
        Fraction of the known cells that training does not see, to measure the errors of imputed cells.
    """

    module: Autoencoder
    phases: tuple[Phase, ...]
    validation_phase: Phase
    optimizers: Mapping[str, dict[str, Any]]
    inference: Inference
    unseen_fraction: float = 0.0

    def net(self, course: "Course", random: np.random.RandomState) -> AutoencoderNet:
        """Return an initialized net with random weights."""
        draw_weights(self.module, noise.generator(random.randint(2**31 - 1)))
        return AutoencoderNet(
            self.module.to(course.dtype),
            self.phases,
            self.validation_phase,
            self.optimizers,
            schedule=course.schedule,
            seed=random.randint(2**31 - 1),
            autocast=course.autocast,
            signature=course.signature,
            device=course.device,
            batch_size=course.batch_size,
            max_epochs=course.max_epochs,
            callbacks=list(course.callbacks),
            verbose=course.verbose,
        ).initialize()


@dataclass(frozen=True)
class Course:
    """The settings of a training that do not depend on the family.

    Parameters
    ----------
    dtype : torch.dtype
        Data type of the parameters.
    device : torch.device
        Device of the module.
    batch_size : int
        Maximum number of rows per batch.
    max_epochs : int
        Maximum number of epochs.
    schedule : str
        Learning rate schedule.
    callbacks : sequence of skorch callbacks
        Callbacks, early stopping included.
    monitor : str or None
        Validation loss that early stopping monitors; None without early stopping.
    autocast : bool
        Whether to compute in bfloat16 where PyTorch supports it.
    verbose : int
        Verbosity of the net.
    signature : hashable
        Key of the fits that may be trained as one stack.
    """

    dtype: torch.dtype
    device: torch.device
    batch_size: int
    max_epochs: int
    schedule: str
    callbacks: Sequence[Any]
    monitor: str | None
    autocast: bool
    verbose: int
    signature: Hashable

    def of_members(self, n_members: int) -> list["Course"]:
        """Return the settings of each member: callbacks of their own, and nothing printed if there are several."""
        if n_members == 1:
            return [self]
        quiet = replace(self, verbose=0)
        return [quiet, *(replace(quiet, callbacks=_copied(self.callbacks)) for _ in range(n_members - 1))]

    def final_loss(self, history: Sequence[Mapping[str, Any]]) -> float:
        """Return the loss of a trained member by which members are compared, from its epochs."""
        if self.monitor is not None:
            return min(epoch[self.monitor] for epoch in history)  # the weights are those of the best epoch
        return history[-1].get("valid_loss", history[-1]["train_loss"])


def _copied(callbacks: Sequence[Any]) -> Sequence[Any]:
    try:
        return copy.deepcopy(callbacks)
    except Exception as error:
        raise ValueError(
            f"callbacks must be such that each member can have a copy if n_members > 1, got {callbacks!r}: {error}"
        ) from error
