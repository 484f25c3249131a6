"""The joblib backend that trains fits in stacks: ``joblib.parallel_config(backend="sklearn_ae")``."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend, register_parallel_backend

from sklearn_ae.parallel.conductor import Callback, Conductor, Outcome, Task
from sklearn_ae.parallel.dealer import Dealer
from sklearn_ae.parallel.workers import workers_of
from sklearn_ae.training.fits import MOST_MODELS
from sklearn_ae.training.progress import Progress
from sklearn_ae.training.ranks import RANKS, Ranks


class StackingBackend(ParallelBackendBase):
    """Runs tasks in threads of this process or of workers, and trains fits with equal signatures as one stack.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Runs the tasks in its worker processes. By default they run in this process.
    **settings
        What joblib gives every backend.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, executor: Executor | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.workers = None if executor is None else workers_of(executor)
        self.uses_threads = self.supports_sharedmem = executor is None
        self.runner: Conductor | Dealer | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of concurrent tasks; a negative ``n_jobs`` asks for the maximum."""
        n_workers = 1 if self.workers is None else self.workers.n_workers
        return n_workers * self._share(n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Prepare for a call of joblib."""
        if isinstance(RANKS.get(), Ranks):
            raise ValueError(
                "the joblib backend 'sklearn_ae' must be used outside of sklearn_ae.distributed, got a call inside it: "
                "leave out one of them, or give the backend an executor with workers on all machines"
            )
        share = self._share(n_jobs)
        if share == 1 and self.workers is None:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        progress = Progress(shown=bool(getattr(parallel, "verbose", 0)))
        self.runner = Conductor(share, progress) if self.workers is None else Dealer(self.workers, share, progress)
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Task, callback: Callback = lambda outcome: None) -> None:
        """Run a function, and pass its outcome to the callback."""
        self._get_runner().submit(func, callback)

    def retrieve_result_callback(self, outcome: Outcome) -> Any:
        """Return the result of a function, or raise its exception."""
        result, error = outcome
        if error is not None:
            raise error
        return result

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Wait for results."""
        with self._get_runner().submitter_waits():
            yield

    def terminate(self) -> None:
        """Join the threads of a call."""
        if self.runner is not None:
            self.runner.end()
            self.runner = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Abort all tasks."""
        self.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """Return the backend of nested calls: sequential."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def _share(self, n_jobs: int | None) -> int:
        """Return the most fits that wait for each other in one process."""
        if n_jobs == 0:
            raise ValueError("n_jobs must not be 0, got n_jobs=0")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        return n_jobs if n_jobs > 0 else MOST_MODELS

    def _get_runner(self) -> Conductor | Dealer:
        if self.runner is None:
            raise RuntimeError("the backend must be configured before tasks are submitted")
        return self.runner


register_parallel_backend("sklearn_ae", StackingBackend)
