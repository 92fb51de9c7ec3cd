"""What is in force while ops are recorded: the scope, whether to record, and on whose behalf.

Knows nothing of tensors. A `Context` is immutable; entering a scope replaces the current one in a
context variable, so threads and asynchronous tasks do not see each other's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import CodeType, TracebackType
from typing import Any, ClassVar, Protocol, Self

import numpy as np

__all__ = ["Context", "Place", "ScopeFrame", "detect_anomaly", "no_grad", "scope"]

Place = tuple[CodeType, int]
"""Where an op was recorded: a code object and an instruction offset, cheap to keep."""

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

_new = object.__new__


class ScopeFrame:
    """One entry of a `with scope(name)` block; two entries of the same name are two frames."""

    __slots__ = ("name", "parent")

    def __init__(self, name: str, parent: ScopeFrame | None) -> None:
        self.name = name
        self.parent = parent

    def path(self) -> tuple[ScopeFrame, ...]:
        """The frames from the outermost to this one."""
        frames: list[ScopeFrame] = []
        frame: ScopeFrame | None = self
        while frame is not None:
            frames.append(frame)
            frame = frame.parent
        return tuple(reversed(frames))


class Tracer(Protocol):
    """Whoever records a step for later: asked where a value would be that of one step only."""

    def check_concrete(self, value: Any, /) -> None:
        """Raise GraphError if the value, about to leave the graph, is not the same at all steps."""

    def detached(self, value: Any, /) -> Any:
        """The value without its history: an op, for there is another value at each step."""

    def stands_for_every_step(self, value: Any, /) -> bool:
        """Whether the value, were it shown, would be that of one step only."""
        ...

    def made(self, value: Any, /) -> None:
        """Take note of the result of an op."""

    def drawn(self, draw: Callable[[], Any], like: Any, rng: Any, /) -> Any:
        """What `draw` gives, shaped as `like`: called anew for each step. rng: what draws."""

    def born(self, leaf: Any, /) -> None:
        """Take note of a new leaf."""

    def note_gradient(self, leaves: Any, wanted: Any, /) -> None:
        """Take note of a gradient.

        leaves: what it comes back to. wanted: the tensors and nodes it is with respect to.
        """


class Context:
    """The state one op is recorded under."""

    __slots__ = ("anomaly", "is_backward", "place", "recording", "scope", "site", "tracer")

    def __init__(
        self,
        scope: ScopeFrame | None = None,
        recording: bool = True,
        anomaly: bool = False,
        is_backward: bool = False,
        site: Place | None = None,
        place: Place | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.scope = scope
        self.recording = recording
        self.anomaly = anomaly
        self.is_backward = is_backward
        self.site = site  # where the user called the outermost Module
        self.place = place  # overrides the caller's place: a backward op has its forward op's
        self.tracer = tracer

    def but(self, **changes: Any) -> Context:
        """This context with some fields changed."""
        return Context(**{key: changes.get(key, getattr(self, key)) for key in self.__slots__})

    def inside(self, name: str, site: Place | None) -> Context:
        """This context in a scope of that name, or in none more if the name is empty.

        Every call of a module comes this way: field by field, which takes half the time of `but`.
        """
        scope = self.scope
        if name:
            frame = _new(ScopeFrame)
            frame.name = name
            frame.parent = scope
            scope = frame
        entered = _new(Context)
        entered.scope = scope
        entered.recording = self.recording
        entered.anomaly = self.anomaly
        entered.is_backward = self.is_backward
        entered.site = site
        entered.place = self.place
        entered.tracer = self.tracer
        return entered

    def names(self) -> tuple[str, ...]:
        """The names of the scopes, from the outermost in."""
        return () if self.scope is None else tuple(f.name for f in self.scope.path())


CONTEXT: ContextVar[Context] = ContextVar("tinygrad_lstm.context", default=Context())  # noqa: B039 - immutable


class _Block:
    """A `with` block that puts a changed context in force and takes it back."""

    __slots__ = ("_token",)

    _token: Token[Context]

    def _changed(self, now: Context) -> Context:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._token = CONTEXT.set(self._changed(CONTEXT.get()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        CONTEXT.reset(self._token)


class scope(_Block):
    """Name the ops recorded in a `with` block; scopes nest, and pictures draw them as clusters.

    Args: name, a non-empty string. Raises TypeError for anything else.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"scope: name must be a non-empty string, got {name!r}")
        self.name = name

    def _changed(self, now: Context) -> Context:
        return now.inside(self.name, now.site)


class no_grad(_Block):
    """Compute without recording: results have no history and require no gradient."""

    __slots__ = ()

    def _changed(self, now: Context) -> Context:
        return now.but(recording=False)


class detect_anomaly(_Block):
    """Stop at the first NaN or infinity, forward or backward, and say which op made it.

    Raises NonFiniteError with the op, its scope, the names of its inputs and file:line. A compiled
    scan is one op; run it with unroll=True to learn which op of which step it was.
    Each op's result is checked, so it costs about a pass over memory per op. NumPy's own
    floating-point warnings, which name neither op nor line, are silent inside.
    """

    __slots__ = ("_quiet",)

    ever_used: ClassVar[bool] = False
    """Whether any graph may have been recorded in such a block."""

    def _changed(self, now: Context) -> Context:
        return now.but(anomaly=True)

    def __enter__(self) -> Self:
        detect_anomaly.ever_used = True
        self._quiet = np.errstate(all="ignore")
        self._quiet.__enter__()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._quiet.__exit__(None, None, None)


class at_place(_Block):
    """Record on behalf of a forward op: its scope and place, flagged as backward.

    The sweep itself looks for anomalies, so that they are told of the forward op.
    """

    __slots__ = ("forward", "place")

    def __init__(self, forward: Context, place: Place | None) -> None:
        self.forward = forward
        self.place = place

    def _changed(self, now: Context) -> Context:
        forward = self.forward
        return Context(
            forward.scope, now.recording, False, True, forward.site, self.place, now.tracer
        )


def calling_line() -> Place | None:
    """Where the nearest code outside this package is running."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def calling_level() -> int:
    """The stacklevel with which `warnings.warn`, where this is asked, blames that code."""
    frame, level = sys._getframe(1), 1
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    return level


class called_from(_Block):
    """Remember the user's line that called into the library."""

    __slots__ = ("site",)

    def __init__(self, site: Place | None) -> None:
        self.site = site

    def _changed(self, now: Context) -> Context:
        return now.but(site=self.site)


class fresh_context(_Block):
    """Record in the scope in force, and as if nothing else were: no anomaly checks, no tracer."""

    __slots__ = ("tracer",)

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.tracer = tracer

    def _changed(self, now: Context) -> Context:
        return Context(now.scope, site=now.site, tracer=self.tracer)
