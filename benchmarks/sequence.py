"""A whole LSTM over a whole sequence: a training step and inference, against nn.LSTM and lax.scan.

Every peer has the same weights and the same x. A training step is the forward pass, the loss
sum(y * w) with a fixed w, and the gradients of all four weights; inference is the forward pass with
nothing recorded. PyTorch runs its fused nn.LSTM; JAX a jitted lax.scan, the product of x and its
weights taken out of the loop by hand; we the compiled scan with the backend it chooses, with NumPy
as the backend, and unrolled, every op of every step recorded.

    python benchmarks/sequence.py [--only train] [--rounds 5] [--json out.json]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from harness import Case, Result, main, time_calls

Shape = tuple[int, int, int, int]
"""T, B, input size, hidden size."""
Run = Callable[[], list[Any]]
"""A training step, giving the loss and its gradients; or inference, giving y."""

SHAPES: list[Shape] = [
    (10, 1, 4, 4),
    (200, 1, 32, 64),
    (28, 64, 28, 128),
    (35, 20, 200, 200),
    (100, 32, 65, 128),
    (100, 64, 64, 256),
    (128, 64, 128, 512),
]
TOO_LONG_UNROLLED = SHAPES[-2:]
WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def arrays(shape: Shape) -> tuple[Any, dict[str, Any], Any]:
    """x (T, B, I), PyTorch's weights by name, the loss's w (T, B, H): float32, from one seed."""
    steps, batch, inputs, hidden = shape
    rng = np.random.default_rng(0)
    bound = 1 / np.sqrt(hidden)
    sizes = [(4 * hidden, inputs), (4 * hidden, hidden), 4 * hidden, 4 * hidden]
    weights = {
        name: rng.uniform(-bound, bound, size).astype(np.float32)
        for name, size in zip(WEIGHTS, sizes, strict=True)
    }
    x = rng.normal(size=(steps, batch, inputs)).astype(np.float32)
    return x, weights, rng.normal(size=(steps, batch, hidden)).astype(np.float32)


def ours(shape: Shape, train: bool, *, unroll: bool = False, backend: str | None = None) -> Run:
    """tinygrad_lstm, compiled or unrolled."""
    import tinygrad_lstm as tg

    x, weights, w = arrays(shape)
    lstm = tg.nn.LSTM(shape[2], shape[3])
    lstm.load_state_dict(weights)
    named = dict(lstm.named_parameters())
    parameters = [named[name] for name in WEIGHTS]

    def step() -> list[Any]:
        y, _ = lstm(x, unroll=unroll, backend=backend)
        loss = (y * w).sum()
        return [loss.data, *tg.grad(loss, parameters)]

    def infer() -> list[Any]:
        with tg.no_grad():
            y, _ = lstm(x, unroll=unroll, backend=backend)
        return [y]

    return step if train else infer


def pytorch(shape: Shape, train: bool) -> Run:
    """PyTorch's nn.LSTM."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    x, weights, w = arrays(shape)
    lstm = torch.nn.LSTM(shape[2], shape[3])
    lstm.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    parameters = [getattr(lstm, name) for name in WEIGHTS]
    inputs, factor = torch.tensor(x), torch.tensor(w)

    def step() -> list[Any]:
        y, _ = lstm(inputs)
        loss = (y * factor).sum()
        return [loss.detach(), *torch.autograd.grad(loss, parameters)]

    def infer() -> list[Any]:
        with torch.inference_mode():
            y, _ = lstm(inputs)
        return [y]

    return step if train else infer


def jax(shape: Shape, train: bool) -> Run:
    """JAX: the cell in a jitted lax.scan."""
    import jax
    import jax.numpy as jnp

    x, weights, w = map(jax.device_put, arrays(shape))
    zeros = jnp.zeros((shape[1], shape[3]), jnp.float32)

    def outputs(weights: Any, x: Any) -> Any:
        of_x, of_h, *biases = (weights[name] for name in WEIGHTS)
        from_h = of_h.T

        def cell(carry: Any, from_x: Any) -> Any:
            h, c = carry
            i, f, g, o = jnp.split(from_x + h @ from_h, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jax.lax.scan(cell, (zeros, zeros), x @ of_x.T + sum(biases))[1]

    both = jax.jit(jax.value_and_grad(lambda weights, x, w: (outputs(weights, x) * w).sum()))
    forward = jax.jit(outputs)

    def step() -> list[Any]:
        loss, gradients = jax.block_until_ready(both(weights, x, w))
        return [loss, *(gradients[name] for name in WEIGHTS)]

    def infer() -> list[Any]:
        return [forward(weights, x).block_until_ready()]

    return step if train else infer


PEERS: dict[str, Callable[[Shape, bool], Run]] = {
    "ours": ours,
    "ours, NumPy": partial(ours, backend="numpy"),
    "ours, unrolled": partial(ours, unroll=True),
    "PyTorch": pytorch,
    "JAX": jax,
}


def norms(found: Sequence[Any]) -> list[float]:
    """The norm of each array or tensor, in float64; of a single number its size."""
    return [float(np.linalg.norm(np.asarray(a, np.float64))) for a in found]


def run(peer: str, shape: Shape, train: bool, seconds: float = 1.0) -> Result:
    """The peer's time of a step; the norms of what it computes are the check."""
    return time_calls(PEERS[peer](shape, train), norms, seconds)


def case(shape: Shape, train: bool) -> Case:
    """A row of the table."""
    name = f"{','.join(map(str, shape))} {'train' if train else 'infer'}"
    left_out = {"ours, unrolled"} if shape in TOO_LONG_UNROLLED else set()
    return Case(name, {p: partial(run, p, shape, train) for p in PEERS if p not in left_out})


CASES = [case(shape, train) for train in (True, False) for shape in SHAPES]

if __name__ == "__main__":
    main("LSTM over a sequence: training step and inference, (T,B,I,H), float32", CASES)
