"""Equations written to a file: a LaTeX document, or a picture typeset by matplotlib.

Knows lines of LaTeX, no graph. A picture needs no TeX: matplotlib reads the subset we write.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..saving import checked_path, save_figure, style

if TYPE_CHECKING:
    from .document import Equations

__all__ = ["save"]

_SIZE = 15.0  # points
_LEADING = 9.0
_MARGIN = 18.0
_MOST_LINES = 500  # a picture of more is too tall for any viewer
_WIDEST = 30_000.0
_FONTS = "cm"


def save(equations: Equations, path: str | os.PathLike[str]) -> None:
    """Write `equations` to `path`, by its suffix: .tex, .svg, .png or .pdf."""
    where = checked_path(path, ("tex",))
    if where.suffix.lower() == ".tex":
        where.write_text(_document(equations), encoding="utf-8")
    else:
        _picture(equations, where)


def _document(equations: Equations) -> str:
    rows = " \\\\\n".join(f"{left} &= {right}" for left, right in equations.definitions)
    return (
        "\\documentclass{article}\n\\usepackage{amsmath}\n\\allowdisplaybreaks\n"
        f"\\begin{{document}}\n\\begin{{align*}}\n{rows}\n\\end{{align*}}\n\\end{{document}}\n"
    )


def _readable(text: str) -> str:
    """As matplotlib's parser wants it: `\\leq` for `\\le`, a bare `&`; fractions in full size."""
    for ours, theirs in ((r"\le ", r"\leq "), (r"\&", "&"), (r"\frac", r"\dfrac")):
        text = text.replace(ours, theirs)
    return f"${text}$"


def _picture(equations: Equations, where: Path) -> None:
    """One row per definition, equals signs below each other."""
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    if len(equations) > _MOST_LINES:
        raise ValueError(
            f"save: {len(equations)} lines are too many for a picture, at most {_MOST_LINES}; "
            "save them as .tex, or write fewer tensors"
        )
    with style(mathtext_fontset=_FONTS):
        parser, font = MathTextParser("path"), FontProperties(size=_SIZE)
        rows = [(_readable(a), _readable(r"= \, " + b)) for a, b in equations.definitions]
        boxes = [[parser.parse(part, 72, font) for part in row] for row in rows]
        left = max(box[0].width for box in boxes)
        right = max(box[1].width for box in boxes)
        height = sum(max(b.height for b in box) + _LEADING for box in boxes) - _LEADING
        size = (left + right + 6 + 2 * _MARGIN, height + 2 * _MARGIN)
        if max(size) > _WIDEST:
            raise ValueError(
                f"save: the picture would be {size[0]:.0f} x {size[1]:.0f} points; save as .tex"
            )
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=144)
        y = size[1] - _MARGIN
        for row, box in zip(rows, boxes, strict=True):
            y -= max(b.height - b.depth for b in box)
            for part, x, side in zip(row, (left, left + 6), ("right", "left"), strict=True):
                where_x, where_y = (_MARGIN + x) / size[0], y / size[1]
                figure.text(
                    where_x, where_y, part, size=_SIZE, ha=side, va="baseline", color="black"
                )
            y -= max(b.depth for b in box) + _LEADING
    save_figure(figure, where, mathtext_fontset=_FONTS, svg_fonttype="path")
