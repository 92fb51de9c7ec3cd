"""What the way back need not compute, for the forward loop has made it, and keeps it.

An LSTM's `h = o * t`, with `t = tanh(c)`, is carried. So where the way back wants `o * t`, that is
read; and of `o * (1 - t * t)` two of three ops are left: `o - h * t`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..ops import OPS
from .graph import Builder, Graph, Instruction, frozen, users
from .program import Program

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["reading_products"]

_MUL, _SUB, _GETITEM = (OPS[k] for k in ("mul", "sub", "getitem"))

Operand = object
"""A value as both loops know it: an input of the backward one, or a slice of one."""


def reading_products(program: Program, plan: Plan) -> tuple[Program, tuple[int, ...]]:
    """The plan's backward loop, given such products too; and which values of the forward loop.

    They are read last of what is read over time. Only carries are that the loop reads as they were
    before each step as well: so no more is kept than without.
    """
    products = _kept(program, plan)
    wanted: dict[int, int] = {}  # value of the forward loop -> input

    def change(graph: Graph) -> Graph:
        return _Rewriting(graph, products, wanted).rewritten()

    rewritten = program.rewritten(change)
    timed = (*program.timed, *wanted.values())
    inputs = (*program.carried, *timed, *program.invariants)
    graph = replace(rewritten.graph, inputs=inputs)
    return replace(rewritten, graph=graph, timed=timed), tuple(wanted)


def _kept(program: Program, plan: Plan) -> dict[frozenset[Operand], int]:
    """The forward loop's products that are there anyway, by their factors."""
    reads = program.timed[len(program.timed) - len(plan.timed_reads) :]
    inputs = dict(zip(plan.timed_reads, reads, strict=True))
    forward = plan.forward
    made = forward.graph.producers()
    found: dict[frozenset[Operand], int] = {}
    for before, after in zip(forward.carried, forward.carry_out, strict=True):
        i = made.get(after)
        if i is not None and i.op is _MUL and before in inputs and after not in inputs:
            factors = _operands(i.inputs, made, inputs)
            if factors is not None:
                found[factors] = after
    return found


def _operands(
    values: Sequence[int], made: Mapping[int, Instruction], inputs: Mapping[int, int]
) -> frozenset[Operand] | None:
    """inputs: the backward loop's, by the values that they are."""
    found: list[Operand] = []
    for v in values:
        i = made.get(v)
        if v in inputs:
            found.append(inputs[v])
        elif i is not None and i.op is _GETITEM and i.inputs[0] in inputs:
            found.append((inputs[i.inputs[0]], frozen(i.attrs)))
        else:
            return None
    return frozenset(found)


class _Rewriting:
    """wanted: is told which products are read."""

    def __init__(
        self, graph: Graph, products: Mapping[frozenset[Operand], int], wanted: dict[int, int]
    ) -> None:
        self.graph, self.products, self.wanted = graph, products, wanted
        self.builder = Builder(graph)
        self.made, self.readers = graph.producers(), users(graph)
        self.inputs = {v: v for v in graph.inputs}

    def rewritten(self) -> Graph:
        replaced: dict[int, int] = {}
        for i in self.graph.instructions:
            if i.op is _MUL:
                found = self._product(i.inputs, i.out)
                if found is None:
                    found = self._less_a_square(i)
                if found is not None:
                    replaced[i.out] = found
        return self.builder.replacing(replaced)

    def _product(self, factors: Sequence[int], like: int) -> int | None:
        """The input that is the factors' product, if there is one."""
        operands = _operands(factors, self.made, self.inputs)
        value = None if operands is None else self.products.get(operands)
        if value is None:
            return None
        if value not in self.wanted:
            self.wanted[value] = self.builder.value(self.graph.spec(like))
        return self.wanted[value]

    def _less_a_square(self, i: Instruction) -> int | None:
        """`x (1 - y y)` as `x - (x y) y`, if x y is there."""
        spec = self.graph.spec(i.out)
        for x, rest in (i.inputs, i.inputs[::-1]):
            y = self._root_of_rest(rest)
            if y is None or {self.graph.spec(x), self.graph.spec(y)} != {spec}:
                continue
            product = self._product((x, y), i.out)
            if product is not None:
                share = self.builder.add(_MUL, (product, y), {}, spec)
                return self.builder.add(_SUB, (x, share), {}, spec)
        return None

    def _root_of_rest(self, value: int) -> int | None:
        """y, of a `1 - y y` that is read once."""
        rest = self.made.get(value)
        if rest is None or rest.op is not _SUB or not self._is_read_once(value):
            return None
        one, square = self.graph.constants.get(rest.inputs[0]), self.made.get(rest.inputs[1])
        if one is None or one.shape or one != 1 or square is None or square.op is not _MUL:
            return None
        y, same = square.inputs
        return y if y == same and self._is_read_once(square.out) else None

    def _is_read_once(self, value: int) -> bool:
        return value not in self.graph.outputs and len(self.readers.get(value, ())) == 1
