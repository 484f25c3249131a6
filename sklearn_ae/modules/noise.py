"""Noise as data: modules and terms ask for random numbers, and the fit that runs them hands the numbers in.

So a fit draws from its own generator only, whole blocks at a time, and one model meets the same numbers whether it is
trained alone or beside others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Request(NamedTuple):
    """What was asked for: numbers of a kind, in a shape, for each row or once for the batch."""

    kind: str  # a key of KINDS
    shape: tuple[int, ...]
    per_row: bool

    def draw(self, n_rows: int, n_batches: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Return the numbers of ``n_batches`` batches with ``n_rows`` rows altogether."""
        leading = n_rows if self.per_row else n_batches
        return KINDS[self.kind]((leading, *self.shape), generator=generator, dtype=dtype, device="cpu")


KINDS = {"normal": torch.randn, "uniform": torch.rand}


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU, where all numbers are drawn, so that every device meets the same ones."""
    return torch.Generator("cpu").manual_seed(seed)


class _Source(Protocol):
    def __call__(self, request: Request, like: Tensor) -> Tensor: ...


def _nowhere(request: Request, like: Tensor) -> Tensor:
    raise RuntimeError(f"noise is handed in by the fit that runs a module, however nothing was handed in for {request}")


_source: ContextVar[_Source] = ContextVar("noise", default=_nowhere)


def normal_like(t: Tensor) -> Tensor:
    """(n, ...) -> (n, ...): standard normal numbers for each row of ``t``."""
    return _source.get()(Request("normal", tuple(t.shape[1:]), per_row=True), t)


def uniform_like(t: Tensor) -> Tensor:
    """(n, ...) -> (n, ...): numbers from [0, 1) for each row of ``t``."""
    return _source.get()(Request("uniform", tuple(t.shape[1:]), per_row=True), t)


def normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return standard normal numbers of a shape, once for the batch, in the dtype and on the device of ``like``."""
    return _source.get()(Request("normal", tuple(shape), per_row=False), like)


@contextmanager
def _answered_by(source: _Source) -> Iterator[None]:
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


@contextmanager
def recorded() -> Iterator[list[Request]]:
    """Write down what is asked for inside the block; zeros are handed out."""
    requests: list[Request] = []

    def record(request: Request, like: Tensor) -> Tensor:
        requests.append(request)
        return like.new_zeros((like.shape[0], *request.shape) if request.per_row else request.shape)

    with _answered_by(record):
        yield requests


def handed(draws: Sequence[Tensor]) -> AbstractContextManager[None]:
    """Answer what is asked for inside the block with ``draws``, in order."""
    remaining = iter(draws)

    def hand(request: Request, like: Tensor) -> Tensor:
        numbers = next(remaining, None)
        return _nowhere(request, like) if numbers is None else numbers

    return _answered_by(hand)


def drawn(generator: torch.Generator) -> AbstractContextManager[None]:
    """Answer what is asked for inside the block with fresh numbers of a generator on the CPU."""

    def draw(request: Request, like: Tensor) -> Tensor:
        numbers = request.draw(like.shape[0], 1, generator, like.dtype).to(like.device)
        return numbers if request.per_row else numbers[0]

    return _answered_by(draw)


@contextmanager
def once_for_the_batch() -> Iterator[None]:
    """Ask for noise by the shape of the tensor inside the block: its rows are not the rows of the batch."""
    source = _source.get()

    def ask(request: Request, like: Tensor) -> Tensor:
        shape = tuple(like.shape) if request.per_row else request.shape
        return source(Request(request.kind, shape, per_row=False), like)

    with _answered_by(ask):
        yield


class Dropout(nn.Module):
    """Dropout whose mask is handed in (Srivastava et al. 2014)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, d)."""
        if not self.training:
            return x
        return x * (uniform_like(x) >= self.probability) / (1 - self.probability)


class Corruption(nn.Module, ABC):
    """What happens to rows before they are encoded while training."""

    def forward(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(n, n_cells), (n, n_cells) -> the same: cells, and which of them are there."""
        return self.corrupted(x, observed) if self.training else (x, observed)

    @abstractmethod
    def corrupted(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return what training sees of the cells."""


class Masking(Corruption):
    """Take a share of the cells away (Vincent et al. 2010, section 3.3): they are encoded as if they were missing."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def corrupted(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Set cells to 0, which stands for a missing one."""
        kept = (uniform_like(x) >= self.share).to(x.dtype)
        return x * kept, kept if observed is None else observed * kept


class GaussianNoise(Corruption):
    """Add normal noise to numbers, its standard deviation in units of the encoded columns.

    Parameters
    ----------
    sigma : float
        The standard deviation.
    n_numbers : int
        Columns that hold numbers; they come first. Other cells stay as they are.
    """

    def __init__(self, sigma: float, n_numbers: int) -> None:
        super().__init__()
        self.sigma = sigma
        self.n_numbers = n_numbers

    def corrupted(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Move the numbers."""
        numbers, others = x[:, : self.n_numbers], x[:, self.n_numbers :]
        numbers = numbers + self.sigma * normal_like(numbers)
        return torch.cat([numbers, others], 1) if others.shape[1] else numbers, observed


CORRUPTIONS: dict[str, Callable[[float, int], Corruption]] = {  # of a size, and the number of numeric columns
    "mask": lambda share, n_numbers: Masking(share),
    "gaussian": GaussianNoise,
}
