"""Elements by their places: `x[...]`, `take`, `embedding`."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..operands import as_tensor, axis_of, call_of
from ..ops import OPS
from ..tensor import Tensor, TensorLike, record
from .shapes import reshape

__all__ = ["embedding", "take"]

_GETITEM = OPS["getitem"]


def __getitem__(x: Tensor, index: Any) -> Tensor:
    """Basic and integer or boolean array indexing; repeated indices add up their gradients.

    x[k] for a tensor k of integers is `take`: k may then be another at every step of a scan.
    """
    if isinstance(index, Tensor) and index._data.dtype.kind in "iu" and x._data.ndim:
        return take(x, index, 0)
    return record(_GETITEM, (x,), {"index": _plain_index(index)})


def _plain_index(index: Any) -> Any:
    """What NumPy takes, and nothing that may change: it is read again on the way back."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    if isinstance(index, slice):
        bounds = index.start, index.stop, index.step
        return slice(*[None if b is None else operator.index(b) for b in bounds])
    if isinstance(index, Tensor):
        index = index.numpy()
    if isinstance(index, np.ndarray):
        index = index.copy()
    elif isinstance(index, list):
        index = np.array(index, dtype=None if index else np.intp)
    if isinstance(index, np.ndarray) and index.dtype.kind not in "iub":
        raise DTypeError(f"index: must be integers or booleans, got {index.dtype}")
    if isinstance(index, float):
        raise DTypeError(f"index: must be integers, slices or arrays, got {index!r}")
    if isinstance(index, np.ndarray | bool) or not hasattr(index, "__index__"):
        return index
    return operator.index(index)


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """The entries of x at integer indices along an axis (of x laid flat if axis is None).

    Raises DTypeError for indices that are not integers, IndexError for one out of range.
    """
    x = as_tensor(x)
    if axis is None:
        where_to = _indices(indices, x, x.size, "take")
        return record(OPS["take"], (reshape(x, -1), where_to), {"axis": 0})
    at = axis_of(axis, x, "take")
    where_to = _indices(indices, x, x.shape[at], "take")
    return record(OPS["take"], (x, where_to), {"axis": at})


def embedding(indices: TensorLike, weight: TensorLike) -> Tensor:
    """Rows of weight (V, D) at integer indices (...): result (..., D)."""
    weight = as_tensor(weight, "weight")
    if weight.ndim != 2:
        raise ShapeError(f"{call_of('embedding', weight)}: weight must have two axes, (V, D)")
    rows = _indices(indices, weight, weight.shape[0], "embedding")
    return record(OPS["take"], (weight, rows), {"axis": 0})


def _indices(indices: TensorLike, x: Tensor, size: int, op: str) -> Tensor:
    if not isinstance(indices, Tensor):
        array = np.asarray(indices)
        indices = Tensor(array if array.size else array.astype(np.intp))
    if indices._data.dtype.kind not in "iu":
        call = call_of(op, x, indices)
        raise DTypeError(f"{call}: indices must be integers, not {indices.dtype}")
    values = indices._data
    if values.size and not (-size <= values.min() and values.max() < size):
        raise IndexError(
            f"{call_of(op, x, indices)}: indices from {values.min()} to {values.max()} into {size} "
            "entries"
        )
    return indices
