"""Level of detail: which scopes of a recorded graph are folded into one box.

A view is a starting choice; `fold` and `open` change it by name, path or pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from .compiled import compiled_scan
from .trace import MOVES, NO_FRAME, Trace

__all__ = ["ANN", "VIEWS", "Scopes", "default_view", "patterns"]

VIEWS = ("gates", "ops", "cells")

ANN = "ANN"
"""The scope of a gate's linear layer; what holds one is a gate, what holds gates is a cell."""

_LAYER = MOVES | {"matmul", "add", "take"}


class Scopes:
    """The frames of a trace, and whether each is folded.

    gates, cells: frame numbers. box[k]: the outermost folded frame around frame k, or NO_FRAME.
    Raises ValueError for a pattern that matches no scope.
    """

    def __init__(
        self, trace: Trace, view: str, fold: Iterable[str] = (), open: Iterable[str] = ()
    ) -> None:
        self._trace = trace
        frames = trace.frames
        self.gates = _parents(trace, [f.index for f in frames if f.name == ANN])
        self.cells = _parents(trace, self.gates)
        self._cell: list[int] = []
        for f in frames:
            outer = NO_FRAME if f.parent == NO_FRAME else self._cell[f.parent]
            self._cell.append(f.index if f.index in self.cells else outer)
        self.folded = [False] * len(frames)
        for k in self._folded_by(view):
            self.folded[k] = True
        self.asked_to_fold = {k for pattern in fold for k in self._matching("fold", pattern)}
        for k in self.asked_to_fold:
            self.folded[k] = True
        for pattern in open:
            for match in self._matching("open", pattern):
                for k in trace.around(match):
                    self.folded[k] = False
        self.box: list[int] = []
        for f in frames:
            outer = NO_FRAME if f.parent == NO_FRAME else self.box[f.parent]
            self.box.append(f.index if outer == NO_FRAME and self.folded[f.index] else outer)

    def _folded_by(self, view: str) -> Iterable[int]:
        if view == "ops":
            return ()
        layers = _layers(self._trace)
        boxes = [f.index for f in self._trace.frames if f.name == ANN or f.index in layers]
        return boxes if view == "gates" else [*boxes, *self._cells_and_rest()]

    def _cells_and_rest(self) -> Iterable[int]:
        """The cells, and every frame that has no cell and no compiled scan in it and is in none."""
        drawn = {*self.cells, *_frames_of_scans(self._trace)}
        holding = {k for frame in drawn for k in self._trace.around(frame)}
        return [
            f.index
            for f in self._trace.frames
            if f.index in self.cells
            or (f.index not in holding and self.cell_of(f.index) == NO_FRAME)
        ]

    def _matching(self, argument: str, pattern: object) -> list[int]:
        if not isinstance(pattern, str):
            raise TypeError(f"{argument}: expected scope names or patterns, got {pattern!r}")
        trace = self._trace
        found = [f.index for f in trace.frames if f.name == pattern]
        if not found:
            found = [
                f.index
                for f in trace.frames
                if fnmatchcase(f.name, pattern) or fnmatchcase(trace.path(f.index), pattern)
            ]
        if not found:
            raise ValueError(f"{argument}: no scope matches {pattern!r}; {self._listing()}")
        return found

    def _listing(self, longest: int = 30) -> str:
        paths = dict.fromkeys(self._trace.path(f.index) for f in self._trace.frames[:2000])
        if not paths:
            return "nothing was recorded in a scope"
        more = f" and {len(paths) - longest} more" if len(paths) > longest else ""
        return "the scopes are " + ", ".join(list(paths)[:longest]) + more

    def cell_of(self, frame: int) -> int:
        """The innermost cell around a frame, or NO_FRAME."""
        return NO_FRAME if frame == NO_FRAME else self._cell[frame]


def default_view(trace: Trace) -> str:
    """`gates` for a graph with gates or a compiled scan in it, else `ops`."""
    has_gates = any(f.name == ANN for f in trace.frames)
    return "gates" if has_gates or _frames_of_scans(trace) else "ops"


def _frames_of_scans(trace: Trace) -> set[int]:
    return {trace.frame(node) for node in trace.nodes if compiled_scan(node) is node}


def _parents(trace: Trace, frames: Iterable[int]) -> set[int]:
    return {trace.frames[k].parent for k in frames} - {NO_FRAME}


def _layers(trace: Trace) -> set[int]:
    """Scopes without scopes inside that hold one linear layer or embedding."""
    ops: dict[int, set[str]] = {}
    weighted: set[int] = set()
    for node, frame in zip(trace.nodes, trace.frame_of, strict=True):
        if node.is_backward:
            continue
        ops.setdefault(frame, set()).add(node.op.name)
        if node.op.name in ("matmul", "take") and any(trace.is_parameter(t) for t in node.inputs):
            weighted.add(frame)
    weighted.discard(NO_FRAME)
    return {k for k in weighted if ops[k] <= _LAYER and not trace.children[k]}


def patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    """One pattern or several, as several."""
    return (given,) if isinstance(given, str) else tuple(given)
