"""Plans kept by what a step records: one that records the same is not compiled again.

Weights are no part of that, only their shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .graph import Graph
from .recent import Recent
from .repeats import forget, is_due

if TYPE_CHECKING:  # the passes are loaded when there is something to compile
    from .plan import Plan
    from .step import Traced

__all__ = ["Key", "plan_for"]


class Key(NamedTuple):
    """What decides about a plan: the graph's mark, and all that Plan is given besides."""

    step: Any
    carries: int
    xs: int
    steps: int
    needing: tuple[bool, ...]
    backend: str | None
    rows: bool


_plans: Recent[Key, Plan] = Recent()


def plan_for(key: Key, graph: Graph, traced: Traced, check: Callable[[], None]) -> Plan:
    """The plan made before for a step that recorded the same; or a new one, after the check.

    A known one may be due for the check, too.
    """
    plan = _plans.find(key)
    known = plan is not None
    if plan is None:
        check()
        from .plan import planned

        plan = _plans.keep(key, planned(graph, *key[1:]))
    if is_due(traced.origin, plan, traced.captured, known):
        try:
            check()
        except BaseException:
            forget(traced.origin)
            raise
    return plan
