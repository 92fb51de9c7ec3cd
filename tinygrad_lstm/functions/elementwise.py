"""Functions of each element: arithmetic, activations, limits, choices, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..context import CONTEXT
from ..errors import DTypeError
from ..operands import as_float, as_tensor, call_of, float_pair, pair
from ..ops import OPS
from ..random import Rng, resolve_rng
from ..tensor import Array, Tensor, TensorLike, constant, record

__all__ = [
    "abs",
    "add",
    "astype",
    "clip",
    "cos",
    "div",
    "dropout",
    "exp",
    "log",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "pow",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "sub",
    "tanh",
    "where",
]

_ADD, _SUB, _MUL, _DIV, _POW, _NEG = (OPS[k] for k in ("add", "sub", "mul", "div", "pow", "neg"))
_SIGMOID, _TANH = OPS["sigmoid"], OPS["tanh"]


# -- arithmetic -------------------------------------------------------------------------------


def add(a: TensorLike, b: TensorLike) -> Tensor:
    """a + b, broadcast."""
    return record(_ADD, pair(a, b))


def sub(a: TensorLike, b: TensorLike) -> Tensor:
    """a - b, broadcast."""
    return record(_SUB, pair(a, b))


def mul(a: TensorLike, b: TensorLike) -> Tensor:
    """a ⊙ b, elementwise, broadcast."""
    return record(_MUL, pair(a, b))


def div(a: TensorLike, b: TensorLike) -> Tensor:
    """a / b, broadcast; integers become float32."""
    return record(_DIV, float_pair(a, b))


def pow(a: TensorLike, b: TensorLike) -> Tensor:
    """a ** b, broadcast. The gradient in b is a^b log a, and 0 at a = 0."""
    a, b = pair(a, b)
    if a._data.dtype.kind != "f" and (b._data < 0).any():
        a, b = as_float(a), as_float(b)
    return record(_POW, (a, b))


def neg(x: TensorLike) -> Tensor:
    """-x."""
    return record(_NEG, (as_tensor(x),))


# -- elementwise functions --------------------------------------------------------------------


def exp(x: TensorLike) -> Tensor:
    """e ** x."""
    return record(OPS["exp"], (as_float(x),))


def log(x: TensorLike) -> Tensor:
    """Natural logarithm."""
    return record(OPS["log"], (as_float(x),))


def sqrt(x: TensorLike) -> Tensor:
    """Square root."""
    return record(OPS["sqrt"], (as_float(x),))


def abs(x: TensorLike) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return record(OPS["abs"], (as_tensor(x),))


def sin(x: TensorLike) -> Tensor:
    """Sine of an angle in radians."""
    return record(OPS["sin"], (as_float(x),))


def cos(x: TensorLike) -> Tensor:
    """Cosine of an angle in radians."""
    return record(OPS["cos"], (as_float(x),))


def tanh(x: TensorLike) -> Tensor:
    """Hyperbolic tangent, in (-1, 1)."""
    return record(_TANH, (as_float(x),))


def sigmoid(x: TensorLike) -> Tensor:
    """1 / (1 + exp(-x)), in (0, 1)."""
    return record(_SIGMOID, (as_float(x),))


def relu(x: TensorLike) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return record(OPS["relu"], (as_tensor(x),))


def softplus(x: TensorLike) -> Tensor:
    """log(1 + exp(x))."""
    return record(OPS["softplus"], (as_float(x),))


def maximum(a: TensorLike, b: TensorLike) -> Tensor:
    """The larger of each pair, broadcast; where equal, each gets half of the gradient."""
    return record(OPS["maximum"], pair(a, b))


def minimum(a: TensorLike, b: TensorLike) -> Tensor:
    """The smaller of each pair, broadcast; where equal, each gets half of the gradient."""
    return record(OPS["minimum"], pair(a, b))


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x limited to [min, max]; the gradient passes inside and at the borders.

    min, max: None for no limit, numbers, or tensors, which broadcast and get gradients as in
    `maximum` and `minimum`. Where min > max the result is max. Raises ValueError if both are None.
    """
    if min is None and max is None:
        raise ValueError("clip: needs min, max or both")
    if not (_number_or_none(min) and _number_or_none(max)):
        above = x if min is None else maximum(x, min)
        return as_tensor(above) if max is None else minimum(above, max)
    x = as_tensor(x)
    if any(isinstance(bound, float | np.floating) for bound in (min, max)):
        x = as_float(x)
    to: Any = float if x._data.dtype.kind == "f" else int
    low, high = (None if bound is None else to(bound) for bound in (min, max))
    return record(OPS["clip"], (x,), {"low": low, "high": high})


def _number_or_none(bound: object) -> bool:
    return bound is None or isinstance(bound, int | float | np.number)


def where(condition: TensorLike, a: TensorLike, b: TensorLike) -> Tensor:
    """a where the condition holds, else b; all three broadcast. condition: booleans."""
    if not isinstance(condition, Tensor):
        condition = Tensor(np.asarray(condition))
    if condition._data.dtype.kind != "b":
        raise DTypeError(
            f"{call_of('where', condition)}: condition must be boolean, got {condition.dtype}"
        )
    return record(OPS["where"], (condition, *pair(a, b)))


def astype(x: TensorLike, dtype: Any) -> Tensor:
    """x in another dtype; the gradient comes back in x's own."""
    x = as_tensor(x)
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{call_of('astype', x)}: expected a NumPy dtype, got {dtype!r}") from None
    if wanted.kind not in "fiub":
        raise DTypeError(f"{call_of('astype', x)}: expected a real or boolean dtype, got {wanted}")
    if wanted.kind != "f" and x._requires_grad:
        x = x.detach()
    return x if x._data.dtype == wanted else record(OPS["astype"], (x,), {"dtype": wanted})


def dropout(
    x: TensorLike,
    p: float = 0.5,
    *,
    training: bool = True,
    rng: Rng = None,
) -> Tensor:
    """Zero each element with probability p and scale the others by 1 / (1 - p).

    rng: a NumPy generator, a seed, or None for the one `manual_seed` sets. Outside training, x
    itself. Raises ValueError unless 0 <= p < 1. Source: Srivastava et al., "Dropout", JMLR 2014.
    """
    x = as_float(x)
    if not 0.0 <= p < 1.0:
        raise ValueError(f"dropout: p must be in [0, 1), got {p}")
    if not training or p == 0.0:
        return x
    shape, dtype = x.shape, x.dtype

    def draw() -> Array:
        return (resolve_rng(rng).random(shape) >= p).astype(dtype) / dtype.type(1.0 - p)

    tracer = CONTEXT.get().tracer
    mask = constant(draw(), x) if tracer is None else tracer.drawn(draw, x, rng)
    return record(OPS["dropout"], (x, mask))
