"""The report on generated rows: one row per measure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.estimators.inputs import check_count, check_random
from sklearn_ae.metrics.boosting import classifier_auc, prediction_score
from sklearn_ae.metrics.reading import Tables
from sklearn_ae.metrics.records import distance_to_closest, share_of_copies
from sklearn_ae.metrics.similarity import mean_of_known, missing_scores, shape_scores, trend_scores

IDEAL = {
    "column_shapes": 1.0,
    "pair_trends": 1.0,
    "missing_cells": 1.0,
    "classifier_auc": 0.5,
    "boosting_r2": 1.0,
    "boosting_auc": 1.0,
    "closest_record": 1.0,
    "copies": 0.0,
}
LEAST_QUERIES = 100  # rows whose closest record is searched, at least


def sample_report(
    real: Any,
    samples: Any,
    holdout: Any = None,
    *,
    target: Any = None,
    categorical_features: Any = "from_dtype",
    max_rows: int = 10_000,
    random_state: Any = None,
) -> Any:
    """Measure how good generated rows are, those of any generator.

    Parameters
    ----------
    real : array-like or DataFrame of shape (n_real, n_features)
        The training rows of the generator. Missing cells are allowed.
    samples : array-like or DataFrame of shape (n_samples, n_features)
        Generated rows, with the same columns.
    holdout : array-like or DataFrame of shape (n_holdout, n_features), optional
        Real rows that the generator was not trained on. All measures are computed for them as well, so that they
        show what real rows would score.
    target : str or int, optional
        The name or position of the column that gradient boosting predicts. It needs ``holdout``.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Categorical columns: by the dtypes of ``real``, or names, positions, a mask, or none, as in the estimators.
        Boolean columns count as categorical as well. Integers are numbers unless they are named here.
    max_rows : int, default=10_000
        Maximum number of rows per table for boosting; larger tables are subsampled. For the closest record, generated
        and holdout rows are subsampled so that at most about ``max_rows ** 2`` distances to training rows are computed.
        The other measures use all rows.
    random_state : int, RandomState or None, default=None
        Determines draws of rows, folds and the models.

    Returns
    -------
    report : pandas.DataFrame
        A row for each measure, with the columns ``samples``, ``holdout`` (if there is one) and ``ideal``:

        - ``column_shapes``: the mean similarity of the distributions of the columns, see
          :func:`~sklearn_ae.metrics.column_shapes`.
        - ``pair_trends``: the mean similarity of the dependence of pairs of columns, see
          :func:`~sklearn_ae.metrics.pair_trends`.
        - ``missing_cells``: the mean similarity of the shares of missing cells of the columns.
        - ``classifier_auc``: the area under the ROC curve of a ``HistGradientBoostingClassifier`` that distinguishes
          samples from holdout rows, the mean of five folds: 0.5 if it can't, 1 if it always can. In the column
          ``holdout`` it distinguishes holdout rows from those of ``real``. Without holdout rows, it distinguishes
          samples from ``real``, and is well below 0.5 for copies. It is 0.5 in tables of fewer than about 50 rows.
        - ``boosting_r2`` or ``boosting_auc``, with ``target`` and ``holdout``: gradient boosting that is trained on
          ``samples`` and tested on ``holdout``: the coefficient of determination if the target holds numbers, the area
          under the ROC curve if it holds categories. In the column ``holdout`` it is trained on ``real``.
        - ``closest_record``, with ``holdout``: the median distance to the closest row of ``real``, divided by that of
          ``holdout``. Well below 1, samples are copies of training rows with little change. The distance is the
          Euclidean one of standardised numbers and one-hot categories.
        - ``copies``: the share of rows that equal a row of ``real`` in all cells. It should not exceed that of
          ``holdout``.

    See Also
    --------
    sklearn_ae.metrics.column_shapes : The similarity of each column.
    sklearn_ae.metrics.pair_trends : The similarity of each pair of columns.

    Notes
    -----
    Similarities are those of SDMetrics. In the distance to the closest record, a missing number is the mean with an
    indicator of 1, and a missing category is a category of its own.

    References
    ----------
    SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae.metrics import sample_report
    >>> random = np.random.RandomState(0)
    >>> real, holdout = random.normal(size=(300, 2)), random.normal(size=(200, 2))
    >>> report = sample_report(real, real, holdout, random_state=0)  # copies as samples
    >>> report["samples"].round(1)
    column_shapes     1.0
    pair_trends       1.0
    missing_cells     1.0
    classifier_auc    0.5
    closest_record    0.0
    copies            1.0
    Name: samples, dtype: float64
    """
    import pandas as pd

    check_count("max_rows", max_rows)
    seed = int(check_random(random_state).randint(2**31 - 1))
    given = {"real": real, "samples": samples} | ({} if holdout is None else {"holdout": holdout})
    tables = Tables.read(given, categorical_features)
    if target is not None and holdout is None:
        raise ValueError(f"target must be None without holdout, got {target!r}: give rows to test predictions on")
    position = None if target is None else tables.position(target, "target")
    judge = Judge(tables, position, max_rows, seed)
    columns = {name: judge.measures(name) for name in tables.cells if name != "real"}
    return pd.DataFrame(columns | {"ideal": {name: IDEAL[name] for name in columns["samples"]}})


@dataclass(frozen=True)
class Judge:
    """Computes the measures of rows against the training rows.

    Parameters
    ----------
    tables : Tables
        The tables of the report.
    target : int or None
        Position of the column to predict.
    max_rows : int
        Number of rows per table that boosting uses.
    seed : int
        The seed of all draws, the same for samples and for holdout rows.
    """

    tables: Tables
    target: int | None
    max_rows: int
    seed: int

    def measures(self, name: str) -> dict[str, float]:
        """Return all measures of the samples or the holdout rows."""
        cells, discrete = self.tables.cells, self.tables.discrete
        real, rows = cells["real"], cells[name]
        # The classifier gets holdout rows if there are any: against training rows, copies would have an area below 0.5.
        others = cells.get("holdout", real) if name == "samples" else real
        return {
            "column_shapes": mean_of_known(shape_scores(real, rows, discrete)),
            "pair_trends": mean_of_known(trend_scores(real, rows, discrete)),
            "missing_cells": float(missing_scores(real, rows).mean()),
            "classifier_auc": classifier_auc(self._drawn(others), self._drawn(rows), discrete, self.seed),
            **self._measures_by_holdout(rows, real if name == "holdout" else rows),
            "copies": share_of_copies(rows, real),
        }

    def _measures_by_holdout(self, rows: NDArray, training: NDArray) -> dict[str, float]:
        """Return the measures that need holdout rows, if there are any."""
        holdout = self.tables.cells.get("holdout")
        if holdout is None:
            return {}
        closest = _ratio(self._distance(rows), self._distance(holdout))
        return self._prediction(training, holdout) | {"closest_record": closest}

    def _prediction(self, training: NDArray, holdout: NDArray) -> dict[str, float]:
        if self.target is None:
            return {}
        discrete = self.tables.discrete
        name = "boosting_auc" if discrete[self.target] else "boosting_r2"
        return {name: prediction_score(self._drawn(training), holdout, discrete, self.target, self.seed)}

    def _distance(self, rows: NDArray) -> float:
        real = self.tables.cells["real"]
        n = max(LEAST_QUERIES, self.max_rows**2 // len(real))
        return distance_to_closest(_subset(rows, n, self.seed), real, self.tables.discrete)

    def _drawn(self, rows: NDArray) -> NDArray:
        return _subset(rows, self.max_rows, self.seed)


def _subset(rows: NDArray, n: int, seed: int) -> NDArray:
    """Return at most n rows, drawn without replacement."""
    if len(rows) <= n:
        return rows
    return rows[np.random.RandomState(seed).choice(len(rows), n, replace=False)]


def _ratio(distance: float, reference: float) -> float:
    """Return the ratio of two distances: 1 if both are 0, infinity if only the reference is."""
    if reference == 0:
        return 1.0 if distance == 0 else float("inf")
    return distance / reference
