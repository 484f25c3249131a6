"""Several models as one: they have one signature, and are trained by one program."""

import copy
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
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


class StackedPhase:
    """A phase with a leading dimension K on everything.

    Parameters
    ----------
    phases : sequence of Phase
        That of each model; only the weights of the terms differ.
    module : Autoencoder
        What the models have in common.
    state : mapping of str to Tensor
        Parameters and buffers of the models, (K, ...). A buffer that all share may be left out.
    """

    def __init__(self, phases: Sequence[Phase], module: Autoencoder, state: Mapping[str, Tensor]) -> None:
        phase = phases[0]
        self.moved = {name: state[name] for name in phase.parameters(module)}
        self.fixed = {name: tensor for name, tensor in state.items() if name not in self.moved}
        like = next(iter(state.values()))
        self.weights = {name: like.new_tensor([float(p.weights[name]) for p in phases]) for name in phase.weights}
        evaluated = _Evaluated(module, phase)

        def evaluate(state: Tensors, weights: Tensors, rows: Tensors, draws: Sequence[Tensor]) -> Evaluation:
            named = {f"module.{name}": tensor for name, tensor in state.items()}
            with noise.handed(draws):
                return functional_call(evaluated, named, (Batch(**rows), weights))

        self._evaluate = torch.vmap(evaluate)

    def gradients(self, rows: Tensors, draws: Sequence[Tensor]) -> tuple[Sequence[Tensor], Evaluation]:
        """Return the gradients for what moves, and the phase as it was before the step.

        A model has no part in the loss of another one, so the gradients of the sum of all losses are those of each.
        """
        with torch.enable_grad():
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in self.moved.items()}
            evaluation = self._evaluate(leaves | self.fixed, self.weights, rows, draws)
            found = torch.autograd.grad(evaluation.loss.sum(), list(leaves.values()), materialize_grads=True)
        return found, tree_map_only(Tensor, Tensor.detach, evaluation)

    def terms(self, places: Tensor, rows: Tensors, draws: Sequence[Tensor]) -> Tensors:
        """Return the terms of the models in some places, each (len(places),)."""
        state, weights = (
            {n: t[places] for n, t in of_all.items()} for of_all in (self.moved | self.fixed, self.weights)
        )
        return self._evaluate(state, weights, rows, draws).terms


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
        self.phases = nets[0].phases
        optimizers = [net.optimizers_by_phase() for net in nets]
        self.optimizers = {
            phase.name: StackedAdam([of_model[phase.name] for of_model in optimizers]) for phase in self.phases
        }
        self.state = self._parameters() | self._unmoved() | self._own_buffers()
        self.memory = _Memory([epoch.batches for epoch in epochs])
        module = copy.deepcopy(nets[0].module_).train()  # the models themselves may end before the others
        self.stacked = {
            phases[0].name: StackedPhase(phases, module, self.state)
            for phases in zip(*(net.phases for net in nets), strict=True)
        }
        watched = StackedPhase([net.watched for net in nets], copy.deepcopy(module).eval(), self.state)
        chunks = [epoch.watched for epoch in epochs]
        self.watched = [_Watched(nets, chunks, places, watched) for places in _of_one_size(chunks)]
        for phase in self.phases:
            self._evaluated(phase)
        with torch.no_grad():
            self._validated()

    @torch.no_grad()
    def epoch(self) -> list[Means]:
        """Train for an epoch, and look at the watched rows; return the means of the terms for each model."""
        changes = [optimizer.prepare() for optimizer in self.optimizers.values()]
        if any(changes):
            # Through a proxy: what holds itself is in memory until the garbage collector comes by.
            as_written = partial(Stack._as_written, weakref.proxy(self))
            self._step = Repeated(as_written, self.memory.rows["x"], PLAIN_STEPS)
        log = []
        for _ in self.memory.batches():
            self.check()
            terms = self._step()
            log.append(torch.stack(list(terms.values())))
        train = _by_model(terms, torch.stack(log).double().mean(0))
        return [Means(of_model, valid) for of_model, valid in zip(train, self._validated(), strict=True)]

    def _validated(self) -> list[dict[str, float] | None]:
        """Return the means of the terms over the watched rows of each model."""
        means: list[dict[str, float] | None] = [None] * len(self.nets)
        for watched in self.watched:
            for k, of_model in zip(watched.places, watched.means(), strict=True):
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
        with self.nets[0].precision():
            return self.stacked[phase.name].gradients(self.memory.rows, self.memory.draws[phase.name])

    def _parameters(self) -> Tensors:
        """Return where the optimizers move the parameters, by name."""
        return {
            name: tensor
            for phase in self.phases
            for name, tensor in zip(
                phase.parameters(self.nets[0].module_), self.optimizers[phase.name].parameters, strict=True
            )
        }

    def _unmoved(self) -> Tensors:
        """Stack the parameters that no phase moves: they differ between models all the same."""
        modules = [net.module_ for net in self.nets]
        moved = {name for phase in self.phases for name in phase.parameters(modules[0])}
        return {
            name: torch.stack([module.get_parameter(name).detach() for module in modules])
            for name, _ in modules[0].named_parameters()
            if name not in moved
        }

    def _own_buffers(self) -> Tensors:
        """Stack what differs between models or is learned, until it is separated; what all share stays where it is."""
        modules, stacked = [net.module_ for net in self.nets], {}
        for name, buffer in modules[0].named_buffers():
            of_models = [module.get_buffer(name) for module in modules]
            if name in modules[0].state_dict() or not all(torch.equal(buffer, other) for other in of_models):
                stacked[name] = torch.stack(of_models)
                for module, value in zip(modules, stacked[name], strict=True):
                    parent, _, leaf = name.rpartition(".")
                    setattr(module.get_submodule(parent), leaf, value)
        return stacked


