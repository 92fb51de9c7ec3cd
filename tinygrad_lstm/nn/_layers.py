"""What recurrent layers share: layers, directions, lengths and initial states around a step.

Parameter names, shapes and initialisation are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..context import CONTEXT, scope
from ..errors import ShapeError
from ..functions import concatenate, dropout, squeeze, stack, swapaxes, unsqueeze, where
from ..random import Rng
from ..scan import check_backend, check_lengths, in_order, scan
from ..tensor import Array, Tensor, TensorLike, _wrap
from . import _checks
from .cells import as_input, check_float, described, uniform_maker
from .module import Module
from .record import Seen, is_recording, recording, recording_of
from .streaming import Streaming

if TYPE_CHECKING:  # the compiler is loaded when it is used
    from ..compiler.describe import Explanations
    from ..compiler.memo import Memo

__all__ = ["Lengths", "Recurrent", "States"]

Lengths = Sequence[int] | Array | None
Initial = Sequence[Tensor | None]
States = tuple[Tensor, ...]
Step = Callable[[Any, Any], tuple[Any, Any]]


class Recurrent(Module):
    """Layers and directions of one kind of cell."""

    gates: int
    state_names: tuple[str, ...] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__()
        self.input_size = _checks.size("input_size", input_size)
        self.hidden_size = _checks.size("hidden_size", hidden_size)
        self.num_layers = _checks.size("num_layers", num_layers)
        self.bias = _checks.flag("bias", bias)
        self.batch_first = _checks.flag("batch_first", batch_first)
        self.dropout = _checks.fraction("dropout", dropout)
        self.bidirectional = _checks.flag("bidirectional", bidirectional)
        self.proj_size = self._checked_projection(proj_size)
        self._make = uniform_maker(hidden_size, dtype, rng)
        self._alone = num_layers == 1 and not bidirectional
        self._no_states = (None,) * len(self.state_names)
        self._result_names = (*(f"{name}_n" for name in self.state_names), "y")
        self._carried = [(f"{name}_{{t-1}}", self._state_size(name)) for name in self.state_names]
        self._memos: dict[tuple[str, bool], Memo] = {}
        for layer in range(num_layers):
            width = input_size if layer == 0 else self._output_size * self._directions
            for suffix in self._suffixes(layer):
                self._add_layer(suffix, width)

    def __setattr__(self, name: str, value: Any) -> None:
        """Whatever is set, the step may record something else from now on."""
        super().__setattr__(name, value)
        if memos := self.__dict__.get("_memos"):
            memos.clear()

    def __copy__(self) -> Self:
        twin = super().__copy__()
        twin.__dict__["_memos"] = {}
        return twin

    def _checked_projection(self, proj_size: int) -> int:
        wanted = f"proj_size must be an integer in [0, hidden_size={self.hidden_size})"
        if isinstance(proj_size, bool) or not isinstance(proj_size, int | np.integer):
            raise TypeError(f"{wanted}, got {proj_size!r}")
        if not 0 <= proj_size < self.hidden_size:
            raise ValueError(f"{wanted}, got {proj_size}")
        return int(proj_size)

    def _options(self) -> dict[str, Any]:
        """The options `repr` shows where they differ from these defaults."""
        return {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }

    def extra_repr(self) -> str:
        return described(self, **self._options())

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._directions]

    def _add_layer(self, suffix: str, width: int) -> None:
        rows = self.gates * self.hidden_size
        self.register_parameter(f"weight_ih_{suffix}", self._make(rows, width))
        self.register_parameter(f"weight_hh_{suffix}", self._make(rows, self._output_size))
        if self.bias:
            self.register_parameter(f"bias_ih_{suffix}", self._make(rows))
            self.register_parameter(f"bias_hh_{suffix}", self._make(rows))

    def _weight(self, name: str, suffix: str) -> Tensor:
        return getattr(self, f"{name}_{suffix}")

    def _stacked(self, suffix: str) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        biases = None
        if self.bias:
            biases = self._weight("bias_ih", suffix), self._weight("bias_hh", suffix)
        return self._weight("weight_ih", suffix), self._weight("weight_hh", suffix), biases

    def _weights(self, suffix: str) -> Any:
        """One layer and direction's parameters taken apart, as the cell's step reads them."""
        raise NotImplementedError

    def _advance(self, state: States, x_t: Tensor, weights: Any) -> States:
        """The cell's step: the states after x_t, the first of which is the output."""
        raise NotImplementedError

    def _step(self, suffix: str, unroll: bool) -> Step:
        """The step as scan takes it.

        Unrolled, the parameters are taken apart once, before the loop; compiled, inside the step:
        the compiler moves that out of the loop, and finds that the slices were one parameter.
        """
        ready = self._weights(suffix) if unroll else None

        def step(state: States, x_t: Tensor) -> tuple[States, Tensor]:
            weights = ready if unroll else self._weights(suffix)
            after = self._advance(state, x_t, weights)
            return after, after[0]

        return step

    def _state_size(self, name: str) -> int:
        return self._output_size if name == "h" else self.hidden_size

    # -- running ------------------------------------------------------------------------------

    def record(self, *names: str, grads: bool = False) -> AbstractContextManager[Seen]:
        """Keep named tensors of the steps, and their gradients: `with lstm.record("f_t") as seen`.

        names: of an LSTM i_t, f_t, g_t, o_t, c_t, h_t; of a GRU r_t, z_t, n_t, h_t; of an RNN h_t;
        none: all. Then `seen["f_t"]` is (T, B, H), of the last call in the block, compiled or
        unrolled; see `Seen` for several layers. grads: also `seen.grad["f_t"]`, dL/df_t over time,
        once `backward` or `grad` was called, in the block or after it; gradients then flow through
        frozen weights too. Raises ValueError in a call whose steps have no tensor of that name.
        """
        return recording(self, names, grads)

    def streaming(self, batch: int | None = None, *, backend: str | None = None) -> Streaming:
        """For inference as inputs come: `y_t, state = step(x_t, state)`, microseconds a call.

        batch: how many sequences side by side, x_t (B, input_size); None: x_t (input_size,).
        backend: as in `scan`. See `Streaming`. Raises ValueError for a bidirectional layer.
        """
        check_backend(backend, False)
        return Streaming(self, batch, backend)

    def explain(
        self,
        x: TensorLike,
        state: Any = None,
        lengths: Lengths = None,
        *,
        backend: str | None = None,
    ) -> Explanations:
        """What a call with these arguments does, compiled: print it. Nothing is run.

        See `scan.explain`: one for each layer and direction, `lstm.explain(x)["layer 0"]`.
        """
        from ..compiler.describe import Explanations

        check_backend(backend, False)
        given = (state,) if len(self.state_names) == 1 and state is not None else state
        x, ends, initial = self._prepared(x, given, lengths)[:3]
        found = Explanations()
        for layer in range(self.num_layers):
            for direction, suffix in enumerate(self._suffixes(layer)):
                name, step = self._layer_name(layer, direction), self._step(suffix, False)
                carry = tuple(self._carry(initial, layer * self._directions + direction, x))
                reverse = direction == 1
                found[name] = scan.explain(
                    step, carry, x, lengths=ends, reverse=reverse, backend=backend
                )
            flows = x.requires_grad or any(p.requires_grad for p in self.parameters())
            shape = (*x.shape[:2], self._output_size * self._directions)
            x = Tensor(np.zeros(shape, x.dtype), requires_grad=flows)
        return found

    def _run(
        self,
        x: TensorLike,
        given: Sequence[TensorLike | None] | None,
        lengths: Lengths,
        unroll: bool,
        backend: str | None,
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """All layers over x; the output and the final states, one tensor per state name.

        given: the initial states; None: zeros.
        """
        if given is None and lengths is None and not unroll and self._alone:
            repeated = self._repeated(x, backend)
            if repeated is not None:
                *states, y = repeated
                return y, states
        check_backend(backend, unroll)
        x, ends, initial, batched = self._prepared(x, given, lengths)
        if self._alone and self._is_compiled(unroll, "layer 0"):
            carry, names = self._carry(initial, 0, x), self._result_names
            y, states = self._compiled("l0", carry, x, ends, False, backend, names)
            if given is None and batched and not self.batch_first and ends is None:
                memo = self._memos.get(("l0", True))
                if memo is not None:  # else something of the layer was changed meanwhile
                    memo.remember(self._parameters, carry, x, backend)
            x = y
        else:
            x, states = self._layers(x, initial, ends, unroll, backend)
            for state, name in zip((*states, x), self._result_names, strict=True):
                state.name = name
        if not batched or self.batch_first:
            x, states = self._as_given(x, states, batched)
        return x, states

    def _repeated(self, x: TensorLike, backend: str | None) -> list[Tensor] | None:
        """The results of a call like an earlier one, whose arguments were looked at then."""
        memo = self._memos.get(("l0", True))
        context = CONTEXT.get()
        if memo is None or context.tracer is not None or is_recording():
            return None
        if type(x) is np.ndarray:
            x = _wrap(x, None, False)
        elif not isinstance(x, Tensor):
            return None
        return memo.repeat(self._parameters, x, backend, context.recording)

    def _as_given(
        self, x: Tensor, states: Sequence[Tensor], batched: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Results with their axes as those of the arguments."""
        if batched:
            return swapaxes(x, 0, 1).named("y"), states
        return squeeze(x, 1).named("y"), [
            squeeze(s, 1).named(f"{n}_n") for s, n in zip(states, self.state_names, strict=True)
        ]

    def _layers(
        self,
        x: Tensor,
        initial: Initial,
        ends: Array | None,
        unroll: bool,
        backend: str | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """All layers and directions: their outputs side by side, their states stacked."""
        if unroll or CONTEXT.get().tracer is not None:
            initial = [
                self._zeros(name, x) if state is None else state
                for name, state in zip(self.state_names, initial, strict=True)
            ]
        finals: list[Sequence[Tensor]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = dropout(x, self.dropout)
            outputs: list[Tensor] = []
            for direction in range(self._directions):
                with self._layer_scope(layer, direction):
                    y, final = self._direction(layer, direction, x, initial, ends, unroll, backend)
                finals.append(final)
                outputs.append(y)
            x = outputs[0] if len(outputs) == 1 else concatenate(outputs, axis=-1)
        return x, [stack(column) for column in zip(*finals, strict=True)]

    def _prepared(
        self, x: TensorLike, given: Sequence[TensorLike | None] | None, lengths: Lengths
    ) -> tuple[Tensor, Array | None, Initial, bool]:
        """x (T, B, I), lengths, initial states, all checked; whether x came with a batch."""
        x = self._time_first(x)
        batched = x._data.ndim == 3
        if not batched:
            x = unsqueeze(x, 1)
        ends = None
        if lengths is not None:
            ends = self._lengths(lengths, x, batched)
            if (ends < x.shape[0]).any():
                x = _without_padding(x, ends)
        initial: list[Tensor | None] = []
        for name, state in zip(self.state_names, given or self._no_states, strict=True):
            if state is not None:
                state = self._initial(name, state, x._data.shape[1], batched)
            initial.append(state)
        return x, ends, initial, batched

    def _carry(self, initial: Initial, k: int, x: Tensor) -> list[Tensor]:
        """What layer and direction k starts from."""
        _, batch, _ = x._data.shape
        carry: list[Tensor] = []
        for (before, size), state in zip(self._carried, initial, strict=True):
            if state is None:
                carry.append(zeros_named(before, batch, size, x._data.dtype))
            else:
                carry.append(state[k].named(before))
        return carry

    def _is_compiled(self, unroll: bool, layer: str) -> bool:
        """Whether nobody looks into the layer's steps."""
        return (
            not unroll and CONTEXT.get().tracer is None and recording_of(self, layer) is None
        )

    def _direction(
        self,
        layer: int,
        direction: int,
        x: Tensor,
        initial: Initial,
        ends: Array | None,
        unroll: bool,
        backend: str | None,
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """One layer in one direction: y, and the last states."""
        name, suffix = self._layer_name(layer, direction), self._suffixes(layer)[direction]
        carry = self._carry(initial, layer * self._directions + direction, x)
        reverse = direction == 1
        if self._is_compiled(unroll, name):
            return self._compiled(suffix, carry, x, ends, reverse, backend)
        final, y = scan(
            self._step(suffix, unroll),
            tuple(carry),
            x,
            lengths=ends,
            reverse=reverse,
            unroll=unroll,
            backend=backend,
            record=recording_of(self, name),
        )
        return y, final

    def _compiled(
        self,
        suffix: str,
        carry: list[Tensor],
        x: Tensor,
        ends: Array | None,
        reverse: bool,
        backend: str | None,
        names: Sequence[str] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The same by its step, which is traced once for inputs of the same shapes.

        names: of a layer that is alone: what its results are called; the states as (1, ...).
        """
        from ..compiler.memo import Memo, run_memoized

        def step(
            state: Sequence[Tensor], x_t: Sequence[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            after = self._advance(tuple(state), x_t[0], self._weights(suffix))
            return list(after), [after[0]]

        memo = self._memos.get((suffix, ends is None))
        if memo is None:
            memo = self._memos[suffix, ends is None] = Memo()
        whole, series = step, [x]
        if reverse or ends is not None:
            whole, series = in_order(step, series, len(x), ends, reverse)
        *final, y = run_memoized(memo, self._parameters, whole, carry, series, backend, names)
        return y[::-1] if reverse else y, final

    def _layer_scope(self, layer: int, direction: int) -> Any:
        if self._alone:
            return nullcontext()
        return scope(self._layer_name(layer, direction))

    def _layer_name(self, layer: int, direction: int) -> str:
        return f"layer {layer}" + (" reverse" if direction else "")

    # -- checking -----------------------------------------------------------------------------

    def _time_first(self, x: TensorLike) -> Tensor:
        kind = type(self).__name__
        weight = self._weight("weight_ih", "l0")
        x = as_input(x, weight)
        shape = x._data.shape
        if len(shape) not in (2, 3) or shape[-1] != self.input_size:
            axes = "B, T" if self.batch_first else "T, B"
            raise ShapeError(
                f"{kind}: x must be ({axes}, {self.input_size}) or (T, {self.input_size}), "
                f"got {x.shape}"
            )
        if x._data.dtype is not weight._data.dtype:
            check_float(kind, "x", x, weight)
        if self.batch_first and len(shape) == 3:
            x = swapaxes(x, 0, 1)
        if x._data.shape[0] == 0:
            raise ShapeError(f"{kind}: x has no time steps: T = 0")
        return x

    def _lengths(self, lengths: Any, x: Tensor, batched: bool) -> Array:
        if not batched and np.ndim(lengths) == 0:
            lengths = [lengths]
        ends = check_lengths(lengths, x.shape[0])
        if len(ends) != x.shape[1]:
            raise ShapeError(f"lengths: {len(ends)} given for a batch of {x.shape[1]}")
        return ends

    def _zeros(self, name: str, x: Tensor) -> Tensor:
        """The initial state by default (layers x directions, B, size)."""
        shape = self.num_layers * self._directions, x.shape[1], self._state_size(name)
        return Tensor(np.zeros(shape, x.dtype), name=f"{name}_0")

    def _initial(self, name: str, given: TensorLike, batch: int, batched: bool) -> Tensor:
        """The initial state (layers x directions, B, size)."""
        layers = self.num_layers * self._directions
        shape = (layers, batch, self._state_size(name))
        weight = self._weight("weight_ih", "l0")
        state = as_input(given, weight)
        expected = shape if batched else (shape[0], shape[2])
        if state.shape != expected:
            raise ShapeError(
                f"{type(self).__name__}: {name}_0 must be {expected}, got {state.shape}"
            )
        check_float(type(self).__name__, f"{name}_0", state, weight)
        return state if batched else unsqueeze(state, 1)


@lru_cache(maxsize=16)
def zeros_named(name: str, batch: int, size: int, dtype: Any) -> Tensor:
    """Where a layer starts from by default (B, size), the same tensor for all that do."""
    zeros = np.zeros((batch, size), dtype)
    zeros.flags.writeable = False
    return Tensor(zeros, name=name)


def _without_padding(x: Tensor, ends: Array) -> Tensor:
    """x (T, B, I), zero beyond the ends: NaN there would spoil gradients, for 0 * NaN is NaN."""
    inside = np.arange(x.shape[0])[:, None, None] < ends[:, None]
    kept = where(inside, x, 0.0)
    return kept if x.name is None else kept.named(x.name)
