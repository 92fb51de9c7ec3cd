"""A compiled scan in a picture: one node among the others, whatever is drawn or written on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_ways import leaves_of, loss_of
from user_cells import I, case, tensors

import tinygrad_lstm as tg
import viz
from tinygrad_lstm import Tensor


def made(name: str, **options: Any) -> tuple[Tensor, list[Tensor]]:
    step, carry, _ = case(name)
    x = tg.tensor(np.ones((4, 3, I)), requires_grad=True, name="x")
    final, ys = tg.scan(step, tensors(carry, 3), x, unroll=False, **options)
    outputs = leaves_of(final, ys)
    return loss_of(outputs), outputs


@pytest.mark.parametrize("view", ["gates", "ops", "cells"])
@pytest.mark.parametrize("overlay", [{}, {"values": True, "grads": True}, {"backward": True}])
def test_every_view_and_overlay_draws_it(view, overlay):
    loss, outputs = made("lstm", lengths=[4, 2, 0])
    for drawn in (loss, outputs):
        dot = viz.draw(drawn, view=view, **overlay).dot
        assert "scan" in dot or "backward" in overlay


def test_it_is_one_node_that_takes_inputs_and_weights():
    loss, _ = made("rnn")
    model = viz.draw(loss, view="ops").model
    scans = [node for node in model.nodes if node.symbol == "scan"]
    assert len(scans) == 1
    feeding = [edge for edge in model.edges if edge.head == scans[0].id]
    assert len(feeding) == 5  # h_0, x, and what the cell captures: W, U and b
    assert "scan" in viz.draw(loss).svg


def test_its_values_and_gradients_stand_on_its_parts():
    loss, _ = made("rnn")
    model = viz.draw(loss, values=True, grads=True).model
    parts = [node for node in model.nodes if node.symbol == "part"]
    assert len(parts) == 2 and all(node.value and node.grad for node in parts)
    (scan,) = (node for node in model.nodes if node.symbol == "scan")
    assert scan.value is None and scan.grad is None


def test_the_equations_name_it():
    loss, _ = made("rnn")
    assert "scan" in str(viz.equations(loss))
