"""The gates view of a cell is the textbook's picture: these nodes, clusters and edges alone."""

from __future__ import annotations

from collections import Counter

import pytest
from pictures import contents, edges, labels, lstm_cell, sequence

import tinygrad_lstm as tg
import viz

IN, OUT = "(input)", "(output)"
LONG, SHORT = "long-term memory", "short-term memory"

TEXTBOOK = sorted(
    [
        (f"c_{{t-1}} {IN}", f"{LONG}/⊙"),
        ("forget gate/σ", f"{LONG}/⊙"),
        ("input gate/σ", f"{LONG}/⊙"),
        ("candidate/tanh", f"{LONG}/⊙"),
        (f"{LONG}/⊙", f"{LONG}/+"),
        (f"{LONG}/⊙", f"{LONG}/+"),
        (f"{LONG}/+", f"c_t {OUT}"),
        (f"{LONG}/+", f"{SHORT}/tanh"),
        (f"{SHORT}/tanh", f"{SHORT}/⊙"),
        ("output gate/σ", f"{SHORT}/⊙"),
        (f"{SHORT}/⊙", f"h_t {OUT}"),
        (f"{SHORT}/⊙", f"y_t {OUT}"),
        ("forget gate/ANN", "forget gate/σ"),
        ("input gate/ANN", "input gate/σ"),
        ("candidate/ANN", "candidate/tanh"),
        ("output gate/ANN", "output gate/σ"),
        *(
            (f"{value} {IN}", f"{gate}/ANN")
            for value in ("h_{t-1}", "x_t")
            for gate in ("forget gate", "input gate", "candidate", "output gate")
        ),
    ]
)


@pytest.fixture(scope="module")
def model() -> viz.Model:
    return viz.draw(lstm_cell()).model


def test_gates_is_the_view_of_a_graph_with_gates(model: viz.Model) -> None:
    assert model.view == "gates"
    assert model.title == "LSTMCell"


def test_an_lstm_cell_has_the_textbooks_clusters_and_nothing_else_in_them(
    model: viz.Model,
) -> None:
    assert contents(model) == {
        "forget gate": ["ANN", "σ"],
        "input gate": ["ANN", "σ"],
        "candidate": ["ANN", "tanh"],
        "output gate": ["ANN", "σ"],
        LONG: ["+", "⊙", "⊙"],
        SHORT: ["tanh", "⊙"],
    }


def test_an_lstm_cell_has_three_terminals_in_and_three_out(model: viz.Model) -> None:
    terminals = {(n.name, n.kind, n.caption) for n in model.members(None)}
    assert terminals == {
        ("c_{t-1}", "input", LONG),
        ("h_{t-1}", "input", SHORT),
        ("x_t", "input", "input feature"),
        ("c_t", "output", LONG),
        ("h_t", "output", SHORT),
        ("y_t", "output", "output"),
    }
    assert len(model.nodes) == 19


def test_an_lstm_cell_has_the_textbooks_edges(model: viz.Model) -> None:
    assert edges(model) == TEXTBOOK


def test_what_is_forgotten_and_what_is_written_are_told_apart(model: viz.Model) -> None:
    names = labels(model)
    into = {
        node.id: sorted(names[e.tail] for e in model.edges if e.head == node.id)
        for node in model.nodes
        if node.symbol == "⊙" and names[node.id].startswith(LONG)
    }
    assert sorted(into.values()) == [
        ["c_{t-1} (input)", "forget gate/σ"],
        ["candidate/tanh", "input gate/σ"],
    ]


def test_gates_carry_their_names_and_every_node_its_shape(model: viz.Model) -> None:
    named = {labels(model)[n.id]: n.name for n in model.nodes if n.name and n.cluster}
    assert named == {
        "forget gate/σ": "f_t",
        "input gate/σ": "i_t",
        "candidate/tanh": "g_t",
        "output gate/σ": "o_t",
        f"{LONG}/+": "c_t",
        f"{SHORT}/⊙": "h_t",
    }
    shapes = Counter(n.shape for n in model.nodes)
    assert shapes == {(2, 4): 18, (2, 3): 1}
    assert {n.dtype for n in model.nodes if n.kind == "input"} == {"float32"}


