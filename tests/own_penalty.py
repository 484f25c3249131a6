"""A penalty defined outside the package: it makes the dimensions of the code uncorrelated."""

from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives.terms import Batch


def decorrelation(module: Autoencoder, batch: Batch, trace: Trace) -> Tensor:
    """Return half the sum of squared covariances of different code dimensions, () (Cogswell et al. 2016, eq. 2)."""
    code = trace["code"]
    weight = code.new_ones(code.shape[0]) if batch.weight is None else batch.weight
    weight = (weight / weight.sum()).unsqueeze(1)
    centred = code - (weight * code).sum(0)
    covariance = centred.T @ (weight * centred)
    return 0.5 * (covariance.square().sum() - covariance.diagonal().square().sum())
