"""Which template a recorded cell fits: the same ops in the same scopes, the same edges.

A cell that is drawn in part, such as its forget gate alone, fits that part of a template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

from .cell_box import CELL, folded_template
from .cell_templates import TEMPLATES, Template
from .model import Cell, Edge, Model, Node
from .roles import LONG_TERM, SHORT_TERM, caption

__all__ = ["Fit", "fit_cells"]


@dataclass(slots=True)
class Fit:
    """A cell and its template. parts: part -> node. views: nodes in it that only prepare its input.

    sources: role of a value coming in -> the node it comes from. inner: (tail, head) by part or
    role -> numbers of edges. leaving: numbers of the edges that leave.
    """

    cell: Cell
    template: Template
    parts: dict[str, str]
    views: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    inner: dict[tuple[str, str], int] = field(default_factory=dict)
    leaving: list[int] = field(default_factory=list)

    def is_output(self, edge: Edge) -> bool:
        """Whether an edge that leaves carries that state."""
        if self.cell.folded:
            return caption(edge.name) != LONG_TERM
        state = self.template.states.get(self.output)
        return state is not None and self.parts[state[0]] == edge.tail

    @property
    def output(self) -> str:
        """The role of the state that the next layer and everything else uses."""
        return SHORT_TERM


def fit_cells(model: Model) -> list[Fit] | None:
    """The fit of every cell of a model; None if there are none or one fits no template."""
    if not model.cells or any(node.is_backward for node in model.nodes):
        return None
    nodes = {node.id: node for node in model.nodes}
    clusters = {cluster.id: cluster for cluster in model.clusters}
    entering: dict[str, list[int]] = {}
    for number, edge in enumerate(model.edges):
        entering.setdefault(edge.head, []).append(number)
    owner = {ident: cell for cell in model.cells for ident in cell.nodes}
    leaving: dict[int, list[int]] = {}
    for number, edge in enumerate(model.edges):
        cell = owner.get(edge.tail)
        if cell is not None and owner.get(edge.head) is not cell:
            leaving.setdefault(id(cell), []).append(number)
    fits: list[Fit] = []
    for cell in model.cells:
        out = leaving.get(id(cell), [])
        if cell.folded:
            found = _fit_folded(cell, entering, model.edges, out)
            if found is None:
                return None
            fits.append(found)
            continue
        members = [nodes[ident] for ident in cell.nodes]
        views = [n for n in members if n.cluster == cell.cluster and _only_shows(n)]
        signed = [
            ((clusters[n.cluster].name if n.cluster else "", n.op or n.symbol), n.id)
            for n in members
            if n not in views
        ]
        found = _fit(cell, signed, [v.id for v in views], entering, model.edges, out)
        if found is None:
            return None
        fits.append(found)
    return fits


def _only_shows(node: Node) -> bool:
    return node.kind == "input" or node.op == "getitem"


def _fit(
    cell: Cell,
    signed: Sequence[tuple[tuple[str, str], str]],
    views: list[str],
    entering: Mapping[str, list[int]],
    edges: Sequence[Edge],
    leaving: list[int],
) -> Fit | None:
    wanted = Counter(signature for signature, _ in signed)
    possible = [(t, Counter((p.cluster, p.op) for p in t.parts.values())) for t in TEMPLATES]
    possible = [(t, there) for t, there in possible if wanted <= there]
    for template, _ in sorted(possible, key=lambda pair: pair[1] != wanted):
        for parts in _assignments(template, signed):
            fit = Fit(cell, template.of(parts), parts, views, leaving=leaving)
            if _agrees(fit, entering, edges):
                return fit
    return None


def _fit_folded(
    cell: Cell, entering: Mapping[str, list[int]], edges: Sequence[Edge], leaving: list[int]
) -> Fit | None:
    """A box fits if every value it takes has a role of its own."""
    (ident,) = cell.nodes
    numbers = {edges[number].role: number for number in entering.get(ident, ())}
    if "" in numbers or len(numbers) != len(entering.get(ident, ())):
        return None
    return Fit(
        cell,
        folded_template(frozenset(numbers)),
        {CELL: ident},
        sources={role: edges[number].tail for role, number in numbers.items()},
        inner={(role, CELL): number for role, number in numbers.items()},
        leaving=leaving,
    )


def _assignments(
    template: Template, signed: Sequence[tuple[tuple[str, str], str]]
) -> Iterator[dict[str, str]]:
    """All ways to give nodes to parts of the same scope and op."""
    names: dict[tuple[str, str], list[str]] = {}
    idents: dict[tuple[str, str], list[str]] = {}
    for name, part in template.parts.items():
        names.setdefault((part.cluster, part.op), []).append(name)
    for signature, ident in signed:
        idents.setdefault(signature, []).append(ident)
    groups = [permutations(names[signature], len(nodes)) for signature, nodes in idents.items()]
    for choice in product(*groups):
        pairs = zip(choice, idents.values(), strict=True)
        chosen = {name: i for group, nodes in pairs for name, i in zip(group, nodes, strict=True)}
        yield {name: chosen[name] for name in template.parts if name in chosen}


def _agrees(fit: Fit, entering: Mapping[str, list[int]], edges: Sequence[Edge]) -> bool:
    """Whether the cell's edges are the template's, and each port has one source."""
    part_of = {ident: part for part, ident in fit.parts.items()}
    for part, ident in fit.parts.items():
        for number in entering.get(ident, ()):
            edge = edges[number]
            tail = part_of.get(edge.tail)
            if tail is None:
                tail = edge.role
                if not tail or fit.sources.setdefault(tail, edge.tail) != edge.tail:
                    return False
            if (tail, part) in fit.inner:
                return False
            fit.inner[tail, part] = number
    states = {fit.parts[part] for part, _ in fit.template.states.values()}
    if any(edges[number].tail not in states for number in fit.leaving):
        return False
    return set(fit.inner) == {(wire.tail, wire.head) for wire in fit.template.wires}
