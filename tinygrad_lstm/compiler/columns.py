"""Steps whose sequences are columns, `W @ h + U @ x + b`, run as rows: `h @ W.T + x @ U.T + b.T`.

Products with weights on the left are as good as any, but all passes, and rows of a batch that lie
side by side, want weights on the right. So every value of two axes that changes from step to step
is replaced by its transpose. A vector is a column and a row, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..ops import OPS
from ..tensor import Array
from .graph import Builder, Graph, Instruction, Spec

__all__ = ["Columns", "columns_as_rows", "exchanged"]

_MATMUL, _RESHAPE, _TRANSPOSE = (OPS[k] for k in ("matmul", "reshape", "transpose"))
_ALONG_AXES = frozenset(
    ("sum", "mean", "var", "max", "min", "logsumexp", "softmax", "log_softmax", "cumsum")
)


class Columns(NamedTuple):
    """graph: the step on rows. inputs, outputs: which of them have their two axes exchanged."""

    graph: Graph
    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]

    def run(self, run: Run) -> Run:
        """What runs the step as it was, from what runs `graph`."""

        def run_it(arrays: Sequence[Array]) -> tuple[list[Array], Any]:
            outputs, saved = run(exchanged(arrays, self.inputs))
            return exchanged(outputs, self.outputs), saved

        return run_it if any((*self.inputs, *self.outputs)) else run

    def pull(self, pull: Pull) -> Pull:
        """Likewise for cotangents."""

        def pull_it(saved: Any, cotangents: Sequence[Array | None]) -> list[Array | None]:
            return exchanged(pull(saved, exchanged(cotangents, self.outputs)), self.inputs)

        return pull_it if any((*self.inputs, *self.outputs)) else pull


A = TypeVar("A", Array, Array | None)
Run = Callable[[Sequence[Array]], tuple[list[Array], Any]]
Pull = Callable[[Any, Sequence[Array | None]], list[Array | None]]


def exchanged(arrays: Sequence[A], flags: Sequence[bool]) -> list[A]:
    """Arrays with their last two axes exchanged where the flag says so."""
    return [
        a.swapaxes(-1, -2) if flag and a is not None else a
        for a, flag in zip(arrays, flags, strict=True)
    ]


def columns_as_rows(graph: Graph, carries: int, xs: int) -> Columns | None:
    """None for a step that has no weights on the left, or whose values can't all be exchanged."""
    moving = graph.depending_on(graph.inputs[: carries + xs])
    if not any(
        i.op is _MATMUL and i.inputs[0] not in moving and i.inputs[1] in moving
        for i in graph.instructions
    ):
        return None
    try:
        return _Exchange(graph, carries, moving).columns()
    except _Unsuited:
        return None


class _Unsuited(Exception):
    """An op that has no form on exchanged axes."""


