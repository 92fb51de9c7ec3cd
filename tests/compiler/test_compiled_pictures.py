"""A compiled scan to be seen: one box in every picture, and advice where gates are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_ways import leaves_of, loss_of
from user_cells import I, case, tensors

import tinygrad_lstm as tg
import viz
from tinygrad_lstm import GraphError, Tensor, nn
from viz import Model, plots

VIEWS = ["gates", "ops", "cells"]


def made(name: str, **options: Any) -> tuple[Tensor, list[Tensor]]:
    """A loss of a compiled cell's results, and these."""
    step, carry, _ = case(name)
    x = tg.tensor(np.ones((4, 3, I)), requires_grad=True, name="x")
    final, ys = tg.scan(step, tensors(carry, 3), x, unroll=False, **options)
    outputs = leaves_of(final, ys)
    return loss_of(outputs), outputs


def layer(kind: Any = nn.LSTM, **options: Any) -> list[Tensor]:
    """What a compiled layer gives for five steps: y, h_n and, if there is one, c_n."""
    x = tg.tensor(np.ones((5, 2, 3), np.float32), name="x")
    y, states = kind(3, 4, rng=0, **options)(x, unroll=False)
    return [y, *states] if isinstance(states, tuple) else [y, states]


def scans(model: Model) -> list[viz.model.Node]:
    return [node for node in model.nodes if node.symbol == "scan" and not node.is_backward]


def leaving(model: Model, ident: str) -> list[tuple[str | None, str]]:
    """The labels on the edges from a node, and what these lead to."""
    edges = [edge for edge in model.edges if edge.tail == ident and not edge.is_backward]
    assert all(edge.labelled for edge in edges)
    heads = [model.node(edge.head) for edge in edges]
    return [(edge.name, head.name or head.symbol) for edge, head in zip(edges, heads, strict=True)]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("overlay", [{}, {"values": True, "grads": True}, {"backward": True}])
def test_every_view_and_overlay_draws_one_box(view: str, overlay: dict[str, Any]):
    loss, outputs = made("lstm", lengths=[4, 2, 0])
    for drawn in (loss, outputs):
        picture = viz.draw(drawn, view=view, **overlay)
        (scan,) = scans(picture.model)
        assert scan.kind == "box" and scan.caption == "4 steps"
        assert not any(node.op == "part" for node in picture.model.nodes)
        assert len(picture.model.nodes) < 80  # not the ops of every step, nor of their backward
        assert "4 steps" in picture.svg


@pytest.mark.parametrize("view", VIEWS)
def test_a_layers_results_leave_its_box_by_name(view: str):
    model = viz.draw(layer(), view=view).model
    (scan,) = scans(model)
    assert scan.caption == "LSTM, 5 steps"
    assert model.cluster_named("LSTM").id == scan.cluster
    assert sorted(leaving(model, scan.id), key=str) == [("c_n", "c_n"), ("h_n", "h_n"), ("y", "y")]


def test_results_over_time_have_the_names_of_the_step():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        f_t = tg.sigmoid(x).named("f_t")
        h_t = (f_t * h).named("h_t")
        return h_t, (h_t, f_t, h_t * 2.0)

    last, ys = tg.scan(step, np.ones(3), np.ones((4, 3)), unroll=False)
    model = viz.draw([last, *ys]).model
    (scan,) = scans(model)
    assert [name for name, _ in leaving(model, scan.id)] == ["h_n", "y[0]", "f_t", "y[2]"]


@pytest.mark.parametrize("view", VIEWS)
def test_results_without_a_name_are_called_by_their_place(view: str):
    states = np.ones(3), np.ones(3)
    last, ys = tg.scan(lambda c, x: ((c[1], c[0] * x), (x + c[0], c[1])), states, np.ones((4, 3)))
    model = viz.draw([*last, *ys], view=view).model
    (scan,) = scans(model)
    names = ["carry[0]", "carry[1]", "y[0]", "y[1]"]
    assert leaving(model, scan.id) == [(name, name) for name in names]
    last, y = tg.scan(lambda h, x: (h * x, x + h), np.ones(3), np.ones((4, 3)))
    model = viz.draw([last, y], view=view).model
    assert leaving(model, scans(model)[0].id) == [("carry", "carry"), ("y", "y")]


def test_what_a_scan_starts_from_is_the_state_of_step_0():
    h = tg.tensor(np.ones((2, 4), np.float32), name="h_{t-1}")
    y, _ = nn.RNN(3, 4, rng=0)(np.ones((5, 2, 3), np.float32), h.unsqueeze(0))
    assert "h_{t-1}" in [node.name for node in viz.draw(y).model.nodes]  # not the scan's alone
    inputs = [node.name for node in viz.draw(layer(num_layers=2)).model.nodes]
    assert "h_0" in inputs and "c_0" in inputs and "h_{t-1}" not in inputs
    backward = viz.draw(layer()[0].sum(), backward=True).model
    assert {name for node in backward.nodes for name in node.reads} >= {"h_0", "c_0"}


def test_what_a_layer_reads_backwards_is_told():
    model = viz.draw(layer(bidirectional=True)).model
    inputs = [(n.name, n.caption) for n in model.nodes if n.kind == "input"]
    assert ("x", "input feature") in inputs and ("x[::-1]", "input feature") in inputs


@pytest.mark.parametrize("index", [np.array([2, 1, 0]), [1, 0], slice(1, 3), (slice(None), 0)])
def test_what_takes_a_part_of_an_input_is_drawn(index: Any):
    x = tg.tensor(np.ones((5, 2, 3), np.float32), name="x")
    for view in VIEWS:
        names = [n.name for n in viz.draw(nn.RNN(3, 4, rng=0)(x[index])[0], view=view).model.nodes]
        assert "x" in names and "x[::-1]" not in names


