"""A compiled scan as one recorded op: traced, planned, run, and pulled back as a whole.

The plan of a step is kept by what the step records, so a step that records the same again, with
other weights, is not compiled again.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autodiff import grad
from ..context import CONTEXT, fresh_context
from ..errors import GraphError
from ..functions import stack, unsqueeze
from ..sweep import toposort
from ..tensor import (
    Array,
    Bundle,
    Op,
    Tensor,
    _describe,
    next_number,
    record,
    record_parts,
)
from ..threads import one_blas_thread
from .graph import Graph
from .probe import Probe
from .trace import graph_of, replay

if TYPE_CHECKING:  # the passes are loaded when there is something to compile
    from .describe import Explanation
    from .plan import Plan

__all__ = ["FlatStep", "Memo", "explained", "run_compiled", "run_memoized"]

FlatStep = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]]
"""(carries, x_t) -> (carries, y_t), in flat lists."""
Owner = Mapping[str, Tensor | None]
"""The parameters of a layer, by name."""

_MOST_PLANS = 128
_MOST_REPEATS = 16  # of one step: they hold on to its states
_Key = tuple[Any, int, int, int, tuple[bool, ...], str | None, bool]
_plans: OrderedDict[_Key, Plan] = OrderedDict()
_lock = Lock()


class _Outputs(Bundle):
    """A scan's outputs, with what its backward pass reads."""

    __slots__ = ("saved",)

    saved: Any


class _Traced(NamedTuple):
    """A step recorded once."""

    graph: Graph  # inputs: carries, xs, what is drawn per step, captured
    captured: list[Tensor]
    draws: list[Callable[[], Array]]  # how to draw
    ends: list[Tensor]  # the outputs, with the history that the graph was read from


class _Call(NamedTuple):
    """How a run is recorded: what its op is told, and the results: where they are, their names."""

    attrs: dict[str, Any]
    positions: Sequence[dict[str, Any]]
    names: Sequence[str | None]


class _Repeat(NamedTuple):
    """A run from given states on an x of one kind: the tensors besides x, and what they held.

    take: the captured ones out of all parameters, by name.
    """

    states: tuple[Tensor, ...]
    take: Callable[[Owner], tuple[Tensor, ...]]
    captured: tuple[Tensor, ...]
    arrays: tuple[Array, ...]
    needing: tuple[bool, ...]
    call: _Call


_data, _needs = operator.attrgetter("_data"), operator.attrgetter("_requires_grad")


class Memo:
    """What is known of a step that always records the same: a layer's, which reads parameters.

    Such a step is traced once for inputs of the same shapes. A copy knows nothing.
    """

    __slots__ = ("_known", "_names", "_repeats")

    def __init__(self) -> None:
        self._names: tuple[str, ...] | None = None  # of what the step captures
        self._known: dict[Any, _Call] = {}
        self._repeats: dict[Any, _Repeat] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Memo:
        return Memo()

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        return Memo, ()

    def find(
        self, owner: Owner, given: Sequence[Tensor], backend: str | None, recording: bool
    ) -> tuple[tuple[Tensor, ...], _Call] | None:
        """All that the step reads, and how it is run; None if that is not known."""
        if self._names is None:
            return None
        tensors = [*given]
        for name in self._names:
            t = owner.get(name)
            if t is None:
                return None
            tensors.append(t)
        call = self._known.get(_kinds(tensors, backend, recording))
        return None if call is None else (tuple(tensors), call)

    def learn(
        self, owner: Owner, made: _Prepared, call: _Call, backend: str | None, recording: bool
    ) -> None:
        """Keep how it is run, if all that the step captured are parameters."""
        names = {id(t): name for name, t in owner.items() if t is not None}
        if made.traced.draws or not all(id(t) in names for t in made.traced.captured):
            return
        self._names = tuple(names[id(t)] for t in made.traced.captured)
        if len(self._known) >= _MOST_PLANS:
            self._known.clear()
        self._known[_kinds(made.tensors, backend, recording)] = call

    def remember(
        self, owner: Owner, states: Sequence[Tensor], x: Tensor, backend: str | None
    ) -> None:
        """A run from these states, made by this memo's step just now."""
        recording = CONTEXT.get().recording
        known = self.find(owner, (*states, x), backend, recording)
        if known is None or self._names is None or len(self._names) < 2:
            return
        if len(self._repeats) >= _MOST_REPEATS:
            self._repeats.clear()
        captured = known[0][len(states) + 1 :]
        self._repeats[_kind(x, backend, recording)] = _Repeat(
            tuple(states),
            operator.itemgetter(*self._names),
            captured,
            tuple(map(_data, captured)),
            tuple(map(_needs, captured)),
            known[1],
        )

    def repeat(self, owner: Owner, x: Tensor, backend: str | None) -> list[Tensor] | None:
        """What was remembered, run again with another x; None if anything else is different."""
        known = self._repeats.get(_kind(x, backend, CONTEXT.get().recording))
        if known is None:
            return None
        captured = known.take(owner)
        if (
            all(map(operator.is_, captured, known.captured))
            and all(map(operator.is_, map(_data, captured), known.arrays))
            and tuple(map(_needs, captured)) == known.needing
        ):
            return record_parts(_SCAN, _PART, (*known.states, x, *captured), *known.call)
        return None


