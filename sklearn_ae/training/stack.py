"""Several models as one: they have one signature, and are trained by one program."""

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training.adam import StackedAdam
from sklearn_ae.training.batches import Block, Chunks, Draws, EqualBatches, Rows
from sklearn_ae.training.net import AutoencoderNet, Epoch, Means
from sklearn_ae.training.phases import Evaluation, Phase, training_step
from sklearn_ae.training.replay import Repeated

PLAIN_STEPS = 2  # before a step is recorded
WATCHED = 1 << 20  # cells of watched rows, up to which those of a stack are evaluated at once
JOINED = 1 << 22  # cells of the tables of a stack, up to which they are laid side by side

Tensors = dict[str, Tensor]


class _Evaluated(nn.Module):
    """A phase as the forward pass of a module, so that parameters can be handed in."""

    def __init__(self, module: Autoencoder, phase: Phase) -> None:
        super().__init__()
        self.module = module
        self.phase = phase

    def forward(self, batch: Batch, weights: Tensors) -> Evaluation:
        return replace(self.phase, weights=weights).evaluate(self.module, batch)


Evaluate = Callable[[Tensors, Tensors, Tensors, Sequence[Tensor]], Evaluation]


def stacked(module: Autoencoder, phase: Phase) -> Evaluate:
    """Return what evaluates a phase for K models: ``(state, weights, rows, draws) -> evaluation``.

    It is :meth:`Phase.evaluate` with a leading dimension K on everything. The state has the models' parameters and
    buffers; what all models share may be left out.
    """
    evaluated = _Evaluated(module, phase)

    def evaluate(state: Tensors, weights: Tensors, rows: Tensors, draws: Sequence[Tensor]) -> Evaluation:
        named = {f"module.{name}": tensor for name, tensor in state.items()}
        with noise.handed(draws):
            return functional_call(evaluated, named, (Batch(**rows), weights))

    return torch.vmap(evaluate)


def stacked_gradients(
    evaluate: Evaluate, moved: Tensors, fixed: Tensors, weights: Tensors, rows: Tensors, draws: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Evaluation]:
    """Return the gradients of a phase for what it moves, and the phase as it was before the step.

    It is :func:`sklearn_ae.training.phases.gradients` with a leading dimension K on everything. A model has no part in
    the loss of another one, so the gradients of the sum of their losses are those of each.
    """
    with torch.enable_grad():
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in moved.items()}
        evaluation = evaluate(leaves | fixed, weights, rows, draws)
        found = torch.autograd.grad(evaluation.loss.sum(), list(leaves.values()), materialize_grads=True)
    return found, tree_map_only(Tensor, Tensor.detach, evaluation)


