"""Steps put together at random from the ops: whatever the passes make of one, the numbers stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same, may_fall_back

import tinygrad_lstm as tg
from tinygrad_lstm import Parameter, Tensor


class RandomStep:
    """A step of random ops over matrices (B, N); the same seed gives the same step.

    anything: with ops that mix the rows of the batch, which no native loop does.
    """

    def __init__(self, seed: int, rows: int, size: int, anything: bool) -> None:
        self.seed, self.B, self.N, self.anything = seed, rows, size, anything
        rng = np.random.default_rng(seed)
        self.length = int(rng.integers(4, 16))
        self.square = [self._parameter(rng, size, size) for _ in range(3)]
        self.rows = [self._parameter(rng, size) for _ in range(2)]
        self.stacked = self._parameter(rng, 3 * size, size)
        self.scalar = self._parameter(rng)
        self.weights = [*self.square, *self.rows, self.stacked, self.scalar]
        self.carry = [self._leaf(rng, rows, size) for _ in "ab"]
        self.x = self._leaf(rng, 3, rows, size)

    def _parameter(self, rng: np.random.Generator, *shape: int) -> Parameter:
        return Parameter(rng.normal(size=shape) / np.sqrt(shape[-1] if shape else 4.0))

    def _leaf(self, rng: np.random.Generator, *shape: int) -> Tensor:
        return tg.tensor(rng.normal(size=shape) * 0.5, requires_grad=True)

    def __call__(self, carry: list[Tensor], x: Tensor) -> tuple[Any, Any]:
        rng = np.random.default_rng(self.seed + 1)
        values = [*carry, x]
        for _ in range(self.length):
            values.append(self._op(rng, values))
        new = [tg.tanh(values[int(rng.integers(len(values)))]) for _ in carry]
        if rng.random() < 0.3:
            new[0] = values[int(rng.integers(len(values)))]
        return new, [values[int(rng.integers(len(values)))] for _ in range(3)]

    def _op(self, rng: np.random.Generator, values: list[Tensor]) -> Tensor:
        a, b = (values[int(k)] for k in rng.integers(len(values), size=2))
        w = self.square[int(rng.integers(3))]
        row = self.rows[int(rng.integers(2))]
        k = int(rng.integers(3)) * self.N
        kinds = self._kinds(a, b, w, row, self.stacked[k : k + self.N])
        if self.anything:
            kinds = [*kinds, *self._mixing_rows(a, b)]
        return kinds[int(rng.integers(len(kinds)))]()

    def _kinds(
        self, a: Tensor, b: Tensor, w: Tensor, row: Tensor, part: Tensor
    ) -> Sequence[Callable[[], Tensor]]:
        half = self.N // 2
        return [
            lambda: a + b,
            lambda: a + b + row,
            lambda: a - b * self.scalar,
            lambda: a * b,
            lambda: tg.tanh(a),
            lambda: tg.sigmoid(a) * row,
            lambda: tg.relu(a) + 0.5,
            lambda: a / (1.0 + b * b),
            lambda: tg.maximum(a, b),
            lambda: tg.where(np.arange(self.N) % 3 > 0, a, b),
            lambda: a @ w,
            lambda: a @ w + b @ w.T + row,
            lambda: a @ part.T,
            lambda: tg.tanh(a @ part.T) * tg.tanh(b @ w),
            lambda: tg.concatenate([tg.split(a, 2, axis=1)[1], b[:, :half]], axis=1),
            lambda: tg.concatenate([tg.tanh(a[:, :half]), tg.tanh(a[:, half:])], axis=-1),
            lambda: tg.concatenate([tg.sigmoid(p) for p in tg.split(a * b, 4, axis=1)], axis=1),
            lambda: a[:, ::-1] + b[:, :1],
            lambda: tg.softmax(a, -1) - b.mean(-1, keepdims=True),
            lambda: (a - a.mean(-1, keepdims=True)) / tg.sqrt(a.var(-1, keepdims=True) + 0.1),
            lambda: a - a.mean(-1, keepdims=True) * row.sum(),
            lambda: tg.sin(a) + tg.exp(-b.abs()) * tg.log(1.0 + a * a),
            lambda: tg.softplus(a) - tg.log_softmax(b, -1) * 0.1,
            lambda: (a * a + 0.1) ** 1.5 + tg.clip(b, -0.3, 0.4),
            lambda: tg.sqrt(a.abs() + 0.2) + tg.minimum(b, row),
            lambda: a.detach() * b,
            lambda: tg.where(a >= b * 0.9, a, b * 0.5) * (b != 0.0),
            lambda: tg.where((a > 0.1) & ~(b > row), tg.tanh(a), b),
        ]

    def _mixing_rows(self, a: Tensor, b: Tensor) -> Sequence[Callable[[], Tensor]]:
        return [
            lambda: a[:, ::-1] + a[0],
            lambda: a[np.arange(self.B)[::-1].copy()],
            lambda: tg.softmax(a, -1) - b.mean(0, keepdims=True),
            lambda: a.reshape(self.N, self.B).T,
            lambda: (a @ b.T) @ b,
            lambda: tg.stack([(a if k % 2 else b)[k] for k in range(self.B)]),
            lambda: tg.sin(a) + self.square[0][0] @ self.square[1] + a.sum() * 0.1,
        ]


def seeds(first: int, some: int, end: int) -> list[Any]:
    """Of these some are for every run, the others for a run of slow tests."""
    others = [pytest.param(k, marks=pytest.mark.slow) for k in range(first + some, end)]
    return [*range(first, first + some), *others]


@pytest.mark.parametrize("seed", seeds(0, 40, 200))
@may_fall_back
def test_a_random_step(backend, seed):
    step = RandomStep(seed, 2, 4, anything=True)
    lengths = [3, 1] if seed % 3 == 0 else None
    assert_same(
        step, step.carry, step.x, step.weights,
        backend=backend, lengths=lengths, reverse=seed % 2 == 0,
    )  # fmt: skip


@pytest.mark.parametrize("seed", seeds(200, 20, 300))
def test_a_random_step_of_ops_that_keep_rows_apart_is_native(seed):
    pytest.importorskip("llvmlite")
    rows, size = (3, 1, 5, 2, 7)[seed % 5], (4, 8, 20, 36)[seed % 4]
    step = RandomStep(seed, rows, size, anything=False)
    lengths = [3, 1, 0, 2, 3, 1, 1][:rows] if seed % 3 == 0 else None
    assert_same(step, step.carry, step.x, step.weights, backend="numba", lengths=lengths)
