"""Sums regrouped so that what does not depend on the carry is added up first.

`(x W + h U) + b` becomes `(x W + b) + h U`: the first sum can be done for all steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ops import OPS
from .graph import Builder, Graph, Instruction, Spec, in_order, users

__all__ = ["reassociate"]

_ADD = OPS["add"]


def reassociate(graph: Graph, carried: set[int]) -> Graph:
    """Add the terms outside `carried` before those inside."""
    readers = users(graph)
    producers = graph.producers()

    def absorbed(value: int) -> Instruction | None:
        """The sum that made the value, if it is read by another sum alone."""
        made = producers.get(value)
        if made is None or made.op is not _ADD or value in graph.outputs:
            return None
        return made if len(readers.get(value, ())) == 1 else None

    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        if i.op is not _ADD or i.out not in carried:
            continue
        if absorbed(i.out) is not None and readers[i.out][0].op is _ADD:
            continue  # part of a longer sum
        terms = _terms(i, absorbed)
        free = [v for v in terms if v not in carried]
        bound = [v for v in terms if v in carried]
        if len(free) < 2:
            continue
        total = _sum(builder, _sum(builder, None, free), bound)
        if builder.specs[total] == graph.spec(i.out):
            replaced[i.out] = total
    builder.instructions = [
        *(i for i in graph.instructions if i.out not in replaced),
        *builder.instructions,
    ]
    names = {replaced.get(v, v): name for v, name in graph.names.items()}
    return in_order(builder.finish(names=names).renamed(replaced)).pruned()


def _terms(root: Instruction, absorbed: object) -> list[int]:
    terms: list[int] = []
    stack = list(reversed(root.inputs))
    while stack:
        value = stack.pop()
        inner = absorbed(value)  # type: ignore[operator]
        if inner is None:
            terms.append(value)
        else:
            stack.extend(reversed(inner.inputs))
    return terms


def _sum(builder: Builder, start: int | None, terms: Sequence[int]) -> int:
    total = start
    for value in terms:
        if total is None:
            total = value
            continue
        one, other = builder.specs[total], builder.specs[value]
        spec = Spec(np.broadcast_shapes(one.shape, other.shape), one.dtype)
        total = builder.add(_ADD, (total, value), {}, spec)
    if total is None:
        raise ValueError("a sum of nothing")
    return total
