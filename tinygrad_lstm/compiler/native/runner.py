"""A plan of native loops, run: a function forward and one backward, written for the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...tensor import Array
from ..runner import refuse_pull
from .backward import BackwardCall
from .forward import ForwardCall

if TYPE_CHECKING:
    from ..plan import Plan

__all__ = ["NativeRunner"]

Saved = tuple[Any, ...]
"""What `ForwardCall.saved` names."""


class NativeRunner:
    """Runs a plan forward, and pulls cotangents back: see `backends.Runner`. Raises NotNative.

    loops, sources: what runs forward and backward, and the functions around it as text.
    """

    def __init__(self, plan: Plan) -> None:
        writer = ForwardCall(plan)
        text, run = writer.write()
        self.run: Callable[[Sequence[Array]], tuple[list[Array], Any]] = run
        self.pull: Callable[[Any, Sequence[Array | None]], list[Array | None]] = refuse_pull
        self.loops, self.sources = [writer.loop], [text]
        if plan.differentiable:
            back = BackwardCall(plan, writer)
            text, self.pull = back.write()
            self.loops.append(back.loop)
            self.sources.append(text)
        self._over_time = writer.over_time

    @property
    def threads(self) -> str | None:
        """See `backends.Runner`."""
        if all(loop.one_thread for loop in self.loops):
            return None
        return "rows of the batch are shared out over threads"

    def kept(self, saved: Saved) -> list[Array]:
        """The arrays over time that stand behind what a run has saved, each once."""
        wholes = [a if a.base is None else a.base for a in (saved[k] for k in self._over_time)]
        return list({id(a): a for a in wholes}.values())
