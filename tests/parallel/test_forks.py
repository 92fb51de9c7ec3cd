"""A process may be forked while other threads hold this package's locks: its child has its own."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm.compiler import memory, recent
from tinygrad_lstm.parallel import LIMITED, blas, pool

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

LOCKS: dict[str, Callable[[], Any]] = {
    "memory": lambda: memory._lock,
    "plans": lambda: recent._lock,
    "threads": lambda: pool._lock,
    "BLAS": lambda: blas._limits._lock,
    "kernels": lambda: pytest.importorskip("tinygrad_lstm.compiler.native.target")._lock,
}


def status_of_child(work: Callable[[], object]) -> int:
    """What a forked process exits with: 0 when its work is done, a signal if it waits for ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads
        child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    signal.alarm(20)
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def train() -> None:
    """Something new, so that it is compiled; large enough for memory that is used again."""
    w = tg.Parameter(np.eye(48) * 0.5)

    def step(h: tg.Tensor, x: tg.Tensor) -> Any:
        h = tg.tanh(h @ w * 1.25 + x)
        return h, h

    tg.scan(step, np.zeros((32, 48)), np.ones((40, 32, 48)))[1].sum().backward()


@pytest.mark.parametrize("name", LOCKS)
def test_a_child_does_not_wait_for_threads_that_are_not_there(name):
    pool.run_all(lambda _: None, range(2))
    with LOCKS[name]():
        assert status_of_child(train) == 0
    train()


def test_calls_that_other_threads_were_in_are_over_in_a_child():
    pytest.importorskip("threadpoolctl")

    def child() -> None:
        train()
        if LIMITED:
            raise AssertionError(LIMITED)

    assert blas.one_blas_thread(status_of_child, child) == 0


def test_a_compiled_step_and_a_stream_go_on_in_a_child():
    def step(h: tg.Tensor, x: tg.Tensor) -> Any:
        return tg.tanh(h + x), h

    h = np.zeros((2, 3))
    compiled, layer = tg.compiled_step(step, h, h), tg.nn.LSTM(3, 4)
    stream = layer.streaming()

    def child() -> None:
        compiled(h, h)
        stream(np.zeros(3, np.float32))

    with compiled._lock, stream._lock:
        assert status_of_child(child) == 0
    child()
