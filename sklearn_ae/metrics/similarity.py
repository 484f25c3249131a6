"""Distributions of columns, and of pairs of columns, in generated and in real rows."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.metrics.reading import Tables

N_BINS = 10  # of numbers beside categories, as in SDMetrics
DECIMALS = 14  # of numbers relative to the largest one


def column_shapes(real: Any, samples: Any, *, categorical_features: Any = "from_dtype") -> Any:
    """Compare the distribution of each column in generated and in real rows.

    Parameters
    ----------
    real : array-like or DataFrame of shape (n_real, n_features)
        Real rows. Missing cells are allowed.
    samples : array-like or DataFrame of shape (n_samples, n_features)
        Generated rows, with the same columns.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Categorical columns: by the dtypes of ``real``, or names, positions, a mask, or none. Boolean columns count as
        categorical as well.

    Returns
    -------
    scores : pandas.DataFrame
        A row for each column of the tables:

        - ``score``: the similarity of the distributions of the known cells, from 0 to 1. Numbers: 1 minus the
          Kolmogorov-Smirnov statistic (KSComplement of SDMetrics). Categories: 1 minus the total variation distance
          (TVComplement). NaN if a table has no known cell in the column.
        - ``missing``: 1 minus the absolute difference of the shares of missing cells (MissingValueSimilarity).

    References
    ----------
    SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_ae.metrics import column_shapes
    >>> real = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "kind": ["a", "a", "b", "b"]})
    >>> samples = pd.DataFrame({"size": [1.0, 2.0, 3.0, 9.0], "kind": ["a", "b", "b", "b"]})
    >>> column_shapes(real, samples)
          score  missing
    size   0.75      1.0
    kind   0.75      1.0
    """
    import pandas as pd

    tables = Tables.read({"real": real, "samples": samples}, categorical_features)
    both = tables.cells["real"], tables.cells["samples"]
    scores = {"score": shape_scores(*both, tables.discrete), "missing": missing_scores(*both)}
    return pd.DataFrame(scores, index=tables.names)


def pair_trends(real: Any, samples: Any, *, categorical_features: Any = "from_dtype") -> Any:
    """Compare the dependence of each pair of columns in generated and in real rows.

    Parameters
    ----------
    real : array-like or DataFrame of shape (n_real, n_features)
        Real rows. Missing cells are allowed.
    samples : array-like or DataFrame of shape (n_samples, n_features)
        Generated rows, with the same columns.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Categorical columns: by the dtypes of ``real``, or names, positions, a mask, or none. Boolean columns count as
        categorical as well.

    Returns
    -------
    scores : pandas.DataFrame of shape (n_features, n_features)
        The similarity of each pair of columns, from 0 to 1, symmetric. The diagonal is NaN.

        - Two columns of numbers: 1 minus half the absolute difference of the Pearson correlations, of rows in which
          both are known (CorrelationSimilarity of SDMetrics). NaN where a correlation is undefined, since a column is
          constant in one of the tables.
        - Other pairs: 1 minus the total variation distance of the contingency tables, in which a missing cell is a
          category of its own (ContingencySimilarity). Numbers are divided into ten bins of equal width. The range of
          the bins is that of the real rows.

    Notes
    -----
    The bins are those of ``ContingencySimilarity`` with ``continuous_column_names``. The quality report of SDMetrics
    bins each table by its own range instead, and thus does not see a column that is shifted or stretched.

    References
    ----------
    SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae.metrics import pair_trends
    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> pair_trends(np.column_stack([x, x]), np.column_stack([x, -x]))
         0    1
    0  NaN  0.0
    1  0.0  NaN
    """
    import pandas as pd

    tables = Tables.read({"real": real, "samples": samples}, categorical_features)
    scores = trend_scores(tables.cells["real"], tables.cells["samples"], tables.discrete)
    return pd.DataFrame(scores, index=tables.names, columns=tables.names)


def shape_scores(real: NDArray, samples: NDArray, discrete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the similarity of the distribution of each column in two tables, (d,).

    Parameters
    ----------
    real, samples : ndarray of shape (n, d)
        Cells of the tables.
    discrete : ndarray of shape (d,)
        Which columns hold category codes.
    """
    scores = np.full(len(discrete), np.nan)
    for position, is_discrete in enumerate(discrete.tolist()):
        one, other = (column[~np.isnan(column)] for column in (real[:, position], samples[:, position]))
        if len(one) and len(other):
            distance = _total_variation if is_discrete else _kolmogorov_smirnov
            scores[position] = 1 - distance(one, other)
    return scores


