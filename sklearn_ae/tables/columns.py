"""A column of a table, as numbers and back: what was learned of it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Column(ABC):
    """A column as it was when the table was first seen.

    Attributes
    ----------
    likelihood : str
        How a module models it.
    """

    likelihood: str

    @abstractmethod
    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return values that the column could hold, (n,) -> (n,)."""


class Number(Column):
    """A column of numbers."""

    def __init__(self, likelihood: str = "gaussian") -> None:
        self.likelihood = likelihood

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the numbers."""
        return cells


class WholeNumber(Column):
    """A column of whole numbers.

    Parameters
    ----------
    low, high : int
        The least and the largest that were seen.
    likelihood : str, default="gaussian"
        How a module models it.
    """

    def __init__(self, low: int, high: int, likelihood: str = "gaussian") -> None:
        self.low = low
        self.high = high
        self.likelihood = likelihood

    @classmethod
    def learn(cls, values: NDArray, missing: NDArray[np.bool_], likelihood: str) -> Self:
        """Learn the range."""
        known = values[~missing]
        return cls(int(known.min()), int(known.max()), likelihood) if len(known) else cls(0, 0, likelihood)

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the next whole number in the range."""
        dtype = np.uint64 if self.high > np.iinfo(np.int64).max else np.int64
        near = np.clip(np.rint(cells), self.low, self.high)
        return np.clip(near.astype(dtype), dtype(self.low), dtype(self.high))  # a float may round beyond the range


class Truth(Column):
    """A column of truth values."""

    def __init__(self, likelihood: str = "bernoulli") -> None:
        self.likelihood = likelihood

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return whether true is the more probable."""
        return cells >= 0.5


@dataclass(frozen=True)
class Grouping:
    """Which categories are rare.

    Parameters
    ----------
    min_frequency : int or float, default=2
        Rows, or their share, below which a category is rare.
    max_categories : int, optional
        Categories that are kept, the group of the rare ones included.
    """

    min_frequency: int | float = 2
    max_categories: int | None = None

    def rare(self, values: list[Any], counts: Mapping[Any, int]) -> set[Any]:
        """Return the rare ones among the values, none or at least two."""
        least = self.min_frequency
        if not isinstance(least, int):
            least = least * sum(counts.values())
        by_frequency = sorted(values, key=lambda value: -counts[value])
        rare = {value for value in values if counts[value] < least}
        kept = len(values) - len(rare) if len(rare) > 1 else len(values)
        if self.max_categories is not None and kept + (kept < len(values)) > self.max_categories:
            kept = self.max_categories - 1
        return set(by_frequency[kept:])


class Categories(Column):
    """A column of categories, numbered from 1 on; 0 stands for a missing one.

    Parameters
    ----------
    values : list
        A value for each number.
    numbers : mapping
        The number of each value. Rare values may share one.
    shares : ndarray of shape (n_categories,)
        Share of each number in the rows that it was learned from.
    rare : int or None
        The number that rare values share.
    """

    likelihood = "categorical"

    def __init__(
        self, values: list[Any], numbers: Mapping[Any, int], shares: NDArray[np.float64], rare: int | None = None
    ) -> None:
        self.values = np.empty(len(values) + 1, dtype=object)
        self.values[0], self.values[1:] = None, values
        self.numbers = numbers
        self.shares = shares
        self.rare = rare

    @classmethod
    def learn(cls, values: NDArray, missing: NDArray[np.bool_], order: list[Any] | None, grouping: "Grouping") -> Self:
        """Learn the categories that occur, in the order of the dtype or sorted."""
        counts = Counter(values[~missing].tolist())
        if not counts:
            return cls([None], {}, np.ones(1))  # a category that no cell is of
        occurring = [value for value in order if value in counts] if order is not None else sorted(counts)
        rare = grouping.rare(occurring, counts)
        groups = [[value] for value in occurring if value not in rare]
        if rare:
            groups.append(sorted((v for v in occurring if v in rare), key=lambda value: -counts[value]))
        numbers = {value: number for number, group in enumerate(groups, 1) for value in group}
        sizes = np.array([sum(counts[value] for value in group) for group in groups], dtype=np.float64)
        return cls([group[0] for group in groups], numbers, sizes / sizes.sum(), len(groups) if rare else None)

    def numbered(self, values: NDArray, missing: NDArray[np.bool_], label: str, unknown: str) -> NDArray[np.int32]:
        """Return the number of each value, (n,)."""
        if unknown == "error":
            new = set(values[~missing].tolist()) - self.numbers.keys()
            if new:
                raise ValueError(
                    f"with handle_unknown='error' categories must be among those of fit, however {label} holds "
                    f"{sorted(map(repr, new))[:5]}: set handle_unknown='ignore' to take them as missing"
                )
        number, otherwise = self.numbers.get, self.rare or 0
        numbers = np.fromiter((number(v, otherwise) for v in values.tolist()), np.int32, len(values))
        numbers[missing] = 0
        return numbers

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the categories; of rare ones the most frequent."""
        return self.values[cells.astype(np.int64)]
