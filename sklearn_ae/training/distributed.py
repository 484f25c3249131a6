"""One fit on several processes, which a launcher such as torchrun has started."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from math import isfinite
from numbers import Real
from typing import Any

import torch
import torch.distributed as dist

from sklearn_ae.training.agreement import check_same, check_shared
from sklearn_ae.training.loop import DRIVER, Split, train_lone
from sklearn_ae.training.ranks import RANKS, Alone, Ranks

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # of torch.distributed, set by launchers


@contextmanager
def distributed(timeout: float = 600.0) -> Iterator[None]:
    """Train each fit in the context on all processes that a launcher has started.

    Every process runs the same script with the same table. Each batch is divided among the processes, which add up
    their gradients. So the fit is that of one process with the same ``batch_size``, up to rounding, and all processes
    have the same estimator at the end.

    Parameters
    ----------
    timeout : float, default=600.0
        Seconds that a process waits for another one in an exchange. The first exchange is at the begin of the context,
        so they include the time by which the processes reach it at different times.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If no launcher has set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or in a context of this kind or a task of
        the joblib backend ``"sklearn_ae"``. ``fit`` raises it if the processes have different tables, parameters or
        seeds, if a loss is not a mean over rows, and if a batch has fewer rows than there are processes.
    RuntimeError
        If a process does not answer in time, or has ended.

    Examples
    --------
    A launcher sets the variables, for example ``torchrun --nproc-per-node 2 script.py``. Here a process is alone, in a
    process group that was made before.

    >>> import torch.distributed
    >>> from sklearn.datasets import load_wine
    >>> import sklearn_ae
    >>> X, y = load_wine(return_X_y=True)
    >>> torch.distributed.init_process_group(
    ...     "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    ... )
    >>> model = sklearn_ae.RegularizedAutoencoder(max_iter=5, random_state=0)
    >>> with sklearn_ae.distributed(timeout=60):
    ...     model = model.fit(X, y)
    >>> torch.distributed.destroy_process_group()
    >>> model.n_iter_
    5
    """
    if not isinstance(timeout, Real) or isinstance(timeout, bool) or not (isfinite(timeout) and timeout > 0):
        raise ValueError(f"timeout must be a number of seconds above 0, got timeout={timeout!r}")
    _check_not_driven()
    with ExitStack() as stack:
        stack.enter_context(_own_gpu())
        ranks = _joined(float(timeout), stack)
        tokens = RANKS.set(ranks), DRIVER.set(partial(_train, ranks))
        try:
            yield
        finally:
            RANKS.reset(tokens[0])
            DRIVER.reset(tokens[1])


def _check_not_driven() -> None:
    """Raise inside another context, or in a task of the joblib backend."""
    if isinstance(RANKS.get(), Ranks):
        raise ValueError("distributed must be entered once, got a call inside another one: leave out the inner one")
    if DRIVER.get(None) is not None:
        raise ValueError(
            "distributed must not be entered where fits are trained in stacks, got a call in a task of the joblib "
            "backend 'sklearn_ae': use another backend, or let the backend spread the fits (executor=...)"
        )


# The process group


def _joined(timeout: float, stack: ExitStack) -> Ranks:
    """Return the processes of a group that is destroyed with the stack."""
    if not dist.is_available():
        raise ValueError("distributed needs torch with torch.distributed, got a build without it: install another one")
    options: dict[str, Any] = {"backend": _backend(), "timeout": timedelta(seconds=timeout)}
    make: Callable[..., Any] = dist.new_group if dist.is_initialized() else _world
    missing = [name for name in VARIABLES if name not in os.environ]
    if make is _world and missing:
        raise ValueError(
            f"distributed must run in a process of a launcher, got no {', '.join(missing)} in the environment: start "
            "the script with torchrun --nproc-per-node 2 script.py, or make a process group of torch.distributed before"
        )
    try:
        group = make(**options)
    except RuntimeError as error:
        raise RuntimeError(
            f"all processes must begin within timeout={timeout:g} seconds, got: {error}. Start all of them again, and "
            "give a longer timeout if they need different times to get here"
        ) from error
    stack.callback(dist.destroy_process_group, group)
    return Ranks(group, timeout)


def _world(**options: Any) -> Any:
    """Initialize torch's process group of all processes, and return it."""
    dist.init_process_group(**options)
    return dist.group.WORLD


def _backend() -> str:
    """Return what exchanges tensors: gloo, and nccl between GPUs if each process has its own."""
    return "cpu:gloo,cuda:nccl" if _has_own_gpu() and dist.is_nccl_available() else "gloo"


def _has_own_gpu() -> bool:
    if "LOCAL_RANK" not in os.environ:
        return False
    n_here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", 1)))
    return torch.cuda.is_available() and n_here <= torch.cuda.device_count()


@contextmanager
def _own_gpu() -> Iterator[None]:
    """Make the GPU of the process the current one, if there is one for each process of the machine."""
    if not _has_own_gpu():
        yield
        return
    with torch.cuda.device(int(os.environ["LOCAL_RANK"])):
        yield


# The training


def _train(ranks: Ranks, nets: Sequence[Any], split: Split) -> None:
    """Train the nets of a fit on all processes, one after another."""
    for net in nets:
        try:
            check_same(net, split, ranks)
            check_shared(net, net.get_iterator(split.train, training=True), ranks)
            train_lone(net, split)
            for tensor in net.module_.state_dict(keep_vars=True).values():
                ranks.take_first(tensor.detach())
        finally:
            token = RANKS.set(Alone())
            net.renew_step()  # the net keeps nothing of the processes
            RANKS.reset(token)
