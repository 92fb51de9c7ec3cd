"""What was asked for last is kept, and the rest let go."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import TypeVar

from ..parallel.forks import after_fork

__all__ = ["Recent"]

_MOST = 128
_lock = Lock()  # of all: whoever has it does little

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """Values by key; when there are many, the one that was asked for longest ago goes."""

    def find(self, key: K) -> V | None:
        """The value kept for the key."""
        with _lock:
            value = self.get(key)
            if value is not None:
                self.move_to_end(key)
            return value

    def keep(self, key: K, value: V) -> V:
        """Keep the value, and give it back."""
        with _lock:
            self[key] = value
            while len(self) > _MOST:
                self.popitem(last=False)
        return value

    def drop(self, key: K) -> None:
        """Let go of what is kept for the key, if anything is."""
        with _lock:
            self.pop(key, None)


@after_fork
def _renew() -> None:
    global _lock
    _lock = Lock()
