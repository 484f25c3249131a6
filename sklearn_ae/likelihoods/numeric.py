"""Numeric columns: one encoder input and one decoder output per column."""

from abc import abstractmethod
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.modules.likelihood import Likelihood

RARE = 1e-4  # smallest initial probability or rate of a column


class Numeric(Likelihood):
    """A likelihood of numeric columns: one encoder input and one decoder output per column.

    Subclasses are final. They state a name, whether their columns are standardised, and which values are valid.

    Parameters
    ----------
    n_columns : int
        Number of columns.

    Attributes
    ----------
    name : str
        Value of the estimator's parameter ``likelihood``, if it has one, and how error messages call it.
    is_scaled : bool
        Whether the columns are standardised before training.
    accepts_all : bool
        Whether every number is in the support, so that there is nothing to check.
    """

    name: ClassVar[str]
    is_scaled: ClassVar[bool] = False
    accepts_all: ClassVar[bool] = False

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns, n_columns, n_columns)
        self.n_means = n_columns if self.is_scaled else 0

    @classmethod
    @abstractmethod
    def check(cls, values: NDArray[Any]) -> None:
        """Raise a ValueError if a known value is not in the support; NaN marks a missing cell."""

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d) -> (n, d): the cells themselves."""
        return x

    def per_input(self, values: Tensor) -> Tensor:
        """(n, d) -> (n, d): the values themselves."""
        return values

    def estimate(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): expected cells."""
        return self.link(output)

    def averaged_estimate(self, output: Tensor, weight: Tensor) -> Tensor:
        """(n, L, d), (n, L) -> (n, d): the weighted mean of the expected cells."""
        return (weight.unsqueeze(-1) * self.estimate(output)).sum(1)


def column_mean(values: Tensor, weight: Tensor) -> Tensor:
    """(n, d), (n, d) -> (d,): weighted means in double precision, on the CPU; 0 for a column of weight 0."""
    values, weight = values.cpu().double(), weight.cpu().double()
    return (values * weight).sum(0) / weight.sum(0).clamp(min=1e-12)


def column_variance(values: Tensor, weight: Tensor) -> Tensor:
    """(n, d), (n, d) -> (d,): weighted variances in double precision, on the CPU."""
    return column_mean((values.cpu().double() - column_mean(values, weight)).square(), weight)
