"""The ways to run a loop, and which is taken."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from . import numpy_backend
from .program import Loop, Program

__all__ = ["BACKENDS", "Backend", "NotNative", "backend_named"]

BACKENDS = ("numpy", "numba")


class Backend(NamedTuple):
    """How loops are built, and what suits them.

    over_time: do for all steps at once what does not depend on the carry; a native loop does it
    step by step, while the numbers are in the nearest cache.
    """

    name: str
    build: Callable[[Program], Loop]
    over_time: bool


class NotNative(Exception):
    """A step that a backend has no form for; says which op it is."""


_NUMPY = Backend("numpy", numpy_backend.build, True)


@cache
def _has_compiler() -> bool:
    """Whether there is an llvmlite new enough to read untyped pointers: Numba 0.62 brings one."""
    from importlib.metadata import PackageNotFoundError, version  # slow to load

    try:
        release = version("llvmlite")
    except PackageNotFoundError:
        return False
    return tuple(int(part) for part in release.split(".")[:2]) >= (0, 45)


def backend_named(name: str | None) -> Backend:
    """The backend of that name; by default "numba" where it is installed, else "numpy"."""
    if name is None:
        name = "numba" if _has_compiler() else "numpy"
    if name == "numpy":
        return _NUMPY
    if not _has_compiler():
        raise ImportError(
            'backend="numba" needs the compiler that Numba 0.62 or newer brings: '
            "pip install 'tinygrad_lstm[fast]', or take backend=\"numpy\""
        )
    from .native.loop import build

    return Backend("numba", build, False)
