"""Where things are: points, curves and rectangles, with y growing downwards, in points.

A layout holds positions only; what is drawn there is in the figures.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

__all__ = ["Dot", "Label", "Layout", "Point", "Rect", "Route", "distinct", "rounded", "straight_to"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle by its left, top, width and height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def moved(self, dx: float, dy: float) -> Rect:
        return Rect(self.x + dx, self.y + dy, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Route:
    """An edge as cubic Bézier curves, 3n + 1 control points, and the arrow from their end to `tip`.

    label: the middle of where the edge's name stands.
    """

    points: tuple[Point, ...]
    tip: Point
    label: Point | None = None

    def moved(self, dx: float, dy: float) -> Route:
        points = tuple((x + dx, y + dy) for x, y in self.points)
        label = None if self.label is None else (self.label[0] + dx, self.label[1] + dy)
        return Route(points, (self.tip[0] + dx, self.tip[1] + dy), label)


@dataclass(frozen=True, slots=True)
class Label:
    """Where lines of text stand: their left, middle or right at x, the block's top at y."""

    x: float
    y: float
    anchor: str = "middle"

    def moved(self, dx: float, dy: float) -> Label:
        return Label(self.x + dx, self.y + dy, self.anchor)


@dataclass(frozen=True, slots=True)
class Dot:
    """A junction: the edge number `edge` leaves a line that others go on along."""

    x: float
    y: float
    edge: int


@dataclass(slots=True)
class Layout:
    """Positions of all parts of a model. edges: by the edge's place in the model.

    beside: captions of figures that have text next to them. titles: names of clusters, which may
    be broken into several lines. frames: areas behind everything with a title, for cells that are
    no cluster. heading: where the picture's own title stands, if it has one.
    """

    width: float = 0.0
    height: float = 0.0
    nodes: dict[str, Point] = field(default_factory=dict)
    beside: dict[str, Label] = field(default_factory=dict)
    edges: dict[int, Route] = field(default_factory=dict)
    clusters: dict[str, Rect] = field(default_factory=dict)
    titles: dict[str, tuple[Label, tuple[str, ...]]] = field(default_factory=dict)
    frames: list[tuple[Rect, str]] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    heading: Label | None = None


    def moved(self, dx: float, dy: float, width: float, height: float) -> Layout:
        """Everything shifted, in a picture of the given size."""
        return Layout(
            width,
            height,
            {key: (x + dx, y + dy) for key, (x, y) in self.nodes.items()},
            {key: label.moved(dx, dy) for key, label in self.beside.items()},
            {key: route.moved(dx, dy) for key, route in self.edges.items()},
            {key: rect.moved(dx, dy) for key, rect in self.clusters.items()},
            {key: (label.moved(dx, dy), words) for key, (label, words) in self.titles.items()},
            [(rect.moved(dx, dy), title) for rect, title in self.frames],
            [Dot(dot.x + dx, dot.y + dy, dot.edge) for dot in self.dots],
        )


def rounded(
    corners: Sequence[Point], radius: float, sharp: Container[Point] = ()
) -> tuple[Point, ...]:
    """A polyline with round corners, but for those in `sharp`, as Bézier curves."""
    points = distinct(corners)
    if len(points) < 2:
        return ()
    curve: list[Point] = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        if corner in sharp:
            straight_to(curve, corner)
            continue
        reach = min(radius, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        start, end = _towards(corner, before, reach), _towards(corner, after, reach)
        straight_to(curve, start)
        curve += [_towards(start, corner, 0.55 * reach), _towards(end, corner, 0.55 * reach), end]
    straight_to(curve, points[-1])
    return tuple(curve)


def straight_to(curve: list[Point], end: Point) -> None:
    """Continue a curve with a straight line."""
    start = curve[-1]
    third = ((end[0] - start[0]) / 3, (end[1] - start[1]) / 3)
    curve += [
        (start[0] + third[0], start[1] + third[1]),
        (start[0] + 2 * third[0], start[1] + 2 * third[1]),
        end,
    ]


def _towards(start: Point, end: Point, distance: float) -> Point:
    length = math.dist(start, end) or 1.0
    share = distance / length
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)


def distinct(corners: Sequence[Point]) -> list[Point]:
    """The corners without repetitions and without points in the middle of a straight line."""
    points: list[Point] = []
    for point in corners:
        if points and math.dist(points[-1], point) < 1e-6:
            continue
        if len(points) > 1 and _straight(points[-2], points[-1], point):
            points.pop()
        points.append(point)
    return points


def _straight(a: Point, b: Point, c: Point) -> bool:
    turn = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
    ahead = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])
    return abs(turn) < 1e-6 and ahead > 0
