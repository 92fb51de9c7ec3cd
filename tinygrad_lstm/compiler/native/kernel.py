"""A whole loop as one native function: pack the weights, walk through time, add up the gradients.

The function works on a range of rows of the batch, so that several threads can run it side by
side and never wait for each other within a sequence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ..backends import NotNative
from .arguments import Arguments, Given
from .body import Body
from .factors import Factors
from .fused import Pass
from .layout import Layout
from .places import Places
from .products import Products
from .reasons import told
from .reductions import Sums, add_along, reduce_rows
from .schedule import Group, Product, Reduction, Schedule
from .scratch import Scratch
from .target import Machine
from .text import Function

__all__ = ["FUNCTIONS", "Kernel"]

FUNCTIONS = ("prepare", "run", "prepare_and_run")
"""The functions of a kernel."""

_BOTH = """define void @prepare_and_run(ptr %args) #0 {
entry:
  call void @prepare(ptr %args)
  call void @run(ptr %args)
  ret void
}"""


class Kernel:
    """The text of a loop's functions, and how they are to be called.

    blocks: see `Arguments`. scratch: the memory they need. `prepare` packs the matrices, which all
    calls of `run` read, one for each thread.
    """

    def __init__(
        self, layout: Layout, host: Machine, blocks: Mapping[tuple[str, int], int] | None = None
    ) -> None:
        self.layout = layout
        self.schedule = Schedule(layout)
        self.arguments = Arguments(blocks or {})
        self._host = host
        scalar = host.scalar(layout.dtype.itemsize * 8)
        self._products = Products(host, scalar)
        self.scratch = Scratch(layout, self.schedule, self._products)
        self._prepare = Function("void @prepare(ptr %args)")
        self._run = Function("void @run(ptr %args)")
        self._body = Body(self._run, scalar, layout, self.schedule)
        self._check_types()
        self._write_prepare()
        self._write_run()

    def text(self) -> str:
        """The module."""
        functions = [*self._products.functions.values(), self._prepare, self._run, _BOTH]
        used = "\n\n".join(map(str, functions))
        return "\n".join([*_declarations(used), used, self._host.attributes, ""])

    def _check_types(self) -> None:
        p = self.layout.program
        for v in (*p.stacks, *p.carried, *p.carry_out, *p.sums):
            dtype = self.layout.graph.spec(v).dtype
            if dtype != self.layout.dtype:
                raise NotNative(f"{told(self.layout.graph, v, 'result')} of {dtype} is kept")

    def _write_prepare(self) -> None:
        """Pack the matrices: once, for all threads."""
        f, given, layout = self._prepare, Given(self.arguments, self._prepare), self.layout
        packed = given.head("packed", "ptr")
        for v, offset in self.scratch.offsets_of_matrices().items():
            depth, columns = layout.graph.spec(v).shape
            invariant, turned = layout.matrices[v]
            k = layout.program.invariants.index(invariant)
            pack = self._products.pack(depth, columns)
            strides = [given.number("invariants", k, axis) for axis in "01"]
            first, second = reversed(strides) if turned else strides
            source = given.array("invariants", k)
            target = f.at(self._body.scalar.name, packed, offset)
            f.do(f"call void @{pack}(ptr {source}, i64 {first}, i64 {second}, ptr {target})")
        f.do("ret void")

    def _write_run(self) -> None:
        body, f, p, scratch = self._body, self._run, self.layout.program, self.scratch
        given = Given(self.arguments, f)
        steps, first, body.rows = (given.head(name) for name in ("T", "first", "rows"))
        capacity = given.head("capacity")
        memory, packed = given.head("scratch", "ptr"), given.head("packed", "ptr")
        self._pointers = scratch.pointers(f, memory, packed, body.rows, capacity)
        places = Places(body, given, scratch, self._pointers, first)
        sums = Sums(body, given, first)
        factors = Factors(body, self._products, scratch, self._pointers, capacity)
        factors.begin(given)
        with f.loop(steps) as step:
            t = step
            if p.backwards:
                t = f.let(f"sub nsw i64 {steps}, {f.add(step, 1)}")
            places.go_to(t)
            for stage in self.schedule.stages:
                self._stage(stage)
            places.copy_out()
            sums.add()
            factors.keep()
            places.swap()
        factors.multiply()
        places.finish(steps)
        f.do("ret void")

    def _stage(self, stage: Group | Product | Reduction) -> None:
        if isinstance(stage, Group):
            Pass(self._body, stage).write()
        elif isinstance(stage, Product):
            self._product(stage)
        elif stage.name == "cumsum":
            add_along(self._body, stage)
        else:
            reduce_rows(self._body, stage)

    def _product(self, stage: Product) -> None:
        body, f = self._body, self._run
        depth, columns = self.layout.graph.spec(stage.right).shape
        kind, pointer, row, view = body.located(stage.left)
        if kind == "i8":
            raise NotNative("matmul: a product of flags")
        pointer = f.at(kind, pointer, view.offset)
        out, out_row, rows, _ = body.homes[stage.out]
        packed = self._pointers["packed", stage.right]
        lines = math.prod(view.shape[:-1])
        if lines == 1:
            name = self._products.times_packed(
                depth, columns, row or depth, view.strides[-1], out_row, add=stage.add
            )
            count = body.rows if rows else 1
            f.do(f"call void @{name}(ptr {pointer}, ptr {packed}, ptr {out}, i64 {count})")
            return
        wide = self._products.padded(columns)
        name = self._products.times_packed(
            depth, columns, view.strides[-2], view.strides[-1], wide, add=stage.add
        )
        with f.loop(body.rows if rows else 1) as r:
            a = f.at(kind, pointer, f.mul(r, row))
            c = f.at(kind, out, f.mul(r, out_row))
            f.do(f"call void @{name}(ptr {a}, ptr {packed}, ptr {c}, i64 {lines})")


_CALL = re.compile(r"call (?:reassoc )?([^@()]+) @(llvm\.[\w.]+)\(([^()]*)\)")
_VALUE = re.compile(r" (?:%[\w.]+|0x[0-9A-F]+|<[^<>]*0x[^<>]*>|zeroinitializer)(?=,|$)")


def _declarations(text: str) -> list[str]:
    """A line for every function of LLVM's that the text calls."""
    found: dict[str, str] = {}
    for result, name, arguments in _CALL.findall(text):
        kinds = _VALUE.sub("", arguments)
        found[name] = f"declare {result} @{name}({kinds})"
    return list(found.values())
