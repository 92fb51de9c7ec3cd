"""Names, numbers and indices as LaTeX math that compiles, whatever they contain.

Knows no graph. What already is a mathematical symbol (`h_{t-1}`, `\\hat{y}`, `W_hf`) is kept as
one; anything else is set upright, letter for letter, with every active character escaped.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import numpy as np

__all__ = ["index_text", "literal", "number", "script", "symbol", "with_label", "with_step"]

_GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi",
    "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega",
]  # fmt: skip
_SIGNS = {"ell": "ℓ", "partial": "∂", "nabla": "∇", "infty": "∞"}
_MORE = ["prime", "star", "ast", "top", "cdot", "ldots", "times", "varepsilon", "varphi", "pm"]


def _letter(word: str) -> str:
    size = "SMALL" if word.islower() else "CAPITAL"
    return unicodedata.lookup(f"GREEK {size} LETTER {word.upper().replace('LAMBDA', 'LAMDA')}")


_LETTERS = {_letter(word): "\\" + word for word in _GREEK}
_LETTERS |= {letter: "\\" + word for word, letter in _SIGNS.items()}

_COMMAND = r"\\(?:" + "|".join([*_GREEK, *_SIGNS, *_MORE]) + r")(?![A-Za-z])"
_STYLED = (
    r"\\(?:hat|tilde|bar|vec|dot|ddot|widehat|widetilde|overline|mathbf|mathrm|mathcal|mathbb|"
    r"mathit|boldsymbol|operatorname|text)\{[A-Za-z0-9 .]+\}"
)
_UNIT = rf"(?:[A-Za-z0-9]|{_COMMAND}|{_STYLED})(?:_(?:[A-Za-z0-9]|{_COMMAND}))?'*"
_INSIDE = rf"\{{(?:{_UNIT}|[-,+*() =<>|/.])+\}}"
_SCRIPT = rf"(?:[A-Za-z0-9]|{_COMMAND}|{_INSIDE})"
_BASE = rf"(?:[A-Za-z]|{_COMMAND}|{_STYLED})"
_MATH = re.compile(
    rf"{_BASE}(?:'+(?:_{_SCRIPT})?|(?:_{_SCRIPT})?(?:\^{_SCRIPT})?|\^{_SCRIPT}_{_SCRIPT})"
)
_PLAIN_SCRIPT = re.compile(rf"({_BASE})_?([A-Za-z0-9]+)")
_WORD_WITH_SCRIPT = re.compile(rf"([A-Za-z]{{2,}})_([A-Za-z0-9]|{_INSIDE})")
_PARTIAL = re.compile(r"∂\s*([^/∂]+?)\s*/\s*∂\s*([^/∂]+)")

_ESCAPES = {
    "\\": r"\backslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"{\#}",
    "%": r"{\%}", "_": r"\_", "^": r"{\wedge}", "~": r"{\sim}", " ": r"\ ", "-": r"{-}",
    "'": r"{\prime}", "`": r"{\prime}", '"': r"{\prime\prime}",
}  # fmt: skip


def script(text: str) -> str:
    """`text` as what follows `_` or `^`: in braces unless it is one character."""
    return text if len(text) == 1 else "{" + text + "}"


def literal(name: str) -> str:
    """A name set upright, letter for letter: `weight_ih` gives `\\mathrm{weight\\_ih}`."""
    return r"\mathrm{" + "".join(map(_escaped, name)) + "}"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character in _LETTERS:
        return _LETTERS[character] + "{}"
    if character.isspace() or not character.isprintable():
        return r"\ "
    return character if character.isascii() else r"\text{" + character + "}"


def symbol(name: str) -> str:
    """A tensor's name as LaTeX: as it is where it is valid math, else the nearest to it."""
    partial = _PARTIAL.fullmatch(name)
    if partial:
        return rf"\frac{{\partial {symbol(partial[1])}}}{{\partial {symbol(partial[2])}}}"
    text = "".join(_LETTERS.get(letter, letter) for letter in name) if name.isprintable() else name
    if text in _GREEK:
        return "\\" + text
    if _MATH.fullmatch(text):
        return re.sub(r"([_^])\{([A-Za-z0-9])\}", r"\1\2", text)
    split = _PLAIN_SCRIPT.fullmatch(text)
    if split and ("_" in text or split[2].isdigit()):
        return f"{split[1]}_{script(split[2])}"
    word = _WORD_WITH_SCRIPT.fullmatch(text)
    if word:
        return rf"\mathrm{{{word[1]}}}_{word[2]}"
    return rf"\mathrm{{{text}}}" if text.isascii() and text.isalnum() else literal(name)


def with_step(text: str, step: int) -> str:
    """A symbol of the general time t at one step: `h_{t-1}` at 3 gives `h_2`."""
    return re.sub(
        r"(?<!\\)_(?:t(?![A-Za-z])|\{([^{}]*)\})",
        lambda found: "_" + script(_at_step("t" if found[1] is None else found[1], step)),
        text,
    )


def _at_step(text: str, step: int) -> str:
    def value(found: re.Match[str]) -> str:
        return str(step + (int(found[1] + found[2]) if found[1] else 0))

    return re.sub(r"(?<![A-Za-z\\])t(?:\s*([+-])\s*(\d+))?(?![A-Za-z])", value, text)


def with_label(text: str, label: str) -> str:
    """A symbol told apart from others of its name: `h_3` and `1` give `h_3^{(1)}`."""
    base = "{" + text + "}" if "^" in text or "'" in text else text
    return f"{base}^{{({label})}}"


def number(value: Any, digits: int = 4) -> str:
    """A number in `digits` significant digits, more where a fraction would look whole.

    Integers below a million are written in full.
    """
    if isinstance(value, bool | np.bool_):
        return r"\mathrm{true}" if value else r"\mathrm{false}"
    value = float(value)
    if not math.isfinite(value):
        return r"\mathrm{nan}" if math.isnan(value) else "-\\infty" if value < 0 else r"\infty"
    whole = value.is_integer()
    if whole and abs(value) < 1e6:
        return str(int(value))
    while not whole and digits < 17 and float(f"{value:.{digits - 1}e}").is_integer():
        digits += 1
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -4 <= power < 6:
        return np.format_float_positional(float(f"{mantissa}e{power}"), trim="-")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    ten = f"10^{{{power}}}"
    return {"1": ten, "-1": "-" + ten}.get(mantissa, rf"{mantissa} \cdot {ten}")


def index_text(index: Any) -> str:
    """What stands in the brackets of `x[index]`; trailing full slices are left out."""
    parts = list(index) if isinstance(index, tuple) else [index]
    while len(parts) > 1 and isinstance(parts[-1], slice) and parts[-1] == slice(None):
        parts.pop()
    return ", ".join(map(_index_part, parts))


def _index_part(part: Any) -> str:
    if part is None:
        return r"\mathrm{new}"
    if part is Ellipsis:
        return r"\ldots"
    if isinstance(part, slice):
        ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
        return "{:}".join(ends if part.step is None else [*ends, str(part.step)])
    if isinstance(part, np.ndarray) and part.ndim:
        if part.dtype.kind == "b":
            return r"\mathrm{mask}"
        if part.ndim > 1 or part.size > 6:
            return r"\mathrm{indices}"
        return "[" + ", ".join(str(int(k)) for k in part) + "]"
    return str(int(part))
