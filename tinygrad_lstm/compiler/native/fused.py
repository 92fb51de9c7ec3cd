"""One pass over a row for many elementwise ops: what one hands to the next stays in registers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .body import Body, Located, collapsed
from .functions import Vectors
from .layout import View
from .schedule import Entry, Group, Operand

__all__ = ["Pass"]

Value = tuple[str, bool]
"""A vector, and whether it is of flags rather than numbers."""


class Pass:
    """Writes a group of ops.

    reads: where what it takes from memory lies; writes: which entries' results go where.
    """

    def __init__(self, body: Body, group: Group) -> None:
        self._body, self._group = body, group
        self._reads: dict[View, Located] = {}
        self._writes: list[tuple[Entry, Located]] = []
        self._find_reads()
        self._find_writes()
        places = [*self._reads.values(), *(place for _, place in self._writes)]
        self._places = {id(place.view): place for place in places}.values()  # sums are both
        views = [place.view for place in self._places]
        self._shape, strides = collapsed(group.shape, [v.strides for v in views])
        self._strides = dict(zip(map(id, views), strides, strict=True))
        self._dense = all(s[-1] in (0, 1) for s in strides) if self._shape else True
        self._starts: dict[int, str] = {}

    def _find_reads(self) -> None:
        inside: set[int | None] = set()
        for entry in self._group.entries:
            for operand in entry.operands:
                if isinstance(operand, View) and operand.root not in inside:
                    self._reads.setdefault(operand, self._body.located(operand))
            inside.add(entry.out)

    def _find_writes(self) -> None:
        body = self._body
        for entry in self._group.entries:
            target = entry.target
            if target is None and entry.out is not None and entry.out in body.schedule.stored:
                target = body.layout.views[entry.out]
            if target is not None:
                self._writes.append((entry, body.located(target)))

    def write(self) -> None:
        """The loops over rows, axes and registers."""
        body, f, shape = self._body, self._body.f, self._shape
        with body.each_row(self._group.rows) as r:
            for kind, pointer, row, view in self._places:
                offset = f.add(f.mul(r, row), view.offset) if row else str(view.offset)
                self._starts[id(view)] = f.at(kind, pointer, offset)
            with body.each_index(shape[:-1]) as index:
                for place in self._places:
                    self._advance(place, index)
                count = shape[-1] if shape else 1
                for j, width in body.pieces(count, self._dense):
                    self._piece(j, width)

    def _advance(self, place: Located, index: Sequence[str]) -> None:
        """Go to this index of all axes but the last."""
        f, view = self._body.f, id(place.view)
        for i, stride in zip(index, self._strides[view][:-1], strict=True):
            if stride:
                self._starts[view] = f.at(place.kind, self._starts[view], f.mul(i, stride))

    def _piece(self, j: str | int, width: int) -> None:
        """All ops on as many numbers as fit a register."""
        vectors = Vectors(self._body.f, self._body.scalar, width)
        loaded: dict[View, Value] = {}
        made: dict[int, Value] = {}

        def value(operand: Operand) -> Value:
            if not isinstance(operand, View):
                return vectors.constant(operand), False
            if operand.root in made:
                return made[operand.root]
            if operand not in loaded:
                loaded[operand] = self._loaded(vectors, self._reads[operand], j)
            return loaded[operand]

        targets = {id(entry): place for entry, place in self._writes}
        for entry in self._group.entries:
            result = _apply(vectors, entry, [value(o) for o in entry.operands])
            if entry.out is not None:
                spec = self._body.layout.graph.spec(entry.out)
                if not result[1] and spec.dtype == bool:  # such as a or b
                    result = vectors.compare("une", result[0], vectors.constant(0.0)), True
                made[entry.out] = result
            if id(entry) in targets:
                self._store(vectors, result, targets[id(entry)].view, j)

    def _store(self, vectors: Vectors, result: Value, view: View, j: str | int) -> None:
        f, scalar = self._body.f, self._body.scalar
        number = vectors.number_of(result[0]) if result[1] else result[0]
        stride = (self._strides[id(view)] or (1,))[-1]
        at = j if stride == 1 else f.mul(j, stride)
        pointer = f.at(scalar.name, self._starts[id(view)], at)
        f.store(vectors.kind, number, pointer, scalar.bytes)

    def _loaded(self, vectors: Vectors, place: Located, j: str | int) -> Value:
        f, kind, view = self._body.f, place.kind, id(place.view)
        stride = (self._strides[view] or (1,))[-1]
        flags = kind == "i8"
        size = 1 if flags else self._body.scalar.bytes
        if stride == 0:
            one = vectors.spread(f.load(kind, self._starts[view], size), kind)
        else:
            at = f.at(kind, self._starts[view], j if stride == 1 else f.mul(j, stride))
            one = f.load(f"<{vectors.width} x {kind}>", at, size)
        if not flags:
            return one, False
        zero = f"<{vectors.width} x i8> {one}, zeroinitializer"
        return f.let(f"icmp ne {zero}"), True


# -- ops -------------------------------------------------------------------------------------------


def _apply(vectors: Vectors, entry: Entry, operands: Sequence[Value]) -> Value:
    """One op on vectors."""
    if entry.name == "copy":
        return operands[0]
    if entry.name == "where":
        flags = operands[0]
        chosen = flags[0] if flags[1] else vectors.compare("une", flags[0], vectors.constant(0.0))
        a, b = (vectors.number_of(x) if is_flags else x for x, is_flags in operands[1:])
        return vectors.select(chosen, a, b), False
    if entry.name == "astype" and entry.attrs["dtype"] == np.bool_:
        return operands[0]
    numbers = [vectors.number_of(x) if flags else x for x, flags in operands]
    if entry.name in _COMPARISONS:
        return vectors.compare(_COMPARISONS[entry.name], *numbers), True
    if entry.name == "within":
        return _within(vectors, numbers[0], **entry.attrs), True
    if entry.name == "clip":
        return _clip(vectors, numbers[0], **entry.attrs), False
    if entry.name == "pow":
        return _pow(vectors, entry, numbers), False
    return _NUMERIC[entry.name](vectors, *numbers), False


def _within(vectors: Vectors, a: str, low: float | None, high: float | None) -> str:
    above = vectors.compare("oge", a, vectors.constant(-math.inf if low is None else low))
    below = vectors.compare("ole", a, vectors.constant(math.inf if high is None else high))
    return vectors.f.let(f"and {vectors.flags} {above}, {below}")


def _clip(vectors: Vectors, a: str, low: float | None, high: float | None) -> str:
    return vectors.clamp(a, -math.inf if low is None else low, math.inf if high is None else high)


def _pow(vectors: Vectors, entry: Entry, numbers: Sequence[str]) -> str:
    exponent = entry.operands[1]
    if exponent == 2.0:
        return vectors.binary("fmul", numbers[0], numbers[0])
    if exponent == 1.0:
        return numbers[0]
    if exponent == 0.5:
        return vectors.intrinsic("sqrt", numbers[0])
    return vectors.intrinsic("pow", *numbers)


_COMPARISONS = {"greater": "ogt", "greater_equal": "oge", "equal": "oeq", "not_equal": "une"}
_NUMERIC: dict[str, Callable[..., str]] = {
    "add": lambda v, a, b: v.binary("fadd", a, b),
    "sub": lambda v, a, b: v.binary("fsub", a, b),
    "mul": lambda v, a, b: v.binary("fmul", a, b),
    "dropout": lambda v, a, b: v.binary("fmul", a, b),
    "div": lambda v, a, b: v.binary("fdiv", a, b),
    "neg": lambda v, a: v.negative(a),
    "exp": lambda v, a: v.exp(a),
    "log": lambda v, a: v.intrinsic("log", a),
    "sqrt": lambda v, a: v.intrinsic("sqrt", a),
    "abs": lambda v, a: v.intrinsic("fabs", a),
    "sin": lambda v, a: v.intrinsic("sin", a),
    "cos": lambda v, a: v.intrinsic("cos", a),
    "sign": lambda v, a: v.sign(a),
    "tanh": lambda v, a: v.tanh(a),
    "sigmoid": lambda v, a: v.sigmoid(a),
    "relu": lambda v, a: v.maximum(a, v.constant(0.0)),
    "softplus": lambda v, a: v.softplus(a),
    "maximum": lambda v, a, b: v.maximum(a, b),
    "minimum": lambda v, a, b: v.minimum(a, b),
    "astype": lambda v, a: a,
}
