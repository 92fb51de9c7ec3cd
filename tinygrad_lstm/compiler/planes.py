"""Gates one after the other in memory, not side by side in each row.

What all gates are computed from is one sum of products, (R, G W): R rows with G gates of width W. A
gate is a slice of it, R short pieces, through which elementwise functions go slowly. As (G, R, W),
a plane for each gate, a gate is one piece. So such sums are laid out in planes, as far as they are
there before the loop too, and the gates are written over these. Gates that the same function is
applied to become neighbours, and it is called once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..ops import OPS
from .gates import Columns, Gates, Part, gates_of
from .graph import Builder, Graph, Instruction, Spec, users
from .into import IN_PLACE
from .merge import last_axis_slice
from .program import Program
from .read_planes import Index, index_of, reading_planes
from .regroup import known_first
from .tidy import summed

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["Home", "Loops", "loops_of"]

_ADD, _MATMUL, _GETITEM, _RESHAPE, _STACK = (
    OPS[k] for k in ("add", "matmul", "getitem", "reshape", "stack")
)


class Home(NamedTuple):
    """Some planes of an array (T, G, R, W) that the loop reads, to be written over."""

    timed: int
    planes: Index


class Loops(NamedTuple):
    """A plan's loops as NumPy runs them, and the part before, whose first outputs they read.

    backward: None where no gradient is wanted.

    homes: where values of the forward loop are written, of those for which that is said.
    """

    before: Graph
    forward: Program
    homes: Mapping[int, Home]
    backward: Program | None


def loops_of(plan: Plan) -> Loops:
    """The plan's loops, with gates in planes where that is possible."""
    backward = known_first(plan.backward) if plan.differentiable else None
    loops = Loops(plan.parts.before, known_first(plan.forward), {}, backward)
    late = () if plan.before_backward is None else plan.before_backward.reads
    there = plan.parts.before.producers()
    inputs: dict[int, int] = {}  # what the backward loop reads of the forward one -> its input
    if plan.differentiable:
        given = plan.backward.timed[len(plan.backward.timed) - len(plan.timed_reads) :]
        inputs = dict(zip(plan.timed_reads, given, strict=True))
    free = {v for v in plan.parts.timed if v in there and v not in inputs and v not in late}
    read = {k: inputs[v] for k, v in enumerate(plan.forward.stacks) if v in inputs}
    while (gates := _next_gates(loops.forward, free)) is not None:
        stacks = loops.forward.stacks
        seen = {v for k, v in read.items() if stacks[k] in gates.wide}
        loops = _laid_out(loops, gates, seen, late)
        free.discard(gates.given)
    return loops


def _next_gates(program: Program, free: Collection[int]) -> Gates | None:
    graph = program.observed()
    moving = graph.depending_on([*program.carried, *program.timed])
    fixed = {*program.carry_out, *program.sums, *program.graph.outputs}
    found = (
        gates_of(graph, i.out, moving, free, fixed) for i in graph.instructions if i.op is _ADD
    )
    return next((gates for gates in found if gates is not None), None)


def _laid_out(loops: Loops, gates: Gates, seen: Collection[int], late: Sequence[int]) -> Loops:
    """seen: inputs of the backward loop that are values of several gates."""
    program = loops.forward
    position = program.timed.index(gates.given)
    layout = _Layout(gates)
    before = _before(loops.before, position, layout, late)
    rewriting: list[_Forward] = []

    def change(graph: Graph) -> Graph:
        rewriting.append(_Forward(graph, layout))
        return rewriting[0].rewritten()

    forward = program.rewritten(change)
    given = rewriting[0].given
    timed = tuple(given if v == gates.given else v for v in program.timed)
    inputs = tuple(given if v == gates.given else v for v in forward.graph.inputs)
    forward = replace(forward, graph=replace(forward.graph, inputs=inputs), timed=timed)
    made = forward.graph.producers()
    homes = {v: home for v, home in loops.homes.items() if v in made}
    homes |= _homes(forward, rewriting[0].whole, given)
    backward = loops.backward
    if backward is not None:
        backward = reading_planes(backward, seen, gates.width)
    return Loops(before, forward, homes, backward)


