"""How well each column is restored."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.metrics.reading import Tables
from sklearn_ae.plotting.drawing import bars, height_of, largest, legend_beside
from sklearn_ae.plotting.estimators import (
    categorical_features_of,
    labels_of,
    restored_by,
    restored_tables,
    transformer_of,
)
from sklearn_ae.plotting.figures import COLOURS, GREY, axes_for, check_matplotlib
from sklearn_ae.plotting.rows import shown_rows, shown_together

LOWEST = -1.0  # left end of the axis


class ColumnQualityDisplay:
    """How well each column is restored from the code.

    The score of a column of numbers is the coefficient of determination. That of a column of categories or truth values
    is the gain in accuracy over the most frequent one, ``(accuracy - frequency) / (1 - frequency)``. So a score of 1 is
    perfect, and 0 is what the mean or the most frequent category achieves. Missing cells are ignored.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    scores : ndarray of shape (n_features,)
        Scores of the columns, NaN where the known cells of a column are equal or missing.
    column_names : sequence of str
        Names of the columns.
    is_categorical : ndarray of shape (n_features,)
        Which columns hold categories or truth values.

    Attributes
    ----------
    ax_ : Axes
        The axes.
    figure_ : Figure
        The figure.
    bars_ : BarContainer
        Bars of the columns, the best one at the top.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.plotting import ColumnQualityDisplay
    >>> X = load_iris().data
    >>> model = RegularizedAutoencoder(2, max_iter=5, random_state=0).fit(X)
    >>> display = ColumnQualityDisplay.from_estimator(model, X)
    >>> display.scores.shape
    (4,)
    """

    def __init__(self, scores: NDArray, column_names: Sequence[str], is_categorical: NDArray[np.bool_]) -> None:
        self.scores = scores
        self.column_names = column_names
        self.is_categorical = is_categorical

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None, **options: Any) -> Self:
        """Encode and decode rows, and draw the scores of the columns.

        Parameters
        ----------
        estimator : transformer with inverse_transform, or imputer or outlier detector around an autoencoder
            A fitted estimator. Transformers may be others, such as PCA.
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            The rows, rather new ones than those of the fit. Of a :class:`~sklearn_ae.tables.sources.Source` with more
            than 10,000 rows, as many are drawn with a fixed seed.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : ColumnQualityDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        transformer = transformer_of(estimator)
        X = shown_rows(X, transformer)
        categorical = categorical_features_of(transformer)
        return cls.from_predictions(X, restored_by(transformer, X), categorical_features=categorical, ax=ax, **options)

    @classmethod
    def from_predictions(
        cls, X: Any, restored: Any, *, categorical_features: Any = "from_dtype", ax: Any = None, **options: Any
    ) -> Self:
        """Draw the scores of given reconstructions.

        Parameters
        ----------
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            The rows, or a sample of a Source, as in :meth:`from_estimator`.
        restored : array-like, DataFrame or Source of shape (n_samples, n_features)
            Reconstructions of the rows.
        categorical_features : "from_dtype", array-like or None, default="from_dtype"
            Categorical columns, as in the estimators.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : ColumnQualityDisplay
            The display.
        """
        X, restored = shown_together(X, restored)
        tables = restored_tables(X, restored, categorical_features)
        return cls(_scores(tables), labels_of(tables.names), tables.discrete).plot(ax, **options)

    def plot(self, ax: Any = None, *, max_columns: int = 30) -> Self:
        """Draw a bar for each column, the best one at the top.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        max_columns : int, default=30
            Number of columns that are drawn, the worst ones if there are more. Undefined scores are left out first.

        Returns
        -------
        display : ColumnQualityDisplay
            The display itself.
        """
        worst = largest(np.nan_to_num(-self.scores, nan=-np.inf), max_columns)
        order = worst[np.argsort(np.nan_to_num(-self.scores[worst], nan=np.inf), kind="stable")]  # undefined ones last
        scores, categorical = self.scores[order], self.is_categorical[order]
        self.ax_ = axes_for(ax, self, 6.4, height_of(len(order)))
        self.figure_ = self.ax_.figure
        colours = [COLOURS[0] if is_category else COLOURS[1] for is_category in categorical]
        self.bars_ = bars(self.ax_, [self.column_names[column] for column in order], scores, colours)
        self.ax_.axvline(0, color=GREY, linewidth=1)
        self.ax_.set(xlim=(max(min(np.nanmin(scores, initial=0), 0), LOWEST), 1), xlabel=_label(categorical))
        if categorical.any() and not categorical.all():
            self._name_kinds()
        return self

    def _name_kinds(self) -> None:
        """Draw a legend of the two kinds of columns."""
        from matplotlib.patches import Patch

        patches = [Patch(color=COLOURS[1], label="numbers"), Patch(color=COLOURS[0], label="categories")]
        legend_beside(self.ax_, patches)


def _label(categorical: NDArray[np.bool_]) -> str:
    """Return the name of the scores."""
    if not categorical.any():
        return "coefficient of determination"
    return "gain in accuracy" if categorical.all() else "score of the restored column"


def _scores(tables: Tables) -> NDArray[np.float64]:
    """Return the score of each column, (d,)."""
    columns = zip(tables.cells["X"].T, tables.cells["restored"].T, tables.discrete, strict=True)
    return np.array([_score(*column) for column in columns])


def _score(original: NDArray, restored: NDArray, is_category: bool) -> float:
    """Return the share of the loss of a constant guess that the restored cells save; NaN if there is none to save."""
    known = ~np.isnan(original)
    original, restored = original[known], restored[known]
    if len(np.unique(original)) < 2:
        return float("nan")
    if is_category:
        values, counts = np.unique(original, return_counts=True)
        return 1 - float((original != restored).mean() / (original != values[counts.argmax()]).mean())
    return 1 - float(np.square(original - restored).mean() / original.var())
