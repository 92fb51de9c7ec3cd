"""The wires of a grid of cells, as corners: inside cells, from one to the next, and to the border.

Wires from one source share their way and part at junctions.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import pairwise

from . import theme as t
from .cell_grid import STOREY, Grid
from .cell_templates import Wire
from .geometry import Dot, Point, Route, distinct, rounded
from .model import Model
from .roles import INPUT, OUTPUT

__all__ = ["CORNER", "Wires", "arrow_at_end"]

CORNER = 9.0
"""The radius of a wire's corners."""


class Wires:
    """The corners of every edge that has to do with a cell, and where its name stands.

    Edges to and from the rest of the picture go as far as the border of the grid.
    """

    def __init__(self, model: Model, grid: Grid) -> None:
        self.model, self.grid, self.plan = model, grid, grid.plan
        self.corners: dict[int, list[Point]] = {}
        self.labels: dict[int, Point] = {}
        for k in range(len(grid.fits)):
            self._inside(k)
            self._leaving(k)
        self._into_views()
        self.junctions = _junctions(self.corners, model)

    def route(self, number: int) -> Route:
        """An edge that stays in the grid."""
        route = arrow_at_end(self.corners[number], self.junctions)
        return Route(route.points, route.tip, self.labels.get(number))

    def _inside(self, k: int) -> None:
        fit, tile, figures = self.grid.fits[k], self.grid.tile(k), self.grid.figures_of(k)
        for wire in fit.template.wires:
            number = fit.inner[wire.tail, wire.head]
            if wire.tail in fit.parts:
                self.corners[number] = _moved(tile.wire(wire, figures), self.grid.origins[k])
            else:
                self.corners[number] = self._enter(k, wire, number)

    # -- into cells -------------------------------------------------------------------------------

    def _enter(self, k: int, wire: Wire, number: int) -> list[Point]:
        """A wire from outside: a terminal, the step before, the layer below or the border."""
        if wire.tail == INPUT and not self.plan.single:
            return self._enter_from_below(k, wire)
        grid, role = self.grid, wire.tail
        source, before = grid.fits[k].sources[role], self.plan.before(k, role)
        inner = _moved(grid.tile(k).wire(wire, grid.figures_of(k)), grid.origins[k])
        if before is not None:
            earlier = grid.tile(before).leave(role, grid.figures_of(before))
            earlier = _moved(earlier, grid.origins[before])
            self._label(number, earlier[-1], inner[0])
            return [*earlier, *inner]
        if source in grid.layout.nodes:
            x, y = grid.layout.nodes[source]
            return [(x + grid.figures[source].width / 2, y), *inner]
        return [(grid.bounds.x, inner[0][1]), *inner]

    def _enter_from_below(self, k: int, wire: Wire) -> list[Point]:
        grid, (dx, dy) = self.grid, self.grid.origins[k]
        source, before = grid.fits[k].sources[INPUT], self.plan.before(k, INPUT)
        x = grid.rise(k)
        inner = _moved(grid.tile(k).from_below(wire, grid.figures_of(k), x - dx), (dx, dy))
        if before is not None:
            fit = grid.fits[before]
            lower = grid.tile(before).leave_upwards(fit.output, grid.figures_of(before))
            return _joined(_moved(lower, grid.origins[before]), inner)
        if source in grid.layout.nodes:
            _, y = grid.layout.nodes[source]
            return [(x, y - grid.figures[source].height / 2), *inner]
        lane = grid.lower_lane(k, source)
        return [(grid.bounds.x, lane), (x, lane), *inner]

    def _into_views(self) -> None:
        """From the rest to a slice that stands below its cell."""
        for number, (k, _) in self.plan.entering.items():
            edge = self.model.edges[number]
            if edge.head not in self.plan.below.values():
                continue
            x, y = self.grid.layout.nodes[edge.head]
            lane = self.grid.lower_lane(k, edge.tail)
            bottom = (x, y + self.grid.figures[edge.head].height / 2)
            self.corners[number] = [(self.grid.bounds.x, lane), (x, lane), bottom]

    def _label(self, number: int, start: Point, end: Point) -> None:
        """The name of what runs between two cells, above the wire, once."""
        place = ((start[0] + end[0]) / 2, start[1] - 10.0)
        if self.model.edges[number].labelled and place not in self.labels.values():
            self.labels[number] = place

    # -- out of cells -----------------------------------------------------------------------------

    def _leaving(self, k: int) -> None:
        fit = self.grid.fits[k]
        for number in fit.leaving:
            edge = self.model.edges[number]
            if number in self.plan.leaving:
                self.corners[number] = self._to_border(k, edge.head)
            elif edge.head not in self.plan.owner:
                self.corners[number] = self._to_terminal(k, edge.head, edge.role)

    def _to_terminal(self, k: int, ident: str, role: str) -> list[Point]:
        """To what stands above the cell or right of it."""
        grid, figure = self.grid, self.grid.figures[ident]
        x, y = grid.layout.nodes[ident]
        if self.plan.above.get(k) == ident:
            corners = grid.tile(k).leave_upwards(grid.fits[k].output, grid.figures_of(k))
            return [*_moved(corners, grid.origins[k]), (x, y + figure.height / 2)]
        return [*self._to_the_right(k, role), (x - figure.width / 2, y)]

    def _to_the_right(self, k: int, role: str) -> list[Point]:
        grid, tile, row = self.grid, self.grid.tile(k), None
        if role == OUTPUT:
            role, row = grid.fits[k].output, tile.row(tile.template.y_row)
        return _moved(tile.leave(role, grid.figures_of(k), row), grid.origins[k])

    def _to_border(self, k: int, ident: str) -> list[Point]:
        """To the rest of the picture: beside a single cell, else along the row of cells."""
        right = self.grid.bounds.right
        if self.plan.single:
            corners = self._to_the_right(k, OUTPUT)
            return [*corners, (right, corners[-1][1])]
        tile, lane = self.grid.tile(k), self.grid.upper_lane(k, ident)
        corners = tile.leave_upwards(self.grid.fits[k].output, self.grid.figures_of(k))
        corners = _moved(corners, self.grid.origins[k])
        return [*corners, (corners[-1][0], lane), (right, lane)]


