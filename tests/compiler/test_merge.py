"""Products and slices merged: what the passes make of a step, and that the numbers stay."""

from __future__ import annotations

import numpy as np
from graphs import B, assert_same_numbers, ops, parameter, the, traced, varying
from user_cells import H, I

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.merge import merge_products, merge_slices


def test_four_anns_on_one_stacked_parameter_are_one_product_with_its_transpose():
    w = parameter(0, 4 * H, I)
    parts = tg.split(w, 4)

    def textbook(x: Tensor) -> list[Tensor]:
        return [tg.tanh(x @ w[k * H : (k + 1) * H].T) for k in (2, 0, 3, 1)]

    graph, arrays = traced(textbook, (B, I))
    merged = merge_products(graph, varying(graph, 1))
    product = the("matmul", merged)
    transpose = the("transpose", merged)
    assert product.inputs == (merged.inputs[0], transpose.out)
    assert transpose.inputs == (merged.inputs[1],)  # the parameter itself: no copy of it
    assert merged.spec(product.out).shape == (B, 4 * H)
    assert ops(merged) == {"matmul": 1, "transpose": 1, "getitem": 4, "tanh": 4}
    assert_same_numbers(graph, merged, arrays)
    graph, arrays = traced(lambda x: [x @ part.T for part in parts], (B, I))
    merged = merge_products(graph, varying(graph, 1))
    assert ops(merged)["matmul"] == 1  # the slices made outside the step: side by side again
    assert_same_numbers(graph, merged, arrays)


def test_weights_of_their_own_are_put_side_by_side():
    weights = [parameter(k, I, n) for k, n in enumerate((2, 5, 1))]
    graph, arrays = traced(lambda x: [x @ w for w in weights], (B, I))
    merged = merge_products(graph, varying(graph, 1))
    assert ops(merged) == {"concatenate": 1, "matmul": 1, "getitem": 3}
    assert the("concatenate", merged).inputs == graph.inputs[1:]
    assert_same_numbers(graph, merged, arrays)


def test_products_of_different_operands_stay_apart():
    w, v = parameter(0, I, I), parameter(1, I, I)
    for step in (
        lambda x, h: (x @ w, h @ w),
        lambda x, h: (x @ w, w @ x.T),
        lambda x, h: (x @ h.T, x @ w),  # one right operand changes from step to step
        lambda x, h: (x @ w, (x @ w) @ v),
    ):
        graph, arrays = traced(step, (B, I), (B, I))
        merged = merge_products(graph, varying(graph, 2))
        distinct = len({i.inputs for i in graph.instructions if i.op.name == "matmul"})
        assert ops(merged)["matmul"] >= min(distinct, 2)
        assert_same_numbers(graph, merged, arrays)


def test_gaps_and_overlaps_of_a_stacked_parameter_are_no_whole():
    w = parameter(0, 4 * H, I)
    twice = [(0, 8), (8, 16), (0, 8)]
    for cuts in ([(0, 4), (8, 12)], [(0, 8), (4, 16)], [(0, 4), (4, 12)], twice):
        graph, arrays = traced(lambda x, c=cuts: [x @ w[a:b].T for a, b in c], (B, I))
        merged = merge_products(graph, varying(graph, 1))
        assert ops(merged)["matmul"] == 1 and ops(merged)["concatenate"] == 1
        assert_same_numbers(graph, merged, arrays)


def test_slices_turned_around_and_not_are_told_apart():
    w = parameter(0, 2 * H, H)
    for axes in ((0, 1), (1, 0)):
        graph, arrays = traced(
            lambda x, axes=axes: [x @ w[:H].transpose(axes), x @ w[H : 2 * H].transpose(axes)],
            (B, H),
        )
        merged = merge_products(graph, varying(graph, 1))
        assert ops(merged)["matmul"] == 1
        assert ops(merged)["concatenate"] == (axes == (0, 1))
        assert_same_numbers(graph, merged, arrays)


def test_neighbouring_slices_treated_alike_are_treated_once():
    def step(z: Tensor) -> list[Tensor]:
        i, f, g, o = tg.split(z, 4, axis=1)
        return [tg.sigmoid(i), tg.sigmoid(f), tg.tanh(g), tg.sigmoid(o)]

    graph, arrays = traced(step, (B, 4 * H))
    merged = merge_slices(graph, varying(graph, 1))
    assert ops(merged)["sigmoid"] == 2 and ops(merged)["tanh"] == 1
    widest = max(merged.spec(i.out).shape for i in merged.instructions if i.op.name == "sigmoid")
    assert widest == (B, 2 * H)
    assert_same_numbers(graph, merged, arrays, exactly=True)


def test_what_is_done_to_all_slices_is_done_to_the_whole():
    def step(z: Tensor, y: Tensor) -> list[Tensor]:
        pairs = zip(tg.split(z, 4, axis=1), tg.split(y, 4, axis=1), strict=True)
        return [tg.tanh(a + b) for a, b in pairs]

    graph, arrays = traced(step, (B, 4 * H), (B, 4 * H))
    merged = merge_slices(graph, varying(graph, 2))
    assert ops(merged) == {"add": 1, "tanh": 1, "getitem": 4}
    assert the("add", merged).inputs == merged.inputs
    assert_same_numbers(graph, merged, arrays, exactly=True)


def test_slices_that_do_not_match_are_left():
    def step(z: Tensor, y: Tensor) -> list[Tensor]:
        return [
            tg.tanh(z[:, 0:2]),
            tg.tanh(z[:, 3:5]),  # a gap
            z[:, 0:2] + y[:, 2:4],  # other ranges
            z[:, 2:4] + y[:, 4:6],
            tg.exp(z[:, 0:4:2]),  # with a step
            tg.exp(z[:, 4:8:2]),
            tg.sin(z[0:1]),  # of another axis
            tg.sin(z[1:2]),
            tg.cos(z[np.array([0, 2]), 0:2]),  # not of all rows
            tg.cos(z[np.array([0, 2]), 2:4]),
        ]

    graph, arrays = traced(step, (B, 8), (B, 8))
    merged = merge_slices(graph, varying(graph, 2))
    assert ops(merged) == ops(graph)
    assert_same_numbers(graph, merged, arrays, exactly=True)


def test_slices_of_what_is_captured_may_be_made_of_each_other():
    """Thresholds that rise, say: the second sum reads the first, so they can't be one."""
    w, c = parameter(0, 2 * H), parameter(1, H)

    def step(x: Tensor) -> Tensor:
        a = w[:H] + c
        b = w[H:] + a
        return tg.tanh(x * a + b)

    graph, arrays = traced(step, (B, H))
    merged = merge_slices(graph, varying(graph, 1))
    assert ops(merged) == ops(graph)
    assert_same_numbers(graph, merged, arrays)


def test_biases_of_slices_are_put_side_by_side():
    parts = [parameter(k, H) for k in range(3)]

    def step(z: Tensor) -> list[Tensor]:
        return [tg.tanh(a + b) for a, b in zip(tg.split(z, 3, axis=1), parts, strict=True)]

    graph, arrays = traced(step, (B, 3 * H))
    merged = merge_slices(graph, varying(graph, 1))
    assert ops(merged) == {"concatenate": 1, "add": 1, "tanh": 1, "getitem": 3}
    assert_same_numbers(graph, merged, arrays, exactly=True)
