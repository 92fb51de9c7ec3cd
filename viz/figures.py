"""How big each part of a model is drawn and what is written on it; no positions yet.

Two ways to draw an op: with everything inside its box (`inside`), or as a bare circle with its
name beside it, as textbooks draw cells (`beside`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import theme as t
from .describe import operands_around
from .model import Model, Node, Summary
from .text import MINUS, Run, clean, number, runs, shape_text, text_width
from .theme import Accent, Theme

__all__ = [
    "Figure",
    "Line",
    "accents_of_clusters",
    "beside",
    "block_size",
    "heading_line",
    "inside",
]

SYMBOL_OF_BACKWARD = "∂"
BOLD = frozenset(("symbol", "title"))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text. kind: symbol, name, title, small, value or grad: its colour and weight."""

    runs: tuple[Run, ...]
    size: float
    kind: str

    @property
    def width(self) -> float:
        return text_width(self.runs, self.size, self.kind in BOLD)

    @property
    def height(self) -> float:
        return self.size * t.LINE_HEIGHT

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs)


@dataclass(frozen=True, slots=True)
class Figure:
    """A node ready to be placed. shape: circle, box, pill or plain; lines in it and beside it."""

    shape: str
    width: float
    height: float
    lines: tuple[Line, ...]
    beside: tuple[Line, ...]
    accent: Accent
    dashed: bool = False
    strong: bool = False


def line(text: str, size: float, kind: str) -> Line:
    """A line of text as it is, cleaned."""
    return Line((Run(clean(text, 48)),), size, kind)


def heading_line(text: str) -> Line:
    """The title of a whole picture."""
    return Line((Run(clean(text, 80)),), t.NAME, "title")


def name_line(name: str, size: float = t.NAME) -> Line:
    """A name, with its subscripts."""
    return Line(tuple(Run(clean(r.text), r.level) for r in runs(clean(name))), size, "name")


def block_size(lines: Sequence[Line]) -> tuple[float, float]:
    """Width and height of lines set one below the other."""
    return max((x.width for x in lines), default=0.0), sum(x.height for x in lines)


def summary_lines(summary: Summary | None, label: str, kind: str) -> list[Line]:
    """A value or gradient: the elements, or the mean in one line and the range in the next."""
    if summary is None:
        return []
    if summary.elements is not None:
        values = ", ".join(number(x) for x in summary.elements)
        text = values if summary.shape == () else f"[{values}]"
        return [line(f"{label or '='} {text}", t.SMALL, kind)]
    if summary.low == summary.high:
        return [line(f"{label} all {number(summary.low)}".strip(), t.SMALL, kind)]
    return [
        line(f"{label} mean {number(summary.mean, 3)}".strip(), t.SMALL, kind),
        line(f"{number(summary.low, 3)} to {number(summary.high, 3)}", t.SMALL, kind),
    ]


def overlay_lines(node: Node) -> list[Line]:
    """The values and gradients asked for."""
    return [
        *summary_lines(node.value, "", "value"),
        *summary_lines(node.grad, "grad", "grad"),
    ]


def symbol_line(node: Node, bare: bool = False) -> Line:
    """What an op does, with the operands that are no nodes of their own; bare: only numbers."""
    if node.kind == "box":
        sign = SYMBOL_OF_BACKWARD if node.is_backward else ""
        return line(sign + node.symbol, t.NAME, "symbol")
    before, after = operands_around(node)
    if bare:
        before, after = ([x for x in side if x not in node.parameters] for side in (before, after))
    parts: list[Run] = []
    for text in before:
        parts += [*runs(clean(text)), Run(" ")]
    parts.append(Run(MINUS if node.symbol == "-" else clean(node.symbol)))
    for text in after:
        parts += [Run(" "), *runs(clean(text))]
    several = len(parts) > 1 or len(node.symbol) > 2
    return Line(tuple(parts), t.WORD if several else t.SYMBOL, "symbol")


def detail_lines(node: Node) -> list[Line]:
    """What a box is in words, name and shape, then the overlays."""
    lines: list[Line] = []
    if node.caption:
        lines.append(line(node.caption, t.SMALL, "small"))
    shape = shape_text(node.shape or ())
    if node.name:
        lines.append(name_line(node.name))
    if shape:
        lines.append(line(shape, t.SMALL, "small"))
    if node.reads:
        lines.append(reads_line(node.reads))
    return [*lines, *overlay_lines(node)]


