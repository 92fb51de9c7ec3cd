"""How edges and text look and what is drawn above what: for DOT and SVG alike."""

from __future__ import annotations

from collections.abc import Mapping

from . import theme as t
from .figures import BOLD, Line, name_line
from .model import Edge, Model, Node
from .roles import INPUT, LONG_TERM, OUTPUT, SHORT_TERM, caption
from .theme import Accent, Theme

__all__ = ["drawing_order", "edge_style", "edge_title", "is_bold", "text_color"]


def edge_style(
    edge: Edge, clusters: Mapping[str, Accent], tail: Node, theme: Theme
) -> tuple[str, float]:
    """Colour and width of an edge: by what it carries, else by where it comes from."""
    if edge.is_backward:
        return theme.gradient.line, t.MEDIUM if tail.is_backward else t.THIN
    if edge.role == OUTPUT:
        return theme.accent(SHORT_TERM).line, t.MEDIUM
    if edge.role:
        return theme.accent(edge.role).line, t.THICK if edge.role == LONG_TERM else t.MEDIUM
    if tail.kind == "box" and caption(edge.name) is not None:
        return theme.accent(caption(edge.name)).line, t.MEDIUM
    accent = clusters.get(tail.cluster or "")
    return (theme.edge if accent is None else accent.line), t.MEDIUM


def edge_title(edge: Edge) -> Line | None:
    """The text on an edge that carries its own name."""
    return name_line(edge.name, t.TITLE) if edge.labelled and edge.name else None


def drawing_order(model: Model) -> list[int]:
    """The edges by number, the memories last: where two run together, they are seen."""
    order = (INPUT, "", OUTPUT, SHORT_TERM, LONG_TERM)
    rank = {role: k for k, role in enumerate(order)}
    return sorted(range(len(model.edges)), key=lambda k: rank.get(model.edges[k].role, 1))


def text_color(line: Line, theme: Theme, color: str) -> str:
    """The colour of a line of text whose surroundings have `color`."""
    return {"small": theme.muted, "grad": theme.gradient.text}.get(line.kind, color)


def is_bold(line: Line) -> bool:
    """Whether a line of text is set in bold."""
    return line.kind in BOLD
