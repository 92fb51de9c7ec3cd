"""Which cell stands in which row and column, and on which side everything else stands.

Time runs to the right, layers stand on each other. Knows no sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .cell_match import Fit
from .model import Model
from .roles import INPUT, OUTPUT

__all__ = ["Plan"]


class Plan:
    """The arrangement of a model of known cells; `ok` tells whether there is one.

    places: row (from the bottom) and column of each cell. left, right: terminals by (cell, role).
    below, above: inputs and outputs by cell. rest: all other nodes, such as a loss. entering,
    leaving: edges between the cells and the rest, as number -> (cell, role). shared: scopes around
    both.
    """

    def __init__(self, model: Model, fits: Sequence[Fit]) -> None:
        self.model, self.fits = model, fits
        self.nodes = {node.id: node for node in model.nodes}
        self.owner = {i: k for k, fit in enumerate(fits) for i in fit.cell.nodes}
        self.places: list[tuple[int, int]] = []
        self.left: dict[tuple[int, str], str] = {}
        self.right: dict[tuple[int, str], str] = {}
        self.below: dict[int, str] = {}
        self.above: dict[int, str] = {}
        self.entering: dict[int, tuple[int, str]] = {}
        self.leaving: dict[int, tuple[int, str]] = {}
        self.rest: list[str] = []
        self.shared: set[str] = set()
        self.ok = (
            self._place_cells()
            and self._place_inputs()
            and self._place_outputs()
            and self._check_rest()
        )

    @property
    def single(self) -> bool:
        """Whether there is one cell, whose input and output stand beside it too."""
        return len(self.fits) == 1 and not self.fits[0].views

    def before(self, k: int, role: str) -> int | None:
        """The cell that a value comes from."""
        source = self.fits[k].sources.get(role)
        if source is None or source in self.fits[k].views:
            return None
        return self.owner.get(source)

    # -- cells ------------------------------------------------------------------------------------

    def _place_cells(self) -> bool:
        for k, fit in enumerate(self.fits):
            states = {self.before(k, role) for role in fit.template.ports if role != INPUT}
            given = self.before(k, INPUT)
            if len(states) != 1 or any(j is not None and j >= k for j in (*states, given)):
                return False
            (earlier,) = states
            place = self._next_place(earlier, given)
            if place is None or place in self.places:
                return False
            self.places.append(place)
        return True

    def _next_place(self, earlier: int | None, given: int | None) -> tuple[int, int] | None:
        """Right of the step before, on top of what gives the input, or a row of its own."""
        if given is not None:
            row, column = self.places[given]
            if earlier is None or self.places[earlier] == (row + 1, column - 1):
                return row + 1, column
            return None
        if earlier is not None:
            row, column = self.places[earlier]
            return row, column + 1
        return max((row for row, _ in self.places), default=-1) + 1, 0

    # -- what stands around them ------------------------------------------------------------------

    def _place_inputs(self) -> bool:
        entering: dict[str, list[int]] = {}
        heads: dict[str, set[tuple[int | None, str]]] = {}
        for number, edge in enumerate(self.model.edges):
            entering.setdefault(edge.head, []).append(number)
            heads.setdefault(edge.tail, set()).add((self.owner.get(edge.head), edge.role))
        for k, fit in enumerate(self.fits):
            for role, source in fit.sources.items():
                if self.before(k, role) is not None:
                    continue
                if not self._place_input(k, role, source, heads[source], entering):
                    return False
        return True

    def _place_input(
        self,
        k: int,
        role: str,
        source: str,
        heads: set[tuple[int | None, str]],
        entering: dict[str, list[int]],
    ) -> bool:
        from_below = role == INPUT and not self.single
        if not from_below and self.places[k][1]:
            return False
        if source in self.fits[k].views:
            self.below[k] = source
            self.entering |= {number: (k, role) for number in entering.get(source, ())}
            return heads == {(k, role)} and role == INPUT
        if heads == {(k, role)} and source not in entering:
            if from_below:
                self.below[k] = source
            else:
                self.left[k, role] = source
            return True
        for number, edge in enumerate(self.model.edges):
            if edge.tail == source and edge.role == role and self.owner.get(edge.head) == k:
                self.entering[number] = k, role
        return True

    def _place_outputs(self) -> bool:
        last = {row: max(c for r, c in self.places if r == row) for row, _ in self.places}
        for k, fit in enumerate(self.fits):
            for number in fit.leaving:
                edge = self.model.edges[number]
                if edge.head in self.owner:
                    continue
                row, column = self.places[k]
                if self.nodes[edge.head].kind != "output":
                    if not fit.is_output(edge):
                        return False
                    self.leaving[number] = k, fit.output
                elif edge.role != OUTPUT or self.single:
                    if column != last[row] or (k, edge.role) in self.right:
                        return False
                    self.right[k, edge.role] = edge.head
                elif k in self.above:
                    return False
                else:
                    self.above[k] = edge.head
        return not any(k in self.above for k, _ in self.leaving.values())

    # -- the rest ---------------------------------------------------------------------------------

    def _check_rest(self) -> bool:
        """Whether nothing comes after a cell and before another."""
        placed = {*self.left.values(), *self.right.values(), *self.below.values()}
        placed |= {*self.above.values(), *self.owner}
        self.rest = [ident for ident in self.nodes if ident not in placed]
        edges = self.model.edges
        after = self._reach((edges[n].head for n in self.leaving), forwards=True)
        before = self._reach((edges[n].tail for n in self.entering), forwards=False)
        if after & (before | set(self.owner)):
            return False
        self.shared = self._holding_rest()
        return True

    def _reach(self, start: Iterable[str], forwards: bool) -> set[str]:
        onwards: dict[str, list[str]] = {}
        for edge in self.model.edges:
            one, other = (edge.tail, edge.head) if forwards else (edge.head, edge.tail)
            onwards.setdefault(one, []).append(other)
        seen, stack = set[str](), list(start)
        while stack:
            ident = stack.pop()
            if ident not in seen:
                seen.add(ident)
                stack += onwards.get(ident, ())
        return seen

    def _holding_rest(self) -> set[str]:
        """Scopes around all cells and something of the rest."""
        cells = [set(self.around(fit.cell.cluster)) for fit in self.fits]
        rest = {c for ident in self.rest for c in self.around(self.nodes[ident].cluster)}
        return rest.intersection(*cells)

    def outside(self, cluster: str | None) -> str | None:
        """The innermost scope around a cluster that has all cells in it, or none."""
        some = {c for fit in self.fits for c in self.around(fit.cell.cluster)} - self.shared
        around = self.around(cluster)
        within = [k for k, c in enumerate(around) if c in some]
        return next(iter(around[within[-1] + 1 :]), None) if within else cluster

    def around(self, cluster: str | None) -> list[str]:
        """A cluster and those around it, from the inside out."""
        found: list[str] = []
        parents = {c.id: c.parent for c in self.model.clusters}
        while cluster is not None:
            found.append(cluster)
            cluster = parents[cluster]
        return found
