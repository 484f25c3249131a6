"""Limits on the number of torch's threads, for the calling thread and for the duration of a computation only.

Torch uses as many threads as there are cores. For the operations of a small network, synchronising the threads takes
longer than the computation, above all on a busy machine. ``torch.set_num_threads`` would change the whole process.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch
from threadpoolctl import LibController, ThreadpoolController
from torch import nn

from sklearn_ae.training.devices import capabilities

SHARE = 1 << 19  # multiplications of an operation that pay for one thread

Setter = Callable[[int], int]


def suited(module: nn.Module, n_rows: int) -> int:
    """Return how many threads pay for the operations of a module; off the CPU, the number stays as it is."""
    if any(not capabilities(parameter.device).is_host for parameter in module.parameters()):
        return torch.get_num_threads()
    layers = [layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Linear)]
    return max(1, n_rows * sum(layers) // (SHARE * max(1, len(layers))))


@contextmanager
def at_most(n: int) -> Iterator[None]:
    """Limit torch to ``n`` threads in the calling thread, within the context; the limit is never raised."""
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


@contextmanager
def blas_at_most(n: int) -> Iterator[None]:
    """Limit the BLAS of NumPy and SciPy to ``n`` threads within the context, in the whole process.

    The limit is never raised. A context that is entered while there is another one changes nothing.
    """
    libraries = ThreadpoolController().select(user_api="blas")
    is_above = any(library.num_threads > n for library in libraries.lib_controllers)
    if not (is_above and _BLAS.acquire(blocking=False)):
        yield
        return
    try:
        with libraries.limit(limits=n):
            yield
    finally:
        _BLAS.release()


_BLAS = threading.Lock()


@cache
def _setters() -> list[Setter]:
    """Return functions that set the number of threads of a library in the calling thread and return the old one."""
    libraries = ThreadpoolController().lib_controllers  # scans all loaded libraries: a few ms, once
    openmp = [_openmp(library) for library in libraries if library.user_api == "openmp"]
    # MKL follows OpenMP until torch.set_num_threads is called anywhere. It may be linked into torch.
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
        setter = ctypes.CDLL(path).MKL_Set_Num_Threads_Local  # 0 means the number of the process
        setter.argtypes, setter.restype = [ctypes.c_int], ctypes.c_int
        return [setter]
    return []
