"""What a forked process makes anew: a thread that is not there any more may have held a lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakSet

__all__ = ["after_fork", "lock_of"]


def after_fork(renew: Callable[[], None]) -> Callable[[], None]:
    """Call the function in every process that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return renew


_owners: WeakSet[Any] = WeakSet()


def lock_of(owner: Any) -> Lock:
    """For an object's `_lock`, which is another one in every process that is forked from now on."""
    _owners.add(owner)
    return Lock()


@after_fork
def _renew() -> None:
    for owner in _owners:
        owner._lock = Lock()
