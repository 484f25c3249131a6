"""Binary columns, and numbers in [0, 1]."""

from typing import Any

import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.likelihoods.numeric import RARE, Numeric, column_mean
from sklearn_ae.modules import noise


def bernoulli_loss(x: Tensor, logits: Tensor, observed: Tensor | None = None) -> Tensor:
    """(n, d), (n, d) -> (n,): ``-x log p - (1 - x) log(1 - p)`` at ``p = sigmoid(logits)``, summed over the columns."""
    cost = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
    return (cost if observed is None else cost * observed).sum(-1)


class Bernoulli(Numeric):
    """Binary columns, or numbers in [0, 1] that are read as probabilities; outputs are log-odds.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    name = "bernoulli"

    @classmethod
    def check(cls, values: NDArray[Any]) -> None:
        """Raise unless all values lie in [0, 1]."""
        known = values[values == values]  # noqa: PLR0124 - NaN is not known
        low, high = (min(known.min(), 0), max(known.max(), 0)) if len(known) else (0, 0)
        if low < 0 or high > 1:
            raise ValueError(
                f"with likelihood='bernoulli' X must lie in [0, 1], got values in [{low:g}, {high:g}]: divide by the "
                "largest value, or set likelihood='gaussian'"
            )

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d), (n, d) -> (n,): the binary cross-entropy."""
        return bernoulli_loss(x, output, observed)

    def link(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the probability of 1."""
        return output.sigmoid()

    def draw(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): zeros and ones."""
        return (noise.uniform_like(output) < output.sigmoid()).to(output.dtype)

    def initial_output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the log-odds of the mean of each column, (d,)."""
        return column_mean(x, weight).clamp(RARE, 1 - RARE).logit()
