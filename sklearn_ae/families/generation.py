"""Codes of given classes."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDS = 100  # after which a class counts as one that no code is of
CANDIDATES = 1024  # codes of a round, at least


def codes_of_classes(
    wanted: NDArray[np.int64],
    draw: Callable[[int], Tensor],
    probabilities: Callable[[Tensor], NDArray],
    random: np.random.RandomState,
) -> Tensor:
    """Return a code for each class that is wanted, (n, k): a draw from ``p(z | y)``.

    Codes and their classes are drawn together, from ``p(z) p(y | z)``, until there are enough of every class.

    Parameters
    ----------
    wanted : ndarray of shape (n,)
        Indices of classes.
    draw : callable
        Number to codes from the prior, (m, k).
    probabilities : callable
        Codes to probabilities of the classes, (m, n_classes).
    random : RandomState
        Draws the classes.

    Raises
    ------
    ValueError
        If a class does not come up.
    """
    found = torch.empty(0)
    places = [np.flatnonzero(wanted == index) for index in range(wanted.max() + 1)]
    for _ in range(ROUNDS):
        codes = draw(max(CANDIDATES, 2 * len(wanted)))
        below = probabilities(codes).cumsum(1) < random.uniform(size=(len(codes), 1))
        of_code = below.sum(1)
        found = found if len(found) else codes.new_empty(len(wanted), codes.shape[1])
        for index, open_places in enumerate(places):
            of_class = codes[torch.from_numpy(of_code == index)][: len(open_places)]
            found[torch.from_numpy(open_places[: len(of_class)])] = of_class
            places[index] = open_places[len(of_class) :]
        if not any(map(len, places)):
            return found
    missing = [index for index, open_places in enumerate(places) if len(open_places)]
    raise ValueError(
        f"codes must be of every class that y asks for, however too few of {ROUNDS} times {len(codes)} codes from the "
        f"prior are of the classes number {missing}: ask for fewer rows of them, or fit with another n_components"
    )
