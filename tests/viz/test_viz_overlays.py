"""Values and gradients on a picture are the engine's; the backward graph is the recorded one."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import contents, labels, lstm_cell, rng, scalar_graph, texts

import tinygrad_lstm as tg
import viz
from viz.model import Summary
from viz.roles import LONG_TERM


def test_a_scalar_graph_shows_its_values_and_gradients() -> None:
    graph = scalar_graph()
    drawing = viz.draw(graph["L"], values=True, grads=True)
    shown = {
        n.name: (n.value.mean, n.grad.mean)
        for n in drawing.model.nodes
        if n.value is not None and n.grad is not None
    }
    assert shown == {  # worked out by hand: L = (ab + c) f
        "a": (2, 6), "b": (-3, -4), "c": (10, -2), "f": (-2, 4),
        "e": (-6, -2), "d": (4, -2), "L": (-8, 1),
    }  # fmt: skip
    assert all(t.grad is None for t in graph.values())


def test_gradients_are_there_before_and_after_backward_and_are_not_its() -> None:
    graph = scalar_graph()
    before = viz.draw(graph["L"], grads=True).svg
    (graph["L"] * 100.0).backward()
    assert viz.draw(graph["L"], grads=True).svg == before
    assert graph["a"].grad is not None and graph["a"].grad.item() == 600


def expected(array: np.ndarray) -> tuple[float, float, float]:
    return float(array.mean()), float(array.min()), float(array.max())


def seen(summary: Summary | None) -> tuple[float, float, float]:
    assert summary is not None
    return summary.mean, summary.low, summary.high


def test_the_gradients_in_a_cell_are_those_of_grad() -> None:
    h_t, c_t = lstm_cell()
    model = viz.draw([h_t, c_t], values=True, grads=True).model
    found: dict[str, tg.Tensor] = {}
    pending = [h_t, c_t]
    while pending:
        t = pending.pop()
        if t.name in ("f_t", "i_t", "g_t", "o_t", "c_t", "h_t"):
            found[t.name] = t
        pending += list(t.node.inputs) if t.node is not None else []
    ones = [np.ones((2, 4), "f4")] * 2
    gradients = tg.grad([h_t, c_t], list(found.values()), ones)
    by_name = {n.name: n for n in model.nodes if n.kind == "op" and n.name}
    for (name, t), g in zip(found.items(), gradients, strict=True):
        assert seen(by_name[name].value) == pytest.approx(expected(t.data), rel=1e-5)
        assert seen(by_name[name].grad) == pytest.approx(expected(g.data), rel=1e-5)


def test_a_cotangent_of_ones_own_is_where_the_gradient_starts() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True, name="x")
    model = viz.draw((x * 2.0).named("y"), grads=True, grad_outputs=np.array([1.0, 0.0, 5.0])).model
    grad = next(n.grad for n in model.nodes if n.name == "x")
    assert grad is not None and grad.elements == (2, 0, 10)


def test_what_gets_no_gradient_shows_none_and_not_zero() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    data = tg.tensor([3.0, 4.0], name="data")
    model = viz.draw((x * data).named("y"), grads=True).model
    grads = {n.name: n.grad for n in model.nodes}
    assert grads["data"] is None
    assert grads["x"] is not None and grads["x"].elements == (3, 4)


def test_a_picture_without_anything_to_differentiate_says_so() -> None:
    y = tg.tensor([1.0]) * 2.0
    with pytest.raises(tg.GraphError, match="nothing drawn requires a gradient"):
        viz.draw(y, grads=True)
    with pytest.raises(tg.GraphError, match="nothing drawn requires a gradient"):
        viz.draw(y, backward=True)
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="grad_outputs: 2 given for 1"):
        viz.draw(x * 2.0, grads=True, grad_outputs=[np.ones(1), np.ones(1)])


def test_few_elements_are_written_out_and_many_as_mean_and_range() -> None:
    few = viz.draw(tg.tensor([1.0, -2.0, 0.5]).named("x") * 1.0, values=True)
    assert any("[1, −2, 0.5]" in text for text in texts_of(few))
    many = viz.draw((tg.tensor(np.arange(9.0)) * 1.0).named("y"), values=True)
    assert {"mean 4", "0 to 8"} <= set(texts_of(many))
    same = viz.draw((tg.tensor(np.ones(9)) * 1.0).named("y"), values=True)
    assert "all 1" in texts_of(same)
    empty = viz.draw((tg.tensor(np.ones((0, 3))) * 1.0).named("y"), values=True)
    assert "(0, 3)" in texts_of(empty)


def test_infinities_and_nans_are_shown_as_such() -> None:
    wild = tg.tensor([np.nan, np.inf, -np.inf], name="wild")
    assert any("[NaN, ∞, −∞]" in text for text in texts_of(viz.draw([wild], values=True)))


def texts_of(drawing: viz.Drawing) -> list[str]:
    import xml.etree.ElementTree as ET

    return texts(ET.fromstring(drawing.svg))


# -- the backward graph ---------------------------------------------------------------------------


def test_the_backward_graph_of_a_product_is_two_products() -> None:
    a = tg.tensor(2.0, requires_grad=True, name="a")
    b = tg.tensor(3.0, requires_grad=True, name="b")
    model = viz.draw((a * b).named("L"), backward=True, values=True).model
    backward = {n.name: n for n in model.nodes if n.is_backward}
    assert set(backward) == {"∂L/∂L", "∂L/∂a", "∂L/∂b"}
    values = {k: n.value.mean for k, n in backward.items() if n.value is not None}
    assert values == {"∂L/∂L": 1, "∂L/∂a": 3, "∂L/∂b": 2}
    sources = {model.node(e.tail).name for e in model.edges if e.head == backward["∂L/∂a"].id}
    assert sources == {"∂L/∂L", "b"}


def test_backward_ops_stand_in_the_scopes_of_their_forward_ops() -> None:
    model = viz.draw(lstm_cell(), backward=True).model
    names = labels(model)
    backward = sorted(names[n.id] for n in model.nodes if n.is_backward and n.cluster)
    assert backward == sorted(
        [
            "forget gate/ANN", "input gate/ANN", "candidate/ANN", "output gate/ANN",
            "forget gate/σ", "input gate/σ", "candidate/tanh", "output gate/σ",
            "long-term memory/⊙", "long-term memory/⊙",
            "short-term memory/tanh", "short-term memory/⊙",
        ]
    )  # fmt: skip
    forward = viz.draw(lstm_cell()).model
    alike = [n for n in model.nodes if not n.is_backward]
    assert sorted(n.symbol for n in alike) == sorted(n.symbol for n in forward.nodes)
    assert contents(forward).keys() == contents(model).keys()


def test_the_gradient_flows_back_along_the_memory() -> None:
    model = viz.draw(lstm_cell(), backward=True).model
    names = labels(model)
    flow = {
        (names[e.tail], names[e.head])
        for e in model.edges
        if model.node(e.tail).is_backward and model.node(e.head).is_backward
    }
    assert ("short-term memory/⊙", "short-term memory/tanh") in flow
    assert ("short-term memory/⊙", "output gate/σ") in flow
    assert ("short-term memory/tanh", "long-term memory/⊙") in flow
    assert ("long-term memory/⊙", "forget gate/σ") in flow
    assert ("forget gate/σ", "forget gate/ANN") in flow


def states_with_gradients() -> tuple[tg.Tensor, tg.Tensor]:
    """h_t and c_t of a cell whose inputs all require a gradient."""

    def given(name: str, width: int) -> tg.Tensor:
        return tg.tensor(rng().normal(size=(2, width)), name=name, requires_grad=True)

    cell = tg.nn.LSTMCell(3, 4, rng=0, dtype="float64")
    return cell(given("x_t", 3), (given("h_{t-1}", 4), given("c_{t-1}", 4)))


def test_rules_name_the_forward_values_they_read_from_elsewhere() -> None:
    model = viz.draw(states_with_gradients(), backward=True).model
    names = labels(model)
    reads = {names[n.id]: n.reads for n in model.nodes if n.is_backward and n.reads}
    assert reads["short-term memory/⊙"] == ("o_t",)
    assert reads["forget gate/ANN"] == ("h_{t-1}", "x_t")
    products = [n.reads for n in model.nodes if n.is_backward and names[n.id] == f"{LONG_TERM}/⊙"]
    assert sorted(map(sorted, products)) == [["c_{t-1}", "f_t"], ["g_t", "i_t"]]
    for edge in model.edges:  # what is left stays within a part of the cell
        tail, head = model.node(edge.tail), model.node(edge.head)
        if head.is_backward and not tail.is_backward:
            assert tail.cluster == head.cluster


def test_gradients_of_what_goes_in_leave_the_picture_by_name() -> None:
    model = viz.draw(states_with_gradients(), backward=True).model
    ends = {n.name: n for n in model.nodes if n.kind == "output" and n.is_backward}
    assert set(ends) == {"∂c_{t-1}", "∂h_{t-1}", "∂x_t"}
    assert ends["∂x_t"].shape == (2, 3)
    (edge,) = [e for e in model.edges if e.head == ends["∂c_{t-1}"].id]
    assert labels(model)[edge.tail] == f"{LONG_TERM}/⊙"
    assert not edge.labelled  # the terminal says it
    arrived = viz.draw(states_with_gradients(), backward=True, values=True).model
    h_t, c_t = states_with_gradients()
    before = next(t for t in arrived.nodes if t.name == "∂c_{t-1}")
    leaf = next(n for n in viz.draw((h_t, c_t), grads=True).model.nodes if n.name == "c_{t-1}")
    assert before.value is not None and leaf.grad is not None
    assert before.value.mean == pytest.approx(leaf.grad.mean)


def test_gradients_that_go_from_one_rule_to_another_take_one_edge() -> None:
    model = viz.draw(states_with_gradients(), backward=True).model
    ways = [(e.tail, e.head) for e in model.edges if model.node(e.tail).is_backward]
    assert len(ways) == len(set(ways))


def test_the_ops_of_a_backward_graph_can_be_drawn_one_by_one() -> None:
    model = viz.draw(lstm_cell(), backward=True, view="ops").model
    backward = [n for n in model.nodes if n.is_backward and n.kind == "op"]
    assert len(backward) > 40
    assert {"∂weight_ih", "∂bias_hh"} <= {n.name for n in backward}


def test_backward_parts_look_different() -> None:
    drawing = viz.draw(scalar_graph()["L"], backward=True)
    assert 'class="node op backward"' in drawing.svg
    assert "stroke-dasharray" in drawing.svg
    assert "stroke-dasharray" not in viz.draw(scalar_graph()["L"]).svg


def test_loops_in_one_scope_keep_the_rules_of_each_step_apart() -> None:
    x = tg.tensor([0.5, 1.5], requires_grad=True, name="x")
    y = x
    for _ in range(3):
        y = tg.tanh(y)
    model = viz.draw(y.sum(), backward=True, view="gates").model
    assert sum(n.is_backward and n.op == "mul" for n in model.nodes) == 6
