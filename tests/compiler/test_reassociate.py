"""Sums regrouped by what is there first."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import B, assert_same_numbers, carried_last, ops, parameter, the, traced, varying
from user_cells import H, I

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.reassociate import reassociate
from tinygrad_lstm.ops import OPS


def test_what_does_not_depend_on_the_carry_is_added_first():
    u, w, b, b2 = parameter(0, I, H), parameter(1, H, H), parameter(2, H), parameter(3, H)
    graph, arrays = traced(lambda h, x: tg.tanh(x @ u + h @ w + b + b2), (B, H), (B, I))
    carried = varying(graph, 1)
    regrouped = reassociate(graph, carried_last(graph))
    after = varying(regrouped, 1)
    sums = [i for i in regrouped.instructions if i.op.name == "add"]
    assert len(sums) == 3 and sum(i.out in after for i in sums) == 1
    assert sum(i.op.name == "add" and i.out in carried for i in graph.instructions) == 3
    assert_same_numbers(graph, regrouped, arrays)


def test_a_sum_that_somebody_else_reads_stays_a_sum():
    b, c = parameter(0, H), parameter(1, H)

    def step(h: Tensor, x: Tensor) -> list[Tensor]:
        first = h + b
        return [first + x + c, first * 2.0, h + (h + h) + x + c + b]

    graph, arrays = traced(step, (B, H), (B, H))
    regrouped = reassociate(graph, carried_last(graph))
    assert_same_numbers(graph, regrouped, arrays)
    (reader,) = (i for i in regrouped.instructions if i.op.name == "mul")
    assert regrouped.producers()[reader.inputs[0]].inputs == (graph.inputs[0], graph.inputs[2])


def test_a_sum_that_is_needed_anyway_is_not_done_twice():
    b, c = parameter(0, H), parameter(1, H)

    def step(h: Tensor, x: Tensor) -> list[Tensor]:
        first = h + b
        return [first + x + c, first * 2.0]

    for shared in (step, lambda h, x: (h + b, h + b + x + c), lambda h, x: step(h, x)[:1]):
        graph, arrays = traced(shared, (B, H), (B, H))
        regrouped = reassociate(graph, carried_last(graph))
        assert ops(regrouped)["add"] <= ops(graph)["add"]
        assert_same_numbers(graph, regrouped, arrays)


def test_terms_of_one_rank_are_added_together_and_the_lowest_first():
    u, w, b, b2 = parameter(0, I, H), parameter(1, H, H), parameter(2, H), parameter(3, H)
    graph, arrays = traced(lambda h, x: tg.tanh(b + x @ u + b2 + h @ w), (B, H), (B, I))
    products = {i.out for i in graph.instructions if i.op.name == "matmul"}
    for first in (True, False):
        regrouped = reassociate(graph, lambda v, first=first: (v in products) != first)
        made = regrouped.producers()
        total = made[the("tanh", regrouped).inputs[0]]
        kinds = [
            {made[v].op.name if v in made else "" for v in made[part].inputs}
            for part in total.inputs
        ]
        assert kinds == ([{"matmul"}, {""}] if first else [{""}, {"matmul"}])
        assert_same_numbers(graph, regrouped, arrays)


@pytest.mark.filterwarnings("ignore:overflow")  # of the numbers that the step is recorded with
@pytest.mark.parametrize("numbers", [(1e200, 1e200), (1e-200, 1e-200), (1e308, 1e308)])
def test_numbers_that_overflow_together_are_left_apart(numbers: tuple[float, float]):
    a, b = numbers

    def step(h: Tensor) -> Tensor:
        return (h + a) + b if a == 1e308 else (h * a) * b

    graph, _ = traced(step, (B, H))
    op = OPS["add"] if a == 1e308 else OPS["mul"]
    after = reassociate(graph, lambda v: int(v in varying(graph, 1)), op)
    assert after.instructions == graph.instructions


def test_nothing_becomes_nan_that_was_none(backend: str):
    h = tg.tensor(np.zeros((1, 2), np.float32))
    for factor in 1e20, 1e-30:
        _, y = tg.scan(lambda h, _, k=factor: (h, h * k * k), h, steps=1, backend=backend)
        np.testing.assert_array_equal(y.data, 0)
