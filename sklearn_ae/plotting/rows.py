"""The rows that a picture is made of: all of a table in memory, a sample of a source."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.random import sample_without_replacement

from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.tables.containers import SourceContainer, TableInFiles
from sklearn_ae.tables.sources import Source

MOST_ROWS = 10_000  # of a source: more change no picture that can be seen, and may not fit into the memory


def shown_rows(table: Any, transformer: Any = None) -> Any:
    """Return a table as it is, or rows of a source as an array.

    Parameters
    ----------
    table : array-like, DataFrame, sparse matrix or Source of shape (n, d)
        The table.
    transformer : transformer, default=None
        A fitted estimator that the rows are for.

    Returns
    -------
    shown : array-like, DataFrame, sparse matrix, or ndarray of shape (at most 10,000, d)
        The table, unless it is a source. Of a source all rows, or 10,000 that are drawn with a fixed seed, in their
        order. Others are not read.

    Raises
    ------
    TypeError
        If the dtype of a source is neither float32 nor float64, or the transformer takes only DataFrames.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae.plotting.rows import shown_rows
    >>> from sklearn_ae.tables.sources import Array
    >>> shown_rows(Array(np.zeros((30_000, 2)))).shape
    (10000, 2)
    """
    return shown_together(table, transformer=transformer)[0]


def shown_together(*tables: Any, transformer: Any = None) -> list[Any]:
    """Return tables or labels of the same rows as they are, or the same rows of each if one of them is a source.

    Parameters
    ----------
    *tables : array-like, DataFrame, sparse matrix, Source, StoredTable or None
        Tables or labels with as many rows.
    transformer : transformer, default=None
        A fitted estimator that the rows are for.

    Returns
    -------
    shown : list
        The rows of each of them that :func:`shown_rows` returns of the source, None for None.

    Raises
    ------
    TypeError
        If the dtype of a source is neither float32 nor float64, or the transformer takes only DataFrames, or a
        StoredTable is made of DataFrames.
    ValueError
        If there is a source, and the tables differ in their numbers of rows.
    """
    tables = tuple(table[:] if isinstance(table, TableInFiles) else table for table in tables)
    sources = [SourceContainer(table) for table in tables if isinstance(table, Source)]
    if not sources:
        return list(tables)
    _check_takes_numbers(transformer)
    check_consistent_length(*tables)
    n_rows = len(sources[0])
    if n_rows <= MOST_ROWS:
        return [table[:n_rows] if isinstance(table, Source) else table for table in tables]
    index = np.sort(sample_without_replacement(n_rows, MOST_ROWS, random_state=0))
    return [None if table is None else _at(table, index) for table in tables]


def _check_takes_numbers(transformer: Any) -> None:
    """Raise if a transformer was fitted on a DataFrame with categories, which a source can't have."""
    if isinstance(transformer, BaseAutoencoder) and transformer.model_.encoding.schema.needs_frame:
        raise TypeError(
            f"X must be a DataFrame, because this {type(transformer).__name__} was fitted on one with categories, got "
            "a Source. Give a DataFrame with the same columns"
        )


def _at(table: Any, index: NDArray) -> Any:
    """Return some rows of a table or labels."""
    return table[index] if isinstance(table, Source) else _safe_indexing(table, index)
