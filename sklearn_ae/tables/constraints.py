"""Constraints: conditions that every row which comes out of an autoencoder meets."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.containers import Container

RELATIVE = 1e-6  # tolerance of a formula on the training rows

Cells = list[NDArray]  # the columns of a constraint, each (n,)
Free = list[NDArray[np.bool_]]  # which of their cells are not known, and may be changed


class Constraint(ABC):
    """A condition on some columns.

    Attributes
    ----------
    names : tuple
        Names of the columns of a DataFrame, positions of those of an array.
    """

    @property
    @abstractmethod
    def names(self) -> tuple[Any, ...]:
        """The columns of the condition."""

    def learned(self, cells: Cells) -> Self:
        """Return the constraint with what it learns from complete training rows."""
        return self

    @abstractmethod
    def is_met(self, cells: Cells) -> NDArray[np.bool_]:
        """Return which rows meet the condition, (n,)."""

    @abstractmethod
    def repaired(self, cells: Cells, free: Free) -> Cells:
        """Return columns that meet the condition, wherever a change of free cells is enough."""


@dataclass(frozen=True)
class Formula(Constraint):
    """A column that is a function of others.

    The cells of the column are replaced by the value of the function, where they are not known. If only another cell of
    the row is unknown, nothing is changed.

    Parameters
    ----------
    column : str or int
        The column.
    function : callable
        Function of the other columns, arrays of shape (n,), to an array of shape (n,). It must be importable, so that
        the estimator can be pickled: a lambda can't be.
    of : sequence
        The other columns.

    Examples
    --------
    >>> import operator
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.tables.constraints import Formula
    >>> random = np.random.RandomState(0)
    >>> bills = pd.DataFrame({"net": random.gamma(2, size=100).round(2), "tax": random.gamma(1, size=100).round(2)})
    >>> bills["total"] = bills["net"] + bills["tax"]
    >>> total = Formula("total", operator.add, ["net", "tax"])
    >>> model = RegularizedAutoencoder(2, max_iter=5, constraints=[total], random_state=0).fit(bills)
    >>> rows = model.sample(50, random_state=0)
    >>> bool(np.allclose(rows["total"], rows["net"] + rows["tax"]))
    True
    """

    column: Any
    function: Callable[..., Any]
    of: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", tuple(self.of))

    @property
    def names(self) -> tuple[Any, ...]:
        """The column, then the others."""
        return (self.column, *self.of)

    def is_met(self, cells: Cells) -> NDArray[np.bool_]:
        """Return which rows meet the formula, numbers up to rounding."""
        column, expected = cells[0], self._expected(cells)
        if column.dtype == object or expected.dtype == object:
            return column == expected
        scale = np.maximum(np.abs(expected), np.abs(column).mean())
        return np.abs(column - expected) <= RELATIVE * scale

    def repaired(self, cells: Cells, free: Free) -> Cells:
        """Return columns of which the first one has the values of the formula, where its cells are free."""
        column = np.where(free[0], self._expected(cells), cells[0])
        if cells[0].dtype.kind in "iu":
            column = np.rint(column.astype(np.float64))
        return [column.astype(cells[0].dtype), *cells[1:]]

    def _expected(self, cells: Cells) -> NDArray:
        expected = np.asarray(self.function(*cells[1:]))
        if expected.shape != cells[0].shape:
            raise ValueError(
                f"the function of the constraint on {self.column!r} must return {len(cells[0])} values, got shape "
                f"{expected.shape}"
            )
        return expected


@dataclass(frozen=True)
class Inequality(Constraint):
    """A column that is never larger than another one.

    If both cells of a row are generated, they are exchanged where the condition is not met. If one is known, the other
    one is set to it. In a column of integers the new cell is rounded so that the condition holds.

    Parameters
    ----------
    low, high : str or int
        The columns: ``low <= high`` in every row.
    """

    low: Any
    high: Any

    @property
    def names(self) -> tuple[Any, ...]:
        """Both columns."""
        return (self.low, self.high)

    def is_met(self, cells: Cells) -> NDArray[np.bool_]:
        """Return which rows meet the inequality."""
        return cells[0] <= cells[1]

    def repaired(self, cells: Cells, free: Free) -> Cells:
        """Return columns of which the first one is not larger, where one of both cells is free."""
        is_wrong = ~self.is_met(cells)
        # Whole numbers are rounded away from the other column: truncation could leave them on the wrong side of it.
        lowered, raised = _as_dtype(cells[1], cells[0].dtype, np.floor), _as_dtype(cells[0], cells[1].dtype, np.ceil)
        return [np.where(is_wrong & free[0], lowered, cells[0]), np.where(is_wrong & free[1], raised, cells[1])]


@dataclass(frozen=True)
class FixedCombinations(Constraint):
    """Columns of which only those combinations of values occur that are in the training rows.

    Other combinations are replaced by the most similar one: the one with the most equal cells, and of these the most
    frequent one, that agrees with all known cells.

    Parameters
    ----------
    columns : sequence
        The columns, usually of categories.
    combinations : tuple of tuple, default=()
        The combinations of values, the most frequent first. The fit finds them in its rows.
    """

    columns: Sequence[Any]
    combinations: tuple[tuple[Any, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))

    @property
    def names(self) -> tuple[Any, ...]:
        """The columns."""
        return tuple(self.columns)

    def learned(self, cells: Cells) -> Self:
        """Return the constraint with the combinations of the rows, the most frequent first."""
        counts = Counter(_tuples(cells))
        return replace(self, combinations=tuple(combination for combination, _ in counts.most_common()))

    def is_met(self, cells: Cells) -> NDArray[np.bool_]:
        """Return which rows hold a combination of the training rows."""
        seen = set(self.combinations)
        return np.array([combination in seen for combination in _tuples(cells)], dtype=bool)

    def repaired(self, cells: Cells, free: Free) -> Cells:
        """Return columns with combinations of the training rows, where they agree with the known cells."""
        repaired = [column.copy() for column in cells]
        rows = np.flatnonzero(~self.is_met(cells))
        masks = np.stack(free, 1)[rows].tolist()
        wrong, seen = _tuples([column[rows] for column in cells]), np.empty(len(self.combinations), dtype=object)
        seen[:] = self.combinations
        nearest = {case: self._nearest(*case) for case in set(zip(wrong, map(tuple, masks), strict=True))}
        for row, combination, mask in zip(rows.tolist(), wrong, map(tuple, masks), strict=True):
            for column, value in zip(repaired, nearest[combination, mask], strict=True):
                column[row] = value
        return repaired

    def _nearest(self, combination: tuple[Any, ...], free: tuple[bool, ...]) -> tuple[Any, ...]:
        """Return the most similar combination of the training rows, or the given one if none agrees with it."""
        best, n_best = combination, -1
        for seen in self.combinations:
            equal = [a == b for a, b in zip(seen, combination, strict=True)]
            agrees = all(one or may_change for one, may_change in zip(equal, free, strict=True))
            if agrees and sum(equal) > n_best:
                best, n_best = seen, sum(equal)
        return best


class Constraints:
    """The constraints of a table.

    Parameters
    ----------
    constraints : sequence of Constraint
        The constraints, in the order in which they are met.
    positions : sequence of list of int
        Positions of the columns of each.
    """

    def __init__(self, constraints: Sequence[Constraint], positions: Sequence[list[int]]) -> None:
        self.constraints = constraints
        self.positions = positions

    def __bool__(self) -> bool:
        return bool(self.constraints)

    @classmethod
    def learn(cls, constraints: Sequence[Any], container: Container, left_out: NDArray[np.bool_] | None = None) -> Self:
        """Return the constraints, learned from the complete training rows; raise if these do not meet them."""
        positions = [_positions(constraint, container) for constraint in constraints]
        learned = []
        for constraint, of_constraint in zip(constraints, positions, strict=True):
            cells, missing = zip(*map(container.values, of_constraint), strict=True)
            is_used = ~np.any(missing, axis=0) if left_out is None else ~np.any(missing, axis=0) & ~left_out
            complete = [_as_numbers(column[is_used]) for column in cells]
            learned.append(constraint.learned(complete))
            n_wrong = int((~learned[-1].is_met(complete)).sum())
            if n_wrong:
                raise ValueError(
                    f"constraints must hold in all complete rows of X, got {n_wrong} of {is_used.sum()} rows that do "
                    f"not meet {constraint}: correct these rows, or leave the constraint out"
                )
        return cls(learned, positions)

    def restored(self, columns: list[NDArray]) -> list[NDArray]:
        """Return all columns of generated rows, which meet the constraints."""
        free = np.ones(len(columns[0]), dtype=bool)
        met = self._met(dict(enumerate(columns)), lambda position: free)
        return [met[position] for position in range(len(columns))]

    def filled(
        self, columns: Mapping[int, NDArray], missing: NDArray[np.bool_], container: Container
    ) -> dict[int, NDArray]:
        """Return the columns that have missing cells, (n,), filled so that rows meet the constraints."""
        cells = dict(columns)
        for position in {position for of_constraint in self.positions for position in of_constraint}:
            known, is_missing = container.values(position)
            cells[position] = np.array(columns.get(position, _as_numbers(known)))  # a copy
            cells[position][~is_missing] = known[~is_missing]
        met = self._met(cells, lambda position: missing[:, position])
        return {position: met[position] for position in columns}

    def _met(self, cells: dict[int, NDArray], free: Callable[[int], NDArray[np.bool_]]) -> dict[int, NDArray]:
        # A repair can break an earlier constraint. A chain of k inequalities is sorted after k passes.
        for _ in range(len(self.constraints) + 1):
            for constraint, positions in zip(self.constraints, self.positions, strict=True):
                repaired = constraint.repaired([cells[p] for p in positions], [free(p) for p in positions])
                cells.update(zip(positions, repaired, strict=True))
            if self._are_met(cells):
                break
        return cells

    def _are_met(self, cells: Mapping[int, NDArray]) -> bool:
        of_each = zip(self.constraints, self.positions, strict=True)
        return all(constraint.is_met([cells[p] for p in positions]).all() for constraint, positions in of_each)


def _positions(constraint: Any, container: Container) -> list[int]:
    if not isinstance(constraint, Constraint):
        raise TypeError(
            f"constraints must hold instances of Constraint, such as Formula, Inequality and FixedCombinations, got "
            f"{constraint!r}"
        )
    unknown = [name for name in constraint.names if name not in container.names]
    if unknown:
        raise ValueError(f"constraints must name columns of X, got {unknown!r} among {container.names!r}")
    return [container.names.index(name) for name in constraint.names]


def _as_numbers(column: NDArray) -> NDArray:
    """Return a column of objects that are all numbers as floats, or as it is."""
    if column.dtype == object and all(isinstance(value, int | float | np.number) for value in column.tolist()):
        return column.astype(np.float64)
    return column


def _as_dtype(column: NDArray, dtype: np.dtype, rounding: Callable[[NDArray], NDArray]) -> NDArray:
    """Return a column in a dtype, rounded if it changes to integers."""
    is_rounded = dtype.kind in "iu" and column.dtype.kind == "f"
    return (rounding(column) if is_rounded else column).astype(dtype)


def _tuples(cells: Cells) -> list[tuple[Any, ...]]:
    return list(zip(*(column.tolist() for column in cells), strict=True))
