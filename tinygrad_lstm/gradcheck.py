"""Compare analytic gradients with finite differences, to any order, and say which element is off.

Order 2 checks the gradient of the recorded backward pass, so it tests the rules twice over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autodiff import grad
from .errors import DTypeError
from .tensor import Array, Tensor

__all__ = ["GradcheckError", "gradcheck"]


class GradcheckError(AssertionError):
    """Analytic and numeric gradients differ; the message is the report."""


def gradcheck(
    f: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Array | Sequence[Tensor | Array],
    order: int = 2,
    *,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-4,
    seed: int = 0,
) -> bool:
    """Whether the gradients of f agree with central differences, to the given order.

    f: takes the inputs, gives a tensor or several. inputs: float64 arrays, which are checked, and
    tensors, which are checked if they require a gradient. Each output is weighted with fixed
    random numbers and summed; order 2 then checks the gradients themselves the same way. Raises
    GradcheckError with a table of the worst elements, DTypeError for inputs that are not float64
    (finite differences need it).
    """
    given = (inputs,) if isinstance(inputs, Tensor | np.ndarray) else tuple(inputs)
    points = tuple(x if isinstance(x, Tensor) else _checked_point(x) for x in given)
    if order < 1:
        raise ValueError(f"order: must be at least 1, got {order}")
    if not any(t.requires_grad for t in points):
        raise ValueError("inputs: none requires a gradient")
    for k, t in enumerate(points):
        if t.requires_grad and t.dtype != np.float64:
            raise DTypeError(f"inputs[{k}]: gradcheck needs float64, got {t.dtype}")
    function = f
    for level in range(1, order + 1):
        _check(function, points, level, eps, atol, rtol, seed)
        function = _gradient_of(function, seed + level)
    return True


def _checked_point(x: Any) -> Tensor:
    array = np.asarray(x)
    return Tensor(array, requires_grad=array.dtype.kind == "f")


def _outputs(f: Callable[..., Any], points: Sequence[Tensor]) -> tuple[Tensor, ...]:
    result = f(*points)
    outputs = (result,) if isinstance(result, Tensor) else result
    if not isinstance(outputs, tuple | list) or not all(isinstance(t, Tensor) for t in outputs):
        raise TypeError(f"f: must return a Tensor or several, returned {type(result).__name__}")
    return tuple(outputs)


def _weights(outputs: Sequence[Tensor], seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(0.5, 1.5, t.shape)) for t in outputs]


def _gradient_of(f: Callable[..., Any], seed: int) -> Callable[..., tuple[Tensor, ...]]:
    def gradients(*points: Tensor) -> tuple[Tensor, ...]:
        outputs = [t for t in _outputs(f, points) if t.requires_grad]
        if not outputs:  # the level below was linear: its gradient is a constant
            return ()
        wanted = [t for t in points if t.requires_grad]
        found = grad(outputs, wanted, _weights(outputs, seed), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradients


def _check(
    f: Callable[..., Any],
    points: tuple[Tensor, ...],
    level: int,
    eps: float,
    atol: float,
    rtol: float,
    seed: int,
) -> None:
    leaves = [Tensor(t.data.copy(), requires_grad=t.requires_grad, name=t.name) for t in points]
    outputs = _outputs(f, leaves)
    weights = _weights(outputs, seed)

    def total(k: int, index: tuple[int, ...], value: float) -> float:
        moved = [t.data.copy() for t in points]
        moved[k][index] = value
        trial = [
            Tensor(a, requires_grad=t.requires_grad) for a, t in zip(moved, points, strict=True)
        ]
        results = _outputs(f, trial)
        return float(sum((w * t.data).sum() for w, t in zip(weights, results, strict=True)))

    pairs = [(t, w) for t, w in zip(outputs, weights, strict=True) if t.requires_grad]
    checked = [k for k, t in enumerate(leaves) if t.requires_grad]
    found: tuple[Tensor | None, ...] = (None,) * len(checked)
    if pairs:
        wanted = [leaves[k] for k in checked]
        found = grad([t for t, _ in pairs], wanted, [w for _, w in pairs], allow_unused=True)
    rows: list[tuple[float, str]] = []
    for k, g in zip(checked, found, strict=True):
        analytic = np.zeros(points[k].shape) if g is None else g.data
        for index in np.ndindex(points[k].shape):
            x = float(points[k].data[index])
            step = eps * max(1.0, abs(x))
            numeric = (total(k, index, x + step) - total(k, index, x - step)) / (2 * step)
            exact = float(analytic[index])
            if not abs(exact - numeric) <= atol + rtol * abs(numeric):
                label = points[k].name or f"inputs[{k}]"
                line = f"  {label}{list(index)}: analytic {exact:.8g}, numeric {numeric:.8g}"
                off = abs(exact - numeric)
                rows.append((off if np.isfinite(off) else np.inf, line))
    if rows:
        rows.sort(key=lambda row: -row[0])  # the worst first
        more = f"\n  ... and {len(rows) - 10} more" if len(rows) > 10 else ""
        raise GradcheckError(
            f"gradcheck, order {level}: {len(rows)} elements differ by more than "
            f"{atol:g} + {rtol:g} |numeric|\n" + "\n".join(line for _, line in rows[:10]) + more
        )
