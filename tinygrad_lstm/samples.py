"""A sample of every op in the table: a function of float64 arrays, away from kinks.

The tests run them all, and so does `tinygrad-lstm check`.

What a sample's function closes over (indices, masks, axes) is no input, for nothing is
differentiated with respect to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_lstm as tg
from tinygrad_lstm import OPS, Tensor

RNG = np.random.default_rng(20240229)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """One call that records `op`; `differentiable` is False for masks, which stop gradients."""

    op: str
    label: str
    f: Callable[..., Tensor]
    inputs: tuple[Array, ...]
    differentiable: bool = True

    def tensors(self, dtype: type = np.float64) -> list[Tensor]:
        """Leaves that require a gradient, with the inputs' values."""
        return [Tensor(a.astype(dtype), requires_grad=True) for a in self.inputs]

    def __str__(self) -> str:
        return f"{self.op}: {self.label}" if self.label else self.op


def normal(*shape: int) -> Array:
    """Any real numbers."""
    return RNG.normal(size=shape)


def positive(*shape: int) -> Array:
    """Numbers in (0.5, 2)."""
    return RNG.uniform(0.5, 2.0, size=shape)


def apart(*shape: int) -> Array:
    """Numbers of either sign, none near 0 or near another: away from every kink and tie."""
    count = int(np.prod(shape))
    values = 0.25 + 0.25 * RNG.permutation(count)
    return (values * RNG.choice([-1.0, 1.0], count)).reshape(shape)


def _split_sum(a: Tensor) -> Tensor:
    first, second = tg.split(a, [1], axis=1)
    return first * second.sum()


REPEATED = np.array([0, 2, 2, 0, 2])
GRID = np.array([[0, 1], [1, -1]])
MASK = np.array([[True, False, True], [False, False, True]])
MEMORY = np.array([[True, False], [False, False], [True, True]])

SAMPLES: list[Sample] = []


def _sample(op: str, f: Callable[..., Tensor], *inputs: Array, label: str = "") -> None:
    SAMPLES.append(Sample(op, label, f, inputs))


def _stops(op: str, f: Callable[..., Tensor], *inputs: Array) -> None:
    SAMPLES.append(Sample(op, "", f, inputs, differentiable=False))


# -- arithmetic -----------------------------------------------------------------------------------

for _name in ("add", "sub", "mul"):
    _f = getattr(tg, _name)
    _sample(_name, _f, normal(2, 3), normal(2, 3))
    _sample(_name, _f, normal(2, 1, 3), normal(2, 1), label="broadcast")
    _sample(_name, _f, normal(), normal(3), label="scalar and vector")
_sample("mul", lambda a: a * a, normal(3), label="by itself")
_sample("add", lambda a: 2.0 + a + 1, normal(3), label="numbers")
_sample("sub", lambda a: 2.0 - a, normal(3), label="from a number")
_sample("div", tg.div, normal(2, 3), positive(2, 3))
_sample("div", tg.div, normal(3), positive(2, 1), label="broadcast")
_sample("div", lambda a: 1.0 / a, positive(3), label="a number by a tensor")
_sample("neg", tg.neg, normal(2, 3))
_sample("pow", tg.pow, positive(2, 3), normal(2, 3))
_sample("pow", tg.pow, positive(2, 1), normal(3), label="broadcast")
_sample("pow", lambda a: a**3, normal(4), label="a cube of either sign")
_sample("pow", lambda a: a**-2, apart(4), label="a negative integer")
_sample("pow", lambda a: a**0, normal(4), label="zero exponent")
_sample("pow", lambda a: a**1, normal(4), label="exponent one")
_sample("pow", lambda b: 2.0**b, normal(4), label="a number to a tensor")
_sample("pow", lambda a: a**2, np.array([0.0, 1.0]), label="the square of zero")

# -- elementwise functions ------------------------------------------------------------------------

for _name in ("exp", "sin", "cos", "tanh", "sigmoid", "softplus"):
    _sample(_name, getattr(tg, _name), normal(2, 3))
    _sample(_name, getattr(tg, _name), normal(), label="no axes")
_sample("log", tg.log, positive(2, 3))
_sample("sqrt", tg.sqrt, positive(2, 3))
_sample("abs", tg.abs, apart(2, 3))
_sample("relu", tg.relu, apart(2, 3))
_sample("maximum", tg.maximum, apart(2, 3), apart(2, 3) + 0.1)
_sample("maximum", tg.maximum, apart(3), apart(2, 1) + 0.1, label="broadcast")
_sample("minimum", tg.minimum, apart(2, 3), apart(2, 3) + 0.1)
_sample("minimum", tg.minimum, apart(3), apart(2, 1) + 0.1, label="broadcast")
_sample("clip", lambda a: tg.clip(a, -0.6, 0.9), apart(2, 3))
_sample("clip", lambda a: tg.clip(a, min=-0.6), apart(2, 3), label="from below alone")
_sample("where", lambda a, b: tg.where(MASK, a, b), normal(2, 3), normal(2, 3))
_sample("where", lambda a, b: tg.where(MASK, a, b), normal(3), normal(2, 1), label="broadcast")
_sample("dropout", lambda a: tg.dropout(a, 0.4, rng=5), normal(3, 4))
_sample("astype", lambda a: OPS["astype"](a, dtype=a.dtype), normal(2, 3))

# -- shapes ---------------------------------------------------------------------------------------

