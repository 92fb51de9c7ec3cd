"""Steps put together at random from the ops: whatever the passes make of one, the numbers stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_ways import may_fall_back

import tinygrad_lstm as tg
from tinygrad_lstm import Parameter, Tensor

B, N = 2, 4


class RandomStep:
    """A step of random ops over matrices (B, N); the same seed gives the same step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng(seed)
        self.length = int(rng.integers(4, 16))
        self.square = [self._parameter(rng, N, N) for _ in range(3)]
        self.rows = [self._parameter(rng, N) for _ in range(2)]
        self.stacked = self._parameter(rng, 3 * N, N)
        self.scalar = self._parameter(rng)
        self.weights = [*self.square, *self.rows, self.stacked, self.scalar]
        self.carry = [tg.tensor(rng.normal(size=(B, N)) * 0.5, requires_grad=True) for _ in "ab"]
        self.x = tg.tensor(rng.normal(size=(3, B, N)) * 0.5, requires_grad=True)

    def _parameter(self, rng: np.random.Generator, *shape: int) -> Parameter:
        return Parameter(rng.normal(size=shape) * 0.5)

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
        k = int(rng.integers(3)) * N
        part = self.stacked[k : k + N]
        kinds = (
            lambda: a + b,
            lambda: a + b + row,
            lambda: a - b * self.scalar,
            lambda: a * b,
            lambda: tg.tanh(a),
            lambda: tg.sigmoid(a) * row,
            lambda: tg.relu(a) + 0.5,
            lambda: a / (1.0 + b * b),
            lambda: tg.maximum(a, b),
            lambda: tg.where(np.array([True, False, True, True]), a, b),
            lambda: a @ w,
            lambda: a @ w + b @ w.T + row,
            lambda: a @ part.T,
            lambda: tg.tanh(a @ part.T) * tg.tanh(b @ w),
            lambda: tg.concatenate([tg.split(a, 2, axis=1)[1], b[:, :2]], axis=1),
            lambda: tg.concatenate([tg.tanh(a[:, :2]), tg.tanh(a[:, 2:])], axis=-1),
            lambda: tg.concatenate([tg.sigmoid(p) for p in tg.split(a * b, 4, axis=1)], axis=1),
            lambda: a[:, ::-1] + a[0],
            lambda: a[np.array([1, 0])],
            lambda: tg.softmax(a, -1) - b.mean(0, keepdims=True),
            lambda: a - a.mean(-1, keepdims=True) * row.sum(),
            lambda: a.reshape(N, B).T,
            lambda: (a @ b.T) @ b,
            lambda: tg.stack([a[0], b[1]]),
            lambda: tg.sin(a) + (self.square[0] @ self.square[1])[:B] + a.sum() * 0.1,
            lambda: a.detach() * b,
        )
        return kinds[int(rng.integers(len(kinds)))]()


@may_fall_back
@pytest.mark.parametrize("seed", range(60))
def test_a_random_step(assert_same, seed):
    step = RandomStep(seed)
    lengths = [3, 1] if seed % 3 == 0 else None
    assert_same(
        step, step.carry, step.x, step.weights, lengths=lengths, reverse=seed % 2 == 0
    )
