"""What stands before a loop and after it, done on other threads while the loop runs.

A loop waits for Python and for itself; products over all steps need neither. So the products that
a span of steps reads are made while the loop runs the steps before, and gradients of weights are
summed up over spans that the loop is done with.

Meanwhile BLAS has one thread. For small products that is as good as two. Larger ones lose less by
it than there is to gain; and threads of BLAS wait for each other at every step, which takes many
times as long where another process uses a core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..parallel.beside import Beside
from ..parallel.blas import one_blas_thread, small_product
from ..parallel.pool import helping_threads
from ..parallel.products import WORTH_SHARING
from ..tensor import Array
from .graph import Graph, Instruction
from .numpy_backend import NumpyLoop
from .planes import Loops
from .program import Outcome, Program
from .spanned import Started, spanned
from .spans import Along, spans_of

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["After", "Before", "after_of", "before_of", "helpers_now", "multiplications"]

_MOST_THREADS = 4  # with more, BLAS makes up for waiting
_PARTS = (2, 3, 5, 8, 12, 14, 14, 10, 6)  # how long spans are, compared with each other

Span = tuple[int, int]


def helpers_now() -> int:
    """How many other threads may work beside a loop now."""
    helpers = helping_threads()
    return helpers if helpers < _MOST_THREADS else 0


class Before:
    """The part before a loop, run beside it."""

    def __init__(
        self, steps: int, loops: Loops, start: Callable[[Sequence[Array]], Started]
    ) -> None:
        self.steps, self._start = steps, start
        self._loop = NumpyLoop(loops.forward, small_product(), loops.homes)
        self._spans = spans_in(steps)

    def run(
        self, carried: Sequence[Array], given: Sequence[Array], helpers: int
    ) -> tuple[list[Array], list[Array], list[Array], Outcome]:
        """The lists of results of the part before, and what the loop leaves."""
        started = self._start(given)
        timed, invariants, late = started.after()

        def work(k: int) -> None:
            started.over(*self._spans[k])

        def loop(beside: Beside) -> Outcome:
            def spans(stacks: Sequence[Array]) -> Iterator[Span]:
                for k, span in enumerate(self._spans):
                    if k:
                        beside.wait(k)
                    yield span

            for k in range(1, len(self._spans)):
                beside.add(k)
            work(0)  # sooner than another thread wakes up
            return self._loop(self.steps, carried, timed, invariants, spans)

        outcome = one_blas_thread(lambda: Beside(work, helpers).run(loop))
        return timed, invariants, late, outcome


def before_of(plan: Plan, loops: Loops, results: Sequence[Sequence[int]]) -> Before | None:
    """None if it is not worth it, or some op mixes the steps. results: as `run_once` has them."""
    graph = loops.before
    timed = graph.inputs[: plan.xs]
    spans = spans_of(graph, dict.fromkeys(timed, Along(0)), plan.steps)
    if spans is None or spans.totals:
        return None
    if multiplications(graph, spans.over) < WORTH_SHARING:
        return None
    return Before(plan.steps, loops, spanned(graph, spans, timed, (), results))


class After:
    """What is left for after a loop, run beside it.

    start: the graph that is left, whose inputs are the cotangents over time, then what was saved.
    sources: of each such cotangent, whether it is a stack of the loop, and which one; else it is
    one of the arrays that the loop reads.
    """

    def __init__(
        self,
        steps: int,
        program: Program,
        start: Callable[[Sequence[Array]], Started],
        sources: Sequence[tuple[bool, int]],
    ) -> None:
        self.steps, self._start, self._sources = steps, start, sources
        self._loop = NumpyLoop(program, small_product())
        self._products = len(program.products)
        self._spans = spans_in(steps)[::-1]

    def run(
        self,
        carried: Sequence[Array],
        timed: Sequence[Array],
        invariants: Sequence[Array],
        saved: Sequence[Array],
        helpers: int,
    ) -> tuple[Outcome, Callable[[Sequence[Array]], tuple[list[Array], ...]]]:
        """What the loop leaves, and what gives the results when told the remaining cotangents."""
        totals = _Totals()
        started: list[Started] = []
        given: list[Sequence[Array]] = []  # the stacks

        def work(k: int) -> None:
            first, end = self._spans[k]
            shares = self._loop.products(timed, given[0], first, end)
            totals.add(k, [*shares, *started[0].over(first, end)])

        def loop(beside: Beside) -> Outcome:
            def spans(stacks: Sequence[Array]) -> Iterator[Span]:
                found = [(stacks if is_stack else timed)[k] for is_stack, k in self._sources]
                given.append(stacks)
                started.append(self._start([*found, *saved]))
                for k, span in enumerate(self._spans):
                    yield span
                    beside.add(k)

            return self._loop(self.steps, carried, timed, invariants, spans)

        outcome = one_blas_thread(lambda: Beside(work, helpers).run(loop))
        products, rest = totals.found[: self._products], totals.found[self._products :]
        return (
            outcome._replace(products=products),
            lambda last: started[0].after(*rest, *last),
        )


class _Totals:
    """Lists of arrays added up in the order of their numbers, whenever they come."""

    def __init__(self) -> None:
        self.found: list[Array] = []
        self._next = 0
        self._waiting: dict[int, Sequence[Array]] = {}
        self._lock = Lock()

    def add(self, k: int, shares: Sequence[Array]) -> None:
        with self._lock:
            self._waiting[k] = shares
            while (found := self._waiting.pop(self._next, None)) is not None:
                self._next += 1
                if self._next == 1:
                    self.found = [np.array(a) for a in found]
                    continue
                for total, share in zip(self.found, found, strict=True):
                    np.add(total, share, out=total)


def after_of(plan: Plan, loop: Program) -> After | None:
    """None if it is not worth it, or some op mixes the steps. loop: plan.backward as it is run."""
    derived, before, program = plan.before_backward, plan.parts.before, plan.backward
    if derived is None:
        return None
    ahead = spans_of(before, dict.fromkeys(before.inputs[: plan.xs], Along(0)), plan.steps)
    graph, count = derived.graph, len(derived.seeded)
    seeds = {v: before.outputs[k] for v, k in zip(graph.inputs, derived.seeded, strict=False)}
    over_time = [v for v, seed in seeds.items() if seed in plan.timed_found]
    last = [v for v, seed in seeds.items() if seed in plan.parts.invariants]
    if ahead is None or len(over_time) + len(last) < count:
        return None
    along = dict.fromkeys(over_time, Along(0))
    for v, read in zip(graph.inputs[count:], derived.reads, strict=True):
        if read in ahead.along:
            along[v] = ahead.along[read]
    spans = spans_of(graph, along, plan.steps, last)
    if spans is None or not set(along).isdisjoint(graph.outputs):
        return None
    pairs = [program.specs(pair) for pair in program.products]
    work = sum(math.prod(a.shape) * b.shape[-1] for a, b in pairs) * plan.steps
    if work + multiplications(graph, spans.over) < WORTH_SHARING:
        return None
    found = [plan.timed_found[seeds[v]] for v in over_time]
    sources = [
        (v in program.stacks, (program.stacks if v in program.stacks else program.timed).index(v))
        for v in found
    ]
    run = spanned(graph, spans, list(along), last, (graph.outputs,), apart=True)
    return After(plan.steps, loop, run, sources)


def spans_in(steps: int) -> list[Span]:
    """All steps. The first and the last spans are short: somebody waits for them."""
    parts = list(accumulate(_PARTS, initial=0))
    edges = dict.fromkeys(steps * part // parts[-1] for part in parts)
    return list(pairwise(edges))


def multiplications(graph: Graph, instructions: Iterable[Instruction]) -> int:
    """In products of matrices."""
    return sum(
        math.prod(graph.spec(i.out).shape) * graph.spec(i.inputs[0]).shape[-1]
        for i in instructions
        if i.op.name == "matmul"
    )
