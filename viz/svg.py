"""A model with its layout and figures as SVG: well-formed, self-contained, the same every time.

No scripts, styles or references to elsewhere; text stays text, with true subscripts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from html import escape

from . import theme as t
from .describe import label_of
from .dot_labels import short
from .figures import Figure, Line, accents_of_clusters, block_size, heading_line, line
from .geometry import Label, Layout, Point, Rect, Route
from .model import Cluster, Edge, Model, Node
from .styles import drawing_order, edge_style, edge_title, is_bold, text_color
from .text import SCRIPT_SIZE, clean, plain
from .theme import Theme

__all__ = ["svg"]

_SUB, _SUP = 0.22, -0.38


def svg(model: Model, theme: Theme, figures: Mapping[str, Figure], layout: Layout) -> str:
    """The picture as an SVG document."""
    body = "\n".join(_Writer(model, theme, figures, layout).parts())
    mark = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:8]
    width, height = short(layout.width), short(layout.height)
    title, description = escape(plain(model.title)), escape(clean(model.description, 20_000))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="max-width:100%;height:auto" role="img" '
        f'aria-labelledby="t{mark} d{mark}">\n'
        f'<title id="t{mark}">{title}</title>\n<desc id="d{mark}">{description}</desc>\n'
        f'<g class="graph" font-family="{escape(t.FONTS)}" fill="{theme.text}">\n'
        f"{body}\n</g>\n</svg>\n"
    )


class _Writer:
    def __init__(
        self, model: Model, theme: Theme, figures: Mapping[str, Figure], layout: Layout
    ) -> None:
        self.model, self.theme, self.figures, self.layout = model, theme, figures, layout
        self.accents = accents_of_clusters(model, theme)
        self.by_id = {node.id: node for node in model.nodes}

    def parts(self) -> list[str]:
        """Background, clusters, edges, nodes: what is later is drawn above."""
        layout = self.layout
        whole = Rect(0, 0, layout.width, layout.height)
        heading = self._heading() if layout.heading is not None else []
        return [
            _rect(whole, 0, self.theme.background, "none", 0),
            *heading,
            *(self._frame(frame, title) for frame, title in layout.frames),
            *(self._cluster(cluster) for cluster in self.model.clusters),
            *(self._edge(k, self.model.edges[k]) for k in drawing_order(self.model)),
            *(self._dot(dot.x, dot.y, self.model.edges[dot.edge]) for dot in layout.dots),
            *(self._cluster_name(cluster) for cluster in self.model.clusters),
            *(self._node(node) for node in self.model.nodes),
        ]

    def _heading(self) -> list[str]:
        assert self.layout.heading is not None
        lines = [heading_line(self.model.heading or "")]
        return [self._block(lines, self.layout.heading, self.theme.text)]

    def _frame(self, frame: Rect, title: str) -> str:
        area = _rect(frame, 14, self.theme.frame_area, self.theme.frame, t.THIN)
        place = Label(frame.x + 10, frame.y + 6, "start")
        return area + self._block([line(title, t.TITLE, "title")], place, self.theme.muted)

    def _cluster(self, cluster: Cluster) -> str:
        accent = self.accents[cluster.id]
        area = _rect(self.layout.clusters[cluster.id], 9, accent.area, accent.line, t.THIN)
        return (
            f'<g class="cluster" data-id="{cluster.id}"><title>{escape(plain(cluster.path))}'
            f"</title>{area}</g>"
        )

    def _cluster_name(self, cluster: Cluster) -> str:
        """Above the edges, with a halo: an edge may pass behind it."""
        accent = self.accents[cluster.id]
        place, words = self.layout.titles[cluster.id]
        lines = [line(word, t.TITLE, "title") for word in words or (cluster.name,)]
        return (
            f'<g class="name" data-id="{cluster.id}" stroke="{accent.area}" stroke-width="3" '
            f'stroke-linejoin="round" paint-order="stroke">'
            f"{self._block(lines, place, accent.line)}</g>"
        )

    # -- nodes ------------------------------------------------------------------------------------

    def _node(self, node: Node) -> str:
        figure = self.figures[node.id]
        x, y = self.layout.nodes[node.id]
        _, height = block_size(figure.lines)
        parts = [
            f'<g class="node {node.kind}{" backward" if node.is_backward else ""}" '
            f'data-id="{escape(node.id)}"><title>{escape(label_of(node))}</title>',
            self._shape(figure, x, y),
            self._block(figure.lines, Label(x, y - height / 2), figure.accent.text),
        ]
        place = self.layout.beside.get(node.id)
        if place is not None:
            parts.append(self._block(figure.beside, place, self.theme.text))
        return "".join(parts) + "</g>"

    def _shape(self, figure: Figure, x: float, y: float) -> str:
        accent, width = figure.accent, 2 * t.THIN if figure.strong else t.THIN
        if figure.shape == "plain":
            return ""
        dash = ' stroke-dasharray="5 3"' if figure.dashed else ""
        if figure.shape == "circle":
            return (
                f'<circle cx="{short(x)}" cy="{short(y)}" r="{short(figure.width / 2)}" '
                f'fill="{accent.node}" stroke="{accent.line}" stroke-width="{short(width)}"{dash}/>'
            )
        rect = Rect(x - figure.width / 2, y - figure.height / 2, figure.width, figure.height)
        radius = min(figure.height / 2, 14) if figure.shape == "pill" else t.RADIUS
        return _rect(rect, radius, accent.node, accent.line, width, dash)

    # -- edges ------------------------------------------------------------------------------------

    def _edge(self, number: int, edge: Edge) -> str:
        route = self.layout.edges.get(number)
        if route is None:
            return ""
        color, width = edge_style(edge, self.accents, self.by_id[edge.tail], self.theme)
        tail, head = self._spoken(edge.tail), self._spoken(edge.head)
        dash = ""
        if edge.is_backward:
            pattern = "6 4" if self.by_id[edge.tail].is_backward else "1.5 3.5"
            dash = f' stroke-dasharray="{pattern}"'
        name = f"{plain(edge.name)}: " if edge.name else ""
        parts = [
            f'<g class="edge{" backward" if edge.is_backward else ""}" '
            f'data-tail="{escape(edge.tail)}" data-head="{escape(edge.head)}">'
            f"<title>{escape(f'{name}{tail} → {head}')}</title>"
            f'<path d="{_path(route)}" fill="none" stroke="{color}" '
            f'stroke-width="{short(width)}" stroke-linejoin="round"{dash}/>'
            f'<polygon points="{_arrow(route, width)}" fill="{color}"/>'
        ]
        title = edge_title(edge)
        if title is not None and route.label is not None:
            x, y = route.label
            parts.append(self._block([title], Label(x, y - title.height / 2), self.theme.text))
        return "".join(parts) + "</g>"

    def _spoken(self, ident: str) -> str:
        node = self.by_id[ident]
        return plain(node.name or node.symbol)

    def _dot(self, x: float, y: float, edge: Edge) -> str:
        color, width = edge_style(edge, self.accents, self.by_id[edge.tail], self.theme)
        return f'<circle cx="{short(x)}" cy="{short(y)}" r="{short(width + 1.0)}" fill="{color}"/>'

    # -- text -------------------------------------------------------------------------------------

    def _block(self, lines: Sequence[Line], place: Label, color: str) -> str:
        """Lines of text, the top of the first at the label's y."""
        parts: list[str] = []
        y = place.y
        for text in lines:
            bold = ' font-weight="bold"' if is_bold(text) else ""
            parts.append(
                f'<text x="{short(place.x)}" y="{short(y + 0.5 * text.height + 0.35 * text.size)}" '
                f'text-anchor="{place.anchor}" font-size="{short(text.size)}" '
                f'fill="{text_color(text, self.theme, color)}"{bold}>{_spans(text)}</text>'
            )
            y += text.height
        return "".join(parts)


