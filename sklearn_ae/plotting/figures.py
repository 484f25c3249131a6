"""Figures, axes, and the colours and markers of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Okabe & Ito (2008), without black, which is invisible on a dark background. Grey takes its place.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#999999", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
GREY = "#888888"  # visible on light and on dark backgrounds


def axes_for(ax: Any, display: Any, width: float, height: float) -> Any:
    """Return the axes to draw in, those given or those of a new figure.

    Parameters
    ----------
    ax : Axes or None
        The axes as the user gave them.
    display : object
        The display, for messages.
    width, height : float
        Size of a new figure in inches.

    Returns
    -------
    ax : Axes
        The axes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If ``ax`` is neither axes nor None.
    """
    try:
        import matplotlib.pyplot as plt
        from matplotlib.axes import Axes
    except ImportError as error:
        name = type(display).__name__
        raise ImportError(f'{name}.plot needs matplotlib: pip install "sklearn_ae[plotting]"') from error
    if ax is None:
        return plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be axes of matplotlib or None, got {type(ax).__name__}")
    return ax


def divided(ax: Any, n_axes: int, n_columns: int, **options: Any) -> NDArray[np.object_]:
    """Return axes in the place of one, which is emptied.

    Parameters
    ----------
    ax : Axes
        The axes that give their place.
    n_axes : int
        Number of new axes.
    n_columns : int
        Number of axes beside one another.
    **options : dict
        Options of ``subgridspec``, such as ``width_ratios``.

    Returns
    -------
    axes : ndarray of Axes of shape (n_axes,)
        Axes, row by row.
    """
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("ax must be axes of a grid, as plt.subplots and figure.add_subplot make them, got free axes")
    ax.set_axis_off()
    grid = place.subgridspec(-(-n_axes // n_columns), n_columns, **options)
    return np.array([ax.figure.add_subplot(grid[divmod(i, n_columns)]) for i in range(n_axes)], dtype=object)


def style_of(position: int) -> dict[str, str]:
    """Return colour and marker of a class by its position; forty classes differ."""
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position % len(MARKERS)]}
