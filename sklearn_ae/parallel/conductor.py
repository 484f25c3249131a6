"""Tasks in threads of this process, whose fits are trained in stacks.

A fit that reaches its training waits. When all tasks wait or have ended, those that wait are trained, fits of one kind
as one program; then the tasks go on.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Condition, Event, Semaphore, Thread
from typing import Any

import torch
from joblib import cpu_count

from sklearn_ae.training import threads
from sklearn_ae.training.fits import Fit, first_error, train
from sklearn_ae.training.loop import DRIVER, Split
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.progress import Progress

Outcome = tuple[Any, BaseException | None]  # the result of a task, or its error
Task = Callable[[], Any]
Callback = Callable[[Outcome], object]


class Aborted(BaseException):
    """The call was aborted by an interrupt or by an error in another task."""


def outcome_of(task: Task) -> Outcome:
    """Run a task, and return its result or its error."""
    try:
        return task(), None
    except BaseException as error:
        return None, error


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
    progress : Progress, optional
        Counts what has been done. Its check is called between steps.
    n_cores : int, optional
        Cores that may be used, all by default.
    """

    def __init__(self, n_threads: int, progress: Progress | None = None, n_cores: int | None = None) -> None:
        self.n_threads = n_threads
        self.n_cores = n_cores
        self.progress = progress or Progress()
        self.progress.checks.append(self._check)
        self._changed = Condition()
        self._tasks: deque[tuple[Task, Callback]] = deque()
        self._waiting: list[_Waiting] = []
        self._threads: list[Thread] = []
        self._n_running = 0  # of these threads
        self._busy = 1  # threads that neither wait nor have ended; the one that submits is the first
        self._over = False
        # Threads that compete for the interpreter make each other slow, so few of them run at a time.
        self._turns = Semaphore(max(1, (n_cores or cpu_count()) // 2))
        self._trainer = Thread(target=self._train_waiting, name="sklearn_ae-trainer", daemon=True)
        # The idle threads of BLAS wait for work at full speed, one for each copy of the library.
        self._limits = ExitStack()
        self._limits.enter_context(threads.blas_at_most(1))
        self._trainer.start()

    def submit(self, task: Task, callback: Callback) -> None:
        """Run a task when a thread is free, and pass its outcome to the callback, unless it is aborted."""
        with self._changed:
            if self._over:
                return
            if self._n_running >= self.n_threads:
                self._tasks.append((task, callback))
                return
            thread = Thread(target=self._run, args=(task, callback), name="sklearn_ae-task", daemon=True)
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
            begun = [self._trainer, *self._threads]
            self._changed.notify_all()
        for thread in begun:
            thread.join()
        self._limits.close()
        self.progress.close()

    # In the threads of tasks

    def _run(self, task: Task, callback: Callback) -> None:
        DRIVER.set(self._wait_for_training)
        with threads.at_most(self.n_cores or torch.get_num_threads()):
            while True:
                with self._turns:
                    outcome = outcome_of(task)
                    if not isinstance(outcome[1], Aborted):
                        callback(outcome)
                with self._changed:
                    if not self._tasks:
                        self._n_running -= 1
                        self._busy -= 1
                        self._changed.notify_all()
                        return
                    task, callback = self._tasks.popleft()

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
            train(fits, self.progress, n_cores=self.n_cores)
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
