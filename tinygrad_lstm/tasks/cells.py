"""Single steps to look at: of a trained LSTM with its real memories and gradients, or at random."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from .. import nn
from ..autodiff import grad
from ..context import no_grad, scope
from ..nn.losses import mse_loss
from ..tensor import Array, Tensor
from .regressor import SequenceRegressor

__all__ = ["RecordedStep", "cell_of", "random_run", "record_step"]


class RecordedStep(NamedTuple):
    """One recorded step, and the gradients of the loss that come back to it from later steps.

    h_t, c_t: (1, H). h_gradient, c_gradient: (1, H), to be given as cotangents of both.
    """

    h_t: Tensor
    c_t: Tensor
    h_gradient: Array
    c_gradient: Array


def cell_of(lstm: nn.LSTM) -> nn.LSTMCell:
    """The first layer's cell, on its own, with a copy of its weights."""
    state = {
        name.removesuffix("_l0"): weights
        for name, weights in lstm.state_dict().items()
        if name.endswith("_l0")
    }
    cell = nn.LSTMCell(
        lstm.input_size,
        lstm.hidden_size,
        lstm.bias,
        peephole=lstm.peephole,
        dtype=state["weight_ih"].dtype,
    )
    cell.load_state_dict(state)
    return cell


def record_step(model: SequenceRegressor, x: Array, y: Array) -> RecordedStep:
    """The last step but one of a sequence, as part of a forecast: with both gradients at work.

    The step's input and the memories before it require gradients. x: (T, input_size) with T of at
    least 3; y: (output_size,), which the squared error compares with.
    """
    if len(x) < 3:
        raise ValueError(f"x must have at least 3 steps, got {len(x)}")
    cell = cell_of(model.lstm)
    with no_grad():
        _, (h, c) = model.lstm(x[np.newaxis, :-2])
    before = _leaf(h.numpy()[0], "h_{t-1}"), _leaf(c.numpy()[0], "c_{t-1}")
    h_t, c_t = cell(_leaf(x[-2][np.newaxis], "x_t"), before)
    after = _leaf(h_t.numpy(), "h_t"), _leaf(c_t.numpy(), "c_t")
    h_end, _ = cell(Tensor(x[-1][np.newaxis]), after)
    loss = mse_loss(model.head(h_end), y[np.newaxis])
    h_gradient, c_gradient = grad(loss, after)
    return RecordedStep(h_t, c_t, h_gradient.numpy(), c_gradient.numpy())


def random_run(
    kind: str,
    input_size: int,
    hidden_size: int,
    *,
    batch: int = 1,
    steps: int = 1,
    peephole: bool = False,
    seed: int = 0,
) -> list[Tensor]:
    """A cell with random weights, run on a random input: its last memories, to be drawn.

    kind: "lstm", "gru" or "rnn". Input and first memories are normal random numbers that require
    gradients. Returns [h_t, c_t], or [h_t] for the others, each (batch, hidden_size).
    """
    rng = np.random.default_rng(seed)

    def leaf(name: str, size: int) -> Tensor:
        return _leaf(rng.standard_normal((batch, size)).astype(np.float32), name)

    h, c = leaf("h_{t-1}", hidden_size), leaf("c_{t-1}", hidden_size)
    if kind == "lstm":
        cell = nn.LSTMCell(input_size, hidden_size, peephole=peephole, rng=rng)
    else:
        cell = {"gru": nn.GRUCell, "rnn": nn.RNNCell}[kind](input_size, hidden_size, rng=rng)
    for t in range(steps):
        x_t = leaf("x_t", input_size)
        with scope(f"t={t}") if steps > 1 else nullcontext():
            if isinstance(cell, nn.LSTMCell):
                h, c = cell(x_t, (h, c))
            else:
                h = cell(x_t, h)
    return [h, c] if kind == "lstm" else [h]


def _leaf(values: Array, name: str) -> Tensor:
    return Tensor(values, requires_grad=True, name=name)
