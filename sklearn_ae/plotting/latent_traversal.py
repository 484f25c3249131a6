"""What changes in decoded rows along each dimension of the code."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.estimators.inputs import check_count
from sklearn_ae.metrics.reading import Tables, position_of
from sklearn_ae.plotting.drawing import colour_bar, heat_map, height_of, image_shape_of, largest, show_mosaic
from sklearn_ae.plotting.estimators import (
    categorical_features_of,
    codes_of,
    labels_of,
    spreads_of,
    tables_of,
    transformer_of,
)
from sklearn_ae.plotting.figures import GREY, axes_for, check_matplotlib, divided
from sklearn_ae.plotting.rows import shown_rows

MOST_AXES = 6  # beside one another
LARGEST_CHANGE = 3.0  # in standard deviations, beyond which the colours are the same


class LatentTraversalDisplay:
    """Decoded rows along each dimension of the code, with the other dimensions kept.

    Rows that are images are drawn as images. Of other rows the changes of the columns are drawn, from the row that is
    decoded from the code in the center: the mean code, or that of a given row.

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
    legend_ : Legend or None
        The legend of the crosses, which mark another category than that in the center.

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
        center: Any = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Decode codes along each dimension, and draw the rows.

        Parameters
        ----------
        estimator : transformer with inverse_transform, or imputer or outlier detector around an autoencoder
            A fitted estimator. Transformers may be others, such as PCA.
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            Rows whose codes determine the range of each dimension and the mean code. Of a
            :class:`~sklearn_ae.tables.sources.Source` with more than 10,000 rows, as many are drawn with a fixed seed.
        image_shape : (height, width) or (height, width, 3), default=None
            Shape of the image of a row. None draws changes of columns.
        dimensions : sequence of int, default=None
            Dimensions of the code. None takes all.
        n_steps : int, default=7
            Number of equally spaced codes in each dimension, from the low to the high quantile.
        quantiles : (low, high), default=(0.05, 0.95)
            Levels of the quantiles of the codes of X.
        center : array-like, DataFrame or Source of shape (1, n_features), default=None
            Row whose code the other dimensions have. None takes the mean code.
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
        TypeError
            If the estimator can't encode and decode rows.
        ValueError
            If ``image_shape`` has not as many pixels as X has columns, or another parameter is not valid.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_count("n_steps", n_steps)
        _check_levels(quantiles)
        transformer = transformer_of(estimator)
        X = shown_rows(X, transformer)
        codes = codes_of(transformer, X)
        chosen = _check_dimensions(dimensions, codes.shape[1])
        start = codes.mean(axis=0) if center is None else _code_of_row(transformer, center)
        steps, grid = _traversal(codes, start, chosen, n_steps, quantiles)
        tables = tables_of(X, transformer.inverse_transform(grid), categorical_features_of(transformer), "decoded")
        shape = None if image_shape is None else image_shape_of(image_shape, tables)
        middle, decoded = np.split(tables.cells["decoded"], [1])
        changes = _changes(decoded, middle, tables)
        sizes = len(chosen), n_steps, -1
        display = cls(
            steps, decoded.reshape(sizes), changes.reshape(sizes), labels_of(tables.names), chosen, image_shape=shape
        )
        return display.plot(ax, **options)

    def plot(
        self, ax: Any = None, *, cmap: Any = None, columns: Sequence[Any] | None = None, max_columns: int = 30
    ) -> Self:
        """Draw images, or heat maps of the changes of columns.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or whose place is taken, or a new figure.
        cmap : str or Colormap, default=None
            Colours. None takes ``"viridis"`` for pixels and ``"PuOr"`` for changes, which have two signs.
        columns : sequence of str or int, default=None
            Names or positions of the columns whose changes are drawn, in this order. None draws all.
        max_columns : int, default=30
            Number of columns if ``columns`` is None. Those that change most are drawn if there are more.

        Returns
        -------
        display : LatentTraversalDisplay
            The display itself.
        """
        self.im_ = self.colorbar_ = self.legend_ = None
        self.heat_maps_: list[Any] = []
        if self.image_shape is None:
            self._draw_changes(ax, "PuOr" if cmap is None else cmap, self._chosen(columns, max_columns))
        else:
            self._draw_images(ax, "viridis" if cmap is None else cmap)
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

    def _chosen(self, columns: Sequence[Any] | None, max_columns: int) -> NDArray[np.intp]:
        """Return the positions of the columns to draw."""
        if columns is not None:
            return np.array([position_of(column, list(self.column_names), "columns") for column in columns])
        return largest(np.where(np.isnan(self.changes), 1.0, np.abs(self.changes)).max(axis=(0, 1)), max_columns)

    def _draw_changes(self, ax: Any, cmap: Any, shown: NDArray[np.intp]) -> None:
        """Draw a heat map for each dimension."""
        n_axes = len(self.dimensions)
        n_columns = min(n_axes, MOST_AXES)
        height = height_of(len(shown)) * -(-n_axes // n_columns)
        self.ax_ = axes_for(ax, self, 2.6 + 1.4 * n_columns, height)
        self.figure_ = self.ax_.figure
        self.axes_ = divided(self.ax_, n_axes, n_columns)
        most = np.nanmax(np.abs(self.changes[:, :, shown]), initial=1e-9)
        limit = min(most, LARGEST_CHANGE)
        colours = {"cmap": _with_other(cmap), "vmin": -limit, "vmax": limit}
        for place, axes in enumerate(self.axes_):
            image = self._draw_dimension(axes, place, shown, colours)
            self.heat_maps_.append(image)
            if place % n_columns:
                axes.set_yticklabels([])
        ends = {"extend": "both" if most > limit else "neither", "extendfrac": 0.03}
        self.colorbar_ = colour_bar(self.heat_maps_[0], list(self.axes_), "in standard deviations", **ends)
        if np.isnan(self.changes[:, :, shown]).any():
            handles = next(found for axes in self.axes_ if (found := axes.get_legend_handles_labels()[0]))
            # Narrow enough not to push the axes apart.
            narrow = {
                "fontsize": "small",
                "handlelength": 1.0,
                "handletextpad": 0.3,
                "borderpad": 0.2,
                "frameon": False,
            }
            self.legend_ = self.axes_[0].legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), **narrow)

    def _draw_dimension(self, ax: Any, place: int, shown: NDArray[np.intp], colours: dict[str, Any]) -> Any:
        """Draw the changes along a dimension, with crosses for other categories, and return the image."""
        changes = self.changes[place][:, shown].T
        image = heat_map(ax, changes, [self.column_names[column] for column in shown], **colours)
        lines, columns = np.nonzero(np.isnan(changes))
        if len(lines):
            ax.plot(columns, lines, "x", color=ax.xaxis.label.get_color(), markersize=5, label="another category")
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


