r"""Op templates filled with operands, in as few parentheses as their precedence allows.

Knows templates and text, no graph. A template is an op's `latex`; where its slots stand says all
there is to know about parentheses:

- between brackets or commas (`\tanh({0})`, `\frac{{{0}}}{{{1}}}`): none are needed;
- at an end (`{0} + {1}`): an operand that binds less tightly gets them, and so does one that
  binds equally on the right, unless the op is associative;
- before `^` or `[` (`{0}^{{{1}}}`): all but symbols and calls get them, a fraction too;
- after an operator that reaches to the right (`\sum {0}`): whatever follows must not be caught.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import NamedTuple

__all__ = ["ATOM", "Fragment", "Template", "atom", "glyphs", "symbol_fragment", "template"]

ATOM = 9
"""The precedence of what never needs parentheses between operators."""

_NEVER = 99
_RELATION = 0
_CALL = re.compile(
    r"(?:0|(?:\\operatorname\{[^{}]*\}|\\[A-Za-z]+)(?:_\{.*?\})?)?[(\[|].*[)\]|]"
)
_GLYPH = re.compile(r"\\[A-Za-z]+|[^\s{}_^\\]")


class Fragment(NamedTuple):
    """A piece of LaTeX and what has to be known to put it into a larger one.

    precedence: of its outermost operator. reach: precedence of an operator at its right end that
    would catch what follows. signed: starts with a minus. closed: `^2` after it means all of it.
    prefix: is an operator before its operand. size: about how many glyphs are seen.
    """

    text: str
    size: int
    precedence: int = ATOM
    reach: int = _NEVER
    signed: bool = False
    closed: bool = True
    prefix: bool = False

    def parenthesized(self) -> Fragment:
        """The same in parentheses, large ones around what is tall."""
        tall = r"\frac" in self.text
        text = rf"\left({self.text}\right)" if tall else f"({self.text})"
        return Fragment(text, self.size + 2)


def atom(text: str) -> Fragment:
    """A number or other piece without operators; a sign or a factor 10^k counts as one."""
    signed, product = text.startswith("-"), r"\cdot" in text
    whole = not (signed or product or "^" in text)
    precedence = 2 if signed or product else 4 if "^" in text else ATOM
    return Fragment(text, glyphs(text), precedence, signed=signed, closed=whole)


def symbol_fragment(text: str) -> Fragment:
    """A symbol; one with a superscript, a prime or a fraction bar is not closed."""
    closed = not any(mark in text for mark in ("^", "'", r"\frac"))
    return Fragment(text, glyphs(text), closed=closed)


def glyphs(text: str) -> int:
    """About how many characters are seen: a command counts as one, braces not at all."""
    return len(_GLYPH.findall(text))


class _Slot(NamedTuple):
    field: str
    first: bool  # nothing stands before it
    last: bool  # nothing stands after it
    after_slot: bool  # an operand stands before it
    delimited: bool  # brackets or commas on both sides
    before_script: bool


class Template:
    """One parsed template: literal texts and slots, in turns."""

    def __init__(self, text: str, precedence: int, associative: bool = False) -> None:
        self.literals = [""]
        fields: list[str] = []
        for literal, field, _, _ in Formatter().parse(text):
            self.literals[-1] += literal
            if field is not None:
                fields.append(field)
                self.literals.append("")
        self.associative = associative
        self.size = sum(map(glyphs, self.literals))
        self.slots = [self._slot(k, field) for k, field in enumerate(fields)]
        head = self.literals[0].rstrip()
        self.sign = head == "-"
        self.transparent = text == "{0}"
        self.closed = bool(_CALL.fullmatch("0".join(self.literals)))
        self.names_function = " " in head and not self.slots[0].last  # \log \sum \exp({0})
        self.precedence = min(precedence, 2) if self.names_function else precedence

    def _slot(self, k: int, field: str) -> _Slot:
        before, after = self.literals[k].rstrip(), self.literals[k + 1]
        first, last = k == 0 and not before, k + 2 == len(self.literals) and not after.strip()
        delimited = before.endswith(("(", "[", "{", ",", "|")) and after.lstrip().startswith(
            (")", "]", "}", ",", "|", r"\right")
        )
        script = not delimited and after.startswith(("^", "["))
        return _Slot(field, first, last, k > 0, delimited, script)

    def fill(self, operands: Sequence[Fragment], attributes: Mapping[str, str]) -> Fragment:
        """The text with its operands; `attributes` for slots that are not operands."""
        if self.transparent:
            return operands[0]
        reach, signed, size = _NEVER, self.sign, self.size
        parts: list[str] = []
        for slot in self.slots:
            if not slot.field.isdigit():
                many = slot.field == "all"
                parts.append(", ".join(f.text for f in operands) if many else (
                    attributes[slot.field]
                ))
                size += sum(f.size for f in operands) if many else glyphs(parts[-1])
                continue
            operand = operands[int(slot.field)]
            if self._needs_parentheses(slot, operand):
                operand = operand.parenthesized()
            parts.append(operand.text)
            size += operand.size
            if slot.first:
                signed = operand.signed
            if slot.last:
                reach = operand.reach
        prefix = not self.slots[0].first and self.slots[-1].last and not self.sign
        if prefix or self.names_function:
            reach = min(reach, self.precedence)
        return Fragment(
            self._joined(parts), size, self.precedence, reach, signed, self.closed, prefix
        )

    def _needs_parentheses(self, slot: _Slot, operand: Fragment) -> bool:
        if slot.delimited:
            return False
        if slot.before_script:
            return not operand.closed or operand.precedence < ATOM
        if operand.precedence == self.precedence == _RELATION:
            return True  # a < b < c would say another thing
        if slot.first:
            return operand.precedence < self.precedence or operand.reach <= self.precedence
        if not slot.last:
            return operand.precedence < 1
        if operand.signed or operand.precedence < self.precedence:
            return True
        level = slot.after_slot and operand.precedence == self.precedence
        return level and not (self.associative or operand.prefix)

    def _joined(self, parts: Sequence[str]) -> str:
        literals = self.literals
        if any(r"\frac" in part for part in parts):
            literals = [
                text.replace("(", r"\left(").replace(")", r"\right)") for text in literals
            ]
        pieces = [literals[0]]
        for part, literal in zip(parts, literals[1:], strict=True):
            pieces += (part, literal)
        return "".join(pieces)


@lru_cache(maxsize=512)
def template(text: str, precedence: int, associative: bool = False) -> Template:
    """A template, parsed once."""
    return Template(text, precedence, associative)
