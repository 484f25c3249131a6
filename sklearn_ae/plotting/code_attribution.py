"""How much each column moves each code."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.plotting.drawing import colour_bar, heat_map, height_of, largest
from sklearn_ae.plotting.estimators import autoencoder_of, labels_of
from sklearn_ae.plotting.figures import axes_for, check_matplotlib


class CodeAttributionDisplay:
    """How much each column moves each code, from ``explain_codes``.

    Use :meth:`from_estimator` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    effects : ndarray of shape (n_features, n_components)
        Mean absolute change of each code if the cell of a column is replaced by that of another row.
    column_names : sequence of str
        Names of the columns.
    code_names : sequence of str, default=None
        Names of the codes. None numbers them.

    Attributes
    ----------
    ax_ : Axes
        The axes.
    figure_ : Figure
        The figure.
    im_ : AxesImage
        The heat map.
    colorbar_ : Colorbar
        The colour bar.

    See Also
    --------
    sklearn_ae.RegularizedAutoencoder.explain_codes : The effects as a table.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.plotting import CodeAttributionDisplay
    >>> X = load_iris(as_frame=True).data
    >>> model = RegularizedAutoencoder(2, max_iter=5, random_state=0).fit(X)
    >>> display = CodeAttributionDisplay.from_estimator(model, X)
    >>> display.effects.shape
    (4, 2)
    """

    def __init__(self, effects: NDArray, column_names: Sequence[str], code_names: Sequence[str] | None = None) -> None:
        self.effects = effects
        self.column_names = column_names
        self.code_names = code_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        max_samples: int = 500,
        random_state: Any = 0,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Compute and draw the effects of columns on codes.

        Parameters
        ----------
        estimator : autoencoder, or imputer or outlier detector around one
            A fitted estimator.
        X : array-like, DataFrame or Source of shape (n_samples, n_features)
            At least two rows. Of a :class:`~sklearn_ae.tables.sources.Source` only those are read that are drawn.
        max_samples : int, default=500
            Maximum number of rows in which cells are replaced, as in ``explain_codes``.
        random_state : int, RandomState or None, default=0
            Seed or generator of the drawn rows.
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : CodeAttributionDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        effects = autoencoder_of(estimator).explain_codes(X, max_samples, random_state)
        return cls(effects.to_numpy(), labels_of(effects.index)).plot(ax, **options)

    def plot(self, ax: Any = None, *, max_columns: int = 30, cmap: Any = "viridis") -> Self:
        """Draw a heat map of columns and codes.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to draw in, or a new figure.
        max_columns : int, default=30
            Number of columns that are drawn. If there are more, those that move the codes most, each code in units of
            its largest effect.
        cmap : str or Colormap, default="viridis"
            Colours of the effects.

        Returns
        -------
        display : CodeAttributionDisplay
            The display itself.
        """
        n_codes = self.effects.shape[1]
        highest = self.effects.max(axis=0)
        relative = self.effects / np.where(highest > 0, highest, 1)
        shown = largest(relative.sum(axis=1), max_columns)
        self.ax_ = axes_for(ax, self, min(3.4 + 0.4 * n_codes, 12), height_of(len(shown)))
        self.figure_ = self.ax_.figure
        names = [self.column_names[column] for column in shown]
        self.im_ = heat_map(self.ax_, self.effects[shown], names, cmap=cmap, vmin=0)
        self.colorbar_ = colour_bar(self.im_, self.ax_, "change of the code")
        self.ax_.set_xlabel("code")
        if self.code_names is not None:
            self.ax_.set_xticks(range(n_codes), self.code_names, rotation=45, ha="right")
        elif n_codes <= 20:
            self.ax_.set_xticks(range(n_codes))
        return self