class Stack:
    """Models of one signature at work.

    Parameters
    ----------
    nets : sequence of AutoencoderNet
        Their nets.
    epochs : sequence of Epoch
        The epoch that each of them is about to begin.
    check : callable
        Called between steps; what it raises ends everything.

    Raises
    ------
    RuntimeError or other
        If what they compute can't be vmapped. Nothing has been trained then.
    """

    def __init__(self, nets: Sequence[AutoencoderNet], epochs: Sequence[Epoch], check: Callable[[], None]) -> None:
        self.nets = nets
        self.check = check
        net, phases = nets[0], [of_model.phases for of_model in nets]
        template = copy.deepcopy(net.module_).train()  # the models themselves may end before the others
        self.phases = net.phases
        self.precision = net.precision
        self.batches = [epoch.batches for epoch in epochs]
        optimizers = [of_model.optimizers_by_phase() for of_model in nets]
        self.optimizers = {
            phase.name: StackedAdam([of_model[phase.name] for of_model in optimizers]) for phase in self.phases
        }
        parameters = {
            name: tensor
            for phase in self.phases
            for name, tensor in zip(phase.parameters(net.module_), self.optimizers[phase.name].parameters, strict=True)
        }
        self.state = parameters | self._own_buffers()
        self._moved, self._fixed, self._weights, self._evaluate = {}, {}, {}, {}
        for i, phase in enumerate(self.phases):
            moved = phase.parameters(net.module_).keys()
            self._moved[phase.name] = {name: self.state[name] for name in moved}
            self._fixed[phase.name] = {name: tensor for name, tensor in self.state.items() if name not in moved}
            self._weights[phase.name] = {
                name: self._vector([float(of_model[i].weights[name]) for of_model in phases]) for name in phase.weights
            }
            self._evaluate[phase.name] = stacked(template, phase)
        self.memory = _Memory(self.batches)
        self._watch = stacked(copy.deepcopy(template).eval(), net.watched)
        chunks = [epoch.watched for epoch in epochs]
        self.watched = [_Watched(nets, chunks, places) for places in _of_one_size(chunks)]
        for phase in self.phases:
            self._evaluated(phase)

    @torch.no_grad()
    def epoch(self) -> list[Means]:
        """Train for an epoch, and look at the watched rows; return the means of the terms for each model."""
        changes = [optimizer.prepare() for optimizer in self.optimizers.values()]
        if any(changes):
            self._step = Repeated(self._as_written, self.memory.rows["x"], PLAIN_STEPS)
        log = []
        for blocks in zip(*(batches.blocks() for batches in self.batches), strict=True):
            for _ in self.memory.filled(blocks):
                self.check()
                terms = self._step()
                log.append(torch.stack(list(terms.values())))
        train = _by_model(terms, torch.stack(log).double().mean(0))
        return [Means(of_model, valid) for of_model, valid in zip(train, self._validated(), strict=True)]

    def _validated(self) -> list[dict[str, float] | None]:
        """Return the means of the terms over the watched rows of each model."""
        means: list[dict[str, float] | None] = [None] * len(self.nets)
        for watched in self.watched:
            for k, of_model in zip(watched.places, watched.means(self._watch, self.state), strict=True):
                means[k] = of_model
        return means

    def _as_written(self) -> Tensors:
        return training_step(self.phases, self._gradients, self.optimizers)

    def _gradients(self, phase: Phase) -> tuple[Sequence[Tensor], Tensors]:
        gradients, evaluation = self._evaluated(phase)
        for buffer, value in evaluation.buffers.items():
            self.state[buffer].copy_(value)
        return gradients, evaluation.terms

    def _evaluated(self, phase: Phase) -> tuple[Sequence[Tensor], Evaluation]:
        name = phase.name
        given = self._moved[name], self._fixed[name], self._weights[name], self.memory.rows, self.memory.draws[name]
        with self.precision():
            return stacked_gradients(self._evaluate[name], *given)

    def _own_buffers(self) -> Tensors:
        """Stack what differs between models or is learned; what all share stays where it is."""
        modules, stacked = [net.module_ for net in self.nets], {}
        for name, buffer in modules[0].named_buffers():
            of_models = [module.get_buffer(name) for module in modules]
            if name in modules[0].state_dict() or not all(torch.equal(buffer, other) for other in of_models):
                stacked[name] = torch.stack(of_models)
                for module, value in zip(modules, stacked[name], strict=True):
                    parent, _, leaf = name.rpartition(".")
                    setattr(module.get_submodule(parent), leaf, value)
        return stacked

    def _vector(self, values: Sequence[float]) -> Tensor:
        x = self.batches[0].batch.rows.x
        return torch.tensor(values, dtype=x.dtype, device=x.device)


def _by_model(terms: Tensors, values: Tensor) -> list[dict[str, float]]:
    """(terms, K) -> the values of each model, by the names of the terms."""
    return [dict(zip(terms, of_model, strict=True)) for of_model in values.T.tolist()]


class _Watched:
    """The watched rows of models that have equally many; where there are several, they are evaluated at once."""

    def __init__(self, nets: Sequence[AutoencoderNet], watched: Sequence[Chunks | None], places: Sequence[int]) -> None:
        self.places = places
        self.nets = [nets[k] for k in places]
        self.chunks = [cast(Chunks, watched[k]) for k in places]
        self.batches = []
        if len(places) > 1:
            for batches in zip(*self.chunks, strict=True):
                draws = _stacked([batch.draws for batch in batches], 0)[nets[0].watched.name]
                self.batches.append((_side_by_side([batch.rows for batch in batches]), draws))

    def means(self, evaluate: Evaluate, state: Tensors) -> list[dict[str, float]]:
        """Return the means of the terms for each model; the state is that of the whole stack."""
        if not self.batches:
            return [net.validated(chunks) for net, chunks in zip(self.nets, self.chunks, strict=True)]
        places = torch.tensor(self.places, device=next(iter(state.values())).device)
        own = {name: tensor[places] for name, tensor in state.items()}
        with self.nets[0].precision():
            terms = [evaluate(own, {}, rows, draws).terms for rows, draws in self.batches]
        sizes = torch.tensor([rows["x"].shape[1] for rows, _ in self.batches], dtype=torch.float64)
        values = torch.stack([torch.stack(list(of_chunk.values())) for of_chunk in terms]).to("cpu", torch.float64)
        return _by_model(terms[0], torch.tensordot(sizes / sizes.sum(), values, 1))