def _moved(corners: Sequence[Point], by: Point) -> list[Point]:
    return [(x + by[0], y + by[1]) for x, y in corners]


def _joined(first: list[Point], then: list[Point]) -> list[Point]:
    """Two vertical ends brought together between two rows of cells."""
    if first[-1][0] == then[0][0]:
        return [*first, *then]
    y = first[-1][1] - STOREY / 2
    return [*first, (first[-1][0], y), (then[0][0], y), *then]


def arrow_at_end(corners: Sequence[Point], junctions: Container[Point]) -> Route:
    """A wire with round corners and an arrow at its end."""
    points = distinct(corners)
    (x, y), (tip_x, tip_y) = points[-2:]
    length = abs(tip_x - x) + abs(tip_y - y)
    back = min(t.ARROW_LENGTH, length) / (length or 1.0)
    base = (tip_x + (x - tip_x) * back, tip_y + (y - tip_y) * back)
    return Route(rounded([*points[:-1], base], CORNER, junctions), (tip_x, tip_y))


def _junctions(corners: Mapping[int, Sequence[Point]], model: Model) -> dict[Point, Dot]:
    """Where wires with the same tail part: a corner of one in the middle of another's side."""
    wires: dict[str, list[tuple[int, Sequence[Point]]]] = {}
    for number, points in corners.items():
        wires.setdefault(model.edges[number].tail, []).append((number, distinct(points)))
    dots: dict[Point, Dot] = {}
    for group in wires.values():
        for number, points in group:
            for corner in points[1:-1]:
                if any(_passes(wire, corner) for other, wire in group if other != number):
                    dots[corner] = Dot(*corner, number)
    return dots


def _passes(wire: Sequence[Point], point: Point) -> bool:
    """Whether a wire goes on straight through a point."""
    x, y = point
    for (x0, y0), (x1, y1) in pairwise(wire):
        if x0 == x1 == x and min(y0, y1) < y < max(y0, y1):
            return True
        if y0 == y1 == y and min(x0, x1) < x < max(x0, x1):
            return True
    return False
