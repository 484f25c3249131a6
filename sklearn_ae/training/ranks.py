"""The processes of a fit: one, or several that share its batches and add up what each of them computes."""

from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from sklearn_ae.training.batches import EqualBatches
from sklearn_ae.training.shared_step import Share, SharedBatches
from sklearn_ae.training.shared_step import SharedStep as SharedStep
from sklearn_ae.training.step import Gradients as Gradients
from sklearn_ae.training.step import Step as Step

N_NUMBERS = 8  # of a process in an exchange, at most

Epoch = TypeVar("Epoch")
Means = TypeVar("Means")


class Alone:
    """The one process of a fit, which has nobody to share with."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that shows the progress."""
        return True

    def batches(self, whole: EqualBatches) -> EqualBatches | SharedBatches:
        """Return the batches that this process trains on."""
        return whole

    def step(self, *bound: Any) -> Step | SharedStep:
        """Return the training step; parameters as for :class:`~sklearn_ae.training.step.Step`."""
        return Step(*bound)

    def random(self, random: np.random.RandomState) -> np.random.RandomState:
        """Return a generator that all processes have."""
        return random

    def together(self, epochs: Generator[Epoch, Means, None]) -> Generator[Epoch, Means, None]:
        """Return the epochs of a training, in which all processes go on or none."""
        return epochs


class Ranks(Alone):
    """The processes of a fit, which have the same table and make the same steps.

    Parameters
    ----------
    group : ProcessGroup
        The processes, which can exchange tensors on the CPU and on the device of the fit.
    timeout : float
        Seconds after which the group gives up an exchange.
    """

    def __init__(self, group: Any, timeout: float) -> None:
        self.group = group
        self.timeout = timeout
        self.share = Share(dist.get_rank(group), dist.get_world_size(group))

    @property
    def is_first(self) -> bool:
        """Whether this is the process that shows the progress."""
        return self.share.rank == 0

    def batches(self, whole: EqualBatches) -> SharedBatches:
        """Return the share of the batches that this process trains on."""
        return SharedBatches(whole, self.share)

    def step(self, *bound: Any) -> SharedStep:
        """Return the training step, in which the processes add up gradients and terms."""
        return SharedStep(self.add_up, *bound)

    def random(self, random: np.random.RandomState) -> np.random.RandomState:
        """Return a generator that all processes have: that of the first one seeds it."""
        words = random.randint(2**31 - 1, size=N_NUMBERS, dtype=np.int64).tolist()
        return np.random.RandomState(self.of_all("draw a seed (random_state=None)", words)[0])

    def together(self, epochs: Generator[Epoch, Means, None]) -> Generator[Epoch, Means, None]:
        """Yield the epochs of a training; raise on all processes if it ends on some of them only."""
        with closing(epochs):
            epoch = next(epochs, None)
            while self._all_go_on(epoch is not None):
                means = yield epoch  # type: ignore[misc]
                epoch = _sent(epochs, self._of_first(means))

    # Exchanges

    def add_up(self, tensor: Tensor) -> None:
        """Add a tensor up over all processes, in place."""
        with self.answered():
            dist.all_reduce(tensor, group=self.group)

    def take_first(self, tensor: Tensor) -> None:
        """Replace a tensor by that of the first process, in place."""
        with self.answered():
            dist.broadcast(tensor, src=0, group=self.group)

    def of_all(self, what: str, numbers: Sequence[int]) -> list[list[int]]:
        """Return the numbers of each process, at most ``N_NUMBERS``; raise on all of them unless all do the same.

        ``what`` is said by all of them.
        """
        padded = [*numbers, *[0] * (N_NUMBERS - len(numbers))]
        own = torch.tensor([crc32(what.encode()), *padded], dtype=torch.int64, device="cpu")
        found = [torch.empty_like(own) for _ in range(self.share.n_ranks)]
        with self.answered():
            dist.all_gather(found, own, group=self.group)
        said, *_ = zip(*(of_rank.tolist() for of_rank in found), strict=True)
        if len(set(said)) > 1:
            raise ValueError(
                f"all processes must do the same, and another one was not about to {what} as this one was: give all of "
                "them the same script and parameters"
            )
        return [of_rank.tolist()[1 : 1 + len(numbers)] for of_rank in found]

    @contextmanager
    def answered(self) -> Generator[None, None, None]:
        """Raise an error that says what has happened if a process does not answer."""
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"all {self.share.n_ranks} processes of the fit must answer within timeout={self.timeout:g} seconds, "
                f"and one did not, got: {error}. It has ended, or it does something else; its own output says why. "
                "Start all processes again"
            ) from error

    def _all_go_on(self, goes_on: bool) -> bool:
        """Return whether the training goes on; raise if the processes do not agree."""
        answers = [answer for (answer,) in self.of_all("begin an epoch", [int(goes_on)])]
        if len(set(answers)) > 1:
            stopped = [rank for rank, answer in enumerate(answers) if not answer]
            raise RuntimeError(
                f"the training must end on all processes at once, and a callback has ended it on ranks {stopped} of "
                f"{self.share.n_ranks} only: give all processes the same callbacks, and let them decide by the history"
            )
        return bool(answers[0])

    def _of_first(self, means: Any) -> Any:
        """Return the mean terms of the first process: by them callbacks decide."""
        named = [of_split for of_split in means if of_split is not None]
        values = torch.tensor([v for terms in named for v in terms.values()], dtype=torch.float64, device="cpu")
        self.take_first(values)
        left = iter(values.tolist())
        return type(means)(*(of_split and {name: next(left) for name in of_split} for of_split in means))


def _sent(epochs: Generator[Epoch, Means, None], means: Means) -> Epoch | None:
    try:
        return epochs.send(means)
    except StopIteration:
        return None


RANKS: ContextVar[Alone] = ContextVar("ranks", default=Alone())  # noqa: B039 - it has no state
