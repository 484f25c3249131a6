"""A fit that continues another one: what must stay as it was."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_ae.estimators.inputs import fresh_random
from sklearn_ae.estimators.parameters import FIXED, check_parameters, marked, meaning
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.targets import Target
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.ranks import RANKS

Changes = dict[str, tuple[Any, Any]]


def changed_parameters(estimator: AutoencoderState, last: AutoencoderState) -> Changes:
    """Return the parameters that differ from those of the last fit, with their old and new values."""
    old, new = last.get_params(deep=False), estimator.get_params(deep=False)
    return {name: (old[name], new[name]) for name in new if meaning(old[name]) != meaning(new[name])}


def check_parameters_of(estimator: AutoencoderState, last: AutoencoderState | None) -> None:
    """Raise if a parameter is invalid, or has changed and a continued fit can't change it."""
    check_parameters(estimator)
    changes = {} if last is None else changed_parameters(estimator, last)
    fixed = {name: values for name, values in changes.items() if name in marked(type(estimator), FIXED)}
    if fixed:
        raise ValueError(_must_stay(fixed))


def load_state(nets: Sequence[AutoencoderNet], estimator: AutoencoderState, last: AutoencoderState) -> None:
    """Load weights, optimizers and history of the members of the last fit into new nets."""
    try:
        for net, member in zip(nets, last.model_.members, strict=True):
            net.go_on_from(member.net)
    except ValueError as error:
        changes = changed_parameters(estimator, last)
        raise (ValueError(_must_stay(changes)) if changes else error) from error


def generator_of(estimator: AutoencoderState, last: AutoencoderState | None) -> np.random.RandomState:
    """Return the generator of a fit; a continued fit goes on with the generator of a seed."""
    if estimator.random_state is None:
        return RANKS.get().random(fresh_random())
    own = isinstance(estimator.random_state, np.random.RandomState)
    if own or last is None or "random_state" in changed_parameters(estimator, last):
        return check_random_state(estimator.random_state)
    return copy.deepcopy(last.model_.random)


def check_same_target(target: Target, y: NDArray | None) -> None:
    """Raise unless y has a target as in the last fit, and the same classes."""
    has_target = bool(target.n_outputs)
    if has_target != (y is not None):
        raise ValueError(
            f"y must be given if and only if the last fit had one, got {'no y' if y is None else 'y'} after a fit "
            f"{'with' if has_target else 'without'} y: set warm_start=False to begin anew"
        )
    if y is not None:
        target.check_same_classes(target.labels(y))


def _must_stay(changes: Changes) -> str:
    were, are = (", ".join(f"{name}={values[i]!r}" for name, values in changes.items()) for i in (0, 1))
    return f"a continued fit must keep {were}, got {are}. To begin anew, call fit with warm_start=False"
