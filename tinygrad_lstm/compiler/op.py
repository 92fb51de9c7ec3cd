"""A compiled scan as one recorded op, run and pulled back by its plan; and what takes a result out.

Gradients of gradients go through the unrolled steps, each of whose ops is recorded for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..autodiff import grad
from ..context import no_grad, scope
from ..functions import stack, unsqueeze
from ..tensor import Bundle, Op, Tensor
from .graph import Graph
from .trace import replay

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["PART", "SCAN"]


class _Outputs(Bundle):
    """A scan's outputs, with what its backward pass reads."""

    __slots__ = ("saved",)

    saved: Any


def _forward(*arrays: Any, plan: Plan, graph: Graph, xs: int) -> _Outputs:
    try:
        outputs, saved = plan.run(arrays)
    except (ValueError, IndexError):  # NumPy's, which knows neither op nor step
        _find_failing(graph, [Tensor(a) for a in arrays], plan.carries, xs, plan.steps)
        raise
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


def _find_failing(
    graph: Graph, inputs: Sequence[Tensor], carries: int, xs: int, steps: int
) -> None:
    """Run op by op until one fails, whose error names it and the step, as counted in running."""
    states = list(inputs[:carries])
    series, captured = inputs[carries : carries + xs], inputs[carries + xs :]
    with no_grad():
        for k in range(steps):
            with scope(f"step {k}"):
                states = replay(graph, [*states, *(x[k] for x in series), *captured])[:carries]


def _part_rule(g: Any, out: Any, a: Any, position: int) -> Bundle:
    shares = Bundle([None] * len(a._data if isinstance(a, Tensor) else a))
    shares[position] = g
    return shares


SCAN = Op("scan", "scan", r"\operatorname{{scan}}({all})", _forward, pullback=_pullback)
PART = Op("part", "part", r"{0}", lambda a, position: a[position], (_part_rule,))
