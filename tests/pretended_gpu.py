"""A CUDA GPU that is only pretended, so that faults of devices are found where there is none.

Values stay on the CPU. Beside them it is written down which memory would lie on the GPU. What torch would refuse is
refused: an operation on two devices, an array of a tensor on the GPU, a generator of the other device. What would make
the host wait for the GPU is written down. A CUDA graph is captured as operations on memory: meanwhile nothing changes
and nothing may wait, and a replay does the same operations on the same memory, with the numbers of the capture.

It is blind to kernels, streams, the memory that a graph needs, and CUDA's own rules for autocast.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tag, Tensor
from torch._C import _functorch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten

GPU, HOST = "gpu", "host"
ANYWHERE = "anywhere"  # memory that torch itself has made, before it is used with other memory


class RefusedByGpu(RuntimeError):
    """Torch would raise here if there were a GPU."""


# Where memory lies


class Places:
    """Which memory lies on the GPU. A view lies where its base does."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[StorageWeakRef, str, int]] = {}  # the reference keeps the key from being reused

    def of(self, tensor: Tensor) -> str:
        """Return where a tensor lies."""
        return self.of_storage(_plain(tensor).untyped_storage())

    def of_storage(self, storage: Any) -> str:
        """Return where memory lies."""
        found = self._known.get(storage._cdata)
        return HOST if found is None else found[1]

    def put(self, tensor: Tensor, place: str) -> Tensor:
        """Say where a tensor lies, and all that shares its memory; return it."""
        if tensor.layout is torch.strided:
            storage = _plain(tensor).untyped_storage()
            self._known[storage._cdata] = (StorageWeakRef(storage), place, storage.nbytes())
        return tensor

    def bytes_on_gpu(self) -> int:
        """Return how much memory of the GPU is in use."""
        return sum(n for storage, place, n in self._known.values() if place == GPU and not storage.expired())

    def device(self, tensor: Tensor) -> torch.device:
        """Return what the tensor's device would be."""
        return torch.device("cuda", 0) if self.of(tensor) == GPU else torch.device("cpu")


def _plain(tensor: Tensor) -> Tensor:
    """Return what lies below the wrappers of vmap and grad."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor


def _memory(tensor: Tensor) -> int:
    return _plain(tensor).untyped_storage()._cdata


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.layout is torch.strided]


# The GPU


class PretendedGpu:
    """What the modes below have in common.

    Attributes
    ----------
    waits : list of str
        Operations that made the host wait for the GPU, or copied between the two.
    read : list of int
        How many numbers were copied from the GPU to the host, for each copy.
    graphs : list of Graph
        What was captured.
    """

    def __init__(self) -> None:
        self.places = Places()
        self.waits: list[str] = []
        self.read: list[int] = []
        self.graphs: list[Graph] = []
        self._of_thread = threading.local()

    @property
    def capturing(self) -> "Graph | None":
        """The graph that is being captured in this thread."""
        return getattr(self._of_thread, "graph", None)

    @contextmanager
    def capture(self, graph: "Graph", **settings: Any) -> Iterator[None]:
        """Stand in for ``torch.cuda.graph``."""
        self._of_thread.graph = graph
        try:
            yield
            self.graphs.append(graph)
        finally:
            self._of_thread.graph = None
            graph.undo()

    def wait(self, why: object) -> None:
        """Say that the host waits here."""
        if self.capturing is not None:
            raise RefusedByGpu(f"operation not permitted when stream is capturing: {why}")
        self.waits.append(str(why))

    def array(self, tensor: Tensor) -> None:
        """Refuse to make an array of what lies on the GPU."""
        if self.places.of(tensor) == GPU:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def modes(self) -> ExitStack:
        """Return a context in which a thread believes in the GPU."""
        stack = ExitStack()
        stack.enter_context(_Functions(self))
        stack.enter_context(_Operations(self))
        return stack


class Graph:
    """Stands in for ``torch.cuda.CUDAGraph``: operations, on the memory and with the numbers of the capture."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], Any, Any, list[Tensor]]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # memory that a capture must not change, and what was in it
        self._own: dict[int, Tensor] = {}  # memory that is made while the graph is captured

    def prepare(self, func: Any, args: Any, kwargs: Any) -> None:
        """Keep what an operation is about to write, unless the graph has made it."""
        for tensor in _written(func, args, kwargs):
            if _memory(tensor) not in self._own and _memory(tensor) not in self._before:
                whole = torch.empty(0, dtype=torch.uint8).set_(_plain(tensor).untyped_storage())
                self._before[_memory(tensor)] = whole, whole.clone()

    def write_down(self, func: Any, args: Any, kwargs: Any, results: Any, places: Places) -> None:
        """Write an operation down; a number that lies on the host is that of the capture for ever."""

        def held(tensor: Tensor) -> Tensor:
            return tensor.detach() if places.of(tensor) == GPU else tensor.detach().clone()

        given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
        made = [tensor.detach() for tensor in _tensors(results)]
        self._own |= {_memory(tensor): tensor for tensor in made if _memory(tensor) not in given}
        self.calls.append((func, *tree_map_only(Tensor, held, (args, kwargs)), made))

    def undo(self) -> None:
        """Put back what was in memory: a capture runs nothing."""
        with _unseen():
            for whole, before in self._before.values():
                whole.copy_(before)
        self._before.clear()

    @torch.no_grad()
    def replay(self) -> None:
        """Run the operations, and no Python that stood around them."""
        with _unseen():
            for func, args, kwargs, made in self.calls:
                for old, new in zip(made, _tensors(func(*args, **kwargs)), strict=True):
                    if _memory(old) != _memory(new):
                        old.copy_(new)


