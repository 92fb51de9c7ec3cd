"""Booleans that the way back reads, kept as numbers: a native loop's arrays are of one dtype."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ops import OPS
from .graph import Builder, Graph, Instruction, Spec

__all__ = ["flags_as_numbers"]

_ASTYPE = OPS["astype"]


def flags_as_numbers(
    loop: Graph, backward: Graph, reads: Sequence[int]
) -> tuple[Graph, Graph, tuple[int, ...]]:
    """The loop, which makes numbers of them, and the way back, which makes booleans of these.

    reads, before and after: the value of the loop behind each of the last inputs of the way back.
    """
    made = loop.producers()
    flags = [v for v in reads if v in made and loop.spec(v).dtype.kind == "b"]
    dtypes = {loop.spec(v).dtype for v in (*loop.inputs, *made)}
    floats = {dtype for dtype in dtypes if dtype.kind == "f"}
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
