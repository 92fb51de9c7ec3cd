"""A compiled scan as one recorded op, run and pulled back by its plan; and what takes a result out.

Gradients of gradients go through the unrolled steps, each of whose ops is recorded for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff import grad
from ..context import fresh_context, no_grad, scope
from ..functions import stack, unsqueeze
from ..tensor import OWN, Attrs, Bundle, Node, Op, Tensor
from .graph import Graph
from .trace import replay

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["PART", "SCAN"]


def _forward(arrays: Sequence[Any], attrs: Attrs) -> tuple[list[Any], Any]:
    """All results, and what the plan keeps for its backward pass."""
    plan: Plan = attrs["plan"]
    try:
        return plan.run(arrays)
    except (ValueError, IndexError):  # NumPy's, which knows neither op nor step
        given = [Tensor(a) for a in arrays]
        _find_failing(attrs["graph"], given, plan.carries, attrs["xs"], plan.steps)
        raise


def _pullback(g: Any, node: Node, recorded: bool) -> Sequence[Any]:
    plan: Plan = node.attrs["plan"]
    if isinstance(g, Bundle):
        cotangents = [*map(g.get, range(plan.others)), g.get(OWN)]
    else:
        cotangents = *(None,) * plan.others, g
    if recorded:
        return _pullback_unrolled(cotangents, node.inputs, **node.attrs)
    given = zip(cotangents[plan.carries :], plan.needed[plan.carries :], strict=True)
    if all(c is not None or not needed for c, needed in given):
        return plan.pull(node.saved, cotangents)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = plan.pull(node.saved, cotangents)
    if all(a is None or np.isfinite(a).all() for a in found):
        return found
    return _pulled_exactly(cotangents, node)


def _pulled_exactly(cotangents: Sequence[Any], node: Node) -> list[Any]:
    """Without those outputs that no gradient comes from: op by op.

    The plan takes zeros for them; and zero times an infinite slope, of a square root at 0 perhaps,
    is no number.
    """
    with fresh_context():
        given = [None if c is None else Tensor(c) for c in cotangents]
        found = _pullback_unrolled(given, node.inputs, **node.attrs, create_graph=False)
    return [None if t is None else np.array(t._data) for t in found]


def _pullback_unrolled(
    cotangents: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    plan: Plan,
    graph: Graph,
    xs: int,
    create_graph: bool = True,
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
        for t, seed in zip(outputs, cotangents, strict=True)
        if seed is not None and t.requires_grad
    ]
    wanted = [t for t in aliases if t.requires_grad]
    ends, seeds = [t for t, _ in pairs], [seed for _, seed in pairs]
    found = iter(grad(ends, wanted, seeds, create_graph=create_graph, allow_unused=True))
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


def _part_pullback(g: Any, node: Node, recorded: bool) -> Sequence[Any]:
    return (Bundle({node.attrs["position"]: g}),)


def _part_forward(own: Any, position: int) -> Any:
    raise RuntimeError(f"compiler: result {position} of a scan can be had from its run alone")


SCAN = Op("scan", "scan", r"\operatorname{{scan}}({all})", _forward, pullback=_pullback)
PART = Op("part", "part", r"{0}", _part_forward, pullback=_part_pullback)
