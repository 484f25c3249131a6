"""Generated rows of given classes."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDS = 100  # after which a class counts as one that no row is of
CANDIDATES = 1024  # rows of a round, at least


def rows_of_classes(
    wanted: NDArray[np.int64],
    generated: Callable[[int], Tensor],
    probabilities: Callable[[Tensor], NDArray],
    random: np.random.RandomState,
    labels: NDArray,
) -> Tensor:
    """Return a row of each class that is wanted, (n, d): a draw from ``p(x | y)``.

    Rows and their classes are drawn together, from ``p(x) p(y | x)``, until there are enough of every class.

    Parameters
    ----------
    wanted : ndarray of shape (n,)
        Indices of classes.
    generated : callable
        Number to rows, (m, d).
    probabilities : callable
        Rows to probabilities of the classes, (m, n_classes).
    random : RandomState
        Draws the classes.
    labels : ndarray of shape (n_classes,)
        How messages call the classes.

    Raises
    ------
    ValueError
        If a class does not come up often enough.
    """
    places = [np.flatnonzero(wanted == index) for index in range(wanted.max() + 1)]
    filled, rows = [], []
    for _ in range(ROUNDS):
        candidates = generated(max(CANDIDATES, 2 * len(wanted)))
        shares = probabilities(candidates).cumsum(1)
        of_row = (shares < random.uniform(size=(len(candidates), 1)) * shares[:, -1:]).sum(1)
        for index, of_class in enumerate(places):
            found = np.flatnonzero(of_row == index)[: len(of_class)]
            filled.append(of_class[: len(found)])
            rows.append(candidates[torch.from_numpy(found)])
            places[index] = of_class[len(found) :]
        if not any(map(len, places)):
            return torch.cat(rows)[torch.from_numpy(np.argsort(np.concatenate(filled)))]
    missing = [labels[index] for index, of_class in enumerate(places) if len(of_class)]
    raise ValueError(
        f"y must hold classes that generated rows are of, got {', '.join(map(str, missing))}, which too few of "
        f"{ROUNDS * len(candidates)} rows are of: ask for fewer of them, or fit anew, for example with "
        "class_weight='balanced'"
    )
