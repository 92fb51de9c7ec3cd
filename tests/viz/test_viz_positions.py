"""Where things stand in the picture of a cell: what a reader's eye relies on."""

from __future__ import annotations

import itertools
import math

import pytest
from pictures import labels, lstm_cell, sequence

import tinygrad_lstm as tg
import viz
from viz import Drawing
from viz.figures import block_size

LONG = "long-term memory"


@pytest.fixture(scope="module")
def cell() -> Drawing:
    return viz.draw(lstm_cell())


def named(drawing: Drawing) -> dict[str, tuple[float, float]]:
    names = labels(drawing.model)
    return {names[ident]: place for ident, place in drawing.layout.nodes.items()}


def test_the_long_term_memory_is_one_straight_line_along_the_top(cell: Drawing) -> None:
    line = [
        (number, edge) for number, edge in enumerate(cell.model.edges) if edge.role == LONG
    ]
    top = cell.layout.nodes[next(n.id for n in cell.model.nodes if n.name == "c_{t-1}")][1]
    for number, edge in line:
        if labels(cell.model)[edge.head] != "short-term memory/tanh":
            route = cell.layout.edges[number]
            assert {y for _, y in (*route.points, route.tip)} == {top}
    names = labels(cell.model)
    assert all(y >= top for ident, (_, y) in cell.layout.nodes.items() if names[ident])


def test_the_short_term_memory_runs_below_the_gates(cell: Drawing) -> None:
    places = named(cell)
    assert places["h_{t-1} (input)"][1] == places["h_t (output)"][1]
    assert places["h_{t-1} (input)"][1] > places["forget gate/ANN"][1]


def test_forget_input_and_output_gate_stand_from_left_to_right(cell: Drawing) -> None:
    places = named(cell)
    gates = ["forget gate/σ", "input gate/σ", "candidate/tanh", "output gate/σ"]
    columns = [places[gate][0] for gate in gates]
    assert columns == sorted(columns)
    assert len({places[gate][1] for gate in gates}) == 1
    ends = (places["x_t (input)"][0], places["y_t (output)"][0])
    assert ends[0] < min(columns) and max(columns) < ends[1]


def test_the_cell_is_readable_at_1200_pixels(cell: Drawing) -> None:
    smallest = min(line.size for figure in cell._figures.values() for line in figure.lines)
    assert smallest * 1200 / cell.layout.width >= 10


def overlaps(drawing: Drawing) -> list[tuple[str, str]]:
    """Pairs of nodes or captions that cover each other."""
    boxes: list[tuple[str, float, float, float, float]] = []
    for ident, (x, y) in drawing.layout.nodes.items():
        figure = drawing._figures[ident]
        w, h = figure.width / 2, figure.height / 2
        boxes.append((ident, x - w, y - h, x + w, y + h))
        place = drawing.layout.beside.get(ident)
        if place is not None:
            width, height = block_size(figure.beside)
            left = place.x - {"start": 0, "middle": width / 2, "end": width}[place.anchor]
            boxes.append((ident + " text", left, place.y, left + width, place.y + height))
    return [
        (a[0], b[0])
        for a, b in itertools.combinations(boxes, 2)
        if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]
    ]


def crossed_texts(drawing: Drawing) -> list[str]:
    """Captions that a wire runs through."""
    crossed: list[str] = []
    for ident, place in drawing.layout.beside.items():
        width, height = block_size(drawing._figures[ident].beside)
        left = place.x - {"start": 0, "middle": width / 2, "end": width}[place.anchor]
        for route in drawing.layout.edges.values():
            points = (*route.points, route.tip)
            for (x0, y0), (x1, y1) in itertools.pairwise(points):
                for k in range(21):
                    x, y = x0 + (x1 - x0) * k / 20, y0 + (y1 - y0) * k / 20
                    if left < x < left + width and place.y < y < place.y + height:
                        crossed.append(ident)
    return crossed


def part(name: str) -> tg.Tensor:
    """A tensor inside an LSTM cell."""
    pending = [*lstm_cell()]
    while pending:
        t = pending.pop()
        if t.name == name:
            return t
        pending += list(t.node.inputs) if t.node is not None else []
    raise KeyError(name)


CELLS = {
    "forget gate": lambda: part("f_t"),
    "input gate and candidate": lambda: [part("i_t"), part("g_t")],
    "long-term memory": lambda: part("c_t"),
    "output gate": lambda: part("o_t"),
    "lstm": lstm_cell,
    "peephole": lambda: lstm_cell(peephole=True),
    "gru": lambda: tg.nn.GRUCell(3, 4, rng=0)([[1.0, 2.0, 3.0]]),
    "rnn": lambda: tg.nn.RNNCell(3, 4, nonlinearity="relu", rng=0)([[1.0, 2.0, 3.0]]),
    "projection": lambda: sequence(steps=1, proj_size=2),
    "sequence": lambda: sequence(num_layers=2),
    "bidirectional": lambda: sequence(bidirectional=True),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("overlay", [False, True])
def test_nothing_covers_anything_else_and_no_text_stands_on_a_line(
    name: str, overlay: bool
) -> None:
    drawing = viz.draw(CELLS[name](), values=overlay, grads=overlay)
    assert drawing._cells is not None
    assert overlaps(drawing) == []
    assert crossed_texts(drawing) == []


@pytest.mark.parametrize("name", CELLS)
def test_every_edge_starts_at_its_tail_and_ends_at_its_head(name: str) -> None:
    drawing = viz.draw(CELLS[name]())
    for number, edge in enumerate(drawing.model.edges):
        route = drawing.layout.edges[number]
        for ident, (x, y) in ((edge.tail, route.points[0]), (edge.head, route.tip)):
            figure, (cx, cy) = drawing._figures[ident], drawing.layout.nodes[ident]
            outside = max(abs(x - cx) - figure.width / 2, abs(y - cy) - figure.height / 2)
            assert outside < 1.5, (edge, ident, outside)
            assert math.isfinite(x + y)


def test_a_part_of_a_cell_is_drawn_as_it_is_in_the_whole() -> None:
    drawing = viz.draw(part("c_t"))
    places = named(drawing)
    assert places["forget gate/σ"][0] < places["input gate/σ"][0] < places["candidate/tanh"][0]
    assert places["c_{t-1} (input)"][1] == places["long-term memory/+"][1]
    assert "output gate/σ" not in places and len(drawing.model.nodes) == 13


def test_steps_stand_in_a_row_and_layers_on_each_other() -> None:
    drawing = viz.draw(sequence(num_layers=2))
    rects = {c.path: drawing.layout.clusters[c.id] for c in drawing.model.clusters}
    rows = [[rects[f"LSTM/layer {k}/t={t}"] for t in range(3)] for k in range(2)]
    for row in rows:
        assert len({rect.y for rect in row}) == 1
        assert row[0].right < row[1].x and row[1].right < row[2].x
    assert rows[1][0].bottom < rows[0][0].y
    assert [r.x for r in rows[0]] == [r.x for r in rows[1]]


def test_one_open_step_stands_among_folded_ones() -> None:
    drawing = viz.draw(sequence(steps=4), view="cells", open="t=2")
    memory = [
        number
        for number, edge in enumerate(drawing.model.edges)
        if edge.role == LONG and edge.name in ("c_t", "c_{t-1}", "c_n")
    ]
    tails = {drawing.layout.edges[n].points[0][1] for n in memory}
    assert len(tails) == 1
