"""Adam, in one operation for all parameters, and for those of several models."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sklearn_ae.modules.autoencoder import own_memory

STEPS = torch.float32  # what all kernels count steps in, on a GPU whatever dtype they are given


class Memory(NamedTuple):
    """What a step reads and writes. It stays where it is, so that a recorded step finds it again."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    n_steps: Tensor  # (p,) so far, the same number for each of p parameters
    rate: Tensor  # ()
    places: list[Tensor]  # where the gradient of each parameter belongs
    settings: dict[str, float]


class Adam(torch.optim.Adam):
    """Adam that is handed its gradients (Kingma & Ba 2015, algorithm 1).

    While it is at work, its parameters lie side by side in memory, and so do their gradients and moments: one operation
    moves them all. :meth:`separate` gives each its own memory again. The state is that of :class:`torch.optim.Adam`.

    Parameters
    ----------
    parameters : iterable of Parameter
        What is moved.
    alone : bool, default=True
        Whether no other optimizer moves one of the parameters. Else they stay where they are.
    **settings
        Arguments of :class:`torch.optim.Adam`.
    """

    _alone = True
    _memory: Memory | None = None
    _rate: float | None = None  # as it is written in the memory

    def __init__(self, parameters: Iterable[nn.Parameter], *, alone: bool = True, **settings: Any) -> None:
        super().__init__(parameters, fused=True, **settings)
        self._alone = alone

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is moved."""
        (group,) = self.param_groups
        return cast(list[nn.Parameter], group["params"])

    @property
    def n_steps(self) -> int:
        """Steps so far."""
        return int(self.state[self.parameters[0]].get("step", 0))

    @property
    def is_alone(self) -> bool:
        """Whether no other optimizer moves one of the parameters."""
        return self._alone

    def step(self, gradients: Sequence[Tensor]) -> None:  # type: ignore[override]
        """Move the parameters; ``gradients`` has one tensor for each."""
        memory = self.prepared()
        for place, gradient in zip(memory.places, gradients, strict=True):
            place.copy_(gradient)
        memory.n_steps.add_(1)
        torch._fused_adam_(
            memory.parameters,
            memory.gradients,
            memory.means,
            memory.squares,
            [],
            list(memory.n_steps[: len(memory.parameters)]),
            lr=memory.rate,
            beta1=memory.settings["beta1"],
            beta2=memory.settings["beta2"],
            weight_decay=memory.settings["weight_decay"],
            eps=memory.settings["eps"],
            amsgrad=False,
            maximize=False,
        )

    def prepared(self) -> Memory:
        """Return the memory of a step, with the learning rate written into it; another one if something has moved."""
        (group,) = self.param_groups
        settings = _settings(group)
        if self._memory is None or self._memory.settings != settings or not self._is_in_place():
            self._memory, self._rate = self._arranged(settings), None
        if group["lr"] != self._rate:
            self._rate = float(group["lr"])
            self._memory.rate.fill_(self._rate)
        return self._memory

    @torch.no_grad()
    def move(
        self, values: Sequence[Tensor], means: Sequence[Tensor], squares: Sequence[Tensor], n_steps: Tensor
    ) -> None:
        """Move parameters and state to where others work on them, until they are separated."""
        self._opt_called = True  # torch's schedulers warn if no step was made, but the steps are made elsewhere
        for parameter, value, mean, square in zip(self.parameters, values, means, squares, strict=True):
            state = self.state[parameter]
            value.copy_(parameter)
            mean.copy_(state["exp_avg"])
            square.copy_(state["exp_avg_sq"])
            parameter.data = value
            self.state[parameter] = {"step": n_steps, "exp_avg": mean, "exp_avg_sq": square}
        self._memory = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state; what is part of larger memory is copied, so that copies are small."""
        return tree_map(own_memory, super().state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        super().load_state_dict(state_dict)
        self._memory = None

    @torch.no_grad()
    def separate(self) -> None:
        """Give every parameter and its state memory of their own."""
        self._memory = None
        for parameter in self.parameters:
            parameter.data = _copy(parameter.data)
            self.state[parameter] = {name: _copy(value) for name, value in self.state[parameter].items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory out: a copy arranges its own."""
        return {**super().__getstate__(), "_alone": self._alone}

    @torch.no_grad()
    def _arranged(self, settings: dict[str, float]) -> Memory:
        arrange = _side_by_side if self._alone else _as_they_are
        parameters = self.parameters
        values, value_of = arrange([parameter.data for parameter in parameters])
        gradients, places = arrange([torch.zeros_like(parameter) for parameter in parameters])
        means, mean_of = arrange([self._state("exp_avg", parameter) for parameter in parameters])
        squares, square_of = arrange([self._state("exp_avg_sq", parameter) for parameter in parameters])
        device = values[0].device
        first = self.state[parameters[0]].get("step", torch.zeros((), dtype=STEPS, device=device))
        n_steps = first.repeat(len(parameters))
        states = zip(n_steps, mean_of, square_of, strict=True)
        for parameter, value, (step, mean, square) in zip(parameters, value_of, states, strict=True):
            parameter.data = value
            self.state[parameter] = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
        # The kernels want the rate in double precision on the CPU, in single precision elsewhere.
        rate = torch.zeros((), device=device, dtype=torch.float64 if device.type == "cpu" else torch.float32)
        return Memory(values, gradients, means, squares, n_steps, rate, places, settings)

    def _state(self, name: str, parameter: nn.Parameter) -> Tensor:
        found = self.state[parameter].get(name)
        return torch.zeros_like(parameter) if found is None else found

    def _is_in_place(self) -> bool:
        memory = cast(Memory, self._memory)
        return self.parameters[0].data_ptr() == memory.parameters[0].data_ptr()


class StackedAdam:
    """Adam for K models at once, each with a rate and a weight decay of its own (Kingma & Ba 2015, algorithm 1).

    The parameters of all models lie in the rows of one matrix, and so do their moments. What the models' own optimizers
    hold become views of it, until :meth:`Adam.separate` takes them out.

    Parameters
    ----------
    optimizers : sequence of Adam
        Those of the models.
    """

    _decaying: bool | None = None

    def __init__(self, optimizers: Sequence[Adam]) -> None:
        self.optimizers = optimizers
        memories = [optimizer.prepared() for optimizer in optimizers]
        self.settings = memories[0].settings
        self.n_steps = memories[0].n_steps[0].clone()
        of_models = [optimizer.parameters for optimizer in optimizers]
        shapes = [parameter.shape for parameter in of_models[0]]
        like = of_models[0][0].detach()
        matrices = like.new_zeros((5, len(optimizers), sum(shape.numel() for shape in shapes)))
        self.values, self.means, self.squares, self.gradients, self.steps = matrices
        self.parameters, means, squares, self.places = (_parts(matrix, shapes) for matrix in matrices[:4])
        self.rates, self.decays = like.new_zeros((2, len(optimizers), 1))
        for k, optimizer in enumerate(optimizers):
            values_k, means_k, squares_k = ([part[k] for part in parts] for parts in (self.parameters, means, squares))
            optimizer.move(values_k, means_k, squares_k, self.n_steps)

    def prepare(self) -> bool:
        """Take over the rates of the models; return whether a step is another computation now."""
        groups = [optimizer.param_groups[0] for optimizer in self.optimizers]
        for target, name in ((self.rates, "lr"), (self.decays, "weight_decay")):
            target.copy_(torch.tensor([[group[name]] for group in groups], dtype=torch.float64, device="cpu"))
        before, self._decaying = self._decaying, any(group["weight_decay"] for group in groups)
        return before is not self._decaying

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters; ``gradients`` has one tensor (K, ...) for each."""
        for place, gradient in zip(self.places, gradients, strict=True):
            place.copy_(gradient)
        if self._decaying:
            self.gradients.addcmul_(self.values, self.decays)
        self.n_steps.add_(1)
        torch._fused_adam_(
            [self.steps.zero_()],
            [self.gradients],
            [self.means],
            [self.squares],
            [],
            [self.n_steps],
            lr=1.0,
            beta1=self.settings["beta1"],
            beta2=self.settings["beta2"],
            weight_decay=0.0,
            eps=self.settings["eps"],
            amsgrad=False,
            maximize=False,
        )
        self.values.addcmul_(self.steps, self.rates)  # a whole step, of which each makes its part


def _settings(group: dict[str, Any]) -> dict[str, float]:
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2, "weight_decay": group["weight_decay"], "eps": group["eps"]}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _side_by_side(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the values in one tensor, and as tensors of the old shapes within it."""
    joined = torch.cat([tensor.flatten() for tensor in tensors])
    parts = joined.split([tensor.numel() for tensor in tensors])
    return [joined], [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _as_they_are(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    return list(tensors), list(tensors)


def _parts(matrix: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """(K, p) -> the tensors (K, *shape) that it holds; matrices lie with their longer side last."""
    parts = []
    for part, shape in zip(matrix.split([shape.numel() for shape in shapes], 1), shapes, strict=True):
        if len(shape) == 2 and shape[0] > shape[1]:
            parts.append(part.unflatten(1, shape[::-1]).mT)
        else:
            parts.append(part.view(len(matrix), *shape))
    return parts
