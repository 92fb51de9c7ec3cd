"""Ops that are several passes over a row, as the passes: mean, var, softmax and the like."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ops import OPS
from ..graph import Builder, Graph, Instruction, Spec

__all__ = ["lowered"]


def lowered(graph: Graph) -> tuple[Graph, dict[int, int]]:
    """The graph with compound reductions taken apart, and the new numbers of their results."""
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        rule = _RULES.get(i.op.name)
        if rule is None:
            builder.instructions.append(i)
        else:
            replaced[i.out] = rule(_Writer(builder), i)
    names = {replaced.get(v, v): name for v, name in graph.names.items()}
    return builder.finish(names=names).renamed(replaced), replaced


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

    def each(self, name: str, *inputs: int) -> int:
        """An elementwise op."""
        shape = np.broadcast_shapes(*(self.spec(v).shape for v in inputs))
        return self.builder.add(OPS[name], inputs, {}, Spec(shape, self.spec(inputs[0]).dtype))

    def reduce(self, name: str, a: int, axis: tuple[int, ...], keepdims: bool) -> int:
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


_RULES: dict[str, Callable[[_Writer, Instruction], Any]] = {
    "mean": _mean,
    "var": _var,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
}
