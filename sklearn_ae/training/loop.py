"""The training loop of a net: epochs, mean terms, validation and history."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from contextvars import ContextVar
from math import inf, isfinite, nan
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.training import threads
from sklearn_ae.training.batches import Chunks, EqualBatches, Minibatch, chunk_size
from sklearn_ae.training.batches import Rows as Rows
from sklearn_ae.training.callbacks import listeners
from sklearn_ae.training.phases import Phase, StepOptimizer
from sklearn_ae.training.progress import Progress
from sklearn_ae.training.ranks import RANKS, SharedStep, Step

DIVERGED = 1e10  # growth of the loss since the first epoch from which a fit does not recover


class Split(NamedTuple):
    """Training rows and validation rows."""

    train: Rows
    valid: Rows | None = None


class Epoch(NamedTuple):
    """The batches of an epoch, and the validation rows in chunks."""

    batches: EqualBatches
    validation: Chunks | None


class Means(NamedTuple):
    """Mean terms of an epoch over the training rows, before each step, and over the validation rows, at its end."""

    train: dict[str, float]
    valid: dict[str, float] | None


class StopTraining(Exception):
    """A callback has stopped the training; the weights as they are now are the result."""


class Net(Protocol):
    """What the training loop uses of a net; see :class:`sklearn_ae.training.net.AutoencoderNet`."""

    phases: Sequence[Phase]
    validation_phase: Phase
    optimizers: Mapping[str, dict[str, Any]]
    max_epochs: int
    verbose: int
    module_: Autoencoder
    callbacks_: Any
    history: Any
    step_: Step | SharedStep

    def get_iterator(self, dataset: Rows, training: bool = False) -> Any:
        """Return the batches or chunks of rows."""

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call a method of all callbacks; raises StopTraining if one of them stops the training."""

    def renew_step(self) -> None:
        """Set a training step with nothing recorded."""

    def optimizers_by_phase(self) -> Mapping[str, StepOptimizer]:
        """Return the optimizer of each phase."""

    def train_step(self, batch: Minibatch) -> dict[str, Tensor]:
        """Train on a batch; return its terms."""

    def validation_step(self, batch: Minibatch) -> dict[str, Tensor]:
        """Return the terms of a chunk of validation rows."""

    def infer(self, x: Tensor) -> Tensor:
        """Return the reconstruction of rows."""


class Training:
    """The training of one net.

    The caller iterates over :meth:`epochs`, runs each epoch with :meth:`run_epoch` or in a stack, and sends back the
    mean terms. At the end it gives the model its own memory and calls :meth:`conclude`, as :func:`train_lone` does.

    Parameters
    ----------
    net : AutoencoderNet
        The net, initialized.
    split : Split
        Its training and validation rows.
    """

    def __init__(self, net: Net, split: Split) -> None:
        self.net = net
        self.split = split
        self._best_losses: dict[str, float] = {}

    def epochs(self) -> Generator[Epoch, Means, None]:
        """Yield each epoch; expects its mean terms to be sent back."""
        self.net.notify("on_train_begin", X=self.split, y=None)
        self.net.renew_step()  # callbacks may have changed the module or the phases
        with suppress(StopTraining):
            yield from self._epochs()

    def _epochs(self) -> Generator[Epoch, Means, None]:
        net, (train, valid) = self.net, self.split
        epoch = Epoch(net.get_iterator(train, training=True), None if valid is None else net.get_iterator(valid))
        for _ in range(net.max_epochs):
            net.notify("on_epoch_begin", dataset_train=train, dataset_valid=valid)
            if not net.module_.training:  # setting it visits every layer
                net.module_.train()
            self._check_not_frozen()
            means = yield epoch
            self._record(means.train, True, epoch.batches)
            if epoch.validation is not None and means.valid is not None:
                self._record(means.valid, False, epoch.validation)
            net.notify("on_epoch_end", dataset_train=train, dataset_valid=valid)

    def run(self, progress: Progress) -> None:
        """Run all epochs and show their losses."""
        progress.expect(self.net.max_epochs)
        with closing(RANKS.get().together(self.epochs())) as epochs, suppress(StopIteration):
            epoch = next(epochs)
            with threads.at_most(threads.suited(self.net.module_, epoch.batches.size)):
                while True:
                    means = self.run_epoch(epoch)
                    progress.ran(1)
                    progress.show(self._losses(means))
                    epoch = epochs.send(means)

    def _losses(self, means: Means) -> dict[str, float]:
        """Return the losses of an epoch and the terms of the training."""
        losses = {"train_loss": _phase(self.net, True).loss(means.train)}
        if means.valid is not None:
            losses["valid_loss"] = _phase(self.net, False).loss(means.valid)
        return losses | means.train

    def run_epoch(self, epoch: Epoch, check: Callable[[], None] = lambda: None) -> Means:
        """Run the steps and the validation of an epoch; an exception of ``check``, called between steps, ends it."""
        train = _mean_terms(self.net, _checked(epoch.batches, check), True, self.net.train_step)
        return Means(train, None if epoch.validation is None else validation_means(self.net, epoch.validation))

    def conclude(self) -> None:
        """Notify the callbacks of the end, and check that the trained module is finite."""
        self.net.notify("on_train_end", X=self.split, y=None)
        self._check_result()

    # History

    def _record(self, means: dict[str, float], training: bool, batches: EqualBatches | Chunks) -> None:
        """Add the mean terms of an epoch to the history, in the form that the callbacks of skorch expect."""
        loss, prefix = _phase(self.net, training).loss(means), _prefix(training)
        if training:
            self._check_converging({**means, "loss": loss})
        row = self.net.history[-1]
        if not any(f"{prefix}_loss" in batch for batch in row["batches"]):  # one record stands for all batches
            row["batches"].append({f"{prefix}_loss": loss, f"{prefix}_batch_size": len(batches.rows)})
        best = self._best_losses.get(prefix, inf)
        self._best_losses[prefix] = min(loss, best)
        row.update(means if training else {f"{prefix}_{name}": mean for name, mean in means.items()})
        own = {"loss": loss, "loss_best": loss < best, "batch_count": len(batches)}
        row.update({f"{prefix}_{name}": value for name, value in own.items()})

    # Checks

    def _check_not_frozen(self) -> None:
        """Raise if a parameter that is trained does not require a gradient."""
        moved = (p for optimizer in self.net.optimizers_by_phase().values() for p in optimizer.parameters)
        if not all(parameter.requires_grad for parameter in moved):
            frozen = [name for name, parameter in self.net.module_.named_parameters() if not parameter.requires_grad]
            raise ValueError(
                f"all parameters must need a gradient, got frozen ones: {', '.join(frozen)}. To keep some as they are, "
                "set their gradients to 0 in on_grad_computed of a callback"
            )

    def _check_converging(self, means: dict[str, float]) -> None:
        """Raise if a term is not finite, or far larger than the loss of the first epoch."""
        history = self.net.history
        first = history[0].get("train_loss")
        limit = inf if first is None else DIVERGED * (1 + abs(first))
        wrong = {name: mean for name, mean in means.items() if not (isfinite(mean) and abs(mean) <= limit)}
        if wrong:
            values = ", ".join(f"{name}={mean:g}" for name, mean in wrong.items())
            rates = ", ".join(f"{settings['lr']:g} ({phase})" for phase, settings in self.net.optimizers.items())
            raise ValueError(
                f"the loss must stay finite, got {next(iter(wrong.values())):g} in epoch "
                f"{len(history)}: {values}. The usual causes are a learning rate that is too large, here "
                f"learning_rate={rates}, and extreme values in X that scale=False lets through"
            )

    @torch.no_grad()
    def _check_result(self) -> None:
        """Raise if reconstructions are not finite after the last step; the recorded losses are those before it."""
        rows, module = self.split.train, self.net.module_.eval()
        n = min(len(rows), chunk_size(rows))
        first = rows.slice(0, n)
        with threads.at_most(threads.suited(module, n)):
            if not module(first.x, first.observed).isfinite().all():
                self._check_converging({"reconstructed rows": nan})


