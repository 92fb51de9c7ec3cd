"""Losses as functions; names, arguments and formulas as in PyTorch. Their modules: `criteria`.

Each records its ops in a scope of its own, on behalf of the calling line. Where PyTorch would
broadcast a target with a warning, or give NaN for a mean over nothing, these raise an error.
"""

from __future__ import annotations

import numpy as np

from .. import functions as F
from ..errors import ShapeError
from ..tensor import Tensor, TensorLike
from ._calls import recorded_in
from ._targets import REDUCTIONS, TargetClasses, reduced

__all__ = [
    "REDUCTIONS",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
]

# -- of numbers -------------------------------------------------------------------------------


@recorded_in("mean squared error")
def mse_loss(input: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """(input - target)^2.

    input, target: floats of one shape. Result: a scalar, or that shape for reduction "none".
    Raises ShapeError for different shapes, ValueError for an unknown reduction.
    """
    difference = _difference("mse_loss", input, target)
    return reduced("mse_loss", difference * difference, reduction)


@recorded_in("mean absolute error")
def l1_loss(input: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """|input - target|.

    input, target: floats of one shape. Result: a scalar, or that shape for reduction "none".
    Raises ShapeError for different shapes, ValueError for an unknown reduction.
    """
    return reduced("l1_loss", F.abs(_difference("l1_loss", input, target)), reduction)


@recorded_in("Huber loss")
def huber_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """With d = input - target: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).

    input, target: floats of one shape. Result: a scalar, or that shape for reduction "none".
    Raises ShapeError for different shapes, ValueError for a delta that is not positive or an
    unknown reduction. Source: Huber, 1964.
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta!r}")
    difference = _difference("huber_loss", input, target)
    near = F.clip(difference, -delta, delta)
    return reduced("huber_loss", near * (difference - 0.5 * near), reduction)


@recorded_in("binary cross entropy")
def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    """-[pos_weight y log σ(x) + (1 - y) log(1 - σ(x))] ⊙ weight, with x = input and y = target.

    input, target: floats of one shape, the target in [0, 1]. weight, pos_weight: broadcast to
    that shape. Result: a scalar, or that shape for reduction "none"; the mean is over elements.
    Raises ShapeError for shapes that do not fit, ValueError for an unknown reduction.
    """
    name = "binary_cross_entropy_with_logits"
    x, y = _same_shape(name, input, target)
    positive = y * F.softplus(-x)  # -log σ(x): no term cancels another, whatever the sign
    if pos_weight is not None:
        positive = positive * _scale(name, "pos_weight", pos_weight, x)
    loss = positive + (1.0 - y) * F.softplus(x)
    if weight is not None:
        loss = loss * _scale(name, "weight", weight, x)
    return reduced(name, loss, reduction)


# -- of classes -------------------------------------------------------------------------------


@recorded_in("cross entropy")
def cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-w_k log softmax(input)_k, where k is the target class.

    input: logits (C,), (N, C) or (N, C, ...). target: integer classes (), (N,) or (N, ...).
    weight: one number per class, (C,). ignore_index: a target that counts for nothing.
    label_smoothing: the share e of the target that goes to all classes alike,
    (1 - e) * loss - e / C * sum_k w_k log softmax(input)_k.
    Result: a scalar, or the target's shape for reduction "none"; the mean is weighted by the
    targets' weights. Raises DTypeError for classes that are not integers, IndexError for one out
    of range, ShapeError for shapes that do not fit, ValueError for a mean over nothing.
    """
    if isinstance(label_smoothing, bool) or not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing!r}"
        )
    logits = _logits("cross_entropy", input)
    axis = 0 if logits.ndim == 1 else 1
    log_p = F.log_softmax(logits, axis=axis)
    classes = TargetClasses("cross_entropy", log_p, target, weight, ignore_index)
    loss = classes.weighted(-classes.pick(log_p))
    if label_smoothing > 0.0:
        every = classes.weighted_along(log_p, axis)
        smooth = classes.kept(-every.sum(axis))
        loss = (1.0 - label_smoothing) * loss + (label_smoothing / logits.shape[axis]) * smooth
    return classes.reduced(loss, reduction)


@recorded_in("negative log-likelihood")
def nll_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-w_k input_k, where k is the target class and the input holds log-probabilities.

    Shapes, arguments and errors are those of `cross_entropy`, which takes logits instead.
    """
    log_p = _logits("nll_loss", input)
    classes = TargetClasses("nll_loss", log_p, target, weight, ignore_index)
    return classes.reduced(classes.weighted(-classes.pick(log_p)), reduction)


# -- shared steps -----------------------------------------------------------------------------


def _same_shape(loss: str, input: TensorLike, target: TensorLike) -> tuple[Tensor, Tensor]:
    x = input if isinstance(input, Tensor) else Tensor(input)
    y = target if isinstance(target, Tensor) else Tensor(target)
    if x.shape != y.shape:
        raise ShapeError(
            f"{loss}: input and target must have one shape, got {x.shape} and {y.shape}"
        )
    return _as_float(x), _as_float(y)


def _difference(loss: str, input: TensorLike, target: TensorLike) -> Tensor:
    x, y = _same_shape(loss, input, target)
    return x - y


def _as_float(x: Tensor) -> Tensor:
    return x if x.dtype.kind == "f" else F.astype(x, np.float32)


def _logits(loss: str, input: TensorLike) -> Tensor:
    x = _as_float(input if isinstance(input, Tensor) else Tensor(input))
    if x.ndim == 0 or x.shape[0 if x.ndim == 1 else 1] == 0:
        raise ShapeError(f"{loss}: input must be (C,), (N, C) or (N, C, ...), got {x.shape}")
    return x


def _scale(loss: str, argument: str, value: TensorLike, x: Tensor) -> Tensor:
    scale = F.astype(value, x.dtype)
    try:
        fits = np.broadcast_shapes(scale.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{loss}: {argument} {scale.shape} does not broadcast to {x.shape}")
    return scale
