"""What was asked for last is kept, and the rest let go."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import TypeVar

__all__ = ["Recent"]

_MOST = 128

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """Values by key; when there are many, the one that was asked for longest ago goes."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def find(self, key: K) -> V | None:
        """The value kept for the key."""
        with self._lock:
            value = self.get(key)
            if value is not None:
                self.move_to_end(key)
            return value

    def keep(self, key: K, value: V) -> V:
        """Keep the value, and give it back."""
        with self._lock:
            self[key] = value
            while len(self) > _MOST:
                self.popitem(last=False)
        return value
