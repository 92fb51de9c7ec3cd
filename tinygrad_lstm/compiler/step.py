"""A step recorded once, on stand-ins for the carry and x_t; what it must not do while it is.

Such a step stands for all steps: a value of its own it has none, and it must record the same
whenever it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ..context import calling_line, fresh_context
from ..errors import GraphError
from ..parallel.blas import one_blas_thread
from ..sweep import Key, toposort
from ..tensor import Array, Node, Op, Tensor, next_number, record
from ..wording import describe, describe_call, describe_place
from .graph import Graph
from .histories import Asked, Histories
from .leftovers import empty
from .recent import Recent
from .trace import Outline, outline_of, recorded_since

__all__ = ["FlatStep", "Traced", "check_repeatable", "drawn", "trace_step"]

FlatStep = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]]
"""(carries, x_t) -> (carries, y_t), in flat lists."""


class Draw(NamedTuple):
    """How to draw a random input of one step; rng: what it is drawn from, as the user gave it."""

    make: Callable[[], Array]
    rng: Any


class Traced(NamedTuple):
    """A step recorded once."""

    graph: Graph  # inputs: carries, xs, what is drawn per step, captured
    captured: list[Tensor]
    draws: list[Draw]
    ends: list[Tensor]  # the outputs, with the history that the graph was read from
    since: int  # the number of the first op of it that belongs to the step
    origin: CodeType | None  # what recorded the first op
    numbers: Set[int]  # what is read like a tensor, for it is another number again and again
    leftovers: list[Tensor]  # all that stands for every step's, which nobody may use afterwards


def trace_step(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    numbers: Set[int] | None = None,
    *,
    steps: int,
) -> Traced:
    """Record the step once, on stand-ins for the carry and x_t.

    numbers: which of its numbers are read like tensors, where that is settled. steps: how many it
    is to be run for.
    """
    before = [_stand_in(t._data, t.name) for t in states]
    x_t = [_stand_in(t._data[0], "x_t") for t in inputs]
    since = next_number()
    tracer = _Tracer(since, before, x_t)
    try:
        with fresh_context(tracer):
            new, ys = one_blas_thread(step, before, x_t)
        if tracer.asked:
            histories = Histories(before, new, states, x_t, inputs, steps, tracer.is_made)
            for asked in tracer.asked:
                histories.check(asked)
        if tracer.refused is not None:  # which the step has caught, to go on with something else
            raise GraphError(tracer.refused)
    except BaseException:
        empty(tracer.leftovers())
        raise
    ends = [*new, *ys]
    outline = outline_of(ends, [*before, *x_t, *tracer.drawn_inputs], since)
    if numbers is None:
        numbers, graph = _known(outline)
    else:
        graph = _graph(outline.reading(numbers))
    captured = outline.reading(numbers).tensors()
    origin, leftovers = tracer.origin(), tracer.leftovers()
    return Traced(graph, captured, tracer.draws, ends, since, origin, numbers, leftovers)


_graphs: Recent[Any, Graph] = Recent()
"""Graphs of steps, by their outlines: a step that is traced again most often is known."""


@dataclass(slots=True)
class _Numbers:
    """The numbers in outlines that are the same but for them."""

    first: dict[int, bytes]
    changing: set[int]  # which have ever been others than the first
    times: int  # that any was


_NONE = frozenset[int]()
_numbers: Recent[Any, _Numbers] = Recent()
_OFTEN = 3  # times that numbers change before it is expected


def _known(outline: Outline) -> tuple[Set[int], Graph]:
    """The outline's graph. A number that is another one again and again is read like a tensor.

    So a step with a temperature or the like is not compiled anew for each. Also which they are.
    """
    key = outline.key()
    graph = _graphs.find(key)
    if graph is not None or not outline.constants:
        return _NONE, graph or _graphs.keep(key, outline.graph())
    changing = _changing(outline)
    return changing, _graph(outline.reading(changing))


def _changing(outline: Outline) -> Set[int]:
    """The numbers to be expected to change again."""
    structure = outline.key(numbers=False)
    known = _numbers.find(structure)
    numbers = {k: a.tobytes() for k, a in outline.constants.items()}
    if known is None:
        _numbers.keep(structure, _Numbers(numbers, set(), 0))
        return _NONE
    known.changing.update(k for k, told in numbers.items() if told != known.first[k])
    known.times += 1
    return known.changing.difference(outline.outputs) if known.times >= _OFTEN else _NONE


def _graph(outline: Outline) -> Graph:
    key = outline.key()
    return _graphs.find(key) or _graphs.keep(key, outline.graph())


def check_repeatable(once: Traced, call: Callable[[Set[int]], Traced]) -> None:
    """Raise GraphError if the step, called a second time, does something else.

    call: records it again; told which numbers are read like tensors.
    """
    before = [t._data if t._requires_grad else t._data.copy() for t in once.captured]
    again = call(once.numbers)
    try:
        _compare(once, before, again)
    finally:
        empty(again.leftovers)


def _compare(once: Traced, before: Sequence[Array], again: Traced) -> None:
    """before: what was captured the first time, as it was then."""
    if once.graph.mark != again.graph.mark:
        raise GraphError(
            "scan: step records other ops or numbers when it is called again: "
            f"{_difference(once, again)}. {_WHY_REPEATABLE}"
        )
    if any(a.rng != b.rng for a, b in zip(once.draws, again.draws, strict=True)):
        raise GraphError(
            "scan: dropout in step has another generator or seed when step is called again. Make "
            "the generator outside of step: it draws for all steps; with one seed, all draw alike"
        )
    for t, other, was in zip(once.captured, again.captured, before, strict=True):
        now = other._data
        if now is not was and not np.array_equal(was, now, equal_nan=was.dtype.kind == "f"):
            nodes = toposort(once.ends)
            reader = next((n for n in nodes if any(x is t for x in n.inputs)), None)
            place = "" if reader is None else f", read by {reader.op.name} ({reader.where}),"
            raise GraphError(
                f"scan: {describe(t)}{place} has other values when step is called again. "
                f"{_WHY_REPEATABLE}"
            )


_WHY_REPEATABLE = (
    "A compiled step is recorded once and stands for all: give random numbers as inputs, or, in "
    "scan, use dropout or pass unroll=True"
)


def _difference(once: Traced, again: Traced) -> str:
    """The first op that was another one the second time, or had other numbers."""
    for one, other in zip_longest(*(recorded_since(t.ends, t.since) for t in (once, again))):
        said = _said(one), _said(other)
        if said[0] != said[1]:
            return f"{said[0]}; then {said[1]}"
    return "the same ops, on other values"


def _said(node: Node | None) -> str:
    if node is None:
        return "no further op"
    leaves = [t._data for t in node.inputs if t.node is None]
    numbers = [repr(a.item()) for a in leaves if isinstance(a, np.ndarray) and a.ndim == 0]
    given = f" with {', '.join(numbers)}" if numbers else ""
    return f"{describe_call(node.op, node.inputs, node.attrs, node.context)}{given} ({node.where})"


def drawn(draws: Sequence[Draw], count: int) -> list[Tensor]:
    """All steps' random inputs, (T, ...) each, drawn in the order in which an unrolled run does."""
    steps = [[draw.make() for draw in draws] for _ in range(count)]
    return [Tensor(np.stack(column)) for column in zip(*steps, strict=True)]


