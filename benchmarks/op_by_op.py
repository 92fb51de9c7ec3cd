"""One training step of an LSTM recorded op by op, against other define-by-run engines.

Every engine runs the same text: one linear layer per gate (`x @ W + h @ U + b`), the textbook's
elementwise ops, a mean of squares as the loss, and gradients of all twelve weights. Each runs in a
process of its own, in turn, several rounds; the table shows medians and ratios. All are given one
thread pool of the same size.

    python benchmarks/op_by_op.py [--rounds 5] [--json out.json]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from harness import Case, Result, main, time_calls

SHAPES = {
    "32,8,16,32": (32, 8, 16, 32),
    "16,2,4,4": (16, 2, 4, 4),
    "64,32,64,128": (64, 32, 64, 128),
}
GATES = "ifgo"


def arrays(shape: tuple[int, int, int, int]) -> tuple[Any, list[Any]]:
    """x (T, B, I), and per gate W (I, H), U (H, H), b (H,), float32, the same for every engine."""
    steps, batch, inputs, hidden = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps, batch, inputs)).astype(np.float32)
    sizes = [(inputs, hidden), (hidden, hidden), (hidden,)] * len(GATES)
    bound = 1 / np.sqrt(hidden)
    return x, [rng.uniform(-bound, bound, size).astype(np.float32) for size in sizes]


def unrolled(
    xs: Any, weights: Any, h: Any, c: Any, sigmoid: Callable[[Any], Any], tanh: Callable[[Any], Any]
) -> Any:
    """The cell over all steps, in operators that every engine shares; the loss."""
    w_i, u_i, b_i, w_f, u_f, b_f, w_g, u_g, b_g, w_o, u_o, b_o = weights
    loss = 0.0
    for x in xs:
        i = sigmoid(x @ w_i + h @ u_i + b_i)
        f = sigmoid(x @ w_f + h @ u_f + b_f)
        g = tanh(x @ w_g + h @ u_g + b_g)
        o = sigmoid(x @ w_o + h @ u_o + b_o)
        c = f * c + i * g
        h = o * tanh(c)
        loss = loss + (h * h).mean()
    return loss


def ours(shape: tuple[int, int, int, int]) -> Callable[[], float]:
    """tinygrad_lstm."""
    import tinygrad_lstm as tg

    x, values = arrays(shape)
    weights = [tg.Parameter(v) for v in values]
    xs = [tg.tensor(step) for step in x]
    zeros = np.zeros((shape[1], shape[3]), np.float32)

    def step() -> float:
        h, c = tg.tensor(zeros), tg.tensor(zeros)
        loss = unrolled(xs, weights, h, c, tg.sigmoid, tg.tanh)
        gradients = tg.grad(loss, weights)
        return loss.item() + float(gradients[0].data[0, 0])

    return step


def pytorch(shape: tuple[int, int, int, int]) -> Callable[[], float]:
    """PyTorch, eager."""
    import torch

    x, values = arrays(shape)
    weights = [torch.tensor(v, requires_grad=True) for v in values]
    xs = [torch.tensor(step) for step in x]

    def step() -> float:
        h, c = torch.zeros(shape[1], shape[3]), torch.zeros(shape[1], shape[3])
        loss = unrolled(xs, weights, h, c, torch.sigmoid, torch.tanh)
        gradients = torch.autograd.grad(loss, weights)
        return loss.item() + float(gradients[0][0, 0])

    return step


def mygrad(shape: tuple[int, int, int, int]) -> Callable[[], float]:
    """MyGrad."""
    import mygrad as mg
    from mygrad.nnet.activations import sigmoid

    x, values = arrays(shape)
    weights = [mg.tensor(v) for v in values]
    zeros = np.zeros((shape[1], shape[3]), np.float32)

    def step() -> float:
        h, c = mg.tensor(zeros, constant=True), mg.tensor(zeros, constant=True)
        loss = unrolled(x, weights, h, c, sigmoid, mg.tanh)
        loss.backward()
        first = weights[0].grad
        return float(loss.item()) + float(first[0, 0])

    return step


def hips(shape: tuple[int, int, int, int]) -> Callable[[], float]:
    """HIPS autograd."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    x, values = arrays(shape)
    zeros = np.zeros((shape[1], shape[3]), np.float32)

    def sigmoid(a: Any) -> Any:
        return 0.5 * (anp.tanh(0.5 * a) + 1.0)

    def loss_of(weights: list[Any]) -> Any:
        return unrolled(x, weights, zeros, zeros, sigmoid, anp.tanh)

    both = value_and_grad(loss_of)

    def step() -> float:
        loss, gradients = both(values)
        return float(loss) + float(gradients[0][0, 0])

    return step


def run(engine: str, shape: tuple[int, int, int, int]) -> Result:
    """The engine's time of a step; what the step computes is the check."""
    return time_calls(ENGINES[engine](shape), lambda number: [number])


ENGINES = {"ours": ours, "PyTorch": pytorch, "MyGrad": mygrad, "HIPS autograd": hips}
CASES = [
    Case(name, {engine: partial(run, engine, shape) for engine in ENGINES})
    for name, shape in SHAPES.items()
]

if __name__ == "__main__":
    main("LSTM op by op: loss and gradients of all weights, (T,B,I,H), float32", CASES)
