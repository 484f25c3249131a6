"""The skorch net that runs the phases of a family."""

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from contextvars import ContextVar
from math import cos, inf, isfinite, nan, pi
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    PrintLog,
)
from skorch.exceptions import DeviceWarning
from skorch.utils import noop
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.training import threads
from sklearn_ae.training.adam import Adam
from sklearn_ae.training.batches import Chunks, EqualBatches, Minibatch, Rows
from sklearn_ae.training.phases import Phase, requests
from sklearn_ae.training.step import Gradients, Step

CHUNK = 2048  # rows of a chunk on the CPU when nothing is trained, ...
CHUNK_CELLS = 1 << 19  # ... or about as many cells, in a table of many columns
DEVICE_CHUNK = 1 << 16  # rows of a chunk on a GPU, ...
DEVICE_CELLS = 1 << 24  # ... or about as many numbers, where a layer or the table is wide
DIVERGED = 1e10  # growth of the loss since the first epoch that no fit comes back from

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + cos(pi * progress)),  # Loshchilov & Hutter (2017), eq. 5
    "constant": lambda progress: 1.0,
}


class Split(NamedTuple):
    """Rows to train on, and rows to watch."""

    train: Rows
    valid: Rows | None = None


class Epoch(NamedTuple):
    """What is trained on in an epoch, and what is watched at its end."""

    batches: EqualBatches
    watched: Chunks | None


class Means(NamedTuple):
    """Means of the terms over an epoch, and over the watched rows."""

    train: dict[str, float]
    valid: dict[str, float] | None


def alone(net: "AutoencoderNet", X: Split) -> None:
    """Train a net by itself."""
    with closing(net.training(X)) as training, suppress(StopIteration):
        epoch = next(training)
        with threads.at_most(threads.suited(net.module_, epoch.batches.size)):
            while True:
                epoch = training.send(net.run_epoch(epoch))


# How a net is trained: by itself, unless others wait to be trained with it.
DRIVER: ContextVar[Callable[["AutoencoderNet", Split], None]] = ContextVar("driver", default=alone)


class StopTraining(Exception):
    """A callback has ended the training: what has been learned so far is the result."""


def early_stopping(patience: int, tol: float, verbose: bool) -> Callback:
    """Return the callback that stops when the watched rows no longer improve, and restores the best weights."""
    return EarlyStopping(
        "valid_loss",
        patience=patience,
        threshold=tol,
        threshold_mode="abs",
        load_best=True,
        sink=print if verbose else noop,
    )


def check_callbacks(callbacks: Sequence[Any]) -> Sequence[Any]:
    """Return the callbacks if they are ones, or pairs of a name and one."""
    for entry in callbacks:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(f"callbacks must hold callbacks of skorch, got callbacks={list(callbacks)!r}")
        if issubclass(kind, EpochScoring | BatchScoring):
            raise TypeError(
                f"callbacks must not score rows, which they would meet as the module sees them, got {callback!r}. "
                "Give X_val to fit, and find what happens on it in history_"
            )
    return callbacks


