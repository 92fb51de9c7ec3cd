"""Why a program has no native form, in the words of the step: its ops and its values' names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...ops import OPS
from ..graph import Graph, Instruction
from ..program import Program

__all__ = ["at_reader", "mixed_dtypes", "told"]

_BOOL = np.dtype(bool)
_FLOATS = (np.dtype("f4"), np.dtype("f8"))


def told(graph: Graph, value: int, kind: str) -> str:
    """`the carry 'h'`, or `a carry` where the user has no name for it."""
    name = graph.names.get(value)
    return f"a {kind}" if name is None else f"the {kind} {name!r}"


def at_reader(graph: Graph, value: int, problem: str) -> str:
    """The problem with a value, led by the first op that reads it, if any does."""
    reader = next((i for i in graph.instructions if value in i.inputs), None)
    return problem if reader is None else f"{reader.op.name}: {problem}"


def mixed_dtypes(program: Program) -> str:
    """Where in a program that is not all float32 or all float64 the first other value is."""
    graph = program.graph
    values = [*_values(program)]
    first = next((dtype for _, _, dtype in values if dtype in _FLOATS), None)
    odd = [(v, i, dtype) for v, i, dtype in values if dtype not in (first, _BOOL)]
    if not odd:
        return "values of bool alone"
    v, i, dtype = odd[0]
    beside = "" if first is None else f" in a step of {first}"
    if i is not None and not _is_passed_on(i, graph):
        return f"{i.op.name}: {told(graph, v, 'value')} of {dtype}{beside}"
    kind = "carry" if v in program.carried else "value" if i is None else "result"
    return f"{told(graph, v, kind)} of {dtype}{beside}"


def _values(program: Program) -> Iterator[tuple[int, Instruction | None, np.dtype[Any]]]:
    """The carries, then what each op reads and makes, then what none reads: (value, op, dtype)."""
    graph = program.graph
    for v in program.carried:
        yield v, None, graph.spec(v).dtype
    for i in graph.instructions:
        for v in (*i.inputs, i.out):
            yield v, i, graph.spec(v).dtype
    for v in program.timed:
        yield v, None, graph.spec(v).dtype


def _is_passed_on(i: Instruction, graph: Graph) -> bool:
    """Whether the op is none of the user's: a copy of what a step gives as it is."""
    if i.op is not OPS["reshape"] or i.out not in graph.outputs:
        return False
    return graph.spec(i.inputs[0]) == graph.spec(i.out)
