"""What a forked process makes anew: a thread that is not there any more may have held a lock."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["after_fork"]


def after_fork(renew: Callable[[], None]) -> Callable[[], None]:
    """Call the function in every process that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return renew
