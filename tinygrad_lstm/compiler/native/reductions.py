"""Sums, maxima and minima: over axes of a row within a step, and sums over rows and time.

Long sums over a row's axes are made of sums of parts, where their length can be divided: their
error grows with the length of a part and the number of parts, and not with the product of the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..backends import NotNative
from .arguments import Given
from .body import Body, Home, collapsed
from .functions import Vectors
from .fused import Pass
from .layout import RowSum, View, dense
from .schedule import Entry, Group, Reduction

__all__ = ["Sums", "add_along", "reduce_rows"]

_START = {"sum": 0.0, "max": -math.inf, "min": math.inf}
_PART = 32  # numbers, or registers, of a sum that is not divided further


def reduce_rows(body: Body, stage: Reduction) -> None:
    """One reduction of a step, over some axes of each row."""
    view = body.schedule.resolved(stage.source)
    kept = [k for k in range(len(view.shape)) if k not in stage.axes]
    places = dense(tuple(view.shape[k] for k in kept))
    inner, (steps,) = collapsed(
        [view.shape[k] for k in stage.axes], [[view.strides[k] for k in stage.axes]]
    )
    if kept and view.strides[kept[-1]] == 1 and (not steps or steps[-1] != 1):
        count = view.shape[kept[-1]]
        with _each(body, stage, kept[:-1], places) as (a, c):
            _reduce_together(body, stage.name, a, c, count, inner, steps)
    else:
        with _each(body, stage, kept, places) as (a, c):
            total = _reduced(body, stage.name, a, inner, steps)
            body.f.store(body.scalar.name, total, c, body.scalar.bytes)


@contextmanager
def _each(
    body: Body, stage: Reduction, axes: Sequence[int], places: Sequence[int]
) -> Iterator[tuple[str, str]]:
    """Loops over rows, and over axes of them: where the source begins, and where the result does.

    places: the strides of these axes in the result.
    """
    f, s = body.f, body.scalar
    kind, pointer, row, view = body.located(stage.source)
    if kind == "i8":
        raise NotNative(f"{stage.name}: a reduction of flags")
    out, out_row, rows, _ = body.homes[stage.out]
    with body.each_row(rows) as r:
        a = f.at(kind, pointer, f.add(f.mul(r, row), view.offset))
        c = f.at(s.name, out, f.mul(r, out_row)) if rows else out
        with body.each_index([view.shape[k] for k in axes]) as index:
            for i, k, place in zip(index, axes, places, strict=False):
                a = f.at(kind, a, f.mul(i, view.strides[k]))
                c = f.at(s.name, c, f.mul(i, place))
            yield a, c


def _reduce_together(
    body: Body, name: str, a: str, c: str, count: int, shape: Sequence[int], strides: Sequence[int]
) -> None:
    """Reductions of `count` numbers side by side, each with others at the strides."""
    f, s = body.f, body.scalar
    shape, strides = _in_parts(shape, strides)
    for j, width in body.pieces(count):
        vectors = Vectors(f, s, width)
        total, part = f.slot(vectors.kind), f.slot(vectors.kind)
        f.store(vectors.kind, vectors.constant(_START[name]), total, 64)
        with body.each_index(shape[:-1]) as outer:
            start = f.at(s.name, a, j)
            for i, stride in zip(outer, strides, strict=False):
                start = f.at(s.name, start, f.mul(i, stride))
            f.store(vectors.kind, vectors.constant(_START[name]), part, 64)
            with body.each_index(shape[-1:]) as inner:
                at = start
                for i, stride in zip(inner, strides[-1:], strict=True):
                    at = f.at(s.name, at, f.mul(i, stride))
                x = f.load(vectors.kind, at, s.bytes)
                before = f.load(vectors.kind, part, 64)
                f.store(vectors.kind, _both(vectors, name, before, x), part, 64)
            both = [f.load(vectors.kind, slot, 64) for slot in (total, part)]
            f.store(vectors.kind, _both(vectors, name, *both), total, 64)
        f.store(vectors.kind, f.load(vectors.kind, total, 64), f.at(s.name, c, j), s.bytes)


def _in_parts(
    shape: Sequence[int], strides: Sequence[int], lanes: int = 1
) -> tuple[Sequence[int], Sequence[int]]:
    """The same numbers, their last axis in parts, as long as many if it is long.

    If it can be divided. lanes: how many numbers are added at a time.
    """
    if not shape or shape[-1] <= _PART * lanes:
        return shape, strides
    most = max(_PART, math.isqrt(shape[-1] // lanes)) * lanes
    part = next((n for n in range(most, lanes, -lanes) if shape[-1] % n == 0), None)
    if part is None:
        return shape, strides
    divided = (*shape[:-1], shape[-1] // part, part)
    return divided, (*strides[:-1], strides[-1] * part, strides[-1])


def add_along(body: Body, stage: Reduction) -> None:
    """The sums of all numbers so far, along an axis of each row."""
    f, s = body.f, body.scalar
    view, (axis,) = body.schedule.resolved(stage.source), stage.axes
    places, last = dense(view.shape), len(view.shape) - 1
    together = axis < last and view.strides[last] == 1
    apart = [k for k in range(last + 1) if k != axis and not (together and k == last)]
    with _each(body, stage, apart, [places[k] for k in apart]) as (a, c):
        for j, width in body.pieces(view.shape[last] if together else 1):
            vectors = Vectors(f, s, width)
            slot = f.slot(vectors.kind)
            f.store(vectors.kind, vectors.constant(0.0), slot, 64)
            with f.loop(view.shape[axis]) as n:
                at = f.at(s.name, f.at(s.name, a, j), f.mul(n, view.strides[axis]))
                x = f.load(vectors.kind, at, s.bytes)
                total = vectors.binary("fadd", f.load(vectors.kind, slot, 64), x)
                f.store(vectors.kind, total, slot, 64)
                to = f.at(s.name, f.at(s.name, c, j), f.mul(n, places[axis]))
                f.store(vectors.kind, total, to, s.bytes)


def _reduced(
    body: Body, name: str, a: str, shape: Sequence[int], strides: Sequence[int]
) -> str:
    """The sum, maximum or minimum of numbers in memory, as one number."""
    f, s = body.f, body.scalar
    dense = not shape or strides[-1] == 1
    lanes = max(body.widths(shape[-1] if shape else 1, dense), default=1)
    shape, strides = _in_parts(shape, strides, lanes)
    count, stride = (shape[-1], strides[-1]) if shape else (1, 1)
    widths = [Vectors(f, s, width) for width in body.widths(count, dense)]

    def begin() -> dict[int, str]:
        slots = {vectors.width: f.slot(vectors.kind) for vectors in widths}
        for vectors in widths:
            f.store(vectors.kind, vectors.constant(_START[name]), slots[vectors.width], 64)
        return slots

    def add(vectors: Vectors, x: str, slots: dict[int, str]) -> None:
        before = f.load(vectors.kind, slots[vectors.width], 64)
        f.store(vectors.kind, _both(vectors, name, before, x), slots[vectors.width], 64)

    totals = begin()
    with body.each_index(shape[:-1]) as index:
        for i, step in zip(index, strides, strict=False):
            a = f.at(s.name, a, f.mul(i, step))
        part = begin() if shape[:-1] else totals
        for j, width in body.pieces(count, dense):
            vectors = Vectors(f, s, width)
            at = f.at(s.name, a, j if dense else f.mul(j, stride))
            add(vectors, f.load(vectors.kind, at, s.bytes), part)
        if part is not totals:
            for vectors in widths:
                add(vectors, f.load(vectors.kind, part[vectors.width], 64), totals)
    one = Vectors(f, s, 1)
    total = one.constant(_START[name])
    for width, slot in totals.items():
        x = f.load(s.vector(width), slot, 64)
        total = _both(one, name, total, _folded(body, name, x, width))
    return f.let(f"extractelement {one.kind} {total}, i32 0")


def _folded(body: Body, name: str, x: str, width: int) -> str:
    """A register's numbers as one: half by half."""
    while width > 1:
        whole = body.scalar.vector(width)
        width //= 2
        parts: list[str] = []
        for first in (0, width):
            lanes = ", ".join(f"i32 {k}" for k in range(first, first + width))
            mask = f"<{width} x i32> <{lanes}>"
            parts.append(body.f.let(f"shufflevector {whole} {x}, {whole} poison, {mask}"))
        x = _both(Vectors(body.f, body.scalar, width), name, *parts)
    return x


