"""A recorded graph as definitions in LaTeX: one per named tensor.

Knows the graph, and of ops their templates and precedence. What a template cannot say is in
`details`. Two passes over the nodes, so depth costs no stack: from the outputs down, which tensor
is needed in which orientation and how often; then up in the order of recording, the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinygrad_lstm import Node, Tensor

from .details import ASSOCIATIVE, attribute_texts, template_text
from .notation import number
from .reading import Form, Key, Reading, constant_of, key_of
from .symbols import Symbols
from .templates import Fragment, Template, atom, symbol_fragment, template

__all__ = ["Definition", "Writer"]

_TRANSPOSED = template(r"{0}^\top", 4)
_NAMED_AT_LEAST = 12  # shorter pieces of a long expression are not worth a name


class Definition(NamedTuple):
    """One line: `left = right`."""

    left: str
    right: str


class Writer:
    """Writes the definitions of a graph.

    nodes: in the order of recording. given: symbols that stand for themselves, what they were
    computed from being left out. digits: of numbers. width: glyphs a line should not exceed.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        symbols: Symbols,
        reading: Reading,
        given: set[Node],
        digits: int,
        width: int,
    ) -> None:
        self._symbols = symbols
        self._reading = reading
        self._given = given
        self._digits = digits
        self._width = width
        self._constants, self._same_as = _simplified(nodes, symbols)
        self._nodes = nodes
        self._uses: dict[Node, int] = {}
        self._wanted: dict[Node, set[bool]] = {}
        self._shared: set[Node] = set()
        self._shown: dict[tuple[Node, bool], Fragment] = {}
        self.definitions: list[Definition] = []
        self.appearing: dict[int | Node, Tensor] = {}

    def write(self, outputs: Iterable[Node]) -> list[Definition]:
        """The definitions the outputs need, each after those it uses."""
        roots = set(outputs)
        for node in roots:
            self._wanted[node] = {self._reading.node_transposed(node)}
        for node in reversed(self._nodes):
            if node in self._wanted and (node in roots or node not in self._given):
                self._plan(node)
        for node in self._nodes:
            if node in self._wanted and (node in roots or node not in self._given):
                self._write(node)
        return self.definitions

    # -- down: what is needed -----------------------------------------------------------------

    def _form(self, node: Node, transposed: bool) -> Form:
        same = self._same_as.get(node)
        if same is not None:
            return Form(((same, transposed and same.ndim >= 2),), through=True)
        return self._reading.form(node, transposed)

    def _plan(self, node: Node) -> None:
        """Settle how a node is written, now that all who need it have asked, and ask for its own.

        What is needed more than once gets a name, unless it is one op on one symbol.
        """
        wanted = self._wanted[node]
        if self._symbols.of(node) is not None:
            wanted = {self._reading.node_transposed(node)}
        if node in self._constants:
            self._wanted[node] = wanted
            return
        shared = self._uses.get(node, 0) > 1 and self._symbols.of(node) is None
        if shared and not self._is_short(node):
            if len(wanted) == 1:
                self._reading.ask(node, next(iter(wanted)))
            wanted = {self._reading.node_transposed(node)}
            self._shared.add(node)
        self._wanted[node] = wanted
        for transposed in wanted:
            for t, way in self._form(node, transposed).operands:
                if t.node is not None:
                    self._uses[t.node] = self._uses.get(t.node, 0) + 1
                    self._wanted.setdefault(t.node, set()).add(way)

    def _is_short(self, node: Node) -> bool:
        """Whether a node is one op on one symbol, such as tanh(c_t) or 1 - o_t."""
        operands = [t for t, _ in self._form(node, False).operands if not self._is_number(t)]
        return len(operands) <= 1 and all(
            t.node is None or self._symbols.of(self._behind(t)) is not None for t in operands
        )

    def _behind(self, t: Tensor) -> Key:
        """The first of what is not written that `t` is another view of."""
        while t.node is not None and self._symbols.of(t.node) is None:
            form = self._form(t.node, False)
            if not form.through:
                break
            t = form.operands[0][0]
        return key_of(t)

    def _is_number(self, t: Tensor) -> bool:
        if t.node is None:
            return constant_of(t) is not None
        return t.node in self._constants and self._symbols.of(t.node) is None

    # -- up: the texts ------------------------------------------------------------------------

    def _write(self, node: Node) -> None:
        for transposed in self._wanted[node]:
            fragment = self._text(node, transposed)
            self._shown[node, transposed] = fragment
            symbol = self._symbols.of(node)
            if symbol is not None:
                self._define(symbol, fragment)
            elif node in self._shared:
                self._give_name(node, transposed)

    def _give_name(self, node: Node, transposed: bool) -> None:
        """Let a symbol of our own stand for what was an expression."""
        self._reading.ask(node, transposed)
        name = self._symbols.give_fresh(node, r"\delta" if node.is_backward else "a")
        self._define(name, self._shown[node, transposed])

    def _define(self, left: str, right: Fragment) -> None:
        """A line; a comparison, which is 1 or 0, in the brackets that say so."""
        text = f"[{right.text}]" if right.precedence == 0 else right.text
        self.definitions.append(Definition(left, text))

    def _text(self, node: Node, transposed: bool) -> Fragment:
        """A node's text; its longest operands get names where it would become too long."""
        if node in self._constants:
            return atom(number(self._constants[node], self._digits))
        form = self._form(node, transposed)
        if form.through:
            fragment = self.fragment(*form.operands[0])
        else:
            pattern, texts = self._template(node), attribute_texts(node, self._digits)
            fragment = pattern.fill(self._operands(node, form), texts)
            while fragment.size > self._width and self._name_longest(form):
                fragment = pattern.fill(self._operands(node, form), texts)
        return _TRANSPOSED.fill([fragment], {}) if form.marked else fragment

    def _template(self, node: Node) -> Template:
        scaled = any(t.ndim == 0 or self._is_number(t) for t in node.inputs)
        text = template_text(node, scaled)
        return template(text, node.op.precedence, node.op.name in ASSOCIATIVE)

    def _operands(self, node: Node, form: Form) -> list[Fragment]:
        """The operands' texts; a constant matrix in a product is a bold number."""
        fragments = [self.fragment(t, way) for t, way in form.operands]
        if node.op.name == "matmul":
            for k, (t, _) in enumerate(form.operands):
                if self._is_number(t):
                    text = rf"\mathbf{{{fragments[k].text}}}"
                    fragments[k] = Fragment(text, fragments[k].size)
        return fragments

    def _name_longest(self, form: Form) -> bool:
        """Give the longest unnamed operand a name and a line; False if none is worth it."""
        size, longest, way = 0, None, False
        for t, transposed in form.operands:
            node = t.node
            if node is None or self._is_number(t) or self._symbols.of(node) is not None:
                continue
            if (now := self._shown[node, transposed].size) > size:
                size, longest, way = now, node, transposed
        if longest is None or size < _NAMED_AT_LEAST:
            return False
        self._give_name(longest, way)
        return True

    def fragment(self, t: Tensor, transposed: bool) -> Fragment:
        """A tensor as it stands in a larger text."""
        symbol = self._symbols.of(key_of(t))
        if symbol is None:
            constant = constant_of(t) if t.node is None else self._constants.get(t.node)
            if constant is not None:
                return atom(number(constant, self._digits))
            if t.node is not None:
                return self._shown[t.node, transposed]
        self.appearing[id(t) if t.node is None else t.node] = t
        shown = symbol_fragment(symbol or "")
        if t.ndim >= 2 and transposed != self._reading.transposed(t):
            return _TRANSPOSED.fill([shown], {})
        return shown


