"""Several fits as one: models of one signature, trained by one program."""

import copy
import warnings
from collections import Counter
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
from sklearn_ae.training import tape
from sklearn_ae.training.adam import Adam
from sklearn_ae.training.batches import Block, Draws, EqualBatches, Rows
from sklearn_ae.training.net import AutoencoderNet, Split
from sklearn_ae.training.phases import Evaluation, Phase, training_step

PLAIN_STEPS = 2  # before a step is recorded
CACHE = 6 << 20  # bytes that a stack may take on a CPU
LARGEST_MODEL = 3 << 20  # bytes of a model above which a stack does not pay
MOST_MODELS = 128
JOINED = 1 << 22  # cells of the tables of a stack, up to which they are laid side by side

Tensors = dict[str, Tensor]


class StackedAdam:
    """Adam for K models at once, each with a rate and a weight decay of its own (Kingma & Ba 2015, algorithm 1).

    The parameters of all models lie in the rows of one matrix, and so do their moments. What the models' own optimizers
    hold become views of it, until :meth:`Adam.separate` takes them out.

    Parameters
    ----------
    optimizers : sequence of Adam
        Those of the models.
    """

    def __init__(self, optimizers: Sequence[Adam]) -> None:
        self.optimizers = optimizers
        memories = [optimizer.prepared() for optimizer in optimizers]
        self.settings = memories[0].settings
        self.n_steps = memories[0].n_steps[0].clone()
        of_models = [optimizer.parameters for optimizer in optimizers]
        shapes = [parameter.shape for parameter in of_models[0]]
        like = of_models[0][0].detach()
        matrices = like.new_zeros((5, len(optimizers), sum(shape.numel() for shape in shapes)))
        self.values, self.means, self.squares, self.gradients, self.steps = matrices
        self.parameters, means, squares, self.places = (_parts(matrix, shapes) for matrix in matrices[:4])
        self.rates, self.decays = like.new_zeros((2, len(optimizers), 1))
        for k, optimizer in enumerate(optimizers):
            values_k, means_k, squares_k = ([part[k] for part in parts] for parts in (self.parameters, means, squares))
            optimizer.move(values_k, means_k, squares_k, self.n_steps)

    def prepare(self) -> None:
        """Take over the rates of the models."""
        groups = [optimizer.param_groups[0] for optimizer in self.optimizers]
        for target, name in ((self.rates, "lr"), (self.decays, "weight_decay")):
            target.copy_(torch.tensor([[group[name]] for group in groups], dtype=torch.float64))
        self._decaying = any(group["weight_decay"] for group in groups)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters; ``gradients`` has one tensor (K, ...) for each."""
        for place, gradient in zip(self.places, gradients, strict=True):
            place.copy_(gradient)
        if self._decaying:
            self.gradients.addcmul_(self.values, self.decays)
        self.n_steps.add_(1)
        torch._fused_adam_(
            [self.steps.zero_()],
            [self.gradients],
            [self.means],
            [self.squares],
            [],
            [self.n_steps],
            lr=1.0,
            beta1=self.settings["beta1"],
            beta2=self.settings["beta2"],
            weight_decay=0.0,
            eps=self.settings["eps"],
            amsgrad=False,
            maximize=False,
        )
        self.values.addcmul_(self.steps, self.rates)  # a whole step, of which each makes its part


def _parts(matrix: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """(K, p) -> the tensors (K, *shape) that it holds; matrices lie with their longer side last."""
    parts = []
    for part, shape in zip(matrix.split([shape.numel() for shape in shapes], 1), shapes, strict=True):
        if len(shape) == 2 and shape[0] > shape[1]:
            parts.append(part.unflatten(1, shape[::-1]).mT)
        else:
            parts.append(part.view(len(matrix), *shape))
    return parts


class _Evaluated(nn.Module):
    """A phase as the forward pass of a module, so that parameters can be handed in."""

    def __init__(self, module: Autoencoder, phase: Phase) -> None:
        super().__init__()
        self.module = module
        self.phase = phase

    def forward(self, batch: Batch, weights: Tensors) -> Evaluation:
        return replace(self.phase, weights=weights).evaluate(self.module, batch)


def stacked_gradients(module: Autoencoder, phase: Phase) -> Callable[..., tuple[Sequence[Tensor], Evaluation]]:
    """Return what takes the gradients of K models: ``(moved, fixed, weights, rows, draws) -> gradients, evaluation``.

    It is :func:`sklearn_ae.training.phases.gradients` with a leading dimension K on everything. A model has no part in
    the loss of another one, so the gradients of the sum of their losses are those of each.
    """
    evaluated = _Evaluated(module, phase)

    def evaluate(state: Tensors, weights: Tensors, rows: Tensors, draws: Sequence[Tensor]) -> Evaluation:
        state = {f"module.{name}": tensor for name, tensor in state.items()}
        with noise.handed(draws):
            return functional_call(evaluated, state, (Batch(**rows), weights))

    evaluate_all = torch.vmap(evaluate)

    def gradients(
        moved: Tensors, fixed: Tensors, weights: Tensors, rows: Tensors, draws: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Evaluation]:
        with torch.enable_grad():
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in moved.items()}
            evaluation = evaluate_all(leaves | fixed, weights, rows, draws)
            found = torch.autograd.grad(evaluation.loss.sum(), list(leaves.values()), materialize_grads=True)
        return found, tree_map_only(Tensor, Tensor.detach, evaluation)

    return gradients


class Stack:
    """Models of one signature at work.

    Parameters
    ----------
    fits : sequence of Fit
        The fits, each about to begin an epoch.

    Raises
    ------
    RuntimeError or other
        If what they compute can't be vmapped. Nothing has been trained then.
    """

    def __init__(self, fits: Sequence["Fit"]) -> None:
        modules = self.modules = [fit.net.module_ for fit in fits]
        self.template = copy.deepcopy(modules[0]).train()  # the models themselves may end before the others
        phases = [fit.net.phases for fit in fits]
        self.phases = phases[0]
        self.batches = [cast(EqualBatches, fit.batches) for fit in fits]
        optimizers = [fit.net.optimizers_by_phase() for fit in fits]
        self.optimizers = {
            phase.name: StackedAdam([of_model[phase.name] for of_model in optimizers]) for phase in self.phases
        }
        parameters = {
            name: tensor
            for phase in self.phases
            for name, tensor in zip(phase.parameters(modules[0]), self.optimizers[phase.name].parameters, strict=True)
        }
        state = parameters | self._own_buffers()
        self._moved, self._fixed, self._weights, self._gradients_of = {}, {}, {}, {}
        for i, phase in enumerate(self.phases):
            moved = list(phase.parameters(modules[0]))
            self._moved[phase.name] = {name: state[name] for name in moved}
            self._fixed[phase.name] = {name: tensor for name, tensor in state.items() if name not in moved}
            self._weights[phase.name] = {
                name: self._vector([float(of_model[i].weights[name]) for of_model in phases]) for name in phase.weights
            }
            self._gradients_of[phase.name] = stacked_gradients(self.template, phase)
        self._buffers = self._fixed[self.phases[0].name]
        self.memory = _Memory(self.batches)
        self._n_plain = 0
        self._replay: tape.Replay | None = None
        self._terms: Tensors = {}
        for phase in self.phases:
            self._evaluated(phase)

    def epoch(self) -> list[dict[str, float]]:
        """Train for an epoch; return the mean of each term for each model."""
        for optimizer in self.optimizers.values():
            optimizer.prepare()
        log = []
        for blocks in zip(*(batches.blocks() for batches in self.batches), strict=True):
            for _ in self.memory.filled(blocks):
                self._step()
                log.append(torch.stack(list(self._terms.values())))
        means = torch.stack(log).double().mean(0).tolist()
        return [dict(zip(self._terms, of_model, strict=True)) for of_model in zip(*means, strict=True)]

    @torch.no_grad()
    def _step(self) -> None:
        if self._replay is not None:
            self._replay()
            return
        self._n_plain += 1
        if self._n_plain == PLAIN_STEPS + 1 and self.memory.is_on_cpu:
            self._terms, self._replay = tape.record(self._as_written)
        else:
            self._terms = self._as_written()

    def _as_written(self) -> Tensors:
        return training_step(self.phases, self._gradients, self.optimizers)

    def _gradients(self, phase: Phase) -> tuple[Sequence[Tensor], Tensors]:
        gradients, evaluation = self._evaluated(phase)
        for buffer, value in evaluation.buffers.items():
            self._buffers[buffer].copy_(value)
        return gradients, evaluation.terms

    def _evaluated(self, phase: Phase) -> tuple[Sequence[Tensor], Evaluation]:
        name = phase.name
        return self._gradients_of[name](
            self._moved[name], self._fixed[name], self._weights[name], self.memory.rows, self.memory.draws[name]
        )

    def _own_buffers(self) -> Tensors:
        """Stack what differs between models or is learned; what all share stays where it is."""
        stacked = {}
        for name, buffer in self.modules[0].named_buffers():
            of_models = [module.get_buffer(name) for module in self.modules]
            if name in self.modules[0].state_dict() or not all(torch.equal(buffer, other) for other in of_models):
                stacked[name] = torch.stack(of_models)
                for module, value in zip(self.modules, stacked[name], strict=True):
                    parent, _, leaf = name.rpartition(".")
                    setattr(module.get_submodule(parent), leaf, value)
        return stacked

    def _vector(self, values: Sequence[float]) -> Tensor:
        x = self.batches[0].batch.rows.x
        return torch.tensor(values, dtype=x.dtype, device=x.device)


class _Memory:
    """The batch of every model, where a recorded step finds it.

    The rows of small tables lie side by side, and one operation takes those of all models.
    """

    def __init__(self, batches: Sequence[EqualBatches]) -> None:
        self.batches = batches
        of_columns = zip(Batch._fields, zip(*(of_model.batch.rows for of_model in batches), strict=True), strict=True)
        self.rows = {name: torch.stack(columns) for name, columns in of_columns if columns[0] is not None}
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

    @property
    def is_on_cpu(self) -> bool:
        return self.rows["x"].device.type == "cpu"

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


class Fit:
    """A fit that has reached its training.

    Parameters
    ----------
    net : AutoencoderNet
        What is trained.
    split : Split
        Its rows.
    """

    def __init__(self, net: AutoencoderNet, split: Split) -> None:
        self.net = net
        self.training = net.training(split)
        self.batches: EqualBatches | None = None  # of the next epoch, None when the training has ended
        self.error: BaseException | None = None
        self.advance(None)

    def advance(self, means: dict[str, float] | None) -> None:
        """Hand over the means of an epoch and go on to the next."""
        self.batches = None
        try:
            self.batches = self.training.send(means)  # type: ignore[arg-type]
        except StopIteration:
            pass
        except Exception as error:
            self.error = error

    def abort(self, error: BaseException) -> None:
        """End the training where it is."""
        self.batches, self.error = None, error
        self.training.close()

    @property
    def signature(self) -> Hashable | None:
        """What fits must have in common to be trained as one, None if this one is trained alone."""
        net, batches = self.net, self.batches
        if batches is None or not net.is_stackable:
            return None
        tensors = [*net.module_.named_parameters(), *net.module_.named_buffers()]
        return (
            net.signature,
            batches.n_batches,
            batches.size,
            tuple(name for name, column in zip(Batch._fields, batches.rows.columns, strict=True) if column is not None),
            tuple((name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in tensors),
            tuple((phase.name, phase.updates, *phase.terms, *phase.weights) for phase in net.phases),
            tuple(optimizer.n_steps for optimizer in net.optimizers_by_phase().values()),
        )


def train(fits: Sequence[Fit], check: Callable[[], None]) -> Counter[str]:
    """Train fits, those of one signature together; return how many were stacked, and how many were trained alone.

    Parameters
    ----------
    fits : sequence of Fit
        The fits, of any signatures.
    check : callable
        Called between epochs; what it raises ends everything.
    """
    counts: Counter[str] = Counter()
    groups: dict[Hashable, list[Fit]] = {}
    for fit in fits:
        if fit.batches is not None:
            signature = fit.signature
            groups.setdefault(id(fit) if signature is None else signature, []).append(fit)
    for group in groups.values():
        size = models_at_once(group[0])
        for start in range(0, len(group), size):
            chunk = group[start : start + size]
            counts["stacked" if _train_as_one(chunk, check) else "alone"] += len(chunk)
    return counts


def _train_as_one(fits: list[Fit], check: Callable[[], None]) -> bool:
    """Train fits of one signature; return whether that was done in a stack.

    A fit that ends takes its weights out. When half of them have ended, the others go on in a smaller stack.
    """
    was_stacked = False
    while len(fits) > 1:
        try:
            stack = Stack(fits)
        except torch.OutOfMemoryError:
            half = len(fits) // 2
            stacked = [_train_as_one(part, check) for part in (fits[:half], fits[half:])]
            return all(stacked)
        except (RuntimeError, ValueError, TypeError) as error:
            warnings.warn(
                f"fits of one kind are trained as one where torch.vmap knows what they compute, however: {error}. "
                f"These {len(fits)} are trained one after another",
                RuntimeWarning,
                stacklevel=2,
            )
            break
        was_stacked, active = True, fits
        while 2 * len(active) > len(fits):
            check()
            for fit, means in zip(fits, stack.epoch(), strict=True):
                if fit.batches is not None:
                    fit.advance(means)
            active = [fit for fit in fits if fit.batches is not None]
        fits = active
    for fit in fits:
        _train_alone(fit, check)
    return was_stacked


def _train_alone(fit: Fit, check: Callable[[], None]) -> None:
    while fit.batches is not None:
        check()
        try:
            means = fit.net.train_epoch(fit.batches)
        except Exception as error:
            fit.abort(error)
        else:
            fit.advance(means)


def models_at_once(fit: Fit) -> int:
    """Return how many models of a kind are stacked: on a CPU as many as fit into its cache, 1 if none should be."""
    if torch.device(fit.net.device).type != "cpu":
        return MOST_MODELS
    layers = [layer for layer in fit.net.module_.modules() if isinstance(layer, nn.Linear)]
    n_parameters = sum(parameter.numel() for parameter in fit.net.module_.parameters())
    n_bytes = 16 * n_parameters + 8 * cast(EqualBatches, fit.batches).size * sum(layer.in_features for layer in layers)
    return 1 if n_bytes > LARGEST_MODEL else max(1, min(MOST_MODELS, CACHE // n_bytes))
