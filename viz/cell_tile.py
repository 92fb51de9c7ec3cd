"""The geometry of one kind of cell: parts in columns and rows, wires between and from its ports.

All cells of a kind in a picture share one tile, so that each looks the same and the lines of one
meet those of the next. Knows templates and sizes, no graph and no Graphviz.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import theme as t
from .cell_sizes import BESIDE, FRAME, PAD, Sizes
from .cell_templates import Template, Wire
from .figures import Figure, block_size
from .geometry import Label, Point, Rect
from .roles import INPUT

__all__ = ["Tile"]


class Tile(Sizes):
    """Positions of a template's parts, relative to the cell's top left corner.

    parts: their middles. clusters: their areas. gutter, right_gutter: where wires run up and down
    beside everything else.
    """

    def __init__(
        self,
        template: Template,
        figures: Mapping[str, list[Figure]],
        rows_apart: float,
        title: str | None,
    ) -> None:
        super().__init__(template, figures, rows_apart, title)
        self.parts: dict[str, Point] = {
            name: (self._columns[p.column], self._rows[p.row])
            for name, p in self.template.parts.items()
        }
        self.clusters = {name: self._cluster(name) for name in self._cluster_names()}
        right = max(rect.right for rect in self.clusters.values())
        low = max(rect.bottom for rect in self.clusters.values())
        self.width = right + FRAME
        self.height = max(low, self._rows[-1]) + self.template.gaps[-1]
        self.gutter = FRAME / 2
        self.right_gutter = self.width - FRAME / 2

    # -- text -------------------------------------------------------------------------------------

    def caption(self, name: str, figure: Figure) -> Label:
        """Where the caption of a part stands."""
        x, y = self.parts[name]
        _, high = block_size(figure.beside)
        side = self.template.parts[name].caption
        half_width, half_height = figure.width / 2, figure.height / 2
        if side == "E":
            return Label(x + half_width + BESIDE, y - high / 2, "start")
        if side == "NE":
            return Label(x + half_width + 2, y - 5 - high, "start")
        if side == "N":
            return Label(x, y - half_height - 3 - high)
        return Label(x, y + half_height + 3)

    def _cluster(self, cluster: str) -> Rect:
        """The area of a cluster: its parts, captions and title."""
        names = [n for n, p in self.template.parts.items() if p.cluster == cluster]
        left = min(self.parts[n][0] - self._left(n) for n in names)
        right = max(self.parts[n][0] + self._reach(n)[1] for n in names)
        top, bottom = self._heights(cluster)
        if self.template.titles[cluster][1] == "above":
            top -= t.TITLE * t.LINE_HEIGHT - 4
        width, _ = block_size(self._titles[cluster])
        right = max(right, left + width)
        return Rect(left - PAD, top, right - left + 2 * PAD, bottom - top)

    def cluster_title(self, cluster: str) -> tuple[Label, tuple[str, ...]]:
        """Where a cluster's name stands, and its lines."""
        rect, (words, corner) = self.clusters[cluster], self.template.titles[cluster]
        _, height = block_size(self._titles[cluster])
        y = rect.bottom - height - 5 if corner == "below" else rect.y + 5
        return Label(rect.x + 8, y, "start"), words

    def corner_title(self) -> Label:
        """Where the name of the whole cell stands."""
        return Label(10.0, 6.0, "start")

    @property
    def middle(self) -> str:
        """A part in whose column an input may come up from below."""
        return "plus" if "plus" in self.parts else next(iter(self.parts))

    # -- wires ------------------------------------------------------------------------------------

    def row(self, row: int) -> float:
        """The y of a row."""
        return self._rows[row]

    def port(self, role: str) -> Point:
        """Where a value comes in on the left."""
        return 0.0, self._rows[self.template.ports[role]]

    def exit(self, role: str) -> Point:
        """Where a state goes out on the right."""
        return self.width, self._rows[self.template.states[role][1]]

    def wire(self, wire: Wire, figures: Mapping[str, Figure], start: Point | None = None) -> list[
        Point
    ]:
        """The corners of a wire from its tail, or from `start` outside, to its head."""
        head = self._side(wire.head, wire.into, figures, wire.shift)
        if wire.tail in self.parts:
            first = self._side(wire.tail, wire.out, figures)
        else:
            first = start or self.port(wire.tail)
        corners = [first]
        across = wire.out in "EW"
        for name, row in wire.via:
            x = self.gutter if name == "gutter" else self.parts[name][0]
            point = (x, self._rows[row])
            corners += [_corner(corners[-1], point, across), point]
        corners += [_corner(corners[-1], head, wire.into in "NS"), head]
        return corners

    def from_below(self, wire: Wire, figures: Mapping[str, Figure], x: float) -> list[Point]:
        """The corners of a wire for an input that comes up at `x`."""
        y = self._rows[self.template.ports[INPUT]]
        head = self._side(wire.head, wire.into, figures, wire.shift)
        return [(x, self.height), (x, y), (head[0], y), head]

    def leave(
        self, role: str, figures: Mapping[str, Figure], y: float | None = None
    ) -> list[Point]:
        """The corners from what makes a state to the right border, on its row or at `y`."""
        part, row = self.template.states[role]
        start, bend = self._start(part, row, figures)
        if y is None or y == bend[1]:
            return [start, bend, (self.width, bend[1])]
        if start[1] == bend[1]:
            return [start, (self.right_gutter, start[1]), (self.right_gutter, y), (self.width, y)]
        return [start, (start[0], y), (self.width, y)]

    def leave_upwards(self, role: str, figures: Mapping[str, Figure]) -> list[Point]:
        """The corners from what makes a state to the upper border."""
        part, row = self.template.states[role]
        start, bend = self._start(part, row, figures)
        x = self.right_gutter
        return [start, bend, (x, bend[1]), (x, 0.0)]

    def _start(self, part: str, row: int, figures: Mapping[str, Figure]) -> tuple[Point, Point]:
        """Where a state leaves its part, and where it gets to its row."""
        x, y = self.parts[part]
        if self._rows[row] == y:
            start = self._side(part, "E", figures)
            return start, start
        return self._side(part, "S", figures), (x, self._rows[row])

    def _side(
        self, name: str, side: str, figures: Mapping[str, Figure], shift: float = 0.0
    ) -> Point:
        (x, y), figure = self.parts[name], figures[name]
        if side in "NS":
            return x + shift, y + (figure.height if side == "S" else -figure.height) / 2
        return x + (figure.width if side == "E" else -figure.width) / 2, y + shift


def _corner(before: Point, after: Point, across: bool) -> Point:
    """The corner between two points: first across, or first up and down."""
    return (after[0], before[1]) if across else (before[0], after[1])
