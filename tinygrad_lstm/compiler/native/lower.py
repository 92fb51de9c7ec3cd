"""Ops that are several passes over a row, as the passes: mean, var, softmax and the like.

Products that no packed matrix stands for, such as those of two things that change from step to
step, are sums of elementwise products, as are Einstein sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ops import OPS
from ..common import merged
from ..graph import Builder, Graph, Instruction, Spec
from ..program import Program

__all__ = ["lowered"]

_LARGEST = 1 << 16
"""Numbers of one row that are written to be added up; beyond, BLAS does it better."""
_LARGEST_PRODUCT = 1 << 12
"""The same where there are more of them than each factor has."""


def lowered(program: Program) -> tuple[Graph, dict[int, int]]:
    """The program's graph with such ops taken apart, and the new numbers of their results.

    What their passes have in common is there once; what the program wants is always there.
    """
    graph = program.graph
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    packed = _matrices(program)
    for i in graph.instructions:
        rule = _RULES.get(i.op.name)
        if rule is None or (i.op.name == "matmul" and i.inputs[1] in packed):
            builder.instructions.append(i)
            continue
        made = rule(_Writer(builder), i)
        if made is None:
            builder.instructions.append(i)
        else:
            replaced[i.out] = made
    names = {replaced.get(v, v): name for v, name in graph.names.items()}
    lists = (program.carry_out, program.stacks, program.sums, *program.products, graph.outputs)
    wanted = {replaced.get(v, v) for values in lists for v in values}
    whole, same = merged(builder.finish(names=names).renamed(replaced), wanted)
    return whole, same | {v: same.get(made, made) for v, made in replaced.items()}


def _matrices(program: Program) -> set[int]:
    """Values that products are made with as matrices laid out for it."""
    graph = program.graph
    found = {v for v in program.invariants if len(graph.spec(v).shape) == 2}
    for i in graph.instructions:
        if i.op.name == "transpose" and i.inputs[0] in found and i.attrs["axes"] == (1, 0):
            found.add(i.out)
    return found


class _Writer:
    """Ops on the numbers of values."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder

    def spec(self, value: int) -> Spec:
        return self.builder.specs[value]

    def constant(self, value: float, like: int) -> int:
        dtype = self.spec(like).dtype
        number = self.builder.value(Spec((), dtype))
        self.builder.constants[number] = np.asarray(value, dtype)
        return number

    def looked_at(self, a: int, name: str, out: tuple[int, ...], /, **attrs: Any) -> int:
        """The same numbers in another way."""
        return self.builder.add(OPS[name], (a,), attrs, Spec(out, self.spec(a).dtype))

    def swapped(self, a: int) -> int:
        """With its last two axes in turn."""
        shape = self.spec(a).shape
        axes = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        return self.looked_at(a, "transpose", tuple(shape[k] for k in axes), axes=axes)

    def indexed(self, a: int, *index: Any) -> int:
        shape = np.broadcast_to(0, self.spec(a).shape)[index].shape
        return self.looked_at(a, "getitem", shape, index=index)

    def each(self, name: str, *inputs: int) -> int:
        """An elementwise op."""
        shape = np.broadcast_shapes(*(self.spec(v).shape for v in inputs))
        return self.builder.add(OPS[name], inputs, {}, Spec(shape, self.spec(inputs[0]).dtype))

    def reduce(self, name: str, a: int, axis: tuple[int, ...], keepdims: bool) -> int:
        """A reduction; a sum over the batch and over other axes is one over these first."""
        first = _leading(axis)
        if name == "sum" and first and len(first) < len(axis):
            rest = tuple(k for k in axis if k not in first)
            total = self.reduce(name, self.reduce(name, a, rest, True), first, True)
            if keepdims:
                return total
            shape = tuple(n for k, n in enumerate(self.spec(a).shape) if k not in axis)
            return self.looked_at(total, "reshape", shape, shape=shape)
        shape, dtype = self.spec(a)
        kept = [1 if k in axis else n for k, n in enumerate(shape)]
        if not keepdims:
            kept = [n for k, n in enumerate(shape) if k not in axis]
        attrs = {"axis": axis, "keepdims": keepdims}
        return self.builder.add(OPS[name], (a,), attrs, Spec(tuple(kept), dtype))

    def count(self, a: int, axis: tuple[int, ...]) -> int:
        return math.prod(self.spec(a).shape[k] for k in axis)

    def mean(self, a: int, axis: tuple[int, ...], keepdims: bool) -> int:
        total = self.reduce("sum", a, axis, keepdims)
        return self.each("mul", total, self.constant(1.0 / self.count(a, axis), a))

    def shifted(self, a: int, axis: tuple[int, ...]) -> tuple[int, int]:
        """a less its maximum, and the maximum: exp of it can't overflow."""
        highest = self.reduce("max", a, axis, True)
        return self.each("sub", a, highest), highest


def _mean(w: _Writer, i: Instruction) -> int:
    return w.mean(i.inputs[0], i.attrs["axis"], i.attrs["keepdims"])


