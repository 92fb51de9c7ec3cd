"""A native loop as the plan calls it: memory handed over, rows shared out over threads."""

from __future__ import annotations

import math
from array import array as pointers
from collections.abc import Sequence

import numpy as np

from ...tensor import Array
from ..program import Outcome, Program
from .emit import Kernel
from .layout import layout_of
from . import memory
from .pool import allowed_threads, run_all
from .schedule import Product

from .target import load, machine

__all__ = ["build"]

_KEPT_ROWS = 128  # factors of weight gradients that are set aside before they are multiplied
_WORTH_A_THREAD = 2e6  # multiplications and additions


def build(program: Program) -> NativeLoop:
    """The program as native code. Raises NotNative naming the op that has no native form."""
    return NativeLoop(program)


class NativeLoop:
    """Calls the compiled function."""

    def __init__(self, program: Program) -> None:
        host = machine()
        self.layout = layout_of(program, host.vector_bytes)
        self.kernel = Kernel(self.layout, host)
        self.program = self.layout.program
        self.run = load(self.kernel.text(), "run")
        self.batch = self.layout.batch
        graph = self.layout.graph
        per_row = 0
        for stage in self.kernel.schedule.stages:
            if isinstance(stage, Product):
                per_row += math.prod(graph.spec(stage.right).shape)
        for left, right in self.program.products:
            per_row += graph.spec(left).shape[-1] * graph.spec(right).shape[-1]
        self.work = per_row + 50 * sum(math.prod(s.shape[1:]) for s in self._specs())
        self._shared = {
            v for v in self.program.sums
            if v not in self.layout.row_sums and not self.layout.views[v].rows
        } if self.batch is not None else set()

    def _specs(self) -> list:
        return self.program.specs(self.program.stacks)

    def __call__(
        self,
        steps: int,
        carried: Sequence[Array],
        timed: Sequence[Array],
        invariants: Sequence[Array],
    ) -> Outcome:
        """Run all steps."""
        p, graph = self.program, self.layout.graph
        dtype = self.layout.dtype
        stacks: list[Array] = []
        for k, v in enumerate(p.stacks):
            shape = graph.spec(v).shape
            stacks.append(memory.array((steps + (k < p.history), *shape), dtype))
        for stack, carry in zip(stacks[: p.history], carried, strict=False):
            stack[0] = carry
        finals = [
            stacks[k][-1, ...] if k < p.history else np.empty(graph.spec(v).shape, dtype)
            for k, v in enumerate(p.carried)
        ]
        rows = 1 if self.batch is None else self.batch
        threads = 1
        if self.batch is not None and self.work * rows * steps > _WORTH_A_THREAD:
            threads = max(1, min(allowed_threads(), rows))
        sums = [np.zeros((threads, *self._sum_shape(v)), dtype) for v in p.sums]
        products = [
            memory.array(
                (threads, graph.spec(a).shape[-1], self.layout.padded(graph.spec(b).shape[-1])),
                dtype,
            )
            for a, b in p.products
        ]
        for total in products:
            total.fill(0)
        arrays = {
            "carried": [np.ascontiguousarray(a) for a in carried],
            "timed": [_rows_together(a) for a in timed],
            "invariants": [
                np.ascontiguousarray(a) if v in self.layout.views else a  # a matrix has strides
                for v, a in zip(p.invariants, invariants, strict=True)
            ],
            "stacks": stacks,
            "finals": finals,
        }
        self._run(steps, rows, threads, arrays, sums, products)
        return Outcome(
            finals,
            stacks,
            [self._total(v, a) for v, a in zip(p.sums, sums, strict=True)],
            [
                _added(a)[:, : graph.spec(b).shape[-1]]
                for a, (_, b) in zip(products, p.products, strict=True)
            ],
        )

    def _sum_shape(self, v: int) -> tuple[int, ...]:
        made = self.layout.row_sums.get(v)
        return self.layout.graph.spec(v).shape if made is None else made.shape

    def _total(self, v: int, parts: Array) -> Array:
        """A sum over all threads."""
        if v in self._shared:
            whole = parts[0]  # every thread has the same
        elif v not in self.layout.row_sums and self.batch is not None:
            whole = parts[0]  # each thread wrote its own rows
        else:
            whole = _added(parts)
        return whole.reshape(self.layout.graph.spec(v).shape)

    def _run(
        self,
        steps: int,
        rows: int,
        threads: int,
        arrays: dict[str, list[Array]],
        sums: list[Array],
        products: list[Array],
    ) -> None:
        size = self.layout.dtype.itemsize
        starts = [rows * k // threads for k in range(threads + 1)]
        calls: list[pointers[int]] = []
        keep: list[object] = [arrays, sums, products]
        for thread in range(threads):
            count = starts[thread + 1] - starts[thread]
            capacity = max(1, _KEPT_ROWS // count) * count
            kernel = self.kernel
            need = kernel.fixed + count * kernel.per_row + capacity * kernel.per_kept
            scratch = memory.array((need * size + 64,), np.dtype(np.uint8))
            keep.append(scratch)
            address = scratch.ctypes.data
            numbers = pointers("q", [steps, starts[thread], count, address + -address % 64, capacity])
            for group, position, what in kernel.arrays:
                if group == "sums":
                    whole = sums[position]
                    alone = self._sums_apart(self.program.sums[position])
                    array = whole[thread, ...] if alone else whole[0, ...]
                elif group == "products":
                    array = products[position][thread]
                else:
                    array = arrays[group][position]
                if what == "pointer":
                    numbers.append(array.ctypes.data)
                else:
                    axis = 0 if what in ("time", "0") else 1
                    numbers.append(array.strides[axis] // array.itemsize)
            calls.append(numbers)
        run_all(self.run, [numbers.buffer_info()[0] for numbers in calls])
        del keep

    def _sums_apart(self, v: int) -> bool:
        """Whether each thread has a sum of its own; else each has its own rows of one."""
        return self.batch is None or v in self.layout.row_sums or v in self._shared


def _rows_together(a: Array) -> Array:
    """(T, ...) with what belongs to one step side by side; any stride over time will do."""
    if a.shape[0] == 0 or a[0].flags.c_contiguous:
        return a
    return np.ascontiguousarray(a)


def _added(parts: Array) -> Array:
    total = parts[0]
    for part in parts[1:]:
        np.add(total, part, out=total)
    return total


