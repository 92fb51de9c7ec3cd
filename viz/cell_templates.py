"""Where the parts of the known recurrent cells stand, as data.

The equations are not repeated here: a template only fits a recorded cell whose ops and edges are
its own, or those of some of its parts. Any other cell is left to Graphviz. Columns run left to
right, rows top to bottom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from .roles import INPUT, LONG_TERM, SHORT_TERM

__all__ = ["TEMPLATES", "Part", "Template", "Wire"]

ANN = "ANN"


@dataclass(frozen=True, slots=True)
class Part:
    """An op or folded ANN: where it is recorded, where it stands, where its caption goes."""

    cluster: str
    op: str
    column: int
    row: int
    caption: str = "E"


@dataclass(frozen=True, slots=True)
class Wire:
    """An edge between parts or from a port, by the sides it leaves and arrives at.

    shift: how far off the middle of the head's side it arrives. via: corners on the way, as
    (part or gutter whose x, row whose y).
    """

    tail: str
    head: str
    out: str
    into: str
    shift: float = 0.0
    via: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of cell.

    ports: role of a value coming in -> its row. states: its role -> the part and row it leaves at.
    y_row: the row of an output beside the cell.
    titles: how a cluster's name is broken into lines, and the corner it stands in; "above" has a
    line of its own. gaps: free height below each row.
    """

    name: str
    parts: Mapping[str, Part]
    wires: tuple[Wire, ...]
    ports: Mapping[str, int]
    states: Mapping[str, tuple[str, int]]
    y_row: int
    gaps: tuple[float, ...]
    titles: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)


    def of(self, names: Collection[str]) -> Template:
        """The template of a cell of which only some parts are drawn, without empty places."""
        if len(names) == len(self.parts):
            return self
        parts = {name: part for name, part in self.parts.items() if name in names}
        wires = tuple(
            w for w in self.wires if w.head in parts and (w.tail in parts or w.tail in self.ports)
        )
        states = {role: at for role, at in self.states.items() if at[0] in parts}
        ports = {r: row for r, row in self.ports.items() if any(w.tail == r for w in wires)}
        kept = {p.row for p in parts.values()} | {row for w in wires for _, row in w.via}
        kept |= {*ports.values(), *(row for _, row in states.values())}
        kept |= {self.y_row} if SHORT_TERM in states else set()
        rows = {row: k for k, row in enumerate(sorted(kept))}
        columns = {c: k for k, c in enumerate(sorted({p.column for p in parts.values()}))}
        return Template(
            f"{self.name}: {', '.join(parts)}",
            {
                name: replace(part, column=columns[part.column], row=rows[part.row])
                for name, part in parts.items()
            },
            tuple(replace(w, via=tuple((x, rows[row]) for x, row in w.via)) for w in wires),
            {role: rows[row] for role, row in ports.items()},
            {role: (part, rows[row]) for role, (part, row) in states.items()},
            rows.get(self.y_row, 0),
            tuple(self.gaps[row] for row in rows),
            self.titles,
        )


BRANCH = 15.0
"""How far apart h and x arrive at an ANN."""

_LEFT, _ABOVE, _BELOW = "left", "above", "below"
_GATE_TITLES = {
    "forget gate": (("forget", "gate"), _LEFT),
    "input gate": (("input", "gate"), _LEFT),
    "candidate": (("candidate",), _LEFT),
    "output gate": (("output", "gate"), _LEFT),
    "update gate": (("update", "gate"), _LEFT),
    "reset gate": (("reset", "gate"), _LEFT),
    LONG_TERM: ((LONG_TERM,), _ABOVE),
    SHORT_TERM: (("short-term", "memory"), _LEFT),
}


def _fed(*networks: str) -> tuple[Wire, ...]:
    """h and x reach every ANN from the lines below."""
    return tuple(
        wire
        for ann in networks
        for wire in (
            Wire(SHORT_TERM, ann, "E", "S", -BRANCH),
            Wire(INPUT, ann, "E", "S", BRANCH),
        )
    )


def _lstm(projection: bool) -> Template:
    parts = {
        "keep": Part(LONG_TERM, "mul", 0, 0, "N"),
        "plus": Part(LONG_TERM, "add", 2, 0, "N"),
        "write": Part(LONG_TERM, "mul", 2, 1, "S"),
        "f": Part("forget gate", "sigmoid", 0, 2),
        "f ann": Part("forget gate", ANN, 0, 3),
        "i": Part("input gate", "sigmoid", 1, 2),
        "i ann": Part("input gate", ANN, 1, 3),
        "g": Part("candidate", "tanh", 3, 2),
        "g ann": Part("candidate", ANN, 3, 3),
        "o": Part("output gate", "sigmoid", 4, 2, "NE"),
        "o ann": Part("output gate", ANN, 4, 3),
        "squash": Part(SHORT_TERM, "tanh", 5, 1),
        "show": Part(SHORT_TERM, "mul", 5, 2),
    }
    wires = [
        Wire(LONG_TERM, "keep", "E", "W"),
        Wire("f", "keep", "N", "S"),
        Wire("keep", "plus", "E", "W"),
        Wire("write", "plus", "N", "S"),
        Wire("i", "write", "N", "W"),
        Wire("g", "write", "N", "E"),
        Wire("plus", "squash", "E", "N"),
        Wire("squash", "show", "S", "N"),
        Wire("o", "show", "E", "W"),
        *(Wire(f"{k} ann", k, "N", "S") for k in "figo"),
        *_fed("f ann", "i ann", "g ann", "o ann"),
    ]
    last = "show"
    if projection:
        parts["project"] = Part(SHORT_TERM, "matmul", 5, 3)
        wires.append(Wire("show", "project", "S", "N"))
        last = "project"
    return Template(
        "LSTM with projection" if projection else "LSTM",
        parts,
        tuple(wires),
        ports={LONG_TERM: 0, SHORT_TERM: 4, INPUT: 5},
        states={LONG_TERM: ("plus", 0), SHORT_TERM: (last, 4)},
        y_row=5,
        gaps=(26, 44, 22, 44, 40, 26),
        titles=_GATE_TITLES,
    )


