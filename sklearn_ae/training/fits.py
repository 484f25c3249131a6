"""Training of many fits: those of one signature as stacks, the others one after another."""

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import repeat
from math import ceil
from threading import Event
from typing import cast

import torch
from joblib import cpu_count
from torch import nn

from sklearn_ae.training import threads
from sklearn_ae.training.callbacks import listeners
from sklearn_ae.training.devices import capabilities
from sklearn_ae.training.loop import DRIVER, Epoch, Means, Rows, Split, Training
from sklearn_ae.training.net import AutoencoderNet as AutoencoderNet
from sklearn_ae.training.progress import Progress
from sklearn_ae.training.stack import Stack
from sklearn_ae.training.stacked_models import StackedModels

CACHE = 6 << 20  # most bytes of a stack on a CPU
LARGEST_MODEL = 3 << 20  # most bytes of a model for which a stack is faster
MOST_MODELS = 128  # most models of a stack
LEAST = 2 << 20  # bytes of a stack below which threads would mostly wait for the interpreter


class Fit:
    """A fit whose training has begun.

    Parameters
    ----------
    net : AutoencoderNet
        The net that is trained.
    split : Split
        Its training and validation rows.
    """

    def __init__(self, net: AutoencoderNet, split: Split) -> None:
        self.net = net
        self.training = Training(net, split)
        self.epochs = self.training.epochs()
        self.epoch: Epoch | None = None  # the next one, None when the training has ended
        self.n_left = net.max_epochs + 1  # epochs, this one included
        self.error: BaseException | None = None
        self.advance(None)
        if self.epoch is None:
            self.conclude()

    def advance(self, means: Means | None) -> None:
        """Send the mean terms of an epoch to the training and go on to the next epoch."""
        self.epoch = None
        self.n_left -= 1
        try:
            self.epoch = self.epochs.send(means)  # type: ignore[arg-type]
        except StopIteration:
            self.n_left = 0
        except Exception as error:
            self.abort(error)

    def conclude(self) -> None:
        """Finish a training without errors, after the model was given its own memory."""
        if self.error is None:
            try:
                self.training.conclude()
            except Exception as error:
                self.abort(error)

    def abort(self, error: BaseException) -> None:
        """End the training with an error."""
        if isinstance(error, torch.OutOfMemoryError):
            error.with_traceback(None)  # it refers to memory that other fits need
        self.epoch, self.error, self.n_left = None, error, 0
        self.epochs.close()

    @property
    def signature(self) -> Hashable:
        """Key that is equal for fits that can be trained as one stack."""
        net, batches = self.net, cast(Epoch, self.epoch).batches
        tensors = [*net.module_.named_parameters(), *net.module_.named_buffers()]
        return (
            id(net) if net.signature is None else net.signature,
            batches.n_batches,
            batches.size,
            tuple(batches.rows.table.present()),
            tuple((name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in tensors),
            tuple((phase.name, phase.updates, *phase.terms, *phase.weights) for phase in net.phases),
            tuple(optimizer.n_steps for optimizer in net.optimizers_by_phase().values()),
        )

    @property
    def stacking_obstacle(self) -> str | None:
        """The reason why the fit can't be trained in a stack, if there is one."""
        if names := listeners(self.net.callbacks_, "on_batch_begin", "on_batch_end", "on_grad_computed"):
            return f"callbacks must not listen to batches or gradients, got {', '.join(names)}"
        if not all(optimizer.owns_parameters for optimizer in self.net.optimizers_by_phase().values()):
            return "no two phases may move the same parameters, and some do"
        return None


def train_members(
    nets: Sequence[AutoencoderNet], rows: Rows, validation: Rows | None = None, *, verbose: bool = False
) -> None:
    """Train several nets on the same rows, as one stack if they have one signature.

    Parameters
    ----------
    nets : sequence of AutoencoderNet
        The nets, initialized.
    rows : Rows
        Their training rows.
    validation : Rows, optional
        Their validation rows.
    verbose : bool, default=False
        Whether to show a progress bar.
    """
    split = Split(rows, validation)
    if len(nets) == 1:
        nets[0].partial_fit(split)
    elif driver := DRIVER.get(None):
        driver(nets, split)
    else:
        _train_here(nets, split, shown=verbose)


def _train_here(nets: Sequence[AutoencoderNet], split: Split, *, shown: bool) -> None:
    interrupted = Event()

    def check() -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt

    with closing(Progress(check, shown=shown)) as progress:
        fits = [Fit(net, split) for net in nets]
        train(fits, progress, on_error=interrupted.set)
    if error := first_error(fits):
        raise error


def first_error(fits: Sequence[Fit]) -> BaseException | None:
    """Return the error of the first fit that has one."""
    return next((fit.error for fit in fits if fit.error is not None), None)


def train(
    fits: Sequence[Fit],
    progress: Progress,
    on_error: Callable[[], None] = lambda: None,
    *,
    n_cores: int | None = None,
) -> None:
    """Train fits, those of one signature as stacks.

    Parameters
    ----------
    fits : sequence of Fit
        The fits, of any signatures.
    progress : Progress
        Counts what has been done, and its check is called between steps.
    on_error : callable, optional
        ``() -> None``, called if the training is interrupted: the check must raise from then on.
    n_cores : int, optional
        Cores that may be used, all by default.
    """
    fits = [fit for fit in fits if fit.epoch is not None]
    progress.expect(sum(fit.n_left for fit in fits))
    groups: dict[Hashable, list[Fit]] = {}
    for fit in fits:
        if obstacle := fit.stacking_obstacle:
            progress.explain(f"to train fits together, {obstacle}")
        groups.setdefault(id(fit) if obstacle else fit.signature, []).append(fit)
    n_threads = n_trainers(fits, max((_threads_fed([fit]) for fit in fits), default=1), n_cores)
    chunks = [chunk for group in groups.values() for chunk in divided(group, n_threads)]
    if all(len(chunk) * model_bytes(chunk[0]) < LEAST for chunk in chunks):
        n_threads = 1
    most = n_cores or max(cpu_count(), torch.get_num_threads())
    share = max(1, most // max(1, min(n_threads, len(chunks))))
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sklearn_ae-trainer") as pool:
        try:
            list(pool.map(_train_in_threads, chunks, repeat(share), repeat(progress)))
        except BaseException:
            on_error()  # before the pool waits for its threads
            raise


def _train_in_threads(fits: list[Fit], most: int, progress: Progress) -> None:
    """Train fits of one signature, with the number of torch's threads that pays."""
    with threads.at_most(min(most, _threads_fed(fits))):
        _train_as_one(fits, progress)


def _threads_fed(fits: Sequence[Fit]) -> int:
    """Return how many of torch's threads pay for a stack of fits: as many as for one of them.

    More would split the elementwise operations of the stack, which are over before the threads have synchronised.
    """
    net, epoch = fits[0].net, cast(Epoch, fits[0].epoch)
    return min(torch.get_num_threads(), threads.suited(net.module_, epoch.batches.size))


def n_trainers(fits: Sequence[Fit], n_fed: int, n_cores: int | None = None) -> int:
    """Return how many stacks are trained at once, if torch uses ``n_fed`` threads for each; on a GPU it is one."""
    return max(1, (n_cores or cpu_count()) // n_fed) if all(map(is_on_host, fits)) else 1


def divided(fits: list[Fit], n_threads: int) -> list[list[Fit]]:
    """Divide fits of one signature into stacks of about equal size, one for each thread if they are large enough.

    Fits that end at about the same time share a stack, whatever the order in which their threads came.
    """
    fits = sorted(fits, key=lambda fit: fit.n_left)
    n_chunks = ceil(len(fits) / models_at_once(fits[0]))
    for_all = n_threads * ceil(n_chunks / n_threads)
    if len(fits) * model_bytes(fits[0]) >= for_all * LEAST:
        n_chunks = for_all
    size = ceil(len(fits) / n_chunks)
    return [fits[start : start + size] for start in range(0, len(fits), size)]


def _train_as_one(fits: list[Fit], progress: Progress) -> None:
    """Train fits of one signature.

    When half of the fits of a stack have ended, the others go on in a smaller one. A stack that does not fit into the
    memory of a GPU is halved.
    """
    n_fits, how = len(fits), "alone"
    while len(fits) > 1:
        outcome = _train_stack(fits, progress)
        if outcome == "too large":
            progress.trained(n_fits - len(fits), how)
            half = len(fits) // 2
            _train_as_one(fits[:half], progress)
            _train_as_one(fits[half:], progress)
            return
        if outcome == "alone":
            break
        how, fits = outcome, _unended(fits)
    for fit in fits:
        _train_lone(fit, progress)
    progress.trained(n_fits, how)


def _train_stack(fits: list[Fit], progress: Progress) -> str:
    """Train fits as a stack until half of them have ended, and return "together".

    If that is not possible, leave the fits as they were, and return "too large" or "alone".
    """
    begun = [] if is_on_host(fits[0]) else [_Begun(fit) for fit in fits]
    models = StackedModels([fit.net for fit in fits])
    try:
        outcome = _run_stack(models, fits, progress)
    finally:
        models.release_all()
    if outcome != "together":
        for before in begun:
            before.restore()
    return outcome


def _run_stack(models: StackedModels, fits: list[Fit], progress: Progress) -> str:
    """Run the epochs of a stack. Nothing refers to the stack afterwards, no traceback either."""
    try:
        stack = Stack(models, [cast(Epoch, fit.epoch) for fit in fits], progress.check)
    except torch.OutOfMemoryError:
        return "too large"
    except (RuntimeError, ValueError, TypeError) as error:
        progress.explain(
            f"to train fits together, their operations must be ones that torch.vmap supports, got: {error}"
        )
        return "alone"
    is_new = True
    while 2 * len(_unended(fits)) > len(fits):
        try:
            means = stack.epoch()
        except torch.OutOfMemoryError as error:
            if is_new:
                return "too large"
            with _shown(fits, progress):  # other processes have taken memory that was free before
                for fit in _unended(fits):
                    fit.abort(error)
        else:
            _advance(models, fits, means, progress)
        is_new = False
    return "together"


def _advance(models: StackedModels, fits: Sequence[Fit], means: Sequence[Means], progress: Progress) -> None:
    """Go on to the next epoch of each fit; release the models of those that end."""
    with _shown(fits, progress):
        for k, (fit, of_fit) in enumerate(zip(fits, means, strict=True)):
            if fit.epoch is not None:
                fit.advance(of_fit)
                if fit.epoch is None:
                    models.release(k)
                    fit.conclude()


def _unended(fits: Sequence[Fit]) -> list[Fit]:
    return [fit for fit in fits if fit.epoch is not None]


class _Begun:
    """The state of a fit before an epoch, to be restored if the memory of a GPU is too small for the epoch."""

    def __init__(self, fit: Fit) -> None:
        self.net = fit.net
        self.generator = cast(Epoch, fit.epoch).batches.generator
        self.drawn = self.generator.get_state()
        self.module = copy.deepcopy(self.net.module_.state_dict())
        self.optimizers = [copy.deepcopy(of_phase.state_dict()) for of_phase in self.net.optimizers_by_phase().values()]

    def restore(self) -> None:
        self.generator.set_state(self.drawn)
        self.net.module_.load_state_dict(self.module)
        for optimizer, state in zip(self.net.optimizers_by_phase().values(), self.optimizers, strict=True):
            optimizer.load_state_dict(state)


def _train_lone(fit: Fit, progress: Progress) -> None:
    """Train a fit by itself to its end."""
    try:
        while fit.epoch is not None:
            with _shown([fit], progress):
                try:
                    means = fit.training.run_epoch(fit.epoch, progress.check)
                except Exception as error:
                    fit.abort(error)
                else:
                    fit.advance(means)
    finally:
        fit.net.step_.end()
    fit.conclude()


@contextmanager
def _shown(fits: Sequence[Fit], progress: Progress) -> Iterator[None]:
    """Report the epochs that were run in this context, or that will not be run any more."""
    before = sum(fit.n_left for fit in fits)
    yield
    progress.ran(before - sum(fit.n_left for fit in fits))


def models_at_once(fit: Fit) -> int:
    """Return the most models of a stack: on a CPU as many as fit into its cache, 1 if stacking does not pay."""
    if not is_on_host(fit):
        return MOST_MODELS
    n_bytes = model_bytes(fit)
    return 1 if n_bytes > LARGEST_MODEL else max(1, min(MOST_MODELS, CACHE // n_bytes))


def is_on_host(fit: Fit) -> bool:
    """Whether a fit is trained on the cores of the host."""
    return capabilities(fit.net.device).is_host


def model_bytes(fit: Fit) -> int:
    """Return about how many bytes a step of one model reads and writes."""
    layers = [layer for layer in fit.net.module_.modules() if isinstance(layer, nn.Linear)]
    n_parameters = sum(parameter.numel() for parameter in fit.net.module_.parameters())
    n_activations = cast(Epoch, fit.epoch).batches.size * sum(layer.in_features for layer in layers)
    return 16 * n_parameters + 8 * n_activations
