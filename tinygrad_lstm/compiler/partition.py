"""What need not stand in the loop: done once, or for all steps at a time.

A step's values are invariant, timed (they depend on x_t) or carried (on the carry). Invariant ones
are computed once. Timed ones are computed for the whole sequence in one op, with time as a leading
axis, wherever the op has such a form. The carried ones are the loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..ops import OPS
from .graph import Graph, Instruction, Spec

__all__ = ["Parts", "for_all_steps", "partition"]


class Parts(NamedTuple):
    """A step's graph in two.

    before: from the whole xs (T, ...) and the captured tensors to what the loop reads; its
    outputs are the loop's timed inputs (T, ...), then the loop's invariants.
    loop: inputs are the carries, the timed inputs (one step's), the invariants.
    """

    before: Graph
    loop: Graph
    timed: tuple[int, ...]
    invariants: tuple[int, ...]


def partition(graph: Graph, carries: int, xs: int, steps: int, over_time: bool = True) -> Parts:
    """Split a step's graph; `carries` and `xs` say how many of its inputs are which.

    over_time: take what depends on x_t alone out of the loop; if not, only what a loop over
    numbers of the carry's dtype can't do, such as looking up an embedding.
    """
    carry_inputs, x_inputs = graph.inputs[:carries], graph.inputs[carries : carries + xs]
    carried = graph.depending_on(carry_inputs)
    timed = graph.depending_on(x_inputs) - carried
    ahead: set[int] = {*graph.inputs[carries:], *graph.constants}
    at_once: dict[int, Mapping[str, Any]] = {}  # what could be done so, and with which attributes
    for i in graph.instructions:
        if i.out in carried or i.out in graph.outputs or not ahead.issuperset(i.inputs):
            continue
        if i.out in timed:
            attrs = for_all_steps(i, graph, timed, steps)
            if attrs is None:
                continue
            at_once[i.out] = attrs
        ahead.add(i.out)
    if not over_time:
        floats = {graph.spec(v).dtype for v in carry_inputs if graph.spec(v).dtype.kind == "f"}
        for v in at_once.keys() - _with_what_they_read(graph, at_once, floats):
            del at_once[v]
            ahead.remove(v)
    specs = list(graph.specs)
    for v in (*x_inputs, *at_once):
        specs[v] = _with_time(specs[v], steps)
    before: list[Instruction] = []
    loop: list[Instruction] = []
    for i in graph.instructions:
        part = before if i.out in ahead else loop
        part.append(i._replace(attrs=at_once.get(i.out, i.attrs)))
    read = dict.fromkeys(v for i in loop for v in i.inputs if v in ahead)
    timed_inputs = tuple(v for v in read if v in timed)
    invariants = tuple(v for v in read if v not in timed and v not in graph.constants)
    loop_graph = replace(
        graph,
        inputs=(*carry_inputs, *timed_inputs, *invariants),
        instructions=tuple(loop),
        constants={k: v for k, v in graph.constants.items() if k in read},
    )
    before_graph = replace(
        graph,
        inputs=graph.inputs[carries:],
        outputs=(*timed_inputs, *invariants),
        instructions=tuple(before),
        specs=tuple(specs),
    ).pruned()
    return _transposed_inside(Parts(before_graph, loop_graph, timed_inputs, invariants))


def _transposed_inside(parts: Parts) -> Parts:
    """Matrices that the loop multiplies with transposed are handed to it as they are.

    A loop lays out its matrices as suits it, and their gradients come in their own shape.
    """
    factors = {v for i in parts.loop.instructions for v in i.inputs if i.op is OPS["matmul"]}
    turned = {  # in the order they are made: a transposed one may be read transposed again
        i.out: i
        for i in parts.before.instructions
        if i.out in parts.invariants
        and i.op is OPS["transpose"]
        and i.attrs["axes"] == (1, 0)
        and i.out in factors
    }
    if not turned:
        return parts
    given = {v: v for v in parts.invariants}
    for v, i in turned.items():
        given[v] = given.get(i.inputs[0], i.inputs[0])
    invariants = tuple(dict.fromkeys(given.values()))
    loop = parts.loop
    carried_and_timed = loop.inputs[: len(loop.inputs) - len(parts.invariants)]
    return Parts(
        replace(parts.before, outputs=(*parts.timed, *invariants)).pruned(),
        replace(
            loop,
            inputs=(*carried_and_timed, *invariants),
            instructions=(*turned.values(), *loop.instructions),
        ),
        parts.timed,
        invariants,
    )


def _with_what_they_read(
    graph: Graph, candidates: Collection[int], floats: Collection[np.dtype[Any]]
) -> set[int]:
    """Of the candidates those that the loop can't compute, and those that these depend on."""
    found: set[int] = set()
    for i in reversed(graph.instructions):
        if i.out in candidates and (i.out in found or _has_others(i, graph, floats)):
            found.update((i.out, *i.inputs))
    return found & set(candidates)


def _has_others(i: Instruction, graph: Graph, floats: Collection[np.dtype[Any]]) -> bool:
    """Whether the op reads or makes integers, or numbers of another dtype than the carry's."""
    dtypes = {graph.spec(v).dtype for v in (*i.inputs, i.out)}
    return any(d.kind in "iu" or (d.kind == "f" and floats and d not in floats) for d in dtypes)


def _with_time(spec: Spec, steps: int) -> Spec:
    return spec._replace(shape=(steps, *spec.shape))


_REDUCTIONS = frozenset(("sum", "mean", "var", "max", "min", "logsumexp", "softmax", "log_softmax"))


def for_all_steps(
    i: Instruction, graph: Graph, timed: set[int], steps: int
) -> Mapping[str, Any] | None:
    """The attributes that make the op treat all steps at once; None where it has no such form."""
    name, attrs = i.op.name, i.attrs
    ranks = [len(graph.spec(v).shape) for v in i.inputs]
    moving = [v in timed for v in i.inputs]
    if i.op.elementwise:
        rank = {r for r, m in zip(ranks, moving, strict=True) if m}
        still = [r for r, m in zip(ranks, moving, strict=True) if not m]
        fits = len(rank) == 1 and max(still, default=0) <= min(rank)
        return attrs if fits else None
    if i.op is OPS["matmul"]:
        left, right = ranks  # time stands before the axes of the batch, whose ranks must agree
        same = left == right if all(moving) else (max(ranks) == ranks[moving.index(True)])
        return attrs if same else None
    if name == "getitem":
        index = attrs["index"]
        index = index if isinstance(index, tuple) else (index,)
        basic = all(p is Ellipsis or p is None or isinstance(p, slice | int) for p in index)
        return {"index": (slice(None), *index)} if basic else None
    if name == "transpose":
        return {"axes": (0, *(k + 1 for k in attrs["axes"]))}
    if name == "reshape":
        return {"shape": (steps, *attrs["shape"])}
    if name in _REDUCTIONS:
        return {**attrs, "axis": tuple(k + 1 for k in attrs["axis"])}
    if name == "cumsum" or (name in ("concatenate", "stack") and all(moving)):
        return {**attrs, "axis": attrs["axis"] + 1}
    if name == "take" and attrs["axis"] == 0 and not moving[0]:
        return attrs
    return None


def loop_outputs(graph: Graph, copied: Sequence[int]) -> Graph:
    """The graph with a copy in place of each output listed: outputs the loop must write itself."""
    reshape = OPS["reshape"]
    specs = list(graph.specs)
    outputs = list(graph.outputs)
    added: list[Instruction] = []
    for position in copied:
        value = outputs[position]
        specs.append(graph.spec(value))
        shape = {"shape": graph.spec(value).shape}
        added.append(Instruction(reshape, (value,), shape, len(specs) - 1))
        outputs[position] = len(specs) - 1
    return replace(
        graph,
        outputs=tuple(outputs),
        specs=tuple(specs),
        instructions=(*graph.instructions, *added),
    )
