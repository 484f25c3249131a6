"""The distribution of the codes of training rows, and of the gaps of these rows."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from sklearn_ae.model.mixtures import mixture_of, mixture_of_classes

MAX_PATTERNS = 1000  # patterns of missing cells that are kept


class Observed(NamedTuple):
    """What the density is estimated from."""

    codes: NDArray  # (n, k)
    gaps: NDArray[np.bool_] | None = None  # (n, n_cells): missing cells
    labels: NDArray[np.int64] | None = None  # (n,): class of each row


class Density(NamedTuple):
    """A Gaussian mixture of codes; each component has a class, and patterns of missing cells."""

    mixture: GaussianMixture
    patterns: NDArray[np.bool_]  # (n_patterns, n_cells)
    shares: NDArray[np.float64]  # (n_components, n_patterns), of which each row sums to 1
    classes: NDArray[np.int64]  # (n_components,)

    @classmethod
    def of(cls, observed: Observed) -> "Density":
        """Fit a mixture to each class, and count the patterns by the probability of the component given the code."""
        codes = observed.codes.astype(np.float64)
        mixture, classes = mixture_of_classes(codes, observed.labels)
        if observed.gaps is None:
            return cls(mixture, np.zeros((1, 0), dtype=bool), np.ones((len(classes), 1)), classes)
        patterns, index, counts = np.unique(observed.gaps, axis=0, return_inverse=True, return_counts=True)
        kept = np.argsort(-counts, kind="stable")[:MAX_PATTERNS]
        probability = mixture.predict_proba(codes)
        shares = np.stack([np.bincount(index.ravel(), of_one, len(patterns))[kept] for of_one in probability.T])
        shares += counts[kept] / counts[kept].sum()  # a component of few rows has the patterns of the table
        return cls(mixture, patterns[kept], shares / shares.sum(1, keepdims=True), classes)

    def of_class(self, label: int) -> "Density | None":
        """Return the density of the codes of a class, None if no row was of it."""
        own = self.classes == label
        if not own.any():
            return None
        mixture = self.mixture
        weights = mixture.weights_[own] / mixture.weights_[own].sum()
        part = mixture_of(weights, mixture.means_[own], mixture.covariances_[own])
        return Density(part, self.patterns, self.shares[own], self.classes[own])


class CodeDensity:
    """A Gaussian mixture of training codes: ex-post density estimation (Ghosh et al. 2020, section 4).

    The mixture takes a tenth of the time of a small fit, and most fits are never sampled from. So it is fitted when it
    is first needed, and before it is pickled or copied: no code of a training row leaves the process.

    Parameters
    ----------
    codes : ndarray of shape (n, k), optional
        Codes of training rows.
    gaps : ndarray of shape (n, n_cells), optional
        Missing cells of these rows; None without any.
    labels : ndarray of shape (n,), optional
        Class of each row; None without classes.
    """

    def __init__(
        self,
        codes: NDArray | None = None,
        gaps: NDArray[np.bool_] | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self._observed = None if codes is None else Observed(codes, gaps, labels)
        self._density: Density | None = None
        self.has_classes = labels is not None

    def of_class(self, label: int) -> "CodeDensity | None":
        """Return the density of the codes of a class, None if no row was of it."""
        density = self.fitted().of_class(label)
        if density is None:
            return None
        part = type(self)()
        part._density = density
        return part

    @property
    def mixture(self) -> GaussianMixture:
        """The mixture of codes."""
        return self.fitted().mixture

    def draw(self, n: int, random: np.random.RandomState) -> NDArray[np.float64]:
        """Return n codes, (n, k)."""
        mixture = self.mixture
        counts = random.multinomial(n, mixture.weights_)
        parts = [
            random.multivariate_normal(mean, covariance, size=int(count))
            for mean, covariance, count in zip(mixture.means_, mixture.covariances_, counts, strict=True)
        ]
        return random.permutation(np.concatenate(parts))

    def draw_gaps(self, codes: NDArray[np.float64], random: np.random.RandomState) -> NDArray[np.bool_] | None:
        """Return which cells of rows with these codes are missing, (n, n_cells), or None if there are never any."""
        density = self.fitted()
        if not density.patterns.any():
            return None
        below = (density.mixture.predict_proba(codes) @ density.shares).cumsum(1)
        chosen = (below < random.uniform(size=(len(codes), 1)) * below[:, -1:]).sum(1)
        return density.patterns[chosen]

    def fitted(self) -> Density:
        """Return the density, and forget the codes. All threads get the same density."""
        observed, density = self._observed, self._density
        if density is None:
            if observed is None:
                raise ValueError("a density must be fitted before codes are drawn from it")
            density = self._density = Density.of(observed)
            self._observed = None
        return density

    def __getstate__(self) -> dict[str, Any]:
        """Return the density without the codes."""
        is_fitted = self._observed is not None or self._density is not None
        return {**self.__dict__, "_observed": None, "_density": self.fitted() if is_fitted else None}
