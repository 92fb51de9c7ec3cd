"""Graphs of small steps for the tests of passes: traced, run and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from user_cells import I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Parameter, Tensor
from tinygrad_lstm.compiler.backends import Backend, backend_named
from tinygrad_lstm.compiler.graph import Graph, Instruction
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.runner import Runner
from tinygrad_lstm.compiler.trace import graph_of
from tinygrad_lstm.tensor import next_number
from tinygrad_lstm.tree import flatten, unflatten

T, B = 5, 3
NUMPY = backend_named("numpy")
STEPWISE = Backend("stepwise", Runner, over_time=False)  # as a native loop has it


def parameter(seed: int, *shape: int) -> Parameter:
    return Parameter(np.random.default_rng(seed).normal(size=shape))


def traced(
    f: Callable[..., Any], *shapes: tuple[int, ...], integers: tuple[int, ...] = ()
) -> tuple[Graph, list[np.ndarray]]:
    """The graph of f over new inputs of these shapes; arrays for these and what f captures.

    integers: which of the inputs are zeros to index by.
    """
    rng = np.random.default_rng(99)
    values: list[np.ndarray] = [rng.normal(size=shape) for shape in shapes]
    for k in integers:
        values[k] = np.zeros(shapes[k], np.int64)
    inputs = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in values]
    since = next_number()
    outputs = flatten(f(*inputs), Tensor, "outputs")[0]
    graph, captured = graph_of(outputs, inputs, since)
    return graph, [t.data for t in (*inputs, *captured)]


def run(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a graph."""
    values = dict(zip(graph.inputs, arrays, strict=True)) | dict(graph.constants)
    for i in graph.instructions:
        values[i.out] = np.asarray(i.op.forward(*(values[v] for v in i.inputs), **i.attrs))
        assert (values[i.out].shape, values[i.out].dtype) == graph.spec(i.out), i.op
    return [values[v] for v in graph.outputs]


def assert_same_numbers(
    before: Graph, after: Graph, arrays: Sequence[np.ndarray], exactly: bool = False
) -> None:
    for one, other in zip(run(before, arrays), run(after, arrays), strict=True):
        np.testing.assert_allclose(other, one, rtol=0 if exactly else 1e-12, atol=1e-14)


def ops(graph: Graph) -> Counter[str]:
    """How often each op stands in the graph."""
    return Counter(i.op.name for i in graph.instructions)


def the(name: str, graph: Graph) -> Instruction:
    """The only instruction of an op."""
    (found,) = (i for i in graph.instructions if i.op.name == name)
    return found


def varying(graph: Graph, inputs: int) -> set[int]:
    """The values that depend on the first few inputs."""
    return graph.depending_on(graph.inputs[:inputs])


def carried_last(graph: Graph, carries: int = 1) -> Callable[[int], int]:
    """A rank: what depends on the carry is added to what does not."""
    carried = varying(graph, carries)
    return lambda v: int(v in carried)


def plan_of(name: str, backend: Backend) -> Plan:
    step, carry, _ = case(name)
    leaves, form = flatten(tensors(carry, B), Tensor, "carry")
    shapes = [*(t.shape for t in leaves), (B, I)]
    graph, _ = traced(lambda *t: step(unflatten(form, t[:-1]), t[-1]), *shapes)
    return Plan(graph, len(leaves), 1, T, [True] * len(graph.inputs), backend)
