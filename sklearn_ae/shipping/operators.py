"""Functions of torch in operators of ONNX, where it has none for them or where common runtimes lack them."""

from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

import torch

SHIFT = 8  # arguments of the gamma function are raised by it, to where the series is exact in single precision


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return functions of onnxscript by the operator of torch that they stand for."""
    return {torch.ops.aten.lgamma.default: _lgamma, torch.ops.aten.gelu.default: _gelu}


def _operators() -> Any:
    from onnxscript import opset18

    return opset18


def _number(value: float, like: Any) -> Any:
    """Return a constant in the dtype of another value."""
    op = _operators()
    return op.CastLike(op.Constant(value_float=value), like)


def _lgamma(self: Any) -> Any:
    """(...) -> (...): the logarithm of the gamma function for z > 0, by Stirling's series (DLMF 5.11.1).

    ``lgamma(z) = lgamma(z + 8) - log(z (z + 1) ... (z + 7))``.
    """
    op = _operators()
    product, shifted = self, op.Add(self, _number(SHIFT, self))
    for step in range(1, SHIFT):
        product = op.Mul(product, op.Add(self, _number(step, self)))
    inverse = op.Reciprocal(shifted)
    square = op.Mul(inverse, inverse)
    series = op.Mul(inverse, op.Sub(_number(1 / 12, self), op.Mul(square, _number(1 / 360, self))))
    below = op.Sub(shifted, _number(0.5 * log(2 * pi), self))
    main = op.Sub(op.Mul(op.Sub(shifted, _number(0.5, self)), op.Log(shifted)), below)
    return op.Sub(op.Add(main, series), op.Log(product))


def _gelu(self: Any, approximate: str = "none") -> Any:
    """(...) -> (...): ``x (1 + erf(x / sqrt(2))) / 2``; onnxruntime has ``erf`` in single precision only."""
    op = _operators()
    error = op.Erf(op.Cast(op.Mul(self, _number(sqrt(0.5), self)), to=1))
    return op.Mul(self, op.Mul(_number(0.5, self), op.Add(_number(1.0, self), op.CastLike(error, self))))