_sample("reshape", lambda a: a.reshape(3, -1), normal(2, 3))
_sample("reshape", lambda a: a.squeeze(1).unsqueeze(0), normal(2, 1), label="squeeze, unsqueeze")
_sample("reshape", lambda a: a.reshape(()), normal(1, 1), label="to no axes")
_sample("transpose", lambda a: a.T, normal(2, 3))
_sample("transpose", lambda a: a.transpose(2, 0, 1), normal(2, 3, 2), label="three axes")
_sample("transpose", lambda a: a.swapaxes(-1, 0), normal(2, 3, 2), label="swapaxes")
_sample("broadcast_to", lambda a: a.broadcast_to((2, 3, 2)), normal(3, 1))
_sample("getitem", lambda a: a[1:, ::-2], normal(3, 4), label="slices")
_sample("getitem", lambda a: a[REPEATED], normal(3, 2), label="repeated integers")
_sample("getitem", lambda a: a[None, ..., 1], normal(3, 2), label="None and ellipsis")
_sample("getitem", lambda a: a[MASK], normal(2, 3), label="mask")
_sample("getitem", lambda a: a[GRID, 1:], normal(2, 3), label="integers and slice")
_sample("getitem", _split_sum, normal(2, 3), label="split")
_sample("scatter", lambda a: OPS["scatter"](a, index=REPEATED, shape=(3, 2)), normal(5, 2))
_sample("take", lambda a: tg.take(a, GRID, axis=1), normal(2, 3))
_sample("take", lambda a: tg.embedding(REPEATED, a), normal(3, 2), label="embedding")
_sample(
    "add_rows",
    lambda a: OPS["add_rows"](a, Tensor(REPEATED), axis=0, shape=(4, 2)),
    normal(5, 2),
)
_sample(
    "concatenate",
    lambda a, b, c: tg.concatenate([a, b, c], axis=1),
    *(normal(2, 1), normal(2, 3), normal(2, 2)),
)
_sample("stack", lambda a, b: tg.stack([a, b, a], axis=1), normal(2, 3), normal(2, 3))

# -- reductions -----------------------------------------------------------------------------------

for _name in ("sum", "mean", "var", "logsumexp"):
    _f = getattr(tg, _name)
    _sample(_name, _f, normal(2, 3))
    _sample(_name, lambda a, f=_f: f(a, axis=1), normal(2, 3), label="one axis")
    _sample(_name, lambda a, f=_f: f(a, axis=(0, -1), keepdims=True), normal(2, 3, 2), label="two")
_sample("var", lambda a: tg.var(a, axis=0, ddof=1), normal(3, 2), label="unbiased")
for _name in ("max", "min"):
    _f = getattr(tg, _name)
    _sample(_name, _f, apart(2, 3))
    _sample(_name, lambda a, f=_f: f(a, axis=(0, 2)), apart(2, 3, 2), label="two axes")
_sample("softmax", tg.softmax, normal(2, 3))
_sample("softmax", lambda a: tg.softmax(a, axis=0), normal(2, 3), label="first axis")
_sample("log_softmax", tg.log_softmax, normal(2, 3))
_sample("log_softmax", lambda a: tg.log_softmax(a, axis=(0, 1)), normal(2, 3), label="two axes")
_sample("cumsum", lambda a: tg.cumsum(a, axis=1), normal(2, 3))
_sample("cumsum", tg.cumsum, normal(2, 3), label="laid flat")

# -- products -------------------------------------------------------------------------------------

_sample("matmul", tg.matmul, normal(2, 3), normal(3, 2))
_sample("matmul", tg.matmul, normal(3), normal(3), label="vectors")
_sample("matmul", tg.matmul, normal(3), normal(2, 3, 2), label="vector and batch")
_sample("matmul", tg.matmul, normal(2, 2, 3), normal(3, 2), label="batch and one matrix")
_sample("matmul", tg.matmul, normal(2, 1, 2, 3), normal(2, 3, 1), label="broadcast batches")
_sample("einsum", lambda a, b: tg.einsum("ij,jk->ik", a, b), normal(2, 3), normal(3, 2))
_sample("einsum", lambda a: tg.einsum("ii->i", a), normal(3, 3), label="diagonal")
_sample("einsum", lambda a: tg.einsum("ijk->j", a), normal(2, 3, 2), label="summed out")
_sample(
    "einsum",
    lambda a, b, c: tg.einsum("bi,ij,bj->b", a, b, c),
    *(normal(2, 2), normal(2, 3), normal(2, 3)),
    label="three operands",
)
_sample(
    "einsum",
    lambda a, b: tg.einsum("...ij,...jk->...ik", a, b),
    *(normal(1, 2, 3), normal(2, 3, 1)),
    label="broadcast ellipsis",
)

# -- masks: no rule, so no gradient passes --------------------------------------------------------

_stops("greater", lambda a, b: OPS["greater"](a, b), apart(3), apart(3) + 0.1)
_stops("greater_equal", lambda a, b: OPS["greater_equal"](a, b), apart(3), apart(3) + 0.1)
_stops("equal", lambda a, b: OPS["equal"](a, b), apart(3), apart(3) + 0.1)
_stops("not_equal", lambda a, b: OPS["not_equal"](a, b), apart(3), apart(3) + 0.1)
_stops("sign", lambda a: OPS["sign"](a), apart(3))
_stops("within", lambda a: OPS["within"](a, low=-0.6, high=0.9), apart(3))
