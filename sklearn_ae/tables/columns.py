"""A column of a table: its values as numbers, and numbers as its values."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.warning import warn

UNKNOWN = -1  # stands for a category that was not in the fit


@runtime_checkable
class Kind(Protocol):
    """The part of a numeric likelihood that tables use.

    Columns of equal kinds are modelled together, so a kind must be hashable.
    """

    @property
    def name(self) -> str:
        """Name of the likelihood."""

    @property
    def is_scaled(self) -> bool:
        """Whether the columns are standardised."""

    @property
    def accepts_all(self) -> bool:
        """Whether every number is valid, so that the rows need not be read for a check."""

    def check(self, values: NDArray) -> None:
        """Raise a ValueError unless the likelihood is defined for all values, which are of any shape and not NaN."""


class Column(ABC):
    """A column of the table of the fit.

    Attributes
    ----------
    likelihood : Kind or None
        The likelihood of the values; None for categories.
    """

    likelihood: Kind | None

    @property
    def has_values(self) -> bool:
        """Whether cells can be restored."""
        return True

    @abstractmethod
    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return values that the column can hold, (n,) -> (n,)."""


class FloatColumn(Column):
    """A column of numbers.

    Parameters
    ----------
    likelihood : Kind
        The likelihood of the values.
    """

    def __init__(self, likelihood: Kind) -> None:
        self.likelihood = likelihood

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the numbers."""
        return cells


class IntegerColumn(Column):
    """A column of integers.

    Parameters
    ----------
    low, high : int
        The smallest and the largest value in the fit.
    likelihood : Kind
        The likelihood of the values.
    """

    def __init__(self, low: int, high: int, likelihood: Kind) -> None:
        self.low = low
        self.high = high
        self.likelihood = likelihood

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the nearest integers in the range."""
        dtype = np.uint64 if self.high > np.iinfo(np.int64).max else np.int64
        near = np.rint(cells)
        # The ends are compared as floats and written as integers: near 2^63 and 2^64 a float may be larger by one.
        inside = (near > float(self.low)) & (near < float(self.high))
        integers = np.where(near >= float(self.high), dtype(self.high), dtype(self.low))
        integers[inside] = near[inside].astype(dtype)
        return integers


class BooleanColumn(Column):
    """A column of truth values.

    Parameters
    ----------
    likelihood : Kind
        The likelihood of the values.
    """

    def __init__(self, likelihood: Kind) -> None:
        self.likelihood = likelihood

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return True where the probability is at least one half."""
        return cells >= 0.5


@dataclass(frozen=True)
class Grouping:
    """Which categories are rare and counted as one.

    Parameters
    ----------
    min_frequency : int or float, default=2
        Number of rows, or their fraction, below which a category is rare.
    max_categories : int, optional
        Maximum number of categories per column, counting rare ones as one.
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


