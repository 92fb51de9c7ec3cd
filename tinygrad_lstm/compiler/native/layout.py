"""Where the values of a loop lie: rows of a batch, or shared by all rows; computed, or a view.

A loop can be compiled if every op treats the rows of the batch apart from each other (so that
threads can share them out), or if there is no batch: then the whole is one row. Only sums over the
rows that are added up over time, the gradients of biases and the like, reach across.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...ops import OPS
from ..backends import NotNative
from ..graph import Graph, Instruction
from ..program import Program
from .lower import lowered
from .reasons import at_reader, mixed_dtypes, told

__all__ = ["Layout", "RowSum", "View", "dense", "layout_of"]

_SCATTER, _IDENTITY = OPS["scatter"], OPS["reshape"]
_VIEWS = frozenset(("reshape", "getitem", "transpose", "broadcast_to", "detach"))
_OTHERS = frozenset(
    ("matmul", "sum", "cumsum", "max", "min", "concatenate", "stack", "scatter")
)
_ELEMENTWISE = frozenset(
    (
        *("greater", "greater_equal", "equal", "not_equal", "sign", "within", "where", "astype"),
        *("add", "sub", "mul", "div", "neg", "pow", "exp", "log", "sqrt", "abs", "sin", "cos"),
        *("tanh", "sigmoid", "relu", "softplus", "maximum", "minimum", "clip", "dropout"),
    )
)


class View(NamedTuple):
    """Numbers of a stored or computed value: root[offset + sum(index * strides)] in each row."""

    root: int
    offset: int
    shape: tuple[int, ...]  # of one row, or of the whole where all rows share it
    strides: tuple[int, ...]
    rows: bool

    def is_whole(self, other: tuple[int, ...]) -> bool:
        """Whether it is its root, entire and in order, in a loop over a row of this shape."""
        return self.shape == other and self.offset == 0 and self.strides == dense(other)

    def is_dense(self) -> bool:
        """Whether its numbers lie side by side."""
        expected = dense(self.shape)
        return all(
            n == 1 or s == e for n, s, e in zip(self.shape, self.strides, expected, strict=True)
        )


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of numbers side by side."""
    strides: list[int] = []
    for k in range(len(shape)):
        strides.append(math.prod(shape[k + 1 :]))
    return tuple(strides)


class RowSum(NamedTuple):
    """A sum over the rows, and the first of a row's axes, put into an array of zeros.

    source: what is added up. axes: how many of a row's. shape: of the array; offset: where in it
    the numbers of the sum lie, side by side.
    """

    source: View
    axes: int
    shape: tuple[int, ...]
    offset: int


