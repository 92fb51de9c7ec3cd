"""Lines of Python around one native loop, written for it: numbers told, arrays made, the call.

What takes microseconds in a loop over lists matters here: a small network's kernel takes one. So
each call is a straight line, which tells native code the id of a tuple of arrays and little else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import Array
from .. import memory
from ..source import Source
from .arguments import HEAD
from .loop import NativeLoop

__all__ = ["CallWriter"]


class CallWriter:
    """Lines of a function around one native loop."""

    def __init__(self, loop: NativeLoop, source: Source) -> None:
        self.loop = loop
        self.source = source
        self.names = source.names
        self.lines: list[str] = []
        self.fixed: dict[int, int] = {}
        self.told: dict[tuple[str, int], str] = {}  # names of arrays, as `Arguments.arrays`
        self.held = 0
        self.names |= {
            "rows_together": _rows_together,
            "side_by_side": np.ascontiguousarray,
            "in_items": _in_items,
            "take": loop.take,
            "give": loop.give,
            "launch": loop.launch,
            "call": loop.prepare_and_run,
        }

    def add(self, *lines: str) -> None:
        self.lines += lines

    def bound(self, name: str, value: Any) -> str:
        """A name for an object."""
        self.names[name] = value
        return name

    def place(self, group: str, k: int, what: str) -> int | None:
        """Where a number stands; None if the loop does not ask for it."""
        return self.loop.places.get((group, k), {}).get(what)

    def asks_for(self, group: str, k: int) -> bool:
        """Whether the loop reads or writes this array."""
        return (group, k) in self.loop.kernel.arguments.arrays

    def tell(self, group: str, k: int, name: str) -> None:
        """Let the loop know an array."""
        self.told[group, k] = name

    def new(self, name: str, shape: tuple[int, ...], *, zeroed: bool = False) -> None:
        """An array of the caller's, told to nobody yet."""
        make = self.bound(f"new_{name}", memory.maker(shape, self.loop.dtype, zeroed=zeroed))
        self.add(f"{name} = {make}()")

    def settle(self, group: str, k: int, number: int, what: str) -> None:
        """A number that is the same at every call."""
        place = self.place(group, k, what)
        if place is not None:
            self.fixed[place] = number

    def read_over_time(self, k: int, name: str) -> None:
        """(T, ...), in any order of time, but what belongs to one step side by side."""
        time = self.place("timed", k, "time")
        if time is None:
            return
        v = self.loop.program.timed[k]
        shape, dtype = self.loop.layout.graph.spec(v)
        self.add(
            f"if {name}.flags.c_contiguous:",
            f"    n[{time}] = {math.prod(shape)}",
            "else:",
            f"    {name} = rows_together({name})",
            f"    n[{time}] = {name}.strides[0] // {dtype.itemsize}",
        )
        self.tell("timed", k, name)

    def read_invariant(self, k: int, name: str) -> None:
        """A matrix as it lies, or a vector; a small one of the last call is known."""
        place = self.place("invariants", k, "array")
        if place is None:
            return
        v = self.loop.program.invariants[k]
        shape, dtype = self.loop.layout.graph.spec(v)
        how = "side_by_side" if v in self.loop.layout.views else "in_items"
        array = f"{name} if {name}.flags.c_contiguous else {how}({name})"
        if memory.is_small(math.prod(shape) * dtype.itemsize):
            held = f"held[{self.held}]"
            self.held += 1
            self.add(f"if {name} is not {held}:")
            indent, keep = "    ", [f"{held} = a if a.base is None else None"]
        else:
            indent, keep = "", []
        # a workspace must not keep what is large, or part of it, from being let go
        lines = [f"a = a{k} = {array}", *keep, f"n[{place}] = id(a)"]
        first, second = (self.place("invariants", k, axis) for axis in "01")
        if first is not None:  # read as a matrix, which may lie in any way
            size = dtype.itemsize
            lines.append(f"n[{first}], n[{second}] = (s // {size} for s in a.strides)")
        self.add(*(indent + line for line in lines))

    def begin(self) -> None:
        """A workspace that is nobody else's, until it is given back."""
        if self.loop.one_thread:
            self.names["idle"] = self.loop.idle
            self.add("try: W = idle.pop()", "except IndexError: W = take()")
        else:
            self.add("W = take()")
        self.add("n, held = W.numbers, W.held")

    def launch(self) -> None:
        arrays = "".join(f"{self.told[entry]}, " for entry in self.loop.kernel.arguments.arrays)
        self.add(f"told = ({arrays})")
        if self.loop.one_thread:
            self.add(f"n[{HEAD.index('arrays')}] = id(told)", "call(W.address)")
            self.add(*(["idle.append(W)"] if self.loop.is_small else []))
        else:
            self.add("launch(W, told)", "give(W)")

    def function(self, header: str) -> tuple[str, Callable[..., Any]]:
        self.loop.configure(self.held, self.fixed)
        return self.source.function(header, self.lines)


def _rows_together(a: Array) -> Array:
    """(T, ...) with what belongs to one step side by side; any stride over time will do."""
    if a.shape[0] == 0 or a[0].flags.c_contiguous:
        return _in_items(a)
    return np.ascontiguousarray(a)


def _in_items(a: Array) -> Array:
    """Any strides, but in whole numbers: a field of records is copied."""
    return np.ascontiguousarray(a) if any(s % a.itemsize for s in a.strides) else a
