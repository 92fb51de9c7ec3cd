"""Where values lie from step to step: what is the same at all, series over time, and carries."""

from __future__ import annotations

import math

from .arguments import Given
from .body import Body, Home
from .fused import Pass
from .layout import View, dense
from .schedule import Entry, Group
from .scratch import Scratch

__all__ = ["Places"]


class Places:
    """Settles the homes of all values; copies carries in and out.

    A carry with a history lies in a stack, one row of it after the other; one without has two
    places in scratch memory, in turn. pointers: as `Scratch.pointers`. first: this thread's first
    row of the batch.
    """

    def __init__(
        self,
        body: Body,
        given: Given,
        scratch: Scratch,
        pointers: dict[tuple[str, int], str],
        first: str,
    ) -> None:
        self._body, self._given, self._scratch = body, given, scratch
        self._pointers, self._first = pointers, first
        self._program = body.layout.program
        self._stack_home: dict[int, Home] = {}
        self._carry_home: dict[int, Home] = {}
        self._settle_fixed()
        self._find_series()
        self._start_carried()

    def _row(self, v: int) -> int:
        """Numbers from one row to the next in an array from outside."""
        return math.prod(self._body.layout.views[v].shape)

    def _kind(self, v: int) -> str:
        """The type of a value's numbers in memory."""
        is_flags = self._body.layout.graph.spec(v).dtype == bool
        return "i8" if is_flags else self._body.scalar.name

    def _own_rows(self, kind: str, pointer: str, v: int) -> str:
        """Where this thread's rows of an array begin that is laid out as v."""
        if not self._body.layout.views[v].rows:
            return pointer
        f = self._body.f
        return f.at(kind, pointer, f.mul(self._first, self._row(v)))

    # -- before the first step ----------------------------------------------------------------

    def _settle_fixed(self) -> None:
        """Invariants, and values in scratch memory."""
        body, views = self._body, self._body.layout.views
        for k, v in enumerate(self._program.invariants):
            if v in views:
                kind = self._kind(v)
                pointer = self._own_rows(kind, self._given.array("invariants", k), v)
                body.homes[v] = Home(pointer, self._row(v), views[v].rows, kind)
        for (name, v), pointer in self._pointers.items():
            if name == "value":
                row = self._scratch.row_stride(views[v])
                body.homes[v] = Home(pointer, row, views[v].rows, body.scalar.name)

    def _find_series(self) -> None:
        """Where series begin, and how far it is from step to step."""
        p, given, name = self._program, self._given, self._body.scalar.name
        self._series: list[tuple[int, str, str, str]] = []
        for k, v in enumerate(p.timed):
            pointer = self._own_rows(self._kind(v), given.array("timed", k), v)
            self._series.append((v, pointer, given.number("timed", k, "time"), self._kind(v)))
        self._stacks: list[tuple[str, str]] = []
        for k, v in enumerate(p.stacks):
            like = p.carried[k] if k < p.history else v
            pointer = self._own_rows(name, given.array("stacks", k), like)
            self._stacks.append((pointer, given.number("stacks", k, "time")))

    def _start_carried(self) -> None:
        p, f = self._program, self._body.f
        for k in range(p.history):
            row = self._row(p.carried[k])
            self._copy_rows(k, self._outside("carried", k), row, self._stacks[k][0], row)
        self._carry_slots: dict[int, tuple[str, str]] = {}
        for k in self._scratch.ping_pong.values():
            row, own = self._row(p.carried[k]), self._own_stride(k)
            source = self._outside("carried", k)
            self._copy_rows(k, source, row, self._pointers["ping", k], own)
            slots = f.slot("ptr"), f.slot("ptr")
            for slot, name in zip(slots, ("ping", "pong"), strict=True):
                f.do(f"store ptr {self._pointers[name, k]}, ptr {slot}")
            self._carry_slots[k] = slots

    def _own_stride(self, k: int) -> int:
        return self._scratch.row_stride(self._body.layout.views[self._program.carried[k]])

    def _outside(self, group: str, k: int) -> str:
        """Where this thread's rows of a carry begin in an array from outside."""
        name = self._body.scalar.name
        return self._own_rows(name, self._given.array(group, k), self._program.carried[k])

    def _copy_rows(
        self, k: int, source: str, source_row: int, target: str, target_row: int
    ) -> None:
        """Copy a carry; the rows are so many numbers apart."""
        body, f, name = self._body, self._body.f, self._body.scalar.name
        view = body.layout.views[self._program.carried[k]]
        with f.loop(body.rows if view.rows else 1) as r:
            a = f.at(name, source, f.mul(r, source_row))
            c = f.at(name, target, f.mul(r, target_row))
            body.copy(a, c, math.prod(view.shape))

    # -- at a step ----------------------------------------------------------------------------

    def go_to(self, t: str) -> None:
        """Settle the homes of this step's values."""
        f, views, homes = self._body.f, self._body.layout.views, self._body.homes
        for v, pointer, stride, kind in self._series:
            now = f.at(kind, pointer, f.mul(t, stride))
            homes[v] = Home(now, self._row(v), views[v].rows, kind)
        self._go_to_in_stacks(t)
        name = self._body.scalar.name
        for v, k in self._scratch.ping_pong.items():
            ping, pong = self._carry_slots[k]
            before, row = self._program.carried[k], self._own_stride(k)
            homes[before] = Home(f.load("ptr", ping, 8), row, views[before].rows, name)
            home = Home(f.load("ptr", pong, 8), row, views[before].rows, name)
            self._carry_home[k] = home
            if ("value", v) not in self._pointers and v not in self._program.stacks:
                homes[v] = home

    def _go_to_in_stacks(self, t: str) -> None:
        p, f, views, homes = (
            self._program, self._body.f, self._body.layout.views, self._body.homes
        )
        name = self._body.scalar.name
        after = f.add(t, 1)
        for k, v in enumerate(p.stacks):
            pointer, stride = self._stacks[k]
            if k < p.history:
                before = p.carried[k]
                now = f.at(name, pointer, f.mul(t, stride))
                homes[before] = Home(now, self._row(before), views[before].rows, name)
                now = f.at(name, pointer, f.mul(after, stride))
            else:
                now = f.at(name, pointer, f.mul(t, stride))
            self._stack_home[k] = Home(now, self._row(v), views[v].rows, name)
            if ("value", v) not in self._pointers:
                homes[v] = self._stack_home[k]

    def copy_out(self) -> None:
        """Values that lie elsewhere than where they are wanted as well."""
        stacks = self._program.stacks
        for k, v in enumerate(stacks):
            if ("value", v) in self._pointers:
                self._copy_value(v, self._stack_home[k])
        for v, k in self._scratch.ping_pong.items():
            if v in stacks or ("value", v) in self._pointers:
                self._copy_value(v, self._carry_home[k])

    def _copy_value(self, v: int, home: Home) -> None:
        view, marker = self._body.layout.views[v], -1 - v  # the root of no value
        self._body.homes[marker] = home
        target = View(marker, 0, view.shape, dense(view.shape), view.rows)
        entry = Entry("copy", (view,), {}, None, target)
        Pass(self._body, Group(view.shape, view.rows, [entry])).write()

    def swap(self) -> None:
        """What is after this step is before the next."""
        f = self._body.f
        for ping, pong in self._carry_slots.values():
            one, other = f.load("ptr", ping, 8), f.load("ptr", pong, 8)
            f.do(f"store ptr {other}, ptr {ping}")
            f.do(f"store ptr {one}, ptr {pong}")

    # -- after the last step ------------------------------------------------------------------

    def finish(self, steps: str) -> None:
        """Copy the last carries out."""
        f, p, name = self._body.f, self._program, self._body.scalar.name
        for k in range(p.history):
            row, (start, stride) = self._row(p.carried[k]), self._stacks[k]
            last = f.at(name, start, f.mul(steps, stride))
            self._copy_rows(k, last, row, self._outside("finals", k), row)
        for k, (ping, _) in self._carry_slots.items():
            last = f.load("ptr", ping, 8)
            row, target = self._row(p.carried[k]), self._outside("finals", k)
            self._copy_rows(k, last, self._own_stride(k), target, row)
