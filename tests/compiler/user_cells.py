"""Cells that nobody has written a kernel for, as a user would write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_lstm as tg
from tinygrad_lstm import Parameter, Tensor
from tinygrad_lstm.nn.cells import (
    gru_step,
    gru_weights,
    lstm_step,
    lstm_weights,
    rnn_step,
    rnn_weights,
)

I, H, P = 3, 4, 2  # noqa: E741 - sizes by their textbook letters


class Case(NamedTuple):
    """A step, how its carry is nested (a size per leaf), and its weights."""

    step: Callable[[Any, Any], tuple[Any, Any]]
    carry: Any
    weights: list[Parameter]


class _Weights:
    def __init__(self, dtype: Any, seed: int) -> None:
        self.rng, self.dtype, self.all = np.random.default_rng(seed), dtype, []

    def __call__(self, *shape: int) -> Parameter:
        made = Parameter((self.rng.normal(size=shape) * 0.5).astype(self.dtype))
        self.all.append(made)
        return made


def normalised(a: Tensor) -> Tensor:
    return (a - a.mean(-1, keepdims=True)) / tg.sqrt(a.var(-1, keepdims=True) + 1e-5)


def layer_norm_lstm(p: _Weights) -> tuple[Any, Any]:
    gates = [(p(I, H), p(H, H), p(H)) for _ in range(4)]

    def step(state: Any, x: Tensor) -> Any:
        h, c = state
        f, i, g, o = (normalised(x @ u + h @ w) * b for u, w, b in gates)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = tg.sigmoid(o) * tg.tanh(normalised(c))
        return (h, c), h

    return step, (H, H)


def minimal_gated_unit(p: _Weights) -> tuple[Any, Any]:
    (u_f, w_f, b_f), (u_n, w_n, b_n) = ((p(I, H), p(H, H), p(H)) for _ in range(2))

    def step(h: Tensor, x: Tensor) -> Any:
        f = tg.sigmoid(x @ u_f + h @ w_f + b_f)
        n = tg.tanh(x @ u_n + (f * h) @ w_n + b_n)
        h = (1 - f) * h + f * n
        return h, h

    return step, H


def two_chains(p: _Weights) -> tuple[Any, Any]:
    u, (w0, w1, w2, w3) = p(I, H), (p(H, H) for _ in range(4))

    def step(h: Tensor, x: Tensor) -> Any:
        a = tg.tanh(h @ w0 @ w1 + x @ u)
        q = tg.relu(h @ w2) @ w3
        return tg.tanh(a + q), (a, q * 2)

    return step, H


def division_and_exp(p: _Weights) -> tuple[Any, Any]:
    u, v, w = p(I, H), p(I, H), p(H, H)

    def step(state: Any, x: Tensor) -> Any:
        h, n = state
        n = n + tg.exp(-(h @ w + x @ u).abs())
        h = tg.tanh((h * n + x @ v) / (1 + n * n))
        return (h, n), h.sum(-1)

    return step, (H, H)


def three_carries(p: _Weights) -> tuple[Any, Any]:
    u, v, w0, w1 = p(I, H), p(I, H), p(H, H), p(H, H)

    def step(state: Any, x: Tensor) -> Any:
        a = tg.sigmoid(state["a"] @ w0 + x @ u) * state["c"]
        b = tg.tanh(state["b"] + a @ w1)
        return {"a": a, "b": b, "c": state["c"]}, {"y": a * b, "z": state["c"], "x": x @ v}

    return step, {"a": H, "b": H, "c": H}


def passed_through(p: _Weights) -> tuple[Any, Any]:
    u, w = p(I, H), p(H, H)

    def step(state: Any, x: Tensor) -> Any:
        h, before = state
        return (tg.tanh(h @ w + x @ u), h), (before, x)

    return step, (H, H)


def attention_like(p: _Weights) -> tuple[Any, Any]:
    u, w, b = p(I, H), p(H, H), p(H)

    def step(h: Tensor, x: Tensor) -> Any:
        z = tg.concatenate([h, x], axis=-1)
        a = tg.softmax(z[:, :H] @ w + b)[..., ::-1]
        return tg.tanh(a * h + x @ u), a.max(-1)

    return step, H


def lstm(p: _Weights) -> tuple[Any, Any]:
    weights = lstm_weights(p(4 * H, I), p(4 * H, H), (p(4 * H), p(4 * H)))

    def step(state: Any, x: Tensor) -> Any:
        h, c = lstm_step(x, state, weights)
        return (h, c), h

    return step, (H, H)


def peephole_projection_lstm(p: _Weights) -> tuple[Any, Any]:
    peephole = p(H), p(H), p(H)
    weights = lstm_weights(p(4 * H, I), p(4 * H, P), (p(4 * H), p(4 * H)), peephole, p(P, H))

    def step(state: Any, x: Tensor) -> Any:
        h, c = lstm_step(x, state, weights)
        return (h, c), h

    return step, (P, H)


def gru(p: _Weights) -> tuple[Any, Any]:
    weights = gru_weights(p(3 * H, I), p(3 * H, H), (p(3 * H), p(3 * H)))
    return lambda h, x: (gru_step(x, h, weights),) * 2, H


def rnn(p: _Weights) -> tuple[Any, Any]:
    weights = rnn_weights(p(H, I), p(H, H), (p(H), p(H)))
    return lambda h, x: (rnn_step(x, h, weights),) * 2, H


def relu_rnn(p: _Weights) -> tuple[Any, Any]:
    weights = rnn_weights(p(H, I), p(H, H), None)
    return lambda h, x: (rnn_step(x, h, weights, tg.relu),) * 2, H


CELLS = {
    f.__name__: f
    for f in (
        layer_norm_lstm,
        minimal_gated_unit,
        two_chains,
        division_and_exp,
        three_carries,
        passed_through,
        attention_like,
        lstm,
        peephole_projection_lstm,
        gru,
        rnn,
        relu_rnn,
    )
}


def case(name: str, dtype: Any = np.float64, seed: int = 0) -> Case:
    """A cell by name, with weights of its own."""
    weights = _Weights(dtype, seed)
    step, carry = CELLS[name](weights)
    return Case(step, carry, weights.all)


def tensors(sizes: Any, *lead: int, dtype: Any = np.float64, seed: int = 1) -> Any:
    """The sizes' nest with tensors (*lead, size) that require a gradient in their place."""
    rng = np.random.default_rng(seed)

    def build(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: build(v) for k, v in part.items()}
        if isinstance(part, tuple):
            return tuple(build(v) for v in part)
        values = rng.normal(size=(*lead, part)) * 0.5
        return tg.tensor(values.astype(dtype), requires_grad=True)

    return build(sizes)
