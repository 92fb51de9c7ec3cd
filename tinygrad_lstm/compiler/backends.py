"""The ways to run a loop, and which is taken."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..context import calling_level
from ..tensor import Array
from .runner import Runner as NumpyRunner

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["BACKENDS", "Backend", "NotNative", "Runner", "backend_named", "warn_of_numpy"]

BACKENDS = ("numpy", "numba")


class Runner(Protocol):
    """A plan that runs. What it saves only it can read."""

    @property
    def run(self) -> Callable[[Sequence[Array]], tuple[list[Array], Any]]:
        """Outputs (last carries, then all y (T, ...)) from carries, xs (T, ...) and captured.

        And what is kept for the backward pass, None where there is none.
        """
        ...

    @property
    def pull(self) -> Callable[[Any, Sequence[Array | None]], list[Array | None]]:
        """Cotangents of carries, xs and captured from what was kept and those of the outputs.

        In arrays of their own, which share memory with nothing; None where none is wanted.
        """
        ...

    @property
    def threads(self) -> str | None:
        """What other threads do, where the caller has any, in words; None if nothing."""
        ...

    def kept(self, saved: Any) -> list[Array]:
        """The arrays over time that stand behind what a run has saved, each once."""
        ...


class Backend(NamedTuple):
    """How plans are run, and what suits that.

    runner: raises NotNative where there is no form for a step.
    over_time: do for all steps at once what does not depend on the carry; a native loop does it
    step by step, while the numbers are in the nearest cache.
    """

    name: str
    runner: Callable[[Plan], Runner]
    over_time: bool


class NotNative(Exception):
    """A step that a backend has no form for; says which op it is."""


def warn_of_numpy(what: str, error: NotNative) -> None:
    """Say to the user's line that NumPy runs a step, and why."""
    warnings.warn(
        f"{what}: the numba backend has no form for this step ({error}); it runs with numpy. "
        'backend="numpy" says so without this warning',
        RuntimeWarning,
        stacklevel=calling_level(),
    )


_NUMPY = Backend("numpy", NumpyRunner, True)


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
    """The backend of that name; by default "numba" where it is installed, else "numpy".

    Raises ImportError for "numba" where its compiler is missing or broken; by default, a broken one
    is warned of.
    """
    default = name is None
    if default:
        name = "numba" if _has_compiler() else "numpy"
    if name == "numpy":
        return _NUMPY
    if not _has_compiler():
        raise ImportError(
            'backend="numba" needs the compiler that Numba 0.62 or newer brings: '
            "pip install 'tinygrad_lstm[fast]', or take backend=\"numpy\""
        )
    native = _native()
    if isinstance(native, Backend):
        return native
    if default:
        _warn_of_broken(native)
        return _NUMPY
    raise ImportError(f'backend="numba": llvmlite is installed, but {native}')


@cache
def _native() -> Backend | str:
    """The native backend; or why the compiler, which is there, can't be loaded."""
    from importlib import import_module

    try:
        import_module("llvmlite.binding")
    except (ImportError, OSError) as error:
        return f"can't be loaded ({type(error).__name__}: {error})"
    from .native.runner import NativeRunner

    return Backend("numba", NativeRunner, False)


@cache
def _warn_of_broken(problem: str) -> None:
    """Once: it is no matter of a step."""
    warnings.warn(
        f"llvmlite is installed, but {problem}; everything runs with numpy. Reinstall it, with "
        "pip install --force-reinstall llvmlite, or remove it",
        RuntimeWarning,
        stacklevel=calling_level(),
    )