def _kind(x: Tensor, backend: str | None, recording: bool) -> Any:
    data = x._data
    return data.shape, data.dtype, x._requires_grad, backend, recording


def _kinds(tensors: Sequence[Tensor], backend: str | None, recording: bool) -> Any:
    """All that decides about a plan, of a step that does the same with the same kinds of tensors.

    Steps' inputs are among them, and with them the number of steps.
    """
    kinds: list[Any] = [backend, recording]
    for t in tensors:
        data = t._data
        kinds += data.shape, data.dtype, t._requires_grad
    return tuple(kinds)


class _Tracer:
    """Refuses to hand out a value that stands for every step's; collects what is drawn per step."""

    def __init__(self, since: int, placeholders: Sequence[Tensor]) -> None:
        self.since = since
        self.placeholders = {id(t) for t in placeholders}
        self.drawn_inputs: list[Tensor] = []
        self.draws: list[Callable[[], Array]] = []

    def detached(self, t: Tensor) -> Tensor:
        made = record(_DETACH, (t,))
        return made if t.name is None else made.named(t.name)

    def drawn(self, draw: Callable[[], Array], like: Tensor) -> Tensor:
        made = Tensor(np.ones(like.shape, like.dtype))
        self.drawn_inputs.append(made)
        self.draws.append(draw)
        self.placeholders.add(id(made))
        return made

    def check_concrete(self, t: Tensor) -> None:
        stack = [t]
        seen: set[int] = set()
        while stack:
            now = stack.pop()
            if id(now) in self.placeholders:
                raise GraphError(
                    f"scan: {_describe(t)} depends on the carry or on x_t, and has no value of its "
                    "own while the step is compiled: no float(), bool(), comparison, .numpy() or "
                    ".data on it inside step, nor no_grad, nor grad without create_graph. Use "
                    "where, maximum, relu or detach, or pass unroll=True"
                )
            if now.node is not None and now.node.seq >= self.since and id(now.node) not in seen:
                seen.add(id(now.node))
                stack.extend(now.node.inputs)


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
    made = _prepared(step, states, inputs, count, backend, probe)
    call = _call(made, len(states))
    parts = record_parts(_SCAN, _PART, made.tensors, *call)
    results = len(made.traced.graph.outputs)
    if probe is not None:
        probe.take(parts[results:])
    return parts[: len(states)], parts[len(states) : results]


def run_memoized(
    memo: Memo,
    owner: Owner,
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    backend: str | None,
    names: Sequence[str] | None = None,
) -> list[Tensor]:
    """`run_compiled` for a step that always does the same, on what `owner` holds by name.

    The last states, then every y. names: of a layer that is alone: what its results are called;
    its states get a new first axis, as if stacked.
    """
    recording = CONTEXT.get().recording
    known = memo.find(owner, (*states, *inputs), backend, recording)
    if known is None:
        made = _prepared(step, states, inputs, len(inputs[0]), backend, rows=names is not None)
        known = made.tensors, _call(made, len(states), names)
        memo.learn(owner, made, known[1], backend, recording)
    return record_parts(_SCAN, _PART, known[0], *known[1])


