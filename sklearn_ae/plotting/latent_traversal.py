"""What changes in decoded rows along each dimension of the code."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.estimators.inputs import check_count
from sklearn_ae.metrics.reading import Tables
from sklearn_ae.plotting.drawing import check_image_shape, heat_map, height_of, show_mosaic
from sklearn_ae.plotting.estimators import categorical_features_of, codes_of, labels_of, spreads_of, tables_of
from sklearn_ae.plotting.figures import GREY, axes_for, divided

MOST_AXES = 4  # beside one another


class LatentTraversalDisplay:
    """Decoded rows along each dimension of the code, with the other dimensions at their means.

    Rows that are images are drawn as images. Of other rows the changes of the columns are drawn, from the row that is
    decoded from the mean code.

    Use :meth:`from_estimator` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    steps : ndarray of shape (n_dimensions, n_steps)
        Values of the code along each dimension.
    decoded : ndarray of shape (n_dimensions, n_steps, n_features)
        Cells of the decoded rows. Categories are numbered.
    changes : ndarray of shape (n_dimensions, n_steps, n_features)
        Changes of numbers in standard deviations of X. For categories 0, or NaN for another category.
    column_names : sequence of str
        Names of the columns.
    dimensions : sequence of int
        Dimensions of the code.
    image_shape : tuple of int, default=None
        Height and width of the image of a row, and 3 if it has colours.

    Attributes
    ----------
    ax_ : Axes
        The axes. They are empty unless rows are images, since ``axes_`` take their place.
    axes_ : ndarray of Axes
        Axes of the images, or axes of each dimension.
    figure_ : Figure
        The figure.
    im_ : AxesImage or None
        The images, a line for each dimension.
    heat_maps_ : list of AxesImage
        The heat maps of the changes, one for each dimension.
    colorbar_ : Colorbar or None
        The colour bar of the changes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import VariationalAutoencoder
    >>> from sklearn_ae.plotting import LatentTraversalDisplay
    >>> X = load_digits().data[:200]
    >>> model = VariationalAutoencoder(2, scale="common", max_iter=5, random_state=0).fit(X)
    >>> display = LatentTraversalDisplay.from_estimator(model, X, image_shape=(8, 8))
    >>> display.decoded.shape
    (2, 7, 64)
    """

    def __init__(
        self,
        steps: NDArray,
        decoded: NDArray,
        changes: NDArray,
        column_names: Sequence[str],
        dimensions: Sequence[int],
        *,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.steps = steps
        self.decoded = decoded
        self.changes = changes
        self.column_names = column_names
        self.dimensions = dimensions
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Sequence[int] | None = None,
        dimensions: Sequence[int] | None = None,
        n_steps: int = 7,
        quantiles: tuple[float, float] = (0.05, 0.95),
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Decode codes along each dimension, and draw the rows.

        Parameters
        ----------
        estimator : transformer with inverse_transform
            A fitted autoencoder, or another fitted transformer such as PCA.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows whose codes determine the range of each dimension and the means.
        image_shape : (height, width) or (height, width, 3), default=None
            Shape of the image of a row. None draws changes of columns.
        dimensions : sequence of int, default=None
            Dimensions of the code. None takes all.
        n_steps : int, default=7
            Number of equally spaced codes in each dimension, from the low to the high quantile.
        quantiles : (low, high), default=(0.05, 0.95)
            Levels of the quantiles of the codes of X.
        ax : Axes, default=None
            Axes to draw in, or whose place is taken, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : LatentTraversalDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If ``image_shape`` has not as many pixels as X has columns, or another parameter is not valid.
        """
        check_count("n_steps", n_steps)
        _check_levels(quantiles)
        codes = codes_of(estimator, X)
        chosen = _check_dimensions(dimensions, codes.shape[1])
        steps, grid = _traversal(codes, chosen, n_steps, quantiles)
        tables = tables_of(X, estimator.inverse_transform(grid), categorical_features_of(estimator), "decoded")
        shape = None if image_shape is None else _checked_shape(image_shape, tables)
        center, decoded = np.split(tables.cells["decoded"], [1])
        changes = _changes(decoded, center, tables)
        sizes = len(chosen), n_steps, -1
        display = cls(
            steps, decoded.reshape(sizes), changes.reshape(sizes), labels_of(tables.names), chosen, image_shape=shape
        )
        return display.plot(ax, **options)

    def plot(self, ax: Any = None, *, cmap: Any = None, max_columns: int = 30) -> Self:
        """Draw images, or heat maps of the changes of columns.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or whose place is taken, or a new figure.
        cmap : str or Colormap, default=None
            Colours. None takes ``"viridis"`` for pixels and ``"PuOr"`` for changes, which have two signs.
        max_columns : int, default=30
            Number of columns whose changes are drawn, those that change most if there are more.

        Returns
        -------
        display : LatentTraversalDisplay
            The display itself.
        """
        self.im_ = self.colorbar_ = None
        self.heat_maps_: list[Any] = []
        if self.image_shape is None:
            self._draw_changes(ax, cmap or "PuOr", max_columns)
        else:
            self._draw_images(ax, cmap or "viridis")
        return self

    def _draw_images(self, ax: Any, cmap: Any) -> None:
        n_lines, n_steps = self.steps.shape
        images = self.decoded.reshape(n_lines, n_steps, *(self.image_shape or ()))
        self.ax_ = axes_for(ax, self, 1.2 + 0.8 * n_steps, 0.5 + 0.8 * n_lines)
        self.figure_ = self.ax_.figure
        self.axes_ = np.array([self.ax_], dtype=object)
        names = [f"code {dimension}" for dimension in self.dimensions]
        self.im_ = show_mosaic(self.ax_, images, self.decoded.min(), self.decoded.max(), names, cmap)
        self.ax_.set_xlabel("from low to high codes")

    def _draw_changes(self, ax: Any, cmap: Any, max_columns: int) -> None:
        """Draw a heat map for each dimension."""
        size = np.where(np.isnan(self.changes), 1.0, np.abs(self.changes)).max(axis=(0, 1))
        shown = np.sort(np.argsort(-size, kind="stable")[:max_columns])
        n_axes = len(self.dimensions)
        n_columns = min(n_axes, MOST_AXES)
        height = height_of(len(shown)) * -(-n_axes // n_columns)
        self.ax_ = axes_for(ax, self, 2.6 + 1.9 * n_columns, height)
        self.figure_ = self.ax_.figure
        self.axes_ = divided(self.ax_, n_axes, n_columns)
        limit = np.nanmax(np.abs(self.changes[:, :, shown]), initial=1e-9)
        for place, axes in enumerate(self.axes_):
            image = self._draw_dimension(axes, place, shown, {"cmap": cmap, "vmin": -limit, "vmax": limit})
            self.heat_maps_.append(image)
            if place % n_columns:
                axes.set_yticklabels([])
        label = "change in standard deviations"
        self.colorbar_ = self.figure_.colorbar(self.heat_maps_[0], ax=list(self.axes_), label=label)
        if np.isnan(self.changes[:, :, shown]).any():
            handles = next(found for axes in self.axes_ if (found := axes.get_legend_handles_labels()[0]))
            self.axes_[0].legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)

    def _draw_dimension(self, ax: Any, place: int, shown: NDArray[np.intp], colours: dict[str, Any]) -> Any:
        """Draw the changes along a dimension, with crosses for other categories, and return the image."""
        changes = self.changes[place][:, shown].T
        image = heat_map(ax, changes, [self.column_names[column] for column in shown], **colours)
        lines, columns = np.nonzero(np.isnan(changes))
        if len(lines):
            ax.plot(columns, lines, "x", color=GREY, markersize=5, label="another category")
        ends = self.steps[place, [0, -1]]
        ticks = [0, changes.shape[1] - 1] if changes.shape[1] > 1 else [0]
        ax.set_xticks(ticks, [f"{end:.2g}" for end in ends[: len(ticks)]])
        ax.set_xlabel(f"code {self.dimensions[place]}")
        return image


