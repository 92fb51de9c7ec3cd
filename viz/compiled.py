"""A compiled scan as a picture sees it: one op with several results, and what takes them out.

The last result is the value of the op's own node; ops called `part` take the others out.

Knows the recorded nodes of such a run, not how it was compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tinygrad_lstm import GraphError, Node, Tensor

__all__ = [
    "compiled_scan",
    "initial_states",
    "is_only_layer",
    "refuse_compiled",
    "result_name",
    "steps_of",
    "told",
]

_STATE = re.compile(r"(\w+)_t")
_STATE_BEFORE = re.compile(r"(\w+)_\{t-1\}")


def compiled_scan(node: Node) -> Node | None:
    """The compiled scan that a node is or takes a result out of."""
    if node.op.name == "part":
        return node.inputs[0].node
    return node if node.op.name == "scan" else None


def is_only_layer(node: Node) -> bool:
    """Whether it is the last state of a layer that is alone, which `state[0]` takes out whole."""
    scan = compiled_scan(node)
    if scan is None:
        return False
    plan = scan.attrs["plan"]
    return plan.rows and _position(node, scan) < plan.carries


def _position(node: Node, scan: Node) -> int:
    """Which result of a compiled scan a node is."""
    return scan.attrs["plan"].others if node is scan else node.attrs["position"]


def steps_of(scan: Node) -> int:
    """How many steps a compiled scan took."""
    return scan.attrs["plan"].steps


def initial_states(nodes: Iterable[Node]) -> dict[Tensor, str]:
    """What compiled scans alone start from, and its name: h_{t-1} of their first step is h_0."""
    found: dict[Tensor, str] = {}
    elsewhere: set[Tensor] = set()
    for node in nodes:
        if node.is_backward:
            continue
        carries = node.attrs["plan"].carries if node.op.name == "scan" else 0
        elsewhere.update(node.inputs[carries:])
        for t in node.inputs[:carries]:
            state = _STATE_BEFORE.fullmatch(t.name or "") if t.node is None else None
            if state is not None:
                found[t] = f"{state[1]}_0"
    return {t: name for t, name in found.items() if t not in elsewhere}


def result_name(node: Node) -> str | None:
    """What a result of a compiled scan is called: the last h_t is h_n.

    A result over time has the name it was given in the step, but y where a state has that name.
    What has none is called by its place.
    """
    scan = compiled_scan(node)
    if scan is None:
        return node.name
    graph, carries = scan.attrs["graph"], scan.attrs["plan"].carries
    position = _position(node, scan)
    if position < carries:
        state = _STATE.fullmatch(node.name or "")
        place = "carry" if carries == 1 else f"carry[{position}]"
        return f"{state[1]}_n" if state else node.name or place
    names = [graph.names.get(value) for value in graph.outputs]
    states, ys = {None, *names[:carries]}, names[carries:]
    inside = names[position]
    if node.name or inside not in states:
        return node.name or inside
    is_alone = sum(name in states for name in ys) == 1 and "y" not in ys
    return "y" if is_alone else f"y[{position - carries}]"


def told(scan: Node) -> str:
    """`scan in LSTM (file:line) ran compiled; ...`: what to do to see inside."""
    scope = f" in {'/'.join(scan.scope)}" if scan.scope else ""
    return f"scan{scope} ({scan.where}) ran compiled; run it with unroll=True to see its gates"


def refuse_compiled(caller: str, nodes: Iterable[Node]) -> None:
    """Raise GraphError if there is a compiled scan among the nodes."""
    for node in nodes:
        if compiled_scan(node) is node:
            raise GraphError(f"{caller}: {told(node)}")
