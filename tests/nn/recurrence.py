"""LSTM, GRU and RNN in plain NumPy: the papers' equations, and their gradients derived by hand.

One sequence and one vector at a time. Knows nothing of the engine: it is what tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
State = tuple[Array, ...]
Weights = dict[str, Array]
"""A cell's parameters by PyTorch's names, without suffix; an absent one is no part of the cell."""


class Cell(NamedTuple):
    """One step forward, (weights, x, state) -> (state, kept), and the way back.

    The way back takes (weights, kept, gradient of the new state, sums of the weights' gradients to
    add to) and gives the gradients of x and of the old state. state[0] is the output.
    """

    forward: Callable[[Weights, Array, State], tuple[State, Any]]
    backward: Callable[[Weights, Any, State, Weights], tuple[Array, State]]


def sigma(a: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-a))


def from_input(w: Weights, x: Array) -> Array:
    return w["weight_ih"] @ x + w.get("bias_ih", 0.0)


def from_hidden(w: Weights, h: Array) -> Array:
    return w["weight_hh"] @ h + w.get("bias_hh", 0.0)


def linear_backward(
    w: Weights, sums: Weights, x: Array, h: Array, d_input: Array, d_hidden: Array
) -> tuple[Array, Array]:
    """Back through both linear layers: to x and h, and into the weights' sums."""
    sums["weight_ih"] += np.outer(d_input, x)
    sums["weight_hh"] += np.outer(d_hidden, h)
    if "bias_ih" in w:
        sums["bias_ih"] += d_input
        sums["bias_hh"] += d_hidden
    return w["weight_ih"].T @ d_input, w["weight_hh"].T @ d_hidden


# -- LSTM: Hochreiter & Schmidhuber 1997, forget gate and peepholes by Gers & Schmidhuber 2000 ----


def lstm_forward(w: Weights, x: Array, state: State) -> tuple[State, Any]:
    h, c = state
    a_i, a_f, a_g, a_o = np.split(from_input(w, x) + from_hidden(w, h), 4)
    peep_i, peep_f, peep_o = (w.get(f"weight_c{k}", 0.0) for k in "ifo")
    i, f, g = sigma(a_i + peep_i * c), sigma(a_f + peep_f * c), np.tanh(a_g)
    c_t = f * c + i * g
    o = sigma(a_o + peep_o * c_t)
    m = o * np.tanh(c_t)
    h_t = w["weight_hr"] @ m if "weight_hr" in w else m
    return (h_t, c_t), (x, h, c, i, f, g, o, c_t, m)


def lstm_backward(w: Weights, kept: Any, d_state: State, sums: Weights) -> tuple[Array, State]:
    x, h, c, i, f, g, o, c_t, m = kept
    d_m, d_c_t = d_state
    if "weight_hr" in w:
        sums["weight_hr"] += np.outer(d_m, m)
        d_m = w["weight_hr"].T @ d_m
    peep_i, peep_f, peep_o = (w.get(f"weight_c{k}", 0.0) for k in "ifo")
    d_o = d_m * np.tanh(c_t) * o * (1.0 - o)
    d_c_t = d_c_t + d_m * o * (1.0 - np.tanh(c_t) ** 2) + d_o * peep_o
    d_i = d_c_t * g * i * (1.0 - i)
    d_f = d_c_t * c * f * (1.0 - f)
    d_g = d_c_t * i * (1.0 - g * g)
    if "weight_ci" in w:
        sums["weight_ci"] += d_i * c
        sums["weight_cf"] += d_f * c
        sums["weight_co"] += d_o * c_t
    d_a = np.concatenate([d_i, d_f, d_g, d_o])
    d_x, d_h = linear_backward(w, sums, x, h, d_a, d_a)
    return d_x, (d_h, d_c_t * f + d_i * peep_i + d_f * peep_f)


# -- GRU: Cho et al. 2014, with the reset gate after the product, as PyTorch has it ---------------


