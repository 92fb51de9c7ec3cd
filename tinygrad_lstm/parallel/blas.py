"""How many threads NumPy's BLAS library may use, for a while.

Matrices of a small recurrent network are multiplied faster than threads can be woken: on a busy
machine of two cores, two threads take four times as long as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from itertools import product
from threading import Lock, get_ident
from typing import Any, NamedTuple, TypeVar

from . import LIMITED
from .forks import after_fork

__all__ = ["blas_threads", "blas_threads_now", "one_blas_thread", "small_product"]

T = TypeVar("T")


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
    found = next(iter(ThreadpoolController().select(user_api="blas").lib_controllers), None)
    if found is None:
        return None
    get, put = found.get_num_threads, found.set_num_threads
    if found.internal_api == "openblas" and found.threading_layer != "openmp":
        get, put = _functions_of(found.dynlib) or (get, put)
    return _Library(get, put, getattr(found, "architecture", None))


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


class _Limits:
    """Who keeps BLAS to how many threads: calls, to one, and `with` blocks.

    Several Python threads may make such calls, and have such blocks, at once, and end them in any
    order. While there are calls, they have their way; then the block that began last; in the end
    BLAS has as many threads as before them all, unless somebody else has set others.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks: dict[tuple[int, object], int] = {}  # by Python threads
        self._now: int | None = None  # what is set; None without anybody
        self._before = 1

    @contextmanager
    def block(self, count: int) -> Iterator[None]:
        """With up to `count` threads."""
        if (library := _library()) is None:
            yield
            return
        key = get_ident(), object()
        try:
            with self._lock:
                self._blocks[key] = count
                self._set(library)
            yield
        finally:
            with self._lock:
                self._blocks.pop(key, None)
                self._set(library)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """With one thread: others, idle, would go on spinning after it.

        Costs two microseconds. It is no `with` block, for an interrupt as that is left would keep
        its end from running.
        """
        if (library := _library()) is None:
            return function(*arguments)
        call = object()
        try:
            try:
                with self._lock:
                    LIMITED.add(call)
                    self._set(library)
                return function(*arguments)
            finally:
                self._end(call, library)
        except BaseException:
            self._end(call, library)  # again: an interrupt may have come before it was done
            raise

    def _end(self, call: object, library: _Library) -> None:
        """Once more is no harm."""
        with self._lock:
            LIMITED.discard(call)
            self._set(library)

    def _set(self, library: _Library) -> None:
        """What those who are there want."""
        if LIMITED or self._blocks:
            wanted = 1 if LIMITED else next(reversed(self._blocks.values()))
            if self._now is None:
                self._before = library.get_num_threads()
            if wanted != self._now:
                self._now = wanted  # before it is: the end may be next
                library.set_num_threads(wanted)
        elif self._now is not None:
            if library.get_num_threads() == self._now:  # else somebody has set others
                library.set_num_threads(self._before)
            self._now = None

    def renew(self) -> None:
        """For a forked process, where other threads do not go on. The next call sets threads."""
        self._lock = Lock()
        LIMITED.clear()
        own = get_ident()
        self._blocks = {key: count for key, count in self._blocks.items() if key[0] == own}


_limits = _Limits()
after_fork(_limits.renew)
one_blas_thread = _limits.call


def blas_threads(count: int | None) -> AbstractContextManager[None]:
    """Limit NumPy's BLAS to `count` threads in a `with` block; None leaves it as it is.

    Needs threadpoolctl, which the `fast` extra brings; without it nothing is limited.
    """
    return nullcontext() if count is None else _limits.block(count)
