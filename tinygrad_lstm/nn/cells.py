"""The equations of one time step, written once, as the textbook has them.

Everything else comes from this text: the picture's clusters are these scopes, its labels these
names, and the gradients are those of the ops recorded here. Knows nothing of sequences.

Weights follow PyTorch: gates stacked along the first axis (LSTM: i, f, g, o; GRU: r, z, n), one
bias for the input and one for the hidden state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..context import scope
from ..errors import DTypeError, ShapeError
from ..functions import relu, sigmoid, split, tanh
from ..random import Rng, resolve_rng
from ..tensor import Parameter, Tensor, TensorLike, _wrap
from . import _checks
from .module import Module

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

LSTMState = tuple[Tensor, Tensor]


class Gate(NamedTuple):
    """The weights of one gate's linear layer, ready for row vectors."""

    input: Tensor  # (input_size, hidden_size)
    hidden: Tensor  # (hidden_size, hidden_size)
    bias: Tensor | None  # (hidden_size,)


class LSTMWeights(NamedTuple):
    """One LSTM layer's weights, taken apart by gate."""

    i: Gate
    f: Gate
    g: Gate
    o: Gate
    peephole: tuple[Tensor, Tensor, Tensor] | None = None  # of i, f and o, each (hidden_size,)
    projection: Tensor | None = None  # (hidden_size, proj_size)


class GRUWeights(NamedTuple):
    """One GRU layer's weights; the candidate keeps its two biases apart."""

    r: Gate
    z: Gate
    n: Gate
    n_hidden_bias: Tensor | None


def ann(x_t: Tensor, h: Tensor, gate: Gate) -> Tensor:
    """A gate's linear layer: x_t W + h_{t-1} U + b, before its activation."""
    with scope("ANN"):
        pre_activation = x_t @ gate.input + h @ gate.hidden
        return pre_activation if gate.bias is None else pre_activation + gate.bias


def lstm_step(x_t: Tensor, state: LSTMState, w: LSTMWeights) -> LSTMState:
    """One step of an LSTM: (h_{t-1}, c_{t-1}), x_t -> (h_t, c_t)."""
    h, c = state
    with scope("forget gate"):
        a = ann(x_t, h, w.f)
        f_t = sigmoid(a if w.peephole is None else a + w.peephole[1] * c).named("f_t")
    with scope("input gate"):
        a = ann(x_t, h, w.i)
        i_t = sigmoid(a if w.peephole is None else a + w.peephole[0] * c).named("i_t")
    with scope("candidate"):
        g_t = tanh(ann(x_t, h, w.g)).named("g_t")
    with scope("long-term memory"):
        c_t = (f_t * c + i_t * g_t).named("c_t")
    with scope("output gate"):
        a = ann(x_t, h, w.o)
        o_t = sigmoid(a if w.peephole is None else a + w.peephole[2] * c_t).named("o_t")
    with scope("short-term memory"):
        h_t = o_t * tanh(c_t)
        if w.projection is not None:
            h_t = h_t @ w.projection
    return h_t.named("h_t"), c_t


def gru_step(x_t: Tensor, h: Tensor, w: GRUWeights) -> Tensor:
    """One step of a GRU: h_{t-1}, x_t -> h_t."""
    with scope("reset gate"):
        r_t = sigmoid(ann(x_t, h, w.r)).named("r_t")
    with scope("update gate"):
        z_t = sigmoid(ann(x_t, h, w.z)).named("z_t")
    with scope("candidate"):
        with scope("ANN"):
            from_input, from_hidden = x_t @ w.n.input, h @ w.n.hidden
            if w.n.bias is not None and w.n_hidden_bias is not None:
                from_input, from_hidden = from_input + w.n.bias, from_hidden + w.n_hidden_bias
        n_t = tanh(from_input + r_t * from_hidden).named("n_t")
    with scope("short-term memory"):
        return ((1.0 - z_t) * n_t + z_t * h).named("h_t")


