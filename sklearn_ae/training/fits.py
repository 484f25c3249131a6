"""Many fits: those of one kind are trained as one, the others by themselves."""

import copy
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from math import ceil
from typing import cast

import torch
from joblib import cpu_count
from torch import nn

from sklearn_ae.training import threads
from sklearn_ae.training.net import AutoencoderNet, Epoch, Means, Split
from sklearn_ae.training.progress import Progress
from sklearn_ae.training.stack import Stack

CACHE = 6 << 20  # bytes that a stack may take on a CPU
LARGEST_MODEL = 3 << 20  # bytes of a model above which a stack does not pay
MOST_MODELS = 128
LEAST = 2 << 20  # bytes of a stack below which threads would mostly wait for the interpreter


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
        self.epoch: Epoch | None = None  # the next one, None when the training has ended
        self.n_left = net.max_epochs + 1  # epochs, this one included
        self.error: BaseException | None = None
        self.advance(None)

    def advance(self, means: Means | None) -> None:
        """Hand over the means of an epoch and go on to the next."""
        self.epoch = None
        self.n_left -= 1
        try:
            self.epoch = self.training.send(means)  # type: ignore[arg-type]
        except StopIteration:
            self.n_left = 0
        except Exception as error:
            self.abort(error)

    def abort(self, error: BaseException) -> None:
        """End the training where it is."""
        if isinstance(error, torch.OutOfMemoryError):
            error.with_traceback(None)  # it holds memory that other fits need
        self.epoch, self.error, self.n_left = None, error, 0
        self.training.close()

    @property
    def signature(self) -> Hashable:
        """What fits must have in common to be trained as one."""
        net, batches = self.net, cast(Epoch, self.epoch).batches
        tensors = [*net.module_.named_parameters(), *net.module_.named_buffers()]
        return (
            id(net) if net.signature is None else net.signature,
            batches.n_batches,
            batches.size,
            tuple(batches.rows.columns.there()),
            tuple((name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in tensors),
            tuple((phase.name, phase.updates, *phase.terms, *phase.weights) for phase in net.phases),
            tuple(optimizer.n_steps for optimizer in net.optimizers_by_phase().values()),
        )


def train(fits: Sequence[Fit], progress: Progress) -> None:
    """Train fits, those of one signature together.

    Parameters
    ----------
    fits : sequence of Fit
        The fits, of any signatures.
    progress : Progress
        Is told what has been done, and may end everything between two steps.
    """
    fits = [fit for fit in fits if fit.epoch is not None]
    progress.expect(sum(fit.n_left for fit in fits))
    groups: dict[Hashable, list[Fit]] = {}
    for fit in fits:
        if obstacle := fit.net.why_alone:
            progress.explain(f"fits are trained together, for which {obstacle}")
        groups.setdefault(id(fit) if obstacle else fit.signature, []).append(fit)
    n_threads = _n_threads(fits, max((_threads_fed([fit]) for fit in fits), default=1))
    chunks = [chunk for group in groups.values() for chunk in _chunks(group, n_threads)]
    if all(len(chunk) * model_bytes(chunk[0]) < LEAST for chunk in chunks):
        n_threads = 1
    share = max(1, max(cpu_count(), torch.get_num_threads()) // max(1, min(n_threads, len(chunks))))
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sklearn_ae-trainer") as pool:
        list(pool.map(_train_in_threads, chunks, repeat(share), repeat(progress)))


def _train_in_threads(fits: list[Fit], most: int, progress: Progress) -> None:
    """Train fits of one signature, with no more of torch's threads than they can feed."""
    with threads.at_most(min(most, _threads_fed(fits))):
        _train_as_one(fits, progress)


def _threads_fed(fits: Sequence[Fit]) -> int:
    """Return how many threads of torch a stack of fits can feed."""
    net, epoch = fits[0].net, cast(Epoch, fits[0].epoch)
    return min(torch.get_num_threads(), threads.suited(net.module_, epoch.batches.size, len(fits)))


def _n_threads(fits: Sequence[Fit], n_fed: int) -> int:
    """Return how many stacks are trained at once: where torch feeds ``n_fed`` threads, the cores that it leaves idle.

    A GPU takes one.
    """
    return max(1, cpu_count() // n_fed) if all(map(_is_on_cpu, fits)) else 1


def _chunks(fits: list[Fit], n_threads: int) -> list[list[Fit]]:
    """Cut fits of one signature into stacks of about one size; for all threads, unless these would be too small."""
    n_chunks = ceil(len(fits) / models_at_once(fits[0]))
    for_all = n_threads * ceil(n_chunks / n_threads)
    if len(fits) * model_bytes(fits[0]) >= for_all * LEAST:
        n_chunks = for_all
    size = ceil(len(fits) / n_chunks)
    return [fits[start : start + size] for start in range(0, len(fits), size)]


def _train_as_one(fits: list[Fit], progress: Progress) -> None:
    """Train fits of one signature.

    A fit that ends takes its weights out. When half of them have ended, the others go on in a smaller stack. What a GPU
    has no room for goes on in two halves.
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
        _train_alone(fit, progress)
    progress.trained(n_fits, how)


def _train_stack(fits: list[Fit], progress: Progress) -> str:
    """Train fits as a stack until half of them have ended, "together"; or leave them as they were, and say why."""
    begun = [] if _is_on_cpu(fits[0]) else [_Begun(fit) for fit in fits]
    outcome = _run_stack(fits, progress)
    for fit in _unended(fits):
        fit.net.step_.end()  # or its parameters would keep those of all others in memory
    if outcome != "together":
        for before in begun:
            before.restore()
    return outcome


def _run_stack(fits: list[Fit], progress: Progress) -> str:
    """Do the work of it. Nothing holds the stack when this has returned, no traceback either."""
    try:
        stack = Stack([fit.net for fit in fits], [cast(Epoch, fit.epoch) for fit in fits], progress.check)
    except torch.OutOfMemoryError:
        return "too large"
    except (RuntimeError, ValueError, TypeError) as error:
        progress.explain(
            f"fits are trained together where torch.vmap knows what they compute, which it does not here: {error}"
        )
        return "alone"
    is_new = True
    while 2 * len(_unended(fits)) > len(fits):
        try:
            means = stack.epoch()
        except torch.OutOfMemoryError as error:
            if is_new:
                return "too large"
            with _shown(fits, progress):  # something else has taken the memory that was enough before
                for fit in _unended(fits):
                    fit.abort(error)
        else:
            _advance(fits, means, progress)
        is_new = False
    return "together"


def _advance(fits: Sequence[Fit], means: Sequence[Means], progress: Progress) -> None:
    with _shown(fits, progress):
        for fit, of_fit in zip(fits, means, strict=True):
            if fit.epoch is not None:
                fit.advance(of_fit)


def _unended(fits: Sequence[Fit]) -> list[Fit]:
    return [fit for fit in fits if fit.epoch is not None]


class _Begun:
    """A fit before an epoch, to go back to if there is no room for the epoch on a GPU."""

    def __init__(self, fit: Fit) -> None:
        self.net = fit.net
        self.generator = cast(Epoch, fit.epoch).batches.generator
        self.drawn = self.generator.get_state()
        self.module = copy.deepcopy(self.net.module_.state_dict())
        self.optimizers = [copy.deepcopy(adam.state_dict()) for adam in self.net.optimizers_by_phase().values()]

    def restore(self) -> None:
        self.generator.set_state(self.drawn)
        self.net.module_.load_state_dict(self.module)
        for adam, state in zip(self.net.optimizers_by_phase().values(), self.optimizers, strict=True):
            adam.load_state_dict(state)


def _train_alone(fit: Fit, progress: Progress) -> None:
    while fit.epoch is not None:
        with _shown([fit], progress):
            try:
                means = fit.net.run_epoch(fit.epoch, progress.check)
            except Exception as error:
                fit.abort(error)
            else:
                fit.advance(means)


@contextmanager
def _shown(fits: Sequence[Fit], progress: Progress) -> Iterator[None]:
    """Tell by how many epochs the ends of fits come nearer."""
    before = sum(fit.n_left for fit in fits)
    yield
    progress.ran(before - sum(fit.n_left for fit in fits))


def models_at_once(fit: Fit) -> int:
    """Return how many models of a kind are stacked: on a CPU as many as fit into its cache, 1 if none should be."""
    if not _is_on_cpu(fit):
        return MOST_MODELS
    n_bytes = model_bytes(fit)
    return 1 if n_bytes > LARGEST_MODEL else max(1, min(MOST_MODELS, CACHE // n_bytes))


def _is_on_cpu(fit: Fit) -> bool:
    return torch.device(fit.net.device).type == "cpu"


def model_bytes(fit: Fit) -> int:
    """Return about how much memory a step of one model touches."""
    layers = [layer for layer in fit.net.module_.modules() if isinstance(layer, nn.Linear)]
    n_parameters = sum(parameter.numel() for parameter in fit.net.module_.parameters())
    n_activations = cast(Epoch, fit.epoch).batches.size * sum(layer.in_features for layer in layers)
    return 16 * n_parameters + 8 * n_activations
