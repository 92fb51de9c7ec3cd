"""Forward computations on arrays that NumPy has no single stable function for.

Knows only arrays. Results keep the dtype of their input and hold at +-1e4 without a warning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


_ONE_AND_LARGEST_EXPONENT = {
    np.dtype(kind): (np.array(1, kind), np.array(np.floor(np.log(np.finfo(kind).max)), kind))
    for kind in (np.float16, np.float32, np.float64, np.longdouble)
}  # as arrays: NumPy spends longer on converting a Python number than on a small array


def sigmoid(a: Array) -> Array:
    """exp(a) / (exp(a) + 1): exact in the far tail, where it is exp(a) and in the end 0."""
    if a.ndim == 0:
        return sigmoid(a.reshape(1)).reshape(())
    return sigmoid_into(a, np.empty_like(a))


def sigmoid_into(a: Array, out: Array) -> Array:
    """`sigmoid`, written into an array of a's shape."""
    one, limit = _ONE_AND_LARGEST_EXPONENT[a.dtype]
    np.minimum(a, limit, out=out)  # no overflow in exp; np.errstate would double the time
    np.exp(out, out)
    return np.divide(out, np.add(out, one), out)


def relu(a: Array) -> Array:
    """max(a, 0)."""
    return np.maximum(a, 0)


def softplus(a: Array) -> Array:
    """log(1 + exp(a)) = max(a, 0) + log1p(exp(-|a|))."""
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def where(condition: Array, a: Array, b: Array) -> Array:
    """`a` where the condition holds, else `b`."""
    return np.where(condition, a, b)


def astype(a: Array, dtype: np.dtype[Any]) -> Array:
    """`a` in another dtype."""
    return np.asarray(a).astype(dtype)


def within(a: Array, low: float | None, high: float | None) -> Array:
    """Whether `low <= a <= high`."""
    inside = np.ones(np.shape(a), dtype=bool)
    if low is not None:
        inside &= a >= low
    if high is not None:
        inside &= a <= high
    return inside


def clip(a: Array, low: float | None, high: float | None) -> Array:
    """`a` limited to [low, high]."""
    return np.clip(a, low, high)


_WRITTEN_OUT = 1024  # numbers; an op on them is faster than one on a view that repeats them


def broadcast_to(a: Array, shape: tuple[int, ...]) -> Array:
    """`a` repeated to `shape`; written out, which for small arrays costs less than a view."""
    if math.prod(shape) > _WRITTEN_OUT:
        if a.size == 1 and type(a) is np.ndarray:
            return np.ndarray(shape, a.dtype, a, 0, (0,) * len(shape))  # in a tenth of the time
        return np.broadcast_to(a, shape)
    result = np.empty(shape, a.dtype)
    result[...] = a
    return result


def scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `g` added at `index`; repeated indices accumulate."""
    total = np.zeros(shape, dtype=g.dtype)
    add_at(total, g, index)
    return total


def add_at(total: Array, g: Array, index: Any) -> None:
    """Add `g` to `total` at `index`, in place; repeated indices accumulate."""
    if is_basic(index):
        total[index] += g
    else:
        np.add.at(total, index, g)


def is_basic(index: Any) -> bool:
    """Whether no element can be selected twice: only ints, slices, None, Ellipsis, booleans."""
    parts = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(p, np.ndarray) and p.dtype.kind != "b" for p in parts) and (
        sum(isinstance(p, np.ndarray) for p in parts) <= 1
    )


def take(a: Array, indices: Array, axis: int) -> Array:
    """The entries of `a` at integer `indices` along `axis`."""
    return np.take(a, indices, axis=axis)


def add_rows(g: Array, indices: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """The transpose of `take`: zeros of `shape` with each slice of `g` added where it came from."""
    total = np.zeros(shape, dtype=g.dtype)
    add_at_rows(total, g, indices, axis)
    return total


def add_at_rows(total: Array, g: Array, indices: Array, axis: int) -> None:
    """Add each slice of `g` to `total` where `take` found it, in place."""
    if indices.size == 0:
        return
    span = range(axis, axis + indices.ndim)
    rows = np.moveaxis(g, span, range(indices.ndim))
    rows = rows.reshape(indices.size, *rows.shape[indices.ndim :])
    flat = indices.reshape(-1) % total.shape[axis]
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sums = np.add.reduceat(rows[order], starts, axis=0)
    target = np.moveaxis(total, axis, 0)
    target[ordered[starts]] += sums


def logsumexp(a: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """log(sum(exp(a))), shifted by the maximum."""
    top = np.max(a, axis=axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # all -inf: the logarithm of nothing is -inf
        total = np.log(np.sum(np.exp(a - shift), axis=axis, keepdims=True)) + shift
    return total if keepdims else np.squeeze(total, axis=axis)


def softmax(a: Array, axis: tuple[int, ...]) -> Array:
    """exp(a) / sum(exp(a)), shifted by the maximum."""
    e = np.exp(a - np.max(a, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(a: Array, axis: tuple[int, ...]) -> Array:
    """log(softmax(a)) without leaving the logarithm."""
    shifted = a - np.max(a, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
