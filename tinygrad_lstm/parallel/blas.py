"""How many threads NumPy's BLAS library may use, for a while.

Matrices of a small recurrent network are multiplied faster than threads can be woken: on a busy
machine of two cores, two threads take four times as long as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from . import LIMITED
from .forks import after_fork

__all__ = ["blas_threads", "blas_threads_now", "one_blas_thread", "small_product"]

T = TypeVar("T")


@contextmanager
def blas_threads(count: int | None) -> Iterator[None]:
    """Limit BLAS to `count` threads in a `with` block; None leaves it as it is.

    Needs threadpoolctl, which the `fast` extra brings; without it nothing is limited.
    """
    if count is None:
        yield
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(count, user_api="blas"):
        yield


class _Library(NamedTuple):
    """NumPy's BLAS library."""

    get_num_threads: Callable[[], int]
    set_num_threads: Callable[[int], object]
    architecture: str | None


@cache
def _library() -> _Library | None:
    """As threadpoolctl finds it; None without either."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    for found in ThreadpoolController().select(user_api="blas").lib_controllers:
        get, put = found.get_num_threads, found.set_num_threads
        if found.internal_api == "openblas" and found.threading_layer != "openmp":
            get, put = _functions_of(found.dynlib) or (get, put)
        return _Library(get, put, getattr(found, "architecture", None))
    return None


def _functions_of(library: Any) -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """OpenBLAS' own, for from 3.8 on threadpoolctl heeds one Python thread at a time only."""
    for before, after in product(("", "scipy_"), ("", "64_", "_64")):
        get, put = (
            getattr(library, f"{before}openblas_{what}_num_threads{after}", None)
            for what in ("get", "set")
        )
        if get is not None and put is not None:
            return get, put
    return None


def blas_threads_now() -> int | None:
    """How many threads NumPy's BLAS library may use, which users set; None where nobody knows."""
    library = _library()
    return None if library is None else library.get_num_threads()


def small_product() -> int:
    """Up to how many multiplications BLAS has products by that need no rearranged copies.

    Of OpenBLAS it is known, for processors with AVX-512. They are the fastest on one thread.
    """
    library = _library()
    known = ("SkylakeX", "Cooperlake", "SapphireRapids")
    return 1_000_000 if library is not None and library.architecture in known else 0


class _OneThread:
    """Calls a function with BLAS on one thread: others, idle, would go on spinning after it.

    Costs two microseconds. Several Python threads may make such calls at once, or one in others.
    It is no `with` block, for an interrupt as that is left would keep its end from running.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_limited = False
        self._before = 1

    def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        if (library := _library()) is None:
            return function(*arguments)
        call = object()
        try:
            try:
                self._begin(call, library)
                return function(*arguments)
            finally:
                self._end(call, library)
        except BaseException:
            self._end(call, library)  # again: an interrupt may have come before it was done
            raise

    def _begin(self, call: object, library: _Library) -> None:
        with self._lock:
            LIMITED.add(call)
            if not self._is_limited:
                self._before = library.get_num_threads()
                self._is_limited = True  # before it is: `_end` may be next
                library.set_num_threads(1)

    def _end(self, call: object, library: _Library) -> None:
        """Once more is no harm."""
        with self._lock:
            LIMITED.discard(call)
            if self._is_limited and not LIMITED:
                if library.get_num_threads() == 1:  # else somebody has set others
                    library.set_num_threads(self._before)
                self._is_limited = False

    def renew(self) -> None:
        """For a forked process: calls of other threads do not go on. The next call sets threads."""
        self._lock = Lock()
        LIMITED.clear()


one_blas_thread = _OneThread()
after_fork(one_blas_thread.renew)
