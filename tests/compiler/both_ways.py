"""Run a step unrolled and compiled, and compare everything that comes out.

The unrolled run is the reference: its ops are checked against other sources in tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.tree import flatten

Step = Callable[[Any, Any], tuple[Any, Any]]
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}

may_fall_back = pytest.mark.filterwarnings(
    "ignore:scan. the numba backend has no form for this step:RuntimeWarning"
)
"""For steps with an op that is not native: NumPy then runs them, which elsewhere is an error."""


def leaves_of(*nests: Any) -> list[Tensor]:
    """All tensors of some nests."""
    return flatten(nests, Tensor, "nests")[0]


def unique(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Those that require a gradient, each once."""
    return list({id(t): t for t in tensors if t.requires_grad}.values())


def loss_of(outputs: Sequence[Tensor]) -> Tensor:
    """A sum that weights every element of every floating-point output differently."""
    rng = np.random.default_rng(7)
    total = tg.tensor(0.0, dtype=outputs[0].dtype if outputs[0].dtype.kind == "f" else None)
    for t in outputs:
        weights = rng.normal(size=t.shape)
        if t.dtype.kind == "f":
            total = total + (t * weights.astype(t.dtype)).sum()
    return total


def results(
    step: Step, carry: Any, xs: Any, weights: Sequence[Tensor], **options: Any
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """The outputs of a scan, and the gradients of their weighted sum."""
    final, ys = tg.scan(step, carry, xs, **options)
    outputs = leaves_of(final, ys)
    wanted = unique([*leaves_of(carry, xs), *weights])
    loss = loss_of(outputs)
    found: Sequence[Tensor | None] = [None] * len(wanted)
    if loss.requires_grad:
        found = tg.grad(loss, wanted, allow_unused=True)
    return [t.data for t in outputs], [None if g is None else g.data for g in found]


def assert_close(compiled: np.ndarray, unrolled: np.ndarray, label: str) -> None:
    """Same shape, same dtype, and equal relative to the largest element."""
    assert compiled.shape == unrolled.shape, label
    assert compiled.dtype == unrolled.dtype, label
    if unrolled.dtype.kind != "f":
        np.testing.assert_array_equal(compiled, unrolled, label)
    elif unrolled.size:
        error = np.abs(compiled - unrolled).max() / max(1.0, np.abs(unrolled).max())
        assert error <= TOLERANCE[unrolled.dtype], f"{label}: off by {error:.2e}"


def assert_same(
    step: Step,
    carry: Any,
    xs: Any = None,
    weights: Sequence[Tensor] = (),
    *,
    backend: str,
    **options: Any,
) -> None:
    """Compiled by a backend equals unrolled: outputs, and gradients of carry, xs and weights.

    No gradient, as where nothing depends on a leaf, is as good as one of zeros.
    """
    outputs, gradients = results(step, carry, xs, weights, unroll=True, **options)
    again, found = results(step, carry, xs, weights, backend=backend, **options)
    assert len(outputs) == len(again)
    for k, (expected, got) in enumerate(zip(outputs, again, strict=True)):
        assert_close(got, expected, f"output {k}")
    for k, (expected, got) in enumerate(zip(gradients, found, strict=True)):
        if expected is None or got is None:
            assert expected is None or not expected.any(), f"gradient {k} was not found"
            assert got is None or not got.any(), f"gradient {k} comes from nowhere"
        else:
            assert_close(got, expected, f"gradient {k}")
