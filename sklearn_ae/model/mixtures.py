"""Gaussian mixtures of codes."""

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.mixture import GaussianMixture

MIXTURE_COMPONENTS = 10  # default number of components, as in the experiments of Ghosh et al. (2020)
LEAST_CODES = 20  # per component of a mixture of classes
LEAST_CODES_PER_DIMENSION = 3  # per component and dimension of the code
FEW_COMPONENTS = 40  # up to this number, components need no more codes than that
CODES_OF_MANY = 100  # per component of larger mixtures
MAX_PRODUCTS = 4e8  # multiplications per iteration, which bound the number of components of long codes
TOLERANCE = 1e-2  # gain of the mean log-likelihood per iteration at which a mixture of classes has converged


def fitted_mixture(
    codes: NDArray[np.float64], n_components: int = MIXTURE_COMPONENTS, tolerance: float = 1e-3
) -> GaussianMixture:
    """Return a Gaussian mixture of codes, (n, k)."""
    n_distinct = len(np.unique(codes, axis=0))
    if len(codes) == 1:  # a mixture needs two rows
        codes = np.repeat(codes, 2, axis=0)
    n_components = min(n_components, n_distinct)
    mixture = GaussianMixture(n_components, tol=tolerance, init_params="k-means++", random_state=0)
    with config_context(array_api_dispatch=False):  # k-means++ refuses to run with it
        return mixture.fit(codes)


def mixture_of_classes(
    codes: NDArray[np.float64], labels: NDArray[np.int64] | None
) -> tuple[GaussianMixture, NDArray[np.int64]]:
    """Return the mixture of the mixtures of all classes, and the class of each component."""
    n, k = codes.shape
    if labels is None:
        mixture = fitted_mixture(codes, _n_components(n, k), TOLERANCE)
        return mixture, np.zeros(mixture.n_components, dtype=np.int64)
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    parts = [
        fitted_mixture(codes[index == place], _n_components(count, k), TOLERANCE) for place, count in enumerate(counts)
    ]
    means = np.stack([codes[index == place].mean(0) for place in range(len(classes))])
    pooled = (codes - means[index]).T @ (codes - means[index]) / n
    covariances = [_shrunk(part, pooled, count, k) for part, count in zip(parts, counts, strict=True)]
    weights = [part.weights_ * count / n for part, count in zip(parts, counts, strict=True)]
    mixture = mixture_of(
        np.concatenate(weights), np.concatenate([part.means_ for part in parts]), np.concatenate(covariances)
    )
    return mixture, np.repeat(classes, [part.n_components for part in parts])


def _shrunk(part: GaussianMixture, pooled: NDArray[np.float64], n: int, k: int) -> NDArray[np.float64]:
    """Return the covariances of the mixture of a class; that of few codes is averaged with the one of all classes."""
    if part.n_components > 1:
        return part.covariances_
    return (n * part.covariances_ + k * (pooled + part.reg_covar * np.eye(k))) / (n + k)


def mixture_of(weights: NDArray, means: NDArray, covariances: NDArray) -> GaussianMixture:
    """Return a mixture of given components."""
    mixture = GaussianMixture(len(weights))
    mixture.weights_, mixture.means_, mixture.covariances_ = weights, means, covariances
    lower = np.linalg.cholesky(covariances)
    mixture.precisions_cholesky_ = np.linalg.inv(lower).transpose(0, 2, 1)
    mixture.n_features_in_ = means.shape[1]
    return mixture


def _n_components(n: int, k: int) -> int:
    """Return the number of components of the mixture of n codes of k dimensions."""
    enough = n // max(LEAST_CODES, LEAST_CODES_PER_DIMENSION * k)
    most = max(FEW_COMPONENTS, n // CODES_OF_MANY)
    return max(1, min(enough, most, int(MAX_PRODUCTS / (n * k**2))))