def train_lone(net: Net, split: Split) -> None:
    """Train a net by itself."""
    training = Training(net, split)
    try:
        with closing(Progress(shown=net.verbose == 1 and RANKS.get().is_first)) as progress:
            training.run(progress)
    finally:
        net.step_.end()
    training.conclude()


# Trains the nets of a fit on a split, if a parallel backend collects fits to train them together.
DRIVER: ContextVar[Callable[[Sequence[Any], Split], None]] = ContextVar("driver")


def validation_means(net: Net, chunks: Chunks) -> dict[str, float]:
    """Return the mean of each term over validation rows."""
    net.module_.eval()
    return _mean_terms(net, chunks, False, net.validation_step)


def _mean_terms(
    net: Net, batches: Iterable[Minibatch], training: bool, step: Callable[[Minibatch], dict[str, Tensor]]
) -> dict[str, float]:
    """Return the mean of each term over batches; the values are copied to the host once, at the end."""
    has_listeners = bool(listeners(net.callbacks_, "on_batch_begin", "on_batch_end"))
    log, sizes = [], []
    for batch in batches:
        if has_listeners:
            net.notify("on_batch_begin", batch=batch, training=training)
        terms = step(batch)
        log.append(torch.stack(list(terms.values())))
        sizes.append(batch.rows.x.shape[0])
        if has_listeners:
            _end_batch(net, batch, terms, training)
    share = torch.tensor(sizes, dtype=torch.float64, device="cpu") / sum(sizes)
    means = share @ torch.stack(log).to("cpu", torch.float64)
    return dict(zip(terms, means.tolist(), strict=True))


def _end_batch(net: Net, batch: Minibatch, terms: dict[str, Tensor], training: bool) -> None:
    """Record a batch in the history, and notify the callbacks as skorch does."""
    loss, prefix = _phase(net, training).loss(terms), _prefix(training)
    net.history.record_batch(f"{prefix}_loss", loss.item())
    net.history.record_batch(f"{prefix}_batch_size", batch.rows.x.shape[0])
    with torch.no_grad():
        net.module_.eval()
        output = net.infer(batch.rows.x)
        net.module_.train(training)
    net.notify("on_batch_end", batch=batch, training=training, loss=loss, y_pred=output)


def _phase(net: Net, training: bool) -> Phase:
    """Return the phase whose loss is that of the net."""
    return net.phases[0] if training else net.validation_phase


def _prefix(training: bool) -> str:
    return "train" if training else "valid"


def _checked(batches: Iterable[Minibatch], check: Callable[[], None]) -> Iterator[Minibatch]:
    for batch in batches:
        check()
        yield batch
