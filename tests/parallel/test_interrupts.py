"""Ctrl-C at any place: nobody waits for ever, and no other thread is at work afterwards.

Exceptions are raised where Python looks for signals, or, more severely, before each instruction.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from array import array as integers
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm.compiler import memory, overlap, plans, runner
from tinygrad_lstm.compiler.patience import told_if_slow
from tinygrad_lstm.compiler.recent import Recent
from tinygrad_lstm.context import CONTEXT
from tinygrad_lstm.parallel import beside, blas, pool, sharing
from tinygrad_lstm.parallel.beside import Beside
from tinygrad_lstm.parallel.pool import run_all

PACKAGE = Path(tg.__file__).parent
INTERRUPTIBLE = [*(str(p) for p in (PACKAGE / "parallel").glob("*.py")), __file__]
INTERRUPTIBLE += [
    str(PACKAGE / "compiler" / p) for p in ("native/loop.py", "overlap.py", "memory.py")
]
INTERRUPTIBLE += [str(PACKAGE / "nn" / "module.py")]

Operation = Callable[[], object]


class Interrupts:
    """Runs an operation and raises KeyboardInterrupt at the nth place of this thread."""

    def __init__(self, place: int) -> None:
        self.left = place

    def at_instructions(self, operation: Operation) -> bool:
        """Before any instruction. Whether there was an nth one."""
        return self._run(operation, sys.settrace, self._trace)

    def at_checks(self, operation: Operation) -> bool:
        """Where Python looks for signals: functions begin, or functions in C have ended."""
        return self._run(operation, sys.setprofile, self._profile)

    def _run(self, operation: Operation, install: Callable[[Any], None], hook: Any) -> bool:
        install(hook)
        try:
            operation()
        except KeyboardInterrupt:
            return True
        finally:
            install(None)
        assert self.left > 0, "the interrupt was lost"
        return False

    def _trace(self, frame: FrameType, event: str, given: Any) -> Any:
        if not _is_interruptible(frame.f_code):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            self._count()
        return self._trace

    def _profile(self, frame: FrameType, event: str, given: Any) -> None:
        waits = event == "c_call" and given.__name__ == "acquire"
        if (waits or event in ("call", "c_return")) and _is_interruptible(frame.f_code):
            self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def _is_interruptible(code: CodeType) -> bool:
    return code.co_filename in INTERRUPTIBLE and code.co_name not in ("_run", "__exit__")


class Watched:
    """Work that takes other threads a while, and whether any was done when it should not be."""

    def __init__(self) -> None:
        self.at_it: list[object] = []
        self.is_over = self.was_late = False

    def __call__(self, *given: object) -> None:
        if not threading.current_thread().name.startswith("tinygrad_lstm"):
            time.sleep(0.0001)  # others begin
            return
        self.at_it.append(given)
        self.was_late |= self.is_over
        time.sleep(0.0008)
        self.at_it.remove(given)

    def end(self) -> None:
        """The caller goes on now."""
        self.is_over = True
        self.was_late |= bool(self.at_it)


def in_time(function: Callable[[], None]) -> None:
    """Call it; fail if it waits for ever."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "waits for ever"
    if failed:
        raise failed[0]


def at_every_place(kind: str, operation: Callable[[Watched], object]) -> None:
    """Interrupt it once at each place: every time all work has ended when the caller goes on."""
    all_watched: list[Watched] = []

    def interrupt() -> None:
        interrupted = True
        while interrupted:
            all_watched.append(watched := Watched())
            interrupts = Interrupts(len(all_watched))
            interrupted = getattr(interrupts, kind)(lambda work=watched: operation(work))
            watched.end()

    run_all(lambda _: None, range(3))  # the threads are there
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # and soon at work
    try:
        in_time(interrupt)
    finally:
        sys.setswitchinterval(interval)
    in_time(lambda: run_all(lambda _: None, range(9)))  # and free: what they had to do is over
    assert len(all_watched) > 20
    assert not any(watched.was_late for watched in all_watched)


