"""The workers of an executor: how many there are, how data reach them, and how a broken pool begins again."""

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from joblib import cpu_count

from sklearn_ae.parallel.board import Board
from sklearn_ae.parallel.shares import MappedFile


class Workers:
    """Workers of any executor, which get the data with every share.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        The executor. Its attribute ``num_workers`` or ``_max_workers`` is the number of workers.
    """

    die_together = False  # whether the end of one worker is that of all
    n_cores: int | None = None  # that each worker may use, all of its machine by default

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    @property
    def n_workers(self) -> int:
        """Number of shares that are run at once."""
        n_workers = getattr(self.executor, "num_workers", None) or getattr(self.executor, "_max_workers", None)
        if not n_workers:
            raise TypeError(f"executor must have an attribute num_workers, got {type(self.executor).__name__}")
        return int(n_workers)

    def begin(self) -> None:
        """Prepare for a call."""

    def board(self) -> Board | None:
        """Return the board of a share, if the workers can reach one."""
        return None

    def store(self, buffer: memoryview) -> Any:
        """Return what the workers get instead of a buffer."""
        return np.frombuffer(buffer, np.uint8)

    def submit(self, function: Callable[..., bytes], *args: Any) -> "Future[bytes]":
        """Call a function on a worker."""
        future: Future[bytes] = self.executor.submit(function, *args)
        return future

    def end(self) -> None:
        """Remove what was stored for a call."""


class Processes(Workers):
    """Processes of this machine, which map files that hold the data."""

    die_together = True

    def __init__(self, executor: Any) -> None:
        super().__init__(executor)
        self._given = executor
        self._folder: Path | None = None
        self._n_files = 0

    @property
    def n_cores(self) -> int:  # type: ignore[override]
        """Cores that each worker may use."""
        return max(1, cpu_count() // self.n_workers)

    def begin(self) -> None:
        """Make a folder for the files."""
        self._folder = Path(tempfile.mkdtemp(prefix="sklearn_ae-"))

    def board(self) -> Board:
        """Return the board of a share."""
        return Board.made(self._new_path())

    def store(self, buffer: memoryview) -> MappedFile:
        """Write a buffer to a file."""
        path = self._new_path()
        path.write_bytes(buffer)
        return MappedFile(path)

    def submit(self, function: Callable[..., bytes], *args: Any) -> "Future[bytes]":
        """Call a function on a worker; if a worker died, begin a new pool."""
        try:
            return super().submit(function, *args)
        except BrokenExecutor:
            self._shut_down_own()
            self.executor = renewed(self.executor)
            return super().submit(function, *args)

    def end(self) -> None:
        """Remove the files, and end a pool that was begun here."""
        self._shut_down_own()
        self.executor = self._given
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)  # Windows keeps files that a worker maps
            self._folder = None

    def _new_path(self) -> Path:
        self._n_files += 1
        return cast(Path, self._folder) / str(self._n_files)

    def _shut_down_own(self) -> None:
        if self.executor is not self._given:
            self.executor.shutdown(wait=False)


class LokyProcesses(Processes):
    """Processes of loky, whose pool is shared by the whole program."""

    def _shut_down_own(self) -> None:
        """Leave the pool to the program."""


class DaskWorkers(Workers):
    """Workers of a Dask cluster, to which data are scattered."""

    @property
    def n_workers(self) -> int:
        """Number of shares that are run at once, one a process."""
        if not (threads := self._threads()):
            raise ValueError("executor must have workers, got a Dask client without: call client.wait_for_workers(1)")
        return len(threads)

    @property
    def n_cores(self) -> int:  # type: ignore[override]
        """Cores that each worker may use."""
        return min(self._threads().values())

    def store(self, buffer: memoryview) -> Any:
        """Send a buffer to all workers."""
        data = np.frombuffer(buffer, np.uint8)
        return self.executor._client.scatter(data, broadcast=True, hash=False)

    def submit(self, function: Callable[..., bytes], *args: Any) -> "Future[bytes]":
        """Call a function on a worker."""
        future: Future[bytes] = self.executor.submit(function, *args, pure=False)
        return future

    def _threads(self) -> dict[str, int]:
        threads: dict[str, int] = self.executor._client.nthreads()
        return threads


class RayWorkers(Workers):
    """Workers of a Ray cluster, to which data are put."""

    @property
    def n_cores(self) -> int:  # type: ignore[override]
        """Cores that each worker may use."""
        n_cpus: int = self.executor.num_cpus
        return n_cpus

    def store(self, buffer: memoryview) -> Any:
        """Put a buffer into the memory that the workers of a machine share."""
        return self.executor.put(np.frombuffer(buffer, np.uint8))


def workers_of(executor: Any) -> Workers:
    """Return the workers of an executor."""
    if not isinstance(executor, Executor) or isinstance(executor, ThreadPoolExecutor):
        raise TypeError(
            "executor must be a concurrent.futures.Executor of processes, got "
            f"{type(executor).__name__}: without executor, fits are trained in threads of this process"
        )
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(executor).__mro__]
    found = next((KINDS[name] for name in names if name in KINDS), Workers)
    return found(executor)


KINDS: dict[str, type[Workers]] = {
    "concurrent.futures.process.ProcessPoolExecutor": Processes,
    "loky.process_executor.ProcessPoolExecutor": LokyProcesses,
    "joblib.externals.loky.process_executor.ProcessPoolExecutor": LokyProcesses,
    "distributed.cfexecutor.ClientExecutor": DaskWorkers,
    "sklearn_ae.parallel.ray.RayExecutor": RayWorkers,
}


def renewed(pool: Any) -> Any:
    """Return a pool like a broken one."""
    if hasattr(pool, "get_reusable_executor"):  # of loky
        return pool.get_reusable_executor(max_workers=pool._max_workers)[0]
    begins = {"initializer": pool._initializer, "initargs": pool._initargs}
    if hasattr(pool, "_mp_context"):
        begins["max_tasks_per_child"] = pool._max_tasks_per_child
        return type(pool)(pool._max_workers, pool._mp_context, **begins)
    return type(pool)(pool._max_workers, context=pool._context, env=pool._env, **begins)
