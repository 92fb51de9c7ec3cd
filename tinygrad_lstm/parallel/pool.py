"""The threads that run loops: as many as the user lets BLAS have, asleep when idle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from . import STARTED
from .blas import blas_threads_now

__all__ = ["allowed_threads", "helping_threads", "on_others", "run_all"]

_tasks: SimpleQueue[tuple[Callable[[Any], Any], Any, Any]] = SimpleQueue()
_lock = Lock()


@cache
def _cores() -> int:
    """Cores this process may use, or what OMP_NUM_THREADS says if that is less."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(cores, int(given))) if given.isdigit() else cores


def allowed_threads() -> int:
    """How many threads a loop may use now."""
    limit = blas_threads_now()
    return _cores() if limit is None else max(1, min(_cores(), limit))


def helping_threads() -> int:
    """How many other threads may make products now: none beside a loop, which has its own helpers.

    None either where nobody can keep BLAS from using threads of its own.
    """
    return 0 if blas_threads_now() is None else allowed_threads() - 1


def run_all(function: Callable[[Any], None], arguments: Sequence[Any]) -> None:
    """Call the function on each argument, all at once; back when the last is done.

    The function must let go of Python's lock. The caller's thread takes the first argument.
    """
    if len(arguments) > 1:
        _start(len(arguments) - 1)
    waits = []
    for argument in arguments[1:]:
        done = Lock()
        done.acquire()
        _tasks.put((function, argument, done))
        waits.append(done)
    function(arguments[0])
    for done in waits:
        done.acquire()


def on_others(function: Callable[[], None], count: int) -> None:
    """Let `count` other threads call the function, as soon as they are free. It must not raise."""
    _start(count)
    for _ in range(count):
        _tasks.put((lambda _: function(), None, None))


def _start(count: int) -> None:
    if len(STARTED) >= count:
        return
    with _lock:
        while len(STARTED) < count:
            thread = Thread(target=_work, name=f"tinygrad_lstm-{len(STARTED)}", daemon=True)
            thread.start()
            STARTED.append(thread)


def _work() -> None:
    while True:
        function, argument, done = _tasks.get()
        try:
            function(argument)
        finally:
            if done is not None:
                done.release()
        del function, argument, done  # nothing is kept while waiting


def _after_fork() -> None:
    global _tasks
    _tasks = SimpleQueue()
    STARTED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
