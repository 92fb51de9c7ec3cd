"""A sequence in, a few numbers out: an LSTM and a linear layer on its last short-term memory."""

from __future__ import annotations

import numpy as np

from .. import nn
from ..random import Rng, resolve_rng
from ..tensor import Array, Tensor, TensorLike

__all__ = ["SequenceRegressor", "set_forget_bias", "set_memory"]


def set_forget_bias(lstm: nn.LSTM | nn.LSTMCell, value: float) -> None:
    """Let the forget gates of all layers start from this bias: above 0, they start open.

    Open gates let the long-term memory, and its gradient, outlast the first steps of training.
    Source: Gers, Schmidhuber & Cummins, 2000; Jozefowicz et al., ICML 2015.
    """
    _set_gate_bias(lstm, 1, np.full(lstm.hidden_size, value))


def set_memory(lstm: nn.LSTM | nn.LSTMCell, steps: int, *, rng: Rng = None) -> None:
    """Let each unit's memory last from 1 to `steps` steps at first, some units' short, some long.

    b_f = log u with u uniform in [1, steps - 1], b_i = -b_f: a unit forgets 1 / (1 + u) of its
    memory at each step, and takes in as much. Source: Tallec & Ollivier, ICLR 2018.
    """
    last = np.log(resolve_rng(rng).uniform(1.0, max(steps - 1.0, 1.0), lstm.hidden_size))
    _set_gate_bias(lstm, 0, -last)
    _set_gate_bias(lstm, 1, last)


def _set_gate_bias(lstm: nn.LSTM | nn.LSTMCell, gate: int, values: Array) -> None:
    """The bias (H,) of one gate in the order i, f, g, o, in every layer and direction."""
    rows = slice(gate * lstm.hidden_size, (gate + 1) * lstm.hidden_size)
    for name, bias in lstm.named_parameters():
        if name.startswith("bias_"):
            start = bias.numpy().copy()
            start[rows] = values if name.startswith("bias_ih") else 0.0
            bias.data = start


class SequenceRegressor(nn.Module):
    """y = W h_T + b, where h_T is the short-term memory after the last step.

    forget_bias: see `set_forget_bias`; memory: a number of steps instead, see `set_memory`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int = 1,
        *,
        forget_bias: float = 1.0,
        memory: int | None = None,
        rng: Rng = None,
    ) -> None:
        rng = resolve_rng(rng)
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True, rng=rng)
        self.head = nn.Linear(hidden_size, output_size, rng=rng)
        if memory is None:
            set_forget_bias(self.lstm, forget_bias)
        else:
            set_memory(self.lstm, memory, rng=rng)

    def forward(self, x: TensorLike) -> Tensor:
        """x: (B, T, input_size) -> (B, output_size)."""
        _, (h_n, _) = self.lstm(x)
        return self.head(h_n[-1])
