"""Products over time: their factors are set aside for many steps, and then multiplied at once."""

from __future__ import annotations

import math

from ..backends import NotNative
from .arguments import Given
from .body import Body
from .products import Products
from .scratch import Scratch

__all__ = ["Factors"]


class Factors:
    """The left and right factors of all products over time, and how many rows of them there are.

    pointers: as `Scratch.pointers`. capacity: how many rows there is room for.
    """

    def __init__(
        self,
        body: Body,
        products: Products,
        scratch: Scratch,
        pointers: dict[tuple[str, int], str],
        capacity: str,
    ) -> None:
        self._body, self._products, self._scratch = body, products, scratch
        self._pointers, self._capacity = pointers, capacity
        self._pairs = body.layout.program.products

    def begin(self, given: Given) -> None:
        """Find the sums, which come as zeros, and set nothing aside yet."""
        self._totals = [given.array("products", k) for k in range(len(self._pairs))]
        self._position = self._body.f.slot("i64")
        self._body.f.do(f"store i64 0, ptr {self._position}")

    def keep(self) -> None:
        """Set this step's factors aside; multiply when there is room for no more."""
        if not self._pairs:
            return
        f, rows = self._body.f, self._body.rows
        at = f.load("i64", self._position, 8)
        for v in dict.fromkeys(left for left, _ in self._pairs):
            self._keep("left", v, at)
        for v in dict.fromkeys(right for _, right in self._pairs):
            self._keep("right", v, at)
        count = f.add(at, rows)
        f.do(f"store i64 {count}, ptr {self._position}")
        full = f.let(f"icmp sgt i64 {f.add(count, rows)}, {self._capacity}")
        with f.when(full):
            self.multiply()

    def _keep(self, side: str, v: int, at: str) -> None:
        body, f, s = self._body, self._body.f, self._body.scalar
        kind, pointer, row, view = body.located(body.layout.views[v])
        lines, columns = math.prod(view.shape[:-1]), view.shape[-1]
        if view.strides[-1] != 1 and columns > 1:
            raise NotNative("matmul: a gradient from numbers that do not lie side by side")
        block = self._pointers[side, v]
        with body.each_row(view.rows) as r, f.loop(lines) as line:
            a = f.at(kind, pointer, f.add(f.mul(r, row), view.offset))
            if lines > 1:
                a = f.at(kind, a, f.mul(line, view.strides[-2]))
            k = f.add(f.mul(f.add(at, r), lines), line)
            if side == "left":
                apart = self._scratch.apart(columns)
                body.copy(a, f.at(s.name, block, f.mul(k, apart)), columns)
            else:
                self._keep_in_panels(a, block, k, f.mul(self._capacity, lines), columns)

    def _keep_in_panels(self, a: str, block: str, k: str, depth: str, columns: int) -> None:
        """Copy a row into row k of panels that are `depth` rows long."""
        body, f, s = self._body, self._body.f, self._body.scalar
        width = self._products.width
        panel = f.mul(depth, width)
        c = f.at(s.name, block, f.mul(k, width))
        full = columns // width
        if full:
            with f.loop(full) as n:
                source, target = f.at(s.name, a, f.mul(n, width)), f.at(s.name, c, f.mul(n, panel))
                body.copy(source, target, width)
        if columns % width:
            source, target = f.at(s.name, a, full * width), f.at(s.name, c, f.mul(panel, full))
            body.copy(source, target, columns % width)

    def multiply(self) -> None:
        """Add the products of what was set aside."""
        if not self._pairs:
            return
        f, scratch = self._body.f, self._scratch
        at = f.load("i64", self._position, 8)
        with f.when(f.let(f"icmp sgt i64 {at}, 0")):
            for k, (left, right) in enumerate(self._pairs):
                lines = scratch.lines(left)
                if lines != scratch.lines(right):
                    raise NotNative("matmul: factors of different depth")
                rows, columns = scratch.columns(left), scratch.columns(right)
                name = self._products.add_outer(rows, columns, scratch.apart(rows))
                depth, capacity = f.mul(at, lines), f.mul(self._capacity, lines)
                f.do(
                    f"call void @{name}(ptr {self._pointers['left', left]}, "
                    f"ptr {self._pointers['right', right]}, ptr {self._totals[k]}, "
                    f"i64 {depth}, i64 {capacity})"
                )
            f.do(f"store i64 0, ptr {self._position}")
