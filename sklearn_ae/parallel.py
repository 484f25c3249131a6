"""The joblib backend that trains fits in stacks: ``joblib.parallel_config(backend="sklearn_ae")``.

Every task runs in a thread. A fit that reaches its training waits. When all tasks wait or have ended, those that wait
are trained, fits of one kind as one program; then the tasks go on.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Event, Semaphore, Thread
from typing import Any

from joblib.parallel import (
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    cpu_count,
    register_parallel_backend,
)

from sklearn_ae.training.fits import MOST_MODELS, Fit, first_error, train
from sklearn_ae.training.loop import DRIVER, Split
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.progress import Progress


class Aborted(BaseException):
    """The call was aborted by an interrupt or by an error in another task."""


class _Waiting:
    """A fit that waits in its thread for the training of its nets."""

    def __init__(self, nets: Sequence[AutoencoderNet], split: Split) -> None:
        self.nets = nets
        self.split = split
        self.fits: list[Fit] = []
        self.error: BaseException | None = None
        self.done = Event()


class Conductor:
    """Runs tasks in threads, and trains their fits when all of them wait or have ended.

    Parameters
    ----------
    n_threads : int
        Tasks that run at once.
    shown : bool, default=False
        Whether there is a progress bar.
    """

    def __init__(self, n_threads: int, *, shown: bool = False) -> None:
        self.n_threads = n_threads
        self.progress = Progress(self._check, shown=shown)
        self._changed = Condition()
        self._tasks: deque[Callable[[], object]] = deque()
        self._waiting: list[_Waiting] = []
        self._threads: list[Thread] = []
        self._n_running = 0  # of these threads
        self._busy = 1  # threads that neither wait nor have ended; the one that submits is the first
        self._over = False
        # Threads that compete for the interpreter make each other slow, so few of them run at a time.
        self._turns = Semaphore(max(1, cpu_count() // 2))
        self._trainer = Thread(target=self._train_waiting, name="sklearn_ae-trainer", daemon=True)
        self._trainer.start()

    def submit(self, task: Callable[[], object]) -> None:
        """Run a task when a thread is free."""
        with self._changed:
            if self._over:
                return
            if self._n_running >= self.n_threads:
                self._tasks.append(task)
                return
            thread = Thread(target=self._run, args=(task,), name="sklearn_ae-task", daemon=True)
            self._threads.append(thread)
            self._n_running += 1
            self._busy += 1
        thread.start()

    @contextmanager
    def submitter_waits(self) -> Iterator[None]:
        """Note that the submitting thread waits for results."""
        self._count_busy(-1)
        try:
            yield
        finally:
            self._count_busy(1)

    def end(self) -> None:
        """Abort waiting fits and queued tasks, and join all threads."""
        with self._changed:
            self._over = True
            self._tasks.clear()
            threads = [self._trainer, *self._threads]
            self._changed.notify_all()
        for thread in threads:
            thread.join()
        self.progress.close()

    # In the threads of tasks

    def _run(self, task: Callable[[], object] | None) -> None:
        DRIVER.set(self._wait_for_training)
        while task is not None:
            with self._turns:
                task()
            with self._changed:
                task = self._tasks.popleft() if self._tasks else None
                if task is None:
                    self._n_running -= 1
                    self._busy -= 1
                    self._changed.notify_all()

    def _wait_for_training(self, nets: Sequence[AutoencoderNet], split: Split) -> None:
        waiting = _Waiting(nets, split)
        with self._changed:
            if self._over:
                raise Aborted
            self._waiting.append(waiting)
            self._busy -= 1
            self._changed.notify_all()
        self._turns.release()
        waiting.done.wait()  # who ends the training counts this thread as busy again
        self._turns.acquire()
        if waiting.error is not None:
            raise waiting.error

    def _count_busy(self, change: int) -> None:
        with self._changed:
            self._busy += change
            self._changed.notify_all()

    # In the thread that trains

    def _train_waiting(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or (self._waiting and self._busy == 0))
                waiting, self._waiting = self._waiting, []
                over = self._over
            if over:
                for one in waiting:
                    self._release(one, Aborted())
                return
            self._train(waiting)

    def _train(self, waiting: list[_Waiting]) -> None:
        fits = []
        try:
            for one in waiting:
                one.fits = [Fit(net, one.split) for net in one.nets]
                fits += one.fits
            train(fits, self.progress)
        except BaseException as error:
            for fit in fits:
                fit.abort(error)
            for one in waiting:
                self._release(one, error)
        else:
            for one in waiting:
                self._release(one, first_error(one.fits))

    def _release(self, waiting: _Waiting, error: BaseException | None) -> None:
        waiting.error = error
        with self._changed:
            self._busy += 1
        waiting.done.set()

    def _check(self) -> None:
        if self._over:
            raise Aborted


class StackingBackend(ParallelBackendBase):
    """Runs tasks in threads, and trains fits with equal signatures as one stack."""

    supports_retrieve_callback = True
    uses_threads = True
    supports_sharedmem = True
    default_n_jobs = -1
    conductor: Conductor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of concurrent tasks; a negative ``n_jobs`` asks for the maximum."""
        if n_jobs == 0:
            raise ValueError("n_jobs must not be 0, got n_jobs=0")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        return n_jobs if n_jobs > 0 else MOST_MODELS

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Prepare for a call of joblib."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self.conductor = Conductor(n_jobs, shown=bool(getattr(parallel, "verbose", 0)))
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> None:
        """Run a function in a thread, and pass its outcome to the callback."""

        def task() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = func(), None
            except BaseException as error:
                outcome = None, error
            if callback is not None and not isinstance(outcome[1], Aborted):
                callback(outcome)

        self._conductor().submit(task)

    def retrieve_result_callback(self, outcome: tuple[Any, BaseException | None]) -> Any:
        """Return the result of a function, or raise its exception."""
        result, error = outcome
        if error is not None:
            raise error
        return result

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Wait for results."""
        with self._conductor().submitter_waits():
            yield

    def terminate(self) -> None:
        """Join the threads of a call."""
        if self.conductor is not None:
            self.conductor.end()
            self.conductor = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Abort all tasks."""
        self.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """Return the backend of nested calls: sequential."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def _conductor(self) -> Conductor:
        if self.conductor is None:
            raise RuntimeError("the backend must be configured before tasks are submitted")
        return self.conductor


register_parallel_backend("sklearn_ae", StackingBackend)
