"""Graphs: the order of instructions, and what no output needs."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import B, assert_same_numbers, ops, run, traced
from user_cells import H

import tinygrad_lstm as tg
from tinygrad_lstm.compiler.graph import Graph, in_order


def test_instructions_are_put_after_what_they_read():
    graph, arrays = traced(lambda x: tg.tanh(x * 2.0 + x) * x, (B, H))
    mixed = Graph(
        graph.inputs, graph.outputs, graph.instructions[::-1], graph.specs, graph.constants
    )
    assert_same_numbers(graph, in_order(mixed), arrays, exactly=True)


def test_what_no_output_needs_is_pruned():
    graph, arrays = traced(lambda x: (tg.tanh(x * 2.0), tg.exp(x * 3.0)), (B, H))
    half = Graph(
        graph.inputs, graph.outputs[:1], graph.instructions, graph.specs, graph.constants
    ).pruned()
    assert ops(half) == {"mul": 1, "tanh": 1} and len(half.constants) == 1
    np.testing.assert_array_equal(run(half, arrays)[0], run(graph, arrays)[0])


def test_instructions_that_wait_for_each_other_are_an_error():
    graph, _ = traced(lambda x: tg.tanh(tg.exp(x)), (B, H))
    one, other = graph.instructions
    instructions = one._replace(inputs=(other.out,)), other
    with pytest.raises(RuntimeError, match="wait for each other"):
        in_order(Graph(graph.inputs, graph.outputs, instructions, graph.specs))
