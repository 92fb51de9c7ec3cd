"""Between recorded tensors and the compiler's graphs: a step traced once, a graph run on tensors.

Tracing runs the step on example values; what it closes over is found by itself: every tensor it
reads that it did not make.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from ..sweep import Key, key_of
from ..tensor import Array, Node, Tensor, record
from .graph import Graph, Instruction, Spec

__all__ = ["example", "graph_of", "recorded_since", "replay"]


def graph_of(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    since: int,
    stand_ins: Collection[Key] = (),
) -> tuple[Graph, list[Tensor]]:
    """The graph from `inputs` to `outputs`, and the other tensors it reads.

    since: ops recorded before this number are not part of it; their results are captured, and
    become inputs after the given ones. Anonymous numbers are constants, but for `stand_ins`, whose
    own values mean nothing.
    """
    numbers: dict[Key, int] = {}
    specs: list[Spec] = []
    names: dict[int, str] = {}
    constants: dict[int, Array] = {}
    captured: list[Tensor] = []

    def number(t: Tensor) -> int:
        key = key_of(t)
        if key not in numbers:
            numbers[key] = len(specs)
            specs.append(Spec(t.shape, t.dtype))
            if t.name is not None:
                names[numbers[key]] = t.name
        return numbers[key]

    def outside(t: Tensor) -> None:
        key = key_of(t)
        if key in numbers:
            return
        is_number = t.node is None and not t.requires_grad and t.ndim == 0 and t.name is None
        if is_number and key not in stand_ins:
            constants[number(t)] = t._data
        else:
            captured.append(t)
            number(t)

    given = [number(t) for t in inputs]
    nodes = recorded_since(outputs, since)
    made = set(nodes)
    instructions: list[Instruction] = []
    for node in nodes:
        for t in node.inputs:
            if t.node not in made:
                outside(t)
        read = tuple(numbers[key_of(t)] for t in node.inputs)
        instructions.append(Instruction(node.op, read, node.attrs, number(node.output())))
    for t in outputs:  # one that no op of the step made
        if t.node not in made:
            outside(t)
    graph = Graph(
        inputs=(*given, *(numbers[key_of(t)] for t in captured)),
        outputs=tuple(numbers[key_of(t)] for t in outputs),
        instructions=tuple(instructions),
        specs=tuple(specs),
        constants=constants,
        names=names,
    )
    return graph, captured


def recorded_since(outputs: Sequence[Tensor], since: int) -> list[Node]:
    """The nodes numbered `since` or later that the outputs were computed from, in order."""
    seen: set[Node] = set()
    stack = [t.node for t in outputs]
    while stack:
        node = stack.pop()
        if node is not None and node.seq >= since and node not in seen:
            seen.add(node)
            stack.extend(t.node for t in node.inputs)
    return sorted(seen, key=lambda node: node.seq)


def replay(
    graph: Graph, inputs: Sequence[Tensor], keep: Callable[[int, Tensor], None] | None = None
) -> list[Tensor]:
    """Run the graph on tensors, recording each op; `keep` is told of every value."""
    values: dict[int, Tensor] = dict(zip(graph.inputs, inputs, strict=True))
    values.update({k: Tensor(array) for k, array in graph.constants.items()})
    if keep is not None:
        for value, t in values.items():
            keep(value, t)
    for instruction in graph.instructions:
        read = tuple(values[v] for v in instruction.inputs)
        made = record(instruction.op, read, instruction.attrs)
        name = graph.names.get(instruction.out)
        values[instruction.out] = made if name is None else made.named(name)
        if keep is not None:
            keep(instruction.out, made)
    return [values[v] for v in graph.outputs]


def example(spec: Spec, requires_grad: bool) -> Tensor:
    """A tensor of the right shape and dtype, for tracing where values do not matter.

    Integers are 0: an index that fits wherever one does.
    """
    is_float = spec.dtype.kind == "f"
    values = np.ones(spec.shape, spec.dtype) if is_float else np.zeros(spec.shape, spec.dtype)
    return Tensor(values, requires_grad=requires_grad and is_float)