def _code_of_row(transformer: Any, row: Any) -> NDArray[np.float64]:
    """Return the code of the only row of a table, (k,)."""
    codes = codes_of(transformer, shown_rows(row))
    if len(codes) != 1:
        raise ValueError(f"center must be a table of one row, got {len(codes)}: take X[i : i + 1]")
    return codes[0]


def _with_other(cmap: Any) -> Any:
    """Return a colour map in which other categories, NaN, are grey on every background."""
    from matplotlib import colormaps

    return colormaps.get_cmap(cmap).with_extremes(bad=(GREY, 0.4))


def _traversal(
    codes: NDArray[np.float64],
    start: NDArray[np.float64],
    dimensions: list[int],
    n_steps: int,
    quantiles: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return steps along dimensions, (n_dimensions, n_steps), and the codes: the start, then those of the steps."""
    low, high = np.quantile(codes[:, dimensions], quantiles, axis=0)
    steps = np.linspace(low, high, n_steps, axis=1)
    grid = np.tile(start, (1 + steps.size, 1))
    for place, dimension in enumerate(dimensions):
        grid[1 + place * n_steps : 1 + (place + 1) * n_steps, dimension] = steps[place]
    return steps, grid


def _changes(decoded: NDArray[np.float64], middle: NDArray[np.float64], tables: Tables) -> NDArray[np.float64]:
    """Return changes from the row in the middle, (n, d): numbers in standard deviations, NaN for another category."""
    is_category = tables.discrete
    numbers = (decoded - middle) / spreads_of(tables.cells["X"])
    return np.where(is_category, np.where(decoded == middle, 0.0, np.nan), numbers)
