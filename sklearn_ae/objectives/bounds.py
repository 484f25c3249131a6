"""Terms of the variational bounds."""

from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives.losses import importance_weighted, normal_log_density
from sklearn_ae.objectives.priors import PRIORS as PRIORS
from sklearn_ae.objectives.priors import Prior
from sklearn_ae.objectives.terms import Batch, reconstruction_by_draw


def divergence(module: Autoencoder, batch: Batch, trace: Trace, prior: Prior) -> Tensor:
    """Return ``KL(q(z | x) || p(z))``, (n,), in closed form."""
    return prior.kl(trace["mean"], trace["log_var"])


def importance_weighted_bound(module: Autoencoder, batch: Batch, trace: Trace, prior: Prior) -> Tensor:
    """Return ``-log mean_l p(x | z_l) p(z_l) / q(z_l | x)``, (n,) (Burda et al. 2016, eq. 8)."""
    return importance_weighted(log_weights_by_draw(module, batch, trace, prior))


def log_weights_by_draw(module: Autoencoder, batch: Batch, trace: Trace, prior: Prior) -> Tensor:
    """Return ``log p(x | z) + log p(z) - log q(z | x)`` for L draws per row, (n, L)."""
    mean, log_var = trace["mean"].unsqueeze(1), trace["log_var"].unsqueeze(1)
    standardised = (trace["code"] - mean) * (-0.5 * log_var).exp()
    log_ratio = prior.log_density(trace["code"]) - normal_log_density(standardised) + 0.5 * log_var.sum(-1)
    return log_ratio - reconstruction_by_draw(module, batch, trace)