KINDS = ["at_instructions", "at_checks"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_on_all_threads(kind):
    at_every_place(kind, lambda work: run_all(work, range(3)))


@pytest.mark.parametrize("kind", KINDS)
def test_work_beside_a_loop(kind):
    def operation(work: Watched) -> None:
        def own(found: Beside) -> None:
            for k in range(3):
                found.add(k)
            found.wait(1)
            work("own")

        Beside(work, 2).run(own)

    at_every_place(kind, operation)


@pytest.mark.parametrize("kind", KINDS)
def test_the_launch_of_a_native_loop(kind):
    pytest.importorskip("llvmlite")
    from tinygrad_lstm.compiler.native.loop import NativeLoop

    arrays = np.zeros(3), np.zeros(3)

    def operation(work: Watched) -> None:
        loop: Any = SimpleNamespace(run=work, prepare=lambda _: None, _apart={0}, _alike={1})
        threads = [integers("q", [0] * 16) for _ in range(2)]
        workspace: Any = SimpleNamespace(threads=threads, address=0)
        NativeLoop.launch(loop, workspace, arrays)

    at_every_place(kind, operation)


@pytest.mark.parametrize("is_beside", [False, True])
def test_an_interrupt_as_another_is_met(is_beside, monkeypatch):
    stop, work, ends = pool.stop, Watched(), list[Any]()

    def interrupted(tasks: Any) -> None:
        ends.append(tasks)
        if len(ends) == 1:
            raise KeyboardInterrupt
        stop(tasks)

    def function(k: int) -> None:
        work(k)
        if k == 0:
            raise KeyboardInterrupt

    def own(found: Beside) -> None:
        found.add(1)
        function(0)

    monkeypatch.setattr(beside, "stop", interrupted)
    monkeypatch.setattr(pool, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        if is_beside:
            Beside(function, 1).run(own)
        else:
            run_all(function, range(2))
    work.end()
    assert len(ends) == 2
    assert not work.was_late


@pytest.mark.parametrize("is_beside", [False, True])
def test_an_interrupt_as_soon_as_another_thread_is_at_work(is_beside, monkeypatch):
    begin, began, ended = pool.begin, threading.Event(), list[int]()

    def interrupted(tasks: Any, threads: int) -> None:
        begin(tasks, threads)
        began.wait(20)
        raise KeyboardInterrupt

    def function(k: int) -> None:
        began.set()
        time.sleep(0.01)
        ended.append(k)

    monkeypatch.setattr(beside, "begin", interrupted)
    monkeypatch.setattr(pool, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        if is_beside:
            Beside(function, 1).run(lambda found: found.add(1))
        else:
            run_all(function, range(2))
    assert ended == [1]


def test_what_threads_work_on_lives_until_they_have_ended(monkeypatch):
    """Even if a second interrupt, at the worst moment, lets the caller go on."""
    monkeypatch.setattr(pool, "stop", lambda tasks: None)
    began, go = threading.Event(), threading.Event()
    array = np.zeros(3)
    alive = weakref.ref(array)

    def function(k: int) -> None:
        if k == 0:
            began.wait(20)
            raise KeyboardInterrupt
        began.set()
        go.wait(20)

    with pytest.raises(KeyboardInterrupt) as raised:
        run_all(function, [0, 1], [array])
    del array, raised
    gc.collect()
    assert alive() is not None
    go.set()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
@pytest.mark.parametrize("is_beside", [False, True])
def test_many_interrupts_while_waiting(is_beside):
    """They are real ones, of which the first reaches the caller."""
    go, ended, count = threading.Event(), list[int](), 0

    def handle(*_: object) -> None:
        nonlocal count
        count += 1
        if count == 10:
            signal.setitimer(signal.ITIMER_REAL, 0)
            go.set()
        raise KeyboardInterrupt(count)

    def function(k: int) -> None:
        if threading.current_thread() is threading.main_thread():
            time.sleep(20)
        go.wait(20)
        time.sleep(0.01)
        ended.append(k)

    def add_two(found: Beside) -> None:
        found.add(0)
        time.sleep(20)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.002)
        with pytest.raises(KeyboardInterrupt) as raised:
            if is_beside:
                Beside(function, 1).run(add_two)
            else:
                run_all(function, range(2))
        assert len(ended) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised.value.args == (1,)


def test_memory_is_to_be_had_afterwards():
    def operation(work: Watched) -> None:
        for _ in range(3):
            memory._give_back(memory._block(1 << 17))

    at_every_place("at_checks", operation)
    in_time(lambda: operation(Watched()))


# -- BLAS -----------------------------------------------------------------------------------------


class Library:
    """In place of BLAS."""

    threads = 4

    def get_num_threads(self) -> int:
        return abs(self.threads)

    def set_num_threads(self, count: int) -> None:
        abs(count)  # an interrupt may come before
        self.threads = count
        abs(count)  # or after


def test_blas_has_its_threads_again(monkeypatch):
    library = Library()
    monkeypatch.setattr(blas, "_library", lambda: library)
    monkeypatch.setattr(sharing, "helping_threads", lambda: 1)
    a = np.random.default_rng(0).normal(size=(6, 6))
    found = np.zeros_like(a)

    def operation(_: Watched) -> None:
        sharing.multiply(a, a, found, 2)

    def checked(work: Watched) -> None:
        try:
            operation(work)
        finally:
            left.append(library.threads)

    left: list[int] = []
    at_every_place("at_checks", checked)
    assert set(left) == {4}
    np.testing.assert_allclose(found, a @ a, rtol=1e-12)


def test_threads_that_somebody_sets_meanwhile_stay(monkeypatch):
    library = Library()
    monkeypatch.setattr(blas, "_library", lambda: library)
    library.threads = 1  # somebody's limit, for a while
    blas.one_blas_thread(library.set_num_threads, 4)  # which is over
    assert library.threads == 4


# -- without threads ------------------------------------------------------------------------------


def test_where_no_thread_can_be_had_the_caller_does_it_all(monkeypatch):
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(pool, "STARTED", [])
    done: list[int] = []
    run_all(done.append, range(3))
    assert sorted(done) == [0, 1, 2]

    def own(work: Beside) -> None:
        for k in (3, 4):
            work.add(k)

    Beside(done.append, 1).run(own)
    assert sorted(done) == [0, 1, 2, 3, 4]
    with told_if_slow("nobody tells"):
        pass


# -- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_layer_gives_the_same_numbers_afterwards(backend, monkeypatch):
    pytest.importorskip("threadpoolctl")
    if backend == "numba":
        native = pytest.importorskip("tinygrad_lstm.compiler.native.loop")
        monkeypatch.setattr(native, "_WORTH_A_THREAD", 0)
        monkeypatch.setattr(native, "allowed_threads", lambda: 2)
    monkeypatch.setattr(overlap, "WORTH_SHARING", -1)
    monkeypatch.setattr(runner, "helpers_now", lambda: 1)
    monkeypatch.setattr(plans, "_plans", Recent())
    lstm = tg.nn.LSTM(3, 4, rng=0)
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    threads, context = blas.blas_threads_now(), CONTEXT.get()

    def results() -> list[np.ndarray]:
        lstm.zero_grad()
        y, _ = lstm(x, backend=backend)
        (y * y).sum().backward()
        grads = [p.grad for p in lstm.parameters()]
        return [y.numpy(), *(g.numpy() for g in grads if g is not None)]

    def interrupt() -> None:
        expected = results()
        place = 0
        while Interrupts(place := place + 1).at_checks(results):
            assert blas.blas_threads_now() == threads
            assert CONTEXT.get() is context
            for one, other in zip(results(), expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert place > 20

    in_time(interrupt)


_STRESS = """
import gc, signal, sys, time, numpy as np, tinygrad_lstm as tg
from tinygrad_lstm.parallel.blas import blas_threads_now
lstm, x = tg.nn.LSTM(64, 200, rng=0), np.zeros((60, 32, 64), np.float32)
def go():
    y, _ = lstm(x, backend=sys.argv[1])
    (y * y).sum().backward()
    lstm.zero_grad()
is_armed = False
def stop(*_):
    global is_armed
    if is_armed:
        is_armed = False
        raise KeyboardInterrupt
go()
threads = blas_threads_now()
signal.signal(signal.SIGALRM, stop)
rng, end = np.random.default_rng(0), time.monotonic() + 10
while time.monotonic() < end:
    try:
        is_armed = True
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0005, 0.06))
        while is_armed:  # Python ignores what is raised in __del__
            go()
    except KeyboardInterrupt:
        gc.collect()
    assert blas_threads_now() == threads
    go()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_real_interrupts_over_and_over(backend):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-X", "faulthandler", "-c", _STRESS, backend]
    subprocess.run(command, env=environment, timeout=120, check=True)