class _Layout:
    """In which order the gates are planes: those with the same function are neighbours."""

    def __init__(self, gates: Gates) -> None:
        self.gates, self.width = gates, gates.width
        groups: dict[object, list[Part]] = {}
        for part in gates.parts:
            key = part.columns if part.function is None else part.function.op.name
            groups.setdefault(key, []).append(part)
        self.groups = list(groups.values())
        self.cuts: list[slice] = []
        self._plane: dict[int, int] = {}  # of the gate that begins at a column
        for part in (part for group in self.groups for part in group):
            for start in range(*part.columns, self.width):
                self._plane[start] = len(self.cuts)
                self.cuts.append(slice(start, start + self.width))

    def planes(self, columns: Columns) -> tuple[int, int]:
        """From one up to another: those of some neighbouring gates of one part, or of all."""
        count = (columns[1] - columns[0]) // self.width
        first = 0 if count == len(self.cuts) else self._plane[columns[0]]
        return first, first + count


class _Sum:
    """A sum of products in planes, added to a graph under construction."""

    def __init__(
        self, builder: Builder, root: int, layout: _Layout, known: Mapping[int, int]
    ) -> None:
        """known: terms that are there in planes."""
        self.builder, self.layout, self.known = builder, layout, known
        graph = builder.graph
        self._made, readers = graph.producers(), users(graph)
        sums, terms = [], [root]
        if self._made[root].op is _ADD:
            sums, terms = summed(graph, root, self._made, readers)
        self._sums = frozenset(sums)
        self._layers = {v for v in terms if self._is_layer(v, readers)}

    def of(self, value: int) -> int:
        """All of it, or a partial sum, or a term: (..., R, G W) as (..., G, R, W)."""
        if value in self.known:
            return self.known[value]
        builder, made = self.builder, self._made.get(value)
        shape, dtype = builder.specs[value]
        if made is None or not (value in self._sums or value in self._layers):
            return self._cut(value)
        planes = Spec((*shape[:-2], len(self.layout.cuts), shape[-2], self.layout.width), dtype)
        if value in self._sums:
            return builder.add(_ADD, [self.of(v) for v in made.inputs], {}, planes)
        left, right = made.inputs
        rows, inner = builder.specs[left].shape[-2:]
        if len(shape) > 2:  # over time
            apart = Spec((*shape[:-2], 1, rows, inner), dtype)
            left = builder.add(_RESHAPE, [left], {"shape": apart.shape}, apart)
        return builder.add(_MATMUL, [left, self._cut(right)], {}, planes)

    def _is_layer(self, value: int, readers: Mapping[int, Sequence[Instruction]]) -> bool:
        """Whether the term is a product with a matrix; one that is read elsewhere is made once."""
        made = self._made.get(value)
        if made is None or made.op is not _MATMUL or len(readers.get(value, ())) > 1:
            return False
        return len(self.builder.specs[made.inputs[1]].shape) == 2

    def _cut(self, value: int) -> int:
        """(..., K, G W) as (..., G, K, W), and (G W,) as (G, 1, W); what all share as it is."""
        builder, width = self.builder, self.layout.width
        shape, dtype = builder.specs[value]
        if not shape or shape[-1] == 1:
            if len(shape) < 3:
                return value
            shared = Spec((*shape[:-2], 1, *shape[-2:]), dtype)
            return builder.add(_RESHAPE, [value], {"shape": shared.shape}, shared)
        piece = Spec((*shape[:-1], width), dtype)
        pieces = [
            builder.add(_GETITEM, [value], {"index": (Ellipsis, cut)}, piece)
            for cut in self.layout.cuts
        ]
        axis = max(0, len(shape) - 2)
        planes = Spec((*shape[:axis], len(pieces), *piece.shape[axis:]), dtype)
        found = builder.add(_STACK, pieces, {"axis": axis}, planes)
        if len(shape) > 1:
            return found
        rows = Spec((len(pieces), 1, width), dtype)
        return builder.add(_RESHAPE, [found], {"shape": rows.shape}, rows)


def _before(graph: Graph, position: int, layout: _Layout, late: Sequence[int]) -> Graph:
    """The part before, with one of its outputs in planes; late: what else is read of it."""
    kept = replace(graph, outputs=(*graph.outputs, *late))
    builder = Builder(kept)
    outputs = list(kept.outputs)
    outputs[position] = _Sum(builder, outputs[position], layout, {}).of(outputs[position])
    builder.instructions = [*graph.instructions, *builder.instructions]
    made = builder.finish(outputs=tuple(outputs)).pruned()
    return replace(made, outputs=made.outputs[: len(graph.outputs)])


