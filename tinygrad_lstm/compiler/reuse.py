"""Which results may stand where others stood that nobody reads any more: less memory to go through.

Elementwise functions of NumPy may write over what they read; others get memory of their own.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

from .graph import Graph, Instruction, Spec
from .into import IN_PLACE
from .tidy import is_view

__all__ = ["Slots", "last_uses", "roots_of", "slots_of"]


class Slots(NamedTuple):
    """specs: of the slots. of: the slot that each value stands in."""

    specs: list[Spec]
    of: dict[int, int]


def slots_of(
    graph: Graph, instructions: Sequence[Instruction], kept: Set[int], elsewhere: Set[int]
) -> Slots:
    """A slot for each instruction's result, but views and what stands `elsewhere`.

    kept: values that are read after the last instruction.
    """
    roots, last = roots_of(instructions), last_uses(instructions, kept)
    specs: list[Spec] = []
    of: dict[int, int] = {}
    free: list[int] = []
    for k, i in enumerate(instructions):
        ends = {roots.get(v, v) for v in i.inputs}
        ends = {v for v in ends if v in of and last[v] == k}
        if i.out not in roots and i.out not in elsewhere:
            if i.op.name in IN_PLACE:
                free += [of[v] for v in ends.intersection(i.inputs)]
                ends -= set(i.inputs)
            spec = graph.spec(i.out)
            slot = next((s for s in reversed(free) if specs[s] == spec), None)
            if slot is None:
                slot = len(specs)
                specs.append(spec)
            else:
                free.remove(slot)
            of[i.out] = slot
            if last[i.out] == k:
                ends.add(i.out)
        free += [of[v] for v in ends]
    return Slots(specs, of)


def last_uses(instructions: Sequence[Instruction], kept: Set[int]) -> dict[int, int]:
    """The instruction that reads a value, or a view of it, last, or makes it in vain.

    kept: values that are read after the last.
    """
    roots = roots_of(instructions)
    last: dict[int, int] = {}
    for k, i in enumerate(instructions):
        for v in (*i.inputs, i.out):
            last[roots.get(v, v)] = k
    last.update((roots.get(v, v), len(instructions)) for v in kept)
    return last


def roots_of(instructions: Sequence[Instruction]) -> dict[int, int]:
    """What each view looks at in the end."""
    roots: dict[int, int] = {}
    for i in instructions:
        if is_view(i):
            (source,) = i.inputs
            roots[i.out] = roots.get(source, source)
    return roots
