"""Products of matrices, and of any axes: `matmul` and `einsum`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..context import CONTEXT
from ..errors import ShapeError
from ..explain import matmul_reason
from ..operands import call_of, pair, same_dtype
from ..ops import OPS
from ..tensor import Tensor, TensorLike, record
from ..wording import describe_inputs
from .shapes import squeeze, unsqueeze

__all__ = ["einsum", "matmul"]

def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """Matrix product over the last two axes; leading axes broadcast, vectors as in NumPy."""
    a, b = pair(a, b)
    if a._data.ndim >= 2 and b._data.ndim >= 2:
        return record(OPS["matmul"], (a, b))
    if why := matmul_reason(a.shape, b.shape):
        raise ShapeError(f"{describe_inputs('matmul', (a, b), CONTEXT.get(), ' @ ')}: {why}")
    row = unsqueeze(a, 0) if a.ndim == 1 else a
    column = unsqueeze(b, 1) if b.ndim == 1 else b
    product = record(OPS["matmul"], (row, column))
    gone = ([product.ndim - 2] if a.ndim == 1 else []) + ([product.ndim - 1] if b.ndim == 1 else [])
    return squeeze(product, gone)


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Einstein summation in NumPy's notation, with ellipses and repeated indices.

    Raises ShapeError for subscripts that do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {subscripts!r:.80}")
    tensors = list(same_dtype(operands, "einsum"))
    terms, result = _explicit(subscripts, tensors)
    for k, term in enumerate(list(terms)):  # "ii" is "ij" times the identity
        for position, letter in enumerate(term):
            if letter in term[:position]:
                fresh = _fresh_letter("".join(terms) + result)
                terms[k] = terms[k][:position] + fresh + terms[k][position + 1 :]
                terms.append(letter + fresh)
                tensors.append(Tensor(np.eye(tensors[k].shape[position], dtype=tensors[k].dtype)))
    return record(
        OPS["einsum"], tuple(tensors), {"subscripts": ",".join(terms) + "->" + result}
    )


def _explicit(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Subscripts with letters for ellipses and with the output spelled out."""
    call = call_of("einsum", *tensors)
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise ShapeError(f"{call}: {subscripts!r} names {len(terms)} operands, got {len(tensors)}")
    used, wild = left + result, ""
    widths = [t.ndim - len(term.replace("...", "")) for term, t in zip(terms, tensors, strict=True)]
    for term, t, width in zip(terms, tensors, widths, strict=True):
        if width < 0 or (width and "..." not in term):
            raise ShapeError(f"{call}: {term!r} in {subscripts!r} does not fit {t.shape}")
    for _ in range(max(widths)):
        wild += _fresh_letter(used + wild)
    terms = [
        term.replace("...", wild[len(wild) - width :])
        for term, width in zip(terms, widths, strict=True)
    ]
    if arrow:
        result = result.replace("...", wild)
    else:
        once = sorted(k for k in set(left) - set(".,") if left.count(k) == 1)
        result = wild + "".join(once)
    known = set("".join(terms))
    if not set(result) <= known or len(set(result)) != len(result):
        raise ShapeError(f"{call}: output {result!r} of {subscripts!r} does not fit its operands")
    return terms, result


def _fresh_letter(used: str) -> str:
    letters = (chr(k) for k in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1)))
    for letter in letters:
        if letter not in used:
            return letter
    raise ShapeError("einsum: more than 52 different indices")
