"""A compiled loop and what its calls need: numbers to be told, memory to work in, threads."""

from __future__ import annotations

import ctypes
import math
import sys
from array import array as integers
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache

import numpy as np

from ...parallel.pool import allowed_threads, run_all
from ...tensor import Array
from .. import memory
from ..backends import NotNative
from ..program import Program
from .arguments import HEAD, ITEMS_AT, NUMBERS_AT
from .kernel import FUNCTIONS, Kernel
from .layout import layout_of
from .schedule import Product
from .target import load, machine

__all__ = ["NativeLoop", "Workspace", "check_arrays"]

_KEPT_ROWS = 128  # factors of weight gradients that are set aside before they are multiplied
_LARGE_GRADIENTS = 1 << 19  # bytes; beyond, twice as many, for the gradients leave the cache
_WORTH_A_THREAD = 2e6  # multiplications and additions
_SMALL = 1 << 18  # bytes
_BYTES = np.dtype(np.uint8)
_ARRAYS = HEAD.index("arrays")

Shape = tuple[int, ...]


class Workspace:
    """What one call needs at a time, and the next one again.

    numbers: what the first thread's function is given, `address` where they stand; threads: what
    all are given. held: arrays that stand among the numbers already.
    """

    __slots__ = ("address", "held", "numbers", "scratch", "threads")

    def __init__(
        self, threads: Sequence[integers[int]], scratch: Sequence[Array], held: int
    ) -> None:
        self.threads = threads
        self.numbers = threads[0]
        self.address = threads[0].buffer_info()[0]
        self.scratch = scratch
        self.held: list[Array | None] = [None] * held


