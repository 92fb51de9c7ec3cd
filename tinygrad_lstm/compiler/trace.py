"""Between recorded tensors and the compiler's graphs: a step traced once, a graph run on tensors.

Tracing runs the step on example values; what it closes over is found by itself: every tensor it
reads that it did not make.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..sweep import Key
from ..tensor import Array, Node, Tensor, record
from .graph import Graph, Instruction, Spec, frozen

__all__ = ["Outline", "example", "graph_of", "outline_of", "recorded_since", "replay"]


class Outline(NamedTuple):
    """What was recorded, its values numbered, and not yet put down as a graph.

    For a step that is called again there most often is one that says the same: see `key`.
    leaves: the values that no op of it made, by number; the first ones are the inputs. reads, outs:
    what each node reads and makes. constants: leaves that are numbers, and stay what they are now;
    captured: the others.
    """

    inputs: tuple[int, ...]
    nodes: list[Node]
    reads: list[tuple[int, ...]]
    outs: list[int]
    outputs: list[int]
    leaves: dict[int, Tensor]
    constants: dict[int, Array]
    captured: list[int]

    def graph(self) -> Graph:
        """All of it as a graph."""
        leaves = self.leaves.items()
        named = {number: t.name for number, t in leaves}
        arrays = {number: t._data for number, t in leaves}
        for node, out in zip(self.nodes, self.outs, strict=True):
            named[out], arrays[out] = node.name, node._value
        whole = zip(self.nodes, self.reads, self.outs, strict=True)
        return Graph(
            inputs=(*self.inputs, *self.captured),
            outputs=tuple(self.outputs),
            instructions=tuple(
                Instruction(n.op, read, _owned(n.attrs), out) for n, read, out in whole
            ),
            specs=tuple(Spec(arrays[k].shape, arrays[k].dtype) for k in range(len(arrays))),
            constants={number: array.copy() for number, array in self.constants.items()},
            names={number: name for number, name in named.items() if name is not None},
        )

    def key(self, numbers: bool = True) -> Any:
        """All that its graph says, as something to look up by; without numbers: but for these."""
        leaves: list[Any] = []  # filled by loops: this is the hot path of scan
        for number, t in self.leaves.items():
            data = t._data
            constant: bool | bytes = number in self.constants
            if constant and numbers:
                constant = data.tobytes()
            leaves.append((number, data.shape, data.dtype, t.name, constant))
        ops: list[Any] = []
        for node in self.nodes:
            attrs, made = node.attrs, node._value
            told = frozen(attrs) if attrs else None
            ops.append((node.op, told, node.name, made.shape, made.dtype))
        return self.inputs, tuple(self.outputs), tuple(self.reads), tuple(ops), tuple(leaves)

    def reading(self, numbers: Collection[int]) -> Outline:
        """With some of its constants captured: read at each call, as whatever they are then."""
        if not numbers:
            return self
        kept = {k: a for k, a in self.constants.items() if k not in numbers}
        read = self.constants.keys() - kept
        return self._replace(constants=kept, captured=sorted({*self.captured, *read}))

    def tensors(self) -> list[Tensor]:
        """What is captured."""
        return [self.leaves[k] for k in self.captured]


def _owned(value: Any) -> Any:
    """Attributes that nobody changes: graphs are kept, and told by what was in them."""
    kind = value.__class__
    if kind is np.ndarray:
        return value.copy()
    if kind is tuple or kind is list:
        return kind(map(_owned, value))
    return {k: _owned(v) for k, v in value.items()} if isinstance(value, dict) else value


def outline_of(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    since: int,
    stand_ins: Collection[Key] = (),
) -> Outline:
    """What was recorded from `inputs` to `outputs`, and the other tensors it reads.

    since: ops recorded before this number are not part of it; their results are captured, and
    become inputs after the given ones. Anonymous numbers are constants, but for `stand_ins`, whose
    own values mean nothing.
    """
    numbers: dict[Key, int] = {}
    leaves: dict[int, Tensor] = {}

    def outside(t: Tensor) -> int:
        number = numbers[t.node or t] = len(numbers)
        leaves[number] = t
        return number

    def number_of(t: Tensor) -> int:
        number = numbers.get(t.node or t)
        return outside(t) if number is None else number

    given = tuple([number_of(t) for t in inputs])
    first = len(leaves)
    nodes = recorded_since(outputs, since)
    reads: list[tuple[int, ...]] = []
    outs: list[int] = []
    for node in nodes:  # each after what it reads
        read: list[int] = []
        for t in node.inputs:
            number = numbers.get(t.node or t)
            read.append(outside(t) if number is None else number)
        reads.append(tuple(read))
        outs.append(len(numbers))
        numbers[node] = outs[-1]
    ends = [number_of(t) for t in outputs]
    constants: dict[int, Array] = {}
    captured: list[int] = []
    for number, t in [*leaves.items()][first:]:
        anonymous = t.node is None and t._name is None and not t._requires_grad
        if anonymous and t._data.ndim == 0 and t not in stand_ins:
            constants[number] = t._data
        else:
            captured.append(number)
    return Outline(given, nodes, reads, outs, ends, leaves, constants, captured)


def graph_of(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    since: int,
    stand_ins: Collection[Key] = (),
) -> tuple[Graph, list[Tensor]]:
    """The graph of what was recorded, and the tensors captured: see `outline_of`."""
    outline = outline_of(outputs, inputs, since, stand_ins)
    return outline.graph(), outline.tensors()


def recorded_since(outputs: Sequence[Tensor], since: int) -> list[Node]:
    """The nodes numbered `since` or later that the outputs were computed from, in order."""
    seen: set[Node] = set()
    stack: list[Sequence[Tensor]] = [outputs]
    while stack:
        for t in stack.pop():
            node = t.node
            if node is not None and node.seq >= since and node not in seen:
                seen.add(node)
                stack.append(node.inputs)
    return sorted(seen, key=_seq)


_seq = operator.attrgetter("seq")


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