def _peephole(projection: bool) -> Template:
    plain = _lstm(projection)
    columns = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7, 5: 8}
    rows = {0: 0, 1: 1, 2: 3, 3: 5}
    parts = {
        name: Part(p.cluster, p.op, columns[p.column], rows[p.row], p.caption)
        for name, p in plain.parts.items()
    }
    gates = {"f": ("forget gate", 0), "i": ("input gate", 2), "o": ("output gate", 6)}
    wires = [w for w in plain.wires if w.tail not in ("f ann", "i ann", "o ann")]
    for k, (gate, column) in gates.items():
        parts[f"{k} peep"] = Part(gate, "mul", column, 4, "S")
        parts[f"{k} sum"] = Part(gate, "add", column + 1, 4)
        wires += [
            Wire(f"{k} peep", f"{k} sum", "E", "W"),
            Wire(f"{k} sum", k, "N", "S"),
            Wire(f"{k} ann", f"{k} sum", "N", "S"),
        ]
    wires += [
        Wire(LONG_TERM, "f peep", "E", "N"),
        Wire(LONG_TERM, "i peep", "E", "N", via=(("f peep", 0), ("f peep", 2))),
        Wire("plus", "o peep", "E", "N"),
    ]
    titles = {name: (words, _BELOW) for name, (words, _) in _GATE_TITLES.items()}
    titles |= {name: _GATE_TITLES[name] for name in (LONG_TERM, SHORT_TERM, "candidate")}
    return Template(
        plain.name + " and peepholes" if projection else "LSTM with peepholes",
        parts,
        tuple(wires),
        ports={LONG_TERM: 0, SHORT_TERM: 6, INPUT: 7},
        states={LONG_TERM: ("plus", 0), SHORT_TERM: (plain.states[SHORT_TERM][0], 6)},
        y_row=7,
        gaps=(26, 26, 26, 20, 22, 44, 40, 26),
        titles=titles,
    )


_GRU = Template(
    "GRU",
    {
        "keep": Part(SHORT_TERM, "mul", 0, 0, "N"),
        "plus": Part(SHORT_TERM, "add", 3, 0, "N"),
        "rest": Part(SHORT_TERM, "sub", 1, 1, "S"),
        "write": Part(SHORT_TERM, "mul", 3, 1),
        "z": Part("update gate", "sigmoid", 0, 3),
        "z ann": Part("update gate", ANN, 0, 4),
        "r": Part("reset gate", "sigmoid", 1, 3, "NE"),
        "r ann": Part("reset gate", ANN, 1, 4),
        "n": Part("candidate", "tanh", 3, 2),
        "sum": Part("candidate", "add", 3, 3),
        "reset": Part("candidate", "mul", 2, 3, "N"),
        "n ann": Part("candidate", ANN, 2, 4),
    },
    (
        Wire(SHORT_TERM, "keep", "E", "W"),
        Wire("z", "keep", "N", "S"),
        Wire("z", "rest", "N", "W"),
        Wire("keep", "plus", "E", "W"),
        Wire("write", "plus", "N", "S"),
        Wire("rest", "write", "E", "W"),
        Wire("n", "write", "N", "S"),
        Wire("sum", "n", "N", "S"),
        Wire("reset", "sum", "E", "W"),
        Wire("r", "reset", "E", "W"),
        Wire("n ann", "reset", "N", "S"),
        Wire("n ann", "sum", "E", "S"),
        Wire("z ann", "z", "N", "S"),
        Wire("r ann", "r", "N", "S"),
        *(
            Wire(SHORT_TERM, ann, "E", "S", -BRANCH, (("gutter", 0), ("gutter", 5)))
            for ann in ("z ann", "r ann", "n ann")
        ),
        *(Wire(INPUT, ann, "E", "S", BRANCH) for ann in ("z ann", "r ann", "n ann")),
    ),
    ports={SHORT_TERM: 0, INPUT: 6},
    states={SHORT_TERM: ("plus", 0)},
    y_row=1,
    gaps=(26, 44, 16, 22, 44, 24, 26),
    titles={**_GATE_TITLES, SHORT_TERM: ((SHORT_TERM,), _ABOVE)},
)


def _rnn(activation: str) -> Template:
    return Template(
        f"RNN with {activation}",
        {
            "ann": Part(SHORT_TERM, ANN, 0, 0),
            "squash": Part(SHORT_TERM, activation, 1, 0, "N"),
        },
        (
            Wire(SHORT_TERM, "ann", "E", "W"),
            Wire(INPUT, "ann", "E", "S"),
            Wire("ann", "squash", "E", "W"),
        ),
        ports={SHORT_TERM: 0, INPUT: 1},
        states={SHORT_TERM: ("squash", 0)},
        y_row=1,
        gaps=(54, 26),
        titles={SHORT_TERM: ((SHORT_TERM,), _ABOVE)},
    )


TEMPLATES = (
    _lstm(projection=False),
    _lstm(projection=True),
    _peephole(projection=False),
    _peephole(projection=True),
    _GRU,
    _rnn("tanh"),
    _rnn("relu"),
)
