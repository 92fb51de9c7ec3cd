"""Graphs over all steps run span by span: which ops have a form for that, and that it is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from graphs import B, T, parameter, run, traced
from user_cells import H, I

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler import memory
from tinygrad_lstm.compiler.graph import Graph
from tinygrad_lstm.compiler.spanned import spanned
from tinygrad_lstm.compiler.spans import Along, Spans, spans_of
from tinygrad_lstm.ops import OPS
from tinygrad_lstm.tensor import record

W, ROW, TABLE = parameter(0, H, I), parameter(1, H), parameter(2, 6, H)
Step = Callable[..., Any]


def over_time(graph: Graph, timed: int = 1) -> Spans | None:
    """The first inputs have time along their first axis."""
    return spans_of(graph, dict.fromkeys(graph.inputs[:timed], Along(0)), T)


def in_spans(
    graph: Graph, arrays: Sequence[np.ndarray], timed: int, edges: Sequence[int]
) -> list[np.ndarray]:
    """The outputs, computed in the spans between the edges, the last one first."""
    spans = over_time(graph, timed)
    assert spans is not None
    start = spanned(graph, spans, graph.inputs[:timed], (), (graph.outputs,), apart=True)
    started = start(arrays)
    shares = [started.over(a, b) for a, b in pairwise(edges)][::-1]
    (found,) = started.after(*(sum(share) for share in zip(*shares, strict=True)))
    return found


UNDERSTOOD: dict[str, Step] = {
    "elementwise": lambda x: tg.tanh(x * ROW + 1.0) / (x * x + 2.0),
    "a number for each step": lambda x: x * x.sum((1, 2), keepdims=True),
    "a product with a weight": lambda x: tg.exp(x) @ W,
    "a weight's product with it": lambda x: W.T @ x.swapaxes(1, 2),
    "products of each step": lambda x: x @ x.swapaxes(1, 2),
    "rows of all steps": lambda x: x.reshape((T * B, H)) @ W,
    "columns of all steps": lambda x: (W.T @ x.reshape((T * B, H)).T).T,
    "a product over time": lambda x: x.reshape((T * B, H)).T @ tg.sin(x).reshape((T * B, H)),
    "a sum over time": lambda x: x.sum((0, 1)),
    "a sum over time alone": lambda x: tg.tanh(x).sum(0, keepdims=True),
    "a sum over nothing of time": lambda x: x.sum(1) + x.sum(2).sum(1, keepdims=True),
    "reductions of each step": lambda x: tg.softmax(x, axis=-1) + x.mean(2, keepdims=True),
    "time in the middle": lambda x: tg.exp(x.transpose((1, 0, 2))).transpose((1, 0, 2)),
    "slices": lambda x: (x[:, 1], x[..., 1:], x[:, None, :, 0], x[:, ::-1]),
    "parts side by side": lambda x: tg.concatenate([x, x * 2.0], axis=2),
    "spread": lambda x: x[:, :1].broadcast_to((T, B, H)) * 2.0,
    "more after a total": lambda x: tg.tanh(x.sum((0, 1)) * ROW) @ W,
    "what has no time at all": lambda x: (tg.tanh(W) @ W.T, x * 2.0),
    "what is given": lambda x: (x, W, x * 1.0),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
@pytest.mark.parametrize("small", [0, 1 << 16])
def test_a_graph_in_spans_gives_what_it_gives_at_once(name, small, monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", small)
    graph, arrays = traced(UNDERSTOOD[name], (T, B, H))
    expected = run(graph, arrays)
    for edges in ([0, T], [0, 2, 3, T], [*range(T + 1)]):
        found = in_spans(graph, arrays, 1, edges)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-14)


MIXING: dict[str, Step] = {
    "a running sum": lambda x: tg.cumsum(x, axis=0),
    "shares of all steps": lambda x: tg.softmax(x, axis=0),
    "the mean of all steps": lambda x: x.mean(0),
    "the largest of all steps": lambda x: x.max((0, 1)),
    "another order of steps": lambda x: x[::-1],
    "some of the steps": lambda x: x[1:],
    "steps by an array": lambda x: x[[0, 1, 2, 1, 0]],
    "steps against each other": lambda x: x.reshape((T, B * H)) @ x.reshape((T, B * H)).T,
    "one step of another": lambda x: x.reshape((T, B * H)) * x.sum((1, 2)).reshape((T, 1)).T.sum(),
    "steps one after the other": lambda x: tg.concatenate([x, x], axis=0),
    "a total that meets the steps": lambda x: x - x.sum(0),
    "steps that are rows of something else": lambda x: x.swapaxes(0, 1).reshape((B * T, H)),
    "a weight of as many rows as steps": lambda x: x + parameter(4, T, 1, 1),
    "a product with such a weight": lambda x: x.T @ parameter(5, T, B),
    "the last axis": lambda x: x.transpose((1, 2, 0)),
    "an unknown op": lambda x: tg.einsum("tbh,hi->tbi", x, W),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_may_mix_the_steps_is_not_split(name):
    graph, _ = traced(MIXING[name], (T, B, H))
    assert over_time(graph) is None


def test_an_index_looked_up_and_its_gradient():
    graph, arrays = traced(lambda k: tg.take(TABLE, k, axis=0), (T, B), integers=(0,))
    arrays[0][...] = np.arange(T * B).reshape(T, B) % 6
    np.testing.assert_array_equal(in_spans(graph, arrays, 1, [0, 2, T])[0], run(graph, arrays)[0])

    def gradient(g: Tensor, k: Tensor) -> Tensor:
        return record(OPS["add_rows"], (g, k), {"axis": 0, "shape": (6, H)})

    graph, given = traced(gradient, (T, B, H), (T, B), integers=(1,))
    given[1][...] = arrays[0]
    np.testing.assert_allclose(in_spans(graph, given, 2, [0, 1, T])[0], run(graph, given)[0])


def test_parts_put_into_zeros():
    def step(x: Tensor) -> Tensor:
        index = (slice(None), Ellipsis, slice(1, 1 + H))
        return record(OPS["scatter"], (x,), {"index": index, "shape": (T, B, H + 2)})

    graph, arrays = traced(step, (T, B, H))
    np.testing.assert_array_equal(in_spans(graph, arrays, 1, [0, 3, T])[0], run(graph, arrays)[0])


def test_what_comes_last_is_not_waited_for():
    graph, arrays = traced(lambda x, w: (x.sum((0, 1)), tg.tanh(w) * 2.0), (T, B, H), (H,))
    x, w = graph.inputs
    spans = spans_of(graph, {x: Along(0)}, T, [w])
    assert spans is not None and not spans.first and len(spans.after) == 2
    started = spanned(graph, spans, [x], [w], (graph.outputs,))(arrays[:1])
    (found,) = started.after(*started.over(0, T), arrays[1])
    np.testing.assert_allclose(found[1], np.tanh(arrays[1]) * 2.0)
    mixed, _ = traced(lambda x, w: x * w, (T, B, H), (H,))
    assert spans_of(mixed, {mixed.inputs[0]: Along(0)}, T, mixed.inputs[1:]) is None


def test_a_chain_of_elementwise_ops_is_written_into_its_result():
    graph, arrays = traced(lambda x: tg.tanh(x @ W + 1.0), (T, B, H))
    spans = over_time(graph)
    assert spans is not None and len(spans.over) == 3
    start = spanned(graph, spans, graph.inputs[:1], (), (graph.outputs,))
    (found,) = start(arrays).after()  # there before it is computed
    assert found[0].shape == (T, B, I)
