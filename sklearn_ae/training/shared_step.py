"""The training step of several processes: each has a share of every batch, and what the shares give is added up.

The mean over a batch is a sum over the shares: of the mean over each, times its share of the rows. So the processes
take the step that one process takes with the whole batch, up to rounding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import batch_sums, buffers_after, updated_buffers
from sklearn_ae.training.batches import Copies, EqualBatches, Minibatch
from sklearn_ae.training.phases import Phase, StepOptimizer, gradients
from sklearn_ae.training.replay import Repeated
from sklearn_ae.training.step import PLAIN_STEPS, Gradients


class Share(NamedTuple):
    """The place of a process among those of a fit."""

    rank: int
    n_ranks: int

    def of(self, n: int) -> slice:
        """Return the share of ``n`` rows: consecutive ones, whose numbers differ by one row at most."""
        return slice(n * self.rank // self.n_ranks, n * (self.rank + 1) // self.n_ranks)


def label_factor(weight: Tensor, part: slice) -> Tensor:
    """(n,) -> (): the factor of the label weights of a share, by which means over labelled rows are means of the batch.

    A term divides by the number of labelled rows of the share, and the mean is multiplied by the share of all rows.
    """
    labeled = weight > 0
    whole, own = (rows.sum(0).clamp(min=1).to(weight.dtype) for rows in (labeled, labeled[part]))
    return own / whole * (len(weight) / (part.stop - part.start))


def share_of(whole: Minibatch, per_row: Mapping[str, Sequence[bool]], part: slice) -> Minibatch:
    """Return a share of a batch; noise that is drawn once per batch is the same for all shares."""
    rows = whole.rows.map(lambda column: column[part])
    if whole.rows.label_weight is not None and rows.label_weight is not None:
        factor = label_factor(whole.rows.label_weight, part)
        rows = rows._replace(label_weight=rows.label_weight * factor)
    draws = {
        phase: [numbers[part] if by_row else numbers for numbers, by_row in zip(of_phase, per_row[phase], strict=True)]
        for phase, of_phase in whole.draws.items()
    }
    return Minibatch(rows, draws, (part.stop - part.start) / len(whole.rows.x))


class SharedBatches:
    """The share of one process of all batches of a fit. Order and noise are drawn for whole batches.

    Parameters
    ----------
    whole : EqualBatches
        The batches; every process draws the same ones.
    share : Share
        The place of the process.
    """

    def __init__(self, whole: EqualBatches, share: Share) -> None:
        self.whole = whole
        self.rows = whole.rows
        self.part = share.of(whole.size)
        self.size = self.part.stop - self.part.start
        self.per_row = {phase: [one.per_row for one in asked] for phase, asked in whole.requests.items()}
        of_batch = share_of(whole.batch, self.per_row, self.part)
        draws = {phase: [torch.empty_like(t) for t in of_phase] for phase, of_phase in of_batch.draws.items()}
        self.batch = Minibatch(of_batch.rows if len(whole) == 1 else self.rows.room(self.size), draws, of_batch.share)

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[Minibatch]:
        for block in self.whole.blocks(self.part):
            for position in range(block.size):
                if block.order is not None:
                    self._take(block.rows, block.order[position])
                for phase, numbers_of_phase in block.draws.items():
                    targets, by_row = self.batch.draws[phase], self.per_row[phase]
                    for target, numbers, sliced in zip(targets, numbers_of_phase, by_row, strict=True):
                        target.copy_(numbers[position][self.part] if sliced else numbers[position])
                yield self.batch

    def _take(self, rows: Copies, index: Tensor) -> None:
        """Copy the share of the rows at an index, (n,), those of the whole batch."""
        rows.copy(index[self.part], into=self.batch.rows)
        weight, of_share = self.rows.table.label_weight, self.batch.rows.label_weight
        if weight is not None and of_share is not None:
            of_share.mul_(label_factor(weight[index.to(weight.device)], self.part))


class Contribution(NamedTuple):
    """What a process adds to a phase: its parts of gradients and terms, and sums over its rows for buffers."""

    gradients: Gradients
    terms: dict[str, Tensor]
    sums: dict[str, Tensor]

    @classmethod
    def of(cls, module: Autoencoder, phase: Phase, moved: Sequence[Tensor], batch: Minibatch) -> "Contribution":
        """Return what the rows of a batch contribute: means over them count by their share of the rows."""
        weights = {name: batch.share * phase.weights.get(name, 1.0) for name in phase.terms}  # so the loss is a part
        part = replace(phase, weights=weights, buffers=batch_sums if phase.buffers is updated_buffers else None)
        found, (terms, _, sums) = gradients(module, part, moved, batch.rows, batch.draws[phase.name])
        return cls(found, {name: batch.share * term for name, term in terms.items()}, sums)

    def buffers(self, module: Autoencoder, phase: Phase) -> dict[str, Tensor]:
        """Return the new values of buffers by the sums."""
        return buffers_after(module, self.sums) if phase.buffers is updated_buffers else {}

    @property
    def tensors(self) -> list[Tensor]:
        """All of them in one order."""
        return [*self.gradients, *self.terms.values(), *self.sums.values()]

    def like(self, tensors: Sequence[Tensor]) -> "Contribution":
        """Return a contribution that consists of other tensors of this order."""
        n, m = len(self.gradients), len(self.gradients) + len(self.terms)
        terms = dict(zip(self.terms, tensors[n:m], strict=True))
        return Contribution(tensors[:n], terms, dict(zip(self.sums, tensors[m:], strict=True)))


class Total:
    """Memory for a contribution as one tensor, which is added up over the processes at once.

    Parameters
    ----------
    like : Contribution
        A contribution of the phase.
    """

    def __init__(self, like: Contribution) -> None:
        tensors = like.tensors
        sizes = [tensor.numel() for tensor in tensors]
        self.flat = tensors[0].new_zeros(sum(sizes))
        parts = self.flat.split(sizes)
        self.value = like.like([part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)])

    def put(self, contribution: Contribution) -> None:
        """Write the contribution of this process."""
        for place, tensor in zip(self.value.tensors, contribution.tensors, strict=True):
            place.copy_(tensor)


class SharedPhase:
    """A phase of the shared step: what this process computes, and the movement by the total of all processes.

    Parameters
    ----------
    module : Autoencoder
        The module that is trained.
    phase : Phase
        The phase.
    optimizer : StepOptimizer
        The optimizer of the phase.
    precision : callable
        ``() -> context manager`` in which gradients are computed.
    batch : Minibatch
        The memory of the shares of this process.
    """

    def __init__(
        self,
        module: Autoencoder,
        phase: Phase,
        optimizer: StepOptimizer,
        precision: Callable[[], AbstractContextManager[Any]],
        batch: Minibatch,
    ) -> None:
        self.module = module
        self.phase = phase
        self.optimizer = optimizer
        self.precision = precision
        self.batch = batch
        self._total: Total | None = None

    @property
    def total(self) -> Total:
        """The total of all processes."""
        if self._total is None:
            raise RuntimeError("a process must contribute before it reads the total")
        return self._total

    def contribute(self) -> Tensor:
        """Write what this process computes into the memory of the total, and return it to be added up."""
        with self.precision():
            found = Contribution.of(self.module, self.phase, self.optimizer.parameters, self.batch)
        if self._total is None:
            self._total = Total(found)
        self._total.put(found)
        return self._total.flat

    def set_buffers(self) -> None:
        """Set the buffers that have a closed-form update by the total that was added up."""
        for name, value in self.total.value.buffers(self.module, self.phase).items():
            self.module.get_buffer(name).copy_(value)

    def move(self) -> dict[str, Tensor]:
        """Set buffers and move parameters by the total that was added up; return its terms."""
        self.set_buffers()
        self.optimizer.step(self.total.value.gradients)
        return self.total.value.terms


class SharedStep:
    """The training step of a process that has a share of each batch.

    What a process computes and how it moves its parameters are recorded and replayed as by
    :class:`~sklearn_ae.training.step.Step`; what is between them, the sum over the processes, is not part of a
    recording. So one process may replay while another one does not.

    Parameters
    ----------
    add_up : callable
        Adds a tensor up over all processes, in place.
    module : Autoencoder
        The module that is trained.
    phases : sequence of Phase
        The phases of a step, in order.
    optimizers : mapping of str to optimizer
        The optimizer of each phase.
    precision : callable
        ``() -> context manager`` in which gradients are computed.
    on_gradients : callable or None
        ``(phase, gradients, batch) -> gradients``, called with the gradients of the whole batch.
    """

    def __init__(
        self,
        add_up: Callable[[Tensor], object],
        module: Autoencoder,
        phases: Sequence[Phase],
        optimizers: Mapping[str, StepOptimizer],
        precision: Callable[[], AbstractContextManager[Any]],
        on_gradients: Callable[[Phase, Gradients, Minibatch], Gradients] | None,
    ) -> None:
        self.module = module
        self.phases = phases
        self.optimizers = optimizers
        self.precision = precision
        self.on_gradients = on_gradients
        self.add_up = add_up
        self._bound_to: tuple[Any, ...] = ()  # the batch and the workspaces that the recordings refer to
        self._bound: list[_Bound] = []

    def end(self) -> None:
        """Discard the recordings, and give each parameter and its optimizer state its own memory."""
        self._bound_to, self._bound = (), []
        for optimizer in self.optimizers.values():
            optimizer.separate()

    @property
    def is_recorded(self) -> bool:
        """Whether recordings, or the counts of steps towards them, are held."""
        return bool(self._bound)

    def __call__(self, batch: Minibatch) -> dict[str, Tensor]:
        """Train on a share; return all terms of the whole batch before the step, which the next step may overwrite."""
        bound_to = (batch, *[optimizer.prepared() for optimizer in self.optimizers.values()])
        if [*map(id, bound_to)] != [*map(id, self._bound_to)]:
            self._bound_to, self._bound = bound_to, [self._bind(phase, batch) for phase in self.phases]
        log: dict[str, Tensor] = {}
        for contribute, move in self._bound:
            self.add_up(contribute())
            log |= move()
        return log

    def _bind(self, phase: Phase, batch: Minibatch) -> "_Bound":
        shared = SharedPhase(self.module, phase, self.optimizers[phase.name], self.precision, batch)
        if self.on_gradients is not None:  # it calls Python, which is not recorded
            return _Bound(shared.contribute, partial(self._show_and_move, shared))
        like = batch.rows.x
        return _Bound(Repeated(shared.contribute, like, PLAIN_STEPS), Repeated(shared.move, like, PLAIN_STEPS))

    def _show_and_move(self, shared: SharedPhase) -> dict[str, Tensor]:
        shared.set_buffers()
        show = cast(Callable[..., Gradients], self.on_gradients)
        shared.optimizer.step(show(shared.phase, shared.total.value.gradients, shared.batch))
        return shared.total.value.terms


class _Bound(NamedTuple):
    """The two parts of a phase on the memory of a batch, each recorded if it can be."""

    contribute: Callable[[], Tensor]
    move: Callable[[], dict[str, Tensor]]
