"""Comparing what changes from step to step: recorded, and the same compiled as unrolled."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

T, B, H = 4, 3, 5

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "equal": np.equal,
    "less_equal": np.less_equal,
}


def leaf(seed: int, *shape: int, dtype: Any = np.float64) -> Tensor:
    """Multiples of a quarter, so that some are equal."""
    values = np.random.default_rng(seed).integers(-3, 4, shape) / 4
    return tg.tensor(values.astype(dtype), requires_grad=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_chooses(backend, name, dtype):
    test = COMPARISONS[name]
    w = leaf(2, H, dtype=dtype)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        by_two = tg.where(test(h, x), h * w, x)
        by_number = tg.where(test(x, 0.25), tg.tanh(x), by_two)
        by_captured = tg.where(test(w, h), by_number, h * 0.5)
        return tg.where(test(0.0, x), by_captured, x * 0.25), by_captured

    carry, xs = leaf(0, B, H, dtype=dtype), leaf(1, T, B, H, dtype=dtype)
    assert_same(step, carry, xs, [w], backend=backend)


def test_nan_is_neither_less_nor_equal_nor_greater(backend):
    x = tg.tensor(np.array([[np.nan, 1.0, 2.0]] * T)[:, None])
    for test in COMPARISONS.values():

        def step(h: Tensor, x: Tensor, test: Callable[..., Any] = test) -> tuple[Tensor, Tensor]:
            return tg.where(test(x, 1.0), h + 1.0, h), tg.where(test(x, x), 1.0, h)

        assert_same(step, tg.tensor(np.zeros((1, 3))), x, backend=backend)


COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "and": lambda a, b: (a > 0.0) & (b > 0.0),
    "or": lambda a, b: (a > 0.0) | (b > 0.0),
    "xor": lambda a, b: (a > 0.0) ^ (b > 0.0),
    "not": lambda a, b: ~(a > b),
    "logical_and": lambda a, b: np.logical_and(a > 0.0, b > 0.0),
    "logical_or": lambda a, b: np.logical_or(a > 0.0, b > 0.0),
    "logical_not": lambda a, b: np.logical_not(a >= b),
    "with an array": lambda a, b: (a > b) & (np.arange(H) > 2),
    "with an array first": lambda a, b: (np.arange(H) > 2) | (a > b),
    "nested": lambda a, b: ~((a > 0.0) & (b > 0.0)) | (a == b),
}


@pytest.mark.parametrize("name", COMBINED)
def test_results_of_comparisons_are_combined(backend, name):
    mask = COMBINED[name]

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return tg.where(mask(h, x), h * x, x - h) * 0.5, tg.where(mask(x, h), x, 0.0)

    assert_same(step, leaf(0, B, H), leaf(1, T, B, H), backend=backend)


def test_a_comparison_is_multiplied_by(backend):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        spike = (h > 0.5) * x  # a leaky integrate-and-fire cell
        return h * 0.9 + x - spike * (h > 0.5), (x < h).astype(h.dtype) * h

    assert_same(step, leaf(0, B, H), leaf(1, T, B, H), backend=backend)


def test_a_mask_has_a_name_and_is_reckoned_with(backend):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        open_ = (h >= 0.25).named("open_t")
        return h * 0.9 + x * (open_ * 1.0), open_.mean(-1, keepdims=True) * x

    carry, xs = leaf(0, B, H, dtype=np.float32), leaf(1, T, B, H, dtype=np.float32)
    assert_same(step, carry, xs, backend=backend)


def test_an_unrolled_run_records_every_mask():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return tg.where((x != h).named("moved_t"), x, h * 0.5), h

    last, _ = tg.scan(step, leaf(0, B, H), leaf(1, T, B, H), unroll=True)
    masks = [node for node in tg.toposort([last]) if node.name == "moved_t"]
    assert [node.op.name for node in masks] == ["not_equal"] * T
    assert all(node.value.dtype == np.bool_ and len(node.inputs) == 2 for node in masks)


def test_a_comparison_of_what_every_step_shares_may_be_asked_for():
    threshold = tg.tensor([0.0, 1.0, 2.0])

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        above = threshold > 0.5
        assert above.any() and not (threshold > 5.0).any() and bool(above[1])
        return tg.where(above, h, x), h

    last, _ = tg.scan(step, tg.tensor(np.zeros((1, 3))), tg.tensor(np.ones((2, 1, 3))))
    assert last.data.tolist() == [[1.0, 0.0, 0.0]]


def test_ends_of_sequences_and_a_comparison(backend):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = tg.where(x > h, x, h * 0.5)
        return h, h

    assert_same(
        step, leaf(0, B, H), leaf(1, T, B, H), lengths=[0, 2, 4], reverse=True, backend=backend
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("whole", ["?", "u1", "i4", "i8"])
def test_integers_are_compared_without_leaving_the_native_loop(backend, whole, dtype):
    w = leaf(2, H, dtype=dtype)
    rng = np.random.default_rng(3)
    counts = tg.tensor(rng.integers(0, 2, (T, B, H)).astype(whole))
    limit = tg.tensor(rng.integers(0, 2, H))

    def step(h: Tensor, xs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, k = xs
        h = tg.where(k > 0.5, h * w, x)
        h = tg.where((k > 0.5) & (h > 0), tg.tanh(h), h + x)
        h = tg.where((k == limit) | (k < 10**30) & (k != 1), h, h * 0.5)
        return h + (k >= h), h

    carry, x = leaf(0, B, H, dtype=dtype), leaf(1, T, B, H, dtype=dtype)
    assert_same(step, carry, (x, counts), [w], backend=backend)
    plan = tg.scan.explain(step, carry, (x, counts), backend=backend)
    assert plan.backend == backend
