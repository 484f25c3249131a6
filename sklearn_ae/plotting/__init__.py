"""Pictures of fits, codes and rows, by matplotlib."""

from sklearn_ae.plotting.latent_space import LatentSpaceDisplay
from sklearn_ae.plotting.loss_curve import LossCurveDisplay

__all__ = ["LatentSpaceDisplay", "LossCurveDisplay"]