class Layout:
    """A program's values, with every input that is looked at resolved to a view of its root.

    batch: the number of rows, None without a batch. views: of each value. literals: values that
    are one number. computed: the instructions that compute, in order.
    """

    def __init__(self, program: Program, batch: int | None, vector_bytes: int) -> None:
        graph, renamed = lowered(program)

        def final(values: Iterable[int]) -> tuple[int, ...]:
            return tuple(renamed.get(v, v) for v in values)

        self.program = replace(
            program,
            graph=graph,
            carry_out=final(program.carry_out),
            stacks=final(program.stacks),
            sums=final(program.sums),
            products=tuple((a, b) for a, b in map(final, program.products)),
        )
        self.graph = graph
        self.batch = batch
        self.views: dict[int, View] = {}
        self.literals: dict[int, float] = {}
        self.matrices: dict[int, tuple[int, bool]] = {}  # value -> (invariant, is transposed)
        self.computed: list[Instruction] = []
        self.copies: dict[int, View] = {}  # views that are wanted as values of their own
        self.row_sums: dict[int, RowSum] = {}
        self.dtype = self._float_dtype(program)
        self.lanes = vector_bytes // self.dtype.itemsize
        self._inputs(program.graph)
        self._wanted = {*self.program.stacks, *self.program.carry_out}
        self._multiplied = {i.inputs[0] for i in graph.instructions if i.op is OPS["matmul"]}
        self._multiplied.update(v for pair in self.program.products for v in pair)
        for i in graph.instructions:
            self._instruction(i)
        self._check_row_sums()

    def padded(self, count: int) -> int:
        """A number of columns, rounded up to whole registers."""
        return -(-count // self.lanes) * self.lanes

    def _float_dtype(self, given: Program) -> np.dtype[Any]:
        used = {v for i in self.graph.instructions for v in (*i.inputs, i.out)}
        used |= {*self.program.carried, *self.program.timed}
        kinds = {self.graph.spec(v).dtype for v in used} - {np.dtype(bool)}
        floats = {np.dtype("f4"), np.dtype("f8")}
        if kinds <= floats and len(kinds) == 1:
            return next(iter(kinds))
        raise NotNative(mixed_dtypes(given))

    # -- inputs -------------------------------------------------------------------------------

    def _inputs(self, given: Graph) -> None:
        """given: the graph as the step has it, which says what is told of a value."""
        for v in (*self.program.carried, *self.program.timed):
            shape = self.graph.spec(v).shape
            if self.batch is not None and shape and shape[0] != self.batch:
                rows = f"of {shape[0]} rows beside {self.batch}"
                if v in self.program.carried:
                    raise NotNative(f"{told(given, v, 'carry')} {rows}")
                raise NotNative(at_reader(given, v, f"{told(given, v, 'value')} {rows}"))
            if self.batch is not None and not shape and v in self.program.carried:
                raise NotNative(f"{told(given, v, 'carry')} of one number beside a batch")
            self._own(v, self.batch is not None and bool(shape))
        for v, array in self.graph.constants.items():
            if array.size and (array == array.flat[0]).all():
                self.literals[v] = float(array.flat[0])
            elif array.size and np.isnan(array).all():
                self.literals[v] = math.nan
            else:
                raise NotNative(at_reader(given, v, "a constant array"))
        for v in self.program.invariants:
            if len(self.graph.spec(v).shape) == 2:
                self.matrices[v] = (v, False)

    def _own(self, value: int, rows: bool) -> View:
        """A view of the value that is the value."""
        shape = self.graph.spec(value).shape
        row = shape[1:] if rows else shape
        self.views[value] = View(value, 0, row, dense(row), rows)
        return self.views[value]

    def _invariant(self, value: int, ndim: int) -> View:
        """An invariant as an op with results of `ndim` axes reads it: it decides about its rows."""
        shape = self.graph.spec(value).shape
        has_rows = self.batch is not None and self.batch > 1
        rows = has_rows and shape[:1] == (self.batch,) and len(shape) == ndim
        known = self.views.get(value)
        if known is not None and known.rows != rows:
            raise NotNative("an array that stands for rows here and for none there")
        return self._own(value, rows)

    def view(self, value: int, ndim: int) -> View:
        """What the value looks at, as an op with results of `ndim` axes reads it."""
        if value in self.program.invariants:
            return self._invariant(value, ndim)
        if value in self.row_sums:
            raise NotNative("it reads a sum over the batch")
        if value not in self.views:
            raise NotNative("an array that changes and is no row of the batch")
        return self.views[value]

    # -- instructions -------------------------------------------------------------------------

    def _instruction(self, i: Instruction) -> None:
        name = i.op.name
        try:
            if name == "transpose" and i.inputs[0] in self.matrices:
                self._transposed_matrix(i)
            elif name in _VIEWS:
                self._view(i)
            elif name in _ELEMENTWISE:
                self._elementwise(i)
            elif name in _OTHERS:
                getattr(self, f"_{name}")(i)
            else:
                raise NotNative("no native form")
        except NotNative as error:
            raise NotNative(f"{name}: {error}" if name not in str(error) else str(error)) from None

    def _is_row(self, value: int, ndim: int) -> bool:
        return value not in self.literals and self.view(value, ndim).rows

    def _becomes_rows(self, value: int) -> bool:
        """Whether it becomes a carry that has rows, and so has them too, even if all are equal."""
        places = zip(self.program.carry_out, self.program.carried, strict=True)
        return any(after == value and self.views[before].rows for after, before in places)

    def _compute(self, i: Instruction, rows: bool) -> None:
        shape = self.graph.spec(i.out).shape
        if not rows and self._becomes_rows(i.out) and self.batch != 1:
            raise NotNative("a carry whose rows are made of what the rows share")
        if rows and self.batch is not None and (not shape or shape[0] != self.batch):
            raise NotNative(f"a result of shape {shape} for {self.batch} rows")
        self._own(i.out, rows)
        self.computed.append(i)

    def _elementwise(self, i: Instruction) -> None:
        ndim = len(self.graph.spec(i.out).shape)
        rows = any([self._is_row(v, ndim) for v in i.inputs]) or self._becomes_rows(i.out)
        for v in i.inputs:
            if v not in self.literals:
                self.operand(v, i.out, rows)
        self._compute(i, rows)

    def operand(self, value: int, out: int, rows: bool) -> View:
        """An elementwise op's input, broadcast to a row of its result: strides 0 where repeated."""
        shape = self.graph.spec(out).shape
        target = shape[1:] if rows else shape
        v = self.view(value, len(shape))
        own, strides = v.shape, v.strides
        if rows and not v.rows and len(own) == len(shape):
            if own[0] != 1 and strides[0] != 0:
                raise NotNative(f"a shared array of shape {own} beside rows of {target}")
            own, strides = own[1:], strides[1:]
        if v.rows and len(own) != len(target):
            raise NotNative(f"rows of shape {own} beside rows of {target}")
        missing = len(target) - len(own)
        full = (*(0,) * missing, *(0 if n == 1 else s for n, s in zip(own, strides, strict=True)))
        return v._replace(shape=target, strides=full)

    def _view(self, i: Instruction) -> None:
        (value,) = i.inputs
        wanted = i.out in self._wanted
        out = self.graph.spec(i.out).shape
        if value in self.literals:
            rows = self.batch is not None and bool(out) and out[0] == self.batch
            if wanted:
                self._compute(i._replace(op=_IDENTITY, attrs={}), rows)
            else:
                self.literals[i.out] = self.literals[value]
            return
        if value in self.row_sums and i.op is OPS["reshape"]:
            self.row_sums[i.out] = self.row_sums[value]._replace(shape=out)
            return
        source = self.view(value, len(self.graph.spec(value).shape))
        made = self._looked_at(i, source, out)
        if made is None:
            self.copies[i.out] = source
            self._compute(i._replace(op=_IDENTITY, attrs={}), source.rows)
            return
        if made.is_dense():  # along an axis of one number any stride would do
            made = made._replace(strides=dense(made.shape))
        rows = made.rows
        if not rows and self._becomes_rows(i.out) and made.strides[0] == 0:
            made, rows = made._replace(shape=made.shape[1:], strides=made.strides[1:]), True
        if wanted or (i.out in self._multiplied and not made.is_dense()):
            self.copies[i.out] = made
            self._compute(i._replace(op=_IDENTITY, attrs={}), rows)
        else:
            self.views[i.out] = made

    def _looked_at(self, i: Instruction, source: View, out: tuple[int, ...]) -> View | None:
        """The view of a view; None of numbers that have to be put side by side first."""
        name = i.op.name
        if name == "detach":
            return source
        rows = source.rows
        if rows and name != "broadcast_to" and (not out or out[0] != self.batch):
            raise NotNative(f"a view of shape {out} on {self.batch} rows")
        row = out[1:] if rows else out
        if name == "reshape":
            return source._replace(shape=row, strides=dense(row)) if source.is_dense() else None
        if name == "transpose":
            axes = i.attrs["axes"]
            if rows and axes[0] != 0:
                raise NotNative("a transpose of the batch")
            order = [a - 1 for a in axes[1:]] if rows else axes
            return source._replace(shape=row, strides=tuple(source.strides[a] for a in order))
        if name == "broadcast_to":
            return self._broadcast(source, out)
        return self._indexed(i.attrs["index"], source)

    def _broadcast(self, source: View, out: tuple[int, ...]) -> View:
        if source.rows and (len(source.shape) != len(out) - 1 or out[0] != self.batch):
            raise NotNative("new axes before the batch")
        whole = out[1:] if source.rows else out
        missing = len(whole) - len(source.shape)
        old = (*(1,) * missing, *source.shape)
        strides = (*(0,) * missing, *source.strides)
        spread = tuple(s if n == m else 0 for s, n, m in zip(strides, old, whole, strict=True))
        return source._replace(shape=whole, strides=spread)

    def _indexed(self, index: Any, source: View) -> View:
        """A basic index, applied to the numbers' addresses."""
        parts = index if isinstance(index, tuple) else (index,)
        if not all(p is Ellipsis or p is None or isinstance(p, slice | int) for p in parts):
            raise NotNative("an index by arrays")
        where = np.full(source.shape, source.offset, dtype=np.int64)
        for axis, (n, stride) in enumerate(zip(source.shape, source.strides, strict=True)):
            shape = [1] * len(source.shape)
            shape[axis] = n
            where = where + (np.arange(n) * stride).reshape(shape)
        if source.rows:
            step = int(where.max(initial=0)) + 1
            where = where + step * np.arange(self.batch or 1).reshape(-1, *[1] * where.ndim)
            taken = where[index]
            if taken.ndim == 0 or taken.shape[0] != self.batch:
                raise NotNative("an index into the batch")
            if self.batch and (self.batch > 1) and (taken[1] - taken[0] != step).any():
                raise NotNative("an index into the batch")
            taken = taken[0]
        else:
            taken = where[index]
        if taken.size == 0:
            raise NotNative("an empty slice")
        strides = []
        for axis, n in enumerate(taken.shape):
            first = taken[(0,) * taken.ndim]
            second = taken[tuple(int(k == axis) for k in range(taken.ndim))] if n > 1 else first
            strides.append(int(second - first))
        return View(
            source.root, int(taken[(0,) * taken.ndim]), taken.shape, tuple(strides), source.rows
        )

    def _transposed_matrix(self, i: Instruction) -> None:
        if i.attrs["axes"] != (1, 0):
            raise NotNative("axes out of order")
        invariant, turned = self.matrices[i.inputs[0]]
        self.matrices[i.out] = (invariant, not turned)

    def _matmul(self, i: Instruction) -> None:
        left, right = i.inputs
        if right not in self.matrices or left in self.literals:
            raise NotNative("a product whose right factor changes from step to step")
        ndim = len(self.graph.spec(i.out).shape)
        v = self.view(left, ndim)
        if self.batch is not None and not v.rows:
            raise NotNative("a product that is the same for all rows")
        if not v.is_dense():
            raise NotNative("a product of numbers that do not lie side by side")
        self._compute(i, v.rows)
        row = self.views[i.out].shape
        if math.prod(row[:-1]) > 1:  # several rows in one: each starts at a whole register
            wide = (*row[:-1], self.padded(row[-1]))
            self.views[i.out] = self.views[i.out]._replace(strides=dense(wide))

    def _sum(self, i: Instruction) -> None:
        (value,) = i.inputs
        axis = i.attrs["axis"]
        if value in self.literals:
            raise NotNative("a sum of one number")
        v = self.view(value, len(self.graph.spec(value).shape))
        if v.rows and 0 in axis:
            if sorted(axis) != list(range(len(axis))):
                raise NotNative(f"a sum over axes {axis}")
            shape = self.graph.spec(i.out).shape
            self.row_sums[i.out] = RowSum(v, len(axis) - 1, shape, 0)
        elif all(self.graph.spec(value).shape[k] == 1 for k in axis):
            ndim = len(self.graph.spec(value).shape)
            index = tuple(0 if k in axis else slice(None) for k in range(ndim))
            same = {"index": Ellipsis if i.attrs["keepdims"] else index}
            self._view(i._replace(op=OPS["getitem"], attrs=same))
        else:
            self._reduce(i, v)

    def _max(self, i: Instruction) -> None:
        (value,) = i.inputs
        if value in self.literals:
            raise NotNative("an extreme of one number")
        self._reduce(i, self.view(value, len(self.graph.spec(value).shape)))

    _min = _max

    def _reduce(self, i: Instruction, v: View) -> None:
        axis = i.attrs["axis"]
        if not axis or (v.rows and 0 in axis):
            raise NotNative(f"over axes {axis} of rows of a batch")
        self._compute(i, v.rows)

    def _cumsum(self, i: Instruction) -> None:
        (value,) = i.inputs
        if value in self.literals:
            raise NotNative("sums of one number")
        v = self.view(value, len(self.graph.spec(value).shape))
        if v.rows and i.attrs["axis"] == 0:
            raise NotNative("along the batch")
        self._compute(i, v.rows)

    def _concatenate(self, i: Instruction) -> None:
        axis = i.attrs["axis"]
        rows = any([self._is_row(v, len(self.graph.spec(i.out).shape)) for v in i.inputs])
        if rows and axis == 0:
            raise NotNative("parts one after the other in the batch")
        for v in i.inputs:
            part = self.graph.spec(v).shape
            if v not in self.literals and rows and not self.view(v, len(part)).rows:
                raise NotNative("a shared part beside rows")
        self._compute(i, rows)

    _stack = _concatenate

    def _scatter(self, i: Instruction) -> None:
        (value,) = i.inputs
        if value in self.literals:
            raise NotNative("one number put into a slice")
        if value in self.row_sums:
            made, whole = self.row_sums[value], self.graph.spec(i.out).shape
            part = self._indexed(i.attrs["index"], View(i.out, 0, whole, dense(whole), False))
            if not part.is_dense():
                raise NotNative("a sum over the batch put into places apart")
            self.row_sums[i.out] = made._replace(shape=whole, offset=part.offset + made.offset)
            return
        v = self.view(value, len(self.graph.spec(value).shape))
        self._compute(i, v.rows)
        if self.scattered(i).shape != v.shape:
            raise NotNative("a slice of another shape")

    def scattered(self, i: Instruction) -> View:
        """The part of a scatter's result that its input is put into."""
        return self._indexed(i.attrs["index"], self.views[i.out])

    def _check_row_sums(self) -> None:
        """Sums over the batch are for the sums over time alone."""
        factors = [v for pair in self.program.products for v in pair]
        for v in (*self.program.stacks, *self.program.carry_out, *factors):
            if v in self.row_sums:
                raise NotNative("sum: over the batch, wanted at every step")


def layout_of(program: Program, vector_bytes: int) -> Layout:
    """With a batch if the values have one, else as one row. Raises NotNative.

    vector_bytes: the size of a register.
    """
    shapes = [program.graph.spec(v).shape for v in (*program.carried, *program.timed)]
    batch = next((shape[0] for shape in shapes if shape), None)
    try:
        return Layout(program, batch, vector_bytes)
    except NotNative as error:
        reason = str(error)
    try:
        return Layout(program, None, vector_bytes)
    except NotNative:
        raise NotNative(reason) from None
