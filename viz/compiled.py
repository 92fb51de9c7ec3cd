"""A compiled scan as a picture sees it: one op with several results, and what takes them out.

The last result is the value of the op's own node; ops called `part` take the others out.

Knows the recorded nodes of such a run, not how it was compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tinygrad_lstm import GraphError, Node

__all__ = ["compiled_scan", "is_only_layer", "refuse_compiled", "result_name", "steps_of", "told"]

_STATE = re.compile(r"(\w+)_t")


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


def result_name(node: Node) -> str | None:
    """What a result of a compiled scan is called: the last h_t is h_n.

    A result over time has the name it was given in the step, but y where a state has that name.
    """
    scan = compiled_scan(node)
    if scan is None:
        return node.name
    graph, carries = scan.attrs["graph"], scan.attrs["plan"].carries
    position = _position(node, scan)
    if position < carries:
        state = _STATE.fullmatch(node.name or "")
        return f"{state[1]}_n" if state else node.name
    names = [graph.names.get(value) for value in graph.outputs]
    inside = names[position]
    return node.name or ("y" if inside in (None, *names[:carries]) else inside)


def told(scan: Node) -> str:
    """`scan in LSTM (file:line) ran compiled; ...`: what to do to see inside."""
    scope = f" in {'/'.join(scan.scope)}" if scan.scope else ""
    return f"scan{scope} ({scan.where}) ran compiled; run it with unroll=True to see its gates"


def refuse_compiled(caller: str, nodes: Iterable[Node]) -> None:
    """Raise GraphError if there is a compiled scan among the nodes."""
    for node in nodes:
        if compiled_scan(node) is node:
            raise GraphError(f"{caller}: {told(node)}")
