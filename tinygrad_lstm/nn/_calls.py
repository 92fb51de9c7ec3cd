"""Entering a layer or a loss: the scope it is recorded in, and the user's line that called it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from ..context import CONTEXT, calling_line
from ..tensor import Tensor

__all__ = ["recorded_in"]

P = ParamSpec("P")

def recorded_in(name: str) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Record a function's ops in the scope `name`, on behalf of the user's line."""

    def decorate(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @wraps(function)
        def entered(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            now = CONTEXT.get()
            site = calling_line() if now.site is None else now.site
            try:  # around the change too: Ctrl-C may come right after it
                CONTEXT.set(now.inside(name, site))
                return function(*args, **kwargs)
            finally:
                CONTEXT.set(now)

        return entered

    return decorate
