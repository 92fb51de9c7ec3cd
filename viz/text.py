"""Names as text that can be drawn: cleaned, cut to length, with subscripts, and measured.

Knows no graph and no markup. Widths are those of DejaVu Sans, the widest of the usual fonts, so
that a layout doesn't depend on which fonts a machine has.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["SCRIPT_SIZE", "Run", "clean", "number", "plain", "runs", "shape_text", "text_width"]

SCRIPT_SIZE = 0.74
"""Size of sub- and superscripts relative to the text around them."""

MINUS = "\N{MINUS SIGN}"

LONGEST = 32
"""Characters of a name that are drawn; the rest becomes an ellipsis."""

_SCRIPT = re.compile(
    r"(?P<sign>[_^])\{(?P<braced>[^{}]*)\}"  # any base with braces: W_{if}, loss_{val}
    r"|(?<![\w}])(?P<base>[^\W\d_])(?P<mark>[_^])(?P<short>[^\W_]{1,2})(?![\w{])"  # f_t, x^2
)
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))

_ASCII = (  # advance widths of the characters from space to tilde, in hundredths of the size
    "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 "
    "53 100 68 69 70 77 63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 "
    "84 50 50 61 63 55 63 62 35 63 63 28 28 58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 "
    "64 84"
)
_WIDTHS = {chr(32 + k): int(width) / 100 for k, width in enumerate(_ASCII.split())}
_WIDE, _OTHER = 1.05, 0.85


class Run(NamedTuple):
    """A stretch of text on one level: 0 on the line, -1 a subscript, 1 a superscript."""

    text: str
    level: int = 0


def clean(text: str, longest: int = LONGEST) -> str:
    """`text` on one line with everything invisible made visible, at most `longest` characters.

    Control characters become their Unicode pictures; what has none, such as an override of the
    writing direction or half a surrogate pair, becomes the replacement character.
    """
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else _visible(c) for c in text])


def _visible(character: str) -> str:
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "\N{SYMBOL FOR DELETE}"
    if unicodedata.category(character) in _HIDDEN:
        return "\N{REPLACEMENT CHARACTER}"
    return " "  # some other kind of space


def runs(name: str) -> tuple[Run, ...]:
    """`c_{t-1}`, `W_{if}` and `x^2` taken apart; anything else is one run.

    An underscore without braces starts a subscript only after a single letter, so that names such
    as `weight_ih` stay what they are.
    """
    found: list[Run] = []
    end = 0
    for match in _SCRIPT.finditer(name):
        before = name[end : match.start()] + (match["base"] or "")
        if before:
            found.append(Run(before))
        script = match["short"] if match["braced"] is None else match["braced"]
        if script:
            found.append(Run(script, 1 if (match["sign"] or match["mark"]) == "^" else -1))
        end = match.end()
    if name[end:]:
        found.append(Run(name[end:]))
    odd = any("{" in run.text or "}" in run.text for run in found)
    return (Run(name),) if odd else tuple(found)


def plain(name: str) -> str:
    """A name for places without subscripts: titles and tooltips."""
    return clean(name, 120)


def text_width(text: Sequence[Run] | str, size: float, bold: bool = False) -> float:
    """How wide `text` is drawn at most, in the unit of `size`."""
    pieces = (Run(text),) if isinstance(text, str) else text
    total = 0.0
    for piece in pieces:
        scale = SCRIPT_SIZE if piece.level else 1.0
        total += scale * sum([_WIDTHS.get(c) or _width(c) for c in piece.text])
    return total * size * (1.1 if bold else 1.0)


def _width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _OTHER


def number(x: float, digits: int = 4) -> str:
    """A value in at most that many significant digits, with a true minus sign."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else MINUS + "∞"
    text = f"{x:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return "0" if text == "-0" else text.replace("-", MINUS)


def shape_text(shape: Sequence[int]) -> str:
    """`(8, 4)`; a scalar has no shape worth drawing."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" if shape else ""
