"""What a value is to a recurrent cell: long-term memory, short-term memory or input feature.

Read from the weights it meets and from its name, for colours, captions and layout.
"""

from __future__ import annotations

import re

from tinygrad_lstm import Node, Tensor

from .scopes import Scopes
from .trace import NO_FRAME, Trace

__all__ = ["INPUT", "LONG_TERM", "OUTPUT", "SHORT_TERM", "Roles", "caption", "textbook_name"]

LONG_TERM = "long-term memory"
SHORT_TERM = "short-term memory"
INPUT = "input feature"
OUTPUT = "output"

_BY_LETTER = {"c": LONG_TERM, "h": SHORT_TERM, "x": INPUT, "y": OUTPUT}
_LETTER = re.compile(r"([chxy])(?:_\{?(?:t|n|0|t-1|\d+)\}?)?(?:\[(?:\d+|::-1)\])?")
_WEIGHT = re.compile(r"(?:[Ww]_\{?|weight_)([ihc])")
_BY_WEIGHT = {"i": "input feature", "h": "short-term memory", "c": "long-term memory"}


_PARAMETER = re.compile(r"(?P<kind>weight|bias)_(?P<what>[a-z]{2})(?:_l\d+)?(?:_reverse)?")


def caption(name: str | None) -> str | None:
    """What a state or input is called in words: `c_{t-1}` is the long-term memory."""
    match = _LETTER.fullmatch(name) if name else None
    return _BY_LETTER[match[1]] if match else None


def textbook_name(parameter: str) -> str:
    """`w_{cf}` for the parameter `weight_cf_l0`; names that are no PyTorch name stay."""
    match = _PARAMETER.fullmatch(parameter)
    if match is None:
        return parameter
    letter = "b" if match["kind"] == "bias" else "w" if match["what"][0] == "c" else "W"
    return f"{letter}_{{{match['what']}}}"


class Roles:
    """The roles of the values in one trace."""

    def __init__(self, trace: Trace, scopes: Scopes) -> None:
        self._trace = trace
        self._scopes = scopes
        self._carries: dict[Node, str] = {}

    def cell(self, node: Node) -> int:
        """The cell a node is in."""
        return self._scopes.cell_of(self._trace.frame(node))

    def leaves_cell(self, tail: Node, head: Node) -> bool:
        """Whether a value goes from a cell to somewhere outside it."""
        cell = self.cell(tail)
        return cell != NO_FRAME and cell not in self._trace.around(self._trace.frame(head))

    def of(self, head: Node, position: int, t: Tensor) -> str:
        """The role of `t` as an input of `head`; "" for none. Heads in order of recording."""
        if head.is_backward or self.cell(head) == NO_FRAME:
            return ""
        role = self._by_weight(head, position) or self._carried(head, t)
        frame = self._trace.frame(head)
        if role and self._trace.frames[frame].name == role:
            self._carries.setdefault(head, role)  # f_t ⊙ c_{t-1} is long-term memory still
        return role

    def _by_weight(self, head: Node, position: int) -> str:
        """W_i meets the input, W_h the short-term memory, a peephole's w_c the long-term one."""
        if head.op.name not in ("matmul", "mul") or len(head.inputs) != 2:
            return ""
        weight = head.inputs[1 - position]
        if not self._trace.is_parameter(weight):
            return ""
        match = _WEIGHT.match(self._trace.parameter_name(weight))
        return "" if match is None else _BY_WEIGHT[match[1]]

    def _carried(self, head: Node, t: Tensor) -> str:
        if t.node is not None and self.cell(t.node) == self.cell(head):
            carried = self._carries.get(t.node)
            if carried is not None:
                return carried
        elif (scope := self._trace.frames[self._trace.frame(head)].name) in (LONG_TERM, SHORT_TERM):
            return scope  # a memory takes from outside what it was a step ago
        role = caption(t.name)
        return "" if role is None or role == OUTPUT else role
