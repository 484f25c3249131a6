"""Progress of the training of one fit or of many, and the check that may end it."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping

from tqdm.auto import tqdm

from sklearn_ae.warning import warn


class _Bar(tqdm):
    monitor_interval = 0  # no monitoring thread


class Progress:
    """Counts and shows trained epochs and fits; all methods may be called from any thread.

    Parameters
    ----------
    *checks : callables
        ``() -> None``, called between steps; an exception that one raises ends the training of all fits.
    shown : bool, default=False
        Whether to show a progress bar on ``sys.stderr``.
    """

    def __init__(self, *checks: Callable[[], None], shown: bool = False) -> None:
        self.checks = list(checks)
        self.counts: Counter[str] = Counter()
        self.n_expected = 0
        self._bar = _Bar(total=0, desc="sklearn_ae", unit=" epochs", disable=not shown)
        self._explained: set[str] = set()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise an exception if the training must end."""
        for check in self.checks:
            check()

    def expect(self, n_epochs: int) -> None:
        """Add epochs to the expected total."""
        self.n_expected += n_epochs
        self._bar.total = self.n_expected
        self._bar.refresh()

    def ran(self, n_epochs: int) -> None:
        """Count epochs that were run, or that will not be run any more."""
        with self._lock:
            self._bar.update(n_epochs)

    def trained(self, n_fits: int, how: str) -> None:
        """Count fits that were trained ``"together"`` or ``"alone"``."""
        with self._lock:
            self.counts[how] += n_fits
            self._bar.set_postfix(self.counts)

    def show(self, losses: Mapping[str, float]) -> None:
        """Show the losses of the last epoch of a lone fit."""
        self._bar.set_postfix({name: f"{loss:.4g}" for name, loss in losses.items()}, refresh=False)

    def explain(self, obstacle: str) -> None:
        """Warn once why fits are not trained together."""
        with self._lock:
            is_new = obstacle not in self._explained
            self._explained.add(obstacle)
        if is_new:
            warn(f"{obstacle}. Such fits are trained one after another", RuntimeWarning)

    def close(self) -> None:
        """Close the progress bar."""
        self._bar.close()
