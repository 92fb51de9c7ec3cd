"""Products of parts side by side: what no carry reaches is multiplied apart."""

from __future__ import annotations

from typing import Any

import pytest
from both_ways import assert_same as same_both_ways
from graphs import B, T, assert_same_numbers, ops, parameter, traced, varying
from user_cells import H, I, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.graph import Graph
from tinygrad_lstm.compiler.split import split_products

W, V = parameter(0, H + I, H), parameter(1, 2 * H + I, H)


def split(graph: Graph) -> Graph:
    """The first input is a carry, the second x_t."""
    return split_products(graph, varying(graph, 1), varying(graph, 2))


@pytest.mark.parametrize("first", ["h", "x"])
def test_each_part_is_multiplied_with_its_rows(first: str):
    def step(h: Tensor, x: Tensor) -> Tensor:
        return tg.concatenate([h, x] if first == "h" else [x, h], axis=1) @ W

    graph, arrays = traced(step, (B, H), (B, I))
    found = split(graph)
    assert ops(found) == {"getitem": 2, "matmul": 2, "add": 1}
    lefts = {i.inputs[0] for i in found.instructions if i.op.name == "matmul"}
    assert lefts == set(found.inputs[:2])
    assert_same_numbers(graph, found, arrays)


def test_parts_that_all_depend_on_the_carry_stay_together():
    def step(h: Tensor, x: Tensor) -> Tensor:
        return tg.concatenate([h, tg.tanh(h), x], axis=1) @ V

    graph, arrays = traced(step, (B, H), (B, I))
    found = split(graph)
    assert ops(found)["matmul"] == 2 and ops(found)["concatenate"] == 1
    widths = sorted(
        found.spec(i.inputs[0]).shape[1] for i in found.instructions if i.op.name == "matmul"
    )
    assert widths == [I, 2 * H]
    assert_same_numbers(graph, found, arrays)


def test_a_whole_that_something_else_reads_is_still_there():
    def step(h: Tensor, x: Tensor) -> list[Tensor]:
        both = tg.concatenate([h, x], axis=-1)
        return [both @ W, tg.exp(both)]

    graph, arrays = traced(step, (B, H), (B, I))
    found = split(graph)
    assert ops(found)["matmul"] == 2 and ops(found)["concatenate"] == 1
    assert_same_numbers(graph, found, arrays)


@pytest.mark.parametrize(
    "step",
    [
        lambda h, x: tg.concatenate([h, h], axis=1) @ parameter(2, 2 * H, H),
        lambda h, x: tg.concatenate([x, x * x], axis=1) @ parameter(2, 2 * I, H) + h,
        lambda h, x: tg.concatenate([h, x @ W[:I]], axis=0) @ parameter(2, H, H),
        lambda h, x: tg.concatenate([h, x], axis=1) @ tg.concatenate([h, x], axis=1).T,
        lambda h, x: W.T @ tg.concatenate([h, x], axis=1).T,
    ],
    ids=["the carry alone", "x alone", "one above the other", "no weights", "on the right"],
)
def test_other_products_stay_whole(step: Any):
    graph, arrays = traced(step, (B, H), (B, I))
    found = split(graph)
    assert ops(found) == ops(graph)
    assert_same_numbers(graph, found, arrays)


# -- whole cells ----------------------------------------------------------------------------------

GATES = [(parameter(10 + k, H + I, H), parameter(20 + k, H)) for k in range(4)]


def textbook(state: Any, x: Tensor) -> Any:
    """An ANN for each gate, on h beside x."""
    h, c = state
    both = tg.concatenate([h, x], axis=-1)
    f, i, g, o = (both @ w + b for w, b in GATES)
    c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
    h = tg.sigmoid(o) * tg.tanh(c)
    return (h, c), h


def stacked(state: Any, x: Tensor) -> Any:
    """The same with one matrix for h, one for x, and one bias."""
    h, c = state
    w = tg.concatenate([w for w, _ in GATES], axis=1)
    z = h @ w[:H] + x @ w[H:] + tg.concatenate([b for _, b in GATES])
    f, i, g, o = tg.split(z, 4, axis=1)
    c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
    h = tg.sigmoid(o) * tg.tanh(c)
    return (h, c), h


def test_the_textbooks_cell_gives_what_it_gives_unrolled(assert_same):
    weights = [p for pair in GATES for p in pair]
    assert_same(textbook, tensors((H, H), B), tensors(I, T, B), weights)


def test_the_textbooks_cell_has_the_loop_of_the_stacked_one(backend: str):
    loops = []
    for step in textbook, stacked:
        told = tg.scan.explain(step, tensors((H, H), B), tensors(I, T, B), backend=backend)
        parts = told.at_once, told.loop, told.backward
        loops.append([sorted((s.kind, s.shapes) for s in part) for part in parts])
        assert told.nbytes == 7 * T * B * H * 8
    assert loops[0] == loops[1]


@pytest.mark.parametrize("shape", [(H,), (1, H), (B, H)], ids=["vector", "row", "rows"])
def test_biases_of_any_shape_are_added_at_once(shape: tuple[int, ...]):
    u, w = parameter(0, I, 2 * H), parameter(1, H, 2 * H)
    biases = [parameter(2 + k, *shape) for k in range(2)]

    def step(h: Tensor, x: Tensor) -> Any:
        parts = tg.split(x @ u + h @ w, 2, axis=1)
        a, b = (tg.tanh(z + bias) for z, bias in zip(parts, biases, strict=True))
        return a * b, a

    same_both_ways(step, tensors(H, B), tensors(I, T, B), [u, w, *biases], backend="numpy")
    told = tg.scan.explain(step, tensors(H, B), tensors(I, T, B), backend="numpy")
    assert [s.number for s in told.at_once if s.kind == "calls"] == [1]  # one sum for both
