"""A whole loop as one native function: pack the weights, walk through time, add up the gradients.

The function works on a range of rows of the batch, so that several threads can run it side by
side and never wait for each other within a sequence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ..backends import NotNative
from .functions import Vectors
from .layout import Layout, RowSum, View, dense
from .products import Products
from .schedule import Entry, Group, Operand, Product, Reduction, Schedule
from .target import Machine
from .text import Function

__all__ = ["FUNCTIONS", "HEAD", "Kernel"]

HEAD = ("T", "first", "rows", "scratch", "capacity", "packed", "arrays")
"""The first numbers that the function is given; then those of `Kernel.numbers`."""

NUMBERS_AT = object.__basicsize__
"""Where in an array's object the address of its numbers stands: behind what all objects have."""

ITEMS_AT = tuple.__basicsize__
"""Where in a tuple's object the addresses of its items begin."""

FUNCTIONS = ("prepare", "run", "prepare_and_run")
"""The functions of a kernel."""

_BOTH = """define void @prepare_and_run(ptr %args) #0 {
entry:
  call void @prepare(ptr %args)
  call void @run(ptr %args)
  ret void
}"""


class Kernel:
    """The text of a loop's function, and how it is to be called.

    arrays: what the tuple holds whose id is among the head's numbers, as (list, position).
    numbers: for each number after the head, (list, position, what): of which array, and whether the
    id of the "array" itself is meant, as of invariants, or a stride ("time", "0", "1") in numbers.
    blocks: arrays (list, position) that are part of another, ("blocks", number): they have an
    "offset" in bytes instead.
    Scratch memory takes fixed + rows * per_row + capacity * per_kept numbers, one for each call.
    `prepare` packs the matrices into memory for `packed` numbers, which all calls of `run` read.
    """

    def __init__(
        self, layout: Layout, host: Machine, blocks: Mapping[tuple[str, int], int] | None = None
    ) -> None:
        self._blocks = dict(blocks or {})
        self.layout = layout
        self.program = layout.program
        self.graph = layout.graph
        self.scalar = host.scalar(layout.dtype.itemsize * 8)
        self.products = Products(host, self.scalar)
        self.schedule = Schedule(layout)
        self.arrays: list[tuple[str, int]] = []
        self.numbers: list[tuple[str, int, str]] = []
        self.fixed = self.per_row = self.per_kept = self.packed = 0
        self.prepare = Function("void @prepare(ptr %args)")
        self.f = Function("void @run(ptr %args)")
        self._homes: dict[int, tuple[str, int, bool, str]] = {}  # root -> pointer, row, rows, kind
        self._stack_home: dict[int, tuple[str, int, bool, str]] = {}
        self._carry_home: dict[int, tuple[str, int, bool, str]] = {}
        self._host = host
        self._write()

    def text(self) -> str:
        """The module."""
        functions = [*self.products.functions.values(), self.prepare, self.f, _BOTH]
        used = "\n\n".join(map(str, functions))
        return "\n".join([*_declarations(used), used, self._host.attributes, ""])

    # -- arguments and memory -----------------------------------------------------------------

    def _argument(self, position: int, kind: str) -> str:
        return self.f.load(kind, self.f.at("i64", "%args", position), 8)

    def _array(self, group: str, position: int, what: str) -> str:
        """A pointer or stride handed in from outside."""
        if what == "array" and (group, position) in self._blocks:
            block = self._array("blocks", self._blocks[group, position], "array")
            return self.f.at("i8", block, self._array(group, position, "offset"))
        entry = (group, position, what)
        if entry not in self._given:
            if what != "array":
                self._given[entry] = self._argument(self._number(entry), "i64")
            else:
                held = self._object(group, position)
                self._given[entry] = self.f.load("ptr", self.f.at("i8", held, NUMBERS_AT), 8)
        return self._given[entry]

    def _number(self, entry: tuple[str, int, str]) -> int:
        """Where among the numbers it stands."""
        if entry not in self.numbers:
            self.numbers.append(entry)
        return len(HEAD) + self.numbers.index(entry)

    def _object(self, group: str, position: int) -> str:
        """The address of Python's array. Invariants stay from call to call, each a number."""
        if group == "invariants":
            return self._argument(self._number((group, position, "array")), "ptr")
        if (group, position) not in self.arrays:
            self.arrays.append((group, position))
        items = self.f.at("i8", self._argument(HEAD.index("arrays"), "ptr"), ITEMS_AT)
        return self.f.load("ptr", self.f.at("ptr", items, self.arrays.index((group, position))), 8)

    # -- the function -------------------------------------------------------------------------

    def _write(self) -> None:
        self._given: dict[tuple[str, int, str], str] = {}
        f, p = self.f, self.program
        for v in (*p.stacks, *p.carried, *p.carry_out, *p.sums):
            if self.graph.spec(v).dtype != self.layout.dtype:
                raise NotNative(f"a step that keeps values of type {self.graph.spec(v).dtype}")
        self._plan_memory()
        self.T, self.first, self.R = (self._argument(k, "i64") for k in range(3))
        self.capacity = self._argument(4, "i64")
        self._find_memory()
        self._pack_matrices()
        self._fixed_pointers()
        self._start_carried()
        self._clear_sums()
        position = f.slot("i64")
        f.do(f"store i64 0, ptr {position}")
        with f.loop(self.T) as step:
            t = step
            if p.backwards:
                t = f.let(f"sub nsw i64 {self.T}, {f.add(step, 1)}")
            self._step_pointers(t)
            for stage in self.schedule.stages:
                self._stage(stage)
            self._copy_out()
            self._add_sums()
            self._keep_factors(position)
            self._swap()
        if self._factors:
            self._flush(position)
        self._finish_carried()
        f.do("ret void")

    def _plan_memory(self) -> None:
        """Offsets of everything in scratch memory: (region, offset in that region)."""
        layout, p = self.layout, self.program
        pad = self.scalar.padded
        self._offsets: dict[tuple[str, int], tuple[str, int]] = {}

        def reserve(name: str, key: int, region: str, size: int) -> None:
            at = {"fixed": self.fixed, "row": self.per_row, "kept": self.per_kept}[region]
            self._offsets[name, key] = (region, at)
            if region == "fixed":
                self.fixed += pad(size)
            elif region == "row":
                self.per_row += pad(size)
            else:
                self.per_kept += pad(size)

        self._stacked = {v: k for k, v in enumerate(p.stacks)}
        self._carried_out = {v: k for k, v in enumerate(p.carry_out)}
        products = [s for s in self.schedule.stages if isinstance(s, Product)]
        for v in dict.fromkeys(s.right for s in products):
            depth, columns = self.graph.spec(v).shape
            self._offsets["packed", v] = ("packed", self.packed)
            self.packed += pad(self.products.packed_size(depth, columns))
        made_by_product = {s.out for s in products}
        for v in sorted(self.schedule.stored):
            if v in self.schedule.places:
                continue
            view = layout.views[v]
            as_product = v in made_by_product  # writes whole registers, beyond a row's end
            dense_rows = view.strides == dense(view.shape)
            if v in self._stacked and not as_product:
                continue
            if v in self._ping_pong() and v not in self._stacked and dense_rows:
                continue
            reserve("value", v, "row" if view.rows else "fixed", self._row_stride(view))
        for k in self._ping_pong().values():
            view = layout.views[p.carried[k]]
            region = "row" if view.rows else "fixed"
            reserve("ping", k, region, self._row_stride(view))
            reserve("pong", k, region, self._row_stride(view))
        for v in dict.fromkeys(v for v, _ in p.products):
            reserve("left", v, "kept", self._lines(v) * self._apart(self._columns(v)))
        for v in dict.fromkeys(v for _, v in p.products):
            size = len(self.products.panels(self._columns(v))) * self.products.width
            reserve("right", v, "kept", self._lines(v) * size)
        self._factors = bool(p.products)

    def _row_stride(self, view: View) -> int:
        """Numbers from row to row of a value with memory of its own."""
        return self._apart(self._size(view))

    def _apart(self, count: int) -> int:
        """Rows of `count` numbers or more, such that several do not compete for the cache.

        Addresses that differ by a multiple of 1024 bytes do: one register more sets them apart.
        """
        padded = self.scalar.padded(count)
        return padded + (0 if padded * self.scalar.bytes % 1024 else self.scalar.lanes)

    def _size(self, view: View) -> int:
        """Numbers of a row of a value with memory of its own."""
        return max(1, sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)) + 1)

    def _ping_pong(self) -> dict[int, int]:
        """Carries that no history holds: value after the step -> carry."""
        return {v: k for k, v in enumerate(self.program.carry_out) if k >= self.program.history}

    def _lines(self, value: int) -> int:
        """Rows of a matrix that one row of the batch holds."""
        return math.prod(self.layout.views[value].shape[:-1])

    def _columns(self, value: int) -> int:
        return self.layout.views[value].shape[-1]

    def _find_memory(self) -> None:
        f = self.f
        scratch, packed = self._argument(3, "ptr"), self._argument(5, "ptr")
        rows = f.at(self.scalar.name, scratch, self.fixed)
        kept = f.at(self.scalar.name, rows, f.mul(self.R, self.per_row))
        self._pointers: dict[tuple[str, int], str] = {}
        for key, (region, offset) in self._offsets.items():
            if region in ("fixed", "packed"):
                start = scratch if region == "fixed" else packed
                self._pointers[key] = f.at(self.scalar.name, start, offset)
            elif region == "row":
                self._pointers[key] = f.at(self.scalar.name, rows, f.mul(self.R, offset))
            else:
                self._pointers[key] = f.at(self.scalar.name, kept, f.mul(self.capacity, offset))

    def _pack_matrices(self) -> None:
        """In a function of its own: once, for all threads."""
        run, given = self.f, self._given
        f = self.f = self.prepare
        self._given = {}
        packed = self._argument(5, "ptr")
        for (name, v), (_, offset) in self._offsets.items():
            if name != "packed":
                continue
            depth, columns = self.graph.spec(v).shape
            invariant, turned = self.layout.matrices[v]
            k = self.program.invariants.index(invariant)
            pack = self.products.pack(depth, columns)
            strides = [self._array("invariants", k, s) for s in "01"]
            first, second = reversed(strides) if turned else strides
            source = self._array("invariants", k, "array")
            target = f.at(self.scalar.name, packed, offset)
            f.do(f"call void @{pack}(ptr {source}, i64 {first}, i64 {second}, ptr {target})")
        f.do("ret void")
        self.f, self._given = run, given

    def _row_of(self, v: int) -> int:
        """Numbers from one row to the next in an array from outside."""
        return math.prod(self.layout.views[v].shape)

    def _fixed_pointers(self) -> None:
        """Invariants, and values in scratch memory."""
        f, p, layout = self.f, self.program, self.layout
        for k, v in enumerate(p.invariants):
            if v in layout.views:
                view = layout.views[v]
                pointer = self._array("invariants", k, "array")
                kind = self._kind(v)
                if view.rows:
                    pointer = f.at(kind, pointer, f.mul(self.first, self._row_of(v)))
                self._homes[v] = (pointer, self._row_of(v), view.rows, kind)
        for (name, v), pointer in self._pointers.items():
            if name == "value":
                view = layout.views[v]
                row = self._row_stride(view)
                self._homes[v] = (pointer, row, view.rows, self.scalar.name)
        self._series: list[tuple[int, str, str, str]] = []
        for k, v in enumerate(p.timed):
            self._add_series(v, "timed", k, self._kind(v))
        self._stack_series: dict[int, tuple[str, str]] = {}
        for k, v in enumerate(p.stacks):
            pointer = self._array("stacks", k, "array")
            view = layout.views[p.carried[k] if k < p.history else v]
            if view.rows:
                row = math.prod(view.shape)
                pointer = f.at(self.scalar.name, pointer, f.mul(self.first, row))
            self._stack_series[k] = (pointer, self._array("stacks", k, "time"))

    def _add_series(self, v: int, group: str, k: int, kind: str) -> None:
        pointer = self._array(group, k, "array")
        if self.layout.views[v].rows:
            pointer = self.f.at(kind, pointer, self.f.mul(self.first, self._row_of(v)))
        self._series.append((v, pointer, self._array(group, k, "time"), kind))

    def _kind(self, v: int) -> str:
        return "i8" if self.graph.spec(v).dtype == bool else self.scalar.name

    # -- carries ------------------------------------------------------------------------------

    def _start_carried(self) -> None:
        f, p = self.f, self.program
        for k in range(p.history):
            view = self.layout.views[p.carried[k]]
            row = math.prod(view.shape)
            self._copy_rows(view, self._outside("carried", k), row, self._stack_series[k][0], row)
        self._carry_slots: dict[int, tuple[str, str]] = {}
        for k in self._ping_pong().values():
            view = self.layout.views[p.carried[k]]
            own, row = self._row_stride(view), math.prod(view.shape)
            self._copy_rows(view, self._outside("carried", k), row, self._pointers["ping", k], own)
            slots = f.slot("ptr"), f.slot("ptr")
            for slot, name in zip(slots, ("ping", "pong"), strict=True):
                f.do(f"store ptr {self._pointers[name, k]}, ptr {slot}")
            self._carry_slots[k] = slots

    def _outside(self, group: str, k: int) -> str:
        """Where this thread's rows of a carry begin in an array from outside."""
        view = self.layout.views[self.program.carried[k]]
        pointer = self._array(group, k, "array")
        if not view.rows:
            return pointer
        return self.f.at(self.scalar.name, pointer, self.f.mul(self.first, math.prod(view.shape)))

    def _copy_rows(
        self, view: View, source: str, source_row: int, target: str, target_row: int
    ) -> None:
        """Copy a carry; the rows are so many numbers apart."""
        f, s = self.f, self.scalar
        with f.loop(self.R if view.rows else 1) as r:
            a = f.at(s.name, source, f.mul(r, source_row))
            c = f.at(s.name, target, f.mul(r, target_row))
            self._copy_numbers(a, c, math.prod(view.shape))

    def _finish_carried(self) -> None:
        f, p = self.f, self.program
        for k in range(p.history):
            view = self.layout.views[p.carried[k]]
            row, (start, stride) = math.prod(view.shape), self._stack_series[k]
            last = f.at(self.scalar.name, start, f.mul(self.T, stride))
            self._copy_rows(view, last, row, self._outside("finals", k), row)
        for k, (ping, _) in self._carry_slots.items():
            view = self.layout.views[p.carried[k]]
            own, row = self._row_stride(view), math.prod(view.shape)
            last = f.load("ptr", ping, 8)
            self._copy_rows(view, last, own, self._outside("finals", k), row)

    def _swap(self) -> None:
        f = self.f
        for ping, pong in self._carry_slots.values():
            one, other = f.load("ptr", ping, 8), f.load("ptr", pong, 8)
            f.do(f"store ptr {other}, ptr {ping}")
            f.do(f"store ptr {one}, ptr {pong}")

    # -- one step -----------------------------------------------------------------------------

    def _step_pointers(self, t: str) -> None:
        """Where this step's values lie."""
        f, p, layout = self.f, self.program, self.layout
        for v, pointer, stride, kind in self._series:
            now = f.at(kind, pointer, f.mul(t, stride))
            self._homes[v] = (now, self._row_of(v), layout.views[v].rows, kind)
        after = f.add(t, 1)
        for k, v in enumerate(p.stacks):
            pointer, stride = self._stack_series[k]
            s = self.scalar.name
            if k < p.history:
                before = p.carried[k]
                row, rows = self._row_of(before), layout.views[before].rows
                self._homes[before] = (f.at(s, pointer, f.mul(t, stride)), row, rows, s)
                now = f.at(s, pointer, f.mul(after, stride))
            else:
                now = f.at(s, pointer, f.mul(t, stride))
            row, rows = self._row_of(v), layout.views[v].rows
            self._stack_home[k] = (now, row, rows, s)
            if ("value", v) not in self._pointers:
                self._homes[v] = self._stack_home[k]
        for v, k in self._ping_pong().items():
            ping, pong = self._carry_slots[k]
            view = layout.views[p.carried[k]]
            row = self._row_stride(view)
            s = self.scalar.name
            self._homes[p.carried[k]] = (f.load("ptr", ping, 8), row, view.rows, s)
            home = (f.load("ptr", pong, 8), row, view.rows, s)
            self._carry_home[k] = home
            if ("value", v) not in self._pointers and v not in self._stacked:
                self._homes[v] = home

    def _copy_out(self) -> None:
        """Values that lie elsewhere than where they are wanted as well."""
        p = self.program
        for k, v in enumerate(p.stacks):
            if ("value", v) in self._pointers:
                self._copy_value(v, self._stack_home[k])
        for v, k in self._ping_pong().items():
            if v in self._stacked or ("value", v) in self._pointers:
                self._copy_value(v, self._carry_home[k])

    def _copy_value(self, v: int, home: tuple[str, int, bool, str]) -> None:
        view = self.layout.views[v]
        marker = -1 - v
        self._homes[marker] = home
        target = View(marker, 0, view.shape, dense(view.shape), view.rows)
        self._group(Group(view.shape, view.rows, [Entry("copy", (view,), {}, None, target)]))

    def _stage(self, stage: Group | Product | Reduction) -> None:
        if isinstance(stage, Group):
            self._group(stage)
        elif isinstance(stage, Product):
            self._product(stage)
        else:
            self._reduction(stage)

    def _locate(self, view: View) -> tuple[str, int, View]:
        """Pointer to the first row, numbers from row to row, and the view within a row."""
        view = self.schedule.resolved(view)
        pointer, row, rows, kind = self._homes[view.root]
        return f"{kind} {pointer}", row if rows else 0, view

    # -- products -----------------------------------------------------------------------------

    def _product(self, stage: Product) -> None:
        f = self.f
        depth, columns = self.graph.spec(stage.right).shape
        typed, row, view = self._locate(stage.left)
        kind, pointer = typed.split()
        if kind == "i8":
            raise NotNative("matmul: a product of flags")
        pointer = f.at(kind, pointer, view.offset)
        out, out_row, rows, _ = self._homes[stage.out]
        packed = self._pointers["packed", stage.right]
        lines = math.prod(view.shape[:-1])
        if lines == 1:
            name = self.products.times_packed(
                depth, columns, row or depth, view.strides[-1], out_row, add=stage.add
            )
            count = self.R if rows else 1
            f.do(f"call void @{name}(ptr {pointer}, ptr {packed}, ptr {out}, i64 {count})")
            return
        wide = self.products.padded(columns)
        name = self.products.times_packed(
            depth, columns, view.strides[-2], view.strides[-1], wide, add=stage.add
        )
        with f.loop(self.R if rows else 1) as r:
            a = f.at(kind, pointer, f.mul(r, row))
            c = f.at(kind, out, f.mul(r, out_row))
            f.do(f"call void @{name}(ptr {a}, ptr {packed}, ptr {c}, i64 {lines})")

    # -- elementwise groups -------------------------------------------------------------------

    def _chunks(self, count: int) -> Iterator[tuple[str | int, int]]:
        """(start, width) of pieces of a row, the whole registers in a loop."""
        lanes = self.scalar.lanes
        full = count // lanes * lanes
        if full == lanes:
            yield 0, lanes
        elif full:
            with self.f.loop(full, 0, lanes) as j:
                yield j, lanes
        start, width = full, lanes
        while start < count:
            width //= 2
            if start + width <= count:
                yield start, width
                start += width

    def _widths(self, count: int) -> list[int]:
        """The widths that `_chunks` gives."""
        lanes = self.scalar.lanes
        rest = count % lanes
        tails = [w for w in (lanes >> k for k in range(1, lanes.bit_length())) if rest & w]
        return [lanes] * (count >= lanes) + tails

    def _group(self, group: Group) -> None:
        f = self.f
        reads: dict[View, tuple[str, int, View]] = {}
        inside: set[int | None] = set()
        for entry in group.entries:
            for operand in entry.operands:
                if isinstance(operand, View) and operand.root not in inside:
                    reads.setdefault(operand, self._locate(operand))
            inside.add(entry.out)
        writes: list[tuple[Entry, tuple[str, int, View]]] = []
        for entry in group.entries:
            target = entry.target
            if target is None and entry.out in self.schedule.stored:
                target = self.layout.views[entry.out]  # type: ignore[index]
            if target is not None:
                writes.append((entry, self._locate(target)))
        views = [view for _, _, view in [*reads.values(), *(place for _, place in writes)]]
        shape, strides = _collapsed(group.shape, [v.strides for v in views])
        by_view = dict(zip(map(id, views), strides, strict=True))
        simple = all(s[-1] in (0, 1) for s in strides) if shape else True
        with self._rows(group.rows) as r:
            starts: dict[int, str] = {}
            for typed, row, view in [*reads.values(), *(place for _, place in writes)]:
                kind, pointer = typed.split()
                offset = f.add(f.mul(r, row), view.offset) if row else str(view.offset)
                starts[id(view)] = f.at(kind, pointer, offset)
            with self._leading(shape[:-1]) as index:
                for view in views:
                    for i, stride in zip(index, by_view[id(view)][:-1], strict=True):
                        if stride:
                            kind = self._kind_of(view)
                            starts[id(view)] = f.at(kind, starts[id(view)], f.mul(i, stride))
                count = shape[-1] if shape else 1
                pieces = self._chunks(count) if simple else self._one_by_one(count)
                for j, width in pieces:
                    self._piece(group, reads, writes, by_view, starts, j, width)

    def _kind_of(self, view: View) -> str:
        return self._homes[view.root][3]

    @contextmanager
    def _rows(self, rows: bool) -> Iterator[str]:
        if rows:
            with self.f.loop(self.R) as r:
                yield r
        else:
            yield "0"

    @contextmanager
    def _leading(self, shape: Sequence[int]) -> Iterator[list[str]]:
        """Loops over all axes but the last."""
        if not shape:
            yield []
            return
        with self.f.loop(shape[0]) as i, self._leading(shape[1:]) as rest:
            yield [i, *rest]

    def _one_by_one(self, count: int) -> Iterator[tuple[str | int, int]]:
        with self.f.loop(count) as j:
            yield j, 1

    def _piece(
        self,
        group: Group,
        reads: dict[View, tuple[str, int, View]],
        writes: list[tuple[Entry, tuple[str, int, View]]],
        by_view: dict[int, tuple[int, ...]],
        starts: dict[int, str],
        j: str | int,
        width: int,
    ) -> None:
        f = self.f
        vectors = Vectors(f, self.scalar, width)
        loaded: dict[View, tuple[str, bool]] = {}
        made: dict[int, tuple[str, bool]] = {}

        def value(operand: Operand) -> tuple[str, bool]:
            if not isinstance(operand, View):
                return vectors.constant(operand), False
            if operand.root in made:
                return made[operand.root]
            if operand not in loaded:
                view = reads[operand][2]
                loaded[operand] = self._loaded(vectors, view, by_view[id(view)], starts, j)
            return loaded[operand]

        targets = {id(entry): place for entry, place in writes}
        for entry in group.entries:
            result = _apply(vectors, entry, [value(o) for o in entry.operands])
            if entry.out is not None:
                if not result[1] and self.graph.spec(entry.out).dtype == bool:  # such as a or b
                    result = vectors.compare("une", result[0], vectors.constant(0.0)), True
                made[entry.out] = result
            place = targets.get(id(entry))
            if place is not None:
                view = place[2]
                number = vectors.number_of(result[0]) if result[1] else result[0]
                stride = (by_view[id(view)] or (1,))[-1]
                at = j if stride == 1 else f.mul(j, stride)
                pointer = f.at(self.scalar.name, starts[id(view)], at)
                f.store(vectors.kind, number, pointer, self.scalar.bytes)

    def _loaded(
        self,
        vectors: Vectors,
        view: View,
        strides: tuple[int, ...],
        starts: dict[int, str],
        j: str | int,
    ) -> tuple[str, bool]:
        f = self.f
        kind, stride = self._kind_of(view), (strides or (1,))[-1]
        flags = kind == "i8"
        size = 1 if flags else self.scalar.bytes
        if stride == 0:
            one = vectors.spread(f.load(kind, starts[id(view)], size), kind)
        else:
            at = f.at(kind, starts[id(view)], j if stride == 1 else f.mul(j, stride))
            one = f.load(f"<{vectors.width} x {kind}>", at, size)
        if not flags:
            return one, False
        zero = f"<{vectors.width} x i8> {one}, zeroinitializer"
        return f.let(f"icmp ne {zero}"), True

    # -- reductions ---------------------------------------------------------------------------

    def _reduction(self, stage: Reduction) -> None:
        f, s = self.f, self.scalar
        typed, row, view = self._locate(stage.source)
        kind, pointer = typed.split()
        if kind == "i8":
            raise NotNative(f"{stage.name}: a reduction of flags")
        kept = len(view.shape) - stage.axes
        shape, (strides,) = _collapsed(view.shape[kept:], [view.strides[kept:]])
        if len(shape) > 1:
            raise NotNative(f"{stage.name}: a reduction over numbers that do not lie side by side")
        out, out_row, rows, _ = self._homes[stage.out]
        with self._rows(rows) as r:
            a = f.at(kind, pointer, f.add(f.mul(r, row), view.offset))
            c = f.at(s.name, out, f.mul(r, out_row)) if rows else out
            with self._leading(view.shape[:kept]) as index:
                for i, stride, place in zip(
                    index, view.strides[:kept], dense(view.shape[:kept]), strict=True
                ):
                    a = f.at(kind, a, f.mul(i, stride))
                    c = f.at(s.name, c, f.mul(i, place))
                total = self._reduced(stage.name, a, shape[0] if shape else 1, strides)
                f.store(s.name, total, c, s.bytes)

    def _reduced(self, name: str, a: str, count: int, strides: tuple[int, ...]) -> str:
        """The sum, maximum or minimum of numbers in memory, as one number."""
        f, s = self.f, self.scalar
        stride = strides[-1] if strides else 1
        one = Vectors(f, s, 1)
        combine = {"sum": "fadd", "max": "maximum", "min": "minimum"}[name]

        def both(vectors: Vectors, x: str, y: str) -> str:
            if combine == "fadd":
                return vectors.binary("fadd", x, y)
            return getattr(vectors, combine)(x, y)

        start = {"sum": 0.0, "max": -math.inf, "min": math.inf}[name]
        slots: dict[int, str] = {}
        for width in self._widths(count) if stride == 1 else [1]:
            vectors = Vectors(f, s, width)
            slots[width] = f.slot(vectors.kind)
            f.store(vectors.kind, vectors.constant(start), slots[width], 64)
        pieces = self._chunks(count) if stride == 1 else self._one_by_one(count)
        for j, width in pieces:
            vectors = Vectors(f, s, width)
            at = f.at(s.name, a, j if stride == 1 else f.mul(j, stride))
            x = f.load(vectors.kind, at, s.bytes)
            before = f.load(vectors.kind, slots[width], 64)
            f.store(vectors.kind, both(vectors, before, x), slots[width], 64)
        total = one.constant(start)
        for width, slot in slots.items():
            x = f.load(s.vector(width), slot, 64)
            while width > 1:
                width //= 2
                half = Vectors(f, s, width)
                whole = s.vector(2 * width)
                parts = []
                for first in (0, width):
                    lanes = ", ".join(f"i32 {k}" for k in range(first, first + width))
                    mask = f"<{width} x i32> <{lanes}>"
                    parts.append(f.let(f"shufflevector {whole} {x}, {whole} poison, {mask}"))
                x = both(half, *parts)
            total = both(one, total, x)
        return f.let(f"extractelement {one.kind} {total}, i32 0")

    # -- sums over time -----------------------------------------------------------------------

    def _sum_view(self, k: int) -> View:
        """The sums' own place, as a view."""
        v = self.program.sums[k]
        if v in self.layout.row_sums:
            shape = self.layout.row_sums[v].shape
            return View(_sum_marker(k), 0, shape, dense(shape), False)
        view = self.layout.views[v]
        return View(_sum_marker(k), 0, view.shape, dense(view.shape), view.rows)

    def _clear_sums(self) -> None:
        """Find the places of the sums; they come as zeros."""
        f = self.f
        for k in range(len(self.program.sums)):
            view = self._sum_view(k)
            pointer = self._array("sums", k, "array")
            row = math.prod(view.shape)
            if view.rows:
                pointer = f.at(self.scalar.name, pointer, f.mul(self.first, row))
            self._homes[_sum_marker(k)] = (pointer, row, view.rows, self.scalar.name)
        self._outer: list[str] = [
            self._array("products", k, "array") for k in range(len(self.program.products))
        ]

    def _add_sums(self) -> None:
        for k, v in enumerate(self.program.sums):
            target = self._sum_view(k)
            made = self.layout.row_sums.get(v)
            if made is None:
                if v in self.layout.literals:
                    entry = Entry("add", (target, self.layout.literals[v]), {}, None, target)
                else:
                    entry = Entry("add", (target, self.layout.views[v]), {}, None, target)
                self._group(Group(target.shape, target.rows, [entry]))
                continue
            goal = self.f.at(self.scalar.name, self._homes[target.root][0], made.offset)
            if made.axes == len(made.source.shape):
                self._add_total(made.source, goal)
            else:
                self._add_rows(made, goal)

    def _add_rows(self, made: RowSum, goal: str) -> None:
        """Add the sum over rows, and over a row's first axes, to the numbers at `goal`."""
        f, s = self.f, self.scalar
        typed, row, view = self._locate(made.source)
        kind, pointer = typed.split()
        pointer = f.at(kind, pointer, view.offset)
        rest = view.shape[made.axes :]
        shape, (strides, goals) = _collapsed(rest, [view.strides[made.axes :], dense(rest)])
        if not shape:
            shape, strides, goals = (1,), (1,), (1,)
        with self._leading(view.shape[: made.axes]) as first:
            for i, a in zip(first, view.strides, strict=False):
                pointer = f.at(kind, pointer, f.mul(i, a))
            with self._leading(shape[:-1]) as index:
                for i, a, b in zip(index, strides[:-1], goals[:-1], strict=True):
                    pointer = f.at(kind, pointer, f.mul(i, a))
                    goal = f.at(s.name, goal, f.mul(i, b))
                self._add_numbers(kind, pointer, row, strides[-1], shape[-1], goal)

    def _add_numbers(
        self, kind: str, pointer: str, row: int, stride: int, count: int, goal: str
    ) -> None:
        f, s = self.f, self.scalar
        simple = stride == 1
        for j, width in self._chunks(count) if simple else self._one_by_one(count):
            vectors = Vectors(f, s, width)
            slot = f.slot(vectors.kind)
            place = f.at(s.name, goal, j)
            f.store(vectors.kind, f.load(vectors.kind, place, s.bytes), slot, 64)
            start = f.at(kind, pointer, j if simple else f.mul(j, stride))
            with f.loop(self.R) as r:
                x = f.load(vectors.kind, f.at(kind, start, f.mul(r, row)), s.bytes)
                total = vectors.binary("fadd", f.load(vectors.kind, slot, 64), x)
                f.store(vectors.kind, total, slot, 64)
            f.store(vectors.kind, f.load(vectors.kind, slot, 64), place, s.bytes)

    def _add_total(self, view: View, goal: str) -> None:
        """Add the sum of everything to one number."""
        f, s = self.f, self.scalar
        typed, row, view = self._locate(view)
        kind, pointer = typed.split()
        shape, (strides,) = _collapsed(view.shape, [view.strides])
        if len(shape) > 1:
            raise NotNative("sum: over numbers that do not lie side by side")
        with f.loop(self.R) as r:
            a = f.at(kind, pointer, f.add(f.mul(r, row), view.offset))
            part = self._reduced("sum", a, shape[0] if shape else 1, strides)
            before = f.load(s.name, goal, s.bytes)
            f.store(s.name, f.let(f"fadd {s.name} {before}, {part}"), goal, s.bytes)

    # -- products over time -------------------------------------------------------------------

    def _keep_factors(self, position: str) -> None:
        """Set this step's factors aside; multiply when there is room for no more."""
        if not self._factors:
            return
        f, products = self.f, self.program.products
        at = f.load("i64", position, 8)
        for v in dict.fromkeys(left for left, _ in products):
            self._keep("left", v, at)
        for v in dict.fromkeys(right for _, right in products):
            self._keep("right", v, at)
        count = f.add(at, self.R)
        f.do(f"store i64 {count}, ptr {position}")
        full = f.let(f"icmp sgt i64 {f.add(count, self.R)}, {self.capacity}")
        with f.when(full):
            self._flush(position)

    def _keep(self, side: str, v: int, at: str) -> None:
        f, s = self.f, self.scalar
        typed, row, view = self._locate(self.layout.views[v])
        kind, pointer = typed.split()
        lines, columns = math.prod(view.shape[:-1]), view.shape[-1]
        if view.strides[-1] != 1:
            raise NotNative("matmul: a gradient from numbers that do not lie side by side")
        block = self._pointers[side, v]
        with self._rows(view.rows) as r, f.loop(lines) as line:
            a = f.at(kind, pointer, f.add(f.mul(r, row), view.offset))
            if lines > 1:
                a = f.at(kind, a, f.mul(line, view.strides[-2]))
            k = f.add(f.mul(f.add(at, r), lines), line)
            if side == "left":
                self._copy_numbers(a, f.at(s.name, block, f.mul(k, self._apart(columns))), columns)
            else:
                self._keep_in_panels(a, block, k, f.mul(self.capacity, lines), columns)

    def _keep_in_panels(self, a: str, block: str, k: str, depth: str, columns: int) -> None:
        """Copy a row into row k of panels that are `depth` rows long."""
        f, s, width = self.f, self.scalar, self.products.width
        panel = f.mul(depth, width)
        c = f.at(s.name, block, f.mul(k, width))
        full = columns // width
        if full:
            with f.loop(full) as n:
                self._copy_numbers(
                    f.at(s.name, a, f.mul(n, width)), f.at(s.name, c, f.mul(n, panel)), width
                )
        if columns % width:
            source, target = f.at(s.name, a, full * width), f.at(s.name, c, f.mul(panel, full))
            self._copy_numbers(source, target, columns % width)

    def _copy_numbers(self, source: str, target: str, count: int) -> None:
        f, s = self.f, self.scalar
        for j, width in self._chunks(count):
            kind = s.vector(width)
            value = f.load(kind, f.at(s.name, source, j), s.bytes)
            f.store(kind, value, f.at(s.name, target, j), s.bytes)

    def _flush(self, position: str) -> None:
        f = self.f
        at = f.load("i64", position, 8)
        with f.when(f.let(f"icmp sgt i64 {at}, 0")):
            for k, (left, right) in enumerate(self.program.products):
                lines = self._lines(left)
                if lines != self._lines(right):
                    raise NotNative("matmul: factors of different depth")
                rows, columns = self._columns(left), self._columns(right)
                name = self.products.add_outer(rows, columns, self._apart(rows))
                depth, capacity = f.mul(at, lines), f.mul(self.capacity, lines)
                f.do(
                    f"call void @{name}(ptr {self._pointers['left', left]}, "
                    f"ptr {self._pointers['right', right]}, ptr {self._outer[k]}, "
                    f"i64 {depth}, i64 {capacity})"
                )
            f.do(f"store i64 0, ptr {position}")


