"""The schema: the types, categories and likelihoods of the columns, learned in the fit and applied to later tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self, cast

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    FloatColumn,
    Grouping,
    IntegerColumn,
)
from sklearn_ae.tables.columns import Kind as Kind
from sklearn_ae.tables.constraints import Constraints
from sklearn_ae.tables.containers import Container
from sklearn_ae.tables.frames import FrameContainer
from sklearn_ae.tables.known import joined
from sklearn_ae.tables.sources import Source


@dataclass(frozen=True)
class Layout:
    """The cells of a row in their order: numbers by their likelihood, then categories, few before many.

    Parameters
    ----------
    numeric : mapping of Kind to int
        Number of columns of each likelihood, those that are standardised first.
    frequencies : tuple of ndarray, default=()
        For each column of categories, the relative frequency of each category.
    """

    numeric: Mapping[Kind, int]
    frequencies: tuple[NDArray[np.float64], ...] = ()

    @property
    def n_cells(self) -> int:
        """Number of cells of a row, one for each column of the table."""
        return self.n_numeric + len(self.frequencies)

    @property
    def n_numeric(self) -> int:
        """Number of columns that hold numbers."""
        return sum(self.numeric.values())

    @property
    def n_scaled(self) -> int:
        """Number of columns that are standardised; they come first."""
        return sum(n for kind, n in self.numeric.items() if kind.is_scaled)


@dataclass(frozen=True)
class Options:
    """A user's choices about the columns.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None
        Categorical columns: by dtype, or names, positions, a mask, or none.
    likelihood : str, Kind or mapping
        The likelihood of all numeric columns, or that of each by name or position: "auto", a key of ``kinds``, or any
        other ``Kind``.
    grouping : Grouping
        Which categories are rare.
    kinds : mapping of str to Kind
        Likelihoods by name, in the order of their cells. "gaussian" is the default of numbers and "bernoulli" that of
        truth values.
    constraints : sequence, default=()
        Conditions on the columns.
    """

    categorical_features: Any
    likelihood: str | Kind | Mapping[Any, str | Kind]
    grouping: Grouping
    kinds: Mapping[str, Kind]
    constraints: Sequence[Any] = ()

    @property
    def by_column(self) -> bool:
        """Whether columns of an array may differ in more than their values."""
        return isinstance(self.likelihood, Mapping) or not (
            self.categorical_features is None or isinstance(self.categorical_features, str)
        )

    @property
    def takes_tensors(self) -> bool:
        """Whether tensors can be checked where they are: functions of a user may need arrays."""
        is_named = isinstance(self.likelihood, str)
        is_checked = is_named or (isinstance(self.likelihood, Kind) and self.likelihood.accepts_all)
        return is_checked and not (self.by_column or self.constraints)


class Schema:
    """The columns of a table.

    Parameters
    ----------
    container : Container
        The table of the fit, without its rows.
    columns : sequence of Column
        What was learned of each column.
    options : Options
        The user's choices.
    constraints : Constraints, optional
        Conditions that restored and filled rows meet.

    Attributes
    ----------
    order : ndarray of int
        Positions of the columns in the order of the cells.
    """

    def __init__(
        self,
        container: Container,
        columns: Sequence[Column],
        options: Options,
        constraints: Constraints | None = None,
    ) -> None:
        self.container = container
        self.constraints = Constraints((), ()) if constraints is None else constraints
        self.columns = columns
        self.options = options
        self._categories = {
            position: column for position, column in enumerate(columns) if isinstance(column, CategoryColumn)
        }
        kinds = [column.likelihood for column in columns if column.likelihood is not None]
        self._kinds = _in_order(kinds, options.kinds)
        self.order = np.array(sorted(range(len(columns)), key=self._rank), dtype=np.int64)

    def _rank(self, position: int) -> tuple[int, int]:
        """Return the sort key of a column: the place of its likelihood, then its number of categories."""
        likelihood = self.columns[position].likelihood
        if likelihood is None:
            return len(self._kinds), len(self._categories[position].frequencies)
        return self._kinds.index(likelihood), 0

    @classmethod
    def learn(cls, container: Container, options: Options, left_out: NDArray[np.bool_] | None = None) -> Self:
        """Learn the columns of a table.

        Parameters
        ----------
        container : Container
            The table of the fit.
        options : Options
            The user's choices.
        left_out : ndarray of shape (n_rows,), optional
            Which rows are ignored.

        Returns
        -------
        schema : Schema
            The columns.
        """
        is_categorical = categorical_columns(container, options.categorical_features)
        likelihoods = _likelihoods(container, options)
        columns = [
            _categories(container, position, left_out, options.grouping)
            if is_categorical[position]
            else _numeric(container, position, left_out, options.kinds, likelihoods[position])
            for position in range(len(container.names))
        ]
        constraints = Constraints.learn(options.constraints, container, left_out)
        return cls(container.empty(), columns, options, constraints)

    @cached_property
    def layout(self) -> Layout:
        """The cells of a row."""
        counts = Counter(column.likelihood for column in self.columns)
        frequencies = tuple(
            self._categories[position].frequencies for position in self.order.tolist() if position in self._categories
        )
        return Layout({kind: counts[kind] for kind in self._kinds if counts[kind]}, frequencies)

    @property
    def labels(self) -> list[Any]:
        """Names of the columns in messages, in the order of the cells."""
        return [self.container.names[position] for position in self.order]

    @property
    def is_plain(self) -> bool:
        """Whether cells are the table itself: numbers of an array, in the order of its columns."""
        in_order = bool((self.order == np.arange(len(self.order))).all())
        return in_order and not self._categories and not self.container.is_frame

    @property
    def takes_tensors(self) -> bool:
        """Whether rows of tensors can stay on their device: nothing but numbers is asked of them."""
        return self.is_plain and self.options.takes_tensors

    @property
    def needs_frame(self) -> bool:
        """Whether rows must come in a DataFrame, as those of the fit did: it has categories."""
        return self.container.is_frame and bool(self._categories)

    def source(self, container: Container, handle_unknown: str) -> Source:
        """Return the cells of a table with these columns, missing ones NaN, after a check of their values.

        Parameters
        ----------
        container : Container
            The table.
        handle_unknown : {"ignore", "error", "refuse"}
            How categories that were not in the fit are treated. "refuse" raises an error that does not mention the
            parameter ``handle_unknown`` of estimators.

        Returns
        -------
        source : Source of shape (n, n_cells)
            The cells.

        Raises
        ------
        ValueError
            If a value is outside the range of the likelihood of its column, or a category is unknown.
        """
        n_numeric = self.layout.n_numeric
        numbers = container.numbers(self.order[:n_numeric].tolist()) if n_numeric else None
        if numbers is not None:
            self.check(numbers)
        if numbers is not None and not self._categories:
            return numbers
        columns = {
            position: partial(
                self._categories[position].ids_of, label=container.label(position), handle_unknown=handle_unknown
            )
            for position in self.order[n_numeric:].tolist()
        }
        return container.with_categories(numbers, columns)

    def check(self, source: Source) -> None:
        """Raise a ValueError unless the known values of all numeric columns are in the range of their likelihood."""
        start = 0
        for kind, n in self.layout.numeric.items():
            if not kind.accepts_all:
                for values in source.known_values(slice(start, start + n)):
                    kind.check(values)
            start += n

    def weights(self, asked: Any) -> list[float] | None:
        """Return the weight of each column, in the order of the cells, or None where all weights are equal."""
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
            weights = np.full(n, np.nan)  # strings
        if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"column_weight must hold {n} numbers, none of them negative, got {asked!r}")
        return weights[self.order].tolist()

    def restored(self, cells: Any, like: Any = None) -> Any:
        """Return a table of the kind of the fit from decoded cells, with the row index of ``like``."""
        if self.is_plain and not self.constraints:
            return cells
        return self.container.made_of(self.constraints.restored(self._restored(cells)), like)

    def filled(self, container: Container, cells: Any) -> Any:
        """Return a table as it was given, its missing cells filled from decoded cells, (n, n_cells).

        A column of categories that had no value in the fit stays as it is.
        """
        missing, place = container.missing(), np.argsort(self.order)
        has_gaps: Any = missing.any(0).tolist()
        columns = {
            position: self.columns[position].restored(cells[:, place[position]])
            for position in np.flatnonzero(has_gaps).tolist()
            if self.columns[position].has_values
        }
        columns = self.constraints.filled(columns, missing, container) if self.constraints else columns
        return container.filled(columns, missing, self.container)

    def with_known(self, given: Container, cells: NDArray) -> Any:
        """Return generated rows from decoded cells, (n, n_cells), with the known cells of ``given`` as they are.

        Columns have the dtypes of the fit, unless these can't hold the known cells.
        """
        if not self.container.is_frame:
            return self.filled(given, cells)
        columns = dict(enumerate(self._restored(cells)))
        columns = self.constraints.filled(columns, given.missing(), given) if self.constraints else columns
        return joined(list(columns.values()), cast(FrameContainer, given), cast(FrameContainer, self.container))

    def with_gaps(self, table: Any, gaps: NDArray[np.bool_], given: Container | None = None) -> Any:
        """Return a table of the kind of the fit without some cells, (n, n_cells); known cells of ``given`` stay."""
        missing = self.by_column(gaps)
        return self.container.with_gaps(table, missing if given is None else missing & given.missing())

    def per_cell(self, container: Container, values: NDArray) -> Any:
        """Return numbers of the cells, (n, n_cells), as a table with the columns and row index of the given one."""
        values = self.by_column(values)
        return frame_of_numbers(cast(FrameContainer, container), values) if container.is_frame else values

    def by_column(self, values: NDArray) -> NDArray:
        """Return numbers of the cells, (..., n_cells), in the order of the columns of the table."""
        return values[..., np.argsort(self.order)]

    @property
    def column_names(self) -> list[Any]:
        """Names of the columns of a DataFrame; x0, x1, ... for an array, as scikit-learn names them."""
        names = self.container.names
        return names if self.container.is_frame else [f"x{position}" for position in names]

    def _restored(self, cells: NDArray) -> list[NDArray]:
        place = np.argsort(self.order)
        return [column.restored(cells[:, place[i]]) for i, column in enumerate(self.columns)]


def frame_of_numbers(like: FrameContainer, values: NDArray) -> Any:
    """Return numbers, (n, d), in a DataFrame of the library, with the names and the row index of another one.

    NaN is a missing number: null where the library has it, so that sums leave it out.
    """
    native = like.native
    if hasattr(native, "iloc"):  # pandas, or a library with its interface
        return type(native)(values, index=native.index, columns=native.columns)
    numbers = nw.from_numpy(values, like.names, backend=like.frame.implementation)
    return numbers.with_columns(nw.all().fill_nan(None)).to_native()


def _in_order(occurring: Sequence[Kind], named: Mapping[str, Kind]) -> list[Kind]:
    """Return the kinds of numeric columns in the order of their cells: scaled before others, named before unnamed."""
    return sorted(dict.fromkeys([*named.values(), *occurring]), key=lambda kind: not kind.is_scaled)


def _numeric(
    container: Container,
    position: int,
    left_out: NDArray[np.bool_] | None,
    kinds: Mapping[str, Kind],
    likelihood: Kind | None,
) -> Column:
    """Return a column of numbers or truth values."""
    dtype = container.kind(position)
    if dtype == "category":
        raise ValueError(
            f"columns of strings must be among categorical_features, got {container.label(position)} "
            "that is not: name it there, or leave the default categorical_features='from_dtype'"
        )
    if likelihood is None:
        likelihood = kinds["bernoulli" if dtype == "boolean" else "gaussian"]
    if dtype == "integer":
        return IntegerColumn(*container.integer_range(position, left_out), likelihood)
    return BooleanColumn(likelihood) if dtype == "boolean" else FloatColumn(likelihood)


def _categories(container: Container, position: int, left_out: NDArray[np.bool_] | None, grouping: Grouping) -> Column:
    """Return a column of categories."""
    counts, order = container.value_counts(position, left_out), container.ordered_categories(position)
    return CategoryColumn.learn(counts, order, grouping, container.label(position))


def categorical_columns(container: Container, asked: Any) -> NDArray[np.bool_]:
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


def _likelihoods(container: Container, options: Options) -> list[Kind | None]:
    """Return the requested likelihood of each column, None if its dtype determines it."""
    asked = options.likelihood
    if not isinstance(asked, Mapping):
        return [_likelihood(asked, options.kinds)] * len(container.names)
    unknown = [name for name in asked if name not in container.names]
    if unknown:
        raise ValueError(f"likelihood must name columns of X, got {unknown!r} among {container.names!r}")
    chosen = {name: _likelihood(of_column, options.kinds) for name, of_column in asked.items()}
    return [chosen.get(name) for name in container.names]


def _likelihood(asked: Any, kinds: Mapping[str, Kind]) -> Kind | None:
    """Return the requested likelihood of a column, None for "auto"."""
    if not isinstance(asked, str) and isinstance(asked, Kind):
        return asked
    if not isinstance(asked, str) or asked not in ("auto", *kinds):
        raise ValueError(
            f"likelihood of a column must be one of {['auto', *kinds]} or a class of likelihoods, got {asked!r}"
        )
    return None if asked == "auto" else kinds[asked]
