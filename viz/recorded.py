"""Values of named tensors over time, read out of a recorded graph.

Knows nodes, names and scopes; nothing of cells or pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_lstm import GraphError, Node, ShapeError, Tensor, toposort

from .compiled import compiled_scan, told

__all__ = ["GATES", "gate_traces"]

Array = np.ndarray[Any, Any]

GATES = ("f_t", "i_t", "g_t", "o_t", "r_t", "z_t", "n_t", "c_t", "h_t")
"""The textbook names of gates, candidates and states, in the order they are shown."""

_STEP = re.compile(r"t=(\d{1,9})")


def gate_traces(
    tensor: Tensor | Sequence[Tensor],
    names: Sequence[str] | None = None,
    batch: int = 0,
    *,
    scope: str | None = None,
) -> dict[str, Array]:
    """What the gates and states held at every time step: name -> (T, H), in time order.

    tensor: any result of the recorded computation, or several. names: of the tensors, by default
    those of GATES that there are. batch: which sequence. scope: part of the path of one layer, such
    as "layer 1", where there are several. Steps are the scopes `t=0`, `t=1`, ..., or without these
    the calls in the order of recording.
    Raises GraphError for a name or scope that was not recorded, such as any in a compiled scan, and
    for one that is ambiguous; ShapeError for a batch index out of range; TypeError for other
    arguments.
    """
    outputs = [tensor] if isinstance(tensor, Tensor) else tensor
    if not isinstance(outputs, Sequence) or not all(isinstance(t, Tensor) for t in outputs):
        raise TypeError(f"tensor: expected a Tensor or a sequence of them, got {tensor!r:.80}")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names or ()):
        raise TypeError(f"names: expected a sequence of strings, got {names!r}")
    if isinstance(batch, bool) or not isinstance(batch, int | np.integer):
        raise TypeError(f"batch: expected an integer, got {batch!r}")
    nodes = toposort(outputs)
    recorded = _by_name(nodes, scope)
    wanted = [name for name in GATES if name in recorded] if names is None else list(names)
    missing = [name for name in wanted if name not in recorded]
    if missing or not wanted:
        there = ", ".join(sorted(recorded)) or "none"
        where = "" if scope is None else f" in a scope like {scope!r}"
        what = f"{', '.join(missing)} was not" if missing else "no gate was"
        scans = [node for node in nodes if compiled_scan(node) is node and _is_in(node, scope)]
        why = f"; {told(scans[0])}" if scans else ""
        raise GraphError(f"gate_traces: {what} recorded{where}; named tensors there: {there}{why}")
    return {name: _trace(name, recorded[name], int(batch)) for name in wanted}


def _by_name(nodes: Iterable[Node], scope: str | None) -> dict[str, list[Node]]:
    """The forward nodes of each name, in the order of recording.

    Not a compiled scan's results: the last h_t is called so, too, but is not h_t over time.
    """
    found: dict[str, list[Node]] = {}
    for node in nodes:
        recorded = not node.is_backward and compiled_scan(node) is None
        if node.name and recorded and _is_in(node, scope):
            found.setdefault(node.name, []).append(node)
    return found


def _is_in(node: Node, scope: str | None) -> bool:
    return scope is None or scope in "/".join(node.scope)


def _trace(name: str, nodes: list[Node], batch: int) -> Array:
    rows = [_row(name, node.value, batch) for node in _in_time(name, nodes)]
    sizes = {row.shape for row in rows}
    if len(sizes) > 1:
        raise GraphError(
            f"gate_traces: {name} has several sizes, {sorted(sizes)}; choose a layer with scope="
        )
    return np.stack(rows)


def _in_time(name: str, nodes: list[Node]) -> list[Node]:
    """One node per time step; of several in a step the last: what a mask let through."""
    steps: dict[int, Node] = {}
    paths: dict[int, str] = {}  # of the loops over time that recorded them
    untimed: list[Node] = []
    for node in nodes:
        frames = () if node.context.scope is None else node.context.scope.path()
        at = max((k for k, f in enumerate(frames) if _STEP.fullmatch(f.name)), default=-1)
        if at < 0:
            untimed.append(node)
            continue
        loop = frames[at - 1] if at else None
        paths[id(loop)] = "/".join(f.name for f in frames[:at])
        steps[int(frames[at].name[2:])] = node
    if not steps:
        _check_one_place(name, untimed)
        return untimed
    if len(paths) > 1:
        _raise_ambiguous(name, list(paths.values()))
    return [steps[t] for t in sorted(steps)]


def _check_one_place(name: str, nodes: Sequence[Node]) -> None:
    paths = dict.fromkeys("/".join(node.scope) for node in nodes)
    if len(paths) > 1:
        _raise_ambiguous(name, list(paths))


def _raise_ambiguous(name: str, paths: Sequence[str]) -> None:
    if len(set(paths)) == 1:
        raise GraphError(
            f"gate_traces: {paths[0] or 'the layer'} ran {len(paths)} times in this graph, each "
            f"with its own {name}; give a tensor of one run"
        )
    listed = ", ".join(sorted(set(paths)))
    raise GraphError(f"gate_traces: {name} was recorded in {listed}; choose one with scope=")


def _row(name: str, value: Array, batch: int) -> Array:
    """One sequence's values, (H,)."""
    if value.ndim > 2:
        raise ShapeError(f"gate_traces: {name} has shape {value.shape}; expected (B, H) or (H,)")
    rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    if not -len(rows) <= batch < len(rows):
        raise ShapeError(f"batch: {batch} is out of range, {name} has {len(rows)} sequences")
    return rows[batch].copy()
