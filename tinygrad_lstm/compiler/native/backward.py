"""The backward call of a plan: cotangents in, the loop, and gradients in memory of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..source import Source
from .call import CallWriter
from .forward import ForwardCall
from .loop import NativeLoop

if TYPE_CHECKING:
    from ..plan import Plan

__all__ = ["BackwardCall"]


class BackwardCall(CallWriter):
    """pull(saved, cotangents)."""

    def __init__(self, plan: Plan, forward: ForwardCall) -> None:
        self.plan, self.forward, self.derived = plan, forward, plan.before_backward
        first = len(plan.seeded_outputs)
        where = {first + k: forward.memory_of(v)[0] for k, v in enumerate(plan.timed_reads)}
        self.blocks = [*dict.fromkeys(name for name in where.values() if name[0] != "v")]
        blocks = {
            ("timed", k): self.blocks.index(name)
            for k, name in where.items()
            if name in self.blocks
        }
        graph = plan.parts.before if self.derived is None else self.derived.graph
        super().__init__(NativeLoop(plan.backward, plan.steps, blocks), Source(graph))

    def write(self) -> tuple[str, Callable[..., Any]]:
        plan, forward = self.plan, self.forward
        saved = {name: f"K{k}" for k, name in enumerate(forward.saved)}
        if saved:
            self.add(f"{', '.join(saved.values())}, = saved")
        given = [f"G{k}" for k in range(len(plan.parts.loop.outputs))]
        self.add(f"{', '.join(given)}, = cotangents")
        self.begin()
        for k in range(plan.carries):
            self._cotangent_of_carry(k)
        for number, name in enumerate(self.blocks):
            self.tell("blocks", number, saved[name])
        seeded = len(plan.seeded_outputs)
        for k, output in enumerate(plan.seeded_outputs):
            self._cotangent_over_time(k, output)
        for k, v in enumerate(plan.timed_reads, seeded):
            self._read_again(k, v, saved)
        for k, v in enumerate(plan.invariant_reads):
            self.read_invariant(k, saved[f"v{v}"])
        self._results()
        self.launch()
        answers = [f"F{k}" if k in self._wanted else "None" for k in range(plan.carries)]
        answers += ["None"] * (plan.inputs - plan.carries)
        if self.derived is not None:
            self._gradients(answers, saved)
        self.add(f"return [{', '.join(answers)}]")
        return self.function("saved, cotangents")

    # -- what the loop reads ------------------------------------------------------------------

    def _cotangent_of_carry(self, k: int) -> None:
        if not self.asks_for("carried", k):
            return
        spec = self.plan.parts.loop.spec(self.plan.parts.loop.outputs[k])
        self.add(f"if G{k} is None: G{k} = {self.bound(f'zeros{k}', np.zeros(*spec))}")
        if spec.shape:
            self.add(f"elif not G{k}.flags.c_contiguous: G{k} = side_by_side(G{k})")
        else:  # NumPy has numbers for arrays without axes
            self.add(f"else: G{k} = np.asarray(G{k})")
        self.tell("carried", k, f"G{k}")

    def _cotangent_over_time(self, k: int, output: int) -> None:
        shape, dtype = self.plan.parts.loop.spec(self.plan.parts.loop.outputs[output])
        zeros = np.broadcast_to(np.zeros(shape, dtype), (self.plan.steps, *shape))
        self.add(f"if G{output} is None: G{output} = {self.bound(f'zeros{output}', zeros)}")
        self.read_over_time(k, f"G{output}")

    def _read_again(self, k: int, v: int, saved: dict[str, str]) -> None:
        name, offset = self.forward.memory_of(v)
        if name not in self.blocks:
            self.read_over_time(k, saved[name])
            return
        self.settle("timed", k, offset, "offset")
        self.settle("timed", k, math.prod(self.plan.parts.loop.spec(v).shape), "time")

    # -- what it writes -----------------------------------------------------------------------

    def _results(self) -> None:
        plan, loop = self.plan, self.loop
        self._wanted = {k for k in range(plan.carries) if plan.needing[k]}
        for k in range(plan.carries):
            if k in self._wanted:
                shape = plan.parts.loop.spec(plan.parts.loop.inputs[k]).shape
                self.new(f"F{k}", shape)
                self.tell("finals", k, f"F{k}")
            elif self.asks_for("finals", k):
                shape, dtype = plan.parts.loop.spec(plan.parts.loop.inputs[k])
                self.tell("finals", k, self.bound(f"unread{k}", np.empty(shape, dtype)))
        for k, shape in enumerate(loop.stack_shapes):
            self.new(f"S{k}", shape)
            self.tell("stacks", k, f"S{k}")
            self.settle("stacks", k, math.prod(shape[1:]), "time")
        for group, letter, shapes in (
            ("sums", "T", loop.sum_shapes),
            ("products", "P", loop.product_shapes),
        ):
            for k, shape in enumerate(shapes):
                self.new(f"{letter}{k}", shape, zeroed=True)
                self.tell(group, k, f"{letter}{k}")

    # -- what is left for after it ------------------------------------------------------------

    def _gradients(self, answers: list[str], saved: dict[str, str]) -> None:
        """From what the loop reads to what the step captured; the answers' names."""
        plan, derived = self.plan, self.derived
        if derived is None:
            return
        graph, before = derived.graph, plan.parts.before
        first = len(derived.seeded)
        taken: set[str] = set()
        for number, k in zip(graph.inputs, derived.seeded, strict=False):
            self.add(f"v{number} = {self._found(before.outputs[k], taken)}")
        for number, v in zip(graph.inputs[first:], derived.reads, strict=True):
            self.add(f"v{number} = {saved[f'v{v}']}")
        self.add(*(self.source.line(i) for i in graph.instructions))
        position = {v: k for k, v in enumerate(before.inputs)}
        found = self.source.apart(graph.outputs)
        for k, name in zip(derived.reached, found, strict=True):
            answers[plan.carries + position[plan.wanted_before[k]]] = name

    def _found(self, v: int, taken: set[str]) -> str:
        """The gradient of something the loop reads, in memory of its own."""
        plan, program = self.plan, self.plan.backward
        spec = plan.parts.before.spec(v)
        terms: list[str] = []
        if v in plan.timed_found:
            found = plan.timed_found[v]
            if found not in program.stacks:
                cotangents = dict(zip(program.timed, plan.seeded_outputs, strict=False))
                return f"np.array(G{cotangents[found]})"
            terms = [f"S{program.stacks.index(found)}"]
        first = 0
        for other, pairs in plan.products.items():
            if other == v:
                terms += [self._product(first + k) for k in range(len(pairs))]
                terms += [self._sum(program.sums.index(term)) for term in plan.rest[v]]
            first += len(pairs)
        if not terms:
            return f"np.zeros({spec.shape}, {self.bound(f'dtype{v}', spec.dtype)})"
        if len(terms) > 1:
            return f"np.sum([{', '.join(terms)}], axis=0)"
        again = terms[0] in taken
        taken.update(terms)
        return f"np.array({terms[0]})" if again else terms[0]

    def _product(self, k: int) -> str:
        """A product over time, without the columns that fill up a register."""
        _, b = self.loop.program.products[k]
        columns = self.loop.layout.graph.spec(b).shape[-1]
        whole = columns == self.loop.product_shapes[k][1]
        return f"P{k}" if whole else f"P{k}[:, :{columns}]"

    def _sum(self, k: int) -> str:
        shape = self.loop.layout.graph.spec(self.loop.program.sums[k]).shape
        return f"T{k}" if shape == self.loop.sum_shapes[k] else f"T{k}.reshape({shape})"
