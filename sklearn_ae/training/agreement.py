"""Checks before processes train together: that they fit the same thing, and that its batches can be shared."""

import copy
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Trace
from sklearn_ae.objectives.terms import is_mean_over_rows
from sklearn_ae.training.batches import Chunks, Minibatch, Rows, cells_with_weights
from sklearn_ae.training.phases import Phase, gradients
from sklearn_ae.training.ranks import Ranks
from sklearn_ae.training.shared_step import Contribution, SharedBatches, Total, share_of

PRECISE = 1e-7  # relative difference from which a total in double precision is not the value of the whole batch


# The same fit on all processes


def check_same(net: Any, split: tuple[Rows, Rows | None], ranks: Ranks) -> None:
    """Raise on all processes unless they have the same rows, settings and initial weights.

    Parameters
    ----------
    net : AutoencoderNet
        The net before its training.
    split : (Rows, Rows or None)
        Training rows and validation rows.
    ranks : Ranks
        The processes.

    Raises
    ------
    ValueError
        If anything differs; the message names it.
    """
    own = _digests(net, *split)
    of_all = ranks.of_all("train", [*own.values()])
    others = [rank for rank, of_rank in enumerate(of_all) if of_rank != of_all[0]]
    if others:
        names = ", ".join(name for name, *digests in zip(own, *of_all, strict=True) if len(set(digests)) > 1)
        raise ValueError(
            f"all processes must fit the same thing, got other {names} on ranks {others} than on rank 0. Give all of "
            "them the same table and parameters, an integer or None as random_state, and the same versions"
        )


def _digests(net: Any, train: Rows, valid: Rows | None) -> dict[str, int]:
    """Return numbers that identify what is fitted, by name."""
    terms = [(phase.name, phase.updates, [*phase.terms], {**phase.weights}) for phase in net.phases]
    settings = (net.batch_size, net.max_epochs, net.schedule, net.autocast, dict(net.optimizers), terms)
    states = [optimizer.state_dict()["state"] for optimizer in net.optimizers_by_phase().values()]
    return {
        "training rows": _digest(*_content(train)),
        "validation rows": 0 if valid is None else _digest(*_content(valid)),
        "initial weights": _digest(*net.module_.state_dict().items(), states),
        "seeds": _digest(net.seed),
        "settings": _digest(settings),
    }


def _content(rows: Rows) -> Iterator[Any]:
    """Yield what identifies rows; of rows that are encoded when they are read, evenly spaced ones."""
    yield len(rows), rows.n_cells
    yield from rows.table.present().items()
    if not rows.are_encoded:
        yield cells_with_weights(rows)


def _digest(*parts: Any) -> int:
    """Return a number that is equal for equal nestings of tensors and other values."""
    found = sha256()
    for part in _leaves(parts):
        found.update(_bytes(part) if isinstance(part, Tensor) else repr(part).encode())
    return int.from_bytes(found.digest()[:8], "little", signed=True)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        yield from _leaves(tuple(tree.items()))
    elif isinstance(tree, tuple | list):
        for branch in tree:
            yield from _leaves(branch)
    else:
        yield tree


def _bytes(tensor: Tensor) -> Any:
    """Return shape, dtype and cells of a tensor."""
    head = f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    return head + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


# Batches that can be shared


def check_shared(net: Any, batches: SharedBatches, ranks: Ranks) -> None:
    """Raise unless the shares of a batch add up to the batch: losses must be means over rows.

    A batch is evaluated as a whole and in shares, in double precision, and gradients, terms and buffers are compared.
    What is known to depend on other rows of the batch is refused whatever its values are.

    Parameters
    ----------
    net : AutoencoderNet
        The net before its training.
    batches : SharedBatches
        Its batches.
    ranks : Ranks
        The processes.

    Raises
    ------
    ValueError
        If a batch has fewer rows than there are processes, or its loss is not a mean over its rows.
    """
    n_ranks = ranks.share.n_ranks
    if batches.whole.size < n_ranks:
        raise ValueError(
            f"batches must have a row for each process, got {n_ranks} processes for batches of {batches.whole.size} "
            "rows: give a larger batch_size or more rows, or start fewer processes"
        )
    module = copy.deepcopy(net.module_).double().train()
    whole = _first_batch(batches)
    _check_layers(module, whole)
    own = share_of(whole, batches.per_row, batches.part)
    for phase in net.phases:
        _check_terms(module, phase, whole)
        _check_total(module, phase, whole, own, ranks)


