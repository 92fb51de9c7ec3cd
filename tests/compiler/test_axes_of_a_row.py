"""Steps that work on several axes of each row: reductions, running sums, products row by row.

None of them may leave the native loop: `assert_same` makes an error of that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

T, S, H = 3, 5, 6


def leaf(seed: int, *shape: int, dtype: Any = np.float64) -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape) * 0.5
    return tg.tensor(values.astype(dtype), requires_grad=True)


OfTwo = Callable[[Tensor, Tensor], Tensor]


def attention(scores: OfTwo, mixed: OfTwo) -> Any:
    def step(h: Tensor, x: Tensor, keys: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        a = tg.softmax(scores(keys, h), axis=-1)
        return tg.tanh(x + mixed(a, keys)), m * 0.5

    return step


def on_axis(name: str, *axes: int) -> Any:
    """m (B, S, H) reduced, and spread again over the carry (B, H) and itself."""

    def step(h: Tensor, x: Tensor, keys: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        made = getattr(m * x.reshape(x.shape[0], 1, H), name)(axes, keepdims=True)
        m = m * 0.5 + made + keys
        return tg.tanh(h + (m * 1.0).sum(1)), m

    return step


@cache
def weights_in(dtype: Any) -> list[Tensor]:
    return [leaf(9 + n, *shape, dtype=dtype) for n, shape in enumerate(((H, H), (S, H, H), (S, S)))]


def weights(like: Tensor) -> list[Tensor]:
    return weights_in(like.dtype.type)


STEPS: dict[str, Any] = {
    "attention by elements": attention(
        lambda k, h: (k * h.reshape(h.shape[0], 1, H)).sum(-1),
        lambda a, k: (a.reshape(*a.shape, 1) * k).sum(1),
    ),
    "attention by products": attention(
        lambda k, h: (k @ h.reshape(*h.shape, 1)).reshape(*k.shape[:2]),
        lambda a, k: (a.reshape(a.shape[0], 1, S) @ k).reshape(a.shape[0], H),
    ),
    "attention by einsum": attention(
        lambda k, h: tg.einsum("bsh,bh->bs", k, h),
        lambda a, k: tg.einsum("bs,bsh->bh", a, k),
    ),
    "fast weights": lambda h, x, k, m: (
        tg.tanh(x + tg.einsum("bs,bsh->bh", h[:, :S], m)),
        m * 0.9 + h[:, :S].reshape(h.shape[0], S, 1) @ x.reshape(x.shape[0], 1, H),
    ),
    "matrices that change": lambda h, x, k, m: (
        tg.tanh(x + (m @ k.transpose((0, 2, 1)) @ k).mean(1)),
        tg.tanh(m + k),
    ),
    "running sums of a row": lambda h, x, k, m: (
        tg.cumsum(tg.softmax(h + x, axis=-1), axis=-1) * x,
        m,
    ),
    "running sums of many": lambda h, x, k, m: (
        h * 0.5 + tg.cumsum(m * x.reshape(x.shape[0], 1, H), axis=1).max(1),
        tg.cumsum(m, axis=2) * 0.1 + k,
    ),
    "a queue": lambda h, x, k, m: (
        tg.tanh(x + m.mean(1)),
        tg.concatenate([m[:, 1:], h.reshape(h.shape[0], 1, H)], axis=1),
    ),
    "products of lines one axis apart": lambda h, x, k, m: (
        h * 0.5 + (m[:, :, None] @ weights(m)[0] + tg.einsum(
            "bsth,hk->bstk", k[:, :, None], weights(m)[0]
        )).sum((1, 2)),
        tg.tanh(m[:, None] @ weights(m)[0])[:, 0],
    ),
    "reshapes of what lies apart": lambda h, x, k, m: (
        h + tg.tanh(m.transpose((0, 2, 1)).reshape(m.shape[0], S * H)[:, :H]),
        m[:, ::-1].reshape(m.shape[0], H, S).transpose((0, 2, 1)) * 0.5 + k,
    ),
    "weights over two axes": lambda h, x, k, m: (
        h * 0.5 + tg.einsum("bsh,shk->bk", m[:, ::-1], weights(m)[1]),
        tg.tanh(tg.einsum("bsh,st->bth", m, weights(m)[2])) + k,
    ),
    "means over rows and columns": lambda h, x, k, m: (
        h * 0.5 + m.mean((0, 2))[:1] - (h * x).sum((0, 1)) * 0.1,
        m * 0.5 + k - m.var((0, 2), keepdims=True),
    ),
    "a norm over the batch": lambda h, x, k, m: (
        (lambda z: (z - z.mean(0, keepdims=True)) / tg.sqrt(z.var(0, keepdims=True) + 0.1))(h + x),
        m,
    ),
    **{
        f"{name} over {axes}": on_axis(name, *axes)
        for name in ("sum", "mean", "max", "min", "logsumexp")
        for axes in ((1,), (2,), (1, 2))
    },
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("batch", "dtype"), [(1, np.float64), (4, np.float64), (4, np.float32)])
def test_compiled_is_unrolled(backend, name, batch, dtype):
    keys = leaf(0, batch, S, H, dtype=dtype)

    def step(carry: Any, x: Tensor) -> Any:
        h, m = STEPS[name](*carry[:1], x, keys, carry[1])
        return (h, m), h + m.sum(1)

    carry = leaf(1, batch, H, dtype=dtype), leaf(2, batch, S, H, dtype=dtype)
    x = leaf(3, T, batch, H, dtype=dtype)
    assert_same(step, carry, x, [keys, *weights(x)], backend=backend)


def test_a_product_too_large_to_be_written_out_is_left_to_numpy():
    pytest.importorskip("llvmlite")
    k = leaf(0, 2, 64, 64)

    def step(m: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        m = tg.tanh(m @ x * 0.1)
        return m, m.sum()

    with pytest.warns(RuntimeWarning, match="matmul: a product whose right factor changes"):
        assert_same(step, k, leaf(1, T, 2, 64, 64), backend="numba")
    small = leaf(2, 2, 16, 16)
    assert_same(step, small, leaf(3, T, 2, 16, 16), backend="numba")
