"""Looking into a step: named values come out of it, and taps catch their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import ops, parameter, run, traced
from user_cells import H, I

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.differentiate import differentiate
from tinygrad_lstm.compiler.graph import Graph
from tinygrad_lstm.compiler.probe import expose, named_values, tap

B = 3


def gated(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A step with names on a gate, a state, and a weight that does not move."""
    w = (parameter(0, I, H) * 2.0).named("w")
    z = tg.sigmoid(x @ w + h).named("z")
    new = (z * h + (1.0 - z)).named("h")
    return new, new * z


def graph_and_arrays() -> tuple[Graph, list[np.ndarray]]:
    return traced(gated, (B, H), (B, I))


def test_names_of_what_moves_are_found_in_order():
    graph, _ = graph_and_arrays()
    assert list(named_values(graph, graph.inputs[:2])) == ["z", "h"]
    assert "w" in graph.names.values()


def test_of_two_values_with_one_name_the_first_is_meant():
    def step(h: Tensor) -> Tensor:
        return (h * 2.0).named("a") + (h * 3.0).named("a")

    graph, (h,) = traced(step, (B, H))
    seen = expose(graph, [named_values(graph, graph.inputs)["a"]])
    np.testing.assert_array_equal(run(seen, [h])[-1], 2 * h)


def test_exposed_values_are_further_outputs():
    graph, arrays = graph_and_arrays()
    there = named_values(graph, graph.inputs[:2])
    seen = expose(graph, [there["z"]])
    assert len(seen.outputs) == 3 and seen.instructions == graph.instructions
    for before, after in zip(run(graph, arrays), run(seen, arrays), strict=False):
        np.testing.assert_array_equal(after, before)
    h, x, w = arrays
    np.testing.assert_allclose(run(seen, arrays)[-1], 1 / (1 + np.exp(-(x @ (2 * w) + h))))


def tapped() -> tuple[Graph, Graph, list[np.ndarray]]:
    """The step, the step with taps on z and h after its first two inputs, and its arrays."""
    graph, arrays = graph_and_arrays()
    there = named_values(graph, graph.inputs[:2])
    return graph, tap(graph, [there["z"], there["h"]], 2), arrays


def test_taps_of_zero_change_no_number():
    graph, probed, arrays = tapped()
    zeros = [np.zeros((B, H))] * 2
    found = run(probed, [*arrays[:2], *zeros, *arrays[2:]])
    for one, other in zip(run(graph, arrays), found, strict=True):
        np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize("which", [0, 1])
def test_a_tap_moves_its_value_wherever_it_is_read(which: int):
    _, probed, arrays = tapped()
    taps = [np.zeros((B, H)), np.zeros((B, H))]
    taps[which] += 0.25
    h, x, w = arrays
    z = 1 / (1 + np.exp(-(x @ (2 * w) + h))) + taps[0]
    new = z * h + 1 - z + taps[1]
    found = run(probed, [h, x, *taps, w])
    np.testing.assert_allclose(found[0], new)
    np.testing.assert_allclose(found[1], new * z)


def test_the_sum_takes_over_the_name():
    graph, probed, _ = tapped()
    assert sorted(probed.names.values()) == sorted(graph.names.values())
    producers = probed.producers()
    for value in named_values(probed, probed.inputs[:2]).values():
        assert producers[value].op.name == "add" and producers[value].inputs[1] in probed.inputs


def test_the_gradient_of_a_tap_is_that_of_its_value():
    _, probed, arrays = tapped()
    zeros = [np.zeros((B, H))] * 2
    inputs = [*arrays[:2], *zeros, *arrays[2:]]
    derived = differentiate(probed, set(probed.inputs), probed.inputs[2:4])
    values = dict(zip(probed.inputs, inputs, strict=True)) | dict(probed.constants)
    for i in probed.instructions:
        values[i.out] = np.asarray(i.op.forward(*(values[v] for v in i.inputs), **i.attrs))
    rng = np.random.default_rng(3)
    by_new, by_y = rng.normal(size=(2, B, H))
    reads = [values[v] for v in derived.reads]
    d_z, d_h = run(derived.graph, [by_new, by_y, *reads])
    h = arrays[0]
    new, y = run(probed, inputs)
    z = y / new
    np.testing.assert_allclose(d_h, by_new + by_y * z)
    np.testing.assert_allclose(d_z, (by_new + by_y * z) * (h - 1) + by_y * new)


def test_no_taps_leave_the_graph_as_it_is():
    graph, _ = graph_and_arrays()
    same = tap(graph, [], 2)
    assert ops(same) == ops(graph) and same.inputs == graph.inputs