class _Prepared(NamedTuple):
    """All that is needed to run a step, and to record that it was run."""

    tensors: tuple[Tensor, ...]
    graph: Graph
    plan: Plan
    xs: int
    traced: _Traced


def _prepared(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    backend: str | None,
    probe: Probe | None = None,
    rows: bool = False,
) -> _Prepared:
    traced = _trace(step, states, inputs)
    graph, carries = traced.graph, len(states)
    series = [*inputs, *_drawn(traced.draws, count)]
    if probe is not None:
        graph, taps = probe.insert(graph, carries, len(series))
        series += taps
    tensors = (*states, *series, *traced.captured)
    recording = CONTEXT.get().recording
    needing = tuple(recording and t.requires_grad for t in tensors)
    key = (_fingerprint(graph), carries, len(series), count, needing, backend, rows)
    plan = _kept_plan(key)
    if plan is None:
        _check_repeatable(traced, _trace(step, states, inputs))
        plan = _new_plan(key, graph)
    return _Prepared(tensors, graph, plan, len(series), traced)


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

    traced = _trace(step, states, inputs)
    _check_repeatable(traced, _trace(step, states, inputs))
    carries, xs = len(states), len(inputs) + len(traced.draws)
    given = [t.requires_grad for t in (*states, *inputs)]
    needing = (*given, *(False for _ in traced.draws), *(t.requires_grad for t in traced.captured))
    plan = planned(traced.graph, carries, xs, count, needing, backend)
    return described(plan, traced.graph, xs, needing)


def _call(made: _Prepared, carries: int, names: Sequence[str] | None = None) -> _Call:
    graph = made.graph
    attrs = {"plan": made.plan, "graph": graph, "xs": made.xs}
    positions = [{"position": k} for k in range(len(graph.outputs))]
    if names is not None:
        return _Call(attrs, positions, names)
    own = [graph.names.get(value) for value in graph.outputs[:carries]]
    return _Call(attrs, positions, [*own, *[None] * (len(positions) - carries)])


def _trace(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
) -> _Traced:
    """Record the step once, on stand-ins for the carry and x_t."""
    before = [_stand_in(t._data, t.name) for t in states]
    x_t = [_stand_in(t._data[0], "x_t") for t in inputs]
    since = next_number()
    tracer = _Tracer(since, [*before, *x_t])
    with fresh_context(tracer), one_blas_thread():
        new, ys = step(before, x_t)
    ends = [*new, *ys]
    graph, captured = graph_of(ends, [*before, *x_t, *tracer.drawn_inputs], since)
    return _Traced(graph, captured, tracer.draws, ends)


def _check_repeatable(once: _Traced, again: _Traced) -> None:
    """Raise GraphError if the step, called a second time, did something else."""
    if _fingerprint(once.graph) != _fingerprint(again.graph):
        ops = [" ".join(i.op.name for i in part.graph.instructions) for part in (once, again)]
        raise GraphError(
            f"scan: step records other ops or numbers when it is called again: {ops[0]}; then "
            f"{ops[1]}. {_WHY_REPEATABLE}"
        )
    for t, other in zip(once.captured, again.captured, strict=True):
        if t is not other and not np.array_equal(t._data, other._data, equal_nan=True):
            nodes = toposort(once.ends)
            reader = next((n for n in nodes if any(x is t for x in n.inputs)), None)
            place = "" if reader is None else f", read by {reader.op.name} ({reader.where}),"
            raise GraphError(
                f"scan: {_describe(t)}{place} has other values when step is called again. "
                f"{_WHY_REPEATABLE}"
            )


_WHY_REPEATABLE = (
    "A compiled step is recorded once and stands for all: give random numbers as xs, use dropout, "
    "or pass unroll=True"
)


def _drawn(draws: Sequence[Callable[[], Array]], count: int) -> list[Tensor]:
    """All steps' random inputs, (T, ...) each, drawn in the order in which an unrolled run does."""
    steps = [[draw() for draw in draws] for _ in range(count)]
    return [Tensor(np.stack(column)) for column in zip(*steps, strict=True)]


