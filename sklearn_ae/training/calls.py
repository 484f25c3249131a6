"""A recorded call of an operation: the tensors that it reads, writes and creates.

A tensor is identified by the address of its storage. A view has the address of its base.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tag, Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
LIFT = aten.lift_fresh.default

UNDECLARED = {"running_mean", "running_var"}  # batch norm writes these, which its schema does not declare

SHAPE_ONLY = {  # these read the shape of their arguments, not the values
    aten.empty_like,
    aten.full_like,
    aten.new_empty,
    aten.new_empty_strided,
    aten.new_full,
    aten.new_ones,
    aten.new_zeros,
    aten.ones_like,
    aten.zeros_like,
}


@dataclass(frozen=True, eq=False)
class Call:
    """An operation, its arguments, and the tensors that it returned."""

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]

    @cached_property
    def leaves(self) -> list[Any]:
        """The arguments as a flat list."""
        return list(leaves_of((self.args, self.kwargs)))

    @cached_property
    def arguments(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]

    @cached_property
    def read(self) -> set[int]:
        """Addresses that the results depend on."""
        return set() if self.op is LIFT or self.op.overloadpacket in SHAPE_ONLY else addresses(self.arguments)

    @cached_property
    def changed(self) -> list[Tensor]:
        """Arguments that are changed in place, positional or by keyword, ``out`` included."""
        positions = _changed(self.op)
        if not positions:
            return []
        given = [self.args[k] if k < len(self.args) else self.kwargs.get(name) for k, name in positions]
        return [leaf for leaf in leaves_of(given) if isinstance(leaf, Tensor)]

    @cached_property
    def written(self) -> set[int]:
        """Addresses of the arguments that are changed in place."""
        return addresses(self.changed)

    @cached_property
    def made(self) -> set[int]:
        """Addresses of results that are not those of an argument; a view has none."""
        return addresses(self.results) - addresses(self.arguments)

    def on(self, place: Callable[[Tensor], Tensor]) -> "Call":
        """Return the call with each tensor replaced by ``place(tensor)``."""
        return Call(self.op, mapped(self.args, place), mapped(self.kwargs, place), mapped(self.results, place))


@cache
def _changed(op: OpOverload) -> list[tuple[int, str]]:
    """Return positions and names of the arguments that an operation writes to."""
    if Tag.inplace_view in op.tags:
        return []
    arguments = enumerate(op._schema.arguments)
    return [(k, argument.name) for k, argument in arguments if argument.is_write or argument.name in UNDECLARED]


# Tensors in nested arguments and results


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in any nesting."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def leaves_of(tree: Any) -> Iterator[Any]:
    """Yield the leaves of arguments or results, as pytree does, in a tenth of the time."""
    if isinstance(tree, tuple | list):
        for branch in tree:
            yield from leaves_of(branch)
    elif isinstance(tree, dict):
        yield from leaves_of(tuple(tree.values()))
    else:
        yield tree


def mapped(tree: Any, place: Callable[[Tensor], Tensor]) -> Any:
    """Return the same nesting with each tensor replaced by ``place(tensor)``."""
    if isinstance(tree, Tensor):
        return place(tree)
    if isinstance(tree, tuple | list):
        return type(tree)([mapped(branch, place) for branch in tree])
    if isinstance(tree, dict):
        return {name: mapped(branch, place) for name, branch in tree.items()}
    return tree


def layout(tensor: Tensor) -> tuple[int | torch.SymInt, torch.Size, tuple[int, ...]]:
    """Return offset, size and strides of a tensor within its storage."""
    return tensor.storage_offset(), tensor.size(), tensor.stride()


def address(tensor: Tensor) -> int:
    """Return the address of a tensor's storage."""
    return tensor.untyped_storage().data_ptr()


def addresses(tensors: Iterable[Tensor]) -> set[int]:
    """Return the addresses of the storages of tensors."""
    return {address(tensor) for tensor in tensors}
