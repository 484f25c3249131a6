"""A linear path beside the hidden layers of encoder and decoder, which starts at the principal components."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

NEGLIGIBLE = 1e-7  # share of the variance up to which a principal component is left out
LEAST_VARIANCE = 1e-3  # of a latent variable given the row, relative to its variance
LARGE = 1500  # rows and columns above which a few components come from a randomized decomposition


class WithInputs(nn.Module):
    """Hidden layers whose outputs are followed by their inputs: the next layer is linear in the inputs as well.

    Parameters
    ----------
    hidden : Module
        (n, d) inputs to (n, h) outputs.
    """

    def __init__(self, hidden: nn.Module) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., d) -> (..., h + d)."""
        return torch.cat([self.hidden(inputs), inputs], -1)


@dataclass(frozen=True)
class Components:
    """Principal components of the training rows, as probabilistic PCA (Tipping & Bishop 1999).

    Weights that start from them are rounded to single precision, as those that are drawn are.

    Parameters
    ----------
    mean : Tensor of shape (d,)
        Mean of the inputs.
    axes : Tensor of shape (m, d)
        Directions of the components, of unit length in the inputs times ``scale``.
    variance : Tensor of shape (m,)
        Variance of the rows along each direction.
    noise : float
        Mean variance along all other directions; the smallest variance if there are no others.
    scale : Tensor of shape (d,)
        Factors of the inputs, square roots of their weights.
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor
    noise: float
    scale: Tensor

    @classmethod
    def of(cls, inputs: Tensor, weight: Tensor, n_components: int, scale: Tensor | None = None) -> "Components":
        """Return the components of weighted rows, fewer than ``n_components`` if their rank is lower.

        Parameters
        ----------
        inputs : Tensor of shape (n, d)
            Training rows, as inputs of the encoder.
        weight : Tensor of shape (n,)
            Weights of the rows.
        n_components : int
            Maximum number of components.
        scale : Tensor of shape (d,), optional
            Factors of the inputs, 1 by default. The mean is that of the inputs without them.
        """
        scale = torch.ones_like(inputs[0]) if scale is None else scale
        scale = scale.cpu().double()
        rows, share = (t.detach().cpu().double().numpy() for t in (inputs, weight / weight.sum().clamp(min=1e-12)))
        mean = share @ rows
        centred = (rows - mean) * np.sqrt(share)[:, np.newaxis] * scale.numpy()
        total = np.square(centred).sum()
        axes, variance = _leading(centred, min(n_components, *centred.shape))
        kept = variance > NEGLIGIBLE * total
        axes, variance = axes[kept], variance[kept]
        n_left = centred.shape[1] - len(variance)
        noise = max(0.0, total - variance.sum()) / n_left if n_left else variance[-1]
        return cls(torch.from_numpy(mean), torch.from_numpy(axes), torch.from_numpy(variance), float(noise), scale)

    @property
    def signal(self) -> Tensor:
        """(m,): variances along the components without that of the noise."""
        return torch.maximum(self.variance - self.noise, NEGLIGIBLE * self.variance)

    @torch.no_grad()
    def start_encoder(self, layer: nn.Linear, scale: Tensor) -> None:
        """Set a layer, whose last d inputs are those of the encoder, to the components times ``scale``, (m,)."""
        (m, d), weight = self.axes.shape, self.axes * self.scale * scale.unsqueeze(1)
        layer.weight[:m] = 0
        layer.weight[:m, -d:].copy_(weight.float())
        layer.bias[:m].copy_(-(weight @ self.mean).float())

    @torch.no_grad()
    def start_log_variance(self, layer: nn.Linear) -> None:
        """Set a layer to the log-variance of the latent variables given a row, the same for all rows."""
        m, remaining = len(self.axes), self.noise / self.variance
        layer.weight[:m] = 0
        layer.bias[:m].copy_(remaining.clamp(min=LEAST_VARIANCE, max=1).log().float())

    @torch.no_grad()
    def start_decoder(self, layer: nn.Linear, n_components: int, n_outputs: int, scale: Tensor) -> None:
        """Set the first outputs of a layer, whose last inputs are codes, to the projection on the components.

        Parameters
        ----------
        layer : Linear
            The last layer of the decoder.
        n_components : int
            Dimensions of the code.
        n_outputs : int
            Number of outputs that are set.
        scale : Tensor of shape (m,)
            Length along each axis that a code of 1 stands for.
        """
        first_code = layer.in_features - n_components
        layer.weight[:n_outputs] = 0
        back = torch.where(self.scale > 0, 1 / self.scale, 0)  # an input without weight is not reconstructed
        weight = (self.axes * back).T[:n_outputs] * scale
        layer.weight[:n_outputs, first_code : first_code + len(scale)].copy_(weight.float())
        layer.bias[:n_outputs].copy_(self.mean[:n_outputs].float())


def _leading(centred: NDArray[np.float64], m: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return m right singular vectors and their squared singular values, the largest first."""
    n, d = centred.shape
    if min(n, d) > LARGE and 4 * m < min(n, d):
        _, singular, axes = randomized_svd(centred, m, random_state=0)
        return axes, singular**2
    product = centred.T @ centred if d <= n else centred @ centred.T
    variance, vectors = eigh(product, subset_by_index=[len(product) - m, len(product) - 1])
    variance, vectors = np.maximum(variance, 0)[::-1], vectors.T[::-1]
    if d > n:
        vectors = vectors @ centred / np.sqrt(np.maximum(variance, np.finfo(float).tiny))[:, np.newaxis]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, np.newaxis], 1)
    return vectors * np.sign(largest), variance
