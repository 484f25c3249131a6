"""Callbacks of skorch: the one for early stopping, checks, and which callbacks listen to which event."""

from collections.abc import Iterable, Sequence
from typing import Any

from skorch.callbacks import BatchScoring, Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.utils import noop


def early_stopping(monitor: str, patience: int, tol: float, verbose: bool) -> Callback:
    """Return the callback that stops when a validation loss does not improve, and restores the best weights."""
    return EarlyStopping(
        monitor,
        patience=patience,
        threshold=tol,
        threshold_mode="abs",
        load_best=True,
        sink=print if verbose else noop,
    )


def check_callbacks(callbacks: Sequence[Any]) -> Sequence[Any]:
    """Return the callbacks if each is a callback of skorch or a pair of a name and one; raise TypeError otherwise."""
    for entry in callbacks:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(f"callbacks must hold callbacks of skorch, got callbacks={list(callbacks)!r}")
        if issubclass(kind, EpochScoring | BatchScoring):
            raise TypeError(
                f"callbacks must not score rows, because they get encoded rows, got {callback!r}. "
                "Pass X_val to fit, and find the validation losses in history_"
            )
    return callbacks


def listeners(callbacks: Iterable[tuple[str, Callback]], *events: str) -> list[str]:
    """Return the names of the callbacks that handle one of these events."""
    return [name for name, callback in callbacks if any(_listens(callback, event) for event in events)]


def _listens(callback: Callback, event: str) -> bool:
    if isinstance(callback, LRScheduler) and callback.step_every == "epoch" and event == "on_batch_end":
        return False  # its method does nothing then
    return getattr(type(callback), event) is not getattr(Callback, event)
