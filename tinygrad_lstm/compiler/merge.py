"""Products that share their left operand become one, and what is done alike to the parts too.

Four textbook ANNs, `x @ W_f.T`, `x @ W_i.T`, ..., become `x @ W.T` and four slices of it; where the
weights were slices of one stacked parameter, W is that parameter again. Then elementwise ops that
treat matching slices alike are done once, on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from ..ops import OPS
from .graph import Builder, Graph, Instruction, Spec

__all__ = ["merge_products", "merge_slices"]

_MATMUL, _GETITEM, _TRANSPOSE, _CONCATENATE = (
    OPS[k] for k in ("matmul", "getitem", "transpose", "concatenate")
)


def merge_products(graph: Graph, varying: set[int]) -> Graph:
    """One product for all matrices that multiply the same left operand.

    varying: the values that depend on the step; right operands must not.
    """
    groups: dict[int, list[Instruction]] = {}
    for i in graph.instructions:
        if i.op is not _MATMUL or len(graph.spec(i.inputs[1]).shape) != 2:
            continue
        if i.inputs[0] in varying and i.inputs[1] not in varying:
            groups.setdefault(i.inputs[0], []).append(i)
    producers = graph.producers()
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for left, group in groups.items():
        if len(group) < 2:
            continue
        group, right = _joined(builder, group, producers)
        widths = [graph.spec(i.inputs[1]).shape[1] for i in group]
        shape, dtype = graph.spec(group[0].out)
        whole = builder.add(_MATMUL, (left, right), {}, Spec((*shape[:-1], sum(widths)), dtype))
        start = 0
        for i, width in zip(group, widths, strict=True):
            index = (Ellipsis, slice(start, start + width))
            replaced[i.out] = builder.add(_GETITEM, (whole,), {"index": index}, graph.spec(i.out))
            start += width
    return builder.replacing(replaced)


def _joined(
    builder: Builder, group: list[Instruction], producers: dict[int, Instruction]
) -> tuple[list[Instruction], int]:
    """The right operands side by side, in the order that needs no copy where there is one."""
    rights = [i.inputs[1] for i in group]
    parts = [_transposed_rows(v, producers) for v in rights]
    known = [p for p in parts if p is not None]
    if len(known) == len(parts) and len({weight for weight, _, _ in known}) == 1:
        order = sorted(range(len(group)), key=lambda k: known[k][1])
        weight = known[0][0]
        ranges = [known[k][1:] for k in order]
        rows, columns = builder.graph.spec(weight).shape
        if _tile(ranges, rows):
            spec = Spec((columns, rows), builder.graph.spec(weight).dtype)
            whole = builder.add(_TRANSPOSE, (weight,), {"axes": (1, 0)}, spec)
            return [group[k] for k in order], whole
    shapes = [builder.graph.spec(v).shape for v in rights]
    spec = Spec((shapes[0][0], sum(s[1] for s in shapes)), builder.graph.spec(rights[0]).dtype)
    return group, builder.add(_CONCATENATE, rights, {"axis": 1}, spec)


def _transposed_rows(value: int, producers: dict[int, Instruction]) -> tuple[int, int, int] | None:
    """(w, start, stop) where the value is w[start:stop].T."""
    transpose = producers.get(value)
    if transpose is None or transpose.op is not _TRANSPOSE or transpose.attrs["axes"] != (1, 0):
        return None
    rows = producers.get(transpose.inputs[0])
    if rows is None or rows.op is not _GETITEM:
        return None
    index = rows.attrs["index"]
    index = index if isinstance(index, tuple) else (index,)
    if len(index) != 1 or not _plain(index[0]):
        return None
    return rows.inputs[0], index[0].start or 0, index[0].stop


def _plain(part: Any) -> bool:
    return isinstance(part, slice) and part.step in (None, 1) and part.stop is not None


def _tile(ranges: Sequence[tuple[int, int]], size: int) -> bool:
    """Whether the ranges, sorted, cover [0, size) without gap or overlap."""
    edge = 0
    for start, stop in ranges:
        if start != edge:
            return False
        edge = stop
    return edge == size


# -- elementwise ops on matching slices ------------------------------------------------------------


def last_axis_range(index: Any, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """(start, stop) where the index takes a range of the last axis, and all of the others."""
    index = index if isinstance(index, tuple) else (index,)
    if not index or not all(p is Ellipsis or isinstance(p, slice) for p in index):
        return None
    last, whole = index[-1], slice(None)
    if not isinstance(last, slice) or index[:-1] not in ((Ellipsis,), (whole,) * (len(shape) - 1)):
        return None
    start, stop, step = last.indices(shape[-1])
    return (start, stop) if step == 1 and start < stop else None


def last_axis_slice(instruction: Instruction | None, graph: Graph) -> tuple[int, int, int] | None:
    """(whole, start, stop) where the instruction takes a range of its input's last axis."""
    if instruction is None or instruction.op is not _GETITEM:
        return None
    whole = instruction.inputs[0]
    part = last_axis_range(instruction.attrs["index"], graph.spec(whole).shape)
    return None if part is None else (whole, *part)


