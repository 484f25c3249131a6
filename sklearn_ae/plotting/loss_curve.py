"""The training and validation losses by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_ae.plotting.estimators import autoencoder_of
from sklearn_ae.plotting.figures import COLOURS, GREY, axes_for, check_matplotlib, divided

EQUILIBRIUM = -np.log(4)  # value of the adversarial game
COLUMNS = {2: 2, 4: 2}  # of axes beside one another, by the number of axes; else three


class LossCurveDisplay:
    """Losses and their terms by epoch.

    Use :meth:`from_estimator` to create one. Parameters are stored as attributes.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        Numbers of the epochs.
    training : mapping of str to array-like of shape (n_epochs,)
        Training loss by its name, ``"loss"`` for the sum, the name of a term else.
    validation : mapping of str to array-like of shape (n_epochs,), default=None
        Validation losses of the same names, as far as there are any.

    Attributes
    ----------
    ax_ : Axes
        The axes that were given or created. They are empty, since ``axes_`` take their place.
    axes_ : ndarray of Axes of shape (n_curves,)
        Axes with one loss or term each.
    figure_ : Figure
        The figure.
    lines_ : dict of str to Line2D
        Lines by their names in ``history_``.
    best_ : Line2D or None
        The marker of the best epoch.

    See Also
    --------
    sklearn_ae.AdversarialAutoencoder : The game whose value is drawn against its equilibrium.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> from sklearn_ae.plotting import LossCurveDisplay
    >>> X = load_iris().data
    >>> model = RegularizedAutoencoder(2, max_iter=5, random_state=0).fit(X[::2], X_val=X[1::2])
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> list(display.training)
    ['loss', 'reconstruction', 'penalty']
    """

    def __init__(
        self,
        epochs: ArrayLike,
        training: Mapping[str, ArrayLike],
        validation: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.epochs = epochs
        self.training = training
        self.validation = validation

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, terms: Sequence[str] | None = None, ax: Any = None, **options: Any
    ) -> Self:
        """Draw the losses of a fit.

        Parameters
        ----------
        estimator : autoencoder, or imputer or outlier detector around one
            A fitted estimator. Of several members the best one is shown.
        terms : sequence of str, default=None
            Terms to draw beside the loss, columns of ``history_``. None draws all.
        ax : Axes, default=None
            Axes whose place is taken, or a new figure.
        **options : dict
            Keywords of :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a term is not in ``history_``.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        history = autoencoder_of(estimator).history_.rename(columns={"train_loss": "loss"})
        known = [name for name in history if not name.startswith("valid_") and name not in ("loss", "seconds")]
        if unknown := [name for name in terms or () if name not in known]:
            raise ValueError(f"terms must be among {known}, got {unknown}")
        names = ["loss", *(known if terms is None else terms)]
        training = {name: history[name].to_numpy() for name in names}
        validation = {name: history[f"valid_{name}"].to_numpy() for name in names if f"valid_{name}" in history}
        return cls(history.index.to_numpy(), training, validation or None).plot(ax, **options)

    @property
    def monitored(self) -> str | None:
        """The validation loss that early stopping monitors: that of the target if there is one; None without any."""
        return next((name for name in ("target", "loss") if name in (self.validation or {})), None)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest monitored validation loss; None without validation rows."""
        if self.validation is None or self.monitored is None:
            return None
        return int(np.asarray(self.epochs)[np.nanargmin(np.asarray(self.validation[self.monitored]))])

    def plot(self, ax: Any = None, *, logy: bool = False) -> Self:
        """Draw one curve per loss and term, validation dashed.

        Parameters
        ----------
        ax : Axes, default=None
            Axes whose place is taken, or a new figure.
        logy : bool, default=False
            Whether the axis of a loss is logarithmic, as far as all its values are positive.

        Returns
        -------
        display : LossCurveDisplay
            The display itself.
        """
        n_axes = len(self.training) + 1  # the last one for the legend
        n_columns = COLUMNS.get(n_axes, 3)
        self.ax_ = axes_for(ax, self, 0.6 + 3 * n_columns, 0.3 + 2.4 * -(-n_axes // n_columns))
        self.figure_ = self.ax_.figure
        *axes, for_legend = divided(self.ax_, n_axes, n_columns)
        self.axes_ = np.array(axes, dtype=object)
        self.lines_: dict[str, Any] = {}
        self.best_ = None
        for axes, name in zip(self.axes_, self.training, strict=True):
            self._draw(axes, name, logy)
        for_legend.set_axis_off()
        for_legend.legend(*_labelled(self.axes_), frameon=False, loc="center")
        return self

    def _draw(self, ax: Any, name: str, logy: bool) -> None:
        """Draw a loss or a term."""
        from matplotlib.ticker import MaxNLocator

        values = self._lines_of(ax, name)
        if name.endswith("value"):
            ax.axhline(EQUILIBRIUM, color=GREY, linestyle="--", linewidth=1, label=r"$-\log 4$")
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=GREY, linestyle=":", linewidth=1)
        if self.validation is not None and name == self.monitored:
            self._mark_best(ax, np.asarray(self.validation[name]))
        ax.set(title=name.replace("_", " "), xlabel="epoch")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if logy and (values > 0).all():
            ax.set_yscale("log")

    def _lines_of(self, ax: Any, name: str) -> NDArray:
        """Draw the lines of a loss or a term, and return their values."""
        (line,) = ax.plot(self.epochs, self.training[name], color=COLOURS[4], label="training")
        self.lines_["train_loss" if name == "loss" else name] = line
        if self.validation is None or name not in self.validation:
            return np.asarray(self.training[name])
        validation = self.validation[name]
        (self.lines_[f"valid_{name}"],) = ax.plot(
            self.epochs, validation, color=COLOURS[0], linestyle="--", label="validation"
        )
        return np.concatenate([self.training[name], validation])

    def _mark_best(self, ax: Any, values: NDArray) -> None:
        style = {"color": COLOURS[3], "marker": "o", "linestyle": "none"}
        (self.best_,) = ax.plot(self.best_epoch, np.nanmin(values), label=f"best epoch, {self.best_epoch}", **style)


def _labelled(axes: NDArray[np.object_]) -> tuple[list[Any], list[str]]:
    """Return the artists with labels and the labels of all axes, each label once."""
    found = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    return list(found.values()), list(found)
