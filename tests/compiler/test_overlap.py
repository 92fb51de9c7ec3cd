"""NumPy loops with the work before and after them on other threads: the same numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same, results
from graphs import traced
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler import overlap, plans, runner
from tinygrad_lstm.compiler.backends import backend_named
from tinygrad_lstm.compiler.numpy_backend import NumpyLoop
from tinygrad_lstm.compiler.numpy_source import rows_of_a_product
from tinygrad_lstm.compiler.overlap import helpers_now, spans_in
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.recent import Recent
from tinygrad_lstm.nn.cells import lstm_step, lstm_weights
from tinygrad_lstm.parallel.beside import Beside
from tinygrad_lstm.parallel.blas import blas_threads_now

T, B = 11, 5


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every loop has two helpers, whatever its size; the helpers of those that were run."""
    pytest.importorskip("threadpoolctl")
    seen: list[int] = []

    class Watched(Beside):
        def run(self, own: Callable[[Beside], Any]) -> Any:
            seen.append(self._helpers)
            return super().run(own)

    monkeypatch.setattr(overlap, "WORTH_SHARING", -1)
    monkeypatch.setattr(overlap, "Beside", Watched)
    monkeypatch.setattr(runner, "helpers_now", lambda: 2)
    monkeypatch.setattr(plans, "_plans", Recent())
    yield seen


def series(seed: int = 0, steps: int = T, batch: int = B) -> Tensor:
    values = np.random.default_rng(seed).normal(size=(steps, batch, I))
    return tg.tensor(values, requires_grad=True)


# -- the same numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    "options", [{}, {"lengths": [11, 3, 1, 7, 10]}, {"reverse": True}], ids=["", "lengths", "back"]
)
def test_a_cell_with_helpers_is_the_cell_unrolled(name, options, begun):
    step, carry, weights = case(name)
    assert_same(step, tensors(carry, B), series(), weights, backend="numpy", **options)
    assert begun == [2, 2]  # forward and backward


@pytest.mark.parametrize("steps", [1, 2])
def test_more_helpers_than_spans(steps, begun):
    step, carry, weights = case("lstm")
    assert_same(step, tensors(carry, 1), series(0, steps, 1), weights, backend="numpy")
    assert begun == [2, 2]


def test_a_step_that_reaches_across_the_batch(begun):
    w = tg.tensor(np.random.default_rng(3).normal(size=(I, H)), requires_grad=True)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        z = x @ w
        h = tg.tanh(h + z - z.mean(0) + h.sum(0) * 0.1)
        return h, h

    assert_same(step, tensors(H, B), series(), [w], backend="numpy")
    assert begun == [2, 2]


