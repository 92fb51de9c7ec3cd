"""The memory that a kernel works on: what stands where in it is settled when the kernel is written.

It has four regions: "fixed"; "row", as often as there are rows of the batch; "kept", as often as
rows of factors are set aside; and "packed", apart from the others, for matrices that threads share.
"""

from __future__ import annotations

import math

from .layout import Layout, View, dense
from .products import Products
from .schedule import Product, Schedule
from .text import Function

__all__ = ["Scratch"]


class Scratch:
    """Offsets, in numbers, of everything a kernel keeps for itself.

    ping_pong: carries that no history holds, and that need two places each: value after the step
    -> carry.
    """

    def __init__(self, layout: Layout, schedule: Schedule, products: Products) -> None:
        self._layout, self._schedule, self._products = layout, schedule, products
        self._scalar = products.scalar
        p = layout.program
        self.ping_pong = {v: k for k, v in enumerate(p.carry_out) if k >= p.history}
        self._sizes = {"fixed": 0, "row": 0, "kept": 0, "packed": 0}
        self._offsets: dict[tuple[str, int], tuple[str, int]] = {}
        self._reserve_matrices()
        self._reserve_values()
        self._reserve_factors()

    @property
    def packed(self) -> int:
        """Numbers of all packed matrices."""
        return self._sizes["packed"]

    def size(self, rows: int, capacity: int) -> int:
        """Numbers that a thread works on; capacity: rows of factors that are set aside."""
        sizes = self._sizes
        return sizes["fixed"] + rows * sizes["row"] + capacity * sizes["kept"]

    def offsets_of_matrices(self) -> dict[int, int]:
        """Where each is packed."""
        return {v: at for (_, v), (region, at) in self._offsets.items() if region == "packed"}

    def pointers(
        self, f: Function, scratch: str, packed: str, rows: str, capacity: str
    ) -> dict[tuple[str, int], str]:
        """The address of everything, by its name: ("value", v) and so on."""
        kind = self._scalar.name
        first = f.at(kind, scratch, self._sizes["fixed"])
        kept = f.at(kind, first, f.mul(rows, self._sizes["row"]))
        found: dict[tuple[str, int], str] = {}
        for key, (region, offset) in self._offsets.items():
            if region in ("fixed", "packed"):
                found[key] = f.at(kind, scratch if region == "fixed" else packed, offset)
            elif region == "row":
                found[key] = f.at(kind, first, f.mul(rows, offset))
            else:
                found[key] = f.at(kind, kept, f.mul(capacity, offset))
        return found

    # -- how large things are -----------------------------------------------------------------

    def row_stride(self, view: View) -> int:
        """Numbers from row to row of a value with memory of its own."""
        within = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
        return self.apart(max(1, within + 1))

    def apart(self, count: int) -> int:
        """Rows of `count` numbers or more, such that several do not compete for the cache.

        Addresses that differ by a multiple of 1024 bytes do: one register more sets them apart.
        """
        padded = self._scalar.padded(count)
        return padded + (0 if padded * self._scalar.bytes % 1024 else self._scalar.lanes)

    def lines(self, v: int) -> int:
        """Rows of a matrix that one row of the batch holds."""
        return math.prod(self._layout.views[v].shape[:-1])

    def columns(self, v: int) -> int:
        return self._layout.views[v].shape[-1]

    # -- what is needed -----------------------------------------------------------------------

    def _reserve(self, name: str, key: int, region: str, size: int) -> None:
        self._offsets[name, key] = region, self._sizes[region]
        self._sizes[region] += self._scalar.padded(size)

    def _reserve_matrices(self) -> None:
        for v in dict.fromkeys(s.right for s in self._made_by_products()):
            depth, columns = self._layout.graph.spec(v).shape
            self._reserve("packed", v, "packed", self._products.packed_size(depth, columns))

    def _made_by_products(self) -> list[Product]:
        return [s for s in self._schedule.stages if isinstance(s, Product)]

    def _reserve_values(self) -> None:
        layout, p = self._layout, self._layout.program
        made_by_product = {s.out for s in self._made_by_products()}
        for v in sorted(self._schedule.stored):
            if v in self._schedule.places:
                continue
            view = layout.views[v]
            as_product = v in made_by_product  # writes whole registers, beyond a row's end
            if v in p.stacks and not as_product:
                continue
            dense_rows = view.strides == dense(view.shape)
            if v in self.ping_pong and v not in p.stacks and dense_rows:
                continue
            self._reserve("value", v, _region(view), self.row_stride(view))
        for k in self.ping_pong.values():
            view = layout.views[p.carried[k]]
            for name in ("ping", "pong"):
                self._reserve(name, k, _region(view), self.row_stride(view))

    def _reserve_factors(self) -> None:
        products, width = self._layout.program.products, self._products.width
        for v in dict.fromkeys(left for left, _ in products):
            self._reserve("left", v, "kept", self.lines(v) * self.apart(self.columns(v)))
        for v in dict.fromkeys(right for _, right in products):
            panels = len(self._products.panels(self.columns(v)))
            self._reserve("right", v, "kept", self.lines(v) * panels * width)


def _region(view: View) -> str:
    return "row" if view.rows else "fixed"
