"""A step as one op of the graph: traced, planned, run and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..context import CONTEXT
from ..tensor import Tensor, record_results
from .alone import Divided, divide
from .backends import backend_named
from .graph import Graph
from .leftovers import empty
from .op import PART, SCAN
from .plans import Key, plan_for
from .probe import Probe
from .step import FlatStep, Traced, check_repeatable, drawn, trace_step

if TYPE_CHECKING:  # the passes are loaded when there is something to compile
    from .describe import Explanation
    from .plan import Plan

__all__ = ["Call", "Prepared", "call_of", "explained", "prepared", "run_compiled"]


def run_compiled(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    backend: str | None,
    probe: Probe | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """The last states and every y (T, ...) of `count` steps; step takes and gives flat lists.

    probe: gets a look into the step.
    """
    called = _traced(step, states, inputs, count, probe)
    try:
        divided = _divided(called.graph, len(states), len(called.series), backend)
        if divided is None:
            found = _run(called, count, backend)
        else:
            found = _run_divided(called, divided, count, backend)
    finally:
        empty(called.traced.leftovers)
    results = len(called.traced.graph.outputs)
    if probe is not None:
        probe.take(found[results:])
    return found[: len(states)], found[len(states) : results]


class _Called(NamedTuple):
    """A traced step and what it is called with. series: x, what is drawn, and what a probe adds."""

    graph: Graph
    states: Sequence[Tensor]
    series: Sequence[Tensor]
    traced: Traced
    check: Callable[[], None]


def _traced(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    probe: Probe | None = None,
) -> _Called:
    trace = partial(trace_step, step, states, inputs, steps=count)
    traced = trace()
    graph = traced.graph
    series = [*inputs, *drawn(traced.draws, count)]
    if probe is not None:
        graph, taps = probe.insert(graph, len(states), len(series))
        series += taps

    return _Called(graph, states, series, traced, partial(check_repeatable, traced, trace))


def _divided(graph: Graph, carries: int, xs: int, backend: str | None) -> Divided | None:
    """Where only rows of floating-point numbers do well, what is to be run before."""
    specs = [graph.spec(v) for v in graph.inputs[:carries]]
    if any(spec.dtype.kind in "iu" or not spec.shape for spec in specs):
        return None if backend_named(backend).over_time else divide(graph, carries, xs)
    return None


def _run(called: _Called, count: int, backend: str | None) -> list[Tensor]:
    made = _planned(called, count, backend)
    return record_results(SCAN, PART, made.tensors, *call_of(made, len(called.states)))


def _run_divided(
    called: _Called, divided: Divided, count: int, backend: str | None
) -> list[Tensor]:
    """What is alone first, by NumPy; then the others, which read it at each step."""
    alone, others = divided.chosen(called.states)
    found = _run(called._replace(graph=divided.ahead, states=alone), count, "numpy")
    results, before = found[: len(divided.outputs)], found[len(divided.outputs) :]
    series = [*called.series, *before]
    second = called._replace(graph=divided.rest, states=others, series=series)
    return divided.together(results, _run(second, count, backend))


def explained(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    backend: str | None,
    names: Sequence[str | None],
) -> Explanation:
    """What `run_compiled` would do, and its backward pass for all that requires a gradient.

    names: of the states and the inputs, where they are known by others than their own.
    The plan is made anew: a kept one may be of a step that calls the same values otherwise.
    """
    from .describe import described
    from .plan import planned

    trace = partial(trace_step, step, states, inputs, steps=count)
    traced = trace()
    try:
        check_repeatable(traced, trace)
    finally:
        empty(traced.leftovers)
    carried = [t.requires_grad for t in states]
    series = [*(t.requires_grad for t in inputs), *(False for _ in traced.draws)]
    graph, own = traced.graph, {*traced.graph.names.values()}
    known = {
        v: name for v, name in zip(graph.inputs, names, strict=False) if name and name not in own
    }
    graph = replace(graph, names={**graph.names, **known})
    alone: list[bool] = []
    divided = _divided(graph, len(carried), len(series), backend)
    if divided is not None:
        graph, (alone, carried) = divided.rest, divided.chosen(carried)
        series += alone
    needing = (*carried, *series, *(t.requires_grad for t in traced.captured))
    plan = planned(graph, len(carried), len(series), count, needing, backend)
    return described(plan, len(series), needing, len(alone))


class Prepared(NamedTuple):
    """All that is needed to run a step, and to record that it was run."""

    tensors: tuple[Tensor, ...]
    graph: Graph
    plan: Plan
    xs: int
    traced: Traced


def prepared(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    backend: str | None,
    rows: bool = False,
) -> Prepared:
    """Trace the step, and find the plan made for one that recorded the same, or make it.

    rows: whether the last states are wanted as (1, ...).
    """
    called = _traced(step, states, inputs, count)
    try:
        return _planned(called, count, backend, rows)
    finally:
        empty(called.traced.leftovers)


def _planned(called: _Called, count: int, backend: str | None, rows: bool = False) -> Prepared:
    tensors = (*called.states, *called.series, *called.traced.captured)
    recording = CONTEXT.get().recording
    needing = tuple(recording and t.requires_grad for t in tensors)
    carries, xs = len(called.states), len(called.series)
    key = Key(called.graph.mark, carries, xs, count, needing, backend, rows)
    plan = plan_for(key, called.graph, called.traced, called.check)
    return Prepared(tensors, called.graph, plan, xs, called.traced)


class Call(NamedTuple):
    """How a run is recorded: what its op is told; where each result but the last one is; of all
    whether they require a gradient, and their names."""

    attrs: dict[str, Any]
    positions: Sequence[dict[str, Any]]
    needing: Sequence[bool]
    names: Sequence[str | None]


def call_of(made: Prepared, carries: int, names: Sequence[str] | None = None) -> Call:
    """names: of the results; by default states are called as in the step."""
    graph = made.graph
    attrs = {"plan": made.plan, "graph": graph, "xs": made.xs}
    positions = [{"position": k} for k in range(made.plan.others)]
    if names is not None:
        return Call(attrs, positions, made.plan.needed, names)
    own = [graph.names.get(value) for value in graph.outputs[:carries]]
    own += [None] * (len(graph.outputs) - carries)
    return Call(attrs, positions, made.plan.needed, own)
