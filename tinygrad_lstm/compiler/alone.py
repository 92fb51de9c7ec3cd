"""What a step carries for itself, such as a count of the steps: run before the rest.

A native loop is about numbers of one floating-point dtype, and about rows of a batch, which its
threads share. Integers, and single numbers beside a large batch, that depend on nothing else that
is carried need not be in it: they are run on their own, and stand in the loop as inputs of each
step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from .graph import Graph
from .recent import Recent

__all__ = ["Divided", "divide"]

V = TypeVar("V")
_LARGE = 1024
"""Numbers carried, from which on rows to share out over threads are worth a loop of its own: with
LSTMs of 513 numbers that takes 1.4 times as long, with 1,025 0.9 times, with 2,049 0.7 times."""


class Divided(NamedTuple):
    """A step's graph in two.

    carries, outputs: the positions of what is alone among the carries, and the outputs.
    ahead: the carries that are alone, and the outputs that depend on nothing but them; its last
    outputs are what these carries were before the step. rest: everything else; these are its last
    inputs of each step.
    """

    carries: tuple[int, ...]
    outputs: tuple[int, ...]
    ahead: Graph
    rest: Graph

    def chosen(self, values: Sequence[V]) -> tuple[list[V], list[V]]:
        """Of the carries those that are alone, and the others."""
        alone = set(self.carries)
        return (
            [values[k] for k in self.carries],
            [v for k, v in enumerate(values) if k not in alone],
        )

    def together(self, ahead: Sequence[V], rest: Sequence[V]) -> list[V]:
        """All outputs, in order."""
        places, others = dict(zip(self.outputs, ahead, strict=False)), iter(rest)
        count = len(places) + len(rest)
        return [places[k] if k in places else next(others) for k in range(count)]


def divide(graph: Graph, carries: int, xs: int) -> Divided | None:
    """None if nothing is alone that a native loop is better without, or nothing else is there."""
    key = graph.mark, tuple(graph.names.items()), carries, xs
    known = _known.find(key) or _known.keep(key, (_divided(graph, carries, xs),))
    return known[0]


_known: Recent[Any, tuple[Divided | None]] = Recent()
"""A step is called again and again."""


def _divided(graph: Graph, carries: int, xs: int) -> Divided | None:
    inputs, outputs = graph.inputs[:carries], graph.outputs
    large = sum(math.prod(graph.spec(v).shape) for v in inputs) >= _LARGE
    numbers = {v for v in inputs if large and not graph.spec(v).shape}
    alone = numbers | {v for v in inputs if _kind(graph, v) in "iub"}
    while alone:
        reached = graph.depending_on(set(inputs) - alone)
        pairs = zip(inputs, outputs, strict=False)
        left = {v for v, new in pairs if v in alone and new not in reached}
        if left == alone:
            break
        alone = left
    if not any(_kind(graph, v) in "iu" or v in numbers for v in alone):
        return None
    reached = graph.depending_on(set(inputs) - alone)
    own = [k for k, v in enumerate(inputs) if v in alone]
    ys = [
        k
        for k in range(carries, len(outputs))
        if outputs[k] not in reached and _kind(graph, outputs[k]) in "iu"
    ]
    taken = {*own, *ys}
    rest = [v for k, v in enumerate(outputs) if k not in taken]
    if not rest:
        return None
    series, captured = graph.inputs[carries : carries + xs], graph.inputs[carries + xs :]
    before = tuple(inputs[k] for k in own)
    others = tuple(v for v in inputs if v not in alone)
    given = tuple(outputs[k] for k in (*own, *ys))
    return Divided(
        tuple(own),
        (*own, *ys),
        replace(graph, inputs=(*before, *series, *captured), outputs=(*given, *before)).pruned(),
        replace(
            graph, inputs=(*others, *series, *before, *captured), outputs=tuple(rest)
        ).pruned(),
    )


def _kind(graph: Graph, value: int) -> str:
    return graph.spec(value).dtype.kind
