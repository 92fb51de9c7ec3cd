"""LSTM, GRU and RNN over whole sequences; the equations of their steps are in `cells`.

Parameter names, shapes, gate order and initialisation are PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..random import Rng
from ..tensor import Tensor, TensorLike
from . import _checks
from ._layers import Lengths, Recurrent, States
from .cells import (
    Gate,
    GRUWeights,
    LSTMWeights,
    activation_named,
    gru_step,
    gru_weights,
    lstm_step,
    lstm_weights,
    rnn_step,
    rnn_weights,
)

__all__ = ["GRU", "LSTM", "RNN"]


class LSTM(Recurrent):
    """A long short-term memory network over whole sequences; equations in LSTMCell.

    Call: y, (h_n, c_n) = lstm(x, (h_0, c_0)=None, lengths=None, unroll=False, backend=None)
    x: (T, B, input_size); (B, T, input_size) with batch_first; (T, input_size) without a batch.
    h_0: (num_layers * directions, B, proj_size or hidden_size); c_0: (..., B, hidden_size); zeros
    by default. lengths: (B,) integers: states stop at each sequence's end, y beyond is zero, and
    the reverse direction starts at each sequence's own end.
    y: (T, B, directions * (proj_size or hidden_size)). h_n, c_n: as h_0, c_0.
    Compiled by default: the run over time is one op of the graph. unroll: record every op of every
    step instead, to be seen; the same numbers, slower. backend: as in `scan`.
    dropout: between layers, in training. peephole: gates also see the cell state.
    Parameters: weight_ih_l{k} (4H, I), weight_hh_l{k} (4H, H), bias_ih_l{k}, bias_hh_l{k} (4H,),
    weight_hr_l{k} (P, H) with proj_size, weight_c{i,f,o}_l{k} (H,) with peephole; `_reverse`
    for the other direction.
    Raises ShapeError, DTypeError and ValueError naming the argument.
    Sources: Hochreiter & Schmidhuber 1997; Gers & Schmidhuber 2000; Sak et al. 2014 (projection).
    """

    gates = 4
    state_names = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        peephole: bool = False,
        proj_size: int = 0,
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        self.peephole = _checks.flag("peephole", peephole)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype=dtype,
            rng=rng,
        )

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "peephole": False, "proj_size": 0}

    def _add_layer(self, suffix: str, width: int) -> None:
        super()._add_layer(suffix, width)
        if self.proj_size:
            projection = self._make(self.proj_size, self.hidden_size)
            self.register_parameter(f"weight_hr_{suffix}", projection)
        if self.peephole:
            for letter in "ifo":
                self.register_parameter(f"weight_c{letter}_{suffix}", self._make(self.hidden_size))

    def _weights(self, suffix: str) -> LSTMWeights:
        peephole = None
        if self.peephole:
            i, f, o = (self._weight(f"weight_c{letter}", suffix) for letter in "ifo")
            peephole = i, f, o
        projection = self._weight("weight_hr", suffix) if self.proj_size else None
        return lstm_weights(*self._stacked(suffix), peephole, projection)

    def _advance(self, state: States, x_t: Tensor, weights: LSTMWeights) -> States:
        h, c = state
        return lstm_step(x_t, (h, c), weights)

    def forward(
        self,
        x: TensorLike,
        state: tuple[TensorLike, TensorLike] | None = None,
        lengths: Lengths = None,
        *,
        unroll: bool = False,
        backend: str | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over x from (h_0, c_0); see the class."""
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            raise TypeError(f"LSTM: state must be a pair (h_0, c_0), got {type(state).__name__}")
        y, (h_n, c_n) = self._run(x, state, lengths, unroll, backend)
        return y, (h_n, c_n)


class GRU(Recurrent):
    """A gated recurrent unit network over whole sequences; equations in GRUCell.

    Call: y, h_n = gru(x, h_0=None, lengths=None, unroll=False, backend=None), all as LSTM's;
    gate order r, z, n. Source: Cho et al. 2014.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype=dtype,
            rng=rng,
        )

    def _weights(self, suffix: str) -> GRUWeights:
        return gru_weights(*self._stacked(suffix))

    def _advance(self, state: States, x_t: Tensor, weights: GRUWeights) -> States:
        return (gru_step(x_t, state[0], weights),)

    def forward(
        self,
        x: TensorLike,
        state: TensorLike | None = None,
        lengths: Lengths = None,
        *,
        unroll: bool = False,
        backend: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run over x from h_0; see the class."""
        y, (h_n,) = self._run(x, None if state is None else (state,), lengths, unroll, backend)
        return y, h_n


class RNN(Recurrent):
    """A plain recurrent network over whole sequences; equation in RNNCell.

    Call: y, h_n = rnn(x, h_0=None, lengths=None, unroll=False, backend=None), all as LSTM's.
    nonlinearity: "tanh" or "relu". Source: Elman 1990.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        self._activation = activation_named(nonlinearity)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype=dtype,
            rng=rng,
        )

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "nonlinearity": "tanh"}

    def _weights(self, suffix: str) -> Gate:
        return rnn_weights(*self._stacked(suffix))

    def _advance(self, state: States, x_t: Tensor, weights: Gate) -> States:
        return (rnn_step(x_t, state[0], weights, self._activation),)

    def forward(
        self,
        x: TensorLike,
        state: TensorLike | None = None,
        lengths: Lengths = None,
        *,
        unroll: bool = False,
        backend: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run over x from h_0; see the class."""
        y, (h_n,) = self._run(x, None if state is None else (state,), lengths, unroll, backend)
        return y, h_n
