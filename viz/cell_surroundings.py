"""What stands around a grid of cells, such as an embedding before and a loss after it.

Graphviz lays that out, with the whole grid as one box whose ports are where wires cross its border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import theme as t
from .cell_grid import Grid
from .cell_wires import CORNER, Wires, arrow_at_end
from .dot import layout_source
from .figures import Figure
from .geometry import Layout, Point, Route, rounded, straight_to
from .layout import positions
from .model import Edge, Model, Node
from .theme import Theme

__all__ = ["surround"]

GRID = "grid"


def surround(
    model: Model, theme: Theme, figures: Mapping[str, Figure], grid: Grid, wires: Wires,
    timeout: float,
) -> Layout:  # fmt: skip
    """The layout of the whole picture: the grid, and the rest around it."""
    bounds = grid.bounds
    width, height = 2.0 * -(-bounds.width // 2), 2.0 * -(-bounds.height // 2)
    box = Figure("box", width, height, (), (), theme.neutral)
    joints = _Joints(model, grid, wires)
    outline = _outline(model, grid, joints)
    source = layout_source(
        outline,
        theme,
        {**figures, GRID: box},
        label={GRID: joints.label(width, height)},
        ports=joints.ports,
    )
    layout = positions(
        source, timeout, margin=t.MARGIN, size=f" for {len(model.nodes)} nodes around cells"
    )
    x, y = layout.nodes.pop(GRID)
    dx, dy = x - width / 2 - bounds.x, y - height / 2 - bounds.y
    placed = grid.layout.moved(dx, dy, layout.width, layout.height)
    outer, layout.edges = layout.edges, {}
    layout.nodes |= placed.nodes
    layout.beside |= placed.beside
    layout.clusters |= placed.clusters
    layout.titles |= placed.titles
    layout.frames, layout.dots = placed.frames, placed.dots
    for number, edge in enumerate(model.edges):
        layout.edges[number] = joints.route(number, edge, outer, (dx, dy))
    return layout


def _outline(model: Model, grid: Grid, joints: _Joints) -> Model:
    """The rest of a model, with one node for the grid.

    What stacks the outputs of one layer stands beside the grid, not in that layer's scope.
    """
    rest = set(grid.plan.rest)
    inside = max(grid.plan.shared, key=lambda c: len(grid.plan.around(c)), default=None)
    nodes = [Node(GRID, "box", "", cluster=inside)]
    nodes += [replace(n, cluster=grid.plan.outside(n.cluster)) for n in model.nodes if n.id in rest]
    drawn = {c for node in nodes for c in grid.plan.around(node.cluster)}
    clusters = [cluster for cluster in model.clusters if cluster.id in drawn]
    return replace(model, nodes=nodes, edges=joints.edges, clusters=clusters, cells=[])


class _Joints:
    """Where wires cross the border of the grid, and the edges that go on from there.

    edges: those of the outline; wires that end together at the border go on as one. ports: the
    attributes that tie an edge of the outline to a port.
    """

    def __init__(self, model: Model, grid: Grid, wires: Wires) -> None:
        self._wires, self._bounds = wires, grid.bounds
        self.edges: list[Edge] = []
        self.ports: dict[int, dict[str, str]] = {}
        self._rows: dict[int, str] = {}
        self._outer: dict[int, int] = {}
        known: dict[tuple[str, str, str], int] = {}
        rest = set(grid.plan.rest)
        for number, edge in enumerate(model.edges):
            leaves, enters = edge.tail not in rest, edge.head not in rest
            if leaves and enters:
                continue
            tail, head = (GRID if leaves else edge.tail), (GRID if enters else edge.head)
            port = self._port(number, enters) if leaves or enters else ""
            place = known.setdefault((tail, head, port or str(number)), len(self.edges))
            self._outer[number] = place
            if place == len(self.edges):
                self.edges.append(replace(edge, tail=tail, head=head, labelled=False))
                if port:
                    side = {"headport": f"{port}:w"} if enters else {"tailport": f"{port}:e"}
                    self.ports[place] = side

    def _port(self, number: int, enters: bool) -> str:
        corners = self._wires.corners[number]
        _, y = corners[0] if enters else corners[-1]
        row = round(y - self._bounds.y)
        return self._rows.setdefault(row, f"p{len(self._rows)}")

    def label(self, width: float, height: float) -> str:
        """A table as large as the grid, with a row for each port."""
        parts: list[str] = []
        y = 0
        for row in sorted(self._rows):
            top = max(y, row - 1)
            parts += [_row(width, top - y, ""), _row(width, row + 1 - top, self._rows[row])]
            y = row + 1
        parts.append(_row(width, round(height) - y, ""))
        return (
            '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE" '
            f'WIDTH="{width:.0f}" HEIGHT="{height:.0f}">{"".join(parts)}</TABLE>>'
        )

    def route(
        self, number: int, edge: Edge, outer: Mapping[int, Route], by: Point
    ) -> Route:
        """The whole way of an edge: its part in the grid, at the border and outside."""
        place = self._outer.get(number)
        if place is None:
            return self._wires.route(number).moved(*by)
        outside = outer[place]
        if self.edges[place].tail != GRID and self.edges[place].head != GRID:
            return outside
        corners = [(x + by[0], y + by[1]) for x, y in self._wires.corners[number]]
        junctions = {(x + by[0], y + by[1]) for x, y in self._wires.junctions}
        if self.edges[place].tail == GRID:
            way = list(rounded(corners, CORNER, junctions))
            straight_to(way, outside.points[0])
            return Route((*way, *outside.points[1:]), outside.tip)
        inside = arrow_at_end(corners, junctions)
        way = list(outside.points)
        straight_to(way, outside.tip)
        straight_to(way, inside.points[0])
        return Route((*way, *inside.points[1:]), inside.tip)


def _row(width: float, height: int, port: str) -> str:
    if height <= 0 and not port:
        return ""
    name = f' PORT="{port}"' if port else ""
    return f'<TR><TD WIDTH="{width:.0f}" HEIGHT="{max(1, height)}"{name}></TD></TR>'
