"""The table of primitives: one entry, one op.

A rule is `lambda g, out, *inputs, **attrs: ...` and gives one input's share of the cotangent `g`.
Rules use only what arrays and tensors have in common, and other ops of this table, so that they
run on arrays in a plain backward pass and record themselves when gradients of gradients are
wanted. Shapes are un-broadcast by the sweep, for elementwise ops alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import kernels
from .parallel import products
from .tensor import Array, Op, Rule

__all__ = ["OPS"]

OPS: dict[str, Op] = {}
"""Every primitive by name; tests, pictures, equations and the compiler all read this table."""


def _op(
    name: str,
    symbol: str,
    latex: str,
    forward: Callable[..., Any],
    *rules: Rule | None,
    precedence: int = 9,
    adds_into: Callable[..., None] | None = None,
) -> Op:
    op = Op(name, symbol, latex, forward, rules, precedence=precedence, adds_into=adds_into)
    return OPS.setdefault(name, op)


def _elementwise(
    name: str,
    symbol: str,
    latex: str,
    forward: Callable[..., Any],
    *rules: Rule | None,
    precedence: int = 9,
) -> Op:
    op = Op(name, symbol, latex, forward, rules, precedence=precedence, elementwise=True)
    return OPS.setdefault(name, op)


class _EachInput:
    """The rules of an op that takes any number of inputs: one rule, told the position."""

    def __init__(self, rule: Callable[[int], Rule]) -> None:
        self._rule = rule

    def __getitem__(self, position: int) -> Rule:
        return self._rule(position)


def _variadic(
    name: str, symbol: str, latex: str, forward: Callable[..., Any], rule: Callable[[int], Rule]
) -> Op:
    return OPS.setdefault(name, Op(name, symbol, latex, forward, _EachInput(rule)))


# -- shared steps of rules -------------------------------------------------------------------


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: sum `g` over the axes that `shape` lacks or has with size 1."""
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        k for k in range(extra, g.ndim) if shape[k - extra] == 1 and g.shape[k] != 1
    )
    total = SUM(g, axis=axes, keepdims=False) if axes else g
    return total if total.shape == shape else total.reshape(shape)


