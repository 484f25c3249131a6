"""Several models of one signature trained as one, with their parameters stacked."""

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
from sklearn_ae.training.batches import Batch, Block, Chunks, Copies, Draws, EqualBatches, Rows
from sklearn_ae.training.loop import Epoch, Means, validation_means
from sklearn_ae.training.phases import Evaluation, Phase, training_step
from sklearn_ae.training.replay import Repeated
from sklearn_ae.training.stacked_models import StackedModels, Tensors

PLAIN_STEPS = 2  # steps before one is recorded
JOINT_VALIDATION = 1 << 20  # most cells of validation rows that are evaluated together with those of other models
JOINED = 1 << 22  # most cells of all tables that are joined into one


class _Evaluated(nn.Module):
    """A phase as the forward pass of a module, for functional_call."""

    def __init__(self, module: Autoencoder, phase: Phase) -> None:
        super().__init__()
        self.module = module
        self.phase = phase

    def forward(self, batch: Batch, weights: Tensors) -> Evaluation:
        return replace(self.phase, weights=weights).evaluate(self.module, batch)


class StackedPhase:
    """A phase of K models, with a leading dimension K on all tensors.

    Parameters
    ----------
    phases : sequence of Phase
        The phase of each model; they differ in the weights of their terms only.
    module : Autoencoder
        The module of one of the models.
    state : mapping of str to Tensor
        Parameters and buffers of the models, (K, ...). Buffers that are equal in all models may be left out.
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
            with noise.supplied(draws):
                return functional_call(evaluated, named, (Batch(**rows), weights))

        self._evaluate = torch.vmap(evaluate)

    def gradients(self, rows: Tensors, draws: Sequence[Tensor]) -> tuple[Sequence[Tensor], Evaluation]:
        """Return the gradients for the parameters that are moved, and the evaluation before the step.

        A model does not occur in the loss of another one, so the gradients of the sum of all losses are those of each.
        """
        with torch.enable_grad():
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in self.moved.items()}
            evaluation = self._evaluate(leaves | self.fixed, self.weights, rows, draws)
            found = torch.autograd.grad(evaluation.loss.sum(), list(leaves.values()), materialize_grads=True)
        return found, tree_map_only(Tensor, Tensor.detach, evaluation)

    def terms(self, places: Tensor, rows: Tensors, draws: Sequence[Tensor]) -> Tensors:
        """Return the terms of the models at some places in the stack, each (len(places),)."""
        state, weights = (
            {n: t[places] for n, t in of_all.items()} for of_all in (self.moved | self.fixed, self.weights)
        )
        return self._evaluate(state, weights, rows, draws).terms


class Stack:
    """The joint training of stacked models.

    Parameters
    ----------
    models : StackedModels
        The models, which join the stack here.
    epochs : sequence of Epoch
        The next epoch of each model.
    check : callable
        ``() -> None``, called between steps; an exception that it raises ends the training of all models.

    Raises
    ------
    RuntimeError or other
        If torch.vmap does not support an operation of the models. Nothing has been trained then.
    """

    def __init__(self, models: StackedModels, epochs: Sequence[Epoch], check: Callable[[], None]) -> None:
        models.join()
        self.models = models
        self.nets = models.nets
        self.phases = models.phases
        self.check = check
        self.batches = _StackedBatches([epoch.batches for epoch in epochs])
        module = copy.deepcopy(self.nets[0].module_).train()  # a copy, because the first model may leave first
        self.stacked = {
            phases[0].name: StackedPhase(phases, module, models.state)
            for phases in zip(*(net.phases for net in self.nets), strict=True)
        }
        phase = StackedPhase([net.validation_phase for net in self.nets], copy.deepcopy(module).eval(), models.state)
        chunks = [epoch.validation for epoch in epochs]
        self.validations = [_Validation(models, chunks, places, phase) for places in _of_one_size(chunks)]
        for phase_of_step in self.phases:
            self._evaluated(phase_of_step)
        with torch.no_grad():
            self._validated()

    @torch.no_grad()
    def epoch(self) -> list[Means]:
        """Train for an epoch and evaluate the validation rows; return the mean terms of each model."""
        changes = [optimizer.prepare() for optimizer in self.models.optimizers.values()]
        if any(changes):
            # Through a proxy: a reference cycle would stay in memory until the garbage collector runs.
            unrecorded = partial(Stack._unrecorded, weakref.proxy(self))
            self._step = Repeated(unrecorded, self.batches.rows["x"], PLAIN_STEPS)
        log = []
        for _ in self.batches.refilled():
            self.check()
            terms = self._step()
            log.append(torch.stack(list(terms.values())))
        train = _by_model(terms, torch.stack(log).double().mean(0))
        return [Means(of_model, valid) for of_model, valid in zip(train, self._validated(), strict=True)]

    def _validated(self) -> list[dict[str, float] | None]:
        """Return the mean terms over the validation rows of each model."""
        means: list[dict[str, float] | None] = [None] * len(self.nets)
        for validation in self.validations:
            for k, of_model in zip(validation.places, validation.means(), strict=True):
                means[k] = of_model
        return means

    def _unrecorded(self) -> Tensors:
        return training_step(self.phases, self._gradients, self.models.optimizers)

    def _gradients(self, phase: Phase) -> tuple[Sequence[Tensor], Tensors]:
        gradients, evaluation = self._evaluated(phase)
        for buffer, value in evaluation.buffers.items():
            self.models.state[buffer].copy_(value)
        return gradients, evaluation.terms

    def _evaluated(self, phase: Phase) -> tuple[Sequence[Tensor], Evaluation]:
        with self.nets[0].precision():
            return self.stacked[phase.name].gradients(self.batches.rows, self.batches.draws[phase.name])


def _by_model(terms: Tensors, values: Tensor) -> list[dict[str, float]]:
    """(terms, K) -> the values of the terms of each model, by name."""
    return [dict(zip(terms, of_model, strict=True)) for of_model in values.T.tolist()]


class _Validation:
    """The validation rows of models with equal numbers of them, evaluated at once if there are several models."""

    def __init__(
        self,
        models: StackedModels,
        chunks: Sequence[Chunks | None],
        places: Sequence[int],
        phase: StackedPhase,
    ) -> None:
        self.places = places
        self.phase = phase
        self.nets = [models.nets[k] for k in places]
        self.chunks = [cast(Chunks, chunks[k]) for k in places]
        self.batches = []
        if len(places) > 1:
            for batches in zip(*self.chunks, strict=True):
                draws = _stacked([batch.draws for batch in batches], 0)[self.nets[0].validation_phase.name]
                self.batches.append((_joined([batch.rows for batch in batches], torch.stack), draws))

    def means(self) -> list[dict[str, float]]:
        """Return the mean terms of each model."""
        if not self.batches:
            return [validation_means(net, chunks) for net, chunks in zip(self.nets, self.chunks, strict=True)]
        places = torch.tensor(self.places, device=self.batches[0][0]["x"].device)
        with self.nets[0].precision():
            terms = [self.phase.terms(places, rows, draws) for rows, draws in self.batches]
        sizes = torch.tensor([rows["x"].shape[1] for rows, _ in self.batches], dtype=torch.float64, device="cpu")
        values = torch.stack([torch.stack(list(of_chunk.values())) for of_chunk in terms]).to("cpu", torch.float64)
        return _by_model(terms[0], torch.tensordot(sizes / sizes.sum(), values, 1))


class _StackedBatches:
    """The batches of all models in one memory, which is refilled for every step.

    Small tables are joined into one, so that one operation copies the rows of all models.
    """

    def __init__(self, of_models: Sequence[EqualBatches]) -> None:
        self.of_models = of_models
        self.rows = _joined([batches.batch.rows for batches in of_models], torch.stack)
        self.draws = _stacked([batches.batch.draws for batches in of_models], 0)
        if of_models[0].n_batches > 1:  # uninitialised memory would be evaluated before the first batch
            for column in self.rows.values():
                column.zero_()
        tables = [batches.rows for batches in of_models]
        distinct = list({id(rows): rows for rows in tables}.values())  # members of one fit share their rows
        n_cells = sum(len(rows) for rows in distinct) * tables[0].n_cells
        self.offsets: list[int] | None = None
        if n_cells <= JOINED and all(rows.are_encoded for rows in distinct):
            starts = np.cumsum([0, *map(len, distinct[:-1])]).tolist()
            start_of = dict(zip(map(id, distinct), starts, strict=True))
            self.offsets = [start_of[id(rows)] for rows in tables]
            table = Rows(Batch(**_joined([rows.table for rows in distinct], torch.cat)))
            self.sources = [(table, Batch(**{name: column.flatten(0, 1) for name, column in self.rows.items()}))]
        else:
            slots = [Batch(**{name: column[k] for name, column in self.rows.items()}) for k in range(len(tables))]
            self.sources = list(zip(tables, slots, strict=True))

    def refilled(self) -> Iterator[None]:
        """Fill the memory with the batches of an epoch, one at a time."""
        for blocks in zip(*(batches.blocks() for batches in self.of_models), strict=True):
            draws = _stacked([block.draws for block in blocks], 1)
            orders = None if blocks[0].order is None else self._orders(blocks)
            for position in range(blocks[0].size):
                if orders is not None:
                    for rows, (_, slot), order in zip(self._copies(blocks), self.sources, orders, strict=True):
                        rows.copy(order[position], into=slot)
                for phase, targets in self.draws.items():
                    for target, numbers in zip(targets, draws[phase], strict=True):
                        target.copy_(numbers[position])
                yield

    def _copies(self, blocks: Sequence[Block]) -> list[Copies]:
        """Return what copies the rows of each source."""
        return [block.rows for block in blocks] if self.offsets is None else [rows for rows, _ in self.sources]

    def _orders(self, blocks: Sequence[Block]) -> list[Tensor]:
        """Return the indices of the rows of each source, (batches, rows)."""
        orders = [cast(Tensor, block.order) for block in blocks]
        if self.offsets is None:
            return orders
        shifted = [order + offset for order, offset in zip(orders, self.offsets, strict=True)]
        return [torch.stack(shifted, 1).flatten(1)]


def _joined(batches: Sequence[Batch], join: Callable[[list[Tensor]], Tensor]) -> Tensors:
    """Join the rows of several models, field by field."""
    return {name: join([getattr(batch, name) for batch in batches]) for name in batches[0].present()}


def _stacked(draws: Sequence[Draws], dim: int) -> Draws:
    """Stack the noise of several models."""
    return {
        phase: [torch.stack(of_models, dim) for of_models in zip(*(d[phase] for d in draws), strict=True)]
        for phase in draws[0]
    }


def _of_one_size(chunks: Sequence[Chunks | None]) -> list[list[int]]:
    """Return the places of models whose validation rows can be evaluated at once; large ones are by themselves."""
    groups: dict[Hashable, list[int]] = {}
    for k, of_model in enumerate(chunks):
        if of_model is not None:
            rows = of_model.rows
            is_small = rows.are_encoded and len(rows) * rows.n_cells <= JOINT_VALIDATION
            groups.setdefault((len(rows), *rows.table.present()) if is_small else k, []).append(k)
    return list(groups.values())
