"""A plan run by NumPy: arrays from the part before the loop to the loop, and back again.

Where each array comes from is looked up when the plan is made, not at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..parallel.blas import one_blas_thread
from ..parallel.products import UNTHREADED
from ..tensor import Array
from .graph import Spec
from .numpy_backend import NumpyLoop
from .once import run_once
from .overlap import After, after_of, before_of, helpers_now, multiplications
from .planes import loops_of
from .program import Outcome, Program

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["Runner", "Saved", "refuse_pull"]

Terms = tuple[tuple[int, int], ...]
"""Arrays to be added up, each by its list, of those below, and its position there."""
_TIMED, _STACKS, _SUMS, _PRODUCTS = range(4)

Seed = tuple[Terms, bool, Spec]
"""A cotangent of the loop's inputs: its terms, whether it is to be copied, what if no term."""


@dataclass(slots=True)
class Saved:
    """What the forward pass keeps for the backward one."""

    timed: list[Array]  # (T, ...) each, as the backward loop reads them
    invariants: list[Array]
    before: list[Array]


class Runner:
    """Runs a plan forward, and pulls cotangents back, with NumPy."""

    def __init__(self, plan: Plan) -> None:
        self.steps, self.carries, self.rows = plan.steps, plan.carries, plan.rows
        loops = loops_of(plan)
        self._loop = _alone(NumpyLoop(loops.forward, homes=loops.homes))
        parts, program = plan.parts, plan.forward
        derived = plan.before_backward
        late = () if derived is None else derived.reads
        results = (loops.before.outputs[: len(parts.timed)], parts.invariants, late)
        self._ahead = run_once(loops.before, results)
        self._beside = before_of(plan, loops, results)
        place = {v: (k, k < program.history) for k, v in enumerate(program.stacks)}
        self._ys = [place[v] for v in program.graph.outputs[self.carries :]]
        self._pull: Callable[..., list[Array | None]] | None = None  # unbound: it is no cycle
        self._beside_back: After | None = None
        if loops.backward is None:
            return
        before = {v: k for k, v in enumerate(program.carried)}
        self._from_stacks: list[tuple[int, int, slice | None]] = []  # position, stack, part of it
        self._from_timed: list[tuple[int, int]] = []
        for position, v in enumerate(plan.timed_reads):
            if v in before:
                self._from_stacks.append((position, before[v], slice(None, -1)))
            elif v in place:
                k, history = place[v]
                self._from_stacks.append((position, k, slice(1, None) if history else None))
            else:
                self._from_timed.append((position, parts.timed.index(v)))
        self._kept_invariants = [parts.invariants.index(v) for v in plan.invariant_reads]
        self._reads = len(plan.timed_reads)
        self._prepare_pull(plan, loops.backward)

    @property
    def threads(self) -> str | None:
        """See `backends.Runner`."""
        tasks = ["what stands before it"] if self._beside is not None else []
        tasks += ["gradients"] if self._beside_back is not None else []
        return f"other threads do beside the loop: {' and '.join(tasks)}" if tasks else None

    # -- forward ------------------------------------------------------------------------------

    def run(self, arrays: Sequence[Array]) -> tuple[list[Array], Saved | None]:
        """See `backends.Runner`."""
        carried, given = arrays[: self.carries], arrays[self.carries :]
        helpers = 0 if self._beside is None else helpers_now()
        if self._beside is not None and helpers:
            timed, invariants, late, outcome = self._beside.run(carried, given, helpers)
        else:
            timed, invariants, late = self._ahead(given)
            outcome = self._loop(self.steps, carried, timed, invariants)
        outputs, stacks = outcome.finals, outcome.stacks
        if self.rows:
            outputs[:] = [a[np.newaxis] for a in outputs]
        for k, history in self._ys:
            outputs.append(stacks[k][1:] if history else stacks[k])
        if self._pull is None:
            return outputs, None
        kept: list[Any] = [None] * self._reads
        for position, k in self._from_timed:
            kept[position] = timed[k]
        for position, k, part in self._from_stacks:
            kept[position] = stacks[k] if part is None else stacks[k][part]
        return outputs, Saved(kept, [invariants[k] for k in self._kept_invariants], late)

    def kept(self, saved: Saved) -> list[Array]:
        """The arrays over time that stand behind what a run has saved, each once."""
        wholes = [a if a.base is None else a.base for a in saved.timed]
        return list({id(a): a for a in wholes}.values())

    # -- backward -----------------------------------------------------------------------------

    def _prepare_pull(self, plan: Plan, program: Program) -> None:
        """program: the backward loop as NumPy runs it."""
        loop, derived = plan.parts.loop, plan.before_backward
        self._back = _alone(NumpyLoop(program))
        zeros = [np.zeros(*loop.spec(v)) for v in loop.outputs]
        self._zeros = zeros[: self.carries]
        self._seeded = [  # over time in the memory of one step
            (k, np.broadcast_to(zeros[k], (self.steps, *zeros[k].shape)))
            for k in plan.seeded_outputs
        ]
        self._answers = plan.inputs
        self._pull = Runner._pull_loop
        if derived is None:
            return
        seeds = [plan.parts.before.outputs[k] for k in derived.seeded]
        self._seeds: list[Seed] = []
        taken: set[tuple[int, int]] = set()
        for v in seeds:
            terms = _terms(plan, v)
            again = len(terms) == 1 and (terms[0] in taken or terms[0][0] == _TIMED)
            taken.update(terms)
            self._seeds.append((terms, again, plan.parts.before.spec(v)))
        self._late = run_once(derived.graph, (derived.graph.outputs,), apart=True)
        position = {v: k for k, v in enumerate(plan.parts.before.inputs)}
        self._found = [self.carries + position[plan.wanted_before[k]] for k in derived.reached]
        self._beside_back = after_of(plan, program)
        self._last = [
            entry for v, entry in zip(seeds, self._seeds, strict=True) if v in plan.parts.invariants
        ]
        self._pull = Runner._pull_all

    def pull(self, saved: Saved, cotangents: Sequence[Array | None]) -> list[Array | None]:
        """See `backends.Runner`."""
        return refuse_pull() if self._pull is None else self._pull(self, saved, cotangents)

    def _given(
        self, saved: Saved, cotangents: Sequence[Array | None]
    ) -> tuple[list[Array], list[Array]]:
        """What the loop starts with, and what it reads over time."""
        carried = [
            zero if given is None else given.reshape(zero.shape)
            for given, zero in zip(cotangents, self._zeros, strict=False)
        ]
        timed: list[Array] = []
        for k, zero in self._seeded:
            given = cotangents[k]
            timed.append(zero if given is None else given)
        return carried, timed + saved.timed

    def _pull_loop(self, saved: Saved, cotangents: Sequence[Array | None]) -> list[Array | None]:
        """No gradient is wanted but the carries'."""
        carried, timed = self._given(saved, cotangents)
        finals, _, _, _ = self._back(self.steps, carried, timed, saved.invariants)
        return [*finals, *[None] * (self._answers - self.carries)]

    def _pull_all(self, saved: Saved, cotangents: Sequence[Array | None]) -> list[Array | None]:
        carried, timed = self._given(saved, cotangents)
        helpers = 0 if self._beside_back is None else helpers_now()
        if self._beside_back is not None and helpers:
            (finals, *lists), rest = self._beside_back.run(
                carried, timed, saved.invariants, saved.before, helpers
            )
            (found,) = rest(self._sums((timed, *lists), self._last))
        else:
            finals, *lists = self._back(self.steps, carried, timed, saved.invariants)
            (found,) = self._late([*self._sums((timed, *lists), self._seeds), *saved.before])
        answers = [*finals, *[None] * (self._answers - self.carries)]
        for k, array in zip(self._found, found, strict=True):
            answers[k] = array
        return answers

    def _sums(self, lists: Sequence[Sequence[Array]], seeds: Sequence[Seed]) -> list[Array]:
        """The cotangents of what the loop reads."""
        found: list[Array] = []
        for terms, again, spec in seeds:
            if len(terms) == 1:
                ((group, k),) = terms
                found.append(np.array(lists[group][k]) if again else lists[group][k])
            elif terms:
                found.append(np.sum([lists[group][k] for group, k in terms], axis=0))
            else:
                found.append(np.zeros(*spec))
        return found


