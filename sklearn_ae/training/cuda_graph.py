"""A computation on a GPU that is captured once as a CUDA graph and then replayed in one launch."""

import threading
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_one_capture = threading.Lock()  # a process captures one graph at a time


def record(computation: Callable[[], Result]) -> tuple[Result, Callable[[], object] | None]:
    """Run a computation on the current GPU; return its result and what runs it again, or None if nothing can.

    Parameters
    ----------
    computation : callable
        ``() -> result``, tensors in any nesting. It reads what changes from tensors that stay where they are, and has
        run before, so that all libraries are set up.

    Returns
    -------
    result : object
        What the computation returned. Running it again changes the tensors in it.
    replay : callable or None
        ``() -> anything``, runs the computation again on what its input is by then.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        # Other threads may be at work on the GPU: only this one has to keep from what a capture forbids.
        with _one_capture, torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
            result = computation()
    except RuntimeError as error:
        warnings.warn(
            f"a step that can't be captured as a CUDA graph is not replayed: {error}. It is run as it is "
            "written, which is slower",
            RuntimeWarning,
            stacklevel=2,
        )
        torch.cuda.set_stream(stream)  # a capture that fails leaves its own behind
        return computation(), None
    graph.replay()  # a capture runs nothing
    return result, graph.replay
