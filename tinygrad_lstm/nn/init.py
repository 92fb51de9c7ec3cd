"""Fill a parameter with starting values, in place: names, formulas and defaults as in PyTorch.

Every function takes a leaf tensor, replaces its data, and returns it. `rng` is a generator, a
seed, or None for the generator that `manual_seed` sets.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import ShapeError
from ..random import Rng, resolve_rng
from ..tensor import Array, Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4.0,
}


def uniform_(t: Tensor, a: float = 0.0, b: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform on [a, b). Raises ValueError if a > b."""
    if a > b:
        raise ValueError(f"uniform_: a must be at most b, got a={a} and b={b}")
    return _fill(t, resolve_rng(rng).uniform(a, b, t.shape))


def normal_(t: Tensor, mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with the given mean and standard deviation. Raises ValueError if std < 0."""
    if std < 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    return _fill(t, resolve_rng(rng).normal(mean, std, t.shape))


def constant_(t: Tensor, value: float) -> Tensor:
    """`value` everywhere."""
    return _fill(t, np.full(t.shape, value))


def zeros_(t: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(t, 0.0)


def ones_(t: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(t, 1.0)


def xavier_uniform_(t: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform on [-a, a), a = gain sqrt(6 / (fan_in + fan_out)).

    t: at least two axes. Source: Glorot & Bengio, AISTATS 2010.
    """
    bound = gain * math.sqrt(6.0 / sum(_fans(t, "xavier_uniform_")))
    return uniform_(t, -bound, bound, rng)


def xavier_normal_(t: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)).

    t: at least two axes. Source: Glorot & Bengio, AISTATS 2010.
    """
    return normal_(t, 0.0, gain * math.sqrt(2.0 / sum(_fans(t, "xavier_normal_"))), rng)


def kaiming_uniform_(
    t: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: Rng = None,
) -> Tensor:
    """Uniform on [-b, b), b = gain sqrt(3 / fan).

    t: at least two axes. a: the slope of the leaky ReLU that follows. mode: "fan_in" keeps the
    variance on the way forward, "fan_out" on the way back. Source: He et al., ICCV 2015.
    """
    bound = math.sqrt(3.0) * _kaiming_std(t, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(t, -bound, bound, rng)


def kaiming_normal_(
    t: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: Rng = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); arguments as for `kaiming_uniform_`."""
    return normal_(t, 0.0, _kaiming_std(t, a, mode, nonlinearity, "kaiming_normal_"), rng)


def orthogonal_(t: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """gain times a matrix with orthonormal rows or columns, whichever are fewer.

    t: at least two axes, all but the first taken together. Source: Saxe et al., ICLR 2014.
    """
    if t.ndim < 2:
        raise ShapeError(f"orthogonal_: needs at least two axes, got {t.shape}")
    if t.size == 0:
        return t
    rows, columns = t.shape[0], t.size // t.shape[0]
    sample = resolve_rng(rng).normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(sample)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return _fill(t, gain * (q if rows >= columns else q.T))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that makes up for a nonlinearity's loss of variance, by its name.

    param: the slope of "leaky_relu" (0.01 by default). Raises ValueError for an unknown name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"nonlinearity must be one of {known}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def _kaiming_std(t: Tensor, a: float, mode: str, nonlinearity: str, function: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), _fans(t, function), strict=True))
    if mode not in fans:
        raise ValueError(f"{function}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans[mode])


def _fans(t: Tensor, function: str) -> tuple[int, int]:
    """How many inputs an output sums over, and how many outputs an input reaches."""
    if t.ndim < 2 or t.size == 0:
        raise ShapeError(f"{function}: needs at least two axes and one element, got {t.shape}")
    field = math.prod(t.shape[2:])
    return t.shape[1] * field, t.shape[0] * field


def _fill(t: Tensor, values: Array) -> Tensor:
    t.data = np.asarray(values, t.dtype).reshape(t.shape)
    return t
