"""Rows beside the rows that are decoded from their codes."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.plotting.drawing import check_image_shape, height_of, legend_beside, set_lines, show_mosaic
from sklearn_ae.plotting.estimators import categorical_features_of, labels_of, restored_by, restored_tables, spreads_of
from sklearn_ae.plotting.figures import COLOURS, GREY, axes_for

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the quantiles of residuals


class ReconstructionDisplay:
    """Rows against the rows that are decoded from their codes.

    Rows that are images are drawn above their reconstructions. Of other rows the residuals of each column of numbers
    are drawn, in standard deviations of the column. Columns of categories are left to
    :class:`~sklearn_ae.plotting.ColumnQualityDisplay`.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    originals : ndarray of shape (n_samples, n_numbers)
        Columns of numbers of the rows. Missing cells are NaN.
    reconstructions : ndarray of shape (n_samples, n_numbers)
        The same columns of the decoded rows.
    column_names : sequence of str
        Names of these columns.
    image_shape : tuple of int, default=None
        Height and width of the image of a row, and 3 if it has colours.

    Attributes
    ----------
    ax_ : Axes
        The axes.
    figure_ : Figure
        The figure.
    im_ : AxesImage or None
        The images, originals above reconstructions.
    bars_ : BarContainer or None
        Bars from the lower to the upper quartile of the residuals, one for each column that is drawn.

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
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.originals = originals
        self.reconstructions = reconstructions
        self.column_names = column_names
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, image_shape: Sequence[int] | None = None, ax: Any = None, **options: Any
    ) -> Self:
        """Encode and decode rows, and draw both.

        Parameters
        ----------
        estimator : transformer with inverse_transform
            A fitted autoencoder, or another fitted transformer such as PCA.
        X : array-like or DataFrame of shape (n_samples, n_features)
            The rows.
        image_shape : (height, width) or (height, width, 3), default=None
            Shape of the image of a row. None draws residuals of columns.
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
        ValueError
            If ``image_shape`` has not as many pixels as X has columns, or X has no column of numbers.
        """
        restored = restored_by(estimator, X)
        return cls._of(X, restored, categorical_features_of(estimator), image_shape, ax, options)

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
        X : array-like or DataFrame of shape (n_samples, n_features)
            The rows.
        restored : array-like or DataFrame of shape (n_samples, n_features)
            Reconstructions of the rows.
        categorical_features : "from_dtype", array-like or None, default="from_dtype"
            Categorical columns, as in the estimators.
        image_shape : (height, width) or (height, width, 3), default=None
            Shape of the image of a row. None draws residuals of columns.
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
        tables = restored_tables(X, restored, categorical)
        numbers = np.flatnonzero(~tables.discrete)
        if image_shape is not None:
            image_shape = check_image_shape(image_shape, len(tables.names))
        if not len(numbers) or (image_shape is not None and tables.discrete.any()):
            way_out = "ColumnQualityDisplay draws how well categories are restored"
            raise ValueError(f"X must have columns of numbers, got categories in {_categories(tables)}: {way_out}")
        cells, names = tables.cells, labels_of(tables.names)
        display = cls(
            cells["X"][:, numbers],
            cells["restored"][:, numbers],
            [names[position] for position in numbers],
            image_shape=image_shape,
        )
        return display.plot(ax, **options)

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Originals minus reconstructions in standard deviations of the known cells of a column, (n, d)."""
        return (self.originals - self.reconstructions) / spreads_of(self.originals)

    @property
    def residual_quantiles(self) -> NDArray[np.float64]:
        """Quantiles of the residuals at the levels 0.05, 0.25, 0.5, 0.75, 0.95, (5, d); NaN if no cell is known."""
        residuals = self.residuals
        known = ~np.isnan(residuals)
        quantiles = np.full((len(LEVELS), residuals.shape[1]), np.nan)
        for column in np.flatnonzero(known.any(axis=0)):
            quantiles[:, column] = np.quantile(residuals[known[:, column], column], LEVELS)
        return quantiles

    def plot(self, ax: Any = None, *, n_images: int = 10, cmap: Any = "viridis", max_columns: int = 30) -> Self:
        """Draw images above their reconstructions, or quantiles of the residuals of each column.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        n_images : int, default=10
            Number of rows that are drawn as images, the first ones.
        cmap : str or Colormap, default="viridis"
            Colours of the pixels of images without colours.
        max_columns : int, default=30
            Number of columns whose residuals are drawn, those with the widest range if there are more.

        Returns
        -------
        display : ReconstructionDisplay
            The display itself.
        """
        self.im_ = self.bars_ = None
        if self.image_shape is None:
            self._draw_residuals(ax, max_columns)
        else:
            self._draw_images(ax, n_images, cmap)
        return self

    def _draw_images(self, ax: Any, n_images: int, cmap: Any) -> None:
        both = np.stack([self.originals[:n_images], self.reconstructions[:n_images]])
        images = both.reshape(*both.shape[:2], *(self.image_shape or ()))
        low, high = np.nanmin(self.originals), np.nanmax(self.originals)
        self.ax_ = axes_for(ax, self, 1.2 + 0.8 * both.shape[1], 0.4 + 0.8 * 2)
        self.figure_ = self.ax_.figure
        self.im_ = show_mosaic(self.ax_, images, low, high, ["rows", "decoded"], cmap)

    def _draw_residuals(self, ax: Any, max_columns: int) -> None:
        quantiles = self.residual_quantiles
        widths = np.nan_to_num(quantiles[-1] - quantiles[0], nan=-1)
        shown = np.sort(np.argsort(-widths, kind="stable")[:max_columns])
        low, lower, median, upper, high = quantiles[:, shown]
        self.ax_ = axes_for(ax, self, 6.4, height_of(len(shown)))
        self.figure_ = self.ax_.figure
        lines = np.arange(len(shown))
        self.ax_.axvline(0, color=GREY, linestyle=":", linewidth=1)
        self.ax_.hlines(lines, low, high, color=COLOURS[1], linewidth=1.5, label="5 % to 95 %")
        self.bars_ = self.ax_.barh(
            lines, upper - lower, left=lower, height=0.55, color=COLOURS[1], label="25 % to 75 %"
        )
        self.ax_.plot(median, lines, "D", color=COLOURS[3], markersize=4, label="median")
        set_lines(self.ax_, [self.column_names[column] for column in shown])
        self.ax_.set_xlabel("residual in standard deviations")
        legend_beside(self.ax_)


def _categories(tables: Any) -> list[Any]:
    return [name for name, is_discrete in zip(tables.names, tables.discrete, strict=True) if is_discrete]
