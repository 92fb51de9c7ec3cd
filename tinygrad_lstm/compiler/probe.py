"""Looking into a step: named values as outputs of it, and taps that catch their gradients.

A tap is a zero, given at each step, that is added to a value: the gradient of the tap is the
value's. So what differentiates and what runs need not know that somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ..ops import OPS
from ..tensor import Tensor
from .graph import Builder, Graph

__all__ = ["Probe", "expose", "named_values", "tap"]

_ADD = OPS["add"]


class Probe(Protocol):
    """Somebody who looks into the run of a compiled step."""

    def insert(self, graph: Graph, carries: int, xs: int) -> tuple[Graph, list[Tensor]]:
        """The step with more outputs, and taps (T, ...) to be given after its xs."""
        ...

    def take(self, seen: Sequence[Tensor]) -> None:
        """What the added outputs were at all steps, (T, ...) each."""
        ...


def named_values(graph: Graph, moving: Sequence[int]) -> dict[str, int]:
    """The named values computed from `moving`, in order; of several with one name the first.

    What was detached has the name of what it is.
    """
    varying = graph.depending_on(moving)
    found: dict[str, int] = {}
    for i in graph.instructions:
        name = graph.names.get(i.out)
        if name is not None and i.out in varying and i.op.name != "detach":
            found.setdefault(name, i.out)
    return found


def expose(graph: Graph, values: Sequence[int]) -> Graph:
    """The graph with `values` as its last outputs."""
    return replace(graph, outputs=(*graph.outputs, *values))


def tap(graph: Graph, values: Sequence[int], position: int) -> Graph:
    """The graph with value + tap in place of each computed value, wherever it is read.

    The taps are new inputs, which stand from `position` on. The sum takes over the name.
    """
    builder = Builder(graph)
    taps = {v: builder.value(graph.spec(v)) for v in values}
    sums: dict[int, int] = {}
    for i in graph.instructions:
        builder.instructions.append(i._replace(inputs=_with(sums, i.inputs)))
        if i.out in taps:
            sums[i.out] = builder.add(_ADD, (i.out, taps[i.out]), {}, graph.spec(i.out))
    return builder.finish(
        inputs=(*graph.inputs[:position], *taps.values(), *graph.inputs[position:]),
        outputs=_with(sums, graph.outputs),
        names={sums.get(v, v): name for v, name in graph.names.items()},
    )


def _with(other: Mapping[int, int], values: Sequence[int]) -> tuple[int, ...]:
    return tuple(other.get(v, v) for v in values)
