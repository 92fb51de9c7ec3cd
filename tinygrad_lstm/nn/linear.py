"""Layers without time: Linear, Embedding, LayerNorm, Dropout, and the plain nonlinearities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functions as F
from ..errors import ShapeError
from ..ops import OPS
from ..random import Rng, default_rng, resolve_rng
from ..tensor import Parameter, Tensor, TensorLike
from . import _checks, init
from .module import Module

__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "ReLU", "Sigmoid", "Tanh"]


class Linear(Module):
    """y = x W^T + b.

    x: (..., in_features). Result: (..., out_features). `weight` is (out_features, in_features),
    `bias` (out_features,) or None; both start uniform on ±1/sqrt(in_features).
    Raises ShapeError for an x with another last axis.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
        rng: Rng = None,
    ) -> None:
        self.in_features = _checks.size("in_features", in_features)
        self.out_features = _checks.size("out_features", out_features)
        kind, rng = _checks.float_dtype(dtype), resolve_rng(rng)
        bound = 1.0 / math.sqrt(self.in_features)
        self.weight = Parameter(np.empty((self.out_features, self.in_features), kind))
        init.uniform_(self.weight, -bound, bound, rng)
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(np.empty(self.out_features, kind))
            init.uniform_(self.bias, -bound, bound, rng)

    def forward(self, x: TensorLike) -> Tensor:
        """x: (..., in_features) -> (..., out_features)."""
        shape = np.shape(x)
        if not shape or shape[-1] != self.in_features:
            raise ShapeError(f"Linear: x must be (..., {self.in_features}), got {shape}")
        y = F.matmul(x, self.weight.T)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        plain = "" if self.bias is not None else ", bias=False"
        return f"{self.in_features}, {self.out_features}{plain}"


class Embedding(Module):
    """Rows of a table, by number.

    indices: integers (...) from 0 to num_embeddings - 1. Result: (..., embedding_dim). `weight` is
    (num_embeddings, embedding_dim), standard normal. padding_idx: a row that starts at zero and
    gets no gradient. Raises DTypeError for indices that are not integers, IndexError for one out
    of range.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = None,
        rng: Rng = None,
    ) -> None:
        self.num_embeddings = rows = _checks.size("num_embeddings", num_embeddings)
        self.embedding_dim = _checks.size("embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not -rows <= padding_idx < rows:
                raise ValueError(f"padding_idx must be in [{-rows}, {rows}), got {padding_idx}")
            padding_idx %= rows
        self.padding_idx = padding_idx
        shape = (rows, self.embedding_dim)
        table = resolve_rng(rng).standard_normal(shape).astype(_checks.float_dtype(dtype))
        if padding_idx is not None:
            table[padding_idx] = 0.0
        self.weight = Parameter(table)

    def forward(self, indices: TensorLike) -> Tensor:
        """indices: (...) -> (..., embedding_dim)."""
        given = indices if isinstance(indices, Tensor) else np.asarray(indices)
        numbers = given._data if isinstance(given, Tensor) else given
        if numbers.dtype.kind in "iu" and numbers.size and numbers.min() < 0:
            raise IndexError(
                f"Embedding: indices must be from 0 to {self.num_embeddings - 1}, "
                f"got {numbers.min()}"
            )
        rows = F.embedding(indices, self.weight)
        if self.padding_idx is None:
            return rows
        padding = OPS["equal"](given, self.padding_idx)[..., np.newaxis]
        return F.where(padding, rows.detach(), rows)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) ⊙ weight + bias, over the last axes.

    normalized_shape: the size of the last axis, or the sizes of several. x: (..., *shape).
    elementwise_affine: whether there are a `weight` (ones) and a `bias` (zeros) of that shape.
    Source: Ba, Kiros & Hinton, "Layer Normalization", 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        shape = tuple(_checks.size("normalized_shape", n) for n in sizes)
        if not shape:
            raise ValueError("normalized_shape must name at least one axis, got ()")
        if not eps >= 0:
            raise ValueError(f"eps must not be negative, got {eps!r}")
        self.normalized_shape = shape
        self.eps = float(eps)
        kind = _checks.float_dtype(dtype)
        self.weight = Parameter(np.ones(shape, kind)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape, kind)) if elementwise_affine else None
        self._axes = tuple(range(-len(shape), 0))

    def forward(self, x: TensorLike) -> Tensor:
        """x: (..., *normalized_shape) -> the same shape."""
        shape = self.normalized_shape
        if np.shape(x)[-len(shape) :] != shape:
            expected = ", ".join(map(str, shape))
            raise ShapeError(f"LayerNorm: x must be (..., {expected}), got {np.shape(x)}")
        x = x if isinstance(x, Tensor) else Tensor(x)
        centred = x - x.mean(self._axes, keepdims=True)
        variance = (centred * centred).mean(self._axes, keepdims=True)
        y = centred / (variance + self.eps).sqrt()
        return y if self.weight is None or self.bias is None else y * self.weight + self.bias

    def extra_repr(self) -> str:
        plain = "" if self.weight is not None else ", elementwise_affine=False"
        sizes = self.normalized_shape
        return f"{sizes[0] if len(sizes) == 1 else sizes}, eps={self.eps:g}{plain}"


class Dropout(Module):
    """In training, each element becomes 0 with probability p and the others grow by 1 / (1 - p).

    rng: a generator or a seed of its own; None draws from the generator `manual_seed` sets.
    Raises ValueError unless 0 <= p < 1. Source: Srivastava et al., "Dropout", JMLR 2014.
    """

    scope_name = ""

    def __init__(self, p: float = 0.5, *, rng: Rng = None) -> None:
        self.p = _checks.fraction("p", p)
        self._rng = None if rng is None else resolve_rng(rng)

    def forward(self, x: TensorLike) -> Tensor:
        """x: any shape -> the same shape."""
        rng = default_rng() if self._rng is None else self._rng
        return F.dropout(x, self.p, training=self.training, rng=rng)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class ReLU(Module):
    """max(x, 0), to stand in a Sequential."""

    scope_name = ""

    def forward(self, x: TensorLike) -> Tensor:
        """x: any shape -> the same shape."""
        return F.relu(x)


class Sigmoid(Module):
    """σ(x) = 1 / (1 + exp(-x)), to stand in a Sequential."""

    scope_name = ""

    def forward(self, x: TensorLike) -> Tensor:
        """x: any shape -> the same shape."""
        return F.sigmoid(x)


class Tanh(Module):
    """tanh(x), to stand in a Sequential."""

    scope_name = ""

    def forward(self, x: TensorLike) -> Tensor:
        """x: any shape -> the same shape."""
        return F.tanh(x)
