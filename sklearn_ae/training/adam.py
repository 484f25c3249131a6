"""Adam in one operation for all parameters of a model, and for those of several models."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sklearn_ae.modules.autoencoder import own_memory
from sklearn_ae.training.devices import capabilities

STEPS = torch.float32  # dtype of the step count in all kernels, on a GPU whatever dtype they are given


class Workspace(NamedTuple):
    """The tensors that a step reads and writes. They stay at their addresses, so that the step can be replayed."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    n_steps: Tensor  # (p,) steps so far, the same number for each of p parameters
    rate: Tensor  # ()
    places: list[Tensor]  # the gradient of each parameter is copied to its place
    settings: dict[str, float]


class Adam(torch.optim.Adam):
    """Adam with gradients as arguments (Kingma & Ba 2015, algorithm 1).

    During training all parameters are views of one tensor, and so are their gradients and moments, so that one
    operation moves them all. :meth:`separate` gives each its own memory again. The state is that of
    :class:`torch.optim.Adam`.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters that are moved.
    owns_parameters : bool, default=True
        Whether no other optimizer moves any of the parameters. If False, they keep their memory.
    **settings
        Arguments of :class:`torch.optim.Adam`.
    """

    _owns_parameters = True
    _workspace: Workspace | None = None
    _rate: float | None = None  # the value in the workspace

    def __init__(self, parameters: Iterable[nn.Parameter], *, owns_parameters: bool = True, **settings: Any) -> None:
        super().__init__(parameters, fused=True, **settings)
        self._owns_parameters = owns_parameters

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are moved."""
        (group,) = self.param_groups
        return cast(list[nn.Parameter], group["params"])

    @property
    def n_steps(self) -> int:
        """Steps so far."""
        return int(self.state[self.parameters[0]].get("step", 0))

    @property
    def owns_parameters(self) -> bool:
        """Whether no other optimizer moves any of the parameters."""
        return self._owns_parameters

    def step(self, gradients: Sequence[Tensor]) -> None:  # type: ignore[override]
        """Move the parameters; ``gradients`` has one tensor for each."""
        work = self.prepared()
        for place, gradient in zip(work.places, gradients, strict=True):
            place.copy_(gradient)
        work.n_steps.add_(1)
        steps = list(work.n_steps[: len(work.parameters)])
        _fused(work.parameters, work.gradients, work.means, work.squares, steps, work.rate, work.settings)

    def prepared(self) -> Workspace:
        """Return the workspace with the current learning rate; a new one if parameters or settings were replaced."""
        (group,) = self.param_groups
        settings = _settings(group)
        if self._workspace is None or self._workspace.settings != settings or not self._is_in_place():
            self._workspace, self._rate = self._arranged(settings), None
        if group["lr"] != self._rate:
            self._rate = float(group["lr"])
            self._workspace.rate.fill_(self._rate)
        return self._workspace

    @torch.no_grad()
    def move(
        self, values: Sequence[Tensor], means: Sequence[Tensor], squares: Sequence[Tensor], n_steps: Tensor
    ) -> None:
        """Move parameters and state into given memory of a stack, until :meth:`separate` is called."""
        self._opt_called = True  # or torch's schedulers would warn: the steps are those of the stack
        for parameter, value, mean, square in zip(self.parameters, values, means, squares, strict=True):
            state = self.state[parameter]
            value.copy_(parameter)
            mean.copy_(state["exp_avg"])
            square.copy_(state["exp_avg_sq"])
            parameter.data = value
            self.state[parameter] = {"step": n_steps, "exp_avg": mean, "exp_avg_sq": square}
        self._workspace = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state; views of larger tensors are copied, so that copies and files are small."""
        return tree_map(own_memory, super().state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state."""
        super().load_state_dict(state_dict)
        self._workspace = None

    @torch.no_grad()
    def separate(self) -> None:
        """Give each parameter and its state its own memory."""
        self._workspace = None
        for parameter in self.parameters:
            parameter.data = _copy(parameter.data)
            self.state[parameter] = {name: _copy(value) for name, value in self.state[parameter].items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the workspace; a copy makes its own."""
        return {**super().__getstate__(), "_owns_parameters": self._owns_parameters}

    @torch.no_grad()
    def _arranged(self, settings: dict[str, float]) -> Workspace:
        """Return a new workspace, and make parameters and state views of it."""
        arrange = _side_by_side if self._owns_parameters else _unchanged
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
        rate = torch.zeros((), device=device, dtype=capabilities(device).rate_dtype)
        return Workspace(values, gradients, means, squares, n_steps, rate, places, settings)

    def _state(self, name: str, parameter: nn.Parameter) -> Tensor:
        found = self.state[parameter].get(name)
        return torch.zeros_like(parameter) if found is None else found

    def _is_in_place(self) -> bool:
        work = cast(Workspace, self._workspace)
        return self.parameters[0].data_ptr() == work.parameters[0].data_ptr()


class StackedAdam:
    """Adam for K models at once, each with its own learning rate and weight decay (Kingma & Ba 2015, algorithm 1).

    The parameters of each model are a row of one matrix, and so are their moments. The parameters and the state of the
    models' own optimizers become views of these matrices, until :meth:`Adam.separate` is called.

    Parameters
    ----------
    optimizers : sequence of Adam
        The optimizers of the models.
    """

    _decaying: bool | None = None

    def __init__(self, optimizers: Sequence[Adam]) -> None:
        self.optimizers = optimizers
        prepared = [optimizer.prepared() for optimizer in optimizers]
        self.settings = prepared[0].settings | {"weight_decay": 0.0}  # decay is added to the gradients
        self.n_steps = prepared[0].n_steps[0].clone()
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
        """Read rates and weight decays of the models; return whether the operations of a step have changed."""
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
        moved = [self.steps.zero_()]  # from 0, at rate 1: the step itself, which each model scales by its own rate
        _fused(moved, [self.gradients], [self.means], [self.squares], [self.n_steps], 1.0, self.settings)
        self.values.addcmul_(self.steps, self.rates)


def _fused(
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    n_steps: list[Tensor],
    rate: Any,  # a tensor or a number
    settings: dict[str, float],
) -> None:
    """Run the fused kernel of torch, which moves parameters and moments in place."""
    torch._fused_adam_(  # type: ignore[call-overload]
        parameters, gradients, means, squares, [], n_steps, lr=rate, amsgrad=False, maximize=False, **settings
    )


def _settings(group: dict[str, Any]) -> dict[str, float]:
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2, "weight_decay": group["weight_decay"], "eps": group["eps"]}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _side_by_side(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return one tensor with all values, and views of it with the shapes of the tensors."""
    joined = torch.cat([tensor.flatten() for tensor in tensors])
    parts = joined.split([tensor.numel() for tensor in tensors])
    return [joined], [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _unchanged(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    return list(tensors), list(tensors)


def _parts(matrix: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Return views (K, *shape) of a matrix (K, p); matrices are stored with their longer dimension contiguous."""
    parts = []
    for part, shape in zip(matrix.split([shape.numel() for shape in shapes], 1), shapes, strict=True):
        if len(shape) == 2 and shape[0] > shape[1]:
            parts.append(part.unflatten(1, shape[::-1]).mT)
        else:
            parts.append(part.view(len(matrix), *shape))
    return parts
