"""Work for spans of steps that other threads do beside a loop; the loop's thread helps.

The work must spend its time in functions that let go of Python's lock, products above all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Lock
from types import TracebackType
from typing import Any

from .pool import on_others

__all__ = ["Beside"]


class Beside:
    """A `with` block in which `work(k)` is called, on some thread, for each k that is added.

    helpers: how many other threads. When the block ends all work is done, or, after an error,
    none goes on.
    """

    def __init__(self, work: Callable[[int], None], helpers: int) -> None:
        self._work = work
        self._ready: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        self._added: dict[int, Any] = {}  # whose end was not waited for -> a lock until then
        self._helpers = helpers
        self._error: BaseException | None = None

    def __enter__(self) -> Beside:
        context = copy_context()  # what the caller says about floating-point errors
        on_others(lambda: context.copy().run(self._help), self._helpers)
        return self

    def add(self, k: int) -> None:
        """The work may be done now."""
        done = self._added[k] = Lock()
        done.acquire()
        self._ready.put((k, done))

    def wait(self, k: int) -> None:
        """Until the work is done: this thread does what nobody has begun."""
        done = self._added[k]
        while not done.acquire(blocking=False):
            try:
                task = self._ready.get_nowait()
            except Empty:
                done.acquire()
                break
            if task is not None:
                self._do(*task)
        del self._added[k]
        if self._error is not None:
            raise self._error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            while self._added and error is None:
                self.wait(next(iter(self._added)))
        finally:
            self._settle()

    def _settle(self) -> None:
        """Nothing more is begun; what was begun ends."""
        with suppress(Empty):
            while True:
                task = self._ready.get_nowait()
                if task is not None:
                    del self._added[task[0]]
        for _ in range(self._helpers):
            self._ready.put(None)
        for done in self._added.values():
            done.acquire()
        self._added.clear()
        self._work = _nothing  # a helper that comes late must not keep what the work refers to

    def _help(self) -> None:
        while (task := self._ready.get()) is not None:
            self._do(*task)

    def _do(self, k: int, done: Any) -> None:
        try:
            if self._error is None:
                self._work(k)
        except BaseException as error:
            self._error = error
        finally:
            done.release()


def _nothing(k: int) -> None:
    pass
