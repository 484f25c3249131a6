"""Autoencoders whose code is a point, held in place by a penalty or by noise on the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from torch import Tensor

from sklearn_ae.families.base import BaseAutoencoder, Problem
from sklearn_ae.families.parameters import Function, InvalidParameterError, Number, OneOf
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.modules.codes import PointCode
from sklearn_ae.modules.noise import CORRUPTIONS
from sklearn_ae.objectives.columns import UnitGaussian
from sklearn_ae.objectives.terms import PENALTIES, Term, reconstruction
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import chunk_size
from sklearn_ae.training.phases import Phase

KEPT_CODES = 10_000  # of the training rows, for the density of codes
MIXTURE_COMPONENTS = 10  # as in the experiments of Ghosh et al. (2020)


@dataclass(kw_only=True, eq=False, repr=False)
class RegularizedAutoencoder(BaseAutoencoder):
    """Autoencoder whose code is a point, with a penalty on the code or noise on the rows.

    The mean over the rows of ``-log p(x | z) + alpha * penalty(z) - target_weight * log p(y | z)`` is minimised, all in
    nats. Numeric columns have unit noise on the standardised scale, so the first term is half the squared error, and a
    constant.

    Parameters
    ----------
    penalty : {"l1", "l2", "kl", "contractive"}, callable or None, default="l1"
        What is added to the cost of a row.

        - ``"l1"``: ``sum |z|``, a Laplace prior on the code;
        - ``"l2"``: ``sum z^2``, a normal prior;
        - ``"kl"``: pulls the mean of ``sigmoid(z)`` to 0.05 [1]_;
        - ``"contractive"``: the squared Frobenius norm of the encoder's Jacobian [2]_;
        - a callable ``(module, batch, trace) -> tensor`` of shape (n,) or (), for example
          ``lambda module, batch, trace: trace["code"].abs().amax(1)``. A function of a module can be pickled, a lambda
          can't.
    alpha : float, default=1e-3
        Weight of the penalty.
    noise : float, default=0.0
        Noise on the rows while training; the clean row is reconstructed (a denoising autoencoder [3]_). The share of
        cells set to their mean, in [0, 1), or the standard deviation of normal noise on standardised columns.
    noise_kind : {"mask", "gaussian"}, default="mask"
        Kind of noise.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    VariationalAutoencoder : The code is a distribution; rows have a likelihood.
    AdversarialAutoencoder : A discriminator compares generated rows or codes with real ones.
    sklearn.decomposition.PCA : What a linear autoencoder finds.

    Notes
    -----
    ``sample`` draws codes from a Gaussian mixture fitted to codes of training rows [4]_, since the penalty alone says
    little about where codes lie.

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
    alpha: Annotated[float, Number(0)] = 1e-3
    noise: Annotated[float, Number(0)] = 0.0
    noise_kind: Annotated[str, OneOf(*CORRUPTIONS)] = "mask"

    differs_in_a_stack = BaseAutoencoder.differs_in_a_stack | {"alpha"}

    def _module(self, problem: Problem) -> Autoencoder:
        if self.noise_kind == "mask" and self.noise >= 1:
            raise ValueError(f"noise must lie in [0, 1) with noise_kind='mask', got noise={self.noise!r}")
        corruption = CORRUPTIONS[self.noise_kind](self.noise, problem.layout.n_numbers) if self.noise else None
        return self._autoencoder(problem, PointCode, UnitGaussian, corruption)

    def _phases(self, problem: Problem) -> tuple[Phase, ...]:
        penalty: dict[str, Term] = {}
        if self.penalty is not None:
            penalty["penalty"] = PENALTIES[self.penalty] if isinstance(self.penalty, str) else _checked(self.penalty)
        terms = {"reconstruction": reconstruction, **penalty}
        return (self._autoencoder_phase(problem, terms, dict.fromkeys(penalty, self.alpha)),)

    def _learn_afterwards(self, rows: Rows, random: np.random.RandomState) -> None:
        """Keep codes of training rows; the density is learned when it is first asked for."""
        n = len(rows)
        weight = rows.columns.weight
        if weight is not None:
            share = weight.cpu().numpy().astype(np.float64)
            index = random.choice(n, size=min(n, KEPT_CODES), p=share / share.sum())
        elif n > KEPT_CODES:
            index = random.choice(n, size=KEPT_CODES, replace=False)
        else:
            index = np.arange(n)
        parts = torch.from_numpy(index).split(chunk_size(rows))  # so that no second copy of the rows is made
        self._density = _CodeDensity(np.concatenate([self._codes_of(Rows(rows.take(part))) for part in parts]))
        super()._learn_afterwards(rows, random)

    def _codes_of(self, rows: Rows) -> NDArray:
        return self.net_.apply(lambda module, batch: module.encode(batch.x, batch.observed), rows)

    def _sample_codes(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        mixture = self._density.mixture()
        counts = random.multinomial(n_samples, mixture.weights_)
        parts = [
            random.multivariate_normal(mean, covariance, size=int(count))
            for mean, covariance, count in zip(mixture.means_, mixture.covariances_, counts, strict=True)
        ]
        return torch.from_numpy(random.permutation(np.concatenate(parts)))


def _checked(penalty: Term) -> Term:
    """Return a penalty of a user's own if it takes what a term is given."""
    try:
        signature(penalty).bind("module", "batch", "trace")
    except (TypeError, ValueError) as error:  # ValueError: a function of C, whose arguments can't be read
        raise InvalidParameterError(
            f"penalty must be a callable (module, batch, trace) -> tensor, got {penalty!r}: {error}"
        ) from error
    return penalty


class _CodeDensity:
    """The density of codes of training rows, learned when it is first asked for: the same one in every thread."""

    def __init__(self, codes: NDArray) -> None:
        self.codes = codes
        self._mixture: GaussianMixture | None = None

    def mixture(self) -> GaussianMixture:
        mixture = self._mixture
        if mixture is None:
            mixture = self._mixture = _fitted_mixture(self.codes.astype(np.float64))
        return mixture


def _fitted_mixture(codes: NDArray[np.float64]) -> GaussianMixture:
    """Return the density of codes after training: ex-post density estimation (Ghosh et al. 2020, section 4)."""
    n_distinct = len(np.unique(codes, axis=0))
    if len(codes) == 1:  # a mixture wants two rows
        codes = np.repeat(codes, 2, axis=0)
    return GaussianMixture(min(MIXTURE_COMPONENTS, n_distinct), random_state=0).fit(codes)
