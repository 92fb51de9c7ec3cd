"""Functions along axes: sums, extremes, softmax."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..operands import Axis, as_float, as_tensor, axes_of, axis_of, call_of
from ..ops import OPS
from ..tensor import Tensor, TensorLike, record
from .shapes import reshape

__all__ = ["cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "softmax", "sum", "var"]

def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over an axis, several, or all."""
    return _reduce("sum", x, axis, keepdims)


def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over an axis, several, or all. Raises ShapeError over no elements."""
    return _reduce("mean", as_float(x), axis, keepdims, empty=False)


def var(x: TensorLike, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance: mean squared deviation, divided by n - ddof. Raises ShapeError if n <= ddof."""
    x = as_float(x)
    axes = axes_of(axis, x, "var")
    count = int(np.prod([x.shape[k] for k in axes]))
    if count <= ddof:
        raise ShapeError(f"{call_of('var', x)}: {count} elements along axis {axis} at ddof={ddof}")
    return record(OPS["var"], (x,), {"axis": axes, "ddof": ddof, "keepdims": bool(keepdims)})


def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element; elements that tie share the gradient evenly."""
    return _reduce("max", x, axis, keepdims, empty=False)


def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element; elements that tie share the gradient evenly."""
    return _reduce("min", x, axis, keepdims, empty=False)


def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))), without overflow; -inf over no elements."""
    return _reduce("logsumexp", as_float(x), axis, keepdims)


_ALL_AXES = [tuple(range(ndim)) for ndim in range(65)]  # NumPy's arrays have up to 64


def _reduce(op: str, x: TensorLike, axis: Axis, keepdims: bool, empty: bool = True) -> Tensor:
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    axes = _ALL_AXES[x._data.ndim] if axis is None else axes_of(axis, x, op)
    if not empty and not all(x.shape[k] for k in axes):
        raise ShapeError(f"{call_of(op, x)}: no elements along axis {axis}")
    return record(OPS[op], (x,), {"axis": axes, "keepdims": bool(keepdims)})


def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis."""
    return _along("softmax", x, axis)


def log_softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """log(softmax(x)) along an axis."""
    return _along("log_softmax", x, axis)


def _along(op: str, x: TensorLike, axis: Axis) -> Tensor:
    x = as_float(x)
    axes = axes_of(axis, x, op)
    if not all(x.shape[k] for k in axes):
        raise ShapeError(f"{call_of(op, x)}: no elements along axis {axis}")
    return record(OPS[op], (x,), {"axis": axes})


def cumsum(x: TensorLike, axis: int | None = None) -> Tensor:
    """Running sum along an axis (of x laid flat if axis is None)."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return record(OPS["cumsum"], (x,), {"axis": axis_of(axis, x, "cumsum")})
