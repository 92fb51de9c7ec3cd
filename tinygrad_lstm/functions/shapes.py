"""Functions that arrange elements: other axes, other shapes, tensors joined and taken apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..operands import Axis, as_tensor, axes_of, axis_of, call_of, same_dtype, unique_axes
from ..ops import OPS
from ..tensor import Tensor, TensorLike, record

__all__ = [
    "broadcast_to",
    "concatenate",
    "permute",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
    "unsqueeze",
    "unstack",
]

_GETITEM = OPS["getitem"]


def reshape(x: TensorLike, *sizes: Any, shape: int | Sequence[int] | None = None) -> Tensor:
    """x with its elements in another shape, given as sizes or as one sequence.

    One size may be -1. Raises ShapeError where the elements do not fill the shape.
    """
    x = as_tensor(x)
    sizes = _sizes(sizes if shape is None else (shape,))
    unknown = sizes.count(-1)
    known = int(np.prod([n for n in sizes if n != -1]))
    fits = x.size == known if unknown == 0 else known > 0 and x.size % known == 0
    if unknown > 1 or not fits or min(sizes, default=0) < -1:
        raise ShapeError(f"{call_of('reshape', x)}: cannot make {sizes} of {x.size} elements")
    sizes = tuple(x.size // known if n == -1 else n for n in sizes)
    return record(OPS["reshape"], (x,), {"shape": sizes})


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """`reshape(2, 3)` and `reshape((2, 3))` alike."""
    if len(shape) == 1 and isinstance(shape[0], tuple | list | np.ndarray):
        shape = tuple(shape[0])
    return _integers(shape, "shape")


def _integers(given: Any, argument: str) -> tuple[int, ...]:
    many = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(n, int | np.integer) for n in many):
        raise TypeError(f"{argument}: expected integers, got {given!r}")
    return tuple(int(n) for n in many)


def transpose(x: TensorLike, *order: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, given one by one or as one sequence; without any, reversed."""
    x = as_tensor(x)
    given = order if axes is None else (axes,)
    if not given or given == (None,):
        order = tuple(reversed(range(x.ndim)))
    else:
        order = unique_axes(_sizes(given), x, "transpose")
    if len(order) != x.ndim:
        raise ShapeError(f"{call_of('transpose', x)}: {len(order)} axes given for {x.ndim}")
    return record(OPS["transpose"], (x,), {"axes": order})


permute = transpose


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """x with two axes exchanged."""
    x = as_tensor(x)
    one, other = axis_of(axis1, x, "swapaxes"), axis_of(axis2, x, "swapaxes")
    order = list(range(x.ndim))
    order[one], order[other] = order[other], order[one]
    return record(OPS["transpose"], (x,), {"axes": tuple(order)})


def broadcast_to(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """x repeated along new axes and axes of size 1 until it has `shape`."""
    return record(OPS["broadcast_to"], (as_tensor(x),), {"shape": _sizes((shape,))})


def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """x without axes of size 1: all of them, or those named."""
    x = as_tensor(x)
    if axis is None:
        gone = tuple(k for k, n in enumerate(x.shape) if n == 1)
    else:
        gone = axes_of(axis, x, "squeeze")
        if any(x.shape[k] != 1 for k in gone):
            raise ShapeError(f"{call_of('squeeze', x)}: axis {axis} is not of size 1")
    sizes = tuple(n for k, n in enumerate(x.shape) if k not in gone)
    return record(OPS["reshape"], (x,), {"shape": sizes})


def unsqueeze(x: TensorLike, axis: int) -> Tensor:
    """x with a new axis of size 1 at `axis`."""
    x = as_tensor(x)
    at = axis_of(axis, x, "unsqueeze", 1)
    return record(OPS["reshape"], (x,), {"shape": (*x.shape[:at], 1, *x.shape[at:])})


def concatenate(tensors: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """The tensors one after another along an existing axis (laid flat if axis is None)."""
    parts = same_dtype(tensors, "concatenate")
    if axis is None:
        parts, axis = tuple(reshape(part, -1) for part in parts), 0
    at = axis_of(axis, parts[0], "concatenate")
    return record(OPS["concatenate"], parts, {"axis": at})


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new axis."""
    parts = same_dtype(tensors, "stack")
    return record(OPS["stack"], parts, {"axis": axis_of(axis, parts[0], "stack", 1)})


def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """x in pieces along an axis: a number of equal ones, or cut before the given indices.

    Raises ShapeError where the axis does not divide evenly.
    """
    x = as_tensor(x)
    at = axis_of(axis, x, "split")
    size = x.shape[at]
    if isinstance(sections, int | np.integer):
        if sections < 1 or size % sections:
            raise ShapeError(
                f"{call_of('split', x)}: axis {axis} of size {size} does not make {sections} equal "
                "pieces"
            )
        cuts = [k * (size // sections) for k in range(sections + 1)]
    else:
        cuts = [0, *_integers(sections, "split: sections"), size]
    before = (slice(None),) * at
    return tuple(
        record(_GETITEM, (x,), {"index": (*before, slice(start, stop))})
        for start, stop in pairwise(cuts)
    )


def unstack(x: TensorLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis, without that axis."""
    x = as_tensor(x)
    at = axis_of(axis, x, "unstack")
    before = (slice(None),) * at
    return tuple(
        record(_GETITEM, (x,), {"index": (*before, k)}) for k in range(x.shape[at])
    )