def _check_levels(quantiles: Any) -> None:
    """Raise unless two levels of quantiles are in order."""
    try:
        low, high = quantiles
        is_valid = 0 <= low < high <= 1
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise ValueError(f"quantiles must be two numbers with 0 <= low < high <= 1, got {quantiles!r}")


def _check_dimensions(dimensions: Any, n_components: int) -> list[int]:
    """Return the dimensions to draw."""
    chosen = list(range(n_components)) if dimensions is None else list(dimensions)
    if not chosen or not set(chosen) <= set(range(n_components)):
        raise ValueError(f"dimensions must be integers from 0 to {n_components - 1}, got {dimensions!r}")
    return chosen


def _checked_shape(image_shape: Any, tables: Tables) -> tuple[int, ...]:
    """Return the shape of images of rows of numbers."""
    if tables.discrete.any():
        raise ValueError(f"image_shape must be None for rows with categories, got {image_shape!r}")
    return check_image_shape(image_shape, len(tables.names))


def _traversal(
    codes: NDArray[np.float64], dimensions: list[int], n_steps: int, quantiles: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return steps along dimensions, (n_dimensions, n_steps), and the codes: the mean, then those of the steps."""
    low, high = np.quantile(codes[:, dimensions], quantiles, axis=0)
    steps = np.linspace(low, high, n_steps, axis=1)
    mean = codes.mean(axis=0)
    grid = np.tile(mean, (1 + steps.size, 1))
    for place, dimension in enumerate(dimensions):
        grid[1 + place * n_steps : 1 + (place + 1) * n_steps, dimension] = steps[place]
    return steps, grid


def _changes(decoded: NDArray[np.float64], center: NDArray[np.float64], tables: Tables) -> NDArray[np.float64]:
    """Return changes from the center, (n, d): of numbers in standard deviations, NaN for another category."""
    is_category = tables.discrete
    numbers = (decoded - center) / spreads_of(tables.cells["X"])
    return np.where(is_category, np.where(decoded == center, 0.0, np.nan), numbers)
