"""Pictures of fits, codes and rows, by matplotlib."""

from sklearn_ae.plotting.code_attribution import CodeAttributionDisplay
from sklearn_ae.plotting.column_quality import ColumnQualityDisplay
from sklearn_ae.plotting.latent_space import LatentSpaceDisplay
from sklearn_ae.plotting.latent_traversal import LatentTraversalDisplay
from sklearn_ae.plotting.loss_curve import LossCurveDisplay
from sklearn_ae.plotting.reconstruction import ReconstructionDisplay
from sklearn_ae.plotting.sample_quality import SampleQualityDisplay

__all__ = [
    "CodeAttributionDisplay",
    "ColumnQualityDisplay",
    "LatentSpaceDisplay",
    "LatentTraversalDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "SampleQualityDisplay",
]
