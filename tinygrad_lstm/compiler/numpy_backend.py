"""Loops as NumPy code: every result goes where it is wanted, nothing is allocated per step.

The source of one Python function is written for a program and compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..tensor import Array
from . import memory
from .numpy_source import write
from .program import Loop, Outcome, Program
from .regroup import known_first

__all__ = ["build"]


def build(program: Program) -> Loop:
    """The program as a Python function.

    What is multiplied over time is kept, and multiplied at the end in one go.
    """
    program = known_first(program)
    known = {*program.timed, *program.stacks}
    factors = dict.fromkeys(v for pair in program.products for v in pair if v not in known)
    kept = replace(program, stacks=(*program.stacks, *factors))
    _, run = write(kept)

    def loop(
        steps: int, carried: Sequence[Array], timed: Sequence[Array], invariants: Sequence[Array]
    ) -> Outcome:
        stacks: list[Array] = []
        for k, (shape, dtype) in enumerate(kept.specs(kept.stacks)):
            stacks.append(memory.array((steps + (k < program.history), *shape), dtype))
        initial = list(carried)
        for k in range(program.history):
            stacks[k][0] = carried[k]
            initial[k] = stacks[k][0, ...]
        sums = [np.zeros(shape, dtype) for shape, dtype in program.specs(program.sums)]
        with np.errstate(over="ignore"):  # of a sigmoid far out
            finals = run(steps, initial, timed, invariants, stacks, sums)
        over_time = dict(zip(program.timed, timed, strict=True))
        over_time |= dict(zip(kept.stacks, stacks, strict=True))
        products = [_product(over_time[a], over_time[b]) for a, b in program.products]
        finals = [np.array(a) for a in finals]  # no view: it would keep all
        return Outcome(finals, stacks[: len(program.stacks)], sums, products)

    return loop


def _product(left: Array, right: Array) -> Array:
    """sum_t left_t^T right_t as one product."""
    return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
