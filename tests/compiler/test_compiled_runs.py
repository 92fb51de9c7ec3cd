"""Compiled once, run often: plans are kept, runs do not disturb each other, nothing piles up."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from both_ways import leaves_of, loss_of, may_fall_back
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Node, Tensor
from tinygrad_lstm.compiler import plans, recent
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.nn.cells import lstm_step, lstm_weights


def leaf(seed: int, *shape: int) -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape) * 0.5
    return tg.tensor(values, requires_grad=True)


def plan_of(t: Tensor) -> Plan:
    """The plan that made a result of a compiled scan."""
    (node,) = (n for n in tg.toposort([t]) if n.op.name == "scan")
    return node.attrs["plan"]


def kept_by(node: Node) -> list[Any]:
    """The arrays over time that a scan keeps for its backward pass."""
    return node.attrs["plan"].runner.kept(node.saved)


def run(name: str, weights_seed: int, x: Tensor, backend: str, **options: Any) -> tuple[Plan, Any]:
    step, carry, weights = case(name, seed=weights_seed)
    final, ys = tg.scan(step, tensors(carry, x.shape[1]), x, backend=backend, **options)
    loss = loss_of(leaves_of(final, ys))
    return plan_of(loss), tg.grad(loss, weights, allow_unused=True)


# -- plans are kept -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_the_same_cell_with_other_weights_is_not_compiled_again(name, backend, assert_same):
    x = leaf(0, 5, 3, I)
    plans = {id(run(name, seed, x, backend)[0]) for seed in range(3)}
    assert len(plans) == 1
    for seed in range(3):
        step, carry, weights = case(name, seed=seed)
        assert_same(step, tensors(carry, 3), x, weights)


def test_what_changes_the_graph_is_compiled_anew(backend):
    x = leaf(0, 5, 3, I)
    first, _ = run("lstm", 0, x, backend)
    assert run("lstm", 0, leaf(1, 5, 3, I), backend)[0] is first
    others = [
        run("gru", 0, x, backend)[0],
        run("lstm", 0, leaf(0, 5, 2, I), backend)[0],
        run("lstm", 0, leaf(0, 4, 3, I), backend)[0],
        run("lstm", 0, x, backend, lengths=[5, 5, 1])[0],
        run("lstm", 0, x.detach(), backend)[0],
    ]
    assert len({id(plan) for plan in [first, *others]}) == 6


def test_each_backend_has_plans_of_its_own():
    pytest.importorskip("llvmlite")
    plans = [run("lstm", 0, leaf(0, 5, 3, I), name)[0] for name in ("numpy", "numba")]
    assert [plan.backend.name for plan in plans] == ["numpy", "numba"]


def test_a_number_in_the_step_is_part_of_the_plan(backend):
    x = np.ones((3, 2))
    for factor in (2.0, 3.0, 2.0):
        last, _ = tg.scan(lambda h, x, k=factor: (h * k, x), np.ones(2), x, backend=backend)
        np.testing.assert_array_equal(last.data, factor**3)


@may_fall_back
def test_what_an_op_is_told_is_part_of_the_plan(backend):
    x = np.arange(12.0).reshape(1, 2, 6)
    for index in (slice(0, 2), slice(2, 4), slice(4, 6), np.array([0, 5]), np.array([5, 0])):
        _, ys = tg.scan(lambda h, x, i=index: (h, x[:, i] + h), np.zeros(2), x, backend=backend)
        np.testing.assert_array_equal(ys.data[0], x[0][:, index])
    for axis in (0, 1):
        square = np.arange(9.0).reshape(1, 3, 3)
        _, ys = tg.scan(
            lambda h, x, k=axis: (h, x.sum(k) + h), np.zeros(3), square, backend=backend
        )
        np.testing.assert_array_equal(ys.data[0], square[0].sum(axis))


def test_a_number_that_somebody_overwrites_is_told_from_what_it_was(backend):
    factor = tg.tensor(np.array(2.0))

    def cube(k: Tensor) -> float:
        return tg.scan(lambda h, x: (h * k, x), np.ones(()), steps=3, backend=backend)[0].item()

    assert cube(factor) == 8.0
    factor.data[...] = 3.0
    assert cube(factor) == 27.0
    assert cube(tg.tensor(np.array(2.0))) == 8.0


@may_fall_back
def test_an_index_that_somebody_overwrites_is_told_from_what_it_was(backend):
    xs = tg.tensor(np.random.default_rng(0).normal(size=(3, 1, 4)))

    def run(index: np.ndarray, **options: Any) -> np.ndarray:
        def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            h = h[:, index] * 0.5 + x
            return h, h

        return tg.scan(step, tg.tensor(np.zeros((1, 4))), xs, **options)[1].data

    index = np.array([3, 0, 2, 1])
    expected = run(index, unroll=True)
    np.testing.assert_allclose(run(index, backend=backend), expected)
    index[:] = 0
    assert not np.allclose(run(index, backend=backend), expected)
    np.testing.assert_allclose(run(np.array([3, 0, 2, 1]), backend=backend), expected)


def test_a_step_that_calls_its_values_otherwise_has_names_of_its_own(backend):
    def named(name: str, weight: str) -> tuple[str | None, set[str]]:
        w = tg.tensor(np.eye(2), requires_grad=True, name=weight)

        def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            h = tg.tanh(h @ w + x).named(name)
            return h, h

        last, _ = tg.scan(step, np.zeros((1, 2)), np.ones((3, 1, 2)), backend=backend)
        assert last.node is not None
        (run,) = last.node.inputs
        assert run.node is not None
        return last.name, set(run.node.attrs["graph"].names.values())

    before = len(plans._plans)
    assert named("h_t", "W") == ("h_t", {"h_t", "W", "x_t"})
    assert named("state", "U") == ("state", {"state", "U", "x_t"})
    assert named("h_t", "W") == ("h_t", {"h_t", "W", "x_t"})
    assert len(plans._plans) <= before + 1


def test_the_plans_kept_are_limited(backend, monkeypatch):
    monkeypatch.setattr(plans, "_plans", type(plans._plans)())
    monkeypatch.setattr(recent, "_MOST", 3)
    for steps in range(1, 6):
        tg.scan(lambda h, x: (h * 2.0, h), 1.0, steps=steps, backend=backend)
    assert [key[3] for key in plans._plans] == [3, 4, 5]
    tg.scan(lambda h, x: (h * 2.0, h), 1.0, steps=3, backend=backend)
    tg.scan(lambda h, x: (h * 2.0, h), 1.0, steps=6, backend=backend)
    assert [key[3] for key in plans._plans] == [5, 3, 6]


# -- runs do not disturb each other ---------------------------------------------------------------


def test_two_graphs_of_one_plan_keep_their_own_values(backend):
    x, other = leaf(0, 5, 3, I), leaf(1, 5, 3, I)
    step, carry, weights = case("lstm")
    losses: list[Tensor] = []
    for series in (x, other):
        final, ys = tg.scan(step, tensors(carry, 3), series, backend=backend)
        losses.append(loss_of(leaves_of(final, ys)))
    late = tg.grad(losses[0], [x, *weights])
    _ = tg.grad(losses[1], [other, *weights])
    again = tg.grad(losses[0], [x, *weights])
    final, ys = tg.scan(step, tensors(carry, 3), x, unroll=True)
    expected = tg.grad(loss_of(leaves_of(final, ys)), [x, *weights])
    for one, two, wanted in zip(late, again, expected, strict=True):
        np.testing.assert_array_equal(one.data, two.data)
        np.testing.assert_allclose(one.data, wanted.data, rtol=1e-11, atol=1e-13)


def test_a_gradient_is_an_array_of_its_own(backend):
    h, x = leaf(0, 2, H), leaf(1, 3, 2, H)
    last, ys = tg.scan(lambda h, x: (h + x, x), h, x, backend=backend)
    seeds = [np.ones((2, H)), np.ones((3, 2, H))]
    slopes = tg.grad([last, ys], [h, x], seeds)
    slopes[0].data[...] = 7.0
    assert (slopes[1].data == 2.0).all() and (seeds[0] == 1.0).all() and (seeds[1] == 1.0).all()
    np.testing.assert_array_equal(tg.grad([last, ys], h, seeds).data, 1.0)


def test_gradients_that_are_equal_are_two_arrays(backend):
    h, x, other = leaf(0, 2, H), leaf(1, 3, 2, H), leaf(2, 3, 2, H)
    w, b, c = leaf(3, H, H), leaf(4, H), leaf(5, H)

    def step(h: Any, xs: Any) -> Any:
        h = tg.tanh(h @ w + xs[0] + xs[1] + (b + c))
        return h, h

    _, ys = tg.scan(step, h, (x, other), backend=backend)
    wanted = [h, x, other, w, b, c]
    slopes = [g.data for g in tg.grad(ys.sum(), wanted)]
    expected = [g.copy() for g in slopes]
    np.testing.assert_array_equal(slopes[1], slopes[2])
    np.testing.assert_array_equal(slopes[4], slopes[5])
    for k, g in enumerate(slopes):
        g[...] = np.nan
        for one, same in zip(slopes[k + 1 :], expected[k + 1 :], strict=True):
            np.testing.assert_array_equal(one, same)


def test_what_no_gradient_comes_from_does_no_harm(backend):
    """A slope that is infinite where a diagnostic output is 0: it is not asked for."""
    x = np.ones((5, 2, 4))
    x[2, 0] = 0

    def slope(**options: Any) -> np.ndarray:
        series = tg.tensor(x, requires_grad=True)

        def step(h: Tensor, x_t: Tensor) -> Any:
            norm = tg.sqrt((x_t * x_t).sum(-1))
            h = tg.tanh(0.5 * h + x_t)
            return h, (h, norm)

        _, (y, _) = tg.scan(step, np.zeros((2, 4)), series, **options)
        return tg.grad(y.sum(), series).data

    found = slope(backend=backend)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, slope(unroll=True), rtol=1e-12)


@pytest.mark.parametrize("fresh", [False, True])
def test_threads_get_the_numbers_of_one_alone(fresh, backend, monkeypatch):
    series = [leaf(seed, 20, 3, I) for seed in range(4)]
    expected = [[g.data for g in run("lstm", 0, x, backend)[1]] for x in series]
    if fresh:  # all of them compile at the same time
        monkeypatch.setattr(plans, "_plans", type(plans._plans)())
    wrong: list[Any] = []
    start = threading.Barrier(len(series))

    def work(k: int) -> None:
        try:
            start.wait(10)
            for _ in range(10):
                found = [g.data for g in run("lstm", 0, series[k], backend)[1]]
                for one, other in zip(found, expected[k], strict=True):
                    np.testing.assert_array_equal(one, other)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(series))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong and not any(thread.is_alive() for thread in threads)


# -- what is kept, and for how long ---------------------------------------------------------------


def test_without_gradients_nothing_is_kept(backend):
    step, carry, _ = case("lstm")
    x = leaf(0, 6, 3, I)
    with tg.no_grad():
        final, ys = tg.scan(step, tensors(carry, 3), x, backend=backend)
    expected, _ = tg.scan(step, tensors(carry, 3), x, unroll=True)
    for t, other in zip(leaves_of(final), leaves_of(expected), strict=True):
        assert t.node is None and not t.requires_grad
        assert t.data.base is None  # no view: it would keep the states of all steps
        np.testing.assert_allclose(t.data, other.data, rtol=1e-13)
    assert ys.node is None and not ys.requires_grad


def test_a_detached_state_does_not_hold_the_sequence(backend):
    step, carry, _ = case("gru")
    final, _ = tg.scan(step, tensors(carry, 3), leaf(0, 50, 3, I), backend=backend)
    assert final.detach().data.base is None and final.data.nbytes == 3 * H * 8


def test_the_backward_pass_keeps_little_more_than_the_gates_and_states(backend):
    steps, batch, size = 20, 8, 32
    cell = tg.nn.LSTMCell(16, size, rng=0)
    assert cell.bias_ih is not None and cell.bias_hh is not None
    w = lstm_weights(cell.weight_ih, cell.weight_hh, (cell.bias_ih, cell.bias_hh))

    def step(state: Any, x_t: Tensor) -> Any:
        h_t, c_t = lstm_step(x_t, state, w)
        return (h_t, c_t), h_t

    state = tuple(tg.tensor(np.zeros((batch, size), np.float32)) for _ in "hc")
    x = tg.tensor(np.ones((steps, batch, 16), np.float32))
    _, ys = tg.scan(step, state, x, backend=backend)
    (node,) = (n for n in tg.toposort([ys]) if n.op.name == "scan")
    kept = sum(a.nbytes for a in kept_by(node))
    assert ys.data.nbytes < kept <= 1.25 * 4 * steps * batch * size * (4 + 3)


def test_a_graph_is_freed_with_its_last_tensor_and_no_collector(backend):
    step, carry, weights = case("lstm")
    state, x = tensors(carry, 3), leaf(0, 6, 3, I)
    tg.scan(step, state, x, backend=backend)  # compiled now, which leaves something to collect
    gc.collect()
    gc.disable()
    try:
        for second_order in (False, True):
            final, ys = tg.scan(step, state, x, backend=backend)
            (node,) = (n for n in tg.toposort([ys]) if n.op.name == "scan")
            outputs = [weakref.ref(t.data) for t in leaves_of(final, ys)]
            kept = [weakref.ref(a) for a in kept_by(node) if a is not x.data]
            assert kept and outputs[0]() is not None
            loss = loss_of(leaves_of(final, ys))
            slopes = tg.grad(loss, weights, create_graph=second_order)
            del node, final, ys, loss, slopes
            assert not [ref for ref in (*outputs, *kept) if ref() is not None]
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_nothing_grows_from_call_to_call(backend):
    x = leaf(0, 10, 4, I)
    step, carry, weights = case("layer_norm_lstm")
    state = tensors(carry, 4)

    def train() -> None:
        final, ys = tg.scan(step, state, x, backend=backend)
        loss_of(leaves_of(final, ys)).backward()
        for w in (*weights, x, *leaves_of(state)):
            w.grad = None

    for _ in range(3):
        train()
    tracemalloc.start()
    try:
        for _ in range(200):  # names that threadpoolctl makes anew fill a cache of Python's
            train()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(8):
            train()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000


def test_a_plan_is_freed_when_nobody_keeps_it(backend):
    lstm = tg.nn.LSTM(3, 4, rng=0)
    y, _ = lstm(np.ones((5, 2, 3), np.float32), backend=backend)
    tg.grad(y.sum(), list(lstm.parameters()))
    (plan,) = (n.attrs["plan"] for n in tg.toposort([y]) if n.op.name == "scan")
    dropped = weakref.ref(plan)
    gc.collect()
    gc.disable()
    try:
        plans._plans.clear()
        del plan, y, _, lstm
        assert dropped() is None
        assert gc.collect() == 0
    finally:
        gc.enable()