def rnn_step(
    x_t: Tensor, h: Tensor, w: Gate, activation: Callable[[Tensor], Tensor] = tanh
) -> Tensor:
    """One step of a plain recurrent network: h_t = activation(x_t W + h_{t-1} U + b)."""
    with scope("short-term memory"):
        return activation(ann(x_t, h, w)).named("h_t")


# -- stacked parameters taken apart -----------------------------------------------------------


def _gates(
    letters: str, weight_ih: Tensor, weight_hh: Tensor, biases: tuple[Tensor, Tensor] | None
) -> tuple[list[Gate], list[Tensor | None]]:
    """Each gate's slices of stacked weights, named, and the hidden biases apart."""
    count = len(letters)
    inputs, hiddens = split(weight_ih, count), split(weight_hh, count)
    ends = [(None, None)] * count
    if biases is not None:
        ends = list(zip(split(biases[0], count), split(biases[1], count), strict=True))
    gates: list[Gate] = []
    hidden_biases: list[Tensor | None] = []
    for k, letter in enumerate(letters):
        one, other = ends[k]
        if one is not None and other is not None:
            one.name, other.name = f"b_{{i{letter}}}", f"b_{{h{letter}}}"
        w_input = inputs[k].named(f"W_{{i{letter}}}").T
        w_hidden = hiddens[k].named(f"W_{{h{letter}}}").T
        gates.append(Gate(w_input, w_hidden, one))
        hidden_biases.append(other)
    return gates, hidden_biases


def _with_one_bias(letter: str, gate: Gate, hidden_bias: Tensor | None) -> Gate:
    if gate.bias is None or hidden_bias is None:
        return gate
    return gate._replace(bias=(gate.bias + hidden_bias).named(f"b_{letter}"))


def lstm_weights(
    weight_ih: Tensor,
    weight_hh: Tensor,
    biases: tuple[Tensor, Tensor] | None,
    peephole: tuple[Tensor, Tensor, Tensor] | None = None,
    weight_hr: Tensor | None = None,
) -> LSTMWeights:
    """weight_ih (4H, I), weight_hh (4H, H), biases (4H,) each, weight_hr (P, H), by gate."""
    gates, hidden_biases = _gates("ifgo", weight_ih, weight_hh, biases)
    whole = [_with_one_bias(k, g, b) for k, g, b in zip("ifgo", gates, hidden_biases, strict=True)]
    i, f, g, o = whole
    return LSTMWeights(i, f, g, o, peephole, None if weight_hr is None else weight_hr.T)


def gru_weights(
    weight_ih: Tensor, weight_hh: Tensor, biases: tuple[Tensor, Tensor] | None
) -> GRUWeights:
    """weight_ih (3H, I), weight_hh (3H, H), biases (3H,) each, by gate."""
    (r, z, n), (b_r, b_z, b_n) = _gates("rzn", weight_ih, weight_hh, biases)
    return GRUWeights(_with_one_bias("r", r, b_r), _with_one_bias("z", z, b_z), n, b_n)


def rnn_weights(weight_ih: Tensor, weight_hh: Tensor, biases: tuple[Tensor, Tensor] | None) -> Gate:
    """weight_ih (H, I), weight_hh (H, H), biases (H,) each."""
    bias = None if biases is None else (biases[0] + biases[1]).named("b_h")
    return Gate(weight_ih.T, weight_hh.T, bias)


# -- modules ----------------------------------------------------------------------------------


