r"""What a template cannot say: axes, indices, shapes, and the dot between numbers.

Knows single nodes. Each entry adds to an op's template what its attributes mean, such as the axis
of a sum: `\sum_{\mathrm{axis}\,1} {0}`. An op without an entry is written by its template alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_lstm import Node

from .notation import index_text, literal, number

__all__ = ["ASSOCIATIVE", "attribute_texts", "template_text"]

ASSOCIATIVE = frozenset(("add", "mul", "matmul"))
"""Ops whose chains need no parentheses: a + (b + c) is a + b + c."""

_OPERATOR = re.compile(r"\\(?:sum|max|min)(?![A-Za-z])")


def template_text(node: Node, scaled: bool) -> str:
    """The template of a node's op with what its attributes add.

    scaled: an operand is a number, and a product with a number is no Hadamard product.
    """
    text = node.op.latex
    detail = _DETAILS.get(node.op.name)
    if detail is not None:
        return detail(node)
    return text.replace(r"\odot", r"\cdot") if scaled else text


def attribute_texts(node: Node, digits: int) -> dict[str, str]:
    """The texts for a template's slots that are attributes."""
    texts = {name: _value(name, value, digits) for name, value in node.attrs.items()}
    if node.op.name == "scatter":  # among arguments, not behind the bracket of a template
        texts["index"] = f"[{texts['index']}]"
    return texts


def _value(name: str, value: Any, digits: int) -> str:
    if name == "index":
        return index_text(value)
    if value is None:
        return r"-\infty" if name == "low" else r"\infty"
    if isinstance(value, bool | int | float):
        return number(value, digits)
    return literal(str(value))


def _subscripted(text: str, subscript: str) -> str:
    """The template with a subscript after its operator or function name."""
    if not subscript:
        return text
    operator = _OPERATOR.search(text)
    end = operator.end() if operator else text.index("(")
    doubled = subscript.replace("{", "{{").replace("}", "}}")
    return f"{text[:end]}_{{{{{doubled}}}}}{text[end:]}"


def _axes(axes: Sequence[int]) -> str:
    label = "axis" if len(axes) == 1 else "axes"
    return rf"\mathrm{{{label}}}\," + ",".join(map(str, axes))


def _reduction(node: Node) -> str:
    """With the axes it is over, unless these are all."""
    axes = tuple(node.attrs["axis"])
    notes = [] if len(axes) == node.inputs[0].ndim else [_axes(axes)]
    if node.attrs.get("ddof"):
        notes.append(rf"\mathrm{{ddof}}\,{node.attrs['ddof']}")
    return _subscripted(node.op.latex, r",\,".join(notes))


def _along(node: Node) -> str:
    """With the axis it works along, unless this is the last."""
    axes = node.attrs["axis"]
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    last = axes == (node.inputs[0].ndim - 1,)
    return _subscripted(node.op.latex, "" if last else _axes(axes))


def _joined(node: Node) -> str:
    """With the axis along which the parts stand."""
    return _subscripted(node.op.latex, _axes((node.attrs["axis"],)))


def _rows(node: Node) -> str:
    """With the axis the indices are of, unless this is the first."""
    axis = node.attrs["axis"]
    return _subscripted(node.op.latex, _axes((axis,)) if axis else "")


def _taken(node: Node) -> str:
    """With a colon for every axis before the one the indices are of."""
    return node.op.latex.replace("[", "[" + "{{:}}, " * node.attrs["axis"])


def _reshaped(node: Node) -> str:
    return _subscripted(node.op.latex, r"{\times}".join(map(str, node.shape)) or "()")


def _permuted(node: Node) -> str:
    """Axes in an order that is no matrix transpose."""
    axes = ",".join(map(str, node.attrs["axes"]))
    return rf"\operatorname{{{{transpose}}}}_{{{{{axes}}}}}({{0}})"


def _einsum(node: Node) -> str:
    subscripts = literal(node.attrs["subscripts"]).replace("{-}>", r"{\to}")
    return _subscripted(node.op.latex, subscripts)


_DETAILS: Mapping[str, Callable[[Node], str]] = {
    **dict.fromkeys(("sum", "mean", "var", "max", "min", "logsumexp"), _reduction),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum"), _along),
    **dict.fromkeys(("concatenate", "stack"), _joined),
    "take": _taken,
    "add_rows": _rows,
    "reshape": _reshaped,
    "transpose": _permuted,
    "einsum": _einsum,
}
