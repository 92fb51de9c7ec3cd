"""Known cells in rows and columns with their terminals around them: positions without wires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from . import theme as t
from .cell_box import CELL, BoxTile
from .cell_match import Fit
from .cell_plan import Plan
from .cell_tile import Tile
from .figures import Figure
from .geometry import Layout, Point, Rect
from .model import Model, Node
from .roles import INPUT, OUTPUT

__all__ = ["Grid"]

AISLE, WIDE_AISLE = 34.0, 52.0
"""Between cells of a row and to their terminals; wider where names stand on wires."""

STOREY = 34.0
"""Between the rows of cells."""

OUTER = 12.0
"""Between the border of a scope and the cells in it."""

HEADER = OUTER + t.TITLE * t.LINE_HEIGHT
"""The same above, where the scope's name stands."""

LANE = 13.0
"""Between two wires that run along a row of cells."""

NEAR = 16.0
"""Between a cell and the inputs below or outputs above it."""


class Grid:
    """Where cells and terminals stand.

    layout: positions so far, the first cell of the top row at the origin. bounds: what they take.
    """

    def __init__(
        self, model: Model, figures: Mapping[str, Figure], fits: Sequence[Fit], plan: Plan
    ) -> None:
        self.model, self.fits, self.plan = model, fits, plan
        self.figures = dict(figures)
        self.layout = Layout()
        self._clusters = {cluster.id: cluster for cluster in model.clusters}
        self._aisle = WIDE_AISLE if any(fit.cell.folded for fit in fits) else AISLE
        self._tiles = self._make_tiles()
        self._find_lanes()
        self._place_cells()
        self._place_terminals()
        self._frame_cells()
        self._frame_scopes()
        self.bounds = self._bounds()

    # -- tiles ------------------------------------------------------------------------------------

    def _make_tiles(self) -> dict[str, Tile | BoxTile]:
        """One tile for each kind of cell, large enough for all of them; the open ones first."""
        beside = [*self.plan.left.values(), *self.plan.right.values()]
        tallest = max((self.figures[ident].height + 12 for ident in beside), default=0.0)
        alike: dict[str, list[Fit]] = {}
        for fit in sorted(self.fits, key=lambda fit: fit.cell.folded):
            alike.setdefault(fit.template.name, []).append(fit)
        tiles: dict[str, Tile | BoxTile] = {}
        for name, fits in alike.items():
            template = fits[0].template
            figures = {p: [self.figures[f.parts[p]] for f in fits] for p in template.parts}
            if not fits[0].cell.folded:
                apart = tallest if self.plan.single else 26.0
                tiles[name] = Tile(template, figures, apart, self._title(fits[0]))
                continue
            largest = max(figures[CELL], key=lambda f: f.width)
            like = next(iter(tiles.values()), None)
            tile = tiles[name] = BoxTile(template, largest, tallest, self.plan.single, like)
            for fit in fits:
                box = replace(self.figures[fit.parts[CELL]], width=tile.width, height=tile.height)
                self.figures[fit.parts[CELL]] = box
        return tiles

    def tile(self, k: int) -> Tile | BoxTile:
        """The geometry of a cell."""
        return self._tiles[self.fits[k].template.name]

    def figures_of(self, k: int) -> dict[str, Figure]:
        """A cell's figures by part."""
        return {part: self.figures[ident] for part, ident in self.fits[k].parts.items()}

    def _title(self, fit: Fit) -> str:
        cluster = fit.cell.cluster
        return self._clusters[cluster].name if cluster else self.model.heading or fit.cell.path

    def _depth(self, k: int) -> int:
        """How many scopes are drawn around a cell in the grid."""
        cell = self.fits[k].cell
        around = set(self.plan.around(cell.cluster)) - self.plan.shared
        return max(0, len(around) - (not cell.folded))

    # -- lanes ------------------------------------------------------------------------------------

    def _find_lanes(self) -> None:
        """Wires to and from the rest run along the rows: one lane for each thing there."""
        self._upper: dict[int, list[str]] = {}
        self._lower: dict[int, list[str]] = {}
        for number, (k, _) in self.plan.leaving.items():
            self._add_lane(self._upper, k, self.model.edges[number].head)
        for number, (k, role) in self.plan.entering.items():
            if role == INPUT:
                self._add_lane(self._lower, k, self.model.edges[number].tail)

    def _add_lane(self, lanes: dict[int, list[str]], k: int, ident: str) -> None:
        row = lanes.setdefault(self.plan.places[k][0], [])
        if not self.plan.single and ident not in row:
            row.append(ident)

    def upper_lane(self, k: int, ident: str) -> float:
        """The y of the lane above a cell that leads to `ident`."""
        row = self.plan.places[k][0]
        place = self._upper[row].index(ident)
        return self.origins[k][1] - self._above(k) - LANE * (place + 1)

    def lower_lane(self, k: int, ident: str) -> float:
        """The y of the lane below a cell that comes from `ident`."""
        row = self.plan.places[k][0]
        below = max(self._below(j) for j in self._row(k))
        return self.origins[k][1] + below + LANE * (self._lower[row].index(ident) + 1)

    def _row(self, k: int) -> list[int]:
        """The cells of the same row."""
        row = self.plan.places[k][0]
        return [j for j, place in enumerate(self.plan.places) if place[0] == row]

    def _overhang(self, k: int, downwards: bool) -> float:
        """How far the terminals beside a row reach above or below its cells."""
        most = 0.0
        for (j, role), ident in self.plan.left.items():
            if self.plan.places[j][0] == self.plan.places[k][0]:
                y, half = self.tile(j).port(role)[1], self.figures[ident].height / 2
                most = max(most, y + half - self.tile(j).height if downwards else half - y)
        return most

    def _above(self, k: int) -> float:
        """How far a cell with its scopes reaches up."""
        return self._depth(k) * HEADER + self._overhang(k, downwards=False)

    def _below(self, k: int) -> float:
        """How far a cell with its scopes and input reaches down."""
        down, ident = self.tile(k).height + self._depth(k) * OUTER, self.plan.below.get(k)
        if ident is None:
            return down + self._overhang(k, downwards=True)
        return down + self.figures[ident].height + NEAR

    # -- places -----------------------------------------------------------------------------------

    def _place_cells(self) -> None:
        places, count = self.plan.places, range(len(self.fits))
        rows = 1 + max(row for row, _ in places)
        columns = 1 + max(column for _, column in places)
        widths, up, down = [0.0] * columns, [0.0] * rows, [0.0] * rows
        for k in count:
            row, column = places[k]
            above = self.plan.above.get(k)
            pill = self.figures[above].height + NEAR if above is not None else 0.0
            lanes = len(self._upper.get(row, ())), len(self._lower.get(row, ()))
            widths[column] = max(widths[column], self.tile(k).width)
            up[row] = max(up[row], self._above(k) + pill + LANE * lanes[0])
            down[row] = max(down[row], self._below(k) + LANE * lanes[1])
        lefts = [sum(widths[:c]) + c * self._aisle for c in range(columns)]
        tops = [0.0] * rows
        for row in reversed(range(rows - 1)):  # the last layer stands on top
            tops[row] = tops[row + 1] + down[row + 1] + STOREY + up[row]
        self.origins: list[Point] = [(lefts[places[k][1]], tops[places[k][0]]) for k in count]
        for k in count:
            self._place_parts(k)

    def _place_parts(self, k: int) -> None:
        fit, tile, (dx, dy) = self.fits[k], self.tile(k), self.origins[k]
        for part, ident in fit.parts.items():
            x, y = tile.parts[part]
            self.layout.nodes[ident] = (x + dx, y + dy)
            figure = self.figures[ident]
            if figure.beside:
                self.layout.beside[ident] = tile.caption(part, figure).moved(dx, dy)
        if fit.cell.folded:
            return
        for cluster in {self.plan.nodes[ident].cluster for ident in fit.parts.values()}:
            if cluster is not None and cluster != fit.cell.cluster:
                name = self._clusters[cluster].name
                label, words = tile.cluster_title(name)
                self.layout.clusters[cluster] = tile.clusters[name].moved(dx, dy)
                self.layout.titles[cluster] = (label.moved(dx, dy), words)

    def _place_terminals(self) -> None:
        plan, nodes = self.plan, self.layout.nodes
        for (k, role), ident in plan.left.items():
            y = self.origins[k][1] + self.tile(k).port(role)[1]
            nodes[ident] = (-self._aisle - self.figures[ident].width / 2, y)
        for (k, role), ident in plan.right.items():
            tile, (dx, dy) = self.tile(k), self.origins[k]
            row = tile.template.y_row if role == OUTPUT else tile.template.states[role][1]
            x = dx + tile.width + self._aisle + self.figures[ident].width / 2
            nodes[ident] = (x, dy + tile.row(row))
        for k, ident in plan.below.items():
            down = NEAR + self._depth(k) * OUTER if not self._own(k, ident) else 2.0
            y = self.origins[k][1] + self.tile(k).height + down + self.figures[ident].height / 2
            nodes[ident] = (self.rise(k), y)
        for k, ident in plan.above.items():
            dx, dy = self.origins[k]
            y = dy - NEAR - self._above(k) - self.figures[ident].height / 2
            nodes[ident] = (dx + self.tile(k).right_gutter, y)

    def _own(self, k: int, ident: str) -> bool:
        """Whether an input stands in the cell's own cluster."""
        cell = self.fits[k].cell
        if cell.folded or cell.cluster is None:
            return False
        return self.plan.nodes[ident].cluster == cell.cluster

    def rise(self, k: int) -> float:
        """The x at which a cell's input comes up from below."""
        tile = self.tile(k)
        given = self.plan.before(k, INPUT)
        x = tile.right_gutter if given is not None else tile.parts[tile.middle][0]
        return self.origins[k][0] + x

    # -- areas ------------------------------------------------------------------------------------

    def _frame_cells(self) -> None:
        for k, fit in enumerate(self.fits):
            if fit.cell.folded:
                continue
            tile, (dx, dy) = self.tile(k), self.origins[k]
            below, extra = self.plan.below.get(k), 0.0
            if below is not None and self._own(k, below):
                extra = self.figures[below].height + OUTER
            rect = Rect(dx, dy, tile.width, tile.height + extra)
            if fit.cell.cluster is None:
                self.layout.frames.append((rect, self._title(fit)))
            else:
                self.layout.clusters[fit.cell.cluster] = rect
                label = tile.corner_title().moved(dx, dy)
                self.layout.titles[fit.cell.cluster] = (label, ())

    def _frame_scopes(self) -> None:
        """Scopes around cells alone: as large as what they hold, from the innermost out."""
        held: dict[str, list[Rect]] = {}
        for node in self.model.nodes:
            if node.cluster is not None and node.id in self.layout.nodes:
                held.setdefault(node.cluster, []).append(self.area(node))
        for cluster in reversed(self.model.clusters):
            if cluster.id in self.plan.shared or (
                cluster.id not in held and cluster.id not in self.layout.clusters
            ):
                continue
            if cluster.id not in self.layout.clusters:
                rect = _around(held[cluster.id])
                place = self.tile(0).corner_title().moved(rect.x, rect.y)
                self.layout.clusters[cluster.id] = rect
                self.layout.titles[cluster.id] = (place, ())
            if cluster.parent is not None:
                held.setdefault(cluster.parent, []).append(self.layout.clusters[cluster.id])

    def area(self, node: Node) -> Rect:
        """What a node covers, without the text beside it."""
        (x, y), figure = self.layout.nodes[node.id], self.figures[node.id]
        return Rect(x - figure.width / 2, y - figure.height / 2, figure.width, figure.height)

    def _bounds(self) -> Rect:
        """The area of everything, lanes included."""
        layout = self.layout
        rects = [*layout.clusters.values(), *(frame for frame, _ in layout.frames)]
        rects += [self.area(n) for n in self.model.nodes if n.id in layout.nodes]
        for number, (k, _) in self.plan.leaving.items():
            if not self.plan.single:
                y = self.upper_lane(k, self.model.edges[number].head)
                rects.append(Rect(0, y - LANE, 0, 0))
        for number, (k, role) in self.plan.entering.items():
            if role == INPUT and not self.plan.single:
                y = self.lower_lane(k, self.model.edges[number].tail)
                rects.append(Rect(0, y + LANE, 0, 0))
        left, top = min(r.x for r in rects), min(r.y for r in rects)
        right, bottom = max(r.right for r in rects), max(r.bottom for r in rects)
        return Rect(left, top, right - left, bottom - top)


def _around(rects: Sequence[Rect]) -> Rect:
    """The area of a scope: what is in it, some room and a line for its name."""
    left, top = min(r.x for r in rects) - OUTER, min(r.y for r in rects) - HEADER
    right, bottom = max(r.right for r in rects) + OUTER, max(r.bottom for r in rects) + OUTER
    return Rect(left, top, right - left, bottom - top)
