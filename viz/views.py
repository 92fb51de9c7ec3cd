"""A recorded graph and a choice of folded scopes -> the drawing model.

Knows nothing of positions, colours and Graphviz. Nothing here recurses: a chain of a hundred
thousand ops and a thousand nested scopes are a matter of memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from tinygrad_lstm import Node as Op
from tinygrad_lstm import Tensor

from .describe import describe
from .errors import PictureTooLargeError
from .model import Edge, Model, Node
from .parts import Overlay, Parts, shape_of
from .placement import Placement, is_box, is_scan
from .roles import LONG_TERM, OUTPUT, SHORT_TERM, Roles, textbook_name
from .scopes import Scopes
from .shortcuts import Shortcuts
from .text import number
from .trace import NO_FRAME, Key, Trace, key_of

__all__ = ["build"]

STATES = {"c_t": LONG_TERM, "h_t": SHORT_TERM}
"""What leaves a cell, by the names that cells give."""


def build(
    trace: Trace,
    scopes: Scopes,
    view: str,
    *,
    title: str | None = None,
    names: Mapping[Key, str] | None = None,
    ends: Set[Key] = frozenset(),
    value: Overlay | None = None,
    grad: Overlay | None = None,
    max_nodes: int | None = None,
) -> Model:
    """The model of a trace.

    names: for what has none of its own. ends: where gradients leave the picture. value, grad:
    overlays.

    Raises PictureTooLargeError if there would be more than max_nodes nodes.
    """
    short = Shortcuts(trace, enabled=view != "ops")
    placement = Placement(trace, scopes, short)
    if max_nodes is not None and placement.size() > max_nodes:
        raise _too_large(placement.size(), max_nodes, view, scopes)
    parts = Parts(trace, placement, short, names or {}, value, grad)
    return _Builder(trace, scopes, short, placement, parts, ends).model(view, title)


def _too_large(size: int, limit: int, view: str, scopes: Scopes) -> PictureTooLargeError:
    advice = "draw a part of the graph"
    if view == "ops" and scopes.gates:
        advice = 'take view="gates" or view="cells"'
    elif view != "cells" and scopes.folded:
        advice = 'take view="cells", or fold more scopes with fold='
    return PictureTooLargeError(
        f"draw: the {view} view of this graph has {size:,} nodes, more than max_nodes={limit:,}; "
        f"{advice}, or raise max_nodes"
    )


class _Builder:
    def __init__(
        self,
        trace: Trace,
        scopes: Scopes,
        short: Shortcuts,
        placement: Placement,
        parts: Parts,
        ends: Set[Key],
    ) -> None:
        self.trace, self.scopes, self.short = trace, scopes, short
        self.placement, self.parts, self.ends = placement, parts, ends
        self.simple = short.enabled
        self.roles = Roles(trace, scopes)
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.drawn_edges: set[tuple[str, str, Key]] = set()
        self.ways: set[tuple[str, str]] = set()  # that gradients take
        self.leaving: dict[str, dict[Key, None]] = {}  # box -> values that leave it
        self.used_outside: dict[Op, set[str]] = {}  # value of a cell -> roles it has elsewhere
        self.copies: dict[str, list[str]] = {}  # parameter -> the nodes that show it

    def model(self, view: str, title: str | None) -> Model:
        for node in self.placement.ops:
            self._add(node)
        self._add_results()
        if self.simple:
            self._add_states()
        self._finish_boxes()
        for idents in self.copies.values():
            for ident in idents:
                self.nodes[ident].shared = len(idents) > 1
        nodes = list(self.nodes.values())
        model = Model(view, title or self.placement.title(), nodes, self.edges, heading=title)
        model.clusters = self.placement.clusters(nodes)
        model.cells = self.placement.cells(nodes)
        model.description = describe(model)
        return model

    # -- what ops take ----------------------------------------------------------------------------

    def _add(self, node: Op) -> None:
        ident = self.placement.ident(node)
        if ident not in self.nodes:
            self.nodes[ident] = self.parts.made_of(node, ident)
        inputs = self.short.inputs(node)
        operands = [self._take(node, ident, k, t) for k, t in enumerate(inputs)]
        head = self.nodes[ident]
        if head.kind == "op" and any(operands):
            head.operands = tuple(operands)

    def _take(self, node: Op, ident: str, position: int, t: Tensor) -> str | None:
        """Let `node` take `t`: by an edge, or (the text is returned) as part of its own symbol."""
        boxed = is_box(ident)
        hidden = self.simple or (boxed and not is_scan(ident))
        if self.trace.is_parameter(t):
            if hidden:
                name = self._use(self.nodes[ident], t)
                return None if boxed else name
            self._connect(self._parameter(t, node), node, ident, position, t)
        elif self.trace.is_constant(t) and not self.parts.is_seed(t):
            if hidden:
                return None if boxed else number(float(t.data))
            constant = f"{self.trace.ident(t)}.{ident}.{position}"
            cluster = self.placement.cluster(self.trace.frame(node))
            self.nodes[constant] = self.parts.constant(t, constant, cluster)
            self._connect(constant, node, ident, position, t)
        elif t.node is None:
            self._connect(self._leaf(t), node, ident, position, t)
        else:
            self._connect(self.placement.ident(t.node), node, ident, position, t)
        return None

    def _use(self, head: Node, t: Tensor) -> str:
        """Note that a parameter is used in `head`; its name."""
        name = textbook_name(self.trace.parameter_name(t)) or "weights"
        if name not in head.parameters:
            head.parameters = (*head.parameters, name)
        return name

    def _leaf(self, t: Tensor) -> str:
        ident = self.trace.ident(t)
        if ident not in self.nodes:
            with_caption = self.simple or bool(self.scopes.gates)
            self.nodes[ident] = self.parts.leaf(t, ident, with_caption)
        return ident

    def _parameter(self, t: Tensor, user: Op) -> str:
        """A parameter expression, drawn once in each cluster that uses it."""
        cluster = self.placement.cluster(self.trace.frame(user))
        expression = self.trace.ident(key_of(t))
        ident = f"{expression}.{cluster or 'top'}"
        if ident not in self.nodes:
            self.nodes[ident] = self.parts.parameter(t, ident, cluster)
            self.copies.setdefault(expression, []).append(ident)
        return ident

    def _connect(self, tail: str, head: Op, ident: str, position: int, t: Tensor) -> None:
        """An edge for what `head` takes, unless it stays in its box or is drawn already."""
        role = self.roles.of(head, position, t)
        if t.node is not None and self.roles.leaves_cell(t.node, head):
            self.used_outside.setdefault(t.node, set()).add(role)
        key, boxed = key_of(t), is_box(ident)
        if boxed and (tail == ident or (tail, ident, key) in self.drawn_edges):
            return
        self.drawn_edges.add((tail, ident, key))
        self._leave(tail, key)
        if boxed and head.is_backward and self._is_told(tail, ident, key):
            return
        place = None if boxed else position
        self.edges.append(Edge(tail, ident, self.parts.name(key), place, role, head.is_backward))

    def _is_told(self, tail: str, ident: str, key: Key) -> bool:
        """Whether a backward rule's box needs no edge for what it takes.

        Forward values with a name that come from elsewhere it names: lines from everywhere to
        everywhere could not be followed. Of gradients that take the same way there is one edge.
        """
        source, box = self.nodes[tail], self.nodes[ident]
        if source.is_backward:
            again = (tail, ident) in self.ways
            self.ways.add((tail, ident))
            return again and is_box(tail)
        name = self.parts.name(key)
        if name is None or source.cluster == box.cluster:
            return False
        if name not in box.reads:
            box.reads = (*box.reads, name)
        return True

    def _leave(self, tail: str, key: Key) -> None:
        if is_box(tail):
            self.leaving.setdefault(tail, {})[key] = None

    def _finish_boxes(self) -> None:
        """A box with one result is named and described by it; else its edges carry the names.

        A scan's edges always do: its results are to be told from what it is.
        """
        for ident, keys in self.leaving.items():
            box, (first, *others) = self.nodes[ident], keys
            if not others:
                box.name = None if is_scan(ident) else self.parts.name(first)
                self.parts.describe(first, box)
            elif all(shape_of(key) == shape_of(first) for key in others):
                box.shape = shape_of(first)
        named = {k for k, keys in self.leaving.items() if len(keys) > 1 or is_scan(k)}
        for edge in self.edges:
            told = edge.is_backward and edge.name == self.nodes[edge.head].name
            edge.labelled = edge.tail in named and edge.name is not None and not told

    # -- what leaves the picture ------------------------------------------------------------------

    def _add_results(self) -> None:
        """The outputs: a mark on what makes them; a terminal for one of a stack's or a scan's."""
        for k, result in enumerate(self.short.results):
            t = result.tensor
            key = key_of(t)
            tail = self._leaf(t) if t.node is None else self.placement.ident(t.node)
            self._leave(tail, key)
            ended = self.simple and key in self.ends and is_box(tail)
            named = ended or is_scan(tail)
            label = result.label or (self.parts.name(key) if named else None)
            if label is None:
                self.nodes[tail].is_output = True
                continue
            role = _role_of_result(label)
            self._add_terminal(f"out{k}", key, label, "" if ended else role, tail)
            if t.node is not None and self.roles.cell(t.node) != NO_FRAME:
                self.used_outside.setdefault(t.node, set()).add(role)

    def _add_terminal(self, ident: str, key: Key, name: str, role: str, tail: str) -> None:
        backward = self.nodes[tail].is_backward
        self.nodes[ident] = self.parts.terminal(key, ident, name, role, backward)
        self.edges.append(Edge(tail, ident, name, None, role, backward))
        self._leave(tail, key)

    def _add_states(self) -> None:
        """c_t and h_t leave a cell that no other follows; y_t too, if nothing else uses h_t."""
        found: dict[tuple[int, str], list[Op]] = {}
        for node in self.placement.ops:
            if node.name in STATES and not node.is_backward:
                cell = self.roles.cell(node)
                if cell != NO_FRAME:
                    found.setdefault((cell, node.name), []).append(node)
        for (_, name), nodes in found.items():  # several where a mask stops some sequences
            if any(STATES[name] in self.used_outside.get(node, ()) for node in nodes):
                continue
            node = nodes[-1]
            used = self.used_outside.get(node, set())
            tail, ident = self.placement.ident(node), self.trace.ident(node)
            self._add_terminal(f"{ident}.{name[0]}", node, name, STATES[name], tail)
            self.nodes[tail].is_output = False
            if name == "h_t" and not used:
                self._add_terminal(f"{ident}.y", node, "y_t", OUTPUT, tail)


def _role_of_result(label: str) -> str:
    """Final states leave as states, a carry without a name as it is, y as an output."""
    match = re.match(r"([ch])_n\b", label)
    if match:
        return STATES[f"{match[1]}_t"]
    return "" if re.fullmatch(r"carry(\[\d+\])?", label) else OUTPUT
