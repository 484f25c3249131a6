"""A code of which only the first dimensions are used."""

import torch
from torch import Tensor

from sklearn_ae.modules.codes import PointCode


class TruncatedCode(PointCode):
    """A code that is a point whose last dimensions are 0, so that codes of several sizes have one shape.

    Parameters
    ----------
    n_features, n_components : int
        Dimensions of the encoder's features and of the code.
    n_used : int
        Number of dimensions that are not 0.
    """

    used: Tensor

    def __init__(self, n_features: int, n_components: int, *, n_used: int) -> None:
        super().__init__(n_features, n_components)
        used = torch.arange(n_components, device="cpu") < n_used
        self.register_buffer("used", used.to(torch.float32), persistent=False)

    def mean(self, features: Tensor) -> Tensor:
        """(n, h) -> (n, k): the code, 0 in the dimensions that are not used."""
        return super().mean(features) * self.used
