"""What the columns of a table are: learned when it is first seen, the same for every table after it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.columns import Categories, Column, Grouping, Number, Truth, WholeNumber
from sklearn_ae.tables.containers import Container
from sklearn_ae.tables.frames import FrameContainer
from sklearn_ae.tables.sources import Coded

SCALED = ("gaussian", "learned_gaussian")  # likelihoods of numbers that are standardised; they come first
NUMERIC = (*SCALED, "bernoulli", "poisson", "negative_binomial")  # likelihoods of numbers, in the order of the cells


@dataclass(frozen=True)
class Layout:
    """The cells of a row in their order: numbers by their likelihood, then categories, few before many.

    Parameters
    ----------
    numbers : mapping of str to int
        Columns of each likelihood.
    shares : tuple of ndarray
        Of each column of categories, the share of each of them.
    """

    numbers: Mapping[str, int]
    shares: tuple[NDArray[np.float64], ...] = ()

    @property
    def n_cells(self) -> int:
        """Columns of the table."""
        return sum(self.numbers.values()) + len(self.shares)

    @property
    def n_numbers(self) -> int:
        """Columns that are standardised; they come first."""
        return sum(self.numbers.get(likelihood, 0) for likelihood in SCALED)


@dataclass(frozen=True)
class Options:
    """What a user says of the columns."""

    categorical_features: Any = "from_dtype"
    likelihood: str | Mapping[Any, str] = "auto"
    grouping: Grouping = Grouping()

    @property
    def by_column(self) -> bool:
        """Whether columns of an array are told apart."""
        return isinstance(self.likelihood, Mapping) or not (
            self.categorical_features is None or isinstance(self.categorical_features, str)
        )


class Schema:
    """The columns of a table.

    Parameters
    ----------
    container : Container
        A table without rows, of the kind that was first seen.
    columns : sequence of Column
        What was learned of each.
    options : Options
        What the user said.

    Attributes
    ----------
    order : ndarray of int
        Positions of the columns in the order of the cells.
    """

    def __init__(self, container: Container, columns: Sequence[Column], options: Options) -> None:
        self.container = container
        self.columns = columns
        self.options = options
        self.order = np.array(
            sorted(range(len(columns)), key=lambda position: _rank(columns[position])), dtype=np.int64
        )

    @classmethod
    def learn(cls, container: Container, options: Options, left_out: NDArray[np.bool_] | None = None) -> Self:
        """Learn the kinds, the categories and the ranges of the columns, from all rows but those that are left out."""
        categorical = _categorical(container, options.categorical_features)
        likelihood = _likelihoods(container, options.likelihood)
        columns = [
            _categories(container, position, left_out, options.grouping)
            if categorical[position]
            else _numeric(container, position, left_out, likelihood[position])
            for position in range(len(container.names))
        ]
        return cls(container.empty(), columns, options)

    @cached_property
    def layout(self) -> Layout:
        """The cells of a row."""
        columns = [self.columns[position] for position in self.order]
        numbers = Counter(column.likelihood for column in columns if not isinstance(column, Categories))
        shares = tuple(column.shares for column in columns if isinstance(column, Categories))
        return Layout({name: numbers[name] for name in NUMERIC if numbers[name]}, shares)

    @property
    def labels(self) -> list[Any]:
        """How messages call the columns, in the order of the cells."""
        return [self.container.names[position] for position in self.order]

    @property
    def is_plain(self) -> bool:
        """Whether cells are what the table itself holds: numbers of an array, in their order."""
        in_order = bool((self.order == np.arange(len(self.order))).all())
        return in_order and not self.layout.shares and not isinstance(self.container, FrameContainer)

    @property
    def needs_frame(self) -> bool:
        """Whether rows must come in a DataFrame: an array does not tell their categories."""
        return isinstance(self.container, FrameContainer) and bool(self.layout.shares)

    def source(self, container: Container, handle_unknown: str) -> Any:
        """Return the cells of a table with these columns, missing ones NaN; of a sparse matrix as a sparse matrix."""
        n_numbers = self.layout.n_cells - len(self.layout.shares)
        numbers = container.numbers(self.order[:n_numbers].tolist()) if n_numbers else None
        if n_numbers == len(self.order):
            return numbers
        coded = np.empty((len(container), len(self.order) - n_numbers), np.int32)
        positions = self.order[n_numbers:].tolist()
        for i, (position, cells) in enumerate(zip(positions, container.objects(positions), strict=True)):
            coded[:, i] = self.columns[position].numbered(*cells, container.label(position), handle_unknown)
        return Coded(numbers, coded)

    def weights(self, asked: Any) -> list[float] | None:
        """Return the weight of each column, in the order of the cells, or None where all weigh the same."""
        if asked is None:
            return None
        n = len(self.columns)
        if isinstance(asked, Mapping):
            unknown = [name for name in asked if name not in self.container.names]
            if unknown:
                raise ValueError(
                    f"column_weight must name columns of X, got {unknown!r} among {self.container.names!r}"
                )
            asked = [asked.get(name, 1.0) for name in self.container.names]
        try:
            weights = np.asarray(asked, dtype=np.float64)
        except (TypeError, ValueError):
            weights = np.full(n, np.nan)  # words
        if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"column_weight must hold {n} numbers, none of them negative, got {asked!r}")
        return weights[self.order].tolist()

    def restored(self, cells: NDArray, like: Any = None) -> Any:
        """Return the table that cells stand for, rows labelled as those of ``like``."""
        return cells if self.is_plain else self.container.made_of(self._restored(cells), like)

    def filled(self, container: Container, cells: NDArray) -> Any:
        """Return a table as it was given, with its missing cells written.

        A column of categories without any value in the fit stays as it is.
        """
        missing, place = container.missing(), np.argsort(self.order)
        columns = {
            position: self.columns[position].restored(cells[:, place[position]])
            for position in np.flatnonzero(missing.any(axis=0)).tolist()
            if self.columns[position].has_values
        }
        return container.filled(columns, missing, self.container)

    def _restored(self, cells: NDArray) -> list[NDArray]:
        place = np.argsort(self.order)
        return [column.restored(cells[:, place[i]]) for i, column in enumerate(self.columns)]


def _rank(column: Column) -> tuple[int, int]:
    if isinstance(column, Categories):
        return len(NUMERIC), len(column.shares)
    return NUMERIC.index(column.likelihood), 0


def _numeric(container: Container, position: int, left_out: NDArray[np.bool_] | None, likelihood: str | None) -> Column:
    kind = container.kind(position)
    if kind == "category":
        raise ValueError(
            f"columns of strings must be among categorical_features, got {container.label(position)} "
            "that is not: name it there, or leave the default categorical_features='from_dtype'"
        )
    if kind == "truth":
        return Truth(likelihood or "bernoulli")
    if kind == "number":
        return Number(likelihood or "gaussian")
    return WholeNumber.learn(*_values(container, position, left_out), likelihood or "gaussian")


def _categories(container: Container, position: int, left_out: NDArray[np.bool_] | None, grouping: Grouping) -> Column:
    values, missing = _values(container, position, left_out)
    order = container.ordered_categories(position)
    return Categories.learn(values, missing, order, grouping, container.label(position))


def _values(
    container: Container, position: int, left_out: NDArray[np.bool_] | None
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the cells of a column, and which of them nothing is learned from."""
    values, missing = container.values(position)
    return values, missing if left_out is None else missing | left_out