def reads_line(names: Sequence[str]) -> Line:
    """The forward values that a backward rule reads."""
    listed = [name_line(name, t.SMALL).runs for name in names]
    parts = [Run("reads ")]
    for k, name in enumerate(listed):
        parts += [Run(", "), *name] if k else name
    return Line(tuple(parts), t.SMALL, "small")


def leaf_lines(node: Node) -> list[Line]:
    """A terminal, parameter or constant: name, what it is in words, shape and dtype."""
    if node.kind == "constant":
        return [line(node.symbol, t.NAME, "name"), *overlay_lines(node)[1:]]
    lines = [name_line(node.name)] if node.name else []
    if node.caption:
        lines.append(line(node.caption, t.SMALL, "small"))
    facts = [
        clean(node.origin or ""),
        shape_text(node.shape or ()),
        node.dtype or "",
        "shared" if node.shared else "",
    ]
    if any(facts):
        lines.append(line(" ".join(f for f in facts if f), t.SMALL, "small"))
    return [*lines, *overlay_lines(node)] or [line("value", t.SMALL, "small")]


def accents_of_clusters(model: Model, theme: Theme) -> dict[str, Accent]:
    """Each cluster's accent: that of the innermost scope around it that has a colour."""
    accents: dict[str, Accent] = {}
    for cluster in model.clusters:
        around = accents.get(cluster.parent or "", theme.neutral)
        accents[cluster.id] = theme.accents.get(cluster.name, around)
    return accents


def accent_of(node: Node, clusters: dict[str, Accent], theme: Theme) -> Accent:
    """A node's colours."""
    if node.is_backward:
        return theme.gradient
    if node.kind in ("input", "output"):
        fallback = "input feature" if node.kind == "input" else "output"
        return theme.accent((node.caption or "").partition(",")[0], fallback)
    if node.kind == "parameter":
        return theme.parameter
    if node.kind == "box":
        return theme.box
    return clusters.get(node.cluster or "", theme.neutral)


def inside(model: Model, theme: Theme, nodes: Iterable[Node]) -> dict[str, Figure]:
    """Nodes as boxes with all their text in them."""
    clusters = accents_of_clusters(model, theme)
    return {node.id: _inside(node, accent_of(node, clusters, theme)) for node in nodes}


def _inside(node: Node, accent: Accent) -> Figure:
    leaf = node.kind not in ("op", "box")
    lines = leaf_lines(node) if leaf else [symbol_line(node), *detail_lines(node)]
    width, height = block_size(lines)
    if not leaf and len(lines) == 1 and width <= t.CIRCLE - 8:
        return _circle(node, accent, lines, ())
    shape = "plain" if node.kind == "constant" else "pill" if leaf else "box"
    return Figure(
        shape,
        _even(max(width + 2 * t.PAD_X, t.CIRCLE)),
        _even(max(height + 2 * t.PAD_Y, 26.0)),
        tuple(lines),
        (),
        accent,
        node.is_backward,
        node.is_output,
    )


def beside(model: Model, theme: Theme, nodes: Iterable[Node]) -> dict[str, Figure]:
    """Ops as circles with their name, shape and overlays next to them; the rest as `inside`."""
    clusters = accents_of_clusters(model, theme)
    figures: dict[str, Figure] = {}
    for node in nodes:
        accent = accent_of(node, clusters, theme)
        figures[node.id] = _inside(node, accent)
        if node.kind == "op":
            weights = [name_line(name, t.SMALL) for name in node.parameters]
            lines = [symbol_line(node, bare=True)]
            figures[node.id] = _circle(node, accent, lines, (*weights, *detail_lines(node)))
    return figures


def _circle(
    node: Node, accent: Accent, lines: Sequence[Line], outside: tuple[Line, ...]
) -> Figure:
    width = lines[0].width + 10
    if width <= t.CIRCLE + 10:
        size = _even(max(width, t.CIRCLE))
        return Figure(
            "circle", size, size, tuple(lines), outside, accent, node.is_backward, node.is_output
        )
    return Figure(
        "box", _even(width + 8), t.CIRCLE - 4, tuple(lines), outside, accent, node.is_backward,
        node.is_output,
    )  # fmt: skip


def _even(x: float) -> float:
    """Whole even numbers, so that centres fall on whole points."""
    return 2.0 * -(-x // 2)
