"""Who works on which core: BLAS, until loops have threads of their own, and then these."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # products ask whether there are threads before anything of theirs is loaded
    from threading import Thread

__all__ = ["LIMITED", "STARTED"]

STARTED: list[Thread] = []
"""The other threads of this process: none before the first loop that uses them."""

LIMITED: set[object] = set()
"""Calls that go on and keep BLAS on one thread."""
