"""A likelihood defined outside the package: real numbers with Laplace noise, which outliers move less."""

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.likelihoods.numeric import Numeric
from sklearn_ae.modules import noise


class Laplace(Numeric):
    """Numbers with Laplace noise, its scale learned for each column: the decoder's output is the median.

    The scale has a closed-form update: a running mean of the absolute errors of the batches.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    name = "laplace"
    is_scaled = True
    accepts_all = True

    scale: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.register_buffer("scale", torch.ones(n_columns, dtype=torch.float32, device="cpu"))

    @classmethod
    def check(cls, values: NDArray) -> None:
        """Accept every number."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, d), (n, d) -> (n,): ``|x - output| / scale + log(2 scale)``, summed over the observed columns."""
        cost = (x - output).abs() / self.scale + (2 * self.scale).log()
        return (cost if observed is None else cost * observed).sum(-1)

    def link(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the output itself, which is the mean and the median."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the median plus Laplace noise, by the inverse of its distribution function."""
        centred = noise.uniform_like(output) - 0.5
        tail = (1 - 2 * centred.abs()).clamp(min=torch.finfo(output.dtype).tiny)  # 0 has no logarithm
        return output - self.scale * centred.sign() * tail.log()

    def updated_buffers(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the scale after a batch; ``weight`` is 0 where a cell is missing."""
        errors = (x - output).abs()
        errors = errors.mean(1) if errors.ndim > weight.ndim else errors  # several codes per row
        total = weight.sum(0)
        batch = torch.where(total > 0, (errors * weight).sum(0) / total.clamp(min=1e-12), self.scale)
        return {"scale": torch.lerp(self.scale, batch, 0.05).clamp(min=0.02)}
