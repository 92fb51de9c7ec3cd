"""The Python function that runs a program with NumPy, step by step.

What stays the same is done first, what no carry reaches for a block of steps, and so are all slices
taken: at a step there is little but calls that write where their result is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..tensor import Array
from .ahead import ahead_of, block_length
from .gates import FEWEST_ROWS
from .graph import Instruction
from .into import IN_PLACE, into
from .partition import for_all_steps
from .planes import Home
from .program import Program
from .reuse import Slots, roots_of, slots_of
from .source import Called, Source
from .tidy import is_view

__all__ = ["rows_of_a_product", "write"]

_FEWEST_ROWS = 4  # of a product that is still fast


def _rows(a: Array) -> Iterable[Array]:
    """An array for each step, of numbers too."""
    return a if a.ndim > 1 else [a[t, ...] for t in range(len(a))]


def write(
    program: Program, small: int = 0, homes: Mapping[int, Home] | None = None
) -> tuple[str, Callable[..., Any]]:
    """The function's source, and the function.

    It is called with the number of steps, the spans of them (first, end) to run one after the
    other, the carries, then lists of arrays: timed, invariants, stacks and sums. It fills the
    stacks, adds to the sums and returns the last carries. Larger products are done in several of up
    to `small` multiplications, where that is possible. homes: values that are written over timed
    inputs; the stacks among them are to be views of these.
    """
    return _Writer(program, small, homes or {}).write()


def rows_of_a_product(rows: int, inner: int, columns: int, small: int) -> int:
    """How many rows at a time make products of at most `small` multiplications; 0 if too few."""
    most = small // max(1, inner * columns)
    found = next((n for n in range(min(most, rows), 0, -1) if rows % n == 0), 0)
    return found if found == rows or found >= _FEWEST_ROWS else 0


class _Writer:
    """Lines by when they are run: `head` once, `block` for each block of steps, `step` at each.

    A value is called `v7`; for all steps of a block it is `w7`. level: when a value is there, or
    the memory that it is written into.
    """

    def __init__(self, program: Program, small: int, homes: Mapping[int, Home]) -> None:
        self.program, self.small, self.homes = program, small, homes
        self.graph = program.graph
        self.source = Source(self.graph)
        self.names = self.source.names
        self.names["rows"] = _rows
        self.head: list[str] = []
        self.block: list[str] = []
        self.step: list[str] = []
        self.swaps: list[str] = []
        self.level: dict[int, str] = dict.fromkeys(self.graph.constants, "head")
        self.read: dict[int, None] = {}  # values that the lines of a step mention
        self.split: dict[str, str] = {}  # what else they mention of a block: its array
        self.stack_of = {v: k for k, v in enumerate(program.stacks)}
        self.made = self.graph.producers()
        self.ahead = {i.out: i for i in ahead_of(program)}
        moving = self.graph.depending_on([*program.carried, *program.timed])
        inside = [i for i in self.graph.instructions if i.out not in self.ahead]
        self.loop = [i for i in inside if i.out in moving or i.out in self.stack_of]
        self.fixed = [i for i in inside if i.out not in moving and i.out not in self.stack_of]
        p = self.program
        self.read_inside = {v for i in (*self.loop, *self.ahead.values()) for v in i.inputs}
        self.read_inside.update((*p.carry_out, *p.sums))
        self.placed: dict[int, tuple[int, slice]] = {}  # value -> its part of a concatenation
        self.gathered: set[int] = set()  # concatenations of parts that are computed elsewhere
        self._place()
        self.wholes = {whole for whole, _ in self.placed.values()}
        self.slots = Slots([], {})
        self._overwritten = self._carries_in_place()

    def write(self) -> tuple[str, Callable[..., Any]]:
        p = self.program
        self._take("C", p.carried, "step")
        self._take("V", p.invariants, "head")
        for letter, values in ("Z", p.timed), ("S", p.stacks), ("A", p.sums):
            self.head += [f"{letter}{k} = {letter}[{k}]" for k in range(len(values))]
        for i in self.fixed:
            self._once(i)
        for k, v in enumerate(p.timed):
            self.level[v] = "block"
            self.block.append(f"w{v} = Z{k}[a:b]")
        self._write_ahead()
        self._write_loop()
        return self.source.function("T, spans, C, Z, V, S, A", self._lines())

    def _lines(self) -> list[str]:
        p = self.program
        blocks = ["for a in range(first, end, K):", "    b = min(a + K, end)"]
        if p.backwards:
            blocks = ["for b in range(end, first, -K):", "    a = max(first, b - K)"]
        inside = [*self.block, self._over_rows()]
        inside += [f"    {line}" for line in [*self.step, *self.swaps] or ["pass"]]
        return [
            *self.head,
            "for first, end in spans:",
            *(f"    {line}" for line in blocks),
            *(f"        {line}" for line in inside),
            f"return [{', '.join(f'v{v}' for v in p.carried)}]",
        ]

    def _over_rows(self) -> str:
        """The loop over a block's steps, with all that the lines of a step read from arrays."""
        over: dict[str, str] = {}
        for v in self.read:
            if self.level[v] == "block":
                array = f"w{v}[::-1]" if self.program.backwards else f"w{v}"
                over[f"v{v}"] = array if self.graph.spec(v).shape else f"rows({array})"
        for name, array in self.split.items():
            over[name] = f"{array}[::-1]" if self.program.backwards else array
        if not over:
            return "for _ in range(a, b):"
        return f"for {', '.join(over)}, in zip({', '.join(over.values())}):"

    def _take(self, letter: str, values: Sequence[int], level: str) -> None:
        for k, v in enumerate(values):
            self.head.append(f"v{v} = {letter}[{k}]")
            self.level[v] = level

    def _once(self, i: Instruction) -> None:
        """An instruction that does not change from step to step; matrices laid out for speed."""
        result = self.source.forward(i)
        if i.out in self.read_inside or not self.graph.spec(i.out).shape:
            result = f"np.asarray({result}, order='C')"
        self.head.append(f"v{i.out} = {result}")
        self.level[i.out] = "head"

    # -- where results go ---------------------------------------------------------------------

    def _place(self) -> None:
        """Let what a concatenation joins be computed in place, as parts of its result."""
        inside = {i.out for i in self.loop}
        for i in self.loop:
            if i.op.name != "concatenate" or len(set(i.inputs)) != len(i.inputs):
                continue
            if i.attrs["axis"] != len(self.graph.spec(i.out).shape) - 1:
                continue
            start = 0
            for v in i.inputs:
                stop = start + self.graph.spec(v).shape[-1]
                if v in inside and self._movable(v):
                    self.placed[v] = (i.out, slice(start, stop))
                start = stop
            if self._has_short_rows(i) and all(
                self.placed.get(v, (None,))[0] == i.out for v in i.inputs
            ):
                self.gathered.add(i.out)

    def _has_short_rows(self, i: Instruction) -> bool:
        """Whether equal parts of many rows are joined: one copy of them all is faster."""
        widths = {self.graph.spec(v).shape[-1] for v in i.inputs}
        return math.prod(self.graph.spec(i.out).shape[:-1]) >= FEWEST_ROWS and len(widths) == 1

    def _movable(self, value: int) -> bool:
        """Whether the value may be written wherever it is wanted first."""
        made = self.made[value]
        given = (self.stack_of, self.program.carry_out, self.placed, self.homes)
        taken = any(value in places for places in given)
        return not taken and not is_view(made) and made.op.name != "concatenate"

    def _carries_in_place(self) -> set[int]:
        """New carries that may overwrite the old ones, which nobody reads after that."""
        p, roots = self.program, roots_of(self.loop)
        last: dict[int, int] = {roots.get(v, v): len(self.loop) for v in p.sums}
        for k, i in enumerate(self.loop):
            for v in i.inputs:
                root = roots.get(v, v)
                safe = v == root and i.op.name in IN_PLACE
                last.setdefault(root, -1)
                last[root] = max(last[root], k if safe else k + 1)
        found: set[int] = set()
        for k, i in enumerate(self.loop):
            if i.out in p.carry_out and i.out not in self.wholes:
                old = p.carried[p.carry_out.index(i.out)]
                same = self.graph.spec(old) == self.graph.spec(i.out)
                if same and last.get(old, -1) <= k:
                    found.add(i.out)
        return found

    def _target(self, value: int) -> None:
        """Say where the value is to be written, which gives the value its level."""
        if value in self.level:
            return
        k = self.stack_of.get(value)
        if value in self.placed:
            whole, part = self.placed[value]
            if whole in self.gathered:
                self.level[value] = "head"
                self.head.append(f"v{value} = p{whole}[{self.made[whole].inputs.index(value)}]")
                return
            self._target(whole)
            level = self.level[value] = self.level[whole]
            letter = "w" if level == "block" else "v"
            text = f"{letter}{value} = {letter}{whole}[..., {part.start}:{part.stop}]"
            self._at(level).append(text)
        elif value in self.homes:
            timed, planes = self.homes[value]
            self.level[value] = "block"
            self.names[f"k{value}"] = (slice(None), planes)
            self.block.append(f"w{value} = w{timed}[k{value}]")
        elif k is not None:
            self.level[value] = "block"
            rows = "a + 1:b + 1" if k < self.program.history else "a:b"
            self.block.append(f"w{value} = S{k}[{rows}]")
        elif value in self.program.carry_out and value not in self._overwritten:
            # it is read at the next step while written anew
            self.level[value] = "step"
            self.head += [f"{b}{value} = {self._empty(*self.graph.spec(value))}" for b in "BX"]
            self.swaps.append(f"B{value}, X{value} = X{value}, B{value}")
            self.step.append(f"v{value} = B{value}")
        else:
            self.level[value] = "head"
            slot = self.slots.of.get(value)
            new = self._empty(*self.graph.spec(value)) if slot is None else f"s{slot}"
            self.head.append(f"v{value} = {new}")

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], lead: str = "") -> str:
        """A new array; lead: its first axis."""
        name = f"d_{dtype.name}"
        self.names[name] = dtype
        return f"np.empty(({lead}{''.join(f'{n}, ' for n in shape)}), {name})"

    def _at(self, level: str) -> list[str]:
        return {"head": self.head, "block": self.block, "step": self.step}[level]

    # -- blocks -------------------------------------------------------------------------------

    def _write_ahead(self) -> None:
        p = self.program
        ahead = list(self.ahead.values())
        read = {v for i in self.loop for v in i.inputs}
        slots = slots_of(self.graph, ahead, {*read, *p.sums}, set(self.stack_of))
        self.head.append(f"K = min(T, {block_length(slots)}) or 1" if slots.specs else "K = T or 1")
        for k, (shape, dtype) in enumerate(slots.specs):
            self.head.append(f"b{k} = {self._empty(shape, dtype, 'K, ')}")
            self.block.append(f"c{k} = b{k}[:b - a]")
        for i in ahead:
            self.level[i.out] = "block"
            if is_view(i):
                self.block.append(f"w{i.out} = {self.source.view(i, self._in_block)}")
            elif i.out in self.stack_of:
                self.block.append(f"w{i.out} = S{self.stack_of[i.out]}[a:b]")
                self.block += self._calls(i, self._in_block)
            else:
                self.block.append(f"w{i.out} = c{slots.of[i.out]}")
                self.block += self._calls(i, self._in_block)

    def _in_block(self, value: int) -> str:
        """What a value is called in a block."""
        return f"w{value}" if self.level.get(value) == "block" else f"v{value}"

    def _calls(self, i: Instruction, called: Called) -> list[str]:
        """The instruction's result, written where it is wanted."""
        out, function = called(i.out), into(i, self.graph)
        if i.op.name == "sigmoid":
            return self._sigmoid(called(i.inputs[0]), out, self.graph.spec(i.out).dtype)
        if function is None or is_view(i):
            return [f"{out}[...] = {self.source.call(i, i.op.forward, called=called)}"]
        return [self.source.call(i, function, out, called=called)]

    def _sigmoid(self, a: str, out: str, dtype: np.dtype[Any]) -> list[str]:
        """1 / (1 + exp(-a)), which where exp overflows is 0."""
        one, minus = f"one_{dtype.name}", f"minus_one_{dtype.name}"
        self.names |= {"multiply": np.multiply, "exp": np.exp, "add": np.add}
        self.names |= {"divide": np.divide, one: np.array(1, dtype), minus: np.array(-1, dtype)}
        return [
            f"multiply({a}, {minus}, {out})",  # see into._negative
            f"exp({out}, {out})",
            f"add({out}, {one}, {out})",
            f"divide({one}, {out}, {out})",
        ]

    # -- steps --------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        p = self.program
        elsewhere = {*self.stack_of, *p.carry_out, *self.placed, *self.wholes, *self.homes}
        self.slots = slots_of(self.graph, self.loop, set(p.sums), elsewhere)
        self.head += [f"s{k} = {self._empty(*spec)}" for k, spec in enumerate(self.slots.specs)]
        for whole in sorted(self.gathered):
            parts = self.made[whole].inputs
            new = self._empty(*self.graph.spec(parts[0]), f"{len(parts)}, ")
            self.head.append(f"p{whole} = {new}")
            self.head.append(f"q{whole} = np.moveaxis(p{whole}, 0, -2)")
        for i in self.loop:
            stacked = i.out in self.stack_of and i.out not in self.homes
            if is_view(i) and not stacked and i.out not in p.carry_out:
                self._view(i)
            elif i.out in self.wholes:
                self._rest_of(i)
            else:
                self._target(i.out)
                lines = self._in_parts(i)
                if not lines:
                    self._at_step(i.inputs, i.out)
                    lines = self._calls(i, self._in_step)
                self.step += lines
        for k, v in enumerate(p.sums):
            self._at_step([v])
            self.step.append(f"np.add(A{k}, v{v}, A{k})")
        left = ", ".join(f"v{v}" for v in p.carried)
        right = ", ".join(f"v{v}" for v in p.carry_out)
        self._at_step(p.carry_out)
        if left != right:
            self.step.append(f"{left} = {right}")

    def _in_parts(self, i: Instruction) -> list[str]:
        """A product with a matrix, or with each of several, as several of fewer rows.

        Nothing if that does not help.
        """
        shapes = [self.graph.spec(v).shape for v in i.inputs]
        if not self.small or i.op.name != "matmul" or len(shapes[0]) != 2:
            return []
        (count, inner), (*planes, _, columns) = shapes
        rows = rows_of_a_product(count, inner, columns, self.small)
        if rows in (0, count) or len(planes) > 1:
            return []
        self.names["matmul"] = np.matmul
        parts = count // rows, rows
        left = self._split(i.inputs[0], (*parts, inner))
        right = f"v{i.inputs[1]}[:, None]" if planes else f"v{i.inputs[1]}"
        out = self._split(i.out, (*planes, *parts, columns))
        self._at_step([i.inputs[1]])
        return [f"matmul({left}, {right}, {out})"]

    def _split(self, value: int, shape: tuple[int, ...]) -> str:
        """The value with one axis as two: a view, made as soon as the value's memory is there."""
        level, sizes = self.level[value], ", ".join(map(str, shape))
        if level == "step":
            return f"v{value}.reshape({sizes})"
        number = "_".join(map(str, (value, *shape)))  # it may be split in several ways
        if level == "head":
            self.head.append(f"r{number} = v{value}.reshape({sizes})")
        else:
            self.block.append(f"m{number} = w{value}.reshape(b - a, {sizes})")
            self.split[f"r{number}"] = f"m{number}"
        return f"r{number}"

    def _in_step(self, value: int) -> str:
        return f"v{value}"

    def _at_step(self, values: Iterable[int], *more: int) -> None:
        """Remember that a line of a step mentions the values."""
        self.read.update(dict.fromkeys([*values, *more]))

    def _view(self, i: Instruction) -> None:
        """Taken for all steps, or for a block, if what it looks at is there, or its memory."""
        (source,) = i.inputs
        level = self.level[source]
        in_block = for_all_steps(i, self.graph, {source}, -1) if level == "block" else None
        if i.op.name == "reshape" and source not in self.slots.of:
            level = "step"  # which may have to copy
        elif in_block is not None:
            text = self.source.view(i._replace(attrs=in_block), self._in_block)
            self.block.append(f"w{i.out} = {text}")
        elif level == "head":
            self.head.append(f"v{i.out} = {self.source.view(i)}")
        else:
            level = "step"
        self.level[i.out] = level
        if level == "step":
            self._at_step([source])
            self.step.append(f"v{i.out} = {self.source.view(i)}")

    def _rest_of(self, i: Instruction) -> None:
        """Copy into a concatenation what could not be computed in place."""
        self._target(i.out)
        if i.out in self.gathered:
            *rows, width = self.graph.spec(i.inputs[0]).shape
            self.names["copyto"] = np.copyto
            whole = self._split(i.out, (*rows, len(i.inputs), width))
            self.step.append(f"copyto({whole}, q{i.out})")
            return
        start = 0
        for v in i.inputs:
            stop = start + self.graph.spec(v).shape[-1]
            if self.placed.get(v, (None,))[0] != i.out:
                self._at_step([v], i.out)
                self.step.append(f"v{i.out}[..., {start}:{stop}] = v{v}")
            start = stop
