"""Booleans that a loop carries or keeps, as numbers: a native loop's arrays are of one dtype.

So are constants of another dtype that a step gives beside its results, as `return h, 1.0` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..ops import OPS
from ..tensor import Array
from .graph import Builder, Graph, Instruction, Spec

__all__ = ["flags_as_numbers", "run_on_flags", "without_flags"]

_ASTYPE, _NOT_EQUAL = OPS["astype"], OPS["not_equal"]


def flags_as_numbers(
    loop: Graph, backward: Graph, reads: Sequence[int]
) -> tuple[Graph, Graph, tuple[int, ...]]:
    """The loop, which makes numbers of them, and the way back, which makes booleans of these.

    reads, before and after: the value of the loop behind each of the last inputs of the way back.
    """
    made = loop.producers()
    flags = [v for v in reads if v in made and loop.spec(v).dtype.kind == "b"]
    floats = _floats(loop, (*loop.inputs, *made))
    if not flags or len(floats) != 1:
        return loop, backward, tuple(reads)
    (dtype,) = floats
    numbers = {
        i.inputs[0]: i.out
        for i in loop.instructions
        if i.op is _ASTYPE and i.attrs["dtype"] == dtype
    }
    first = len(backward.inputs) - len(reads)
    ahead, back = Builder(loop), Builder(backward)
    inputs = dict(zip(reads, backward.inputs[first:], strict=True))
    for v in flags:
        spec = Spec(loop.spec(v).shape, dtype)
        if v not in numbers:
            numbers[v] = ahead.add(_ASTYPE, [v], {"dtype": dtype}, spec)
        if numbers[v] not in inputs:
            inputs[numbers[v]] = back.value(spec)
        given, was = inputs[numbers[v]], inputs.pop(v)
        back.instructions.append(Instruction(_ASTYPE, (given,), {"dtype": np.dtype(bool)}, was))
    ahead.instructions = [*loop.instructions, *ahead.instructions]
    back.instructions += backward.instructions
    way_back = back.finish(inputs=(*backward.inputs[:first], *inputs.values()))
    return ahead.finish(), way_back, tuple(inputs)


# -- what goes into a step and comes out of it ----------------------------------------------------


def without_flags(graph: Graph, carries: int) -> Graph:
    """A step's graph whose carries and outputs are numbers of its one dtype.

    They were booleans, or constants that the dtype has too.
    """
    inputs, outputs = graph.inputs[:carries], dict.fromkeys(graph.outputs)
    used = {v for i in graph.instructions for v in (*i.inputs, i.out)}
    floats = _floats(graph, inputs) or _floats(graph, used)
    if len(floats) != 1:
        return graph
    (dtype,) = floats
    others = [v for v in outputs if _is_constant(graph, v, dtype)]
    if not others and not any(_is_flag(graph, v) for v in (*inputs, *outputs)):
        return graph
    builder, names = Builder(graph), dict(graph.names)
    numbers: dict[int, int] = {}  # of the carries, which are told by them from zero
    for v in inputs:
        if _is_flag(graph, v):
            numbers[v] = builder.value(Spec(graph.spec(v).shape, dtype))
            zero = builder.value(Spec((), dtype))
            builder.constants[zero] = np.zeros((), dtype)
            builder.instructions.append(Instruction(_NOT_EQUAL, (numbers[v], zero), {}, v))
    builder.instructions += graph.instructions
    left: dict[int, int] = {}
    for v in outputs:
        if _is_flag(graph, v):
            spec = Spec(graph.spec(v).shape, dtype)
            left[v] = builder.add(_ASTYPE, [v], {"dtype": dtype}, spec)
    for v in others:
        left[v] = builder.value(Spec(graph.spec(v).shape, dtype))
        builder.constants[left[v]] = graph.constants[v].astype(dtype)
    for known in (numbers, left):
        names.update((known[v], names[v]) for v in known if v in names)
    return builder.finish(
        inputs=tuple(numbers.get(v, v) for v in graph.inputs),
        outputs=tuple(left.get(v, v) for v in graph.outputs),
        names=names,
    )


Run = Callable[[Sequence[Array]], tuple[list[Array], Any]]


def run_on_flags(run: Run, graph: Graph, plain: Graph, carries: int) -> Run:
    """What runs `graph`, from what runs `plain`, which is the same without flags."""
    pairs = list(zip(graph.inputs[:carries], plain.inputs, strict=False))
    given = [(k, plain.spec(n).dtype) for k, (v, n) in enumerate(pairs) if _is_flag(graph, v)]
    ends = [graph.spec(v).dtype for v in graph.outputs]
    found = [
        (k, dtype)
        for k, (v, dtype) in enumerate(zip(plain.outputs, ends, strict=True))
        if plain.spec(v).dtype != dtype
    ]

    def run_it(arrays: Sequence[Array]) -> tuple[list[Array], Any]:
        arrays = [*arrays]
        for k, dtype in given:
            arrays[k] = arrays[k].astype(dtype)
        outputs, saved = run(arrays)
        for k, dtype in found:
            outputs[k] = outputs[k].astype(dtype)
        return outputs, saved

    return run_it


def _floats(graph: Graph, values: Iterable[int]) -> set[np.dtype[Any]]:
    dtypes = {graph.spec(v).dtype for v in values}
    return {dtype for dtype in dtypes if dtype.kind == "f"}


def _is_flag(graph: Graph, value: int) -> bool:
    return graph.spec(value).dtype.kind == "b"


def _is_constant(graph: Graph, value: int, dtype: np.dtype[Any]) -> bool:
    """Whether it is a constant of another dtype, which is the same number in this one."""
    constant = graph.constants.get(value)
    if constant is None or constant.dtype == dtype or constant.dtype.kind not in "iuf":
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        back = constant.astype(dtype).astype(constant.dtype)
    return np.array_equal(back, constant, equal_nan=constant.dtype.kind == "f")