def merge_slices(graph: Graph, varying: Set[int]) -> Graph:
    """Do once, on the whole, what elementwise ops do alike to neighbouring slices of it.

    Alike, too, if each adds a bias of its own: values that depend on no step are put side by side.
    """
    while True:
        merged = _merge_once(graph, varying)
        if merged is None:
            return graph
        graph, varying = merged, merged.depending_on(varying)


class _Slice(NamedTuple):
    """An op on a range of the last axis. wholes: by input, what it is a range of; None for a value
    that does not vary and is as wide."""

    start: int
    stop: int
    wholes: tuple[int | None, ...]
    op: Instruction


def _merge_once(graph: Graph, varying: Set[int]) -> Graph | None:
    producers = graph.producers()
    groups: dict[Any, list[_Slice]] = {}
    for i in graph.instructions:
        found = _slice_of(i, graph, producers, varying)
        if found is not None:
            others = [graph.spec(v) for v in i.inputs]
            kinds = [
                whole if whole is not None else (spec.shape[:-1], spec.dtype)
                for whole, spec in zip(found.wholes, others, strict=True)
            ]
            groups.setdefault((i.op.name, *kinds), []).append(found)
    for group in groups.values():
        group.sort(key=lambda item: item.start)
        run = _longest_run(group)
        if len(run) >= 2:
            return _merge_run(graph, run)
    return None


def _slice_of(
    i: Instruction, graph: Graph, producers: Mapping[int, Instruction], varying: Set[int]
) -> _Slice | None:
    """None for an op that does not read matching slices, or reads something else that varies."""
    if not i.op.elementwise or i.attrs:
        return None
    parts = [last_axis_slice(producers.get(v), graph) for v in i.inputs]
    known = [part for part in parts if part is not None]
    if len({part[1:] for part in known}) != 1:
        return None
    if len({graph.spec(whole).shape[-1] for whole, _, _ in known}) != 1:
        return None
    start, stop = known[0][1:]
    for v, part in zip(i.inputs, parts, strict=True):
        wide = graph.spec(v).shape[-1:] == (stop - start,)
        fixed = v not in varying and i.out in varying  # so that it is made of none of these ops
        if part is None and not (fixed and wide):
            return None
    return _Slice(start, stop, tuple(None if p is None else p[0] for p in parts), i)


def _longest_run(group: list[_Slice]) -> list[_Slice]:
    """The longest part of the group whose ranges follow one another."""
    best: list[_Slice] = []
    run: list[_Slice] = []
    for item in group:
        if run and item.start != run[-1].stop:
            run = []
        run = [*run, item]
        best = run if len(run) > len(best) else best
    return best


def _merge_run(graph: Graph, run: Sequence[_Slice]) -> Graph:
    start, stop = run[0].start, run[-1].stop
    builder = Builder(graph)
    inputs: list[int] = []
    for k, whole in enumerate(run[0].wholes):
        parts = [item.op.inputs[k] for item in run]
        shape, dtype = graph.spec(parts[0] if whole is None else whole)
        spec = Spec((*shape[:-1], stop - start), dtype)
        if whole is None:
            axis = {"axis": len(shape) - 1}
            inputs.append(builder.add(_CONCATENATE, parts, axis, spec))
        elif spec.shape == shape:
            inputs.append(whole)
        else:
            index = (Ellipsis, slice(start, stop))
            inputs.append(builder.add(_GETITEM, (whole,), {"index": index}, spec))
    shape = np.broadcast_shapes(*(builder.specs[v].shape for v in inputs))
    first = run[0].op
    together = builder.add(first.op, inputs, {}, Spec(shape, graph.spec(first.out).dtype))
    replaced: dict[int, int] = {}
    for a, b, _, i in run:
        index = (Ellipsis, slice(a - start, b - start))
        replaced[i.out] = builder.add(_GETITEM, (together,), {"index": index}, graph.spec(i.out))
    return builder.replacing(replaced)
