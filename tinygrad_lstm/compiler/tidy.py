"""Small rewrites of derived graphs: what rules record for generality, said more simply.

A sum of parts scattered into disjoint slices is a concatenation; a saved view is a view of what is
saved.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ops import OPS
from .graph import Builder, Graph, Instruction, in_order, users
from .merge import last_axis_range

__all__ = ["VIEWS", "join_slices", "views_again"]

_ADD, _SCATTER, _CONCATENATE = OPS["add"], OPS["scatter"], OPS["concatenate"]
VIEWS = frozenset(("getitem", "reshape", "transpose"))
"""Ops whose result shares memory with their input (getitem: with a basic index)."""


def is_view(instruction: Instruction | None) -> bool:
    """Whether the instruction only looks at its input in another way."""
    if instruction is None or instruction.op.name not in VIEWS:
        return False
    if instruction.op.name != "getitem":
        return True
    index = instruction.attrs["index"]
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is Ellipsis or isinstance(p, slice | int) for p in parts)


def join_slices(graph: Graph) -> Graph:
    """Sums of scattered slices that tile the last axis, as concatenations."""
    readers, producers = users(graph), graph.producers()
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        if i.op is not _ADD:
            continue
        above = readers.get(i.out, ())
        if len(above) == 1 and above[0].op is _ADD and i.out not in graph.outputs:
            continue
        parts = [_scattered(v, graph, producers) for v in _terms(i, graph, producers, readers)]
        known = sorted((p for p in parts if p is not None), key=lambda p: p[0])
        if len(known) != len(parts) or not known:
            continue
        shape = graph.spec(i.out).shape
        edges = [0, *(stop for _, stop, _ in known)]
        if edges[-1] == shape[-1] and all(
            start == edge for (start, _, _), edge in zip(known, edges, strict=False)
        ):
            sources = [source for _, _, source in known]
            axis = {"axis": len(shape) - 1}
            replaced[i.out] = builder.add(_CONCATENATE, sources, axis, graph.spec(i.out))
    builder.instructions = [
        *(i for i in graph.instructions if i.out not in replaced),
        *builder.instructions,
    ]
    return in_order(builder.finish().renamed(replaced)).pruned()


def _terms(
    root: Instruction,
    graph: Graph,
    producers: dict[int, Instruction],
    readers: dict[int, list[Instruction]],
) -> list[int]:
    terms: list[int] = []
    stack = list(reversed(root.inputs))
    while stack:
        value = stack.pop()
        made = producers.get(value)
        alone = len(readers.get(value, ())) == 1 and value not in graph.outputs
        if made is not None and made.op is _ADD and alone:
            stack.extend(reversed(made.inputs))
        else:
            terms.append(value)
    return terms


def _scattered(
    value: int, graph: Graph, producers: dict[int, Instruction]
) -> tuple[int, int, int] | None:
    """(start, stop, source) where the value is its source put into a range of the last axis."""
    made = producers.get(value)
    if made is None or made.op is not _SCATTER:
        return None
    part = last_axis_range(made.attrs["index"], graph.spec(value).shape)
    return None if part is None else (*part, made.inputs[0])


def views_again(
    backward: Graph, reads: Sequence[int], forward: Graph
) -> tuple[Graph, tuple[int, ...]]:
    """The backward graph reading what views look at, instead of the views.

    reads: the forward value of each of the backward graph's last inputs.
    """
    producers = forward.producers()
    first = len(backward.inputs) - len(reads)
    builder = Builder(backward)
    number = {v: k for v, k in zip(reads, backward.inputs[first:], strict=True)}
    wanted = list(reads)
    inputs = dict(number)
    made: list[Instruction] = []
    while wanted:
        value = wanted.pop()
        producer = producers.get(value)
        if producer is None or not is_view(producer):
            continue
        parent = producer.inputs[0]
        if parent not in number:
            number[parent] = builder.value(forward.spec(parent))
            inputs[parent] = number[parent]
            wanted.append(parent)
        made.append(producer._replace(inputs=(number[parent],), out=number[value]))
        del inputs[value]
    builder.instructions = [*made, *backward.instructions]
    graph = builder.finish(inputs=(*backward.inputs[:first], *inputs.values()))
    return in_order(graph), tuple(inputs)
