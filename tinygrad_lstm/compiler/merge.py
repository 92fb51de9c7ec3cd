"""Products that share their left operand become one, and what is done alike to the parts too.

Four textbook ANNs, `x @ W_f.T`, `x @ W_i.T`, ..., become `x @ W.T` and four slices of it; where the
weights were slices of one stacked parameter, W is that parameter again. Then elementwise ops that
treat matching slices alike are done once, on the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def merge_slices(graph: Graph) -> Graph:
    """Do once, on the whole, what elementwise ops do alike to neighbouring slices of it."""
    while True:
        merged = _merge_once(graph)
        if merged is None:
            return graph
        graph = merged


def _merge_once(graph: Graph) -> Graph | None:
    producers = graph.producers()
    groups: dict[Any, list[tuple[int, int, Instruction]]] = {}
    for i in graph.instructions:
        if not i.op.elementwise or i.attrs:
            continue
        parts = [last_axis_slice(producers.get(v), graph) for v in i.inputs]
        known = [p for p in parts if p is not None]
        if len(known) != len(parts) or len({p[1:] for p in known}) != 1:
            continue
        sizes = {graph.spec(p[0]).shape[-1] for p in known}
        if len(sizes) == 1:
            key = (i.op.name, tuple(p[0] for p in known))
            groups.setdefault(key, []).append((*known[0][1:], i))
    for (_, wholes), group in groups.items():
        group.sort(key=lambda item: item[0])
        run = _longest_run(group)
        if len(run) >= 2:
            return _merge_run(graph, wholes, run)
    return None


def _longest_run(
    group: list[tuple[int, int, Instruction]],
) -> list[tuple[int, int, Instruction]]:
    """The longest part of the group whose ranges follow one another."""
    best: list[tuple[int, int, Instruction]] = []
    run: list[tuple[int, int, Instruction]] = []
    for item in group:
        if run and item[0] != run[-1][1]:
            run = []
        run = [*run, item]
        best = run if len(run) > len(best) else best
    return best


def _merge_run(
    graph: Graph, wholes: tuple[int, ...], run: list[tuple[int, int, Instruction]]
) -> Graph:
    start, stop = run[0][0], run[-1][1]
    builder = Builder(graph)
    inputs: list[int] = []
    for whole in wholes:
        shape, dtype = graph.spec(whole)
        if (start, stop) == (0, shape[-1]):
            inputs.append(whole)
            continue
        spec = Spec((*shape[:-1], stop - start), dtype)
        index = (Ellipsis, slice(start, stop))
        inputs.append(builder.add(_GETITEM, (whole,), {"index": index}, spec))
    shape = np.broadcast_shapes(*(builder.specs[v].shape for v in inputs))
    dtype = graph.spec(run[0][2].out).dtype
    together = builder.add(run[0][2].op, inputs, {}, Spec(shape, dtype))
    replaced: dict[int, int] = {}
    for a, b, i in run:
        index = (Ellipsis, slice(a - start, b - start))
        replaced[i.out] = builder.add(_GETITEM, (together,), {"index": index}, graph.spec(i.out))
    return builder.replacing(replaced)
