"""Work for spans of steps that other threads do beside a loop; the loop's thread helps.

The work must spend its time in functions that let go of Python's lock, products above all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from .pool import Task, begin, stop

__all__ = ["Beside"]

T = TypeVar("T")


class Beside:
    """`work(k)` is called, on some thread, for each k that is added during `run`.

    helpers: how many other threads at most. A helper goes when it finds nothing to do, and another
    comes when something is added: none waits for a word that an interrupt could keep back.
    """

    def __init__(self, work: Callable[[int], None], helpers: int) -> None:
        self._work = work
        self._pieces: dict[int, Task] = {}
        self._ready: deque[Task] = deque()  # pieces that nobody has begun
        self._helpers = helpers
        self._away = [None] * helpers  # one for each helper that may be called
        self._calls: list[Task] = []  # of helpers
        self._context = copy_context()  # what the caller says about floating-point errors
        self._error: BaseException | None = None

    def run(self, own: Callable[[Beside], T]) -> T:
        """What the caller's own part gives. All work is done, or, after an error, none goes on."""
        try:
            found = own(self)
            for k in self._pieces:
                self.wait(k)
            self._leave()
            return found
        except BaseException:
            try:
                self._stop()
            finally:  # another interrupt may have come before it could begin
                self._stop()
            raise

    def add(self, k: int) -> None:
        """The work may be done now."""
        piece = self._pieces[k] = Task(self._work_unless_failed, k)
        self._ready.append(piece)
        if self._is_called():
            call = Task(self._context.copy().run, self._help)
            self._calls.append(call)  # before it can begin
            begin([call], self._helpers)

    def wait(self, k: int) -> None:
        """Until the work is done: this thread does what nobody has begun."""
        piece = self._pieces[k]
        while not piece.finished:
            if (other := self._next()) is None:
                piece.wait()
            else:
                self._do(other)
        for error in (piece.error, self._error):
            if error is not None:
                raise error

    def _stop(self) -> None:
        """Nothing more is begun; what was begun ends."""
        self._ready.clear()
        stop(self._calls)
        self._leave()

    def _leave(self) -> None:
        """A helper that comes late must not keep what the work refers to."""
        for call in self._calls:
            call.cancelled = True
        self._work = _nothing
        self._pieces.clear()  # they refer to this
        self._calls.clear()

    def _help(self) -> None:
        while True:
            while (piece := self._next()) is not None:
                self._do(piece)
            self._away.append(None)
            # what was added before that called nobody
            if not self._ready or not self._is_called():
                return

    def _next(self) -> Task | None:
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def _is_called(self) -> bool:
        """Whether a helper was away, and comes."""
        try:
            self._away.pop()
        except IndexError:
            return False
        return True

    def _do(self, piece: Task) -> None:
        piece.run()
        if piece.error is not None:
            self._error = piece.error

    def _work_unless_failed(self, k: int) -> None:
        if self._error is None:
            self._work(k)


def _nothing(k: int) -> None:
    pass
