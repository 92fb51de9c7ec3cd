"""What a loop does in blocks of steps: ops that no carry reaches, a few steps at a time.

For all steps at once they would go through memory, which costs more than the calls that are saved;
a block's results stay in the nearest caches until the loop reads them.
"""

from __future__ import annotations

import math

from .graph import Instruction
from .partition import for_all_steps
from .program import Program
from .reuse import Slots
from .tidy import is_view

__all__ = ["ahead_of", "block_length"]

_BLOCK = 1 << 20  # bytes that a block's results take together


def ahead_of(program: Program) -> list[Instruction]:
    """The instructions that can be run for a block, in order, with attributes for that."""
    graph = program.graph
    carried = graph.depending_on(program.carried)
    moving = graph.depending_on(program.timed) - carried
    if not all(math.prod(spec.shape) for spec in graph.specs):
        return []
    unmade = {i.out for i in graph.instructions if i.out in moving}
    found: list[Instruction] = []
    for i in graph.instructions:
        wanted = i.out in program.carry_out or (is_view(i) and i.out in program.stacks)
        if i.out not in moving or wanted or not unmade.isdisjoint(i.inputs):
            continue
        attrs = for_all_steps(i, graph, moving, -1)
        if attrs is not None:
            found.append(i._replace(attrs=attrs))
            unmade.discard(i.out)
    return found


def block_length(slots: Slots) -> int:
    """How many steps a block has whose results stand in `slots`, of which one step takes a part."""
    taken = sum(math.prod(spec.shape) * spec.dtype.itemsize for spec in slots.specs)
    return max(1, _BLOCK // max(1, taken))
