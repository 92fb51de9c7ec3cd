"""Values and gradients to write on a picture, and the backward graph to draw in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lstm import GraphError, Tensor, grad
from tinygrad_lstm import Node as Op

from .model import Summary, summarize
from .trace import Key, Trace, key_of

__all__ = ["Backward", "Overlays", "backward_graph"]


class Backward(NamedTuple):
    """Recorded gradients, what a picture calls values of theirs, and where gradients arrive.

    ends: the results that are gradients of something given from outside, not of parameters.
    """

    results: list[Tensor]
    names: dict[Key, str]
    ends: set[Key]


class Overlays:
    """Summaries of the values in a trace and of the gradients of its outputs."""

    def __init__(
        self, trace: Trace, *, values: bool, grads: bool, grad_outputs: Any = None
    ) -> None:
        self._trace = trace
        self._gradients: dict[Key, Tensor] = {}
        if grads:
            self._gradients = _gradients(trace, grad_outputs)

    def value(self, key: Key) -> Summary | None:
        """The value a key stands for; None for a scan, which stands for several at once."""
        array = key.value if isinstance(key, Op) else key.data
        return summarize(array) if isinstance(array, np.ndarray) else None

    def grad(self, key: Key) -> Summary | None:
        """The gradient with respect to it; None where no gradient goes."""
        found = self._gradients.get(key)
        return None if found is None else summarize(found.data)


def _seeded(trace: Trace, grad_outputs: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs a gradient can start from, and what it starts with."""
    seeds: Sequence[Any] = [None] * len(trace.outputs)
    if grad_outputs is not None:
        one = len(trace.outputs) == 1 and not isinstance(grad_outputs, list | tuple)
        seeds = [grad_outputs] if one else grad_outputs
        if len(seeds) != len(trace.outputs):
            raise ValueError(
                f"grad_outputs: {len(seeds)} given for {len(trace.outputs)} tensors drawn"
            )
    outputs = [t for t in trace.outputs if t.requires_grad]
    if not outputs:
        raise GraphError(
            "draw: nothing drawn requires a gradient; create the inputs with requires_grad=True"
        )
    chosen = [
        _cotangent(t, seed)
        for t, seed in zip(trace.outputs, seeds, strict=True)
        if t.requires_grad
    ]
    return outputs, chosen


def _cotangent(output: Tensor, given: Any) -> Tensor:
    """A tensor of one's own for each output, so that a picture can name it."""
    if isinstance(given, Tensor):
        return given
    return Tensor(np.ones(output.shape) if given is None else given, dtype=output.dtype)


def _gradients(trace: Trace, grad_outputs: Any) -> dict[Key, Tensor]:
    outputs, seeds = _seeded(trace, grad_outputs)
    arrays = [node for node in trace.nodes if isinstance(node.value, np.ndarray)]
    wanted = [node.output() for node in arrays] + trace.leaves
    wanted = [t for t in wanted if t.requires_grad]
    found = grad(outputs, wanted, seeds, allow_unused=True)
    return {key_of(t): g for t, g in zip(wanted, found, strict=True) if g is not None}


def backward_graph(trace: Trace, view: str, grad_outputs: Any = None) -> Backward:
    """Recorded gradients of a trace's outputs.

    In the ops view they lead to the leaves; otherwise to what the drawn ops take of them, so that
    cutting weights apart and putting their gradients together stays out of the picture.
    """
    outputs, seeds = _seeded(trace, grad_outputs)
    wanted = trace.leaves if view == "ops" else _frontier(trace)
    wanted = [t for t in wanted if t.requires_grad]
    found = grad(outputs, wanted, seeds, create_graph=True, allow_unused=True)
    (first, *others), scalar = outputs, outputs[0].ndim == 0
    top = f"∂{first.name}/" if first.name and scalar and not others else ""
    names: dict[Key, str] = {}
    for t, seed in zip(outputs, seeds, strict=True):
        if seed.node is None:
            names[seed] = seed.name or (f"{top}∂{t.name}" if t.name else "gradient")
    results: dict[Key, Tensor] = {}
    ends: set[Key] = set()
    for t, g in zip(wanted, found, strict=True):
        if g is not None and g.node is not None and g.node.is_backward:
            results[key_of(g)] = g
            given = not trace.is_parameter(t)
            name = t.name or ("" if given else trace.parameter_name(t))
            if name:
                names.setdefault(key_of(g), f"{top}∂{name}")
            if name and given:
                ends.add(key_of(g))
    return Backward(list(results.values()), names, ends)


def _frontier(trace: Trace) -> list[Tensor]:
    """Leaves, and in place of parameters what is made of them where something else uses it."""
    found: dict[Key, Tensor] = {}
    for node in trace.nodes:
        if trace.is_parameter(node.output()):
            continue
        for t in node.inputs:
            if t.node is None or trace.is_parameter(t):
                found.setdefault(key_of(t), t)
    return list(found.values())
