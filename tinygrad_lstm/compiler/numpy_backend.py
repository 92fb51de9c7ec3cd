"""Loops as NumPy code: every result goes where it is wanted, nothing is allocated per step.

The source of one Python function is written for a program and compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import kernels
from ..tensor import Array
from . import memory
from .graph import Instruction
from .program import Loop, Outcome, Program
from .source import Source
from .tidy import is_view

__all__ = ["build", "function_of"]


def _where(condition: Array, a: Array, b: Array, out: Array) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=condition)


def _scatter(g: Array, out: Array, index: Any, shape: tuple[int, ...]) -> None:
    out.fill(0)
    kernels.add_at(out, g, index)


def _sum(a: Array, out: Array, axis: tuple[int, ...], keepdims: bool) -> None:
    np.add.reduce(a, axis=axis, keepdims=keepdims, out=out)


_INTO: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sign": np.sign,
    "greater": np.greater,
    "equal": np.equal,
    "maximum": lambda a, b, out: np.maximum(a, b, out=out),
    "minimum": lambda a, b, out: np.minimum(a, b, out=out),
    "dropout": np.multiply,
    "matmul": np.matmul,
    "sigmoid": kernels.sigmoid_into,
    "where": _where,
    "scatter": _scatter,
    "sum": _sum,
}
"""Functions that write into their last positional argument; other ops are copied."""


def build(program: Program) -> Loop:
    """The program as a Python function.

    What is multiplied over time is kept, and multiplied at the end in one go.
    """
    known = {*program.timed, *program.stacks}
    factors = dict.fromkeys(v for pair in program.products for v in pair if v not in known)
    kept = replace(program, stacks=(*program.stacks, *factors))
    _, run = function_of(kept)

    def loop(
        steps: int, carried: Sequence[Array], timed: Sequence[Array], invariants: Sequence[Array]
    ) -> Outcome:
        stacks: list[Array] = []
        for k, (shape, dtype) in enumerate(kept.specs(kept.stacks)):
            stacks.append(memory.array((steps + (k < program.history), *shape), dtype))
        initial = list(carried)
        for k in range(program.history):
            stacks[k][0] = carried[k]
            initial[k] = stacks[k][0, ...]
        sums = [np.zeros(shape, dtype) for shape, dtype in program.specs(program.sums)]
        finals = run(steps, initial, timed, invariants, stacks, sums)
        over_time = dict(zip(program.timed, timed, strict=True))
        over_time |= dict(zip(kept.stacks, stacks, strict=True))
        products = [_product(over_time[a], over_time[b]) for a, b in program.products]
        finals = [np.array(a) for a in finals]  # no view: it would keep all
        return Outcome(finals, stacks[: len(program.stacks)], sums, products)

    return loop


def _product(left: Array, right: Array) -> Array:
    """sum_t left_t^T right_t as one product."""
    return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])


def function_of(program: Program) -> tuple[str, Callable[..., Any]]:
    """The function's source, and the function."""
    return _Writer(program).write()


