"""Bounds with a straight-through gradient."""

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
    """(...) -> (...): values clamped to ``[-bound, bound]``, with the gradient of the identity.

    The gradient of a clamp is 0 beyond the bound, so that a value there would never return.
    """
    return _Within.apply(t, bound)
