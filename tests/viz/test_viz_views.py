"""Levels of detail: which scopes are folded, and what each view leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import contents, edges, lstm_cell, scalar_graph, sequence

import tinygrad_lstm as tg
import viz


def test_a_small_scalar_graph_is_drawn_op_by_op() -> None:
    model = viz.draw(scalar_graph()["L"]).model
    assert model.view == "ops"
    assert [(n.name, n.symbol) for n in model.nodes if n.kind == "op"] == [
        ("e", "⊙"),
        ("d", "+"),
        ("L", "⊙"),
    ]
    found = {(model.node(e.tail).name, model.node(e.head).name) for e in model.edges}
    assert found == {("a", "e"), ("b", "e"), ("e", "d"), ("c", "d"), ("d", "L"), ("f", "L")}
    assert [n.name for n in model.nodes if n.is_output] == ["L"]


def test_a_value_used_twice_has_two_edges_in_the_order_of_the_operands() -> None:
    x = tg.tensor(3.0, name="x")
    model = viz.draw((x - 2.0) * x).model
    positions = {
        e.position: model.node(e.tail).kind for e in model.edges if model.node(e.head).symbol == "⊙"
    }
    assert positions == {0: "op", 1: "input"}
    square = viz.draw(x * x).model
    assert [(e.tail, e.position) for e in square.edges] == [("t0", 0), ("t0", 1)]


def test_constants_are_nodes_in_ops_and_part_of_the_op_otherwise() -> None:
    z = tg.tensor([1.0, 2.0], name="z")
    ops = viz.draw(1.0 - z, view="ops").model
    assert [n.symbol for n in ops.nodes if n.kind == "constant"] == ["1"]
    gates = viz.draw(1.0 - z, view="gates").model
    assert [(n.symbol, n.operands) for n in gates.nodes if n.kind == "op"] == [("-", ("1", None))]


def test_ops_shows_every_matmul_and_each_gates_own_weights() -> None:
    model = viz.draw(lstm_cell(), view="ops").model
    anns = [c for c in model.clusters if c.name == "ANN"]
    weights = {c.path: sorted(n.name or "" for n in model.members(c) if n.kind == "parameter")
               for c in anns}  # fmt: skip
    assert weights["LSTMCell/forget gate/ANN"] == ["W_{hf}", "W_{if}", "b_f"]
    assert len(weights) == 4
    assert sum(n.symbol == "@" for n in model.nodes) == 8
    assert not any(n.shared for n in model.nodes)


def test_a_parameter_used_in_several_scopes_is_drawn_in_each_and_marked_as_shared() -> None:
    weight = tg.Parameter(np.ones((2, 2), "f4"), name="W")
    x = tg.tensor([[1.0, 2.0]], name="x")
    with tg.scope("first"):
        a = x @ weight
    with tg.scope("second"):
        b = a @ weight
    model = viz.draw(b).model
    drawn = [n for n in model.nodes if n.name == "W"]
    assert len(drawn) == 2 and all(n.shared for n in drawn)
    assert len({n.cluster for n in drawn}) == 2
    assert len({n.id for n in drawn}) == 2


def test_weights_that_are_computed_are_no_weights_of_an_ann() -> None:
    weight = tg.Parameter(np.ones((2, 2), "f4"), name="W")
    x = tg.tensor([[1.0, 2.0]], name="x")
    penalty = (weight * weight).sum()
    model = viz.draw((x @ weight).sum() + penalty, view="ops").model
    assert sorted(n.symbol for n in model.nodes if n.kind == "op") == ["+", "@", "Σ", "Σ", "⊙"]


def test_an_expression_of_parameters_that_is_asked_for_is_shown() -> None:
    weight = tg.Parameter(np.ones((2, 3), "f4"), name="W")
    model = viz.draw(weight.T).model
    assert [(n.kind, n.symbol or n.name) for n in model.nodes] == [("op", "⊤"), ("parameter", "W")]


# -- folding --------------------------------------------------------------------------------------


def test_opening_one_ann_leaves_the_others_folded() -> None:
    model = viz.draw(lstm_cell(), open="*/forget gate/ANN").model
    found = contents(model)
    assert found["ANN"] == ["+", "+", "@", "@"]
    assert found["forget gate"] == ["σ"]
    assert found["input gate"] == ["ANN", "σ"]


def test_opening_every_ann_by_name_shows_their_ops() -> None:
    model = viz.draw(lstm_cell(), open="ANN").model
    assert not any(n.kind == "box" for n in model.nodes)


def test_a_folded_scope_is_one_box_named_after_it_that_gives_what_the_scope_gave() -> None:
    model = viz.draw(lstm_cell(), fold=["forget gate", "long-term memory"]).model
    boxes = {n.symbol: n for n in model.nodes if n.kind == "box"}
    assert boxes["forget gate"].name == "f_t"
    assert boxes["forget gate"].parameters == ("W_{if}", "W_{hf}", "b_f")
    assert ("forget gate (box)", "long-term memory (box)") in [
        (f"{model.node(e.tail).symbol} (box)", f"{model.node(e.head).symbol} (box)")
        for e in model.edges
    ]
    assert "forget gate" not in contents(model)


def test_folding_everything_leaves_one_box() -> None:
    model = viz.draw(lstm_cell(), fold="LSTMCell").model
    assert [n.symbol for n in model.nodes if n.kind == "box"] == ["LSTMCell"]


def test_cells_folds_each_step_and_open_shows_one_of_them() -> None:
    folded = viz.draw(sequence(), view="cells").model
    assert [n.symbol for n in folded.nodes if n.kind == "box"] == ["t=0", "t=1", "t=2"]
    opened = viz.draw(sequence(), view="cells", open="t=1").model
    boxes = [n.symbol for n in opened.nodes if n.kind == "box"]
    assert boxes == ["t=0", "ANN", "ANN", "ANN", "ANN", "t=2"]


def test_two_calls_of_one_cell_are_two_cells() -> None:
    cell = tg.nn.LSTMCell(3, 3, rng=0)
    x = tg.tensor([[1.0, 2.0, 3.0]], name="x")
    h, c = cell(x)
    model = viz.draw(cell(h, (h, c))[0], view="cells").model
    assert [n.symbol for n in model.nodes if n.kind == "box"] == ["LSTMCell", "LSTMCell"]


def test_a_pattern_that_matches_nothing_lists_the_scopes_there_are() -> None:
    with pytest.raises(ValueError, match=r"fold: no scope matches 'forgot gate'.*forget gate"):
        viz.draw(lstm_cell(), fold="forgot gate")
    with pytest.raises(ValueError, match=r"open: no scope matches .* nothing was recorded"):
        viz.draw(scalar_graph()["L"], open="x")
    with pytest.raises(TypeError, match="fold: expected scope names"):
        viz.draw(lstm_cell(), fold=[3])  # type: ignore[list-item]


# -- sequences ------------------------------------------------------------------------------------


def test_steps_pass_their_states_on_and_layers_their_outputs() -> None:
    model = viz.draw(sequence(num_layers=2), view="cells").model
    scopes = {c.id: c.name for c in model.clusters}
    found = {
        (f"{scopes[a.cluster]} {a.symbol}", f"{scopes[b.cluster]} {b.symbol}", e.role)
        for e in model.edges
        if (a := model.node(e.tail)).kind == "box" == (b := model.node(e.head)).kind
        and a.cluster and b.cluster
    }  # fmt: skip
    states = {
        (f"layer {k} t={t}", f"layer {k} t={t + 1}", f"{length}-term memory")
        for k in range(2)
        for t in range(2)
        for length in ("long", "short")
    }
    upwards = {(f"layer 0 t={t}", f"layer 1 t={t}", "input feature") for t in range(3)}
    assert found == states | upwards


def test_a_sequence_takes_its_slices_and_gives_its_outputs_one_by_one() -> None:
    layer = tg.nn.LSTM(3, 4, rng=0)
    x = tg.tensor(np.ones((3, 2, 3), "f4"), name="x")
    y, (h_n, c_n) = layer(x, unroll=True)
    model = viz.draw([y, h_n, c_n]).model
    slices = [(n.name, n.origin) for n in model.nodes if n.name == "x_t"]
    assert slices == [("x_t", "x[0]"), ("x_t", "x[1]"), ("x_t", "x[2]")]
    outputs = [n.name for n in model.nodes if n.kind == "output"]
    assert outputs == ["y[0]", "y[1]", "y[2]", "h_n", "c_n"]
    assert not any(n.op in ("stack", "getitem") for n in model.nodes)


def test_ops_keeps_the_stacks_and_slices_of_a_sequence() -> None:
    model = viz.draw(sequence(), view="ops").model
    symbols = [n.op for n in model.nodes]
    assert symbols.count("stack") == 3 and symbols.count("getitem") == 5


def test_sequences_of_different_lengths_end_in_one_state_and_an_output_a_step() -> None:
    layer = tg.nn.LSTM(3, 4, rng=0)
    model = viz.draw(layer(np.ones((3, 2, 3), "f4"), lengths=[3, 2], unroll=True)).model
    outputs = [n.name for n in model.nodes if n.kind == "output"]
    assert outputs == ["y[0]", "y[1]", "y[2]", "h_n", "c_n"]


def test_a_bidirectional_layer_ends_in_what_joins_its_directions() -> None:
    model = viz.draw(sequence(bidirectional=True)[0], view="cells").model
    assert ("layer 0/stack", "concat") in {
        (a, b.split(" ")[0].replace("y", "concat")) for a, b in edges(model)
    }
    assert len([n for n in model.nodes if n.kind == "box"]) == 6


def test_a_model_around_a_layer_is_drawn_around_it() -> None:
    class Forecaster(tg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = tg.nn.LSTM(3, 4, rng=0)
            self.head = tg.nn.Linear(4, 1, rng=0)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return self.head(self.lstm(x, unroll=True)[0][-1])

    x = tg.tensor(np.ones((3, 2, 3), "f4"), name="x")
    drawing = viz.draw(tg.nn.mse_loss(Forecaster()(x), np.zeros((2, 1), "f4")), view="cells")
    assert drawing._cells is not None
    boxes = [n.symbol for n in drawing.model.nodes if n.kind == "box"]
    assert boxes == ["t=0", "t=1", "t=2", "head", "mean squared error"]
    paths = {c.path for c in drawing.model.clusters}
    assert paths == {"Forecaster", "Forecaster/lstm"}
    outer = {c.path: drawing.layout.clusters[c.id] for c in drawing.model.clusters}
    x_of = {n.symbol: drawing.layout.nodes[n.id][0] for n in drawing.model.nodes}
    assert outer["Forecaster"].x < x_of["head"] < outer["Forecaster"].right
    assert outer["Forecaster/lstm"].right < x_of["head"] < x_of["mean squared error"]


def test_any_cell_of_ones_own_can_be_drawn() -> None:
    x, h = tg.tensor([[1.0, 2.0]], name="x_t"), tg.tensor([[0.5, 0.5]], name="h_{t-1}")
    weight = tg.Parameter(np.eye(2, dtype="f4"), name="W")
    with tg.scope("my cell"):
        with tg.scope("leak gate"):
            with tg.scope("ANN"):
                a = x @ weight
            k = tg.sigmoid(a).named("k_t")
        h = (k * h + 1.0).named("h_t")
    drawing = viz.draw(h)
    assert drawing.model.title == "my cell"
    assert contents(drawing.model) == {"leak gate": ["ANN", "σ"]}
    assert "leak gate" in drawing.svg
