"""Booleans that a loop carries, keeps or hands out stand in it as numbers."""

from __future__ import annotations

import numpy as np
from both_ways import assert_same
from graphs import STEPWISE, B, T, parameter, run, traced
from user_cells import H

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.flags import flags_as_numbers, without_flags
from tinygrad_lstm.compiler.graph import Graph
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.trace import graph_of
from tinygrad_lstm.tensor import next_number


def recorded(numbers: bool) -> tuple[Graph, Graph, list[int]]:
    """A loop that makes flags of h, and perhaps numbers of these; a way back that reads both."""
    h, g, w = (tg.tensor(np.full((B, H), k)) for k in (1.0, 2.0, 3.0))
    since = next_number()
    flags = tg.OPS["greater"](h, w)
    outputs = [tg.where(flags, h, w), *([flags.astype(np.float64)] if numbers else [])]
    loop, _ = graph_of(outputs, [h, w], since)
    (made,) = (i.out for i in loop.instructions if i.op.name == "greater")
    reads = [made, loop.inputs[1], *([loop.outputs[1]] if numbers else [])]
    mask, other = tg.tensor(np.ones((B, H), bool)), tg.tensor(np.ones((B, H)))
    read = [mask, w, *([other] if numbers else [])]
    since = next_number()
    back = tg.where(mask, g, g * w) + (other if numbers else 0.0)
    backward, _ = graph_of([back], [g, *read], since)
    return loop, backward, reads


def both(loop: Graph, backward: Graph, reads: list[int]) -> np.ndarray:
    """What the way back gives, told of the loop's values."""
    rng = np.random.default_rng(0)
    h, w, g = (rng.normal(size=(B, H)) for _ in range(3))
    wanted = tuple(v for v in reads if v not in loop.inputs)
    made = Graph(loop.inputs, wanted, loop.instructions, loop.specs, loop.constants)
    values = dict(zip(wanted, run(made, [h, w]), strict=True)) | dict(
        zip(loop.inputs, (h, w), strict=True)
    )
    return run(backward, [g, *(values[v] for v in reads)])[0]


def test_the_way_back_reads_numbers_and_gives_the_same():
    for numbers in (False, True):
        loop, backward, reads = recorded(numbers)
        after = flags_as_numbers(loop, backward, reads)
        assert all(after[0].spec(v).dtype == np.float64 for v in after[2])
        assert len(after[2]) == 2  # numbers that are there are read once
        assert len(after[1].inputs) == 1 + len(after[2])
        np.testing.assert_array_equal(both(loop, backward, reads), both(*after[:2], [*after[2]]))


def test_without_flags_nothing_changes():
    loop, backward, reads = recorded(False)
    same = flags_as_numbers(loop, backward, reads[1:])
    assert same == (loop, backward, tuple(reads[1:]))


def test_a_loop_over_floats_keeps_no_booleans():
    w = parameter(0, H)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = tg.where(tg.OPS["greater"](h, x), h * w, x)
        return h, h

    graph, _ = traced(step, (B, H), (B, H))
    plan = Plan(graph, 1, 1, T, [True] * 3, STEPWISE)
    kept = plan.forward.specs(plan.forward.stacks)
    assert {dtype for _, dtype in kept} == {np.dtype(np.float64)}


def test_a_step_carries_and_gives_booleans(backend):
    w = parameter(0, H, H)

    def step(carry: tuple[Tensor, Tensor, Tensor], x: Tensor) -> tuple[object, dict[str, Tensor]]:
        h, done, odd = carry
        h = tg.where(done, h, tg.tanh(h @ w + x)) + done * h * 0.1
        done = done | (h > 0.9)
        odd = odd ^ (h.sum(-1, keepdims=True) > 0)
        return (h, done, odd), {"y": h * odd, "up": h > 0, "done": done, "not done": ~done}

    rng = np.random.default_rng(1)
    h, x = (tg.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((B, H), (T, B, H)))
    carry = h, tg.tensor(rng.random((B, H)) > 0.7), tg.tensor(rng.random((B, 1)) > 0.5)
    for options in ({}, {"lengths": [T, 2, 1]}, {"reverse": True}):
        assert_same(step, carry, x, [w], backend=backend, **options)
    assert tg.scan.explain(step, carry, x, backend=backend).backend == backend


def test_a_graph_without_flags_says_the_same_in_numbers():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flag = x > h
        return tg.where(flag, x, h), flag, flag

    graph, (h, x) = traced(step, (B, H), (B, H))
    plain = without_flags(graph, 1)
    assert [plain.spec(v).dtype.kind for v in plain.outputs] == ["f", "f", "f"]
    new, flag, again = run(plain, [h, x])
    np.testing.assert_array_equal(flag, x > h)
    np.testing.assert_array_equal(again, flag)
    np.testing.assert_array_equal(new, np.maximum(x, h))
    assert without_flags(plain, 1) is plain
    mixed, _ = traced(lambda h, k: (h * 0.5, k.astype(np.float32) > 0.5), (B, H), (B, H))
    assert without_flags(mixed, 1).spec(without_flags(mixed, 1).outputs[1]).dtype == np.float64
    alone, _ = traced(lambda a: ~(a > a), (B, H))
    assert without_flags(alone, 1).spec(without_flags(alone, 1).outputs[0]).dtype.kind == "f"
