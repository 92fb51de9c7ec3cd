"""Names of clusters make room for edges, where Graphviz lays out."""

from __future__ import annotations

import pytest

from viz import theme as t
from viz.figures import line
from viz.geometry import Label, Layout, Rect, Route
from viz.model import Cluster, Model
from viz.titles import clear_titles


def crossed(layout: Layout, name: str, cluster: str) -> bool:
    """Whether an edge runs behind the name."""
    place, _ = layout.titles[cluster]
    text = line(name, t.TITLE, "title")
    return any(
        place.x <= x <= place.x + text.width and place.y <= y <= place.y + text.height
        for route in layout.edges.values()
        for x, y in (*route.points, route.tip)
    )


def with_an_edge(corner: float) -> tuple[Model, Layout]:
    """A cluster of 200 by 100 with a name, and a straight edge down through its upper edge."""
    model = Model("gates", "test", clusters=[Cluster("c", "name", "name", None)])
    down = tuple((corner, 5.0 * k) for k in range(-1, 9))
    layout = Layout(300, 200, edges={0: Route(down, down[-1])})
    layout.clusters["c"] = Rect(0, 0, 200, 100)
    layout.titles["c"] = (Label(9, 5, "start"), ())
    return model, layout


@pytest.mark.parametrize("corner", [9.0, 20.0, 35.0])
def test_a_name_makes_room_for_an_edge(corner: float) -> None:
    model, layout = with_an_edge(corner)
    assert crossed(layout, "name", "c")
    clear_titles(model, layout)
    assert not crossed(layout, "name", "c")
    assert layout.titles["c"][0].x + line("name", t.TITLE, "title").width <= 200


def test_a_name_stays_where_no_edge_runs() -> None:
    model, layout = with_an_edge(150.0)
    clear_titles(model, layout)
    assert layout.titles["c"][0] == Label(9, 5, "start")


def test_where_edges_run_everywhere_a_name_stays_inside() -> None:
    model, layout = with_an_edge(20.0)
    for k in range(30):
        down = tuple((7.0 * k, 5.0 * n) for n in range(-1, 9))
        layout.edges[k + 1] = Route(down, down[-1])
    clear_titles(model, layout)
    place = layout.titles["c"][0]
    assert 9 <= place.x <= 200 - line("name", t.TITLE, "title").width