def missing_scores(real: NDArray, samples: NDArray) -> NDArray[np.float64]:
    """Return the similarity of the share of missing cells of each column in two tables, (n, d) -> (d,)."""
    return 1 - np.abs(np.isnan(real).mean(axis=0) - np.isnan(samples).mean(axis=0))


def trend_scores(real: NDArray, samples: NDArray, discrete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the similarity of each pair of columns in two tables, (d, d).

    Parameters
    ----------
    real, samples : ndarray of shape (n, d)
        Cells of the tables.
    discrete : ndarray of shape (d,)
        Which columns hold category codes.
    """
    scores = 1 - np.abs(_correlations(real) - _correlations(samples)) / 2
    np.fill_diagonal(scores, np.nan)
    if not discrete.any():
        return scores
    codes = [_whole_numbers(*columns) for columns in zip(real.T, samples.T, discrete.tolist(), strict=True)]
    for i, j in combinations(range(len(codes)), 2):
        if discrete[i] or discrete[j]:
            scores[i, j] = scores[j, i] = 1 - _contingency_distance(codes[i], codes[j])
    return scores


def mean_of_known(scores: NDArray) -> float:
    """Return the mean of the scores that are not NaN; NaN if all are."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else float("nan")


def _kolmogorov_smirnov(one: NDArray, other: NDArray) -> float:
    """Return the largest difference of two empirical distribution functions."""
    # Numbers that differ by rounding errors are equal. SDMetrics rounds to 14 decimals whatever the unit of the column.
    scale = np.abs(one).max() or 1.0
    with np.errstate(over="ignore"):  # infinity is still the largest number
        one, other = np.round(one / scale, DECIMALS), np.round(other / scale, DECIMALS)
    points = np.concatenate([one, other])
    below_one, below_other = (
        np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (one, other)
    )
    return float(np.abs(below_one - below_other).max())


def _total_variation(one: NDArray, other: NDArray) -> float:
    """Return half the sum of the absolute differences of the shares of all values."""
    import pandas as pd

    codes, values = pd.factorize(np.concatenate([one, other]))
    shares = [np.bincount(part, minlength=len(values)) / len(part) for part in np.split(codes, [len(one)])]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _contingency_distance(first: list[NDArray], second: list[NDArray]) -> float:
    """Return the total variation distance of two contingency tables, from two columns in each table."""
    width = 1 + max(column.max() for column in second)
    return _total_variation(*(a * width + b for a, b in zip(first, second, strict=True)))


def _correlations(cells: NDArray) -> NDArray[np.float64]:
    """Return the Pearson correlations of rows in which both columns are known, (n, d) -> (d, d)."""
    import pandas as pd

    return pd.DataFrame(cells).corr().to_numpy()


def _whole_numbers(real: NDArray, samples: NDArray, is_discrete: bool) -> list[NDArray[np.int64]]:
    """Return a column in both tables as codes or bins from 1 on; a missing cell is 0."""
    edges = None if is_discrete else _inner_edges(real[~np.isnan(real)])
    codes = [column if edges is None else np.searchsorted(edges, column, side="right") for column in (real, samples)]
    return [
        np.where(np.isnan(column), 0, code + 1).astype(np.int64)
        for column, code in zip((real, samples), codes, strict=True)
    ]


def _inner_edges(known: NDArray) -> NDArray[np.float64]:
    """Return the edges between bins of equal width; the outer bins are open."""
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    if low == high:  # as numpy.histogram does
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, N_BINS + 1)[1:-1]
