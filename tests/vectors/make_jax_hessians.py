"""Write the Hessians JAX gives for a dozen functions, one LSTM step among them, in float64.

Run it where JAX is installed; the tests need only `jax_hessians.npz`, which it leaves beside
itself: for each function its input, value, gradient and Hessian. The functions are written in
`jax.numpy` here and with our own ops in tests/engine/test_engine_jax.py.
Usage: python tests/vectors/make_jax_hessians.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(11)
HERE = Path(__file__).parent
A = RNG.normal(size=(3, 4))
B = RNG.normal(size=(4, 4))
HIDDEN, INPUT = 3, 2
LSTM = {
    "x": RNG.normal(size=(2, INPUT)),
    "h": RNG.normal(size=(2, HIDDEN)),
    "c": RNG.normal(size=(2, HIDDEN)),
}


def bowl(x):
    return 0.5 * x @ (B.T @ B) @ x + jnp.sum(x)


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def two_layers(x):
    return jnp.sum(jax.nn.sigmoid(A @ jnp.tanh(B @ x)) ** 2)


def cross_entropy(x):
    return -jax.nn.log_softmax(A @ x)[1]


def free_energy(x):
    return jax.nn.logsumexp(A @ x) + jnp.mean(jax.nn.softplus(x))


def attention(x):
    q = x.reshape(2, 2)
    return jnp.sum(jax.nn.softmax(q @ q.T, axis=-1) @ jnp.exp(q))


def ratio(x):
    return jnp.prod(jnp.stack([x[0] + 3.0, x[1] - 3.0])) / (jnp.sqrt(jnp.sum(x * x)) + 1.0)


def powers(x):
    positive = jnp.exp(x)
    return jnp.sum(positive ** jnp.sin(x)) + jnp.sum(x**3)


def waves(x):
    return jnp.sum(jnp.sin(x[:, None] * x[None, :]) * jnp.cos(jnp.cumsum(x)))


def spread(x):
    return jnp.var(x) * jnp.log(1.0 + jnp.mean(x * x)) + jnp.max(x) * jnp.min(x)


def picked(x):
    rows = jnp.concatenate([x, 2.0 * x])[jnp.array([0, 3, 3, 5, 0])]
    return jnp.einsum("i,j,ij->", rows, rows, jnp.tanh(jnp.outer(rows, rows)))


def norm_of_gradient(x):
    return jnp.sum(jax.grad(two_layers)(x) ** 2)


def lstm_step(w):
    """Gates in PyTorch's order i, f, g, o; w holds W_ih, W_hh and the bias, laid flat."""
    rows = 4 * HIDDEN
    w_ih = w[: rows * INPUT].reshape(rows, INPUT)
    w_hh = w[rows * INPUT : rows * (INPUT + HIDDEN)].reshape(rows, HIDDEN)
    a = LSTM["x"] @ w_ih.T + LSTM["h"] @ w_hh.T + w[rows * (INPUT + HIDDEN) :]
    i, f, g, o = jnp.split(a, 4, axis=1)
    c = jax.nn.sigmoid(f) * LSTM["c"] + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return jnp.sum(h * h) + jnp.sum(c)


FUNCTIONS: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    f.__name__: (f, RNG.normal(size=4))
    for f in (
        *(bowl, rosenbrock, two_layers, cross_entropy, free_energy, attention, ratio, powers),
        *(waves, spread, picked, norm_of_gradient),
    )
}
FUNCTIONS["lstm_step"] = (lstm_step, 0.5 * RNG.normal(size=4 * HIDDEN * (INPUT + HIDDEN + 1)))


def main() -> None:
    stored = {"A": A, "B": B, **{f"lstm/{key}": value for key, value in LSTM.items()}}
    for name, (f, x) in FUNCTIONS.items():
        stored[f"{name}/input"] = x
        stored[f"{name}/value"] = np.asarray(f(x))
        stored[f"{name}/gradient"] = np.asarray(jax.grad(f)(x))
        stored[f"{name}/hessian"] = np.asarray(jax.hessian(f)(x))
    np.savez_compressed(HERE / "jax_hessians.npz", allow_pickle=False, **stored)
    print(f"{len(FUNCTIONS)} Hessians")


if __name__ == "__main__":
    main()
