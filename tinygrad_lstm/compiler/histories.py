"""Whether a gradient that a step asks for would go on into the steps before, where it is recorded.

Compiled, a step knows its carry and x_t as they are given, and not how they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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


Origin = Key | tuple[Key, int]
"""What a tensor of some step is, as it is in all of an unrolled run: made by the step at a time, or
there before all steps.
"""


class _Reach(NamedTuple):
    """What a leaf of the new carry is made of, within one step.

    carry: leaves of the carry before. made: by the step. given: else, with all behind it.
    """

    carry: Collection[int]
    made: Collection[Key]
    given: Collection[Key]


class Histories:
    """What the carry and x_t are made of at each step of an unrolled run.

    before, new: the carry as the step is given it, and as it leaves it. x_t: what it is given of
    inputs. states: the first carry. steps: how many there are. is_made: whether the step made it.
    """

    def __init__(
        self,
        before: Sequence[Tensor],
        new: Sequence[Tensor],
        states: Sequence[Tensor],
        x_t: Sequence[Tensor],
        inputs: Sequence[Tensor],
        steps: int,
        is_made: Callable[[Key], bool],
    ) -> None:
        self._carry: dict[Key, int] = {t: k for k, t in enumerate(before)}
        self._inputs: dict[Key, set[Key]] = {
            t: _behind(x) for t, x in zip(x_t, inputs, strict=True)
        }
        self._new, self._is_made = new, is_made
        self._reach = [self._reached(t) for t in new]
        # leaves may change places; which comes to be made of which shows by then
        last = min(steps, 2 * len(new) ** 2 + 2)
        self._origins: list[list[Origin]] = [[key_of(t) for t in states]]
        self._behind: list[list[set[Origin]]] = [[{*_behind(t)} for t in states]]
        for step in range(last - 1):
            self._go_on(step)

    def check(self, asked: Asked) -> None:
        """Raise GraphError if steps before have a share in a gradient."""
        for t in asked.behind:
            for key in asked.wanted:
                if key is not t and self._is_made_of(t, key):
                    at = "" if asked.place is None else f" ({describe_place(asked.place)})"
                    of = describe(key if isinstance(key, Tensor) else key.output())
                    raise GraphError(
                        f"scan: a gradient with respect to {of}{at} comes back to {describe(t)}, "
                        "which is made of it, too, before the step: compiled, a step does not know "
                        "how. Differentiate something of its .detach(), or pass unroll=True"
                    )

    def _is_made_of(self, t: Tensor, key: Key) -> bool:
        """At any step."""
        if key in self._inputs:  # every step has its own
            return False
        j, k = self._carry.get(key), self._carry.get(t)
        for origins, behind in zip(self._origins, self._behind, strict=True):
            origin = key if j is None else origins[j]
            if origin in (self._inputs.get(t, ()) if k is None else behind[k]):
                return True
        return False

    def _reached(self, t: Tensor) -> _Reach:
        carry: set[int] = set()
        made: set[Key] = set()
        given: set[Key] = set()
        for key in _behind(t):
            if key in self._carry:
                carry.add(self._carry[key])
            elif key in self._inputs:
                given |= self._inputs[key]
            else:
                (made if self._is_made(key) else given).add(key)
        return _Reach(carry, made, given)

    def _go_on(self, step: int) -> None:
        """From the carry before a step to that after it."""
        origins, behind = self._origins[-1], self._behind[-1]
        oldest = step - len(self._new)  # what is older is passed on no more
        now: list[Origin] = []
        found: list[set[Origin]] = []
        for t, reach in zip(self._new, self._reach, strict=True):
            key = key_of(t)
            if key in self._carry:
                now.append(origins[self._carry[key]])
            else:
                now.append((key, step) if self._is_made(key) else key)
            all_behind: set[Origin] = {*reach.given, *((made, step) for made in reach.made)}
            for k in reach.carry:
                all_behind.update(
                    o for o in behind[k] if not isinstance(o, tuple) or o[1] >= oldest
                )
            found.append(all_behind)
        self._origins.append(now)
        self._behind.append(found)


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
