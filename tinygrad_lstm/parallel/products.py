"""Products of matrices, on the threads that run loops, once there are any.

BLAS has threads of its own. They go on spinning for tens of milliseconds after a product, on a core
that the next loop needs: an LSTM and a linear layer in turn would take twice as long. So once loops
have used other threads, large products use these too, and BLAS has one thread.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..kernels import Array
from . import LIMITED, STARTED
from .blas import one_blas_thread

__all__ = ["UNTHREADED", "WORTH_SHARING", "dot", "einsum", "matmul", "matmul_into"]

UNTHREADED = 1 << 18  # multiplications of a product that BLAS does on one thread anyway
WORTH_SHARING = 10_000_000  # those that take long enough to wake another thread for them
_LONG = 10_000  # numbers in vectors whose product BLAS does on several threads


def matmul(a: Array, b: Array) -> Array:
    """a @ b of at least two axes each; `dot` does two matrices with half of matmul's overhead."""
    if a.ndim > b.ndim == 2 and _is_one_matrix(a):
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    product = a.dot if a.ndim == b.ndim == 2 else partial(np.matmul, a)
    count = max(a.size * b.shape[-1], b.size * a.shape[-2])
    if not _is_shared(count):
        return product(b)
    if count < WORTH_SHARING:
        return one_blas_thread(product, b)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b))
    _share_out(a, b, out)
    return out


def matmul_into(a: Array, b: Array, out: Array) -> None:
    """`matmul`, written into an array."""
    if b.ndim == 2 and _is_one_matrix(a) and _is_one_matrix(out):
        a, out = a.reshape(-1, a.shape[-1]), out.reshape(-1, out.shape[-1])
    if _is_shared(out.size * a.shape[-1]):
        _share_out(a, b, out)
    else:
        np.matmul(a, b, out)


def dot(a: Array, b: Array) -> float:
    """The product of two vectors."""
    if STARTED and a.size > _LONG:
        return float(one_blas_thread(a.dot, b))
    return float(a.dot(b))


def einsum(*operands: Array, subscripts: str) -> Array:
    """Einstein summation; three or more operands are contracted pairwise, by BLAS if it can."""
    if len(operands) < 3:
        return np.einsum(subscripts, *operands)
    contract = partial(np.einsum, subscripts, *operands, optimize=True)
    return one_blas_thread(contract) if STARTED else contract()


def _is_shared(multiplications: int) -> bool:
    """Whether threads that run loops have to do with the product: not in a call that has one."""
    return bool(STARTED) and not LIMITED and multiplications > UNTHREADED


def _share_out(a: Array, b: Array, out: Array) -> None:
    from .sharing import multiply  # with all that threads need, which no import should wait for

    multiply(a, b, out, 2 * out.size * a.shape[-1] // WORTH_SHARING)


def _is_one_matrix(a: Array) -> bool:
    """Whether several matrices lie such that one product does for a product of each."""
    return a.ndim > 2 and a.flags.c_contiguous and a.size > 0
