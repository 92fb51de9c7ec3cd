"""Small rewrites of derived graphs: what rules record for generality, said more simply.

A sum of parts scattered into disjoint slices is a concatenation; a saved view is a view of what is
saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ops import OPS
from .graph import Builder, Graph, Instruction, Spec, in_order, users
from .merge import last_axis_range, last_axis_slice

__all__ = ["VIEWS", "join_slices", "join_sums", "split_slices", "summed", "views_again"]

_ADD, _SCATTER, _CONCATENATE, _SUM = (OPS[k] for k in ("add", "scatter", "concatenate", "sum"))
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
    return all(p is None or p is Ellipsis or isinstance(p, slice | int) for p in parts)


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
        _, terms = summed(graph, i.out, producers, readers)
        parts = [_scattered(v, graph, producers) for v in terms]
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
    return builder.replacing(replaced)


def summed(
    graph: Graph,
    root: int,
    producers: Mapping[int, Instruction],
    readers: Mapping[int, Sequence[Instruction]],
) -> tuple[list[int], list[int]]:
    """A sum and the sums of its shape in it that nobody else reads, and the terms of them all."""
    sums, terms = [root], []
    for value in sums:
        for term in producers[value].inputs:
            made = producers.get(term)
            alone = len(readers[term]) == 1 and term not in graph.outputs
            same = graph.spec(term) == graph.spec(root)
            part = made is not None and made.op is _ADD and alone and same
            (sums if part else terms).append(term)
    return sums, terms


def _scattered(
    value: int, graph: Graph, producers: dict[int, Instruction]
) -> tuple[int, int, int] | None:
    """(start, stop, source) where the value is its source put into a range of the last axis."""
    made = producers.get(value)
    if made is None or made.op is not _SCATTER:
        return None
    part = last_axis_range(made.attrs["index"], graph.spec(value).shape)
    return None if part is None else (*part, made.inputs[0])


def join_sums(graph: Graph) -> Graph:
    """Concatenated sums over the batch as the sum of a concatenation, which often is there."""
    producers = graph.producers()
    known = {(i.inputs, i.attrs["axis"]): i.out for i in graph.instructions if i.op is _CONCATENATE}
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        if i.op is not _CONCATENATE:
            continue
        sums = [m for v in i.inputs if (m := _sum_of_rows(v, graph, producers)) is not None]
        if len(sums) != len(i.inputs):
            continue
        shape, dtype = graph.spec(i.out)
        if i.attrs["axis"] != len(shape) - 1 or len({m.attrs["keepdims"] for m in sums}) > 1:
            continue
        parts = tuple(m.inputs[0] for m in sums)
        rows = {graph.spec(v).shape[0] for v in parts}
        if len(rows) > 1:
            continue
        whole = known.get((parts, 1))
        if whole is None:
            together = Spec((*rows, shape[-1]), dtype)
            whole = builder.add(_CONCATENATE, parts, {"axis": 1}, together)
        replaced[i.out] = builder.add(_SUM, (whole,), dict(sums[0].attrs), Spec(shape, dtype))
    return builder.replacing(replaced)


def _sum_of_rows(
    value: int, graph: Graph, producers: Mapping[int, Instruction]
) -> Instruction | None:
    """The sum over the rows of a matrix that made the value, perhaps as a row again."""
    made = producers.get(value)
    keepdims = made is not None and made.op is OPS["reshape"]
    if made is not None and keepdims:
        made = producers.get(made.inputs[0])
    if made is None or made.op is not _SUM or made.attrs["axis"] != (0,):
        return None
    shape = graph.spec(made.inputs[0]).shape
    if len(shape) != 2 or (keepdims and graph.spec(value).shape != (1, shape[1])):
        return None
    return made._replace(attrs={"axis": (0,), "keepdims": keepdims or made.attrs["keepdims"]})


def split_slices(graph: Graph) -> Graph:
    """Elementwise ops done on each slice, where nothing but slices of their results is read.

    The opposite of merge_slices: in one pass over the rows it does not matter how many ops there
    are, but what one hands to the next must stand at the same place. Sums of products stay whole.
    """
    while True:
        readers = users(graph)
        chains = _sums_of_products(graph)
        chosen = next(
            (
                i
                for i in graph.instructions
                if i.op.elementwise
                and i.out not in graph.outputs
                and i.out not in chains
                and readers.get(i.out)
                and all(last_axis_slice(r, graph) is not None for r in readers[i.out])
            ),
            None,
        )
        if chosen is None:
            return graph
        graph = _split(graph, chosen, readers[chosen.out])


def _sums_of_products(graph: Graph) -> set[int]:
    found: set[int] = set()
    for i in graph.instructions:
        if i.op is OPS["matmul"] or (i.op is _ADD and found.issuperset(i.inputs)):
            found.add(i.out)
    return found


def _split(graph: Graph, whole: Instruction, slices: Sequence[Instruction]) -> Graph:
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    width = graph.spec(whole.out).shape[-1]
    producers = graph.producers()
    for part in slices:
        _, start, stop = _range(part, graph)
        inputs: list[int] = []
        for v in whole.inputs:
            shape, dtype = graph.spec(v)
            if not shape or shape[-1] != width:  # a number, or one for each row
                inputs.append(v)
                continue
            outer = last_axis_slice(producers.get(v), graph)
            source, offset = (v, 0) if outer is None else outer[:2]
            taken = {"index": (Ellipsis, slice(offset + start, offset + stop))}
            spec = Spec((*shape[:-1], stop - start), dtype)
            inputs.append(builder.add(OPS["getitem"], (source,), taken, spec))
        made = builder.add(whole.op, inputs, whole.attrs, graph.spec(part.out))
        replaced[part.out] = made
    return builder.replacing(replaced)


def _range(part: Instruction, graph: Graph) -> tuple[int, int, int]:
    found = last_axis_slice(part, graph)
    if found is None:
        raise ValueError(f"{part.op.name} takes no range of the last axis")
    return found


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