def _alone(loop: NumpyLoop) -> Callable[..., Outcome]:
    """A loop beside which nothing else is done, with BLAS on one thread if its products are large.

    Threads of BLAS would wait for each other at every step, which takes many times as long where
    another process uses a core. With many cores it is worth it.
    """
    graph = loop.program.graph
    if all(multiplications(graph, [i]) <= UNTHREADED for i in graph.instructions):
        return loop

    def run(*given: Any) -> Outcome:
        return one_blas_thread(loop, *given) if helpers_now() else loop(*given)

    return run


def refuse_pull(*given: Any) -> NoReturn:
    """A plan without gradients is asked for them."""
    raise RuntimeError("compiler: this plan was made without gradients")


def _terms(plan: Plan, v: int) -> Terms:
    """What the gradient of something the loop reads is the sum of."""
    program = plan.backward
    if v in plan.timed_found:
        found = plan.timed_found[v]
        if found in program.stacks:
            return ((_STACKS, program.stacks.index(found)),)
        return ((_TIMED, program.timed.index(found)),)
    first = 0
    for other, pairs in plan.products.items():
        if other == v:
            products = [(_PRODUCTS, first + k) for k in range(len(pairs))]
            return (*products, *((_SUMS, program.sums.index(term)) for term in plan.rest[v]))
        first += len(pairs)
    return ()