class _Exchange:
    """exchanged: of values with two axes, the value that is its transpose."""

    def __init__(self, graph: Graph, carries: int, moving: set[int]) -> None:
        self.graph, self.carries, self.moving = graph, carries, moving
        self.made = graph.producers()
        self.builder = Builder(graph)
        self.exchanged: dict[int, int] = {}

    def columns(self) -> Columns:
        graph, builder = self.graph, self.builder
        for v in graph.inputs:
            if v in self.moving and self._rank(v) == 2:
                self.exchanged[v] = builder.value(self._spec(v))
            elif v in self.moving and self._rank(v) > 2:
                raise _Unsuited
        for i in graph.instructions:
            if i.out not in self.moving:
                builder.instructions.append(i)
            elif self._rank(i.out) > 2:
                raise _Unsuited
            elif max(map(self._rank, (*i.inputs, i.out))) < 2:
                builder.instructions.append(i)
            else:
                self._instruction(i)
        outputs = [
            self._moves(v) or (k < self.carries and self._rank(graph.inputs[k]) == 2)
            for k, v in enumerate(graph.outputs)
        ]
        results = [
            self._of(v) if turned else v for v, turned in zip(graph.outputs, outputs, strict=True)
        ]
        names = {
            self.exchanged[v] if self._moves(v) else v: name
            for v, name in graph.names.items()
            if not self._moves(v) or v in self.exchanged
        }
        made = builder.finish(
            inputs=tuple(self.exchanged[v] if self._moves(v) else v for v in graph.inputs),
            outputs=tuple(results),
            names=names,
        )
        inputs = tuple(map(self._moves, graph.inputs))
        return Columns(made.pruned(), inputs, tuple(outputs))

    # -- values -------------------------------------------------------------------------------

    def _rank(self, value: int) -> int:
        return len(self.graph.spec(value).shape)

    def _moves(self, value: int) -> bool:
        return value in self.moving and self._rank(value) == 2

    def _spec(self, value: int) -> Spec:
        shape, dtype = self.graph.spec(value)
        return Spec(shape[::-1], dtype)

    def _of(self, value: int) -> int:
        """The transpose of a value with two axes."""
        if value not in self.exchanged:
            i = self.made.get(value)
            if i is not None and i.op is _TRANSPOSE and i.attrs["axes"] == (1, 0):
                (self.exchanged[value],) = i.inputs
            else:
                axes = {"axes": (1, 0)}
                made = self.builder.add(_TRANSPOSE, [value], axes, self._spec(value))
                self.exchanged[value] = made
        return self.exchanged[value]

    def _operand(self, value: int) -> int:
        """A value that goes along with exchanged ones: a vector, so far a row, is a column."""
        shape, dtype = self.graph.spec(value)
        if len(shape) == 2:
            return self._of(value)
        if len(shape) == 1 and shape != (1,):
            column = Spec((*shape, 1), dtype)
            return self.builder.add(_RESHAPE, [value], {"shape": column.shape}, column)
        if len(shape) > 2:
            raise _Unsuited
        return value

    # -- instructions -------------------------------------------------------------------------

    def _instruction(self, i: Instruction) -> None:
        name = i.op.name
        if i.op.elementwise:
            self._put(i, [self._operand(v) for v in i.inputs], i.attrs)
        elif name in _ALONG_AXES:
            axis = i.attrs["axis"]
            turned = 1 - axis if isinstance(axis, int) else tuple(sorted(1 - k for k in axis))
            self._put(i, [self._of(v) for v in i.inputs], {**i.attrs, "axis": turned})
        elif name in ("concatenate", "stack"):
            vectors = name == "stack"
            parts = [v if vectors else self._of(v) for v in i.inputs]
            self._put(i, parts, {"axis": 1 - i.attrs["axis"]})
        else:
            rule = getattr(self, f"_{name}", None)
            if rule is None:
                raise _Unsuited
            rule(i)

    def _put(self, i: Instruction, inputs: Sequence[int], attrs: Any) -> None:
        """The op on exchanged values; a result with one axis is what it was."""
        if self._rank(i.out) == 2:
            self.exchanged[i.out] = self.builder.add(i.op, inputs, attrs, self._spec(i.out))
        else:
            made = Instruction(i.op, tuple(inputs), attrs, i.out)
            self.builder.instructions.append(made)

    def _matmul(self, i: Instruction) -> None:
        left, right = i.inputs
        if right not in self.moving or self._rank(left) != 2 or self._rank(right) != 2:
            raise _Unsuited  # weights on the right would come to stand on the left
        self._put(i, [self._of(right), self._of(left)], {})

    def _transpose(self, i: Instruction) -> None:
        self._put(i, [self._of(i.inputs[0])], i.attrs)

    def _getitem(self, i: Instruction) -> None:
        (value,) = i.inputs
        rank = self._rank(value)
        parts = _parts_of(i.attrs["index"], rank)
        source = self._of(value) if rank == 2 else value
        self._put(i, [source], {"index": parts[::-1]})

    def _reshape(self, i: Instruction) -> None:
        """Between a vector, a row and a column: the numbers stay in their order."""
        (value,) = i.inputs
        shapes = self.graph.spec(value).shape, self.graph.spec(i.out).shape
        if any(len(shape) == 2 and 1 not in shape for shape in shapes):
            raise _Unsuited
        source = self._of(value) if self._rank(value) == 2 else value
        self._put(i, [source], {"shape": shapes[1][::-1]})

    def _broadcast_to(self, i: Instruction) -> None:
        self._put(i, [self._operand(i.inputs[0])], {"shape": i.attrs["shape"][::-1]})


def _parts_of(index: Any, rank: int) -> tuple[Any, ...]:
    """A basic index with a part for each axis."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(p is None or p is Ellipsis or isinstance(p, slice | int) for p in parts):
        raise _Unsuited
    if any(isinstance(p, bool | np.bool_) for p in parts):
        raise _Unsuited
    taken = sum(p is not None and p is not Ellipsis for p in parts)
    rest = [slice(None)] * (rank - taken)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        return (*parts[:at], *rest, *parts[at + 1 :])
    return (*parts, *rest)
