"""What each recorded op is drawn as, and in which cluster: scopes as a view has them.

Knows nothing of edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinygrad_lstm import Node as Op

from .compiled import compiled_scan
from .model import Cell, Cluster, Node
from .scopes import Scopes
from .shortcuts import Shortcuts
from .trace import NO_FRAME, Trace

__all__ = ["Placement", "is_box", "is_scan"]

Place = tuple[object, object, object]


class Placement:
    """Identifiers and clusters for the ops of a trace.

    ops: those that are drawn, in the order of recording. An identifier's first letter tells what
    it is: n an op, b a folded scope (b3r: its backward ops), c a compiled scan with its results, r
    the backward rule of an op, t a leaf; s is a cluster. lifted: frames around everything, which
    the title names instead.
    """

    def __init__(self, trace: Trace, scopes: Scopes, short: Shortcuts) -> None:
        self._trace, self._scopes, self._short = trace, scopes, short
        reached = short.reached(r.tensor for r in short.results)
        self.ops = [node for node in trace.nodes if node in reached]
        self._rules = self._find_rules()
        self._idents = {node: self._find_ident(node) for node in self.ops}
        self.lifted = self._find_lifted() if short.enabled else []

    def size(self) -> int:
        """How many nodes there will be, terminals, parameters and constants left out."""
        return len(set(self._idents.values()))

    # -- identifiers ------------------------------------------------------------------------------

    def ident(self, node: Op) -> str:
        """What a node is drawn as: itself, or the box it is in."""
        return self._idents[node]

    def box(self, node: Op) -> int:
        """The folded frame a node is in, or NO_FRAME."""
        frame = self._trace.frame(node)
        return NO_FRAME if frame == NO_FRAME else self._scopes.box[frame]

    def rule_of(self, node: Op) -> Op | None:
        """The forward op whose rule recorded a backward op, where that can be told."""
        return self._rules.get(_place(node)) if node.is_backward else None

    def _find_ident(self, node: Op) -> str:
        box = self.box(node)
        if node in self._short.slices:
            return self._trace.ident(node)
        if box != NO_FRAME:
            return f"b{box}{'r' if node.is_backward else ''}"
        scan = compiled_scan(node)
        if scan is not None:
            return f"c{self._trace.number(scan)}"
        forward = self.rule_of(node)
        return self._trace.ident(node) if forward is None else f"r{self._trace.number(forward)}"

    def _find_rules(self) -> dict[Place, Op | None]:
        """Forward ops by scope and place: the backward ops of one rule have both from it.

        None where several share them, as in a loop: their rules can't be told apart. Where all ops
        are drawn, only those that a compiled scan's rule recorded stay together.
        """
        found: dict[Place, Op | None] = {}
        for node in self.ops:
            drawn_whole = self._short.enabled or compiled_scan(node) is node
            if drawn_whole and not node.is_backward and node not in self._short.slices:
                found[_place(node)] = None if _place(node) in found else node
        return found

    # -- clusters ---------------------------------------------------------------------------------

    def _find_lifted(self) -> list[int]:
        """Frames around everything, from the outermost to the cell."""
        frames = {self._trace.frame(node) for node in self.ops if node not in self._short.slices}
        common: list[int] | None = None
        for frame in sorted(frames):
            path = list(self._trace.around(frame))[::-1]
            common = path if common is None else _shared_start(common, path)
        around_cells = {k for cell in self._scopes.cells for k in self._trace.around(cell)}
        lifted: list[int] = []
        for k in common or ():
            if k not in around_cells or self._scopes.folded[k]:
                break
            lifted.append(k)
        return lifted

    def cluster(self, frame: int) -> str | None:
        """The innermost open scope around a frame that is drawn."""
        for k in self._trace.around(frame):
            if self._scopes.box[k] == NO_FRAME and k not in self.lifted:
                return f"s{k}"
        return None

    def clusters(self, nodes: Iterable[Node]) -> list[Cluster]:
        """The clusters that hold these nodes, a parent before its children."""
        drawn: set[int] = set()
        for node in nodes:
            if node.cluster is None:
                continue
            for k in self._trace.around(int(node.cluster[1:])):
                if k in drawn:
                    break
                if k not in self.lifted:
                    drawn.add(k)
        frames = [self._trace.frames[k] for k in sorted(drawn)]
        return [
            Cluster(
                f"s{f.index}",
                f.name,
                self._trace.path(f.index),
                None if f.parent == NO_FRAME else self.cluster(f.parent),
            )
            for f in frames
        ]

    def cells(self, nodes: Sequence[Node]) -> list[Cell]:
        """The recurrent cells among the drawn scopes, open and folded."""
        inside: dict[int, list[str]] = {}
        cells: dict[int, Cell] = {}
        for node in nodes:
            k = int(node.id[1:]) if node.id[0] == "b" and not node.is_backward else NO_FRAME
            if k in self._scopes.cells:
                cells[k] = Cell(node.cluster, self._trace.path(k), (node.id,), True)
                continue
            if node.cluster is not None:
                cell = self._scopes.cell_of(int(node.cluster[1:]))
            elif node.kind in ("op", "box") and self.lifted:
                cell = self._scopes.cell_of(self.lifted[-1])
            else:
                continue
            if cell != NO_FRAME:
                inside.setdefault(cell, []).append(node.id)
        for k, idents in inside.items():
            cluster = None if k in self.lifted else f"s{k}"
            cells[k] = Cell(cluster, self._trace.path(k), tuple(idents))
        return [cells[k] for k in sorted(cells)]

    def title(self) -> str:
        """What the whole picture shows."""
        if self.lifted:
            return self._trace.path(self.lifted[-1])
        named = [t.name for t in self._trace.outputs if t.name]
        if named:
            return "computation of " + ", ".join(named[:4])
        outermost = dict.fromkeys(f.name for f in self._trace.frames if f.parent == NO_FRAME)
        return ", ".join(list(outermost)[:4]) or "computation graph"


def is_box(ident: str) -> bool:
    """Whether something drawn stands for several ops: a folded scope, a scan, a backward rule."""
    return ident[0] in "bcr"


def is_scan(ident: str) -> bool:
    """Whether something drawn is a compiled scan."""
    return ident[0] == "c"


def _place(node: Op) -> Place:
    return node.context.scope, node.place, node.context.site


def _shared_start(one: list[int], other: list[int]) -> list[int]:
    for k, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return one[:k]
    return one[: len(other)]