class _Forward:
    """A loop's graph with gates in planes. given, whole: the term that is there, and the sum."""

    def __init__(self, graph: Graph, layout: _Layout) -> None:
        self.graph, self.layout, self.gates = graph, layout, layout.gates
        self.builder = Builder(graph)
        self.replaced: dict[int, int] = {}
        self.given = self.builder.value(self._spec((0, len(layout.cuts)), self.gates.given))

    def rewritten(self) -> Graph:
        builder, graph, gates, replaced = self.builder, self.graph, self.gates, self.replaced
        summed = _Sum(builder, gates.root, self.layout, {gates.given: self.given})
        self.whole = replaced[gates.root] = summed.of(gates.root)
        for group in self.layout.groups:
            self._together(group)
        for i in graph.instructions:
            if i.out in replaced:
                continue
            part = last_axis_slice(i, graph)
            if part is not None and part[0] in gates.wide:
                left = gates.wide[part[0]][0]
                first = self.layout.planes(gates.wide[part[0]])[0]
                planes = self.layout.planes((left + part[1], left + part[2]))
                replaced[i.out] = self._taken(replaced[part[0]], first, planes, i.out)
            elif i.out in gates.wide:
                inputs = [replaced.get(v, v) for v in i.inputs]
                spec = self._spec(self.layout.planes(gates.wide[i.out]), i.out)
                replaced[i.out] = builder.add(i.op, inputs, i.attrs, spec)
        return builder.replacing(replaced)

    def _spec(self, planes: tuple[int, int], like: int) -> Spec:
        shape = self.graph.spec(self.gates.root).shape[0], self.layout.width
        return Spec((planes[1] - planes[0], *shape), self.graph.spec(like).dtype)

    def _taken(self, whole: int, first: int, planes: tuple[int, int], like: int) -> int:
        """Some planes of a value whose own first plane is `first`."""
        shape, dtype = self._spec(planes, like)
        index = index_of(planes[0] - first, planes[1] - first)
        spec = Spec(shape[1:] if isinstance(index, int) else shape, dtype)
        return self.builder.add(_GETITEM, [whole], {"index": (index,)}, spec)

    def _together(self, group: Sequence[Part]) -> None:
        """Call the function of neighbouring parts once."""
        functions = [part.function for part in group if part.function is not None]
        if len(functions) < 2:
            return
        of = [self.layout.planes(part.columns) for part in group]
        planes = of[0][0], of[-1][1]
        result = functions[0].out
        source = self._taken(self.whole, 0, planes, self.gates.root)
        made = self.builder.add(functions[0].op, [source], {}, self._spec(planes, result))
        for i, there in zip(functions, of, strict=True):
            self.replaced[i.out] = self._taken(made, planes[0], there, result)


def _homes(program: Program, whole: int, given: int) -> dict[int, Home]:
    """Where the sum and the gates are written: over what of the sum was there before.

    A function writes over what it alone reads; slices of its result are where that is.
    """
    graph = program.observed()
    readers, made = users(graph), graph.producers()
    outside = {*program.carry_out, *program.sums, *program.graph.outputs}
    axes, there = len(graph.spec(whole).shape), {whole: (0, graph.spec(whole).shape[0])}
    free = {whole}
    for i in graph.instructions:
        at = next((v for v in i.inputs if v in there), None)
        if at is None:
            continue
        if i.op is _GETITEM:
            if len(graph.spec(at).shape) < axes or made[at].op is _GETITEM:
                continue  # what the step takes of a gate
            (index,) = i.attrs["index"]
            taken = slice(index, index + 1) if isinstance(index, int) else index
            there[i.out] = there[at][0] + taken.start, there[at][0] + taken.stop
            if at == whole:
                free.add(i.out)
        elif at in free and at != whole and _writes_over(i, at, graph, readers):
            there[i.out] = there[at]
            free.add(i.out)
    return {v: Home(given, index_of(*planes)) for v, planes in there.items() if v not in outside}


def _writes_over(
    i: Instruction, v: int, graph: Graph, readers: Mapping[int, Sequence[Instruction]]
) -> bool:
    alone = v not in graph.outputs and len(readers[v]) == 1
    return alone and i.op.name in IN_PLACE and graph.spec(i.out) == graph.spec(v)
