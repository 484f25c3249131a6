"""The codes of rows, coloured by a label."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_array, check_consistent_length

from sklearn_ae.plotting.drawing import colour_bar, legend_beside
from sklearn_ae.plotting.estimators import codes_of, column_of, transformer_of
from sklearn_ae.plotting.figures import COLOURS, GREY, LINES, axes_for, check_matplotlib, style_of
from sklearn_ae.plotting.rows import shown_together

MOST_CLASSES_OF_NUMBERS = 12  # whole numbers with more values are coloured by a colour bar
LONGEST_COLUMN = 12  # entries of a legend


class LatentSpaceDisplay:
    """Codes of rows in the plane, coloured by a label.

    Use :meth:`from_estimator` or :meth:`from_codes` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 1) or (n_samples, 2)
        Coordinates of the rows.
    labels : ndarray of shape (n_samples,), default=None
        Classes or numbers. Missing ones are drawn in grey.
    axis_labels : sequence of str, default=("code 0", "code 1")
        Names of the coordinates.
    label_name : str, default=None
        Title of the legend or label of the colour bar.

    Attributes
    ----------
    ax_ : Axes
        The axes.
    figure_ : Figure
        The figure.
    scatter_ : list of PathCollection
        Points, those of each class if labels are classes, without a label first.
    hist_ : list
        Histograms of each class, if there is one coordinate and labels are not numbers.
    legend_ : Legend or None
        The legend of classes.
    colorbar_ : Colorbar or None
        The colour bar of numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ae import VariationalAutoencoder
    >>> from sklearn_ae.plotting import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = VariationalAutoencoder(2, max_iter=5, random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(model, X, y)
    >>> display.codes.shape
    (150, 2)
    """

    def __init__(
        self,
        codes: NDArray,
        labels: NDArray | None = None,
        *,
        axis_labels: Sequence[str] = ("code 0", "code 1"),
        label_name: str | None = None,
    ) -> None:
        self.codes = codes
        self.labels = labels
        self.axis_labels = axis_labels
        self.label_name = label_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        color_by: Any = None,
        dimensions: Sequence[int] | None = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Encode rows and draw the codes.

        Parameters
        ----------
        estimator : transformer with inverse_transform, or imputer or outlier detector around an autoencoder
            A fitted estimator. Transformers may be others, such as PCA.
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            The rows. Of a :class:`~sklearn_ae.tables.sources.Source` with more than 10,000 rows, as many are drawn with
            a fixed seed.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers that colour the points, of all rows of X.
        color_by : str or int, default=None
            Name or position of a column of X that colours the points, in place of y.
        dimensions : sequence of one or two int, default=None
            Dimensions of the code to draw. None draws the first two principal components of the codes if there are more
            than two dimensions, with their shares of the variance.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : LatentSpaceDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator can't encode and decode rows.
        ValueError
            If ``dimensions`` are not of the code, ``y`` has another length than X, X has no column ``color_by``, or
            both are given.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        transformer = transformer_of(estimator)
        if color_by is not None and y is not None:
            raise ValueError(f"color_by must be None if y is given, got {color_by!r}")
        X, y = shown_together(X, y, transformer=transformer)
        codes = codes_of(transformer, X)
        if color_by is not None:
            y = column_of(X, color_by, "color_by")
        return cls.from_codes(codes, y, dimensions=dimensions, ax=ax, **options)

    @classmethod
    def from_codes(
        cls,
        codes: ArrayLike,
        y: ArrayLike | None = None,
        *,
        dimensions: Sequence[int] | None = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Draw codes.

        Parameters
        ----------
        codes : array-like or Source of shape (n_samples, n_components)
            Codes of rows, or a Source of codes, of which a sample is drawn as in :meth:`from_estimator`.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers that colour the points.
        dimensions : sequence of one or two int, default=None
            As in :meth:`from_estimator`.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : LatentSpaceDisplay
            The display.
        """
        codes, y = shown_together(codes, y)
        checked = check_array(codes, dtype=np.float64, input_name="codes")
        if y is not None and np.ndim(y) != 1:
            raise ValueError(f"y must be 1-dimensional, got shape {np.shape(y)}: give one of its columns")
        check_consistent_length(checked, y)
        drawn, names = _coordinates(checked, dimensions)
        name = getattr(y, "name", None)
        display = cls(
            drawn,
            None if y is None else np.asarray(y),
            axis_labels=names,
            label_name=None if name is None else str(name),
        )
        return display.plot(ax, **options)

    def plot(
        self, ax: Any = None, *, cmap: Any = "viridis", legend: bool = True, scatter_kw: dict[str, Any] | None = None
    ) -> Self:
        """Draw points, or a histogram if there is one dimension and labels are not numbers.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        cmap : str or Colormap, default="viridis"
            Colours of numbers.
        legend : bool, default=True
            Whether to draw the legend or the colour bar.
        scatter_kw : dict, default=None
            Keywords of ``Axes.scatter``.

        Returns
        -------
        display : LatentSpaceDisplay
            The display itself.
        """
        self.ax_ = axes_for(ax, self, 5.6, 4.4)
        self.figure_ = self.ax_.figure
        self.legend_ = self.colorbar_ = None
        self.scatter_: list[Any] = []
        self.hist_: list[Any] = []
        points = {"s": 20, "alpha": 0.9, "linewidths": 0.5} | (scatter_kw or {})
        if _holds_numbers(self.labels):
            # The ends of a colour map are too dark or too light for some background: a thin edge is seen on all.
            self._draw_numbers({"edgecolors": GREY} | points | {"cmap": cmap}, legend)
        else:
            self._draw_classes(points, legend)
        return self

    def _draw_numbers(self, points: dict[str, Any], legend: bool) -> None:
        """Draw points coloured by a number, over their only coordinate or in the plane."""
        values = np.asarray(self.labels, dtype=np.float64)
        known = ~np.isnan(values)
        value_name = self.label_name or "label"
        if self.codes.shape[1] == 1:
            del points["cmap"]
            self.scatter_ = [self.ax_.scatter(self.codes[known, 0], values[known], facecolors=COLOURS[4], **points)]
            self.ax_.set(xlabel=self.axis_labels[0], ylabel=value_name)
            return
        if not known.all():
            self.scatter_.append(self.ax_.scatter(*self.codes[~known].T, facecolors="none", **_without(points, "cmap")))
        drawn = self.ax_.scatter(*self.codes[known].T, c=values[known], **points)
        self.scatter_.append(drawn)
        if legend:
            self.colorbar_ = colour_bar(drawn, self.ax_, value_name)
        self.ax_.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])

    def _draw_classes(self, points: dict[str, Any], legend: bool) -> None:
        """Draw points or histograms of each class."""
        groups = _groups(self.labels, len(self.codes))
        if self.codes.shape[1] == 1:
            self._draw_histograms(groups)
        else:
            self.scatter_ = [
                self.ax_.scatter(*self.codes[rows].T, label=name, **style | points) for name, rows, style in groups
            ]
            self.ax_.set(ylabel=self.axis_labels[1])
        self.ax_.set(xlabel=self.axis_labels[0])
        if legend and self.labels is not None:
            n_columns = -(-len(groups) // LONGEST_COLUMN)
            self.legend_ = legend_beside(self.ax_, title=self.label_name, ncols=n_columns, markerscale=1.6)

    def _draw_histograms(self, groups: list[tuple[str, NDArray[np.bool_], dict[str, str]]]) -> None:
        edges = np.histogram_bin_edges(self.codes[:, 0], bins=30)
        for place, (name, rows, style) in enumerate(groups):
            colour, lines = style["color"], LINES[place % len(LINES)]
            look = {"facecolor": (colour, 0.25), "edgecolor": colour, "linestyle": lines, "linewidth": 1.5}
            _, _, bars = self.ax_.hist(self.codes[rows, 0], edges, histtype="stepfilled", label=name, **look)
            self.hist_.append(bars)
        self.ax_.set(ylabel="rows")


def _coordinates(codes: NDArray, dimensions: Sequence[int] | None) -> tuple[NDArray, list[str]]:
    """Return the coordinates of rows, (n, 1) or (n, 2), and their names."""
    n_components = codes.shape[1]
    if dimensions is None and n_components > 2:
        pca = PCA(2)
        with np.errstate(invalid="ignore"):  # all codes are equal
            coordinates = pca.fit_transform(codes)
        shares = np.nan_to_num(pca.explained_variance_ratio_)
        return coordinates, [f"component {i} of the codes ({share:.0%} of variance)" for i, share in enumerate(shares)]
    chosen = list(range(n_components)) if dimensions is None else list(dimensions)
    if not 1 <= len(chosen) <= 2 or len({*chosen} & {*range(n_components)}) < len(chosen):
        raise ValueError(
            f"dimensions must be one or two different integers from 0 to {n_components - 1}, got {dimensions!r}"
        )
    return codes[:, chosen], [f"code {i}" for i in chosen]


def _holds_numbers(labels: NDArray | None) -> bool:
    """Return whether labels are numbers rather than classes."""
    if labels is None or labels.dtype.kind not in "iuf":
        return False
    known = np.unique(labels[~np.isnan(labels)])
    return len(known) > MOST_CLASSES_OF_NUMBERS or bool((known % 1 != 0).any())


def _groups(labels: NDArray | None, n: int) -> list[tuple[str, NDArray[np.bool_], dict[str, str]]]:
    """Return name, rows and style of each class; missing labels come first, below the others."""
    import pandas as pd

    if labels is None:
        return [("rows", np.ones(n, dtype=bool), style_of(4) | {"marker": "o"})]
    missing = pd.isna(labels)
    classes = sorted(set(labels[~missing].tolist()), key=lambda label: (str(type(label)), label))
    styled = [
        (f"{label:g}" if isinstance(label, float) else str(label), _equal(labels, label, ~missing), style_of(i))
        for i, label in enumerate(classes)
    ]
    unlabelled = [("no label", missing, {"color": GREY, "marker": "."})] if missing.any() else []
    return unlabelled + styled


def _equal(labels: NDArray, label: Any, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which known labels equal one; a missing one may refuse to be compared."""
    rows = known.copy()
    rows[known] = labels[known] == label
    return rows


def _without(options: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != name}
