"""How much room the parts of a cell take, and where its columns and rows are therefore.

Knows templates and figures, no wires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import theme as t
from .cell_templates import Part, Template
from .figures import Figure, block_size, line

__all__ = ["BESIDE", "FRAME", "PAD", "Sizes"]

PAD = 12.0
"""Between a cluster's border and what it holds."""

APART = 16.0
"""Between two clusters."""

FRAME = 22.0
"""Between the outermost clusters and the cell's border."""

BESIDE = 6.0
"""Between a circle and its caption."""

NARROWEST = 48.0
"""The least distance of two columns."""


def caption_size(figures: Iterable[Figure]) -> tuple[float, float]:
    """The room that the largest caption of some figures takes."""
    sizes = [block_size(f.beside) for f in figures]
    return max(w for w, _ in sizes), max(h for _, h in sizes)


class Sizes:
    """How far the parts of a template reach, and the columns and rows they stand in.

    figures: for each part, those of every cell that will use this tile. rows_apart: the least
    distance between rows that lead out of the cell. title: what stands in its top left corner.
    """

    def __init__(
        self,
        template: Template,
        figures: Mapping[str, list[Figure]],
        rows_apart: float,
        title: str | None,
    ) -> None:
        self.template = template
        self._size = {
            name: (max(f.width for f in fs), max(f.height for f in fs))
            for name, fs in figures.items()
        }
        self._caption = {name: caption_size(fs) for name, fs in figures.items()}
        self._titles = {
            name: tuple(line(word, t.TITLE, "title") for word in words)
            for name, (words, _) in template.titles.items()
        }
        self.title = line(title, t.TITLE, "title") if title else None
        self._columns: list[float] = []
        self._rows: list[float] = []
        self._place_rows(rows_apart)
        self._place_columns()

    # -- how far a part reaches -------------------------------------------------------------------

    def _reach(self, name: str) -> tuple[float, float, float, float]:
        """Left, right, up and down from a part's middle, its caption included."""
        width, height = self._size[name]
        wide, high = self._caption[name]
        left = right = width / 2
        up = down = height / 2
        side = self.template.parts[name].caption
        if wide and side == "E":
            right += BESIDE + wide
            up, down = max(up, high / 2), max(down, high / 2)
        elif wide and side == "NE":
            right = max(right, width / 2 + 2 + wide)
            up = max(up, high + 6)
        elif wide:
            left, right = max(left, wide / 2), max(right, wide / 2)
            if side == "N":
                up += high + 3
            else:
                down += high + 3
        return left, right, up, down

    # -- columns and rows -------------------------------------------------------------------------

    def _place_columns(self) -> None:
        """Each column as far left as it can be without anything side by side meeting."""
        for column in range(1 + max(p.column for p in self.template.parts.values())):
            x = self._columns[-1] + NARROWEST if column else 0.0
            for cluster, names in self._by_cluster(column).items():
                left = max(self._left(name) for name in names)
                x = max(x, FRAME + PAD + left)
                for other in self._cluster_names():
                    if other != cluster and self._side_by_side(cluster, other):
                        x = max(x, self._right_end(other, column) + 2 * PAD + APART + left)
                for name in names:
                    x = max(x, self._clear_of_parts(name, cluster, column))
            self._columns.append(max(x, self._clear_of_wires(column)))

    def _by_cluster(self, column: int) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, part in self.template.parts.items():
            if part.column == column:
                found.setdefault(part.cluster, []).append(name)
        return found

    def _left(self, name: str) -> float:
        part = self.template.parts[name]
        return max(self._reach(name)[0], self._title_room(name, part))

    def _right_end(self, cluster: str, column: int) -> float:
        """How far right a cluster reaches with its parts left of a column."""
        ends = [
            self._columns[part.column] + self._reach(name)[1]
            for name, part in self.template.parts.items()
            if part.cluster == cluster and part.column < column
        ]
        return max(ends, default=-2 * PAD)

    def _clear_of_parts(self, name: str, cluster: str, column: int) -> float:
        """The least x of a part beside parts of its own cluster on the same row."""
        parts = self.template.parts
        return max(
            (
                self._columns[p.column] + self._reach(other)[1] + 22.0 + self._reach(name)[0]
                for other, p in parts.items()
                if p.cluster == cluster and p.column < column and p.row == parts[name].row
            ),
            default=0.0,
        )

    def _clear_of_wires(self, column: int) -> float:
        """The least x at which wires that turn into a part don't cross its caption."""
        parts, x = self.template.parts, 0.0
        for wire in self.template.wires:
            if wire.tail not in parts or wire.out not in "NS" or wire.into not in "EW":
                continue
            tail, head = parts[wire.tail], parts[wire.head]
            left, right, _, _ = self._reach(wire.head)
            if wire.into == "W" and head.column == column:
                x = max(x, self._columns[tail.column] + left + 10.0)
            elif wire.into == "E" and tail.column == column:
                x = max(x, self._columns[head.column] + right + 10.0)
        return x

    def _side_by_side(self, one: str, other: str) -> bool:
        """Whether two clusters are, at least partly, on the same height."""
        (top1, bottom1), (top2, bottom2) = self._heights(one), self._heights(other)
        return top1 < bottom2 and top2 < bottom1

    def _heights(self, cluster: str) -> tuple[float, float]:
        tops: list[float] = []
        bottoms: list[float] = []
        for name, part in self.template.parts.items():
            if part.cluster == cluster:
                _, _, up, down = self._reach(name)
                tops.append(self._rows[part.row] - up)
                bottoms.append(self._rows[part.row] + down)
        return min(tops) - PAD, max(bottoms) + PAD

    def _title_room(self, name: str, part: Part) -> float:
        """How far left a cluster's title needs its border to be from the line out of it."""
        lines, (_, corner) = self._titles[part.cluster], self.template.titles[part.cluster]
        members = [p for p in self.template.parts.values() if p.cluster == part.cluster]
        first = min(p.column for p in members), min(p.row for p in members)
        if corner != "left" or (part.column, part.row) != first:
            return 0.0
        width, _ = block_size(lines)
        return width + 14.0 - PAD + self._size[name][0] / 2

    def _place_rows(self, rows_apart: float) -> None:
        parts, gaps = self.template.parts, self.template.gaps
        ups, downs = [0.0] * len(gaps), [0.0] * len(gaps)
        for name, part in parts.items():
            _, _, up, down = self._reach(name)
            ups[part.row] = max(ups[part.row], up)
            downs[part.row] = max(downs[part.row], down)
        top = 0.0 if self.title is None else self.title.height
        titles = [self.template.titles[cluster] for cluster in self._cluster_names()]
        above = any(corner == "above" for _, corner in titles)
        y = FRAME + PAD + top + (t.TITLE * t.LINE_HEIGHT if above else 0.0)
        template = self.template
        leading = {*template.ports.values(), template.y_row}
        leading |= {row for _, row in template.states.values()}
        for row in range(len(gaps)):
            if row:
                gap = downs[row - 1] + gaps[row - 1] + ups[row]
                y += max(gap, rows_apart) if {row - 1, row} <= leading else gap
            else:
                y += ups[row]
            self._rows.append(y)

    def _cluster_names(self) -> list[str]:
        return list(dict.fromkeys(p.cluster for p in self.template.parts.values()))
