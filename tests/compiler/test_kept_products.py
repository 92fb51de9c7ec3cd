"""What the way back reads, where the forward loop has made it and carries it anyway."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same
from graphs import NUMPY, T, ops, run, traced
from user_cells import H, I, _Weights, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.graph import Graph
from tinygrad_lstm.compiler.kept_products import reading_products
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.program import Program
from tinygrad_lstm.compiler.regroup import known_first

B = 9


def gates(order: str, joined: bool = False) -> tuple[Any, Any, list[tg.Parameter]]:
    """An LSTM with its gates in this order; joined: the sigmoids are one call, if neighbours."""
    p = _Weights(np.float64, 3)
    u, w, b = p(I, 4 * H), p(H, 4 * H), p(4 * H)

    def step(state: Any, x: Tensor) -> Any:
        h, c = state
        z = x @ u + h @ w + b
        if joined:
            s, g = tg.sigmoid(z[:, : 3 * H]), tg.tanh(z[:, 3 * H :])
            f, i, o = (s[:, k * H : (k + 1) * H] for k in range(3))
        else:
            part = {name: z[:, k * H : (k + 1) * H] for k, name in enumerate(order)}
            f, i, o = (tg.sigmoid(part[name]) for name in "fio")
            g = tg.tanh(part["g"])
        c = f * c + i * g
        h = o * tg.tanh(c)
        return (h, c), h

    return step, (H, H), p.all


def back(step: Any, carry: Any) -> tuple[Counter[str], Counter[str], int]:
    """Ops of the backward loop before and after, and how many products it reads."""
    shapes = [(B, n) for n in np.ravel(carry)]
    nest = isinstance(carry, tuple)
    graph, _ = traced(
        lambda *t: (lambda new, y: (*new, y) if nest else (new, y))(
            *step(t[:-1] if nest else t[0], t[-1])
        ),
        *shapes,
        (B, I),
    )
    plan = Plan(graph, len(shapes), 1, T, [True] * len(graph.inputs), NUMPY)
    before = known_first(plan.backward)
    after, reads = reading_products(before, plan)
    assert after.timed[: len(before.timed)] == before.timed
    assert [after.graph.spec(v) for v in after.timed[len(before.timed) :]] == [
        plan.forward.graph.spec(v) for v in reads
    ]
    assert set(reads) <= set(plan.forward.stacks[: plan.forward.history])
    return ops(before.graph), ops(after.graph), len(reads)


@pytest.mark.parametrize(
    ("cell", "fewer"), [(("ifgo",), 2), (("ofig",), 1), (("fiog", True), 1)], ids=str
)
def test_an_lstm_reads_o_tanh_c_from_what_it_carries(cell, fewer):
    step, sizes, weights = gates(*cell)
    before, after, reads = back(step, sizes)
    # o (1 - t t) is o - h t; and o t is h, where o (1 - o) is no part of a larger product
    assert reads == 1
    assert before - after == Counter(mul=fewer)
    assert not after - before
    assert_same(step, tensors(sizes, B), tensors(I, T, B), weights, backend="numpy")


def test_what_the_way_back_reads_already_is_no_news():
    p = _Weights(np.float64, 3)
    u, w = p(I, H), p(H, H)

    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.sigmoid(x @ u) * tg.tanh(h @ w)
        return h, h * h  # of whose square the gradient reads h

    before, after, reads = back(step, H)
    assert (after, reads) == (before, 0)
    assert_same(step, tensors(H, B), tensors(I, T, B), p.all, backend="numpy")


def test_a_carry_that_the_way_back_does_not_read_as_it_was_is_not_kept_for_this():
    p = _Weights(np.float64, 3)
    u, w = p(I, H), p(H, H)

    def step(state: Any, x: Tensor) -> Any:
        h, k = state
        new = tg.tanh(h @ w + x @ u)
        return (new, tg.sigmoid(x @ u) * new), k + new

    before, after, reads = back(step, (H, H))
    assert (after, reads) == (before, 0)
    assert_same(step, tensors((H, H), B), tensors(I, T, B), p.all, backend="numpy")


@pytest.mark.parametrize(("also", "fewer"), [(False, {"mul": 1}), (True, {})])
def test_a_rest_that_is_read_elsewhere_too_stays(also, fewer):
    graph, _ = traced(lambda h, s, t: s * t, *[(B, H)] * 3)
    forward = Program(graph, graph.inputs[:1], graph.outputs, graph.inputs[1:], (), graph.outputs)
    plan: Any = SimpleNamespace(forward=forward, timed_reads=graph.inputs)

    def way_back(dh: Tensor, h: Tensor, s: Tensor, t: Tensor) -> Any:
        rest = 1.0 - t * t
        return dh * (s * rest), dh * (rest if also else h)

    graph, arrays = traced(way_back, *[(B, H)] * 4)
    arrays.append(arrays[2] * arrays[3])
    (dh, *reads), outputs = graph.inputs, graph.outputs
    program = Program(graph, (dh,), outputs[:1], tuple(reads), (), outputs[1:])
    after, products = reading_products(program, plan)
    assert ops(graph) - ops(after.graph) == Counter(fewer)
    assert len(products) == len(fewer)
    given = arrays[: len(after.graph.inputs)]
    lists = run(outputs_of(program), arrays[:4]), run(outputs_of(after), given)
    for one, other in zip(*lists, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-15)


def outputs_of(program: Program) -> Graph:
    return replace(program.graph, outputs=(*program.carry_out, *program.stacks))
