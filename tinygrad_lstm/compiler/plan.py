"""From a traced step to something that runs: all passes in order, forward and backward.

columns as rows -> what is common once -> products of einsums -> merge products -> split products
-> merge slices -> reassociate
-> partition (once | all steps | loop) -> differentiate loop and rest
-> sums over time as one product -> a backend runs the loops
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..ops import OPS
from .backends import Backend, NotNative, backend_named, warn_of_numpy
from .columns import columns_as_rows
from .common import common
from .contract import products_of_einsums
from .differentiate import Backward, differentiate
from .flags import flags_as_numbers, run_on_flags, without_flags
from .graph import Graph, Instruction, Spec
from .merge import merge_products, merge_slices
from .partition import Parts, loop_outputs, partition
from .patience import compiling
from .program import Program
from .reassociate import reassociate
from .split import split_products
from .tidy import join_slices, join_sums, split_slices, views_again

__all__ = ["Plan", "planned"]

_ADD, _MATMUL, _TRANSPOSE = OPS["add"], OPS["matmul"], OPS["transpose"]


def planned(
    graph: Graph,
    carries: int,
    xs: int,
    steps: int,
    needing: Sequence[bool],
    backend: str | None = None,
    rows: bool = False,
) -> Plan:
    """The plan of a step for a backend, or, with a warning, for NumPy if it has no form for it."""
    chosen = backend_named(backend)
    if not graph.outputs or not all(math.prod(spec.shape) for spec in graph.specs):
        chosen = backend_named("numpy")  # nothing to do, in any way
    columns = None if rows else columns_as_rows(graph, carries, xs)
    if columns is not None:
        graph = columns.graph
    plain = graph if chosen.over_time else without_flags(graph, carries)
    try:
        with compiling(len(graph.instructions)):
            plan = Plan(plain, carries, xs, steps, needing, chosen, rows)
        if plain is not graph:
            plan.run = run_on_flags(plan.run, graph, plain, carries)
    except NotNative as error:
        warn_of_numpy("scan", error)
        plan = Plan(graph, carries, xs, steps, needing, backend_named("numpy"), rows)
        plan.instead_of = f"{chosen.name} has no form for this step ({error})"
    if columns is not None:
        plan.columns = columns.inputs
        plan.run, plan.pull = columns.run(plan.run), columns.pull(plan.pull)
    return plan


class Plan:
    """A compiled step: its passes' results, and the loops built from them.

    carries, xs: how many of the graph's inputs are carries and steps' inputs; the rest are
    captured. others: how many results there are but the last. needing, needed: which inputs
    require a gradient, and so which outputs. rows: whether the last carries are given as (1, ...).
    run, pull: see Runner. instead_of: why NumPy runs it, where another backend was to. step: the
    graph it was made of. columns: which of its inputs have their axes exchanged, if any.
    """

    instead_of: str | None = None
    columns: Sequence[bool] = ()

    def __init__(
        self,
        graph: Graph,
        carries: int,
        xs: int,
        steps: int,
        needing: Sequence[bool],
        backend: Backend,
        rows: bool = False,
    ) -> None:
        graph = common(graph)
        self.backend, self.step = backend, graph
        self.rows = rows
        self.needing = tuple(needing)
        self.needed = _needed(graph, carries, needing)
        self.steps = steps
        self.carries, self.xs = carries, xs
        self.inputs, self.others = len(graph.inputs), len(graph.outputs) - 1
        merged = _merged(_own_outputs(graph, carries), carries, xs)
        sums = reassociate(merged, _rank(merged, carries, xs, backend))
        parts = partition(sums, carries, xs, steps, backend.over_time)
        fused = parts.loop if backend.over_time else split_slices(parts.loop)
        self.parts: Parts = parts._replace(loop=fused)
        self._forward_program(needing)
        self.runner = backend.runner(self)
        self.run, self.pull = self.runner.run, self.runner.pull

    def __repr__(self) -> str:
        return f"Plan({self.steps} steps)"

    # -- planning -----------------------------------------------------------------------------

    def _forward_program(self, needing: Sequence[bool]) -> None:
        before, loop = self.parts.before, self.parts.loop
        needed = {v for v, need in zip(before.inputs, needing[self.carries :], strict=True) if need}
        flowing = before.depending_on(needed)
        self.differentiable = any(needing)
        self.before_backward: Backward | None = None
        stacked = list(dict.fromkeys(loop.outputs))
        if self.differentiable:
            carry_inputs = {
                v for v in loop.inputs[: self.carries] if loop.spec(v).dtype.kind == "f"
            }
            wanted = [v for v in loop.inputs if v in carry_inputs or v in flowing]
            backward = differentiate(loop, carry_inputs | flowing, wanted)
            backward = backward._replace(graph=join_sums(join_slices(backward.graph)))
            graph, reads = views_again(backward.graph, backward.reads, loop)
            if not self.backend.over_time:
                loop, graph, reads = flags_as_numbers(loop, graph, reads)
                self.parts = self.parts._replace(loop=loop)
            self.loop_backward = backward._replace(graph=graph, reads=reads)
            self.wanted = tuple(wanted)
            made = loop.producers()
            stacked += [v for v in reads if v in made and v not in stacked]
            if needed:
                wanted_before = [v for v in before.inputs if v in needed]
                self.before_backward = differentiate(before, needed, wanted_before)
                self.wanted_before = tuple(wanted_before)
        self.forward = Program(
            graph=loop,
            carried=loop.inputs[: self.carries],
            carry_out=loop.outputs[: self.carries],
            timed=self.parts.timed,
            invariants=self.parts.invariants,
            stacks=tuple(stacked),
            history=self.carries,
        )
        if self.differentiable:
            self._backward_program()

    def _backward_program(self) -> None:
        """The loop that carries cotangents back, and what is left for after it."""
        loop, derived = self.parts.loop, self.loop_backward
        graph = derived.graph
        seeds = dict(zip(derived.seeded, graph.inputs, strict=False))
        reads = dict(zip(derived.reads, graph.inputs[len(derived.seeded) :], strict=True))
        found = {self.wanted[k]: v for k, v in zip(derived.reached, graph.outputs, strict=True)}
        specs, constants = list(graph.specs), dict(graph.constants)
        carried: list[int] = []
        carry_out: list[int] = []
        for k, value in enumerate(loop.inputs[: self.carries]):
            spec = loop.spec(value)
            carried.append(seeds[k] if k in seeds else _new(specs, spec))
            given = found.get(value)
            if given is None:
                given = _new(specs, spec)
                constants[given] = np.zeros(spec.shape, spec.dtype)
            carry_out.append(given)
        graph = replace(graph, specs=tuple(specs), constants=constants)
        computed = graph.producers()
        self.seeded_outputs = tuple(k for k in derived.seeded if k >= self.carries)
        self.timed_reads = tuple(v for v in derived.reads if v not in self.parts.invariants)
        timed = [seeds[k] for k in self.seeded_outputs] + [reads[v] for v in self.timed_reads]
        invariants = [v for v in derived.reads if v in self.parts.invariants]
        uses: dict[int, list[tuple[int, int]]] = {}
        self.rest: dict[int, list[int]] = {}
        for v in self.parts.invariants:
            if v in found:
                uses[v], self.rest[v] = _over_time(graph, found[v], {*timed, *carried})
        sums = list(dict.fromkeys(v for terms in self.rest.values() for v in terms))
        stacked = [found[v] for v in self.parts.timed if v in found]
        factors = [v for pairs in uses.values() for pair in pairs for v in pair]
        outside = [v for v in dict.fromkeys([*stacked, *factors]) if v not in timed]
        graph = replace(graph, outputs=(*carry_out, *outside, *sums))
        first = len(carry_out)
        copied = [k for k, v in enumerate(carry_out) if v not in computed or v in carry_out[:k]]
        copied += [first + k for k, v in enumerate(outside) if v not in computed]
        graph = loop_outputs(graph, copied).pruned()
        place = dict(zip(outside, graph.outputs[first : first + len(outside)], strict=True))
        place |= {v: v for v in timed}
        self.timed_found = {v: place[found[v]] for v in self.parts.timed if v in found}
        self.products = {
            v: [(place[left], place[right]) for left, right in pairs] for v, pairs in uses.items()
        }
        self.backward = Program(
            graph=graph,
            carried=tuple(carried),
            carry_out=graph.outputs[:first],
            timed=tuple(timed),
            invariants=tuple(reads[v] for v in invariants),
            stacks=tuple(dict.fromkeys(v for v in self.timed_found.values() if v not in timed)),
            sums=tuple(sums),
            products=tuple(pair for pairs in self.products.values() for pair in pairs),
            backwards=True,
        )
        self.invariant_reads = tuple(invariants)


def _merged(graph: Graph, carries: int, xs: int) -> Graph:
    """Products and what is done to their slices, as few as can be."""

    def varying(graph: Graph) -> set[int]:
        return graph.depending_on(graph.inputs[: carries + xs])

    graph = products_of_einsums(graph, varying(graph))
    graph = merge_products(graph, varying(graph))
    carried = graph.depending_on(graph.inputs[:carries])
    apart = split_products(graph, carried, varying(graph))
    if apart is not graph:
        graph = merge_products(apart, varying(apart))
    return merge_slices(graph, varying(graph))


def _needed(graph: Graph, carries: int, needing: Sequence[bool]) -> tuple[bool, ...]:
    """Which outputs a gradient flows back from, after any number of steps."""
    reached = {v for v, need in zip(graph.inputs, needing, strict=True) if need}
    places = list(zip(graph.inputs[:carries], graph.outputs, strict=False))
    for _ in range(carries + 1):  # a carry may reach another one a step later
        reached = graph.depending_on(reached, differentiably=True)
        reached.update(before for before, after in places if after in reached)
    return tuple(v in reached for v in graph.outputs)


def _own_outputs(graph: Graph, carries: int) -> Graph:
    """Copies in place of outputs that the step passes through, or gives twice as carries."""
    made = graph.producers()
    seen: set[int] = set()
    copied: list[int] = []
    for k, v in enumerate(graph.outputs):
        timed = v in made and v in graph.depending_on(graph.inputs[:carries])
        if not timed or (k < carries and v in seen):
            copied.append(k)
        if k < carries:
            seen.add(v)
    return loop_outputs(graph, copied)


def _over_time(
    graph: Graph, total: int, moving: set[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Take a cotangent that sums over steps apart.

    Its terms left^T right, of matrices that both move with time, can wait and be one product after
    the loop: pairs (left, right). The other terms are added up step by step.
    """
    made, varying = graph.producers(), graph.depending_on(moving)
    products: list[tuple[int, int]] = []
    rest: list[int] = []
    stack = [total]
    while stack:
        v = stack.pop()
        i = made.get(v)
        pairs = _factors(v, False, graph, made, varying)
        if pairs is not None:
            products += pairs
        elif i is not None and i.op is _ADD and len({graph.spec(x) for x in i.inputs}) == 1:
            stack.extend(i.inputs)
        else:
            rest.append(v)
    return products, rest


