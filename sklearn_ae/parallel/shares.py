"""A share of the tasks of a search: how it travels to a worker, and how the worker runs it."""

import io
import pickle
import traceback
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import cloudpickle
import numpy as np

from sklearn_ae.estimators.parameters import VARIES_IN_STACK, marked, meaning
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.parallel.board import Board, Reported
from sklearn_ae.parallel.conductor import Conductor, Outcome, Task
from sklearn_ae.training.loop import DRIVER
from sklearn_ae.training.progress import Progress

LARGE = 1 << 16  # bytes of a buffer or table that travels by itself, once for all shares
NOWHERE: Mapping[int, tuple[int, int]] = MappingProxyType({})


class MappedFile(NamedTuple):
    """A buffer in a file of this machine."""

    path: Path


class Report(NamedTuple):
    """What a worker returns."""

    results: list[Any]
    counts: Counter[str]  # fits that were trained "together" and "alone"
    n_epochs: int


# Where the share is made


class Packer:
    """Pickles shares of tasks, in which tables and other large buffers stand for what is stored once for all shares.

    Parameters
    ----------
    store : callable
        ``(buffer) -> stored``: takes a large buffer, and returns what the worker gets instead.
    """

    def __init__(self, store: Callable[[memoryview], Any]) -> None:
        self.store = store
        # With what is known by its address or id goes the object itself: no other one is there as long as it lives.
        self._buffers: dict[tuple[int, int], tuple[memoryview, Any]] = {}
        self._tables: dict[int, tuple[Any, list[Any]]] = {}

    def packed(self, tasks: Sequence[Task], how: Any) -> list[Any]:
        """Return the arguments of ``run_share``: tasks, and how they are run."""
        stored: list[Any] = []
        places: dict[int, tuple[int, int]] = {}
        for table in filter(_is_table, _given(tasks)):
            if id(table) not in places and (parts := self._parts(table)):
                places[id(table)] = len(stored), len(stored) + len(parts)
                stored += parts
        buffers: list[Any] = []
        share = self._pickled((list(tasks), how), buffers, places)
        return [share, len(stored), *stored, *buffers]

    def _parts(self, table: Any) -> list[Any]:
        """Return what is stored of a table, its pickle and buffers; nothing of a small one."""
        if id(table) not in self._tables:
            buffers: list[Any] = []
            data = self._pickled(table, buffers)
            parts = [self.store(memoryview(data)), *buffers] if buffers or len(data) >= LARGE else []
            self._tables[id(table)] = table, parts
        return self._tables[id(table)][1]

    def _pickled(self, value: Any, buffers: list[Any], places: Mapping[int, tuple[int, int]] = NOWHERE) -> bytes:
        def keep_inside(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes >= LARGE:
                buffers.append(self._stored(raw))
            return raw.nbytes < LARGE

        file = io.BytesIO()
        _Pickler(file, places, keep_inside).dump(value)
        return file.getvalue()

    def _stored(self, buffer: memoryview) -> Any:
        key = np.frombuffer(buffer, np.uint8).ctypes.data, buffer.nbytes
        if key not in self._buffers:
            self._buffers[key] = buffer, self.store(buffer)
        return self._buffers[key][1]


class _Pickler(cloudpickle.Pickler):
    """Pickles tables that have a place among the stored ones as this place."""

    def __init__(self, file: io.BytesIO, places: Mapping[int, tuple[int, int]], buffer_callback: Any) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.places = places

    def persistent_id(self, value: Any) -> tuple[int, int] | None:
        return self.places.get(id(value))


def _given(tasks: Sequence[Task]) -> Iterator[Any]:
    """Yield the arguments of the functions that tasks of joblib call."""
    for task in tasks:
        for _, args, kwargs in getattr(task, "items", ()):
            yield from (*args, *kwargs.values())


def _is_table(value: Any) -> bool:
    return hasattr(value, "shape")


def kind_of(task: Task) -> Hashable:
    """Return a key that is equal for tasks whose fits can probably be trained as one stack.

    It is made of the parameters of the first estimator in the arguments of the task, without those that may differ in a
    stack. A candidate of a search is a mapping of some of these parameters.
    """
    given = [*_given([task])]
    settings: dict[str, Any] = {}
    for estimator in islice(filter(_is_estimator, given), 1):
        settings.update(_settings("", estimator))
    for candidate in given:
        if isinstance(candidate, Mapping) and candidate.keys() <= settings.keys():
            for name, value in candidate.items():
                settings.update(_settings(name, value) if _is_estimator(value) else {name: value})
    same = [(name, value) for name, value in settings.items() if not _varies(name, settings)]
    try:
        return frozenset((name, _meaning(value)) for name, value in same)
    except TypeError:  # a value can't be hashed
        return id(task)


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
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.shape, value.dtype.str, hash(value.tobytes())
    if _is_estimator(value):
        return cast(Hashable, type(value))
    return meaning(value)


# Where it is run


def run_share(share: bytes, n_of_tables: int, *stored: Any) -> bytes:
    """Run a share of tasks.

    Parameters
    ----------
    share : bytes
        The tasks and how they are run, pickled without tables and large buffers.
    n_of_tables : int
        How many of the stored parts are those of tables. The others are buffers of the share.
    *stored
        What is stored.

    Returns
    -------
    report : bytes
        The pickled report or error.
    """
    report: Report | BaseException
    try:
        tasks, how = unpacked(share, n_of_tables, *stored)
        report = how.run(tasks)
    except BaseException as error:
        error.add_note("On a worker:\n" + "".join(traceback.format_exception(error)))
        report = error
    try:
        return cloudpickle.dumps(report)
    except Exception as error:
        return cloudpickle.dumps(RuntimeError(f"results and errors must be picklable, got {error!r}"))


def unpacked(share: bytes, n_of_tables: int, *stored: Any) -> tuple[list[Task], Any]:
    """Return the tasks, and how they are run; parameters as for ``run_share``."""
    parts = [_opened(part) for part in stored]
    unpickled: tuple[list[Task], Any] = _Unpickler(io.BytesIO(share), parts[:n_of_tables], parts[n_of_tables:]).load()
    return unpickled


class _Unpickler(pickle.Unpickler):
    """Unpickles a share, and each of its tables once."""

    def __init__(self, file: io.BytesIO, of_tables: Sequence[Any], buffers: Sequence[Any]) -> None:
        super().__init__(file, buffers=buffers)
        self.of_tables = of_tables
        self.tables: dict[tuple[int, int], Any] = {}

    def persistent_load(self, place: tuple[int, int]) -> Any:
        if place not in self.tables:
            data, *buffers = self.of_tables[slice(*place)]
            self.tables[place] = pickle.loads(data, buffers=buffers)
        return self.tables[place]


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
