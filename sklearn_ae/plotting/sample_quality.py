"""Generated rows against real ones, by column and by pair of columns."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from sklearn_ae.metrics.similarity import mean_of_known, shape_scores, trend_scores
from sklearn_ae.plotting.drawing import bars, colour_bar, heat_map, height_of, largest
from sklearn_ae.plotting.estimators import autoencoder_of, categorical_features_of, labels_of, tables_of
from sklearn_ae.plotting.figures import COLOURS, axes_for, check_matplotlib, divided
from sklearn_ae.plotting.rows import shown_rows

MOST_SAMPLES = 10_000  # that are generated unless told otherwise


class SampleQualityDisplay:
    """How similar generated rows are to real ones: each column, and each pair of columns.

    The scores are those of :func:`~sklearn_ae.metrics.column_shapes` and :func:`~sklearn_ae.metrics.pair_trends`, from
    0 to 1. Rows of equal distribution have scores somewhat below 1, since they are drawn.

    Use :meth:`from_estimator` or :meth:`from_tables` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    column_scores : ndarray of shape (n_features,)
        Similarity of the distribution of each column. NaN if a column has no known cell.
    pair_scores : ndarray of shape (n_features, n_features)
        Similarity of the dependence of each pair of columns. NaN on the diagonal, and where it is undefined.
    column_names : sequence of str
        Names of the columns.

    Attributes
    ----------
    ax_ : Axes
        The axes that were given or created. They are empty, since ``axes_`` take their place.
    axes_ : ndarray of Axes of shape (2,)
        Axes of the columns and of the pairs.
    figure_ : Figure
        The figure.
    bars_ : BarContainer
        Bars of the columns.
    im_ : AxesImage
        The heat map of pairs.
    colorbar_ : Colorbar
        Its colour bar.

    See Also
    --------
    sklearn_ae.metrics.sample_report : More measures of generated rows, as a table.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.plotting import SampleQualityDisplay
    >>> X = load_iris(as_frame=True).data
    >>> model = RegularizedAutoencoder(2, max_iter=5, random_state=0).fit(X)
    >>> display = SampleQualityDisplay.from_estimator(model, X, random_state=0)
    >>> display.pair_scores.shape
    (4, 4)
    """

    def __init__(self, column_scores: NDArray, pair_scores: NDArray, column_names: Sequence[str]) -> None:
        self.column_scores = column_scores
        self.pair_scores = pair_scores
        self.column_names = column_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int | None = None,
        random_state: Any = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Generate rows, and draw how similar they are to real ones.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder.
        X : array-like, DataFrame or Source of shape (n_real, n_features)
            Real rows. Of a :class:`~sklearn_ae.tables.sources.Source` with more than 10,000 rows, as many are drawn
            with a fixed seed.
        n_samples : int, default=None
            Number of rows to generate. None generates as many as X has, at most 10,000. If the training rows had
            missing cells, these rows have such cells as well.
        random_state : int, RandomState or None, default=None
            Seed or generator of the samples.
        ax : Axes, default=None
            Axes whose place is taken, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : SampleQualityDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        autoencoder = autoencoder_of(estimator)
        X = shown_rows(X, autoencoder)
        n_rows = min(_num_samples(X), MOST_SAMPLES) if n_samples is None else n_samples
        samples = autoencoder.sample(n_rows, random_state, missing=True)
        categorical = categorical_features_of(autoencoder)
        return cls.from_tables(X, samples, categorical_features=categorical, ax=ax, **options)

    @classmethod
    def from_tables(
        cls, X: Any, samples: Any, *, categorical_features: Any = "from_dtype", ax: Any = None, **options: Any
    ) -> Self:
        """Draw how similar given rows are to real ones, those of any generator.

        Parameters
        ----------
        X : array-like, DataFrame or Source of shape (n_real, n_features)
            Real rows, or a sample of a Source, as in :meth:`from_estimator`. Missing cells are allowed.
        samples : array-like, DataFrame or Source of shape (n_samples, n_features)
            Generated rows, with the same columns, or a sample of a Source.
        categorical_features : "from_dtype", array-like or None, default="from_dtype"
            Categorical columns, as in the estimators.
        ax : Axes, default=None
            Axes whose place is taken, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : SampleQualityDisplay
            The display.
        """
        tables = tables_of(shown_rows(X), shown_rows(samples), categorical_features, "samples")
        given = tables.cells["X"], tables.cells["samples"], tables.discrete
        return cls(shape_scores(*given), trend_scores(*given), labels_of(tables.names)).plot(ax, **options)

    def plot(self, ax: Any = None, *, max_columns: int = 30, cmap: Any = "cividis") -> Self:
        """Draw bars of the columns beside a heat map of the pairs.

        Parameters
        ----------
        ax : Axes, default=None
            Axes whose place is taken, or a new figure.
        max_columns : int, default=30
            Number of columns that are drawn, the least similar ones if there are more.
        cmap : str or Colormap, default="cividis"
            Colours of the pairs.

        Returns
        -------
        display : SampleQualityDisplay
            The display itself.
        """
        shown = largest(-np.nan_to_num(self.column_scores, nan=2.0), max_columns)
        height = height_of(len(shown))
        self.ax_ = axes_for(ax, self, 5.5 + height, height + 0.3)
        self.figure_ = self.ax_.figure
        self.axes_ = divided(self.ax_, 2, 2)
        names = [self.column_names[column] for column in shown]
        self._draw_columns(self.axes_[0], names, self.column_scores[shown])
        self._draw_pairs(self.axes_[1], names, self.pair_scores[np.ix_(shown, shown)], cmap)
        return self

    def _draw_columns(self, ax: Any, names: list[str], scores: NDArray) -> None:
        self.bars_ = bars(ax, names, scores, COLOURS[1])
        ax.set(xlim=(0, 1), xlabel="similarity", title=f"columns, mean {mean_of_known(self.column_scores):.2f}")

    def _draw_pairs(self, ax: Any, names: list[str], scores: NDArray, cmap: Any) -> None:
        self.im_ = heat_map(ax, scores, names, cmap=cmap, vmin=min(0.5, np.nanmin(scores, initial=1.0)), vmax=1)
        self.colorbar_ = colour_bar(self.im_, ax, "similarity")
        ax.set_yticks(range(len(names)), [])
        ax.set_xticks(range(len(names)), names, rotation=90)
        ax.set_title(f"pairs, mean {mean_of_known(self.pair_scores):.2f}")
