"""The threads that run loops: as many as the user lets BLAS have, asleep when idle.

Ctrl-C raises an exception in the main thread, at any place. Before that reaches the caller, other
threads must have ended what they are at: arrays are gone then, or used again. So whatever ends a
call may be begun again wherever it was interrupted, and is, until it is done. Other threads are not
interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from . import STARTED
from .blas import blas_threads_now
from .forks import after_fork

__all__ = ["Task", "allowed_threads", "begin", "helping_threads", "run_all", "stop"]

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


class Task:
    """A call of a function that another thread is to make.

    kept: what the function works on, which lives as long as the task does, whoever was interrupted.
    Flags say what has happened, and the lock only wakes who waits: waiting may be interrupted and
    begun again at any place.
    """

    __slots__ = ("argument", "begun", "cancelled", "ended", "error", "finished", "function", "kept")

    def __init__(self, function: Callable[[Any], None], argument: Any, kept: Any = None) -> None:
        self.function, self.argument, self.kept = function, argument, kept
        self.begun = self.finished = self.cancelled = False
        self.error: BaseException | None = None
        self.ended = Lock()
        self.ended.acquire()

    def run(self) -> None:
        self.begun = True  # before asking: either this sees that it is cancelled, or `stop` waits
        try:
            if not self.cancelled:
                self.function(self.argument)
        except BaseException as error:
            self.error = error
        finally:
            self.finished = True
            self.ended.release()

    def wait(self) -> None:
        """Until it is finished, which somebody must be about to do."""
        while not self.finished:
            self.ended.acquire()


_tasks: SimpleQueue[Task] = SimpleQueue()


def run_all(function: Callable[[Any], None], arguments: Sequence[Any], kept: object = None) -> None:
    """Call the function on each argument, all at once; back when the last is done.

    The function must let go of Python's lock. The caller's thread takes the first argument. kept:
    see Task.
    """
    others = [Task(function, argument, kept) for argument in arguments[1:]]
    try:
        begin(others, len(others))
        function(arguments[0])
        for task in others:
            task.wait()
    except BaseException:
        try:
            stop(others)
        finally:  # another interrupt may have come before it could begin
            stop(others)
        raise
    for task in others:
        if task.error is not None:
            raise task.error


def begin(tasks: Sequence[Task], threads: int) -> None:
    """Let other threads run the tasks as soon as they are free; there are so many at least.

    Where no thread can be had, as when the interpreter ends, the tasks are run here.
    """
    try:
        _start(threads)
    except RuntimeError:
        if not STARTED:
            for task in tasks:
                task.run()
            return
    for task in tasks:
        _tasks.put(task)


def stop(tasks: Sequence[Task]) -> None:
    """Back when no other thread is at any of the tasks, nor will begin one.

    What interrupts this is forgotten: who calls it has an exception to raise already.
    """
    while True:
        try:
            for task in tasks:
                task.cancelled = True
            for task in tasks:
                while task.begun and not task.finished:
                    task.ended.acquire()
            return
        except BaseException:
            continue


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
        task = _tasks.get()
        task.run()
        del task  # nothing is kept while waiting


@after_fork
def _renew() -> None:
    global _tasks, _lock
    _tasks, _lock = SimpleQueue(), Lock()
    STARTED.clear()
