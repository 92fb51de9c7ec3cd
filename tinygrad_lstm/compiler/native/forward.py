"""The forward call of a plan: what depends on no step, the loop, and what is kept where.

What the backward pass reads stands in one block of memory, at places known when the plan is made,
apart from what the caller gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import memory
from ..source import Source
from .call import CallWriter
from .loop import NativeLoop

if TYPE_CHECKING:
    from ..plan import Plan

__all__ = ["ForwardCall"]

_APART = 64  # bytes between the beginnings of a block's parts, at least
_SET = 4096  # bytes after which the nearest cache begins again
_BYTES = np.dtype(np.uint8)


class ForwardCall(CallWriter):
    """run(arrays), and what it keeps where.

    saved: names of what a run leaves for the backward pass, in order; over_time: which of them are
    arrays over time.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        stacks, outputs = plan.forward.stacks, plan.forward.graph.outputs[plan.carries :]
        self.ys = [stacks.index(v) for v in outputs]
        blocks = {("stacks", k): 0 for k in range(len(stacks)) if k not in self.ys}
        super().__init__(NativeLoop(plan.forward, plan.steps, blocks), Source(plan.parts.before))
        self.saved: list[str] = []
        self.over_time: list[int] = []
        self.offsets: dict[int, int] = {}  # stack -> bytes from the block's beginning
        self.block = 0  # its size
        self._lay_out()

    def _lay_out(self) -> None:
        """Stacks one after the other, spread over the cache: none pushes another out of it."""
        shapes, size = self.loop.stack_shapes, self.loop.dtype.itemsize
        inside = [k for k in range(len(shapes)) if k not in self.ys]
        for number, k in enumerate(inside):
            taken = math.prod(shapes[k]) * size
            if taken > _SET:
                wanted = number * (_SET // len(inside)) // _APART * _APART
                self.block += (wanted - self.block) % _SET
            self.offsets[k] = self.block
            self.block += -(-taken // _APART) * _APART

    def write(self) -> tuple[str, Callable[..., Any]]:
        plan, parts = self.plan, self.plan.parts
        before = parts.before
        inputs = [*(f"C{k}" for k in range(plan.carries)), *(f"v{v}" for v in before.inputs)]
        if inputs:
            self.add(f"{', '.join(inputs)}, = arrays")
        self.add(*(self.source.line(i) for i in before.instructions))
        self.begin()
        self._stacks()
        for k, v in enumerate(parts.timed):
            self.read_over_time(k, f"v{v}")
        for k, v in enumerate(parts.invariants):
            self.read_invariant(k, f"v{v}")
        self.launch()
        finals = [f"F{k}" for k in range(plan.carries)]
        ys = [f"S{k}[1:]" if k < plan.forward.history else f"S{k}" for k in self.ys]
        if plan.differentiable:
            self._save()
        saved = f"({''.join(f'{name}, ' for name in self.saved)})"
        saved = saved if plan.differentiable else "None"
        self.add(f"return [{', '.join([*finals, *ys])}], {saved}")
        return self.function("arrays")

    def _stacks(self) -> None:
        loop = self.loop
        if self.offsets:
            make = self.bound("new_block", memory.maker((self.block,), _BYTES))
            self.add(f"block = {make}()")
            self.tell("blocks", 0, "block")
        for k, shape in enumerate(loop.stack_shapes):
            if k in self.ys:
                self.new(f"S{k}", shape)
                self.tell("stacks", k, f"S{k}")
            else:
                self.settle("stacks", k, self.offsets[k], "offset")
            self.settle("stacks", k, math.prod(shape[1:]), "time")
        for k in range(self.plan.carries):  # all of them have a history
            shape = loop.stack_shapes[k][1:]
            self.add(f"if not C{k}.flags.c_contiguous: C{k} = side_by_side(C{k})")
            self.tell("carried", k, f"C{k}")
            self.new(f"F{k}", (1, *shape) if self.plan.rows else shape)
            self.tell("finals", k, f"F{k}")

    def _save(self) -> None:
        """Name what the backward pass reads, each thing once."""
        plan, derived = self.plan, self.plan.before_backward
        over_time = [self.memory_of(v)[0] for v in plan.timed_reads]
        fixed = [*plan.invariant_reads, *(() if derived is None else derived.reads)]
        self.saved = list(dict.fromkeys([*over_time, *(f"v{v}" for v in fixed)]))
        self.over_time = [k for k, name in enumerate(self.saved) if name in over_time]

    def memory_of(self, v: int) -> tuple[str, int]:
        """The array that holds a value over time, which the backward pass reads; from which byte.

        A name that begins with "v" is a whole array of values.
        """
        program, shapes = self.plan.forward, self.loop.stack_shapes
        if v in program.carried:  # the value before the step
            k, first = program.carried.index(v), 0
        elif v in program.stacks:
            k = program.stacks.index(v)
            first = math.prod(shapes[k][1:]) if k < program.history else 0
        else:
            return f"v{v}", 0
        first *= self.loop.dtype.itemsize
        return (f"S{k}", first) if k in self.ys else ("block", self.offsets[k] + first)
