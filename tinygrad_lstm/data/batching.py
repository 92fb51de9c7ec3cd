"""Mini-batches: the samples of some arrays in seeded random order, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import Seed, generator, integer, same_length


def batches(
    *arrays: NDArray[np.generic],
    batch_size: int,
    seed: Seed | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Iterator[tuple[NDArray[Any], ...]]:
    """One pass over the samples, as tuples with one batch per array.

    arrays: each (N, ...), the same N. Every batch is a copy of shape (batch_size, ...); the last
    one may be shorter and is left out with `drop_last`. `shuffle` needs a `seed`: an integer
    gives the same order each time, a Generator goes on from its state, so that passes differ.
    Raises ValueError for no arrays, no samples, unlike N or a pass without any batch, TypeError
    for a missing seed; all at the call, not at the first batch.
    """
    if not arrays:
        raise ValueError("arrays must hold at least one array, got none")
    batch_size = integer("batch_size", batch_size, 1)
    found = [np.asarray(array) for array in arrays]
    total = same_length([f"arrays[{i}]" for i in range(len(found))], found)
    if total == 0:
        raise ValueError("arrays must hold at least one sample, got none")
    if drop_last and total < batch_size:
        raise ValueError(
            f"batch_size must be at most the {total} samples with drop_last, got {batch_size}"
        )
    if shuffle and seed is None:
        raise TypeError("seed must be an integer or a Generator when shuffle is on, got None")
    order = generator(seed).permutation(total) if seed is not None and shuffle else np.arange(total)
    stop = total - total % batch_size if drop_last else total
    return (
        tuple(array[order[start : start + batch_size]] for array in found)
        for start in range(0, stop, batch_size)
    )
