"""A step as one op of the graph: traced, planned, run and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..context import CONTEXT
from ..tensor import Tensor, record_results
from .graph import Graph, fingerprint
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
    made = prepared(step, states, inputs, count, backend, probe)
    call = call_of(made, len(states))
    found = record_results(SCAN, PART, made.tensors, *call)
    results = len(made.traced.graph.outputs)
    if probe is not None:
        probe.take(found[results:])
    return found[: len(states)], found[len(states) : results]


def explained(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    backend: str | None,
) -> Explanation:
    """What `run_compiled` would do, and its backward pass for all that requires a gradient.

    The plan is made anew: a kept one may be of a step that calls the same values otherwise.
    """
    from .describe import described
    from .plan import planned

    traced = trace_step(step, states, inputs)
    check_repeatable(traced, trace_step(step, states, inputs))
    carries, xs = len(states), len(inputs) + len(traced.draws)
    given = [t.requires_grad for t in (*states, *inputs)]
    needing = (*given, *(False for _ in traced.draws), *(t.requires_grad for t in traced.captured))
    plan = planned(traced.graph, carries, xs, count, needing, backend)
    return described(plan, traced.graph, xs, needing)


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
    probe: Probe | None = None,
    rows: bool = False,
) -> Prepared:
    """Trace the step, and find the plan made for one that recorded the same, or make it.

    rows: whether the last states are wanted as (1, ...).
    """
    traced = trace_step(step, states, inputs)
    graph, mark, carries = traced.graph, traced.mark, len(states)
    series = [*inputs, *drawn(traced.draws, count)]
    if probe is not None:
        graph, taps = probe.insert(graph, carries, len(series))
        mark = fingerprint(graph)
        series += taps
    tensors = (*states, *series, *traced.captured)
    recording = CONTEXT.get().recording
    needing = tuple(recording and t.requires_grad for t in tensors)
    key = Key(mark, carries, len(series), count, needing, backend, rows)
    plan = plan_for(
        key, graph, lambda: check_repeatable(traced, trace_step(step, states, inputs))
    )
    return Prepared(tensors, graph, plan, len(series), traced)


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
