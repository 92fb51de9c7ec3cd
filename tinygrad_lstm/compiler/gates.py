"""Sums of products that a loop takes apart into gates: which they are, and who reads what of them.

Only sums are found whose every use is understood: a slice of one gate, for whatever purpose; a
slice of several gates for elementwise functions and for slices of these.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..ops import OPS
from .graph import Graph, Instruction, users
from .merge import last_axis_slice
from .tidy import summed

__all__ = ["FEWEST_ROWS", "Gates", "Part", "gates_of"]

FEWEST_ROWS = 8
"""Of a value whose slices are slow to go through."""

_MOST_GATES = 16
_ADD, _MATMUL = OPS["add"], OPS["matmul"]

Columns = tuple[int, int]
"""From one up to another."""


class Part(NamedTuple):
    """A slice of the sum; function: the op of one input that alone reads it."""

    columns: Columns
    function: Instruction | None


@dataclass(frozen=True)
class Gates:
    """A sum (R, G W) of gates of the same width W.

    root: the value. given: its term that is there before the loop. wide: values of several gates,
    the root among them, by the root's columns that they have. parts: the root's slices, in the
    order of their columns.
    """

    root: int
    given: int
    width: int
    wide: Mapping[int, Columns]
    parts: tuple[Part, ...]


def gates_of(
    graph: Graph, root: int, moving: Collection[int], given: Collection[int], fixed: Collection[int]
) -> Gates | None:
    """What the value is the sum of, and is read for; None if it is no such sum.

    moving: values that change from step to step. given: terms that may be Gates.given. fixed:
    values of one gate at most. The graph's outputs are read by others too.
    """
    shape = graph.spec(root).shape
    if len(shape) != 2 or shape[0] < FEWEST_ROWS or not shape[1] or root in graph.outputs:
        return None
    readers = users(graph)
    term = _term_given(graph, root, moving, given, readers)
    wide, edges = _followed(graph, root, readers)
    width = math.gcd(*edges)
    if term is None or not 2 <= shape[1] // width <= _MOST_GATES:
        return None
    wide = {v: (a, b) for v, (a, b) in wide.items() if b - a > width}
    for v in wide:
        if v in fixed:
            return None
        for i in readers.get(v, ()):
            if last_axis_slice(i, graph) is None and i.out not in wide:
                return None
    parts = _parts(graph, root, readers)
    return None if parts is None else Gates(root, term, width, wide, parts)


def _term_given(
    graph: Graph,
    root: int,
    moving: Collection[int],
    given: Collection[int],
    readers: Mapping[int, list[Instruction]],
) -> int | None:
    """The one term that is given, if the others are layers' products or do not move."""
    made = graph.producers()
    found: list[int] = []
    layers = 0
    for v in summed(graph, root, made, readers)[1]:
        i = made.get(v)
        alone = len(readers[v]) == 1 and v not in graph.outputs
        if v in given and graph.spec(v) == graph.spec(root) and alone:
            found.append(v)
        elif i is not None and i.op is _MATMUL and _is_layer(i, graph, moving) and alone:
            layers += 1
        elif v in moving or len(graph.spec(v).shape) > 1:
            return None
    return found[0] if len(found) == 1 and layers else None


def _is_layer(i: Instruction, graph: Graph, moving: Collection[int]) -> bool:
    """Whether the product is one of rows with a matrix that stays the same."""
    left, right = (len(graph.spec(v).shape) for v in i.inputs)
    return left == right == 2 and i.inputs[1] not in moving


def _followed(
    graph: Graph, root: int, readers: Mapping[int, list[Instruction]]
) -> tuple[dict[int, Columns], set[int]]:
    """Slices, elementwise functions of slices and so on, by their columns; and all edges."""
    found = {root: (0, graph.spec(root).shape[-1])}
    edges = set(found[root])
    queue = [root]
    for v in queue:
        for i in readers.get(v, ()):
            part = last_axis_slice(i, graph)
            if part is not None:
                spans = {(found[v][0] + part[1], found[v][0] + part[2])}
                edges.update(*spans)
            elif i.op.elementwise and not i.attrs and v != root:
                spans = {found.get(x) for x in i.inputs if graph.spec(x).shape}
            else:
                continue
            span = spans.pop()
            if span is not None and not spans and i.out not in found:
                found[i.out] = span
                queue.append(i.out)
    return found, edges


def _parts(
    graph: Graph, root: int, readers: Mapping[int, list[Instruction]]
) -> tuple[Part, ...] | None:
    """The root's slices, if they tile it."""
    found: list[Part] = []
    for i in readers[root]:
        part = last_axis_slice(i, graph)
        if part is None or i.out in graph.outputs:
            return None
        above = readers.get(i.out, [])
        function = above[0] if len(above) == 1 and _is_function(above[0]) else None
        found.append(Part(part[1:], function))
    found.sort(key=lambda p: p.columns)
    edges = [0, *(p.columns[1] for p in found)]
    tiled = all(p.columns[0] == edge for p, edge in zip(found, edges, strict=False))
    return tuple(found) if tiled and edges[-1] == graph.spec(root).shape[-1] else None


def _is_function(i: Instruction) -> bool:
    return i.op.elementwise and not i.attrs and len(i.inputs) == 1
