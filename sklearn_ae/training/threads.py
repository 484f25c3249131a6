"""Threads of torch: no more than a computation can feed, in its own thread and only while it runs.

Torch takes as many threads as there are cores. The operations of a small network are over before the threads have met,
and on a busy machine they wait for each other. ``torch.set_num_threads`` is no way out: it changes the whole process.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch
from threadpoolctl import LibController, ThreadpoolController
from torch import nn

SHARE = 1 << 19  # multiplications of an operation that a thread is worth

Setter = Callable[[int], int]


def suited(module: nn.Module, n_rows: int, n_models: int = 1) -> int:
    """Return how many threads the operations of a module can feed, one that is not on the CPU any number."""
    if any(parameter.device.type != "cpu" for parameter in module.parameters()):
        return torch.get_num_threads()
    layers = [layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Linear)]
    return max(1, n_rows * n_models * sum(layers) // (SHARE * max(1, len(layers))))


@contextmanager
def at_most(n: int) -> Iterator[None]:
    """Give torch at most ``n`` threads in this thread, until the context ends; never more than it had."""
    if torch.get_num_threads() <= n:
        yield
        return
    setters = _setters()
    before = [setter(n) for setter in setters]
    try:
        yield
    finally:
        for setter, value in zip(setters, before, strict=True):
            setter(value)


@cache
def _setters() -> list[Setter]:
    """Return what sets the number of threads of each library, for the calling thread, and returns what it was."""
    libraries = ThreadpoolController().lib_controllers  # looks through all libraries: a few ms, once
    openmp = [_openmp(library) for library in libraries if library.user_api == "openmp"]
    # MKL goes by OpenMP, until torch.set_num_threads is called anywhere. It may be a part of torch.
    paths = [library.filepath for library in libraries if library.internal_api == "mkl"]
    paths += map(str, (Path(torch.__file__).parent / "lib").glob("*torch_cpu.*"))
    return openmp + [setter for path in paths for setter in _mkl(path)]


def _openmp(library: LibController) -> Setter:
    def set_threads(n: int) -> int:
        before: int = library.get_num_threads()
        library.set_num_threads(n)
        return before

    return set_threads


def _mkl(path: str) -> list[Setter]:
    with suppress(OSError, AttributeError):
        setter = ctypes.CDLL(path).MKL_Set_Num_Threads_Local  # 0 stands for that of the process
        setter.argtypes, setter.restype = [ctypes.c_int], ctypes.c_int
        return [setter]
    return []
