"""A long sequence in windows: values go on from one to the next, gradients and memory do not."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, nn

T, B, I, H = 12, 2, 3, 4  # noqa: E741 - the equations' name
KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


def series(steps: int = T) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(steps, B, I))


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [1, 5, T])
def test_windows_give_what_the_whole_sequence_gives(kind: str, window: int, unroll: bool) -> None:
    layer = KINDS[kind](I, H, num_layers=2, dtype=np.float64, rng=0)
    x = series()
    whole, last = layer(x)
    reader = nn.Stateful(layer)
    outputs = [reader(x[t : t + window], unroll=unroll).data for t in range(0, T, window)]
    np.testing.assert_allclose(np.concatenate(outputs), whole.data, rtol=1e-12)
    states = zip(_leaves(reader.state), _leaves(last), strict=True)
    for found, expected in states:
        np.testing.assert_allclose(found.data, expected.data, rtol=1e-12)


def _leaves(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_stop_at_the_border_of_a_window(kind: str) -> None:
    layer = KINDS[kind](I, H, dtype=np.float64, rng=0)
    first, second = (tg.tensor(part, requires_grad=True) for part in np.split(series(), 2))
    reader = nn.Stateful(layer)
    reader(first)
    constant = reader.state
    assert all(t.node is None and not t.requires_grad for t in _leaves(constant))
    (reader(second) ** 2).sum().backward()
    assert first.grad is None and second.grad is not None
    found = [p.grad.data for p in layer.parameters() if p.grad is not None]
    y, _ = layer(series()[T // 2 :], constant)
    expected = tg.grad((y**2).sum(), list(layer.parameters()))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.data, rtol=1e-12)
    assert any(np.abs(t.data).max() > 0.01 for t in _leaves(constant))  # it did matter


@pytest.mark.parametrize("options", [{"backend": "numpy"}, {"unroll": True}], ids=str)
def test_memory_does_not_grow_with_the_windows(options: dict[str, Any]) -> None:
    layer = nn.LSTM(I, 64, rng=0)
    reader, x = nn.Stateful(layer), np.ones((10, 32, I), np.float32)
    of_a_window = 7 * 4 * 10 * 32 * 64  # the gates, c, tanh c and h at every step

    def read(windows: int) -> tuple[int, int]:
        """Bytes after some windows, and at the worst moment of them."""
        gc.collect()
        tracemalloc.reset_peak()
        for _ in range(windows):
            reader(x, **options).sum().backward()
            layer.zero_grad()
        return tracemalloc.get_traced_memory()

    reader(x, **options).sum().backward()  # compiled, if at all, before we count
    tracemalloc.start()
    try:
        read(1)
        after, peak = read(2)
        later, highest = read(8)
    finally:
        tracemalloc.stop()
    assert peak - after > of_a_window  # what a window needs is counted
    assert later - after < 0.5 * of_a_window and highest - peak < 0.5 * of_a_window


def test_a_state_may_be_any_nest_of_tensors() -> None:
    def model(x: float, state: Any) -> tuple[float, Any]:
        seen = tg.tensor(x, requires_grad=True) * 2.0
        before = state["sum"][0] if state else 0.0
        return x, {"sum": (before + seen,), "nothing": None}

    reader = nn.Stateful(model)
    assert reader.state is None
    assert [reader(x) for x in (1.0, 2.0, 3.0)] == [1.0, 2.0, 3.0]
    state: Any = reader.state
    assert state["sum"][0].item() == 12.0 and state["nothing"] is None
    assert state["sum"][0].node is None


def test_the_state_can_be_forgotten_and_set() -> None:
    lstm = nn.LSTM(I, H, rng=0)
    reader, x = nn.Stateful(lstm), np.ones((3, B, I), np.float32)
    first, second = reader(x).data, reader(x).data
    assert (first != second).any()
    kept = reader.state
    reader.reset()
    np.testing.assert_array_equal(reader(x).data, first)
    start = tg.tensor(np.ones((1, B, H), np.float32), requires_grad=True)
    reader.state = (start * 2.0, start)
    assert not any(t.requires_grad for t in reader.state)
    reader.state = kept
    third, _ = lstm(x, kept)
    np.testing.assert_array_equal(reader(x).data, third.data)


def test_a_call_that_fails_leaves_the_state_alone() -> None:
    reader = nn.Stateful(nn.GRU(I, H, rng=0))
    reader(np.ones((3, B, I), np.float32))
    before = reader.state
    with pytest.raises(tg.ShapeError):
        reader(np.ones((3, B, I + 1), np.float32))
    assert reader.state is before


def test_a_model_must_be_something_to_call() -> None:
    with pytest.raises(TypeError, match="model: expected a Module or a function, got int"):
        nn.Stateful(3)  # type: ignore[arg-type]
