"""The nodes of a drawing model, one by one: ops, boxes, leaves, with their shapes and overlays."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from tinygrad_lstm import Node as Op
from tinygrad_lstm import Tensor

from .compiled import initial_states, result_name, steps_of
from .model import Node, Summary
from .placement import Placement, is_scan
from .roles import caption
from .shortcuts import Shortcuts
from .text import number
from .trace import NO_FRAME, Key, Trace, key_of

__all__ = ["Overlay", "Parts", "shape_of"]

Overlay = Callable[[Key], Summary | None]


class Parts:
    """Makes the nodes of one picture.

    names: for what has none of its own. value, grad: what to write on a node, if anything.
    """

    def __init__(
        self,
        trace: Trace,
        placement: Placement,
        short: Shortcuts,
        names: Mapping[Key, str],
        value: Overlay | None,
        grad: Overlay | None,
    ) -> None:
        self._trace, self._placement, self._short = trace, placement, short
        self._names, self._value, self._grad = names, value, grad
        self._initial = initial_states(trace.nodes)
        self._seeds = {key for key in names if isinstance(key, Tensor)}
        self._lines: dict[object, str] = {}

    def name(self, key: Key) -> str | None:
        """What a value is called in the picture."""
        name = result_name(key) if isinstance(key, Op) else self._initial.get(key, key.name)
        return name or self._names.get(key)

    def is_seed(self, t: Tensor) -> bool:
        """Whether `t` is where a gradient starts."""
        return t in self._seeds

    def describe(self, key: Key, node: Node) -> Node:
        """`node` with the shape, value and gradient of what it stands for."""
        node.shape = shape_of(key)
        node.value = self._value(key) if self._value else None
        node.grad = self._grad(key) if self._grad else None
        return node

    # -- ops --------------------------------------------------------------------------------------

    def made_of(self, node: Op, ident: str) -> Node:
        """What stands for a recorded op: itself, its folded scope or its backward rule."""
        if ident[0] == "b":
            box = self._placement.box(node)
            name, cluster = self._trace.frames[box].name, self._placement.cluster(box)
            return Node(ident, "box", name, cluster=cluster, is_backward=node.is_backward)
        cluster = self._placement.cluster(self._trace.frame(node))
        if node in self._short.slices:
            return self._slice(node, ident, cluster)
        if is_scan(ident):
            return self._scan(node, ident, cluster)
        forward = self._placement.rule_of(node)
        if forward is not None:
            symbol, op = forward.op.symbol, forward.op.name
            return Node(ident, "box", symbol, cluster=cluster, op=op, is_backward=True)
        drawn = Node(ident, "op", node.op.symbol, self.name(node), cluster=cluster)
        drawn.op, drawn.is_backward, drawn.where = node.op.name, node.is_backward, self._where(node)
        return self.describe(node, drawn)

    def _slice(self, node: Op, ident: str, cluster: str | None) -> Node:
        """A slice of an input, as an input of its own."""
        origin = self._short.slice_label(node)
        name = node.name or origin
        drawn = Node(ident, "input", "", name, cluster=cluster, caption=caption(name))
        drawn.origin = origin if origin != name else None
        drawn.dtype = str(node.dtype)
        return self.describe(node, drawn)

    def _scan(self, node: Op, ident: str, cluster: str | None) -> Node:
        """A compiled scan: of which layer, and how many steps."""
        steps, frame = steps_of(node), self._trace.frame(node)
        facts = [] if frame == NO_FRAME else [self._trace.frames[frame].name]
        facts.append(f"{steps} step{'s' if steps != 1 else ''}")
        drawn = Node(ident, "box", node.op.symbol, cluster=cluster, caption=", ".join(facts))
        drawn.op, drawn.is_backward, drawn.where = node.op.name, node.is_backward, self._where(node)
        return drawn

    def _where(self, node: Op) -> str:
        """File and line of the user's code; looking up a line takes long, so once for each."""
        key = node.place, node.context.site
        if key not in self._lines:
            path, _, line = node.where.rpartition(":")
            self._lines[key] = f"{os.path.basename(path)}:{line}"
        return self._lines[key]

    # -- leaves -----------------------------------------------------------------------------------

    def leaf(self, t: Tensor, ident: str, with_caption: bool) -> Node:
        """An input, or a parameter that was asked for."""
        kind = "parameter" if self._trace.is_parameter(t) else "input"
        drawn = Node(ident, kind, "", self.name(t), dtype=str(t.dtype))
        drawn.caption = caption(drawn.name) if with_caption else None
        drawn.requires_grad, drawn.is_backward = t.requires_grad, self.is_seed(t)
        return self.describe(t, drawn)

    def parameter(self, t: Tensor, ident: str, cluster: str | None) -> Node:
        """A parameter expression, in one of the clusters that use it."""
        drawn = Node(ident, "parameter", "", self._trace.parameter_name(t) or None)
        drawn.cluster, drawn.dtype, drawn.requires_grad = cluster, str(t.dtype), t.requires_grad
        return self.describe(key_of(t), drawn)

    def constant(self, t: Tensor, ident: str, cluster: str | None) -> Node:
        """A number."""
        text = number(float(t.data))
        return self.describe(t, Node(ident, "constant", text, cluster=cluster))

    def terminal(self, key: Key, ident: str, name: str, role: str, is_backward: bool) -> Node:
        """Where a value, or a gradient, leaves the picture. role: what it is in words."""
        drawn = Node(ident, "output", "", name, caption=role or None, is_backward=is_backward)
        return self.describe(key, drawn)


def shape_of(key: Key) -> tuple[int, ...]:
    """The shape of a value."""
    return key.shape