class CategoryColumn(Column):
    """A column of categories with ids from 1 on; the id of a missing cell is 0.

    Parameters
    ----------
    values : list
        The value that each id is restored as.
    ids : mapping
        The id of each value. Rare values share one.
    frequencies : ndarray of shape (n_categories,)
        Relative frequency of each id in the training rows.
    rare : int or None
        The id of the rare values, if there are any.
    """

    likelihood = None

    def __init__(
        self, values: list[Any], ids: Mapping[Any, int], frequencies: NDArray[np.float64], rare: int | None = None
    ) -> None:
        self.values = np.empty(len(values) + 1, dtype=object)
        self.values[0], self.values[1:] = None, values
        self.ids = ids
        self.frequencies = frequencies
        self.rare = rare

    @classmethod
    def learn(
        cls, counts: Mapping[Any, int], order: list[Any] | None, grouping: Grouping, label: str = "the column"
    ) -> Self:
        """Learn the categories that occur.

        Parameters
        ----------
        counts : mapping of value to int
            Number of rows of each value.
        order : list or None
            Categories of the dtype, in their order; None sorts the values.
        grouping : Grouping
            Which categories are rare.
        label : str, default="the column"
            Name of the column in messages.

        Returns
        -------
        column : CategoryColumn
            The column.

        Raises
        ------
        TypeError
            If the values are of several types, or can't be sorted.
        """
        if not counts:
            return cls([None], {}, np.ones(1))  # one category, which no cell has
        order = _sorted(list(counts), label) if order is None else order
        occurring = [value for value in order if value in counts]
        rare = grouping.rare(occurring, counts)
        groups = [[value] for value in occurring if value not in rare]
        if rare:
            groups.append(sorted((v for v in occurring if v in rare), key=lambda value: -counts[value]))
        ids = {value: number for number, group in enumerate(groups, 1) for value in group}
        sizes = np.array([sum(counts[value] for value in group) for group in groups], dtype=np.float64)
        return cls([group[0] for group in groups], ids, sizes / sizes.sum(), len(groups) if rare else None)

    def ids_of(self, values: NDArray, missing: NDArray[np.bool_], label: str, handle_unknown: str) -> NDArray[np.int32]:
        """Return the id of each value, (n,).

        Raises
        ------
        ValueError
            If a value was not in the fit, unless ``handle_unknown`` is "ignore".

        Warns
        -----
        UserWarning
            If no value was in the fit.
        """
        known = self.ids.get
        try:
            ids = np.fromiter((known(value, UNKNOWN) for value in values.tolist()), np.int32, len(values))
        except TypeError as error:  # lists and the like can't be hashed
            raise TypeError(
                f"categories must be values such as strings or numbers, got {values[~missing][0]!r} in {label}: "
                "convert them, for example to strings"
            ) from error
        ids[missing] = 0
        unknown = ids == UNKNOWN
        if unknown.any():
            all_unknown = unknown.sum() == len(missing) - missing.sum()
            self._report_unknown(values[unknown].tolist(), label, handle_unknown, all_unknown=all_unknown)
        ids[unknown] = self.rare or 0
        return ids

    def _report_unknown(self, values: list[Any], label: str, handle_unknown: str, *, all_unknown: bool) -> None:
        some = sorted(set(map(repr, values)))[:5]
        if handle_unknown == "refuse":
            raise ValueError(f"categories must be among those of fit, got {some} in {label}")
        if handle_unknown == "error":
            raise ValueError(
                f"with handle_unknown='error' categories must be among those of fit, got {some} in {label}: set "
                "handle_unknown='ignore' to take them as missing"
            )
        if all_unknown and self.ids:
            known = sorted(map(repr, self.ids))[:5]
            warn(f"no category of {label} was in the fit, got {some} where the fit had {known}: all count as unknown")

    @property
    def has_values(self) -> bool:
        """Whether there was a category in the fit."""
        return bool(self.ids)

    def restored(self, cells: NDArray[np.float64]) -> NDArray:
        """Return the categories; for rare ones the most frequent of them."""
        return self.values[cells.astype(np.int64)]


def counted(values: list[Any], order: list[Any] | None, label: str) -> Counter[Any]:
    """Return the number of cells of each value of a column; ``order`` is that of the categories of its dtype, if any.

    Raises
    ------
    TypeError
        If the values are of several types without an order, or can't be hashed.
    """
    if order is None:
        _check_one_type(values, label)
    try:
        return Counter(values)
    except TypeError as error:
        raise TypeError(_UNSORTABLE.format(values[0], label)) from error


def _sorted(values: list[Any], label: str) -> list[Any]:
    """Return values in ascending order."""
    _check_one_type(values, label)
    try:
        return sorted(values)
    except TypeError as error:
        raise TypeError(_UNSORTABLE.format(values[0], label)) from error


def _check_one_type(values: list[Any], label: str) -> None:
    types = set(map(type, values))
    if len(set(map(_comparable, types))) > 1:
        raise TypeError(
            f"categories of a column must be of one type, got {' and '.join(sorted(kind.__name__ for kind in types))} "
            f"in {label}: convert them, for example to strings"
        )


_UNSORTABLE = (
    "categories must be values that can be sorted, such as strings or numbers, got {!r} in {}: convert them, for "
    "example to strings"
)


def _comparable(kind: type) -> type:
    """Return a type itself, or float for every type of numbers: 1 and 1.0 are one category."""
    return float if issubclass(kind, int | float | np.number) and kind is not bool else kind