def _simplified(
    nodes: Iterable[Node], symbols: Symbols
) -> tuple[dict[Node, float | bool], dict[Node, Tensor]]:
    """What a backward pass computes from constants alone, and what it leaves as it was.

    Rules are general: the one of a power asks whether the exponent is 0, and every gradient starts
    with a 1. So in backward nodes constants are worked out, a `where` that is decided is its
    branch, and a factor, divisor or exponent 1 is not written.
    """
    constants: dict[Node, float | bool] = {}
    same: dict[Node, Tensor] = {}

    def value(t: Tensor) -> float | bool | None:
        while t.node in same and symbols.of(t.node) is None:
            t = same[t.node]
        if t.node is None:
            return constant_of(t)
        return constants.get(t.node) if symbols.of(t.node) is None else None

    for node in nodes:
        if not node.is_backward:
            continue
        name, inputs = node.op.name, node.inputs
        values = [value(t) for t in inputs]
        if None not in values and node.value.size:
            first = node.value.flat[0]
            if (node.value == first).all():
                constants[node] = first.item()
        elif name == "where" and values[0] is not None:
            same[node] = inputs[1 if values[0] else 2]
        elif name == "mul" and 1.0 in values:
            same[node] = inputs[1 - values.index(1.0)]
        elif name in ("pow", "div") and values[1] == 1.0:
            same[node] = inputs[0]
    return constants, same
