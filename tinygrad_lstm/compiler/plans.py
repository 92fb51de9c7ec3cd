"""Plans kept by what a step records: one that records the same is not compiled again.

Weights are no part of that, only their shapes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from .graph import Graph

if TYPE_CHECKING:  # the passes are loaded when there is something to compile
    from .plan import Plan

__all__ = ["Key", "kept_plan", "new_plan"]

_MOST = 128


class Key(NamedTuple):
    """What decides about a plan: the step's fingerprint, and all that Plan is given besides."""

    step: Any
    carries: int
    xs: int
    steps: int
    needing: tuple[bool, ...]
    backend: str | None
    rows: bool


_plans: OrderedDict[Key, Plan] = OrderedDict()
_lock = Lock()


def kept_plan(key: Key) -> Plan | None:
    """The plan made before for a step that recorded the same."""
    with _lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans.move_to_end(key)
        return plan


def new_plan(key: Key, graph: Graph) -> Plan:
    """Make a plan, and keep it; the one that was asked for longest ago goes if there are many."""
    constants = {k: a.copy() for k, a in graph.constants.items()}  # the plan outlives the call
    from .plan import planned

    plan = planned(replace(graph, constants=constants), *key[1:])
    with _lock:
        _plans[key] = plan
        while len(_plans) > _MOST:
            _plans.popitem(last=False)
    return plan