def gru_forward(w: Weights, x: Array, state: State) -> tuple[State, Any]:
    (h,) = state
    x_r, x_z, x_n = np.split(from_input(w, x), 3)
    h_r, h_z, h_n = np.split(from_hidden(w, h), 3)
    r, z = sigma(x_r + h_r), sigma(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return ((1.0 - z) * n + z * h,), (x, h, r, z, n, h_n)


def gru_backward(w: Weights, kept: Any, d_state: State, sums: Weights) -> tuple[Array, State]:
    x, h, r, z, n, h_n = kept
    (d_h_t,) = d_state
    d_n = d_h_t * (1.0 - z) * (1.0 - n * n)
    d_z = d_h_t * (h - n) * z * (1.0 - z)
    d_r = d_n * h_n * r * (1.0 - r)
    d_input, d_hidden = np.concatenate([d_r, d_z, d_n]), np.concatenate([d_r, d_z, d_n * r])
    d_x, d_h = linear_backward(w, sums, x, h, d_input, d_hidden)
    return d_x, (d_h + d_h_t * z,)


# -- RNN: Elman 1990 ------------------------------------------------------------------------------


def tanh_forward(w: Weights, x: Array, state: State) -> tuple[State, Any]:
    h_t = np.tanh(from_input(w, x) + from_hidden(w, state[0]))
    return (h_t,), (x, state[0], h_t)


def tanh_backward(w: Weights, kept: Any, d_state: State, sums: Weights) -> tuple[Array, State]:
    x, h, h_t = kept
    d_a = d_state[0] * (1.0 - h_t * h_t)
    d_x, d_h = linear_backward(w, sums, x, h, d_a, d_a)
    return d_x, (d_h,)


def relu_forward(w: Weights, x: Array, state: State) -> tuple[State, Any]:
    a = from_input(w, x) + from_hidden(w, state[0])
    return (np.maximum(a, 0.0),), (x, state[0], a)


def relu_backward(w: Weights, kept: Any, d_state: State, sums: Weights) -> tuple[Array, State]:
    x, h, a = kept
    d_a = d_state[0] * (a > 0.0)
    d_x, d_h = linear_backward(w, sums, x, h, d_a, d_a)
    return d_x, (d_h,)


CELLS = {
    "lstm": Cell(lstm_forward, lstm_backward),
    "gru": Cell(gru_forward, gru_backward),
    "tanh": Cell(tanh_forward, tanh_backward),
    "relu": Cell(relu_forward, relu_backward),
}


# -- layers and directions ------------------------------------------------------------------------


class Network:
    """Layers of one cell over padded sequences, with parameters by PyTorch's names.

    forward gives y (T, B, ...) and the final states (layers x directions, B, size); backward, to
    be called after it, the gradients of x, of the initial states and of the parameters.
    """

    def __init__(self, cell: str, weights: Weights, layers: int = 1, directions: int = 1) -> None:
        self.cell = CELLS[cell]
        self.weights = weights
        suffixes = [f"_l{k}{way}" for k in range(layers) for way in ("", "_reverse")[:directions]]
        self.suffixes = suffixes
        self.directions = directions
        self.tapes: dict[tuple[int, int], list[tuple[int, Any]]] = {}

    def _of(self, weights: Weights, k: int) -> Weights:
        end = self.suffixes[k]
        return {name.removesuffix(end): w for name, w in weights.items() if name.endswith(end)}

    def forward(self, x: Array, initial: State, lengths: Sequence[int]) -> tuple[Array, State]:
        finals = tuple(np.zeros_like(s) for s in initial)
        self.widths: dict[int, int] = {}
        for first in range(0, len(self.suffixes), self.directions):
            self.widths[first] = x.shape[2]
            outputs = []
            for k in range(first, first + self.directions):
                y = np.zeros((*x.shape[:2], initial[0].shape[2]))
                for b, end in enumerate(lengths):
                    times = list(range(end)) if k == first else list(reversed(range(end)))
                    state = tuple(s[k, b] for s in initial)
                    self.tapes[k, b] = tape = []
                    for t in times:
                        state, kept = self.cell.forward(self._of(self.weights, k), x[t, b], state)
                        y[t, b] = state[0]
                        tape.append((t, kept))
                    for final, s in zip(finals, state, strict=True):
                        final[k, b] = s
                outputs.append(y)
            x = np.concatenate(outputs, axis=2)
        return x, finals

    def backward(self, d_y: Array, d_finals: State) -> tuple[Array, State, Weights]:
        d_initial = tuple(np.zeros_like(s) for s in d_finals)
        sums = {name: np.zeros_like(w) for name, w in self.weights.items()}
        for first in reversed(self.widths):
            d_outputs = np.split(d_y, self.directions, axis=2)
            d_x = np.zeros((*d_y.shape[:2], self.widths[first]))
            for k in range(first, first + self.directions):
                weights, own = self._of(self.weights, k), self._of(sums, k)
                for b in range(d_y.shape[1]):
                    d_state = tuple(s[k, b] for s in d_finals)
                    for t, kept in reversed(self.tapes[k, b]):
                        d_state = (d_state[0] + d_outputs[k - first][t, b], *d_state[1:])
                        d_x_t, d_state = self.cell.backward(weights, kept, d_state, own)
                        d_x[t, b] += d_x_t
                    for d, s in zip(d_initial, d_state, strict=True):
                        d[k, b] = s
            d_y = d_x
        return d_y, d_initial, sums
