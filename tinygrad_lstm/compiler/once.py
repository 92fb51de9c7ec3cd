"""A graph run once, over arrays of all steps: large results go into memory that is there already.

An elementwise result is written over what it is computed from, if that is read for the last time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set

from ..tensor import Array
from . import memory
from .graph import Graph, Instruction
from .into import IN_PLACE, into
from .reuse import last_uses
from .source import Source

__all__ = ["run_once"]


def run_once(
    graph: Graph, results: Sequence[Sequence[int]], *, apart: bool = False
) -> Callable[[Sequence[Array]], tuple[list[Array], ...]]:
    """A function from the graph's inputs to the values asked for, a list for each list of them.

    apart: no two results of a list may share memory.
    """
    source = Source(graph)
    inputs = "".join(f"v{v}, " for v in graph.inputs)
    body = [f"{inputs}= arrays"] if inputs else []
    body += _lines(source, {v for values in results for v in values})
    lists = [source.apart(values) if apart else [f"v{v}" for v in values] for values in results]
    text = "".join(f"[{', '.join(names)}], " for names in lists)
    body.append(f"return ({text})")
    return source.function("arrays", body)[1]


def _lines(source: Source, kept: Set[int]) -> list[str]:
    graph = source.graph
    last = last_uses(graph.instructions, kept)
    large: set[int] = set()  # results in memory of their own
    lines: list[str] = []
    for k, i in enumerate(graph.instructions):
        function = into(i, graph)
        if function is None or not _is_large(i, graph):
            lines.append(source.line(i))
            continue
        spec = graph.spec(i.out)
        over = [v for v in i.inputs if v in large and last[v] == k and graph.spec(v) == spec]
        if over and i.op.name in IN_PLACE:
            lines.append(f"v{i.out} = v{over[0]}")
        else:
            source.names[f"new{i.out}"] = memory.maker(*spec)
            lines.append(f"v{i.out} = new{i.out}()")
        lines.append(source.call(i, function, f"v{i.out}"))
        large.add(i.out)
    return lines


def _is_large(i: Instruction, graph: Graph) -> bool:
    shape, dtype = graph.spec(i.out)
    return not memory.is_small(math.prod(shape) * dtype.itemsize)
