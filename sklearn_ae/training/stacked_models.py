"""Models that share memory while they are trained as a stack: how they join it, and how each of them leaves it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_ae.training.adam import StackedAdam
from sklearn_ae.training.net import AutoencoderNet

Tensors = dict[str, Tensor]


class StackedModels:
    """Models of one signature whose parameters, buffers and optimizer states share memory while they are trained.

    :meth:`join` moves them into the memory of the stack, where they stay views of larger tensors. When a model leaves
    the stack, :meth:`release` gives it its own memory.

    Parameters
    ----------
    nets : sequence of AutoencoderNet
        The nets of the models.
    """

    optimizers: dict[str, StackedAdam]
    state: Tensors  # parameters and buffers of the models, (K, ...)

    def __init__(self, nets: Sequence[AutoencoderNet]) -> None:
        self.nets = nets
        self.phases = nets[0].phases
        self.released: set[int] = set()
        self._buffers: list[str] = []  # names of the buffers that are views

    def join(self) -> None:
        """Move the models into the memory of the stack."""
        optimizers = [net.optimizers_by_phase() for net in self.nets]
        self.optimizers = {
            phase.name: StackedAdam([of_model[phase.name] for of_model in optimizers]) for phase in self.phases
        }
        self.state = self._parameters() | self._unmoved() | self._own_buffers()

    def release(self, k: int) -> None:
        """Give parameters, buffers and optimizer states of a model their own memory."""
        net = self.nets[k]
        for name in self._buffers:
            _set_buffer(net.module_, name, net.module_.get_buffer(name).clone(memory_format=torch.contiguous_format))
        net.step_.end()
        self.released.add(k)

    def release_all(self) -> None:
        """Release the models that are still part of the stack."""
        for k in range(len(self.nets)):
            if k not in self.released:
                self.release(k)

    def _parameters(self) -> Tensors:
        """Return the parameters that the optimizers move, by name."""
        return {
            name: tensor
            for phase in self.phases
            for name, tensor in zip(
                phase.parameters(self.nets[0].module_), self.optimizers[phase.name].parameters, strict=True
            )
        }

    def _unmoved(self) -> Tensors:
        """Stack copies of the parameters that no phase moves: they differ between models all the same."""
        modules = [net.module_ for net in self.nets]
        moved = {name for phase in self.phases for name in phase.parameters(modules[0])}
        return {
            name: torch.stack([module.get_parameter(name).detach() for module in modules])
            for name, _ in modules[0].named_parameters()
            if name not in moved
        }

    def _own_buffers(self) -> Tensors:
        """Stack the buffers that are learned or differ between models; buffers that are equal stay where they are."""
        modules, stacked = [net.module_ for net in self.nets], {}
        for name, buffer in modules[0].named_buffers():
            of_models = [module.get_buffer(name) for module in modules]
            if name in modules[0].state_dict() or not all(torch.equal(buffer, other) for other in of_models):
                stacked[name] = torch.stack(of_models)
                self._buffers.append(name)
                for module, value in zip(modules, stacked[name], strict=True):
                    _set_buffer(module, name, value)
        return stacked


def _set_buffer(module: nn.Module, name: str, value: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, value)
