"""Plans kept by what a step records: one that records the same is not compiled again.

Weights are no part of that, only their shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .graph import Graph
from .recent import Recent

if TYPE_CHECKING:  # the passes are loaded when there is something to compile
    from .plan import Plan

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


def plan_for(key: Key, graph: Graph, check: Callable[[], None]) -> Plan:
    """The plan made before for a step that recorded the same; or a new one, after the check."""
    plan = _plans.find(key)
    if plan is None:
        check()
        from .plan import planned

        plan = _plans.keep(key, planned(graph, *key[1:]))
    return plan
