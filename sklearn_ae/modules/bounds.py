"""Bounds that let gradients through."""

from typing import Any

import torch
from torch import Tensor


class _Within(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, bound: float) -> Tensor:
        return t.clamp(-bound, bound)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def within(t: Tensor, bound: float) -> Tensor:
    """(...) -> (...): the values kept within ``[-bound, bound]``, with the gradient that they have at the bound.

    The gradient of a clamp is 0 beyond it, where nothing would ever come back from.
    """
    return _Within.apply(t, bound)
