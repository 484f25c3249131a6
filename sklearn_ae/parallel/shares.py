"""A share of the tasks of a search: how it travels to a worker, and how the worker runs it."""

import pickle
import traceback
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, cast

import cloudpickle
import numpy as np

from sklearn_ae.estimators.parameters import VARIES_IN_STACK, marked, meaning
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.parallel.board import Board, Reported
from sklearn_ae.parallel.conductor import Conductor, Outcome, Task
from sklearn_ae.training.loop import DRIVER
from sklearn_ae.training.progress import Progress

LARGE = 1 << 16  # bytes of a buffer that travels by itself, once for all shares


class MappedFile(NamedTuple):
    """A buffer in a file of this machine."""

    path: Path


class Report(NamedTuple):
    """What a worker returns."""

    results: list[Any]
    counts: Counter[str]  # fits that were trained "together" and "alone"
    n_epochs: int


# Where the share is made


def packed(tasks: Sequence[Task], how: Any, store: Callable[[memoryview], Any]) -> tuple[bytes, list[Any]]:
    """Pickle tasks.

    Parameters
    ----------
    tasks : sequence of callables
        The tasks.
    how : object
        What else the worker needs.
    store : callable
        ``(buffer) -> stored``: takes a large buffer, and returns what the worker gets instead.

    Returns
    -------
    share : bytes
        The tasks without large buffers.
    stored : list
        What stands for the buffers.
    """
    stored = []

    def keep_in_share(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE:
            return True
        stored.append(store(raw))
        return False

    share = cloudpickle.dumps((list(tasks), how), protocol=5, buffer_callback=keep_in_share)
    return share, stored


def kind_of(task: Task) -> Hashable:
    """Return a key that is equal for tasks whose fits can probably be trained as one stack.

    It is made of the parameters of the first estimator in the arguments of the task, without those that may differ in a
    stack. A candidate of a search is a mapping of some of these parameters.
    """
    given = [value for _, args, kwargs in getattr(task, "items", ()) for value in (*args, *kwargs.values())]
    settings: dict[str, Any] = {}
    for estimator in islice(filter(_is_estimator, given), 1):
        settings.update(_settings("", estimator))
    for candidate in given:
        if isinstance(candidate, Mapping) and candidate.keys() <= settings.keys():
            for name, value in candidate.items():
                settings.update(_settings(name, value) if _is_estimator(value) else {name: value})
    return frozenset((name, _meaning(value)) for name, value in settings.items() if not _varies(name, settings))


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _settings(name: str, estimator: Any) -> Iterator[tuple[str, Any]]:
    yield name, estimator
    for parameter, value in estimator.get_params(deep=True).items():
        yield f"{name}__{parameter}" if name else parameter, value


def _varies(name: str, settings: Mapping[str, Any]) -> bool:
    prefix, _, parameter = name.rpartition("__")
    owner = settings.get(prefix)
    return isinstance(owner, AutoencoderState) and parameter in marked(type(owner), VARIES_IN_STACK)


def _meaning(value: Any) -> Hashable:
    if isinstance(value, list | tuple):  # may contain estimators, as the steps of a pipeline do
        return tuple(map(_meaning, value))
    if _is_estimator(value):
        return cast(Hashable, type(value))
    return meaning(value)


# Where it is run


def run_share(share: bytes, *stored: Any) -> bytes:
    """Run a share of tasks, and return a pickled report, or a pickled error."""
    report: Report | BaseException
    try:
        tasks, how = pickle.loads(share, buffers=map(_opened, stored))
        report = how.run(tasks)
    except BaseException as error:
        error.add_note("On a worker:\n" + "".join(traceback.format_exception(error)))
        report = error
    try:
        return cloudpickle.dumps(report)
    except Exception as error:
        return cloudpickle.dumps(RuntimeError(f"results and errors must be picklable, got {error!r}"))


def _opened(stored: Any) -> Any:
    if isinstance(stored, MappedFile):
        return np.memmap(stored.path, np.uint8, mode="r")
    return stored


class InStacks(NamedTuple):
    """Train the fits of tasks in stacks."""

    n_cores: int | None
    board: Board | None

    def run(self, tasks: Sequence[Task]) -> Report:
        """Run tasks; the first error of one ends the others."""
        progress = Progress() if self.board is None else Reported(self.board)
        conductor = Conductor(len(tasks), progress, self.n_cores)
        try:
            results = [*_results(tasks, conductor)]
        finally:
            conductor.end()
        return Report(results, progress.counts, progress.n_expected)


def _results(tasks: Sequence[Task], conductor: Conductor) -> Iterator[Any]:
    outcomes: list[Outcome] = [(None, None)] * len(tasks)
    ended: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
    for k, task in enumerate(tasks):
        conductor.submit(task, partial(_note, ended, k))
    with conductor.submitter_waits():
        for _ in tasks:
            k, outcomes[k] = _next(ended, conductor)
            if error := outcomes[k][1]:
                raise error
    return (result for result, _ in outcomes)


def _note(ended: "SimpleQueue[tuple[int, Outcome]]", k: int, outcome: Outcome) -> None:
    ended.put((k, outcome))


def _next(ended: "SimpleQueue[tuple[int, Outcome]]", conductor: Conductor) -> tuple[int, Outcome]:
    while True:
        try:
            return ended.get(timeout=0.5)
        except Empty:
            conductor.progress.check()


class WithoutTraining(NamedTuple):
    """Let every fit of the tasks fail, because the workers that trained them died."""

    reason: str

    def run(self, tasks: Sequence[Task]) -> Report:
        """Run tasks one after another."""

        def fail(nets: object, split: object) -> None:
            raise RuntimeError(self.reason)

        token = DRIVER.set(fail)
        try:
            return Report([task() for task in tasks], Counter(), 0)
        finally:
            DRIVER.reset(token)
