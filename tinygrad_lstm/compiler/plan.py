"""From a traced step to something that runs: all passes in order, forward and backward.

merge products -> merge slices -> reassociate -> partition (once | all steps | loop)
-> differentiate loop and rest -> sums over time as one product -> a backend runs the loops
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ops import OPS
from ..tensor import Array
from .backends import Backend, NotNative, backend_named
from .differentiate import Backward, differentiate
from .graph import Graph, Spec
from .merge import merge_products, merge_slices
from .partition import Parts, loop_outputs, partition
from .program import Loop, Program
from .reassociate import reassociate
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
) -> Plan:
    """The plan of a step for a backend, or, with a warning, for NumPy if it has no form for it."""
    chosen = backend_named(backend)
    if not all(math.prod(spec.shape) for spec in graph.specs):
        chosen = backend_named("numpy")  # nothing to do, in any way
    try:
        return Plan(graph, carries, xs, steps, needing, chosen)
    except NotNative as error:
        warnings.warn(
            f"scan: the {chosen.name} backend has no form for this step ({error}); it runs with "
            'numpy. backend="numpy" says so without this warning',
            RuntimeWarning,
            stacklevel=2,
        )
        plan = Plan(graph, carries, xs, steps, needing, backend_named("numpy"))
        plan.instead_of = f"{chosen.name} has no form for this step ({error})"
        return plan


@dataclass
class Saved:
    """What the forward pass keeps for the backward one."""

    timed: list[Array]  # (T, ...) each, as the backward loop reads them
    invariants: list[Array]
    before: list[Array]

    def nbytes(self) -> int:
        """Bytes held of values over time, counting each array once."""
        wholes = [a if a.base is None else a.base for a in self.timed]
        return sum({id(a): a.nbytes for a in wholes}.values())


class Plan:
    """A compiled step: its passes' results, and the loops built from them.

    carries, xs: how many of the graph's inputs are carries and steps' inputs; the rest are
    captured. needing: which inputs require a gradient. instead_of: why NumPy runs it, where another
    backend was to.
    """

    instead_of: str | None = None

    def __init__(
        self,
        graph: Graph,
        carries: int,
        xs: int,
        steps: int,
        needing: Sequence[bool],
        backend: Backend,
    ) -> None:
        self.backend = backend
        self.steps = steps
        self.carries = carries
        self.inputs = len(graph.inputs)
        traced = _own_outputs(graph, carries)
        varying = traced.depending_on(traced.inputs[: carries + xs])
        merged = merge_slices(merge_products(traced, varying))
        sums = reassociate(merged, _rank(merged, carries, xs, backend))
        parts = partition(sums, carries, xs, steps, backend.over_time)
        fused = parts.loop if backend.over_time else split_slices(parts.loop)
        self.parts: Parts = parts._replace(loop=fused)
        self._forward_program(needing)

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
        self.run_forward: Loop = self.backend.build(self.forward)
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
        self.run_backward: Loop = self.backend.build(self.backward)

    # -- running ------------------------------------------------------------------------------

    def run(self, arrays: Sequence[Array]) -> tuple[list[Array], Saved | None]:
        """Outputs (last carries, then all y (T, ...)) from carries, xs (T, ...) and captured.

        And what the backward pass will read, where there is one.
        """
        carries, rest = arrays[: self.carries], arrays[self.carries :]
        values, outputs = _execute(self.parts.before, rest)
        timed = outputs[: len(self.parts.timed)]
        invariants = outputs[len(self.parts.timed) :]
        program = self.forward
        finals, stacks, _, _ = self.run_forward(self.steps, carries, timed, invariants)
        after = [s[1:] if k < program.history else s for k, s in enumerate(stacks)]
        outputs = [np.array(a) for a in finals]  # no view: it would keep all
        place = dict(zip(program.stacks, after, strict=True))
        outputs += [place[v] for v in program.graph.outputs[self.carries :]]
        if not self.differentiable:
            return outputs, None
        place |= {v: s[:-1] for v, s in zip(program.carried, stacks, strict=False)}
        place |= dict(zip(self.parts.timed, timed, strict=True))
        fixed = dict(zip(self.parts.invariants, invariants, strict=True))
        derived = self.before_backward
        saved = Saved(
            [place[v] for v in self.timed_reads],
            [fixed[v] for v in self.invariant_reads],
            [] if derived is None else [values[v] for v in derived.reads],
        )
        return outputs, saved

    def pull(self, saved: Saved, cotangents: Sequence[Array | None]) -> list[Array | None]:
        """Cotangents of carries, xs and captured from those of the outputs."""
        program = self.backward
        loop = self.parts.loop
        carried: list[Array] = []
        for k in range(self.carries):
            given = cotangents[k]
            shape, dtype = loop.spec(loop.outputs[k])
            carried.append(np.zeros(shape, dtype) if given is None else given)
        timed: list[Array] = []
        for k in self.seeded_outputs:
            given = cotangents[k]
            shape, dtype = loop.spec(loop.outputs[k])
            timed.append(_zeros(self.steps, shape, dtype) if given is None else given)
        timed += saved.timed
        finals, stacks, sums, products = self.run_backward(
            self.steps, carried, timed, saved.invariants
        )
        over_time = dict(zip(program.timed, timed, strict=True))
        over_time |= dict(zip(program.stacks, stacks, strict=True))
        total = dict(zip(program.sums, sums, strict=True))
        multiplied = iter(products)
        found: dict[int, Array] = {}
        for v, stacked in self.timed_found.items():
            found[v] = over_time[stacked]
        for v, pairs in self.products.items():
            terms = [next(multiplied) for _ in pairs]
            terms += [total[term] for term in self.rest[v]]
            found[v] = terms[0] if len(terms) == 1 else np.sum(terms, axis=0)
        answers: list[Array | None] = [None] * self.inputs
        answers[: self.carries] = finals
        self._pull_before(saved, found, answers)
        return answers

    def _pull_before(
        self, saved: Saved, found: dict[int, Array], answers: list[Array | None]
    ) -> None:
        derived = self.before_backward
        if derived is None:
            return
        before = self.parts.before
        seeds: list[Array] = []
        for k in derived.seeded:
            value = before.outputs[k]
            shape, dtype = before.spec(value)
            seeds.append(found[value] if value in found else np.zeros(shape, dtype))
        _, results = _execute(derived.graph, [*seeds, *saved.before])
        position = {v: k for k, v in enumerate(before.inputs)}
        for k, array in zip(derived.reached, results, strict=True):
            answers[self.carries + position[self.wanted_before[k]]] = array


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
        if i is not None and i.op is _ADD and len({graph.spec(x) for x in i.inputs}) == 1:
            stack.extend(i.inputs)
            continue
        left = None
        if i is not None and i.op is _MATMUL and len(graph.spec(v).shape) == 2:
            left = made.get(i.inputs[0])
        if i is not None and left is not None and left.op is _TRANSPOSE:
            pair = left.inputs[0], i.inputs[1]
            if varying.issuperset(pair):
                products.append(pair)
                continue
        rest.append(v)
    return products, rest


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


def _zeros(steps: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """(T, ...) of zeros, in the memory of one step."""
    return np.broadcast_to(np.zeros(shape, dtype), (steps, *shape))


def _execute(graph: Graph, arrays: Sequence[Array]) -> tuple[dict[int, Array], list[Array]]:
    """Run a graph once on arrays; all values, and the outputs."""
    values: dict[int, Array] = dict(zip(graph.inputs, arrays, strict=True))
    values.update(graph.constants)
    for i in graph.instructions:
        values[i.out] = np.asarray(i.op.forward(*[values[v] for v in i.inputs], **i.attrs))
    return values, [values[v] for v in graph.outputs]
