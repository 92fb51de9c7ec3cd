"""A loop that reads values of several gates (G, R, W), a plane for each gate, not (R, G W)."""

from __future__ import annotations

from collections.abc import Collection

from ..ops import OPS
from .graph import Builder, Graph, Instruction, Spec, in_order
from .merge import last_axis_slice
from .program import Program

__all__ = ["Index", "index_of", "reading_planes"]

_GETITEM, _RESHAPE, _TRANSPOSE = (OPS[k] for k in ("getitem", "reshape", "transpose"))

Index = slice | int


def index_of(start: int, stop: int) -> Index:
    """Of some planes; of one it takes the axis away."""
    return start if stop - start == 1 else slice(start, stop)


def reading_planes(program: Program, inputs: Collection[int], width: int) -> Program:
    """The program that is given some of its inputs over time in planes of this width.

    Nothing of the program but ops must read them.
    """
    if not inputs:
        return program
    return program.rewritten(lambda graph: _Reading(graph, inputs, width).rewritten())


class _Reading:
    def __init__(self, graph: Graph, inputs: Collection[int], width: int) -> None:
        self.graph, self.width = graph, width
        self.builder = Builder(graph)
        self.planes: dict[int, int] = {v: v for v in inputs}  # value -> it in planes
        self.joined: dict[int, int] = {}  # value -> it in rows again

    def rewritten(self) -> Graph:
        builder, graph = self.builder, self.graph
        for v in self.planes:
            builder.specs[v] = self._spec(v)
        replaced: dict[int, int] = {}
        for i in graph.instructions:
            if self.planes.keys().isdisjoint(i.inputs):
                builder.instructions.append(i)
                continue
            part = last_axis_slice(i, graph)
            if part is not None and not (part[1] % self.width or part[2] % self.width):
                self._slice(i, part[1] // self.width, part[2] // self.width, replaced)
            elif i.op.elementwise and not i.attrs and self._fits(i):
                inputs = [self.planes.get(v, v) for v in i.inputs]
                self.planes[i.out] = builder.add(i.op, inputs, {}, self._spec(i.out))
            else:
                inputs = [self._in_rows(v) if v in self.planes else v for v in i.inputs]
                builder.instructions.append(i._replace(inputs=tuple(inputs)))
        replaced.update((v, self._in_rows(v)) for v in graph.outputs if v in self.planes)
        return in_order(builder.finish().renamed(replaced)).pruned()

    def _spec(self, value: int) -> Spec:
        (rows, columns), dtype = self.graph.spec(value)
        return Spec((columns // self.width, rows, self.width), dtype)

    def _fits(self, i: Instruction) -> bool:
        """Whether the op reads nothing but such values of as many gates, and numbers."""
        shape = self.graph.spec(i.out).shape
        return all(
            self.graph.spec(v).shape == shape if v in self.planes else not self.graph.spec(v).shape
            for v in i.inputs
        )

    def _slice(self, i: Instruction, start: int, stop: int, replaced: dict[int, int]) -> None:
        whole = self.planes[i.inputs[0]]
        index = {"index": (index_of(start, stop),)}
        if stop - start > 1:
            self.planes[i.out] = self.builder.add(_GETITEM, [whole], index, self._spec(i.out))
        else:
            replaced[i.out] = self.builder.add(_GETITEM, [whole], index, self.graph.spec(i.out))

    def _in_rows(self, value: int) -> int:
        if value not in self.joined:
            count, rows, width = self._spec(value).shape
            shape, dtype = self.graph.spec(value)
            apart = Spec((rows, count, width), dtype)
            turned = self.builder.add(_TRANSPOSE, [self.planes[value]], {"axes": (1, 0, 2)}, apart)
            self.joined[value] = self.builder.add(
                _RESHAPE, [turned], {"shape": shape}, Spec(shape, dtype)
            )
        return self.joined[value]
