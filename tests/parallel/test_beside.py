"""Work that other threads share with one that waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tinygrad_lstm.parallel import STARTED
from tinygrad_lstm.parallel.beside import Beside
from tinygrad_lstm.parallel.pool import Task, begin, run_all


def add_all(pieces: Sequence[int]) -> Callable[[Beside], None]:
    def own(beside: Beside) -> None:
        for k in pieces:
            beside.add(k)

    return own


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_each_part_is_done_once_and_before_the_wait_for_it_ends(helpers):
    done: list[int] = []

    def own(beside: Beside) -> str:
        add_all(range(50))(beside)
        for k in range(0, 50, 7):
            beside.wait(k)
            assert k in done
        return "found"

    assert Beside(done.append, helpers).run(own) == "found"
    assert sorted(done) == list(range(50))


@pytest.mark.parametrize("helpers", [1, 3])
def test_what_is_added_when_helpers_have_gone_is_done(helpers):
    done: list[int] = []

    def own(beside: Beside) -> None:
        for k in range(500):
            beside.add(k)
            beside.wait(k)

    Beside(done.append, helpers).run(own)
    assert done == list(range(500))


def test_without_helpers_the_order_is_that_of_adding():
    done: list[int] = []
    Beside(done.append, 0).run(add_all([3, 1, 2]))
    assert done == [3, 1, 2]


def test_other_threads_take_part():
    here, threads = threading.Barrier(3, timeout=20), set[Any]()

    def work(k: int) -> None:
        here.wait()  # until three of them are at it
        threads.add(threading.current_thread())

    Beside(work, 2).run(add_all(range(3)))
    assert len(threads) == 3


def test_no_more_threads_take_part_at_once_than_were_asked_for():
    at_it, most = list[int](), list[int]()

    def work(k: int) -> None:
        at_it.append(k)
        time.sleep(0.0005)
        most.append(len(at_it))
        at_it.remove(k)

    run_all(lambda k: None, range(4))  # three other threads
    for _ in range(5):
        Beside(work, 1).run(add_all(range(9)))
    assert max(most) <= 2


@pytest.mark.parametrize("helpers", [0, 2])
def test_an_error_reaches_who_waits(helpers):
    def work(k: int) -> None:
        if k == 2:
            raise ArithmeticError(f"in {k}")

    with pytest.raises(ArithmeticError, match="in 2"):
        Beside(work, helpers).run(add_all(range(5)))


def test_an_error_in_another_thread_reaches_who_waits_for_all():
    def function(k: int) -> None:
        if k == 2:
            raise ArithmeticError(f"in {k}")

    with pytest.raises(ArithmeticError, match="in 2"):
        run_all(function, range(3))
    run_all(lambda k: None, range(3))  # nor is the thread lost


def test_after_an_error_of_who_waits_nothing_new_is_begun():
    done: list[int] = []

    def own(beside: Beside) -> None:
        add_all(range(5))(beside)
        raise KeyError

    with pytest.raises(KeyError):
        Beside(done.append, 0).run(own)
    assert done == []


def test_after_an_error_of_who_waits_a_helper_only_ends_what_it_is_at():
    began, done = threading.Event(), list[int]()

    def work(k: int) -> None:
        began.set()
        time.sleep(0.02)
        done.append(k)

    def own(beside: Beside) -> None:
        add_all(range(5))(beside)
        began.wait(20)
        raise KeyError

    with pytest.raises(KeyError):
        Beside(work, 1).run(own)
    assert done == [0]


def test_busy_threads_are_not_waited_for():
    go, began, done = threading.Event(), threading.Semaphore(0), list[int]()

    def block(_: object) -> None:
        began.release()
        go.wait(20)

    count = max(2, len(STARTED))
    begin([Task(block, None) for _ in range(count)], count)
    try:
        assert all(began.acquire(timeout=20) for _ in range(count))
        Beside(done.append, 2).run(add_all(range(4)))
        assert done == [0, 1, 2, 3]
    finally:
        go.set()