def _side_by_side(batches: Sequence[Batch]) -> Tensors:
    """Stack the rows of several models, by the names of their columns."""
    of_columns = zip(Batch._fields, zip(*batches, strict=True), strict=True)
    return {name: torch.stack(columns) for name, columns in of_columns if columns[0] is not None}


class _Memory:
    """The batch of every model, where a recorded step finds it.

    The rows of small tables lie side by side, and one operation takes those of all models.
    """

    def __init__(self, batches: Sequence[EqualBatches]) -> None:
        self.batches = batches
        self.rows = _side_by_side([of_model.batch.rows for of_model in batches])
        self.draws = _stacked([of_model.batch.draws for of_model in batches], 0)
        if batches[0].n_batches > 1:  # what is there before the first batch must be something that can be computed with
            for column in self.rows.values():
                column.zero_()
        together = sum(len(of_model.rows) for of_model in batches) * batches[0].rows.n_cells <= JOINED
        self.offsets: list[int] | None = None
        if together and all(type(of_model.rows) is Rows for of_model in batches):
            self.offsets = np.cumsum([0, *(len(of_model.rows) for of_model in batches)]).tolist()[:-1]
            columns = zip(*(of_model.rows.columns for of_model in batches), strict=True)
            joined = Batch(
                **{name: torch.cat(c) for name, c in zip(Batch._fields, columns, strict=True) if c[0] is not None}
            )
            slot = Batch(**{name: column.flatten(0, 1) for name, column in self.rows.items()})
            self.sources = [(Rows(joined), slot)]
        else:
            slots = [Batch(**{name: column[k] for name, column in self.rows.items()}) for k in range(len(batches))]
            self.sources = [(of_model.rows, slot) for of_model, slot in zip(batches, slots, strict=True)]

    def _orders(self, blocks: Sequence[Block]) -> list[Tensor]:
        """Return for each source the rows of its batches, (batches, rows)."""
        orders = [cast(Tensor, block.order) for block in blocks]
        if self.offsets is None:
            return orders
        shifted = [order + offset for order, offset in zip(orders, self.offsets, strict=True)]
        return [torch.stack(shifted, 1).flatten(1)]

    def filled(self, blocks: Sequence[Block]) -> Iterator[None]:
        """Fill the memory with one batch after the other."""
        draws = _stacked([block.draws for block in blocks], 1)
        orders = None if blocks[0].order is None else self._orders(blocks)
        for position in range(blocks[0].size):
            if orders is not None:
                for (rows, slot), order in zip(self.sources, orders, strict=True):
                    rows.copy(order[position], into=slot)
            for phase, targets in self.draws.items():
                for target, numbers in zip(targets, draws[phase], strict=True):
                    target.copy_(numbers[position])
            yield


def _stacked(draws: Sequence[Draws], dim: int) -> Draws:
    """Stack the numbers of several models."""
    return {
        phase: [torch.stack(of_models, dim) for of_models in zip(*(d[phase] for d in draws), strict=True)]
        for phase in draws[0]
    }


def _of_one_size(watched: Sequence[Chunks | None]) -> list[list[int]]:
    """Return the places of models whose watched rows can be evaluated at once; what is large is one by one."""
    groups: dict[Hashable, list[int]] = {}
    for k, chunks in enumerate(watched):
        if chunks is not None:
            rows = chunks.rows
            is_small = type(rows) is Rows and len(rows) * rows.n_cells <= WATCHED
            names = tuple(name for name, c in zip(Batch._fields, rows.columns, strict=True) if c is not None)
            groups.setdefault((len(rows), names) if is_small else k, []).append(k)
    return list(groups.values())
