"""Whole plans: what is left in the loop, and that every pass leaves the numbers of a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import (
    NUMPY,
    STEPWISE,
    B,
    T,
    assert_same_numbers,
    carried_last,
    ops,
    parameter,
    plan_of,
    traced,
    varying,
)
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.merge import merge_products, merge_slices
from tinygrad_lstm.compiler.numpy_source import write
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.reassociate import reassociate
from tinygrad_lstm.tree import flatten, unflatten


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "two_chains"])
def test_over_time_the_loop_holds_only_the_products_with_the_state(name):
    plan, chain = plan_of(name, NUMPY), 3 if name == "two_chains" else 1
    assert ops(plan.parts.before)["matmul"] == 1  # x @ U of all gates and all steps
    assert ops(plan.forward.graph)["matmul"] == chain
    assert ops(plan.backward.graph)["matmul"] == chain  # back to the state; no weight's gradient
    assert ops(plan.backward.graph)["scatter"] == 0


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "two_chains"])
def test_step_by_step_the_loop_holds_all_but_the_sum_of_biases(name):
    plan, chain = plan_of(name, STEPWISE), 3 if name == "two_chains" else 1
    biases = {"lstm": 1, "rnn": 1, "gru": 2, "two_chains": 0}[name]
    found = ops(plan.parts.before)
    assert found["add"] <= biases and not found["matmul"] and not found["tanh"]
    assert plan.parts.timed == plan.parts.before.inputs[:1]  # x as it is
    assert ops(plan.forward.graph)["matmul"] == chain + 1  # x @ U of all gates
    assert ops(plan.backward.graph)["matmul"] == chain + 1  # and back to x
    assert ops(plan.backward.graph)["scatter"] == 0


def test_step_by_step_the_gates_of_an_lstm_are_apart_between_two_products():
    graph = plan_of("lstm", STEPWISE).forward.graph
    assert ops(graph)["sigmoid"] == 3 and ops(graph)["tanh"] == 2
    wide = [i for i in graph.instructions if graph.spec(i.out).shape == (B, 4 * H)]
    assert [i.op.name for i in wide] == ["matmul", "matmul", "add"]  # no bias, no gate
    assert set(wide[2].inputs) == {wide[0].out, wide[1].out}


@pytest.mark.parametrize("backend", [NUMPY, STEPWISE], ids=lambda b: b.name)
@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_a_matrix_is_one_product_after_the_loop(name, backend):
    plan = plan_of(name, backend)
    loop = plan.parts.loop
    matrices = [v for v in plan.products if len(loop.spec(v).shape) == 2]
    assert matrices
    for v in matrices:
        assert len(plan.products[v]) == 1 and not plan.rest[v]
    rows = plan.backward.specs(plan.backward.sums)
    assert all(len(spec.shape) < 2 for spec in rows)  # only vectors are summed step by step


@pytest.mark.parametrize("backend", [NUMPY, STEPWISE], ids=lambda b: b.name)
def test_one_ann_per_gate_is_the_stacked_cell(backend):
    stacked_u, stacked_w = parameter(0, 3 * H, I), parameter(1, 3 * H, H)
    single = [(parameter(k, I, H), parameter(9 + k, H, H)) for k in range(3)]

    def stacked(h: Tensor, x: Tensor) -> Any:
        z = x @ stacked_u.T + h @ stacked_w.T
        r, u, n = tg.split(z, 3, axis=1)
        h = tg.sigmoid(r) * h + tg.sigmoid(u) * tg.tanh(n)
        return h, h

    def textbook(h: Tensor, x: Tensor) -> Any:
        r, u, n = (x @ w_x + h @ w_h for w_x, w_h in single)
        h = tg.sigmoid(r) * h + tg.sigmoid(u) * tg.tanh(n)
        return h, h

    plans = []
    for step in (stacked, textbook):
        graph, _ = traced(step, (B, H), (B, I))
        plans.append(Plan(graph, 1, 1, T, [True] * len(graph.inputs), backend))
    one, other = plans
    for graph, again in (one.forward, other.forward), (one.backward, other.backward):
        found, same = ops(graph.graph), ops(again.graph)
        found["transpose"] = same["transpose"]  # which costs nothing
        assert found == same
    done_before = {"concatenate": 2, "matmul": 1} if backend.over_time else {"concatenate": 2}
    assert ops(other.parts.before) == done_before


def test_a_plan_without_gradients_keeps_only_states_and_outputs():
    step, _, _ = case("lstm")
    graph, _ = traced(lambda h, c, x: step((h, c), x), (B, H), (B, H), (B, I))
    plan = Plan(graph, 2, 1, T, [False] * len(graph.inputs), NUMPY)
    assert not plan.differentiable and len(plan.forward.stacks) == 2
    trained = Plan(graph, 2, 1, T, [True] * len(graph.inputs), NUMPY)
    widths = [shape[-1] for shape, _ in trained.forward.specs(trained.forward.stacks)]
    assert sum(widths) == 7 * H  # h, c, the four gates and tanh c


def test_the_loop_is_a_function_that_can_be_read():
    source, function = write(plan_of("rnn", NUMPY).forward)
    assert source.startswith("def run(T, spans, C, Z, V, S, A):")
    assert "for first, end in spans:" in source
    known = function.__globals__.values()
    assert any(f is np.tanh for f in known) and any(f is np.matmul for f in known)


@pytest.mark.parametrize("name", CELLS)
def test_every_pass_leaves_the_numbers_of_a_cell(name):
    step, carry, _ = case(name)
    leaves, form = flatten(tensors(carry, B), Tensor, "carry")
    count = len(leaves)
    shapes = [t.shape for t in leaves]
    graph, arrays = traced(lambda *t: step(unflatten(form, t[:-1]), t[-1]), *shapes, (B, I))
    products = merge_products(graph, varying(graph, count + 1))
    slices = merge_slices(products, varying(products, count + 1))
    regrouped = reassociate(slices, carried_last(slices, count))
    for after in (products, slices, regrouped):
        assert_same_numbers(graph, after, arrays)
