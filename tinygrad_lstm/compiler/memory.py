"""Memory that is used again: fresh pages cost as much as the arithmetic done on them.

An array handed out here gives its block back when the last view of it is gone; the next array of
about that size takes it. Blocks that nothing uses are kept up to a limit.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from ..parallel.forks import after_fork
from ..tensor import Array

__all__ = ["array", "is_small", "maker", "release", "zeros"]

_SMALL = 1 << 16  # bytes; below, malloc keeps its memory by itself
_MOST = 1 << 29  # bytes kept that nothing uses
_ALIGNED = 64

_free: OrderedDict[int, list[Array]] = OrderedDict()  # size of a block -> blocks
_kept = 0
_lock = Lock()


class _Lease:
    """What an array from here stands on; NumPy holds it until the last view is gone."""

    def __init__(self, block: Array, count: int) -> None:
        self._block = block
        start = block.ctypes.data
        start += -start % _ALIGNED
        self.__array_interface__ = {
            "data": (start, False),
            "shape": (count,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        _give_back(self._block)


def array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array with undefined contents, aligned to 64 bytes."""
    size = math.prod(shape) * dtype.itemsize
    if is_small(size):
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_block(size + _ALIGNED), size)).view(dtype).reshape(shape)


def is_small(size: int) -> bool:
    """Whether malloc keeps so many bytes by itself."""
    return size < _SMALL


def maker(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, zeroed: bool = False
) -> Callable[[], Array]:
    """What makes such arrays, with undefined contents or of zeros, as fast as can be."""
    if is_small(math.prod(shape) * dtype.itemsize):
        return partial(np.zeros if zeroed else np.empty, shape, dtype)
    return partial(zeros if zeroed else array, shape, dtype)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of zeros, aligned to 64 bytes if it is large."""
    made = array(shape, dtype)
    made.fill(0)
    return made


def release() -> None:
    """Let go of all blocks that nothing uses."""
    global _kept
    with _lock:
        _free.clear()
        _kept = 0


@after_fork
def _renew() -> None:
    global _lock
    _lock = Lock()


def _block(size: int) -> Array:
    """A block of at least this size: sizes go in steps of an eighth, so that they meet again."""
    global _kept
    step = 1 << max(12, size.bit_length() - 4)
    size = -(-size // step) * step
    with _lock:
        blocks = _free.get(size)
        if blocks:
            _kept -= size
            return blocks.pop()
    return np.empty(size, np.uint8)


def _give_back(block: Array) -> None:
    """Keep the block; or let it go while the lock is taken, perhaps by this very thread.

    For the garbage collector may call this at any time.
    """
    global _kept
    if _lock.locked():
        return
    with _lock:  # not `acquire`: Ctrl-C right after it would leave the lock taken for good
        _free.setdefault(block.size, []).append(block)
        _free.move_to_end(block.size)
        _kept += block.size
        while _kept > _MOST:
            size, blocks = next(iter(_free.items()))
            if blocks:
                blocks.pop()
                _kept -= size
            if not blocks:
                del _free[size]
