r"""Reads the LaTeX of `viz.latex` by the conventions of mathematics, and works it out in NumPy.

Written without looking at templates or precedences of the library: a sign and sums bind weakest,
then elementwise products, then products written side by side, then powers and transposes. A
prefix operator (\sum, \max, \log) takes the whole elementwise product that follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?: \\cdot 10\^\{-?\d+\})?")
_TEN = re.compile(r"10\^\{(-?\d+)\}")
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    r"\exp": np.exp,
    r"\log": np.log,
    r"\sin": np.sin,
    r"\cos": np.cos,
    r"\tanh": np.tanh,
    r"\sigma": lambda x: 1 / (1 + np.exp(-x)),
    r"\operatorname{softplus}": lambda x: np.log(1 + np.exp(x)),
    r"\operatorname{relu}": lambda x: np.maximum(x, 0),
    r"\operatorname{sgn}": np.sign,
    r"\operatorname{where}": np.where,
    r"\operatorname{clip}": np.clip,
    r"\operatorname{mean}": np.mean,
    r"\operatorname{var}": np.var,
    r"\operatorname{softmax}": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    r"\operatorname{reshape}": lambda x, shape=(): x.reshape(shape),
    r"\operatorname{concat}": lambda *parts, axis: np.concatenate(parts, axis),
    r"\operatorname{stack}": lambda *parts, axis: np.stack(parts, axis),
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {r"\sum": np.sum, r"\max": np.max, r"\min": np.min}


class Reader:
    """The symbols known so far; `define` reads one line.

    columns: read vectors as columns of matrices, as the text says it does; a matrix that is data
    is then given transposed, and sums over recorded axes turn it back first.
    """

    def __init__(self, values: dict[str, Any], columns: bool = False) -> None:
        self.values = dict(values)
        self.columns = columns

    def define(self, line: str) -> Any:
        """Work out `left = right` and remember it as `left`."""
        left, right = line.split(" = ", 1)
        self.values[left] = value = self.evaluate(right)
        return value

    def evaluate(self, text: str) -> Any:
        """The value of an expression; ValueError where it is not one."""
        self._text, self._at = text, 0
        self._known = sorted(self.values, key=len, reverse=True)
        value = self._comparison()
        self._skip()
        if self._at != len(text):
            raise ValueError(f"cannot read {text[self._at :]!r} at the end of {text!r}")
        return value

    # -- scanning ---------------------------------------------------------------------------------

    def _skip(self) -> None:
        while self._text.startswith(" ", self._at):
            self._at += 1

    def _sees(self, token: str) -> bool:
        self._skip()
        if not self._text.startswith(token, self._at):
            return False
        following = self._text[self._at + len(token) :][:1]
        return not (token[0] == "\\" and token[-1].isalpha() and following.isalpha())

    def _take(self, token: str) -> bool:
        if self._sees(token):
            self._at += len(token)
            return True
        return False

    def _expect(self, *tokens: str) -> None:
        if not any(self._take(token) for token in tokens):
            raise ValueError(f"expected {tokens} before {self._text[self._at :]!r}")

    # -- from the weakest to the strongest ---------------------------------------------------------

    def _comparison(self) -> Any:
        value = self._sum()
        if self._take(">"):
            return value > self._sum()
        if self._take("="):
            return value == self._sum()
        return value

    def _sum(self) -> Any:
        value = -self._product() if self._take("-") else self._product()
        while True:
            if self._take("+"):
                value = value + self._product()
            elif self._take("-"):
                value = value - self._product()
            else:
                return value

    def _product(self) -> Any:
        value = self._juxtaposed()
        while self._take(r"\odot") or self._take(r"\cdot"):
            value = value * self._juxtaposed()
        return value

    def _juxtaposed(self) -> Any:
        value = self._scripted()
        while self._starts_atom():
            value = value @ self._scripted()
        return value

    def _starts_atom(self) -> bool:
        stops = (*"+-=>)]},", r"\odot", r"\cdot", r"\right", r"\le")
        self._skip()
        return self._at < len(self._text) and not any(self._sees(stop) for stop in stops)

    def _scripted(self) -> Any:
        value = self._atom()
        while True:
            if self._take(r"^\top"):
                value = value[:, None] if value.ndim == 1 else np.swapaxes(value, -1, -2)
            elif self._take("^{"):
                value = value ** self._sum()
                self._expect("}")
            elif self._take("["):
                value = value[self._index()]
            else:
                return value

    # -- atoms ------------------------------------------------------------------------------------

    def _atom(self) -> Any:
        for name in self._known:
            if self._sees(name) and not self._continues(name):
                self._at += len(name)
                return self.values[name]
        for name, reduce in _REDUCTIONS.items():
            if self._take(name):
                return self._reduced(name, reduce)
        if self._take(r"\frac{"):
            above = self._closed()
            self._expect("{")
            return above / self._closed()
        if self._take(r"\sqrt{"):
            return np.sqrt(self._closed())
        if self._take(r"\left|"):
            value = self._sum()
            self._expect(r"\right|")
            return np.abs(value)
        if self._take("["):
            low = self._comparison()
            if self._take("]"):
                return low
            self._expect(r"\le")
            value = self._sum()
            self._expect(r"\le")
            inside = (low <= value) & (value <= self._sum())
            self._expect("]")
            return inside
        if self._take(r"\left(") or self._take("("):
            value = self._sum()
            self._expect(r"\right)", ")")
            return value
        return self._function_or_number()

    def _continues(self, name: str) -> bool:
        following = self._text[self._at + len(name) : self._at + len(name) + 1]
        return following == "_" or (name[-1].isalnum() and following.isalnum())

    def _closed(self) -> Any:
        value = self._sum()
        self._expect("}")
        return value

    def _function_or_number(self) -> Any:
        for name, function in _FUNCTIONS.items():
            if self._take(name):
                options = self._options()
                if not (self._sees("(") or self._sees(r"\left(")):
                    return function(self._product())  # \log \sum \exp(x)
                return function(*self._arguments(), **options)
        self._skip()
        for word, truth in ((r"\mathrm{true}", True), (r"\mathrm{false}", False)):
            if self._take(word):
                return truth
        found = _TEN.match(self._text, self._at)
        if found:
            self._at = found.end()
            return 10.0 ** int(found[1])
        found = _NUMBER.match(self._text, self._at)
        if not found:
            raise ValueError(f"cannot read {self._text[self._at :]!r} in {self._text!r}")
        self._at = found.end()
        mantissa, _, ten = found[0].partition(r" \cdot 10^{")
        return float(mantissa) * 10.0 ** int(ten.rstrip("}") or 0)

    def _arguments(self) -> list[Any]:
        self._expect(r"\left(", "(")
        values = [self._comparison()]
        while self._take(","):
            values.append(self._comparison())
        self._expect(r"\right)", ")")
        return values

    def _options(self) -> dict[str, Any]:
        r"""A subscript: `\mathrm{axis}\,1`, or the sizes of a shape."""
        if not self._take("_{"):
            return {}
        depth, end = 1, self._at
        while depth:
            depth += {"{": 1, "}": -1}.get(self._text[end], 0)
            end += 1
        text, self._at = self._text[self._at : end - 1], end
        numbers = [int(k) for k in re.findall(r"\d+", text)]
        if "axes" in text or "axis" in text:
            return {"axis": numbers[0] if len(numbers) == 1 else tuple(numbers)}
        return {"shape": tuple(numbers)}

    def _reduced(self, name: str, reduce: Callable[..., Any]) -> Any:
        options, start = self._options(), self._at
        if name != r"\sum" and (self._sees("(") or self._sees(r"\left(")):
            arguments = self._arguments()
            if len(arguments) == 2:
                return (np.maximum if name == r"\max" else np.minimum)(*arguments)
            self._at = start
        value = self._product()
        if not options:
            return reduce(value)
        if not self.columns:
            return reduce(value, **options)
        recorded = reduce(np.swapaxes(value, -1, -2), **options)
        return recorded[:, None] if recorded.ndim == 1 else recorded.T

    def _index(self) -> Any:
        end = self._text.index("]", self._at)
        inside, self._at = self._text[self._at : end], end + 1
        parts = [part.strip() for part in inside.split(",")]
        return tuple(self._index_part(part) for part in parts)

    def _index_part(self, part: str) -> Any:
        if part == r"\ldots":
            return Ellipsis
        if part in self.values:
            return self.values[part]
        if "{:}" in part:
            return slice(*[int(end) if end else None for end in part.split("{:}")])
        return int(part)
