"""What the named tensors of a step held over time, and their gradients, from any run of a scan.

Compiled, they are read by a probe of the step; unrolled, off the graph as it is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .context import CONTEXT
from .errors import GraphError
from .sweep import WATCHERS, Key, key_of
from .tensor import Array, Node, Tensor, _wrap, next_number

if TYPE_CHECKING:  # the compiler is loaded when it is used
    from .compiler.graph import Graph, Spec
    from .compiler.step import FlatStep

__all__ = ["Recording", "Run"]

Where = int | slice
"""A step, or all of them in the order in which they were run."""


class Recording(Mapping[str, Array]):
    """Named tensors of a scan's steps over time: `recording["f_t"]` is (T, ...), copied.

    names: of tensors that the step computes from the carry or x_t (of several with one name, the
    first); none: all of them. grads: `recording.grad["f_t"]` too, dL/df_t by every later path.
    Give it to `scan(record=...)`; it holds what the last run did. Beyond a sequence's length all
    is zero. Unrolled, what the results depend on through `detach` alone is not found.
    Raises KeyError for a tensor that was not recorded.
    """

    def __init__(self, *names: str, grads: bool = False) -> None:
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"names: expected strings, got {names!r}")
        self.names = tuple(dict.fromkeys(names))
        self.grads = grads
        self._run: Run | None = None

    def begin(self, count: int, ends: Array | None, reverse: bool) -> Run:
        """Forget the last run, and be ready for one of `count` steps. For `scan`."""
        self._run = Run(self.names, self.grads, count, ends, reverse)
        return self._run

    def __getitem__(self, name: str) -> Array:
        if self._run is None:
            raise KeyError(f"{name}: nothing was run yet, so nothing was recorded")
        try:
            return self._run.values[name]
        except KeyError:
            there = ", ".join(self._run.values)
            raise KeyError(f"{name} was not recorded; there are {there}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(() if self._run is None else self._run.values)

    def __len__(self) -> int:
        return 0 if self._run is None else len(self._run.values)

    @property
    def has_grad(self) -> bool:
        """Whether a backward pass has come through the last run."""
        return self._run is not None and self._run.gradients is not None

    @property
    def grad(self) -> Mapping[str, Array]:
        """The gradients of the last backward pass through the run: name -> (T, ...).

        Raises GraphError where there are none, and why.
        """
        if not self.grads:
            raise GraphError("grad: not recorded; ask for it with grads=True")
        if self._run is None or self._run.gradients is None:
            why = "nothing was run yet" if self._run is None else self._run.why_no_gradients()
            raise GraphError(f"grad: there are no gradients; {why}")
        return self._run.gradients

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in self.items())
        return f"Recording({shapes or 'nothing yet'})"


class Run:
    """One run of a scan: collects values while it runs, and gradients whenever they come.

    Told of gradients by the sweep (`Watcher`). Holds numbers of nodes, not nodes: they are freed
    with the rest of the graph.
    """

    def __init__(
        self, names: tuple[str, ...], grads: bool, count: int, ends: Array | None, reverse: bool
    ) -> None:
        self.names = names
        self.grads = grads and CONTEXT.get().recording
        self.count = count
        self.beyond = None if ends is None else np.arange(count)[:, np.newaxis] >= ends
        self.in_order = slice(None, None, -1 if reverse else 1)
        self.values: dict[str, Array] = {}
        self.gradients: dict[str, Array] | None = None
        self._chosen: tuple[str, ...] = ()
        self._sources: dict[int, tuple[str, Where]] = {}

    def why_no_gradients(self) -> str:
        """What to tell somebody who asks for them in vain."""
        if not self.grads:
            return "the run was inside no_grad, which keeps nothing to differentiate"
        return "call backward() on a loss that depends on the run"

    # -- a compiled run: a probe of the step ------------------------------------------------------

    def insert(self, graph: Graph, carries: int, xs: int) -> tuple[Graph, list[Tensor]]:
        """The step with the named values as further outputs, and taps on them."""
        from .compiler.probe import expose, named_values, tap

        there = named_values(graph, graph.inputs[: carries + xs])
        chosen = {name: there[name] for name in self._choose(there)}
        self._chosen = tuple(chosen)
        graph = expose(graph, tuple(chosen.values()))
        if not self.grads:
            return graph, []
        smooth = {name: v for name, v in chosen.items() if graph.spec(v).dtype.kind == "f"}
        taps = [self._tap(name, graph.spec(v)) for name, v in smooth.items()]
        return tap(graph, tuple(smooth.values()), carries + xs), taps

    def take(self, seen: Sequence[Tensor]) -> None:
        """Keep what the added outputs were."""
        for name, series in zip(self._chosen, seen, strict=True):
            self._put(name, self.in_order, series._data)

    def _tap(self, name: str, spec: Spec) -> Tensor:
        zeros = Tensor(np.zeros((self.count, *spec.shape), spec.dtype), requires_grad=True)
        tap = zeros.reshape(zeros.shape)  # recorded, so that it has a number
        self._watch(tap.node, name, self.in_order)
        return tap

    # -- an unrolled run: reading the graph ------------------------------------------------------

    def prepared(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors, requiring a gradient: else nothing computed from frozen ones would."""
        return [_demanding(t) if self.grads and t.dtype.kind == "f" else t for t in tensors]

    def step(
        self, t: int, step: FlatStep, before: Sequence[Tensor], x_t: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """`step(before, x_t)`, its named values kept."""
        from .compiler.trace import recorded_since

        since, now = next_number(), CONTEXT.get()
        token = CONTEXT.set(now.but(recording=True))  # names stand on what is recorded
        try:
            new, ys = step(before, x_t)
        finally:
            CONTEXT.reset(token)
        there = _named_nodes(recorded_since([*new, *ys], since), [*before, *x_t])
        for name in self._choose(there):
            node = there[name]
            self._put(name, t, node._value)
            if self.grads and node._value.dtype.kind == "f":
                self._watch(node, name, t)
        if now.recording:
            return new, ys
        return [s.detach() for s in new], [y.detach() for y in ys]

    # -- both -------------------------------------------------------------------------------------

    def arrived(self, gradients: dict[int, Any]) -> None:
        """Gradients of one backward pass; what it did not reach has a gradient of zero."""
        smooth = {name: v for name, v in self.values.items() if v.dtype.kind == "f"}
        found = {name: np.zeros_like(v) for name, v in smooth.items()}
        for number, g in gradients.items():
            name, where = self._sources[number]
            found[name][where] = g._data if isinstance(g, Tensor) else g
        self.gradients = found

    def _choose(self, there: Mapping[str, object]) -> tuple[str, ...]:
        unknown = [name for name in self.names if name not in there]
        if unknown:
            known = ", ".join(there) or "none"
            raise ValueError(
                f"record: the step computes no tensor named {', '.join(unknown)} from its carry "
                f"or x_t; there are {known}"
            )
        return self.names or tuple(there)

    def _put(self, name: str, where: Where, value: Array) -> None:
        if name not in self.values:
            shape = value.shape if isinstance(where, slice) else (self.count, *value.shape)
            self.values[name] = np.zeros(shape, value.dtype)
        series = self.values[name]
        series[where] = value
        if self.beyond is not None and series.shape[:2] == self.beyond.shape:
            series[where][self.beyond[where]] = 0

    def _watch(self, node: Node | None, name: str, where: Where) -> None:
        if node is not None:
            self._sources[node.seq] = name, where
            WATCHERS[node.seq] = self


def _demanding(t: Tensor) -> Tensor:
    """The same leaf or result, of which gradients are wanted."""
    if t.requires_grad:
        return t
    twin = _wrap(t._data, t.node, True)
    if t.node is None:
        twin._name = t.name
    return twin


def _named_nodes(nodes: Sequence[Node], moving: Sequence[Tensor]) -> dict[str, Node]:
    """As `named_values`, of recorded nodes."""
    varying: set[Key] = {key_of(t) for t in moving}
    found: dict[str, Node] = {}
    for node in nodes:
        if any(key_of(t) in varying for t in node.inputs):
            varying.add(node)
            if node.name is not None:
                found.setdefault(node.name, node)
    return found
