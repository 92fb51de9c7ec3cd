"""detect_anomaly names the compiled scan that made the first NaN or infinity, and how to go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import NonFiniteError, Tensor, nn

ADVICE = r"\(.*test_compiled_anomaly\.py:\d+\).*; unroll=True tells which op$"


def quotients(unroll: bool, divisors: list[float]) -> tuple[Tensor, Tensor]:
    """h_t = sqrt(h_{t-1} / x_t), for two sequences at once, and all h_t."""
    h_0 = tg.tensor([1.0, 0.0], requires_grad=True, name="h_0")
    x = tg.tensor([[d, d] for d in divisors], name="x")

    def step(h: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        h_t = tg.sqrt(h / d).named("h_t")
        return h_t, h_t

    with tg.scope("model"):
        return tg.scan(step, h_0, x, unroll=unroll)


def test_a_value_is_told_with_scan_scope_step_and_line():
    told = rf"^NaN at index \(2, 1\) from scan in model: h_0 \(2,\), x \(4, 2\) {ADVICE}"
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match=told):
        quotients(False, [1.0, 1.0, 0.0, 1.0])


def test_unrolled_it_is_told_with_the_op():
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match="from div in model/t=2: "):
        quotients(True, [1.0, 1.0, 0.0, 1.0])


def test_a_last_state_without_outputs_is_looked_at_too():
    h_0 = tg.tensor([1e30, 1.0])
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match=r"index \(0,\) from scan: "):
        tg.scan(lambda h, _: (h * h, None), h_0, steps=2)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("result", [0, 1], ids=["last carry", "outputs"])
def test_a_gradient_is_told_as_the_scans(result: int, create_graph: bool):
    with tg.detect_anomaly():
        loss = quotients(False, [1.0, 1.0])[result].sum()  # sqrt at 0 has no slope
        with pytest.raises(NonFiniteError, match=rf"from backward of scan in model: h_0.*{ADVICE}"):
            loss.backward(create_graph=create_graph)


def test_the_graph_remembers_to_be_looked_at():
    with tg.detect_anomaly():
        loss = quotients(False, [1.0, 1.0])[0].sum()
    with pytest.raises(NonFiniteError, match="from backward of scan in model"):
        loss.backward()


def test_a_cotangent_that_is_not_finite_is_told_where_it_spreads():
    h_0 = tg.tensor([1.0], requires_grad=True)
    last, _ = tg.scan(lambda h, _: (h * 2.0, None), h_0, steps=2)
    told = r"^NaN at index \(0,\) from backward of scan: "
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match=told):
        last.backward(tg.tensor([np.nan]))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_of_several_layers_the_first_that_spoils_numbers_is_named(kind: Any):
    layer = kind(3, 4, num_layers=2, rng=0)
    layer.weight_hh_l1.data = np.full_like(layer.weight_hh_l1.data, np.nan)
    told = rf"from scan in {kind.__name__}/layer 1: .* {ADVICE}"
    with tg.detect_anomaly(), pytest.raises(NonFiniteError, match=told) as error:
        layer(np.ones((5, 2, 3), np.float32))
    assert "not finite already: weight_hh_l1" in str(error.value)


def test_finite_numbers_pass_and_stay_the_same():
    layer, x = nn.LSTM(3, 4, rng=0), np.ones((5, 2, 3), np.float32)
    plain, _ = layer(x, lengths=[5, 2])
    with tg.detect_anomaly():
        y, _ = layer(x, lengths=[5, 2])
        y.sum().backward()
    np.testing.assert_array_equal(y.numpy(), plain.numpy())
