"""Limit gradients before a step, against the exploding gradients of long sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..parallel.products import dot
from ..tensor import Array, Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients alike so that their norm, taken together, is at most `max_norm`.

    norm_type: the p of the norm; `math.inf` for the largest magnitude. Returns the norm before.
    A gradient is scaled by max_norm / (norm + 1e-6) where that is below 1. Raises ValueError for
    a negative max_norm, a norm_type that is not positive, or, with error_if_nonfinite, a NaN or
    infinite norm. Source: Pascanu et al., ICML 2013.
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must not be negative, got {max_norm!r}")
    if not norm_type > 0:
        raise ValueError(f"norm_type must be positive, got {norm_type!r}")
    having = _with_gradients(parameters)
    norms = [_norm(g.data, norm_type) for _, g in having]
    total = _norm(np.array(norms, np.float64), norm_type)
    if error_if_nonfinite and not math.isfinite(total):
        raise ValueError(f"clip_grad_norm_: the norm of the gradients is {total}")
    scale = max_norm / (total + 1e-6)
    if not scale >= 1.0:  # also for a NaN, which must not go unnoticed
        with np.errstate(invalid="ignore"):
            for p, g in having:
                p.grad = Tensor(g.data * scale)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value].

    Raises ValueError for a negative clip_value.
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_value must not be negative, got {clip_value!r}")
    for p, g in _with_gradients(parameters):
        p.grad = Tensor(np.clip(g.data, -float(clip_value), float(clip_value)))


def _with_gradients(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    many = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for k, p in enumerate(many):
        if not isinstance(p, Tensor):
            raise TypeError(f"parameters[{k}]: expected a Tensor, got {type(p).__name__}")
    return [(p, p.grad) for p in many if p.grad is not None]


def _norm(values: Array, order: float) -> float:
    flat = values.reshape(-1)
    if flat.size == 0:
        return 0.0
    if order == math.inf:
        return float(np.abs(flat).max())
    if order == 2.0:
        with np.errstate(over="ignore", invalid="ignore"):
            square = dot(flat, flat)
        if math.isfinite(square) and square > 0.0:
            return math.sqrt(square)
    flat = np.abs(flat, dtype=np.float64)  # squares of what float32 holds can be beyond it
    largest = float(flat.max())
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * float(np.sum((flat / largest) ** order) ** (1.0 / order))