def test_a_step_may_be_drawn_while_it_is_compiled():
    seen: list[str] = []

    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(h * 2.0 + x)
        seen.append(viz.draw(h).svg)
        return h, h

    tg.scan(step, np.ones(3), np.ones((4, 3)))
    assert all("tanh" in svg for svg in seen) and len(seen) == 2


def test_layers_and_directions_are_boxes_of_their_own():
    for options, titles in (
        ({"num_layers": 2}, ["layer 0, 5 steps", "layer 1, 5 steps"]),
        ({"bidirectional": True}, ["layer 0, 5 steps", "layer 0 reverse, 5 steps"]),
    ):
        assert [scan.caption for scan in scans(viz.draw(layer(**options)).model)] == titles
    model = viz.draw(layer(num_layers=2)).model
    below, above = scans(model)
    assert ("y", above.symbol) in leaving(model, below.id)


def test_a_picture_of_a_loss_shows_the_box_among_its_ops():
    y, h_n, _ = layer()
    drawing = viz.draw((h_n[-1] * h_n[-1]).sum() + y.sum())
    (scan,) = scans(drawing.model)
    assert drawing.model.view == "gates"
    assert set(leaving(drawing.model, scan.id)) == {("h_n", "⊙"), ("y", "Σ")}
    assert "scan, LSTM, 5 steps" in drawing.svg  # to be read aloud


def test_it_takes_inputs_and_weights():
    weights = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    for view in VIEWS:
        model = viz.draw(layer(), view=view).model
        (scan,) = scans(model)
        feeding = [model.node(edge.tail).name for edge in model.edges if edge.head == scan.id]
        if view == "ops":
            assert feeding == ["h_0", "c_0", "x", *weights]
        else:
            assert feeding == ["h_0", "c_0", "x"]
            assert scan.parameters == ("W_{ih}", "W_{hh}", "b_{ih}", "b_{hh}")


def test_a_single_result_writes_its_value_and_gradient_on_the_box():
    h_0 = tg.tensor([1.0, 2.0], requires_grad=True, name="h_0")
    last, _ = tg.scan(lambda h, _: ((h * 2.0).named("h_t"), None), h_0, steps=3, unroll=False)
    model = viz.draw(last.sum(), values=True, grads=True).model
    (scan,) = scans(model)
    assert scan.value is not None and scan.value.elements == (8.0, 16.0)
    assert scan.grad is not None and scan.grad.elements == (1.0, 1.0)
    assert scan.name is None and leaving(model, scan.id) == [("h_n", "Σ")]


def test_the_results_that_were_asked_for_have_terminals_with_values():
    _, outputs = made("rnn")
    model = viz.draw(outputs, values=True, grads=True).model
    ends = [node for node in model.nodes if node.kind == "output"]
    assert len(ends) == 2 and all(node.value and node.grad for node in ends)
    (scan,) = scans(model)
    assert scan.value is None and scan.grad is None


@pytest.mark.parametrize("view", VIEWS)
def test_its_backward_is_one_box_too(view: str):
    h_0 = tg.tensor([1.0, 2.0], requires_grad=True, name="h_0")
    last, _ = tg.scan(lambda h, _: (tg.tanh(h * 2.0), None), h_0, steps=3, unroll=False)
    again, _ = tg.scan(lambda h, _: (tg.sin(h), None), last, steps=3, unroll=False)
    model = viz.draw(again.sum(), view=view, backward=True).model
    backward = [node for node in model.nodes if node.is_backward and node.symbol == "scan"]
    assert len(backward) == 2
    assert not any(node.symbol in ("tanh", "sin", "cos") for node in model.nodes)


def test_a_folded_scope_holds_it_like_anything_else():
    model = viz.draw(layer(), fold="LSTM").model
    assert not scans(model)
    (box,) = (node for node in model.nodes if node.kind == "box")
    assert box.symbol == "LSTM"


def test_a_notebook_shows_it():
    y, *_ = layer()
    assert "LSTM, 5 steps" in y._repr_mimebundle_()["image/svg+xml"]


# -- what shows gates says how to see them --------------------------------------------------------

ADVICE = r"scan in LSTM \(.*test_compiled_pictures.py:\d+\) ran compiled; run it with unroll=True"


@pytest.mark.parametrize("names", [None, ["f_t"], ["h_t"]])
def test_gate_traces_tell_that_gates_were_not_recorded(names: list[str] | None):
    with pytest.raises(GraphError, match=f"^gate_traces: .*{ADVICE} to see its gates$"):
        plots.gate_traces(layer(), names)


def test_gate_traces_read_the_layer_that_was_unrolled():
    x = np.ones((5, 2, 3), np.float32)
    y, _ = nn.LSTM(3, 4, rng=0)(x, unroll=True)
    z, _ = nn.GRU(4, 4, rng=0)(y, unroll=False)
    assert plots.gate_traces(z)["f_t"].shape == (5, 4)


def test_equations_and_sympy_refuse_it_with_the_same_advice():
    y, *_ = layer()
    loss = y.sum()
    for caller, ask in (
        ("equations", lambda: viz.equations(loss)),
        ("equations", lambda: viz.equations(loss, gradients=True)),
        ("to_sympy", lambda: viz.to_sympy(loss)),
    ):
        with pytest.raises(GraphError, match=f"^{caller}: {ADVICE} to see its gates$"):
            ask()
    plain, _ = tg.scan(lambda h, _: (h * 2.0, None), 1.0, steps=3, unroll=False)
    with pytest.raises(GraphError, match=r"^equations: scan \(.*\) ran compiled"):
        viz.equations(plain)
