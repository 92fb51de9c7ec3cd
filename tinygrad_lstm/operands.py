"""Bringing operands together: tensors of what is given, one dtype for two, axes that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .context import CONTEXT
from .errors import DTypeError, ShapeError
from .ops import OPS
from .tensor import DEFAULT_DTYPE, Tensor, TensorLike, constant, record
from .wording import describe_inputs

__all__ = [
    "Axis",
    "as_float",
    "as_tensor",
    "axes_of",
    "axis_of",
    "call_of",
    "cast",
    "float_pair",
    "is_operand",
    "pair",
    "same_dtype",
    "unique_axes",
]

Axis = int | Sequence[int] | None


def as_tensor(x: TensorLike, argument: str = "x") -> Tensor:
    if isinstance(x, Tensor):
        return x
    try:
        return Tensor(x)
    except (DTypeError, ShapeError) as error:
        raise type(error)(f"{argument}: {error}") from None


def as_float(x: TensorLike) -> Tensor:
    """`x` as a floating-point tensor; integers become float32."""
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    return x if x._data.dtype.kind == "f" else cast(x, DEFAULT_DTYPE)


def cast(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    if x._data.dtype == dtype:
        return x
    if x.node is None and not x._requires_grad and CONTEXT.get().tracer is None:
        leaf = Tensor(x._data.astype(dtype))
        leaf._name = x._name
        return leaf
    return record(OPS["astype"], (x,), {"dtype": dtype})


def pair(a: TensorLike, b: TensorLike) -> tuple[Tensor, Tensor]:
    """Both operands as tensors of one dtype: numbers are weak, floats win over integers."""
    if isinstance(a, Tensor):
        if not isinstance(b, Tensor):
            b = constant(b, a)
    elif isinstance(b, Tensor):
        a = constant(a, b)
    else:
        a = as_tensor(a)
        b = constant(b, a)
    one, other = a._data.dtype, b._data.dtype
    if one is other or one == other:
        return a, b
    if one.kind == "f" and other.kind != "f":
        return a, cast(b, one)
    if other.kind == "f" and one.kind != "f":
        return cast(a, other), b
    common = np.promote_types(one, other)
    return cast(a, common), cast(b, common)


def float_pair(a: TensorLike, b: TensorLike) -> tuple[Tensor, Tensor]:
    a, b = pair(a, b)
    return (a, b) if a._data.dtype.kind == "f" else (as_float(a), as_float(b))


def same_dtype(tensors: Sequence[TensorLike], op: str) -> tuple[Tensor, ...]:
    """All as tensors of one dtype, to be joined."""
    if not isinstance(tensors, Iterable):
        raise TypeError(f"{op}: expected a sequence of tensors, got {type(tensors).__name__}")
    parts = [as_tensor(x, f"{op}: tensors[{k}]") for k, x in enumerate(tensors)]
    if not parts:
        raise ShapeError(f"{op}: needs at least one tensor")
    kinds = [p.dtype for p in parts if p.dtype.kind == "f"] or [p.dtype for p in parts]
    common = np.result_type(*kinds)
    return tuple(cast(p, common) for p in parts)


def is_operand(x: object) -> bool:
    return isinstance(x, Tensor | np.ndarray | np.generic | bool | int | float | list | tuple)


def call_of(op: str, *tensors: Tensor) -> str:
    """`op in scope: name shape`, which every error begins with."""
    return describe_inputs(op, tensors, CONTEXT.get())


def axes_of(axis: Axis, x: Tensor, op: str) -> tuple[int, ...]:
    """`axis` as a sorted tuple of non-negative ints; None means all."""
    if axis is None:
        return tuple(range(x.ndim))
    given: Sequence[Any] = axis if isinstance(axis, tuple | list) else (axis,)
    return tuple(sorted(unique_axes(given, x, op)))


def unique_axes(given: Sequence[Any], x: Tensor, op: str) -> tuple[int, ...]:
    axes = tuple(axis_of(k, x, op) for k in given)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{call_of(op, x)}: axis names an axis twice: {tuple(given)}")
    return axes


def axis_of(axis: int | None, x: Tensor, op: str, extra: int = 0) -> int:
    """`axis` of x as a non-negative int; extra: how many axes are about to be added."""
    ndim = x.ndim + extra
    if not isinstance(axis, int | np.integer):
        raise TypeError(f"{call_of(op, x)}: axis must be an integer, got {axis!r}")
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{call_of(op, x)}: axis {axis} is out of range for {ndim} axes")
    return int(axis) % ndim
