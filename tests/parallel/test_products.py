"""Products of matrices, as BLAS does them and shared out over the threads that run loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.optim import clip_grad_norm_
from tinygrad_lstm.parallel import pool, products, sharing
from tinygrad_lstm.parallel.beside import Beside
from tinygrad_lstm.parallel.blas import blas_threads, blas_threads_now, one_blas_thread

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "one for many rows": ((4, 3, 5), (5, 2)),
    "one for rows of several axes": ((2, 4, 3, 5), (5, 2)),
    "two matrices, more rows": ((9, 5), (5, 4)),
    "two matrices, more columns": ((3, 5), (5, 8)),
    "one row": ((1, 5), (5, 1)),
    "as many matrices": ((3, 4, 5), (3, 5, 2)),
    "one matrix for many": ((4, 5), (3, 5, 2)),
    "a broadcast axis": ((1, 4, 5), (3, 5, 2)),
    "the other broadcast": ((3, 4, 5), (1, 5, 2)),
    "axes broadcast crosswise": ((3, 1, 4, 5), (2, 5, 3)),
    "more threads than matrices": ((2, 7, 5), (2, 5, 6)),
    "no rows": ((0, 3, 5), (5, 2)),
    "no matrices": ((0, 3, 5), (0, 5, 2)),
    "none of a broadcast": ((0, 3, 5), (1, 5, 2)),
    "nothing to sum": ((4, 3, 0), (0, 2)),
}


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Loops have run, and every product is worth three threads; -> how many helped, each time."""
    helpers: list[int] = []

    class Watched(Beside):
        def run(self, own: Callable[[Beside], Any]) -> Any:
            helpers.append(self._helpers)
            return super().run(own)

    monkeypatch.setattr(sharing, "Beside", Watched)
    monkeypatch.setattr(products, "STARTED", ["a thread"])
    monkeypatch.setattr(sharing, "helping_threads", lambda: 2)
    monkeypatch.setattr(products, "UNTHREADED", 0)
    monkeypatch.setattr(products, "WORTH_SHARING", 1)
    monkeypatch.setattr(products, "_LONG", 0)
    yield helpers


def _pair(
    left: tuple[int, ...], right: tuple[int, ...], dtype: type = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=left).astype(dtype), rng.normal(size=right).astype(dtype)


def _check(a: np.ndarray, b: np.ndarray) -> None:
    wanted = np.einsum("...ij,...jk->...ik", a, b)
    found, out = products.matmul(a, b), np.full_like(wanted, np.nan)
    products.matmul_into(a, b, out)
    assert found.dtype == wanted.dtype
    tiny = 100 * np.finfo(wanted.dtype).eps
    for one in (found, out):
        np.testing.assert_allclose(one, wanted, rtol=tiny, atol=tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_products_are_those_of_einsum(name, dtype, shared, request):
    if shared:
        request.getfixturevalue("three_threads")
    a, b = _pair(*SHAPES[name], dtype)
    _check(a, b)
    _check(a[..., ::-1, :], b)  # lies the other way round
    _check(np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2), b)
    _check(a, np.asfortranarray(b))


@pytest.mark.parametrize("name", ["two matrices, more rows", "two matrices, more columns"])
def test_large_products_are_shared_out(name, three_threads):
    products.matmul(*_pair(*SHAPES[name]))
    assert three_threads == [2]


def test_beside_a_loop_a_product_stays_on_its_thread(three_threads, monkeypatch):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    monkeypatch.setattr(sharing, "helping_threads", pool.helping_threads)
    monkeypatch.setattr(pool, "_cores", lambda: 2)
    a, b = _pair((9, 5), (5, 4))
    with limits(2, user_api="blas"):
        products.matmul(a, b)
        assert three_threads == [1]
        three_threads.clear()
        one_blas_thread(_check, a, b)  # as a loop does
        one_blas_thread(_check, np.stack([a] * 3), np.stack([b] * 3))
        assert not three_threads
        monkeypatch.setattr(pool, "blas_threads_now", lambda: None)  # nobody can limit BLAS
        _check(a, b)
    assert not three_threads


def test_in_a_call_that_has_one_thread_nobody_is_asked_about_threads(three_threads, monkeypatch):
    pytest.importorskip("threadpoolctl")
    shared: list[tuple[int, ...]] = []
    monkeypatch.setattr(products, "_share_out", lambda a, b, out: shared.append(out.shape))
    a, b = _pair((9, 5), (5, 4))
    one_blas_thread(_check, a, b)
    assert not shared
    products.matmul(a, b)
    assert shared == [(9, 4)]


