"""The backward of a graph, as a graph: derived by the same sweep that users call.

Nothing here knows a derivative. The graph is replayed on tensors, the sweep records its rules, and
what they recorded is read off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..context import fresh_context
from ..sweep import Key, key_of, sweep
from ..tensor import Tensor, next_number
from .graph import Graph
from .trace import example, graph_of, replay

__all__ = ["Backward", "differentiate"]


class Backward(NamedTuple):
    """A graph of cotangents.

    graph: inputs are the cotangents of `seeded`, then the forward values `reads`; outputs are the
    cotangents of `reached`, in that order.
    """

    graph: Graph
    seeded: tuple[int, ...]  # positions among the forward graph's outputs
    reads: tuple[int, ...]  # values of the forward graph
    reached: tuple[int, ...]  # positions among `wanted`


def differentiate(forward: Graph, needing: set[int], wanted: Sequence[int]) -> Backward:
    """The graph that carries cotangents of the outputs back to the `wanted` inputs.

    needing: the inputs that require a gradient. Outputs that depend on none of them take no
    cotangent; wanted inputs that no output depends on are left out of `reached`.
    """
    with np.errstate(all="ignore"), fresh_context():  # only shapes matter, not the values
        return _differentiate(forward, needing, wanted)


def _differentiate(forward: Graph, needing: set[int], wanted: Sequence[int]) -> Backward:
    value_of: dict[Key, int] = {}
    inputs = [example(forward.spec(v), v in needing) for v in forward.inputs]
    kept: dict[int, Tensor] = {}

    def keep(value: int, t: Tensor) -> None:
        value_of.setdefault(key_of(t), value)
        kept[value] = t

    outputs = replay(forward, inputs, keep)
    seeded = tuple(k for k, t in enumerate(outputs) if t.requires_grad)
    seeds = [Tensor(outputs[k]._data) for k in seeded]
    since = next_number()
    keys = [key_of(kept[v]) for v in wanted]
    found = sweep([outputs[k] for k in seeded], seeds, keys, create_graph=True)
    reached = tuple(k for k, key in enumerate(keys) if key in found)
    stand_ins = {key for key, value in value_of.items() if value not in forward.constants}
    cotangents = [found[keys[k]] for k in reached]
    graph, captured = graph_of(cotangents, seeds, since, stand_ins)
    read = list(zip(graph.inputs[len(seeds) :], captured, strict=True))
    known = [(v, t) for v, t in read if key_of(t) in value_of]
    own = {v: t.data for v, t in read if key_of(t) not in value_of}  # arrays of the rules' own
    graph = replace(
        graph,
        inputs=(*graph.inputs[: len(seeds)], *(v for v, _ in known)),
        constants={**graph.constants, **own},
    )
    reads = tuple(value_of[key_of(t)] for _, t in known)
    return Backward(graph, seeded, reads, reached)