class _Cell(Module):
    """Parameters and checks that the three cells share."""

    gates: int
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__()
        self.input_size = _checks.size("input_size", input_size)
        self.hidden_size = _checks.size("hidden_size", hidden_size)
        self.bias = _checks.flag("bias", bias)
        self._make = uniform_maker(hidden_size, dtype, rng)
        rows = self.gates * hidden_size
        self.weight_ih = self._make(rows, input_size)
        self.weight_hh = self._make(rows, hidden_size)
        self.register_parameter("bias_ih", self._make(rows) if bias else None)
        self.register_parameter("bias_hh", self._make(rows) if bias else None)

    def extra_repr(self) -> str:
        return described(self, bias=True)

    def _biases(self) -> tuple[Tensor, Tensor] | None:
        if self.bias_ih is None or self.bias_hh is None:
            return None
        return self.bias_ih, self.bias_hh

    def _input(self, x: TensorLike) -> Tensor:
        kind = type(self).__name__
        if isinstance(x, tuple) and any(isinstance(part, Tensor | np.ndarray) for part in x):
            raise TypeError(
                f"{kind}: x must be a tensor, got a tuple of {len(x)}: a cell is called as "
                "cell(x, state), and the step of scan as step(state, x)"
            )
        x = as_input(x, self.weight_ih)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{kind}: x must be (B, {self.input_size}) or ({self.input_size},), got {x.shape}"
            )
        check_float(kind, "x", x, self.weight_ih)
        return _label(x, "x_t")

    def _state(self, given: TensorLike | None, x: Tensor, name: str) -> Tensor:
        shape = (*x.shape[:-1], self.hidden_size)
        if given is None:
            return Tensor(np.zeros(shape, self.weight_ih.dtype), name=name)
        state = as_input(given, self.weight_ih)
        if state.shape != shape:
            raise ShapeError(
                f"{type(self).__name__}: {name} must be {shape} for x {x.shape}, got {state.shape}"
            )
        check_float(type(self).__name__, name, state, self.weight_ih)
        return _label(state, name)


class LSTMCell(_Cell):
    """One time step of an LSTM.

    i_t = σ(W_ii x_t + W_hi h_{t-1} + b_i)      f_t = σ(W_if x_t + W_hf h_{t-1} + b_f)
    g_t = tanh(W_ig x_t + W_hg h_{t-1} + b_g)   o_t = σ(W_io x_t + W_ho h_{t-1} + b_o)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t             h_t = o_t ⊙ tanh(c_t)

    With peephole=True, i and f also see w_ci ⊙ c_{t-1} and w_cf ⊙ c_{t-1}, and o sees w_co ⊙ c_t.
    Parameters: weight_ih (4H, I), weight_hh (4H, H), bias_ih and bias_hh (4H,), gate order
    i, f, g, o; weight_ci, weight_cf, weight_co (H,). All uniform in ±1/sqrt(H).
    Raises ShapeError and DTypeError for an input or state that does not fit.
    Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 (forget gate);
    Gers & Schmidhuber 2000 (peepholes).
    """

    gates = 4
    weight_ci: Parameter
    weight_cf: Parameter
    weight_co: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        peephole: bool = False,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        self.peephole = _checks.flag("peephole", peephole)
        for letter in "ifo":
            peep = self._make(hidden_size) if peephole else None
            self.register_parameter(f"weight_c{letter}", peep)

    def forward(
        self, x: TensorLike, state: tuple[TensorLike, TensorLike] | None = None
    ) -> LSTMState:
        """x (B, I) or (I,), state (h, c), each (B, H) or (H,), zeros by default -> (h_t, c_t)."""
        x_t = self._input(x)
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            raise TypeError(f"LSTMCell: state must be a pair (h, c), got {type(state).__name__}")
        h, c = (None, None) if state is None else state
        before = self._state(h, x_t, "h_{t-1}"), self._state(c, x_t, "c_{t-1}")
        weights = lstm_weights(self.weight_ih, self.weight_hh, self._biases(), self._peepholes())
        return lstm_step(x_t, before, weights)

    def extra_repr(self) -> str:
        return described(self, bias=True, peephole=False)

    def _peepholes(self) -> tuple[Tensor, Tensor, Tensor] | None:
        if not self.peephole:
            return None
        return self.weight_ci, self.weight_cf, self.weight_co


