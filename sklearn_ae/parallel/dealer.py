"""Deals tasks out to workers, in shares that keep fits of one kind together."""

import pickle
from collections import deque
from collections.abc import Hashable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from math import ceil
from threading import Condition, Thread
from typing import Any

from sklearn_ae.parallel.board import Board
from sklearn_ae.parallel.conductor import Callback, Task
from sklearn_ae.parallel.shares import InStacks, Packer, Report, WithoutTraining, kind_of, run_share
from sklearn_ae.parallel.workers import Workers
from sklearn_ae.training.progress import Progress

SMALL = 32  # tasks of a share below which a stack is slower for each of them
REFRESH = 0.2  # seconds between two looks at the boards
PATIENCE = 10.0  # seconds in which workers that were asked to stop should have stopped


class _Share:
    """Tasks that one worker runs, and what is known of them."""

    def __init__(self, tasks: list[tuple[Task, Callback]]) -> None:
        self.tasks = tasks
        self.deaths: list[BaseException] = []
        self.board: Board | None = None
        self.shown = 0, 0  # epochs that the progress bar counts as expected and as run

    def how(self, workers: Workers) -> InStacks | WithoutTraining:
        """Return how it is to be run: after two deaths without the training of its fits."""
        if len(self.deaths) < 2:
            self.board = workers.board()
            return InStacks(workers.n_cores, self.board)
        self.board = None
        return WithoutTraining(f"workers must survive a fit, but two that trained this one ended: {self.deaths[-1]!r}")

    def end(self, error: BaseException | None, results: list[Any]) -> None:
        """Pass the outcomes to the callbacks."""
        for (_, callback), result in zip(self.tasks, results or [None] * len(self.tasks), strict=True):
            callback((result, error))


class Dealer:
    """Deals tasks out to the workers of an executor.

    A share whose worker died is run again, alone if the death of a worker ends the others. If its worker dies again,
    the tasks are run without training, so that their fits fail.

    Parameters
    ----------
    workers : Workers
        The workers.
    most : int
        Most tasks of a share.
    progress : Progress
        Counts what has been done.
    """

    def __init__(self, workers: Workers, most: int, progress: Progress) -> None:
        self.workers = workers
        self.n_workers = workers.n_workers
        self.most = most
        self.progress = progress
        self._changed = Condition()
        self._pending: dict[Hashable, deque[tuple[Task, Callback]]] = {}
        self._again: deque[_Share] = deque()
        self._running: dict[Future[bytes], _Share] = {}
        self._packer = Packer(workers.store)
        self._all_in = False  # whether the submitter waits for results
        self._over = False
        workers.begin()
        self._thread = Thread(target=self._deal, name="sklearn_ae-dealer", daemon=True)
        self._thread.start()

    def submit(self, task: Task, callback: Callback) -> None:
        """Run a task on a worker, and pass its outcome to the callback."""
        kind = kind_of(task)
        with self._changed:
            self._pending.setdefault(kind, deque()).append((task, callback))

    @contextmanager
    def submitter_waits(self) -> Iterator[None]:
        """Note that the submitting thread waits for results."""
        self._note(all_in=True)
        try:
            yield
        finally:
            self._note(all_in=False)
            self._packer = Packer(self.workers.store)  # the user may change the data before the next call

    def end(self) -> None:
        """Abort all tasks, and wait for workers that can be asked to stop."""
        self._over = True
        self._note(all_in=False)
        self._thread.join()
        self.workers.end()
        self.progress.close()

    def _note(self, *, all_in: bool) -> None:
        with self._changed:
            self._all_in = all_in
            self._changed.notify_all()

    # In the thread that deals. The executor's own threads must not call the executor, and Dask's can't.

    def _deal(self) -> None:
        while not self._over:
            try:
                self._go_on()
            except BaseException as error:  # nobody else would tell those who wait
                self._abort()
                self._end_all(error)
            with self._changed:
                self._changed.wait_for(self._is_due, timeout=REFRESH)
        self._abort()

    def _is_due(self) -> bool:
        return self._over or any(future.done() for future in self._running) or self._may_send()

    def _go_on(self) -> None:
        for future in [future for future in self._running if future.done()]:
            self._conclude(self._running[future], future)
            del self._running[future]
        while self._may_send():
            self._send(self._again.popleft() if self._again else self._next_share())
        for share in self._running.values():
            if share.board is not None:
                self._show(share, *share.board.counts())

    def _may_send(self) -> bool:
        if not self._all_in or not (self._again or self._pending):
            return False
        suspects = [*self._again, *(share for share in self._running.values() if share.deaths)]
        return len(self._running) < (1 if suspects and self.workers.die_together else self.n_workers)

    def _next_share(self) -> _Share:
        """Take tasks of one kind after the other: fewer at the end, so that no worker waits long for another one."""
        with self._changed:
            n_pending = sum(map(len, self._pending.values()))
            n_idle = self.n_workers - len(self._running)
            size = min(self.most, max(ceil(n_pending / self.n_workers), min(SMALL, ceil(n_pending / n_idle))))
            tasks: list[tuple[Task, Callback]] = []
            while self._pending and len(tasks) < size:
                kind = next(iter(self._pending))
                of_kind = self._pending[kind]
                while of_kind and len(tasks) < size:
                    tasks.append(of_kind.popleft())
                if not of_kind:
                    del self._pending[kind]
            return _Share(tasks)

    def _send(self, share: _Share) -> None:
        try:
            packed = self._packer.packed([task for task, _ in share.tasks], share.how(self.workers))
            future = self.workers.submit(run_share, *packed)
        except Exception as error:
            share.end(error, [])
        else:
            self._running[future] = share
            future.add_done_callback(self._wake)

    def _wake(self, future: "Future[bytes]") -> None:
        with self._changed:
            self._changed.notify_all()

    def _conclude(self, share: _Share, future: "Future[bytes]") -> None:
        try:
            report: Report | BaseException = pickle.loads(future.result())
        except BaseException as death:
            self._show(share, 0, 0)
            share.deaths.append(death)
            if len(share.deaths) > 2:
                share.end(death, [])
            else:
                self._again.append(share)
            return
        if isinstance(report, BaseException):
            share.end(report, [])
            return
        self._show(share, report.n_epochs, report.n_epochs)
        for how, n_fits in report.counts.items():
            self.progress.trained(n_fits, how)
        share.end(None, report.results)

    def _show(self, share: _Share, expected: int, ran: int) -> None:
        self.progress.expect(expected - share.shown[0])
        self.progress.ran(ran - share.shown[1])
        share.shown = expected, ran

    def _abort(self) -> None:
        stopped = []
        for future, share in self._running.items():
            if not future.cancel() and share.board is not None:
                share.board.stop()
                stopped.append(future)
        wait(stopped, timeout=PATIENCE)

    def _end_all(self, error: BaseException) -> None:
        shares = [*self._running.values(), *self._again, *(_Share([*of_kind]) for of_kind in self._pending.values())]
        for known in (self._running, self._again, self._pending):
            known.clear()
        for share in shares:
            share.end(error, [])
