"""Names of clusters, moved along their upper edge to where no line passes."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from . import theme as t
from .figures import line
from .geometry import Label, Layout, Point, Route
from .model import Model

__all__ = ["clear_titles"]

_APART = 5.0  # how far points on a curve are apart that are looked at, or less
_STEP = 6.0  # how far a name is moved at a time
_CLEAR = 3.0  # room left around it


def clear_titles(model: Model, layout: Layout) -> None:
    """Move each name to the right until no edge runs behind it, or the fewest do."""
    points = sorted(
        ((y, x) for route in layout.edges.values() for x, y in _along(route)),
    )
    heights = [y for y, _ in points]
    for cluster in model.clusters:
        rect, (place, words) = layout.clusters[cluster.id], layout.titles[cluster.id]
        title = line(cluster.name, t.TITLE, "title")
        first = bisect_left(heights, place.y - _CLEAR)
        last = bisect_right(heights, place.y + title.height + _CLEAR)
        near = sorted(x for _, x in points[first:last] if rect.x <= x <= rect.right)
        room = rect.right - t.MARGIN - title.width - place.x
        shifts = [k * _STEP for k in range(int(max(0.0, room) / _STEP) + 1)]
        best = min(shifts, key=lambda dx: _between(near, place.x + dx, title.width))
        layout.titles[cluster.id] = (Label(place.x + best, place.y, place.anchor), words)


def _between(sorted_x: list[float], left: float, width: float) -> int:
    return bisect_right(sorted_x, left + width + _CLEAR) - bisect_left(sorted_x, left - _CLEAR)


def _along(route: Route) -> Iterator[Point]:
    """Points on an edge and on its arrow."""
    for k in range(0, len(route.points) - 3, 3):
        a, b, c, d = route.points[k : k + 4]
        count = 1 + int((math.dist(a, b) + math.dist(b, c) + math.dist(c, d)) / _APART)
        for n in range(count):
            s = n / count
            r = 1 - s
            weights = r * r * r, 3 * r * r * s, 3 * r * s * s, s * s * s
            yield (
                sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True)),
                sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True)),
            )
    yield route.points[-1]
    yield route.tip
