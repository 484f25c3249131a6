"""Figures, axes, and the colours and markers of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Okabe & Ito (2008), without black and yellow, which are invisible on a dark or on a light background. Grey and three
# more are added, so that ten classes have ten colours.
COLOURS = (
    "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#999999", "#9467BD", "#8C564B", "#A0A000",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
LINES = ("-", "--", ":", "-.")
GREY = "#888888"  # visible on light and on dark backgrounds


def check_matplotlib(caller: str) -> None:
    """Raise unless matplotlib is installed, before anything is computed.

    Parameters
    ----------
    caller : str
        Name of the method that needs it.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{caller} needs matplotlib: pip install "sklearn_ae[plotting]"') from error


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
    check_matplotlib(f"{type(display).__name__}.plot")
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

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
    """Return colour and marker of a class by its position; ninety classes differ."""
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position % len(MARKERS)]}
