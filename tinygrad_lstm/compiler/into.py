"""Ops by functions that write into memory which is already there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels
from ..parallel import products
from ..tensor import Array
from .graph import Graph, Instruction

__all__ = ["IN_PLACE", "into"]


def _where(condition: Array, a: Array, b: Array, out: Array) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=condition)


def _scatter(g: Array, out: Array, index: Any, shape: tuple[int, ...]) -> None:
    out.fill(0)
    kernels.add_at(out, g, index)


def _sum(a: Array, out: Array, axis: tuple[int, ...], keepdims: bool) -> None:
    np.add.reduce(a, axis=axis, keepdims=keepdims, out=out)


def _negative(a: Array, out: Array) -> None:
    """-a. NumPy's own reads the wrong numbers of a float64 column into another (2.4.6, AVX-512)."""
    np.multiply(a, -1.0, out)


def _maximum(a: Array, b: Array, out: Array) -> None:
    np.maximum(a, b, out=out)


def _minimum(a: Array, b: Array, out: Array) -> None:
    np.minimum(a, b, out=out)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "neg": _negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sign": np.sign,
    "maximum": _maximum,
    "minimum": _minimum,
    "dropout": np.multiply,
    "sigmoid": kernels.sigmoid_into,
}

_INTO: dict[str, Callable[..., Any]] = {
    **_ELEMENTWISE,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "where": _where,
    "scatter": _scatter,
    "sum": _sum,
}

IN_PLACE = frozenset(_ELEMENTWISE)
"""Ops whose functions may write over what they read."""


def into(i: Instruction, graph: Graph) -> Callable[..., Any] | None:
    """The function that writes the instruction's result into its last positional argument."""
    if i.op.name == "matmul":
        left, right = (len(graph.spec(v).shape) for v in i.inputs)
        return products.matmul_into if left > right == 2 else np.matmul
    return _INTO.get(i.op.name)
