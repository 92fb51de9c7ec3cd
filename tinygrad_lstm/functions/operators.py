"""What `+`, `-`, `*`, `/`, `**` and `@` do with a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..operands import is_operand, pair
from ..ops import OPS
from ..tensor import Op, Tensor, TensorLike, _wrap, record
from .elementwise import abs, div, neg, pow
from .products import matmul

__all__ = [
    "__abs__",
    "__add__",
    "__matmul__",
    "__mul__",
    "__neg__",
    "__pow__",
    "__radd__",
    "__rmatmul__",
    "__rmul__",
    "__rpow__",
    "__rsub__",
    "__rtruediv__",
    "__sub__",
    "__truediv__",
]

_MATMUL = OPS["matmul"]


def _binary(op: Op, promote: Callable[[Any, Any], tuple[Tensor, Tensor]]) -> tuple[Any, Any]:
    def forward(self: Tensor, other: TensorLike) -> Tensor:
        if isinstance(other, Tensor):
            if other._data.dtype is self._data.dtype:
                return record(op, (self, other))
        elif type(other) is np.ndarray and other.dtype is self._data.dtype:
            return record(op, (self, _wrap(other, None, False)))
        return record(op, promote(self, other)) if is_operand(other) else NotImplemented

    def reflected(self: Tensor, other: TensorLike) -> Tensor:
        return record(op, promote(other, self)) if is_operand(other) else NotImplemented

    return forward, reflected


__add__, __radd__ = _binary(OPS["add"], pair)
__sub__, __rsub__ = _binary(OPS["sub"], pair)
__mul__, __rmul__ = _binary(OPS["mul"], pair)


def __truediv__(self: Tensor, other: TensorLike) -> Tensor:
    return div(self, other) if is_operand(other) else NotImplemented


def __rtruediv__(self: Tensor, other: TensorLike) -> Tensor:
    return div(other, self) if is_operand(other) else NotImplemented


def __pow__(self: Tensor, other: TensorLike) -> Tensor:
    return pow(self, other) if is_operand(other) else NotImplemented


def __rpow__(self: Tensor, other: TensorLike) -> Tensor:
    return pow(other, self) if is_operand(other) else NotImplemented


def __matmul__(self: Tensor, other: TensorLike) -> Tensor:
    if isinstance(other, Tensor):
        one, weight = self._data, other._data
        if one.dtype is weight.dtype and one.ndim >= 2 and weight.ndim >= 2:
            return record(_MATMUL, (self, other))
    return matmul(self, other) if is_operand(other) else NotImplemented


def __rmatmul__(self: Tensor, other: TensorLike) -> Tensor:
    return matmul(other, self) if is_operand(other) else NotImplemented


__neg__ = neg
__abs__ = abs
