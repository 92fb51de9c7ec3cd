"""Products of matrices, on the threads that run loops, once there are any.

BLAS has threads of its own. They go on spinning for tens of milliseconds after a product, on a core
that the next loop needs: an LSTM and a linear layer in turn would take twice as long. So once loops
have used other threads, large products use these too, and BLAS has one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise

import numpy as np

from ..kernels import Array
from .beside import Beside
from .blas import one_blas_thread
from .pool import helping_threads, is_running

__all__ = ["UNTHREADED", "WORTH_SHARING", "dot", "einsum", "matmul", "matmul_into"]

UNTHREADED = 1 << 18  # multiplications of a product that BLAS does on one thread anyway
WORTH_SHARING = 1e7  # multiplications that take long enough to wake another thread for them
_LONG = 10_000  # numbers in vectors whose product BLAS does on several threads


def matmul(a: Array, b: Array) -> Array:
    """a @ b of at least two axes each; `dot` does two matrices with half of matmul's overhead."""
    if a.ndim > b.ndim == 2 and _is_one_matrix(a):
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    if not is_running() or max(a.size * b.shape[-1], b.size * a.shape[-2]) <= UNTHREADED:
        return a.dot(b) if a.ndim == b.ndim == 2 else np.matmul(a, b)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b))
    _multiply(a, b, out)
    return out


def matmul_into(a: Array, b: Array, out: Array) -> None:
    """`matmul`, written into an array."""
    if b.ndim == 2 and _is_one_matrix(a) and _is_one_matrix(out):
        a, out = a.reshape(-1, a.shape[-1]), out.reshape(-1, out.shape[-1])
    if is_running() and out.size * a.shape[-1] > UNTHREADED:
        _multiply(a, b, out)
    else:
        np.matmul(a, b, out)


def dot(a: Array, b: Array) -> float:
    """The product of two vectors."""
    if is_running() and a.size > _LONG:
        with one_blas_thread:
            return float(a.dot(b))
    return float(a.dot(b))


def einsum(*operands: Array, subscripts: str) -> Array:
    """Einstein summation; three or more operands are contracted pairwise, by BLAS if it can."""
    if len(operands) < 3:
        return np.einsum(subscripts, *operands)
    with one_blas_thread if is_running() else nullcontext():
        return np.einsum(subscripts, *operands, optimize=True)


def _multiply(a: Array, b: Array, out: Array) -> None:
    """The product, by as many threads as pay off."""
    most = 2 * out.size * a.shape[-1] // WORTH_SHARING
    count = min(1 + helping_threads(), int(most))
    with one_blas_thread:
        if count < 2:
            np.matmul(a, b, out)
            return
        parts = _parts(a, b, out, count)

        def work(k: int) -> None:
            np.matmul(*parts[k])

        with Beside(work, len(parts) - 1) as beside:
            for k in range(len(parts)):
                beside.add(k)


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


def _is_one_matrix(a: Array) -> bool:
    """Whether several matrices lie such that one product does for a product of each."""
    return a.ndim > 2 and a.flags.c_contiguous and a.size > 0
