"""What the training of many fits tells, and what may end it."""

import threading
import warnings
from collections import Counter
from collections.abc import Callable

from tqdm import tqdm


class _Bar(tqdm):
    monitor_interval = 0  # no thread that watches over it


class Progress:
    """Counts and shows what has been done, in any thread.

    Parameters
    ----------
    check : callable, optional
        Called between steps; what it raises ends everything.
    shown : bool, default=False
        Whether there is a bar, on ``sys.stderr``.
    """

    def __init__(self, check: Callable[[], None] = lambda: None, *, shown: bool = False) -> None:
        self.check = check
        self.counts: Counter[str] = Counter()
        self._n_expected = 0
        self._bar = _Bar(total=0, desc="sklearn_ae", unit=" epochs", disable=not shown)
        self._explained: set[str] = set()
        self._lock = threading.Lock()

    def expect(self, n_epochs: int) -> None:
        """More epochs lie ahead."""
        self._n_expected += n_epochs
        self._bar.total = self._n_expected
        self._bar.refresh()

    def ran(self, n_epochs: int) -> None:
        """Epochs lie behind."""
        with self._lock:
            self._bar.update(n_epochs)

    def trained(self, n_fits: int, how: str) -> None:
        """Fits have been trained, ``"together"`` or ``"alone"``."""
        with self._lock:
            self.counts[how] += n_fits
            self._bar.set_postfix(self.counts)

    def explain(self, obstacle: str) -> None:
        """Say, once, why fits are not trained together."""
        with self._lock:
            is_new = obstacle not in self._explained
            self._explained.add(obstacle)
        if is_new:
            warnings.warn(f"{obstacle}. Such fits are trained one after another", RuntimeWarning, stacklevel=2)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
