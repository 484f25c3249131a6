"""Generated rows of given classes, by rejection."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.modules.noise import drawn_from as drawn_from

ROUNDS = 100  # maximum number of rounds
CANDIDATES = 1024  # minimum number of rows drawn per round


def rows_of_classes(
    wanted: NDArray[np.int64],
    generated: Callable[[int], Tensor],
    probabilities: Callable[[Tensor], NDArray],
    random: np.random.RandomState,
    labels: NDArray,
) -> Tensor:
    """Draw one row from ``p(x | y)`` for each requested class.

    Rows and classes are drawn jointly from ``p(x) p(y | x)`` until there are enough rows of every class.

    Parameters
    ----------
    wanted : ndarray of shape (n,)
        Requested class indices.
    generated : callable
        ``m -> rows``, m generated rows of shape (m, d).
    probabilities : callable
        ``rows -> probabilities`` of the classes, of shape (m, n_classes).
    random : RandomState
        Generator of the class draws.
    labels : ndarray of shape (n_classes,)
        Class labels, for error messages.

    Returns
    -------
    rows : Tensor of shape (n, d)
        Generated rows, in the order of ``wanted``.

    Raises
    ------
    ValueError
        If a class is drawn too rarely.
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
