"""With the garbage collector off, nothing a training step made is left behind."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn


def _layer(kind: Callable[..., nn.Module], unroll: bool, **options: object) -> None:
    layer = kind(3, 4, rng=0, **options)
    y, _ = layer(np.ones((5, 2, 3), np.float32), lengths=[5, 2], unroll=unroll)
    loss = (y * y).mean()
    loss.backward()
    tg.grad(loss, list(layer.parameters()), create_graph=True)


def _cell(kind: Callable[..., nn.Module]) -> None:
    out = kind(3, 4, rng=0)(np.ones((2, 3), np.float32))
    (out[0] if isinstance(out, tuple) else out).sum().backward()


def _scan(unroll: bool) -> None:
    w = tg.Parameter(np.eye(4))
    xs = {"a": np.ones((5, 2, 4)), "b": (np.ones((5, 2, 4)),)}
    _, y = tg.scan(
        lambda h, x: (tg.tanh(h @ w + x["a"] * x["b"][0]), h),
        np.ones((2, 4)),
        xs,
        unroll=unroll,
    )
    y.sum().backward()


CASES: dict[str, Callable[[], None]] = {
    "LSTM": lambda: _layer(nn.LSTM, False, num_layers=2, bidirectional=True, dropout=0.1),
    "unrolled LSTM": lambda: _layer(nn.LSTM, True, num_layers=2, bidirectional=True, dropout=0.1),
    "GRU": lambda: _layer(nn.GRU, False),
    "unrolled GRU": lambda: _layer(nn.GRU, True),
    "RNN": lambda: _layer(nn.RNN, False),
    "unrolled RNN": lambda: _layer(nn.RNN, True),
    "LSTMCell": lambda: _cell(nn.LSTMCell),
    "GRUCell": lambda: _cell(nn.GRUCell),
    "unrolled scan": lambda: _scan(True),
    "compiled scan": lambda: _scan(False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_leaves_no_garbage(name: str) -> None:
    CASES[name]()
    gc.collect()
    gc.disable()
    try:
        CASES[name]()
        assert gc.collect() == 0
    finally:
        gc.enable()
