"""Ops as Python source: what functions are written of that run a graph without looking at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import Graph, Instruction
from .tidy import is_view

__all__ = ["Called", "Source"]

Called = Callable[[int], str]
"""What a value is called."""


def _called(value: int) -> str:
    return f"v{value}"


class Source:
    """Lines under construction, in which value 7 is called `v7`, and the objects they refer to."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[str, Any] = {"np": np}
        for value, array in graph.constants.items():
            self.names[f"v{value}"] = array

    def call(
        self, i: Instruction, function: Callable[..., Any], *more: str, called: Called = _called
    ) -> str:
        """`function(inputs, more, attributes)`; called: the names of the inputs."""
        self.names[f"f{i.out}"] = function
        arguments = [*map(called, i.inputs), *more]
        if i.attrs:
            self.names[f"k{i.out}"] = dict(i.attrs)
            arguments.append(f"**k{i.out}")
        return f"f{i.out}({', '.join(arguments)})"

    def forward(self, i: Instruction) -> str:
        """The instruction's result: a view where it is one, else an array of its own."""
        return self.view(i) if is_view(i) else self.call(i, i.op.forward)

    def view(self, i: Instruction, called: Called = _called) -> str:
        """An index, a reshape or a transpose, without the way through a function."""
        source = called(i.inputs[0])
        if i.op.name == "getitem":
            index = i.attrs["index"]
            if not self.graph.spec(i.out).shape:  # else NumPy gives a number, which is a copy
                parts = index if isinstance(index, tuple) else (index,)
                index = parts if Ellipsis in parts else (*parts, Ellipsis)
            self.names[f"k{i.out}"] = index
            return f"{source}[k{i.out}]"
        if i.op.name == "reshape":
            return f"{source}.reshape({i.attrs['shape']})"
        return f"{source}.transpose({i.attrs['axes']})"

    def line(self, i: Instruction) -> str:
        """The instruction run once: its result under its name."""
        result = self.forward(i)
        if i.op.name == "stack":  # of transposed matrices NumPy makes transposed ones: slow ones
            result = f"np.ascontiguousarray({result})"
        if not self.graph.spec(i.out).shape:  # which NumPy gives as a number
            result = f"np.asarray({result})"
        return f"v{i.out} = {result}"

    def apart(self, values: Sequence[int]) -> list[str]:
        """The values such that no two share memory; one that would, or is a slice, as a copy."""
        made = self.graph.producers()
        taken: set[int] = set()
        texts: list[str] = []
        for v in values:
            root, whole = v, True
            while is_view(made.get(root)):
                whole = whole and made[root].op.name != "getitem"
                (root,) = made[root].inputs
            texts.append(f"v{v}" if whole and root not in taken else f"np.array(v{v})")
            taken.add(root)
        return texts

    def function(self, header: str, body: Sequence[str]) -> tuple[str, Callable[..., Any]]:
        """Its text, and the function `run` of it."""
        text = "\n".join([f"def run({header}):", *(f"    {line}" for line in body)]) + "\n"
        namespace = dict(self.names)
        exec(compile(text, "<compiled scan>", "exec"), namespace)
        return text, namespace.pop("run")  # left there, the function would be a cycle
