"""Tensors, ops and places in words: what error messages say of them, and errors of failed calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .context import Context, Place
from .errors import DTypeError, NonFiniteError, ShapeError
from .explain import reason

if TYPE_CHECKING:
    from .tensor import Array, Attrs, Node, Op, Tensor

__all__ = [
    "call_error",
    "check_finite",
    "describe",
    "describe_call",
    "describe_inputs",
    "describe_place",
]


def describe_place(place: Place) -> str:
    """`file:line` of a code object and instruction offset."""
    code, offset = place
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= offset < end and number is not None:
            line = number
    return f"{code.co_filename}:{line}"


def describe(t: Tensor) -> str:
    label = t.name or ("a leaf" if t.node is None else f"a result of {t.node.op.name}")
    return f"{label} {t.shape}"


def describe_call(op: Op, inputs: Sequence[Tensor], attrs: Attrs, context: Context) -> str:
    """`matmul in lstm/t=3/forget gate: h_{t-1} (8, 32) @ W_hf (64, 32)`, for error messages."""
    joint = f" {op.symbol} " if op.name in _INFIX else ", "
    details = "".join(f", {key}={_brief(value)}" for key, value in attrs.items())
    return describe_inputs(op.name, inputs, context, joint) + details


def describe_inputs(
    caller: str, inputs: Sequence[Tensor], context: Context, joint: str = ", "
) -> str:
    """`softmax in attention: scores (8, 32)`."""
    where = " in " + "/".join(context.names()) if context.scope is not None else ""
    shapes = joint.join(f"{t.name} {t.shape}" if t.name else str(t.shape) for t in inputs)
    return f"{caller}{where}: {shapes}"


_INFIX = frozenset(("add", "sub", "mul", "div", "pow", "matmul"))


def _brief(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_brief(part) for part in value) + ",)"[len(value) != 1 :]
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array {value.shape}" if value.ndim else repr(value.item())
    if isinstance(value, slice):
        ends = [value.start, value.stop] + ([] if value.step is None else [value.step])
        return ":".join("" if k is None else str(k) for k in ends)
    return "..." if value is Ellipsis else repr(value)


def call_error(
    error: Exception, op: Op, inputs: Sequence[Tensor], attrs: Attrs, context: Context
) -> Exception:
    """What to raise when NumPy refused a call: of our kinds, in our words where we know better."""
    kind = ShapeError
    if isinstance(error, IndexError):
        kind = IndexError
    elif isinstance(error, TypeError | OverflowError):
        kind = DTypeError
    why = reason(op.name, [t._data for t in inputs], attrs) or str(error).strip()
    return kind(f"{describe_call(op, inputs, attrs, context)}: {why}")


def check_finite(node: Node, value: Array, phase: str = "") -> None:
    """Raise NonFiniteError if `value`, made by `node`, holds a NaN or infinity."""
    if value.dtype.kind != "f" or np.isfinite(value).all():
        return
    is_nan = np.isnan(value)
    what, found = ("NaN", is_nan) if is_nan.any() else ("infinity", np.isinf(value))
    index = tuple(int(k) for k in np.argwhere(found)[0])
    call = describe_call(node.op, node.inputs, {}, node.context)
    several = node.op.pullback is not None  # results, of which any may be meant
    label = f" -> {node.name}" if node.name and not several else ""
    phase = phase or ("backward of " if node.is_backward else "")
    given = [t for t in node.inputs if t.dtype.kind == "f" and not np.isfinite(t._data).all()]
    blame = "; not finite already: " + ", ".join(map(describe, given)) if given else ""
    inside = "; unroll=True tells which op" if several else ""
    raise NonFiniteError(
        f"{what} at index {index} from {phase}{call}{label} ({node.where}){blame}{inside}"
    )
