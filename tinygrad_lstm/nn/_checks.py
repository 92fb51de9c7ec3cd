"""Checks of constructor arguments that layers share; errors name the argument and what was seen."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..errors import DTypeError

__all__ = ["flag", "float_dtype", "fraction", "size"]


def size(name: str, value: Any) -> int:
    """`value` as a positive int. Raises TypeError, ValueError."""
    expected = f"{name} must be a positive integer, got {value!r}"
    if isinstance(value, bool):
        raise TypeError(expected)
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(expected) from None
    if number < 1:
        raise ValueError(expected)
    return number


def flag(name: str, value: Any) -> bool:
    """`value` as a bool. Raises TypeError: options are often passed by position, in wrong order."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def fraction(name: str, value: float) -> float:
    """`value` as a float in [0, 1). Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")
    return float(value)


def float_dtype(dtype: Any) -> np.dtype[Any]:
    """`dtype` as a floating-point dtype; None means float32. Raises DTypeError."""
    found = np.dtype(np.float32 if dtype is None else dtype)
    if found.kind != "f":
        raise DTypeError(f"dtype must be floating-point, got {found}")
    return found