def _both(vectors: Vectors, name: str, x: str, y: str) -> str:
    if name == "sum":
        return vectors.binary("fadd", x, y)
    return vectors.maximum(x, y) if name == "max" else vectors.minimum(x, y)


class Sums:
    """Sums over time, where they are handed in: as zeros, to which each step adds its share."""

    def __init__(self, body: Body, given: Given, first: str) -> None:
        self._body = body
        for k in range(len(body.layout.program.sums)):
            view = self._view(k)
            pointer = given.array("sums", k)
            row = math.prod(view.shape)
            if view.rows:
                pointer = body.f.at(body.scalar.name, pointer, body.f.mul(first, row))
            body.homes[view.root] = Home(pointer, row, view.rows, body.scalar.name)

    def _view(self, k: int) -> View:
        """A sum's own place, as a view; its root is that of no value."""
        layout, root = self._body.layout, -(10**9) - k
        v = layout.program.sums[k]
        made = layout.row_sums.get(v)
        if made is not None:
            return View(root, 0, made.shape, dense(made.shape), False)
        view = layout.views[v]
        return View(root, 0, view.shape, dense(view.shape), view.rows)

    def add(self) -> None:
        """This step's shares."""
        body, layout = self._body, self._body.layout
        for k, v in enumerate(layout.program.sums):
            target = self._view(k)
            made = layout.row_sums.get(v)
            if made is None:
                share = layout.literals[v] if v in layout.literals else layout.views[v]
                entry = Entry("add", (target, share), {}, None, target)
                Pass(body, Group(target.shape, target.rows, [entry])).write()
                continue
            goal = body.f.at(body.scalar.name, body.homes[target.root].pointer, made.offset)
            if made.axes == len(made.source.shape):
                self._add_total(made.source, goal)
            else:
                self._add_rows(made, goal)

    def _add_rows(self, made: RowSum, goal: str) -> None:
        """Add the sum over rows, and over a row's first axes, to the numbers at `goal`."""
        body, f, s = self._body, self._body.f, self._body.scalar
        kind, pointer, row, view = body.located(made.source)
        pointer = f.at(kind, pointer, view.offset)
        rest = view.shape[made.axes :]
        shape, (strides, goals) = collapsed(rest, [view.strides[made.axes :], dense(rest)])
        if not shape:
            shape, strides, goals = (1,), (1,), (1,)
        with body.each_index(view.shape[: made.axes]) as first:
            for i, a in zip(first, view.strides, strict=False):
                pointer = f.at(kind, pointer, f.mul(i, a))
            with body.each_index(shape[:-1]) as index:
                for i, a, b in zip(index, strides[:-1], goals[:-1], strict=True):
                    pointer = f.at(kind, pointer, f.mul(i, a))
                    goal = f.at(s.name, goal, f.mul(i, b))
                self._add_numbers(kind, pointer, row, strides[-1], shape[-1], goal)

    def _add_numbers(
        self, kind: str, pointer: str, row: int, stride: int, count: int, goal: str
    ) -> None:
        body, f, s = self._body, self._body.f, self._body.scalar
        for j, width in body.pieces(count, stride == 1):
            vectors = Vectors(f, s, width)
            slot = f.slot(vectors.kind)
            place = f.at(s.name, goal, j)
            f.store(vectors.kind, vectors.constant(0.0), slot, 64)
            start = f.at(kind, pointer, j if stride == 1 else f.mul(j, stride))
            with f.loop(body.rows) as r:
                x = f.load(vectors.kind, f.at(kind, start, f.mul(r, row)), s.bytes)
                total = vectors.binary("fadd", f.load(vectors.kind, slot, 64), x)
                f.store(vectors.kind, total, slot, 64)
            share, before = f.load(vectors.kind, slot, 64), f.load(vectors.kind, place, s.bytes)
            f.store(vectors.kind, vectors.binary("fadd", before, share), place, s.bytes)

    def _add_total(self, source: View, goal: str) -> None:
        """Add the sum of everything to one number."""
        body, f, s = self._body, self._body.f, self._body.scalar
        kind, pointer, row, view = body.located(source)
        shape, (strides,) = collapsed(view.shape, [view.strides])
        with f.loop(body.rows) as r:
            a = f.at(kind, pointer, f.add(f.mul(r, row), view.offset))
            part = _reduced(body, "sum", a, shape, strides)
            before = f.load(s.name, goal, s.bytes)
            f.store(s.name, f.let(f"fadd {s.name} {before}, {part}"), goal, s.bytes)