def _sum_marker(k: int) -> int:
    return -(10**9) - k


def _collapsed(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Neighbouring axes as one wherever all strides allow it; axes of size 1 left out."""
    axes = [k for k, n in enumerate(shape) if n != 1]
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for k in axes:
        now = [s[k] for s in strides]
        if sizes and all(step[-1] == one * shape[k] for step, one in zip(steps, now, strict=True)):
            sizes[-1] *= shape[k]
            for step, one in zip(steps, now, strict=True):
                step[-1] = one
            continue
        sizes.append(shape[k])
        for step, one in zip(steps, now, strict=True):
            step.append(one)
    return tuple(sizes), [tuple(s) for s in steps]


# -- ops -------------------------------------------------------------------------------------------


def _apply(
    vectors: Vectors, entry: Entry, operands: Sequence[tuple[str, bool]]
) -> tuple[str, bool]:
    """One op on vectors; (value, whether it is flags rather than numbers)."""
    if entry.name == "copy":
        return operands[0]
    if entry.name == "where":
        flags = operands[0]
        chosen = flags[0] if flags[1] else vectors.compare("une", flags[0], vectors.constant(0.0))
        a, b = (vectors.number_of(x) if is_flags else x for x, is_flags in operands[1:])
        return vectors.select(chosen, a, b), False
    if entry.name == "astype" and entry.attrs["dtype"] == np.bool_:
        return operands[0]
    numbers = [vectors.number_of(x) if flags else x for x, flags in operands]
    if entry.name in _COMPARISONS:
        return vectors.compare(_COMPARISONS[entry.name], *numbers), True
    if entry.name == "within":
        return _within(vectors, numbers[0], **entry.attrs), True
    if entry.name == "clip":
        return _clip(vectors, numbers[0], **entry.attrs), False
    if entry.name == "pow":
        return _pow(vectors, entry, numbers), False
    return _NUMERIC[entry.name](vectors, *numbers), False


def _within(vectors: Vectors, a: str, low: float | None, high: float | None) -> str:
    above = vectors.compare("oge", a, vectors.constant(-math.inf if low is None else low))
    below = vectors.compare("ole", a, vectors.constant(math.inf if high is None else high))
    return vectors.f.let(f"and {vectors.flags} {above}, {below}")


def _clip(vectors: Vectors, a: str, low: float | None, high: float | None) -> str:
    return vectors.clamp(a, -math.inf if low is None else low, math.inf if high is None else high)


def _pow(vectors: Vectors, entry: Entry, numbers: Sequence[str]) -> str:
    exponent = entry.operands[1]
    if exponent == 2.0:
        return vectors.binary("fmul", numbers[0], numbers[0])
    if exponent == 1.0:
        return numbers[0]
    if exponent == 0.5:
        return vectors.intrinsic("sqrt", numbers[0])
    return vectors.intrinsic("pow", *numbers)


_COMPARISONS = {"greater": "ogt", "equal": "oeq"}
_NUMERIC: dict[str, Callable[..., str]] = {
    "add": lambda v, a, b: v.binary("fadd", a, b),
    "sub": lambda v, a, b: v.binary("fsub", a, b),
    "mul": lambda v, a, b: v.binary("fmul", a, b),
    "dropout": lambda v, a, b: v.binary("fmul", a, b),
    "div": lambda v, a, b: v.binary("fdiv", a, b),
    "neg": lambda v, a: v.negative(a),
    "exp": lambda v, a: v.exp(a),
    "log": lambda v, a: v.intrinsic("log", a),
    "sqrt": lambda v, a: v.intrinsic("sqrt", a),
    "abs": lambda v, a: v.intrinsic("fabs", a),
    "sin": lambda v, a: v.intrinsic("sin", a),
    "cos": lambda v, a: v.intrinsic("cos", a),
    "sign": lambda v, a: v.sign(a),
    "tanh": lambda v, a: v.tanh(a),
    "sigmoid": lambda v, a: v.sigmoid(a),
    "relu": lambda v, a: v.maximum(a, v.constant(0.0)),
    "softplus": lambda v, a: v.softplus(a),
    "maximum": lambda v, a, b: v.maximum(a, b),
    "minimum": lambda v, a, b: v.minimum(a, b),
    "astype": lambda v, a: a,
}


_CALL = re.compile(r"call (?:reassoc )?([^@()]+) @(llvm\.[\w.]+)\(([^()]*)\)")
_VALUE = re.compile(r" (?:%[\w.]+|0x[0-9A-F]+|<[^<>]*0x[^<>]*>|zeroinitializer)(?=,|$)")


def _declarations(text: str) -> list[str]:
    """A line for every function of LLVM's that the text calls."""
    found: dict[str, str] = {}
    for result, name, arguments in _CALL.findall(text):
        kinds = _VALUE.sub("", arguments)
        found[name] = f"declare {result} @{name}({kinds})"
    return list(found.values())