def _categorical(container: Container, asked: Any) -> NDArray[np.bool_]:
    """Return which columns hold categories, (n_columns,)."""
    n = len(container.names)
    if isinstance(asked, str) and asked == "from_dtype":
        return np.array([container.kind(position) == "category" for position in range(n)], dtype=bool)
    if asked is None:
        return np.zeros(n, dtype=bool)
    asked = np.asarray(asked)
    if asked.dtype.kind == "b":
        if asked.shape != (n,):
            raise ValueError(
                f"categorical_features as a mask must have one entry for each of {n} columns, got shape {asked.shape}"
            )
        return asked
    known = container.names if asked.dtype.kind not in "iu" else list(range(n))
    if asked.ndim != 1 or set(asked.tolist()) - set(known):
        raise ValueError(
            f"categorical_features must be names or positions of columns of X, {known!r}, got {asked.tolist()!r}"
        )
    chosen = set(asked.tolist())
    return np.array([entry in chosen for entry in known], dtype=bool)


def _likelihoods(container: Container, asked: str | Mapping[Any, str]) -> list[str | None]:
    """Return the likelihood that is asked for each column, None where its dtype decides."""
    if isinstance(asked, str):
        return [None if asked == "auto" else asked] * len(container.names)
    unknown = [name for name in asked if name not in container.names]
    if unknown:
        raise ValueError(f"likelihood must name columns of X, got {unknown!r} among {container.names!r}")
    wrong = [kind for kind in asked.values() if kind not in ("auto", *NUMERIC)]
    if wrong:
        raise ValueError(f"likelihood of a column must be one of {['auto', *NUMERIC]}, got {wrong[0]!r}")
    return [None if asked.get(name, "auto") == "auto" else asked[name] for name in container.names]
