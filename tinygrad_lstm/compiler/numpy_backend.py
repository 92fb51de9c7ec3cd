"""Loops as NumPy code: every result goes where it is wanted, nothing is allocated per step.

The source of one Python function is written for a program and compiled once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..parallel.products import matmul
from ..tensor import Array
from . import memory
from .numpy_source import write
from .planes import Home
from .program import Outcome, Program
from .read_planes import Index

__all__ = ["NumpyLoop", "Spans"]

Spans = Callable[[Sequence[Array]], Iterable[tuple[int, int]]]
"""From a loop's stacks, which it then fills, to the spans of steps to run, in order."""


class NumpyLoop:
    """A program as a Python function.

    What is multiplied over time is kept, and multiplied at the end in one go. small: of how many
    multiplications products are best, in a loop on one thread. homes: of values that are written
    over arrays that the loop reads, which are not to be used after it.
    """

    def __init__(
        self, program: Program, small: int = 0, homes: Mapping[int, Home] | None = None
    ) -> None:
        self.program = program
        known = {*self.program.timed, *self.program.stacks}
        pairs = self.program.products
        factors = dict.fromkeys(v for pair in pairs for v in pair if v not in known)
        kept = replace(self.program, stacks=(*self.program.stacks, *factors))
        self._kept = kept
        self._homes: dict[int, tuple[int, Index]] = {  # of stacks, by their positions
            kept.stacks.index(v): (kept.timed.index(home.timed), home.planes)
            for v, home in (homes or {}).items()
            if v in kept.stacks
        }
        _, self._run = write(kept, small, homes)
        place = {v: (0, k) for k, v in enumerate(kept.timed)}
        place |= {v: (1, k) for k, v in enumerate(kept.stacks)}
        self._pairs = [(place[left], place[right]) for left, right in pairs]

    def __call__(
        self,
        steps: int,
        carried: Sequence[Array],
        timed: Sequence[Array],
        invariants: Sequence[Array],
        spans: Spans | None = None,
    ) -> Outcome:
        """timed: arrays (T, ...). spans: by default all steps at once; with them no products."""
        program = self.program
        stacks: list[Array] = []
        for k, (shape, dtype) in enumerate(program.specs(self._kept.stacks)):
            if k in self._homes:
                place, planes = self._homes[k]
                stacks.append(timed[place][:, planes])
            else:
                stacks.append(memory.array((steps + (k < program.history), *shape), dtype))
        initial = list(carried)
        for k in range(program.history):
            stacks[k][0] = carried[k]
            initial[k] = stacks[k][0, ...]
        sums = [np.zeros(shape, dtype) for shape, dtype in program.specs(program.sums)]
        parts = [(0, steps)] if spans is None else spans(stacks)
        with np.errstate(over="ignore"):  # of a sigmoid far out
            finals = self._run(steps, parts, initial, timed, invariants, stacks, sums)
        finals = [np.array(a) for a in finals]  # no view: it would keep all
        products = self.products(timed, stacks, 0, steps) if spans is None else []
        return Outcome(finals, stacks[: len(program.stacks)], sums, products)

    def products(
        self, timed: Sequence[Array], stacks: Sequence[Array], first: int, end: int
    ) -> list[Array]:
        """The program's products over time, of some of the steps."""
        lists = (timed, stacks)
        return [
            _product(lists[a][k][first:end], lists[b][n][first:end])
            for (a, k), (b, n) in self._pairs
        ]


def _product(left: Array, right: Array) -> Array:
    """sum_t left_t^T right_t as one product."""
    rows = math.prod(left.shape[:-1])  # said, for there may be no columns
    return matmul(left.reshape(rows, left.shape[-1]).T, right.reshape(rows, right.shape[-1]))
