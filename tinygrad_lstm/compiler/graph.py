"""The compiler's view of recorded ops: a flat list of instructions over numbered values.

A pass is a function from Graph to Graph. Graphs are values: passes build new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Array, Op

__all__ = ["Graph", "Instruction", "Spec", "frozen", "users"]


class Spec(NamedTuple):
    """What is known of a value before it is computed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Instruction(NamedTuple):
    """`out = op(*inputs, **attrs)`."""

    op: Op
    inputs: tuple[int, ...]
    attrs: Mapping[str, Any]
    out: int


@dataclass(frozen=True, repr=False)
class Graph:
    """Instructions in an order that can be run, over values numbered by position in `specs`.

    inputs: values given from outside. constants: values fixed when the step was recorded.
    outputs: what the graph is for. names: what the user called a value.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    specs: tuple[Spec, ...]
    constants: Mapping[int, Array] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Graph({len(self.instructions)} ops)"

    def spec(self, value: int) -> Spec:
        """Shape and dtype of a value."""
        return self.specs[value]

    @cached_property
    def mark(self) -> tuple[Any, ...]:
        """Everything that a plan depends on, as something to look up by: all but the names."""
        told = [frozen(i.attrs) if i.attrs else None for i in self.instructions]
        instructions = tuple(
            [(i.op, i.inputs, t, i.out) for i, t in zip(self.instructions, told, strict=True)]
        )
        constants = tuple((k, a.dtype.str, a.tobytes()) for k, a in self.constants.items())
        return self.inputs, self.outputs, instructions, self.specs, constants

    def producers(self) -> dict[int, Instruction]:
        """The instruction that makes each computed value."""
        return {i.out: i for i in self.instructions}

    def reachable(self, outputs: Iterable[int] | None = None) -> set[int]:
        """Every value that the outputs (all, or the given ones) are computed from, and they."""
        needed = set(self.outputs if outputs is None else outputs)
        for instruction in reversed(self.instructions):
            if instruction.out in needed:
                needed.update(instruction.inputs)
        return needed

    def depending_on(self, values: Iterable[int], differentiably: bool = False) -> set[int]:
        """Every value computed from any of `values`, and they; or only by differentiable ops."""
        tainted = set(values)
        for i in self.instructions:
            if not tainted.isdisjoint(i.inputs) and (i.op.differentiable or not differentiably):
                tainted.add(i.out)
        return tainted

    def pruned(self) -> Graph:
        """Without what no output needs."""
        needed = self.reachable()
        kept = tuple(i for i in self.instructions if i.out in needed)
        constants = {k: v for k, v in self.constants.items() if k in needed}
        return replace(self, instructions=kept, constants=constants)

    def renamed(self, other: Mapping[int, int]) -> Graph:
        """With some values replaced by others wherever they are read."""
        if not other:
            return self

        def final(value: int) -> int:
            while value in other:
                value = other[value]
            return value

        instructions = tuple(
            i._replace(inputs=tuple(final(v) for v in i.inputs)) for i in self.instructions
        )
        return replace(
            self, instructions=instructions, outputs=tuple(final(v) for v in self.outputs)
        )


class Builder:
    """A graph under construction: new values get the next numbers."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.specs = list(graph.specs)
        self.instructions: list[Instruction] = []
        self.constants = dict(graph.constants)

    def value(self, spec: Spec) -> int:
        """A new value."""
        self.specs.append(spec)
        return len(self.specs) - 1

    def add(self, op: Op, inputs: Sequence[int], attrs: Mapping[str, Any], spec: Spec) -> int:
        """A new instruction; the number of its result."""
        out = self.value(spec)
        self.instructions.append(Instruction(op, tuple(inputs), attrs, out))
        return out

    def finish(self, **changes: Any) -> Graph:
        """The graph with the instructions added here in place of the old ones."""
        return replace(
            self.graph,
            instructions=tuple(self.instructions),
            specs=tuple(self.specs),
            constants=self.constants,
            **changes,
        )

    def replacing(self, replaced: Mapping[int, int]) -> Graph:
        """The old instructions, with some values replaced by what those added here make."""
        kept = (i for i in self.graph.instructions if i.out not in replaced)
        self.instructions = [*kept, *self.instructions]
        names = {replaced.get(v, v): name for v, name in self.graph.names.items()}
        return in_order(self.finish(names=names).renamed(replaced)).pruned()


def users(graph: Graph) -> dict[int, list[Instruction]]:
    """The instructions that read each value."""
    found: dict[int, list[Instruction]] = {}
    for instruction in graph.instructions:
        for value in dict.fromkeys(instruction.inputs):
            found.setdefault(value, []).append(instruction)
    return found


def in_order(graph: Graph) -> Graph:
    """The instructions sorted so that each stands after what it reads."""
    waiting = {i.out: i for i in graph.instructions}
    most = sum(len(i.inputs) for i in graph.instructions) + 1  # that wait at a time
    ordered: list[Instruction] = []
    for start in graph.instructions:
        stack = [start.out]
        while stack:
            instruction = waiting.get(stack[-1])
            if instruction is None:
                stack.pop()
                continue
            missing = [v for v in instruction.inputs if v in waiting]
            if len(stack) > most:
                raise RuntimeError("compiler: instructions wait for each other")
            if missing:
                stack.extend(missing)
            else:
                ordered.append(instruction)
                del waiting[instruction.out]
                stack.pop()
    return replace(graph, instructions=tuple(ordered))


def frozen(value: Any) -> Any:
    """Attributes as something to look up by: equal if NumPy does the same with them.

    1, 1.0 and True are told apart, 0.0 and -0.0 too, and nan is what it was.
    """
    kind = value.__class__
    if value is None or kind is int or kind is str:
        return value
    if kind is tuple:
        return tuple([frozen(v) for v in value])
    if kind is slice:
        return "slice", frozen(value.start), frozen(value.stop), frozen(value.step)
    if kind is float:
        return "float", value.hex()
    if isinstance(value, dict):
        return tuple([(k, frozen(v)) for k, v in value.items()])
    if isinstance(value, np.ndarray):
        return "array", value.shape, value.dtype.str, _digest(value.tobytes())
    if isinstance(value, np.generic):
        return value.dtype.str, value.tobytes()
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(frozen, value))
    if isinstance(value, tuple | list):
        return kind, *map(frozen, value)
    return kind, value


def _digest(data: bytes) -> bytes:
    """What stands for much data in a key, which would hold on to it."""
    if len(data) <= _SHORT:
        return data
    from hashlib import sha256

    return sha256(data).digest()


_SHORT = 1024
