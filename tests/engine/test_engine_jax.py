"""Hessians of composite functions equal JAX's within 1e-8 (tests/vectors/make_jax_hessians.py)."""

from pathlib import Path

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

VECTORS = Path(__file__).parent.parent / "vectors"
with np.load(VECTORS / "jax_hessians.npz") as _stored:
    STORED = {key: _stored[key] for key in _stored.files}
A, B = STORED["A"], STORED["B"]
HIDDEN, INPUT = STORED["lstm/h"].shape[1], STORED["lstm/x"].shape[1]


def bowl(x: Tensor) -> Tensor:
    return 0.5 * x @ (B.T @ B) @ x + x.sum()


def rosenbrock(x: Tensor) -> Tensor:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def two_layers(x: Tensor) -> Tensor:
    return (tg.sigmoid(A @ tg.tanh(B @ x)) ** 2).sum()


def cross_entropy(x: Tensor) -> Tensor:
    return -tg.log_softmax(A @ x)[1]


def free_energy(x: Tensor) -> Tensor:
    return tg.logsumexp(A @ x) + tg.softplus(x).mean()


def attention(x: Tensor) -> Tensor:
    q = x.reshape(2, 2)
    return (tg.softmax(q @ q.T, axis=-1) @ tg.exp(q)).sum()


def ratio(x: Tensor) -> Tensor:
    return (x[0] + 3.0) * (x[1] - 3.0) / (tg.sqrt((x * x).sum()) + 1.0)


def powers(x: Tensor) -> Tensor:
    return (tg.exp(x) ** tg.sin(x)).sum() + (x**3).sum()


def waves(x: Tensor) -> Tensor:
    return (tg.sin(x[:, None] * x[None, :]) * tg.cos(tg.cumsum(x))).sum()


def spread(x: Tensor) -> Tensor:
    return x.var() * tg.log(1.0 + (x * x).mean()) + x.max() * x.min()


def picked(x: Tensor) -> Tensor:
    rows = tg.take(tg.concatenate([x, 2.0 * x]), [0, 3, 3, 5, 0])
    outer = tg.unsqueeze(rows, 1) @ tg.unsqueeze(rows, 0)
    return tg.einsum("i,j,ij->", rows, rows, tg.tanh(outer))


def norm_of_gradient(x: Tensor) -> Tensor:
    g = tg.grad(two_layers(x), x, create_graph=True)
    return (g * g).sum()


def lstm_step(w: Tensor) -> Tensor:
    rows = 4 * HIDDEN
    w_ih, w_hh, bias = tg.split(w, [rows * INPUT, rows * (INPUT + HIDDEN)])
    a = STORED["lstm/x"] @ w_ih.reshape(rows, INPUT).T
    a = a + STORED["lstm/h"] @ w_hh.reshape(rows, HIDDEN).T + bias
    i, f, g, o = tg.split(a, 4, axis=1)
    c = tg.sigmoid(f) * STORED["lstm/c"] + tg.sigmoid(i) * tg.tanh(g)
    h = tg.sigmoid(o) * tg.tanh(c)
    return (h * h).sum() + c.sum()


FUNCTIONS = (
    *(bowl, rosenbrock, two_layers, cross_entropy, free_energy, attention, ratio, powers, waves),
    *(spread, picked, norm_of_gradient, lstm_step),
)


def test_every_stored_function_is_compared():
    assert {key.split("/")[0] for key in STORED if key.endswith("/hessian")} == {
        f.__name__ for f in FUNCTIONS
    }


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_values_gradients_and_hessians_are_jaxs(f):
    x, name = STORED[f"{f.__name__}/input"], f.__name__
    value, gradient = tg.vjp(f, x)
    np.testing.assert_allclose(value.data, STORED[f"{name}/value"], rtol=1e-12)
    np.testing.assert_allclose(gradient.data, STORED[f"{name}/gradient"], rtol=1e-10, atol=1e-10)
    found, expected = tg.hessian(f, x).data, STORED[f"{name}/hessian"]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    _, product = tg.hvp(f, x, np.ones_like(x))
    np.testing.assert_allclose(product.data, expected.sum(axis=1), rtol=1e-8, atol=1e-8)
