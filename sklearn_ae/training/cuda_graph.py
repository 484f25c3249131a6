"""Capture of a computation on a GPU as a CUDA graph, which is replayed in one launch."""

import threading
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_one_capture = threading.Lock()  # a process captures one graph at a time


def record(computation: Callable[[], Result]) -> tuple[Result, Callable[[], object] | None]:
    """Run a computation on the current GPU and return its result, and a function that replays it.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. Its inputs are tensors that stay at their addresses. It has run
        before, so that all libraries are initialised.

    Returns
    -------
    result : object
        The result of the computation. A replay overwrites the tensors in it.
    replay : callable or None
        ``() -> object``, repeats the computation on the current values of its inputs; None if it can't be captured.

    Warns
    -----
    RuntimeWarning
        If the computation can't be captured.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        # Other threads may use the GPU meanwhile: only this thread must avoid what a capture forbids.
        with _one_capture, torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
            result = computation()
    except RuntimeError as error:
        warnings.warn(
            f"a step must be one that a CUDA graph can capture to be replayed, got: {error}. It is not replayed, "
            "which is slower",
            RuntimeWarning,
            stacklevel=2,
        )
        torch.cuda.set_stream(stream)  # a failed capture leaves its own stream current
        return computation(), None
    graph.replay()  # a capture executes nothing
    return result, graph.replay
