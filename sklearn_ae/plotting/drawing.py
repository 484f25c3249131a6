"""Parts that several displays draw: bars, heat maps, and images side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_ae.estimators.inputs import check_count
from sklearn_ae.metrics.reading import Tables
from sklearn_ae.plotting.figures import GREY

INCHES_PER_COLUMN = 0.26  # height of a line with the name of a column
WIDTH_OF_COLOUR_BAR = 0.16  # inches
GAP = 0.08  # between images, relative to their smaller side


def height_of(n_columns: int) -> float:
    """Return the height in inches of a picture with a line for each column."""
    return 1.1 + INCHES_PER_COLUMN * max(n_columns, 3)


def largest(values: NDArray, n: int) -> NDArray[np.intp]:
    """Return the positions of the n largest values, in the order of the positions; NaN are left out.

    Parameters
    ----------
    values : ndarray of shape (d,)
        Values.
    n : int
        Number of positions, if there are as many.

    Returns
    -------
    positions : ndarray of shape (at most n,)
        Positions.

    Raises
    ------
    ValueError
        If ``n``, which users know as ``max_columns``, is not an int of at least 1.
    """
    n = check_count("max_columns", n)
    order = np.argsort(-values, kind="stable")  # NaN last
    return np.sort(order[: min(n, int((~np.isnan(values)).sum()))])


def set_lines(ax: Any, names: Sequence[str]) -> None:
    """Name the lines of a picture, the first one at the top."""
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))


def legend_beside(ax: Any, handles: Any = None, **options: Any) -> Any:
    """Draw a legend on the right of axes, where it hides nothing, and return it.

    Parameters
    ----------
    ax : Axes
        The axes.
    handles : sequence of Artist, default=None
        What the legend explains. None takes all artists with a label.
    **options : dict
        Options of ``Axes.legend``.

    Returns
    -------
    legend : Legend
        The legend.
    """
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    return ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, **options)


def bars(ax: Any, names: Sequence[str], values: NDArray, colours: Any) -> Any:
    """Draw a horizontal bar for each column, and return the bars; an undefined value is named so.

    Parameters
    ----------
    ax : Axes
        The axes to draw in.
    names : sequence of str
        Names of the columns, from the top.
    values : ndarray of shape (d,)
        Lengths of the bars.
    colours : colour or sequence of colours
        Colours of the bars.

    Returns
    -------
    bars : BarContainer
        The bars.
    """
    drawn = ax.barh(range(len(names)), values, color=colours, height=0.7)
    for line in np.flatnonzero(np.isnan(values)):
        ax.text(0, line, " undefined", va="center", color=GREY, fontsize="small")
    set_lines(ax, names)
    return drawn


def colour_bar(image: Any, axes: Any, label: str, **options: Any) -> Any:
    """Draw a colour bar on the right of axes, of one width whatever their height, and return it.

    Parameters
    ----------
    image : ScalarMappable
        Image or points.
    axes : Axes or list of Axes
        The axes.
    label : str
        What the colours mean.
    **options : dict
        Options of ``Figure.colorbar``.

    Returns
    -------
    colorbar : Colorbar
        The colour bar.
    """
    figure = image.axes.figure  # or a part of one
    places = [ax.get_position() for ax in np.atleast_1d(np.array(axes, dtype=object))]
    extent = max(place.y1 for place in places) - min(place.y0 for place in places)
    height = extent * figure.bbox.height / figure.dpi
    return figure.colorbar(image, ax=axes, label=label, aspect=max(8.0, height / WIDTH_OF_COLOUR_BAR), **options)


def heat_map(ax: Any, values: ArrayLike, names: Sequence[str], **options: Any) -> Any:
    """Draw a table of numbers with a line for each column, and return the image; NaN is left out.

    Parameters
    ----------
    ax : Axes
        The axes to draw in.
    values : array-like of shape (d, n)
        Numbers.
    names : sequence of str
        Names of the lines.
    **options : dict
        Options of ``Axes.imshow``.

    Returns
    -------
    image : AxesImage
        The image.
    """
    image = ax.imshow(values, **{"aspect": "auto", "interpolation": "nearest"} | options)
    set_lines(ax, names)
    return image


def mosaic(images: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return images side by side as one, with transparent gaps.

    Parameters
    ----------
    images : ndarray of shape (n_lines, n, height, width) or (n_lines, n, height, width, 3)
        Images in lines. Those with three colours are scaled from ``low`` and ``high`` to 0 and 1.
    low, high : float
        Smallest and largest value of a pixel.

    Returns
    -------
    picture : ndarray of shape (height_of_all, width_of_all) or (height_of_all, width_of_all, 4)
        One image. Gaps are NaN or transparent.
    """
    if images.ndim == 5:
        scaled = np.clip((images - low) / ((high - low) or 1.0), 0, 1)
        images = np.concatenate([scaled, np.ones_like(scaled[..., :1])], axis=-1)
    n_lines, n, height, width, *colours = images.shape
    gap = gap_of(height, width)
    margins = [(0, 0), (0, 0), (0, gap), (0, gap), *[(0, 0)] * len(colours)]
    spaced = np.pad(images, margins, constant_values=0 if colours else np.nan)
    lines = spaced.swapaxes(1, 2).reshape(n_lines * (height + gap), n * (width + gap), *colours)
    return lines[: lines.shape[0] - gap, : lines.shape[1] - gap]


def gap_of(height: int, width: int) -> int:
    """Return the pixels between images."""
    return max(1, round(GAP * min(height, width)))


def show_mosaic(ax: Any, images: NDArray, low: float, high: float, names: Sequence[str], cmap: Any) -> Any:
    """Draw lines of images with a name each, and return the image that is drawn.

    Parameters
    ----------
    ax : Axes
        The axes to draw in.
    images : ndarray of shape (n_lines, n, height, width) or (n_lines, n, height, width, 3)
        Images in lines.
    low, high : float
        Smallest and largest value of a pixel.
    names : sequence of str
        Names of the lines.
    cmap : str or Colormap
        Colours of numbers.

    Returns
    -------
    image : AxesImage
        The image.
    """
    image = ax.imshow(mosaic(images, low, high), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    height, width = images.shape[2:4]
    step = height + gap_of(height, width)
    ax.set(xticks=[], yticks=np.arange(len(names)) * step + (height - 1) / 2, yticklabels=names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def image_shape_of(image_shape: Any, tables: Tables) -> tuple[int, ...]:
    """Return the shape of the image of a row, checked.

    Parameters
    ----------
    image_shape : sequence of int
        Height and width, and 3 for colours.
    tables : Tables
        The rows.

    Returns
    -------
    image_shape : tuple of int
        The shape.

    Raises
    ------
    ValueError
        If the shape is not that of an image with a pixel for each column, or there are columns of categories.
    """
    if tables.discrete.any():
        raise ValueError(f"image_shape must be None for rows with categories, got {image_shape!r}")
    n_features = len(tables.names)
    try:
        shape = tuple(int(side) for side in image_shape)
        fits = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        fits = fits and shape == tuple(image_shape) and min(shape) > 0 and int(np.prod(shape)) == n_features
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, 3) with {n_features} pixels in all, the number "
            f"of columns of X, got {image_shape!r}"
        )
    return shape