def _kept(value: Any, shape: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    """A reduction's result with the reduced axes put back as size 1."""
    return value.reshape(tuple(1 if k in axis else n for k, n in enumerate(shape)))


def _spread(g: Any, a: Any, axis: tuple[int, ...]) -> Any:
    if type(g) is np.ndarray and g.ndim == 0:  # the share of a loss: no need to put axes back
        return kernels.broadcast_to(g, a.shape)
    return BROADCAST_TO(_kept(g, a.shape, axis), shape=a.shape)


def _swap(a: Any) -> Any:
    return a.T if a.ndim == 2 else a.swapaxes(-1, -2)


def _count(a: Any, axis: tuple[int, ...]) -> int:
    return math.prod(a.shape[k] for k in axis)


# -- masks and casts -------------------------------------------------------------------------

GREATER = _elementwise("greater", ">", r"{0} > {1}", np.greater, precedence=0)
EQUAL = _elementwise("equal", "=", r"{0} = {1}", np.equal, precedence=0)
_elementwise("greater_equal", "≥", r"{0} \geq {1}", np.greater_equal, precedence=0)
_elementwise("not_equal", "≠", r"{0} \neq {1}", np.not_equal, precedence=0)
SIGN = _elementwise("sign", "sgn", r"\operatorname{{sgn}}({0})", np.sign)
WITHIN = _elementwise("within", "∈", r"[{low} \le {0} \le {high}]", kernels.within)
WHERE = _elementwise(
    "where",
    "?:",
    r"\operatorname{{where}}({0}, {1}, {2})",
    kernels.where,
    None,
    lambda g, out, c, a, b: WHERE(c, g, 0.0),
    lambda g, out, c, a, b: WHERE(c, 0.0, g),
)
ASTYPE = _elementwise(
    "astype", "cast", r"{0}", kernels.astype, lambda g, out, a, dtype: ASTYPE(g, dtype=a.dtype)
)

# -- arithmetic ------------------------------------------------------------------------------

ADD = _elementwise(
    "add",
    "+",
    r"{0} + {1}",
    np.add,
    lambda g, out, a, b: g,
    lambda g, out, a, b: g,
    precedence=1,
)
SUB = _elementwise(
    "sub",
    "-",
    r"{0} - {1}",
    np.subtract,
    lambda g, out, a, b: g,
    lambda g, out, a, b: -g,
    precedence=1,
)
MUL = _elementwise(
    "mul",
    "⊙",
    r"{0} \odot {1}",
    np.multiply,
    lambda g, out, a, b: g * b,
    lambda g, out, a, b: g * a,
    precedence=2,
)
DIV = _elementwise(
    "div",
    "÷",
    r"\frac{{{0}}}{{{1}}}",
    np.true_divide,
    lambda g, out, a, b: g / b,
    lambda g, out, a, b: -g * out / b,
)
NEG = _elementwise("neg", "-", r"-{0}", np.negative, lambda g, out, a: -g, precedence=2)


def _pow_base(g: Any, out: Any, a: Any, b: Any) -> Any:
    # b a^(b-1), with 0 at b = 0 even where a = 0
    constant = EQUAL(b, 0.0)
    return WHERE(constant, 0.0, g * b * a ** WHERE(constant, 1.0, b - 1.0))


def _pow_exponent(g: Any, out: Any, a: Any, b: Any) -> Any:
    # a^b log a, with its limit 0 at a = 0
    zero = EQUAL(a, 0.0)
    return WHERE(zero, 0.0, g * out * LOG(WHERE(zero, 1.0, a)))


POW = _elementwise(
    "pow", "^", r"{0}^{{{1}}}", np.power, _pow_base, _pow_exponent, precedence=4
)

# -- elementwise functions -------------------------------------------------------------------

EXP = _elementwise("exp", "exp", r"\exp({0})", np.exp, lambda g, out, a: g * out)
LOG = _elementwise("log", "log", r"\log({0})", np.log, lambda g, out, a: g / a)
SQRT = _elementwise("sqrt", "√", r"\sqrt{{{0}}}", np.sqrt, lambda g, out, a: g / (out + out))
ABS = _elementwise("abs", "|·|", r"\left|{0}\right|", np.absolute, lambda g, out, a: g * SIGN(a))
SIN = _elementwise("sin", "sin", r"\sin({0})", np.sin, lambda g, out, a: g * COS(a))
COS = _elementwise("cos", "cos", r"\cos({0})", np.cos, lambda g, out, a: -g * SIN(a))
TANH = _elementwise(
    "tanh", "tanh", r"\tanh({0})", np.tanh, lambda g, out, a: g * (1.0 - out * out)
)
SIGMOID = _elementwise(
    "sigmoid",
    "σ",
    r"\sigma({0})",
    kernels.sigmoid,
    lambda g, out, a: g * (out * (1.0 - out)),
)
RELU = _elementwise(
    "relu",
    "relu",
    r"\operatorname{{relu}}({0})",
    kernels.relu,
    lambda g, out, a: WHERE(GREATER(a, 0.0), g, 0.0),
)
SOFTPLUS = _elementwise(
    "softplus",
    "softplus",
    r"\operatorname{{softplus}}({0})",
    kernels.softplus,
    lambda g, out, a: g * SIGMOID(a),
)


def _share(g: Any, mine: Any, other: Any) -> Any:
    # where both are equal each gets half, as in PyTorch
    return WHERE(GREATER(mine, other), g, WHERE(EQUAL(mine, other), 0.5 * g, 0.0))


MAXIMUM = _elementwise(
    "maximum",
    "max",
    r"\max({0}, {1})",
    np.maximum,
    lambda g, out, a, b: _share(g, a, b),
    lambda g, out, a, b: _share(g, b, a),
)
MINIMUM = _elementwise(
    "minimum",
    "min",
    r"\min({0}, {1})",
    np.minimum,
    lambda g, out, a, b: _share(g, b, a),
    lambda g, out, a, b: _share(g, a, b),
)
CLIP = _elementwise(
    "clip",
    "clip",
    r"\operatorname{{clip}}({0}, {low}, {high})",
    kernels.clip,
    lambda g, out, a, low, high: WHERE(WITHIN(a, low=low, high=high), g, 0.0),
)
DROPOUT = _elementwise(
    "dropout",
    "dropout",
    r"\operatorname{{dropout}}({0})",
    lambda a, mask: a * mask,
    lambda g, out, a, mask: g * mask,
    None,
)

# -- shapes ----------------------------------------------------------------------------------

RESHAPE = _op(
    "reshape",
    "reshape",
    r"\operatorname{{reshape}}({0})",
    lambda a, shape: a.reshape(shape),
    lambda g, out, a, shape: g.reshape(a.shape),
)
TRANSPOSE = _op(
    "transpose",
    "⊤",
    r"{0}^\top",
    lambda a, axes: a.transpose(axes),
    lambda g, out, a, axes: g.transpose(tuple(int(k) for k in np.argsort(axes))),
    precedence=4,
)
BROADCAST_TO = _op(
    "broadcast_to",
    "broadcast",
    r"{0}",
    kernels.broadcast_to,
    lambda g, out, a, shape: sum_to(g, a.shape),
)
GETITEM = _op(
    "getitem",
    "[ ]",
    r"{0}[{index}]",
    lambda a, index: a[index],
    lambda g, out, a, index: SCATTER(g, index=index, shape=a.shape),
    adds_into=kernels.add_at,
)
SCATTER = _op(
    "scatter",
    "[ ]⁺",
    r"\operatorname{{scatter}}({0}, {index})",
    kernels.scatter,
    lambda g, out, a, index, shape: g[index],
)
TAKE = _op(
    "take",
    "take",
    r"{0}[{1}]",
    kernels.take,
    lambda g, out, a, indices, axis: ADD_ROWS(g, indices, axis=axis, shape=a.shape),
    None,
    adds_into=kernels.add_at_rows,
)
ADD_ROWS = _op(
    "add_rows",
    "[ ]⁺",
    r"\operatorname{{add\_rows}}({0}, {1})",
    kernels.add_rows,
    lambda g, out, a, indices, axis, shape: TAKE(g, indices, axis=axis),
    None,
)


def _concatenate_rule(position: int) -> Rule:
    def rule(g: Any, out: Any, *parts: Any, axis: int) -> Any:
        start = sum(part.shape[axis] for part in parts[:position])
        stop = start + parts[position].shape[axis]
        return g[(slice(None),) * axis + (slice(start, stop),)]

    return rule


CONCATENATE = _variadic(
    "concatenate",
    "concat",
    r"\operatorname{{concat}}({all})",
    lambda *parts, axis: np.concatenate(parts, axis),
    _concatenate_rule,
)
STACK = _variadic(
    "stack",
    "stack",
    r"\operatorname{{stack}}({all})",
    lambda *parts, axis: np.stack(parts, axis),
    lambda position: lambda g, out, *parts, axis: g[(slice(None),) * axis + (position,)],
)

# -- reductions: axis is a tuple of non-negative ints -----------------------------------------

SUM = _op(
    "sum",
    "Σ",
    r"\sum {0}",
    lambda a, axis, keepdims: np.add.reduce(a, axis=axis, keepdims=keepdims),
    lambda g, out, a, axis, keepdims: _spread(g, a, axis),
    precedence=2,
)
MEAN = _op(
    "mean",
    "mean",
    r"\operatorname{{mean}}({0})",
    lambda a, axis, keepdims: (
        np.add.reduce(a, axis=axis, keepdims=keepdims) * a.dtype.type(1.0 / _count(a, axis))
    ),
    lambda g, out, a, axis, keepdims: _spread(g * (1.0 / _count(a, axis)), a, axis),
)
VAR = _op(
    "var",
    "var",
    r"\operatorname{{var}}({0})",
    lambda a, axis, ddof, keepdims: np.var(a, axis=axis, ddof=ddof, keepdims=keepdims),
    lambda g, out, a, axis, ddof, keepdims: (
        _kept(g * (2.0 / (_count(a, axis) - ddof)), a.shape, axis)
        * (a - MEAN(a, axis=axis, keepdims=True))
    ),
)


def _extreme_rule(g: Any, out: Any, a: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    # elements that tie for the extreme share the gradient evenly
    mask = ASTYPE(EQUAL(a, _kept(out, a.shape, axis)), dtype=a.dtype)
    return mask * (_kept(g, a.shape, axis) / SUM(mask, axis=axis, keepdims=True))


MAX = _op(
    "max",
    "max",
    r"\max {0}",
    lambda a, axis, keepdims: np.max(a, axis=axis, keepdims=keepdims),
    _extreme_rule,
    precedence=2,
)
MIN = _op(
    "min",
    "min",
    r"\min {0}",
    lambda a, axis, keepdims: np.min(a, axis=axis, keepdims=keepdims),
    _extreme_rule,
    precedence=2,
)
def _finite_or_zero(out: Any) -> Any:
    # nothing but -inf has the logarithm -inf, and no gradient: exp(-inf - 0) is 0
    return WHERE(EQUAL(out, -np.inf), 0.0, out)


LOGSUMEXP = _op(
    "logsumexp",
    "log Σ exp",
    r"\log \sum \exp({0})",
    kernels.logsumexp,
    lambda g, out, a, axis, keepdims: (
        _kept(g, a.shape, axis) * EXP(a - _kept(_finite_or_zero(out), a.shape, axis))
    ),
)
SOFTMAX = _op(
    "softmax",
    "softmax",
    r"\operatorname{{softmax}}({0})",
    kernels.softmax,
    lambda g, out, a, axis: out * (g - SUM(g * out, axis=axis, keepdims=True)),
)
LOG_SOFTMAX = _op(
    "log_softmax",
    "log softmax",
    r"\log \operatorname{{softmax}}({0})",
    kernels.log_softmax,
    lambda g, out, a, axis: g - EXP(out) * SUM(g, axis=axis, keepdims=True),
)


def _reverse(a: Any, axis: int) -> Any:
    return a[(slice(None),) * axis + (slice(None, None, -1),)]


CUMSUM = _op(
    "cumsum",
    "Σ↓",
    r"\operatorname{{cumsum}}({0})",
    lambda a, axis: np.cumsum(a, axis=axis),
    lambda g, out, a, axis: _reverse(CUMSUM(_reverse(g, axis), axis=axis), axis),
)

# -- products --------------------------------------------------------------------------------


def _product(a: Any, b: Any) -> Any:
    return products.matmul(a, b) if isinstance(a, np.ndarray) else a @ b


def _matmul_left(g: Any, out: Any, a: Any, b: Any) -> Any:
    part = _product(g, _swap(b))
    return part if part.shape == a.shape else sum_to(part, a.shape)


def _matmul_right(g: Any, out: Any, a: Any, b: Any) -> Any:
    if b.ndim == 2:  # one weight for a whole batch: a single product
        return _product(_swap(_as_rows(a)), _as_rows(g))
    return sum_to(_product(_swap(a), g), b.shape)


def _as_rows(a: Any) -> Any:
    return a if a.ndim == 2 else a.reshape((math.prod(a.shape[:-1]), a.shape[-1]))


def _matmul_collect(uses: Sequence[tuple[Array, Array]]) -> Array:
    g, a = (
        _as_rows(side[0]) if len(side) == 1 else np.concatenate([_as_rows(part) for part in side])
        for side in zip(*uses, strict=True)
    )
    return products.matmul(a.T, g)


MATMUL = Op(
    "matmul",
    "@",
    r"{0} {1}",
    products.matmul,
    (_matmul_left, _matmul_right),
    precedence=3,
    collect=_matmul_collect,
)
OPS["matmul"] = MATMUL
"""Inputs have at least two axes; `functions.matmul` sees to vectors."""


def _others(axes: list[int], ndim: int) -> tuple[int, ...]:
    return tuple(k for k in range(ndim) if k not in axes)


def _einsum_rule(position: int) -> Rule:
    def rule(g: Any, out: Any, *operands: Any, subscripts: str) -> Any:
        terms, result = subscripts.split("->")
        inputs = terms.split(",")
        mine, shape = inputs[position], operands[position].shape
        others = [k for k in range(len(inputs)) if k != position]
        sizes = dict(zip(result, g.shape, strict=True))
        for k in others:
            for letter, n in zip(inputs[k], operands[k].shape, strict=True):
                sizes[letter] = max(n, sizes.get(letter, n))
        # left out: an index only this operand has, summed away, so that all its elements have
        # the same share; and one of size 1 here that was broadcast, so that its shares add up
        reached = [k for k, m in enumerate(mine) if sizes.get(m) == shape[k]]
        spec = ",".join([result, *(inputs[k] for k in others)]) + "->"
        spec += "".join(mine[k] for k in reached)
        part = EINSUM(g, *(operands[k] for k in others), subscripts=spec)
        if len(reached) == len(mine):
            return part
        return BROADCAST_TO(_kept(part, shape, _others(reached, len(shape))), shape=shape)

    return rule


EINSUM = _variadic(
    "einsum",
    "einsum",
    r"\operatorname{{einsum}}({all})",
    products.einsum,
    _einsum_rule,
)
