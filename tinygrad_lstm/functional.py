"""Products with Jacobians and Hessians of functions, all made of `grad` of `grad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autodiff import grad
from .errors import GraphError, ShapeError
from .tensor import Tensor, TensorLike, as_array

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vjp"]

Function = Callable[..., Tensor]
Inputs = TensorLike | Sequence[TensorLike]


def vjp(f: Function, inputs: Inputs, v: TensorLike | None = None) -> tuple[Tensor, Any]:
    """The value of f and the product v^T J of a cotangent with its Jacobian.

    inputs: a tensor, or a tuple of them for f of several arguments. v: of the output's shape; may
    be None for a scalar. Returns (output, gradients), the gradients as the inputs were given.
    """
    points, single = _points(inputs)
    output = _call(f, points)
    products = grad(output, points, v, allow_unused=True)
    filled = tuple(_or_zeros(g, x) for g, x in zip(products, points, strict=True))
    return output.detach(), filled[0] if single else filled


def jvp(f: Function, inputs: Inputs, v: Inputs) -> tuple[Tensor, Tensor]:
    """The value of f and the product J v of its Jacobian with a tangent.

    v: as the inputs. Differentiates the vjp, which is linear in its cotangent u: J v is the
    gradient of (u^T J) v with respect to u.
    """
    points, _ = _points(inputs)
    tangents = _like(v, points, "v")
    output = _call(f, points)
    u = Tensor(np.zeros(output.shape, output.dtype), requires_grad=True)
    products = grad(output, points, u, create_graph=True, allow_unused=True)
    pairs = [(p, t) for p, t in zip(products, tangents, strict=True) if _depends(p)]
    if not pairs:
        return output.detach(), Tensor(np.zeros(output.shape, output.dtype))
    found = grad([p for p, _ in pairs], u, [t for _, t in pairs], allow_unused=True)
    return output.detach(), _or_zeros(found, u)


def hvp(f: Function, inputs: Inputs, v: Inputs) -> tuple[Tensor, Any]:
    """The value of a scalar f and the product H v of its Hessian with a direction v."""
    points, single = _points(inputs)
    directions = _like(v, points, "v")
    output = _call(f, points)
    slopes = grad(output, points, create_graph=True, allow_unused=True)
    pairs = [(s, d) for s, d in zip(slopes, directions, strict=True) if _depends(s)]
    if pairs:
        found = grad([s for s, _ in pairs], points, [d for _, d in pairs], allow_unused=True)
    else:
        found = (None,) * len(points)
    filled = tuple(_or_zeros(g, x) for g, x in zip(found, points, strict=True))
    return output.detach(), filled[0] if single else filled


def jacobian(f: Function, x: TensorLike) -> Tensor:
    """All partial derivatives of f at x: shape (*output.shape, *x.shape)."""
    (point,), _ = _points(x)
    return Tensor(_rows(_call(f, (point,)), point))


def hessian(f: Function, x: TensorLike) -> Tensor:
    """All second derivatives of a scalar f at x: shape (*x.shape, *x.shape)."""
    (point,), _ = _points(x)
    output = _call(f, (point,))
    if output.size != 1:
        raise ShapeError(f"hessian: f must give a scalar, got {output.shape}")
    slope = grad(output, point, np.ones(output.shape), create_graph=True, allow_unused=True)
    if not _depends(slope):
        return Tensor(np.zeros(point.shape * 2, point.dtype))
    return Tensor(_rows(slope, point))


def _rows(output: Tensor, point: Tensor) -> np.ndarray[Any, Any]:
    rows = np.zeros((output.size, *point.shape), point.dtype)
    for k in range(output.size):
        seed = np.zeros(output.size, output.dtype)
        seed[k] = 1.0
        row = grad(output, point, seed.reshape(output.shape), allow_unused=True)
        if row is not None:
            rows[k] = row.data
    return rows.reshape(*output.shape, *point.shape)


def _points(inputs: Inputs) -> tuple[tuple[Tensor, ...], bool]:
    given, single = _several(inputs)
    return tuple(
        Tensor(as_array(x), requires_grad=True, name=x.name if isinstance(x, Tensor) else None)
        for x in given
    ), single


def _several(given: Any) -> tuple[Sequence[Any], bool]:
    """The members of a tuple or of a list of tensors; a list of numbers is one tensor."""
    many = isinstance(given, tuple) or (
        isinstance(given, list) and any(isinstance(x, Tensor | np.ndarray) for x in given)
    )
    return (given, False) if many else ((given,), True)


def _like(v: Inputs, points: tuple[Tensor, ...], argument: str) -> list[Tensor]:
    given, _ = _several(v)
    if len(given) != len(points):
        raise ShapeError(f"{argument}: {len(given)} directions for {len(points)} inputs")
    tangents = [Tensor(as_array(t, p.dtype)) for t, p in zip(given, points, strict=True)]
    for t, p in zip(tangents, points, strict=True):
        if t.shape != p.shape:
            raise ShapeError(f"{argument}: direction of shape {t.shape} for input {p.shape}")
    return tangents


def _call(f: Function, points: tuple[Tensor, ...]) -> Tensor:
    output = f(*points)
    if not isinstance(output, Tensor):
        raise TypeError(f"f: must return a Tensor, returned {type(output).__name__}")
    if not output.requires_grad:
        raise GraphError("f: its result does not depend on its inputs")
    return output


def _depends(t: Tensor | None) -> bool:
    return t is not None and t.requires_grad


def _or_zeros(g: Tensor | None, x: Tensor) -> Tensor:
    return Tensor(np.zeros(x.shape, x.dtype)) if g is None else g.detach()
