"""A loop ready for a backend: which values are carried, indexed by time, stacked and summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..tensor import Array
from .graph import Graph, Spec

__all__ = ["Outcome", "Program"]


@dataclass(frozen=True)
class Program:
    """One step's graph and what to do with its values at every step.

    carried: inputs that hold, at each step, what `carry_out` held after the one before.
    timed: inputs read at t from arrays (T, ...). invariants: inputs that stay.
    stacks: values kept for every t, (T, ...); history: how many of them, from the first on, are
    the carries after each step, in arrays (T + 1, ...) whose first row is the initial carry.
    sums: values added up over the steps. products: pairs of matrices (left, right) of which
    left^T right is added up over the steps. backwards: from the last step to the first.
    """

    graph: Graph
    carried: tuple[int, ...]
    carry_out: tuple[int, ...]
    timed: tuple[int, ...]
    invariants: tuple[int, ...]
    stacks: tuple[int, ...] = ()
    sums: tuple[int, ...] = ()
    products: tuple[tuple[int, int], ...] = ()
    history: int = 0
    backwards: bool = False

    def specs(self, values: tuple[int, ...]) -> list[Spec]:
        """Shape and dtype of several values."""
        return [self.graph.spec(v) for v in values]

    def observed(self) -> Graph:
        """The graph with everything that it computes for the loop as its outputs, each once."""
        made = self.graph.producers()
        lists = (self.carry_out, self.stacks, self.sums, *self.products, self.graph.outputs)
        wanted = dict.fromkeys(v for values in lists for v in values if v in made)
        return replace(self.graph, outputs=tuple(wanted))

    def rewritten(self, change: Callable[[Graph], Graph]) -> Program:
        """With another graph that gives the same values, perhaps by other numbers."""
        observed = self.observed()
        graph = change(observed)
        number = dict(zip(observed.outputs, graph.outputs, strict=True))

        def renamed(values: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(number.get(v, v) for v in values)

        return replace(
            self,
            graph=replace(graph, outputs=renamed(self.graph.outputs)),
            carry_out=renamed(self.carry_out),
            stacks=renamed(self.stacks),
            sums=renamed(self.sums),
            products=tuple((number.get(a, a), number.get(b, b)) for a, b in self.products),
        )


class Outcome(NamedTuple):
    """What a loop leaves: the last carries, then one array for each of a program's lists.

    All of it new, and no array shares memory with another.
    """

    finals: list[Array]
    stacks: list[Array]
    sums: list[Array]
    products: list[Array]