class GRUCell(_Cell):
    """One time step of a GRU, with PyTorch's equations.

    r_t = σ(W_ir x_t + W_hr h_{t-1} + b_r)      z_t = σ(W_iz x_t + W_hz h_{t-1} + b_z)
    n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_{t-1} + b_hn))
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    Parameters as LSTMCell's with gates r, z, n. Source: Cho et al. 2014.
    """

    gates = 3

    def forward(self, x: TensorLike, state: TensorLike | None = None) -> Tensor:
        """x (B, I) or (I,), state (B, H) or (H,), zeros by default -> h_t."""
        x_t = self._input(x)
        h = self._state(state, x_t, "h_{t-1}")
        return gru_step(x_t, h, gru_weights(self.weight_ih, self.weight_hh, self._biases()))


class RNNCell(_Cell):
    """One time step of a plain recurrent network: h_t = tanh(W_ih x_t + W_hh h_{t-1} + b_h).

    nonlinearity: "tanh" or "relu". Parameters as LSTMCell's with one gate. Source: Elman 1990.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        self.nonlinearity = nonlinearity
        self._activation = activation_named(nonlinearity)

    def forward(self, x: TensorLike, state: TensorLike | None = None) -> Tensor:
        """x (B, I) or (I,), state (B, H) or (H,), zeros by default -> h_t."""
        x_t = self._input(x)
        h = self._state(state, x_t, "h_{t-1}")
        weights = rnn_weights(self.weight_ih, self.weight_hh, self._biases())
        return rnn_step(x_t, h, weights, self._activation)

    def extra_repr(self) -> str:
        return described(self, bias=True, nonlinearity="tanh")


# -- what cells and layers check alike --------------------------------------------------------


def activation_named(nonlinearity: str) -> Callable[[Tensor], Tensor]:
    """The activation of an RNN; ValueError for an unknown name."""
    known = {"tanh": tanh, "relu": relu}
    if not isinstance(nonlinearity, str) or nonlinearity not in known:
        raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
    return known[nonlinearity]


def uniform_maker(hidden_size: int, dtype: Any, rng: Rng) -> Callable[..., Parameter]:
    """A function that makes parameters uniform in ±1/sqrt(hidden_size), as PyTorch does.

    No closure: a module keeps it, and is pickled with it where processes hand modules over.
    """
    wanted, generator = _checks.float_dtype(dtype), resolve_rng(rng)
    return partial(_uniform, generator, 1.0 / np.sqrt(hidden_size), wanted)


def _uniform(generator: np.random.Generator, bound: Any, dtype: Any, *shape: int) -> Parameter:
    return Parameter(generator.uniform(-bound, bound, shape).astype(dtype))


def described(module: Any, **defaults: Any) -> str:
    """The two sizes, and the options that are not as by default."""
    options = [(name, getattr(module, name)) for name in defaults]
    changed = [f", {name}={value!r}" for name, value in options if value != defaults[name]]
    return f"{module.input_size}, {module.hidden_size}{''.join(changed)}"


def as_input(given: TensorLike, weight: Tensor) -> Tensor:
    """A tensor as it is; plain arrays, lists and numbers in the dtype of the weights."""
    if isinstance(given, Tensor):
        return given
    if type(given) is np.ndarray and given.dtype is weight._data.dtype:
        return _wrap(given, None, False)
    return Tensor(given, dtype=weight.dtype)


def check_float(kind: str, argument: str, given: Tensor, weight: Tensor) -> None:
    """Raise unless `given` has the dtype of the weights: no silent promotion inside a cell."""
    if given.dtype != weight.dtype:
        raise DTypeError(
            f"{kind}: {argument} is {given.dtype}, the parameters are {weight.dtype}; convert one "
            "with .astype(...) or make the module with dtype=..."
        )


def _label(t: Tensor, name: str) -> Tensor:
    """Give an anonymous tensor its textbook name; a name the user chose stays."""
    if t.name is None:
        t.name = name
    return t
