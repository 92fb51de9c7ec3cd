"""From lists and integers to the dense arrays a network reads: one-hot vectors and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._checks import float_dtype, integer


def one_hot(
    indices: ArrayLike, size: int, *, dtype: DTypeLike = np.float32
) -> NDArray[np.floating]:
    """Vectors with a single one, at the place the index names.

    indices: (...), integers in [0, size). Returns (..., size) of `dtype` (float32 or float64).
    Raises TypeError for indices that are not integers, ValueError for one outside the range.
    """
    size = integer("size", size, 1)
    found = np.asarray(indices)
    if found.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {found.dtype}")
    outside = np.argwhere((found < 0) | (found >= size))
    if len(outside):
        place = tuple(int(i) for i in outside[0])
        raise ValueError(f"indices must lie in [0, {size}), got {found[place]} at index {place}")
    vectors = np.zeros((found.size, size), float_dtype(dtype))
    vectors[np.arange(found.size), found.reshape(-1)] = 1
    return vectors.reshape(*found.shape, size)


def pad_sequences(
    sequences: Sequence[ArrayLike],
    *,
    batch_first: bool = False,
    value: float = 0,
    dtype: DTypeLike | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Sequences of unequal length as one array, filled up at the end, and their lengths.

    sequences: B arrays of shapes (T_i, ...) with the same trailing axes, every T_i at least 1.
    Returns padded (T, B, ...), or (B, T, ...) with `batch_first`, T the longest, and lengths (B,)
    int64. The dtype is `dtype` if given, else the common one of the arrays; lists of floats
    count as float32. Raises ValueError for no sequences, an empty one or unlike trailing axes,
    TypeError for data that is not numeric or a `value` which the dtype can't hold.
    """
    if len(sequences) == 0:
        raise ValueError("sequences must hold at least one sequence, got none")
    arrays = [_sequence(i, sequence) for i, sequence in enumerate(sequences)]
    for i, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"sequences[{i}] must have the trailing axes of sequences[0], "
                f"{arrays[0].shape[1:]}, got {array.shape[1:]}"
            )
    wanted = np.result_type(*arrays) if dtype is None else _numeric(dtype)
    for i, array in enumerate(arrays):
        if not np.can_cast(array.dtype, wanted, "same_kind"):
            raise TypeError(
                f"sequences[{i}] must be of a type that dtype {wanted} holds, got {array.dtype}"
            )
    filler = _filler(value, wanted)
    lengths = np.array([len(array) for array in arrays], np.int64)
    padded = np.full((len(arrays), lengths.max(), *arrays[0].shape[1:]), filler, wanted)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return (padded if batch_first else np.ascontiguousarray(padded.swapaxes(0, 1))), lengths


def _sequence(i: int, sequence: ArrayLike) -> NDArray[np.generic]:
    array = np.asarray(sequence)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"sequences[{i}] must hold numbers, got dtype {array.dtype}")
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"sequences[{i}] must have at least one step, got shape {array.shape}")
    if not isinstance(sequence, np.ndarray) and array.dtype == np.float64:
        return array.astype(np.float32)
    return array


def _numeric(dtype: DTypeLike) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be numeric, got {dtype!r}") from None
    if found.kind not in "biuf":
        raise TypeError(f"dtype must be numeric, got {found}")
    return found


def _filler(value: float, dtype: np.dtype) -> NDArray[np.generic]:
    error = TypeError(f"value must be a number that dtype {dtype} can hold, got {value!r}")
    if np.ndim(value) != 0 or not isinstance(value, (int, float, np.number, np.bool_)):
        raise error
    with np.errstate(all="ignore"):
        try:
            filler = np.asarray(value).astype(dtype)
        except (OverflowError, ValueError):
            raise error from None
    # A float may be rounded, an integer must come through whole.
    if dtype.kind != "f" and filler != value:
        raise error
    return filler