@contextmanager
def _unseen() -> Iterator[None]:
    """Do something that the modes do not see."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the arguments that an operation writes to."""
    schema = func._schema.arguments
    given = [*zip(schema, args, strict=False), *((a, kwargs[a.name]) for a in schema if a.name in kwargs)]
    return _tensors([value for argument, value in given if argument.is_write])


# What an operation may do

COPIES = {aten.copy_, aten._to_copy, aten.set_}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
TAKE_NUMBERS = {aten.fill_, aten.lerp, aten._fused_adam_, *INDEXED}  # of shape () on the host, as pointwise ones do
WAITING = (Tag.data_dependent_output, Tag.dynamic_output_shape)


class _Operations(TorchDispatchMode):
    """Sees every operation on tensors, those of a backward pass included."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        places, graph = self.gpu.places, self.gpu.capturing
        given = _tensors((args, kwargs))
        on_gpu = any(places.of(tensor) == GPU for tensor in given)
        if func.overloadpacket in COPIES:
            self._check_copy(func, args)
        elif on_gpu:
            self._check_devices(func, args, given)
            self._check_waiting(func, args)
            if func.overloadpacket is aten._fused_adam_:
                _check_adam(args, kwargs, places)
        if graph is not None:
            graph.prepare(func, args, kwargs)
        results = func(*args, **kwargs)
        self._place(given, results, _written(func, args, kwargs), on_gpu)
        if graph is not None and on_gpu:
            graph.write_down(func, args, kwargs, results, places)
        return results

    def _check_copy(self, func: Any, args: Any) -> None:
        places = [self.gpu.places.of(tensor) for tensor in _tensors(args)]
        if {GPU, HOST} <= set(places):
            self.gpu.wait(f"{func} between host and GPU")
            if places[0] == HOST:
                self.gpu.read.append(args[0].numel())

    def _check_devices(self, func: Any, args: Any, given: list[Tensor]) -> None:
        of = self.gpu.places.of
        indices = {id(tensor) for tensor in _tensors(args[1])} if func.overloadpacket in INDEXED else set()
        takes_numbers = Tag.pointwise in func.tags or func.overloadpacket in TAKE_NUMBERS
        for tensor in given:
            if of(tensor) != HOST or (takes_numbers and tensor.ndim == 0):
                continue
            if id(tensor) not in indices:
                raise RefusedByGpu(
                    f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                    f"{func} of {[(tuple(t.shape), of(t)) for t in given]}"
                )
            self.gpu.wait(f"{func} with an index on the host")

    def _check_waiting(self, func: Any, args: Any) -> None:
        if any(tag in func.tags for tag in WAITING):
            by_number = func.overloadpacket in INDEXED and not _has_mask(args[1])
            if not by_number:
                self.gpu.wait(func)

    def _place(self, given: list[Tensor], results: Any, written: list[Tensor], on_gpu: bool) -> None:
        places = self.gpu.places
        known, found = {_memory(tensor) for tensor in given}, {places.of(tensor) for tensor in given}
        place = GPU if on_gpu else HOST if HOST in found else ANYWHERE
        for tensor in _tensors(results):
            if _memory(tensor) not in known:
                places.put(tensor, place)
        for tensor in written:
            if places.of(tensor) == ANYWHERE:
                places.put(tensor, place)


def _has_mask(indices: Any) -> bool:
    return any(tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(indices))


def _check_adam(args: Any, kwargs: Any, places: Places) -> None:
    """Refuse what the kernel takes for single precision without looking at it."""
    numbers = [*args[5], kwargs.get("lr")]
    for number in numbers:
        if isinstance(number, Tensor) and places.of(number) == GPU and number.dtype is not torch.float32:
            raise RefusedByGpu(f"the kernel reads steps and rates as float32, however {number.dtype}")


# What Python asks for

FACTORIES = {
    getattr(torch, name)
    for name in (
        *("empty", "zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "eye", "tensor"),
        *("as_tensor", "linspace", "scalar_tensor", "empty_strided", "tril_indices", "triu_indices"),
    )
}
MADE_LIKE = {
    *(getattr(torch, f"{name}_like") for name in ("empty", "zeros", "ones", "full", "rand", "randn")),
    *(getattr(Tensor, f"new_{name}") for name in ("empty", "zeros", "ones", "full", "tensor", "empty_strided")),
}
READS = {
    *(Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.__index__),
}


class _Functions(TorchFunctionMode):
    """Sees what Python asks of torch: devices are named here."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        places = self.gpu.places
        if func in ANSWERS:
            return ANSWERS[func](places.device(args[0]))
        if func in (Tensor.numpy, Tensor.__array__):
            self.gpu.array(args[0])
        if func in READS and places.of(args[0]) == GPU:
            self.gpu.wait(f"{func.__name__} of a tensor on the GPU")
            self.gpu.read.append(args[0].numel())
        if func is Tensor.__deepcopy__:
            return places.put(func(*args, **kwargs), places.of(args[0]))
        if func is Tensor.to:
            return self._moved(*args, **kwargs)
        if func in (Tensor.cpu, Tensor.cuda):
            return self._to(args[0], HOST if func is Tensor.cpu else GPU)
        if func in MADE_LIKE:
            return self._made(func, places.of(args[0]), args, kwargs)
        if func in FACTORIES:
            given = args[0] if func is torch.as_tensor and isinstance(args[0], Tensor) else None
            return self._made(func, HOST if given is None else places.of(given), args, kwargs)
        return func(*args, **kwargs)

    def _made(self, func: Any, place: str, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """Make a tensor where it is asked for, else in a place."""
        if kwargs.get("device") is not None:
            place = GPU if torch.device(kwargs["device"]).type == "cuda" else HOST
            kwargs["device"] = "cpu"
        if place == GPU and kwargs.get("generator") is not None:
            raise RefusedByGpu("Expected a 'cuda' device type for generator but found 'cpu'")
        if place == GPU and func in (torch.tensor, Tensor.new_tensor):
            self.gpu.wait(f"{func.__name__} copies to the GPU")
        return self.gpu.places.put(func(*args, **kwargs), place)

    def _moved(self, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            return self._to(tensor, self.gpu.places.of(args[0]), args[0].dtype, copy=copy)
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        place = self.gpu.places.of(tensor) if device is None else GPU if device.type == "cuda" else HOST
        return self._to(tensor, place, dtype, copy=copy)

    def _to(self, tensor: Tensor, place: str, dtype: torch.dtype | None = None, *, copy: bool = False) -> Tensor:
        moves = self.gpu.places.of(tensor) != place
        if moves:
            self.gpu.wait("a copy between host and GPU")
            if place == HOST:
                self.gpu.read.append(tensor.numel())
        result = tensor.to(dtype=dtype or tensor.dtype, copy=copy)
        if moves and _memory(result) == _memory(tensor):
            result = result.clone()
        return self.gpu.places.put(result, place) if moves or _memory(result) != _memory(tensor) else result


ANSWERS: dict[Any, Callable[[torch.device], Any]] = {
    Tensor.device.__get__: lambda device: device,
    Tensor.is_cuda.__get__: lambda device: device.type == "cuda",
    Tensor.is_cpu.__get__: lambda device: device.type == "cpu",
    Tensor.get_device: lambda device: 0 if device.type == "cuda" else -1,
}


# Pretending


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Pretend that there is a GPU, in this thread and in all that begin inside the block."""
    gpu = PretendedGpu()
    run = threading.Thread.run

    def believing(thread: threading.Thread) -> None:
        with gpu.modes():
            run(thread)

    def tag(storage: Any) -> str:
        return "cuda:0" if gpu.places.of_storage(storage) == GPU else "cpu"

    with ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **_cuda(gpu)))
        stack.enter_context(mock.patch.object(torch, "autocast", _Autocast))
        stack.enter_context(mock.patch.object(torch.serialization, "location_tag", tag))
        stack.enter_context(mock.patch.object(threading.Thread, "run", believing))
        stack.enter_context(gpu.modes())
        yield gpu


def _cuda(gpu: PretendedGpu) -> dict[str, Any]:
    """Return what stands in for parts of ``torch.cuda``, by name."""
    stream = SimpleNamespace()
    return {
        "is_available": lambda: True,
        "device_of": lambda tensor: nullcontext(),
        "CUDAGraph": Graph,
        "graph": gpu.capture,
        "Stream": SimpleNamespace,
        "current_stream": lambda: stream,
        "set_stream": lambda stream: None,
    }


class _Autocast(torch.autocast):
    """Computes on the CPU what is asked of the GPU."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)