def _first_batch(batches: SharedBatches) -> Minibatch:
    """Return a whole batch in double precision: the first rows, and noise of its own."""
    first = next(iter(Chunks(batches.rows, batches.whole.size, 0, batches.whole.requests)))
    draws = {phase: [numbers.double() for numbers in of_phase] for phase, of_phase in first.draws.items()}
    return Minibatch(first.rows.map(lambda t: t.double() if t.is_floating_point() else t), draws)


def _check_layers(module: Autoencoder, whole: Minibatch) -> None:
    """Raise if a layer computes with the other rows of a batch."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"layers must compute each row by itself if processes share a batch, got a {type(layer).__name__} in "
                f"{name}: use LayerNorm, or fit in one process"
            )
        if isinstance(layer, noise.CopiedGaps) and whole.rows.observed is not None:
            raise ValueError(
                "rows must be corrupted each by itself if processes share a batch, got corruption='gaps', which copies "
                "gaps of other rows of the batch: use corruption='mask', or fit in one process"
            )


@torch.no_grad()
def _check_terms(module: Autoencoder, phase: Phase, whole: Minibatch) -> None:
    """Raise if a term has one value for the batch that is not known to be a mean over its rows."""
    trace = Trace(module, whole.rows.x, whole.rows.observed)
    with noise.supplied(whole.draws[phase.name]):
        for name, term in phase.terms.items():
            if term(module, whole.rows, trace).ndim == 0 and not is_mean_over_rows(term):
                raise ValueError(
                    f"terms must be means over rows if processes share a batch, got {name!r}, which has one value for "
                    "the whole batch. Use a term with one value per row (of the penalties 'l1', 'l2' or "
                    "'contractive'), declare a term of your own that is a mean with "
                    "sklearn_ae.objectives.terms.mean_over_rows, or fit in one process"
                )


def _check_total(module: Autoencoder, phase: Phase, whole: Minibatch, own: Minibatch, ranks: Ranks) -> None:
    """Raise unless gradients, terms and buffers of a phase come out of the shares as of the whole batch."""
    moved = [*phase.parameters(module).values()]
    found = Contribution.of(module, phase, moved, own)
    total = Total(found)
    total.put(found)
    ranks.add_up(total.flat)
    of_whole, (terms, _, buffers) = gradients(module, phase, moved, whole.rows, whole.draws[phase.name])
    updated = total.value.buffers(module, phase)
    expected = dict(enumerate(of_whole)) | terms | buffers
    got = dict(enumerate(total.value.gradients)) | total.value.terms | updated
    scale = max([1.0, *(float(tensor.abs().max()) for tensor in expected.values() if tensor.numel())])
    differing = [
        name if isinstance(name, str) else "a gradient"
        for name in {**expected, **got}
        if name not in expected or name not in got or not _close(got[name], expected[name], scale)
    ]
    if differing:
        raise ValueError(
            "the loss of a batch must be the mean over its rows if processes share a batch, got other values from "
            f"shares than from the whole batch: {', '.join(dict.fromkeys(differing))}. Terms and layers must not look "
            "at other rows, and buffers need batch_sums and buffers_after of their likelihood. Or fit in one process"
        )


def _close(a: Tensor, b: Tensor, scale: float) -> bool:
    return a.shape == b.shape and bool(((a - b).abs() <= PRECISE * (scale + b.abs())).all())
