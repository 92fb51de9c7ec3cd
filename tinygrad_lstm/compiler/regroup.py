"""Products of several factors, multiplied such that what no carry reaches comes first.

On the way back a gate's cotangent is `dh * tanh(c) * (o * (1 - o))`, of which all but `dh` was
known before the loop. As `dh * (tanh(c) * (o * (1 - o)))` one op is left at every step; the rest
can be done for several steps at a time.
"""

from __future__ import annotations

from ..ops import OPS
from .graph import Builder, Graph, Instruction, users
from .program import Program
from .reassociate import reassociate

__all__ = ["known_first"]

_MUL, _CONCATENATE, _GETITEM = (OPS[k] for k in ("mul", "concatenate", "getitem"))


def known_first(program: Program) -> Program:
    """The program with its elementwise products regrouped."""
    carried = program.graph.depending_on(program.carried)

    def regrouped(graph: Graph) -> Graph:
        graph = _multiplied_apart(graph, carried)
        return reassociate(graph, lambda v: int(v in graph.depending_on(program.carried)), _MUL)

    return program.rewritten(lambda graph: _flat(regrouped(graph)))


def _multiplied_apart(graph: Graph, carried: set[int]) -> Graph:
    """`concat(a k, b l) * m` as `concat(a k m_1, b l m_2)`, where k, l and m are known."""
    made, readers = graph.producers(), users(graph)
    builder = Builder(graph)
    replaced: dict[int, int] = {}

    def alone(v: int) -> bool:
        return v not in graph.outputs and len(readers.get(v, ())) == 1

    def is_known_share(v: int) -> bool:
        """Whether the value is a product with something known, and read here alone."""
        i = made.get(v)
        return i is not None and i.op is _MUL and alone(v) and not carried.issuperset(i.inputs)

    def joined(v: int) -> Instruction | None:
        """The concatenation of such products that made the value."""
        i = made.get(v)
        if i is None or i.op is not _CONCATENATE or not alone(v):
            return None
        last_axis = i.attrs["axis"] == len(graph.spec(v).shape) - 1
        return i if last_axis and all(map(is_known_share, i.inputs)) else None

    for i in graph.instructions:
        if i.op is not _MUL:
            continue
        for whole, other in (i.inputs, i.inputs[::-1]):
            found = joined(whole)
            same = graph.spec(whole) == graph.spec(i.out) == graph.spec(other)
            if found is None or other in carried or not same:
                continue
            parts: list[int] = []
            start = 0
            for v in found.inputs:
                spec = graph.spec(v)
                index = (Ellipsis, slice(start, start + spec.shape[-1]))
                start += spec.shape[-1]
                slice_of_other = builder.add(_GETITEM, (other,), {"index": index}, spec)
                parts.append(builder.add(_MUL, (v, slice_of_other), {}, spec))
            replaced[i.out] = builder.add(_CONCATENATE, parts, found.attrs, graph.spec(i.out))
            break
    return builder.replacing(replaced)


def _flat(graph: Graph) -> Graph:
    """A concatenation of concatenations as one."""
    made, readers = graph.producers(), users(graph)
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        if i.op is not _CONCATENATE:
            continue
        parts: list[int] = []
        for v in i.inputs:
            inner = made.get(v)
            alone = v not in graph.outputs and len(readers[v]) == 1
            if alone and inner is not None and (inner.op, inner.attrs) == (i.op, i.attrs):
                parts += inner.inputs
            else:
                parts.append(v)
        if len(parts) > len(i.inputs):
            replaced[i.out] = builder.add(_CONCATENATE, parts, i.attrs, graph.spec(i.out))
    return builder.replacing(replaced)
