"""Argument checks that the data functions share.

Every error names the argument, what was seen and what was expected. Knows nothing of any task.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Seed = int | np.random.Generator


def integer(name: str, value: SupportsIndex, minimum: int) -> int:
    """`value` as an int of at least `minimum`; TypeError for other types (bool too)."""
    expected = f"{name} must be an integer of at least {minimum}"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{expected}, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{expected}, got {value!r} of type {type(value).__name__}") from None
    if number < minimum:
        raise ValueError(f"{expected}, got {number}")
    return number


def generator(seed: Seed) -> np.random.Generator:
    """The generator itself, or a new one from an integer; None is refused, so that runs repeat."""
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(
            "seed must be a non-negative integer or a numpy.random.Generator, "
            f"got {seed!r} of type {type(seed).__name__}"
        )
    return np.random.default_rng(integer("seed", seed, 0))


def float_dtype(dtype: DTypeLike | None) -> np.dtype:
    """float32 or float64 as a numpy dtype; TypeError for all else."""
    expected = "dtype must be float32 or float64"
    if dtype is None:  # numpy would read None as float64
        raise TypeError(f"{expected}, got None")
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{expected}, got {dtype!r}") from None
    if found not in (np.float32, np.float64):
        raise TypeError(f"{expected}, got {found}")
    return found


def float_array(
    name: str, value: ArrayLike, *, ndim: int | None = None, dtype: DTypeLike | None = None
) -> NDArray[np.floating]:
    """`value` as finite float32 or float64: `dtype` if given, else its own, else float32."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize not in (1, 2, 4, 8):
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axis, got shape {array.shape}")
    if dtype is not None:
        wanted = float_dtype(dtype)
    elif isinstance(value, (np.ndarray, np.floating)) and array.dtype in (np.float32, np.float64):
        wanted = array.dtype
    else:
        wanted = np.dtype(np.float32)
    with np.errstate(over="ignore"):
        converted = array.astype(wanted, copy=False)
    bad = np.argwhere(~np.isfinite(converted))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name} must be finite in {wanted}, got {array[place]} at index {place} "
            f"({len(bad)} such values)"
        )
    return converted


def same_length(names: Sequence[str], arrays: Sequence[NDArray[np.generic]]) -> int:
    """The length that the first axes of all `arrays` share."""
    for name, array in zip(names, arrays, strict=True):
        if array.ndim == 0:
            raise ValueError(f"{name} must have at least one axis, got a scalar")
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"{name} must have as many samples as {names[0]}, "
                f"{len(arrays[0])}, got {len(array)} (shape {array.shape})"
            )
    return len(arrays[0])
