"""A kernel's function while it is written: where values lie in it, and its loops over numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .layout import Layout, View
from .schedule import Schedule
from .text import Function, Scalar

__all__ = ["Body", "Home", "Located", "collapsed"]


class Home(NamedTuple):
    """Where a value lies: its first number, numbers from one row of the batch to the next.

    rows: whether there is one for each row of the batch. kind: LLVM's type of its numbers.
    """

    pointer: str
    row: int
    rows: bool
    kind: str


class Located(NamedTuple):
    """A view and where its value begins; row is 0 where all rows of the batch have the same."""

    kind: str
    pointer: str
    row: int
    view: View


class Body:
    """What all that write parts of the function share.

    homes: of values, by the view's root. rows: how many rows of the batch this thread has.
    """

    def __init__(self, f: Function, scalar: Scalar, layout: Layout, schedule: Schedule) -> None:
        self.f = f
        self.scalar = scalar
        self.layout = layout
        self.schedule = schedule
        self.homes: dict[int, Home] = {}
        self.rows = ""

    def located(self, view: View) -> Located:
        """Where a view's numbers are to be found."""
        view = self.schedule.resolved(view)
        home = self.homes[view.root]
        return Located(home.kind, home.pointer, home.row if home.rows else 0, view)

    # -- loops --------------------------------------------------------------------------------

    @contextmanager
    def each_row(self, rows: bool) -> Iterator[str]:
        """A loop over the rows of the batch, if there are any."""
        if rows:
            with self.f.loop(self.rows) as r:
                yield r
        else:
            yield "0"

    @contextmanager
    def each_index(self, shape: Sequence[int]) -> Iterator[list[str]]:
        """A loop for each axis."""
        if not shape:
            yield []
            return
        with self.f.loop(shape[0]) as i, self.each_index(shape[1:]) as rest:
            yield [i, *rest]

    def pieces(self, count: int, dense: bool = True) -> Iterator[tuple[str | int, int]]:
        """(start, width) of pieces of a row: whole registers in a loop, then what is left.

        dense: whether the numbers lie side by side; else there is one at a time.
        """
        if not dense:
            with self.f.loop(count) as j:
                yield j, 1
            return
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

    def widths(self, count: int, dense: bool = True) -> list[int]:
        """The widths that `pieces` gives."""
        if not dense:
            return [1]
        lanes = self.scalar.lanes
        rest = count % lanes
        tails = [w for w in (lanes >> k for k in range(1, lanes.bit_length())) if rest & w]
        return [lanes] * (count >= lanes) + tails

    def copy(self, source: str, target: str, count: int) -> None:
        """Copy so many numbers."""
        f, s = self.f, self.scalar
        for j, width in self.pieces(count):
            kind = s.vector(width)
            value = f.load(kind, f.at(s.name, source, j), s.bytes)
            f.store(kind, value, f.at(s.name, target, j), s.bytes)


def collapsed(
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