class _Tracer:
    """Refuses to hand out a value that stands for every step's; collects what is drawn per step."""

    def __init__(
        self,
        since: int,
        before: Sequence[Tensor],
        x_t: Sequence[Tensor],
    ) -> None:
        self.since = since
        self.refused: str | None = None  # and why
        self.asked: list[Asked] = []
        self._born: set[Tensor] = set()
        self.born = self._born.add
        self.carry = {id(t): k for k, t in enumerate(before)}
        self.placeholders = {*self.carry, *map(id, x_t)}
        self._given = [*before, *x_t]
        self._results: list[Tensor] = []
        self.made = self._results.append
        self.drawn_inputs: list[Tensor] = []
        self.draws: list[Draw] = []

    def detached(self, t: Tensor) -> Tensor:
        made = record(_DETACH, (t,))
        return made if t.name is None else made.named(t.name)

    def drawn(self, draw: Callable[[], Array], like: Tensor, rng: Any) -> Tensor:
        made = Tensor(np.ones(like.shape, like.dtype))
        self.drawn_inputs.append(made)
        self._given.append(made)
        self.draws.append(Draw(draw, rng))
        self.placeholders.add(id(made))
        return made

    def origin(self) -> CodeType | None:
        """The code that recorded the first op."""
        node = self._results[0].node if self._results else None
        return None if node is None else node.place[0]

    def leftovers(self) -> list[Tensor]:
        """What stands for every step's: the stand-ins, and the results that depend on them.

        It is forgotten here: results know this tracer, and that would be a cycle.
        """
        found, nodes = self._given, set[Node | None]()
        for t in self._results:
            inputs = () if t.node is None else t.node.inputs
            if any([x.node in nodes or id(x) in self.placeholders for x in inputs]):
                nodes.add(t.node)
                found.append(t)
        self._given = []
        self._results.clear()
        return found

    def stands_for_every_step(self, t: Tensor) -> bool:
        stack = [t]
        seen: set[int] = set()
        while stack:
            now = stack.pop()
            if id(now) in self.placeholders:
                return True
            if now.node is not None and now.node.seq >= self.since and id(now.node) not in seen:
                seen.add(id(now.node))
                stack.extend(now.node.inputs)
        return False

    def check_concrete(self, t: Tensor) -> None:
        if self.stands_for_every_step(t):
            place = calling_line()
            asked = "" if place is None else f", which {describe_place(place)} asks for"
            self.refused = (
                f"scan: {self._told(t)} depends on the carry or on x_t, and has no value of its "
                f"own while the step is compiled{asked}: no float(), bool(), .numpy() or .data on "
                "it inside step, no copy of it, nor no_grad, nor grad without create_graph. Use "
                "where, maximum, minimum, clip, relu, take or detach, or pass unroll=True"
            )
            raise GraphError(self.refused)

    def note_gradient(self, leaves: Collection[Tensor], wanted: Collection[Key]) -> None:
        behind = [t for t in leaves if id(t) in self.placeholders]
        others = [key for key in wanted if not self.is_made(key)]
        if behind and others:
            self.asked.append(Asked(behind, others, calling_line()))

    def is_made(self, key: Key) -> bool:
        """Whether the step has made it."""
        return key in self._born if isinstance(key, Tensor) else key.seq >= self.since

    def _told(self, t: Tensor) -> str:
        k = self.carry.get(id(t))
        return describe(t) if k is None or t.name else f"leaf {k} of the carry {t.shape}"


def _stand_in(data: Any, name: str | None) -> Tensor:
    array = np.asarray(data)
    return Tensor(array, requires_grad=array.dtype.kind == "f", name=name)


_DETACH = Op("detach", "detach", r"{0}", lambda a: a)
