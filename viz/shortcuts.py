"""What the gates and cells views leave out so that a sequence reads like the textbook's.

A step's output that is stacked with the others and taken out again is that output; a slice of an
input is an input of its own; a stack that leaves the picture leaves it element by element.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinygrad_lstm import Node, Tensor

from .compiled import is_only_layer
from .trace import MOVES, Trace

__all__ = ["Result", "Shortcuts"]


class Result(NamedTuple):
    """Something the picture was asked for: a tensor, or an element of a stack with its label."""

    tensor: Tensor
    label: str | None = None


class Shortcuts:
    """For one trace: `source` follows shortcuts, `slices` are drawn as inputs, `results` leave.

    Disabled, everything is what was recorded.
    """

    def __init__(self, trace: Trace, enabled: bool) -> None:
        self._trace = trace
        self.enabled = enabled
        self._whole: dict[Node, Tensor] = {}
        self.slices = self._find_slices() if enabled else {}
        self.results: tuple[Result, ...] = tuple(Result(t) for t in trace.outputs)
        if enabled:
            self.results = self._unpacked()

    def source(self, t: Tensor) -> Tensor:
        """`t`, or what was stacked where `t` was taken out, or the input `t` only rearranges."""
        while self.enabled and t.node is not None:
            if t.node in self._whole:
                t = self._whole[t.node]
                continue
            stack = t.node.inputs[0].node if t.node.op.name == "getitem" else None
            position = _taken(t.node)
            if stack is None or position is None:
                break
            if is_only_layer(stack):
                t = t.node.inputs[0]
            elif _is_stack(stack):
                t = stack.inputs[position]
            else:
                break
        return t

    def inputs(self, node: Node) -> list[Tensor]:
        """What a node takes, shortcuts followed; nothing for a slice of an input."""
        return [] if node in self.slices else [self.source(t) for t in node.inputs]

    def slice_label(self, node: Node) -> str | None:
        """`x[2]` for what is drawn as an input of its own; `x[::-1]` for all of it, reversed."""
        leaf, position = self.slices[node], "::-1" if _is_reversal(node) else _taken(node)
        if not leaf.name or position is None or node.inputs[0] is not leaf:
            return leaf.name
        return f"{leaf.name}[{position}]"

    def reached(self, roots: Iterable[Tensor]) -> set[Node]:
        """The nodes a picture of `roots` has to account for."""
        seen: set[Node] = set()
        stack = [self.source(t) for t in roots]
        while stack:
            t = stack.pop()
            if t.node is not None and t.node not in seen and not self._trace.is_parameter(t):
                seen.add(t.node)
                stack.extend(self.inputs(t.node))
        return seen

    def _find_slices(self) -> dict[Node, Tensor]:
        """Nodes that take elements of an input or are a named view of it, and that input.

        What only rearranges all of it, without a name, is the input itself.
        """
        found: dict[Node, Tensor] = {}
        asked_for = {t.node for t in self._trace.outputs}
        for node in self._trace.nodes:
            if node.op.name not in MOVES or node in asked_for or node.is_backward:
                continue
            given = node.inputs[0]
            if given.node is None:
                leaf = None if self._trace.is_parameter(given) else given
            else:
                leaf = found.get(given.node)
            if leaf is None:
                continue
            found[node] = leaf
            if node.op.name != "getitem" and node.name is None:
                self._whole[node] = given
        return {node: leaf for node, leaf in found.items() if node not in self._whole}

    def _unpacked(self) -> tuple[Result, ...]:
        """The outputs, with stacks that nothing else in the picture uses taken apart."""
        stacks = {t: s for t in self._trace.outputs if (s := _stack_behind(t)) is not None}
        used = self.reached(t for t in self._trace.outputs if t not in stacks)
        results: list[Result] = []
        for t in self._trace.outputs:
            stack = stacks.get(t)
            if stack is None or stack in used:
                results.append(Result(t))
                continue
            name, several = t.name or "output", len(stack.inputs) > 1
            for k, element in enumerate(stack.inputs):
                label = f"{name}[{k}]" if several else name
                results.append(Result(self.source(element), label))
        return tuple(results)


def _is_stack(node: Node) -> bool:
    return node.op.name == "stack" and node.attrs.get("axis") == 0


def _stack_behind(t: Tensor) -> Node | None:
    """The stack over the first axis that `t` is but a rearrangement of."""
    node = t.node
    while node is not None and node.op.name in MOVES and node.op.name != "getitem":
        node = node.inputs[0].node
    return node if node is not None and _is_stack(node) else None


def _is_reversal(node: Node) -> bool:
    """Whether a getitem reverses the first axis."""
    index: object = node.attrs.get("index") if node.op.name == "getitem" else None
    if isinstance(index, tuple) and index and _all_else(index[1:]):
        index = index[0]
    return isinstance(index, slice) and index == slice(None, None, -1)


def _taken(node: Node) -> int | None:
    """The position along the first axis that a getitem takes out whole."""
    index: object = node.attrs.get("index") if node.op.name == "getitem" else None
    if isinstance(index, tuple) and index and _all_else(index[1:]):
        index = index[0]
    if not isinstance(index, int) or isinstance(index, bool):
        return None
    return index if index >= 0 else index + node.inputs[0].shape[0]


def _all_else(index: Sequence[object]) -> bool:
    return all(part == slice(None) for part in index if isinstance(part, slice)) and all(
        isinstance(part, slice) for part in index
    )
