"""Several tables with the same columns, read as arrays of numbers."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from sklearn_ae.tables.containers import ArrayContainer, Container, SparseContainer, check_kind, with_nan
from sklearn_ae.tables.frames import frame_container, is_frame
from sklearn_ae.tables.schema import categorical_columns

LARGEST = 1e100  # whose square is finite


@dataclass(frozen=True)
class Tables:
    """Tables with the same columns.

    Parameters
    ----------
    names : list
        Names of the columns of a DataFrame, positions of those of an array.
    discrete : ndarray of shape (d,)
        Which columns hold categories or truth values.
    cells : mapping of str to ndarray of shape (n, d)
        The cells of each table by its name. Categories are codes, the same in all tables, the most frequent one 0.
        Missing cells are NaN.
    """

    names: list[Any]
    discrete: NDArray[np.bool_]
    cells: Mapping[str, NDArray[np.float64]]

    @classmethod
    def read(cls, given: Mapping[str, Any], categorical_features: Any = "from_dtype") -> "Tables":
        """Read tables as the user gave them.

        Parameters
        ----------
        given : mapping of str to array-like or DataFrame
            The tables by their names in messages. The first one determines which columns hold categories.
        categorical_features : "from_dtype", array-like or None
            Categorical columns, as in the estimators.

        Returns
        -------
        tables : Tables
            Their cells.

        Raises
        ------
        TypeError, ValueError
            If the tables differ in their columns, or a cell is neither missing nor of the kind of its column.
        """
        containers = {name: container_of(table, name) for name, table in given.items()}
        (first, like), *others = containers.items()
        for name, container in others:
            _check_columns(container, name, like, first)
        kinds = [like.kind(position) for position in range(len(like.names))]
        discrete = categorical_columns(like, categorical_features) | (np.array(kinds) == "boolean")
        cells = {name: np.empty((len(container), len(discrete))) for name, container in containers.items()}
        for position, is_discrete in enumerate(discrete.tolist()):
            columns = (_codes if is_discrete else _numbers)(containers, position)
            for name, column in columns.items():
                cells[name][:, position] = column
        return cls(like.names, discrete, cells)

    def position(self, column: Any, name: str) -> int:
        """Return the position of a column, which is given by its name or position.

        Parameters
        ----------
        column : hashable
            An integer is a position, anything else a name.
        name : str
            The name of the parameter in messages.

        Returns
        -------
        position : int
            The position.
        """
        return position_of(column, self.names, name)


def position_of(column: Any, names: list[Any], name: str) -> int:
    """Return the position of a column, which is given by its name or position.

    Parameters
    ----------
    column : hashable
        An integer is a position, anything else a name.
    names : list
        Names of all columns.
    name : str
        The name of the parameter in messages.

    Returns
    -------
    position : int
        The position.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    is_position = isinstance(column, int | np.integer) and not isinstance(column, bool)
    known = list(range(len(names))) if is_position else names
    if not isinstance(column, Hashable) or column not in known:
        raise ValueError(f"{name} must be the name or the position of a column, got {column!r} among {names}")
    return known.index(column)


def container_of(table: Any, name: str) -> Container:
    """Return a table as a container, after a check of its type and shape.

    Parameters
    ----------
    table : array-like or DataFrame of shape (n, d)
        The table.
    name : str
        The name of the parameter in messages.

    Returns
    -------
    container : Container
        Its columns can be read.

    Raises
    ------
    TypeError, ValueError
        If it is no table, or has no rows or no columns.
    """
    check_kind(table, name)
    if is_frame(table):
        if 0 in table.shape:
            raise ValueError(f"{name} must have rows and columns, got shape {table.shape}")
        return frame_container(table)
    try:
        array = check_array(with_nan(table), dtype=None, accept_sparse="csr", ensure_all_finite=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be a DataFrame or an array of rows and columns, got: {error}") from error
    return SparseContainer(array) if issparse(array) else ArrayContainer(array)


def _check_columns(container: Container, name: str, like: Container, first: str) -> None:
    """Raise unless two tables have the same columns in the same order; those of arrays have no names."""
    if container.is_frame and like.is_frame and container.names != like.names:
        raise ValueError(
            f"{name} must have the columns of {first} in their order, {like.names}, got {container.names}: "
            f"select them, for example by {name}[list({first}.columns)]"
        )
    if len(container.names) != len(like.names):
        raise ValueError(f"{name} must have as many columns as {first}, {len(like.names)}, got {len(container.names)}")


def _numbers(containers: Mapping[str, Container], position: int) -> dict[str, NDArray[np.float64]]:
    """Return the numbers of a column in each table, (n,)."""
    return {name: _numbers_of(container, position, name) for name, container in containers.items()}


def _numbers_of(container: Container, position: int, name: str) -> NDArray[np.float64]:
    label = container.label(position)
    cells, missing = container.values(position)
    if container.kind(position) == "category" and not missing.all():
        raise ValueError(
            f"{name} must hold numbers in {label}, got {cells[~missing][0]!r}: name the column in "
            "categorical_features if it holds categories"
        )
    numbers = np.full(len(cells), np.nan)
    try:
        numbers[~missing] = cells[~missing].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must hold numbers in {label}, got: {error}. Name the column in categorical_features if it holds "
            "categories"
        ) from error
    largest = np.max(np.abs(numbers[~np.isnan(numbers)]), initial=0)
    if largest > LARGEST:
        raise ValueError(f"{name} must hold numbers of a magnitude up to {LARGEST:g}, got {largest:g} in {label}")
    return numbers


def _codes(containers: Mapping[str, Container], position: int) -> dict[str, NDArray[np.float64]]:
    """Return the category codes of a column in each table, (n,)."""
    import pandas as pd

    for container in containers.values():
        container.ordered_categories(position)  # raises for a sparse matrix
    columns = [container.values(position) for container in containers.values()]
    cells, missing = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    codes = np.full(len(cells), np.nan)
    try:
        found, _ = pd.factorize(cells[~missing])
    except TypeError as error:  # lists and the like
        label = next(iter(containers.values())).label(position)
        raise TypeError(f"categories must be values such as strings or numbers, got in {label}: {error}") from error
    codes[~missing] = _ranks(np.bincount(found))[found]
    ends = np.cumsum([len(container) for container in containers.values()])
    return dict(zip(containers, np.split(codes, ends[:-1]), strict=True))


def _ranks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank of each category by its frequency, the most frequent one 0."""
    # Equal counts are ranked at random: by their first row, unique categories would tell which table they are from.
    shuffled = np.random.RandomState(0).permutation(len(counts))
    return np.argsort(np.lexsort((shuffled, -counts)))
