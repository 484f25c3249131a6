"""Callbacks of skorch: the one for early stopping, checks, and which callbacks listen to which event."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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


class _Epochs(Callback):
    """Calls functions at the begin and at the end of each epoch; copies and pickles of a net do not."""

    def __init__(self, begin: Callable[[], Callable[[], bool]]) -> None:
        self.begin = begin
        self.end: Callable[[], bool] | None = None

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self.end = self.begin()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if self._end():
            raise KeyboardInterrupt

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        self._end()  # another callback has stopped the training

    def _end(self) -> bool:
        end, self.end = self.end, None
        return end is not None and end()

    def __reduce__(self) -> Any:
        return Callback, ()


@contextmanager
def watched(net: Any, begin: Callable[[], Callable[[], bool]]) -> Iterator[None]:
    """Call ``begin`` before each epoch, and what it returns after the epoch: the training stops if that is True."""
    entry = ("epochs", _Epochs(begin))
    net.callbacks_.append(entry)
    try:
        yield
    finally:
        net.callbacks_.remove(entry)
