"""Steps on columns, with weights on the left: the same numbers as unrolled, run as rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both_ways import leaves_of
from graphs import parameter, run, traced
from user_cells import H, I

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.columns import columns_as_rows

T, B = 6, 5
W, U, BIAS = parameter(0, H, I), parameter(1, H, H), parameter(2, H, 1)
GATES = [(parameter(3 + k, H, H + I), parameter(7 + k, H, 1)) for k in range(4)]
OWN, LAST = parameter(11, B), parameter(12, H)


def lstm(state: Any, x: Tensor) -> Any:
    """As it stands in courses: one ANN per gate, on h over x."""
    h, c = state
    both = tg.concatenate([h, x], axis=0)
    f, i, g, o = (w @ both + b for w, b in GATES)
    c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
    h = tg.sigmoid(o) * tg.tanh(c)
    return (h, c), h


def elman(h: Tensor, x: Tensor) -> Any:
    h = tg.tanh(W @ x + U @ h + BIAS)
    return h, h


def normalised(h: Tensor, x: Tensor) -> Any:
    z = W @ x + U @ h
    z = (z - z.mean(0, keepdims=True)) / tg.sqrt(z.var(0, keepdims=True) + 1e-3)
    h = tg.tanh(z + BIAS)
    return h, (h.sum(0), tg.softmax(h, axis=0)[:2], h.max(1))


def each_column_its_own(h: Tensor, x: Tensor) -> Any:
    h = tg.tanh(W @ x + (U @ h) * OWN)
    return h, tg.where(h > 0, h, OWN * 0.1)


def put_together(h: Tensor, x: Tensor) -> Any:
    z = U.T @ h
    parts = [z[::-1][:2], tg.cumsum(x[:2], axis=0), tg.stack([z[0], z[-1]])]
    h = tg.tanh(tg.concatenate(parts, axis=0)[:H] + BIAS)
    return h, (h.T @ h, h[1:3, None, 0], h[:, 0])


def passed_through(state: Any, x: Tensor) -> Any:
    h, other = state
    return (tg.tanh(U @ h + W @ x), h), (other, U)


STEPS: dict[str, tuple[Callable[..., Any], Any]] = {
    "lstm": (lstm, ((H, B), (H, B))),
    "elman": (elman, (H, B)),
    "normalised": (normalised, (H, B)),
    "each column its own": (each_column_its_own, (H, B)),
    "put together": (put_together, (H, B)),
    "passed through": (passed_through, ((H, B), (H, B))),
}


def given(shape: Any, seed: int = 0, dtype: Any = np.float64) -> Any:
    if isinstance(shape[0], tuple):
        return tuple(given(s, seed + k, dtype) for k, s in enumerate(shape))
    values = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return tg.tensor(values, requires_grad=True)


WEIGHTS = [W, U, BIAS, OWN, *(p for pair in GATES for p in pair)]


@pytest.mark.parametrize("reverse", [False, True], ids=["forth", "back"])
@pytest.mark.parametrize("name", STEPS)
def test_columns_give_what_they_give_unrolled(name: str, reverse: bool, assert_same):
    step, carry = STEPS[name]
    assert_same(step, given(carry), given((T, I, B), 9), WEIGHTS, reverse=reverse)


@pytest.mark.parametrize("batch", [1, H, I])
def test_one_column_and_square_ones(batch: int, assert_same):
    for step, carry in (lstm, ((H, batch), (H, batch))), (elman, (H, batch)):
        assert_same(step, given(carry), given((T, I, batch), 9), WEIGHTS)


def test_vectors_are_multiplied_from_the_left(assert_same):
    def step(state: Any, x: Tensor) -> Any:
        h, c = state
        z = W @ x + U @ h + LAST
        return (tg.tanh(z), c * 0.5 + z[::-1]), (z.sum(), tg.softmax(z)[1:])

    assert_same(step, given(((H,), (H,))), given((T, I), 9), [W, U, LAST])


def test_lengths_go_along_the_first_axis_whatever_it_is(assert_same):
    lengths = [6, 0, 3, 5]  # one for each of the H rows: scan knows of no other batch
    square = parameter(5, H, H)

    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(square @ x + U @ h)
        return h, h

    assert_same(step, given((H, B)), given((T, H, B), 9), [square, U], lengths=lengths)


def test_gradients_of_gradients_go_through_the_unrolled_steps(backend: str):
    h, x = given((H, B)), given((T, I, B), 9)

    def second(**options: Any) -> np.ndarray:
        _, y = tg.scan(elman, h, x, **options)
        (first,) = tg.grad((y * y).sum(), [U], create_graph=True)
        (found,) = tg.grad((first * first).sum(), [W])
        return found.data

    np.testing.assert_allclose(second(backend=backend), second(unroll=True), rtol=1e-10)


def test_results_are_the_callers_own(backend: str):
    h, x = given((H, B)), given((T, I, B), 9)
    last, y = tg.scan(elman, h, x, backend=backend)
    first = [t.data.copy() for t in (last, y)]
    tg.scan(elman, given((H, B), 5), given((T, I, B), 6), backend=backend)
    for t, before in zip((last, y), first, strict=True):
        np.testing.assert_array_equal(t.data, before)


def test_one_step_at_a_time(backend: str):
    for step, carry, inputs in (lstm, ((H, B), (H, B)), (I, B)), (elman, (H, B), (I, B)):
        state, xs = given(carry), given((T, *inputs), 9).data
        _, expected = tg.scan(step, state, tg.tensor(xs), unroll=True)
        state = tuple(t.data for t in leaves_of(state)) if step is lstm else state.data
        run_step = tg.compiled_step(step, state, xs[0], backend=backend)
        for x, y in zip(xs, expected.data, strict=True):
            state, found = run_step(state, x)
            np.testing.assert_allclose(found, y, rtol=1e-12)


# -- the pass -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPS)
def test_the_step_on_rows_is_the_step(name: str):
    step, carry = STEPS[name]
    shapes = [*carry] if isinstance(carry[0], tuple) else [carry]

    def flat(*tensors: Tensor) -> Any:
        *state, x = tensors
        return step(tuple(state) if len(state) > 1 else state[0], x)

    graph, arrays = traced(flat, *shapes, (I, B))
    found = columns_as_rows(graph, len(shapes), 1)
    assert found is not None
    exchanged = [a.T if turned else a for a, turned in zip(arrays, found.inputs, strict=True)]
    results = run(found.graph, exchanged)
    for one, other, turned in zip(run(graph, arrays), results, found.outputs, strict=True):
        np.testing.assert_allclose(other.T if turned else other, one, rtol=1e-12)
    moving = found.graph.depending_on(found.graph.inputs[: len(shapes) + 1])
    products = [i for i in found.graph.instructions if i.op.name == "matmul"]
    assert products and all(i.inputs[0] in moving for i in products)


def test_gates_on_columns_are_one_product_for_h_and_one_for_x():
    explained = tg.scan.explain(lstm, given(((H, B), (H, B))), given((T, I, B)), backend="numpy")
    assert explained.columns
    products = [s for s in (*explained.at_once, *explained.loop) if s.kind == "product"]
    assert [s.number for s in products] == [4, 4]
    assert [i.shape for i in explained.inputs[:3]] == [(H, B), (H, B), (T, I, B)]
    assert "rows instead of columns: W @ h is run as h @ W.T" in str(explained)


def test_columns_are_rows_of_a_batch_forth_and_back():
    pytest.importorskip("llvmlite")
    _, y = tg.scan(lstm, given(((H, B), (H, B))), given((T, I, B)), backend="numba")
    node = y.node
    while node is not None and "plan" not in node.attrs:
        node = node.inputs[0].node
    assert node is not None
    loops = node.attrs["plan"].runner.loops
    assert [made.layout.batch for made in loops] == [B, B]


SUITED_NEITHER_WAY = {
    "weights on both sides": lambda h, x: U @ h @ parameter(20, B, B),
    "weights on the right": lambda h, x: h @ parameter(20, B, B) + x[:1],
    "an einsum": lambda h, x: tg.einsum("ij,jb->ib", U, U @ h),
    "numbers in another order": lambda h, x: (U @ h).reshape(B, H).T,
    "three axes": lambda h, x: ((U @ h)[:, :, None] * x[0]).sum(2),
    "an index by numbers": lambda h, x: (U @ h)[np.array([0, 2, 1, 3])],
}


@pytest.mark.parametrize("name", SUITED_NEITHER_WAY)
def test_other_steps_stay_as_they_are(name: str):
    step = SUITED_NEITHER_WAY[name]
    graph, _ = traced(step, (H, B), (I, B))
    assert columns_as_rows(graph, 1, 1) is None
