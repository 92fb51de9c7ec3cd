"""The geometry of a folded cell: one box, with the ports of the open cells beside it.

The same interface as `Tile`, so that open and folded cells can stand in one row.
"""

from __future__ import annotations

from collections.abc import Mapping

from .cell_templates import Part, Template, Wire
from .cell_tile import Tile
from .figures import Figure
from .geometry import Label, Point, Rect
from .roles import INPUT, LONG_TERM, SHORT_TERM

__all__ = ["CELL", "BoxTile", "folded_template"]

CELL = "cell"
"""The only part of a folded cell."""

NARROWEST, EDGE, APART = 76.0, 22.0, 26.0


def folded_template(roles: frozenset[str]) -> Template:
    """A template for a box that takes values of the given roles."""
    states = [role for role in (LONG_TERM, SHORT_TERM) if role in roles]
    rows = {role: row for row, role in enumerate(states)}
    return Template(
        "folded " + ", ".join([*states]),
        {CELL: Part("", "", 0, 0)},
        tuple(Wire(role, CELL, "E", "W") for role in (*states, INPUT) if role in roles),
        ports={**rows, INPUT: len(states)},
        states={role: (CELL, row) for role, row in rows.items()},
        y_row=len(states),
        gaps=(0.0,) * (len(states) + 1),
    )


class BoxTile:
    """A folded cell. beside: an open cell in the same picture, whose rows it takes over."""

    def __init__(
        self,
        template: Template,
        figure: Figure,
        rows_apart: float,
        single: bool,
        beside: Tile | BoxTile | None,
    ) -> None:
        self.template = template
        self.width = max(figure.width, NARROWEST)
        apart = max(APART, rows_apart)
        self._rows = [EDGE + apart * row for row in range(template.y_row + 1)]
        last = template.y_row if single else template.y_row - 1
        self.height = max(self._rows[last] + EDGE, figure.height)
        slack = (self.height - self._rows[last] - EDGE) / 2
        self._rows = [y + slack for y in self._rows]
        if beside is not None:
            for role, (_, row) in template.states.items():
                if role in beside.template.states:
                    self._rows[row] = beside.exit(role)[1]
            self.height = beside.height
        self.parts: dict[str, Point] = {CELL: (self.width / 2, self.height / 2)}
        self.clusters: dict[str, Rect] = {}
        self.middle = CELL
        self.right_gutter = self.width / 2

    def caption(self, name: str, figure: Figure) -> Label:
        """Boxes have their text inside."""
        return Label(*self.parts[name])

    def cluster_title(self, cluster: str) -> tuple[Label, tuple[str, ...]]:
        """There are no clusters in a box."""
        raise KeyError(cluster)

    def corner_title(self) -> Label:
        """Where a name in the corner would stand."""
        return Label(10.0, 6.0, "start")

    def row(self, row: int) -> float:
        """The y of a row."""
        return self._rows[row]

    def port(self, role: str) -> Point:
        """Where a value comes in on the left."""
        return 0.0, self._rows[self.template.ports[role]]

    def exit(self, role: str) -> Point:
        """Where a state goes out on the right."""
        return self.width, self._rows[self.template.states[role][1]]

    def wire(self, wire: Wire, figures: Mapping[str, Figure]) -> list[Point]:
        """From outside to the box."""
        x, y = self.port(wire.tail)
        return [(x - 1, y), (x, y)]

    def from_below(self, wire: Wire, figures: Mapping[str, Figure], x: float) -> list[Point]:
        """An input that comes up at `x`."""
        return [(x, self.height + 1), (x, self.height)]

    def leave(
        self, role: str, figures: Mapping[str, Figure], y: float | None = None
    ) -> list[Point]:
        """From the box to the right."""
        exit_x, exit_y = self.exit(role)
        return [(exit_x, exit_y if y is None else y)]

    def leave_upwards(self, role: str, figures: Mapping[str, Figure]) -> list[Point]:
        """From the box to above."""
        return [(self.right_gutter, 0.0)]
