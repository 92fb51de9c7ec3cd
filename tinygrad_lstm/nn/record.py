"""What a recurrent layer's named tensors held over time: `with lstm.record("f_t") as seen`.

One `Recording` for each layer and direction; knows nothing of what the names stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ..recording import Recording
from ..tensor import Array
from .module import Module

__all__ = ["OverLayers", "Seen", "is_recording", "recording", "recording_of"]

Key = str | tuple[str, str]
"""A tensor's name, and where there are several layers or directions, the layer."""


class OverLayers(Mapping[Key, Array]):
    """Arrays by name, or by name and layer where there are several."""

    def __init__(self, parts: Mapping[str, Mapping[str, Array]]) -> None:
        self._parts = parts

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers and directions there are: "layer 0", "layer 0 reverse", "layer 1", ..."""
        return tuple(self._parts)

    def __getitem__(self, key: Key) -> Array:
        name, layer = (key, None) if isinstance(key, str) else key
        if not self._parts:
            raise KeyError(f"{name}: the layer was not called, so nothing was recorded")
        if layer is None:
            layer, *others = self._parts
            if others:
                raise KeyError(f"{name} is there for several layers; add one of {self._listed()}")
        if layer not in self._parts:
            raise KeyError(f"there is no {layer}; there are {self._listed()}")
        return self._parts[layer][name]

    def __iter__(self) -> Iterator[Key]:
        for layer, part in self._parts.items():
            for name in part:
                yield name if len(self._parts) == 1 else (name, layer)

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def _listed(self) -> str:
        return ", ".join(map(repr, self._parts))

    def __repr__(self) -> str:
        shapes = [f"{key} {values.shape}" for key, values in self.items()]
        return f"{type(self).__name__}({', '.join(shapes) or 'nothing yet'})"


class Seen(OverLayers):
    """Named tensors of a recurrent layer over time: what `lstm.record(...)` gives.

    `seen["f_t"]` is (T, B, H), whatever `batch_first` says and with B = 1 without a batch; with
    several layers or directions `seen["f_t", "layer 1 reverse"]`, where `seen.layers` lists them.
    The reverse direction stands in the order of x too. Beyond a sequence's length all is zero.
    `seen.grad` has the same keys. A mapping: `dict(seen)`, `seen.items()`, `"f_t" in seen`.
    Raises KeyError for what was not recorded.
    """

    def __init__(self, names: tuple[str, ...], grads: bool) -> None:
        self._recordings: dict[str, Recording] = {}
        super().__init__(self._recordings)
        self._names = names
        self._grads = grads
        Recording(*names)  # refuses names that are none

    def part(self, layer: str) -> Recording:
        """Where one layer and direction leaves its tensors."""
        if layer not in self._recordings:
            self._recordings[layer] = Recording(*self._names, grads=self._grads)
        return self._recordings[layer]

    @property
    def grad(self) -> OverLayers:
        """Gradients of the last backward pass through the last call, dL/df_t by all later paths.

        Raises GraphError where there are none, and why.
        """
        parts = self._recordings or {"": Recording(grads=self._grads)}
        reached = {layer for layer, part in parts.items() if part.has_grad}
        return OverLayers(
            {
                layer: part.grad if layer in reached or not reached else _zeros(part)
                for layer, part in parts.items()
            }
        )


def _zeros(values: Mapping[str, Array]) -> dict[str, Array]:
    """The gradients of a layer that the loss does not depend on."""
    return {name: np.zeros_like(v) for name, v in values.items() if v.dtype.kind == "f"}


_ACTIVE: ContextVar[tuple[tuple[Module, Seen], ...]] = ContextVar("record", default=())


@contextmanager
def recording(module: Module, names: tuple[str, ...], grads: bool) -> Iterator[Seen]:
    """While the block runs, let calls of `module` leave their tensors in what it gives."""
    seen = Seen(names, grads)
    token = _ACTIVE.set((*_ACTIVE.get(), (module, seen)))
    try:
        yield seen
    finally:
        _ACTIVE.reset(token)


def is_recording() -> bool:
    """Whether any layer's tensors are wanted."""
    return bool(_ACTIVE.get())


def recording_of(module: Module, layer: str) -> Recording | None:
    """Where the innermost block wants the tensors of one layer and direction of `module`."""
    for wanted, seen in reversed(_ACTIVE.get()):
        if wanted is module:
            return seen.part(layer)
    return None
