"""Backward graphs, and what is tidied up in them."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import B, assert_same_numbers, ops, parameter, run, the, traced
from user_cells import H

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.differentiate import differentiate
from tinygrad_lstm.compiler.tidy import join_slices, join_sums, split_slices, views_again


def test_the_backward_graph_of_a_graph_is_its_transposed_jacobian():
    w = parameter(0, H, H)
    graph, arrays = traced(lambda h, x: (tg.tanh(h @ w) * x, x.sum(0)), (B, H), (B, H))
    derived = differentiate(graph, set(graph.inputs), graph.inputs)
    assert derived.seeded == (0, 1) and derived.reached == (0, 1, 2)
    values = dict(zip(graph.inputs, arrays, strict=True))
    for i in graph.instructions:
        values[i.out] = i.op.forward(*(values[v] for v in i.inputs), **i.attrs)
    rng = np.random.default_rng(1)
    seeds = [rng.normal(size=graph.spec(v).shape) for v in graph.outputs]
    found = run(derived.graph, [*seeds, *(values[v] for v in derived.reads)])
    eps = 1e-6
    for k, (array, gradient) in enumerate(zip(arrays, found, strict=True)):
        direction = rng.normal(size=array.shape)
        ends = []
        for sign in (1, -1):
            moved = [a + sign * eps * direction if j == k else a for j, a in enumerate(arrays)]
            ends.append(sum((s * y).sum() for s, y in zip(seeds, run(graph, moved), strict=True)))
        slope = (ends[0] - ends[1]) / (2 * eps)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-7)


def test_what_nobody_asks_for_is_not_derived():
    graph, _ = traced(lambda h, x: (tg.tanh(h), x * 2.0), (B, H), (B, H))
    h, x = graph.inputs
    derived = differentiate(graph, {h}, [h, x])
    assert derived.seeded == (0,) and derived.reached == (0,)
    assert ops(derived.graph)["mul"] == 2  # tanh's rule, and nothing of the other product
    assert len(derived.reads) == 1


def test_gradients_of_slices_are_joined_and_not_scattered():
    def step(z: Tensor) -> list[Tensor]:
        i, f, g = tg.split(z, 3, axis=1)
        return [tg.sigmoid(i), tg.tanh(f), tg.exp(g)]

    graph, _ = traced(step, (B, 3 * H))
    derived = differentiate(graph, set(graph.inputs), graph.inputs).graph
    joined = join_slices(derived)
    assert ops(derived)["scatter"] == 3
    assert ops(joined)["scatter"] == 0 and ops(joined)["concatenate"] == 1
    assert joined.outputs == (the("concatenate", joined).out,)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=derived.spec(v).shape) for v in derived.inputs]
    assert_same_numbers(derived, joined, arrays)


def test_slices_that_overlap_or_leave_gaps_are_not_joined():
    for cuts in ([(0, 2), (1, 4)], [(0, 2), (3, 4)], [(0, 1), (1, 3)], [(0, 4)] * 2):
        graph, _ = traced(lambda z, c=cuts: [tg.tanh(z[:, a:b]) for a, b in c], (B, H))
        derived = differentiate(graph, set(graph.inputs), graph.inputs).graph
        joined = join_slices(derived)
        assert ops(joined) == ops(derived)
        rng = np.random.default_rng(0)
        arrays = [rng.normal(size=derived.spec(v).shape) for v in derived.inputs]
        assert_same_numbers(derived, joined, arrays)


def test_a_view_is_taken_again_instead_of_kept():
    def step(h: Tensor) -> Tensor:
        z = tg.tanh(h)
        return z[:, :2] * z[:, 2:] * z.T.reshape(H, B).T[:, :2]

    graph, _ = traced(step, (B, H))
    derived = differentiate(graph, set(graph.inputs), graph.inputs)
    again, reads = views_again(derived.graph, derived.reads, graph)
    made = graph.producers()
    z = next(i.out for i in graph.instructions if i.op.name == "tanh")
    assert z in reads and not [v for v in reads if v in made and made[v].op.name == "getitem"]
    assert len(reads) < len(derived.reads)
    assert len(again.inputs) == len(derived.seeded) + len(reads)


@pytest.mark.parametrize("how", ["vectors", "rows", "vectors as rows"])
def test_bias_gradients_are_one_sum_over_the_concatenation_that_is_there_anyway(how: str):
    def step(*parts: Tensor) -> list[Tensor]:
        sums = [p.sum(0, keepdims=how == "rows") for p in parts]
        if how == "vectors as rows":
            sums = [s.reshape(1, -1) for s in sums]
        return [tg.concatenate(parts, axis=1), tg.concatenate(sums, axis=-1)]

    graph, arrays = traced(step, (B, 2), (B, 3), (B, 1))
    joined = join_sums(graph)
    assert ops(joined) == {"concatenate": 1, "sum": 1}
    assert the("sum", joined).inputs == (the("concatenate", joined).out,)
    assert_same_numbers(graph, joined, arrays)
    for odd in (
        lambda a, b, c: tg.concatenate([a.sum(0), b.sum(0), c.sum(1)]),  # one over features
        lambda a, b, c: tg.concatenate([a.sum(0, keepdims=True), a.sum(0, keepdims=True)], axis=0),
        lambda a, b, c: tg.concatenate([a.sum(0), b[0]]),
        lambda a, b, c: tg.concatenate([a.sum(0), b[:1].sum(0)]),  # of other rows
        lambda a, b, c: tg.concatenate([a.sum(0).reshape(2, 1), b[:2, :1]], axis=1),
    ):
        graph, _ = traced(odd, (B, 2), (B, 3), (B, 1))
        assert ops(join_sums(graph)) == ops(graph)


def test_what_only_slices_are_read_of_is_done_on_the_slices():
    b = parameter(0, 3 * H)

    def step(z: Tensor, y: Tensor) -> list[Tensor]:
        i, f, g = tg.split(tg.tanh(z * y + b) * 2.0, 3, axis=1)
        return [i * f, g + 1.0]

    graph, arrays = traced(step, (B, 3 * H), (B, 3 * H))
    split = split_slices(graph)
    assert ops(split) == {"getitem": 9, "mul": 7, "add": 4, "tanh": 3}
    widths = {split.spec(i.out).shape for i in split.instructions}
    assert widths == {(B, H), (H,)}
    assert_same_numbers(graph, split, arrays, exactly=True)


def test_sums_of_products_and_what_is_read_whole_are_not_split():
    w, v = parameter(0, H, 2 * H), parameter(1, H, 2 * H)

    def products(h: Tensor, x: Tensor) -> list[Tensor]:
        return list(tg.split(h @ w + x @ v, 2, axis=1))

    def whole(h: Tensor, x: Tensor) -> list[Tensor]:
        z = tg.tanh(tg.concatenate([h, x], axis=1))
        return [*tg.split(z, 2, axis=1), z.sum(-1)]

    def output(h: Tensor, x: Tensor) -> list[Tensor]:
        z = tg.tanh(tg.concatenate([h, x], axis=1))
        return [z, *tg.split(z, 2, axis=1)]

    for step in (products, whole, output):
        graph, _ = traced(step, (B, H), (B, H))
        assert ops(split_slices(graph)) == ops(graph)
