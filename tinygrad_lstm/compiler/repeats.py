"""When a step whose plan is known is to be called twice nevertheless.

That a step does the same whenever it is called is looked at when its plan is made. It may draw
random numbers later on, or take another branch at random: then one call records what an earlier one
did, and a plan is there for each. So it is looked at again where there is reason to, and now and
then without any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..tensor import Array, Tensor
from .recent import Recent

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["forget", "is_due"]


_ALWAYS = 8  # changes after which the step is looked at; from then on now and then


class _Use:
    """How the steps of some code were run last, on which arrays, and how often that changed."""

    __slots__ = ("_arrays", "_changes", "_plan", "_times")

    def __init__(self, plan: Plan, arrays: Sequence[Array]) -> None:
        self._changes = 0
        self._begin(plan, arrays)

    def _begin(self, plan: Plan, arrays: Sequence[Array]) -> None:
        self._plan: Callable[[], Any] = ref(plan)
        self._arrays = [ref(a) for a in arrays]
        self._times = 1

    def _is_like(self, plan: Plan, arrays: Sequence[Array]) -> bool:
        if self._plan() is not plan or len(arrays) != len(self._arrays):
            return False
        return all(known() is a for known, a in zip(self._arrays, arrays, strict=True))

    def is_due(self, plan: Plan, arrays: Sequence[Array], known: bool) -> bool:
        """At a change, and once more: at the second time, the fourth, the eighth ..."""
        if self._is_like(plan, arrays):
            self._times += 1
            return _is_power_of_2(self._times)
        self._changes = self._changes + 1 if known else 0  # something new: all is open again
        self._begin(plan, arrays)
        return self._changes <= _ALWAYS or _is_power_of_2(self._changes)


def _is_power_of_2(n: int) -> bool:
    return n & (n - 1) == 0


_uses: Recent[CodeType, _Use] = Recent()


def is_due(origin: CodeType | None, plan: Plan, captured: Sequence[Tensor], known: bool) -> bool:
    """Whether the step must be called twice, now that it runs by this plan.

    origin: the code that recorded its first op. captured: what it reads; an array without a name
    may have been made inside step. known: whether the plan was there, else it was looked at.
    """
    if origin is None:
        return False
    arrays = [
        t._data
        for t in captured
        if t.node is None and t._name is None and not t._requires_grad and t._data.ndim
    ]
    use = _uses.find(origin)
    if use is None:
        _uses.keep(origin, _Use(plan, arrays))
        return known
    return use.is_due(plan, arrays, known) and known


def forget(origin: CodeType | None) -> None:
    """Steps of this code have not done the same: they are looked at the next time, too."""
    if origin is not None:
        _uses.drop(origin)
