"""The autoencoder as a torch module, and the trace of one pass through it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from sklearn_ae.modules.codes import Code


class Likelihood(nn.Module, ABC):
    """What the decoder's raw output means."""

    @abstractmethod
    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return ``-log p(x | output)`` in nats, summed over the observed columns, (n, d) -> (n,)."""

    @abstractmethod
    def link(self, output: Tensor) -> Tensor:
        """Return the expected row, (n, d) -> (n, d)."""

    @abstractmethod
    def draw(self, output: Tensor) -> Tensor:
        """Return a row from ``p(x | output)``, its noise handed in, (n, d) -> (n, d)."""


class Autoencoder(nn.Module):
    """Encoder, code, decoder, and what stands around them.

    Parameters
    ----------
    encoder : Module
        (n, d) rows to (n, h) features.
    code : Module
        Features to a code, with ``mean(features)`` and ``draw(trace)``; see :mod:`sklearn_ae.modules.codes`.
    decoder : Module
        (n, k) codes to (n, d) raw outputs.
    likelihood : Module
        What the raw outputs mean: ``loss``, ``link``; see :mod:`sklearn_ae.objectives.columns`.
    head : Module, optional
        (n, k) codes to raw predictions of the target.
    corruption : Module, optional
        What happens to a row before it is encoded while training; the target stays the clean row.
    """

    def __init__(
        self,
        encoder: nn.Module,
        code: Code,
        decoder: nn.Module,
        likelihood: Likelihood,
        head: nn.Module | None = None,
        corruption: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.code = code
        self.decoder = decoder
        self.likelihood = likelihood
        self.head = head
        self.corruption = nn.Identity() if corruption is None else corruption

    def encode(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, k): the mean of the code."""
        return self.code.mean(self.encoder(x))

    def decode(self, code: Tensor) -> Tensor:
        """(n, k) -> (n, d): rows as the likelihood expects them."""
        return self.likelihood.link(self.decoder(code))

    def predict(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, n_outputs): raw predictions of the target."""
        if self.head is None:
            raise ValueError("the autoencoder has no head to predict with")
        return self.head(self.encode(x))

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, d): the reconstruction."""
        return self.decode(self.encode(x))


QUANTITIES: dict[str, Callable[[Any, "Trace"], Tensor]] = {
    "features": lambda module, trace: module.encoder(module.corruption(trace["x"])),
    "mean": lambda module, trace: module.code.mean(trace["features"]),
    "log_var": lambda module, trace: module.code.log_var(trace["features"]),
    "code": lambda module, trace: module.code.draw(trace),
    "output": lambda module, trace: module.decoder(trace["code"]),
    "logits": lambda module, trace: module.head(trace["code"]),
}


class Trace(dict[str, Tensor]):
    """What one pass leaves behind, each quantity computed when it is first asked for.

    Keys are those of ``QUANTITIES`` and ``x``. A phase that never asks for the output never runs the decoder.
    """

    def __init__(self, module: Autoencoder, x: Tensor) -> None:
        super().__init__(x=x)
        self._module = module

    def __missing__(self, name: str) -> Tensor:
        value = self[name] = QUANTITIES[name](self._module, self)
        return value
