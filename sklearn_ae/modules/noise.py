"""Noise as data: modules and terms request random numbers, and the fit that runs them supplies them.

So a fit draws from its own generator only, in large blocks, and a model gets the same numbers whether it is trained
alone or in a stack.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Request(NamedTuple):
    """A request for random numbers: their distribution and shape, per row or once per batch."""

    kind: str  # a key of KINDS
    shape: tuple[int, ...]
    per_row: bool

    def draw(self, n_rows: int, n_batches: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Return the numbers for ``n_batches`` batches with ``n_rows`` rows in total."""
        leading = n_rows if self.per_row else n_batches
        return KINDS[self.kind]((leading, *self.shape), generator=generator, dtype=dtype, device="cpu")


EXTRA = 0.1  # fraction of the remaining cells that are masked where gaps are copied

KINDS = {"normal": torch.randn, "uniform": torch.rand}


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU; all numbers are drawn there, so that they do not depend on the device."""
    return torch.Generator("cpu").manual_seed(seed)


class _Source(Protocol):
    def __call__(self, request: Request, like: Tensor) -> Tensor: ...


def _no_source(request: Request, like: Tensor) -> Tensor:
    raise RuntimeError(
        f"noise must be supplied by the fit that runs a module, got no numbers for {request}: run it within noise.drawn"
    )


_source: ContextVar[_Source] = ContextVar("noise", default=_no_source)


def normal_like(t: Tensor) -> Tensor:
    """(n, ...) -> (n, ...): standard normal numbers."""
    return _source.get()(Request("normal", tuple(t.shape[1:]), per_row=True), t)


def uniform_like(t: Tensor) -> Tensor:
    """(n, ...) -> (n, ...): uniform numbers in [0, 1)."""
    return _source.get()(Request("uniform", tuple(t.shape[1:]), per_row=True), t)


def normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return standard normal numbers, drawn once per batch, in the dtype and on the device of ``like``."""
    return _source.get()(Request("normal", tuple(shape), per_row=False), like)


@contextmanager
def _supplied_by(source: _Source) -> Iterator[None]:
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


@contextmanager
def recorded() -> Iterator[list[Request]]:
    """Record the requests made inside the block, and supply zeros."""
    requests: list[Request] = []

    def record(request: Request, like: Tensor) -> Tensor:
        requests.append(request)
        return like.new_zeros((like.shape[0], *request.shape) if request.per_row else request.shape)

    with _supplied_by(record):
        yield requests


def supplied(draws: Sequence[Tensor]) -> AbstractContextManager[None]:
    """Supply ``draws`` to the requests made inside the block, in order."""
    remaining = iter(draws)

    def hand(request: Request, like: Tensor) -> Tensor:
        numbers = next(remaining, None)
        return _no_source(request, like) if numbers is None else numbers

    return _supplied_by(hand)


def drawn(generator: torch.Generator) -> AbstractContextManager[None]:
    """Supply new numbers from a generator on the CPU to the requests made inside the block."""

    def draw(request: Request, like: Tensor) -> Tensor:
        numbers = request.draw(like.shape[0], 1, generator, like.dtype).to(like.device)
        return numbers if request.per_row else numbers[0]

    return _supplied_by(draw)


def drawn_from(random: np.random.RandomState) -> AbstractContextManager[None]:
    """Supply new numbers to the requests made inside the block, seeded by a NumPy generator."""
    return drawn(generator(random.randint(2**31 - 1)))


@contextmanager
def once_for_the_batch() -> Iterator[None]:
    """Make all requests inside the block once per batch: for tensors whose rows are not the rows of the batch."""
    source = _source.get()

    def ask(request: Request, like: Tensor) -> Tensor:
        shape = tuple(like.shape) if request.per_row else request.shape
        return source(Request(request.kind, shape, per_row=False), like)

    with _supplied_by(ask):
        yield


class Dropout(nn.Module):
    """Dropout with requested noise (Srivastava et al. 2014)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, d)."""
        if not self.training:
            return x
        return x * (uniform_like(x) >= self.probability) / (1 - self.probability)


class Corruption(nn.Module, ABC):
    """A corruption of the rows before they are encoded."""

    @abstractmethod
    def forward(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(n, n_cells), (n, n_cells) -> (n, n_cells), (n, n_cells): corrupted cells and the mask of observed ones."""


class Masking(Corruption):
    """Mask a fraction of the cells, which are then encoded as missing (Vincent et al. 2010, section 3.3)."""

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction

    def forward(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Set masked cells to 0, the encoding of a missing cell."""
        kept = (uniform_like(x) >= self.fraction).to(x.dtype)
        return x * kept, kept if observed is None else observed * kept


class CopiedGaps(Corruption):
    """Mask random cells in half of the rows, and copy the gaps of another row of the batch in the other half.

    So cells that are often missing together are masked together. The other row is drawn at random from the batch, and a
    fraction ``EXTRA`` of the other cells is masked as well.

    Parameters
    ----------
    fraction : float
        Fraction of random cells. In batches without missing cells they are masked in all rows.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction

    def forward(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Set masked cells to 0, the encoding of a missing cell."""
        uniform, choices = uniform_like(x), uniform_like(x[:, :1])
        if observed is None:
            kept = (uniform >= self.fraction).to(x.dtype)
            return x * kept, kept
        # The second half of the unit interval chooses the other row.
        other = ((2 * choices[:, 0] - 1) * len(x)).long().clamp(0, len(x) - 1)
        copied = observed[other] * (uniform >= EXTRA).to(x.dtype)
        kept = torch.where(choices < 0.5, (uniform >= self.fraction).to(x.dtype), copied) * observed
        return x * kept, kept


class GaussianNoise(Corruption):
    """Add Gaussian noise to the scaled columns.

    Parameters
    ----------
    sigma : float
        Standard deviation, on the encoded scale.
    n_scaled : int
        Number of scaled columns, which come first. Other cells are not changed.
    """

    def __init__(self, sigma: float, n_scaled: int) -> None:
        super().__init__()
        self.sigma = sigma
        self.n_scaled = n_scaled

    def forward(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Add noise to the scaled columns."""
        numbers, others = x[:, : self.n_scaled], x[:, self.n_scaled :]
        numbers = numbers + self.sigma * normal_like(numbers)
        return torch.cat([numbers, others], 1) if others.shape[1] else numbers, observed


CORRUPTIONS: dict[str, Callable[[float, int], Corruption]] = {  # by level and number of scaled columns
    "mask": lambda fraction, n_scaled: Masking(fraction),
    "gaussian": GaussianNoise,
    "gaps": lambda fraction, n_scaled: CopiedGaps(fraction),
}
