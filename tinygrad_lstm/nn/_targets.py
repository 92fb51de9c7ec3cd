"""Target classes of a loss, checked once: how to pick by them, weigh, and average.

Knows nothing of any loss but its name, for the errors.
"""

from __future__ import annotations

import numpy as np

from .. import functions as F
from ..errors import DTypeError, ShapeError
from ..tensor import Array, Tensor, TensorLike

__all__ = ["REDUCTIONS", "TargetClasses", "reduced"]

REDUCTIONS = ("mean", "sum", "none")
"""What to do with the elements' losses."""


class TargetClasses:
    """The target classes of a batch, checked: how to pick by them, weigh and average."""

    def __init__(
        self,
        loss: str,
        log_p: Tensor,
        target: TensorLike,
        weight: TensorLike | None,
        ignore_index: int,
    ) -> None:
        self.loss = loss
        count = log_p.shape[0 if log_p.ndim == 1 else 1]
        classes = _class_numbers(loss, target)
        expected = () if log_p.ndim == 1 else (log_p.shape[0], *log_p.shape[2:])
        if classes.shape != expected:
            raise ShapeError(
                f"{loss}: target must have shape {expected} for an input of {log_p.shape}, "
                f"got {classes.shape}"
            )
        counted = classes != ignore_index
        self.all_counted = bool(counted.all())
        if not self.all_counted:
            classes = np.where(counted, classes, 0)
        if classes.size and (classes.min() < 0 or classes.max() >= count):
            worst = classes.min() if classes.min() < 0 else classes.max()
            raise IndexError(f"{loss}: target class {worst} is not among {count} classes")
        self.counted: Array = counted
        self.classes: Array = classes
        self.ndim = log_p.ndim
        self.weight: Array | None = None
        self.weights: Array | None = None  # of each target
        if weight is not None:
            self.weight = np.asarray(weight, log_p.dtype)
            if self.weight.shape != (count,):
                raise ShapeError(
                    f"{loss}: weight must have shape ({count},), got {self.weight.shape}"
                )
            self.weights = np.asarray(np.where(counted, self.weight[classes], 0.0), log_p.dtype)

    def pick(self, log_p: Tensor) -> Tensor:
        """The log-probability of each target: input (N, C, ...) -> (N, ...)."""
        if self.ndim == 1:
            return log_p[int(self.classes)]
        sizes = self.classes.shape
        axes = [np.arange(n).reshape((-1,) + (1,) * k) for k, n in enumerate(reversed(sizes))]
        batch, *rest = reversed(axes)
        return log_p[(batch, self.classes, *rest)]

    def kept(self, loss: Tensor) -> Tensor:
        """Zero where the target is ignored, whatever stands there."""
        return loss if self.all_counted else F.where(self.counted, loss, 0.0)

    def weighted(self, loss: Tensor) -> Tensor:
        """Each target's loss times its class weight."""
        loss = self.kept(loss)
        return loss if self.weights is None else loss * self.weights

    def weighted_along(self, log_p: Tensor, axis: int) -> Tensor:
        """Every class's log-probability times its weight."""
        if self.weight is None:
            return log_p
        return log_p * self.weight.reshape((-1,) + (1,) * (self.ndim - 1 - axis))

    def reduced(self, loss: Tensor, reduction: str) -> Tensor:
        """The sum over targets, by the sum of their weights for the mean."""
        if reduction != "mean":
            return reduced(self.loss, loss, reduction)
        if self.weights is None and self.all_counted and loss.size:
            return loss.mean()
        total = float(self.counted.sum() if self.weights is None else self.weights.sum())
        if total == 0.0:
            raise ValueError(
                f"{self.loss}: no target counts for the mean; all {loss.size} are ignored or have "
                "weight 0"
            )
        return loss.sum() / total


def _class_numbers(loss: str, target: TensorLike) -> Array:
    classes = target.data if isinstance(target, Tensor) else np.asarray(target)
    if classes.dtype.kind not in "iu":
        if classes.size:
            raise DTypeError(
                f"{loss}: target must hold class numbers, got {classes.dtype}; a list or an array "
                "of integers keeps them whole, and so does tensor(..., dtype=int)"
            )
        classes = classes.astype(np.intp)
    return classes.astype(np.intp, copy=False)


def reduced(loss: str, values: Tensor, reduction: str) -> Tensor:
    """Each element's loss, or their mean or sum."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{loss}: reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()
