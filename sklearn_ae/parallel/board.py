"""What a share has done, and whether to stop: a file that its worker and this process map."""

from pathlib import Path
from typing import Any

import numpy as np

from sklearn_ae.parallel.conductor import Aborted
from sklearn_ae.training.progress import Progress

EXPECTED, RAN, STOP = range(3)


class Board:
    """Three numbers in a file: epochs that are expected, epochs that were run, and whether to stop.

    Parameters
    ----------
    path : Path
        The file, made by :meth:`made`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers: Any = np.memmap(path, np.int64, mode="r+", shape=3)

    @classmethod
    def made(cls, path: Path) -> "Board":
        """Make the file."""
        path.write_bytes(bytes(3 * 8))
        return cls(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: who loads it maps the file."""
        return Board, (self.path,)

    def counts(self) -> tuple[int, int]:
        """Return the epochs that are expected and those that were run."""
        return int(self.numbers[EXPECTED]), int(self.numbers[RAN])

    def stop(self) -> None:
        """Ask the worker to end its share."""
        self.numbers[STOP] = True

    def check(self) -> None:
        """Raise Aborted if the share must end."""
        if self.numbers[STOP]:
            raise Aborted


class Reported(Progress):
    """Progress that is written on a board.

    Parameters
    ----------
    board : Board
        The board.
    """

    def __init__(self, board: Board) -> None:
        super().__init__(board.check)
        self.numbers = board.numbers

    def expect(self, n_epochs: int) -> None:
        """Add epochs to the expected total."""
        super().expect(n_epochs)
        self.numbers[EXPECTED] += n_epochs

    def ran(self, n_epochs: int) -> None:
        """Count epochs that were run, or that will not be run any more."""
        with self._lock:
            self.numbers[RAN] += n_epochs