def test_no_more_threads_than_there_is_work_for(three_threads, monkeypatch):
    a, b = _pair((9, 5), (5, 4))
    for worth, helpers in ((360, []), (180, [1]), (120, [2]), (1, [2])):
        monkeypatch.setattr(products, "WORTH_SHARING", worth)
        products.matmul(a, b)
        assert three_threads == helpers
        three_threads.clear()


def test_small_products_are_not_shared_out(three_threads, monkeypatch):
    monkeypatch.setattr(products, "WORTH_SHARING", 1 << 20)
    _check(*_pair((9, 5), (5, 4)))
    assert not three_threads
    monkeypatch.setattr(products, "UNTHREADED", 1 << 18)
    _check(*_pair((9, 5), (5, 4)))
    assert not three_threads


def test_until_loops_have_run_products_are_those_of_blas(three_threads, monkeypatch):
    monkeypatch.setattr(products, "STARTED", [])
    _check(*_pair((9, 5), (5, 4)))
    _check(*_pair((3, 4, 5), (3, 5, 2)))
    assert not three_threads


def test_loops_have_run_once_others_were_called(monkeypatch):
    started: list[Thread] = []
    monkeypatch.setattr(pool, "STARTED", started)
    pool.run_all(lambda _: None, [1])
    assert not started
    pool.run_all(lambda _: None, [1, 2])
    assert len(started) == 1


def test_what_the_caller_says_of_overflow_holds_in_every_thread(three_threads):
    a, b = np.full((9, 5), 1e200), np.full((5, 4), 1e200)
    with np.errstate(over="ignore"):
        assert np.isinf(products.matmul(a, b)).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        products.matmul(a, b)


def test_blas_has_its_threads_again(three_threads):
    pytest.importorskip("threadpoolctl")
    before = blas_threads_now()
    a, b = _pair((9, 5), (5, 4))
    products.matmul(a, b)
    products.einsum(a, b, b.T, subscripts="ij,jk,kl->il")
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        products.matmul(a * 1e200, b * 1e200)
    assert blas_threads_now() == before


def test_any_thread_may_be_the_one_that_limits_blas_and_the_one_that_ends_it():
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    began, go = Event(), Event()
    seen: list[int | None] = []

    def wait() -> None:
        began.set()
        go.wait()
        seen.append(blas_threads_now())

    def meanwhile() -> None:
        thread.start()
        began.wait()

    with limits(2, user_api="blas"):
        one_blas_thread(lambda: None)  # first of all by this thread
        thread = Thread(target=one_blas_thread, args=(wait,))
        one_blas_thread(meanwhile)  # over before the other's is
        go.set()
        thread.join()
        seen.append(blas_threads_now())
        alone = Thread(target=one_blas_thread, args=(lambda: seen.append(blas_threads_now()),))
        alone.start()
        alone.join()
        seen.append(blas_threads_now())
    assert seen == [1, 2, 1, 2]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("first", ["a call", "a block"])
def test_limits_of_blas_may_end_in_any_order(first, count):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    began, ended, go = Event(), Event(), Event()
    seen: list[int | None] = []

    def other() -> None:
        with blas_threads(count):
            began.set()
            go.wait()
            seen.append(blas_threads_now())
        ended.set()

    def meanwhile() -> None:
        thread.start()
        began.wait()
        seen.append(blas_threads_now())

    with limits(2, user_api="blas"):
        thread = Thread(target=other)
        if first == "a call":
            one_blas_thread(meanwhile)
        else:
            with blas_threads(1):
                meanwhile()
        go.set()
        ended.wait()
        seen.append(blas_threads_now())
    assert seen == [1 if first == "a call" else count, count, 2]


def test_vectors_and_sums_over_several_operands(three_threads):
    a, b = _pair((9, 5), (5, 4))
    assert products.dot(a[0], b[:, 0]) == pytest.approx((a @ b)[0, 0], rel=1e-13)
    found = products.einsum(a, b, b.T, subscripts="ij,jk,kl->il")
    np.testing.assert_allclose(found, a @ b @ b.T, rtol=1e-12)


def test_gradients_and_their_norm_are_those_of_one_thread(request):
    def gradients() -> list[np.ndarray]:
        rng = np.random.default_rng(1)
        x = Tensor(rng.normal(size=(6, 4, 5)), requires_grad=True)
        w, v = (Tensor(rng.normal(size=(5, 5)), requires_grad=True) for _ in range(2))
        loss = (tg.tanh(x @ w) @ v @ (x @ w).transpose(0, 2, 1)).sum()
        loss.backward()
        norm = clip_grad_norm_([x, w, v], 1.0)
        return [np.asarray(norm), *(t.grad.numpy() for t in (x, w, v) if t.grad is not None)]

    alone = gradients()
    request.getfixturevalue("three_threads")
    for one, other in zip(alone, gradients(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
