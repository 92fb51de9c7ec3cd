"""A word to whoever waits for the compiler, where that takes longer than a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Timer

__all__ = ["compiling", "told_if_slow"]

_PATIENCE = 1.0  # seconds
_COMPILING = (
    "compiling a step of {} ops, which takes a while; what is compiled to native code is kept, and "
    "the next process finds it"
)


def compiling(ops: int) -> AbstractContextManager[None]:
    """`told_if_slow`, of a step's ops."""
    return told_if_slow(_COMPILING.format(ops))


@contextmanager
def told_if_slow(what: str) -> Iterator[None]:
    """Say on standard error what is going on, if it is not done soon."""
    timer = Timer(_PATIENCE, _tell, [what])
    timer.daemon = True
    with suppress(RuntimeError):  # no thread to be had, as when the interpreter ends
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell(what: str) -> None:
    print(f"tinygrad_lstm: {what}", file=sys.stderr, flush=True)
