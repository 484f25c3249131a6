"""A column of a table, as numbers and back: what was learned of it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.warning import warn

NEW = -1  # stands for a category that was not in the fit


class Column(ABC):
    """A column as it was when the table was first seen.

    Attributes
    ----------
    likelihood : str
        How a module models it.
    """

    likelihood: str

    @property
    def has_values(self) -> bool:
        """Whether cells can be restored."""
        return True

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
        near = np.rint(cells)
        # The ends are compared as floats and written as whole numbers: near 2^63 and 2^64 a float may be one more.
        inside = (near > float(self.low)) & (near < float(self.high))
        whole = np.where(near >= float(self.high), dtype(self.high), dtype(self.low))
        whole[inside] = near[inside].astype(dtype)
        return whole


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
    def learn(
        cls,
        values: NDArray,
        missing: NDArray[np.bool_],
        order: list[Any] | None,
        grouping: "Grouping",
        label: str = "the column",
    ) -> Self:
        """Learn the categories that occur, in the order of the dtype or sorted; messages name the column by its label.

        Raises
        ------
        TypeError
            If the values are of several types, or of one that can't be sorted or counted.
        """
        known = values[~missing].tolist()
        if not known:
            return cls([None], {}, np.ones(1))  # a category that no cell is of
        order = _sorted(known, label) if order is None else order
        counts = Counter(known)
        occurring = [value for value in order if value in counts]
        rare = grouping.rare(occurring, counts)
        groups = [[value] for value in occurring if value not in rare]
        if rare:
            groups.append(sorted((v for v in occurring if v in rare), key=lambda value: -counts[value]))
        numbers = {value: number for number, group in enumerate(groups, 1) for value in group}
        sizes = np.array([sum(counts[value] for value in group) for group in groups], dtype=np.float64)
        return cls([group[0] for group in groups], numbers, sizes / sizes.sum(), len(groups) if rare else None)

    def numbered(self, values: NDArray, missing: NDArray[np.bool_], label: str, unknown: str) -> NDArray[np.int32]:
        """Return the number of each value, (n,).

        Raises
        ------
        ValueError
            If a value is new and ``unknown`` is "error".

        Warns
        -----
        UserWarning
            If all values are new.
        """
        number = self.numbers.get
        try:
            numbers = np.fromiter((number(v, NEW) for v in values.tolist()), np.int32, len(values))
        except TypeError as error:  # lists and the like can't be looked up
            raise TypeError(
                f"categories must be values such as strings or numbers, got {values[~missing][0]!r} in {label}: "
                "convert them, for example to strings"
            ) from error
        numbers[missing] = 0
        new = numbers == NEW
        if new.any():
            self._tell_of_new(values[new].tolist(), label, unknown, all_new=new.sum() == len(missing) - missing.sum())
        numbers[new] = self.rare or 0
        return numbers

    def _tell_of_new(self, new: list[Any], label: str, unknown: str, *, all_new: bool) -> None:
        some = sorted(set(map(repr, new)))[:5]
        if unknown == "error":
            raise ValueError(
                f"with handle_unknown='error' categories must be among those of fit, got {some} in {label}: set "
                "handle_unknown='ignore' to take them as missing"
            )
        if all_new and self.numbers:
            known = sorted(map(repr, self.numbers))[:5]
            warn(f"no category of {label} was in the fit, got {some} where the fit had {known}: all count as unknown")

    @property
    def has_values(self) -> bool:
        """Whether there was a category in the fit."""
        return bool(self.numbers)

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the categories; of rare ones the most frequent."""
        return self.values[cells.astype(np.int64)]


def _sorted(values: list[Any], label: str) -> list[Any]:
    """Return the distinct values in ascending order."""
    types = set(map(type, values))
    if len(set(map(_family, types))) > 1:
        raise TypeError(
            f"categories of a column must be of one type, got {' and '.join(sorted(kind.__name__ for kind in types))} "
            f"in {label}: convert them, for example to strings"
        )
    try:
        return sorted(set(values))
    except TypeError as error:
        raise TypeError(
            f"categories must be values that can be sorted, such as strings or numbers, got {values[0]!r} in {label}: "
            "convert them, for example to strings"
        ) from error


def _family(kind: type) -> type:
    """Return a type itself, or float for every type of numbers: 1 and 1.0 are one category."""
    return float if issubclass(kind, int | float | np.number) and kind is not bool else kind
