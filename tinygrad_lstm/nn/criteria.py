"""The losses as modules, for those who keep their settings in an object."""

from __future__ import annotations

import numpy as np

from ..tensor import Array, Tensor, TensorLike
from . import losses
from .module import Module

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
]


class _Loss(Module):
    """Settings are checked when given; the function records its own scope."""

    scope_name = ""

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in losses.REDUCTIONS:
            raise ValueError(f"reduction must be one of {losses.REDUCTIONS}, got {reduction!r}")
        self.reduction = reduction

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """`mse_loss` with a reduction of "mean", "sum" or "none"."""

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """input, target: one shape -> a scalar, or that shape."""
        return losses.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """`l1_loss` with a reduction of "mean", "sum" or "none"."""

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """input, target: one shape -> a scalar, or that shape."""
        return losses.l1_loss(input, target, self.reduction)


class HuberLoss(_Loss):
    """`huber_loss`; delta is where it turns from a parabola into a line."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"delta must be positive, got {delta!r}")
        self.delta = delta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """input, target: one shape -> a scalar, or that shape."""
        return losses.huber_loss(input, target, self.reduction, self.delta)


class BCEWithLogitsLoss(_Loss):
    """`binary_cross_entropy_with_logits` with fixed weights."""

    def __init__(
        self,
        weight: TensorLike | None = None,
        reduction: str = "mean",
        pos_weight: TensorLike | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight = _fixed(weight)
        self.pos_weight = _fixed(pos_weight)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """input, target: one shape -> a scalar, or that shape."""
        return losses.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class NLLLoss(_Loss):
    """`nll_loss` with fixed class weights."""

    def __init__(
        self,
        weight: TensorLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.weight = _fixed(weight)
        self.ignore_index = ignore_index

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """input: log p (N, C, ...); target: classes (N, ...) -> a scalar or (N, ...)."""
        return losses.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(_Loss):
    """`cross_entropy` with fixed class weights and label smoothing."""

    def __init__(
        self,
        weight: TensorLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if isinstance(label_smoothing, bool) or not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing!r}")
        self.weight = _fixed(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        """input: logits (N, C, ...); target: classes (N, ...) -> a scalar or (N, ...)."""
        return losses.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


def _fixed(weight: TensorLike | None) -> Array | None:
    """Weights of a loss are settings, not parameters."""
    return None if weight is None else np.array(weight)
