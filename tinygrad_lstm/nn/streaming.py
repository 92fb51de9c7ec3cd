"""Inference as inputs come: a recurrent layer, one x_t at a time; the caller carries the state.

Works on NumPy arrays and records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from ..parallel.forks import lock_of
from ..tensor import Array, Tensor, TensorLike
from . import _checks
from .cells import as_input, check_float

if TYPE_CHECKING:
    from ._layers import Recurrent

__all__ = ["Streaming"]

_Array = np.ndarray


class Streaming:
    """All layers of a recurrent network for one x_t: what `layer.streaming(batch)` gives.

        step = lstm.streaming()
        state = None
        for x_t in source:
            y_t, state = step(x_t, state)

    x_t: (B, input_size); (input_size,) with batch=None. state: as the layer's h_0, or (h_0, c_0) of
    an LSTM; (num_layers, B, size), without B with batch=None; None: zeros.
    Returns y_t (B, proj_size or hidden_size) and the state after x_t, in new arrays that are the
    caller's: one step may serve any number of sequences, and several threads, in turn.
    Planned once, when it is made: a call fills buffers, runs one kernel, and copies the results.
    The weights are packed for it then, too, which takes several times as long as a call: where
    training has gone on, `refresh()` does it again. No dropout, as in eval mode; no gradients.
    Raises ShapeError and DTypeError for an x_t or state that does not fit.
    """

    def __init__(self, layer: Recurrent, batch: int | None, backend: str | None) -> None:
        if layer.bidirectional:
            raise ValueError(
                f"streaming: the {type(layer).__name__} is bidirectional, and its reverse "
                "direction starts at the end of a sequence, which a stream has not seen yet; only "
                "one direction can be streamed"
            )
        self._given = layer, batch, backend
        self._lock = lock_of(self)
        self._make(layer, batch, backend)

    def _make(self, layer: Recurrent, batch: int | None, backend: str | None) -> None:
        rows = 1 if batch is None else _checks.size("batch", batch)
        self._kind = type(layer).__name__
        self._names = layer.state_names
        self._single = len(self._names) == 1
        self._weight = weight = layer._weight("weight_ih", "l0")
        self._dtype = weight.dtype
        whole = [
            np.zeros((2, layer.num_layers, rows, layer._state_size(name)), self._dtype)
            for name in self._names
        ]

        def advance(
            states: Sequence[Tensor], inputs: Sequence[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            (x,), after = inputs, []
            for k in range(layer.num_layers):
                state = tuple(states[k * len(whole) : (k + 1) * len(whole)])
                new = layer._advance(state, x, layer._weights(f"l{k}"))
                after += new
                x = new[0]
            return after, []

        histories = [s[:, k] for k in range(layer.num_layers) for s in whole]
        states = [Tensor(s[0]) for s in histories]
        x = Tensor(np.zeros((rows, layer.input_size), self._dtype))
        from ..compiler.single import SingleStep  # loaded when it is used

        self._step = SingleStep(advance, states, [x], backend, histories)
        (x_t,) = self._step.inputs
        if batch is None:
            x_t, whole = x_t[0], [s[:, :, 0] for s in whole]
        self._x, self._x_shape = x_t, x_t.shape
        before = [s[0] for s in whole]
        self._before = [(n, s, s.shape) for n, s in zip(self._names, before, strict=True)]
        self._after = [s[1] for s in whole]
        self._y = self._after[0][-1]

    def __call__(
        self, x_t: TensorLike, state: TensorLike | Sequence[TensorLike] | None = None
    ) -> tuple[Array, Any]:
        """y_t and the state after x_t; see the class."""
        dtype = self._dtype
        with self._lock:
            # what fits is taken as it is, without a call: it would cost as much as the copy
            if type(x_t) is _Array and x_t.dtype is dtype and x_t.shape == self._x_shape:
                self._x[...] = x_t
            else:
                self._x[...] = self._checked("x_t", x_t, self._x_shape)
            if state is None:
                for _, buffer, _ in self._before:
                    buffer.fill(0)
            else:
                for (name, buffer, shape), s in zip(self._before, self._parts(state), strict=True):
                    if type(s) is _Array and s.dtype is dtype and s.shape == shape:
                        buffer[...] = s
                    else:
                        buffer[...] = self._checked(name, s, shape)
            self._step.run()
            after: list[Array] = [*map(_Array.copy, self._after)]
            return self._y.copy(), after[0] if self._single else tuple(after)

    def _parts(self, state: Any) -> Sequence[Any]:
        """The states by name: what a call takes for an LSTM is a pair."""
        if self._single:
            return (state,)
        if not isinstance(state, tuple | list) or len(state) != len(self._names):
            what = type(state).__name__
            raise TypeError(f"{self._kind}: state must be ({', '.join(self._names)}), got {what}")
        return state

    def _checked(self, name: str, given: Any, shape: tuple[int, ...]) -> Array:
        """Anything that a layer takes, as an array."""
        tensor = as_input(given, self._weight)
        if tensor.shape != shape:
            raise ShapeError(
                f"{self._kind}: {name} must be {shape}, got {tensor.shape}; the stream was made by "
                "streaming(batch=...)"
            )
        check_float(self._kind, name, tensor, self._weight)
        return tensor.numpy()

    def refresh(self) -> None:
        """Pack the layer's parameters again, as they are now."""
        layer, batch, backend = self._given
        with self._lock:
            dtype = layer._weight("weight_ih", "l0").dtype
            if dtype != self._dtype or not self._step.refresh():
                self._make(layer, batch, backend)
