"""A native loop as the plan calls it: memory handed over, rows shared out over threads."""

from __future__ import annotations

import ctypes
import math
from array import array as pointers
from collections.abc import Sequence

import numpy as np

from ...tensor import Array
from .. import memory
from ..program import Outcome, Program
from .emit import HEAD, Kernel
from .layout import layout_of
from .pool import allowed_threads, run_all
from .schedule import Product
from .target import load, machine

__all__ = ["build"]

_KEPT_ROWS = 128  # factors of weight gradients that are set aside before they are multiplied
_LARGE_GRADIENTS = 1 << 19  # bytes; beyond, twice as many, for the gradients leave the cache
_WORTH_A_THREAD = 2e6  # multiplications and additions
_SMALL = 1 << 16  # bytes of scratch memory that are worth keeping
_BYTES = np.dtype(np.uint8)


def build(program: Program) -> NativeLoop:
    """The program as native code. Raises NotNative naming the op that has no native form."""
    return NativeLoop(program)


class NativeLoop:
    """Calls the compiled function."""

    def __init__(self, program: Program) -> None:
        host = machine()
        self.layout = layout = layout_of(program, host.vector_bytes)
        self.kernel = Kernel(layout, host)
        self.program = p = layout.program
        self.prepare, self.run = load(self.kernel.text(), ("prepare", "run"))
        self.batch = layout.batch
        self.dtype = layout.dtype
        shapes = [spec.shape for spec in layout.graph.specs]
        self._stack_shapes = [shapes[v] for v in p.stacks]
        self._final_shapes = [shapes[v] for v in p.carried]
        self._sum_shapes = [
            layout.row_sums[v].shape if v in layout.row_sums else shapes[v] for v in p.sums
        ]
        self._sum_results = [shapes[v] for v in p.sums]
        self._sums_apart = [self._is_apart(v) for v in p.sums]
        self._columns = [shapes[b][-1] for _, b in p.products]
        self._product_shapes = [
            (shapes[a][-1], layout.padded(n))
            for (a, _), n in zip(p.products, self._columns, strict=True)
        ]
        self._work = self._work_per_row(shapes)
        large = sum(map(math.prod, self._product_shapes)) * self.dtype.itemsize > _LARGE_GRADIENTS
        self._kept_rows = _KEPT_ROWS * 2 if large else _KEPT_ROWS
        self._dense = [v in layout.views for v in p.invariants]  # read row by row
        self._spare: list[Array] = []  # scratch memory of runs that are over

    def _is_apart(self, v: int) -> bool:
        """Whether each thread has a sum of its own; else each has its own rows of one."""
        return self.batch is None or v in self.layout.row_sums or not self.layout.views[v].rows

    def _work_per_row(self, shapes: Sequence[tuple[int, ...]]) -> float:
        """About how many multiplications a step takes for one row."""
        work = 50.0 * sum(math.prod(shape[1:]) for shape in self._stack_shapes)
        for stage in self.kernel.schedule.stages:
            if isinstance(stage, Product):
                work += math.prod(shapes[stage.right])
        return work + sum(map(math.prod, self._product_shapes))

    def __call__(
        self,
        steps: int,
        carried: Sequence[Array],
        timed: Sequence[Array],
        invariants: Sequence[Array],
    ) -> Outcome:
        """Run all steps."""
        dtype, history = self.dtype, self.program.history
        stacks: list[Array] = []
        finals: list[Array] = []
        for k, shape in enumerate(self._stack_shapes):
            stack = memory.array((steps + (k < history), *shape), dtype)
            if k < history:
                stack[0] = carried[k]
                finals.append(stack[-1, ...])
            stacks.append(stack)
        for shape in self._final_shapes[history:]:
            finals.append(np.empty(shape, dtype))
        rows = 1 if self.batch is None else self.batch
        threads = 1
        if rows > 1 and self.batch is not None and self._work * rows * steps > _WORTH_A_THREAD:
            threads = min(allowed_threads(), rows)
        sums = [np.zeros((threads, *shape), dtype) for shape in self._sum_shapes]
        products = [memory.array((threads, *shape), dtype) for shape in self._product_shapes]
        for total in products:
            total.fill(0)
        arrays = {
            "carried": [np.ascontiguousarray(a) for a in carried[history:]],
            "timed": [_rows_together(a) for a in timed],
            "invariants": [
                np.ascontiguousarray(a) if dense else a
                for a, dense in zip(invariants, self._dense, strict=True)
            ],
            "stacks": stacks,
            "finals": finals,
        }
        self._run(steps, rows, threads, arrays, sums, products)
        return Outcome(
            finals,
            stacks,
            [self._total(k, a) for k, a in enumerate(sums)],
            [_added(a)[:, :n] for a, n in zip(products, self._columns, strict=True)],
        )

    def _total(self, k: int, parts: Array) -> Array:
        """A sum over all threads."""
        v = self.program.sums[k]
        several = len(parts) > 1 and v in self.layout.row_sums  # else all the same, or rows of one
        return (_added(parts) if several else parts[0, ...]).reshape(self._sum_results[k])

    def _run(
        self,
        steps: int,
        rows: int,
        threads: int,
        arrays: dict[str, Sequence[Array]],
        sums: list[Array],
        products: list[Array],
    ) -> None:
        kernel, history = self.kernel, self.program.history
        common: list[int] = []
        own: list[tuple[int, str, int]] = []  # what differs from thread to thread
        for group, k, what in kernel.arrays:
            if group in ("sums", "products"):
                own.append((len(common), group, k))
                common.append(0)
                continue
            array = arrays[group][k - history if group == "carried" else k]
            if what == "pointer":
                common.append(_address(array))
            else:
                common.append(array.strides[what == "1"] // array.itemsize)
        calls: list[pointers[int]] = []
        packed = self._scratch(kernel.packed)
        scratches = [packed]
        weights = _address(packed)
        weights += -weights % 64
        for thread in range(threads):
            first, last = rows * thread // threads, rows * (thread + 1) // threads
            count = last - first
            capacity = max(1, self._kept_rows // count) * count
            scratch = self._scratch(
                kernel.fixed + count * kernel.per_row + capacity * kernel.per_kept
            )
            scratches.append(scratch)
            start = _address(scratch)
            head = (steps, first, count, start + -start % 64, capacity, weights)
            numbers = pointers("q", head)
            numbers.extend(common)
            for place, group, k in own:
                if group == "sums":
                    part = sums[k][thread if self._sums_apart[k] else 0, ...]
                else:
                    part = products[k][thread]
                numbers[place + len(HEAD)] = _address(part)
            calls.append(numbers)
        self.prepare(calls[0].buffer_info()[0])
        run_all(self.run, [numbers.buffer_info()[0] for numbers in calls])
        self._spare = [scratch for scratch in scratches if scratch.size < _SMALL]

    def _scratch(self, count: int) -> Array:
        """Memory for `count` numbers, and to align them."""
        size = count * self.dtype.itemsize + 64
        try:
            spare = self._spare.pop()
        except IndexError:
            return memory.array((size,), _BYTES)
        return spare if spare.size >= size else memory.array((size,), _BYTES)


def _address(a: Array) -> int:
    """Where the numbers begin; `a.ctypes.data`, four times as fast where that is possible."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(a))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):  # read-only, empty, or with gaps
        return a.ctypes.data


def _rows_together(a: Array) -> Array:
    """(T, ...) with what belongs to one step side by side; any stride over time will do."""
    if a.flags.c_contiguous or a.shape[0] == 0 or a[0].flags.c_contiguous:
        return a
    return np.ascontiguousarray(a)


def _added(parts: Array) -> Array:
    total = parts[0]
    for part in parts[1:]:
        np.add(total, part, out=total)
    return total
