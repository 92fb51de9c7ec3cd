"""Elementwise ops broadcast as NumPy's do, in values, shapes, dtypes and gradients."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import PAIRS, SEEDS, SHAPES, TRIPLES, examples, leaves, summed_to

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, grad

BINARY: dict[str, tuple[Any, Any]] = {
    "add": (tg.add, np.add),
    "sub": (tg.sub, np.subtract),
    "mul": (tg.mul, np.multiply),
    "div": (tg.div, np.true_divide),
    "pow": (tg.pow, np.power),
    "maximum": (tg.maximum, np.maximum),
    "minimum": (tg.minimum, np.minimum),
}

UNARY: dict[str, Any] = {
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x > 0, x, 0),
    "softplus": lambda x: np.log(1 + np.exp(x)),
}

DTYPES = st.sampled_from([np.float32, np.float64])


def positive(seed: int, shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 2.0, shape)).astype(dtype)


@pytest.mark.parametrize("name", BINARY)
@given(pair=PAIRS, seed=SEEDS, one=DTYPES, other=DTYPES)
@examples(25)
def test_two_operands_broadcast_and_promote_as_in_numpy(name, pair, seed, one, other):
    ours, theirs = BINARY[name]
    a = positive(seed, pair.input_shapes[0], one)
    b = positive(seed + 1, pair.input_shapes[1], other)
    expected = np.asarray(theirs(a, b))
    found = ours(Tensor(a), Tensor(b))
    assert found.shape == expected.shape == pair.result_shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.data, expected, rtol=1e-6)


@pytest.mark.parametrize("name", BINARY)
@given(pair=PAIRS, seed=SEEDS, one=DTYPES, other=DTYPES)
@examples(25)
def test_gradients_of_broadcast_operands_are_summed_to_their_shape(name, pair, seed, one, other):
    ours, _ = BINARY[name]
    a = positive(seed, pair.input_shapes[0], one)
    b = positive(seed + 1, pair.input_shapes[1], other)
    x, y = leaves([a, b])
    output = ours(x, y)
    g = positive(seed + 2, output.shape, output.dtype)
    dx, dy = grad(output, [x, y], g)
    assert (dx.shape, dx.dtype) == (a.shape, a.dtype)
    assert (dy.shape, dy.dtype) == (b.shape, b.dtype)
    full = leaves(np.broadcast_arrays(a.astype(np.float64), b.astype(np.float64)))
    for gradient, each in zip((dx, dy), grad(ours(*full), full, g.astype(float)), strict=True):
        expected = summed_to(each.data, gradient.shape)
        np.testing.assert_allclose(gradient.data, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", UNARY)
@given(shape=SHAPES, seed=SEEDS, dtype=DTYPES)
@examples(10)
def test_functions_of_one_tensor_are_numpys(name, shape, seed, dtype):
    a = positive(seed, shape, dtype)
    expected = np.asarray(UNARY[name](a))
    x = Tensor(a, requires_grad=True)
    for found in (getattr(tg, name)(x), getattr(tg, name)(a)):
        assert found.shape == shape and found.dtype == dtype
        np.testing.assert_allclose(found.data, expected, rtol=1e-5)
    method = "__neg__" if name == "neg" else name
    np.testing.assert_array_equal(getattr(x, method)().data, getattr(tg, name)(x).data)
    g = grad(getattr(tg, name)(x), x, np.ones(shape, dtype))
    assert g.shape == shape and g.dtype == dtype


@given(shapes=TRIPLES, seed=SEEDS)
@examples(40)
def test_where_broadcasts_all_three(shapes, seed):
    one, other, third = shapes.input_shapes
    rng = np.random.default_rng(seed)
    condition = np.asarray(rng.random(one) < 0.5)
    a, b = positive(seed, other), positive(seed + 1, third)
    x, y = leaves([a, b])
    output = tg.where(condition, x, y)
    np.testing.assert_array_equal(output.data, np.where(condition, a, b))
    g = positive(seed + 2, output.shape)
    dx, dy = grad(output, [x, y], g)
    chosen = np.broadcast_to(condition, output.shape)
    np.testing.assert_allclose(dx.data, summed_to(np.where(chosen, g, 0.0), a.shape))
    np.testing.assert_allclose(dy.data, summed_to(np.where(chosen, 0.0, g), b.shape))


@given(
    shape=SHAPES,
    seed=SEEDS,
    low=st.none() | st.floats(-1, 0),
    high=st.floats(0.01, 1),
    dtype=DTYPES,
)
@examples(40)
def test_clip_is_numpys_and_passes_gradient_inside_alone(shape, seed, low, high, dtype):
    a = np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)
    x = Tensor(a, requires_grad=True)
    y = tg.clip(x, low, high)
    np.testing.assert_array_equal(y.data, np.clip(a, low, high))
    assert y.dtype == dtype
    inside = (a <= np.asarray(high, dtype)) & (a >= (-np.inf if low is None else low))
    np.testing.assert_array_equal(grad(y, x, np.ones(shape, dtype)).data, inside.astype(dtype))


# -- facts at particular points -------------------------------------------------------------------


def slopes(f: Any, *values: Any) -> list[list[float]]:
    points = [Tensor(np.asarray(v, float), requires_grad=True) for v in values]
    return [g.data.tolist() for g in grad(f(*points).sum(), points)]


def test_ties_of_maximum_and_minimum_share_the_gradient():
    assert slopes(tg.maximum, [1.0, 2.0], [1.0, 3.0]) == [[0.5, 0.0], [0.5, 1.0]]
    assert slopes(tg.minimum, [1.0, 2.0], [1.0, 3.0]) == [[0.5, 1.0], [0.5, 0.0]]
    assert slopes(lambda a: tg.maximum(a, a), [1.0]) == [[1.0]]


def test_kinks_of_abs_and_relu_have_gradient_zero():
    assert slopes(tg.abs, [-2.0, 0.0, 2.0]) == [[-1.0, 0.0, 1.0]]
    assert slopes(tg.relu, [-2.0, 0.0, 2.0]) == [[0.0, 0.0, 1.0]]


def test_zero_to_the_zero_is_one_and_flat():
    x = Tensor(np.zeros(1), requires_grad=True)
    assert (x**0).data.tolist() == [1.0]
    assert slopes(lambda a: a**0, [0.0]) == [[0.0]]
    assert slopes(tg.pow, [0.0], [0.0]) == [[0.0], [0.0]]


def test_powers_of_zero_have_the_slopes_of_the_polynomial():
    assert slopes(lambda a: a**1, [0.0]) == [[1.0]]
    assert slopes(lambda a: a**2, [0.0]) == [[0.0]]
    assert slopes(lambda a: a**3.0, [0.0]) == [[0.0]]
    x = Tensor(np.zeros(()), requires_grad=True)
    first = grad(x**2, x, create_graph=True)
    assert grad(first, x).item() == 2.0


def test_a_negative_base_takes_integer_exponents():
    x = Tensor(np.array([-2.0, -0.5]), requires_grad=True)
    assert (x**3).data.tolist() == [-8.0, -0.125]
    assert slopes(lambda a: a**3, [-2.0, -0.5]) == [[12.0, 0.75]]
    assert slopes(lambda a: a**-1, [-2.0, -0.5]) == [[-0.25, -4.0]]
    np.testing.assert_allclose((x ** np.array([2.0, -2.0])).data, [4.0, 4.0])


def test_the_exponents_gradient_is_zero_where_the_base_is_zero():
    assert slopes(lambda b: 0.0**b, [2.0, 0.5]) == [[0.0, 0.0]]


def test_integer_powers_of_integers_stay_integers_unless_they_cannot():
    n = tg.tensor(np.array([2, 3]))
    assert (n**2).dtype == np.int64 and (n**2).data.tolist() == [4, 9]
    np.testing.assert_allclose((n**-1).data, [0.5, 1 / 3], rtol=1e-6)


def test_clip_limits_integers_to_integers_and_takes_arrays_as_limits():
    n = tg.tensor(np.arange(5))
    assert tg.clip(n, 1, 3).dtype == np.int64
    assert tg.clip(n, 1, 3).data.tolist() == [1, 1, 2, 3, 3]
    x = tg.tensor(np.arange(5.0), requires_grad=True)
    low, high = np.full(5, 0.5), np.array([9.0, 9.0, 1.5, 9.0, 9.0])
    y = x.clip(low, high)
    np.testing.assert_array_equal(y.data, np.clip(np.arange(5.0), low, high))
    assert grad(y.sum(), x).data.tolist() == [0.0, 1.0, 0.0, 1.0, 1.0]


def test_dropout_zeroes_a_share_and_keeps_the_mean():
    x = tg.tensor(np.ones((200, 200)), requires_grad=True)
    y = tg.dropout(x, 0.25, rng=1)
    kept = y.data != 0
    assert abs(kept.mean() - 0.75) < 0.01
    np.testing.assert_allclose(y.data[kept], 1 / 0.75)
    np.testing.assert_array_equal(grad(y.sum(), x).data, y.data)
    np.testing.assert_array_equal(tg.dropout(x, 0.25, rng=1).data, y.data)
    assert (tg.dropout(x, 0.25, rng=2).data != y.data).any()


def test_dropout_does_nothing_outside_training_or_at_probability_zero():
    x = tg.tensor([1.0, 2.0])
    assert tg.dropout(x, 0.5, training=False) is x
    assert x.dropout(0.0) is x
