"""A step's ops in stages: products, reductions, and groups of elementwise ops done in one pass.

A group goes over the rows once: what its ops hand to each other stays in registers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..graph import Instruction
from .layout import Layout, View, dense

__all__ = ["Entry", "Group", "Product", "Reduction", "Schedule"]

Operand = View | float


@dataclass(frozen=True)
class Entry:
    """An elementwise op on numbers at the same place of each operand."""

    name: str
    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any]
    out: int | None  # the value it makes
    target: View | None = None  # where to write it, if not at the value's own place


@dataclass
class Group:
    """Elementwise ops over one shape, in one pass."""

    shape: tuple[int, ...]
    rows: bool
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Product:
    """left @ right, written to or added into `out`."""

    left: View
    right: int
    out: int
    add: bool


@dataclass(frozen=True)
class Reduction:
    """A sum, maximum or minimum over some axes of each row; or all sums along an axis."""

    name: str
    source: View
    axes: tuple[int, ...]  # of the view's
    out: int


Stage = Group | Product | Reduction


class Schedule:
    """Stages in order; where each stored value lies; which values have a place at all.

    places: where a value lies if not at its own place: in a concatenation it is a part of.
    stored: values that are written to memory.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.places: dict[int, View] = {}
        p = layout.program
        self.wanted = {*p.stacks, *p.carry_out}
        self._made = {i.out: i for i in layout.computed}
        self._readers = self._count_readers()
        self._place_parts()
        self.stages = self._stages()
        self.stored = self._find_stored()

    # -- views --------------------------------------------------------------------------------

    def resolved(self, view: View) -> View:
        """The view in terms of where its root lies."""
        place = self.places.get(view.root)
        if place is None:
            return view
        return view._replace(root=place.root, offset=view.offset + place.offset)

    def _inputs(self, i: Instruction) -> list[Operand]:
        """An elementwise instruction's operands, broadcast."""
        layout = self.layout
        if i.out in layout.copies:
            return [layout.copies[i.out]]
        rows = layout.views[i.out].rows
        return [
            layout.literals[v] if v in layout.literals else layout.operand(v, i.out, rows)
            for v in i.inputs
        ]

    def _read(self, i: Instruction) -> list[View]:
        """Every view an instruction reads."""
        if i.op.elementwise or i.out in self.layout.copies:
            return [v for v in self._inputs(i) if isinstance(v, View)]
        if i.op.name == "matmul":
            return [self._left(i)]
        ndim = len(self.layout.graph.spec(i.out).shape)
        return [
            self.layout.view(v, len(self.layout.graph.spec(v).shape) or ndim)
            for v in i.inputs
            if v not in self.layout.literals and v not in self.layout.matrices
        ]

    def _left(self, i: Instruction) -> View:
        return self.layout.view(i.inputs[0], len(self.layout.graph.spec(i.out).shape))

    def _count_readers(self) -> dict[int, int]:
        readers: dict[int, int] = {}
        for i in self.layout.computed:
            for root in {v.root for v in self._read(i)}:
                readers[root] = readers.get(root, 0) + 1
        p = self.layout.program
        direct = [*self.wanted, *p.sums, *(v for pair in p.products for v in pair)]
        roots = [self.layout.views[v].root for v in direct if v in self.layout.views]
        for root in [*roots, *(made.source.root for made in self.layout.row_sums.values())]:
            readers[root] = readers.get(root, 0) + 1
        return readers

    # -- concatenations -----------------------------------------------------------------------

    def _place_parts(self) -> None:
        """Let parts of a concatenation be computed where they are wanted, but sums of products.

        Products write whole registers, beyond a row's end.
        """
        fixed = {*self.wanted, *self._find_chains()[0]}
        for i in self.layout.computed:
            if i.op.name == "concatenate":
                for v, target in zip(i.inputs, self._targets(i), strict=True):
                    made = self._made.get(v)
                    fits = target.strides == dense(target.shape) and v not in self.places
                    if made is not None and made.op.elementwise and fits and v not in fixed:
                        self.places[v] = target

    def _targets(self, i: Instruction) -> list[View]:
        """Where in the result each part goes."""
        whole = self.layout.views[i.out]
        axis = i.attrs["axis"] - (1 if whole.rows else 0)
        targets: list[View] = []
        start = 0
        for v in i.inputs:
            shape = self.layout.graph.spec(v).shape
            row = shape[1:] if whole.rows else shape
            if i.op.name == "stack":
                size, strides = 1, (*whole.strides[:axis], *whole.strides[axis + 1 :])
            else:
                size, strides = row[axis], whole.strides
            offset = whole.offset + start * whole.strides[axis]
            targets.append(View(i.out, offset, row, strides, whole.rows))
            start += size
        return targets

    # -- sums of products ---------------------------------------------------------------------

    def _find_chains(self) -> tuple[dict[int, list[Instruction]], set[int]]:
        """Sums all of whose terms are products that nothing else reads: one accumulation.

        The products of each, and the values that are only part of a longer sum.
        """
        layout = self.layout
        chains: dict[int, list[Instruction]] = {}
        inner: set[int] = set()
        for i in layout.computed:
            if i.op.name == "matmul":
                chains[i.out] = [i]
            elif i.op.name == "add" and i.inputs[0] != i.inputs[1] and self._are_chains(i, chains):
                chains[i.out] = [m for v in i.inputs for m in chains.pop(v)]
                inner.update(i.inputs)
        return chains, inner

    def _are_chains(self, i: Instruction, chains: dict[int, list[Instruction]]) -> bool:
        views = [self.layout.views[v] for v in (*i.inputs, i.out) if v in self.layout.views]
        return len({v.shape for v in views}) == 1 and all(
            v in chains
            and self._readers.get(v, 0) == 1
            and v not in self.wanted
            and self.layout.views[v].strides == dense(views[0].shape)
            for v in i.inputs
        )

    # -- items: what is to be done ------------------------------------------------------------

    def _items(self) -> list[_Item]:
        items: list[_Item] = []
        chains, inner = self._find_chains()
        parts: dict[int, list[int]] = {}  # part -> the concatenations it is computed in
        for v, place in self.places.items():
            parts.setdefault(v, []).append(place.root)
        for i in self.layout.computed:
            if i.out in chains:
                for m in chains[i.out]:
                    left = self._left(m)
                    stage = Product(left, m.inputs[1], i.out, False)
                    items.append(_Item(stage, (), [left], (i.out,)))
            elif i.out not in inner:
                self._add_item(i, items, (i.out, *parts.get(i.out, ())))
        return items

    def _add_item(self, i: Instruction, items: list[_Item], makes: tuple[int, ...]) -> None:
        layout = self.layout
        own = layout.views[i.out]
        source = layout.copies.get(i.out)
        if source is not None and source.shape != own.shape:  # side by side, for another shape
            target = own._replace(shape=source.shape, strides=dense(source.shape))
            entry = Entry("copy", (source,), {}, None, target)
            items.append(_Item.of(entry, source.shape, makes, own.rows))
        elif source is not None or i.op.elementwise or i.op.name == "reshape":
            light = i.op.elementwise and source is None
            inputs = self._inputs(i)
            entry = Entry(i.op.name if light else "copy", tuple(inputs), i.attrs, i.out)
            items.append(_Item.of(entry, own.shape, makes, own.rows))
        elif i.op.name == "scatter":
            source = layout.view(i.inputs[0], len(layout.graph.spec(i.inputs[0]).shape))
            fill = Entry("copy", (0.0,), {}, None, own)
            items.append(_Item.of(fill, own.shape, makes, own.rows))
            copy = Entry("copy", (source,), {}, None, layout.scattered(i))
            items.append(_Item.of(copy, source.shape, makes, own.rows, after=len(items) - 1))
        elif i.op.name in ("concatenate", "stack"):
            for v, target in zip(i.inputs, self._targets(i), strict=True):
                if self.places.get(v) == target:
                    continue
                operand: Operand = (
                    layout.literals[v]
                    if v in layout.literals
                    else layout.view(v, len(layout.graph.spec(v).shape))
                )
                entry = Entry("copy", (operand,), {}, None, target)
                items.append(_Item.of(entry, target.shape, makes, own.rows))
        else:
            (source,) = self._read(i)
            axis = i.attrs["axis"]
            axes = (axis,) if isinstance(axis, int) else tuple(sorted(axis))
            axes = tuple(k - source.rows for k in axes)
            stage = Reduction(i.op.name, source, axes, i.out)
            items.append(_Item(stage, (), [source], makes))

    # -- stages -------------------------------------------------------------------------------

    def _stages(self) -> list[Stage]:
        items = self._items()
        self._missing = Counter(v for item in items for v in item.makes)
        self._waiting = dict(enumerate(items))
        self._finished: set[int] = set()  # items of earlier stages
        stages: list[Stage] = []
        started: set[int] = set()
        while self._waiting:
            heavy = [
                k
                for k, item in self._waiting.items()
                if not isinstance(item.stage, Entry) and self._ready(item, None, set())
            ]
            for k in heavy:
                stage = self._waiting[k].stage
                if isinstance(stage, Product):
                    stage = replace(stage, add=stage.out in started)
                    started.add(stage.out)
                stages.append(stage)  # type: ignore[arg-type]
                self._finish([k])
            if not heavy:
                stages.append(self._group())
        return stages

    def _finish(self, numbers: Iterable[int]) -> None:
        for k in numbers:
            self._finished.add(k)
            for v in self._waiting.pop(k).makes:
                self._missing[v] -= 1

    def _group(self) -> Group:
        group: Group | None = None
        inside: dict[int, int] = {}  # value -> the item of the group that makes it
        grown = True
        while grown:
            grown = False
            for k, item in self._waiting.items():
                if k in inside.values() or not isinstance(item.stage, Entry):
                    continue
                if group is not None and (group.shape, group.rows) != (item.shape, item.rows):
                    continue
                if self._ready(item, item.shape, set(inside)):
                    group = group or Group(item.shape, item.rows)
                    group.entries.append(item.stage)
                    inside[item.makes[0] if item.stage.target is None else -k - 1] = k
                    grown = True
        if group is None:
            raise RuntimeError("compiler: instructions wait for each other")
        self._finish(inside.values())
        return group

    def _ready(self, item: _Item, shape: tuple[int, ...] | None, inside: set[int]) -> bool:
        """Whether all it reads is there; what its group makes, only as it stands in registers."""
        if item.after is not None and item.after not in self._finished:
            return False
        for view in item.reads:
            if view.root in inside:
                if shape is None or not view.is_whole(shape):
                    return False
            elif self._missing.get(view.root, 0):
                return False
        return True

    # -- what is stored -----------------------------------------------------------------------

    def _find_stored(self) -> set[int]:
        layout, p = self.layout, self.layout.program
        stored = {*self.wanted, *self.places}
        outside: list[View] = []
        for stage in self.stages:
            if isinstance(stage, Group):
                inside = {e.out for e in stage.entries}
                stored |= {e.target.root for e in stage.entries if e.target is not None}
                operands = [o for e in stage.entries for o in e.operands]
                outside += [o for o in operands if isinstance(o, View) and o.root not in inside]
            else:
                outside.append(stage.left if isinstance(stage, Product) else stage.source)
                stored.add(stage.out)
        direct = [v for pair in p.products for v in pair]
        direct += [v for v in p.sums if v not in layout.row_sums]
        outside += [layout.views[v] for v in direct if v in layout.views]
        outside += [made.source for made in layout.row_sums.values()]
        stored |= {v.root for v in outside}
        return stored & set(self._made)


@dataclass(frozen=True)
class _Item:
    """Something to be done; shape and rows: of an entry's loop."""

    stage: Entry | Product | Reduction
    shape: tuple[int, ...]
    reads: list[View]
    makes: tuple[int, ...]
    rows: bool = True
    after: int | None = None

    @classmethod
    def of(
        cls,
        entry: Entry,
        shape: tuple[int, ...],
        makes: tuple[int, ...],
        rows: bool,
        after: int | None = None,
    ) -> _Item:
        reads = [o for o in entry.operands if isinstance(o, View)]
        return cls(entry, shape, reads, makes, rows, after)
