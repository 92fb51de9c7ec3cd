"""One native step at a time, on memory that stays where it is: nothing to prepare at a call."""

from __future__ import annotations

from array import array as numbers
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ...tensor import Array
from ..program import Program
from .kernel import FUNCTIONS, Kernel
from .layout import layout_of
from .loop import check_arrays
from .target import load, machine

__all__ = ["NativeStep"]


class NativeStep:
    """A program without sums or products over time, run for one step.

    Raises NotNative naming the op that has no native form.
    """

    def __init__(self, program: Program) -> None:
        check_arrays()
        host = machine()
        layout = layout_of(program, host.vector_bytes)
        self._kernel = kernel = Kernel(layout, host)
        self._prepare, self._run, _ = load(kernel.text(), FUNCTIONS)
        self._rows = rows = 1 if layout.batch is None else layout.batch
        size = layout.dtype.itemsize
        self._scratch = _Aligned(kernel.scratch.size(rows, 0) * size)
        self._packed_size = kernel.scratch.packed * size

    def bind(
        self, stacks: Sequence[Array], timed: Sequence[Array], invariants: Sequence[Array]
    ) -> Callable[[], None]:
        """The step on these arrays, for all calls to come; packs the matrices of the invariants.

        stacks (1, ...) are written, those with a history (2, ...) from row 0 to row 1; timed
        (1, ...) are read. All but the first axis of each lie side by side. What was bound before
        stays as it is.
        """
        histories = [s for s in stacks if len(s) == 2]  # the carries are there already
        carries = {
            "carried": [s[0, ...] for s in histories],
            "finals": [s[1, ...] for s in histories],
        }
        arrays = {"stacks": stacks, "timed": timed, "invariants": invariants, **carries}
        told = tuple(arrays[group][k] for group, k in self._kernel.arguments.arrays)
        packed = _Aligned(self._packed_size)
        memories = self._scratch.address, self._rows, packed.address
        given = numbers("q", (1, 0, self._rows, *memories, id(told)))
        for group, k, what in self._kernel.arguments.numbers:
            a = arrays[group][k]
            if what == "array":
                given.append(id(a))
            else:
                given.append(a.strides[what == "1"] // a.itemsize)
        address = given.buffer_info()[0]
        self._prepare(address)
        bound = partial(self._run, address)
        vars(bound)["reads"] = given, arrays, told, packed  # it knows but an address
        return bound


class _Aligned:
    """Memory that starts where a vector register's would."""

    def __init__(self, size: int) -> None:
        self._memory = np.empty(size + 64, np.uint8)
        start = self._memory.ctypes.data
        self.address = start + -start % 64