def _by_model(terms: Tensors, values: Tensor) -> list[dict[str, float]]:
    """(terms, K) -> the values of each model, by the names of the terms."""
    return [dict(zip(terms, of_model, strict=True)) for of_model in values.T.tolist()]


class _Watched:
    """The watched rows of models that have equally many; where there are several, they are evaluated at once."""

    def __init__(
        self,
        nets: Sequence[AutoencoderNet],
        watched: Sequence[Chunks | None],
        places: Sequence[int],
        phase: StackedPhase,
    ) -> None:
        self.places = places
        self.phase = phase
        self.nets = [nets[k] for k in places]
        self.chunks = [cast(Chunks, watched[k]) for k in places]
        self.batches = []
        if len(places) > 1:
            for batches in zip(*self.chunks, strict=True):
                draws = _stacked([batch.draws for batch in batches], 0)[nets[0].watched.name]
                self.batches.append((_joined([batch.rows for batch in batches], torch.stack), draws))

    def means(self) -> list[dict[str, float]]:
        """Return the means of the terms for each model."""
        if not self.batches:
            return [net.validated(chunks) for net, chunks in zip(self.nets, self.chunks, strict=True)]
        places = torch.tensor(self.places, device=self.batches[0][0]["x"].device)
        with self.nets[0].precision():
            terms = [self.phase.terms(places, rows, draws) for rows, draws in self.batches]
        sizes = torch.tensor([rows["x"].shape[1] for rows, _ in self.batches], dtype=torch.float64, device="cpu")
        values = torch.stack([torch.stack(list(of_chunk.values())) for of_chunk in terms]).to("cpu", torch.float64)
        return _by_model(terms[0], torch.tensordot(sizes / sizes.sum(), values, 1))


class _Memory:
    """The batch of every model, where a recorded step finds it.

    The rows of small tables lie side by side, and one operation takes those of all models.
    """

    def __init__(self, of_models: Sequence[EqualBatches]) -> None:
        self.of_models = of_models
        self.rows = _joined([batches.batch.rows for batches in of_models], torch.stack)
        self.draws = _stacked([batches.batch.draws for batches in of_models], 0)
        if of_models[0].n_batches > 1:  # what is there before the first batch must be something to compute with
            for column in self.rows.values():
                column.zero_()
        tables = [batches.rows for batches in of_models]
        n_cells = sum(len(rows) for rows in tables) * tables[0].n_cells
        self.offsets: list[int] | None = None
        if n_cells <= JOINED and all(rows.are_encoded for rows in tables):
            self.offsets = np.cumsum([0, *map(len, tables[:-1])]).tolist()
            table = Rows(Batch(**_joined([rows.columns for rows in tables], torch.cat)))
            self.sources = [(table, Batch(**{name: column.flatten(0, 1) for name, column in self.rows.items()}))]
        else:
            slots = [Batch(**{name: column[k] for name, column in self.rows.items()}) for k in range(len(tables))]
            self.sources = list(zip(tables, slots, strict=True))

    def batches(self) -> Iterator[None]:
        """Fill the memory with the batches of an epoch, one after the other."""
        for blocks in zip(*(batches.blocks() for batches in self.of_models), strict=True):
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

    def _orders(self, blocks: Sequence[Block]) -> list[Tensor]:
        """Return for each source the rows of its batches, (batches, rows)."""
        orders = [cast(Tensor, block.order) for block in blocks]
        if self.offsets is None:
            return orders
        shifted = [order + offset for order, offset in zip(orders, self.offsets, strict=True)]
        return [torch.stack(shifted, 1).flatten(1)]


def _joined(batches: Sequence[Batch], join: Callable[[list[Tensor]], Tensor]) -> Tensors:
    """Join the rows of several models, by the names of their columns."""
    return {name: join([getattr(batch, name) for batch in batches]) for name in batches[0].there()}


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
            is_small = rows.are_encoded and len(rows) * rows.n_cells <= WATCHED
            groups.setdefault((len(rows), *rows.columns.there()) if is_small else k, []).append(k)
    return list(groups.values())
