"""A sequence in, a few numbers out: an LSTM and a linear layer on its last short-term memory."""

from __future__ import annotations

from .. import nn
from ..random import Rng, resolve_rng
from ..tensor import Tensor, TensorLike

__all__ = ["SequenceRegressor", "set_forget_bias"]


def set_forget_bias(lstm: nn.LSTM | nn.LSTMCell, value: float) -> None:
    """Let the forget gates of all layers start from this bias: above 0, they start open.

    Open gates let the long-term memory, and its gradient, outlast the first steps of training.
    Source: Gers, Schmidhuber & Cummins, 2000; Jozefowicz et al., ICML 2015.
    """
    forget = slice(lstm.hidden_size, 2 * lstm.hidden_size)  # gates stand in the order i, f, g, o
    for name, bias in lstm.named_parameters():
        if name.startswith("bias_"):
            start = bias.numpy().copy()
            start[forget] = value if name.startswith("bias_ih") else 0.0
            bias.data = start


class SequenceRegressor(nn.Module):
    """y = W h_T + b, where h_T is the short-term memory after the last step.

    forget_bias: see `set_forget_bias`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int = 1,
        *,
        forget_bias: float = 1.0,
        rng: Rng = None,
    ) -> None:
        rng = resolve_rng(rng)
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True, rng=rng)
        self.head = nn.Linear(hidden_size, output_size, rng=rng)
        set_forget_bias(self.lstm, forget_bias)

    def forward(self, x: TensorLike) -> Tensor:
        """x: (B, T, input_size) -> (B, output_size)."""
        _, (h_n, _) = self.lstm(x, unroll=False)  # nobody looks at the ops: run them compiled
        return self.head(h_n[-1])
