"""What a graph computes twice, computed once.

Two instructions are the same if op, inputs and attributes are: `mean(a)` and `var(a)`, taken
apart, both begin with `sum(a)`, and cells write `concatenate([h, x])` for every gate.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from .graph import Graph, Instruction, frozen

__all__ = ["common", "merged"]


def common(graph: Graph) -> Graph:
    """The graph without what it computes again; outputs stay values of their own."""
    return merged(graph, graph.outputs)[0]


def merged(graph: Graph, kept: Collection[int]) -> tuple[Graph, dict[int, int]]:
    """The graph without what it computes again, and which values stand for those left out.

    kept: values that are never left out.
    """
    same = _same_constants(graph, kept)
    known: dict[Any, int] = {}
    instructions: list[Instruction] = []
    for i in graph.instructions:
        inputs = tuple([same.get(v, v) for v in i.inputs])
        first = known.setdefault((i.op, inputs, frozen(i.attrs)), i.out)
        if first == i.out or i.out in kept:
            instructions.append(i._replace(inputs=inputs))
        else:
            same[i.out] = first
    if not same:
        return graph, same
    names = {v: name for v, name in graph.names.items() if v not in same}
    for v, first in same.items():
        if v in graph.names:
            names.setdefault(first, graph.names[v])
    constants = {v: a for v, a in graph.constants.items() if v not in same}
    return (
        replace(graph, instructions=tuple(instructions), constants=constants, names=names),
        same,
    )


def _same_constants(graph: Graph, kept: Collection[int]) -> dict[int, int]:
    """Constants that another one stands for."""
    known: dict[Any, int] = {}
    same: dict[int, int] = {}
    for v, array in graph.constants.items():
        first = known.setdefault(frozen(array), v)
        if first != v and v not in kept:
            same[v] = first
    return same
