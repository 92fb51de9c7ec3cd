"""Sums, or elementwise products, regrouped by the kind of their terms.

`(x W + h U) + b` becomes `(b + x W) + h U`, whose first sum can be done for all steps at once; or
`(x W + h U) + b`, where products are accumulated in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ops import OPS
from ..tensor import Array, Op
from .graph import Builder, Graph, Instruction, Spec, users

__all__ = ["reassociate"]

_ADD = OPS["add"]


def reassociate(graph: Graph, rank: Callable[[int], int], op: Op = _ADD) -> Graph:
    """In longer sums, add up the terms of each rank apart, then these, the lowest rank first.

    op: `add`, or `mul`, and then all of it is said of products.
    """
    readers = users(graph)
    producers = graph.producers()

    def absorbed(value: int) -> Instruction | None:
        """The sum that made the value, if it is read by another sum alone."""
        made = producers.get(value)
        if made is None or made.op is not op or value in graph.outputs:
            return None
        return made if len(readers.get(value, ())) == 1 else None

    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        if i.op is not op:
            continue
        if absorbed(i.out) is not None and readers[i.out][0].op is op:
            continue  # part of a longer sum
        terms = _terms(i, absorbed)
        if len(terms) < 3 or len({graph.spec(v).dtype for v in terms}) > 1:
            continue
        if not _is_finite(op, [graph.constants[v] for v in terms if v in graph.constants]):
            continue
        ranks = sorted({rank(v) for v in terms})
        parts = [_joined(builder, op, [v for v in terms if rank(v) == r]) for r in ranks]
        total = _joined(builder, op, parts)
        if builder.specs[total] == graph.spec(i.out):
            replaced[i.out] = total
    return builder.replacing(replaced)


def _is_finite(op: Op, numbers: Sequence[Array]) -> bool:
    """Whether all numbers together, which nobody asked for, are none too large or too small."""
    if len(numbers) < 2:
        return True
    with np.errstate(all="ignore"):
        total = numbers[0]
        for number in numbers[1:]:
            total = op.forward(total, number)
    lost = op is not _ADD and not np.all(total) and all(map(np.all, numbers))
    return bool(np.all(np.isfinite(total))) and not lost


def _terms(root: Instruction, absorbed: Callable[[int], Instruction | None]) -> list[int]:
    terms: list[int] = []
    stack = list(reversed(root.inputs))
    while stack:
        value = stack.pop()
        inner = absorbed(value)
        if inner is None:
            terms.append(value)
        else:
            stack.extend(reversed(inner.inputs))
    return terms


def _joined(builder: Builder, op: Op, terms: Sequence[int]) -> int:
    total, *rest = terms
    for value in rest:
        one, other = builder.specs[total], builder.specs[value]
        spec = Spec(np.broadcast_shapes(one.shape, other.shape), one.dtype)
        total = builder.add(op, (total, value), {}, spec)
    return total