class NativeLoop:
    """A program as native code. Raises NotNative naming the op that has no native form.

    steps: of every call. blocks: see Arguments. places: (list, position) of an array -> where among
    all numbers its "array" (an invariant's) or "offset" and strides ("time", "0", "1") stand.
    """

    def __init__(
        self, program: Program, steps: int, blocks: Mapping[tuple[str, int], int] | None = None
    ) -> None:
        check_arrays()
        host = machine()
        self.steps = steps
        self.layout = layout = layout_of(program, host.vector_bytes)
        self.kernel = Kernel(layout, host, blocks)
        self.program = p = layout.program
        self.prepare, self.run, self.prepare_and_run = load(self.kernel.text(), FUNCTIONS)
        self.dtype = layout.dtype
        self.rows = layout.batch or 1
        self.places: dict[tuple[str, int], dict[str, int]] = {}
        for place, (group, k, what) in enumerate(self.kernel.arguments.numbers, len(HEAD)):
            self.places.setdefault((group, k), {})[what] = place
        shapes = [spec.shape for spec in layout.graph.specs]
        self.stack_shapes: list[Shape] = [
            (steps + (k < p.history), *shapes[v]) for k, v in enumerate(p.stacks)
        ]
        self.sum_shapes: list[Shape] = [
            layout.row_sums[v].shape if v in layout.row_sums else shapes[v] for v in p.sums
        ]
        self.product_shapes: list[Shape] = [
            (shapes[a][-1], layout.padded(shapes[b][-1])) for a, b in p.products
        ]
        self._apart, self._alike = set[int](), set[int]()
        for place, (group, k) in enumerate(self.kernel.arguments.arrays):
            if group == "products" or (group == "sums" and p.sums[k] in layout.row_sums):
                self._apart.add(place)  # each thread has a share of its own
            elif group == "sums" and not layout.views[p.sums[k]].rows:
                self._alike.add(place)  # each thread comes to the same, and one is to tell it
        work = self._work_per_row(shapes)
        self._most_threads = self.rows if work * self.rows * steps > _WORTH_A_THREAD else 1
        large = sum(map(math.prod, self.product_shapes)) * self.dtype.itemsize > _LARGE_GRADIENTS
        self._kept_rows = _KEPT_ROWS * 2 if large else _KEPT_ROWS
        self.idle: list[Workspace] = []  # for one thread
        self._held = 0
        self._fixed: dict[int, int] = {}

    def _work_per_row(self, shapes: Sequence[Shape]) -> float:
        """About how many multiplications a step takes for one row."""
        work = 50.0 * sum(math.prod(shape[2:]) for shape in self.stack_shapes)
        for stage in self.kernel.schedule.stages:
            if isinstance(stage, Product):
                work += math.prod(shapes[stage.right])
        return work + sum(map(math.prod, self.product_shapes))

    # -- calls --------------------------------------------------------------------------------

    @property
    def one_thread(self) -> bool:
        """Whether no call is worth more than one."""
        return self._most_threads == 1

    @property
    def is_small(self) -> bool:
        """Whether a workspace for one thread may wait for the next call."""
        numbers = self._scratch_size(self.rows) + self.kernel.scratch.packed
        return numbers * self.dtype.itemsize < _SMALL

    def configure(self, held: int, fixed: Mapping[int, int]) -> None:
        """What all calls have in common.

        held: how many arrays a workspace remembers. fixed: numbers by their place.
        """
        self._held, self._fixed = held, dict(fixed)

    def take(self) -> Workspace:
        """A workspace that is nobody else's, until it is given back."""
        threads = 1
        if self._most_threads > 1:
            threads = min(allowed_threads(), self._most_threads)
        if threads == 1:
            with suppress(IndexError):
                return self.idle.pop()
        return self._workspace(threads)

    def give(self, workspace: Workspace) -> None:
        """For the next call."""
        if self.is_small and len(workspace.threads) == 1:
            self.idle.append(workspace)

    def launch(self, workspace: Workspace, arrays: tuple[Array, ...]) -> None:
        """Run on all of the workspace's threads; sums and products get the shares of all.

        arrays: as `Arguments.arrays`, each (list, position) told. Whoever is interrupted must not
        give the workspace back.
        """
        first, *others = workspace.threads
        first[_ARRAYS] = id(arrays)
        if not others:
            self.prepare_and_run(workspace.address)
            return
        shares: list[tuple[Array, Array]] = []
        told = [arrays]
        for numbers in others:
            numbers[len(HEAD) :] = first[len(HEAD) :]
            own = [*arrays]
            for place, total in enumerate(arrays):
                if place in self._apart:
                    own[place] = share = memory.zeros(total.shape, total.dtype)
                    shares.append((total, share))
                elif place in self._alike:
                    own[place] = np.zeros_like(total)
            told.append(tuple(own))
            numbers[_ARRAYS] = id(told[-1])
        self.prepare(workspace.address)
        addresses = [numbers.buffer_info()[0] for numbers in workspace.threads]
        run_all(self.run, addresses, (workspace, told))  # which know addresses only
        with np.errstate(all="ignore"):  # native code warns of nothing; some columns are padding
            for total, share in shares:
                np.add(total, share, out=total)

    def _workspace(self, threads: int) -> Workspace:
        kernel = self.kernel
        weights = self._scratch(kernel.scratch.packed)
        scratch, numbers = [weights], []
        for thread in range(threads):
            first = self.rows * thread // threads
            count = self.rows * (thread + 1) // threads - first
            capacity = self._capacity(count)
            scratch.append(self._scratch(self._scratch_size(count)))
            memories = _aligned(scratch[-1]), capacity, _aligned(weights)
            head = (self.steps, first, count, *memories, 0)
            numbers.append(integers("q", [*head, *[0] * len(kernel.arguments.numbers)]))
        for place, number in self._fixed.items():
            numbers[0][place] = number
        return Workspace(numbers, scratch, self._held)

    def _capacity(self, rows: int) -> int:
        """How many rows of factors are set aside: those of whole steps."""
        return max(1, self._kept_rows // rows) * rows

    def _scratch_size(self, rows: int) -> int:
        """Numbers that a thread works on."""
        return self.kernel.scratch.size(rows, self._capacity(rows))

    def _scratch(self, count: int) -> Array:
        """Memory for `count` numbers, and to align them."""
        return memory.array((count * self.dtype.itemsize + 64,), _BYTES)


def _aligned(scratch: Array) -> int:
    """The first address in it at which a vector register's numbers may begin."""
    start: int = scratch.ctypes.data
    return start + -start % 64


@cache
def check_arrays() -> None:
    """Raise NotNative unless arrays hold the address of their numbers where native code looks.

    It is handed Python's objects, whose ids are their addresses: of a tuple it reads the items, of
    an array the first field of the structure that NumPy's C interface lays down. Asking for an
    address takes ten times as long.
    """
    probe = np.empty(1)
    given = None, probe
    found = None
    if sys.implementation.name == "cpython":
        item = ctypes.c_void_p.from_address(id(given) + ITEMS_AT + ctypes.sizeof(ctypes.c_void_p))
        if item.value == id(probe):
            found = ctypes.c_void_p.from_address(id(probe) + NUMBERS_AT).value
    if found != probe.ctypes.data:
        raise NotNative("NumPy's arrays are laid out in another way than native code expects")