def test_words_looked_up_in_a_table(begun):
    table = tg.tensor(np.random.default_rng(3).normal(size=(9, I)), requires_grad=True)
    u = tg.tensor(np.random.default_rng(4).normal(size=(I, H)), requires_grad=True)
    words = np.random.default_rng(5).integers(9, size=(T, B))

    def step(h: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        h = tg.tanh(h * 0.5 + tg.take(table, k, axis=0) @ u)
        return h, h

    assert_same(step, tensors(H, B), words, [table, u], backend="numpy")
    assert begun == [2, 2]


def test_in_single_precision_it_holds_too(begun):
    step, carry, weights = case("gru", np.float32)
    x = tg.tensor(series().data.astype(np.float32), requires_grad=True)
    assert_same(step, tensors(carry, B, dtype=np.float32), x, weights, backend="numpy")
    assert len(begun) == 2


def test_every_run_gives_the_same_bits(begun):
    step, carry, weights = case("lstm")
    x, state = series(0, 60), tensors(carry, B)

    def bits() -> list[bytes]:
        outputs, gradients = results(step, state, x, weights, backend="numpy")
        return [a.tobytes() for a in (*outputs, *gradients) if a is not None]

    first = bits()
    for _ in range(5):
        assert bits() == first


def test_what_the_caller_says_of_numeric_errors_holds_on_other_threads(begun):
    w = tg.tensor(np.full((I, H), 1e200), requires_grad=True)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return h + x @ w * 1e200, h

    x = np.abs(series().data)
    with np.errstate(over="ignore"):
        tg.scan(step, tensors(H, B), x, backend="numpy")
    assert begun == [2]
    with pytest.warns(RuntimeWarning, match="overflow"):
        tg.scan(step, tensors(H, B), x, backend="numpy")


def test_two_threads_run_scans_at_once(begun):
    def work(seed: int, found: list[Any]) -> None:
        step, carry, weights = case("lstm", seed=seed)
        for _ in range(5):
            found.append(results(step, tensors(carry, B), series(seed), weights, backend="numpy"))

    alone: list[list[Any]] = [[], []]
    together: list[list[Any]] = [[], []]
    for k in range(2):
        work(k, alone[k])
    threads = [threading.Thread(target=work, args=(k, together[k])) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert len(other) == 5
        for a, b in zip(one, other, strict=True):
            for expected, got in zip([*a[0], *a[1]], [*b[0], *b[1]], strict=True):
                np.testing.assert_array_equal(got, expected)


# -- threads of BLAS ------------------------------------------------------------------------------


def threads_of_blas_in_loops(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many BLAS has as each loop begins."""
    seen: list[int | None] = []
    call = NumpyLoop.__call__

    def watched(self: Any, *given: Any) -> Any:
        seen.append(blas_threads_now())
        return call(self, *given)

    monkeypatch.setattr(NumpyLoop, "__call__", watched)
    return seen


def test_blas_has_one_thread_during_the_loop_and_its_own_after_it(begun, monkeypatch):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    seen = threads_of_blas_in_loops(monkeypatch)
    step, carry, weights = case("lstm")
    with limits(2, user_api="blas"):
        results(step, tensors(carry, B), series(), weights, backend="numpy")
        assert blas_threads_now() == 2
    assert seen == [1, 1]


@pytest.mark.parametrize("where", ["loop", "helper"])
def test_after_an_error_blas_has_its_threads_again_and_the_next_run_is_right(
    where, begun, monkeypatch
):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    step, carry, weights = case("lstm")

    def fails(*given: Any) -> Any:
        raise ArithmeticError(where)

    with limits(2, user_api="blas"):
        with monkeypatch.context() as broken:
            if where == "helper":
                broken.setattr(overlap.NumpyLoop, "products", fails)
            else:
                broken.setattr(overlap, "NumpyLoop", lambda *given: fails)
            with pytest.raises(ArithmeticError, match=where):
                results(step, tensors(carry, B), series(), weights, backend="numpy")
        assert blas_threads_now() == 2
        plans._plans.clear()
        assert_same(step, tensors(carry, B), series(), weights, backend="numpy")


def test_helpers_are_the_threads_that_the_user_allows(monkeypatch):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    monkeypatch.setattr("tinygrad_lstm.parallel.pool._cores", lambda: 3)
    for threads, helpers in ((1, 0), (2, 1), (3, 2)):
        with limits(threads, user_api="blas"):
            assert helpers_now() == helpers
    monkeypatch.setattr("tinygrad_lstm.parallel.pool._cores", lambda: 1)  # OMP_NUM_THREADS=1
    with limits(2, user_api="blas"):
        assert helpers_now() == 0
    pool = "tinygrad_lstm.parallel.pool"
    monkeypatch.setattr(f"{pool}.blas_threads_now", lambda: None)  # nobody can limit BLAS
    assert helpers_now() == 0
    monkeypatch.undo()
    monkeypatch.setattr(f"{pool}.blas_threads_now", lambda: 64)
    monkeypatch.setattr(f"{pool}._cores", lambda: 64)  # BLAS alone is faster
    assert helpers_now() == 0


# -- what it is for -------------------------------------------------------------------------------


def lstm_plan(steps: int, rows: int, inputs: int, hidden: int) -> Plan:
    rng = np.random.default_rng(0)

    def leaf(*shape: int) -> Tensor:
        return tg.tensor(rng.normal(size=shape).astype(np.float32), requires_grad=True)

    weights = lstm_weights(leaf(4 * hidden, inputs), leaf(4 * hidden, hidden), None)

    def step(h: Tensor, c: Tensor, x: Tensor) -> list[Tensor]:
        return [*lstm_step(x, (h, c), weights), h]

    graph, _ = traced(step, (rows, hidden), (rows, hidden), (rows, inputs))
    return Plan(graph, 2, 1, steps, [True] * len(graph.inputs), backend_named("numpy"))


def test_small_plans_have_no_helpers_and_larger_ones_have():
    def has_helpers(*shape: int) -> tuple[bool, bool]:
        made: Any = lstm_plan(*shape).runner
        return made._beside is not None, made._beside_back is not None

    assert has_helpers(10, 4, 8, 8) == (False, False)
    for shape in (200, 32, 32, 32), (100, 32, 65, 128), (20, 64, 64, 192), (10, 64, 256, 512):
        assert has_helpers(*shape) == (True, True)


@pytest.mark.parametrize(("width", "threads"), [(8, 2), (256, 1)], ids=["small", "large"])
def test_a_loop_without_helpers_keeps_blas_on_one_thread_where_it_would_wait(
    width, threads, monkeypatch
):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    monkeypatch.setattr(runner, "helpers_now", lambda: 1)
    monkeypatch.setattr(plans, "_plans", Recent())
    seen = threads_of_blas_in_loops(monkeypatch)
    w = tg.tensor(np.eye(width) * 0.5, requires_grad=True)

    def step(h: Tensor, _: Any) -> Any:
        h = tg.tanh(h @ w)
        return h, h

    with limits(2, user_api="blas"):
        h = tg.tensor(np.ones((16, width)))
        _, y = tg.scan(step, h, steps=2, backend="numpy")
        tg.grad(y.sum(), w)
        assert blas_threads_now() == 2
    assert seen == [threads, threads]


def test_products_are_split_into_as_many_rows_as_a_small_one_has():
    assert rows_of_a_product(32, 128, 512, 1_000_000) == 8
    assert rows_of_a_product(16, 10, 10, 1_000_000) == 16
    assert rows_of_a_product(32, 512, 512, 1_000_000) == 0  # three rows: too few
    assert rows_of_a_product(31, 128, 512, 1_000_000) == 0  # no equal parts
    assert rows_of_a_product(3, 512, 512, 1_000_000) == 3


def test_split_products_give_the_same_numbers(begun, monkeypatch):
    monkeypatch.setattr(overlap, "small_product", lambda: 4 * H * 4 * H)
    step, carry, weights = case("lstm")
    assert_same(step, tensors(carry, 8), series(0, T, 8), weights, backend="numpy")
    assert begun == [2, 2]


def test_a_product_of_a_product_may_be_split_otherwise_than_that(begun, monkeypatch):
    monkeypatch.setattr(overlap, "small_product", lambda: 4 * H * 2 * H)
    rng = np.random.default_rng(5)
    u, v, w = (
        tg.Parameter(rng.normal(size=shape) * 0.5) for shape in ((I, 2 * H), (H, H), (H, 2 * H))
    )

    def step(h: Tensor, x: Tensor) -> Any:
        z = x @ u + (h @ v) @ w  # eight rows of h @ v at a time, but four of the other
        h = tg.tanh(z[:, :H]) * tg.sigmoid(z[:, H:])
        return h, h

    assert_same(step, tensors(H, 16), series(0, T, 16), [u, v, w], backend="numpy")
    assert begun == [2, 2]


def test_spans_are_all_the_steps_one_after_the_other():
    assert spans_in(0) == [] and spans_in(1) == [(0, 1)]
    for steps in (2, 7, 100, 1000):
        spans = spans_in(steps)
        assert [k for first, end in spans for k in range(first, end)] == list(range(steps))
        assert all(first < end for first, end in spans)
