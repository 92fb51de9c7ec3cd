"""Runs of a step that always records the same, a layer's: what is known of it is not found anew."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..context import CONTEXT
from ..tensor import Tensor, record_results
from .op import PART, SCAN
from .recorded import Call, Prepared, call_of, prepared
from .step import FlatStep

__all__ = ["Memo", "run_memoized"]

Owner = Mapping[str, Tensor | None]
"""The parameters of a layer, by name."""

_MOST_CALLS = 128
_MOST_REPEATS = 16  # they hold on to states
_data, _needs = operator.attrgetter("_data"), operator.attrgetter("_requires_grad")


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
        made = prepared(step, states, inputs, len(inputs[0]), backend, rows=names is not None)
        known = made.tensors, call_of(made, len(states), names)
        memo.learn(owner, made, known[1], backend, recording)
    return record_results(SCAN, PART, known[0], *known[1])


class Memo:
    """What is known of a step that always records the same: a layer's, which reads parameters.

    Such a step is traced once for inputs of the same shapes. A copy knows nothing.
    """

    __slots__ = ("_known", "_names", "_repeats")

    def __init__(self) -> None:
        self._names: tuple[str, ...] | None = None  # of what the step captures
        self._known: dict[Any, Call] = {}
        self._repeats: dict[Any, _Repeat] = {}

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        return Memo, ()

    def find(
        self, owner: Owner, given: Sequence[Tensor], backend: str | None, recording: bool
    ) -> tuple[tuple[Tensor, ...], Call] | None:
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
        self, owner: Owner, made: Prepared, call: Call, backend: str | None, recording: bool
    ) -> None:
        """Keep how it is run, if all that the step captured are parameters."""
        names = {id(t): name for name, t in owner.items() if t is not None}
        if made.traced.draws or not all(id(t) in names for t in made.traced.captured):
            return
        self._names = tuple(names[id(t)] for t in made.traced.captured)
        if len(self._known) >= _MOST_CALLS:
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
            tuple(states), operator.itemgetter(*self._names), _state(captured), known[1]
        )

    def repeat(
        self, owner: Owner, x: Tensor, backend: str | None, recording: bool
    ) -> list[Tensor] | None:
        """What was remembered, run again with another x; None if anything else is different."""
        known = self._repeats.get(_kind(x, backend, recording))
        if known is None:
            return None
        try:
            captured = known.take(owner)
        except KeyError:  # it was deleted
            return None
        if all(map(operator.is_, _state(captured), known.captured)):
            return record_results(SCAN, PART, (*known.states, x, *captured), *known.call)
        return None


class _Repeat(NamedTuple):
    """A run from given states on an x of one kind.

    take: what the step captured out of all parameters, by name; captured: its state.
    """

    states: tuple[Tensor, ...]
    take: Callable[[Owner], tuple[Tensor, ...]]
    captured: tuple[Any, ...]
    call: Call


def _state(captured: Collection[Tensor]) -> tuple[Any, ...]:
    """The tensors, what they hold, and whether they require gradients: objects to be the same."""
    return *captured, *map(_data, captured), *map(_needs, captured)


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
