"""What the property-based tests share: settings, shapes, and a derivative taken another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_lstm import Tensor, grad

Array = np.ndarray[Any, Any]

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
FULL_SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3)
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3)
TRIPLES = hnp.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3, max_dims=3)


def examples(count: int) -> settings:
    """So many examples, the same in every run."""
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


def summed_to(full: Array, shape: tuple[int, ...]) -> Array:
    """`full` summed over the axes along which `shape` was repeated to become it."""
    counter = np.zeros(shape)
    where = np.broadcast_to(np.arange(counter.size).reshape(shape), full.shape)
    total = np.bincount(where.ravel(), full.ravel(), minlength=counter.size)
    return total.reshape(shape)


def leaves(arrays: Sequence[Array]) -> list[Tensor]:
    """Leaves that require a gradient."""
    return [Tensor(a, requires_grad=True) for a in arrays]


def check_direction(
    f: Callable[..., Tensor], arrays: Sequence[Array], seed: int, eps: float = 1e-6
) -> None:
    """Compare the derivative along one random direction with a central difference."""
    rng = np.random.default_rng(seed)
    points = leaves(arrays)
    output = f(*points)
    weight = rng.uniform(0.5, 1.5, output.shape)
    directions = [rng.uniform(-1, 1, a.shape) for a in arrays]
    gradients = grad(output, points, np.asarray(weight))
    for g, a in zip(gradients, arrays, strict=True):
        assert g.shape == a.shape and g.dtype == a.dtype

    def total(step: float) -> float:
        moved = [Tensor(a + step * d) for a, d in zip(arrays, directions, strict=True)]
        return float((weight * f(*moved).data).sum())

    numeric = (total(eps) - total(-eps)) / (2 * eps)
    exact = sum(float((g.data * d).sum()) for g, d in zip(gradients, directions, strict=True))
    np.testing.assert_allclose(exact, numeric, rtol=1e-5, atol=1e-6)