def test_an_ann_knows_which_weights_are_its_own(model: viz.Model) -> None:
    cluster = model.cluster_named("forget gate")
    (ann,) = (n for n in model.members(cluster) if n.symbol == "ANN")
    assert ann.parameters == ("W_{if}", "W_{hf}", "b_f")


def test_the_picture_is_the_same_whichever_output_is_drawn() -> None:
    h_t, c_t = lstm_cell()
    assert edges(viz.draw(h_t).model) == edges(viz.draw([c_t, h_t]).model) == TEXTBOOK


def test_peepholes_let_the_gates_see_the_memory() -> None:
    model = viz.draw(lstm_cell(peephole=True)).model
    assert contents(model)["forget gate"] == ["+", "ANN", "σ", "⊙"]
    into_peepholes = {e for e in edges(model) if e[1].endswith("gate/⊙")}
    assert into_peepholes == {
        ("c_{t-1} (input)", "forget gate/⊙"),
        ("c_{t-1} (input)", "input gate/⊙"),
        ("long-term memory/+", "output gate/⊙"),
    }
    weights = [n.parameters for n in model.nodes if n.symbol == "⊙" and n.parameters]
    assert sorted(weights) == [("w_{cf}",), ("w_{ci}",), ("w_{co}",)]


def test_a_gru_cell_has_its_gates_and_a_number_in_an_op_is_part_of_it() -> None:
    h_t = tg.nn.GRUCell(3, 4, rng=0)([[1.0, 2.0, 3.0]])
    model = viz.draw(h_t).model
    assert contents(model) == {
        "reset gate": ["ANN", "σ"],
        "update gate": ["ANN", "σ"],
        "candidate": ["+", "ANN", "tanh", "⊙"],
        SHORT: ["+", "-", "⊙", "⊙"],
    }
    (rest,) = (n for n in model.nodes if n.op == "sub")
    assert rest.operands == ("1", None)
    assert {n.name for n in model.nodes if n.kind == "output"} == {"h_t", "y_t"}


def test_an_rnn_cell_is_an_ann_and_an_activation() -> None:
    model = viz.draw(tg.nn.RNNCell(3, 4, rng=0)([1.0, 2.0, 3.0])).model
    assert contents(model) == {SHORT: ["ANN", "tanh"]}
    assert len(model.edges) == 5


def test_a_projection_stands_between_the_output_and_the_short_term_memory() -> None:
    model = viz.draw(sequence(steps=1, proj_size=2)).model
    (projection,) = (n for n in model.nodes if n.op == "matmul")
    assert (projection.name, projection.shape) == ("h_t", (2, 2))
    assert projection.parameters == ("W_{hr}",)


def test_states_of_ones_own_choosing_keep_their_names() -> None:
    cell = tg.nn.LSTMCell(2, 3, rng=0)
    state = tg.tensor([0.1] * 3, name="speech"), tg.tensor([0.2] * 3, name="mind")
    drawing = viz.draw(cell(tg.tensor([1.0, 2.0], name="word"), state))
    inputs = {n.name for n in drawing.model.nodes if n.kind == "input"}
    assert inputs == {"speech", "mind", "word"}
    assert {e.role for e in drawing.model.edges if e.name == "mind"} == {LONG}


def test_what_the_output_is_used_for_takes_the_place_of_its_terminal() -> None:
    h_t, _ = lstm_cell()
    head = tg.nn.Linear(4, 1, rng=0)
    model = viz.draw(head(h_t)).model
    assert "y_t" not in {n.name for n in model.nodes}
    assert (f"{SHORT}/⊙", "Linear (box)") in edges(model)
