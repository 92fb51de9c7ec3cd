"""Layers and steps for one input at a time: the numbers of the whole sequence, nothing recorded."""

from __future__ import annotations

import tracemalloc
from threading import Thread
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn, optim
from tinygrad_lstm.compiler.backends import BACKENDS

T, I, H = 6, 3, 5  # noqa: E741 - the equations' name
LAYERS: dict[str, Any] = {
    "LSTM": lambda dtype: nn.LSTM(I, H, dtype=dtype, rng=0),
    "LSTM with all": lambda dtype: nn.LSTM(I, H, 2, peephole=True, proj_size=2, dtype=dtype, rng=0),
    "GRU": lambda dtype: nn.GRU(I, H, 2, dtype=dtype, rng=0),
    "RNN without bias": lambda dtype: nn.RNN(I, H, nonlinearity="relu", bias=False, dtype=dtype),
}


def series(batch: int | None, dtype: Any = np.float64) -> np.ndarray:
    shape = (T, I) if batch is None else (T, batch, I)
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def leaves(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("kind", LAYERS)
def test_step_by_step_gives_what_the_sequence_gives(
    kind: str, batch: int | None, backend: str
) -> None:
    layer = LAYERS[kind](np.float64)
    x = series(batch)
    _, start = layer(x[:2])  # not zeros
    y, last = layer(x, start)
    step = layer.streaming(batch, backend=backend)
    state: Any = start.data if isinstance(start, tg.Tensor) else tuple(s.data for s in start)
    outputs = []
    for x_t in x:
        y_t, state = step(x_t, state)
        outputs.append(y_t)
    np.testing.assert_allclose(outputs, y.data, rtol=1e-12, atol=1e-14)
    for found, expected in zip(leaves(state), leaves(last), strict=True):
        np.testing.assert_allclose(found, expected.data, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_float32_stays_float32(kind: str) -> None:
    layer = LAYERS[kind](np.float32)
    x = series(2, np.float32)
    y, _ = layer(x)
    step, state, outputs = layer.streaming(2), None, []
    for x_t in x:
        y_t, state = step(x_t, state)
        outputs.append(y_t)
    assert all(a.dtype == np.float32 for a in (*outputs, *leaves(state)))
    np.testing.assert_allclose(outputs, y.data, rtol=1e-5, atol=1e-6)


def test_plain_arrays_are_taken_in_the_dtype_of_the_weights() -> None:
    step, x = nn.GRU(I, H, rng=0).streaming(), series(None)
    np.testing.assert_array_equal(step(x[0])[0], step(x[0].astype(np.float32))[0])


def test_results_are_the_callers_own() -> None:
    step = nn.LSTM(I, H, rng=0).streaming()
    x = series(None, np.float32)
    y, (h, c) = step(x[0])
    before = y.copy(), h.copy(), c.copy()
    step(x[1], (h, c))
    for now, then in zip((y, h, c), before, strict=True):
        np.testing.assert_array_equal(now, then)
    y[...] = 0.0
    np.testing.assert_array_equal(h, before[1])
    again, _ = step(x[0])  # no state: zeros, not what the last call left
    np.testing.assert_array_equal(again, before[0])


def test_inputs_may_be_strided_read_only_lists_and_tensors() -> None:
    step = nn.GRU(I, H, rng=0).streaming(2)
    x = np.random.default_rng(0).normal(size=(2, I)).astype(np.float32)
    expected, h = step(x)
    wide = np.zeros((4, 2 * I), np.float32)
    wide[::2, ::2] = x
    fixed = x.copy()
    fixed.flags.writeable = False
    for given in (wide[::2, ::2], fixed, x.tolist(), tg.tensor(x, requires_grad=True)):
        y, _ = step(given)
        np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(step(x, tg.tensor(h))[0], step(x, h)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_new_weights_are_seen_after_refresh_and_not_before(backend: str) -> None:
    lstm = nn.LSTM(I, H, rng=0, dtype=np.float64)
    step, x = lstm.streaming(backend=backend), series(None)
    old, _ = step(x[0])
    y, _ = lstm(x)
    (y**2).sum().backward()
    optim.SGD(lstm.parameters(), lr=1.0).step()
    np.testing.assert_array_equal(step(x[0])[0], old)
    step.refresh()
    new, _ = step(x[0])
    assert np.abs(new - old).max() > 0.01
    np.testing.assert_allclose(new, lstm(x)[0].data[0], rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_parameter_or_dtype_is_seen_after_refresh(backend: str) -> None:
    lstm = nn.LSTM(I, H, rng=0, dtype=np.float64)
    step, x = lstm.streaming(2, backend=backend), series(2)
    lstm.bias_ih_l0 = tg.Parameter(np.ones(4 * H))
    step.refresh()
    np.testing.assert_allclose(step(x[0])[0], lstm(x)[0].data[0], rtol=1e-12)
    lstm.to(np.float32)
    step.refresh()
    y, (h, _) = step(x[0].astype(np.float32))
    assert y.dtype == h.dtype == np.float32
    np.testing.assert_allclose(y, lstm(x.astype(np.float32))[0].data[0], rtol=1e-5)


def test_a_step_reads_all_that_it_closes_over_again() -> None:
    number, index = tg.tensor(2.0, dtype="f8"), tg.tensor(np.array([0, 1]))
    form: list[Any] = [lambda y: y]

    def step(h: Any, _: Any) -> Any:
        return h * number, form[0](h[:, index])

    run = tg.compiled_step(step, np.ones((1, 3)), backend="numpy")
    number.data = np.array(5.0)
    index.data = np.array([2, 0])
    run.refresh()
    h, y = run(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(h, [[5, 10, 15]])
    np.testing.assert_array_equal(y, [[3, 1]])
    form[0] = lambda y: {"y": y}
    run.refresh()
    assert set(run(h)[1]) == {"y"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_examples_may_lie_in_any_way(backend: str) -> None:
    h, x = np.zeros((2, 3)), np.arange(6.0).reshape(3, 2).T
    run = tg.compiled_step(lambda h, x: (h + x, x * 2.0), h.T.copy().T, x, backend=backend)
    after, y = run(h, x)
    np.testing.assert_array_equal(after, x)
    np.testing.assert_array_equal(y, 2 * x)


def test_dropout_between_layers_is_left_out() -> None:
    lstm = nn.LSTM(I, H, 2, dropout=0.5, rng=0, dtype=np.float64)
    x = series(None)
    y, _ = lstm.streaming()(x[0])
    np.testing.assert_allclose(y, lstm.eval()(x)[0].data[0], rtol=1e-12)


def test_a_call_keeps_no_memory_and_needs_little() -> None:
    step = nn.LSTM(I, H, rng=0).streaming()
    x = series(None, np.float32)
    _, state = step(x[0])
    tracemalloc.start()
    try:
        for _ in range(20):
            step(x[0], state)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(500):
            step(x[0], state)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000  # one small array kept per call would be 60,000
    assert peak - before < 10_000  # a trace of the step, or its plan, takes far more


def test_threads_can_share_a_step() -> None:
    gru = nn.GRU(I, 64, rng=0)
    step = gru.streaming()
    inputs = np.random.default_rng(0).normal(size=(4, 40, I)).astype(np.float32)
    found: dict[int, Any] = {}

    def read(k: int) -> None:
        state = None
        for x_t in inputs[k]:
            _, state = step(x_t, state)
        found[k] = state

    threads = [Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        np.testing.assert_allclose(found[k], gru(inputs[k])[1].data, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s(np.zeros((2, I + 1), "f4")), tg.ShapeError, r"x_t must be \(2, 3\)"),
        (lambda s: s(np.zeros(I, "f4")), tg.ShapeError, r"LSTM: x_t must be .* got \(3,\)"),
        (
            lambda s: s(tg.tensor(np.zeros((2, I)))),
            tg.DTypeError,
            "x_t is float64, the parameters are float32",
        ),
        (lambda s: s(np.zeros((2, I), "f4"), np.zeros((1, 2, H), "f4")), TypeError, r"\(h, c\)"),
        (
            lambda s: s(
                np.zeros((2, I), "f4"), (np.zeros((1, 2, H), "f4"), np.zeros((2, H), "f4"))
            ),
            tg.ShapeError,
            r"c must be \(1, 2, 5\), got \(2, 5\)",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(call: Any, error: type[Exception], message: str) -> None:
    step = nn.LSTM(I, H, rng=0).streaming(2)
    with pytest.raises(error, match=message):
        call(step)


def test_a_reverse_direction_cannot_be_streamed() -> None:
    with pytest.raises(ValueError, match="reverse direction starts at the end"):
        nn.LSTM(I, H, bidirectional=True).streaming()


def test_a_batch_is_a_positive_number() -> None:
    with pytest.raises(ValueError, match="batch must be a positive integer, got 0"):
        nn.RNN(I, H).streaming(0)
    with pytest.raises(ValueError, match="backend: expected None or one of"):
        nn.RNN(I, H).streaming(backend="cuda")


# -- any step -------------------------------------------------------------------------------------


W = np.random.default_rng(1).normal(size=(I + H, H))


def gated(carry: Any, x_t: Any) -> tuple[Any, Any]:
    """A minimal gated unit with a counter, of which scan knows nothing."""
    f_t = tg.sigmoid(tg.concatenate([x_t, carry["h"]], axis=-1) @ tg.tensor(W))
    h = f_t * carry["h"] + (1.0 - f_t) * tg.tanh(carry["h"] + x_t.sum(axis=-1, keepdims=True))
    return {"h": h, "count": (carry["count"][0] + 1.0,)}, (h[:, :2], x_t * 2.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_step_gives_what_scan_gives(backend: str) -> None:
    x = series(2)
    carry: Any = {"h": np.zeros((2, H)), "count": (np.zeros((2, 1)),)}
    last, ys = tg.scan(gated, carry, tg.tensor(x))
    run = tg.compiled_step(gated, carry, x[0], backend=backend)
    found = []
    for x_t in x:
        carry, y_t = run(carry, x_t)
        found.append(y_t)
    for one, other in zip(zip(*found, strict=True), ys, strict=True):
        np.testing.assert_allclose(one, other.data, rtol=1e-12)
    np.testing.assert_allclose(carry["h"], last["h"].data, rtol=1e-12)
    np.testing.assert_array_equal(carry["count"][0], last["count"][0].data)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_whole_model_that_starts_from_integers_is_one_step(backend: str) -> None:
    table, lstm, head = nn.Embedding(7, I, rng=0), nn.LSTM(I, H, rng=1), nn.Linear(H, 7, rng=2)

    def step(state: Any, index: Any) -> tuple[Any, Any]:
        y, state = lstm(tg.unsqueeze(table(index), 0), state)
        return state, head(y[0])

    codes = np.random.default_rng(0).integers(7, size=(T, 2))
    y, _ = lstm(table(codes))
    state: Any = (np.zeros((1, 2, H), np.float32),) * 2
    run = tg.compiled_step(step, state, codes[0], backend=backend)
    for k, index in enumerate(codes):
        state, scores = run(state, index)
        np.testing.assert_allclose(scores, head(y[k]).data, rtol=1e-5, atol=1e-6)


def test_a_step_without_input_runs_by_itself() -> None:
    run = tg.compiled_step(lambda n, _: (n * 2.0, n), np.ones(3))
    carry, y = run(np.ones(3))
    carry, y = run(carry)
    np.testing.assert_array_equal(carry, np.full(3, 4.0))
    np.testing.assert_array_equal(y, np.full(3, 2.0))


@pytest.mark.parametrize(
    ("carry", "x_t", "error", "message"),
    [
        ((np.ones((2, H)),), np.ones((2, I)), tg.ShapeError, r"carry: expected \{count: "),
        (
            {"h": np.ones((2, H)), "count": (np.ones((2, 1)),)},
            np.ones((3, I)),
            tg.ShapeError,
            r"x_t: expected \(2, 3\), got \(3, 3\)",
        ),
        (
            {"h": np.ones((2, H), "f4"), "count": (np.ones((2, 1)),)},
            np.ones((2, I)),
            tg.DTypeError,
            "carry: expected float64, got float32",
        ),
    ],
)
def test_what_is_not_like_the_examples_is_an_error(
    carry: Any, x_t: Any, error: type[Exception], message: str
) -> None:
    example = {"h": np.ones((2, H)), "count": (np.ones((2, 1)),)}
    run = tg.compiled_step(gated, example, np.ones((2, I)), backend="numpy")
    with pytest.raises(error, match=message):
        run(carry, x_t)


def test_a_step_that_draws_random_numbers_is_an_error() -> None:
    def step(carry: Any, x_t: Any) -> tuple[Any, Any]:
        return tg.dropout(carry + x_t, 0.5), x_t

    with pytest.raises(tg.GraphError, match=r"draws random numbers.*eval\(\)"):
        tg.compiled_step(step, np.ones(3), np.ones(3))


def test_a_step_without_a_native_form_runs_with_numpy_and_says_so() -> None:
    def step(carry: Any, x_t: Any) -> tuple[Any, Any]:
        carry = (carry + x_t)[order]
        return carry, carry

    order = np.array([2, 0, 1])

    x = np.arange(3.0)
    quiet = tg.compiled_step(step, x, x, backend="numpy")
    with pytest.warns(RuntimeWarning, match="no form for this step.*index by arrays") as caught:
        run = tg.compiled_step(step, x, x, backend="numba")
        tg.scan(step, x, x[None], backend="numba")
    assert [w.filename for w in caught] == [__file__] * 2
    for found in (run, quiet):
        np.testing.assert_array_equal(found(x, x)[1], 2.0 * x[order])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupted_refresh_leaves_the_step_as_it_was(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tg.nn.LSTM(3, 4, rng=0)
    step, x = layer.streaming(2, backend=backend), np.ones((2, 3), np.float32)
    before, _ = step(x)
    for p in layer.parameters():
        p.data *= 2.0

    def interrupted(bound: Any) -> Any:
        def bind(*given: Any, **options: Any) -> Any:
            bound(*given, **options)
            raise KeyboardInterrupt

        return bind

    if backend == "numba":
        from tinygrad_lstm.compiler.native.single import NativeStep

        monkeypatch.setattr(NativeStep, "bind", interrupted(NativeStep.bind))
    else:
        monkeypatch.setattr(np, "array", interrupted(np.array))
    with pytest.raises(KeyboardInterrupt):
        step.refresh()
    monkeypatch.undo()
    np.testing.assert_array_equal(step(x)[0], before)
    step.refresh()
    assert not np.array_equal(step(x)[0], before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_a_step_closes_over_is_of_one_moment(backend: str) -> None:
    table = tg.Parameter(np.ones((9, 4), np.float32), name="table")
    w = tg.Parameter(np.eye(4, dtype=np.float32), name="w")

    def step(h: Any, index: Any) -> Any:
        h = h @ w + tg.embedding(index, table)
        return h, h

    h, index = np.ones((1, 4), np.float32), np.array([0])
    run = tg.compiled_step(step, h, index, backend=backend)
    w.data *= 10.0
    table.data *= 100.0
    assert run(h, index)[1][0, 0] == 2.0
    run.refresh()
    assert run(h, index)[1][0, 0] == 110.0


def test_a_refresh_that_is_refused_changes_nothing() -> None:
    number, is_random = 0.0, False

    def step(h: Any, x: Any) -> Any:
        nonlocal number
        number += 1.0
        return (h + x * number, {"h": h}) if is_random else (h + x, (h, x))

    h = np.ones((2, 3))
    run = tg.compiled_step(step, h, h)
    is_random = True
    with pytest.raises(tg.GraphError, match="records other ops or numbers"):
        run.refresh()
    _, (first, second) = run(h, 2.0 * h)
    np.testing.assert_array_equal(first, h)
    np.testing.assert_array_equal(second, 2.0 * h)