def _var(w: _Writer, i: Instruction) -> int:
    (a,), axis = i.inputs, i.attrs["axis"]
    off = w.each("sub", a, w.mean(a, axis, True))
    total = w.reduce("sum", w.each("mul", off, off), axis, i.attrs["keepdims"])
    return w.each("mul", total, w.constant(1.0 / (w.count(a, axis) - i.attrs["ddof"]), a))


def _softmax(w: _Writer, i: Instruction) -> int:
    (a,), axis = i.inputs, i.attrs["axis"]
    powers = w.each("exp", w.shifted(a, axis)[0])
    return w.each("div", powers, w.reduce("sum", powers, axis, True))


def _log_softmax(w: _Writer, i: Instruction) -> int:
    (a,), axis = i.inputs, i.attrs["axis"]
    below, _ = w.shifted(a, axis)
    return w.each("sub", below, w.each("log", w.reduce("sum", w.each("exp", below), axis, True)))


def _logsumexp(w: _Writer, i: Instruction) -> int:
    (a,), axis = i.inputs, i.attrs["axis"]
    highest = w.reduce("max", a, axis, True)
    shape, dtype = w.spec(highest)
    most = float(np.finfo(dtype).max)
    ends = {"low": -most, "high": most}
    finite = w.builder.add(OPS["within"], (highest,), ends, Spec(shape, np.dtype(bool)))
    choices = (finite, highest, w.constant(0.0, a))  # infinite: nothing to be shifted by
    shift = w.builder.add(OPS["where"], choices, {}, Spec(shape, dtype))
    total = w.reduce("sum", w.each("exp", w.each("sub", a, shift)), axis, True)
    whole = w.each("add", w.each("log", total), shift)
    out = w.spec(i.out)
    return w.builder.add(OPS["reshape"], (whole,), {"shape": out.shape}, out)


def _leading(axis: Sequence[int]) -> tuple[int, ...]:
    """The batch's axis, and those that follow it, among the axes of a reduction."""
    return tuple(k for n, k in enumerate(sorted(axis)) if n == k)


def _sum(w: _Writer, i: Instruction) -> int | None:
    (a,), axis = i.inputs, i.attrs["axis"]
    if w.spec(a).dtype.kind != "f" or len(_leading(axis)) in (0, len(axis)):
        return None
    return w.reduce("sum", a, axis, i.attrs["keepdims"])


def _matmul(w: _Writer, i: Instruction) -> int | None:
    a, b = i.inputs
    (*_, rows, inner), (*_, columns) = w.spec(a).shape, w.spec(b).shape
    if inner == 1:
        return _total(w, (a, b), (), False)
    if columns == 1 and len(w.spec(b).shape) > 2:
        return _total(w, (a, w.swapped(b)), (-1,), True)
    if rows == 1 and len(w.spec(a).shape) > 2:
        return _total(w, (w.swapped(a), b), (-2,), True)
    left = w.indexed(a, Ellipsis, None)  # (..., i, k, 1)
    right = w.indexed(b, Ellipsis, None, slice(None), slice(None))  # (..., 1, k, j)
    return _total(w, (left, right), (-2,), False)


def _total(
    w: _Writer, factors: Sequence[int], axes: Sequence[int], keepdims: bool
) -> int | None:
    """The sum over some axes of the factors' product; None if that is too large."""
    shapes = [w.spec(v).shape for v in factors]
    shape = np.broadcast_shapes(*shapes)
    count = math.prod(shape[1:])
    spread = count > max(math.prod(s[1:]) for s in shapes)
    if axes and count > (_LARGEST_PRODUCT if spread else _LARGEST):
        return None
    product = factors[0]
    for factor in factors[1:]:
        product = w.each("mul", product, factor)
    axis = tuple(k % len(shape) for k in axes)
    return w.reduce("sum", product, axis, keepdims) if axis else product


def _einsum(w: _Writer, i: Instruction) -> int | None:
    texts, result = i.attrs["subscripts"].split("->")
    terms = texts.split(",")
    letters = _order(terms, result)
    factors: list[int] = []
    for v, term in zip(i.inputs, terms, strict=True):
        order = tuple(term.index(k) for k in letters if k in term)
        if order != tuple(range(len(order))):
            shape = w.spec(v).shape
            v = w.looked_at(v, "transpose", tuple(shape[k] for k in order), axes=order)
        index = tuple(slice(None) if k in term else None for k in letters)
        factors.append(v if None not in index else w.indexed(v, *index))
    total = _total(w, factors, [k for k, m in enumerate(letters) if m not in result], False)
    if total in i.inputs:  # a value of its own
        shape = w.spec(i.out).shape
        return w.looked_at(i.inputs[0], "reshape", shape, shape=shape)
    return total


def _order(terms: Sequence[str], result: str) -> str:
    """The letters of a product of all terms, if possible as the largest term has them."""
    everything = "".join(terms)
    largest = "".join(dict.fromkeys(max(terms, key=len) + everything))
    if [k for k in largest if k in result] == list(result):
        return largest
    return "".join(dict.fromkeys(result + everything))


_RULES: dict[str, Callable[[_Writer, Instruction], Any]] = {
    "mean": _mean,
    "var": _var,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "sum": _sum,
    "matmul": _matmul,
    "einsum": _einsum,
}