class AutoencoderNet(NeuralNet):
    """A skorch net whose training step is a sequence of phases.

    Parameters
    ----------
    module : Module
        An autoencoder with its weights drawn.
    phases : sequence of Phase
        What each training step does. The optimizer of the first phase is ``optimizer_``, the others are
        ``<phase>_optimizer_``.
    watched : Phase
        Evaluated on the validation rows, as ``valid_loss``.
    optimizers : mapping of str to dict
        Arguments of :class:`torch.optim.Adam` for each phase.
    schedule : {"cosine", "constant"}, default="constant"
        What happens to the learning rates in the course of a fit.
    seed : int, default=0
        Seed of the fit's own generator: permutations and noise.
    autocast : bool, default=False
        Whether to compute in bfloat16 where torch allows it.
    signature : hashable, optional
        Nets with the same one differ in weights, rates and rows only, and may be trained as one.
    **kwargs
        Arguments of :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: Autoencoder,
        phases: Sequence[Phase],
        watched: Phase,
        optimizers: Mapping[str, dict[str, Any]],
        *,
        schedule: str = "constant",
        seed: int = 0,
        autocast: bool = False,
        signature: Hashable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion=None, train_split=None, **kwargs)
        self.phases = phases
        self.watched = watched
        self.optimizers = optimizers
        self.schedule = schedule
        self.seed = seed
        self.autocast = autocast
        self.signature = signature

    def __repr__(self) -> str:
        return f"{type(self).__name__}(phases={[phase.name for phase in self.phases]}, device={str(self.device)!r})"

    # What travels in a pickle or a copy

    # What may hold tensors goes to the CPU where a pickle is read and there is no GPU; skorch adds the optimizers.
    cuda_dependent_attributes_ = ["module", "phases", "watched", "optimizer", "callbacks", "signature"]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was recorded of the step: it is bound to the memory of this process."""
        state = super().__getstate__()
        state.pop("step_", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go to the CPU if the device of the net is not there."""
        super().__setstate__({**state, "device": _at_hand(state["device"])})
        self._begin_anew()

    def __deepcopy__(self, memo: dict[int, Any]) -> "AutoencoderNet":
        """Copy on the device, and copy also what no pickle can hold."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        kept = {name: value for name, value in vars(self).items() if name != "step_"}
        copied.__dict__.update(copy.deepcopy(kept, memo))
        copied._begin_anew()
        return copied

    def _begin_anew(self) -> None:
        if self.initialized_:
            self.step_ = self._new_step()

    # What skorch initializes

    def initialize_criterion(self) -> "AutoencoderNet":
        """Set one that does nothing: the phases say what is minimised, but callbacks save and load a criterion."""
        self.criterion_ = nn.Identity()
        return self

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "AutoencoderNet":
        """Give every phase an optimizer for what it moves."""
        moved = [list(phase.parameters(self.module_).values()) for phase in self.phases]
        movers = Counter(parameter for parameters in moved for parameter in parameters)
        for phase, name, parameters in zip(self.phases, self._optimizer_names(), moved, strict=True):
            alone = all(movers[parameter] == 1 for parameter in parameters)
            setattr(self, name, Adam(parameters, alone=alone, **self.optimizers[phase.name]))
        self.step_ = self._new_step()
        return self

    def get_default_callbacks(self) -> list[tuple[str, Callback]]:
        """Time the epochs; print them on request."""
        return [("epoch_timer", EpochTimer()), *([("print_log", PrintLog())] if self.verbose else [])]

    # What skorch asks for in a fit

    def get_split_datasets(self, X: Split, y: None = None, **fit_params: Any) -> Split:
        """Return the rows as they were split by the estimator."""
        return X

    def get_iterator(self, dataset: Rows, training: bool = False) -> Iterable[Minibatch]:
        """Return equal batches for training, chunks otherwise, both with the noise that will be asked for."""
        phases = self.phases if training else [self.watched]
        self._set_training(training)
        asked = {phase.name: requests(self.module_, phase, dataset.slice(0, 2)) for phase in phases}
        if training:
            return EqualBatches(dataset, self.batch_size, noise.generator(self.seed), asked)
        return Chunks(dataset, chunk_size(dataset), self.seed, asked)

    def partial_fit(self, X: Split, y: None = None, classes: None = None, **fit_params: Any) -> "AutoencoderNet":
        """Train on the rows; only a callback may end the training early, an interrupt is passed on."""
        DRIVER.get()(self, X)
        return self

    def training(self, X: Split) -> Generator[Epoch, Means, None]:
        """Train, but for the steps: who drives this is told what an epoch is, and sends the means of its terms."""
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=None)
        self.step_ = self._new_step()
        try:
            with suppress(StopTraining):
                yield from self._epochs(X)
        finally:
            self.step_.end()
        self.notify("on_train_end", X=X, y=None)
        self._check_result(X.train)

    def _epochs(self, X: Split) -> Generator[Epoch, Means, None]:
        batches = cast(EqualBatches, self.get_iterator(X.train, training=True))
        watched = None if X.valid is None else cast(Chunks, self.get_iterator(X.valid, training=False))
        for _ in range(self.max_epochs):
            self.notify("on_epoch_begin", dataset_train=X.train, dataset_valid=X.valid)
            if not self.module_.training:  # telling every layer takes its time
                self._set_training(True)
            self._check_not_frozen()
            means = yield Epoch(batches, watched)
            self._record(means.train, True, batches)
            if watched is not None and means.valid is not None:
                self._record(means.valid, False, watched)
            self.notify("on_epoch_end", dataset_train=X.train, dataset_valid=X.valid)

    def run_epoch(self, epoch: Epoch, check: Callable[[], None] = noop) -> Means:
        """Run the steps of an epoch, then look at the watched rows; what ``check`` raises between steps ends it."""
        train = self._means(_checked(epoch.batches, check), True, "train", self.train_step)
        return Means(train, None if epoch.watched is None else self.validated(epoch.watched))

    def validated(self, watched: Chunks) -> dict[str, float]:
        """Return the means of the terms over watched rows."""
        self._set_training(False)
        return self._means(watched, False, "valid", self.validation_step)

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Tell the callbacks; those of skorch end a training by raising KeyboardInterrupt."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:
            if method_name != "on_epoch_end":
                raise
            raise StopTraining from stop

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Set the learning rates to where they begin."""
        super().on_train_begin(net, X, y, **kwargs)
        self.first_epoch_ = len(self.history)
        self.best_losses_: dict[str, float] = {}
        self._set_learning_rates(1.0)

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Set the learning rates of the epoch."""
        if self.schedule != "constant":  # under "constant" a scheduler among the callbacks may be at work
            progress = (len(self.history) - self.first_epoch_) / self.max_epochs
            self._set_learning_rates(SCHEDULES[self.schedule](progress))
        super().on_epoch_begin(net, **kwargs)

    def _means(
        self,
        iterator: Iterable[Minibatch],
        training: bool,
        prefix: str,
        step_fn: Callable[[Minibatch], dict[str, Tensor]],
    ) -> dict[str, float]:
        """Return the mean of each term over an epoch; numbers leave the device once, at its end."""
        listened_to = self._listeners("on_batch_begin", "on_batch_end")
        log, sizes = [], []
        for batch in iterator:
            if listened_to:
                self.notify("on_batch_begin", batch=batch, training=training)
            terms = step_fn(batch)
            log.append(torch.stack(list(terms.values())))
            sizes.append(batch.rows.x.shape[0])
            if listened_to:
                self._end_batch(batch, terms, training, prefix)
        share = torch.tensor(sizes, dtype=torch.float64, device="cpu") / sum(sizes)
        means = share @ torch.stack(log).to("cpu", torch.float64)
        return dict(zip(terms, means.tolist(), strict=True))

    def train_step(self, batch: Minibatch, **fit_params: Any) -> dict[str, Tensor]:
        """Run the phases on a batch; return all terms as they were before."""
        return self.step_(batch)

    @torch.no_grad()
    def validation_step(self, batch: Minibatch, **fit_params: Any) -> dict[str, Tensor]:
        """Return the terms of the watched phase on a chunk of validation rows."""
        with self.precision(), noise.handed(batch.draws[self.watched.name]):
            return self.watched.evaluate(self.module_, batch.rows).terms

    # What the estimators ask for

    def go_on_from(self, other: "AutoencoderNet") -> "AutoencoderNet":
        """Take over weights, the state of the optimizers and the history of a net, and leave that net as it is."""
        state, asked = other.module_.state_dict(), self.module_.state_dict()
        shapes, asked_shapes = ({name: (*t.shape,) for name, t in tensors.items()} for tensors in (state, asked))
        if shapes != asked_shapes:
            differing = dict(shapes.items() ^ asked_shapes.items())
            raise ValueError(f"a net that goes on keeps the tensors of its module, got others: {sorted(differing)}")
        self.module_.load_state_dict(state)
        for name in self._optimizer_names():
            getattr(self, name).load_state_dict(copy.deepcopy(getattr(other, name).state_dict()))
        self.history_ = copy.deepcopy(other.history)
        return self

    @torch.no_grad()
    def apply(
        self,
        function: Callable[[Autoencoder, Batch], Tensor],
        rows: Rows,
        dtype: Any = None,
        finish: Callable[[Tensor], NDArray] = Tensor.numpy,
    ) -> NDArray:
        """Return ``finish(function(module, batch))`` for all rows, computed in chunks that stay in the cache.

        On a GPU chunks are larger, and their values leave it before the next ones are computed.
        """
        self._set_training(False)
        on_cpu = torch.device(self.device).type == "cpu"
        n_threads = threads.suited(self.module_, min(len(rows), chunk_size(rows)))
        with self.precision(), threads.at_most(n_threads):
            size = chunk_size(rows) if on_cpu else device_chunk_size(rows, self.module_)
            values = (function(self.module_, chunk.rows).cpu() for chunk in Chunks(rows, size))
            parts = (part for of_chunk in values for part in of_chunk.split(CHUNK))
            return _stacked((finish(_for_numpy(part)) for part in parts), len(rows), dtype)

    @property
    def why_alone(self) -> str | None:
        """What keeps the net from being trained with others, if anything does."""
        if listeners := self._listeners("on_batch_begin", "on_batch_end", "on_grad_computed"):
            return f"callbacks must not listen to batches or gradients, got {', '.join(listeners)}"
        if not all(optimizer.is_alone for optimizer in self.optimizers_by_phase().values()):
            return "no two phases may move the same parameters, and some do"
        return None

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context that the module runs in."""
        device_type = torch.device(self.device).type
        return torch.autocast(device_type, torch.bfloat16) if self.autocast else nullcontext()

    # Parts

    def _optimizer_names(self) -> list[str]:
        return ["optimizer_", *(f"{phase.name}_optimizer_" for phase in self.phases[1:])]

    def optimizers_by_phase(self) -> dict[str, Adam]:
        """Return the optimizer of each phase."""
        names = self._optimizer_names()
        return {phase.name: getattr(self, name) for phase, name in zip(self.phases, names, strict=True)}

    def _set_learning_rates(self, factor: float) -> None:
        for name, optimizer in self.optimizers_by_phase().items():
            for group in optimizer.param_groups:
                group |= {**self.optimizers[name], "lr": factor * self.optimizers[name]["lr"]}

    def _new_step(self) -> Step:
        shown = self._shown_to_callbacks if self._listeners("on_grad_computed") else None
        return Step(self.module_, self.phases, self.optimizers_by_phase(), self.precision, shown)

    def _shown_to_callbacks(self, phase: Phase, found: Gradients, batch: Minibatch) -> Gradients:
        """Let callbacks look at the gradients and change them, as skorch promises."""
        moved = phase.parameters(self.module_)
        for parameter, gradient in zip(moved.values(), found, strict=True):
            parameter.grad = gradient
        self.notify("on_grad_computed", named_parameters=list(moved.items()), batch=batch, training=True)
        shown = [cast(Tensor, parameter.grad) for parameter in moved.values()]
        for parameter in moved.values():
            parameter.grad = None
        return shown

    def _listeners(self, *events: str) -> list[str]:
        """Return the names of callbacks that want to hear of one of these events."""
        return [name for name, callback in self.callbacks_ if any(_listens(callback, event) for event in events)]

    def _end_batch(self, batch: Minibatch, terms: dict[str, Tensor], training: bool, prefix: str) -> None:
        loss = self._phase(training).loss(terms)
        self.history.record_batch(f"{prefix}_loss", loss.item())
        self.history.record_batch(f"{prefix}_batch_size", batch.rows.x.shape[0])
        with torch.no_grad():
            self._set_training(False)
            output = self.infer(batch.rows.x)
            self._set_training(training)
        self.notify("on_batch_end", batch=batch, training=training, loss=loss, y_pred=output)

    def _phase(self, training: bool) -> Phase:
        return self.phases[0] if training else self.watched

    def _record(self, means: dict[str, float], training: bool, batches: EqualBatches | Chunks) -> None:
        """Write down an epoch as skorch does, whose callbacks look for the best loss and at batches."""
        loss, prefix = self._phase(training).loss(means), "train" if training else "valid"
        if training:
            self._check_converging({**means, "loss": loss})
        row = self.history[-1]
        if not any(f"{prefix}_loss" in batch for batch in row["batches"]):  # one record stands for all of them
            row["batches"].append({f"{prefix}_loss": loss, f"{prefix}_batch_size": len(batches.rows)})
        best = self.best_losses_.get(prefix, inf)
        self.best_losses_[prefix] = min(loss, best)
        row.update(means if training else {f"{prefix}_{name}": mean for name, mean in means.items()})
        own = {"loss": loss, "loss_best": loss < best, "batch_count": len(batches)}
        row.update({f"{prefix}_{name}": value for name, value in own.items()})

    def _check_not_frozen(self) -> None:
        moved = (p for optimizer in self.optimizers_by_phase().values() for p in optimizer.parameters)
        if not all(parameter.requires_grad for parameter in moved):
            frozen = [name for name, parameter in self.module_.named_parameters() if not parameter.requires_grad]
            raise ValueError(
                f"all parameters must need a gradient, got frozen ones: {', '.join(frozen)}. To keep some as they are, "
                "set their gradients to 0 in on_grad_computed of a callback"
            )

    def _check_converging(self, means: dict[str, float]) -> None:
        """Raise if a term is not finite, or far larger than the loss of the first epoch."""
        first = self.history[0].get("train_loss")
        limit = inf if first is None else DIVERGED * (1 + abs(first))
        wrong = {name: mean for name, mean in means.items() if not (isfinite(mean) and abs(mean) <= limit)}
        if wrong:
            values = ", ".join(f"{name}={mean:g}" for name, mean in wrong.items())
            rates = ", ".join(f"{settings['lr']:g} ({phase})" for phase, settings in self.optimizers.items())
            raise ValueError(
                f"the loss must stay finite, got {next(iter(wrong.values())):g} in epoch "
                f"{len(self.history)}: {values}. The usual causes are a learning rate that is too large, here "
                f"learning_rate={rates}, and extreme values in X that scale=False lets through"
            )

    @torch.no_grad()
    def _check_result(self, rows: Rows) -> None:
        """Raise if the last step has thrown the module off: the losses are those before the steps."""
        self._set_training(False)
        first = rows.slice(0, chunk_size(rows))
        if not self.module_(first.x, first.observed).isfinite().all():
            self._check_converging({"reconstructed rows": nan})


def _at_hand(device: Any) -> Any:
    """Return the device if torch can reach it, else the CPU."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # torch raises either, by kind of device
        warnings.warn(
            f"the fit was made on the device {str(device)!r}, which torch can't reach here: it is loaded onto the CPU",
            DeviceWarning,
            stacklevel=4,
        )
        return "cpu"
    return device


