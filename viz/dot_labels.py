"""Lines of text as Graphviz's HTML-like labels, with true subscripts; hostile text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .figures import Line, block_size
from .styles import is_bold, text_color
from .text import SCRIPT_SIZE
from .theme import Theme

__all__ = ["Labels", "short"]

_ALIGN = {"start": "LEFT", "middle": "CENTER", "end": "RIGHT"}
_PLAIN = 'BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"'


class Labels:
    """Makes labels. letters: False leaves the text out, so that no font matters."""

    def __init__(self, theme: Theme, letters: bool) -> None:
        self._theme, self._letters = theme, letters

    def block(
        self, lines: Sequence[Line], color: str, anchor: str = "middle", fixed: bool = False
    ) -> str:
        """Lines of text, one row of a table each; a fixed label has its size without any fonts."""
        if not lines or not (self._letters or fixed):
            return ""
        width, height = block_size(lines)
        size = f' FIXEDSIZE="TRUE" WIDTH="{width + 4:.0f}" HEIGHT="{height:.0f}"' if fixed else ""
        rows = [
            f'<TR><TD ALIGN="{_ALIGN[anchor]}" HEIGHT="{x.height:.0f}">'
            f"{self._line(x, color) if self._letters else ''}</TD></TR>"
            for x in lines
        ]
        return f"<<TABLE {_PLAIN}{size}>{''.join(rows)}</TABLE>>"

    def _line(self, line: Line, color: str) -> str:
        pieces: list[str] = []
        for run in line.runs:
            letters = _escaped(run.text)
            if run.level:
                tag, size = "SUB" if run.level < 0 else "SUP", short(line.size * SCRIPT_SIZE)
                letters = f'<{tag}><FONT POINT-SIZE="{size}">{letters}</FONT></{tag}>'
            pieces.append(letters)
        content = "".join(pieces)
        if is_bold(line):
            content = f"<B>{content}</B>"
        color = text_color(line, self._theme, color)
        return f'<FONT POINT-SIZE="{short(line.size)}" COLOR="{color}">{content}</FONT>'


def _escaped(text: str) -> str:
    """Text for a label: `\\N` and its kin must not be replaced by names."""
    return escape(text).replace("\\", "<FONT>&#92;</FONT>")


def short(x: float) -> str:
    """A number with at most two decimals."""
    text = f"{x:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
