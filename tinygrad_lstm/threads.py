"""How many threads NumPy's BLAS library may use, for a while.

Matrices of a small recurrent network are multiplied faster than threads can be woken: on a busy
machine of two cores, two threads take four times as long as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["blas_threads"]


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
