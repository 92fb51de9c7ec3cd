"""Layers run compiled by default: the same outputs and gradients as unrolled, and one op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn

OPTIONS = {
    "LSTM": (nn.LSTM, {}),
    "two layers, both directions": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "peephole and projection": (nn.LSTM, {"peephole": True, "proj_size": 2}),
    "without bias": (nn.LSTM, {"bias": False}),
    "GRU": (nn.GRU, {"bidirectional": True}),
    "RNN": (nn.RNN, {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]])
@pytest.mark.parametrize("name", OPTIONS)
def test_compiled_layers_equal_unrolled_ones(
    name: str, lengths: list[int] | None, dtype: type, tolerance: float
) -> None:
    kind, options = OPTIONS[name]
    layer = kind(3, 4, dtype=dtype, rng=0, **options)
    x = tg.tensor(np.random.default_rng(1).normal(size=(5, 3, 3)).astype(dtype), requires_grad=True)
    found = []
    for unroll in (True, False):
        y, states = layer(x, lengths=lengths, unroll=unroll)
        loss = (y * y).sum() + sum((s * s * s).sum() for s in states)
        gradients = tg.grad(loss, [x, *layer.parameters()])
        found.append([y, *states, *gradients])
    for unrolled, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled.data, unrolled.data, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_by_default_a_layer_records_one_op_for_its_loop(kind: Any) -> None:
    y, _ = kind(3, 4, rng=0)(np.ones((50, 2, 3), np.float32))
    ops = [node.op.name for node in tg.toposort([y])]
    assert ops.count("scan") == 1 and len(ops) < 10


def test_the_op_stands_in_the_scope_of_its_layer_at_the_users_line() -> None:
    x = np.ones((5, 2, 3), np.float32)
    with tg.scope("model"):
        y, _ = nn.LSTM(3, 4, num_layers=2, bidirectional=True, rng=0)(x)
        z, _ = nn.GRU(8, 4, rng=0)(y)
    scans = [node for node in tg.toposort([z]) if node.op.name == "scan"]
    layers = [("LSTM", f"layer {k}{way}") for k in (0, 1) for way in ("", " reverse")]
    assert [node.scope for node in scans] == [("model", *path) for path in [*layers, ("GRU",)]]
    assert {node.where.rpartition(":")[0] for node in scans} == {__file__}