def _factors(
    v: int, turned: bool, graph: Graph, made: dict[int, Instruction], varying: set[int]
) -> list[tuple[int, int]] | None:
    """The pairs that the value, or its transpose, is the sum of; None if it is no such sum."""
    i = made.get(v)
    if i is None or len(graph.spec(v).shape) != 2:
        return None
    if i.op is _TRANSPOSE and i.attrs["axes"] == (1, 0):
        return _factors(i.inputs[0], not turned, graph, made, varying)
    if i.op is _ADD and len({graph.spec(x) for x in i.inputs}) == 1:
        pairs: list[tuple[int, int]] = []
        for x in i.inputs:
            found = _factors(x, turned, graph, made, varying)
            if found is None:
                return None
            pairs += found
        return pairs
    left = made.get(i.inputs[0]) if i.op is _MATMUL else None
    if left is None or left.op is not _TRANSPOSE or left.attrs["axes"] != (1, 0):
        return None
    pair = left.inputs[0], i.inputs[1]
    if not varying.issuperset(pair):
        return None
    return [(pair[1], pair[0]) if turned else pair]


def _new(specs: list[Spec], spec: Spec) -> int:
    specs.append(spec)
    return len(specs) - 1


def _rank(graph: Graph, carries: int, xs: int, backend: Backend) -> Callable[[int], int]:
    """Which terms of a sum are added first.

    Over time: what never changes, what is there for all steps at once, and what depends on the
    carry. Step by step: products, which accumulate; what never changes; the rest.
    """
    varying = graph.depending_on(graph.inputs[: carries + xs])
    if backend.over_time:
        carried = graph.depending_on(graph.inputs[:carries])
        return lambda v: 2 if v in carried else int(v in varying)
    products = {i.out for i in graph.instructions if i.op is _MATMUL} & varying
    return lambda v: 0 if v in products else 1 + (v in varying)
