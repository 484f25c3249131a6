"""Autoencoders whose code is a point, with a penalty on the code or corrupted rows."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Annotated

from torch import nn

from sklearn_ae.estimators.base import BaseAutoencoder
from sklearn_ae.estimators.parameters import VARIES_IN_STACK, Float, Function, InvalidParameterError, OneOf
from sklearn_ae.model.inference import PluginInference
from sklearn_ae.model.recipe import Problem, Recipe
from sklearn_ae.modules.noise import CORRUPTIONS
from sklearn_ae.objectives.terms import PENALTIES, Term, reconstruction


@dataclass(kw_only=True, eq=False, repr=False)
class RegularizedAutoencoder(BaseAutoencoder):
    """Autoencoder with a penalty on the code, or corrupted rows.

    The mean over the rows of ``-log p(x | z) + alpha * penalty(z) - target_weight * log p(y | z)`` is minimised, all in
    nats. Numeric columns have observation noise of variance 1 on the standardised scale, so the first term is half the
    squared error, plus a constant.

    Parameters
    ----------
    penalty : {"l1", "l2", "kl", "contractive"}, callable or None, default="l1"
        Penalty on the code, added to the loss of a row.

        - ``"l1"``: ``sum |z|``, a Laplace prior on the code;
        - ``"l2"``: ``sum z^2``, a normal prior;
        - ``"kl"``: the divergence of the mean activity ``sigmoid(z)`` from 0.05 [1]_;
        - ``"contractive"``: the squared Frobenius norm of the encoder's Jacobian [2]_;
        - a callable ``(module, batch, trace) -> tensor`` of shape (n,) or (), for example
          ``lambda module, batch, trace: trace["code"].abs().amax(1)``. A function of a module can be pickled, a lambda
          can't.
    alpha : float, default=1e-3
        Weight of the penalty.
    corruption : {"mask", "gaps", "gaussian"}, default="mask"
        Corruption of the rows while training; the clean row is reconstructed (a denoising autoencoder [3]_).

        - ``"mask"``: cells are hidden as if they were missing;
        - ``"gaps"``: as ``"mask"`` in half of the rows. In the other half, the cells that are missing in another row of
          the batch are hidden, and a tenth of the others. For tables whose cells are not missing completely at random;
        - ``"gaussian"``: Gaussian noise is added to standardised columns.
    corruption_level : float, default=0.0
        Fraction of hidden cells, in [0, 1), or standard deviation of the Gaussian noise. 0 means no corruption.
    unseen_fraction : float, default=0.0
        Fraction of the known cells that are left out of the training, in [0, 1), to calibrate the draws of
        ``impute(n_draws=...)``. With 0, draws are calibrated on validation rows, or, without these, on training rows,
        where errors are smaller. It has no effect for sparse matrices and other rows that are encoded when they are
        read. A continued fit leaves out other cells, some of which the earlier fit has seen.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    VariationalAutoencoder : Codes are distributions, and rows have a likelihood.
    AdversarialAutoencoder : A discriminator compares generated rows or codes with real ones.
    sklearn.decomposition.PCA : The optimum of a linear autoencoder.

    Notes
    -----
    ``sample`` draws codes from a Gaussian mixture fitted to codes of training rows [4]_, since the penalty alone does
    not determine their distribution.

    References
    ----------
    .. [1] Ng, A. (2011). Sparse autoencoder. CS294A lecture notes, Stanford University, section 3.
    .. [2] Rifai, S. et al. (2011). Contractive auto-encoders: explicit invariance during feature extraction. ICML,
       equation 2.
    .. [3] Vincent, P. et al. (2010). Stacked denoising autoencoders. Journal of Machine Learning Research, 11,
       section 3.3.
    .. [4] Ghosh, P. et al. (2020). From variational to deterministic autoencoders. ICLR, section 4.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import RegularizedAutoencoder
    >>> X, y = load_digits(return_X_y=True)
    >>> autoencoder = RegularizedAutoencoder(n_components=4, scale="common", max_iter=5, random_state=0)
    >>> autoencoder.fit(X).transform(X).shape
    (1797, 4)
    >>> autoencoder.sample(2, random_state=0).shape
    (2, 64)
    """

    penalty: Annotated[str | Callable | None, OneOf(*PENALTIES, None), Function()] = "l1"
    alpha: Annotated[float, Float(0), VARIES_IN_STACK] = 1e-3
    corruption: Annotated[str, OneOf(*CORRUPTIONS)] = "mask"
    corruption_level: Annotated[float, Float(0)] = 0.0
    unseen_fraction: Annotated[float, Float(0, 1)] = 0.0

    def recipe(self, problem: Problem) -> Recipe:
        """Return module, phase, optimizer and inference."""
        penalty = self._penalty()
        terms = {"reconstruction": reconstruction, **penalty}
        phase = problem.autoencoder_phase(terms, dict.fromkeys(penalty, self.alpha))
        return Recipe(
            problem.point_autoencoder(self._corruption(problem.layout.n_scaled)),
            (phase,),
            phase,
            {phase.name: {"lr": self.learning_rate, "weight_decay": self.weight_decay}},
            PluginInference(problem.layout.n_scaled),
            self.unseen_fraction,
        )

    def _penalty(self) -> dict[str, Term]:
        if self.penalty is None:
            return {}
        return {"penalty": PENALTIES[self.penalty] if isinstance(self.penalty, str) else _checked(self.penalty)}

    def _corruption(self, n_scaled: int) -> nn.Module | None:
        if self.corruption != "gaussian" and self.corruption_level >= 1:
            raise ValueError(
                f"corruption_level must lie in [0, 1) with corruption={self.corruption!r}, got "
                f"corruption_level={self.corruption_level!r}"
            )
        return CORRUPTIONS[self.corruption](self.corruption_level, n_scaled) if self.corruption_level else None


def _checked(penalty: Term) -> Term:
    """Return a callable penalty; raise unless it takes the arguments of a term."""
    try:
        signature(penalty).bind("module", "batch", "trace")
    except (TypeError, ValueError) as error:  # ValueError: the signature of a function in C can't be read
        raise InvalidParameterError(
            f"penalty must be a callable (module, batch, trace) -> tensor, got {penalty!r}: {error}"
        ) from error
    return penalty
