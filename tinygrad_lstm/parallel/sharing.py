"""A product shared out over the threads that run loops, while BLAS has one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..kernels import Array
from .beside import Beside
from .blas import one_blas_thread
from .pool import helping_threads

__all__ = ["multiply"]


def multiply(a: Array, b: Array, out: Array, most: int) -> None:
    """The product, by up to `most` threads, as many as there are."""
    count = min(1 + helping_threads(), most)
    if count < 2:
        one_blas_thread(np.matmul, a, b, out)
    else:
        one_blas_thread(_multiply_parts, _parts(a, b, out, count))


def _multiply_parts(parts: Sequence[tuple[Array, Array, Array]]) -> None:
    def work(k: int) -> None:
        np.matmul(*parts[k])

    def add_all(beside: Beside) -> None:
        for k in range(len(parts)):
            beside.add(k)

    Beside(work, len(parts) - 1).run(add_all)


def _parts(a: Array, b: Array, out: Array, count: int) -> Sequence[tuple[Array, Array, Array]]:
    """Up to `count` products that together are this one: of some matrices, rows or columns."""
    by_columns = out.ndim == 2 and out.shape[0] < out.shape[1]
    length = out.shape[1] if by_columns else len(out)
    count = min(count, length)
    edges = [length * k // count for k in range(count + 1)]
    cuts = [slice(*edge) for edge in pairwise(edges)]
    if by_columns:
        return [(a, b[:, cut], out[:, cut]) for cut in cuts]
    if out.ndim == 2:
        return [(a[cut], b, out[cut]) for cut in cuts]
    return [(_some(a, out, cut), _some(b, out, cut), out[cut]) for cut in cuts]


def _some(a: Array, out: Array, cut: slice) -> Array:
    """The matrices that a part of the result is made of; what is broadcast serves all."""
    return a[cut] if a.ndim == out.ndim and len(a) == len(out) else a
