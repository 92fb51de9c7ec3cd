"""What is done once, for all steps at once, or in the loop."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import STEPWISE, B, T, carried_last, ops, parameter, run, the, traced
from user_cells import H, I

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.partition import partition
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.reassociate import reassociate
from tinygrad_lstm.tree import flatten


def test_the_product_with_x_is_done_for_all_steps_and_invariants_once():
    u, w, b = parameter(0, I, H), parameter(1, H, H), parameter(2, H)
    graph, _ = traced(lambda h, x: tg.tanh(tg.relu(x) @ u + h @ tg.exp(w) + b * b), (B, H), (B, I))
    graph = reassociate(graph, carried_last(graph))
    parts = partition(graph, 1, 1, T)
    assert ops(parts.before) == {"relu": 1, "matmul": 1, "exp": 1, "mul": 1, "add": 1}
    assert ops(parts.loop) == {"matmul": 1, "add": 1, "tanh": 1}
    assert parts.before.spec(the("matmul", parts.before).out).shape == (T, B, H)
    assert parts.before.spec(the("exp", parts.before).out).shape == (H, H)
    assert len(parts.timed) == 1 and len(parts.invariants) == 1
    assert parts.loop.spec(parts.timed[0]).shape == (B, H)  # one step's, inside the loop


TIMED = {
    "elementwise": lambda x: tg.tanh(x) * 2.0 + x,
    "reductions": lambda x: (x.sum(0), x.mean(1, keepdims=True), x.max(-1), x.var(0)),
    "softmax": lambda x: (tg.softmax(x, 0), tg.log_softmax(x, 1), tg.logsumexp(x, 0)),
    "shapes": lambda x: (x.T, x.reshape(I, B), x[None, 1:, ::-1], x[..., 0], x[-1, 2]),
    "joins": lambda x: (tg.concatenate([x, x * 2.0]), tg.stack([x, x], 1), x.cumsum(0)),
    "products": lambda x: (x @ x.T, x.T @ x),
    "casts": lambda x: x.astype(np.float32),
}
STAYS = {
    "other rows": lambda x: x[np.array([0, 0, 1])],
    "a higher rank": lambda x: x + np.ones((2, B, I)),
    "a batch of weights": lambda x: np.ones((2, I, I)) @ x.T,
    "spread out": lambda x: tg.broadcast_to(x, (2, B, I)),
}


@pytest.mark.parametrize("name", TIMED | STAYS)
def test_an_op_on_x_alone_is_done_for_all_steps_where_it_has_such_a_form(name):
    step = (TIMED | STAYS)[name]

    def whole(h: Tensor, x: Tensor) -> Tensor:
        rng, total = np.random.default_rng(5), h
        for t in flatten(step(x), Tensor, "found")[0]:
            weighted = t.astype(np.float64) * rng.normal(size=t.shape)
            total = total + weighted.sum()
        return total

    graph, arrays = traced(whole, (B, 1), (B, I))
    graph = reassociate(graph, carried_last(graph))
    parts = partition(graph, 1, 1, T)
    assert (ops(parts.loop) == {"add": 1}) == (name in TIMED)
    series = np.random.default_rng(3).normal(size=(T, B, I))
    outputs = run(parts.before, [series, *arrays[2:]])
    for t in range(T):
        one_step = run(graph, [arrays[0], series[t], *arrays[2:]])
        timed = [array[t] for array in outputs[: len(parts.timed)]]
        again = run(parts.loop, [arrays[0], *timed, *outputs[len(parts.timed) :]])
        np.testing.assert_allclose(again[0], one_step[0], rtol=1e-6 if name == "casts" else 1e-12)


def test_step_by_step_only_what_is_no_arithmetic_of_floats_is_done_before_the_loop():
    table, u, w = parameter(0, 9, I), parameter(1, I, H), parameter(2, H, H)
    b, b2 = parameter(3, H), parameter(4, H)

    def step(h: Tensor, word: Tensor) -> Tensor:
        return tg.tanh(tg.take(table, word, 0) @ u + b + h @ w + b2)

    graph, _ = traced(step, (B, H), (B,), integers=(1,))
    parts = partition(graph, 1, 1, T, over_time=False)
    assert ops(parts.before) == {"take": 1}
    plan = Plan(graph, 1, 1, T, [True, False, True, True, True, True, True], STEPWISE)
    assert ops(plan.parts.before) == {"take": 1, "add": 1}  # the biases are one
    assert ops(plan.parts.loop) == {"matmul": 2, "add": 2, "tanh": 1}


def test_what_is_no_arithmetic_of_floats_leaves_with_what_it_reads():
    def step(h: Tensor, x: Tensor) -> Tensor:
        count = (x * 2.0 > 1.0).sum(-1, keepdims=True)
        return h * tg.where(count > 1, x, h) + (x + 1.0)

    graph, _ = traced(step, (B, H), (B, H))
    parts = partition(graph, 1, 1, T, over_time=False)
    assert ops(parts.before) == {"mul": 1, "greater": 2, "sum": 1}
    assert ops(parts.loop) == {"where": 1, "mul": 1, "add": 2}
    for k in range(2):  # nothing of the kind is left when only floats are there
        graph, _ = traced(lambda h, x: h * (x * 2.0 + 1.0), (B, H), (B, H))
        assert bool(ops(partition(graph, 1, 1, T, over_time=k == 1).before)) == (k == 1)


def test_a_matrix_transposed_again_comes_to_the_loop_once():
    w = parameter(0, 3, 3)

    def step(h: Tensor) -> tuple[Tensor, ...]:
        turned = w.T
        return h @ turned, h @ turned.T

    graph, _ = traced(step, (B, 3))
    parts = partition(graph, 1, 0, T)
    assert len(parts.invariants) == 1
    assert not set(parts.loop.producers()).intersection(parts.loop.inputs)
