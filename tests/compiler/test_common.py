"""What a step computes twice is computed once; nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import user_cells
from graphs import B, assert_same_numbers, ops, parameter, traced

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.common import common, merged
from tinygrad_lstm.compiler.graph import Graph

H = 4


def graph_of(f: Any, *shapes: tuple[int, ...]) -> tuple[Graph, list[np.ndarray]]:
    return traced(f, *(shapes or ((B, H), (B, H))))


def test_the_same_op_on_the_same_values_stands_once():
    def step(h: Tensor, x: Tensor) -> Tensor:
        one = tg.tanh(tg.concatenate([h, x], axis=-1) * 2.0)
        other = tg.tanh(tg.concatenate([h, x], axis=-1) * 2.0)
        return (one + other) * one.sum()

    graph, arrays = graph_of(step)
    once = common(graph)
    assert (ops(graph)["tanh"], ops(once)["tanh"]) == (2, 1)
    assert ops(once)["concatenate"] == ops(once)["sum"] == 1
    assert (ops(graph)["mul"], ops(once)["mul"]) == (3, 2)
    assert len(once.constants) == 1
    assert_same_numbers(graph, once, arrays, exactly=True)


@pytest.mark.parametrize(
    "step",
    {
        "order": lambda h, x: (h - x) * (x - h),
        "attributes": lambda h, x: h.sum(0, keepdims=True) * h.sum(1, keepdims=True),
        "ends of a slice": lambda h, x: h[:, 1:] * h[:, :-1],
        "the sign of zero": lambda h, x: (h * 0.0) / (x * -0.0 + 1.0),
        "an index and a slice": lambda h, x: h[:, 0] * h[:, 0:1],
        "an integer and a truth": lambda h, x: (
            h[:, np.array([1, 0, 1, 0])] * h[:, np.array([True, True, True, True])]
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_differs_in_anything_stays(step: Any):
    graph, arrays = graph_of(step[1])
    assert common(graph) is graph
    assert_same_numbers(graph, common(graph), arrays, exactly=True)


def test_constants_are_the_same_by_dtype_and_bytes():
    graph, arrays = graph_of(lambda h, x: (h * 0.5) + (x * 0.5) + (x * np.float64(0.25)))
    once = common(graph)
    assert sorted(float(a) for a in once.constants.values()) == [0.25, 0.5]
    assert_same_numbers(graph, once, arrays, exactly=True)


def test_names_stay_and_so_do_outputs():
    def step(h: Tensor, x: Tensor) -> list[Tensor]:
        plain, gate = tg.sigmoid(h + x), tg.sigmoid(h + x).named("gate")
        return [plain * gate, tg.sigmoid(h + x)]

    graph, arrays = graph_of(step)
    once = common(graph)
    assert once.outputs == graph.outputs
    assert ops(once)["sigmoid"] == 2  # one of them is an output
    (gate,) = (v for v, name in once.names.items() if name == "gate")
    assert gate in once.producers()
    assert_same_numbers(graph, once, arrays, exactly=True)


def test_which_value_stands_for_another_is_told():
    graph, _ = graph_of(lambda h, x: tg.exp(h) * tg.exp(h))
    one, other = (i.out for i in graph.instructions if i.op.name == "exp")
    assert merged(graph, graph.outputs)[1] == {other: one}
    assert merged(graph, {*graph.outputs, other})[1] == {}


def test_a_gate_for_each_concatenation_is_one_product():
    ws = [parameter(k, 2 * H, H) for k in range(3)]

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g = (tg.concatenate([h, x], axis=-1) @ w for w in ws)
        h = tg.sigmoid(i) * tg.tanh(g) + tg.sigmoid(f) * h
        return h, h

    e = tg.scan.explain(step, np.zeros((B, H)), np.zeros((5, B, H)), backend="numpy")
    (over_h,) = [stage for stage in e.loop if stage.kind == "product"]
    assert over_h.shapes == ((B, H), (H, 3 * H)) and over_h.number == 3


def test_mean_and_variance_add_up_once_in_native_code():
    pytest.importorskip("llvmlite")
    step, carry, _ = user_cells.case("layer_norm_lstm")
    states, xs = user_cells.tensors(carry, B), user_cells.tensors(user_cells.I, 5, B)
    e = tg.scan.explain(step, states, xs, backend="numba")
    sums = [f for stage in e.loop if stage.kind == "sum" for f in stage.formulas]
    assert len(sums) == len({f.partition(" = ")[2] for f in sums})
    assert len([f for f in sums if "sum(b1[" in f]) == 4  # one for each gate


@pytest.mark.parametrize("again", [False, True])
def test_what_a_step_gives_twice_comes_out_twice(assert_same: Any, again: bool):
    w = parameter(9, H, H)
    tensors = user_cells.tensors

    def step(carry: tuple[Tensor, Tensor], x: Tensor) -> Any:
        h, c = carry
        pre = h @ w + x
        new = tg.tanh(pre) * c.mean(-1, keepdims=True) + c.var(-1, keepdims=True)
        other = tg.tanh(h @ w + x) if again else tg.tanh(pre)
        return (tg.tanh(pre), new), (tg.tanh(pre), other, pre.mean(-1), pre.sum(-1))

    assert_same(step, (tensors(H, B), tensors(H, B)), tensors(H, 5, B), [w])