def _listens(callback: Callback, event: str) -> bool:
    if isinstance(callback, LRScheduler) and callback.step_every == "epoch" and event == "on_batch_end":
        return False  # it does nothing then
    return getattr(type(callback), event) is not getattr(Callback, event)


def _checked(batches: Iterable[Minibatch], check: Callable[[], None]) -> Iterator[Minibatch]:
    for batch in batches:
        check()
        yield batch


def chunk_size(rows: Rows) -> int:
    """Return how many rows are handled at once on a CPU when nothing is trained."""
    return max(1, min(CHUNK, CHUNK_CELLS // max(1, rows.n_cells)))


def device_chunk_size(rows: Rows, module: Autoencoder) -> int:
    """Return how many rows are handled at once on a GPU when nothing is trained."""
    layers = [*module.encoder.modules(), *module.decoder.modules()]
    widths = [max(layer.in_features, layer.out_features) for layer in layers if isinstance(layer, nn.Linear)]
    return max(1, min(DEVICE_CHUNK, DEVICE_CELLS // max(rows.n_cells, *widths)))


def _for_numpy(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))  # numpy knows no bfloat16


def _stacked(chunks: Iterable[NDArray], n: int, dtype: Any) -> NDArray:
    """Return chunks of ``n`` rows in one array, without a second copy of them."""
    whole, start = np.empty(0), 0
    for chunk in chunks:
        if start == 0:
            whole = np.empty((n, *chunk.shape[1:]), dtype or chunk.dtype)
        whole[start : start + len(chunk)] = chunk
        start += len(chunk)
    return whole
