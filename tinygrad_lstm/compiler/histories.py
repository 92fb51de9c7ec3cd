"""Whether a gradient that a step asks for would go on into the steps before, where it is recorded.

Compiled, a step knows its carry and x_t as they are given, and not how they were made.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..context import Place
from ..errors import GraphError
from ..sweep import Key, key_of
from ..tensor import Tensor
from ..wording import describe, describe_place

__all__ = ["Asked", "Histories"]


class Asked(NamedTuple):
    """A gradient asked for inside a step.

    behind: what of the carry and of x_t it comes back to. wanted: what it is with respect to, if
    that was not made by the step. place: who asked.
    """

    behind: Collection[Tensor]
    wanted: Collection[Key]
    place: Place | None


class Histories:
    """What the carry and x_t of a step are made of.

    before, new: the carry as the step is given it, and as it leaves it. x_t: what it is given of
    inputs. states: the first carry.
    """

    def __init__(
        self,
        before: Sequence[Tensor],
        new: Sequence[Tensor],
        states: Sequence[Tensor],
        x_t: Sequence[Tensor],
        inputs: Sequence[Tensor],
    ) -> None:
        self._carry: dict[Key, int] = {t: k for k, t in enumerate(before)}
        self._new, self._states = new, states
        self._inputs: dict[Key, Tensor] = dict(zip(x_t, inputs, strict=True))

    def check(self, asked: Asked) -> None:
        """Raise GraphError if steps before have a share in a gradient."""
        for t in asked.behind:
            for key in asked.wanted:
                if key is not t and self._is_made_of(t, key):
                    at = "" if asked.place is None else f" ({describe_place(asked.place)})"
                    of = describe(key if isinstance(key, Tensor) else key.output())
                    raise GraphError(
                        f"scan: a gradient with respect to {of}{at} comes back to {describe(t)}, "
                        "which steps before make of it, too: compiled, a step does not know these. "
                        "Differentiate something of its .detach(), or pass unroll=True"
                    )

    def _is_made_of(self, t: Tensor, key: Key) -> bool:
        if key in self._inputs:  # every step has its own
            return False
        if t in self._inputs:
            return self._at_first(key) in _behind(self._inputs[t])
        k = self._carry[t]
        if key not in self._carry:
            return key in self._of_all_steps(k)
        if self._at_first(key) in _behind(self._states[k]):
            return True
        last = key_of(self._new[self._carry[key]])  # what it was made as, one step before
        return last in (self._of_all_steps(k) if last in self._carry else _behind(self._new[k]))

    def _at_first(self, key: Key) -> Key:
        """What it is at the first step."""
        return key_of(self._states[self._carry[key]]) if key in self._carry else key

    def _of_all_steps(self, k: int) -> set[Key]:
        """What a leaf of the carry is made of, at whatever step."""
        found: set[Key] = set()
        left, seen = [k], {k}
        while left:
            k = left.pop()
            found |= _behind(self._new[k]) | _behind(self._states[k])
            more = {self._carry[key] for key in found if key in self._carry} - seen
            seen |= more
            left += more
        for x_t in found & self._inputs.keys():
            found |= _behind(self._inputs[x_t])
        return found


def _behind(t: Tensor) -> set[Key]:
    """All that a gradient with respect to it goes on to, and itself."""
    found: set[Key] = set()
    left = [t]
    while left:
        t = left.pop()
        key = key_of(t)
        if key not in found and t._requires_grad:
            found.add(key)
            left += () if t.node is None else t.node.inputs
    return found
