"""Splits in order of time: what comes later is never trained on. Knows only positions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._checks import integer


class TimeSplit(NamedTuple):
    """Three adjoining slices of a sequence, the past first."""

    train: slice
    validation: slice
    test: slice


def time_split(n: int, *, validation: float, test: float = 0) -> TimeSplit:
    """Slices that cut `n` steps into train, validation and test, in this order, without overlap.

    validation, test: a whole number of steps (int), or a share of `n` in [0, 1) (float, rounded
    to whole steps); 0 leaves the part empty. The rest, at least one step, is for training. The
    slices fit everything that runs along the same time: values, years, characters.
    Raises ValueError when a share rounds to no step at all or nothing is left to train on.
    """
    n = integer("n", n, 1)
    held_out = _steps("validation", validation, n), _steps("test", test, n)
    train = n - sum(held_out)
    if train < 1:
        raise ValueError(
            f"validation and test must leave at least one of the {n} steps for training, "
            f"got {held_out[0]} and {held_out[1]} steps"
        )
    border = train + held_out[0]
    return TimeSplit(slice(0, train), slice(train, border), slice(border, n))


def _steps(name: str, size: float, n: int) -> int:
    if not isinstance(size, (float, np.floating)):
        return integer(name, size, 0)
    if not 0 <= size < 1:
        raise ValueError(f"{name} as a share must lie in [0, 1), got {size}")
    steps = round(float(size) * n)
    if size > 0 and steps == 0:
        raise ValueError(f"{name} must hold at least one step, got {size} of {n} steps")
    return steps