def _stand_in(data: Any, name: str | None) -> Tensor:
    array = np.asarray(data)
    return Tensor(array, requires_grad=array.dtype.kind == "f", name=name)


def _kept_plan(key: _Key) -> Plan | None:
    """The plan made before for a step that recorded the same."""
    with _lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans.move_to_end(key)
        return plan


def _new_plan(key: _Key, graph: Graph) -> Plan:
    _, carries, xs, count, needing, backend, rows = key
    constants = {k: a.copy() for k, a in graph.constants.items()}  # the plan outlives the call
    from .plan import planned

    graph = replace(graph, constants=constants)
    plan = planned(graph, carries, xs, count, needing, backend, rows)
    with _lock:
        _plans[key] = plan
        while len(_plans) > _MOST_PLANS:
            _plans.popitem(last=False)
    return plan


def _fingerprint(graph: Graph) -> tuple[Any, ...]:
    """Everything that a plan depends on, as something to look up by."""
    instructions = tuple((i.op, i.inputs, _frozen(i.attrs), i.out) for i in graph.instructions)
    constants = tuple((k, a.dtype.str, a.tobytes()) for k, a in graph.constants.items())
    return graph.inputs, graph.outputs, instructions, graph.specs, constants


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in value.items())
    if isinstance(value, tuple | list):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return value


# -- the op ----------------------------------------------------------------------------------------


def _forward(*arrays: Any, plan: Plan, graph: Graph, xs: int) -> _Outputs:
    outputs, saved = plan.run(arrays)
    result = _Outputs(outputs)
    result.saved = saved
    return result


def _pullback(g: Any, out: Any, inputs: Any, attrs: Any) -> Sequence[Any]:
    if isinstance(out, Tensor):
        return _pullback_unrolled(g, inputs, **attrs)
    plan: Plan = attrs["plan"]
    return plan.pull(out.saved, g)


def _pullback_unrolled(
    g: Any, inputs: Sequence[Tensor], plan: Plan, graph: Graph, xs: int
) -> list[Tensor | None]:
    """For gradients of gradients: every op of every step recorded, and differentiated.

    With respect to aliases of the inputs, for one input may be another, or computed from it, and
    only its own share is asked for.
    """
    aliases = [t.reshape(t.shape) if t.requires_grad else t for t in inputs]
    outputs = _unrolled(graph, aliases, plan.carries, xs, plan.steps)
    if plan.rows:
        outputs[: plan.carries] = [unsqueeze(t, 0) for t in outputs[: plan.carries]]
    pairs = [
        (t, seed)
        for t, seed in zip(outputs, g._data if isinstance(g, Tensor) else g, strict=True)
        if seed is not None and t.requires_grad
    ]
    wanted = [t for t in aliases if t.requires_grad]
    ends, seeds = [t for t, _ in pairs], [seed for _, seed in pairs]
    found = iter(grad(ends, wanted, seeds, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in inputs]


def _unrolled(
    graph: Graph, inputs: Sequence[Tensor], carries: int, xs: int, steps: int
) -> list[Tensor]:
    states = list(inputs[:carries])
    series, captured = inputs[carries : carries + xs], inputs[carries + xs :]
    columns: list[list[Tensor]] = []
    for t in range(steps):
        outputs = replay(graph, [*states, *(x[t] for x in series), *captured])
        states, ys = outputs[:carries], outputs[carries:]
        columns.append(ys)
    return [*states, *(stack(column) for column in zip(*columns, strict=True))]


_SCAN = Op("scan", "scan", r"\operatorname{{scan}}({all})", _forward, pullback=_pullback)


def _part_rule(g: Any, out: Any, a: Any, position: int) -> Bundle:
    shares = Bundle([None] * len(a._data if isinstance(a, Tensor) else a))
    shares[position] = g
    return shares


_PART = Op("part", "part", r"{0}", lambda a, position: a[position], (_part_rule,))

_DETACH = Op("detach", "detach", r"{0}", lambda a: a)
