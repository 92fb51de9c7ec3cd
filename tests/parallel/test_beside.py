"""Work that other threads share with one that waits for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tinygrad_lstm.parallel.beside import Beside
from tinygrad_lstm.parallel.pool import on_others, run_all


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_each_part_is_done_once_and_before_the_wait_for_it_ends(helpers):
    done: list[int] = []
    with Beside(done.append, helpers) as beside:
        for k in range(50):
            beside.add(k)
        for k in range(0, 50, 7):
            beside.wait(k)
            assert k in done
    assert sorted(done) == list(range(50))


def test_without_helpers_the_order_is_that_of_adding():
    done: list[int] = []
    with Beside(done.append, 0) as beside:
        for k in (3, 1, 2):
            beside.add(k)
    assert done == [3, 1, 2]


def test_other_threads_take_part():
    here, threads = threading.Barrier(3, timeout=20), set[Any]()

    def work(k: int) -> None:
        here.wait()  # until three of them are at it
        threads.add(threading.current_thread())

    with Beside(work, 2) as beside:
        for k in range(3):
            beside.add(k)
    assert len(threads) == 3


@pytest.mark.parametrize("helpers", [0, 2])
def test_an_error_reaches_who_waits(helpers):
    def work(k: int) -> None:
        if k == 2:
            raise ArithmeticError(f"in {k}")

    with pytest.raises(ArithmeticError, match="in 2"), Beside(work, helpers) as beside:
        for k in range(5):
            beside.add(k)


def test_after_an_error_of_who_waits_nothing_new_is_begun():
    done: list[int] = []
    with pytest.raises(KeyError), Beside(done.append, 0) as beside:
        for k in range(5):
            beside.add(k)
        raise KeyError
    assert done == []


def test_busy_threads_are_not_waited_for():
    go, began, done = threading.Event(), threading.Semaphore(0), list[int]()

    def block() -> None:
        began.release()
        go.wait(20)

    run_all(lambda k: None, range(3))  # two other threads
    on_others(block, 2)
    try:
        assert began.acquire(timeout=20) and began.acquire(timeout=20)
        with Beside(done.append, 2) as beside:
            for k in range(4):
                beside.add(k)
        assert done == [0, 1, 2, 3]
    finally:
        go.set()
