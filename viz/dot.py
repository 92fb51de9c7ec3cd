"""The drawing model as DOT; the graphviz package does the quoting.

Three uses of one text: with hints, for `dot` to lay out; without any letters, for positions that
don't depend on fonts; and pinned to a layout, for Graphviz to draw as PNG or PDF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import graphviz

from . import theme as t
from .dot_labels import Labels, short
from .figures import Figure, accents_of_clusters, block_size, heading_line, line
from .geometry import Label, Layout, Point
from .model import Cluster, Edge, Model, Node
from .roles import INPUT, LONG_TERM, SHORT_TERM
from .styles import drawing_order, edge_style, edge_title
from .text import clean
from .theme import Theme

__all__ = ["layout_source", "pinned_source", "source"]

POINTS_PER_INCH = 72.0
_SHAPES = {"circle": "circle", "box": "box", "pill": "box", "plain": "plain"}


def source(model: Model, theme: Theme, figures: Mapping[str, Figure]) -> str:
    """DOT for `dot` to lay out and draw."""
    return _Writer(model, theme, figures, letters=True, layout=None).text()


def layout_source(
    model: Model,
    theme: Theme,
    figures: Mapping[str, Figure],
    *,
    label: Mapping[str, str] | None = None,
    ports: Mapping[int, Mapping[str, str]] | None = None,
) -> str:
    """The same with all sizes given and no letters.

    label: HTML-like labels of nodes that have ports. ports: attributes that tie edges to them.
    """
    writer = _Writer(model, theme, figures, letters=False, layout=None)
    writer.labels, writer.ports = label or {}, ports or {}
    return writer.text()


def pinned_source(
    model: Model,
    theme: Theme,
    figures: Mapping[str, Figure],
    layout: Layout,
    dpi: float,
) -> str:
    """DOT in which everything has its position, for the engine nop2 to draw."""
    return _Writer(model, theme, figures, letters=True, layout=layout, dpi=dpi).text()


class _Writer:
    def __init__(
        self,
        model: Model,
        theme: Theme,
        figures: Mapping[str, Figure],
        *,
        letters: bool,
        layout: Layout | None,
        dpi: float = 72.0,
    ) -> None:
        self.model, self.theme, self.figures = model, theme, figures
        self.letters, self.layout = letters, layout
        self.text_of = Labels(theme, letters)
        self.labels: Mapping[str, str] = {}
        self.ports: Mapping[int, Mapping[str, str]] = {}
        self.accents = accents_of_clusters(model, theme)
        self.by_id = {node.id: node for node in model.nodes}
        self.graph = graphviz.Digraph(
            "picture",
            graph_attr=self._graph_attributes(dpi),
            node_attr={"fontname": t.FONTS_OF_GRAPHVIZ, "fixedsize": "true", "label": ""},
            edge_attr={
                "fontname": t.FONTS_OF_GRAPHVIZ,
                "fontsize": short(t.TITLE),
                "arrowsize": "0.7",
                "arrowhead": "normal",
            },
        )

    def _graph_attributes(self, dpi: float) -> dict[str, str]:
        attributes = {
            "rankdir": "LR",
            "nodesep": "0.22",
            "ranksep": "0.42",
            "bgcolor": self.theme.background,
            "fontname": t.FONTS_OF_GRAPHVIZ,
            "fontcolor": self.theme.text,
            "compound": "true",
            "splines": "spline",
            "pad": "0.1",
        }
        if self.letters:
            attributes["tooltip"] = graphviz.escape(clean(self.model.title, 120))
        if self.layout is not None:
            attributes["bb"] = f"0,0,{short(self.layout.width)},{short(self.layout.height)}"
            attributes["pad"] = _inches(t.MARGIN)
            attributes["dpi"] = short(dpi)
            attributes["_background"] = self._behind(self.layout)
            attributes |= self._pin_title(self.layout)
        elif self.model.heading is not None and self.letters:
            heading = [heading_line(self.model.heading)]
            attributes |= {
                "label": self.text_of.block(heading, self.theme.text),
                "labelloc": "t",
                "labeljust": "l",
            }
        return attributes

    def _pin_title(self, layout: Layout) -> dict[str, str]:
        """The title of the picture, or of a lone cell in its frame, where it stands."""
        if layout.frames:
            frame, title = layout.frames[0]
            place, text = Label(frame.x + 10, frame.y + 6), line(title, t.TITLE, "title")
        elif layout.heading is not None and self.model.heading is not None:
            place, text = layout.heading, heading_line(self.model.heading)
        else:
            return {}
        middle = (place.x + text.width / 2, place.y + text.height / 2)
        color = self.theme.muted if layout.frames else self.theme.text
        return {"label": self.text_of.block([text], color), "lp": self._flip(middle)}

    # -- the text ---------------------------------------------------------------------------------

    def text(self) -> str:
        self._clusters_and_nodes()
        for number in drawing_order(self.model):
            self._edge(number, self.model.edges[number])
        return self.graph.source

    def _clusters_and_nodes(self) -> None:
        """Nested subgraphs, written with a stack: scopes may be nested very deep."""
        inside: dict[str | None, list[Cluster]] = {}
        nodes: dict[str | None, list[Node]] = {}
        for cluster in self.model.clusters:
            inside.setdefault(cluster.parent, []).append(cluster)
        for node in self.model.nodes:
            nodes.setdefault(node.cluster, []).append(node)
        self._nodes(nodes.get(None, ()))
        stack: list[Cluster | None] = [*reversed(inside.get(None, []))]
        while stack:
            cluster = stack.pop()
            if cluster is None:
                self.graph.body.append("\t}\n")
                continue
            self._open(cluster)
            self._nodes(nodes.get(cluster.id, ()))
            stack += [None, *reversed(inside.get(cluster.id, []))]

    def _open(self, cluster: Cluster) -> None:
        accent = self.accents[cluster.id]
        self.graph.body.append(f"\tsubgraph cluster_{cluster.id} {{\n")
        title = line(cluster.name, t.TITLE, "title")
        attributes = {
            "id": cluster.id,
            "label": self.text_of.block([title], accent.line, fixed=self.layout is None),
            "labeljust": "l",
            "style": "rounded,filled",
            "color": accent.line,
            "fillcolor": accent.area,
            "fontcolor": accent.line,
            "penwidth": short(t.THIN),
            "margin": "9",
        }
        self.graph.attr(**{**attributes, **self._pin_cluster(cluster)})

    def _nodes(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            figure = self.figures[node.id]
            accent = figure.accent
            style = "filled" if figure.shape == "circle" else "rounded,filled"
            plain = figure.shape == "plain"
            self.graph.node(
                node.id,
                label=self.labels.get(node.id) or self.text_of.block(figure.lines, accent.text),
                shape="box" if plain else _SHAPES[figure.shape],
                style=("filled" if plain else style) + (",dashed" if figure.dashed else ""),
                color="transparent" if plain else accent.line,
                fillcolor="transparent" if plain else accent.node,
                penwidth=short(2 * t.THIN if figure.strong else t.THIN),
                width=_inches(figure.width),
                height=_inches(figure.height),
                margin="0",
                **self._pin_node(node, figure),
            )

    def _edge(self, number: int, edge: Edge) -> None:
        color, width = edge_style(edge, self.accents, self.by_id[edge.tail], self.theme)
        title = edge_title(edge)
        tail, head = edge.tail, edge.head
        attributes = {"id": f"e{number}", "color": color, "penwidth": short(width)}
        if title is not None and self.layout is None:
            attributes["label"] = self.text_of.block([title], self.theme.text, fixed=True)
        if edge.is_backward:
            attributes["style"] = "dashed" if self.by_id[tail].is_backward else "dotted"
        if self.layout is not None:
            attributes |= self._pin_edge(number)
        elif edge.is_backward and self.by_id[tail].is_backward:
            tail, head = head, tail
            attributes["dir"] = "back"
        elif edge.is_backward:
            attributes["constraint"] = "false"
        elif edge.role == LONG_TERM:
            attributes["weight"] = "12"
        elif edge.role == SHORT_TERM:
            attributes["weight"] = "2"
        elif edge.role != INPUT and self.by_id[tail].cluster == self.by_id[head].cluster:
            attributes["weight"] = "4"
        self.graph.edge(tail, head, **{**attributes, **self.ports.get(number, {})})

    # -- positions --------------------------------------------------------------------------------

    def _flip(self, point: Point) -> str:
        assert self.layout is not None
        return f"{short(point[0])},{short(self.layout.height - point[1])}"

    def _pin_node(self, node: Node, figure: Figure) -> dict[str, str]:
        if self.layout is None:
            return {}
        pins = {"pos": self._flip(self.layout.nodes[node.id])}
        place = self.layout.beside.get(node.id)
        if place is not None and figure.beside:
            width, height = block_size(figure.beside)
            shift = {"start": width / 2, "middle": 0.0, "end": -width / 2}[place.anchor]
            pins["xlabel"] = self.text_of.block(figure.beside, self.theme.text, place.anchor)
            pins["xlp"] = self._flip((place.x + shift, place.y + height / 2))
        return pins

    def _pin_cluster(self, cluster: Cluster) -> dict[str, str]:
        if self.layout is None:
            return {}
        rect = self.layout.clusters[cluster.id]
        place, words = self.layout.titles[cluster.id]
        lines = [line(word, t.TITLE, "title") for word in words or (cluster.name,)]
        width, height = block_size(lines)
        shift = {"start": width / 2, "middle": 0.0, "end": -width / 2}[place.anchor]
        return {
            "bb": f"{self._flip((rect.x, rect.bottom))},{self._flip((rect.right, rect.y))}",
            "label": self.text_of.block(lines, self.accents[cluster.id].line, place.anchor),
            "lp": self._flip((place.x + shift, place.y + height / 2)),
        }

    def _pin_edge(self, number: int) -> dict[str, str]:
        assert self.layout is not None
        route = self.layout.edges[number]
        curve = " ".join([self._flip(p) for p in route.points])
        pins = {"pos": f"e,{self._flip(route.tip)} {curve}"}
        title = edge_title(self.model.edges[number])
        if title is not None and route.label is not None:
            pins["label"] = self.text_of.block([title], self.theme.text)
            pins["lp"] = self._flip(route.label)
        return pins

    def _behind(self, layout: Layout) -> str:
        """Frames and junctions, as Graphviz's drawing operations."""
        parts: list[str] = []
        for frame, _ in layout.frames:
            corners = [
                (frame.x, frame.y),
                (frame.right, frame.y),
                (frame.right, frame.bottom),
                (frame.x, frame.bottom),
            ]
            path = " ".join([self._flip(p).replace(",", " ") for p in corners])
            parts.append(f"{_pen('c', self.theme.frame)} {_pen('C', self.theme.frame_area)}")
            parts.append(f"P 4 {path}")
        for dot in layout.dots:
            edge = self.model.edges[dot.edge]
            color, width = edge_style(edge, self.accents, self.by_id[edge.tail], self.theme)
            x, y = self._flip((dot.x, dot.y)).split(",")
            radius = short(width + 1.0)
            parts.append(f"{_pen('c', color)} {_pen('C', color)} E {x} {y} {radius} {radius}")
        return " ".join(parts)


def _pen(operation: str, color: str) -> str:
    return f"{operation} {len(color)} -{color}"


def _inches(points: float) -> str:
    return f"{points / POINTS_PER_INCH:.4f}".rstrip("0").rstrip(".")
