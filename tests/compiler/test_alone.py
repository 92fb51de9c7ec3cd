"""Integers that a step carries for themselves are run before the rest, which then is native."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_ways import assert_close, assert_same, leaves_of, loss_of, may_fall_back
from graphs import B, T, ops, parameter, run, traced
from user_cells import H

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.alone import divide

W = parameter(0, H, H)


def counting(carry: Any, x: Tensor) -> Any:
    """A state, a count of the steps, a flag that the count sets; all are handed out."""
    h, k, late = carry
    h = tg.tanh(h @ W + x) * tg.where(k < 2, 1.0 + h * 0.0, h)
    h = tg.where(late, h, h * 0.5)
    return (h, k + 1, late | (k > 1)), {"h": h, "k": k, "twice": k * 2, "late": late}


def start(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    h = tg.tensor(np.random.default_rng(1).normal(size=(B, H)), requires_grad=True)
    return h, tg.tensor(np.zeros(shape, np.int64)), tg.tensor(np.zeros(shape, bool))


def series() -> Tensor:
    return tg.tensor(np.random.default_rng(2).normal(size=(T, B, H)), requires_grad=True)


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"lengths": [T, 0, 2]}], ids=str)
def test_compiled_is_unrolled(backend, options):
    shape = (B, 1) if "lengths" in options else ()
    assert_same(counting, start(*shape), series(), [W], backend=backend, **options)


def test_the_rest_is_native_and_says_what_was_run_before():
    pytest.importorskip("llvmlite")
    told = tg.scan.explain(counting, start(), series(), backend="numba")
    assert told.backend == "numba" and told.instead_of is None
    assert [i.role for i in told.inputs if i.shape == (T,)] == ["carried alone"] * 2
    assert "carried alone" in str(told)


def test_gradients_of_gradients_and_what_is_recorded(backend):
    def second_order(**options: Any) -> list[np.ndarray]:
        carry, x = start(), series()
        record = tg.Recording()
        found = tg.scan(counting, carry, x, record=record, **options)
        slopes = tg.grad(loss_of(leaves_of(*found)), [W, x], create_graph=True)
        twice = tg.grad(loss_of(slopes), [W, x, carry[0]])
        return [t.data for t in (*leaves_of(*found), *slopes, *twice)]

    for got, expected in zip(second_order(backend=backend), second_order(unroll=True), strict=True):
        assert_close(got, expected, "gradient")


def test_a_recording_shows_the_integers_too(backend):
    def step(carry: Any, x: Tensor) -> Any:
        h, k = carry
        k = (k + 1).named("k_t")
        h = (tg.tanh(h + x) * (k > 2)).named("h_t")
        return (h, k), h

    record = tg.Recording()
    tg.scan(step, (np.zeros(3), np.array(0)), np.ones((T, 3)), backend=backend, record=record)
    assert record["k_t"].tolist() == [1, 2, 3, 4, 5] and record["h_t"].shape == (T, 3)


def test_a_scan_in_a_step_may_count_too(backend):
    def step(carry: Any, x: Tensor) -> Any:
        h, k = carry

        def inner(state: Any, _: Any) -> Any:
            a, m = state
            return (tg.tanh(a @ W) + (m > 1) * a, m + k), m

        (a, m), seen = tg.scan(inner, (h, k), None, steps=3)
        return (a + x, m), seen

    h, k, _ = start()
    assert_same(step, (h, k), series(), [W], backend=backend)


def test_a_number_beside_a_large_batch_has_its_gradient(backend):
    batch, decay = 4096 // H, parameter(3)

    def step(carry: Any, x: Tensor) -> Any:
        h, s = carry
        h = tg.tanh(h @ W + x * s)
        return (h, (s * decay).named("s_t")), h * s

    rng = np.random.default_rng(4)
    h, s, x = (
        tg.tensor(rng.normal(size=shape) * 0.5, requires_grad=True)
        for shape in ((batch, H), (), (T, batch, H))
    )
    assert_same(step, (h, s), x, [W, decay], backend=backend)
    roles = [i.role for i in tg.scan.explain(step, (h, s), x, backend=backend).inputs]
    assert roles.count("carried alone") == (backend == "numba")
    grads: list[np.ndarray] = []
    ways: list[dict[str, Any]] = [{"unroll": True}, {"backend": backend}]
    for options in ways:
        record = tg.Recording("s_t", grads=True)
        _, ys = tg.scan(step, (h, s), x, record=record, **options)
        (ys * ys).sum().backward()
        grads.append(record.grad["s_t"])
    assert_close(grads[1], grads[0], "of a recorded number")


@may_fall_back
def test_integers_that_the_state_decides_stay_with_it(backend):
    def step(carry: Any, x: Tensor) -> Any:
        h, k, n = carry
        h = tg.tanh(h @ W + x)
        return (h, k + (h > 0).sum(), n + 1), h * (k > 3) * (n > 1)

    h, k, _ = start()
    assert_same(step, (h, k, k), series(), [W], backend=backend)


def test_the_two_graphs_together_are_the_step():
    def step(h: Tensor, k: Tensor, n: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return tg.tanh(h @ W + x) * (k < n), k + 1, n * 2 + k, h, k * 2

    graph, (h, k, n, x, w) = traced(step, (B, H), (), (), (B, H), integers=(1, 2))
    divided = divide(graph, 3, 1)
    assert divided is not None and divided.carries == (1, 2)
    assert "matmul" not in ops(divided.ahead) and ops(divided.rest)["matmul"] == 1
    found = run(divided.ahead, [k, n, x, w])
    results, before = found[: len(divided.outputs)], found[len(divided.outputs) :]
    rest = run(divided.rest, [h, x, *before, w])
    for got, expected in zip(
        divided.together(results, rest), run(graph, [h, k, n, x, w]), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_nothing_is_divided_without_integers_or_without_a_rest():
    graph, _ = traced(lambda h, x: (tg.tanh(h + x), h), (B, H), (B, H))
    assert divide(graph, 1, 1) is None
    graph, _ = traced(lambda k, x: (k + 1, k), (B,), (B,), integers=(0,))
    assert divide(graph, 1, 1) is None