class _Writer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.graph
        self.source = Source(self.graph)
        self.names = self.source.names
        self.head: list[str] = []
        self.body: list[str] = []
        self.swaps: list[str] = []
        self.stack_of = {v: k for k, v in enumerate(program.stacks)}
        self.made = self.graph.producers()
        self.placed: dict[int, tuple[int, slice]] = {}  # value -> its part of a concatenation

    def write(self) -> tuple[str, Callable[..., Any]]:
        p = self.program
        for k, value in enumerate(p.carried):
            self.head.append(f"v{value} = C[{k}]")
        for k, value in enumerate(p.invariants):
            self.head.append(f"v{value} = V[{k}]")
        for k in range(len(p.stacks)):
            self.head.append(f"S{k} = S[{k}]")
        for k in range(len(p.timed)):
            self.head.append(f"Z{k} = Z[{k}]")
        varying = self.graph.depending_on([*p.carried, *p.timed]) | set(p.stacks)
        fixed = [i for i in self.graph.instructions if i.out not in varying]
        loop = [i for i in self.graph.instructions if i.out in varying]
        for i in fixed:
            self._once(i)
        for k, value in enumerate(p.timed):
            self.body.append(f"v{value} = Z{k}[{self._row('t', value)}]")
        self._place(loop)
        for i in loop:
            self._instruction(i)
        for k, value in enumerate(p.sums):
            self.body.append(f"np.add(A[{k}], v{value}, A[{k}])")
        if p.carried:
            left = ", ".join(f"v{v}" for v in p.carried)
            right = ", ".join(f"v{v}" for v in p.carry_out)
            self.body.append(f"{left} = {right}" if left != right else "pass")
        span = "range(T - 1, -1, -1)" if p.backwards else "range(T)"
        lines = [
            *self.head,
            f"for t in {span}:",
            *(f"    {line}" for line in [*self.body, *self.swaps] or ["pass"]),
            f"return [{', '.join(f'v{v}' for v in p.carried)}]",
        ]
        return self.source.function("T, C, Z, V, S, A", lines)

    def _row(self, t: str, value: int) -> str:
        """The index of one step's row, which must be an array, of scalars too."""
        return t if self.graph.spec(value).shape else f"{t}, ..."

    def _once(self, i: Instruction) -> None:
        """An instruction that does not change from step to step; matrices laid out for speed."""
        call = self.source.call(i, i.op.forward)
        self.head.append(f"v{i.out} = np.asarray({call}, order='C')")

    def _place(self, loop: Sequence[Instruction]) -> None:
        """Let what a concatenation joins be computed in place, as parts of its result."""
        inside = {i.out for i in loop}
        for i in loop:
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
        for whole in dict.fromkeys(whole for whole, _ in self.placed.values()):
            self.body.append(f"v{whole} = {self._target(whole)}")

    def _movable(self, value: int) -> bool:
        """Whether the value may be written wherever it is wanted first."""
        made = self.made[value]
        taken = value in self.stack_of or value in self.program.carry_out or value in self.placed
        return not taken and not is_view(made) and made.op.name != "concatenate"

    def _target(self, value: int) -> str:
        """Where the value is to be written: a row of a stack, or a buffer of its own."""
        if value in self.placed:
            whole, part = self.placed[value]
            return f"v{whole}[..., {part.start}:{part.stop}]"
        k = self.stack_of.get(value)
        if k is not None:
            row = self._row("t + 1" if k < self.program.history else "t", value)
            return f"S{k}[{row}]"
        shape, dtype = self.graph.spec(value)
        self.names[f"d{value}"] = dtype
        line = f"B{value} = np.empty({shape}, d{value})"
        if line not in self.head:
            self.head.append(line)
            if value in self.program.carry_out:  # it is read at the next step while written anew
                self.head.append(f"X{value} = np.empty({shape}, d{value})")
                self.swaps.append(f"B{value}, X{value} = X{value}, B{value}")
        return f"B{value}"

    def _instruction(self, i: Instruction) -> None:
        wanted = i.out in self.stack_of or i.out in self.program.carry_out
        if is_view(i) and not wanted:
            self.body.append(f"v{i.out} = {self.source.view(i)}")
            return
        if i.op.name == "concatenate" and any(w == i.out for w, _ in self.placed.values()):
            self._rest_of(i)
            return
        self.body.append(f"v{i.out} = {self._target(i.out)}")
        into = _INTO.get(i.op.name)
        if into is None or (i.out in self.stack_of and is_view(i)):
            self.body.append(f"v{i.out}[...] = {self.source.call(i, i.op.forward)}")
        else:
            self.body.append(self.source.call(i, into, f"v{i.out}"))

    def _rest_of(self, i: Instruction) -> None:
        """Copy into a concatenation what could not be computed in place."""
        start = 0
        for v in i.inputs:
            stop = start + self.graph.spec(v).shape[-1]
            if self.placed.get(v, (None,))[0] != i.out:
                self.body.append(f"v{i.out}[..., {start}:{stop}] = v{v}")
            start = stop
