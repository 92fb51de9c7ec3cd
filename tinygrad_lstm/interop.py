"""What NumPy's own functions do with a Tensor: record where the table has the op.

`np.exp(t)`, `np.sum(t, axis=0)`, `array + t` and `array > t` give Tensors. Tests of single values,
such as `np.isnan(t)`, give plain arrays. Any other function of NumPy sees the values as an array; a
ufunc without an op here is an error unless all are integers or booleans, for its result would look
differentiable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import functions as F
from .comparisons import are_flags, compare
from .errors import DTypeError
from .tensor import Tensor

__all__ = ["call_function", "call_ufunc"]

UFUNCS: dict[np.ufunc, Callable[..., Tensor]] = {
    np.add: F.add,
    np.subtract: F.sub,
    np.multiply: F.mul,
    np.true_divide: F.div,
    np.power: F.pow,
    np.negative: F.neg,
    np.matmul: F.matmul,
    np.maximum: F.maximum,
    np.minimum: F.minimum,
    np.exp: F.exp,
    np.log: F.log,
    np.sqrt: F.sqrt,
    np.absolute: F.abs,
    np.sin: F.sin,
    np.cos: F.cos,
    np.tanh: F.tanh,
    np.square: lambda x: F.mul(x, x),
}

_COMPARISONS = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)
_KINDS = (np.isnan, np.isinf, np.isfinite, np.signbit)
_LOGIC = (np.logical_not, np.logical_and, np.logical_or, np.logical_xor)
_BITWISE = (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert)
TESTS = frozenset((*_COMPARISONS, *_KINDS, *_LOGIC))
"""Ufuncs that give booleans, through which nothing could be differentiated anyway."""

FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: F.sum,
    np.mean: F.mean,
    np.var: F.var,
    np.max: F.max,
    np.min: F.min,
    np.amax: F.max,
    np.amin: F.min,
    np.cumsum: F.cumsum,
    np.clip: F.clip,
    np.where: F.where,
    np.reshape: F.reshape,
    np.transpose: F.transpose,
    np.permute_dims: F.permute,
    np.swapaxes: F.swapaxes,
    np.broadcast_to: F.broadcast_to,
    np.squeeze: F.squeeze,
    np.expand_dims: F.unsqueeze,
    np.concatenate: F.concatenate,
    np.stack: F.stack,
    np.split: F.split,
    np.take: F.take,
    np.einsum: F.einsum,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
}


def call_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`Tensor.__array_ufunc__`. Raises DTypeError for a ufunc that has no op here."""
    if isinstance(mask := kwargs.get("where"), Tensor):
        return getattr(ufunc, method)(*inputs, **{**kwargs, "where": mask.numpy()})
    recorded = UFUNCS.get(ufunc)
    outputs = kwargs.get("out", ())
    if any(isinstance(out, Tensor) for out in outputs):
        return NotImplemented  # a tensor is a value: nothing writes into one
    if method == "__call__":
        if recorded is not None and not kwargs:
            return recorded(*inputs)
        if not kwargs and (ufunc in TESTS or (ufunc in _BITWISE and are_flags(*inputs))):
            return compare(ufunc, *inputs)
    if (method == "__call__" and (outputs or ufunc in TESTS)) or _are_whole(inputs):
        arrays = [x.numpy() if isinstance(x, Tensor) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)
    form = "" if method == "__call__" else f".{method}"
    options = f" with {', '.join(kwargs)}" if recorded is not None and kwargs else ""
    raise DTypeError(
        f"numpy.{ufunc.__name__}{form}{options}: no recorded op for a Tensor; call it on .numpy() "
        "if no gradient is needed"
    )


def _are_whole(inputs: tuple[Any, ...]) -> bool:
    return all(x.dtype.kind in "iub" for x in inputs if isinstance(x, Tensor))


def call_function(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`Tensor.__array_function__`. Raises TypeError for options that our function has not."""
    if isinstance(mask := kwargs.get("where"), Tensor):
        return function(*args, **{**kwargs, "where": mask.numpy()})
    recorded = FUNCTIONS.get(function)
    if recorded is not None and not (recorded is F.where and len(args) == 1):
        return recorded(*args, **kwargs)
    return function(*_values(args), **{key: _values(value) for key, value in kwargs.items()})


def _values(given: Any) -> Any:
    if isinstance(given, Tensor):
        return given.numpy()
    if isinstance(given, list | tuple):
        return type(given)(_values(part) for part in given)
    return given