def _spans(text: Line) -> str:
    """Runs of text, sub- and superscripts moved off the line and back."""
    parts: list[str] = []
    offset = 0.0
    for run in text.runs:
        level = 0.0 if run.level == 0 else (_SUB if run.level < 0 else _SUP) * text.size
        letters = escape(run.text)
        moved = f' dy="{short(level - offset)}"' if level != offset else ""
        size = f' font-size="{short(text.size * SCRIPT_SIZE)}"' if run.level else ""
        parts.append(f"<tspan{moved}{size}>{letters}</tspan>" if moved or size else letters)
        offset = level
    return "".join(parts)


def _rect(
    rect: Rect, radius: float, fill: str, stroke: str, width: float, more: str = ""
) -> str:
    return (
        f'<rect x="{short(rect.x)}" y="{short(rect.y)}" width="{short(rect.width)}" '
        f'height="{short(rect.height)}" rx="{short(radius)}" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="{short(width)}"{more}/>'
    )


def _path(route: Route) -> str:
    start, *rest = route.points
    parts = [f"M{_xy(start)}"]
    for k in range(0, len(rest), 3):
        a, b, end = rest[k : k + 3]
        before = route.points[k]
        straight = _on_line(before, a, end) and _on_line(before, b, end)
        parts.append(f"L{_xy(end)}" if straight else f"C{_xy(a)} {_xy(b)} {_xy(end)}")
    return "".join(parts)


def _on_line(a: Point, b: Point, c: Point) -> bool:
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return abs(area) < 1e-3 * (1 + math.dist(a, c))


def _arrow(route: Route, width: float) -> str:
    """A triangle from the end of the curve to the tip."""
    (x, y), (tip_x, tip_y) = route.points[-1], route.tip
    length = math.dist((x, y), route.tip)
    if length < 1e-6:
        return ""
    half = t.ARROW_WIDTH / 2 + 0.4 * (width - t.THIN)
    dx, dy = (tip_x - x) / length * half, (tip_y - y) / length * half
    return f"{_xy((x - dy, y + dx))} {_xy(route.tip)} {_xy((x + dy, y - dx))}"


def _xy(point: Point) -> str:
    return f"{short(point[0])},{short(point[1])}"
