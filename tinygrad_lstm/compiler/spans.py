"""A graph over all steps as one that can be run for some of the steps at a time.

Each value that depends on the steps has time along one of its axes. A product or a sum over that
axis is a total: what it is for spans of steps is added up. Totals may be computed with afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from .graph import Graph, Instruction

__all__ = ["Along", "Spans", "spans_of"]


class Along(NamedTuple):
    """Where time lies: the axis has `each` places for each step, step by step."""

    axis: int
    each: int = 1


class Spans(NamedTuple):
    """A graph's instructions: those run first, those run for each span, those run at the end.

    along: where time lies, of the values that have it. totals: values to be added up over spans.
    """

    first: list[Instruction]
    over: list[Instruction]
    after: list[Instruction]
    along: dict[int, Along]
    totals: list[int]


class NotUnderstood(Exception):
    """An op that perhaps mixes the steps."""


def spans_of(
    graph: Graph, timed: Mapping[int, Along], steps: int, last: Collection[int] = ()
) -> Spans | None:
    """None if some op may mix the steps, or a result has time along another axis than the first.

    timed: inputs with time. last: inputs that are not there before all spans are done.
    """
    along, late = dict(timed), set(last)
    found = Spans([], [], [], along, [])
    try:
        for i in graph.instructions:
            moving = not along.keys().isdisjoint(i.inputs)
            if not late.isdisjoint(i.inputs):
                if moving:
                    return None
                found.after.append(i)
                late.add(i.out)
            elif not moving:
                found.first.append(i)
            else:
                found.over.append(i)
                where = _Rule(i, graph, along, steps).along()
                if where is None:
                    found.totals.append(i.out)
                    late.add(i.out)
                else:
                    along[i.out] = where
    except NotUnderstood:
        return None
    return found if all(along[v].axis == 0 for v in graph.outputs if v in along) else None


class _Rule:
    """Where time lies in an instruction's result."""

    def __init__(
        self, i: Instruction, graph: Graph, along: Mapping[int, Along], steps: int
    ) -> None:
        self.i, self.steps = i, steps
        self.attrs: Mapping[str, Any] = i.attrs
        self.shapes = [graph.spec(v).shape for v in i.inputs]
        self.given = [along.get(v) for v in i.inputs]
        self.shape = graph.spec(i.out).shape

    def along(self) -> Along | None:
        """None: nowhere, it is a total."""
        name = self.i.op.name
        if self.i.op.elementwise:
            return self._aligned(self._from_the_right(), len(self.shape))
        rule = getattr(self, f"_{name}", None)
        if rule is None and "axis" in self.attrs and isinstance(self.attrs["axis"], tuple):
            rule = self._reduction
        if rule is None:
            raise NotUnderstood
        return rule()

    def _one(self) -> Along:
        """Of the only input."""
        (where,) = self.given
        if where is None:
            raise NotUnderstood
        return where

    def _from_the_right(self) -> set[Along]:
        """Where time lies, axes counted from the last; -1 is the last."""
        return {
            where._replace(axis=where.axis - len(shape))
            for shape, where in zip(self.shapes, self.given, strict=True)
            if where is not None
        }

    def _aligned(self, places: set[Along], rank: int) -> Along:
        """All at the same place, where other inputs have nothing or are spread."""
        if len(places) != 1:
            raise NotUnderstood
        (place,) = places
        for shape, where in zip(self.shapes, self.given, strict=True):
            if where is None and len(shape) >= -place.axis and shape[place.axis] != 1:
                raise NotUnderstood
        return place._replace(axis=rank + place.axis)

    def _reshape(self) -> Along:
        where = self._one()
        each, rest = divmod(self.shape[0], self.steps) if self.shape else (0, 1)
        if where.axis or rest:
            raise NotUnderstood
        return Along(0, each)

    def _transpose(self) -> Along:
        where = self._one()
        return where._replace(axis=self.attrs["axes"].index(where.axis))

    def _broadcast_to(self) -> Along:
        where = self._one()
        return where._replace(axis=where.axis + len(self.shape) - len(self.shapes[0]))

    def _getitem(self) -> Along:
        where, axes = self._one(), self._taken_whole(len(self.shapes[0]))
        if where.axis not in axes:
            raise NotUnderstood
        return where._replace(axis=axes.index(where.axis))

    def _scatter(self) -> Along:
        where = self._one()
        axis = self._taken_whole(len(self.shape))[where.axis]
        if axis < 0:
            raise NotUnderstood
        return where._replace(axis=axis)

    def _taken_whole(self, rank: int) -> list[int]:
        """The axis that each axis of a part with a basic index is all of; -1 for none."""
        index = self.attrs["index"]
        parts = list(index) if isinstance(index, tuple) else [index]
        if not all(p is None or p is Ellipsis or isinstance(p, slice | int) for p in parts):
            raise NotUnderstood
        if Ellipsis not in parts:
            parts.append(Ellipsis)
        at = parts.index(Ellipsis)
        taken = sum(p is not None and p is not Ellipsis for p in parts)
        parts[at : at + 1] = [slice(None)] * (rank - taken)
        axes: list[int] = []
        axis = 0
        for p in parts:
            if not isinstance(p, int):
                axes.append(axis if p == slice(None) else -1)
            axis += p is not None
        return axes

    def _reduction(self) -> Along | None:
        where, axes = self._one(), self.attrs["axis"]
        if where.axis in axes:
            if self.i.op.name != "sum":
                raise NotUnderstood
            return None
        if self.attrs.get("keepdims", True):
            return where
        return where._replace(axis=where.axis - sum(a < where.axis for a in axes))

    def _concatenate(self) -> Along:
        if None in self.given:
            raise NotUnderstood
        where = self._aligned(self._from_the_right(), len(self.shape))
        if where.axis == self.attrs["axis"]:
            raise NotUnderstood
        return where

    def _matmul(self) -> Along | None:
        (a, b), (left, right) = self.given, self.shapes
        if a is not None and b is not None and a.axis == len(left) - 1:
            if b != Along(len(right) - 2, a.each):
                raise NotUnderstood
            return None
        places = self._from_the_right()
        summed = (a is not None and a.axis == len(left) - 1) or (
            b is not None and b.axis == len(right) - 2
        )
        rows = a is not None and a.axis == len(left) - 2
        columns = b is not None and b.axis == len(right) - 1
        if summed or len(places) != 1:
            raise NotUnderstood
        if (rows and b is None) or (columns and a is None):
            (place,) = places
            return place._replace(axis=len(self.shape) + place.axis)
        if rows or columns:
            raise NotUnderstood
        return self._aligned(places, len(self.shape))

    def _take(self) -> Along:
        values, indices = self.given
        if values is not None or indices is None:
            raise NotUnderstood
        return indices._replace(axis=indices.axis + self.attrs["axis"])

    def _add_rows(self) -> None:
        values, indices = self.given
        if values is None or indices is None:
            raise NotUnderstood
        if values != indices._replace(axis=indices.axis + self.attrs["axis"]):
            raise NotUnderstood
