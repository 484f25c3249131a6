"""Rows beside the rows that are decoded from their codes."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.plotting.drawing import height_of, image_shape_of, largest, legend_beside, set_lines, show_mosaic
from sklearn_ae.plotting.estimators import (
    categorical_features_of,
    labels_of,
    most_frequent,
    restored_by,
    restored_tables,
    spreads_of,
    transformer_of,
)
from sklearn_ae.plotting.figures import COLOURS, GREY, axes_for, check_matplotlib, divided
from sklearn_ae.plotting.rows import shown_rows, shown_together

KINDS = ("auto", "images", "columns")
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the quantiles of residuals


class ReconstructionDisplay:
    """Rows against the rows that are decoded from their codes.

    Rows that are images are drawn above their reconstructions. Of other rows the columns are drawn: the residuals of
    numbers in standard deviations of their column, and the share of categories that is restored correctly. Missing
    cells are ignored.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    originals : ndarray of shape (n_samples, n_features)
        Cells of the rows. Categories are numbered. Missing cells are NaN.
    reconstructions : ndarray of shape (n_samples, n_features)
        Cells of the decoded rows.
    column_names : sequence of str
        Names of the columns.
    is_categorical : ndarray of shape (n_features,), default=None
        Which columns hold categories or truth values. None if there are none.
    image_shape : tuple of int, default=None
        Height and width of the image of a row, and 3 if it has colours.

    Attributes
    ----------
    ax_ : Axes
        The axes that were given or created. They are empty if ``axes_`` take their place.
    axes_ : ndarray of Axes
        The axes of the images, or those of numbers and of categories, as far as there are such columns.
    figure_ : Figure
        The figure.
    im_ : AxesImage or None
        The images, originals above reconstructions.
    bars_ : list of BarContainer
        Bars from the lower to the upper quartile of the residuals, and bars of the categories.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.plotting import ReconstructionDisplay
    >>> X = load_digits().data[:200]
    >>> model = RegularizedAutoencoder(8, scale="common", max_iter=5, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(model, X, image_shape=(8, 8))
    >>> display.reconstructions.shape
    (200, 64)
    """

    def __init__(
        self,
        originals: NDArray,
        reconstructions: NDArray,
        column_names: Sequence[str],
        *,
        is_categorical: NDArray[np.bool_] | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.originals = originals
        self.reconstructions = reconstructions
        self.column_names = column_names
        self.is_categorical = is_categorical
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, image_shape: Sequence[int] | None = None, ax: Any = None, **options: Any
    ) -> Self:
        """Encode and decode rows, and draw both.

        Parameters
        ----------
        estimator : transformer with inverse_transform, or imputer or outlier detector around an autoencoder
            A fitted estimator. Transformers may be others, such as PCA.
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            The rows. Of a :class:`~sklearn_ae.tables.sources.Source` with more than 10,000 rows, as many are drawn with
            a fixed seed.
        image_shape : (height, width) or (height, width, 3), default=None
            Shape of the image of a row. None draws columns.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator can't encode and decode rows.
        ValueError
            If ``image_shape`` has not as many pixels as X has columns, or X has categories and ``image_shape``.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        transformer = transformer_of(estimator)
        X = shown_rows(X, transformer)
        restored, categorical = restored_by(transformer, X), categorical_features_of(transformer)
        return cls._of(X, restored, categorical, image_shape, ax, options)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        restored: Any,
        *,
        categorical_features: Any = "from_dtype",
        image_shape: Sequence[int] | None = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Draw rows and given reconstructions.

        Parameters
        ----------
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            The rows, or a sample of a Source, as in :meth:`from_estimator`.
        restored : array-like, DataFrame or Source of shape (n_samples, n_features)
            Reconstructions of the rows.
        categorical_features : "from_dtype", array-like or None, default="from_dtype"
            Categorical columns, as in the estimators.
        image_shape : (height, width) or (height, width, 3), default=None
            Shape of the image of a row. None draws columns.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display.
        """
        return cls._of(X, restored, categorical_features, image_shape, ax, options)

    @classmethod
    def _of(cls, X: Any, restored: Any, categorical: Any, image_shape: Any, ax: Any, options: dict[str, Any]) -> Self:
        X, restored = shown_together(X, restored)
        tables = restored_tables(X, restored, categorical)
        shape = None if image_shape is None else image_shape_of(image_shape, tables)
        names, is_categorical = labels_of(tables.names), tables.discrete if tables.discrete.any() else None
        display = cls(
            tables.cells["X"], tables.cells["restored"], names, is_categorical=is_categorical, image_shape=shape
        )
        return display.plot(ax, **options)

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Originals minus reconstructions in standard deviations of the known cells of a column, (n, d).

        NaN for categories.
        """
        residuals = (self.originals - self.reconstructions) / spreads_of(self.originals)
        return np.where(self._categorical, np.nan, residuals)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of the known cells of categories that are restored correctly, (d,); NaN for numbers."""
        return self._shares(self.originals == self.reconstructions)

    @property
    def _categorical(self) -> NDArray[np.bool_]:
        n_columns = self.originals.shape[1]
        return np.zeros(n_columns, dtype=bool) if self.is_categorical is None else np.asarray(self.is_categorical)

    def _shares(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the share of the known cells of categories that are chosen, (n, d) -> (d,)."""
        n_known = (~np.isnan(self.originals)).sum(axis=0)
        shares = chosen.sum(axis=0) / np.maximum(n_known, 1)
        return np.where(self._categorical & (n_known > 0), shares, np.nan)

    @property
    def residual_quantiles(self) -> NDArray[np.float64]:
        """Quantiles of the residuals at the levels 0.05, 0.25, 0.5, 0.75, 0.95, (5, d); NaN if no cell is known."""
        residuals = self.residuals
        known = ~np.isnan(residuals)
        quantiles = np.full((len(LEVELS), residuals.shape[1]), np.nan)
        for column in np.flatnonzero(known.any(axis=0)):
            quantiles[:, column] = np.quantile(residuals[known[:, column], column], LEVELS)
        return quantiles

    def plot(
        self, ax: Any = None, *, kind: str = "auto", n_images: int = 10, cmap: Any = "viridis", max_columns: int = 30
    ) -> Self:
        """Draw images above their reconstructions, or how well columns are restored.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or whose place is taken, or a new figure.
        kind : {"auto", "images", "columns"}, default="auto"
            What is drawn. ``"auto"`` draws images if there is an ``image_shape``, else columns.
        n_images : int, default=10
            Number of rows that are drawn as images, the first ones.
        cmap : str or Colormap, default="viridis"
            Colours of the pixels of images without colours.
        max_columns : int, default=30
            Number of columns of numbers that are drawn, those with the widest residuals if there are more, and number
            of columns of categories, the worst ones.

        Returns
        -------
        display : ReconstructionDisplay
            The display itself.

        Raises
        ------
        ValueError
            If ``kind`` is unknown, or ``"images"`` without an ``image_shape``.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        if kind == "images" and self.image_shape is None:
            raise ValueError("image_shape must be (height, width) or (height, width, 3) for kind='images', got None")
        self.im_ = None
        self.bars_: list[Any] = []
        if self.image_shape is None or kind == "columns":
            self._draw_columns(ax, max_columns)
        else:
            self._draw_images(ax, n_images, cmap)
        return self

    def _draw_images(self, ax: Any, n_images: int, cmap: Any) -> None:
        both = np.stack([self.originals[:n_images], self.reconstructions[:n_images]])
        images = both.reshape(*both.shape[:2], *(self.image_shape or ()))
        low, high = np.nanmin(self.originals), np.nanmax(self.originals)
        self.ax_ = axes_for(ax, self, 1.2 + 0.8 * both.shape[1], 0.4 + 0.8 * 2)
        self.figure_ = self.ax_.figure
        self.axes_ = np.array([self.ax_], dtype=object)
        self.im_ = show_mosaic(self.ax_, images, low, high, ["rows", "decoded"], cmap)

    def _draw_columns(self, ax: Any, max_columns: int) -> None:
        """Draw columns of numbers above columns of categories."""
        quantiles, is_category = self.residual_quantiles, self._categorical
        widths = np.where(is_category, np.nan, np.nan_to_num(quantiles[-1] - quantiles[0], nan=-1))
        errors = np.where(is_category, 1 - np.nan_to_num(self.accuracy, nan=1), np.nan)
        parts = [
            (self._draw_numbers, largest(widths, max_columns)),
            (self._draw_categories, largest(errors, max_columns)),
        ]
        drawn = [(draw, shown) for draw, shown in parts if len(shown)]
        heights = [height_of(len(shown)) for _, shown in drawn]
        self.ax_ = axes_for(ax, self, 6.4, sum(heights))
        self.figure_ = self.ax_.figure
        one = np.array([self.ax_], dtype=object)
        self.axes_ = one if len(drawn) == 1 else divided(self.ax_, len(drawn), 1, height_ratios=heights)
        for axes, (draw, shown) in zip(self.axes_, drawn, strict=True):
            draw(axes, shown)
            set_lines(axes, [self.column_names[column] for column in shown])
            legend_beside(axes)

    def _draw_numbers(self, ax: Any, shown: NDArray[np.intp]) -> None:
        low, lower, median, upper, high = self.residual_quantiles[:, shown]
        lines = np.arange(len(shown))
        ax.axvline(0, color=GREY, linestyle=":", linewidth=1)
        ax.hlines(lines, low, high, color=COLOURS[1], linewidth=1.5, label="5 % to 95 %")
        bars = ax.barh(lines, upper - lower, left=lower, height=0.55, color=COLOURS[1], label="25 % to 75 %")
        ax.plot(median, lines, "D", color=COLOURS[3], markersize=4, label="median")
        ax.set_xlabel("residual in standard deviations")
        ax.locator_params(axis="x", nbins=6)
        self.bars_.append(bars)

    def _draw_categories(self, ax: Any, shown: NDArray[np.intp]) -> None:
        usual = self._shares(self.originals == most_frequent(self.originals))[shown]
        bars = ax.barh(range(len(shown)), self.accuracy[shown], height=0.55, color=COLOURS[0], label="correct")
        ax.plot(usual, range(len(shown)), "D", color=COLOURS[4], markersize=4, label="most frequent")
        ax.set(xlim=(0, 1), xlabel="share of the cells")
        self.bars_.append(bars)
